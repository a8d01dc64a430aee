//! Requests of HJ 212 as people order them.

use onemap_model::Timestamp;
use serde_json::Value;

use super::request::{AnalyserCommand, History, Request};
use crate::order::{Given, Method, OrderError, find};

/// Methods and the command that each is.
pub const METHODS: &[Method] = &[
    Method::new("set_timeouts", "1000", "over_time_s resends"),
    Method::new("set_warn_time", "1001", "seconds"),
    Method::new("read_clock", "1011", "pol_id?"),
    Method::new("set_clock", "1012", "pol_id? time?"),
    Method::new("read_limits", "1021", "pol_id"),
    Method::new("set_limits", "1022", "pol_id lower upper"),
    Method::new("read_alarm_target", "1031", ""),
    Method::new("set_alarm_target", "1032", "target"),
    Method::new("read_report_time", "1041", ""),
    Method::new("set_report_time", "1042", "at"),
    Method::new("read_rtd_interval", "1061", ""),
    Method::new("set_rtd_interval", "1062", "seconds"),
    Method::new("read_minute_interval", "1063", ""),
    Method::new("set_minute_interval", "1064", "minutes"),
    Method::new("set_password", "1072", "password"),
    Method::new("start_realtime", "2011", ""),
    Method::new("stop_realtime", "2012", ""),
    Method::new("start_state", "2021", ""),
    Method::new("stop_state", "2022", ""),
    Method::new("history_days", "2031", "begin end"),
    Method::new("history_running_hours", "2041", "begin end"),
    Method::new("history_minutes", "2051", "begin end"),
    Method::new("history_hours", "2061", "begin end"),
    Method::new("history_alarms", "2071", "begin end"),
    Method::new("calibrate", "3011", "pol_id"),
    Method::new("sample_now", "3012", "pol_id"),
    Method::new("clean", "3013", "pol_id"),
    Method::new("compare", "3014", "pol_id"),
    Method::new("keep_sample", "3015", ""),
    Method::new("set_sampling", "3016", "pol_id start every_h"),
    Method::new("read_sampling", "3017", "pol_id"),
    Method::new("time_to_result", "3018", "pol_id"),
    Method::new("serial_number", "3019", "pol_id"),
    Method::new("information", "3020", "pol_id info_id begin? end?"),
    Method::new("set_parameter", "3021", "pol_id info_id value"),
];

/// The method that a name or a command's number is.
pub fn method_of(name: &str) -> Option<&'static Method> {
    find(METHODS, name)
}

/// The request that an order is. `now` stands in for a clock that is not stated.
///
/// # Errors
/// [`OrderError`] for what is no command, and for parameters that it does not have or that the standard does not allow.
///
/// ```
/// # use onemap_wire::hj212::{Request, request_of};
/// # use onemap_model::Timestamp;
/// let params = serde_json::json!({"seconds": 30});
/// let request = request_of("set_rtd_interval", &params, Timestamp::from_ms(0)).unwrap();
/// assert_eq!(request, Request::SetRtdInterval(30));
/// assert!(request_of("set_rtd_interval", &serde_json::json!({"seconds": 29}), Timestamp::from_ms(0)).is_err());
/// ```
pub fn request_of(method: &str, params: &Value, now: Timestamp) -> Result<Request, OrderError> {
    let given = Given::of(METHODS, method, params)?;
    let request = request(&given, now)?;
    request.check()?;
    Ok(request)
}

/// Largest whole number of a parameter.
const MOST: u32 = 99_999;

fn request(given: &Given<'_>, now: Timestamp) -> Result<Request, OrderError> {
    let history = |what| -> Result<Request, OrderError> {
        Ok(Request::History {
            what,
            begin: given.time("begin")?,
            end: given.time("end")?,
        })
    };
    let analyser = |what| -> Result<Request, OrderError> {
        Ok(Request::Analyser {
            what,
            pol_id: given.text("pol_id")?,
        })
    };
    Ok(match given.method.code {
        "1000" => Request::Timeouts {
            over_time_s: given.count("over_time_s", MOST)?,
            resends: given.count("resends", MOST)?,
        },
        "1011" => Request::ReadClock {
            pol_id: given.maybe("pol_id", Given::text)?,
        },
        "1012" => Request::SetClock {
            pol_id: given.maybe("pol_id", Given::text)?,
            time: given.maybe("time", Given::time)?.unwrap_or(now),
        },
        "1021" => Request::ReadLimits {
            pol_id: given.text("pol_id")?,
        },
        "1022" => Request::SetLimits {
            pol_id: given.text("pol_id")?,
            lower: given.number("lower")?,
            upper: given.number("upper")?,
        },
        "1001" => Request::SetWarnTime(given.count("seconds", MOST)?),
        "1031" => Request::ReadAlarmTarget,
        "1032" => Request::SetAlarmTarget(given.text("target")?),
        "1041" => Request::ReadReportTime,
        "1042" => Request::SetReportTime(given.text("at")?),
        "1061" => Request::ReadRtdInterval,
        "1062" => Request::SetRtdInterval(given.count("seconds", MOST)?),
        "1063" => Request::ReadMinuteInterval,
        "1064" => Request::SetMinuteInterval(given.count("minutes", MOST)?),
        "1072" => Request::SetPassword(given.text("password")?),
        "2011" => Request::StartRealTime,
        "2012" => Request::StopRealTime,
        "2021" => Request::StartState,
        "2022" => Request::StopState,
        "2031" => history(History::Days)?,
        "2041" => history(History::RunningHours)?,
        "2051" => history(History::Minutes)?,
        "2061" => history(History::Hours)?,
        "2071" => history(History::Alarms)?,
        "3011" => analyser(AnalyserCommand::Calibrate)?,
        "3012" => analyser(AnalyserCommand::SampleNow)?,
        "3013" => analyser(AnalyserCommand::Clean)?,
        "3014" => analyser(AnalyserCommand::Compare)?,
        "3015" => Request::KeepSample,
        "3016" => Request::SetSampling {
            pol_id: given.text("pol_id")?,
            start: given.text("start")?,
            every_h: given.count("every_h", MOST)?,
        },
        "3017" => analyser(AnalyserCommand::ReadSampling)?,
        "3018" => analyser(AnalyserCommand::TimeToResult)?,
        "3019" => analyser(AnalyserCommand::SerialNumber)?,
        "3020" => Request::Information {
            pol_id: given.text("pol_id")?,
            info_id: given.text("info_id")?,
            span: match (
                given.maybe("begin", Given::time)?,
                given.maybe("end", Given::time)?,
            ) {
                (Some(begin), Some(end)) => Some((begin, end)),
                (None, None) => None,
                (None, _) => return given.wrong("begin", "a time, because `end` is given"),
                (_, None) => return given.wrong("end", "a time, because `begin` is given"),
            },
        },
        "3021" => Request::SetParameter {
            pol_id: given.text("pol_id")?,
            info_id: given.text("info_id")?,
            value: given.text("value")?,
        },
        // Every command of the list stands above.
        other => return given.wrong("method", format!("none is made of {other}")),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::{Map, json};

    use super::*;
    use crate::hj212::{Peer, Version, stamp};

    /// The request as it goes out, from the command on.
    fn sent(method: &str, params: &Value) -> Result<String, OrderError> {
        let now = stamp::read("20261126080000").unwrap();
        let peer = Peer {
            st: "22".into(),
            pw: "1".into(),
            mn: "A".into(),
            version: Version::V2017,
        };
        let segment = request_of(method, params, now)?.segment(&peer, "7")?;
        let text = segment.text();
        Ok(text
            .replace("QN=7;ST=22;CN=", "")
            .replace(";PW=1;MN=A;Flag=5;CP=", " "))
    }

    #[test]
    fn every_method_is_its_command() {
        let all = json!({
            "over_time_s": 10, "resends": 3, "pol_id": "a34004", "time": "2026-11-26T08:00:01+08:00", "seconds": 30,
            "minutes": 5, "password": "654321", "begin": "20261126070000", "end": "2026-11-26T00:00:00Z", "start": "000000",
            "every_h": 2, "info_id": "i13004", "value": "1.5", "lower": 1.5, "upper": 9,
            "target": "13800138000", "at": "0830",
        });
        for Method {
            name: method,
            code: cn,
            parameters,
        } in METHODS
        {
            let params: Map<_, _> = parameters
                .split_whitespace()
                .map(|name| name.trim_end_matches('?'))
                .map(|name| (name.to_owned(), all[name].clone()))
                .collect();
            let text = sent(method, &params.clone().into()).unwrap();
            assert!(text.starts_with(cn), "{method}: {text}");
            assert_eq!(sent(cn, &params.into()).unwrap(), text);
        }
        for (method, params, want) in [
            ("set_clock", json!(null), "1012 &&SystemTime=20261126080000&&"),
            (
                "history_hours",
                json!({"begin": "20261126070000", "end": "20261126070000"}),
                "2061 &&BeginTime=20261126070000;EndTime=20261126070000&&",
            ),
            (
                "set_limits",
                json!({"pol_id": "011", "lower": 1.5, "upper": 9}),
                "1022 &&011-LowValue=1.5,011-UpValue=9&&",
            ),
            ("set_warn_time", json!({"seconds": 60}), "1001 &&WarnTime=60&&"),
            (
                "set_alarm_target",
                json!({"target": "13800138000"}),
                "1032 &&AlarmTarget=13800138000&&",
            ),
            (
                "set_report_time",
                json!({"at": "0830"}),
                "1042 &&ReportTime=0830&&",
            ),
            (
                "set_parameter",
                json!({"pol_id": "a34004", "info_id": "i13004", "value": 1.5}),
                "3021 &&PolId=a34004,InfoId=i13004,i13004-Info=1.5&&",
            ),
        ] {
            assert_eq!(sent(method, &params).unwrap(), want);
        }
    }

    #[test]
    fn what_is_no_command_is_refused_by_name() {
        for (method, params, part) in [
            ("open", json!({}), "no command is called `open`"),
            ("set_rtd_interval", json!({}), "needs `seconds`"),
            ("set_rtd_interval", json!({"seconds": 29}), "30 to 3600"),
            ("set_minute_interval", json!({"minutes": 7}), "MinInterval"),
            ("set_password", json!({"password": "1234567"}), "1 to 6"),
            ("set_password", json!({"password": "1;2"}), "separates"),
            ("set_report_time", json!({"at": "2460"}), "HHMM"),
            ("set_report_time", json!({"at": "8:30"}), "HHMM"),
            ("set_warn_time", json!({"seconds": 0}), "1 to 99999"),
            ("set_alarm_target", json!({"target": "1&2"}), "separates"),
            ("read_clock", json!({"colour": 1}), "no parameter `colour`"),
            ("read_clock", json!([1]), "an object"),
            (
                "history_hours",
                json!({"begin": "yesterday", "end": "20261126070000"}),
                "needs `begin`",
            ),
            (
                "history_hours",
                json!({"begin": "20261126080000", "end": "20261126070000"}),
                "not after EndTime",
            ),
            (
                "information",
                json!({"pol_id": "a", "info_id": "i", "begin": "20261126080000"}),
                "needs `end`",
            ),
            ("calibrate", json!({"pol_id": "a&&b"}), "separates"),
        ] {
            let error = sent(method, &params).unwrap_err().to_string();
            assert!(error.contains(part), "{method} {params}: {error}");
        }
    }
}

//! Requests as people order them: a method and parameters as JSON.

use onemap_model::Timestamp;
use serde_json::{Map, Value};

use super::request::{AnalyserCommand, History, Request, RequestError};
use super::stamp;

/// Methods, the command that each is, and its parameters; those with `?` may be left out. A method is also known by the
/// number of its command.
pub const METHODS: &[(&str, &str, &str)] = &[
    ("set_timeouts", "1000", "over_time_s resends"),
    ("set_warn_time", "1001", "seconds"),
    ("read_clock", "1011", "pol_id?"),
    ("set_clock", "1012", "pol_id? time?"),
    ("read_limits", "1021", "pol_id"),
    ("set_limits", "1022", "pol_id lower upper"),
    ("read_alarm_target", "1031", ""),
    ("set_alarm_target", "1032", "target"),
    ("read_report_time", "1041", ""),
    ("set_report_time", "1042", "at"),
    ("read_rtd_interval", "1061", ""),
    ("set_rtd_interval", "1062", "seconds"),
    ("read_minute_interval", "1063", ""),
    ("set_minute_interval", "1064", "minutes"),
    ("set_password", "1072", "password"),
    ("start_realtime", "2011", ""),
    ("stop_realtime", "2012", ""),
    ("start_state", "2021", ""),
    ("stop_state", "2022", ""),
    ("history_days", "2031", "begin end"),
    ("history_running_hours", "2041", "begin end"),
    ("history_minutes", "2051", "begin end"),
    ("history_hours", "2061", "begin end"),
    ("history_alarms", "2071", "begin end"),
    ("calibrate", "3011", "pol_id"),
    ("sample_now", "3012", "pol_id"),
    ("clean", "3013", "pol_id"),
    ("compare", "3014", "pol_id"),
    ("keep_sample", "3015", ""),
    ("set_sampling", "3016", "pol_id start every_h"),
    ("read_sampling", "3017", "pol_id"),
    ("time_to_result", "3018", "pol_id"),
    ("serial_number", "3019", "pol_id"),
    ("information", "3020", "pol_id info_id begin? end?"),
    ("set_parameter", "3021", "pol_id info_id value"),
];

/// Why an order is no request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OrderError {
    /// No command is called so.
    #[error("no command is called `{0}`; commands are {list}", list = names())]
    Method(String),
    /// A parameter is missing or is something else.
    #[error("{method} needs `{name}`: {what}")]
    Parameter {
        /// The method.
        method: &'static str,
        /// The parameter.
        name: &'static str,
        /// What it is to be.
        what: &'static str,
    },
    /// A parameter that the command does not have.
    #[error("{method} has no parameter `{name}`")]
    Unknown {
        /// The method.
        method: &'static str,
        /// The name that was given.
        name: String,
    },
    /// The standard does not allow it.
    #[error(transparent)]
    Request(#[from] RequestError),
}

fn names() -> String {
    let names: Vec<_> = METHODS.iter().map(|(name, ..)| *name).collect();
    names.join(", ")
}

/// The method that a name or a command's number is.
pub fn method_of(name: &str) -> Option<&'static str> {
    let known = METHODS
        .iter()
        .find(|(method, cn, _)| *method == name || *cn == name);
    known.map(|(method, ..)| *method)
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
    let found = METHODS
        .iter()
        .find(|(name, cn, _)| *name == method || *cn == method);
    let Some((method, cn, known)) = found else {
        let shown = method.chars().take(64).collect();
        return Err(OrderError::Method(shown));
    };
    let empty = Map::new();
    let params = match params {
        Value::Null => &empty,
        Value::Object(params) => params,
        _ => {
            return Err(OrderError::Parameter {
                method,
                name: "params",
                what: "an object",
            });
        }
    };
    let is_known = |name: &str| known.split(' ').any(|k| k.trim_end_matches('?') == name);
    if let Some(name) = params.keys().find(|name| !is_known(name)) {
        return Err(OrderError::Unknown {
            method,
            name: name.chars().take(64).collect(),
        });
    }
    let given = Given { method, params };
    let request = given.request(cn, now)?;
    request.check()?;
    Ok(request)
}

struct Given<'a> {
    method: &'static str,
    params: &'a Map<String, Value>,
}

impl Given<'_> {
    fn request(&self, cn: &str, now: Timestamp) -> Result<Request, OrderError> {
        let history = |what| -> Result<Request, OrderError> {
            Ok(Request::History {
                what,
                begin: self.time("begin")?,
                end: self.time("end")?,
            })
        };
        let analyser = |what| -> Result<Request, OrderError> {
            Ok(Request::Analyser {
                what,
                pol_id: self.text("pol_id")?,
            })
        };
        Ok(match cn {
            "1000" => Request::Timeouts {
                over_time_s: self.count("over_time_s")?,
                resends: self.count("resends")?,
            },
            "1011" => Request::ReadClock {
                pol_id: self.maybe("pol_id", Self::text)?,
            },
            "1012" => Request::SetClock {
                pol_id: self.maybe("pol_id", Self::text)?,
                time: self.maybe("time", Self::time)?.unwrap_or(now),
            },
            "1021" => Request::ReadLimits {
                pol_id: self.text("pol_id")?,
            },
            "1022" => Request::SetLimits {
                pol_id: self.text("pol_id")?,
                lower: self.number("lower")?,
                upper: self.number("upper")?,
            },
            "1001" => Request::SetWarnTime(self.count("seconds")?),
            "1031" => Request::ReadAlarmTarget,
            "1032" => Request::SetAlarmTarget(self.text("target")?),
            "1041" => Request::ReadReportTime,
            "1042" => Request::SetReportTime(self.text("at")?),
            "1061" => Request::ReadRtdInterval,
            "1062" => Request::SetRtdInterval(self.count("seconds")?),
            "1063" => Request::ReadMinuteInterval,
            "1064" => Request::SetMinuteInterval(self.count("minutes")?),
            "1072" => Request::SetPassword(self.text("password")?),
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
                pol_id: self.text("pol_id")?,
                start: self.text("start")?,
                every_h: self.count("every_h")?,
            },
            "3017" => analyser(AnalyserCommand::ReadSampling)?,
            "3018" => analyser(AnalyserCommand::TimeToResult)?,
            "3019" => analyser(AnalyserCommand::SerialNumber)?,
            "3020" => Request::Information {
                pol_id: self.text("pol_id")?,
                info_id: self.text("info_id")?,
                span: match (self.maybe("begin", Self::time)?, self.maybe("end", Self::time)?) {
                    (Some(begin), Some(end)) => Some((begin, end)),
                    (None, None) => None,
                    (None, _) => return self.wrong("begin", "a time, because `end` is given"),
                    (_, None) => return self.wrong("end", "a time, because `begin` is given"),
                },
            },
            "3021" => Request::SetParameter {
                pol_id: self.text("pol_id")?,
                info_id: self.text("info_id")?,
                value: self.text("value")?,
            },
            // Every command of the list stands above.
            other => return Err(OrderError::Method(other.to_owned())),
        })
    }

    fn wrong<T>(&self, name: &'static str, what: &'static str) -> Result<T, OrderError> {
        let method = self.method;
        Err(OrderError::Parameter { method, name, what })
    }

    fn maybe<T>(
        &self,
        name: &'static str,
        read: impl Fn(&Self, &'static str) -> Result<T, OrderError>,
    ) -> Result<Option<T>, OrderError> {
        match self.params.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(_) => read(self, name).map(Some),
        }
    }

    fn text(&self, name: &'static str) -> Result<String, OrderError> {
        match self.params.get(name) {
            Some(Value::String(text)) if (1..=128).contains(&text.len()) => Ok(text.clone()),
            Some(Value::Number(number)) => Ok(number.to_string()),
            _ => self.wrong(name, "a text of at most 128 bytes"),
        }
    }

    fn number(&self, name: &'static str) -> Result<f64, OrderError> {
        match self.params.get(name).and_then(Value::as_f64) {
            Some(number) => Ok(number),
            None => self.wrong(name, "a number"),
        }
    }

    fn count(&self, name: &'static str) -> Result<u32, OrderError> {
        let count = self.params.get(name).and_then(Value::as_u64);
        match count.and_then(|count| u32::try_from(count).ok()) {
            Some(count) if count <= 99_999 => Ok(count),
            _ => self.wrong(name, "a whole number up to 99999"),
        }
    }

    fn time(&self, name: &'static str) -> Result<Timestamp, OrderError> {
        let text = self.params.get(name).and_then(Value::as_str);
        let read = |text| stamp::read(text).or_else(|| Timestamp::parse(text).ok());
        match text.and_then(read) {
            Some(time) => Ok(time),
            None => self.wrong(name, "a time, as RFC 3339 or as YYYYMMDDhhmmss in Beijing time"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;
    use crate::hj212::{Peer, Version};

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
        for (method, cn, known) in METHODS {
            let params: Map<_, _> = known
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
                "1022 &&PolId=011,011-LowValue=1.5,011-UpValue=9&&",
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

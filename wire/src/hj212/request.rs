//! What a centre asks of a device.

use onemap_model::Timestamp;

use super::flag::{Flag, Version};
use super::segment::{Group, Item, Segment};
use super::stamp;

/// Whom a request goes to, and how it speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// System code of the device.
    pub st: String,
    /// Its password.
    pub pw: String,
    /// Its number.
    pub mn: String,
    /// Its edition.
    pub version: Version,
}

/// A request or notice of the centre.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Request {
    /// 1000.
    Timeouts {
        /// Seconds to wait for an answer.
        over_time_s: u32,
        /// Repeats.
        resends: u32,
    },
    /// 1001, of 2005: seconds over a limit before the device alarms.
    SetWarnTime(u32),
    /// 1031, of 2005.
    ReadAlarmTarget,
    /// 1032, of 2005: whom the device alarms.
    SetAlarmTarget(String),
    /// 1041, of 2005.
    ReadReportTime,
    /// 1042, of 2005: when the device reports each day, `HHMM`.
    SetReportTime(String),
    /// 1011, of one analyser or of the logger.
    ReadClock {
        /// The analyser's factor.
        pol_id: Option<String>,
    },
    /// 1012.
    SetClock {
        /// The analyser's factor.
        pol_id: Option<String>,
        /// The time.
        time: Timestamp,
    },
    /// 1021, of 2005.
    ReadLimits {
        /// The factor.
        pol_id: String,
    },
    /// 1022, of 2005: outside of which values a device alarms.
    SetLimits {
        /// The factor.
        pol_id: String,
        /// Lower limit.
        lower: f64,
        /// Upper limit.
        upper: f64,
    },
    /// 1061.
    ReadRtdInterval,
    /// 1062: seconds, 30 to 3600.
    SetRtdInterval(u32),
    /// 1063.
    ReadMinuteInterval,
    /// 1064: minutes, a divisor of the hour up to 30.
    SetMinuteInterval(u32),
    /// 1072: at most 6 characters.
    SetPassword(String),
    /// 2011.
    StartRealTime,
    /// 2012, a notice.
    StopRealTime,
    /// 2021.
    StartState,
    /// 2022, a notice.
    StopState,
    /// 2031, 2041, 2051, 2061 or 2071: what was measured in a span of time.
    History {
        /// Which.
        what: History,
        /// Its beginning.
        begin: Timestamp,
        /// Its end.
        end: Timestamp,
    },
    /// 3011 to 3014, 3017 to 3019: a command for one analyser.
    Analyser {
        /// Which.
        what: AnalyserCommand,
        /// The analyser's factor.
        pol_id: String,
    },
    /// 3015: keep a sample.
    KeepSample,
    /// 3016.
    SetSampling {
        /// The analyser's factor.
        pol_id: String,
        /// First sample of the day, hours, minutes and seconds `HHmmss`.
        start: String,
        /// Hours from one to the next.
        every_h: u32,
    },
    /// 3020.
    Information {
        /// The analyser's factor.
        pol_id: String,
        /// What: `i11001`.
        info_id: String,
        /// Span of time.
        span: Option<(Timestamp, Timestamp)>,
    },
    /// 3021.
    SetParameter {
        /// The analyser's factor.
        pol_id: String,
        /// Which: `i13004`.
        info_id: String,
        /// Its value.
        value: String,
    },
}

/// Kinds of history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum History {
    Days,
    RunningHours,
    Minutes,
    Hours,
    /// Alarm records, 2005 only.
    Alarms,
}

/// Commands that name an analyser only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum AnalyserCommand {
    Calibrate,
    SampleNow,
    Clean,
    Compare,
    ReadSampling,
    TimeToResult,
    SerialNumber,
}

/// Why a request cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// A value outside what the standard allows.
    #[error("{field} is {value}, the standard has {allowed}")]
    Value {
        /// Its name on the wire.
        field: &'static str,
        /// The value.
        value: String,
        /// What may stand there.
        allowed: &'static str,
    },
    /// A text holds a character that separates items.
    #[error("{field} holds `{character}`, which separates items")]
    Separator {
        /// Its name on the wire.
        field: String,
        /// The character.
        character: char,
    },
}

/// Minutes that divide the hour, as 1064 allows.
pub const MINUTE_INTERVALS: [u32; 11] = [1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30];

impl Request {
    /// Its command.
    pub fn cn(&self) -> &'static str {
        match self {
            Self::Timeouts { .. } => "1000",
            Self::SetWarnTime(_) => "1001",
            Self::ReadAlarmTarget => "1031",
            Self::SetAlarmTarget(_) => "1032",
            Self::ReadReportTime => "1041",
            Self::SetReportTime(_) => "1042",
            Self::ReadClock { .. } => "1011",
            Self::SetClock { .. } => "1012",
            Self::ReadLimits { .. } => "1021",
            Self::SetLimits { .. } => "1022",
            Self::ReadRtdInterval => "1061",
            Self::SetRtdInterval(_) => "1062",
            Self::ReadMinuteInterval => "1063",
            Self::SetMinuteInterval(_) => "1064",
            Self::SetPassword(_) => "1072",
            Self::StartRealTime => "2011",
            Self::StopRealTime => "2012",
            Self::StartState => "2021",
            Self::StopState => "2022",
            Self::History { what, .. } => match what {
                History::Days => "2031",
                History::RunningHours => "2041",
                History::Minutes => "2051",
                History::Hours => "2061",
                History::Alarms => "2071",
            },
            Self::Analyser { what, .. } => match what {
                AnalyserCommand::Calibrate => "3011",
                AnalyserCommand::SampleNow => "3012",
                AnalyserCommand::Clean => "3013",
                AnalyserCommand::Compare => "3014",
                AnalyserCommand::ReadSampling => "3017",
                AnalyserCommand::TimeToResult => "3018",
                AnalyserCommand::SerialNumber => "3019",
            },
            Self::KeepSample => "3015",
            Self::SetSampling { .. } => "3016",
            Self::Information { .. } => "3020",
            Self::SetParameter { .. } => "3021",
        }
    }

    /// The segment, with an answer wanted. `qn` is the request number; see [`stamp::qn`].
    ///
    /// # Errors
    /// [`RequestError`] for values that the standard does not allow.
    ///
    /// ```
    /// # use onemap_wire::hj212::{Peer, Request, Version};
    /// let peer = Peer { st: "32".into(), pw: "123456".into(), mn: "A1".into(), version: Version::V2017 };
    /// let request = Request::SetRtdInterval(30).segment(&peer, "20160801085857223").unwrap();
    /// assert_eq!(request.text(), "QN=20160801085857223;ST=32;CN=1062;PW=123456;MN=A1;Flag=5;CP=&&RtdInterval=30&&");
    /// assert!(Request::SetRtdInterval(29).segment(&peer, "1").is_err());
    /// ```
    pub fn segment(&self, peer: &Peer, qn: &str) -> Result<Segment, RequestError> {
        let mut fields = self.fields()?;
        // 2005 has the new password under the name of the old one.
        if let (Self::SetPassword(_), Version::V2005) = (self, peer.version) {
            "PW".clone_into(&mut fields[0].0);
        }
        let header = [
            ("QN", qn),
            ("ST", &peer.st),
            ("CN", self.cn()),
            ("PW", &peer.pw),
            ("MN", &peer.mn),
        ];
        for (field, value) in header
            .iter()
            .copied()
            .chain(fields.iter().map(|(f, v)| (f.as_str(), v.as_str())))
        {
            if let Some(character) = value
                .chars()
                .find(|c| matches!(c, ';' | ',' | '&' | '#' | '\r' | '\n'))
            {
                return Err(RequestError::Separator {
                    field: field.to_owned(),
                    character,
                });
            }
        }
        let flag = Flag::new(peer.version, false, true).0.to_string();
        let mut header: Vec<Item> = header
            .iter()
            .map(|(key, value)| Item::new(*key, *value))
            .collect();
        header.push(Item::new("Flag", flag));
        // An analyser's information is named behind its factor, in one group.
        let mut cp: Vec<Group> = Vec::new();
        for (key, value) in fields {
            let is_info = key == "InfoId" || ["-Info", "-UpValue"].iter().any(|end| key.ends_with(end));
            let item = Item::new(key, value);
            match cp.last_mut() {
                Some(group) if is_info => group.0.push(item),
                _ => cp.push(Group(vec![item])),
            }
        }
        Ok(Segment {
            header,
            cp,
            ..Segment::default()
        })
    }

    /// Whether the standard allows it, whoever it goes to.
    ///
    /// # Errors
    /// As [`Request::segment`].
    pub fn check(&self) -> Result<(), RequestError> {
        let anybody = Peer {
            st: String::new(),
            pw: String::new(),
            mn: String::new(),
            version: Version::V2017,
        };
        self.segment(&anybody, "").map(|_| ())
    }

    fn fields(&self) -> Result<Vec<(String, String)>, RequestError> {
        let clock = |at: &Timestamp| stamp::written(*at);
        let polled =
            |pol_id: &Option<String>| pol_id.iter().map(|id| ("PolId", id.clone())).collect::<Vec<_>>();
        let fields = match self {
            Self::Timeouts { over_time_s, resends } => vec![
                ("OverTime", over_time_s.to_string()),
                ("ReCount", resends.to_string()),
            ],
            Self::SetWarnTime(seconds) => {
                let is_right = (1..=99_999).contains(seconds);
                vec![("WarnTime", allowed(*seconds, is_right, "WarnTime", "1 to 99999")?)]
            }
            Self::SetAlarmTarget(target) => vec![("AlarmTarget", target.clone())],
            Self::SetReportTime(at) => {
                let is_digits = at.len() == 4 && at.bytes().all(|b| b.is_ascii_digit());
                let is_right = is_digits && at[..2] < *"24" && at[2..] < *"60";
                vec![("ReportTime", allowed(at, is_right, "ReportTime", "HHMM")?)]
            }
            Self::ReadClock { pol_id } => polled(pol_id),
            Self::SetClock { pol_id, time } => {
                let mut fields = polled(pol_id);
                fields.push(("SystemTime", clock(time)));
                fields
            }
            Self::SetRtdInterval(seconds) => {
                let is_right = (30..=3600).contains(seconds);
                vec![(
                    "RtdInterval",
                    allowed(*seconds, is_right, "RtdInterval", "30 to 3600")?,
                )]
            }
            Self::SetMinuteInterval(minutes) => {
                let is_right = MINUTE_INTERVALS.contains(minutes);
                let which = "1, 2, 3, 4, 5, 6, 10, 12, 15, 20 or 30";
                vec![("MinInterval", allowed(*minutes, is_right, "MinInterval", which)?)]
            }
            Self::SetPassword(pw) => {
                let is_right = (1..=6).contains(&pw.len());
                vec![("NewPW", allowed(pw, is_right, "NewPW", "1 to 6 characters")?)]
            }
            Self::History { begin, end, .. } => {
                let is_right = begin <= end;
                let begin = allowed(clock(begin), is_right, "BeginTime", "a time not after EndTime")?;
                vec![("BeginTime", begin), ("EndTime", clock(end))]
            }
            Self::Analyser { pol_id, .. } | Self::ReadLimits { pol_id } => vec![("PolId", pol_id.clone())],
            Self::SetLimits { pol_id, lower, upper } => {
                return Ok(vec![
                    (format!("{pol_id}-LowValue"), lower.to_string()),
                    (format!("{pol_id}-UpValue"), upper.to_string()),
                ]);
            }
            Self::SetSampling {
                pol_id,
                start,
                every_h,
            } => vec![
                ("PolId", pol_id.clone()),
                ("CstartTime", start.clone()),
                ("Ctime", every_h.to_string()),
            ],
            Self::Information {
                pol_id,
                info_id,
                span,
            } => {
                let mut fields = vec![("PolId", pol_id.clone()), ("InfoId", info_id.clone())];
                if let Some((begin, end)) = span {
                    fields.extend([("BeginTime", clock(begin)), ("EndTime", clock(end))]);
                }
                fields
            }
            Self::SetParameter {
                pol_id,
                info_id,
                value,
            } => {
                return Ok(vec![
                    ("PolId".to_owned(), pol_id.clone()),
                    ("InfoId".to_owned(), info_id.clone()),
                    // The parameter's name is its own key.
                    (format!("{info_id}-Info"), value.clone()),
                ]);
            }
            Self::ReadAlarmTarget
            | Self::ReadReportTime
            | Self::ReadRtdInterval
            | Self::ReadMinuteInterval
            | Self::StartRealTime
            | Self::StopRealTime
            | Self::StartState
            | Self::StopState
            | Self::KeepSample => Vec::new(),
        };
        Ok(fields
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect())
    }
}

fn allowed(
    value: impl ToString,
    is_right: bool,
    field: &'static str,
    allowed: &'static str,
) -> Result<String, RequestError> {
    let value = value.to_string();
    match is_right {
        true => Ok(value),
        false => Err(RequestError::Value {
            field,
            value,
            allowed,
        }),
    }
}

#[cfg(test)]
mod tests;

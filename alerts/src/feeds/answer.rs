//! What an answer means.

use std::time::Duration;

use onemap_model::Timestamp;
use serde_json::Value;

use super::shapes::Kind;

/// How long a robot that was sent too much is left alone: its limit is by the minute.
const ROBOT_PAUSE: Duration = Duration::from_secs(60);

/// Why something was not received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// No connection came up.
    Unreached,
    /// No answer in time.
    Late,
    /// The connection ended before the answer did.
    Broken,
    /// It sent us elsewhere; nobody goes there.
    Redirect,
    /// It refused the request.
    Status4xx,
    /// It has a fault, or said something that is no answer.
    Status5xx,
    /// It was sent too much.
    TooMany,
    /// Its status was good, and what it said was not.
    Words,
    /// What is to be sent cannot be read or made.
    Unmade,
}

impl Failure {
    /// Every one.
    pub const ALL: [Self; 9] = [
        Self::Unreached,
        Self::Late,
        Self::Broken,
        Self::Redirect,
        Self::Status4xx,
        Self::Status5xx,
        Self::TooMany,
        Self::Words,
        Self::Unmade,
    ];

    /// Its name in the API and in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unreached => "unreached",
            Self::Late => "timeout",
            Self::Broken => "broken",
            Self::Redirect => "redirect",
            Self::Status4xx => "status_4xx",
            Self::Status5xx => "status_5xx",
            Self::TooMany => "too_many",
            Self::Words => "refused_in_words",
            Self::Unmade => "unmade",
        }
    }
}

/// What an answer means for the item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was received.
    Received,
    /// It is to be sent again, not before this long when the consumer asks so.
    Later(Failure, Option<Duration>),
    /// It is refused for good.
    Never(Failure),
}

impl Kind {
    /// Reads an answer. `after` is what [`retry_after`] made of its head.
    ///
    /// Any 2xx is a receipt; of robots the words in the body must say so, too. 4xx is a refusal for good but for 408, 425 and
    /// 429. Redirects are not followed: what answers so may answer otherwise later.
    pub fn judge(&self, status: u16, after: Option<Duration>, body: &[u8]) -> Verdict {
        match status {
            200..=299 => self.words(body),
            300..=399 => Verdict::Later(Failure::Redirect, after),
            408 | 425 => Verdict::Later(Failure::Status4xx, after),
            429 => Verdict::Later(Failure::TooMany, after),
            400..=499 => Verdict::Never(Failure::Status4xx),
            _ => Verdict::Later(Failure::Status5xx, after),
        }
    }

    fn words(&self, body: &[u8]) -> Verdict {
        let (names, too_many, busy): (&[&str], &[i64], &[i64]) = match self {
            Kind::DingTalk { .. } => (&["errcode"], &[130_101, 130_102, 410_100], &[-1]),
            Kind::WeCom => (&["errcode"], &[45_009, 45_033], &[-1]),
            Kind::Feishu { .. } => (&["code", "StatusCode"], &[9_499, 11_232, 99_991_400], &[-1]),
            _ => return Verdict::Received,
        };
        let said: Option<Value> = serde_json::from_slice(body).ok();
        let code = |name: &&str| said.as_ref()?.get(name)?.as_i64();
        match names.iter().find_map(code) {
            Some(0) => Verdict::Received,
            Some(code) if too_many.contains(&code) => Verdict::Later(Failure::TooMany, Some(ROBOT_PAUSE)),
            Some(code) if busy.contains(&code) => Verdict::Later(Failure::Words, None),
            Some(_) => Verdict::Never(Failure::Words),
            None => Verdict::Later(Failure::Words, None),
        }
    }
}

/// How long `Retry-After` asks to wait: in seconds, or until a date. `None` when it says neither.
pub fn retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?;
    Some(Timestamp::from_ms(date.timestamp().as_millisecond()).since(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_says_whether_to_send_again() {
        let kind = Kind::Alertmanager;
        let wait = Some(Duration::from_secs(7));
        for (status, verdict) in [
            (200, Verdict::Received),
            (204, Verdict::Received),
            (302, Verdict::Later(Failure::Redirect, wait)),
            (400, Verdict::Never(Failure::Status4xx)),
            (404, Verdict::Never(Failure::Status4xx)),
            (408, Verdict::Later(Failure::Status4xx, wait)),
            (410, Verdict::Never(Failure::Status4xx)),
            (429, Verdict::Later(Failure::TooMany, wait)),
            (500, Verdict::Later(Failure::Status5xx, wait)),
            (503, Verdict::Later(Failure::Status5xx, wait)),
            (999, Verdict::Later(Failure::Status5xx, wait)),
        ] {
            assert_eq!(kind.judge(status, wait, b"\xff"), verdict, "{status}");
        }
    }

    #[test]
    fn a_robot_s_words_count_more_than_its_status() {
        let (ding, wecom, feishu) = (
            Kind::DingTalk { secret: None },
            Kind::WeCom,
            Kind::Feishu { secret: None },
        );
        let busy = Verdict::Later(Failure::TooMany, Some(ROBOT_PAUSE));
        let refused = Verdict::Never(Failure::Words);
        let unclear = Verdict::Later(Failure::Words, None);
        for (kind, body, verdict) in [
            (&ding, r#"{"errcode":0,"errmsg":"ok"}"#, Verdict::Received),
            (&ding, r#"{"errcode":310000,"errmsg":"sign not match"}"#, refused),
            (&ding, r#"{"errcode":130101,"errmsg":"send too fast"}"#, busy),
            (&ding, r#"{"errcode":-1,"errmsg":"系统繁忙"}"#, unclear),
            (&wecom, r#"{"errcode":0,"errmsg":"ok"}"#, Verdict::Received),
            (
                &wecom,
                r#"{"errcode":45009,"errmsg":"api freq out of limit"}"#,
                busy,
            ),
            (&wecom, r#"{"errcode":93000}"#, refused),
            (&feishu, r#"{"code":0,"msg":"success"}"#, Verdict::Received),
            (
                &feishu,
                r#"{"StatusCode":0,"StatusMessage":"success"}"#,
                Verdict::Received,
            ),
            (&feishu, r#"{"code":19021,"msg":"sign match fail"}"#, refused),
            (&feishu, r#"{"code":9499,"msg":"too many request"}"#, busy),
            (&feishu, "<html>", unclear),
            (&feishu, r#"{"code":"0"}"#, unclear),
            (&wecom, "", unclear),
        ] {
            assert_eq!(kind.judge(200, None, body.as_bytes()), verdict, "{kind:?} {body}");
        }
        assert_eq!(
            ding.judge(410, None, br#"{"errcode":0}"#),
            Verdict::Never(Failure::Status4xx)
        );
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = Timestamp::parse("2015-10-21T07:27:00Z").expect("a time");
        for (text, seconds) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("Wed, 21 Oct 2015 07:28:00 GMT", Some(60)),
            ("Wed, 21 Oct 2015 07:26:00 GMT", Some(0)),
            ("-5", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(retry_after(text, now), seconds.map(Duration::from_secs), "{text}");
        }
    }
}

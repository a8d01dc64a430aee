//! What a simulated device does when it is commanded (ThingsBoard RPC). Pure.

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::{Value, json};

/// Requests arrive on this topic and a number.
const REQUEST: &str = "v1/devices/me/rpc/request/";
/// The filter that brings them.
pub const FILTER: &str = "v1/devices/me/rpc/request/+";
/// Numbers whose answers are remembered: the same request again is answered and not obeyed twice.
const REMEMBERED: usize = 32;

/// What follows from a request besides its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Nothing.
    None,
    /// Speak at this cadence from now on.
    Interval(Duration),
    /// Say goodbye and come back.
    Reboot,
}

/// One device's obedience.
#[derive(Debug, Default)]
pub struct Obedience {
    answered: VecDeque<(u64, Value)>,
}

impl Obedience {
    /// Takes a message; gives the answer's topic and payload and what to do. `None` for what is no request.
    pub fn take(&mut self, topic: &str, payload: &[u8], every: Duration) -> Option<(String, Value, Deed)> {
        let n: u64 = topic.strip_prefix(REQUEST)?.parse().ok()?;
        let to = format!("v1/devices/me/rpc/response/{n}");
        if let Some((_, known)) = self.answered.iter().find(|(known, _)| *known == n) {
            return Some((to, known.clone(), Deed::None));
        }
        let request: Value = serde_json::from_slice(payload).unwrap_or_default();
        let seconds = request["params"]["seconds"].as_f64();
        let (answer, deed) = match request["method"].as_str() {
            Some("setInterval") => match seconds.filter(|s| (1.0..=86_400.0).contains(s)) {
                Some(s) => (
                    json!({"interval_s": s}),
                    Deed::Interval(Duration::from_secs_f64(s)),
                ),
                None => (
                    json!({"error": "`seconds` is a number from 1 to 86400"}),
                    Deed::None,
                ),
            },
            Some("getInterval") => (json!({"interval_s": every.as_secs_f64()}), Deed::None),
            Some("reboot") => (json!({"rebooting": true}), Deed::Reboot),
            Some(other) => (json!({"error": format!("unknown method {other}")}), Deed::None),
            None => (json!({"error": "a request has a `method`"}), Deed::None),
        };
        if self.answered.len() == REMEMBERED {
            self.answered.pop_front();
        }
        self.answered.push_back((n, answer.clone()));
        Some((to, answer, deed))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn requests_are_obeyed_once_and_others_answered_with_an_error() {
        let mut obedience = Obedience::default();
        let every = Duration::from_secs(5);
        let mut take = |n: u64, payload: &str| {
            let topic = format!("v1/devices/me/rpc/request/{n}");
            let (to, answer, deed) = obedience.take(&topic, payload.as_bytes(), every).unwrap();
            assert_eq!(to, format!("v1/devices/me/rpc/response/{n}"));
            (answer, deed)
        };
        let slower = r#"{"method":"setInterval","params":{"seconds":30}}"#;
        let done = json!({"interval_s": 30.0});
        assert_eq!(
            take(1, slower),
            (done.clone(), Deed::Interval(Duration::from_secs(30)))
        );
        assert_eq!(take(1, slower), (done, Deed::None), "a resend");
        assert_eq!(take(2, r#"{"method":"reboot"}"#).1, Deed::Reboot);
        assert_eq!(
            take(3, r#"{"method":"getInterval"}"#).0,
            json!({"interval_s": 5.0})
        );
        for bad in [
            r#"{"method":"setInterval","params":{"seconds":0}}"#,
            r#"{"method":"setInterval"}"#,
            r#"{"method":"dance"}"#,
            "{",
            "",
        ] {
            let n = 10 + bad.len() as u64;
            let (answer, deed) = take(n, bad);
            assert!(answer["error"].is_string() && deed == Deed::None, "{bad}");
        }
        assert_eq!(obedience.take("v1/devices/me/attributes", b"{}", every), None);
        assert_eq!(obedience.take("v1/devices/me/rpc/request/x", b"{}", every), None);
    }
}

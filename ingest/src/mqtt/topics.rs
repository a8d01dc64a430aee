//! A device's own topics, and their one normalised name.
//!
//! Own are `v1/devices/me/…` (normalised to `d/{device}/…`), `d/{device}/…` and
//! `onemap/v1/{device}/…`. Everything else is foreign: a device neither publishes nor subscribes there.

use std::borrow::Cow;

use crate::fanout::Naming;

const ME: &str = "v1/devices/me/";

/// The normalised name of an own topic or filter and how the device calls it; `None` when it is
/// foreign. Wildcards are welcome behind the device's part and nowhere before it.
pub(super) fn own<'t>(device: &str, name: &'t str) -> Option<(Cow<'t, str>, Naming)> {
    if let Some(rest) = name.strip_prefix(ME) {
        return Some((Cow::Owned(format!("d/{device}/{rest}")), Naming::Me));
    }
    let behind = |prefix: &str| name.strip_prefix(prefix)?.strip_prefix(device)?.strip_prefix('/');
    behind("d/")
        .or_else(|| behind("onemap/v1/"))
        .map(|_| (Cow::Borrowed(name), Naming::Plain))
}

/// Remembers the last topic: a device says the same one again and again.
#[derive(Default)]
pub(super) struct LastTopic {
    as_sent: Vec<u8>,
    normalised: String,
}

impl LastTopic {
    /// Whether it was this one, which was sound and the device's own then.
    pub(super) fn is(&self, topic: &[u8]) -> bool {
        !topic.is_empty() && self.as_sent == topic
    }
    /// The normalised name of a topic, if it is the device's own and can be published to.
    pub(super) fn own(&mut self, device: &str, topic: &[u8]) -> Option<&str> {
        if !self.is(topic) {
            let text = std::str::from_utf8(topic).ok()?;
            let (normalised, _) = own(device, text)?;
            self.normalised = normalised.into_owned();
            self.as_sent = topic.to_vec();
        }
        Some(&self.normalised)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_device_s_own_names_are_taken() {
        for (name, want) in [
            ("v1/devices/me/telemetry", Some("d/A/telemetry")),
            ("v1/devices/me/rpc/request/+", Some("d/A/rpc/request/+")),
            ("v1/devices/me/#", Some("d/A/#")),
            ("d/A/#", Some("d/A/#")),
            ("onemap/v1/A/receipt", Some("onemap/v1/A/receipt")),
            ("onemap/v1/AB/receipt", None),
            ("onemap/v1/B/receipt", None),
            ("onemap/v1/+/receipt", None),
            ("d/B/telemetry", None),
            ("d/+/telemetry", None),
            ("d/A", None),
            ("v1/devices/me", None),
            ("v1/devices/B/telemetry", None),
            ("v1/gateway/telemetry", None),
            ("#", None),
            ("", None),
        ] {
            assert_eq!(
                own("A", name).map(|(n, _)| n.into_owned()).as_deref(),
                want,
                "{name}"
            );
        }
    }

    #[test]
    fn the_last_topic_is_only_a_shortcut() {
        let mut last = LastTopic::default();
        assert_eq!(last.own("A", b"v1/devices/me/telemetry"), Some("d/A/telemetry"));
        assert_eq!(last.own("A", b"v1/devices/me/telemetry"), Some("d/A/telemetry"));
        assert_eq!(last.own("A", b"d/B/telemetry"), None);
        assert_eq!(last.own("A", b""), None);
        assert_eq!(last.own("A", b"d/A/\xff"), None);
        assert_eq!(last.own("A", b"d/A/x"), Some("d/A/x"));
    }
}

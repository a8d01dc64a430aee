//! A device's own topics, and their one normalised name.
//!
//! Own are `v1/devices/me/…` and its short forms `v2/…` (normalised to `d/{device}/…`), `d/{device}/…`,
//! `onemap/v1/{device}/…`, and for a gateway `v1/gateway/…` (normalised to `g/{gateway}/…`). Everything else
//! is foreign: a device neither publishes nor subscribes there.

use std::borrow::Cow;

use super::acl::Acl;
use crate::Fanout;
use crate::fanout::{self, Naming};

const ME: &str = "v1/devices/me/";
const GATEWAY: &str = "v1/gateway/";
const SHORT: &str = "v2/";

/// Who publishes and subscribes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Speaker<'a> {
    pub(super) device: &'a str,
    pub(super) is_gateway: bool,
}

/// Whose a topic or filter is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Own<'t> {
    /// The device's; its normalised name, and how the device calls it.
    Yes(Cow<'t, str>, Naming),
    /// A gateway's, and the device is none.
    NotAGateway,
    /// Another's, or nobody's.
    Foreign,
}

/// Whose a topic or filter is. Wildcards are welcome behind the device's part and nowhere before it.
pub(super) fn own<'t>(speaker: Speaker<'_>, name: &'t str) -> Own<'t> {
    let device = speaker.device;
    if let Some(rest) = name.strip_prefix(ME) {
        return Own::Yes(Cow::Owned(format!("d/{device}/{rest}")), Naming::Me);
    }
    let behind = |prefix: &str| name.strip_prefix(prefix)?.strip_prefix(device)?.strip_prefix('/');
    if behind("d/").or_else(|| behind("onemap/v1/")).is_some() {
        return Own::Yes(Cow::Borrowed(name), Naming::Plain);
    }
    if let Some(rest) = name.strip_prefix(SHORT) {
        return match fanout::long_name(rest) {
            Some((long, naming)) => Own::Yes(Cow::Owned(format!("d/{device}/{long}")), naming),
            None => Own::Foreign,
        };
    }
    let of_gateways = match name.strip_prefix(GATEWAY) {
        Some(rest) => Own::Yes(Cow::Owned(format!("g/{device}/{rest}")), Naming::Gateway),
        None if behind("g/").is_some() => Own::Yes(Cow::Borrowed(name), Naming::Plain),
        None => return Own::Foreign,
    };
    if speaker.is_gateway {
        of_gateways
    } else {
        Own::NotAGateway
    }
}

/// A topic as its sender wrote it, for a detail: its beginning, control characters escaped.
pub(super) fn shown(topic: &str) -> String {
    topic.chars().take(128).flat_map(char::escape_debug).collect()
}

/// Whether what a device publishes here goes to those who listen there. On the topics that a device and the
/// server both publish to (its attributes, its requests and answers, its commands, all of a gateway's) a device
/// must not take its own words for the server's.
pub(super) fn is_heard(normalised: &str) -> bool {
    if normalised.starts_with("g/") {
        return false;
    }
    let behind = |prefix: &str| Some(normalised.strip_prefix(prefix)?.split_once('/')?.1);
    if let Some(rest) = behind("d/") {
        return rest != "attributes" && !rest.starts_with("rpc/");
    }
    behind("onemap/v1/").is_none_or(|rest| rest != "command" && !rest.starts_with("command/"))
}

/// Whether a normalised name is of the protobuf form, which is not spoken.
pub(super) fn is_protobuf(normalised: &str) -> bool {
    let rest = normalised
        .strip_prefix("d/")
        .and_then(|rest| rest.split_once('/'));
    rest.is_some_and(|(_, rest)| rest.starts_with("protobuf/"))
}

/// What a client may do: its own topics, and those the configuration grants.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rights<'a> {
    pub(super) acl: &'a Acl,
    pub(super) speaker: Speaker<'a>,
}

/// Whose a topic is, with those that are granted as one's own. An anonymous client (no device) has no own.
pub(super) fn publishable<'t>(rights: Rights<'_>, topic: &'t str) -> Own<'t> {
    let Rights { acl, speaker } = rights;
    match of_speaker(speaker, topic) {
        Own::Foreign if acl.may_publish(speaker.device, topic) => {
            Own::Yes(Cow::Borrowed(topic), Naming::Plain)
        }
        own => own,
    }
}

/// A filter that a client may subscribe, as [`publishable`].
pub(super) fn subscribable<'t>(rights: Rights<'_>, filter: &'t str) -> Option<(Cow<'t, str>, Naming)> {
    let Rights { acl, speaker } = rights;
    match of_speaker(speaker, filter) {
        // Nothing is ever said in protobuf here; a SUBACK that grants it would be a lie.
        Own::Yes(filter, _) if is_protobuf(&filter) => None,
        Own::Yes(filter, naming) => Some((filter, naming)),
        Own::Foreign if acl.may_subscribe(speaker.device, filter) => {
            Some((Cow::Borrowed(filter), Naming::Plain))
        }
        _ => None,
    }
}

fn of_speaker<'t>(speaker: Speaker<'_>, name: &'t str) -> Own<'t> {
    match speaker.device.is_empty() {
        true => Own::Foreign,
        false => own(speaker, name),
    }
}

/// Remembers the last topic: a device says the same one again and again.
#[derive(Default)]
pub(super) struct LastTopic {
    as_sent: Vec<u8>,
    normalised: String,
    is_heard: bool,
    /// Whether somebody wants it, as of a generation of the hub.
    wanted: Option<(u64, bool)>,
}

impl LastTopic {
    /// Whether it was this one, which was sound and the device's own then.
    pub(super) fn is(&self, topic: &[u8]) -> bool {
        !topic.is_empty() && self.as_sent == topic
    }
    /// The normalised name of a topic, if the client may publish there; otherwise whether only its being no
    /// gateway stands against it.
    pub(super) fn own(&mut self, rights: Rights<'_>, topic: &[u8]) -> Result<&str, Own<'static>> {
        if !self.is(topic) {
            let text = std::str::from_utf8(topic).map_err(|_| Own::Foreign)?;
            match publishable(rights, text) {
                Own::Yes(normalised, _) => self.normalised = normalised.into_owned(),
                Own::NotAGateway => return Err(Own::NotAGateway),
                Own::Foreign => return Err(Own::Foreign),
            }
            self.as_sent = topic.to_vec();
            self.is_heard = is_heard(&self.normalised);
            self.wanted = None;
        }
        Ok(&self.normalised)
    }
    /// See [`is_heard`].
    pub(super) fn is_heard(&self) -> bool {
        self.is_heard
    }
    /// Whether anybody would get a message on the last topic.
    pub(super) fn is_wanted(&mut self, fanout: &Fanout) -> bool {
        let generation = fanout.generation();
        match self.wanted {
            Some((then, wanted)) if then == generation => wanted,
            _ => {
                let wanted = fanout.wanted(&self.normalised);
                self.wanted = Some((generation, wanted));
                wanted
            }
        }
    }
    /// The last topic, normalised.
    pub(super) fn normalised(&self) -> &str {
        &self.normalised
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Speaker<'static> = Speaker {
        device: "A",
        is_gateway: false,
    };
    const G: Speaker<'static> = Speaker {
        device: "G",
        is_gateway: true,
    };

    fn name(own: &Own<'_>) -> String {
        match own {
            Own::Yes(name, naming) => format!("{name} {naming:?}"),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn only_the_device_s_own_names_are_taken() {
        for (topic, want) in [
            ("v1/devices/me/telemetry", "d/A/telemetry Me"),
            ("v1/devices/me/rpc/request/+", "d/A/rpc/request/+ Me"),
            ("v1/devices/me/#", "d/A/# Me"),
            ("d/A/#", "d/A/# Plain"),
            ("onemap/v1/A/receipt", "onemap/v1/A/receipt Plain"),
            ("onemap/v1/AB/receipt", "Foreign"),
            ("onemap/v1/B/receipt", "Foreign"),
            ("onemap/v1/+/receipt", "Foreign"),
            ("d/B/telemetry", "Foreign"),
            ("d/+/telemetry", "Foreign"),
            ("d/A", "Foreign"),
            ("v1/devices/me", "Foreign"),
            ("v1/devices/B/telemetry", "Foreign"),
            ("v1/gateway/telemetry", "NotAGateway"),
            ("v1/gateway", "Foreign"),
            ("g/A/telemetry", "NotAGateway"),
            ("g/B/telemetry", "Foreign"),
            ("#", "Foreign"),
            ("", "Foreign"),
        ] {
            assert_eq!(name(&own(A, topic)), want, "{topic}");
        }
        for (topic, want) in [
            ("v1/gateway/telemetry", "g/G/telemetry Gateway"),
            ("v1/gateway/#", "g/G/# Gateway"),
            ("g/G/rpc", "g/G/rpc Plain"),
            ("g/H/rpc", "Foreign"),
            ("v1/devices/me/telemetry", "d/G/telemetry Me"),
        ] {
            assert_eq!(name(&own(G, topic)), want, "{topic}");
        }
    }

    #[test]
    fn short_names_are_the_long_ones() {
        for (topic, want) in [
            ("v2/t", "d/A/telemetry Short"),
            ("v2/t/j", "d/A/telemetry ShortJson"),
            ("v2/a", "d/A/attributes Short"),
            ("v2/a/j", "d/A/attributes ShortJson"),
            ("v2/a/req/7", "d/A/attributes/request/7 Short"),
            ("v2/a/req/j/7", "d/A/attributes/request/7 ShortJson"),
            ("v2/a/res/+", "d/A/attributes/response/+ Short"),
            ("v2/a/res/j/+", "d/A/attributes/response/+ ShortJson"),
            ("v2/r/req/+", "d/A/rpc/request/+ Short"),
            ("v2/r/res/3", "d/A/rpc/response/3 Short"),
            ("v2/c", "d/A/claim Short"),
            ("v2/#", "d/A/# Short"),
            // Protobuf has names of its own, which nobody reads: refused by name.
            ("v2/t/p", "d/A/protobuf/t Short"),
            ("v2/a/req/p/7", "d/A/protobuf/a/req/7 Short"),
            ("v2/x", "Foreign"),
            ("v2/t/x", "Foreign"),
            ("v2/", "Foreign"),
            ("v2/+/req/1", "Foreign"),
        ] {
            assert_eq!(name(&own(A, topic)), want, "{topic}");
        }
    }

    #[test]
    fn a_device_does_not_hear_its_own_attributes() {
        for (topic, want) in [
            ("d/A/telemetry", true),
            ("d/A/attributes", false),
            ("d/A/attributes/request/1", true),
            ("g/G/attributes", false),
            ("g/G/telemetry", false),
            ("g/G/rpc", false),
            ("d/A/rpc/request/1", false),
            ("d/A/rpc/response/1", false),
            ("d/A/x/rpc/request/1", true),
            ("onemap/v1/A/readings", true),
            ("onemap/v1/A/command", false),
            ("onemap/v1/A/command/response", false),
            ("onemap/v1/A/commands", true),
        ] {
            assert_eq!(is_heard(topic), want, "{topic}");
        }
    }

    #[test]
    fn the_last_topic_is_only_a_shortcut() {
        let acl = Acl::default();
        let rights = Rights {
            acl: &acl,
            speaker: A,
        };
        let mut last = LastTopic::default();
        assert_eq!(last.own(rights, b"v1/devices/me/telemetry"), Ok("d/A/telemetry"));
        assert_eq!(last.own(rights, b"v1/devices/me/telemetry"), Ok("d/A/telemetry"));
        assert_eq!(last.own(rights, b"d/B/telemetry"), Err(Own::Foreign));
        assert_eq!(last.own(rights, b"v1/gateway/telemetry"), Err(Own::NotAGateway));
        assert_eq!(last.own(rights, b""), Err(Own::Foreign));
        assert_eq!(last.own(rights, b"d/A/\xff"), Err(Own::Foreign));
        assert_eq!(last.own(rights, b"d/A/x"), Ok("d/A/x"));
    }
}

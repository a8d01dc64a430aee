//! What a client may publish and subscribe beyond its own topics.
//!
//! A device has its own topics by its token. Entries of the configuration give topics to anonymous
//! clients, and more topics to named devices. The topics of devices (`d/…`, `g/…`, `onemap/…`, `v1/…`, `v2/…`) and
//! of the server (`$…`) are not part of an entry that begins with a wildcard: they have to be named.

use std::sync::Arc;

use crate::trie::{covers, is_filter, matches};

/// First levels that belong to devices.
const OF_DEVICES: &[&str] = &["d", "g", "onemap", "v1", "v2"];

/// Whom an entry is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// Clients without a user name.
    Anonymous,
    /// Every device with a token.
    Devices,
    /// One device.
    Device(String),
}

/// One entry: filters that are granted and filters that are denied. A denial is stronger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AclEntry {
    /// Whom it is for.
    pub who: Who,
    /// Filters of topics that may be published to.
    pub publish: Vec<String>,
    /// Filters that may be subscribed, and whatever is narrower.
    pub subscribe: Vec<String>,
    /// Filters of topics that may not be published to.
    pub deny_publish: Vec<String>,
    /// Filters that may not be subscribed; their topics do not come by a wider filter either.
    pub deny_subscribe: Vec<String>,
}

/// All entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acl(Vec<AclEntry>);

impl Acl {
    /// Checks the entries.
    ///
    /// # Errors
    /// The first text that is not a topic filter of MQTT.
    pub fn new(entries: Vec<AclEntry>) -> Result<Self, String> {
        let bad = entries.iter().find_map(|entry| {
            let lists = [
                &entry.publish,
                &entry.subscribe,
                &entry.deny_publish,
                &entry.deny_subscribe,
            ];
            lists.into_iter().flatten().find(|filter| !is_filter(filter))
        });
        match bad {
            Some(bad) => Err(bad.clone()),
            None => Ok(Self(entries)),
        }
    }

    /// The entries for a device; an empty name is an anonymous client.
    fn of<'a>(&'a self, device: &'a str) -> impl Iterator<Item = &'a AclEntry> + 'a {
        self.0.iter().filter(move |entry| match &entry.who {
            Who::Anonymous => device.is_empty(),
            Who::Devices => !device.is_empty(),
            Who::Device(name) => name == device,
        })
    }

    /// Whether a topic that is not the device's own may be published to.
    pub(super) fn may_publish(&self, device: &str, topic: &str) -> bool {
        let any = |list: fn(&AclEntry) -> &Vec<String>| {
            self.of(device)
                .flat_map(list)
                .any(|filter| matches(filter, topic) && grants(filter, topic))
        };
        !topic.starts_with("$SYS/")
            && any(|entry| &entry.publish)
            && !self
                .of(device)
                .flat_map(|entry| &entry.deny_publish)
                .any(|filter| matches(filter, topic))
    }

    /// Whether a filter that is not the device's own may be subscribed.
    pub(super) fn may_subscribe(&self, device: &str, filter: &str) -> bool {
        let is_granted = self
            .of(device)
            .flat_map(|entry| &entry.subscribe)
            .any(|granted| covers(granted, filter) && grants(granted, filter));
        let is_denied = self
            .of(device)
            .flat_map(|entry| &entry.deny_subscribe)
            .any(|denied| covers(denied, filter));
        is_granted && !is_denied
    }

    /// Filters of topics that never reach this client, however wide a filter it was granted.
    pub(super) fn denied(&self, device: &str) -> Arc<[Box<str>]> {
        let wide = self
            .of(device)
            .flat_map(|entry| &entry.subscribe)
            .any(|filter| filter.starts_with(['+', '#']));
        let of_devices = OF_DEVICES
            .iter()
            .filter(|level| wide && !self.names(device, level));
        let of_devices = of_devices.map(|level| format!("{level}/#").into());
        let listed = self.of(device).flat_map(|entry| &entry.deny_subscribe);
        let listed = listed.map(|filter| filter.as_str().into());
        // A device hears itself whatever wide filters it was granted.
        match device.is_empty() {
            true => of_devices.chain(listed).collect(),
            false => listed.collect(),
        }
    }

    /// Whether an entry names this first level of devices.
    fn names(&self, device: &str, level: &str) -> bool {
        self.of(device)
            .flat_map(|entry| &entry.subscribe)
            .any(|filter| filter.split('/').next() == Some(level))
    }
}

/// An entry that begins with a wildcard does not grant what belongs to devices.
fn grants(granted: &str, name: &str) -> bool {
    let first = name.split('/').next().unwrap_or_default();
    !granted.starts_with(['+', '#']) || !OF_DEVICES.contains(&first)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn entry(who: Who, publish: &[&str], subscribe: &[&str]) -> AclEntry {
        let list = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        AclEntry {
            who,
            publish: list(publish),
            subscribe: list(subscribe),
            deny_publish: list(&["secret/#"]),
            deny_subscribe: list(&["test/nosubscribe"]),
        }
    }

    #[test]
    fn anonymous_clients_get_what_is_listed_and_nothing_of_devices() {
        let acl = Acl::new(vec![entry(
            Who::Anonymous,
            &["#", "$x/#", "$SYS/#"],
            &["#", "$SYS/#"],
        )])
        .unwrap();
        for (topic, may) in [
            ("TopicA/B", true),
            ("/TopicA", true),
            ("$x/y", true),
            ("$SYS/y", false),
            ("secret/x", false),
            ("d/A/telemetry", false),
            ("onemap/v1/A/readings", false),
            ("v1/devices/me/telemetry", false),
        ] {
            assert_eq!(acl.may_publish("", topic), may, "{topic}");
            assert!(!acl.may_publish("A", topic), "{topic}");
        }
        for (filter, may) in [
            ("#", true),
            ("+/+", true),
            ("$SYS/#", true),
            ("$other/#", false),
            ("test/nosubscribe", false),
            ("test/+", true),
            ("d/+/telemetry", false),
            ("v1/#", false),
        ] {
            assert_eq!(acl.may_subscribe("", filter), may, "{filter}");
        }
        let denied = acl.denied("");
        for (topic, is_denied) in [("d/A/x", true), ("test/nosubscribe", true), ("test/x", false)] {
            let found = denied.iter().any(|filter| matches(filter, topic));
            assert_eq!(found, is_denied, "{topic}");
        }
        assert!(acl.denied("A").is_empty());
    }

    #[test]
    fn a_named_device_gets_more_topics_and_devices_by_name_only() {
        let acl = Acl::new(vec![
            entry(Who::Device("desk".into()), &["room/1"], &["d/+/telemetry"]),
            entry(Who::Devices, &["shared"], &[]),
        ])
        .unwrap();
        assert!(acl.may_subscribe("desk", "d/A/telemetry") && acl.may_subscribe("desk", "d/+/telemetry"));
        assert!(!acl.may_subscribe("desk", "d/#") && !acl.may_subscribe("A", "d/B/telemetry"));
        assert!(acl.may_publish("desk", "room/1") && !acl.may_publish("A", "room/1"));
        assert!(acl.may_publish("A", "shared") && !acl.may_publish("", "shared"));
    }

    #[test]
    fn an_entry_that_is_no_filter_is_refused() {
        let refused = Acl::new(vec![entry(Who::Anonymous, &["a/#/b"], &[])]);
        assert_eq!(refused, Err("a/#/b".to_owned()));
    }
}

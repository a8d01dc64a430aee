//! Under which name a subscriber gets a message: the one it subscribed with.

use std::sync::Arc;

/// Under which name a subscriber gets a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Naming {
    /// The normalised topic.
    Plain,
    /// `v1/devices/me/…` for `d/{device}/…`, because that is what the device subscribed to.
    Me,
    /// The short form: `v2/a/res/3` for `d/{device}/attributes/response/3`.
    Short,
    /// The short form with its format letter: `v2/a/res/j/3`.
    ShortJson,
    /// `v1/gateway/…` for `g/{gateway}/…`.
    Gateway,
}

impl Naming {
    /// Every naming.
    const ALL: [Self; 5] = [Self::Plain, Self::Me, Self::Short, Self::ShortJson, Self::Gateway];

    /// Its stable label, for the journal.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Me => "me",
            Self::Short => "short",
            Self::ShortJson => "short_json",
            Self::Gateway => "gateway",
        }
    }
    /// The naming of a label.
    pub(crate) fn of_label(label: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|naming| naming.label() == label)
    }

    /// The subscriber's name of a normalised topic; `None` where it has no other name.
    pub(super) fn name(self, topic: &str) -> Option<Arc<str>> {
        let of = |prefix: &str| Some(topic.strip_prefix(prefix)?.split_once('/')?.1);
        match self {
            Naming::Plain => None,
            Naming::Me => Some(format!("v1/devices/me/{}", of("d/")?).into()),
            Naming::Gateway => Some(format!("v1/gateway/{}", of("g/")?).into()),
            Naming::Short => Some(short_name(of("d/")?, false)?.into()),
            Naming::ShortJson => Some(short_name(of("d/")?, true)?.into()),
        }
    }
}

/// Short words behind `v2/`, what they stand for, and whether more (a number) follows.
const WORDS: [(&str, &str, bool); 7] = [
    ("t", "telemetry", false),
    ("a", "attributes", false),
    ("c", "claim", false),
    ("a/req", "attributes/request", true),
    ("a/res", "attributes/response", true),
    ("r/req", "rpc/request", true),
    ("r/res", "rpc/response", true),
];

/// What stands behind `d/{device}/` for what stands behind `v2/`; `None` when there is no such short name.
///
/// The format letter `j` (JSON) may follow the word; with `p` (protobuf), which is not spoken here, the name
/// is `protobuf/…`, which nobody reads, so that it is refused by name.
pub(crate) fn long_name(short: &str) -> Option<(String, Naming)> {
    if short == "#" {
        return Some(("#".to_owned(), Naming::Short));
    }
    for (word, long, has_more) in WORDS {
        let Some(rest) = short.strip_prefix(word) else {
            continue;
        };
        if !has_more {
            match rest {
                "" => return Some((long.to_owned(), Naming::Short)),
                "/j" => return Some((long.to_owned(), Naming::ShortJson)),
                "/p" => return Some((format!("protobuf/{word}"), Naming::Short)),
                _ => continue,
            }
        }
        let Some(rest) = rest.strip_prefix('/').filter(|rest| !rest.is_empty()) else {
            continue;
        };
        return Some(match rest.split_once('/') {
            Some(("j", more)) => (format!("{long}/{more}"), Naming::ShortJson),
            Some(("p", more)) => (format!("protobuf/{word}/{more}"), Naming::Short),
            _ => (format!("{long}/{rest}"), Naming::Short),
        });
    }
    None
}

fn short_name(long: &str, has_letter: bool) -> Option<String> {
    let letter = if has_letter { "/j" } else { "" };
    WORDS.into_iter().find_map(|(word, name, has_more)| {
        let rest = long.strip_prefix(name)?;
        match has_more {
            false => rest.is_empty().then(|| format!("v2/{word}{letter}")),
            true => rest.starts_with('/').then(|| format!("v2/{word}{letter}{rest}")),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_subscriber_gets_its_own_name() {
        for (naming, topic, want) in [
            (Naming::Plain, "d/A/attributes", None),
            (Naming::Me, "d/A/attributes", Some("v1/devices/me/attributes")),
            (Naming::Me, "g/A/attributes", None),
            (Naming::Gateway, "g/A/rpc", Some("v1/gateway/rpc")),
            (Naming::Short, "d/A/attributes", Some("v2/a")),
            (Naming::ShortJson, "d/A/attributes", Some("v2/a/j")),
            (Naming::Short, "d/A/attributes/response/3", Some("v2/a/res/3")),
            (
                Naming::ShortJson,
                "d/A/attributes/response/3",
                Some("v2/a/res/j/3"),
            ),
            (Naming::Short, "d/A/rpc/request/9", Some("v2/r/req/9")),
            (Naming::Short, "d/A/other", None),
        ] {
            assert_eq!(naming.name(topic).as_deref(), want, "{naming:?} {topic}");
        }
    }

    #[test]
    fn short_names_go_there_and_back() {
        for short in ["t", "a/j", "c", "a/req/4", "a/res/j/4", "r/req/1", "r/res/j/77"] {
            let (long, naming) = long_name(short).expect("a short name");
            assert_eq!(
                naming.name(&format!("d/A/{long}")).as_deref(),
                Some(&*format!("v2/{short}"))
            );
        }
    }
}

//! Names of the fields in CP of requests (`fields.json`, read once), and from where each is known.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde::Deserialize;

use super::flag::Version;

/// From where a field's name is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Known {
    /// The standard's text.
    Text,
    /// Frames in public code; no text.
    Code,
    /// Neither.
    Unverified,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Field {
    cn: Vec<u16>,
    /// The editions that write it so; all of them when none are named.
    #[serde(default)]
    editions: Vec<String>,
    names: Vec<String>,
    known: Known,
}

/// `fields.json`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    #[serde(rename = "about")]
    _about: String,
    #[serde(rename = "source")]
    _source: String,
    #[serde(rename = "verified")]
    _verified: String,
    fields: Vec<Field>,
    #[serde(rename = "unknown")]
    _unknown: BTreeMap<String, String>,
}

fn fields() -> &'static [Field] {
    static FIELDS: OnceLock<Vec<Field>> = OnceLock::new();
    FIELDS.get_or_init(|| {
        let all: Fields = serde_json::from_str(include_str!("fields.json"))
            .expect("the fields are part of the program and their test reads them");
        all.fields
    })
}

/// From where a field of a command is known, by its key in CP: `NewPW`, `i13004-Info`. `None` for a key that is not noted.
pub fn known_field(cn: &str, version: Version, key: &str) -> Option<Known> {
    let cn: u16 = cn.parse().ok()?;
    let is_it = |name: &String| match name.strip_prefix('-') {
        Some(_) => key.ends_with(name.as_str()),
        None => name == key,
    };
    let is_of = |field: &&Field| {
        field.cn.contains(&cn)
            && (field.editions.is_empty() || field.editions.iter().any(|one| one == version.name()))
            && field.names.iter().any(is_it)
    };
    fields().iter().find(is_of).map(|field| field.known)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::hj212::command_of;

    #[test]
    fn a_field_is_known_by_its_command_and_edition() {
        for (cn, version, key, known) in [
            ("1072", Version::V2017, "NewPW", Some(Known::Text)),
            ("1072", Version::V2017, "PW", None),
            ("1072", Version::V2005, "PW", Some(Known::Code)),
            ("1022", Version::V2005, "011-LowValue", Some(Known::Code)),
            ("3021", Version::V2017, "i13004-Info", Some(Known::Text)),
            ("3021", Version::V2017, "InfoId", Some(Known::Unverified)),
            ("1014", Version::V2025, "Key", None),
            ("x", Version::V2017, "PolId", None),
        ] {
            assert_eq!(known_field(cn, version, key), known, "{cn} {key}");
        }
    }

    #[test]
    fn every_command_with_fields_is_one() {
        for cn in fields().iter().flat_map(|field| &field.cn) {
            assert!(command_of(&cn.to_string(), Version::V2017).is_some(), "{cn}");
        }
    }
}

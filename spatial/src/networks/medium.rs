//! What flows in a pipe, as the register's words say it: `media.json`, read once. The words are those of registers of
//! pipes as they come; codes are of CJJ 61.

use std::sync::OnceLock;

use onemap_model::{Entity, EntityKind};
use serde_json::{Map, Value};

/// What flows in a network.
#[derive(Debug, PartialEq, Eq)]
pub struct Medium {
    /// Stable name.
    pub id: String,
    /// Such a network, in Chinese.
    pub zh: String,
    /// The same in English.
    pub en: String,
}

struct Media {
    all: Vec<Medium>,
    keys: Vec<String>,
    codes: Vec<(String, u16)>,
    words: Vec<(String, u16)>,
}

fn media() -> &'static Media {
    static MEDIA: OnceLock<Media> = OnceLock::new();
    MEDIA.get_or_init(|| {
        let written: Value =
            serde_json::from_str(include_str!("media.json")).expect("the media are part of the program");
        let text = |value: &Value| value.as_str().expect("a text of the media").to_owned();
        let list = |name: &str| written[name].as_array().expect("a list of the media").clone();
        let medium = |value: &Value| Medium {
            id: text(&value["id"]),
            zh: text(&value["zh"]),
            en: text(&value["en"]),
        };
        let all: Vec<Medium> = list("media").iter().map(medium).collect();
        let number = |id: &Value| {
            let at = all.iter().position(|medium| id == medium.id.as_str());
            u16::try_from(at.expect("a medium of the list")).expect("few media")
        };
        let pairs = |name: &str| -> Vec<(String, u16)> {
            list(name)
                .iter()
                .map(|pair| (text(&pair[0]), number(&pair[1])))
                .collect()
        };
        Media {
            keys: list("keys").iter().map(text).collect(),
            codes: pairs("codes"),
            words: pairs("words"),
            all,
        }
    })
}

impl Medium {
    /// Every one; a piece's medium is a number in this list.
    pub fn all() -> &'static [Self] {
        &media().all
    }

    /// The number of that of pipes which do not say what flows in them.
    pub(super) fn unsaid() -> u16 {
        Self::number("pipe")
    }

    fn number(id: &str) -> u16 {
        let at = media().all.iter().position(|medium| medium.id == id);
        at.and_then(|at| u16::try_from(at).ok()).unwrap_or(0)
    }
}

/// What flows in an entity: in reaches and waters a river; in a pipe what its attributes or its name say, else that it
/// is one; in a component what these say, if they do.
pub(super) fn medium_of(entity: &Entity) -> Option<u16> {
    match entity.kind {
        EntityKind::Reach | EntityKind::Water => Some(Medium::number("river")),
        EntityKind::Pipe => Some(said(entity).unwrap_or_else(Medium::unsaid)),
        _ => said(entity),
    }
}

fn said(entity: &Entity) -> Option<u16> {
    let stated = |key: &String| text_of(&entity.attributes, key).and_then(|text| of_word(text, true));
    media()
        .keys
        .iter()
        .find_map(stated)
        .or_else(|| of_word(&entity.name, false))
}

/// An attribute that is a text, whatever the case of its key.
pub(super) fn text_of<'a>(attributes: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    let found = attributes.iter().find(|(own, _)| own.eq_ignore_ascii_case(key));
    found
        .and_then(|(_, value)| value.as_str())
        .filter(|text| !text.trim().is_empty())
}

/// Whether a text is nothing but a word or a code of what flows.
pub(super) fn is_word(text: &str) -> bool {
    let text = text.trim().to_lowercase();
    let media = media();
    let is_it = |(word, _): &(String, u16)| *word == text;
    media.codes.iter().any(is_it)
        || media.words.iter().any(is_it)
        || media.all.iter().any(|own| own.id == text)
}

fn of_word(text: &str, may_be_code: bool) -> Option<u16> {
    let text = text.trim().to_lowercase();
    let code = media()
        .codes
        .iter()
        .find(|(code, _)| may_be_code && *code == text);
    let word = || {
        media()
            .words
            .iter()
            .find(|(word, _)| text.contains(word.as_str()))
    };
    code.or_else(word).map(|(_, medium)| *medium)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn words_and_codes_of_registers_say_what_flows() {
        for (kind, attributes, name, want) in [
            ("pipe", json!({"管线类型": "雨水"}), "", Some("drain")),
            ("pipe", json!({"管线类型": "WS"}), "", Some("sewage")),
            ("pipe", json!({"medium": "Storm sewer"}), "", Some("drain")),
            (
                "pipe",
                json!({"network_type": "Rede de Distribuição"}),
                "",
                Some("pipe"),
            ),
            ("pipe", json!({"MEDIUM": "gas"}), "", Some("gas")),
            ("pipe", json!({"type": 3}), "五四大街供水干管", Some("supply")),
            ("pipe", json!({}), "热力一次网", Some("heat")),
            ("pipe", json!({}), "WS", Some("pipe")),
            ("reach", json!({}), "湟水", Some("river")),
            ("component", json!({}), "污水井盖", Some("sewage")),
            ("component", json!({}), "井盖", None),
        ] {
            let entity = json!({"code": "a", "kind": kind, "name": name, "attributes": attributes});
            let entity: Entity = serde_json::from_value(entity).unwrap();
            let medium = medium_of(&entity).map(|n| Medium::all()[usize::from(n)].id.as_str());
            assert_eq!(medium, want, "{name} {attributes}");
        }
    }
}

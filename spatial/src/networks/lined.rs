//! What an entity says of the network that it is part of.

use onemap_model::{Entity, EntityKind, EntityRef};
use serde_json::Value;

use super::medium::{is_word, medium_of, text_of};

const NETWORK: [&str; 3] = ["network", "管网编号", "所属管网"];
const NEXT: [&str; 4] = ["upstream", "downstream", "上游", "下游"];

/// An entity that is part of a network, as far as that matters.
#[derive(Clone, Debug)]
pub struct Lined {
    pub(super) own: EntityRef,
    /// `None` for a component that does not say.
    pub(super) medium: Option<u16>,
    /// The name of its network.
    pub(super) network: Option<String>,
    /// Codes of what lies upstream or downstream, or kinds and codes.
    pub(super) next: Vec<String>,
    /// Lines of at least two points, longitude and latitude.
    pub(super) paths: Vec<Vec<[f64; 2]>>,
    /// Where it is when it has no line.
    pub(super) point: Option<[f64; 2]>,
}

impl Lined {
    /// Whether an attribute's text can make a component part of a network: for leaving out most of a city's unread.
    pub fn may_be_said(attributes: &str) -> bool {
        let keys = || NETWORK.into_iter().chain(NEXT);
        attributes.len() > 2
            && (keys().any(|key| attributes.contains(key)) || {
                let lower = attributes.to_ascii_lowercase();
                keys().any(|key| lower.contains(key))
            })
    }

    /// Reads a pipe, reach, water or component; `None` for other kinds, for what has ended, for a component that names
    /// neither a network nor what it is joined with, and for what has neither a line nor such words.
    pub fn of(entity: &Entity) -> Option<Self> {
        use EntityKind as K;
        let is_kind = matches!(entity.kind, K::Pipe | K::Reach | K::Water | K::Component);
        if !is_kind || entity.valid_to.is_some() {
            return None;
        }
        let network = NETWORK.iter().find_map(|key| text_of(&entity.attributes, key));
        // `network: 雨水` says what flows, not which one it is.
        let network = network
            .map(|name| name.trim().to_owned())
            .filter(|name| !is_word(name));
        let next: Vec<String> = NEXT.iter().flat_map(|key| codes(entity, key)).collect();
        let paths = match entity.kind {
            K::Component => Vec::new(),
            _ => paths_of(&entity.geometry),
        };
        if paths.is_empty() && network.is_none() && next.is_empty() {
            return None;
        }
        Some(Self {
            own: EntityRef {
                kind: entity.kind.clone(),
                code: entity.code.clone(),
            },
            medium: medium_of(entity),
            network,
            next,
            point: point_of(&entity.geometry).filter(|_| paths.is_empty()),
            paths,
        })
    }
}

/// One code, or a list of them.
fn codes(entity: &Entity, key: &str) -> Vec<String> {
    let found = entity
        .attributes
        .iter()
        .find(|(own, _)| own.eq_ignore_ascii_case(key));
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.trim().to_owned()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let all = match found {
        None => Vec::new(),
        Some((_, Value::Array(all))) => all.iter().filter_map(text).collect(),
        Some((_, one)) => text(one).into_iter().collect(),
    };
    all.into_iter().filter(|code: &String| !code.is_empty()).collect()
}

fn place(value: &Value) -> Option<[f64; 2]> {
    let at = [value.get(0)?.as_f64()?, value.get(1)?.as_f64()?];
    at.iter().all(|degrees| degrees.is_finite()).then_some(at)
}

fn line(value: &Value) -> Vec<[f64; 2]> {
    let mut line: Vec<[f64; 2]> = value.as_array().into_iter().flatten().filter_map(place).collect();
    line.dedup();
    line
}

/// Lines of at least two places.
fn paths_of(geometry: &Value) -> Vec<Vec<[f64; 2]>> {
    let coordinates = &geometry["coordinates"];
    let all = match geometry["type"].as_str() {
        Some("LineString") => vec![line(coordinates)],
        Some("MultiLineString") => coordinates.as_array().into_iter().flatten().map(line).collect(),
        _ => Vec::new(),
    };
    all.into_iter().filter(|line| line.len() > 1).collect()
}

/// Where a point is.
pub(super) fn point_of(geometry: &Value) -> Option<[f64; 2]> {
    match geometry["type"].as_str()? {
        "Point" => place(&geometry["coordinates"]),
        _ => None,
    }
}

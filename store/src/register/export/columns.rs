//! Which column of a file holds what of an entity.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use onemap_model::Entity;
use serde_json::{Map, Value};

use super::super::import::is_own_name;
use super::super::rows::{utc_text, word};

/// Most attributes that become columns of their own; SQLite takes 2000 columns.
const N_MOST: usize = 500;
/// Longest name of such a column, bytes.
const MAX_NAME: usize = 128;

/// What a column of attributes holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plain {
    Integer,
    Real,
    Text,
}

/// A cell.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cell<'a> {
    Null,
    Integer(i64),
    Real(f64),
    Text(Cow<'a, str>),
}

/// The columns of an entity's own fields, and what they hold.
pub(super) const OWN: [(&str, Plain); 15] = [
    ("kind", Plain::Text),
    ("code", Plain::Text),
    ("name", Plain::Text),
    ("name_en", Plain::Text),
    ("division", Plain::Text),
    ("department", Plain::Text),
    ("class", Plain::Text),
    ("stratum", Plain::Text),
    ("z_min", Plain::Real),
    ("z_max", Plain::Real),
    ("height_datum", Plain::Text),
    ("valid_from", Plain::Text),
    ("valid_to", Plain::Text),
    ("former", Plain::Text),
    ("source", Plain::Text),
];
/// Those of [`OWN`] that are times: ISO 8601 in UTC.
pub(super) const TIMES: [&str; 2] = ["valid_from", "valid_to"];
/// The column behind all: JSON of the attributes that have no column.
pub(super) const REST: &str = "attributes";

/// An entity's own fields, in the order of [`OWN`].
pub(super) fn own(entity: &Entity) -> [Cell<'_>; OWN.len()] {
    let text = |text: &'_ str| match text {
        "" => Cell::Null,
        text => Cell::Text(Cow::Owned(text.to_owned())),
    };
    let height = |end: usize| entity.z_range_m.map_or(Cell::Null, |z| Cell::Real(z[end]));
    let time = |time: Option<_>| time.map_or(Cell::Null, |t| Cell::Text(utc_text(t).into()));
    let former = match entity.former.is_empty() {
        true => Cell::Null,
        false => {
            let json = serde_json::to_string(&entity.former);
            Cell::Text(json.expect("codes and times are texts").into())
        }
    };
    [
        Cell::Text(entity.kind.name().into()),
        Cell::Text(Cow::Borrowed(&entity.code)),
        text(&entity.name),
        text(&entity.name_en),
        entity.division.as_ref().map_or(Cell::Null, |d| text(d.as_str())),
        text(&entity.department),
        entity.class.as_ref().map_or(Cell::Null, |c| text(c.as_str())),
        Cell::Text(word(&entity.stratum).into()),
        height(0),
        height(1),
        entity
            .height_datum
            .as_ref()
            .map_or(Cell::Null, |d| text(&word(d))),
        time(entity.valid_from),
        time(entity.valid_to),
        former,
        text(&entity.source),
    ]
}

/// JSON of attributes; nothing for none.
pub(super) fn json<'a>(attributes: &Map<String, Value>) -> Cell<'a> {
    match attributes.is_empty() {
        true => Cell::Null,
        false => {
            let json = serde_json::to_string(attributes);
            Cell::Text(json.expect("its keys are texts").into())
        }
    }
}

/// The columns of attributes, by name.
pub(super) struct Columns(pub(super) Vec<(String, Plain)>);

/// What attributes there are, while they are looked at.
#[derive(Default)]
pub(super) struct Survey(BTreeMap<String, (Option<Plain>, usize)>);

impl Survey {
    pub(super) fn note(&mut self, attributes: &Map<String, Value>) {
        for (name, value) in attributes {
            let found = plain(value);
            match self.0.get_mut(name) {
                Some((known, n)) => {
                    *n += 1;
                    if *known != found {
                        *known = None;
                    }
                }
                None => {
                    self.0.insert(name.clone(), (found, 1));
                }
            }
        }
    }

    /// The attributes that get a column: of one plain type, with a name that no field has and that no other has in
    /// other letters; the more frequent ones when there are too many.
    pub(super) fn columns(self) -> Columns {
        let mut lower = BTreeSet::new();
        let mut twice = BTreeSet::new();
        for name in self.0.keys() {
            if !lower.insert(name.to_lowercase()) {
                twice.insert(name.to_lowercase());
            }
        }
        let usable = |name: &str| {
            let has_room = !name.is_empty() && name.len() <= MAX_NAME;
            let is_clean = name.trim() == name && !name.chars().any(|c| c.is_control() || c == '"');
            has_room && is_clean && !is_own_name(name) && !twice.contains(&name.to_lowercase())
        };
        let found = self.0.iter().filter_map(|(name, (plain, n))| {
            let plain = (*plain)?;
            usable(name).then_some((*n, name.clone(), plain))
        });
        let mut found: Vec<_> = found.collect();
        found.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        found.truncate(N_MOST);
        found.sort_by(|a, b| a.1.cmp(&b.1));
        Columns(found.into_iter().map(|(_, name, plain)| (name, plain)).collect())
    }
}

impl Columns {
    /// The cells of one entity's attributes, and JSON of those that have none: also of a value that is not what its
    /// column holds, because it changed after it was looked at.
    pub(super) fn split<'a>(&self, attributes: &'a Map<String, Value>) -> (Vec<Cell<'a>>, Cell<'a>) {
        let mut cells = vec![Cell::Null; self.0.len()];
        let mut rest = Map::new();
        for (name, value) in attributes {
            let at = self.0.binary_search_by(|(own, _)| own.as_str().cmp(name));
            match at {
                Ok(i) if plain(value) == Some(self.0[i].1) => cells[i] = cell(value),
                _ => {
                    rest.insert(name.clone(), value.clone());
                }
            }
        }
        (cells, json(&rest))
    }
}

fn plain(value: &Value) -> Option<Plain> {
    match value {
        Value::String(_) => Some(Plain::Text),
        Value::Number(n) if n.as_i64().is_some() => Some(Plain::Integer),
        Value::Number(n) if n.is_f64() => Some(Plain::Real),
        _ => None,
    }
}

fn cell(value: &Value) -> Cell<'_> {
    match value {
        Value::String(text) => Cell::Text(Cow::Borrowed(text)),
        Value::Number(n) => match n.as_i64() {
            Some(n) => Cell::Integer(n),
            None => n.as_f64().map_or(Cell::Null, Cell::Real),
        },
        _ => Cell::Null,
    }
}

//! Citizen numbers in other things, however they come: none is kept in clear. A value that holds one is replaced by the person's
//! pseudonym, so that records of one person still meet; a code, name or source that holds one refuses its row.

use std::collections::BTreeMap;

use onemap_model::code::CitizenNumber;
use onemap_model::{Entity, Pseudonym};
use serde_json::Value;

/// Digits of a number (GB 11643); the last may be an X.
const N_DIGITS: usize = 18;

/// Columns whose values were replaced, and how many of each.
#[derive(Default)]
pub(crate) struct Numbers(BTreeMap<String, u64>);

impl Numbers {
    /// Replaces each citizen number in an entity's attributes by `person:` and its pseudonym.
    /// The inner error is the field that holds one and is not replaced.
    ///
    /// # Errors
    /// When there is no pseudonym to be had; nothing of the entity may be kept then.
    pub(crate) fn take<E>(
        &mut self,
        entity: &mut Entity,
        pseudonym: impl Fn(&CitizenNumber) -> Result<Pseudonym, E>,
    ) -> Result<Result<(), &'static str>, E> {
        let texts = [
            ("code", &*entity.code),
            ("name", &entity.name),
            ("name_en", &entity.name_en),
            ("source", &entity.source),
        ];
        if let Some((field, _)) = texts.iter().find(|(_, text)| find(text).is_some()) {
            return Ok(Err(field));
        }
        if entity.former.iter().any(|former| find(&former.code).is_some()) {
            return Ok(Err("former code"));
        }
        if entity.attributes.keys().any(|name| find(name).is_some()) {
            return Ok(Err("column's name"));
        }
        for (column, value) in &mut entity.attributes {
            let n = replace(value, &pseudonym)?;
            if n > 0 {
                *self.0.entry(column.clone()).or_default() += n;
            }
        }
        Ok(Ok(()))
    }

    /// What there is to warn of.
    pub(crate) fn found(&self) -> Vec<String> {
        let said = |(column, n): (&String, &u64)| {
            format!(
                "{n} values of column `{column}` hold citizen numbers; each was replaced by person:PSEUDONYM, none is kept"
            )
        };
        self.0.iter().map(said).collect()
    }
}

/// Whether a text has a citizen number in it.
pub(crate) fn has_number(text: &str) -> bool {
    find(text).is_some()
}

/// What is said of a field that holds one.
pub(crate) fn refusal(field: &str) -> String {
    format!("its {field} holds a citizen number, which is kept nowhere in clear")
}

/// Replaces numbers in a value and what lies in it; in how many values there was one.
fn replace<E>(
    value: &mut Value,
    pseudonym: &impl Fn(&CitizenNumber) -> Result<Pseudonym, E>,
) -> Result<u64, E> {
    match value {
        Value::String(text) => {
            let mut n = 0;
            while let Some((at, number)) = find(text) {
                let marker = format!("person:{}", pseudonym(&number)?);
                text.replace_range(at, &marker);
                n = 1;
            }
            Ok(n)
        }
        // 18 digits are a number in JSON as well.
        Value::Number(number) => match find(&number.to_string()) {
            Some((_, number)) => {
                *value = format!("person:{}", pseudonym(&number)?).into();
                Ok(1)
            }
            None => Ok(0),
        },
        Value::Array(list) => list.iter_mut().map(|value| replace(value, pseudonym)).sum(),
        Value::Object(members) => members.values_mut().map(|value| replace(value, pseudonym)).sum(),
        Value::Null | Value::Bool(_) => Ok(0),
    }
}

/// The first citizen number in a text and where it stands. What is part of a longer run of digits is none.
fn find(text: &str) -> Option<(std::ops::Range<usize>, CitizenNumber)> {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at + N_DIGITS <= bytes.len() {
        let run = bytes[at..].iter().take_while(|b| b.is_ascii_digit()).count();
        let ends_with_x = run == N_DIGITS - 1 && matches!(bytes.get(at + run), Some(b'X' | b'x'));
        if run == N_DIGITS || ends_with_x {
            let range = at..at + N_DIGITS;
            if let Ok(number) = CitizenNumber::parse(&text[range.clone()]) {
                return Some((range, number));
            }
        }
        at += run.max(1);
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use onemap_store::persons::PersonKeys;
    use serde_json::json;

    #[test]
    fn numbers_are_found_where_they_stand_alone() {
        for (text, found) in [
            ("11010519491231002X", true),
            ("联系人：11010519491231002x，电话", true),
            ("440524188001010014", true),
            ("x440524188001010014", true),
            ("440524188001010015", false),
            ("1440524188001010014", false),
            ("91630100MA752XXL0X", false),
            ("", false),
            ("西宁西宁西宁西宁西宁西宁", false),
        ] {
            assert_eq!(find(text).is_some(), found, "{text}");
        }
    }

    #[test]
    fn values_are_replaced_by_the_pseudonym_and_fields_refuse() {
        let dir = tempfile::tempdir().unwrap();
        let key = PersonKeys::of(dir.path(), None);
        let entity = |code: &str, name: &str, attributes: Value| -> Entity {
            serde_json::from_value(
                json!({"code": code, "kind": "hazard", "name": name, "attributes": attributes}),
            )
            .unwrap()
        };
        let number = "11010519491231002X";
        let marker = format!(
            "person:{}",
            key.pseudonym(&CitizenNumber::parse(number).unwrap()).unwrap()
        );
        let mut numbers = Numbers::default();
        let mut taken = entity(
            "h1",
            "塌陷",
            json!({
                "contact": number, "note": format!("{number} 和 {number}"), "phone": "13812345678",
                "ids": [440_524_188_001_010_014_u64, {"of": number}],
            }),
        );
        numbers
            .take(&mut taken, |number| key.pseudonym(number))
            .unwrap()
            .unwrap();
        assert_eq!(taken.attributes["contact"], marker);
        assert_eq!(taken.attributes["note"], format!("{marker} 和 {marker}"));
        assert_eq!(taken.attributes["phone"], "13812345678");
        assert_eq!(taken.attributes["ids"][1]["of"], marker);
        let text = serde_json::to_string(&taken).unwrap();
        assert!(!text.contains("44052418") && !text.contains("11010519"), "{text}");
        let found = numbers.found();
        assert_eq!(found.len(), 3);
        assert!(found[0].starts_with("1 values of column `contact`"), "{found:?}");
        assert!(found[1].starts_with("2 values of column `ids`"), "{found:?}");
        for (mut refused, field) in [
            (entity(number, "x", json!({})), "code"),
            (entity("h2", number, json!({})), "name"),
            (entity("h3", "x", json!({number: 1})), "column's name"),
        ] {
            let said = numbers
                .take(&mut refused, |number| key.pseudonym(number))
                .unwrap();
            assert_eq!(said, Err(field));
        }
    }
}

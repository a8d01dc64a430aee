//! Lists that CAP writes into one element: blanks between, quotation marks around what has blanks.

use crate::error::Fault;
use crate::error::start;
use crate::{DateTime, Reference};

/// Splits `a "b c" d`.
///
/// # Errors
/// [`Fault::Quote`] when a quotation mark is not closed, or stands beside other characters of a name.
pub(crate) fn split(text: &str) -> Result<Vec<String>, Fault> {
    let mut names = Vec::new();
    let mut rest = text.trim_ascii_start();
    while !rest.is_empty() {
        let (name, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').ok_or(Fault::Quote)?,
            None => rest.split_at(rest.find(|c: char| c.is_ascii_whitespace()).unwrap_or(rest.len())),
        };
        if name.contains('"') || !(after.is_empty() || after.starts_with(|c: char| c.is_ascii_whitespace())) {
            return Err(Fault::Quote);
        }
        names.push(name.to_owned());
        rest = after.trim_ascii_start();
    }
    Ok(names)
}

/// Joins what [`split`] makes.
pub(crate) fn join(names: &[String]) -> String {
    let quoted = |name: &String| match name.is_empty() || name.contains(|c: char| c.is_ascii_whitespace()) {
        true => format!("\"{name}\""),
        false => name.clone(),
    };
    names.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

/// Splits `sender,identifier,sent sender,identifier,sent`.
///
/// # Errors
/// [`Fault::Empty`] when there is none, [`Fault::Reference`], and those of times.
pub(crate) fn references(text: &str, zulu: bool) -> Result<Vec<Reference>, Fault> {
    let one = |group: &str| {
        let other = || Fault::Reference { found: start(group) };
        let mut parts = group.split(',');
        let (Some(sender), Some(identifier), Some(sent), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(other());
        };
        if sender.is_empty() || identifier.is_empty() {
            return Err(other());
        }
        Ok(Reference {
            sender: sender.to_owned(),
            identifier: identifier.to_owned(),
            sent: DateTime::parse(sent, zulu)?,
        })
    };
    let all = text
        .split_ascii_whitespace()
        .map(one)
        .collect::<Result<Vec<_>, _>>()?;
    if all.is_empty() {
        Err(Fault::Empty)
    } else {
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_with_blanks_are_quoted() {
        for (text, names) in [
            ("", &[][..]),
            (" a \"b  c\"\n d ", &["a", "b  c", "d"]),
            ("\"\" a", &["", "a"]),
        ] {
            let read = split(text).unwrap();
            assert_eq!(read, names, "{text}");
            assert_eq!(split(&join(&read)).unwrap(), read);
        }
        for bad in ["\"a", "a\"b", "\"a\"b", "a\"", "\""] {
            assert_eq!(split(bad).unwrap_err(), Fault::Quote, "{bad}");
        }
    }

    #[test]
    fn references_are_three_each() {
        let code = |text| references(text, false).map_or_else(|fault| fault.code(), |_| "good");
        for (text, said) in [
            ("a,b,2026-11-23T08:15:00+08:00", "good"),
            (
                "a,b,2026-11-23T08:15:00+08:00\n c,d,2026-11-23T08:15:00-00:00 ",
                "good",
            ),
            ("", "empty"),
            (" ", "empty"),
            ("a,b", "reference"),
            ("a,,2026-11-23T08:15:00+08:00", "reference"),
            ("a,b,c,2026-11-23T08:15:00+08:00", "reference"),
            ("a,b,2026-11-23T08:15:00Z", "time_z"),
            ("a,b,2026-11-23", "time"),
        ] {
            assert_eq!(code(text), said, "{text}");
        }
    }
}

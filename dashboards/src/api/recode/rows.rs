//! The lines of a map of codes.

use onemap_model::EntityKind;
use onemap_store::register::import::csv;
use serde_json::{Value, json};

/// One line.
#[derive(Debug, Default)]
pub(super) struct Line {
    pub(super) number: usize,
    pub(super) old: String,
    pub(super) new: String,
    /// Needed where several kinds have the old code.
    pub(super) kind: Option<EntityKind>,
    /// The new class, where it is another one.
    pub(super) class: String,
    /// The new county, where it is another one.
    pub(super) division: String,
}

/// A line that is not taken, or the whole file (line 1).
pub(super) fn fault(number: usize, code: &str, message: impl Into<String>) -> Value {
    json!({"at": format!("line {number}"), "code": code, "message": message.into()})
}

const COLUMNS: [(&str, &[&str]); 5] = [
    ("old", &["old", "原编码", "旧编码", "原代码"]),
    ("new", &["new", "新编码", "新代码"]),
    ("kind", &["kind", "类别"]),
    ("class", &["class", "类别代码", "小类代码"]),
    ("division", &["division", "区划代码", "行政区划代码"]),
];

/// The lines of a text, and faults of those that cannot be read.
pub(super) fn read(text: &str) -> Vec<Result<Line, Value>> {
    let mut lines = csv::lines(text);
    let first = match lines.next() {
        None => return vec![Err(fault(1, "empty", "the file is empty"))],
        Some(Err((number, why))) => return vec![Err(fault(number, "bad_line", why))],
        Some(Ok(line)) => line,
    };
    let mut columns = Vec::new();
    for name in &first.fields {
        let lower = name.trim().to_lowercase();
        match COLUMNS.iter().find(|(_, names)| names.contains(&&*lower)) {
            Some((column, _)) if columns.contains(column) => {
                let message = format!("two columns give `{column}`");
                return vec![Err(fault(first.number, "bad_columns", message))];
            }
            Some((column, _)) => columns.push(*column),
            None => {
                let message = format!("column `{lower:.64}` is none of old, new, kind, class, division");
                return vec![Err(fault(first.number, "bad_columns", message))];
            }
        }
    }
    if let Some(missing) = ["old", "new"].iter().find(|needed| !columns.contains(needed)) {
        let message = format!(
            "a column `{missing}` is needed; the columns are: {}",
            columns.join(", ")
        );
        return vec![Err(fault(first.number, "bad_columns", message))];
    }
    let read = |line: Result<csv::Line, csv::BadLine>| {
        let line = line.map_err(|(number, why)| fault(number, "bad_line", why))?;
        let number = line.number;
        if line.fields.len() != columns.len() {
            let message = format!(
                "{} fields where the first line has {}",
                line.fields.len(),
                columns.len()
            );
            return Err(fault(number, "bad_line", message));
        }
        let mut read = Line {
            number,
            ..Line::default()
        };
        for (column, value) in columns.iter().zip(&line.fields) {
            let value = value.trim();
            match *column {
                "old" => read.old = value.to_owned(),
                "new" => read.new = value.to_owned(),
                "class" => read.class = value.replace('-', ""),
                "division" => read.division = value.to_owned(),
                _ if value.is_empty() => {}
                _ => {
                    let kind = serde_json::from_value(Value::from(value));
                    let unknown = || {
                        fault(
                            number,
                            "bad_kind",
                            format!("`{value:.64}` is not a kind of entity"),
                        )
                    };
                    read.kind = Some(kind.map_err(|_| unknown())?);
                }
            }
        }
        match (&*read.old, &*read.new) {
            ("", _) => Err(fault(number, "bad_line", "there is no old code")),
            (_, "") => Err(fault(number, "bad_line", "there is no new code")),
            (old, new) if old == new => Err(fault(
                number,
                "same_code",
                format!("`{old:.64}` is its code already"),
            )),
            _ => Ok(read),
        }
    };
    lines.map(read).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn lines_are_read_and_what_is_wrong_is_told_by_its_line() {
        let rows = read(
            "原编码,new,kind,class\na,b,,\nc,d,component,01-037\ne,,,\n,f,,\ng,g,,\nh,i,plaza,\nj,k\n\"l,m,,\nn,o,place,\n",
        );
        let said: Vec<String> = rows
            .iter()
            .map(|row| match row {
                Ok(line) => format!(
                    "{} {}>{} {:?} {}",
                    line.number, line.old, line.new, line.kind, line.class
                ),
                Err(fault) => format!(
                    "{} {}",
                    fault["at"].as_str().unwrap(),
                    fault["code"].as_str().unwrap()
                ),
            })
            .collect();
        assert_eq!(
            said,
            [
                "2 a>b None ",
                "3 c>d Some(Component) 01037",
                "line 4 bad_line",
                "line 5 bad_line",
                "line 6 same_code",
                "line 7 bad_kind",
                "line 8 bad_line",
                "line 9 bad_line",
                "10 n>o Some(Place) ",
            ]
        );
        for (text, code) in [
            ("", "empty"),
            ("old,neu\na,b\n", "bad_columns"),
            ("old,old\na,b\n", "bad_columns"),
            ("old,kind\na,place\n", "bad_columns"),
        ] {
            let rows = read(text);
            assert_eq!(
                (rows.len(), &rows[0].as_ref().unwrap_err()["code"]),
                (1, &json!(code)),
                "{text}"
            );
        }
    }
}

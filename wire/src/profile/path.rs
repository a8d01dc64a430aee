//! Paths into nested JSON: the part of RFC 9535 (JSONPath) that names one value, or one value of each
//! element of an array.
//!
//! | written | takes |
//! |---|---|
//! | `$.data.pm` or `data.pm` | member `pm` of member `data`; a name without `. [ ]`, quotes and blanks stands as it is |
//! | `$['a.b']`, `$["a.b"]` | a member by its quoted name; `\\`, `\'` and `\"` are the escapes |
//! | `$.pm[0].v`, `[-1]` | an element by its index from 0, or from the end |
//! | `$.pm[*].v` | each element of an array, once in a path: the channel is the mapping's plus the index |
//!
//! Filters, slices, unions, `..` and wildcards over members are not taken: which value they give depends
//! on what else the device sends, and a channel must be the same in every message.

use std::fmt;

use serde_json::Value;

use super::Mapping;
use crate::message::quoted;

/// Most steps of a path.
const MAX_STEPS: usize = 32;

/// A checked path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    text: String,
    steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Member(String),
    /// From 0, or from the end when negative.
    Element(i64),
    Each,
}

/// A path and what stands at its end.
#[derive(Clone, Debug, PartialEq)]
pub struct PathMapping {
    /// Where.
    pub path: Path,
    /// What it means; with `[*]` its channel is that of the first element.
    pub mapping: Mapping,
}

/// What a path comes to.
pub(super) enum Met<'v> {
    /// A value it names, with its index in the array of `[*]`.
    Value(usize, &'v Value),
    /// Something of another shape.
    Blocked(Blocked<'v>),
}

/// Where a path goes no further, although something stands there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Blocked<'v> {
    /// Steps that were taken.
    depth: usize,
    /// The index in the array of `[*]`, 0 before it.
    index: usize,
    /// What stands there.
    value: &'v Value,
}

/// Why a text is no path: what, and before which byte.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("path `{path}`, character {at}: {message}")]
pub struct PathError {
    path: String,
    at: usize,
    message: &'static str,
}

impl Path {
    /// Reads a path; a leading `$` may be left out.
    ///
    /// # Errors
    /// The first thing that is not of the table above.
    ///
    /// ```
    /// # use onemap_wire::profile::Path;
    /// let path = Path::parse("$.data['pm 2'][*].v").unwrap();
    /// let value = serde_json::json!({"data": {"pm 2": [{"v": 7}, {}, {"v": 9}]}});
    /// let mut seen = Vec::new();
    /// path.each(&value, &mut |index, value| seen.push((index, value.as_i64())));
    /// assert_eq!(seen, [(0, Some(7)), (2, Some(9))]);
    /// assert!(Path::parse("$..pm").is_err());
    /// ```
    pub fn parse(text: &str) -> Result<Self, PathError> {
        let mut rest = text.strip_prefix('$').unwrap_or(text);
        let has_root = rest.len() < text.len();
        let wrong = |rest: &str, message| PathError {
            path: text.chars().take(80).collect(),
            at: text[..text.len() - rest.len()].chars().count() + 1,
            message,
        };
        let mut steps = Vec::new();
        while !rest.is_empty() {
            let step = if let Some(behind) = rest.strip_prefix('[') {
                let (step, end) = bracket(behind).map_err(|message| wrong(behind, message))?;
                rest = end;
                step
            } else {
                let name = match rest.strip_prefix('.') {
                    Some(behind) => behind,
                    None if steps.is_empty() && !has_root => rest,
                    None => return Err(wrong(rest, "`.` or `[` is needed between two steps")),
                };
                let end = name.find(['.', '[']).unwrap_or(name.len());
                let (name, end) = name.split_at(end);
                if name.is_empty() {
                    return Err(wrong(end, "a name is needed here; `..` is not taken"));
                }
                if name == "*" {
                    return Err(wrong(
                        rest,
                        "a wildcard over members is not taken, only `[*]` over an array",
                    ));
                }
                if name.contains(|c: char| c.is_whitespace() || matches!(c, ']' | '\'' | '"' | '$')) {
                    return Err(wrong(
                        rest,
                        "a name with blanks, quotes, `$` or `]` is written ['name']",
                    ));
                }
                rest = end;
                Step::Member(name.to_owned())
            };
            if step == Step::Each && steps.contains(&Step::Each) {
                return Err(wrong(
                    rest,
                    "`[*]` stands once in a path: the channel is its one index",
                ));
            }
            steps.push(step);
            if steps.len() > MAX_STEPS {
                return Err(wrong(rest, "a path has at most 32 steps"));
            }
        }
        if steps.is_empty() {
            return Err(wrong(rest, "a path names something"));
        }
        Ok(Self {
            text: text.to_owned(),
            steps,
        })
    }

    /// As written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it is one member's plain name: then it is no different from a key.
    pub(super) fn is_plain(&self) -> bool {
        matches!(self.steps[..], [Step::Member(_)])
    }

    /// The member of the whole value in which it begins.
    pub(super) fn root(&self) -> Option<&str> {
        match self.steps.first() {
            Some(Step::Member(name)) => Some(name),
            _ => None,
        }
    }

    /// Whether it takes each element of an array.
    pub fn is_each(&self) -> bool {
        self.steps.contains(&Step::Each)
    }

    /// Shows every value it names with its index in the array of `[*]`, 0 without one. What is not there
    /// is not shown, and shifts no index.
    pub fn each<'v>(&self, value: &'v Value, show: &mut dyn FnMut(usize, &'v Value)) {
        self.meet(value, &mut |met| {
            if let Met::Value(index, value) = met {
                show(index, value);
            }
        });
    }

    /// Shows every value it names, and where it ends before its end because something of another shape
    /// stands there. What is simply absent is not shown.
    pub(super) fn meet<'v>(&self, value: &'v Value, show: &mut dyn FnMut(Met<'v>)) {
        walk(&self.steps, 0, value, 0, show);
    }

    /// Whether something of another shape stands in its way.
    pub(super) fn blocked<'v>(&self, value: &'v Value) -> Option<Blocked<'v>> {
        let mut first = None;
        self.meet(value, &mut |met| {
            if let (None, Met::Blocked(blocked)) = (&first, met) {
                first = Some(blocked);
            }
        });
        first
    }

    /// Says what stands in the way, where, and what the path needs there.
    pub(super) fn way(&self, blocked: &Blocked<'_>) -> String {
        let mut place = String::from("$");
        for step in &self.steps[..blocked.depth] {
            match step {
                Step::Member(name) => place.push_str(&format!(".{}", quoted(name))),
                Step::Element(at) => place.push_str(&format!("[{at}]")),
                Step::Each => place.push_str(&format!("[{}]", blocked.index)),
            }
        }
        let needed = match self.steps.get(blocked.depth) {
            Some(Step::Element(_) | Step::Each) => "an array",
            Some(Step::Member(_)) | None => "an object",
        };
        let met = match blocked.value {
            Value::Null => "null".to_owned(),
            Value::Bool(b) => format!("`{b}`"),
            Value::Number(n) => format!("the number {n}"),
            Value::String(text) => format!("the text `{}`", quoted(text)),
            Value::Array(_) => "an array".to_owned(),
            Value::Object(_) => "an object".to_owned(),
        };
        format!(
            "path `{}` meets {met} at `{place}`, where {needed} is needed",
            quoted(&self.text)
        )
    }

    /// The first value it names.
    pub fn first<'v>(&self, value: &'v Value) -> Option<&'v Value> {
        let mut first = None;
        self.each(value, &mut |_, value| first = first.or(Some(value)));
        first
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn walk<'v>(steps: &[Step], depth: usize, value: &'v Value, index: usize, show: &mut dyn FnMut(Met<'v>)) {
    let Some(step) = steps.get(depth) else {
        return show(Met::Value(index, value));
    };
    match (step, value) {
        (Step::Member(name), Value::Object(members)) => {
            if let Some(value) = members.get(name) {
                walk(steps, depth + 1, value, index, show);
            }
        }
        (Step::Element(at), Value::Array(elements)) => {
            let at = match usize::try_from(*at) {
                Ok(at) => Some(at),
                Err(_) => usize::try_from(at.unsigned_abs())
                    .ok()
                    .and_then(|back| elements.len().checked_sub(back)),
            };
            if let Some(value) = at.and_then(|at| elements.get(at)) {
                walk(steps, depth + 1, value, index, show);
            }
        }
        (Step::Each, Value::Array(elements)) => {
            for (index, value) in elements.iter().enumerate() {
                walk(steps, depth + 1, value, index, show);
            }
        }
        _ => show(Met::Blocked(Blocked { depth, index, value })),
    }
}

/// What stands behind `[`, and what is left behind `]`.
fn bracket(text: &str) -> Result<(Step, &str), &'static str> {
    if let Some(quote) = text.chars().next().filter(|c| matches!(c, '\'' | '"')) {
        let mut name = String::new();
        let mut chars = text[1..].char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' => match chars.next() {
                    Some((_, c @ ('\\' | '\'' | '"'))) => name.push(c),
                    _ => return Err("behind `\\` stands `\\` or a quote"),
                },
                c if c == quote => {
                    let rest = text[1 + at + 1..].strip_prefix(']');
                    return rest
                        .map(|rest| (Step::Member(name), rest))
                        .ok_or("`]` is needed behind the quote");
                }
                c => name.push(c),
            }
        }
        return Err("a quoted name does not end");
    }
    let (inner, rest) = text.split_once(']').ok_or("`[` without its `]`")?;
    if inner == "*" {
        return Ok((Step::Each, rest));
    }
    let is_whole = inner
        .strip_prefix('-')
        .unwrap_or(inner)
        .bytes()
        .all(|b| b.is_ascii_digit());
    match inner.parse::<i32>() {
        Ok(index) if is_whole && inner != "-0" => Ok((Step::Element(index.into()), rest)),
        _ => Err("between `[` and `]` stands an index, `*` or a quoted name"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn find(path: &str, json: &str) -> String {
        let value: Value = serde_json::from_str(json).unwrap();
        let mut found = Vec::new();
        Path::parse(path)
            .unwrap()
            .each(&value, &mut |i, v| found.push(format!("{i}:{v}")));
        found.join(" ")
    }

    #[test]
    fn paths_find_what_they_name() {
        let json = r#"{"a":{"b":[{"v":1},{"w":2},{"v":3}],"b.c":4,"it's":5},"pm2.5":6,"数":{"值":7},"deep":[[1,2],[3]]}"#;
        for (path, want) in [
            ("$.a.b[0].v", "0:1"),
            ("a.b[0].v", "0:1"),
            ("$.a.b[-1].v", "0:3"),
            ("$.a.b[-4].v", ""),
            ("$.a.b[3].v", ""),
            ("$.a.b[*].v", "0:1 2:3"),
            ("$.a['b.c']", "0:4"),
            ("$[\"a\"][\"b.c\"]", "0:4"),
            (r"$.a['it\'s']", "0:5"),
            ("$['pm2.5']", "0:6"),
            ("$.pm2.5", ""),
            ("$.数.值", "0:7"),
            ("$.deep[*][0]", "0:1 1:3"),
            ("$.deep[1][0]", "0:3"),
            ("$.a.b.v", ""),
            ("$.a[0]", ""),
            ("['a'].b[1].w", "0:2"),
        ] {
            assert_eq!(find(path, json), want, "{path}");
        }
        assert_eq!(find("$[1].v", r#"[{"v":1},{"v":2}]"#), "0:2");
    }

    #[test]
    fn what_is_no_path_is_said_with_its_place() {
        for (path, at) in [
            ("", 1),
            ("$", 2),
            ("$a", 2),
            ("$..a", 3),
            ("$.", 3),
            ("$.*", 2),
            ("$.a[", 5),
            ("$.a[x]", 5),
            ("$.a[1:2]", 5),
            ("$.a[?@.b]", 5),
            ("$.a['b]", 5),
            ("$.a['b'", 5),
            ("$.a[+1]", 5),
            ("$.a[-0]", 5),
            ("$.a[*][*]", 10),
            ("$.a b", 2),
            ("$.a[0]b", 7),
            ("$.a[99999999999]", 5),
        ] {
            let error = Path::parse(path).unwrap_err();
            assert_eq!(error.at, at, "{error}");
        }
        assert!(Path::parse(&"a.".repeat(40)).is_err());
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_without_panic(text: String) {
            if let Ok(path) = Path::parse(&text) {
                path.each(&serde_json::json!({"a": [{"b": 1}]}), &mut |_, _| {});
            }
        }
        #[test]
        fn a_quoted_name_finds_its_member(name: String) {
            let quoted = name.replace('\\', r"\\").replace('\'', r"\'");
            let path = Path::parse(&format!("$['{quoted}']")).unwrap();
            let value = serde_json::json!({&name: 1});
            proptest::prop_assert_eq!(path.first(&value), Some(&Value::from(1)));
        }
    }
}

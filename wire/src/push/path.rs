//! Paths into JSON: `$.a.b[0]['c d']`, and nothing more of JSONPath.

use serde_json::Value;

/// A checked path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path(Vec<Step>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Name(String),
    Index(usize),
}

/// Texts of JSON inside JSON that one path looks into.
const MAX_NESTED_TEXTS: usize = 4;

impl Path {
    /// Reads a path.
    ///
    /// # Errors
    /// A sentence for the one who wrote it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a path like `$.a.b[0]`");
        let mut rest = text.strip_prefix('$').ok_or_else(wrong)?;
        let mut steps = Vec::new();
        while !rest.is_empty() {
            if let Some(quoted) = rest.strip_prefix("['") {
                let (name, behind) = quoted.split_once("']").ok_or_else(wrong)?;
                steps.push(Step::Name(name.to_owned()));
                rest = behind;
            } else if let Some(index) = rest.strip_prefix('[') {
                let (index, behind) = index.split_once(']').ok_or_else(wrong)?;
                steps.push(Step::Index(index.parse().map_err(|_| wrong())?));
                rest = behind;
            } else {
                let name = rest.strip_prefix('.').ok_or_else(wrong)?;
                let end = name.find(['.', '[']).unwrap_or(name.len());
                if end == 0 {
                    return Err(wrong());
                }
                steps.push(Step::Name(name[..end].to_owned()));
                rest = &name[end..];
            }
        }
        Ok(Self(steps))
    }

    /// What stands there. A text on the way that holds JSON is looked into: operators' platforms put messages
    /// as texts into messages.
    pub fn find(&self, value: &Value) -> Option<Value> {
        find(&self.0, value, MAX_NESTED_TEXTS)
    }
}

fn find(steps: &[Step], value: &Value, n_texts: usize) -> Option<Value> {
    let Some((step, behind)) = steps.split_first() else {
        return Some(value.clone());
    };
    match (value, step) {
        (Value::Object(map), Step::Name(name)) => find(behind, map.get(name)?, n_texts),
        (Value::Array(items), Step::Index(i)) => find(behind, items.get(*i)?, n_texts),
        (Value::String(text), _) if n_texts > 0 => {
            let inner: Value = serde_json::from_str(text).ok()?;
            find(steps, &inner, n_texts - 1)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_lead_somewhere_or_nowhere() {
        let value = json!({"a": {"b": [1, {"c d": "x"}]}, "text": "{\"in\":[5]}"});
        for (path, want) in [
            ("$", Some(value.clone())),
            ("$.a.b[0]", Some(json!(1))),
            ("$.a['b'][1]['c d']", Some(json!("x"))),
            ("$.text.in[0]", Some(json!(5))),
            ("$.text", Some(json!("{\"in\":[5]}"))),
            ("$.a.c", None),
            ("$.a.b[7]", None),
            ("$.a[0]", None),
            ("$.a.b[0].x", None),
        ] {
            assert_eq!(Path::parse(path).unwrap().find(&value), want, "{path}");
        }
        for bad in ["", "a", "$a", "$.", "$..a", "$.a[", "$.a[x]", "$.a['b", "$[-1]"] {
            assert!(Path::parse(bad).is_err(), "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_a_path_or_none(text in "[$.a\\[\\]'0]{0,12}|.{0,12}") {
            if let Ok(path) = Path::parse(&text) {
                path.find(&json!({"a": [0, {"a": "[1]"}]}));
            }
        }
    }
}

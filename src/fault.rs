//! A fault in a file as commands and the log tell it: its place, in English, and in Chinese where it is of rules.

use std::fmt::{self, Display, Formatter};
use std::path::Path;

use onemap_rules::{RuleError, Texts};

/// One fault. Shown as `path:line:column: message`, and under it, indented, the Chinese one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    en: String,
    zh: Option<String>,
}

impl Fault {
    /// At a place that both languages name.
    pub(crate) fn at(place: &str, said: &Texts) -> Self {
        Self {
            en: format!("{place}: {}", said.en),
            zh: Some(said.zh.clone()),
        }
    }
    /// Of a file of rules.
    pub(crate) fn of_rules(path: &Path, error: &RuleError) -> Self {
        Self {
            en: format!("{}:{error}", path.display()),
            zh: Some(error.message_zh.clone()),
        }
    }
    pub(crate) fn en(&self) -> &str {
        &self.en
    }
    pub(crate) fn zh(&self) -> Option<&str> {
        self.zh.as_deref()
    }
}

impl From<String> for Fault {
    fn from(en: String) -> Self {
        Self { en, zh: None }
    }
}

impl Display for Fault {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.en)?;
        match &self.zh {
            Some(zh) => write!(f, "\n    {zh}"),
            None => Ok(()),
        }
    }
}

/// All that keeps files from being taken up, one below the other.
#[derive(Debug, thiserror::Error)]
#[error("{}", shown(.0))]
pub(crate) struct Faults(pub(crate) Vec<Fault>);

fn shown(faults: &[Fault]) -> String {
    let shown: Vec<String> = faults.iter().map(Fault::to_string).collect();
    shown.join("\n")
}

/// `faults` in English, and in the same order `faults_zh`, null where a fault has no Chinese.
pub(crate) fn into_json(faults: &[Fault], answer: &mut serde_json::Value) {
    answer["faults"] = faults.iter().map(Fault::en).collect();
    answer["faults_zh"] = faults.iter().map(Fault::zh).collect();
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn the_chinese_line_stands_indented_under_the_english_one() {
        let errors = onemap_rules::RuleSet::parse("dust", "version: 1").unwrap_err();
        let faults = [
            Fault::of_rules(Path::new("rules/dust.yaml"), &errors[0]),
            Fault::from("rules/x.yaml: cannot be read".to_owned()),
        ];
        let (line, column) = (errors[0].line, errors[0].column);
        let en = format!("rules/dust.yaml:{line}:{column}: missing field `rules`");
        assert_eq!(
            shown(&faults),
            format!("{en}\n    缺少字段 `rules`\nrules/x.yaml: cannot be read")
        );
        let mut answer = json!({"ok": false});
        into_json(&faults, &mut answer);
        assert_eq!(answer["faults"], json!([en, "rules/x.yaml: cannot be read"]));
        assert_eq!(answer["faults_zh"], json!(["缺少字段 `rules`", null]));
    }
}

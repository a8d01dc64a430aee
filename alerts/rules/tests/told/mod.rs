//! Files that are refused, and that they are refused in both languages.

use onemap_rules::{RuleError, RuleSet};

/// What is wrong with a file; each fault is a sentence in Chinese too, with every name of the English one.
pub(crate) fn refused(file: &str, text: &str) -> Vec<RuleError> {
    let errors = RuleSet::parse(file, text).unwrap_err();
    in_both(&errors);
    errors
}

/// Whether each fault is told in both languages.
pub(crate) fn in_both(errors: &[RuleError]) {
    for error in errors {
        let (en, zh) = (&error.message, &error.message_zh);
        assert!(zh.chars().any(is_chinese) && zh != en, "{error:#?}");
        for name in names(en) {
            assert!(
                zh.contains(&format!("`{name}`")),
                "`{name}` is left out: {error:#?}"
            );
        }
    }
}

/// What stands in backquotes; one that nothing closes begins no name.
fn names(text: &str) -> Vec<&str> {
    let parts: Vec<&str> = text.split('`').collect();
    let names = parts.iter().skip(1).step_by(2).copied();
    names.take((parts.len() - 1) / 2).collect()
}

fn is_chinese(c: char) -> bool {
    ('\u{4e00}'..='\u{9fff}').contains(&c)
}

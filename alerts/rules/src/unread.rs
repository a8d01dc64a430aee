//! What the reader of YAML finds wrong, in Chinese: by its kind, with the names kept.

use serde_saphyr::Error;

/// Kinds of values as the reader names them, a longer name before what it begins with.
const KINDS: [(&str, &str); 22] = [
    ("a name or a list of names", "一个名称或名称列表"),
    ("a sequence", "列表"),
    ("sequence", "列表"),
    ("a map", "字段组"),
    ("map", "字段组"),
    ("struct", "字段组"),
    ("a string", "文本"),
    ("string", "文本"),
    ("a boolean", "是或否（true、false）"),
    ("boolean", "是或否"),
    ("integer", "整数"),
    ("floating point", "小数"),
    ("unit value", "空值"),
    ("unit", "空值"),
    ("null", "空值"),
    ("u16", "0 至 65535 的整数"),
    ("u32", "不小于 0 的整数"),
    ("u64", "不小于 0 的整数"),
    ("unsigned integer", "不小于 0 的整数"),
    ("f64", "数"),
    ("float", "数"),
    ("number", "数"),
];

/// A fault of the reader as a Chinese sentence. `en` is its own, which a kind without words here is told by.
pub(crate) fn in_chinese(error: &Error, en: &str) -> String {
    let zh = named(error).or_else(|| shape(error));
    let zh = zh.unwrap_or_else(|| format!("此处不符合 YAML 或规则文件的格式（读取时报：{en}）"));
    zh.chars().flat_map(shown).collect()
}

/// A character as it is, one that a screen obeys as it is written.
fn shown(c: char) -> impl Iterator<Item = char> {
    let (own, escaped) = match c.is_control() {
        true => (None, Some(c.escape_debug())),
        false => (Some(c), None),
    };
    own.into_iter().chain(escaped.into_iter().flatten())
}

/// Faults of a field or of its value.
fn named(error: &Error) -> Option<String> {
    Some(match error.without_snippet() {
        Error::SerdeUnknownField { field, expected, .. } => {
            format!("没有 `{field}` 这个字段，此处可写 {}", quoted(expected))
        }
        Error::SerdeMissingField { field, .. } => format!("缺少字段 `{field}`"),
        Error::SerdeUnknownVariant {
            variant, expected, ..
        } => format!("没有 `{variant}` 这种写法，此处可写 {}", quoted(expected)),
        Error::DuplicateMappingKey { key: Some(key), .. } => format!("字段 `{key}` 写了两次"),
        Error::DuplicateMappingKey { key: None, .. } => "同一个字段写了两次".to_owned(),
        Error::SerdeInvalidType {
            unexpected, expected, ..
        } => format!("类型不符：应为{}，写的是{}", kind(expected), kind(unexpected)),
        Error::SerdeInvalidValue {
            unexpected, expected, ..
        } => format!("取值不符：应为{}，写的是{}", kind(expected), kind(unexpected)),
        Error::SerdeInvalidLength { len, expected, .. } => {
            format!("项数不符：应为{}，写了 {len} 项", kind(expected))
        }
        Error::InvalidScalar { ty, .. } => format!("取值不符：应为{}", kind(ty)),
        Error::NullIntoString { .. } => "此处应为文本，不能为空".to_owned(),
        Error::Message { msg, .. } => format!("没有名为 `{}` 的量（见 /api/v1/quantities）", quantity(msg)?),
        Error::AliasError { error, .. } => named(error).or_else(|| shape(error))?,
        _ => return None,
    })
}

/// Faults of the text's shape.
fn shape(error: &Error) -> Option<String> {
    let zh = match error.without_snippet() {
        Error::Eof { .. } => "文件到此结束，内容不完整",
        Error::MultipleDocuments { .. } => "文件中有多个 YAML 文档，规则文件只能有一个",
        Error::Unexpected { expected, .. } => {
            return Some(format!("YAML 语法有误：此处应为{}", structure(expected)));
        }
        Error::UnexpectedSequenceEnd { .. }
        | Error::UnexpectedMappingEnd { .. }
        | Error::ContainerEndMismatch { .. } => "YAML 语法有误：列表或字段组的结束与开始不对应",
        Error::ExternallyTaggedEnumExpectedScalarOrMapping { .. }
        | Error::ExpectedStringKeyForExternallyTaggedEnum { .. } => "此处应为一个条件，写作“名称: 内容”",
        Error::ExpectedMappingEndAfterEnumVariantValue { .. } => {
            "此处只能写一个条件，多个条件请用 `all` 或 `any`"
        }
        Error::UnknownAnchor { .. } => "YAML 语法有误：所引用的锚点不存在",
        Error::AliasReplayCounterOverflow { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. } => "YAML 的引用展开过多，超过上限",
        Error::Budget { .. } => "文件过大或嵌套过深，超过读取上限",
        _ => return None,
    };
    Some(zh.to_owned())
}

/// The name in `no quantity is called …`.
fn quantity(message: &str) -> Option<&str> {
    let rest = message.strip_prefix("no quantity is called `")?;
    Some(&rest[..rest.rfind('`')?])
}

fn quoted(names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join("、")
}

/// A kind of values; what is written of the value itself stays.
fn kind(text: &str) -> String {
    let Some((en, zh)) = KINDS.iter().find(|(en, _)| text.starts_with(en)) else {
        return format!("“{text}”");
    };
    let rest = &text[en.len()..];
    match rest.contains(['`', '"']) {
        true => format!("{zh}{rest}"),
        false => (*zh).to_owned(),
    }
}

/// What the reader waits for in the text.
fn structure(expected: &str) -> String {
    match expected {
        "mapping" | "mapping start" => "字段组".to_owned(),
        "sequence" | "sequence start" => "列表".to_owned(),
        "scalar" | "string scalar" | "scalar string" => "单个值".to_owned(),
        other => kind(other),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::file::plain;
    use crate::written::FileText;

    #[test]
    fn each_kind_has_its_sentence_and_keeps_the_names() {
        let rule = |more: &str| format!("version: 1\nrules:\n  - id: r\n    {more}\n");
        for (text, want) in [
            (
                rule("severty: major"),
                "没有 `severty` 这个字段，此处可写 `id`、`name`",
            ),
            ("version: 1".to_owned(), "缺少字段 `rules`"),
            ("version: 1\nrules: [{id: x}]\n".to_owned(), "缺少字段 `name`"),
            (rule("for: 2s\n    for: 3s"), "字段 `for` 写了两次"),
            (
                "version: 1\nversion: 1\nrules: []".to_owned(),
                "字段 `version` 写了两次",
            ),
            (
                rule("severity: urgent"),
                "没有 `urgent` 这种写法，此处可写 `notice`、`minor`",
            ),
            (
                rule("when: {sticks: 5}"),
                "没有 `sticks` 这种写法，此处可写 `above`",
            ),
            (rule("when: {change: {quantity: pm11}}"), "没有名为 `pm11` 的量"),
            ("version: x\nrules: []".to_owned(), "应为"),
            ("version: 1\nrules: 5".to_owned(), "YAML 语法有误：此处应为列表"),
            ("version: 1\nrules: [".to_owned(), "文件"),
            (String::new(), "文件到此结束"),
            ("version: 1\nrules: *a".to_owned(), "锚点"),
            (
                "version: 1\nrules: []\n---\nversion: 1".to_owned(),
                "多个 YAML 文档",
            ),
            ("\tversion: @".to_owned(), "此处不符合 YAML"),
            (rule("sev\\x1b: major"), "没有 `sev\\x1b`"),
        ] {
            let error = serde_saphyr::from_str::<FileText>(&text).err().unwrap();
            let zh = in_chinese(&error, &plain(&error));
            assert!(zh.contains(want), "{text:?}: {zh} ({error:?})");
        }
    }

    #[test]
    fn kinds_of_values_keep_what_is_written() {
        for (text, want) in [
            ("integer `5`", "整数 `5`"),
            ("string \"a\"", "文本 \"a\""),
            ("struct RuleText", "字段组"),
            ("a sequence", "列表"),
            ("a colour", "“a colour”"),
        ] {
            assert_eq!(kind(text), want);
        }
    }

    #[test]
    fn a_screen_obeys_nothing_of_a_name() {
        let told: String = "\u{1b}[31m\n红".chars().flat_map(shown).collect();
        assert_eq!(told, "\\u{1b}[31m\\n红");
    }
}

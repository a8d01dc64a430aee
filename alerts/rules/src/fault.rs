//! What is wrong with a file of rules, and where: always in both languages.

use onemap_model::{DivisionCode, IdError};
use serde_saphyr::Location;

use crate::rule::Texts;

/// What is wrong with a file, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, serde::Serialize)]
#[error("{line}:{column}: {message}")]
pub struct RuleError {
    /// Line from 1; 0 when it is about the file as a whole.
    pub line: u32,
    /// Column in characters from 1; 0 when it is about the file as a whole.
    pub column: u32,
    /// One sentence, in English.
    pub message: String,
    /// The same in Chinese; names in backquotes stand in both.
    pub message_zh: String,
}

impl RuleError {
    pub(crate) fn at(location: Location, said: Texts) -> Self {
        Self {
            line: u32::try_from(location.line()).unwrap_or(u32::MAX),
            column: u32::try_from(location.column()).unwrap_or(u32::MAX),
            ..Self::whole(said)
        }
    }
    /// About the file as a whole.
    pub(crate) fn whole(said: Texts) -> Self {
        Self {
            line: 0,
            column: 0,
            message: said.en,
            message_zh: said.zh,
        }
    }
}

/// One sentence in Chinese and in English, of two formats with the same arguments.
macro_rules! said {
    ($zh:literal, $en:literal $(, $($more:tt)*)?) => {
        $crate::rule::Texts {
            zh: format!($zh $(, $($more)*)?),
            en: format!($en $(, $($more)*)?),
        }
    };
}
pub(crate) use said;

/// Why a text is no id, in both languages.
pub fn no_id(error: &IdError) -> Texts {
    let zh = match error {
        IdError::Empty => "名称不能为空".to_owned(),
        IdError::TooLong(n) => format!("名称最多 64 字节，此处有 {n} 字节"),
        IdError::Character(c) => format!("名称由字母、数字和 `-_.:` 组成，不能有 {c:?}"),
        other => format!("名称不可用（{other}）"),
    };
    Texts {
        zh,
        en: error.to_string(),
    }
}

/// Reads the code of a division.
pub(crate) fn division(text: &str) -> Result<DivisionCode, Texts> {
    DivisionCode::new(text).map_err(|error| Texts {
        zh: format!("`{text}` 不是区划代码，区划代码为 6、9、12 或 15 位数字"),
        en: error.to_string(),
    })
}

/// `a, b` in English and `a、b` in Chinese.
pub(crate) fn listed(names: &[&str]) -> Texts {
    Texts {
        zh: names.join("、"),
        en: names.join(", "),
    }
}

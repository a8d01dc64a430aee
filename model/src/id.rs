//! Names of devices, profiles and rules.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Why a text cannot name something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdError {
    /// The text is empty.
    #[error("a name may not be empty")]
    Empty,
    /// The text is longer than 64 bytes.
    #[error("a name has at most 64 bytes, this one has {0}")]
    TooLong(usize),
    /// The text holds a character that MQTT topics or file names cannot carry.
    #[error("a name is made of letters, digits and `-_.:`, not {0:?}")]
    Character(char),
}

fn check(text: &str) -> Result<(), IdError> {
    if text.is_empty() {
        return Err(IdError::Empty);
    }
    if text.len() > 64 {
        return Err(IdError::TooLong(text.len()));
    }
    match text
        .chars()
        .find(|c| !(c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | ':')))
    {
        Some(c) => Err(IdError::Character(c)),
        None => Ok(()),
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// Invariant: 1 to 64 bytes of letters (any script), digits and `-_.:`; so it fits into one
        /// MQTT topic level and one file name.
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks and wraps a name.
            ///
            /// # Errors
            /// See [`IdError`].
            pub fn new(text: &str) -> Result<Self, IdError> {
                check(text)?;
                Ok(Self(text.into()))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                Self::new(&text)
            }
        }
        impl std::str::FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }
        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0.as_ref().to_owned()
            }
        }
        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}

id! {
    /// A device or gateway, unique in one onemap.
    DeviceId
}
id! {
    /// The name that somebody logs in with.
    AccountId
}
id! {
    /// A profile (thing model): the file name without its extension.
    ProfileId
}
id! {
    /// A desk of the command centre.
    DeskId
}
id! {
    /// A drill.
    DrillId
}
id! {
    /// A rule, unique over all rule files.
    RuleId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_a_topic_level() {
        for good in ["a", "gw-1", "站点7", "A.b:c_d", &"x".repeat(64)] {
            assert_eq!(DeviceId::new(good).map(|id| id.to_string()), Ok(good.to_owned()));
        }
        assert_eq!(DeviceId::new(""), Err(IdError::Empty));
        assert_eq!(DeviceId::new(&"x".repeat(65)), Err(IdError::TooLong(65)));
        for (bad, c) in [("a/b", '/'), ("a+", '+'), ("#", '#'), ("a b", ' '), ("a\0", '\0')] {
            assert_eq!(DeviceId::new(bad), Err(IdError::Character(c)));
        }
    }
}

//! Attributes: what is known about a device beside what it measures.

use serde::{Deserialize, Serialize};

/// Who owns an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttributeScope {
    /// The device: it says them (firmware, serial number), people read them.
    Client,
    /// People, for the device: it is told of every change.
    Shared,
    /// People, about the device: it never sees them.
    Server,
    /// onemap itself: the gateway a child is connected through, an open claim. In no list of attributes.
    Fact,
}

impl AttributeScope {
    /// The name in API, journal and ledger.
    pub fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Shared => "shared",
            Self::Server => "server",
            Self::Fact => "fact",
        }
    }
    /// Reads [`AttributeScope::name`].
    pub fn named(name: &str) -> Option<Self> {
        [Self::Client, Self::Shared, Self::Server, Self::Fact]
            .into_iter()
            .find(|scope| scope.name() == name)
    }
}

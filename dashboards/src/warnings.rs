//! Statutory warnings (预警) as requests see them: the books, and how messages are sent.

use std::sync::RwLock;
use std::time::Duration;

use onemap_alerts::warnings::Warnings;
use onemap_alerts::warnings::received::ReceivedBook;
use onemap_model::WarningIssuer;

/// Who issues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sender {
    /// The sender of every message: a name of the form of a domain.
    pub name: String,
    /// Division, organisation, internal code and extension of identifiers: fourteen characters.
    pub unit: String,
}

/// How messages are sent, as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Who issues; without one drafts are written and none is approved.
    pub sender: Option<Sender>,
    /// The sender for people, Chinese.
    pub sender_name: String,
    /// The sender for people, English.
    pub sender_name_en: String,
    /// Longest time from sent to expires.
    pub longest: Duration,
    /// Whether who drafted a warning may approve it.
    pub own_approval: bool,
    /// Whether the feed is open to everybody.
    pub public: bool,
    /// Where others reach this server, without a slash at its end; that of the request without one.
    pub url: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            sender: None,
            sender_name: String::new(),
            sender_name_en: String::new(),
            longest: Duration::from_secs(7 * 86_400),
            own_approval: false,
            public: false,
            url: None,
        }
    }
}

impl Settings {
    /// By whom and within which bounds a message is issued now.
    pub(crate) fn issuer(&self) -> Option<WarningIssuer> {
        let Sender { name, unit } = self.sender.clone()?;
        Some(WarningIssuer {
            sender: name,
            unit,
            longest_ms: u64::try_from(self.longest.as_millis()).unwrap_or(u64::MAX),
            own_approval: self.own_approval,
        })
    }
}

/// Warnings of this server and of others; the pipeline writes, requests read.
#[derive(Debug, Default)]
pub struct Desk {
    /// How messages are sent.
    pub settings: Settings,
    /// Our own.
    pub book: RwLock<Warnings>,
    /// Those of others.
    pub received: RwLock<ReceivedBook>,
}

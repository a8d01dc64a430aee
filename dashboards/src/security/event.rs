//! What happened that somebody who watches over the server wants to know. No secret stands in it: of what was shown to
//! come in neither the text nor its hash, of a request its path and never what is asked.

use onemap_model::Timestamp;
use serde::{Deserialize, Serialize};

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $label:literal, $severity:literal;)*) => {
        /// What happened.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Kind { $($(#[$doc])* $name,)* }

        impl Kind {
            /// Every kind, in the order of this list.
            pub const ALL: [Self; [$($label),*].len()] = [$(Self::$name,)*];
            /// As it stands in the API and as the MSGID of syslog.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $label,)* }
            }
            /// Severity of RFC 5424: 4 is a warning, 5 a notice, 6 informational.
            pub(crate) const fn severity(self) -> u8 {
                match self { $(Self::$name => $severity,)* }
            }
        }
    };
}

kinds! {
    /// The server came up.
    Started = "started", 5;
    /// The server was stopped in order.
    Stopped = "stopped", 5;
    /// Somebody logged in.
    Login = "login", 6;
    /// Somebody logged out.
    Logout = "logout", 6;
    /// An account or its password was wrong, or lacks what lets it in.
    LoginFailed = "login_failed", 4;
    /// The password was right and the code of the second factor wrong.
    SecondFactorFailed = "second_factor_failed", 4;
    /// Too many guesses: what came was not looked at.
    LoginLocked = "login_locked", 4;
    /// A token, session, link or other credential that lets nobody in, over HTTP.
    WrongToken = "wrong_token", 4;
    /// Who is known asked for what is not his: his role may not, or it lies outside of his division.
    Denied = "denied", 4;
    /// Tokens, accounts, passwords or what lets devices in were changed.
    Changed = "changed", 5;
    /// Somebody was told to come again later, or was closed because there were too many.
    Limited = "limited", 4;
    /// A device or station was not let in, or said what it may not.
    DeviceDenied = "device_denied", 4;
}

/// What happened, to whom, from where.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct What {
    /// What happened.
    pub kind: Kind,
    /// The name of the token or account, where it is known.
    pub actor: Option<String>,
    /// The address, without its port.
    pub peer: Option<String>,
    /// Method and path, account, device or door that it was about.
    pub subject: String,
    /// Why, in words.
    pub detail: String,
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Its number: events have rising ones, each the next.
    pub seq: u64,
    /// When it was told: of what is counted, when the count was.
    pub at: Timestamp,
    /// What happened.
    pub kind: Kind,
    /// As in [`What`].
    pub actor: Option<String>,
    /// As in [`What`].
    pub peer: Option<String>,
    /// As in [`What`].
    pub subject: String,
    /// As in [`What`].
    pub detail: String,
    /// How often it happened alike since the last event that says so.
    pub n: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_called_the_same_everywhere() {
        for kind in Kind::ALL {
            assert_eq!(serde_json::json!(kind), kind.name());
            // RFC 5424 section 6: MSGID has 32 printable characters at most.
            assert!(kind.name().len() <= 32 && (4..=6).contains(&kind.severity()));
        }
    }
}

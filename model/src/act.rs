//! What people do: every act is a journal record.

use serde::{Deserialize, Serialize};

use crate::{AlertId, Scope, Timestamp};

/// One act of a person or machine with a name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Act {
    /// When the server took it.
    pub at: Timestamp,
    /// Who, in which role and division.
    pub by: Scope,
    /// What.
    #[serde(flatten)]
    pub verb: Verb,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Verb {
    /// Someone has seen the alert and takes care of it until `until`.
    Acknowledge {
        /// The alert.
        alert: AlertId,
        /// The person's name as given.
        name: String,
        /// Why, what was seen.
        note: String,
        /// When the acknowledgement runs out.
        until: Timestamp,
    },
    /// The alert ends by a person's word, with a reason.
    Close {
        /// The alert.
        alert: AlertId,
        /// The person's name as given.
        name: String,
        /// The reason.
        note: String,
    },
}

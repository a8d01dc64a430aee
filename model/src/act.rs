//! What people do: every act is a journal record.

use serde::{Deserialize, Serialize};

use crate::{
    AccountId, AlertId, Correction, Desk, DeskId, Drill, DrillId, Dust, DutyEntry, Pseudonym, Review,
    RuleStep, Scope, SeriesKey, Subject, Timestamp, WarningStep,
};

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

/// Who saw the second factor of somebody who came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecondSeen {
    /// Nobody: the role needs none, and the account has none.
    None,
    /// The provider, as its token says.
    Provider,
    /// The server itself: a code of the account's authenticator.
    Own,
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
    /// The alert leaves the desk's list until `until`; it goes on and is recorded.
    Shelve {
        /// The alert.
        alert: AlertId,
        /// The person's name as given.
        name: String,
        /// The reason.
        note: String,
        /// When it comes back.
        until: Timestamp,
    },
    /// A shelved alert comes back before its time.
    Unshelve {
        /// The alert.
        alert: AlertId,
        /// The person's name as given.
        name: String,
        /// Why.
        note: String,
    },
    /// Somebody is to see to the alert.
    Assign {
        /// The alert.
        alert: AlertId,
        /// The person's name as given.
        name: String,
        /// Who is to.
        to: String,
        /// What is to be done.
        note: String,
    },
    /// A desk is there, or is another than before: who sits at it, and whom alerts reach that nobody takes.
    PutDesk {
        /// The desk.
        id: DeskId,
        /// What is said of it.
        desk: Box<Desk>,
    },
    /// A desk is no more.
    RemoveDesk {
        /// The desk.
        id: DeskId,
    },
    /// A drill is there, or is another than before.
    PutDrill {
        /// The drill.
        id: DrillId,
        /// What is said of it.
        drill: Box<Drill>,
    },
    /// A drill is over before its time.
    EndDrill {
        /// The drill.
        id: DrillId,
    },
    /// Something is written into the duty log of a desk.
    Duty(Box<DutyEntry>),
    /// Refused frames are read again with the profiles of now; each follows as a record of its own.
    Readmit {
        /// Journal positions of the frames when they came first.
        frames: Vec<u64>,
        /// Why.
        note: String,
    },
    /// Entries of the quarantine are done with; they stay until their retention ends.
    Discard {
        /// Of each the journal position of its frame, and its number among the frame's refusals.
        entries: Vec<(u64, u32)>,
        /// Why.
        note: String,
    },
    /// Values of a series are reviewed.
    Review(Box<Review>),
    /// A series is corrected.
    Correct(Box<Correction>),
    /// A correction is withdrawn: from here on nothing is corrected by it.
    WithdrawCorrection {
        /// Journal position of the act that made it.
        correction: u64,
        /// Whose values it corrected.
        #[serde(flatten)]
        series: SeriesKey,
        /// First measuring time that it corrected.
        from: Timestamp,
        /// The first measuring time behind it; `None` while it went on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<Timestamp>,
        /// The person's name as given.
        name: String,
        /// Why.
        reason: String,
    },
    /// Sand and dust are named.
    Dust(Box<Dust>),
    /// Somebody asked who stands behind a person's number, and why. The number itself is nowhere.
    ResolvePerson {
        /// The pseudonym that the number gives.
        pseudonym: Pseudonym,
        /// What for.
        purpose: String,
        /// Whether the person was known.
        found: bool,
    },
    /// Persons get a new key: what stands for their numbers is made by it, too, and what is known of them is sealed by
    /// it, from here on.
    RotatePersonKey {
        /// The key's number.
        key: u16,
    },
    /// Data leave as a file.
    Export {
        /// What is asked for: `readings`, `entities`.
        what: String,
        /// With which parameters.
        query: String,
    },
    /// What an alert rests on leaves as a signed file.
    Evidence {
        /// The alert.
        alert: AlertId,
        /// SHA-256 of the list of its files, hexadecimal.
        sha256: String,
    },
    /// Somebody came in by the word of a provider of OpenID Connect.
    LogIn {
        /// Into which account.
        account: AccountId,
        /// Whom the provider spoke of.
        subject: Subject,
        /// Who saw a second factor.
        second: SecondSeen,
    },
    /// Everything is copied to a folder of the server's machine.
    Backup {
        /// The folder.
        dir: String,
    },
    /// A statutory warning is drafted, changed, approved or given up.
    Warning(Box<WarningStep>),
    /// A rule file is proposed, or a proposal decided.
    RuleProposal(Box<RuleStep>),
    /// What was named as sand and dust was none.
    WithdrawDust {
        /// Journal position of the act that named it.
        dust: u64,
        /// The person's name as given.
        name: String,
        /// Why.
        reason: String,
    },
}

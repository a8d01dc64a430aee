//! Why a step of a warning's life changes nothing.

use onemap_model::Timestamp;

/// What keeps a draft from being issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentFault {
    /// Where: `zh/headline`, `areas[1]/polygons[2]`, or the path in the message.
    pub field: String,
    /// A stable code, those of `onemap_cap::Fault` among them.
    pub code: &'static str,
    /// In words.
    pub text: String,
}

impl ContentFault {
    pub(super) fn new(field: impl Into<String>, code: &'static str, text: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            code,
            text: text.into(),
        }
    }
}

/// Why a step is refused. The same journal refuses the same steps.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WarningRefused {
    /// No such warning, or it ended so long ago that only the ledger has it.
    #[error("no warning {0} is known")]
    Unknown(u64),
    /// It belongs to another division or department.
    #[error("warning {0} lies outside the actor's division or departments")]
    OutOfScope(u64),
    /// What it says is of a place or department that is not the actor's.
    #[error("{what} lies outside the actor's division or departments")]
    AreaOutOfScope {
        /// Which part.
        what: String,
    },
    /// Nobody acts without a name.
    #[error("a step of a warning needs the name of a person")]
    NoName,
    /// A name or note is too long.
    #[error("a name has at most {name} characters, a note at most {note}")]
    TooLong {
        /// Of a name.
        name: usize,
        /// Of a note.
        note: usize,
    },
    /// Giving up or rejecting a draft says why.
    #[error("giving a draft up, or rejecting it, needs a reason")]
    NoReason,
    /// There is nothing to edit, approve, reject or give up.
    #[error("warning {0} has no draft")]
    NoDraft(u64),
    /// It was rejected and not edited since.
    #[error("the draft of warning {0} was rejected: it is edited before it is looked at again")]
    Rejected(u64),
    /// Somebody changed the draft meanwhile.
    #[error("the draft is revision {is} by now, not {named}")]
    DraftChanged {
        /// What it is.
        is: u64,
        /// What was named.
        named: u64,
    },
    /// A second person approves.
    #[error("who wrote the draft does not approve it")]
    OwnApproval,
    /// The approval is not recorded in full.
    #[error("an approval has the authority, a name and a number")]
    NoApproval,
    /// The approval lies in the future.
    #[error("the approval is of {at}, which is still to come")]
    ApprovalTime {
        /// As given.
        at: Timestamp,
    },
    /// What the law or CAP wants is not there.
    #[error("{} keep the draft from being issued, the first in {}: {}", faults.len(), first(faults).field, first(faults).text)]
    Incomplete {
        /// All that was found.
        faults: Vec<ContentFault>,
    },
    /// More than a warning holds.
    #[error("a warning has at most {limit} bytes as JSON, not {bytes}")]
    TooLarge {
        /// As given.
        bytes: usize,
        /// At most.
        limit: usize,
    },
    /// It would be over before it begins.
    #[error("it is over at {expires}, before it is sent at {sent}")]
    ExpiresPast {
        /// As given.
        expires: Timestamp,
        /// When it would be sent.
        sent: Timestamp,
    },
    /// It would hold for too long.
    #[error("it is over at {expires}, later than {latest}")]
    ExpiresTooFar {
        /// As given.
        expires: Timestamp,
        /// The latest end.
        latest: Timestamp,
    },
    /// Nothing is issued that could be updated or cancelled.
    #[error("nothing of warning {0} is issued")]
    NotIssued(u64),
    /// What was issued is cancelled, expired or given up.
    #[error("warning {0} is over")]
    Over(u64),
    /// One draft at a time.
    #[error("warning {0} has a draft already")]
    DraftWaits(u64),
    /// An exercise does not become the real thing, nor the other way round.
    #[error("an update or cancellation is of the standing of what it replaces")]
    StandingDiffers,
    /// A first message that would update or cancel.
    #[error("a revision is an update or a cancellation")]
    NoRevision,
    /// The identifiers that are configured have another form.
    #[error("the unit `{unit}` is not six digits and eight digits or capital letters")]
    Unit {
        /// As given.
        unit: String,
    },
    /// No more of them.
    #[error("{limit} warnings are drafted or in force, and no more are taken")]
    TooMany {
        /// At most.
        limit: usize,
    },
    /// A step of a newer version.
    #[error("this version does not know the step")]
    UnknownStep,
}

fn first(faults: &[ContentFault]) -> ContentFault {
    let none = || ContentFault::new("", "none", "");
    faults.first().cloned().unwrap_or_else(none)
}

impl WarningRefused {
    /// Stable name for the API and counters.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unknown(_) => "unknown_warning",
            Self::OutOfScope(_) => "out_of_scope",
            Self::AreaOutOfScope { .. } => "area_out_of_scope",
            Self::NoName => "no_name",
            Self::TooLong { .. } => "too_long",
            Self::NoReason => "no_reason",
            Self::NoDraft(_) => "no_draft",
            Self::Rejected(_) => "rejected",
            Self::DraftChanged { .. } => "draft_changed",
            Self::OwnApproval => "own_approval",
            Self::NoApproval => "no_approval",
            Self::ApprovalTime { .. } => "approval_time",
            Self::Incomplete { .. } => "incomplete",
            Self::TooLarge { .. } => "too_large",
            Self::ExpiresPast { .. } => "expires_past",
            Self::ExpiresTooFar { .. } => "expires_too_far",
            Self::NotIssued(_) => "not_issued",
            Self::Over(_) => "warning_over",
            Self::DraftWaits(_) => "draft_waits",
            Self::StandingDiffers => "standing_differs",
            Self::NoRevision => "no_revision",
            Self::Unit { .. } => "bad_unit",
            Self::TooMany { .. } => "too_many_warnings",
            Self::UnknownStep => "unknown_step",
        }
    }
}

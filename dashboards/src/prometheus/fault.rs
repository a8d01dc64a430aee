//! Why a query has no answer, in Prometheus's words.

/// Prometheus's `errorType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FaultKind {
    /// A parameter or expression that cannot be read.
    BadData,
    /// An expression that cannot be evaluated on this data, or costs too much.
    Execution,
    /// It took too long.
    Timeout,
    /// The role may not ask.
    Forbidden,
    /// The history's engine does not answer now.
    Unavailable,
    /// The history could not be read.
    Internal,
}

impl FaultKind {
    /// The name in the answer.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::BadData => "bad_data",
            Self::Execution => "execution",
            Self::Timeout => "timeout",
            Self::Forbidden => "unauthorized",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal",
        }
    }
}

/// Why a query has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub(crate) struct Fault {
    pub(crate) kind: FaultKind,
    pub(crate) text: String,
}

impl Fault {
    pub(super) fn bad_data(text: impl Into<String>) -> Self {
        Self::new(FaultKind::BadData, text)
    }
    pub(super) fn execution(text: impl Into<String>) -> Self {
        Self::new(FaultKind::Execution, text)
    }
    pub(super) fn timeout(text: impl Into<String>) -> Self {
        Self::new(FaultKind::Timeout, text)
    }
    pub(crate) fn new(kind: FaultKind, text: impl Into<String>) -> Self {
        Self {
            kind,
            text: text.into(),
        }
    }
}

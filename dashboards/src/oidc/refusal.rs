//! Why somebody did not come in by a provider's word.

use std::time::Duration;

use crate::error::Problem;

/// Each has a name of its own, by which it is told, counted and logged. None holds a token or a code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The browser did not begin here, or not this log-in.
    State,
    /// It began too long ago.
    Late,
    /// The same answer of the provider came before.
    Again,
    /// The provider said no.
    Denied(String),
    /// The provider did not answer, or not in time.
    Away(String),
    /// The provider did not take the code.
    Code(String),
    /// The provider's answer is not one of OpenID Connect.
    Answer(String),
    /// The token is of another provider.
    Issuer,
    /// The token is for somebody else.
    Audience,
    /// The token is of another log-in.
    Nonce,
    /// The token is not signed by a key of the provider.
    Signature(String),
    /// The token is over, or of another time.
    Time,
    /// The token names nobody, or somebody who cannot be an account's holder.
    Name,
    /// Nobody here is whom the provider speaks of.
    Unknown,
    /// An account has the name, and is not his.
    NotLinked,
    /// The account lets nobody in.
    Disabled,
    /// The role needs a second factor, and there is none.
    Second,
    /// Too many wrong passwords and codes.
    Guesses(Duration),
    /// Too many log-ins at once.
    Busy,
}

impl Refusal {
    /// Its name in counters, problems and the screen's address.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::State => "oidc_state",
            Self::Late => "oidc_late",
            Self::Again => "oidc_again",
            Self::Denied(_) => "oidc_denied",
            Self::Away(_) => "oidc_away",
            Self::Code(_) => "oidc_code",
            Self::Answer(_) => "oidc_answer",
            Self::Issuer => "oidc_issuer",
            Self::Audience => "oidc_audience",
            Self::Nonce => "oidc_nonce",
            Self::Signature(_) => "oidc_signature",
            Self::Time => "oidc_time",
            Self::Name => "oidc_name",
            Self::Unknown => "oidc_unknown",
            Self::NotLinked => "oidc_not_linked",
            Self::Disabled => "oidc_disabled",
            Self::Second => "second_factor_needed",
            Self::Guesses(_) => "too_many_guesses",
            Self::Busy => "oidc_busy",
        }
    }

    /// What the log says beside the name: the provider's or the network's words, never what the browser brought.
    pub(crate) fn cause(&self) -> &str {
        match self {
            Self::Denied(words)
            | Self::Away(words)
            | Self::Code(words)
            | Self::Answer(words)
            | Self::Signature(words) => words,
            _ => "",
        }
    }

    /// What a client is told.
    pub(crate) fn problem(&self) -> Problem {
        let label = self.label();
        match self {
            Self::State => Problem::bad_request(
                label,
                "this answer does not belong to a log-in that this browser began here: begin again",
            ),
            Self::Late => Problem::bad_request(label, "the log-in took too long: begin again"),
            Self::Again => Problem::bad_request(label, "this answer was used already: begin again"),
            Self::Denied(_) => Problem::forbidden_by(label, "the provider did not let in"),
            Self::Away(_) => Problem::unavailable_by(label, "the provider does not answer: try again later"),
            Self::Code(_) => {
                Problem::unauthorized_by(label, "the provider did not take its own code: begin again")
            }
            Self::Answer(_) => Problem::unauthorized_by(
                label,
                "the provider's answer cannot be read: the server's log says why",
            ),
            Self::Issuer => Problem::unauthorized_by(label, "the answer is of another provider"),
            Self::Audience => Problem::unauthorized_by(label, "the provider's token is for somebody else"),
            Self::Nonce => Problem::unauthorized_by(label, "the provider's token is of another log-in"),
            Self::Signature(_) => Problem::unauthorized_by(
                label,
                "the provider's token is not signed by a key of the provider",
            ),
            Self::Time => Problem::unauthorized_by(
                label,
                "the provider's token is over or of another time: look at the clocks",
            ),
            Self::Name => Problem::forbidden_by(label, "the provider's token names nobody who could be here"),
            Self::Unknown => Problem::forbidden_by(
                label,
                "nobody here is linked with this person: ask an administrator (onemap user link)",
            ),
            Self::NotLinked => Problem::forbidden_by(
                label,
                "there is an account of this name, and it is not linked with this person: ask an administrator (onemap user link)",
            ),
            Self::Disabled => Problem::forbidden_by(label, "the account is disabled"),
            Self::Second => Problem::forbidden_by(
                label,
                "this role needs a second factor; the provider saw none and the account has none: ask for a new link",
            ),
            Self::Guesses(wait) => Problem::too_soon(
                label,
                "too many wrong passwords or codes for this account from this network",
                *wait,
            ),
            Self::Busy => Problem::unavailable_by(label, "too many log-ins at once: try again in a second"),
        }
    }
}

//! Log-in by OpenID Connect: the authorization code flow with PKCE (OpenID Connect Core 1.0, RFC 7636).
//!
//! The provider says who somebody is. Which account that is, what it may do and whether a second factor is needed are
//! this server's to say, and a session that is begun so is like every other.

mod settings;

#[cfg(feature = "oidc")]
mod answers;
#[cfg(not(feature = "oidc"))]
#[path = "absent.rs"]
mod answers;
#[cfg(feature = "oidc")]
mod desk;
#[cfg(feature = "oidc")]
mod flow;
#[cfg(feature = "oidc")]
mod people;
#[cfg(feature = "oidc")]
mod provider;
#[cfg(feature = "oidc")]
mod refusal;

use std::sync::Arc;

pub(crate) use answers::{begin, callback, finish, ways};
#[cfg(feature = "oidc")]
use desk::Desk;
pub use settings::{BUILT_IN, CALLBACK, ClientSecret, Make, Settings};

use crate::error::Problem;

/// Where people come in by a provider's word, when there is one.
#[derive(Clone, Default)]
pub(crate) struct Oidc {
    /// The provider's address.
    issuer: Option<Arc<str>>,
    #[cfg(feature = "oidc")]
    desk: Option<Arc<Desk>>,
}

impl Oidc {
    /// As the configuration says.
    #[cfg(feature = "oidc")]
    pub(crate) fn new(settings: Option<Settings>) -> Self {
        Self {
            issuer: settings.as_ref().map(|settings| settings.issuer.as_str().into()),
            desk: settings.map(|settings| Arc::new(Desk::new(settings))),
        }
    }

    /// No configuration names a provider where this is not built in.
    #[cfg(not(feature = "oidc"))]
    pub(crate) fn new(settings: Option<Settings>) -> Self {
        Self {
            issuer: settings.map(|settings| settings.issuer.as_str().into()),
        }
    }

    /// The provider's address.
    pub(crate) fn issuer(&self) -> Option<&str> {
        self.issuer.as_deref()
    }
}

/// The answer where no provider is configured.
fn absent() -> Problem {
    Problem::not_found(
        "oidc_not_configured",
        "this server lets nobody in by OpenID Connect ([oidc] in its configuration)",
    )
}

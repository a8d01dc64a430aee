//! What the configuration says of a provider of OpenID Connect.

use std::fmt;
use std::path::PathBuf;

use onemap_model::{DivisionCode, Role};

/// Where the provider sends a browser back to, behind [`Settings::public_url`].
pub const CALLBACK: &str = "/api/v1/session/oidc/callback";
/// Whether this was built with the cargo feature `oidc`.
pub const BUILT_IN: bool = cfg!(feature = "oidc");

/// The secret that the provider knows this server by. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientSecret(pub String);

impl fmt::Debug for ClientSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientSecret")
    }
}

/// A provider, and what its word is worth here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Its address, as its ID tokens say it.
    pub issuer: String,
    /// What it calls this server.
    pub client_id: String,
    /// `None` for a public client, which PKCE alone protects.
    pub client_secret: Option<ClientSecret>,
    /// The address by which browsers reach this server, without a slash at its end.
    pub public_url: String,
    /// Scopes that are asked for beside `openid`.
    pub scopes: Vec<String>,
    /// The claim that holds the name of the account.
    pub name_claim: String,
    /// Whether the first who comes by the name of an account without a subject becomes its holder.
    pub bind_by_name: bool,
    /// Who gets an account at the first log-in, the first entry that fits; nobody when it is empty.
    pub makes: Vec<Make>,
    /// Values of `amr` that say that the provider saw a second factor.
    pub second_amr: Vec<String>,
    /// Values of `acr` that say so.
    pub second_acr: Vec<String>,
    /// Certificates of the authorities that its certificate may come from; `None` are the system's.
    pub roots: Option<PathBuf>,
    /// What stands on the button, Chinese and English.
    pub label: (String, String),
}

/// Who gets what account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Make {
    /// The claim that is looked at; dots lead into objects.
    pub claim: String,
    /// What it is, or holds when it is a list.
    pub value: String,
    /// Role of the account.
    pub role: Role,
    /// Only this division; `None` is the whole city.
    pub division: Option<DivisionCode>,
    /// Only these departments; empty is all.
    pub departments: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown() {
        assert_eq!(format!("{:?}", ClientSecret("s3cr3t".to_owned())), "ClientSecret");
    }
}

//! `[oidc]`: the provider of OpenID Connect whose word lets people in.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use onemap_dashboards::oidc::{BUILT_IN, ClientSecret, Make, Settings};
use onemap_model::account::check_departments;
use onemap_model::scope::Permission;
use onemap_model::{DivisionCode, Role};
use onemap_store::remote::Endpoint;
use serde::Deserialize;

/// Most characters of a name, a claim or a value.
const MOST: usize = 256;
/// Most entries of a list.
const MOST_ENTRIES: usize = 256;

/// `[oidc]` as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Oidc {
    /// The provider's address, to the letter as it says it itself; what it is stands behind it at
    /// `/.well-known/openid-configuration`.
    issuer: String,
    /// What the provider calls this server.
    client_id: String,
    /// File with the secret that the provider knows this server by. Default none: a public client.
    client_secret_file: Option<PathBuf>,
    /// The address by which browsers reach this server, `https://onemap.example`. Default that of the listener, which
    /// will do on the machine itself.
    public_url: Option<String>,
    /// Scopes that are asked for beside `openid`. Default `["profile"]`.
    #[serde(default = "profile")]
    scopes: Vec<String>,
    /// The claim that holds the name of the account. Default `preferred_username`.
    #[serde(default = "preferred_username")]
    name_claim: String,
    /// Whether the first who comes by the name of an account that is linked with nobody, and whose role needs no second
    /// factor, becomes its holder. Default false: an administrator links.
    #[serde(default)]
    bind_by_name: bool,
    /// Values of the claim `amr` that say that the provider saw a second factor. Default none.
    #[serde(default)]
    second_factor_amr: Vec<String>,
    /// Values of the claim `acr` that say so. Default none.
    #[serde(default)]
    second_factor_acr: Vec<String>,
    /// Certificates of the authorities that the provider's certificate may come from, PEM. Default the system's.
    ca_file: Option<PathBuf>,
    /// What stands on the button. Default 统一身份认证登录.
    #[serde(default = "name_zh")]
    name_zh: String,
    /// The same in English. Default `Sign in with SSO`.
    #[serde(default = "name_en")]
    name_en: String,
    /// Who gets an account at the first log-in; the first entry that fits. Default nobody.
    #[serde(default)]
    map: Vec<Entry>,
}

/// `[[oidc.map]]` as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// The claim that is looked at; dots lead into objects.
    claim: String,
    /// What it is, or holds when it is a list.
    value: String,
    /// Role of the account that is made.
    role: Role,
    /// Only this division. Default the whole city.
    division: Option<DivisionCode>,
    /// Only these departments. Default all.
    #[serde(default)]
    departments: Vec<String>,
    /// Whether the role may be one that commands or administers. Default false.
    #[serde(default)]
    privileged: bool,
}

fn profile() -> Vec<String> {
    vec!["profile".to_owned()]
}

fn preferred_username() -> String {
    "preferred_username".to_owned()
}

fn name_zh() -> String {
    "统一身份认证登录".to_owned()
}

fn name_en() -> String {
    "Sign in with SSO".to_owned()
}

/// `[oidc]` as meant.
#[derive(Clone, Debug)]
pub(crate) struct OidcPart {
    /// Without a public address when none is written.
    settings: Settings,
}

impl OidcPart {
    /// What the server is told; `own` is the address of its listener, for which none is written.
    pub(crate) fn settings(&self, own: &str) -> Settings {
        let mut settings = self.settings.clone();
        if settings.public_url.is_empty() {
            own.clone_into(&mut settings.public_url);
        }
        settings
    }

    /// Whether the provider's word for a second factor counts.
    pub(crate) fn trusts_second(&self) -> bool {
        !self.settings.second_amr.is_empty() || !self.settings.second_acr.is_empty()
    }

    /// The provider's address.
    pub(crate) fn issuer(&self) -> &str {
        &self.settings.issuer
    }
}

impl Oidc {
    /// `listen` is where this server is reached when nothing else is written.
    pub(super) fn check(self, folder: &Path, listen: SocketAddr) -> Result<OidcPart> {
        ensure!(
            BUILT_IN,
            "[oidc] this onemap was built without OpenID Connect: cargo build --release --features oidc"
        );
        let roots = self.ca_file.map(|file| folder.join(file));
        let issuer = self.issuer;
        address("issuer", &issuer)?;
        // Read now, so that a file that cannot be is said at the start.
        let asked = roots.as_ref().map_or(&*issuer, |_| "https://localhost");
        Endpoint::new(asked, None, &[], roots.as_deref(), Duration::from_secs(1))
            .context("[oidc] ca_file")?;
        ensure!(
            is_text(&self.client_id),
            "[oidc] client_id: 1 to {MOST} printable characters"
        );
        let client_secret = self
            .client_secret_file
            .map(|file| secret(&folder.join(file)))
            .transpose()?;
        let public_url = match self.public_url {
            Some(url) => {
                let url = url.trim_end_matches('/').to_owned();
                address("public_url", &url)?;
                ensure!(
                    url.splitn(4, '/').nth(3).is_none(),
                    "[oidc] public_url = \"{url}\": without a path, the screen stands at /"
                );
                url
            }
            None => {
                ensure!(
                    listen.ip().is_loopback(),
                    "[oidc] public_url is missing: the address by which browsers reach this server, https://…"
                );
                String::new()
            }
        };
        let lists = [
            ("scopes", &self.scopes),
            ("second_factor_amr", &self.second_factor_amr),
            ("second_factor_acr", &self.second_factor_acr),
        ];
        for (name, list) in lists {
            let is_word = |text: &String| is_text(text) && !text.contains(char::is_whitespace);
            ensure!(
                list.len() <= MOST_ENTRIES && list.iter().all(is_word),
                "[oidc] {name}: at most {MOST_ENTRIES} words of 1 to {MOST} characters"
            );
        }
        let texts = [
            ("name_claim", &self.name_claim),
            ("name_zh", &self.name_zh),
            ("name_en", &self.name_en),
        ];
        for (name, text) in texts {
            ensure!(is_text(text), "[oidc] {name}: 1 to {MOST} printable characters");
        }
        ensure!(
            self.map.len() <= MOST_ENTRIES,
            "[[oidc.map]] there are at most {MOST_ENTRIES} entries"
        );
        let makes = self.map.into_iter().map(Entry::check).collect::<Result<_>>()?;
        Ok(OidcPart {
            settings: Settings {
                issuer,
                client_id: self.client_id,
                client_secret,
                public_url,
                scopes: self.scopes,
                name_claim: self.name_claim,
                bind_by_name: self.bind_by_name,
                makes,
                second_amr: self.second_factor_amr,
                second_acr: self.second_factor_acr,
                roots,
                label: (self.name_zh, self.name_en),
            },
        })
    }
}

impl Entry {
    fn check(self) -> Result<Make> {
        let value = &self.value;
        ensure!(
            is_text(&self.claim) && is_text(value),
            "[[oidc.map]] value = \"{value}\": claim and value have 1 to {MOST} printable characters"
        );
        ensure!(
            self.role != Role::Admin,
            "[[oidc.map]] value = \"{value}\": the role admin is that of the data folder's owner; no account has it"
        );
        let commands = self.role.may(Permission::Command) || self.role.needs_second();
        ensure!(
            self.privileged || !commands,
            "[[oidc.map]] value = \"{value}\": the role {} commands or administers: say privileged = true, or link its people by `onemap user link`",
            self.role.name()
        );
        check_departments(&self.departments)
            .with_context(|| format!("[[oidc.map]] value = \"{value}\": departments"))?;
        Ok(Make {
            claim: self.claim,
            value: self.value,
            role: self.role,
            division: self.division,
            departments: self.departments,
        })
    }
}

/// That an address is one that codes and tokens may go to.
fn address(key: &str, text: &str) -> Result<()> {
    let (scheme, rest) = text.split_once("://").unwrap_or_default();
    let host = rest.split('/').next().unwrap_or_default();
    let name = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let is_here = name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    let is_sound = !name.is_empty()
        && !text.contains(|c: char| c.is_whitespace() || c.is_control() || "?#@\"".contains(c));
    ensure!(
        is_sound && (scheme == "https" || (scheme == "http" && is_here)),
        "[oidc] {key} = \"{text}\": an https:// address; http:// on the machine itself only"
    );
    Ok(())
}

/// The secret that a file holds.
fn secret(path: &Path) -> Result<ClientSecret> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("[oidc] client_secret_file: cannot read {}", path.display()))?;
    let text = text.trim();
    ensure!(
        !text.is_empty(),
        "[oidc] client_secret_file: {} is empty",
        path.display()
    );
    Ok(ClientSecret(text.to_owned()))
}

fn is_text(text: &str) -> bool {
    !text.trim().is_empty() && text.chars().count() <= MOST && !text.contains(char::is_control)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const LEAST: &str = "issuer = \"https://sso.example/realms/city\"\nclient_id = \"onemap\"\n";

    fn read(text: &str) -> Result<OidcPart> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("secret"), " s3cr3t\n").unwrap();
        std::fs::write(folder.path().join("empty"), "\n").unwrap();
        // Authorities of the machine are not looked for.
        let text = text.replace("https://sso.example", "http://127.0.0.1:1");
        let written: Oidc = toml::from_str(&text)?;
        written.check(folder.path(), ([127, 0, 0, 1], 8080).into())
    }

    #[cfg(not(feature = "oidc"))]
    #[test]
    fn a_build_without_it_says_how_to_build_with_it() {
        let error = read(LEAST).unwrap_err().to_string();
        assert!(
            error.starts_with("[oidc] ") && error.contains("--features oidc"),
            "{error}"
        );
    }

    #[cfg(feature = "oidc")]
    #[test]
    fn what_is_not_written_is_the_careful_choice() {
        let part = read(LEAST).unwrap();
        assert!(!part.trusts_second());
        let settings = part.settings("http://127.0.0.1:8080");
        assert_eq!(settings.public_url, "http://127.0.0.1:8080");
        assert!(!settings.bind_by_name && settings.makes.is_empty() && settings.client_secret.is_none());
        assert_eq!(settings.scopes, ["profile"]);
        assert_eq!(settings.name_claim, "preferred_username");
        let more = format!(
            "{LEAST}client_secret_file = \"secret\"\npublic_url = \"https://onemap.example/\"\nsecond_factor_acr = [\"gold\"]\n\
             [[map]]\nclaim = \"groups\"\nvalue = \"duty\"\nrole = \"operator\"\nprivileged = true\n\
             [[map]]\nclaim = \"groups\"\nvalue = \"all\"\nrole = \"viewer\"\ndivision = \"630104\"\ndepartments = [\"水务局\"]\n"
        );
        let part = read(&more).unwrap();
        assert!(part.trusts_second());
        let settings = part.settings("http://127.0.0.1:8080");
        assert_eq!(settings.public_url, "https://onemap.example");
        assert_eq!(settings.client_secret, Some(ClientSecret("s3cr3t".to_owned())));
        let roles: Vec<Role> = settings.makes.iter().map(|make| make.role).collect();
        assert_eq!(roles, [Role::Operator, Role::Viewer]);
    }

    #[cfg(feature = "oidc")]
    #[test]
    fn what_is_not_safe_is_refused_by_its_key() {
        for (text, said) in [
            (
                "issuer = \"http://other.example\"\nclient_id = \"x\"",
                "[oidc] issuer",
            ),
            ("issuer = \"other.example\"\nclient_id = \"x\"", "[oidc] issuer"),
            ("issuer = \"https://a@b/?c\"\nclient_id = \"x\"", "[oidc] issuer"),
            (
                "issuer = \"https://sso.example\"\nclient_id = \"\"",
                "[oidc] client_id",
            ),
            (
                "client_secret_file = \"none\"",
                "[oidc] client_secret_file: cannot read",
            ),
            ("client_secret_file = \"empty\"", "is empty"),
            ("public_url = \"http://onemap.example\"", "[oidc] public_url"),
            ("public_url = \"https://onemap.example/city\"", "without a path"),
            ("scopes = [\"a b\"]", "[oidc] scopes"),
            ("second_factor_amr = [\"\"]", "[oidc] second_factor_amr"),
            ("name_claim = \"\"", "[oidc] name_claim"),
            (
                "ca_file = \"none.pem\"\nissuer = \"https://other.example\"\nclient_id = \"x\"",
                "[oidc] ca_file",
            ),
            ("client_secret = \"s3cr3t\"", "unknown field"),
            (
                "[[map]]\nclaim = \"g\"\nvalue = \"v\"\nrole = \"commander\"",
                "privileged = true",
            ),
            (
                "[[map]]\nclaim = \"g\"\nvalue = \"v\"\nrole = \"audit_admin\"",
                "privileged = true",
            ),
            (
                "[[map]]\nclaim = \"g\"\nvalue = \"v\"\nrole = \"admin\"\nprivileged = true",
                "no account has it",
            ),
            (
                "[[map]]\nclaim = \"g\"\nvalue = \"\"\nrole = \"viewer\"",
                "claim and value",
            ),
        ] {
            let whole = match text.contains("client_id") {
                true => text.to_owned(),
                false => format!("{LEAST}{text}"),
            };
            let error = format!("{:#}", read(&whole).unwrap_err());
            assert!(error.contains(said), "{text}: {error}");
        }
        let written: Oidc = toml::from_str(&LEAST.replace("https://sso.example", "http://[::1]:1")).unwrap();
        let far = written.check(Path::new(""), ([0, 0, 0, 0], 8080).into());
        assert!(far.unwrap_err().to_string().contains("public_url is missing"));
    }
}

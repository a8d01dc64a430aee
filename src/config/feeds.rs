//! `[[alerts.consumers]]`: who is sent alerts.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use onemap_alerts::feeds::{Gateway, Kind, Patience, Secret, Selection};
use onemap_model::{DivisionCode, Edge, RuleId, Severity};
use onemap_store::remote::{Authorization, Endpoint, client_tls};
use serde::Deserialize;
use tokio_rustls::rustls::ClientConfig;

use crate::feeding::{Mailer, Publisher, Road};

/// Most consumers.
const MOST: usize = 64;
/// Longest address, header and template, in bytes.
const LONGEST: usize = 16 << 10;

/// How a consumer is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Spoken {
    Webhook,
    Alertmanager,
    DingTalk,
    WeCom,
    Feishu,
    Gateway,
    Email,
    Mqtt,
}

/// Where a new consumer begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum From {
    #[default]
    Now,
    Beginning,
}

/// One consumer as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Consumer {
    /// Its name: letters, digits, `-` and `_`. Cursor and receipts are kept under it.
    name: String,
    /// `webhook`, `alertmanager`, `dingtalk`, `wecom`, `feishu`, `gateway`, `email` or `mqtt`.
    kind: Spoken,
    /// Its address. Of a gateway a template.
    url: Option<String>,
    /// File with the address, where that holds a key. In place of `url`.
    url_file: Option<PathBuf>,
    /// File with the secret that signs; of a gateway what stands for `{{secret}}`, of e-mail and MQTT the password.
    secret_file: Option<PathBuf>,
    /// File with a token that is sent as `Authorization: Bearer`.
    token_file: Option<PathBuf>,
    /// Certificates of authorities that its certificate may come from, PEM. Default the system's.
    ca_file: Option<PathBuf>,
    /// Whether it may be spoken to in the clear elsewhere than on this machine. Default false.
    #[serde(default)]
    allow_plain: bool,
    /// Of e-mail and MQTT: who logs in with the password.
    user: Option<String>,
    /// Of e-mail: whose mail it is.
    sender: Option<String>,
    /// Of e-mail: the mail box.
    to: Option<String>,
    /// Of a gateway: `GET`, `POST` or `PUT`. Default `POST`.
    method: Option<String>,
    /// Of a gateway: headers, templates.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// Of a gateway: the body, a template. Default empty.
    body: Option<String>,
    /// Only things of this division. Default the whole city.
    division: Option<DivisionCode>,
    /// Least severity. Default `notice`: all.
    severity_at_least: Option<Severity>,
    /// Only these rules. Default all.
    #[serde(default)]
    rules: BTreeSet<RuleId>,
    /// Only these edges. Default those that mean something to the kind (docs/feeds.md).
    edges: Option<BTreeSet<Edge>>,
    /// Seconds that an answer may take. Default 10.
    #[serde(default = "timeout")]
    timeout: u64,
    /// Seconds that one item is tried before it is set aside. Default 86400.
    #[serde(default = "tries_within")]
    tries_within: u64,
    /// Least seconds between two requests. Default 0; robots 3, which is their least.
    min_pause: Option<u64>,
    /// Of an Alertmanager: seconds after which it is told again what is open; less than its `resolve_timeout`.
    /// Default 60.
    remind: Option<u64>,
    /// `now`, or the `beginning` of the ledger: where a consumer of this name begins when it is new. Default `now`.
    #[serde(default)]
    from: From,
}

fn timeout() -> u64 {
    10
}

fn tries_within() -> u64 {
    86_400
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Addresses and headers may hold keys.
        f.debug_struct("Consumer")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// One consumer as meant.
#[derive(Clone)]
pub(crate) struct ConsumerPart {
    /// Its name.
    pub(crate) name: String,
    /// How it is spoken to.
    pub(crate) kind: Kind,
    /// By which way.
    pub(crate) road: Road,
    /// Host and port, which may be shown.
    pub(crate) host: String,
    /// Path and query, which may hold a key.
    pub(crate) target: String,
    /// What it is told.
    pub(crate) selection: Selection,
    /// How long it is tried.
    pub(crate) patience: Patience,
    /// After which time it is told again what is open.
    pub(crate) remind: Duration,
    /// Whether it begins at the beginning of the ledger.
    pub(crate) is_from_beginning: bool,
}

impl fmt::Debug for ConsumerPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} at {}", self.kind.name(), self.name, self.host)
    }
}

/// Checks all of them.
pub(super) fn check(consumers: Vec<Consumer>, folder: &Path) -> Result<Vec<ConsumerPart>> {
    ensure!(
        consumers.len() <= MOST,
        "[[alerts.consumers]]: {} are written, at most {MOST} are served",
        consumers.len()
    );
    let mut checked: Vec<ConsumerPart> = Vec::new();
    for consumer in consumers {
        let part = consumer.check(folder)?;
        ensure!(
            checked.iter().all(|other| other.name != part.name),
            "[[alerts.consumers]] name = \"{}\": there are two of this name",
            part.name
        );
        checked.push(part);
    }
    Ok(checked)
}

impl Consumer {
    fn check(self, folder: &Path) -> Result<ConsumerPart> {
        let name = self.name.clone();
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        ensure!(
            (1..=64).contains(&name.len()) && name.chars().all(is_plain),
            "[[alerts.consumers]] name = \"{name}\": 1 to 64 letters, digits, `-` and `_`"
        );
        // A fault stands at the line of the name, and shows no address.
        let at = format!("[[alerts.consumers]] name = \"{name}\"");
        self.belongs().context(at.clone())?;
        let address = self.address(folder).context(at.clone())?;
        let kind = self.kind(folder, &address.target).context(at.clone())?;
        let road = self.road(folder, &address).context(at.clone())?;
        let patience = self.patience(&kind).context(at.clone())?;
        let remind = self.remind.unwrap_or(60);
        ensure!(
            (1..=3600).contains(&remind),
            "{at}: remind = {remind}: between 1 and 3600 seconds"
        );
        let edges = self.edges.unwrap_or_else(|| kind.usual_edges());
        ensure!(!edges.is_empty(), "{at}: edges: at least one");
        Ok(ConsumerPart {
            name,
            road,
            host: address.host,
            target: address.target,
            selection: Selection {
                division: self.division,
                severity_at_least: self.severity_at_least.unwrap_or(Severity::Notice),
                rules: self.rules,
                edges,
            },
            patience,
            remind: Duration::from_secs(remind),
            is_from_beginning: self.from == From::Beginning,
            kind,
        })
    }

    /// Keys that mean nothing to the kind are refused rather than passed over.
    fn belongs(&self) -> Result<()> {
        let is_gateway = self.kind == Spoken::Gateway;
        let has_login = matches!(self.kind, Spoken::Email | Spoken::Mqtt);
        let foreign = [
            ("method", self.method.is_some() && !is_gateway),
            ("headers", !self.headers.is_empty() && !is_gateway),
            ("body", self.body.is_some() && !is_gateway),
            (
                "remind",
                self.remind.is_some() && self.kind != Spoken::Alertmanager,
            ),
            (
                "secret_file",
                self.secret_file.is_some() && matches!(self.kind, Spoken::Alertmanager | Spoken::WeCom),
            ),
            ("user", self.user.is_some() && !has_login),
            ("token_file", self.token_file.is_some() && has_login),
            ("sender", self.sender.is_some() && self.kind != Spoken::Email),
            ("to", self.to.is_some() && self.kind != Spoken::Email),
        ];
        if let Some((key, _)) = foreign.iter().find(|(_, is_written)| *is_written) {
            anyhow::bail!("{key}: it means nothing for this kind");
        }
        ensure!(
            self.kind != Spoken::Webhook || self.secret_file.is_some(),
            "secret_file: a webhook is signed"
        );
        ensure!(
            !has_login || self.user.is_some() == self.secret_file.is_some(),
            "user, secret_file: a name and its password, or neither"
        );
        Ok(())
    }

    fn address(&self, folder: &Path) -> Result<Address> {
        let url = match (&self.url, &self.url_file) {
            (Some(url), None) => url.clone(),
            (None, Some(file)) => secret(&folder.join(file)).context("url_file")?,
            _ => anyhow::bail!("url: either url or url_file"),
        };
        let address = Address::parse(&url)?;
        let (schemes, tls) = match self.kind {
            Spoken::Email => (&["smtps", "smtp"][..], "smtps"),
            Spoken::Mqtt => (&["mqtts", "mqtt"][..], "mqtts"),
            _ => (&["https", "http"][..], "https"),
        };
        ensure!(
            schemes.contains(&address.scheme.as_str()),
            "url: it is not an address like {}://host/path",
            schemes[0]
        );
        let may_be_plain = self.allow_plain || address.is_here();
        ensure!(
            address.is_tls() || may_be_plain,
            "url: {} in the clear goes to this machine only; {tls}, or allow_plain = true",
            address.scheme
        );
        Ok(address)
    }

    fn kind(&self, folder: &Path, target: &str) -> Result<Kind> {
        let secret = self.secret_file.as_ref().map(|file| {
            let secret = secret(&folder.join(file)).context("secret_file")?;
            anyhow::Ok(Secret::new(&secret))
        });
        let secret = secret.transpose()?;
        Ok(match self.kind {
            Spoken::Webhook => Kind::Webhook {
                secret: secret.context("secret_file: a webhook is signed")?,
            },
            Spoken::Alertmanager => Kind::Alertmanager,
            Spoken::DingTalk => Kind::DingTalk { secret },
            Spoken::WeCom => Kind::WeCom,
            Spoken::Feishu => Kind::Feishu { secret },
            Spoken::Email => Kind::Email,
            Spoken::Mqtt => Kind::Mqtt,
            Spoken::Gateway => {
                let method = self.method.as_deref().unwrap_or("POST");
                let body = self.body.as_deref().unwrap_or_default();
                let headers: Vec<_> = self.headers.clone().into_iter().collect();
                let bytes = headers.iter().map(|(name, value)| name.len() + value.len());
                ensure!(
                    bytes.sum::<usize>() + body.len() <= LONGEST,
                    "body, headers: at most {LONGEST} bytes"
                );
                Kind::Gateway(
                    Gateway::new(method, target, headers, body, secret)
                        .context("url, method, headers, body")?,
                )
            }
        })
    }

    fn road(&self, folder: &Path, address: &Address) -> Result<Road> {
        ensure!(
            (1..=120).contains(&self.timeout),
            "timeout = {}: between 1 and 120 seconds",
            self.timeout
        );
        match self.kind {
            Spoken::Email => self.mailer(folder, address).map(Road::Mail),
            Spoken::Mqtt => self.publisher(folder, address).map(Road::Mqtt),
            _ => self.endpoint(folder, address).map(Road::Http),
        }
    }

    fn login(&self, folder: &Path) -> Result<Option<(String, String)>> {
        let (Some(user), Some(file)) = (&self.user, &self.secret_file) else {
            return Ok(None);
        };
        let password = secret(&folder.join(file)).context("secret_file")?;
        Ok(Some((user.clone(), password)))
    }

    fn mailer(&self, folder: &Path, address: &Address) -> Result<Mailer> {
        ensure!(address.target == "/", "url: it ends with the host and port");
        let usual = if address.is_tls() { 465 } else { 25 };
        let (host, port) = address.named()?;
        Mailer::new(
            (host, port.unwrap_or(usual)),
            self.tls(folder, address)?,
            self.login(folder)?,
            (
                self.sender.as_deref().context("sender: whose mail it is")?,
                self.to.as_deref().context("to: whose box it is")?,
            ),
            Duration::from_secs(self.timeout),
        )
    }

    fn tls(&self, folder: &Path, address: &Address) -> Result<Option<Arc<ClientConfig>>> {
        let roots = self.ca_file.as_ref().map(|file| folder.join(file));
        let tls = address
            .is_tls()
            .then(|| client_tls(roots.as_deref()).context("ca_file"));
        tls.transpose()
    }

    fn publisher(&self, folder: &Path, address: &Address) -> Result<Publisher> {
        let topic = address.target.trim_start_matches('/');
        ensure!(
            !topic.is_empty() && topic.len() <= 1024 && !topic.contains(['+', '#', '?']),
            "url: it is not an address like mqtts://host:8883/topic/of/alerts"
        );
        let (host, port) = address.named()?;
        let usual = if address.is_tls() { 8883 } else { 1883 };
        Publisher::new(
            (&format!("onemap-{}", self.name), topic),
            (host, port.unwrap_or(usual)),
            self.login(folder)?,
            self.tls(folder, address)?,
            Duration::from_secs(self.timeout),
        )
        .context("url")
    }

    fn endpoint(&self, folder: &Path, address: &Address) -> Result<Endpoint> {
        let token = self.token_file.as_ref().map(|file| {
            let token = secret(&folder.join(file)).context("token_file")?;
            Authorization::new("Bearer", &token).context("token_file")
        });
        let roots = self.ca_file.as_ref().map(|file| folder.join(file));
        let timeout = Duration::from_secs(self.timeout);
        let origin = address.origin();
        Endpoint::new(&origin, token.transpose()?, &[], roots.as_deref(), timeout).context("url, ca_file")
    }

    fn patience(&self, kind: &Kind) -> Result<Patience> {
        let least = kind.least_pause();
        let min_pause = self.min_pause.map_or(least, Duration::from_secs);
        ensure!(
            min_pause >= least && min_pause <= Duration::from_secs(3600),
            "min_pause = {}: between {} and 3600 seconds",
            min_pause.as_secs(),
            least.as_secs()
        );
        ensure!(
            (1..=30 * 86_400).contains(&self.tries_within),
            "tries_within = {}: between 1 and 2592000 seconds (30 days)",
            self.tries_within
        );
        Ok(Patience {
            tries_within: Duration::from_secs(self.tries_within),
            min_pause,
        })
    }
}

/// An address in its parts.
struct Address {
    scheme: String,
    /// Host and port as written.
    host: String,
    /// Path and query.
    target: String,
}

impl Address {
    fn parse(url: &str) -> Result<Self> {
        let bad = || anyhow::anyhow!("url: it is not an address like https://host/path");
        let url = url.trim();
        ensure!(url.len() <= LONGEST, "url: at most {LONGEST} bytes");
        let (scheme, rest) = url.split_once("://").ok_or_else(bad)?;
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (host, target) = rest.split_at(end);
        let is_clean = |c: char| c.is_ascii_graphic() && !matches!(c, '@' | '#' | '{' | '}' | '\\');
        if host.is_empty() || !host.chars().all(is_clean) || target.contains('#') {
            return Err(bad());
        }
        ensure!(
            target.chars().all(|c| c.is_ascii_graphic()),
            "url: what is no letter, digit or sign of ASCII is percent-encoded"
        );
        let target = match target {
            "" => "/".to_owned(),
            query if query.starts_with('?') => format!("/{query}"),
            path => path.to_owned(),
        };
        Ok(Self {
            scheme: scheme.to_owned(),
            host: host.to_owned(),
            target,
        })
    }

    fn origin(&self) -> String {
        format!("{}://{}", self.scheme, self.host)
    }

    fn is_tls(&self) -> bool {
        matches!(self.scheme.as_str(), "https" | "smtps" | "mqtts")
    }

    /// Host and port.
    fn named(&self) -> Result<(&str, Option<u16>)> {
        let (host, port) = match self.host.strip_prefix('[') {
            Some(v6) => v6.split_once(']').context("url: `[` without `]`")?,
            None => self.host.split_at(self.host.find(':').unwrap_or(self.host.len())),
        };
        let port = match port.strip_prefix(':') {
            Some(port) => Some(port.parse().context("url: the port is a number up to 65535")?),
            None => None,
        };
        Ok((host, port))
    }

    /// Whether it is this machine's own.
    fn is_here(&self) -> bool {
        let name = match self.host.strip_prefix('[') {
            Some(v6) => v6.split(']').next().unwrap_or_default(),
            None => self.host.split(':').next().unwrap_or_default(),
        };
        name == "localhost" || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }
}

/// A file that nobody else may read, without the spaces around what it holds.
fn secret(path: &Path) -> Result<String> {
    let shown = path.display();
    let about = std::fs::metadata(path).with_context(|| format!("{shown} cannot be read"))?;
    let mode = about.permissions().mode() & 0o7777;
    ensure!(
        mode & 0o077 == 0,
        "others may read {shown} (mode {mode:04o}): chmod 600 {shown}"
    );
    ensure!(about.len() <= LONGEST as u64, "{shown} has over {LONGEST} bytes");
    let text = std::fs::read_to_string(path).with_context(|| format!("{shown} cannot be read"))?;
    let text = text.trim();
    ensure!(!text.is_empty(), "{shown} is empty");
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(text: &str) -> Result<Vec<ConsumerPart>> {
        #[derive(Deserialize)]
        struct File {
            consumers: Vec<Consumer>,
        }
        let dir = tempfile::tempdir().unwrap();
        for (name, mode) in [("secret", 0o600), ("open", 0o644)] {
            let path = dir.path().join(name);
            std::fs::write(&path, "s3cret-of-hook\n").unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        }
        check(toml::from_str::<File>(text)?.consumers, dir.path())
    }

    const HOOK: &str = "[[consumers]]\nname = \"hook\"\nkind = \"webhook\"\nurl = \"http://127.0.0.1:9/x?k=1\"\nsecret_file = \"secret\"\n";

    #[test]
    fn a_webhook_wants_a_name_an_address_and_a_secret() {
        let part = read(HOOK).unwrap().remove(0);
        assert_eq!(
            (part.host.as_str(), part.target.as_str()),
            ("127.0.0.1:9", "/x?k=1")
        );
        assert_eq!(part.patience.tries_within, Duration::from_secs(86_400));
        assert_eq!((part.selection.edges.len(), part.is_from_beginning), (16, false));
        let shown = format!("{part:?} {:?}", part.kind);
        assert!(!shown.contains("s3cret") && !shown.contains("k=1"), "{shown}");
        let robot = "[[consumers]]\nname = \"r\"\nkind = \"wecom\"\nurl = \"https://h/cgi?key=9\"\n";
        assert_eq!(read(robot).unwrap()[0].patience.min_pause, Duration::from_secs(3));
    }

    #[test]
    fn what_cannot_work_is_refused_by_its_key_and_shows_no_address() {
        for (text, part) in [
            (HOOK.replace("\"hook\"", "\"../x\""), "name"),
            (HOOK.replace("secret_file = \"secret\"", ""), "secret_file"),
            (HOOK.replace("\"secret\"", "\"open\""), "others may read"),
            (HOOK.replace("\"secret\"", "\"none\""), "cannot be read"),
            (HOOK.replace("127.0.0.1:9", "10.0.0.1:9"), "allow_plain"),
            (HOOK.replace("http://127.0.0.1:9", "ftp://h"), "url"),
            (HOOK.replace("127.0.0.1", "u:p@127.0.0.1"), "url"),
            (
                HOOK.replace("url = ", "url_file = \"secret\"\nurl = "),
                "either url",
            ),
            (HOOK.replace("webhook", "pigeon"), "pigeon"),
            (format!("{HOOK}timeout = 0"), "timeout"),
            (format!("{HOOK}tries_within = 0"), "tries_within"),
            (format!("{HOOK}min_pause = 5000"), "min_pause"),
            (format!("{HOOK}edges = []"), "edges"),
            (format!("{HOOK}edges = [\"lifted\"]"), "lifted"),
            (format!("{HOOK}severity_at_least = \"red\""), "red"),
            (format!("{HOOK}division = \"63\""), "division"),
            (format!("{HOOK}body = \"x\""), "body"),
            (format!("{HOOK}remind = 5"), "remind"),
            (format!("{HOOK}colour = 5"), "colour"),
            (format!("{HOOK}{HOOK}"), "two of this name"),
            (
                HOOK.replace("webhook", "gateway") + "body = \"{{password}}\"",
                "`password`",
            ),
            (HOOK.replace("webhook", "dingtalk") + "min_pause = 1", "min_pause"),
        ] {
            let error = format!("{:#}", read(&text).unwrap_err());
            assert!(error.contains(part), "{text}: {error}");
            assert!(!error.contains("s3cret") && !error.contains("k=1"), "{error}");
        }
        let plain = HOOK.replace("127.0.0.1:9", "10.0.0.1:9") + "allow_plain = true";
        assert!(read(&plain).is_ok());
        assert!(read(&HOOK.replace("127.0.0.1:9", "[::1]:9")).is_ok());
    }
}

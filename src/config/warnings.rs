//! `[alerts.warnings]`: who issues statutory warnings (预警), and who may read their feed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, ensure};
use onemap_dashboards::warnings::{Sender, Settings};
use onemap_model::DivisionCode;
use serde::Deserialize;

/// Most hours from sent to expires: a month.
const MOST_HOURS: u64 = 31 * 24;

/// `[alerts.warnings]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Warnings {
    /// The sender of every message: a domain name of the authority. Without it drafts are written and none is issued.
    sender: Option<String>,
    /// The sender for people, Chinese.
    sender_name: String,
    /// The sender for people, English.
    sender_name_en: String,
    /// Six digits of the division in identifiers (GB/T 35965.1). Needed with `sender`.
    division: Option<String>,
    /// Three digits or capital letters of the organisation. Needed with `sender`.
    organisation: Option<String>,
    /// Three of its part. Default 000.
    internal: String,
    /// Two of the extension. Default 00.
    extension: String,
    /// Hours from sent to expires at most. Default 168, at most 744.
    longest_hours: u64,
    /// Whether who drafted a warning may approve it. Default false.
    own_approval: bool,
    /// Whether `/feeds/cap.atom` and its documents need no token. Default false.
    public: bool,
    /// Where others reach this server, for links in the feed. Default as the request says.
    url: Option<String>,
    /// Feeds of others that are polled. Default none.
    sources: Vec<Source>,
}

/// `[[alerts.warnings.sources]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Source {
    /// What it is called here.
    name: String,
    /// Its Atom or RSS feed, or one CAP message. `http` to this machine only, unless `plain`.
    url: String,
    /// Seconds between two looks. Default 300, at least 1.
    #[serde(default = "five_minutes")]
    every_seconds: u64,
    /// A file with the bearer token that it wants. Default none.
    #[serde(default)]
    token_file: Option<PathBuf>,
    /// Whether it may be asked over plain HTTP beyond this machine. Default false.
    #[serde(default)]
    plain: bool,
}

fn five_minutes() -> u64 {
    300
}

/// A feed of others that is polled, checked.
#[derive(Clone, Debug)]
pub(crate) struct WarningSource {
    /// What it is called here.
    pub(crate) name: String,
    /// Scheme, host and port.
    pub(crate) origin: String,
    /// Path and query, from the slash on.
    pub(crate) path: String,
    /// How long between two looks.
    pub(crate) every: Duration,
    /// Where its token stands.
    pub(crate) token_file: Option<PathBuf>,
}

impl Source {
    fn checked(self, folder: &Path) -> Result<WarningSource> {
        let Self { name, url, .. } = self;
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        ensure!(
            (1..=64).contains(&name.len()) && name.chars().all(is_name),
            "[[alerts.warnings.sources]] name = \"{name}\": letters, digits, - _ ."
        );
        ensure!(
            (1..=86_400).contains(&self.every_seconds),
            "[[alerts.warnings.sources]] every_seconds = {}: between 1 and 86400",
            self.every_seconds
        );
        let parts = url.split_once("://");
        let (scheme, rest) = parts.unwrap_or(("", ""));
        let (authority, path) = match rest.split_once('/') {
            Some((authority, path)) => (authority, format!("/{path}")),
            None => (rest, "/".to_owned()),
        };
        let is_plain = |text: &str| text.bytes().all(|b| b.is_ascii_graphic());
        ensure!(
            matches!(scheme, "http" | "https")
                && !authority.is_empty()
                && !authority.contains(['@', '?', '#'])
                && is_plain(rest),
            "[[alerts.warnings.sources]] url = \"{url}\": https://host/path"
        );
        let host = authority.rsplit_once(':').map_or(authority, |(host, port)| {
            if port.bytes().all(|b| b.is_ascii_digit()) {
                host
            } else {
                authority
            }
        });
        let ip = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
        let is_here = host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback());
        ensure!(
            scheme == "https" || is_here || self.plain,
            "[[alerts.warnings.sources]] url = \"{url}\": http only to this machine, unless plain = true"
        );
        Ok(WarningSource {
            name,
            origin: format!("{scheme}://{authority}"),
            path: path.split('#').next().unwrap_or_default().to_owned(),
            every: Duration::from_secs(self.every_seconds),
            token_file: self.token_file.map(|file| folder.join(file)),
        })
    }
}

impl Default for Warnings {
    fn default() -> Self {
        Self {
            sender: None,
            sender_name: String::new(),
            sender_name_en: String::new(),
            division: None,
            organisation: None,
            internal: "000".to_owned(),
            extension: "00".to_owned(),
            longest_hours: 168,
            own_approval: false,
            public: false,
            url: None,
            sources: Vec::new(),
        }
    }
}

/// Whether a text is of digits and capital letters, so many.
fn is_code(text: &str, n: usize) -> bool {
    text.len() == n && text.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase())
}

fn is_domain(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 253 && text.split('.').count() >= 2 && text.split('.').all(is_label)
}

impl Warnings {
    /// Feeds of others; their files start at `folder`.
    pub(super) fn sources(&mut self, folder: &Path) -> Result<Vec<WarningSource>> {
        let sources = std::mem::take(&mut self.sources).into_iter();
        let sources: Vec<_> = sources
            .map(|source| source.checked(folder))
            .collect::<Result<_>>()?;
        let mut names = std::collections::BTreeSet::new();
        for source in &sources {
            let name = &source.name;
            ensure!(
                names.insert(name),
                "[[alerts.warnings.sources]] name = \"{name}\": two of this name"
            );
        }
        Ok(sources)
    }

    pub(super) fn checked(self) -> Result<Settings> {
        let hours = self.longest_hours;
        ensure!(
            (1..=MOST_HOURS).contains(&hours),
            "[alerts.warnings] longest_hours = {hours}: between 1 and {MOST_HOURS}"
        );
        if let Some(url) = &self.url {
            let rest = url
                .strip_prefix("https://")
                .or_else(|| url.strip_prefix("http://"));
            let is_whole = |rest: &str| {
                !rest.is_empty()
                    && rest
                        .bytes()
                        .all(|b| b.is_ascii_graphic() && !b"\"<>\\^`{|}?#".contains(&b))
            };
            ensure!(
                rest.is_some_and(is_whole),
                "[alerts.warnings] url = \"{url}\": https://host, perhaps with a port and path"
            );
        }
        Ok(Settings {
            sender: self.sender()?,
            longest: Duration::from_secs(hours * 3600),
            own_approval: self.own_approval,
            public: self.public,
            url: self.url.map(|url| url.trim_end_matches('/').to_owned()),
            sender_name: self.sender_name,
            sender_name_en: self.sender_name_en,
        })
    }

    fn sender(&self) -> Result<Option<Sender>> {
        let Some(name) = self.sender.clone() else {
            return Ok(None);
        };
        ensure!(
            is_domain(&name),
            "[alerts.warnings] sender = \"{name}\": a domain name, like warnings.example.cn"
        );
        let division = self.division.clone().unwrap_or_default();
        ensure!(
            division.len() == 6 && DivisionCode::new(&division).is_ok(),
            "[alerts.warnings] division = \"{division}\": six digits of a division"
        );
        let organisation = self.organisation.clone().unwrap_or_default();
        for (key, text, n) in [
            ("organisation", &organisation, 3),
            ("internal", &self.internal, 3),
            ("extension", &self.extension, 2),
        ] {
            ensure!(
                is_code(text, n),
                "[alerts.warnings] {key} = \"{text}\": {n} digits or capital letters"
            );
        }
        let unit = format!("{division}{organisation}{}{}", self.internal, self.extension);
        Ok(Some(Sender { name, unit }))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(text: &str) -> Result<Settings> {
        toml::from_str::<Warnings>(text)?.checked()
    }

    #[test]
    fn feeds_of_others_are_named_and_over_tls_beyond_this_machine() {
        let sources = |text: &str| toml::from_str::<Warnings>(text)?.sources(Path::new("/etc/onemap"));
        let one = "[[sources]]\nname = \"nmc\"\nurl = \"https://nmc.example/feed.atom?a=b\"\n";
        let source = sources(one).unwrap().remove(0);
        assert_eq!(
            (&*source.origin, &*source.path),
            ("https://nmc.example", "/feed.atom?a=b")
        );
        assert_eq!(source.every, Duration::from_secs(300));
        let here = one.replace("https://nmc.example", "http://127.0.0.1:80");
        assert!(sources(&here).is_ok());
        let plain = one.replace("https", "http");
        assert!(sources(&format!("{plain}plain = true\n")).is_ok());
        let token = sources(&format!("{one}token_file = \"nmc.token\"\n"))
            .unwrap()
            .remove(0);
        assert_eq!(
            token.token_file.as_deref(),
            Some(Path::new("/etc/onemap/nmc.token"))
        );
        for bad in [
            plain,
            format!("{one}{one}"),
            format!("{one}every_seconds = 0\n"),
            format!("{one}colour = 1\n"),
            one.replace("nmc\"", "../x\""),
            one.replace("https://", "ftp://"),
            one.replace("https://nmc.example", "https://u:p@nmc.example"),
            one.replace("https://nmc.example", "https://"),
        ] {
            assert!(sources(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn who_issues_is_said_in_full_or_not_at_all() {
        assert_eq!(read("").unwrap(), Settings::default());
        let whole = "sender = \"warnings.example.cn\"\ndivision = \"630100\"\norganisation = \"416\"\n";
        let sender = read(whole).unwrap().sender.unwrap();
        assert_eq!(sender.unit, "63010041600000");
        for (from, to) in [
            ("warnings.example.cn", "预警"),
            ("warnings.example.cn", "localhost"),
            ("warnings.example.cn", "a b.cn"),
            ("630100", "6301"),
            ("630100", "630102001"),
            ("416", "4160"),
            ("416", "41a"),
            ("organisation = \"416\"\n", ""),
            ("division = \"630100\"\n", ""),
        ] {
            let error = read(&whole.replace(from, to)).unwrap_err().to_string();
            assert!(error.starts_with("[alerts.warnings] "), "{error}");
        }
        for bad in [
            "longest_hours = 0",
            "longest_hours = 745",
            "url = \"example.cn\"",
            "url = \"https://\"",
            "internal = 1",
            "colour = \"red\"",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
        let url = read("url = \"https://a.cn/x/\"").unwrap().url;
        assert_eq!(url.as_deref(), Some("https://a.cn/x"));
    }
}

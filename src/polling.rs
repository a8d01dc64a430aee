//! Feeds of warnings of others (Atom and RSS, or a single CAP message), fetched every so often.
//!
//! What is fetched is journaled as it came; the fold decides what it is. A feed is bounded in bytes, in messages a round
//! and in time, and links are followed on the feed's own server only: a feed that hangs, answers rubbish or points
//! elsewhere costs itself only.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use onemap_cap::feed::Item;
use onemap_dashboards::views::Views;
use onemap_log::Batch;
use onemap_model::record::{KIND_FRAME, KIND_REFUSED, RefusedFrame};
use onemap_model::warning::RECEIVED_TOPIC;
use onemap_model::{Frame, Refusal, Source};
use onemap_store::remote::{Authorization, Endpoint, Fetched};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::config::WarningSource;

/// How long a server may take for one answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long a whole round may take.
const ROUND: Duration = Duration::from_secs(120);
/// Largest feed.
const MAX_FEED: usize = 8 << 20;
/// Largest message.
const MAX_MESSAGE: usize = 1 << 20;
/// Messages that one round fetches; the others wait for the next.
const MOST_MESSAGES: usize = 100;
/// Bytes that are kept of a feed that is none.
const KEPT_BYTES: usize = 4096;

/// Polls a source until `stop`.
pub(crate) async fn run(source: WarningSource, views: Arc<Views>, stop: CancellationToken) -> Result<()> {
    let mut poller = Poller {
        source,
        views,
        tag: None,
        known: HashMap::new(),
        fault: None,
    };
    loop {
        let round = tokio::time::timeout(ROUND, poller.round());
        let said = match stop.run_until_cancelled(round).await {
            None => return Ok(()),
            Some(Ok(said)) => said.err().map(|error| format!("{error:#}")),
            Some(Err(_)) => Some(format!("no whole round within {} s", ROUND.as_secs())),
        };
        poller.tell(said);
        let pause = tokio::time::sleep(poller.source.every);
        if stop.run_until_cancelled(pause).await.is_none() {
            return Ok(());
        }
    }
}

struct Poller {
    source: WarningSource,
    views: Arc<Views>,
    /// The feed's entity tag when it was last read whole.
    tag: Option<String>,
    /// Links of the feed whose messages are in the journal, with the times that the feed gave.
    known: HashMap<String, String>,
    fault: Option<String>,
}

impl Poller {
    /// Logs a fault once, and its end.
    fn tell(&mut self, said: Option<String>) {
        let name = &self.source.name;
        match (&said, &self.fault) {
            (Some(new), old) if old.as_ref() != Some(new) => {
                warn!(source = %name, "the feed `{name}` of warnings: {new}");
            }
            (None, Some(_)) => info!(source = %name, "the feed `{name}` of warnings is read again"),
            _ => {}
        }
        self.fault = said;
    }

    async fn round(&mut self) -> Result<()> {
        let endpoint = self.endpoint().await?;
        let path = self.source.path.clone();
        let fetched = endpoint.fetch_unless(&path, self.tag.as_deref(), MAX_FEED);
        let (Fetched { status, body, .. }, tag) = fetched.await?;
        match status {
            304 => return Ok(()),
            200 => {}
            other => anyhow::bail!("the server answers {other}"),
        }
        if onemap_cap::read(&body).is_ok() {
            self.keep(&body).await?;
            self.tag = tag;
            return Ok(());
        }
        let feed = match onemap_cap::feed::read(&body) {
            Ok(feed) => feed,
            Err(error) => {
                let said = format!("{}: {error}", error.code());
                // Kept once, not at each round.
                if self.fault.as_ref().is_none_or(|fault| *fault != said) {
                    self.refuse(&body, &said).await?;
                }
                anyhow::bail!(said);
            }
        };
        let n_left = self.messages(&endpoint, &feed.items).await?;
        if n_left == 0 {
            self.tag = tag;
        }
        Ok(())
    }

    /// Keeps the messages of items that are not kept yet; gives how many wait for the next round.
    async fn messages(&mut self, endpoint: &Endpoint, items: &[Item]) -> Result<usize> {
        let mut listed = HashSet::new();
        let (mut n_fetched, mut n_left) = (0, 0);
        let mut fault = None;
        for item in items {
            let (link, stamp) = (link_of(item), stamp_of(item));
            let Some(link) = link.or_else(|| item.id.clone()) else {
                continue;
            };
            listed.insert(link.clone());
            if self.known.get(&link) == Some(&stamp) {
                continue;
            }
            if n_fetched == MOST_MESSAGES {
                n_left += 1;
                continue;
            }
            n_fetched += 1;
            match self.message(endpoint, item, &link).await {
                Ok(()) => {
                    self.known.insert(link, stamp);
                }
                Err(error) => fault = Some(error),
            }
        }
        self.known.retain(|link, _| listed.contains(link));
        match fault {
            Some(error) => Err(error),
            None => Ok(n_left),
        }
    }

    async fn message(&self, endpoint: &Endpoint, item: &Item, link: &str) -> Result<()> {
        if let Some(message) = &item.alert {
            // Its bytes are not at hand apart from the feed's: it is written again, without a signature.
            let written = onemap_cap::write(&message.alert).context("a message inside of the feed")?;
            return self.keep(written.as_bytes()).await;
        }
        let path = same_server(&self.source, link)
            .with_context(|| format!("`{}` is not on the feed's own server", clipped(link)))?;
        let Fetched { status, body, .. } = endpoint.fetch(&path, MAX_MESSAGE).await?;
        anyhow::ensure!(status == 200, "the server answers {status} for a message");
        self.keep(&body).await
    }

    /// Its token is read at each round, so that a changed file holds from then on.
    async fn endpoint(&self) -> Result<Endpoint> {
        let authorization = match &self.source.token_file {
            None => None,
            Some(path) => {
                let file = path.clone();
                let token = tokio::task::spawn_blocking(move || std::fs::read_to_string(file)).await?;
                let token =
                    token.with_context(|| format!("the token in {} cannot be read", path.display()))?;
                Some(Authorization::new("Bearer", &token)?)
            }
        };
        Ok(Endpoint::new(
            &self.source.origin,
            authorization,
            &[],
            None,
            TIMEOUT,
        )?)
    }

    async fn keep(&self, payload: &[u8]) -> Result<()> {
        let topic = format!("{RECEIVED_TOPIC}{}", self.source.name);
        let frame = self.frame(&topic, None, payload);
        let mut batch = Batch::new();
        batch.try_push(KIND_FRAME, |out| frame.encode(out))?;
        let position = self.views.log.append(&batch).await?;
        self.views.log.wait_durable(position).await?;
        Ok(())
    }

    async fn refuse(&self, payload: &[u8], detail: &str) -> Result<()> {
        let topic = format!("{RECEIVED_TOPIC}{}", self.source.name);
        self.views.counters.refuse(Refusal::BadWarning);
        let kept = &payload[..payload.len().min(KEPT_BYTES)];
        let frame = self.frame(&topic, Some(Refusal::BadWarning), kept);
        let mut batch = Batch::new();
        batch.push(KIND_REFUSED, |out| RefusedFrame { detail, frame }.encode(out));
        self.views.log.append(&batch).await?;
        Ok(())
    }

    fn frame<'a>(&'a self, topic: &'a str, refused: Option<Refusal>, payload: &'a [u8]) -> Frame<'a> {
        Frame {
            received_at: self.views.now(),
            source: Source::Http,
            refused,
            qos: 0,
            retain: false,
            device: "",
            peer: &self.source.origin,
            topic,
            payload,
        }
    }
}

fn link_of(item: &Item) -> Option<String> {
    item.alert_link().map(str::to_owned)
}

fn stamp_of(item: &Item) -> String {
    let at = item.updated.or(item.published);
    at.map(|at| at.to_string()).unwrap_or_default()
}

fn clipped(text: &str) -> String {
    text.chars().take(64).collect()
}

/// The path and query of a link on the feed's own server; `None` for any other.
fn same_server(source: &WarningSource, link: &str) -> Option<String> {
    let link = link.split('#').next().unwrap_or_default();
    let path = match link.get(..source.origin.len()) {
        Some(start) if start.eq_ignore_ascii_case(&source.origin) => &link[source.origin.len()..],
        _ if link.contains("://") || link.starts_with("//") => return None,
        _ if link.starts_with('/') => link,
        _ => {
            let folder = source.path.split('?').next().unwrap_or_default();
            let folder = folder.rsplit_once('/').map_or("", |(folder, _)| folder);
            return is_path(link).then(|| format!("{folder}/{link}"));
        }
    };
    (path.starts_with('/') && is_path(path)).then(|| path.to_owned())
}

fn is_path(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() && b != b'\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_to_the_feeds_own_server_only() {
        let source = WarningSource {
            name: "nmc".to_owned(),
            origin: "https://nmc.example:8443".to_owned(),
            path: "/cap/feed.atom?lang=zh".to_owned(),
            every: Duration::from_secs(60),
            token_file: None,
        };
        for (link, path) in [
            ("https://nmc.example:8443/a.xml", Some("/a.xml")),
            ("HTTPS://NMC.example:8443/a.xml?b=c#d", Some("/a.xml?b=c")),
            ("/b.xml", Some("/b.xml")),
            ("c.xml", Some("/cap/c.xml")),
            ("https://nmc.example:8443", None),
            ("https://nmc.example:8443.evil.example/a", None),
            ("https://nmc.example:84433/a", None),
            ("http://nmc.example:8443/a", None),
            ("https://169.254.169.254/latest", None),
            ("//evil.example/a", None),
            ("file:///etc/passwd", None),
            ("a b", None),
            ("", None),
        ] {
            assert_eq!(same_server(&source, link).as_deref(), path, "{link}");
        }
    }
}

//! Security events of a running server: heard from the listeners, kept in files of the data folder, sent to a collector.

mod collector;
mod files;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use onemap_dashboards::security::{Event, Kind, What};
use onemap_dashboards::views::Views;
use onemap_ingest::{Counters, Denial};
use onemap_model::Refusal;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::config::Syslog;
use files::Files;

/// Events that wait to be written, and to be sent; one more is counted and not handed on.
const N_WAITING: usize = 4096;
/// How long files and collector have for what is left when the server stops.
const LAST: Duration = Duration::from_secs(3);

/// What keeps and sends events.
pub(crate) struct Watch {
    keeper: JoinHandle<()>,
    sender: Option<JoinHandle<()>>,
    stop: CancellationToken,
}

impl Watch {
    /// Takes up what was kept, and notes that the server is up.
    ///
    /// # Errors
    /// When the files cannot be read or written.
    pub(crate) fn start(syslog: Option<Syslog>, views: &Arc<Views>, counters: &Counters) -> Result<Self> {
        let (files, kept) = Files::open(&views.dir)?;
        let before = match kept.last().map(|event| event.kind) {
            None => "the first start here",
            Some(Kind::Stopped) => "stopped in order before",
            Some(_) => "the run before was cut off",
        };
        views.security.resume(kept);
        let stop = CancellationToken::new();
        let kept = views.security.taken(N_WAITING);
        let keeper = tokio::spawn(keep(files, kept, views.clone()));
        let sender = syslog.map(|syslog| {
            let sent = views.security.taken(N_WAITING);
            tokio::spawn(collector::send(syslog, sent, stop.clone()))
        });
        let version = env!("CARGO_PKG_VERSION");
        let started = of_server(Kind::Started, format!("onemap {version}; {before}"));
        views.security.note(views.now(), started);
        hear(counters, views);
        Ok(Self { keeper, sender, stop })
    }

    /// Notes that the server stops, and waits for the files, and a little for the collector.
    pub(crate) async fn end(self, views: &Views) {
        self.stop.cancel();
        let stopped = of_server(Kind::Stopped, "stopped in order".to_owned());
        views.security.close(views.now(), stopped);
        for (name, task) in [("security events", Some(self.keeper)), ("syslog", self.sender)] {
            let Some(task) = task else { continue };
            match tokio::time::timeout(LAST, task).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => warn!(task = name, %error, "a task ended badly"),
                Err(_) => warn!(task = name, "a task did not end in time"),
            }
        }
    }
}

fn of_server(kind: Kind, detail: String) -> What {
    What {
        kind,
        actor: None,
        peer: None,
        subject: "server".to_owned(),
        detail,
    }
}

/// Notes which devices and stations are not let in.
fn hear(counters: &Counters, views: &Arc<Views>) {
    let views = Arc::downgrade(views);
    let is_first = counters.tell_denials(move |denial: &Denial<'_>| {
        if let Some(views) = views.upgrade() {
            note(&views, denial);
        }
    });
    debug_assert!(is_first, "a server has one that hears");
}

/// The address of a peer without its port; what is no address as it is.
fn address_of(peer: &str) -> Option<String> {
    let address = match peer.parse::<SocketAddr>() {
        Ok(address) => address.ip().to_canonical().to_string(),
        Err(_) => peer.to_owned(),
    };
    Some(address).filter(|address| !address.is_empty())
}

/// Notes that a device has registered itself with a profile's key and secret.
pub(crate) fn registered(views: &Views, device: &str, peer: &str) {
    let what = What {
        kind: Kind::Changed,
        actor: Some("provisioning".to_owned()),
        peer: address_of(peer),
        subject: format!("device {device}"),
        detail: "it registered itself".to_owned(),
    };
    views.security.note(views.now(), what);
}

/// Notes a device or station that is not let in.
pub(crate) fn note(views: &Views, denial: &Denial<'_>) {
    let door = denial.source.name();
    let what = What {
        kind: match denial.refusal {
            Refusal::RateLimited | Refusal::TooManyConnections => Kind::Limited,
            _ => Kind::DeviceDenied,
        },
        actor: None,
        peer: address_of(denial.peer),
        subject: match denial.device {
            "" => door.to_owned(),
            device => format!("{door} {device}"),
        },
        detail: format!("{}: {}", denial.refusal.label(), denial.detail),
    };
    views.security.note(views.now(), what);
}

/// Writes what happens until nothing more does. Files that take nothing are said in the log once, and events are shown
/// still.
async fn keep(mut files: Files, mut events: mpsc::Receiver<Arc<Event>>, views: Arc<Views>) {
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let mut is_well = true;
    loop {
        let event = tokio::select! {
            biased;
            event = events.recv() => event,
            _ = seconds.tick() => {
                views.security.tick(views.now());
                continue;
            }
        };
        let Some(event) = event else { return };
        match tokio::task::block_in_place(|| files.keep(&event)) {
            Ok(()) => is_well = true,
            Err(error) if is_well => {
                is_well = false;
                warn!("security events are shown and not kept: {error:#}");
            }
            Err(_) => {}
        }
    }
}

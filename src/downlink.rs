//! Hands waiting commands to devices that listen, and writes down that it did.
//!
//! What is due is decided by [`onemap_ingest::downlink::Outbox`]; here are only the clock, the fan-out and the
//! journal. A message leaves first and is noted after: a kill in between sends it again (its receipt was not
//! written down), and an answer finds its command in any case.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use onemap_dashboards::views::Views;
use onemap_ingest::fanout::{Fanout, News};
use onemap_log::Batch;
use onemap_model::record::KIND_COMMAND;
use onemap_model::{CommandRecord, CommandStep, DeviceId, Record};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::pipeline::name_at_gateway;

/// How often every waiting command is looked at, whatever was or was not told.
const ROUND: Duration = Duration::from_secs(1);
/// Most news taken before commands are looked at again.
const N_NEWS: usize = 4096;

/// Sends until `stop`; begins when the pipeline has folded what the last run left.
pub(crate) async fn run(
    views: Arc<Views>,
    fanout: Fanout,
    mut news: mpsc::Receiver<News>,
    left: u64,
    stop: CancellationToken,
) -> Result<()> {
    tokio::select! {
        () = views.applied_whenever(left) => {}
        () = stop.cancelled() => return Ok(()),
    }
    let mut sender = Sender {
        views,
        fanout,
        batch: Batch::new(),
        n_lost: 0,
    };
    let mut rounds = tokio::time::interval(ROUND);
    rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut heard = Vec::new();
    loop {
        let mut which = Which::All;
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            n = news.recv_many(&mut heard, N_NEWS) => {
                if n == 0 {
                    // Another taker: that is not done in this program.
                    anyhow::bail!("the fan-out tells no more news");
                }
                which = sender.hear(heard.drain(..), &stop).await;
            }
            () = sender.views.commands.changed.notified() => {}
            _ = rounds.tick() => sender.look_for_lost_news(),
        }
        sender.send(&which);
        if sender.batch.is_empty() {
            continue;
        }
        tokio::select! {
            appended = sender.views.log.append(&sender.batch) => {
                appended.context("the journal takes no notes of commands")?;
                sender.batch.clear();
            }
            () = stop.cancelled() => return Ok(()),
        }
    }
}

/// Whose commands to look at.
enum Which {
    All,
    Of(BTreeSet<DeviceId>),
}

struct Sender {
    views: Arc<Views>,
    fanout: Fanout,
    batch: Batch,
    n_lost: u64,
}

impl Sender {
    /// Takes news: receipts are written down, new listeners may be due something.
    async fn hear(&mut self, heard: impl Iterator<Item = News>, stop: &CancellationToken) -> Which {
        let mut devices = BTreeSet::new();
        let mut n_listeners = 0;
        for news in heard {
            match news {
                News::Confirmed(id) => {
                    let mut work = self.views.commands.work();
                    let is_new = work.outbox.confirmed(id);
                    let device = work.book.get(id).map(|command| command.order.device.clone());
                    drop(work);
                    if is_new {
                        self.note(CommandStep::Received { id });
                    }
                    // Its window has room again.
                    devices.extend(device);
                }
                News::Dropped(id) => {
                    let mut work = self.views.commands.work();
                    if work.outbox.dropped(id) {
                        // The device may be back already.
                        devices.extend(work.book.get(id).map(|command| command.order.device.clone()));
                        n_listeners += 1;
                    }
                }
                News::Listening(filter) => {
                    if let Some(holders) = self.views.commands.work().outbox.listening(&filter) {
                        n_listeners += 1;
                        devices.extend(holders);
                    }
                }
            }
        }
        if n_listeners > 0 {
            // What the former connection acknowledged or answered may not be folded yet.
            let last = self.views.log.status().next.saturating_sub(1);
            tokio::select! {
                () = self.views.applied_whenever(last) => {}
                () = stop.cancelled() => {}
            }
            devices.extend(self.children(&devices));
        }
        Which::Of(devices)
    }

    /// Devices with waiting commands whose gateway is among `holders`.
    fn children(&self, holders: &BTreeSet<DeviceId>) -> Vec<DeviceId> {
        let waiting: Vec<DeviceId> = self.views.commands.work().book.devices().cloned().collect();
        let register = self.views.register.read().expect("no holder of this lock panics");
        let is_child = |id: &DeviceId| {
            let gateway = register.view.devices.get(id).and_then(|d| d.gateway.clone());
            gateway.is_some_and(|gateway| holders.contains(&gateway))
        };
        waiting.into_iter().filter(is_child).collect()
    }

    /// News that found no room may have told of listeners; receipts among them are asked for again by
    /// sending again on the next connection.
    fn look_for_lost_news(&mut self) {
        let n_lost = self.fanout.n_news_lost();
        if n_lost > self.n_lost {
            warn!(
                n = n_lost - self.n_lost,
                "news of listeners and receipts were lost; commands may be sent again"
            );
            self.n_lost = n_lost;
        }
        let mut work = self.views.commands.work();
        let work = &mut *work;
        work.outbox.forget(&work.book);
    }

    /// Hands over what is due.
    fn send(&mut self, which: &Which) {
        let views = Arc::clone(&self.views);
        let waiting: Vec<DeviceId> = {
            let work = views.commands.work();
            match which {
                Which::All => work.book.devices().cloned().collect(),
                Which::Of(devices) => {
                    let waits = |id: &&DeviceId| work.book.n_waiting(id.as_str()) > 0;
                    devices.iter().filter(waits).cloned().collect()
                }
            }
        };
        for id in waiting {
            let device = {
                let register = views.register.read().expect("no holder of this lock panics");
                register.view.devices.get(&id).cloned()
            };
            let Some(device) = device.filter(|d| d.state != onemap_model::DeviceState::Retired) else {
                continue;
            };
            let now = views.now();
            // A gateway knows its child by the name it says itself, which need not be the register's id.
            let name = name_at_gateway(&views, &device);
            let mut work = views.commands.work();
            for due in work.due((&device, name.as_deref()), now, &|topic| {
                self.fanout.granted(topic)
            }) {
                let (id, over, qos) = (due.id, due.over, due.qos);
                if self.fanout.publish_tracked(&due.topic, due.payload.clone(), id) == 0 {
                    continue;
                }
                debug!(device.id = %device.id, command = id, ?over, "command {id} is handed to `{}`", device.id);
                work.outbox.note(&due);
                self.note(CommandStep::Sent { id, over, qos });
            }
        }
    }

    fn note(&mut self, what: CommandStep) {
        let at = self.views.now();
        let (_, body) = Record::Command(CommandRecord { at, what }).encode();
        self.batch.push(KIND_COMMAND, |out| out.extend_from_slice(&body));
    }
}

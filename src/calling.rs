//! Sends waiting commands to connected field stations, and writes down that it did.
//!
//! What is due is decided by [`onemap_ingest::downlink::Calls`]; here are only the clock, the connections and the journal. A
//! request leaves first and is noted after: a kill in between sends it again under the same number.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use onemap_dashboards::views::{Notice, Views};
use onemap_ingest::downlink::{CallRules, Calls, Next, qn_of};
use onemap_ingest::station::{Peer, Peers, Speaks};
use onemap_log::Batch;
use onemap_model::record::KIND_COMMAND;
use onemap_model::{Command, CommandRecord, CommandStep, DeviceId, DeviceState, Over, Record, Timestamp};
use onemap_wire::hj212;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// How often every waiting command is looked at, whatever was told.
const ROUND: Duration = Duration::from_millis(500);

/// Sends until `stop`; begins when the pipeline has folded what the last run left.
pub(crate) async fn run(
    views: Arc<Views>,
    peers: Peers,
    rules: CallRules,
    left: u64,
    stop: CancellationToken,
) -> Result<()> {
    tokio::select! {
        () = views.applied_whenever(left) => {}
        () = stop.cancelled() => return Ok(()),
    }
    let mut caller = Caller {
        calls: Calls::new(rules),
        batch: Batch::new(),
        views,
        peers,
    };
    let mut notices = caller.views.notices.subscribe();
    let mut rounds = tokio::time::interval(ROUND);
    rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            notice = notices.recv() => match notice {
                Ok(Notice::Command(_)) | Err(RecvError::Lagged(_)) => {}
                Ok(_) => continue,
                Err(RecvError::Closed) => return Ok(()),
            },
            _ = rounds.tick() => caller.forget(),
        }
        let due = caller.due();
        if due.is_empty() {
            continue;
        }
        // What was received or answered, perhaps on a former connection, may not be folded yet.
        let last = caller.views.log.status().next.saturating_sub(1);
        tokio::select! {
            () = caller.views.applied_whenever(last) => {}
            () = stop.cancelled() => return Ok(()),
        }
        for (device, peer) in due {
            caller.call(&device, &peer);
        }
        if caller.batch.is_empty() {
            continue;
        }
        tokio::select! {
            appended = caller.views.log.append(&caller.batch) => {
                appended.context("the journal takes no notes of commands")?;
                caller.batch.clear();
            }
            () = stop.cancelled() => return Ok(()),
        }
    }
}

struct Caller {
    views: Arc<Views>,
    peers: Peers,
    calls: Calls,
    batch: Batch,
}

impl Caller {
    fn forget(&mut self) {
        let work = self.views.commands.work();
        self.calls.forget(&work.book);
    }

    fn next(&self, device: &DeviceId, peer: &Peer, now: Timestamp) -> Next {
        let work = self.views.commands.work();
        let is_claimed = |id| work.is_claimed(id);
        self.calls
            .next(&work.book, device.as_str(), peer.connection, now, is_claimed)
    }

    /// Connected stations for which there is something to do.
    fn due(&self) -> Vec<(DeviceId, Peer)> {
        let waiting: Vec<DeviceId> = self.views.commands.work().book.devices().cloned().collect();
        let now = self.views.now();
        let connected = waiting.into_iter().filter_map(|device| {
            let peer = self.peers.of(device.as_str())?;
            (self.next(&device, &peer, now) != Next::Wait).then_some((device, peer))
        });
        connected.collect()
    }

    fn call(&mut self, device: &DeviceId, peer: &Peer) {
        let is_retired = {
            let register = self.views.register.read().expect("no holder of this lock panics");
            let known = register.view.devices.get(device);
            known.is_none_or(|device| device.state == DeviceState::Retired)
        };
        let now = self.views.now();
        let id = match self.next(device, peer, now) {
            _ if is_retired => return,
            Next::Wait => return,
            Next::GiveUp => {
                warn!(device.id = %device, "`{device}` does not answer its requests; its connection is given up");
                peer.close();
                return;
            }
            Next::Send(id) => id,
        };
        let mut work = self.views.commands.work();
        let Some(command) = work.book.get(id).cloned() else {
            return;
        };
        let request = match request(&command, &peer.speaks, now) {
            Ok(request) => request,
            // Checked when it was ordered; the station may have a password or a system code that no frame can hold.
            Err(reason) => {
                warn!(device.id = %device, command = id, "command {id} cannot be sent to `{device}`: {reason:#}");
                return;
            }
        };
        if !peer.send(request) {
            return;
        }
        work.outbox.called(&command);
        drop(work);
        self.calls.note(id, peer.connection, now);
        debug!(device.id = %device, command = id, "command {id} is sent to `{device}`");
        let what = CommandStep::Sent {
            id,
            over: Over::Hj212,
            qos: 1,
        };
        let (_, body) = Record::Command(CommandRecord { at: now, what }).encode();
        self.batch.push(KIND_COMMAND, |out| out.extend_from_slice(&body));
    }
}

/// A command as the station's protocol has it.
fn request(command: &Command, speaks: &Speaks, now: Timestamp) -> Result<Vec<u8>> {
    match speaks {
        Speaks::Hj212(peer) => {
            let request = hj212::request_of(&command.order.method, &command.order.params, now)?;
            let segment = request.segment(peer, &qn_of(command))?;
            Ok(hj212::encode(&segment)?)
        }
        _ => anyhow::bail!("its protocol takes no commands"),
    }
}

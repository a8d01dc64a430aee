//! Sends waiting commands to connected field stations, and writes down that it did.
//!
//! What is due is decided by [`onemap_ingest::downlink::Calls`], by the rules of each protocol; here are only the clock, the
//! connections and the journal. A request leaves first and is noted after: a kill in between sends it again under the same
//! number.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use onemap_dashboards::views::{Notice, Views};
use onemap_ingest::downlink::{CallRules, Calls, Next, Sealer, Session, qn_of, sequence_of, serial_of};
use onemap_ingest::station::{Peer, Peers, Speaks, StationKeys};
use onemap_log::Batch;
use onemap_model::record::KIND_COMMAND;
use onemap_model::{
    Command, CommandRecord, CommandStep, DeviceId, DeviceState, Over, Record, Source, Timestamp,
};
use onemap_wire::{gbt26875, hj212, sl651};
use serde_json::Value;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// How often every waiting command is looked at, whatever was told.
const ROUND: Duration = Duration::from_millis(500);

/// So long after its last frame a station is thought awake that has no connection (UDP).
const AWAKE: Duration = Duration::from_secs(60);

/// How stations are called, by protocol.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) hj212: CallRules,
    pub(crate) sl651: CallRules,
    pub(crate) gbt26875: CallRules,
}

/// Sends until `stop`; begins when the pipeline has folded what the last run left.
pub(crate) async fn run(
    views: Arc<Views>,
    peers: Peers,
    rules: Rules,
    left: u64,
    stop: CancellationToken,
) -> Result<()> {
    tokio::select! {
        () = views.applied_whenever(left) => {}
        () = stop.cancelled() => return Ok(()),
    }
    let mut caller = Caller {
        hj212: Calls::new(rules.hj212),
        sl651: Calls::new(rules.sl651),
        gbt26875: Calls::new(rules.gbt26875),
        unsendable: HashSet::new(),
        passwords: HashMap::new(),
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
    hj212: Calls,
    sl651: Calls,
    gbt26875: Calls,
    /// Commands that were told to be unsendable.
    unsendable: HashSet<u64>,
    /// Passwords that stations were told to take, until a frame of theirs has another than they had then.
    passwords: HashMap<DeviceId, Told>,
    batch: Batch,
}

/// A password that a station was told to take.
struct Told {
    /// What it said in its frames when it was told.
    former: String,
    new: String,
}

impl Caller {
    fn forget(&mut self) {
        let work = self.views.commands.work();
        self.hj212.forget(&work.book);
        self.sl651.forget(&work.book);
        self.gbt26875.forget(&work.book);
        self.unsendable.retain(|id| work.book.get(*id).is_some());
    }

    /// By whose rules a station is called.
    fn calls(&self, peer: &Peer) -> Option<(&Calls, Over)> {
        match peer.speaks {
            Speaks::Hj212(_) => Some((&self.hj212, Over::Hj212)),
            Speaks::Sl651(_) => Some((&self.sl651, Over::Sl651)),
            Speaks::Gbt26875(_) => Some((&self.gbt26875, Over::Gbt26875)),
            _ => None,
        }
    }

    fn next(&self, device: &DeviceId, peer: &Peer, now: Timestamp) -> Next {
        let Some((calls, _)) = self.calls(peer) else {
            return Next::Wait;
        };
        if peer.is_datagram && now.since(peer.heard.at()) > AWAKE {
            return Next::Wait;
        }
        let work = self.views.commands.work();
        let is_claimed = |id| work.is_claimed(id) || self.unsendable.contains(&id);
        calls.next(&work.book, device.as_str(), session_of(peer), now, is_claimed)
    }

    /// Connected stations for which there is something to do.
    fn due(&mut self) -> Vec<(DeviceId, Peer)> {
        let waiting: Vec<DeviceId> = self.views.commands.work().book.devices().cloned().collect();
        let now = self.views.now();
        let mut due = Vec::new();
        for device in waiting {
            if let Some(peer) = self.peers.of(device.as_str())
                && self.next(&device, &peer, now) != Next::Wait
            {
                due.push((device, peer));
            }
        }
        due
    }

    /// How a station speaks, with the password that it has taken and has not shown in a frame yet. The register has that one
    /// when the station has said that it took it.
    fn as_told(&mut self, device: &DeviceId, speaks: &Speaks) -> Speaks {
        let mut speaks = speaks.clone();
        let (Some(told), Some(said)) = (self.passwords.get(device), password_of(&speaks)) else {
            return speaks;
        };
        if said != told.former {
            self.passwords.remove(device);
            return speaks;
        }
        let is_taken = |protocol: Source, password: &str| {
            let keys = &self.views.keys;
            keys.station(protocol.name(), device, password).is_some()
        };
        match &mut speaks {
            Speaks::Hj212(peer) if is_taken(Source::Hj212, &told.new) => peer.pw.clone_from(&told.new),
            Speaks::Sl651(line) => {
                let new = u16::from_str_radix(&told.new, 16).ok();
                let new = new.filter(|new| is_taken(Source::Sl651, &format!("{new:04X}")));
                line.password = new.unwrap_or(line.password);
            }
            _ => {}
        }
        speaks
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
        let Some((_, over)) = self.calls(peer) else { return };
        let views = Arc::clone(&self.views);
        let mut work = views.commands.work();
        let Some(command) = work.book.get(id).cloned() else {
            return;
        };
        let speaks = self.as_told(device, &peer.speaks);
        let made = opened(&command, &self.views.sealer).and_then(|params| {
            let made = request(&command, &params, peer, &speaks, &self.views.station_keys, now)?;
            let new = params.get("password").and_then(Value::as_str).map(str::to_owned);
            Ok((made, new))
        });
        let (request, new) = match made {
            Ok(made) => made,
            // Checked when it was ordered; the station may have a password or a system code that no frame can hold.
            Err(reason) => {
                warn!(device.id = %device, command = id, "command {id} cannot be sent to `{device}`: {reason:#}");
                self.unsendable.insert(id);
                return;
            }
        };
        if !peer.send(request) {
            return;
        }
        work.outbox.called(&command, over);
        drop(work);
        if let (Some(new), Some(former)) = (new, password_of(&peer.speaks)) {
            self.passwords.insert(device.clone(), Told { former, new });
        }
        match over {
            Over::Sl651 => self.sl651.note(id, session_of(peer), now),
            Over::Gbt26875 => self.gbt26875.note(id, session_of(peer), now),
            _ => self.hj212.note(id, session_of(peer), now),
        }
        debug!(device.id = %device, command = id, "command {id} is sent to `{device}`");
        let what = CommandStep::Sent { id, over, qos: 1 };
        let (_, body) = Record::Command(CommandRecord { at: now, what }).encode();
        self.batch.push(KIND_COMMAND, |out| out.extend_from_slice(&body));
    }
}

/// The password that a station said in its last frame.
fn password_of(speaks: &Speaks) -> Option<String> {
    match speaks {
        Speaks::Hj212(peer) => Some(peer.pw.clone()),
        Speaks::Sl651(line) => Some(format!("{:04X}", line.password)),
        _ => None,
    }
}

fn session_of(peer: &Peer) -> Session {
    Session {
        connection: peer.connection,
        turn: peer.heard.turn(),
    }
}

/// A command as the station's protocol has it.
fn request(
    command: &Command,
    params: &Value,
    peer: &Peer,
    speaks: &Speaks,
    keys: &StationKeys,
    now: Timestamp,
) -> Result<Vec<u8>> {
    match speaks {
        Speaks::Hj212(to) => {
            let request = hj212::request_of(&command.order.method, params, now)?;
            let segment = request.segment(to, &qn_of(command))?;
            let keys = keys.of(&to.mn);
            let is_sealed = to.version == hj212::Version::V2025 && hj212::is_sealed_command(segment.cn());
            match peer.key(&keys).filter(|_| is_sealed) {
                Some(key) => Ok(hj212::encode_sealed(&segment, key)?),
                None => Ok(hj212::encode(&segment)?),
            }
        }
        Speaks::Gbt26875(line) => {
            let question = gbt26875::question_of(&command.order.method, params)?;
            let frame = line.ask(sequence_of(command), now, &question);
            Ok(frame.context("it does not fit its fields")?.encode()?)
        }
        Speaks::Sl651(line) => {
            let order = &command.order;
            let question = sl651::question_of(&order.method, params, line.password)?;
            let frame = line.ask(serial_of(command), now, &question);
            let frame = frame.context("it has no form in the text (ASCII) that the station writes")?;
            Ok(frame.encode()?)
        }
        _ => anyhow::bail!("its protocol takes no commands"),
    }
}

/// A command's parameters with what is sealed in them opened. One of an older version has its password as it is.
fn opened(command: &Command, sealer: &Sealer) -> Result<Value> {
    let mut params = command.order.params.clone();
    if let Some(password) = params.get_mut("password").filter(|password| password.is_object()) {
        let opened = sealer.open_sealed(command.order.device.as_str(), password);
        *password = opened
            .context("its password was sealed in another data folder (seal.key)")?
            .into();
    }
    Ok(params)
}

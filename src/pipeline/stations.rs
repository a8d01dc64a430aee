//! Folds frames of field stations: readings, answers to what was asked of them, and what they send in between.
//!
//! Every packet of a data set is read by itself: it has its stamp and whole items (docs/protocols.md), so no half set has
//! to be remembered over a restart.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use onemap_ingest::downlink::{Answered as Outcome, Asked as Whose, Change, ClockAsked};
use onemap_ingest::station::PACKETS;
use onemap_model::record::{Register, Stamped};
use onemap_model::{
    AttributeScope, Command, Device, DeviceId, DeviceState, Frame, Refusal, Source, Timestamp,
};
use onemap_store::ledger::TokenHash;
use onemap_wire::decode::hj212_refusal;
use onemap_wire::hj212::{
    Answered, DecodeError, ExeRtn, Framer, MinuteData, Minutes, Piece, QnRtn, Segment, Sender, is_measured,
    method_of, readings, segment_of, stamp,
};
use onemap_wire::message::Refused;
use onemap_wire::{Message, gbt26875, sl651};
use serde_json::{Value, json};

use super::fold::{Fold, Said, Turn};
use crate::stations::{WORK_MODE, password_hash};

/// So long a station's former password still opens after it has taken a new one: its last frames may be on their way.
const GRACE_S: u32 = 600;

/// Bit of a device's operation: a roll-call is answered.
const ROLL_CALL_ANSWERED: u8 = 1 << 5;

/// Fact: how long a station's minute data stand for ([`MinuteData`]).
const MINUTE_DATA_OF: &str = "minute_data";

/// A question for the time that is older is not answered.
const CLOCK_ASKED: Duration = Duration::from_secs(60);

/// The message of a record: one frame, or all packets of one, one behind the other.
fn sl651_message(frame: &Frame<'_>) -> Result<sl651::Frame, String> {
    let mut packets = sl651::Packets::default();
    let mut framer = sl651::Framer::new();
    let pieces = framer.push(frame.payload);
    for piece in pieces.into_iter().chain(framer.give_up()) {
        match piece {
            sl651::Piece::Frame { frame: read, .. } => {
                if let (sl651::Taken::Whole(whole), _) = packets.take(frame.received_at, read) {
                    return Ok(whole);
                }
            }
            sl651::Piece::Fault(fault) => return Err(format!("{}: {}", fault.error.code(), fault.error)),
        }
    }
    Err("no whole SL 651 message".to_owned())
}

/// Parameters of an order with a sealed password as the station's answer has it, when that is the one that was sealed: the fold
/// has no key. Another one is none that the order has.
fn said<'a>(params: &'a Value, device: &DeviceId, body: &sl651::Body) -> Cow<'a, Value> {
    if !params["password"].is_object() {
        return Cow::Borrowed(params);
    }
    let last = match &body.content {
        sl651::Content::Parameters { items, .. } => items.last(),
        _ => None,
    };
    let told = last.and_then(|item| <[u8; 2]>::try_from(item.raw.as_slice()).ok());
    let told = u16::from_be_bytes(told.unwrap_or_default());
    let mut params = params.clone();
    let hash = TokenHash::of_password(Source::Sl651.name(), device.as_str(), &format!("{told:04X}"));
    let is_it = password_hash(Source::Sl651, device, &params) == Some(hash);
    params["password"] = format!("{:04X}", if is_it { told } else { !told }).into();
    Cow::Owned(params)
}

const POISON: &str = "no holder of this lock panics";

/// What a frame says of one device: of its sender, or of a child of it.
struct Part {
    /// Its id, as the frame names it.
    name: String,
    /// What kind of device it is, when the frame tells.
    kind: Option<&'static str>,
    message: Message,
}

/// What the command of a request number is about.
struct Asked {
    id: u64,
    /// Its method, by its name.
    method: &'static str,
    params: Value,
}

impl Fold<'_> {
    /// Takes a frame of an HJ 212 station.
    pub(super) fn hj212(&mut self, position: u64, frame: &Frame<'_>, device: &Device) -> Result<()> {
        if frame.topic == PACKETS {
            return self.hj212_packets(position, frame, device);
        }
        let mut read = segment_of(frame.payload, &[]);
        if matches!(read, Some(Err(DecodeError::NoKey { .. }))) {
            read = segment_of(frame.payload, &self.views.station_keys.of(device.id.as_str()));
        }
        let segment = match read {
            Some(Ok(segment)) => segment,
            Some(Err(error)) => {
                let detail = format!("{}: {error}", error.code());
                self.refuse(position, 0, frame, hj212_refusal(&error), &detail);
                self.miss(frame);
                return Ok(());
            }
            None => {
                self.refuse(position, 0, frame, Refusal::BrokenFrame, "no HJ 212 frame");
                self.miss(frame);
                return Ok(());
            }
        };
        if let Some((qn, answered)) = Answered::of(&segment) {
            self.hj212_answer(position, frame, device, &segment, qn, answered);
            return Ok(());
        }
        // One that is old was answered in its time, or the station asks again.
        if segment.cn() == "1013"
            && self.turn == Turn::First
            && device.state != DeviceState::Retired
            && self.views.now().since(frame.received_at) < CLOCK_ASKED
        {
            let asked = ClockAsked {
                qn: segment.qn().chars().take(32).collect(),
                pol_id: segment.cp_value("PolId").map(|id| id.chars().take(32).collect()),
            };
            self.views.commands.work().asks_clock(&device.id, asked);
        }
        let asked = self.asked(device, segment.qn());
        let minutes = self.minute_data(position, frame, device, &segment, asked.is_some());
        let mut message = match self.profile(device.profile.as_ref()) {
            Ok(profile) => {
                let mut sender = Sender::new(profile);
                if let Some((known, received_at)) = &minutes {
                    sender.minute = Minutes::Known(known, *received_at);
                }
                readings(&segment, &sender)
            }
            Err(missing) => {
                self.refuse(position, 0, frame, missing.refusal, &missing.detail);
                self.miss(frame);
                return Ok(());
            }
        };
        match asked {
            Some(asked) if message.samples.is_empty() || !is_measured(segment.cn()) => {
                // It was asked for, and stands in the command's result.
                message.unread.clear();
                let part = json!({"cn": segment.cn(), "cp": segment.cp});
                self.views.commands.work().book.collect(asked.id, part);
            }
            Some(asked) if asked.method.starts_with("history_") => {
                for sample in &mut message.samples {
                    sample.resent = true;
                }
            }
            _ => {}
        }
        let said = Said {
            frame,
            part: frame,
            device,
            profile: device.profile.as_ref(),
            ordinal: 0,
        };
        self.said(position, &said, message)?;
        Ok(())
    }

    /// Learns how long the minute data of a station stand for, and gives it for a frame of them, with the time it came unless
    /// it was asked for; `None` where the profile tells the length and the station never did.
    fn minute_data(
        &mut self,
        position: u64,
        frame: &Frame<'_>,
        device: &Device,
        segment: &Segment,
        is_asked: bool,
    ) -> Option<(MinuteData, Option<Timestamp>)> {
        if !matches!(segment.cn(), "1063" | "2051") {
            return None;
        }
        let mut known = self.known_minute_data(device);
        let before = known.clone();
        let received_at = (!is_asked && !segment.is_resent()).then_some(frame.received_at);
        if segment.cn() == "1063" {
            let told = segment
                .cp_value("MinInterval")
                .and_then(|text| text.trim().parse().ok());
            known.told(told?, frame.received_at);
        } else {
            let profile = self.profile(device.profile.as_ref()).ok().flatten();
            let is_in_profile = profile.is_some_and(|profile| !profile.period.length.is_zero());
            if is_in_profile && !known.is_stated() {
                return None;
            }
            let start = segment.data_time().and_then(stamp::read);
            let is_live = self.turn == Turn::First && !is_in_profile;
            if let (Some(start), Some(received_at), true) = (start, received_at, is_live) {
                known.sees(start, received_at);
            }
        }
        self.keep_minute_data(position, frame, device, &before, &known);
        Some((known, received_at))
    }

    fn known_minute_data(&self, device: &Device) -> MinuteData {
        let fact = self
            .views
            .attributes
            .get(device.id.as_str(), AttributeScope::Fact, MINUTE_DATA_OF);
        let read = fact.map(|fact| serde_json::from_value(fact.value));
        read.and_then(Result::ok).unwrap_or_default()
    }

    fn keep_minute_data(
        &mut self,
        position: u64,
        frame: &Frame<'_>,
        device: &Device,
        before: &MinuteData,
        known: &MinuteData,
    ) {
        if before != known
            && let Ok(fact) = serde_json::to_value(known)
        {
            self.set_fact(
                position,
                frame.received_at,
                &device.id,
                MINUTE_DATA_OF,
                Some(fact),
            );
        }
    }

    /// Takes packets again that were told as a set that others never joined: each was read when it came.
    fn hj212_packets(&mut self, position: u64, frame: &Frame<'_>, device: &Device) -> Result<()> {
        for piece in Framer::default().push(frame.payload) {
            if let Piece::Frame { bytes, .. } = piece {
                let part = Frame {
                    topic: "hj212",
                    payload: &bytes,
                    ..*frame
                };
                self.hj212(position, &part, device)?;
            }
        }
        Ok(())
    }

    /// Takes a frame of a fire transmission device: its own state, and those of the systems and components that it
    /// speaks for, which are its children.
    pub(super) fn gbt26875(&mut self, position: u64, frame: &Frame<'_>, device: &Device) -> Result<()> {
        let read = gbt26875::Frame::decode(frame.payload).and_then(|read| {
            let application = read
                .read()?
                .unwrap_or_else(|| gbt26875::Application::of(0, Vec::new()));
            Ok((read, application))
        });
        let (read, application) = match read {
            Ok(read) => read,
            Err(error) => {
                let detail = format!("{}: {error}", error.code());
                self.refuse(position, 0, frame, Refusal::WrongShape, &detail);
                self.miss(frame);
                return Ok(());
            }
        };
        if device.state != DeviceState::Retired {
            self.heard(&device.id, frame.received_at);
            let transitions = self.engine.heard(*self.now, position, &device.id);
            self.judged(transitions);
        }
        self.gbt26875_answer(position, frame, device, &read, &application);
        let mut objects = gbt26875::readings(&read, &application, gbt26875::Clock::Either, frame.received_at);
        gbt26875::happened_by(&mut objects, frame.received_at);
        let parts = objects.into_iter().map(|object| Part {
            name: object.device(),
            kind: object.kind(),
            message: object.message,
        });
        self.parts_of(position, frame, device, parts.collect())
    }

    /// Takes what a device's frame says of a request or control: its acknowledgement (3), response (5) or refusal (6), and
    /// that somebody answered a roll-call. What a response measures are readings besides.
    fn gbt26875_answer(
        &mut self,
        position: u64,
        frame: &Frame<'_>,
        device: &Device,
        read: &gbt26875::Frame,
        application: &gbt26875::Application,
    ) {
        if device.state == DeviceState::Retired {
            return;
        }
        let is_present = application.objects.iter().any(|object| {
            matches!(object, gbt26875::Object::DeviceOperation { flag, .. } if flag & ROLL_CALL_ANSWERED != 0)
        });
        let is_answer = matches!(read.command, 3 | 5 | 6);
        if !is_answer && !is_present {
            return;
        }
        let id = device.id.as_str();
        let named = {
            let work = self.views.commands.work();
            let method = |command: &onemap_model::Command| gbt26875::method_of(&command.order.method);
            let command = match is_answer {
                true => work.book.by_sequence(id, read.sequence),
                // Nobody may have asked: the key is pressed as one likes.
                false => work
                    .book
                    .waiting(id)
                    .find(|command| method(command).is_some_and(|method| method.name == "roll_call")),
            };
            command.and_then(|command| Some((command.id, method(command)?)))
        };
        let Some((asked, method)) = named else {
            if is_answer {
                let detail = format!("no request of `{id}` has the sequence {}", read.sequence);
                self.refuse(position, 0, frame, Refusal::StrayAnswer, &detail);
            }
            return;
        };
        let (response, method) = (gbt26875::response_of(method), method.name);
        if read.command == 5 && response != Some(application.kind) {
            let detail = format!("data of type {} are no response to `{method}`", application.kind);
            self.refuse(position, 0, frame, Refusal::StrayAnswer, &detail);
            return;
        }
        let data = json!({"type": application.kind, "objects": application.objects});
        let answer = match read.command {
            6 => Some(Err(json!({"command": 6, "text": "refused"}))),
            5 => Some(Ok(json!({"data": data}))),
            // Somebody is to come yet; of a request its response.
            3 if method == "roll_call" || response.is_some() => None,
            3 => Some(Ok(json!({"command": 3}))),
            _ => Some(Ok(json!({"data": data}))),
        };
        let now = *self.now;
        let mut changes: Vec<Change> = Vec::new();
        let outcome = {
            let mut work = self.views.commands.work();
            match answer {
                None => {
                    work.book.received(position, now, asked, &mut changes);
                    None
                }
                Some(answer) => Some(work.book.answer(position, now, id, asked, answer, &mut changes)),
            }
        };
        self.changed(changes);
        if let Some(Outcome::Stray(detail)) = outcome {
            self.refuse(position, 0, frame, Refusal::StrayAnswer, &detail);
        }
    }

    /// Takes a message of an SL 651 station: its own readings, and those of stations that it relays, which are its
    /// children. The packets of a message stand in the journal before it (`sl651/part`) and are not read by themselves.
    pub(super) fn sl651(&mut self, position: u64, frame: &Frame<'_>, device: &Device) -> Result<()> {
        if frame.topic == "sl651/part" {
            return Ok(());
        }
        let read = sl651_message(frame).and_then(|whole| {
            let body = whole
                .read()
                .map_err(|error| format!("{}: {error}", error.code()))?;
            Ok((whole, body))
        });
        let (whole, body) = match read {
            Ok(read) => read,
            Err(detail) => {
                self.refuse(position, 0, frame, Refusal::WrongShape, &detail);
                self.miss(frame);
                return Ok(());
            }
        };
        if sl651::is_answer(whole.function) {
            self.sl651_answer(position, frame, device, &whole, &body);
        }
        let parts = match self.profile(device.profile.as_ref()) {
            Ok(profile) => sl651::readings(&whole, &body, profile, &sl651::Bases::default()),
            Err(missing) => {
                self.refuse(position, 0, frame, missing.refusal, &missing.detail);
                self.miss(frame);
                return Ok(());
            }
        };
        let parts = parts.into_iter().map(|part| Part {
            name: part.station.to_string(),
            kind: None,
            message: part.message,
        });
        self.parts_of(position, frame, device, parts.collect())
    }

    /// Takes what a station's frame says of a question or command. What it measures are readings besides.
    fn sl651_answer(
        &mut self,
        position: u64,
        frame: &Frame<'_>,
        device: &Device,
        whole: &sl651::Frame,
        body: &sl651::Body,
    ) {
        if device.state == DeviceState::Retired {
            return; // its frame is refused with its readings
        }
        self.work_mode(position, frame, device, body);
        let now = *self.now;
        let question = |command: &Command| {
            let order = &command.order;
            let params = said(&order.params, &device.id, body);
            sl651::question_of(&order.method, &params, whole.password).ok()
        };
        let fits = |command: &Command| {
            let is_it =
                sl651::method_of(&command.order.method).and_then(sl651::function_of) == Some(whole.function);
            is_it && question(command).is_some_and(|question| question.fits(whole.function, body))
        };
        let asked = {
            let work = self.views.commands.work();
            let serial = body.serial.unwrap_or(0);
            match work.book.asked(device.id.as_str(), serial, now, fits) {
                Whose::Command(command) => Ok(command.clone()),
                Whose::Before => return,
                Whose::Nobody => Err(()),
            }
        };
        let Ok(command) = asked else {
            // Data come unasked, too; what only answers is nobody's.
            let is_data =
                matches!(&body.content, sl651::Content::Groups { groups, .. } if !groups.is_empty());
            if !is_data {
                let detail = format!(
                    "no command of `{}` waits for function {:02X}",
                    device.id, whole.function
                );
                self.refuse(position, 0, frame, Refusal::StrayAnswer, &detail);
            }
            return;
        };
        let Some(question) = question(&command) else {
            return;
        };
        let answer = question.outcome(whole, body);
        let is_done = answer.is_ok();
        let mut changes: Vec<Change> = Vec::new();
        let outcome = self.views.commands.work().book.answer(
            position,
            now,
            device.id.as_str(),
            command.id,
            answer,
            &mut changes,
        );
        self.changed(changes);
        match outcome {
            Outcome::Stray(detail) => self.refuse(position, 0, frame, Refusal::StrayAnswer, &detail),
            Outcome::Taken if is_done && whole.function == 0x49 => {
                self.new_password(position, Source::Sl651, device, &command.order.params);
            }
            _ => {}
        }
    }

    /// A station says by which mode it and the centre speak (item 0C of the basic table).
    fn work_mode(&mut self, position: u64, frame: &Frame<'_>, device: &Device, body: &sl651::Body) {
        let sl651::Content::Parameters { items, .. } = &body.content else {
            return;
        };
        let is_mode = |item: &&sl651::Parameter| item.table == sl651::Table::Basic && item.element.0 == 0x0C;
        if let Some(mode) = items.iter().find(is_mode)
            && let [mode @ 1..=4] = mode.raw[..]
        {
            self.set_fact(
                position,
                frame.received_at,
                &device.id,
                WORK_MODE,
                Some(json!(mode)),
            );
        }
    }

    /// Takes what a device says of itself and of others by their ids; others have to be its children.
    fn parts_of(
        &mut self,
        position: u64,
        frame: &Frame<'_>,
        device: &Device,
        parts: Vec<Part>,
    ) -> Result<()> {
        let mut ordinal = 0;
        for Part { name, kind, message } in parts {
            let name = self.as_registered(device, name);
            let speaker = match name.eq_ignore_ascii_case(device.id.as_str()) {
                true => Ok(Arc::new(device.clone())),
                false if !device.is_gateway => {
                    let detail = format!("{} speaks of `{name}` and is no gateway (is_gateway)", device.id);
                    Err(Refused::new(Refusal::NotAGateway, detail))
                }
                false => self.child(position, frame.received_at, device, &name, kind),
            };
            let speaker = match speaker {
                Ok(speaker) => speaker,
                Err(refused) => {
                    ordinal = self.refuse_from(ordinal, position, frame, &[refused]);
                    self.miss(frame);
                    continue;
                }
            };
            let said = Said {
                frame,
                part: frame,
                device: &speaker,
                profile: speaker.profile.as_ref(),
                ordinal,
            };
            ordinal = self.said(position, &said, message)?;
        }
        Ok(())
    }

    /// The name of a device's child as it is registered: the digits of an address may stand in either case.
    fn as_registered(&self, device: &Device, name: String) -> String {
        let register = self.views.register.read().expect(POISON);
        let is_there = |name: &str| register.view.child(device.id.as_str(), name).is_some();
        if is_there(&name) {
            return name;
        }
        let others = [name.to_ascii_uppercase(), name.to_ascii_lowercase()];
        let found = others.into_iter().find(|other| is_there(other));
        found.unwrap_or(name)
    }

    /// The command that a request number is of.
    fn asked(&self, device: &Device, qn: &str) -> Option<Asked> {
        let work = self.views.commands.work();
        let command = work.book.by_qn(device.id.as_str(), qn)?;
        Some(Asked {
            id: command.id,
            method: method_of(&command.order.method)?.name,
            params: command.order.params.clone(),
        })
    }

    fn hj212_answer(
        &mut self,
        position: u64,
        frame: &Frame<'_>,
        device: &Device,
        segment: &Segment,
        qn: &str,
        answered: Answered,
    ) {
        // What was kept at the other end; nothing here waits for it.
        if matches!(answered, Answered::Data | Answered::Refused(_)) {
            return;
        }
        if device.state == DeviceState::Retired {
            self.refuse(position, 0, frame, Refusal::Retired, "");
            return;
        }
        let Some(asked) = self.asked(device, qn) else {
            let shown: String = qn.chars().take(32).flat_map(char::escape_debug).collect();
            let detail = format!("no command of `{}` has the request number `{shown}`", device.id);
            self.refuse(position, 0, frame, Refusal::StrayAnswer, &detail);
            return;
        };
        let now = *self.now;
        let mut changes: Vec<Change> = Vec::new();
        let sent = |key| segment.cp_value(key).unwrap_or_default().to_owned();
        let answer = {
            let mut work = self.views.commands.work();
            match answered {
                Answered::Request(Some(QnRtn::Accepted)) => {
                    work.book.received(position, now, asked.id, &mut changes);
                    None
                }
                Answered::Request(code) => {
                    let text = code.map_or("a code that the standard does not have", QnRtn::name);
                    Some(Err(json!({"qn_rtn": sent("QnRtn"), "text": text})))
                }
                Answered::Execution(Some(ExeRtn::Done)) => {
                    let mut result = json!({"exe_rtn": "1", "text": ExeRtn::Done.name()});
                    let collected = work.book.collected(asked.id);
                    if !collected.is_empty() {
                        result["data"] = collected.into();
                    }
                    Some(Ok(result))
                }
                Answered::Execution(code) => {
                    let text = code.map_or("a code that the standard does not have", ExeRtn::name);
                    Some(Err(json!({"exe_rtn": sent("ExeRtn"), "text": text})))
                }
                Answered::Notice | Answered::Data | Answered::Refused(_) => {
                    Some(Ok(json!({"answer": "9013"})))
                }
            }
        };
        let is_done = matches!(answer, Some(Ok(_)));
        let outcome = answer.map(|answer| {
            let mut work = self.views.commands.work();
            let id = device.id.as_str();
            work.book
                .answer(position, now, id, asked.id, answer, &mut changes)
        });
        self.changed(changes);
        match outcome {
            Some(Outcome::Stray(detail)) => self.refuse(position, 0, frame, Refusal::StrayAnswer, &detail),
            Some(Outcome::Taken) if is_done && asked.method == "set_password" => {
                self.new_password(position, Source::Hj212, device, &asked.params);
            }
            Some(Outcome::Taken) if is_done && asked.method == "set_minute_interval" => {
                let mut known = self.known_minute_data(device);
                let before = known.clone();
                let minutes = &asked.params["minutes"];
                let minutes = minutes.as_i64().or_else(|| minutes.as_str()?.parse().ok());
                known.set(minutes.unwrap_or_default(), frame.received_at);
                self.keep_minute_data(position, frame, device, &before, &known);
            }
            _ => {}
        }
    }

    /// A station has taken a new password: the register has it from here on.
    fn new_password(&mut self, position: u64, protocol: Source, device: &Device, params: &Value) {
        let Some(hash) = password_hash(protocol, &device.id, params) else {
            return;
        };
        let change = Stamped {
            at: *self.now,
            by: format!("{} set_password", protocol.name()),
            what: Register::DeviceToken {
                device: device.id.clone(),
                sha256: hash.to_string(),
                grace_s: GRACE_S,
                expires: None,
            },
        };
        self.tokens(position, &change);
    }
}

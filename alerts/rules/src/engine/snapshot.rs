//! The whole state as bytes: restoring is the same as never having stopped.
//!
//! Layout: magic, format, body, first 8 bytes of the body's SHA-256. Rules are kept as their files'
//! text; slots name them by index into the list of rules in force. Undrained condition changes are not
//! kept: whoever restores reads the conditions themselves.

use std::sync::Arc;

use onemap_model::alert::Input;
use onemap_model::{AlertId, DeviceId, DeviceState, DivisionCode, Quantity, Timestamp, TransitionId};
use sha2::{Digest, Sha256};

use super::Engine;
use super::book::Owner;
use super::entries::{
    Active, Condition, DeviceEntry, LISTED, NO_DEADLINE, Named, Phase, RaisedAlert, SeriesEntry, Slot,
};
use crate::codec::{Damaged, Reader, Writer};
use crate::file::RuleSet;
use crate::rule::Rule;

const MAGIC: &[u8] = b"onemap rules";
const FORMAT: u8 = 1;

/// Why bytes do not restore an engine. The journal still can: start empty and replay.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// Not a snapshot of this engine, or of another format.
    #[error("the bytes are no rule engine snapshot of format {FORMAT}")]
    Format,
    /// The checksum does not fit.
    #[error("the snapshot's checksum does not fit its bytes")]
    Checksum,
    /// Its parts contradict one another.
    #[error("the snapshot is not readable: {0}")]
    Damaged(&'static str),
    /// A rule file in it is not readable by this version, or reads differently.
    #[error("rule file `{0}` in the snapshot means something else to this version")]
    Rules(String),
}

impl From<Damaged> for SnapshotError {
    fn from(Damaged(what): Damaged) -> Self {
        SnapshotError::Damaged(what)
    }
}

impl Engine {
    /// The whole state, rules included. The same state gives the same bytes.
    pub fn snapshot(&self) -> Vec<u8> {
        let mut w = Writer(Vec::with_capacity(64 * self.series.len() + 4096));
        w.i64(self.book.now);
        w.i64(self.listening_since);
        w.u64(self.book.position);
        let mut alerts: Vec<String> = self.book.alerts_here.iter().map(AlertId::to_string).collect();
        let mut edges: Vec<String> = self.book.edges_here.iter().map(TransitionId::to_string).collect();
        for ids in [&mut alerts, &mut edges] {
            ids.sort_unstable();
            w.count(ids.len());
            ids.iter().for_each(|id| w.text(id));
        }
        w.count(self.files.len());
        for (name, set) in &self.files {
            w.text(name);
            w.text(set.text());
        }
        w.count(self.rules.len());
        for rule in self.rules.values() {
            w.text(rule.id.as_str());
            w.text(&rule.version);
        }
        let rules: Vec<&Arc<Rule>> = self.rules.values().collect();
        let index = |rule: &Rule| {
            rules
                .binary_search_by(|other| other.id.cmp(&rule.id))
                .expect("a bound rule is in force")
        };
        w.count(self.devices.len());
        for device in &self.devices {
            write_device(&mut w, device);
            write_slots(&mut w, &device.slots, &index);
        }
        let quantities: Vec<Quantity> = Quantity::all().collect();
        w.count(quantities.len());
        quantities.iter().for_each(|quantity| w.text(quantity.name()));
        w.count(self.series.len());
        for series in &self.series {
            w.u32(series.device);
            let quantity = quantities.iter().position(|q| *q == series.quantity);
            w.count(quantity.expect("all lists every quantity"));
            w.u16(series.channel);
            w.u8(series.flags & !LISTED);
            w.u8(series.condition as u8);
            w.i64(series.measured_at);
            w.i64(series.heard_at);
            w.f64(series.value);
            w.u64(series.position);
            write_slots(&mut w, &series.slots, &index);
        }
        let mut bytes = MAGIC.to_vec();
        bytes.push(FORMAT);
        bytes.extend_from_slice(&w.0);
        let sum = Sha256::digest(&w.0);
        bytes.extend_from_slice(&sum[..8]);
        bytes
    }

    /// The engine that wrote the snapshot, as if it had never stopped.
    ///
    /// # Errors
    /// See [`SnapshotError`]; then start empty and replay the journal.
    pub fn restore(bytes: &[u8]) -> Result<Engine, SnapshotError> {
        let body = bytes
            .strip_prefix(MAGIC)
            .and_then(|rest| rest.strip_prefix(&[FORMAT]));
        let body = body.ok_or(SnapshotError::Format)?;
        let (body, sum) = body.split_last_chunk::<8>().ok_or(SnapshotError::Format)?;
        if Sha256::digest(body)[..8] != sum[..] {
            return Err(SnapshotError::Checksum);
        }
        let mut engine = Engine::new();
        engine.read(&mut Reader(body))?;
        engine.arm_all();
        Ok(engine)
    }

    fn read(&mut self, r: &mut Reader<'_>) -> Result<(), SnapshotError> {
        self.book.now = r.i64()?;
        self.listening_since = r.i64()?;
        self.book.position = r.u64()?;
        for _ in 0..r.count(36)? {
            self.book.alerts_here.insert(read_parsed(r, "an alert id")?);
        }
        for _ in 0..r.count(36)? {
            self.book.edges_here.insert(read_parsed(r, "a transition id")?);
        }
        for _ in 0..r.count(8)? {
            let (name, text) = (r.text()?, r.text()?);
            let set = RuleSet::parse(name, text).map_err(|_| SnapshotError::Rules(name.to_owned()))?;
            self.files.insert(name.to_owned(), set);
        }
        self.index_rules();
        let rules: Vec<Arc<Rule>> = self.rules.values().cloned().collect();
        if r.count(8)? != rules.len() {
            return Err(Damaged("its rules are not those of its files").into());
        }
        for rule in &rules {
            let (id, version) = (r.text()?, r.text()?);
            if id != rule.id.as_str() || version != rule.version {
                return Err(SnapshotError::Rules(id.to_owned()));
            }
        }
        for i in 0..r.count(32)? {
            let mut device = read_device(r)?;
            device.slots = read_slots(r, &rules, Owner::Device(i as u32), &mut self.book.open)?;
            self.device_index.insert(device.id.clone(), i as u32);
            self.devices.push(device);
        }
        if self.device_index.len() != self.devices.len() {
            return Err(Damaged("a device stands in it twice").into());
        }
        let mut quantities = Vec::new();
        for _ in 0..r.count(4)? {
            quantities.push(Quantity::named(r.text()?));
        }
        for i in 0..r.count(48)? {
            let owner = r.u32()?;
            let device = self.devices.get_mut(owner as usize);
            let device = device.ok_or(Damaged("a series belongs to no device"))?;
            let quantity = quantities.get(r.u32()? as usize).copied().flatten();
            let quantity = quantity.ok_or(Damaged("a quantity is no longer in the dictionary"))?;
            let mut series = SeriesEntry::new(owner, quantity, r.u16()?);
            series.flags = r.u8()?;
            series.condition = match r.u8()? {
                0 => Condition::Normal,
                1 => Condition::Unknown,
                2 => Condition::Abnormal,
                _ => return Err(Damaged("a condition is none").into()),
            };
            series.measured_at = r.i64()?;
            series.heard_at = r.i64()?;
            series.value = r.f64()?;
            series.position = r.u64()?;
            series.slots = read_slots(r, &rules, Owner::Series(i as u32), &mut self.book.open)?;
            let (channel, index) = (series.channel, i as u32);
            device.series.push(Named {
                quantity,
                channel,
                index,
            });
            self.series.push(series);
        }
        for device in &mut self.devices {
            device.series.sort_unstable();
        }
        let slots = self
            .devices
            .iter()
            .flat_map(|d| &d.slots)
            .chain(self.series.iter().flat_map(|s| &s.slots));
        let mut about = slots.filter_map(|slot| slot.alert()?.about);
        if about.any(|about| about as usize >= self.series.len()) {
            return Err(Damaged("an alert is about no series").into());
        }
        if !r.0.is_empty() {
            return Err(Damaged("bytes follow its end").into());
        }
        Ok(())
    }

    fn arm_all(&mut self) {
        for i in 0..self.series.len() as u32 {
            self.settle_series(i);
        }
        for i in 0..self.devices.len() as u32 {
            self.settle_device(i);
        }
    }
}

fn read_parsed<T: std::str::FromStr>(r: &mut Reader<'_>, what: &'static str) -> Result<T, Damaged> {
    r.text()?.parse().map_err(|_| Damaged(what))
}

fn write_device(w: &mut Writer, device: &DeviceEntry) {
    w.text(device.id.as_str());
    w.text(&device.kind);
    w.text(device.division.as_ref().map_or("", DivisionCode::as_str));
    w.u32(device.cadence_s);
    w.u8(match device.state {
        DeviceState::Active => 0,
        DeviceState::Maintenance => 1,
        DeviceState::Retired => 2,
        DeviceState::Provisioned => 3,
    });
    w.u8(u8::from(device.registered));
    w.i64(device.counted_from);
    w.i64(device.heard_at);
}

fn read_device(r: &mut Reader<'_>) -> Result<DeviceEntry, Damaged> {
    Ok(DeviceEntry {
        id: DeviceId::new(r.text()?).map_err(|_| Damaged("a device id"))?,
        kind: r.text()?.into(),
        division: match r.text()? {
            "" => None,
            code => Some(DivisionCode::new(code).map_err(|_| Damaged("a division code"))?),
        },
        cadence_s: r.u32()?,
        state: match r.u8()? {
            0 => DeviceState::Active,
            1 => DeviceState::Maintenance,
            2 => DeviceState::Retired,
            3 => DeviceState::Provisioned,
            _ => return Err(Damaged("a device state")),
        },
        registered: r.u8()? != 0,
        counted_from: r.i64()?,
        heard_at: r.i64()?,
        series: Vec::new(),
        slots: Vec::new(),
        armed: NO_DEADLINE,
    })
}

fn write_slots(w: &mut Writer, slots: &[Slot], index: &impl Fn(&Rule) -> usize) {
    w.count(slots.len());
    for slot in slots {
        w.count(index(&slot.rule));
        let Some(active) = &slot.active else {
            w.u8(0);
            continue;
        };
        w.u8(match active.phase {
            Phase::Pending => 1,
            Phase::Firing => 2,
            Phase::Clearing => 3,
        });
        w.i64(active.since_measured);
        w.i64(active.since_record);
        w.u8(u8::from(active.first.is_some()));
        if let Some(first) = &active.first {
            w.u64(first.position);
            w.i64(first.measured_at.ms());
            w.f64(first.value);
        }
        w.u8(u8::from(active.alert.is_some()));
        if let Some(alert) = &active.alert {
            w.text(&alert.id.to_string());
            w.i64(alert.raised_at);
            w.u32(alert.about.unwrap_or(u32::MAX));
            w.u8(u8::from(alert.lost) | u8::from(alert.closed) << 1);
        }
    }
}

fn read_slots(
    r: &mut Reader<'_>,
    rules: &[Arc<Rule>],
    owner: Owner,
    open: &mut std::collections::BTreeMap<AlertId, Owner>,
) -> Result<Vec<Slot>, Damaged> {
    let mut slots = Vec::new();
    for _ in 0..r.count(5)? {
        let rule = rules
            .get(r.u32()? as usize)
            .ok_or(Damaged("a slot has no rule"))?;
        let phase = match r.u8()? {
            0 => None,
            1 => Some(Phase::Pending),
            2 => Some(Phase::Firing),
            3 => Some(Phase::Clearing),
            _ => return Err(Damaged("a phase")),
        };
        let mut slot = Slot {
            rule: Arc::clone(rule),
            active: None,
        };
        if let Some(phase) = phase {
            let (since_measured, since_record) = (r.i64()?, r.i64()?);
            let first = match r.u8()? {
                0 => None,
                _ => Some(Input {
                    position: r.u64()?,
                    measured_at: Timestamp::from_ms(r.i64()?),
                    value: r.f64()?,
                }),
            };
            let alert = match r.u8()? {
                0 => None,
                _ => {
                    let id: AlertId = read_parsed(r, "an alert id")?;
                    open.insert(id, owner);
                    let raised_at = r.i64()?;
                    let about = Some(r.u32()?).filter(|about| *about != u32::MAX);
                    let marks = r.u8()?;
                    Some(RaisedAlert {
                        id,
                        raised_at,
                        about,
                        lost: marks & 1 != 0,
                        closed: marks & 2 != 0,
                    })
                }
            };
            if (phase == Phase::Pending) != alert.is_none() {
                return Err(Damaged("a phase and its alert"));
            }
            slot.active = Some(Box::new(Active {
                phase,
                since_measured,
                since_record,
                first,
                alert,
            }));
        }
        slots.push(slot);
    }
    Ok(slots)
}

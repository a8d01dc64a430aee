//! The whole state as bytes: restoring is the same as never having stopped.
//!
//! Layout: magic, format, body, first 8 bytes of the body's SHA-256. Rules are kept as their files'
//! text; slots name them by index into the list of rules in force. Undrained condition changes are not
//! kept: whoever restores reads the conditions themselves.

use std::sync::Arc;

use onemap_model::alert::Input;
use onemap_model::{
    AlertId, DeviceId, DeviceState, DivisionCode, Position, Quantity, Timestamp, TransitionId,
};
use sha2::{Digest, Sha256};

use super::Engine;
use super::book::Owner;
use super::entries::{
    Active, Condition, DeviceEntry, LISTED, NEVER, NO_DEADLINE, Named, NamedSeries, Phase, RaisedAlert,
    SeriesEntry, Slot, Slots,
};
use super::foresee::{Ahead, Foreseen, Point, Seen, Track, Watch, held, kept};
use super::weigh::Case;
use super::weigh::course::{self, Memory, Still};
use crate::codec::{Damaged, Reader, Writer};
use crate::file::RuleSet;
use crate::rule::{Rule, When};

const MAGIC: &[u8] = b"onemap rules";
/// Stages of gauges, what is weighed, what is foreseen, and devices with the fences that they are in and where they stand.
/// Format 6 was without stages, format 5 without places and what is weighed, format 4 without what is foreseen, format 3 without these, format 2 without how often series come, format 1
/// wrote every number whole.
const FORMAT: u8 = 7;

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
        let room = 28 * self.series.len() + 64 * self.devices.len() + 4096;
        let mut w = Writer(Vec::with_capacity(room));
        w.0.extend_from_slice(MAGIC);
        w.u8(FORMAT);
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
        let mut before = Before::default();
        for series in &self.series {
            w.step(before.device, i64::from(series.device));
            let quantity = quantities.binary_search(&series.quantity);
            w.small(quantity.expect("all lists every quantity, in order") as u64);
            w.small(u64::from(series.channel));
            w.u8(series.flags & !LISTED);
            w.u8(series.condition as u8);
            w.step(before.measured_at, series.measured_at);
            w.step(series.measured_at, series.heard_at);
            w.small(u64::from(series.every_s));
            w.f64(series.value);
            w.step(before.position, series.position as i64);
            write_slots(&mut w, &series.slots, &index);
            before = Before::of(series);
        }
        w.count(self.foreseen.len());
        for entry in &self.foreseen {
            w.small(u64::from(entry.device));
            let quantity = quantities.binary_search(&entry.quantity);
            w.small(quantity.expect("all lists every quantity, in order") as u64);
            w.small(u64::from(entry.channel));
            w.small(entry.watches.len() as u64);
            for watch in &entry.watches {
                write_watch(&mut w, watch, &index);
            }
        }
        w.count(self.scales.entries.len());
        for entry in &self.scales.entries {
            w.small(u64::from(entry.device));
            w.small(entry.cases.len() as u64);
            for case in &entry.cases {
                write_case(&mut w, case, &index);
            }
        }
        self.gauges.write(&mut w);
        let sum = Sha256::digest(&w.0[MAGIC.len() + 1..]);
        w.0.extend_from_slice(&sum[..8]);
        w.0
    }

    /// The engine that wrote the snapshot, as if it had never stopped.
    ///
    /// # Errors
    /// See [`SnapshotError`]; then start empty and replay the journal.
    pub fn restore(bytes: &[u8]) -> Result<Engine, SnapshotError> {
        let body = bytes.strip_prefix(MAGIC).and_then(|rest| rest.split_first());
        let (format, body) = body
            .filter(|(format, _)| (1..=FORMAT).contains(*format))
            .ok_or(SnapshotError::Format)?;
        let (body, sum) = body.split_last_chunk::<8>().ok_or(SnapshotError::Format)?;
        if Sha256::digest(body)[..8] != sum[..] {
            return Err(SnapshotError::Checksum);
        }
        let mut engine = Engine::new();
        engine.read(&mut Reader(body), *format)?;
        engine.arm_all();
        Ok(engine)
    }

    fn read(&mut self, r: &mut Reader<'_>, format: u8) -> Result<(), SnapshotError> {
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
            let mut device = read_device(r, format)?;
            device.slots = read_slots(r, format, &rules, Owner::Device(i as u32), &mut self.book.open)?;
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
        let mut before = Before::default();
        for i in 0..r.count(if format == 1 { 48 } else { 17 })? {
            let mut series = match format {
                1 => read_whole(r, &quantities)?,
                _ => read_steps(r, format, &quantities, &before)?,
            };
            before = Before::of(&series);
            let device = self.devices.get_mut(series.device as usize);
            let device = device.ok_or(Damaged("a series belongs to no device"))?;
            let owner = Owner::Series(i as u32);
            series.set_slots(read_slots(r, format, &rules, owner, &mut self.book.open)?);
            let (channel, index) = (series.channel, i as u32);
            device.series.push(Named {
                quantity: series.quantity,
                channel,
                index,
            });
            self.series.push(series);
        }
        for device in &mut self.devices {
            device.series.sort_unstable();
        }
        if format > 4 {
            self.read_foreseen(r, format, &rules, &quantities)?;
        }
        if format > 5 {
            self.read_weighed(r, format, &rules)?;
        }
        self.gauges.are_to_be_stated = format < 7;
        if format > 6 {
            let now = Timestamp::from_ms(self.book.now);
            self.gauges.read(r, now)?;
            self.next_turn = self.next_turn.min(self.gauges.next_turn(self.book.now));
        }
        self.take_own_limits()?;
        let slots = self
            .devices
            .iter()
            .flat_map(|d| &d.slots)
            .chain(self.series.iter().flat_map(|s| &s.slots))
            .chain(
                self.scales
                    .entries
                    .iter()
                    .flat_map(|entry| entry.cases.iter().map(|case| &case.slot)),
            );
        let mut about = slots.filter_map(|slot| slot.alert()?.about);
        if about.any(|about| about as usize >= self.series.len()) {
            return Err(Damaged("an alert is about no series").into());
        }
        if !r.0.is_empty() {
            return Err(Damaged("bytes follow its end").into());
        }
        Ok(())
    }

    fn read_foreseen(
        &mut self,
        r: &mut Reader<'_>,
        format: u8,
        rules: &[Arc<Rule>],
        quantities: &[Option<Quantity>],
    ) -> Result<(), Damaged> {
        for i in 0..r.count(4)? as u32 {
            let device = u32::try_from(r.small()?).map_err(|_| Damaged("a device's number"))?;
            if device as usize >= self.devices.len() {
                return Err(Damaged("what is foreseen belongs to no device"));
            }
            let quantity = known(quantities, r.small()?)?;
            let channel = u16::try_from(r.small()?).map_err(|_| Damaged("a channel"))?;
            let mut watches = Vec::new();
            for _ in 0..r.small()? {
                let owner = Owner::Foreseen(i);
                watches.push(read_watch(r, format, rules, owner, &mut self.book.open)?);
            }
            if self.find_foreseen(device, quantity, channel).is_some() {
                return Err(Damaged("what is foreseen of a series stands in it twice"));
            }
            self.foreseen.push(Foreseen {
                device,
                quantity,
                channel,
                armed: NO_DEADLINE,
                watches,
            });
            self.foreseen_of.entry(device).or_default().push(i);
        }
        Ok(())
    }

    fn read_weighed(&mut self, r: &mut Reader<'_>, format: u8, rules: &[Arc<Rule>]) -> Result<(), Damaged> {
        for _ in 0..r.count(2)? {
            let device = u32::try_from(r.small()?).map_err(|_| Damaged("a device's number"))?;
            if device as usize >= self.devices.len() || self.scales.of_device.contains_key(&device) {
                return Err(Damaged(
                    "what is weighed belongs to no device, or stands in it twice",
                ));
            }
            let i = self.scales.add(device);
            let mut cases = Vec::new();
            for _ in 0..r.small()? {
                let owner = Owner::Weighed(i);
                cases.push(read_case(r, format, rules, owner, &mut self.book.open)?);
            }
            self.scales.entries[i as usize].cases = cases;
        }
        Ok(())
    }

    /// A snapshot names rules; their limits are those of the device.
    fn take_own_limits(&mut self) -> Result<(), Damaged> {
        let (devices, gauges) = (&self.devices, &self.gauges);
        let own = |device: u32, slot: &mut Slot| -> Result<(), Damaged> {
            let device = &devices[device as usize];
            let rule = gauges.own(&slot.rule, device);
            slot.rule = rule.ok_or(Damaged("a rule has no limit for its device"))?;
            Ok(())
        };
        for series in &mut self.series {
            let mut slots = std::mem::take(&mut series.slots);
            slots.iter_mut().try_for_each(|slot| own(series.device, slot))?;
            series.set_slots(slots);
        }
        for entry in &mut self.foreseen {
            let device = entry.device;
            entry
                .watches
                .iter_mut()
                .try_for_each(|watch| own(device, &mut watch.slot))?;
        }
        for entry in &mut self.scales.entries {
            let device = entry.device;
            entry
                .cases
                .iter_mut()
                .try_for_each(|case| own(device, &mut case.slot))?;
        }
        Ok(())
    }

    fn arm_all(&mut self) {
        for i in 0..self.scales.entries.len() as u32 {
            self.settle_weighed(i);
        }
        for i in 0..self.foreseen.len() as u32 {
            self.settle_foreseen(i);
        }
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
    w.small(device.fences.len() as u64);
    device.fences.iter().for_each(|fence| w.text(fence));
    w.u8(u8::from(device.place.is_some()));
    if let Some(place) = device.place {
        w.f64(place.lon());
        w.f64(place.lat());
    }
}

fn read_device(r: &mut Reader<'_>, format: u8) -> Result<DeviceEntry, Damaged> {
    let mut device = DeviceEntry {
        id: DeviceId::new(r.text()?).map_err(|_| Damaged("a device id"))?,
        kind: r.text()?.into(),
        division: match r.text()? {
            "" => None,
            code => Some(DivisionCode::new(code).map_err(|_| Damaged("a division code"))?),
        },
        fences: Vec::new(),
        place: None,
        cadence_s: r.u32()?,
        silent_after_s: 0,
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
        series: NamedSeries::new(),
        slots: Slots::new(),
        armed: NO_DEADLINE,
    };
    if format > 3 {
        for _ in 0..r.small()? {
            device.fences.push(r.text()?.into());
        }
    }
    if format > 5 && r.u8()? != 0 {
        let place = Position::new(r.f64()?, r.f64()?, None);
        device.place = Some(place.map_err(|_| Damaged("a place"))?);
    }
    Ok(device)
}

/// What the next series is likely to be near.
#[derive(Default)]
struct Before {
    device: i64,
    measured_at: i64,
    position: i64,
}

impl Before {
    fn of(series: &SeriesEntry) -> Self {
        Self {
            device: i64::from(series.device),
            measured_at: series.measured_at,
            position: series.position as i64,
        }
    }
}

/// A series of format 1, but for its slots.
fn read_whole(r: &mut Reader<'_>, quantities: &[Option<Quantity>]) -> Result<SeriesEntry, Damaged> {
    let owner = r.u32()?;
    let quantity = known(quantities, r.u32()?.into())?;
    let mut series = SeriesEntry::new(owner, quantity, r.u16()?);
    series.flags = r.u8()?;
    series.condition = read_condition(r)?;
    series.measured_at = r.i64()?;
    series.heard_at = r.i64()?;
    series.value = r.f64()?;
    series.position = r.u64()?;
    Ok(series)
}

/// A series, but for its slots.
fn read_steps(
    r: &mut Reader<'_>,
    format: u8,
    quantities: &[Option<Quantity>],
    before: &Before,
) -> Result<SeriesEntry, Damaged> {
    let owner = u32::try_from(r.step(before.device)?).map_err(|_| Damaged("a device's number"))?;
    let quantity = known(quantities, r.small()?)?;
    let channel = u16::try_from(r.small()?).map_err(|_| Damaged("a channel"))?;
    let mut series = SeriesEntry::new(owner, quantity, channel);
    series.flags = r.u8()?;
    series.condition = read_condition(r)?;
    series.measured_at = r.step(before.measured_at)?;
    series.heard_at = r.step(series.measured_at)?;
    if format > 2 {
        series.every_s = u32::try_from(r.small()?).map_err(|_| Damaged("a cadence"))?;
    }
    series.value = r.f64()?;
    series.position = r.step(before.position)? as u64;
    Ok(series)
}

fn known(quantities: &[Option<Quantity>], index: u64) -> Result<Quantity, Damaged> {
    let quantity = usize::try_from(index)
        .ok()
        .and_then(|index| quantities.get(index));
    quantity
        .copied()
        .flatten()
        .ok_or(Damaged("a quantity is no longer in the dictionary"))
}

fn read_condition(r: &mut Reader<'_>) -> Result<Condition, Damaged> {
    match r.u8()? {
        0 => Ok(Condition::Normal),
        1 => Ok(Condition::Unknown),
        2 => Ok(Condition::Abnormal),
        _ => Err(Damaged("a condition is none")),
    }
}

fn write_seen(w: &mut Writer, seen: Option<&Seen>) {
    w.u8(u8::from(seen.is_some()));
    let Some(seen) = seen else {
        return;
    };
    w.i64(seen.origin);
    w.i64(seen.heard_at);
    w.i64(seen.until);
    w.u64(seen.position);
    maybe(w, seen.at_origin);
    w.count(seen.points.len());
    for point in &seen.points {
        w.i64(point.at);
        w.f64(point.value);
        point.tenths.iter().for_each(|value| maybe(w, *value));
    }
    w.u8(u8::from(seen.ahead.is_some()));
    if let Some(ahead) = &seen.ahead {
        w.f64(ahead.worst);
        w.u8(u8::from(ahead.is_beyond));
        ahead.crosses.iter().for_each(|at| w.i64(kept(*at)));
    }
}

fn read_seen(r: &mut Reader<'_>) -> Result<Option<Seen>, Damaged> {
    if r.u8()? == 0 {
        return Ok(None);
    }
    let mut seen = Seen {
        origin: r.i64()?,
        heard_at: r.i64()?,
        until: r.i64()?,
        position: r.u64()?,
        at_origin: read_maybe(r)?,
        points: Vec::new(),
        ahead: None,
    };
    for _ in 0..r.count(18)? {
        seen.points.push(Point {
            at: r.i64()?,
            value: r.f64()?,
            tenths: [read_maybe(r)?, read_maybe(r)?],
        });
    }
    if r.u8()? != 0 {
        seen.ahead = Some(Ahead {
            worst: r.f64()?,
            is_beyond: r.u8()? != 0,
            crosses: [held(r.i64()?), held(r.i64()?), held(r.i64()?)],
        });
    }
    Ok(Some(seen))
}

fn write_watch(w: &mut Writer, watch: &Watch, index: &impl Fn(&Rule) -> usize) {
    write_slot(w, &watch.slot, index);
    write_seen(w, watch.seen.as_ref());
    let Track { n_true, n_false } = watch.track;
    [n_true, n_false].iter().for_each(|n| w.small(u64::from(*n)));
    let due = watch.due.unwrap_or((NEVER, NEVER));
    w.i64(due.0);
    w.i64(due.1);
    w.u8(match watch.is_beyond {
        None => 0,
        Some(false) => 1,
        Some(true) => 2,
    });
}

fn write_case(w: &mut Writer, case: &Case, index: &impl Fn(&Rule) -> usize) {
    write_slot(w, &case.slot, index);
    w.small(u64::from(case.channel));
    w.i64(case.measured_at);
    let facts = case.slot.rule.when.facts();
    for (fact, cell) in facts.into_iter().zip(&case.cells) {
        w.u8(u8::from(cell.held) | u8::from(cell.is_known) << 1);
        maybe(w, cell.amount);
        if matches!(fact, When::Forecast(_)) {
            write_seen(w, cell.foreseen.as_deref());
        }
        match &cell.memory {
            Memory::Nothing => {}
            Memory::Course {
                lows,
                highs,
                last,
                before,
            } => {
                for points in [lows, highs] {
                    w.count(points.len());
                    points.iter().for_each(|point| write_point(w, point));
                }
                w.u8(u8::from(last.is_some()));
                last.iter().for_each(|point| write_point(w, point));
                w.i64(kept(*before));
            }
            Memory::Still(still) => {
                w.u8(u8::from(still.is_some()));
                if let Some(still) = still {
                    write_point(w, &still.since);
                    w.f64(still.low);
                    w.f64(still.high);
                }
            }
        }
    }
}

fn read_case(
    r: &mut Reader<'_>,
    format: u8,
    rules: &[Arc<Rule>],
    owner: Owner,
    open: &mut std::collections::BTreeMap<AlertId, Owner>,
) -> Result<Case, Damaged> {
    let slot = read_slot(r, format, rules, owner, open)?;
    if !slot.rule.is_weighed() {
        return Err(Damaged("a rule weighs nothing"));
    }
    let channel = u16::try_from(r.small()?).map_err(|_| Damaged("a channel"))?;
    let mut case = Case::new(Arc::clone(&slot.rule), channel);
    case.slot = slot;
    case.measured_at = r.i64()?;
    let facts = case.slot.rule.when.facts();
    for (fact, cell) in facts.into_iter().zip(&mut case.cells) {
        let marks = r.u8()?;
        (cell.held, cell.is_known) = (marks & 1 != 0, marks & 2 != 0);
        cell.amount = read_maybe(r)?;
        if matches!(fact, When::Forecast(_)) {
            cell.foreseen = read_seen(r)?.map(Box::new);
        }
        match &mut cell.memory {
            Memory::Nothing => {}
            Memory::Course {
                lows,
                highs,
                last,
                before,
            } => {
                for points in [lows, highs] {
                    for _ in 0..r.count(24)? {
                        points.push_back(read_point(r)?);
                    }
                }
                if r.u8()? != 0 {
                    *last = Some(read_point(r)?);
                }
                *before = held(r.i64()?);
            }
            Memory::Still(still) => {
                if r.u8()? != 0 {
                    *still = Some(Still {
                        since: read_point(r)?,
                        low: r.f64()?,
                        high: r.f64()?,
                    });
                }
            }
        }
    }
    Ok(case)
}

fn write_point(w: &mut Writer, point: &course::Point) {
    w.i64(point.at);
    w.f64(point.value);
    w.u64(point.position);
}

fn read_point(r: &mut Reader<'_>) -> Result<course::Point, Damaged> {
    Ok(course::Point {
        at: r.i64()?,
        value: r.f64()?,
        position: r.u64()?,
    })
}

fn maybe(w: &mut Writer, value: Option<f64>) {
    w.u8(u8::from(value.is_some()));
    if let Some(value) = value {
        w.f64(value);
    }
}

fn read_maybe(r: &mut Reader<'_>) -> Result<Option<f64>, Damaged> {
    match r.u8()? {
        0 => Ok(None),
        _ => r.f64().map(Some),
    }
}

fn read_watch(
    r: &mut Reader<'_>,
    format: u8,
    rules: &[Arc<Rule>],
    owner: Owner,
    open: &mut std::collections::BTreeMap<AlertId, Owner>,
) -> Result<Watch, Damaged> {
    let slot = read_slot(r, format, rules, owner, open)?;
    if slot.rule.looks_ahead().is_none() {
        return Err(Damaged("a rule does not look ahead"));
    }
    let mut watch = Watch::new(Arc::clone(&slot.rule));
    watch.slot = slot;
    watch.seen = read_seen(r)?;
    let number = |r: &mut Reader<'_>| u32::try_from(r.small()?).map_err(|_| Damaged("a count of forecasts"));
    watch.track = Track {
        n_true: number(r)?,
        n_false: number(r)?,
    };
    let (since, by) = (r.i64()?, r.i64()?);
    watch.due = held(since).map(|since| (since, by));
    watch.is_beyond = match r.u8()? {
        0 => None,
        1 => Some(false),
        2 => Some(true),
        _ => return Err(Damaged("a side of a limit")),
    };
    Ok(watch)
}

fn write_slots(w: &mut Writer, slots: &[Slot], index: &impl Fn(&Rule) -> usize) {
    w.small(slots.len() as u64);
    slots.iter().for_each(|slot| write_slot(w, slot, index));
}

fn write_slot(w: &mut Writer, slot: &Slot, index: &impl Fn(&Rule) -> usize) {
    w.small(index(&slot.rule) as u64);
    let Some(active) = &slot.active else {
        return w.u8(0);
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
        w.u8(u8::from(alert.lost) | u8::from(alert.closed) << 1 | alert.level << 2);
    }
}

fn read_slots(
    r: &mut Reader<'_>,
    format: u8,
    rules: &[Arc<Rule>],
    owner: Owner,
    open: &mut std::collections::BTreeMap<AlertId, Owner>,
) -> Result<Slots, Damaged> {
    let mut slots = Slots::new();
    for _ in 0..number(r, format)? {
        slots.push(read_slot(r, format, rules, owner, open)?);
    }
    Ok(slots)
}

fn number(r: &mut Reader<'_>, format: u8) -> Result<u64, Damaged> {
    match format {
        1 => r.u32().map(u64::from),
        _ => r.small(),
    }
}

fn read_slot(
    r: &mut Reader<'_>,
    format: u8,
    rules: &[Arc<Rule>],
    owner: Owner,
    open: &mut std::collections::BTreeMap<AlertId, Owner>,
) -> Result<Slot, Damaged> {
    let rule = usize::try_from(number(r, format)?);
    let rule = rule
        .ok()
        .and_then(|rule| rules.get(rule))
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
                of: None,
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
                    level: marks >> 2,
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
    Ok(slot)
}

//! Readings out of a frame: states of systems and components, analogue values.
//!
//! A transmission device speaks for a building. Its own state is its own; a system and a component are named after it
//! ([`ObjectReadings::device`]). Versions, configurations and clocks are no measurements; those that come unasked are named
//! ([`Message::unread`]).

use std::time::Duration;

use onemap_model::{Quality, Quantity, Refusal, Timestamp};

use super::codes::{analogue, component_kind};
use super::{Address, Application, Clock, Component, Frame, Object, System, Time};
use crate::profile::{Period, Stamp as PeriodEnd};
use crate::{Message, Refused, Sample, Scaling};

const FIRE: u16 = 1 << 1;
const FAULT: u16 = 1 << 2;

/// Bits of a system's and a component's state that are a reading each, with its quantity.
const STATES: [(u16, &str); 6] = [
    (0, "fire_watch"),
    (3, "fire_shielded"),
    (4, "fire_supervised"),
    (5, "fire_started"),
    (6, "fire_feedback"),
    (7, "fire_delayed"),
];
/// Those that only a system has.
const OF_SYSTEMS: [(u16, &str); 3] = [
    (11, "fire_manual_mode"),
    (12, "fire_configuration_changed"),
    (13, "fire_reset"),
];
/// Known bits of an operation; the bit is the channel of `fire_operation`.
const N_OPERATIONS: u16 = 7;
const RESET: u16 = 1;
const MANUAL_ALARM: u16 = 1 << 2;
const ALARM_CLEARED: u16 = 1 << 3;

/// What a device, a system or a component said.
#[derive(Clone, Debug, PartialEq)]
pub struct ObjectReadings {
    /// The transmission device.
    pub source: Address,
    /// Which system of it.
    pub system: Option<System>,
    /// Which component of it.
    pub component: Option<Component>,
    /// Samples and refusals.
    pub message: Message,
}

impl ObjectReadings {
    /// What kind of device it is, as far as its type tells; `None` for the transmission device itself.
    pub fn kind(&self) -> Option<&'static str> {
        match (self.component, self.system) {
            (Some(component), _) => component_kind(component.kind),
            (None, Some(_)) => Some("fire_system"),
            (None, None) => None,
        }
    }

    /// The device's id: `790300000000` is the transmission device, `790300000000:1.1` its system of type 1 at address
    /// 1, `790300000000:1.1:0a000200` that system's component. A component's type is not in its id: it is what the
    /// component is, not which one.
    pub fn device(&self) -> String {
        let mut id = self.source.to_string();
        let system = self.component.map(|component| component.system).or(self.system);
        if let Some(system) = system {
            id.push_str(&format!(":{}.{}", system.kind, system.address));
        }
        if let Some(Component {
            address: [a, b, c, d],
            ..
        }) = self.component
        {
            id.push_str(&format!(":{a:02x}{b:02x}{c:02x}{d:02x}"));
        }
        id
    }
}

/// Reads the samples of data (2) and responses (5); of other commands none. `received_at` tells binary from BCD times
/// where both are possible ([`Clock::Either`]).
///
/// A fire is `fire_alarm` 1, a fault without one 2, neither is 0, whatever bit 0 (normal, not test) says: alarms of the field
/// come with it unset, so it is a reading of its own (`fire_watch`). The bits of an operation (4, 24) are `fire_operation` on
/// the channel of their number; a manual alarm among them is `manual_alarm` 1, and 0 when a reset or the end of the alarm is told
/// without one. Without a time of its own an object has the frame's. What comes unasked (2) and gives no reading is named in
/// the message of the transmission device.
pub fn readings(
    frame: &Frame,
    application: &Application,
    clock: Clock,
    received_at: Timestamp,
) -> Vec<ObjectReadings> {
    if !matches!(frame.command, 2 | 5) {
        return Vec::new();
    }
    let mut all: Vec<ObjectReadings> = Vec::new();
    for object in &application.objects {
        if let Some(what) = unread(object)
            && frame.command == 2
        {
            own_message(&mut all, frame.source).unread.push(what);
            continue;
        }
        let (system, component) = match object {
            Object::SystemState { system, .. } | Object::SystemOperation { system, .. } => {
                (Some(*system), None)
            }
            Object::ComponentState { component, .. } | Object::Analogue { component, .. } => {
                (None, Some(*component))
            }
            Object::DeviceState { .. } | Object::DeviceOperation { .. } => (None, None),
            _ => continue,
        };
        let at = stamp(frame, object, clock, received_at);
        let mut message = message(object, at.unwrap_or(received_at));
        if at.is_none() {
            for sample in &mut message.samples {
                stamp_here(sample);
            }
        }
        match all
            .iter_mut()
            .find(|one| one.system == system && one.component == component)
        {
            Some(one) => {
                one.message.samples.extend(message.samples);
                one.message.refused.extend(message.refused);
                one.message.unread.extend(message.unread);
            }
            None => all.push(ObjectReadings {
                source: frame.source,
                system,
                component,
                message,
            }),
        }
    }
    if !application.raw.is_empty() {
        let detail = format!("data of type {} are a user's or unknown", application.kind);
        let refused = Refused::new(Refusal::UnknownQuantity, detail);
        own_message(&mut all, frame.source).refused.push(refused);
    }
    all
}

/// What is said of the transmission device itself.
fn own_message(all: &mut Vec<ObjectReadings>, source: Address) -> &mut Message {
    let at = all
        .iter()
        .position(|one| one.system.is_none() && one.component.is_none());
    let at = at.unwrap_or_else(|| {
        all.push(ObjectReadings {
            source,
            system: None,
            component: None,
            message: Message::default(),
        });
        all.len() - 1
    });
    &mut all[at].message
}

/// The name of an object that gives no reading.
fn unread(object: &Object) -> Option<&'static str> {
    Some(match object {
        Object::SystemVersion { .. } => "system_version",
        Object::SystemConfiguration { .. } => "system_configuration",
        Object::ComponentConfiguration { .. } => "component_configuration",
        Object::SystemTime { .. } => "system_time",
        Object::DeviceVersion { .. } => "device_version",
        Object::DeviceConfiguration { .. } => "device_configuration",
        Object::DeviceTime { .. } => "device_time",
        _ => return None,
    })
}

/// When it happened; `None` when what is said is no time. A fire is a fire on a day that is none, too.
fn stamp(frame: &Frame, object: &Object, clock: Clock, received_at: Timestamp) -> Option<Timestamp> {
    let own = object
        .time()
        .filter(|time| *time != Time([0; 6]))
        .unwrap_or(frame.time);
    own.moment(clock, Some(received_at))
}

/// It came when it came, and its device's clock is wrong.
fn stamp_here(sample: &mut Sample) {
    sample.measured_at = None;
    sample.quality = sample.quality.with(Quality::CLOCK_OFF);
}

/// Older than this is no event that a device kept while it had no line, but a clock that lost its time.
const LOST: Duration = Duration::from_secs(40 * 86_400);
/// Seconds that a clock may be ahead and be told as right.
const AHEAD: Duration = Duration::from_secs(120);

/// Says of what is told as happening later than its frame came that it happened by then, at the second at which it came: a
/// device tells what happens as it happens, and what it tells next must not be older. What is stamped far ahead, or long ago
/// (a clock that begins in 2000), is by the time of receipt and marked `clock_off`. So nothing that a fire monitor tells and
/// the centre acknowledges is lost to its clock.
pub fn happened_by(objects: &mut [ObjectReadings], received_at: Timestamp) {
    let second = Timestamp::from_ms(received_at.ms().div_euclid(1000) * 1000);
    for message in objects.iter_mut().map(|one| &mut one.message) {
        for sample in &mut message.samples {
            let Some(at) = sample.measured_at else { continue };
            if at.since(received_at) > AHEAD || received_at.since(at) > LOST {
                message.sent_at = message.sent_at.or(Some(at));
                stamp_here(sample);
            } else if at > second {
                message.sent_at = message.sent_at.or(Some(at));
                sample.measured_at = Some(second);
            }
        }
    }
}

fn message(object: &Object, at: Timestamp) -> Message {
    let mut message = Message::default();
    match object {
        Object::SystemState { state, .. } => {
            fire(*state, at, &mut message);
            states(*state, &STATES, at, &mut message);
            states(*state, &OF_SYSTEMS, at, &mut message);
            // Main power, backup power, bus.
            alarms(*state, &[8, 9, 10], at, &mut message);
            reserved(*state, 0xC000, &mut message);
        }
        Object::ComponentState { state, .. } => {
            fire(*state, at, &mut message);
            states(*state, &STATES, at, &mut message);
            alarms(*state, &[8], at, &mut message);
            reserved(*state, 0xFE00, &mut message);
        }
        Object::DeviceState { state, .. } => {
            let state = u16::from(*state);
            fire(state, at, &mut message);
            states(state, &STATES[..1], at, &mut message);
            // Main power, backup power, link to the centre, monitored line.
            alarms(state, &[3, 4, 5, 6], at, &mut message);
            reserved(state, 0x80, &mut message);
        }
        Object::SystemOperation { flag, .. } | Object::DeviceOperation { flag, .. } => {
            operation(u16::from(*flag), at, &mut message);
        }
        Object::Analogue {
            component,
            kind,
            value,
            ..
        } => {
            let known = analogue(*kind);
            let fits = |only: &[u8]| only.is_empty() || only.contains(&component.kind);
            match known.and_then(|known| Some((known, known.quantity?))) {
                Some((known, quantity)) if fits(&known.components) => {
                    let unit = Some(known.unit.as_str()).filter(|unit| *unit != quantity.definition().unit);
                    let mut sample = Sample::new(quantity, 0, known.amount(*value));
                    sample.scaling = Scaling {
                        unit,
                        ..Scaling::NONE
                    };
                    push(sample, at, &mut message);
                }
                _ => {
                    let why = known.and_then(|known| known.unmapped.as_deref());
                    let why = why.unwrap_or("it says nothing certain of this component");
                    let detail = format!("analogue type {kind} of component type {}: {why}", component.kind);
                    message
                        .refused
                        .push(Refused::new(Refusal::UnknownQuantity, detail));
                }
            }
        }
        _ => {}
    }
    message
}

fn push(mut sample: Sample, at: Timestamp, message: &mut Message) {
    sample.measured_at = Some(at);
    sample.period = Some(Period {
        stamp: PeriodEnd::End,
        length: Duration::ZERO,
    });
    message.samples.push(sample);
}

fn state(name: &str, channel: u16, code: u8, at: Timestamp, message: &mut Message) {
    match Quantity::named(name) {
        Some(quantity) => {
            let sample = Sample::new(quantity, channel, f64::from(code));
            push(sample, at, message);
        }
        // A test holds that the dictionary has them.
        None => message.refused.push(Refused::new(Refusal::UnknownQuantity, name)),
    }
}

fn fire(bits: u16, at: Timestamp, message: &mut Message) {
    let code = if bits & FIRE != 0 {
        1
    } else {
        u8::from(bits & FAULT != 0) * 2
    };
    state("fire_alarm", 0, code, at, message);
}

fn states(bits: u16, which: &[(u16, &str)], at: Timestamp, message: &mut Message) {
    for (bit, name) in which {
        state(name, 0, u8::from(bits >> bit & 1 == 1), at, message);
    }
}

fn operation(flag: u16, at: Timestamp, message: &mut Message) {
    if flag & MANUAL_ALARM != 0 {
        state("manual_alarm", 0, 1, at, message);
    } else if flag & (RESET | ALARM_CLEARED) != 0 {
        state("manual_alarm", 0, 0, at, message);
    }
    for bit in 0..N_OPERATIONS {
        state("fire_operation", bit, u8::from(flag >> bit & 1 == 1), at, message);
    }
    if flag >> N_OPERATIONS != 0 {
        message.unread.push("reserved_operation_bit");
    }
}

/// Names set bits that the standard keeps for later.
fn reserved(bits: u16, which: u16, message: &mut Message) {
    if bits & which != 0 {
        message.unread.push("reserved_state_bit");
    }
}

fn alarms(bits: u16, which: &[u16], at: Timestamp, message: &mut Message) {
    for bit in which {
        let code = u8::from(bits >> bit & 1 == 1);
        state("station_alarm", *bit, code, at, message);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::gbt26875::{Text, decode};

    fn received() -> Timestamp {
        Timestamp::parse("2026-11-23T08:30:05+08:00").unwrap()
    }

    fn said(kind: u8, objects: Vec<Object>) -> Vec<(String, Vec<String>)> {
        let application = Application::of(kind, objects);
        let frame = Frame {
            sequence: 1,
            version: [1, 0],
            time: Time::of(
                Timestamp::parse("2026-11-23T08:30:00+08:00").unwrap(),
                Clock::Binary,
            ),
            source: "790300000000".parse().unwrap(),
            destination: "385b01000000".parse().unwrap(),
            command: 2,
            data: application.write().unwrap(),
        };
        let view = decode(&frame.encode().unwrap()).unwrap();
        let all = readings(
            &view.frame,
            view.application.as_ref().unwrap(),
            Clock::Either,
            received(),
        );
        all.iter()
            .map(|one| (one.device(), lines(&one.message)))
            .collect()
    }

    fn lines(message: &Message) -> Vec<String> {
        let samples = message.samples.iter().map(|sample| {
            let value = sample
                .scaling
                .apply(sample.quantity, sample.value.number().unwrap())
                .unwrap();
            let at = sample.measured_at.unwrap_or_else(received).to_string();
            format!("{}#{} {value:.3} {}", sample.quantity, sample.channel, &at[5..19])
        });
        samples
            .chain(message.unread.iter().map(|what| format!("unread {what}")))
            .chain(
                message
                    .refused
                    .iter()
                    .map(|r| format!("{}: {}", r.refusal, r.detail)),
            )
            .collect()
    }

    const SYSTEM: System = System { kind: 1, address: 1 };
    const NO_TIME: Time = Time([0; 6]);

    fn component(kind: u8) -> Component {
        Component {
            system: SYSTEM,
            kind,
            address: [0x0A, 0, 2, 0],
        }
    }

    #[test]
    fn a_fire_goes_before_a_fault() {
        let text = Text::padded("").unwrap();
        let one = |state| {
            let object = Object::ComponentState {
                component: component(40),
                state,
                text: text.clone(),
                time: NO_TIME,
            };
            said(2, vec![object])
        };
        for (bits, code, set) in [
            (2, 1, ""),
            (6, 1, ""),
            (4, 2, ""),
            (1, 0, "fire_watch"),
            (0, 0, ""),
            (9, 0, "fire_watch fire_shielded"),
            (0xF0, 0, "fire_supervised fire_started fire_feedback fire_delayed"),
        ] {
            let said = one(bits);
            assert_eq!(said[0].0, "790300000000:1.1:0a000200");
            let lines = &said[0].1;
            assert_eq!(lines[0], format!("fire_alarm#0 {code}.000 11-23T08:30:00"));
            let mut want = STATES.map(|(_, name)| {
                let code = u8::from(set.split(' ').any(|one| one == name));
                format!("{name}#0 {code}.000 11-23T08:30:00")
            });
            assert_eq!(lines[1..7], want, "{bits:04x}");
            want[0] = "station_alarm#8 0.000 11-23T08:30:00".to_owned();
            assert_eq!(lines[7..], want[..1]);
        }
    }

    #[test]
    fn an_operation_is_a_reading_and_a_manual_alarm_stays_until_it_is_ended() {
        let told = |flag| {
            let time = NO_TIME;
            let object = Object::DeviceOperation {
                flag,
                operator: 1,
                time,
            };
            let own = said(24, vec![object]).remove(0);
            assert_eq!(own.0, "790300000000");
            let object = Object::SystemOperation {
                system: SYSTEM,
                flag,
                operator: 1,
                time,
            };
            let system = said(4, vec![object]).remove(0);
            assert_eq!((system.0.as_str(), &system.1), ("790300000000:1.1", &own.1));
            let set = |line: &&String| !line.contains(" 0.000 ") || line.starts_with("manual");
            let all = own
                .1
                .iter()
                .filter(set)
                .map(|line| line.trim_end_matches("00 11-23T08:30:00").to_owned());
            all.collect::<Vec<_>>()
        };
        assert_eq!(told(0x04), ["manual_alarm#0 1.0", "fire_operation#2 1.0"]);
        assert_eq!(told(0x01), ["manual_alarm#0 0.0", "fire_operation#0 1.0"]);
        assert_eq!(told(0x08), ["manual_alarm#0 0.0", "fire_operation#3 1.0"]);
        assert_eq!(told(0x02), ["fire_operation#1 1.0"]);
        assert_eq!(
            told(0x82),
            ["fire_operation#1 1.0", "unread reserved_operation_bit"]
        );
        assert_eq!(told(0), [""; 0]);
    }

    #[test]
    fn systems_and_the_device_itself_are_apart() {
        let all = said(
            1,
            vec![Object::SystemState {
                system: SYSTEM,
                state: 0x0100,
                time: NO_TIME,
            }],
        );
        assert_eq!(all[0].0, "790300000000:1.1");
        assert!(
            all[0]
                .1
                .contains(&"station_alarm#8 1.000 11-23T08:30:00".to_owned())
        );
        let all = said(
            21,
            vec![Object::DeviceState {
                state: 0x09,
                time: NO_TIME,
            }],
        );
        assert_eq!(all[0].0, "790300000000");
        assert_eq!(
            all[0].1[..2],
            [
                "fire_alarm#0 0.000 11-23T08:30:00",
                "fire_watch#0 1.000 11-23T08:30:00"
            ]
        );
        assert!(
            all[0]
                .1
                .contains(&"station_alarm#3 1.000 11-23T08:30:00".to_owned())
        );
        let all = said(
            1,
            vec![Object::SystemState {
                system: SYSTEM,
                state: 0x7800,
                time: NO_TIME,
            }],
        );
        for (_, name) in OF_SYSTEMS {
            let line = format!("{name}#0 1.000 11-23T08:30:00");
            assert!(all[0].1.contains(&line), "{line}");
        }
        assert!(all[0].1.contains(&"unread reserved_state_bit".to_owned()));
    }

    #[test]
    fn analogue_values_have_their_steps() {
        let one = |part, kind, value| {
            let object = Object::Analogue {
                component: component(part),
                kind,
                value,
                time: NO_TIME,
            };
            said(3, vec![object]).remove(0).1.remove(0)
        };
        for (part, kind, value, want) in [
            (99, 4, 4, "pipe_pressure#0 0.400 11-23T08:30:00"),
            (99, 5, 350, "pipe_pressure#0 0.035 11-23T08:30:00"),
            (18, 3, -55, "temperature#0 -5.500 11-23T08:30:00"),
            (10, 6, 125, "combustible_gas#0 12.500 11-23T08:30:00"),
            (91, 10, 300, "flow#0 0.030 11-23T08:30:00"),
            (91, 11, 600, "flow#0 1.000 11-23T08:30:00"),
            (92, 2, 235, "water_depth#0 2.350 11-23T08:30:00"),
            (
                91,
                2,
                235,
                "unknown_quantity: analogue type 2 of component type 91: it says nothing certain of this component",
            ),
            (
                91,
                200,
                1,
                "unknown_quantity: analogue type 200 of component type 91: it says nothing certain of this component",
            ),
        ] {
            assert_eq!(one(part, kind, value), want);
        }
    }

    #[test]
    fn what_a_wrong_clock_says_is_by_the_time_of_receipt() {
        let second = Timestamp::from_ms(1_795_392_000_000);
        let received_at = Timestamp::from_ms(second.ms() + 700);
        let stamped = |ahead_s: i64| {
            let object = Object::SystemState {
                system: SYSTEM,
                state: 2,
                time: NO_TIME,
            };
            let mut one = ObjectReadings {
                source: "790300000000".parse().unwrap(),
                system: Some(SYSTEM),
                component: None,
                message: message(&object, Timestamp::from_ms(second.ms() + ahead_s * 1000)),
            };
            happened_by(std::slice::from_mut(&mut one), received_at);
            let sample = one.message.samples[0].clone();
            (
                sample.measured_at,
                sample.quality.has(Quality::CLOCK_OFF),
                one.message.sent_at.is_some(),
            )
        };
        assert_eq!(stamped(0), (Some(second), false, false));
        let yesterday = Timestamp::from_ms(second.ms() - 86_400_000);
        assert_eq!(stamped(-86_400), (Some(yesterday), false, false));
        assert_eq!(
            stamped(100),
            (Some(second), false, true),
            "not later than it came"
        );
        assert_eq!(stamped(600), (None, true, true));
        assert_eq!(stamped(-26 * 365 * 86_400), (None, true, true));
    }

    #[test]
    fn records_are_no_measurements_and_a_wrong_time_stands_in_nobodys_way() {
        let version = said(25, vec![Object::DeviceVersion { main: 1, user: 0 }]);
        assert_eq!(
            version,
            [(
                "790300000000".to_owned(),
                vec!["unread device_version".to_owned()]
            )]
        );
        let time = Time([0xFF; 6]);
        let all = said(
            1,
            vec![Object::SystemState {
                system: SYSTEM,
                state: 2,
                time,
            }],
        );
        assert!(all[0].1[0].starts_with("fire_alarm"), "{:?}", all[0].1);
    }
}

//! Readings out of a frame: states of systems and components, analogue values.
//!
//! A transmission device speaks for a building. Its own state is its own; a system and a component are named after it
//! ([`ObjectReadings::device`]). Records of operations, versions and configurations are no measurements.

use std::time::Duration;

use onemap_model::{Quantity, Refusal, Timestamp};

use super::codes::analogue;
use super::{Address, Application, Clock, Component, Frame, Object, System, Time};
use crate::profile::{Period, Stamp as PeriodEnd};
use crate::{Message, Refused, Sample, Scaling};

const FIRE: u16 = 1 << 1;
const FAULT: u16 = 1 << 2;
const SHIELDED: u16 = 1 << 3;

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
/// A fire is `fire_alarm` 1, a fault without one 2, neither is 0. Bit 0 (normal, not test) is not looked at: alarms of the
/// field come with it unset. Without a time of its own an object has the frame's.
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
        let (system, component) = match object {
            Object::SystemState { system, .. } => (Some(*system), None),
            Object::ComponentState { component, .. } | Object::Analogue { component, .. } => {
                (None, Some(*component))
            }
            Object::DeviceState { .. } => (None, None),
            _ => continue,
        };
        let at = stamp(frame, object, clock, received_at);
        let message = match at {
            Ok(at) => message(object, at),
            Err(detail) => Message::refused(Refusal::WrongShape, detail),
        };
        match all
            .iter_mut()
            .find(|one| one.system == system && one.component == component)
        {
            Some(one) => {
                one.message.samples.extend(message.samples);
                one.message.refused.extend(message.refused);
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
        all.push(ObjectReadings {
            source: frame.source,
            system: None,
            component: None,
            message: Message::refused(Refusal::UnknownQuantity, detail),
        });
    }
    all
}

fn stamp(frame: &Frame, object: &Object, clock: Clock, received_at: Timestamp) -> Result<Timestamp, String> {
    let own = object
        .time()
        .filter(|time| *time != Time([0; 6]))
        .unwrap_or(frame.time);
    own.moment(clock, Some(received_at))
        .ok_or_else(|| format!("the time {:02x?} is no time", own.0))
}

fn message(object: &Object, at: Timestamp) -> Message {
    let mut message = Message::default();
    match object {
        Object::SystemState { state, .. } => {
            state_samples(*state, at, &mut message);
            // Main power, backup power, bus.
            alarms(*state, &[8, 9, 10], at, &mut message);
        }
        Object::ComponentState { state, .. } => {
            state_samples(*state, at, &mut message);
            alarms(*state, &[8], at, &mut message);
        }
        Object::DeviceState { state, .. } => {
            let state = u16::from(*state);
            fire(state, at, &mut message);
            // Main power, backup power, link to the centre, monitored line.
            alarms(state, &[3, 4, 5, 6], at, &mut message);
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

fn state_samples(bits: u16, at: Timestamp, message: &mut Message) {
    fire(bits, at, message);
    state("fire_shielded", 0, u8::from(bits & SHIELDED != 0), at, message);
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
            let at = sample.measured_at.unwrap().to_string();
            format!("{}#{} {value:.3} {}", sample.quantity, sample.channel, &at[5..19])
        });
        samples
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
        for (state, code, shielded) in [(2, 1, 0), (6, 1, 0), (4, 2, 0), (1, 0, 0), (0, 0, 0), (9, 0, 1)] {
            let want = vec![
                format!("fire_alarm#0 {code}.000 11-23T08:30:00"),
                format!("fire_shielded#0 {shielded}.000 11-23T08:30:00"),
                "station_alarm#8 0.000 11-23T08:30:00".to_owned(),
            ];
            assert_eq!(one(state), [("790300000000:1.1:0a000200".to_owned(), want)]);
        }
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
                "station_alarm#3 1.000 11-23T08:30:00"
            ]
        );
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
    fn records_are_no_measurements_and_a_wrong_time_is_refused() {
        assert!(said(25, vec![Object::DeviceVersion { main: 1, user: 0 }]).is_empty());
        let time = Time([0xFF; 6]);
        let all = said(
            1,
            vec![Object::SystemState {
                system: SYSTEM,
                state: 2,
                time,
            }],
        );
        assert!(all[0].1[0].starts_with("wrong_shape: the time"), "{:?}", all[0].1);
    }
}

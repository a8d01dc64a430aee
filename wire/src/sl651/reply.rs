//! What a centre answers and asks, and what a station sends: frames from their parts.

use onemap_model::Timestamp;

use super::body::{Body, Content};
use super::frame::Packet;
use super::{
    Control, Definition, Direction, Element, Encoding, End, Frame, Group, Number, Parameter, Stamp, Station,
    Table,
};

/// Function of a keep-alive, which is never answered.
pub const KEEP_ALIVE: u8 = 0x2F;

/// How station and centre speak with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The station reports, nobody answers.
    M1,
    /// The station reports, every frame is answered.
    M2,
    /// The station sends all packets, then they are answered once.
    M3,
    /// The centre asks.
    M4,
}

/// The end character of the answer to a good frame; `None` when none is due.
///
/// In M3 only the last packet is answered here: with [`End::Nak`] instead when [`super::Packets`] still misses
/// one. `stay` asks the station to stay awake for commands.
pub fn due(frame: &Frame, mode: Mode, stay: bool) -> Option<End> {
    if frame.direction == Direction::Down || frame.function == KEEP_ALIVE || mode == Mode::M1 {
        return None;
    }
    match (frame.end, mode) {
        (End::Etb, Mode::M3) => None,
        (End::Etb, _) => Some(End::Ack),
        _ if stay => Some(End::Esc),
        _ => Some(End::Eot),
    }
}

/// The answer to a station's frame: same station, centre, password, function and writing, its serial number, and the
/// time at the centre, by which many stations set their clocks. `serial` is the message's, which only its first
/// packet carries. `packet` in M3: the last packet's number with EOT or ESC, the first bad one's with NAK.
///
/// Give it after the message is durable; answer a repeat again.
pub fn answer(to: &Frame, serial: u16, now: Timestamp, end: End, packet: Option<Packet>) -> Frame {
    let body = Body::plain(serial, Stamp::of(now, 12));
    Frame {
        direction: Direction::Down,
        packet,
        body: body.write(to.encoding).unwrap_or_default(),
        end,
        addresses_swapped: false,
        ..to.clone()
    }
}

/// Whom a frame is for and how it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// Station.
    pub station: Station,
    /// Centre.
    pub centre: u8,
    /// Password of the station.
    pub password: u16,
    /// HEX or ASCII.
    pub encoding: Encoding,
}

impl Line {
    /// The line that a frame came on.
    pub fn of(frame: &Frame) -> Self {
        Self {
            station: frame.station,
            centre: frame.centre,
            password: frame.password,
            encoding: frame.encoding,
        }
    }

    /// A frame of this line. `None` when the content does not fit its function's form (see [`Body::write`]).
    pub fn frame(&self, function: u8, end: End, body: &Body) -> Option<Frame> {
        Some(Frame {
            encoding: self.encoding,
            direction: end.direction(),
            centre: self.centre,
            station: self.station,
            password: self.password,
            function,
            packet: None,
            body: body.write(self.encoding)?,
            end,
            addresses_swapped: false,
        })
    }

    /// A question or command; its serial number is 0 in the standard, though centres also number them.
    pub fn ask(&self, serial: u16, now: Timestamp, question: &Question) -> Option<Frame> {
        let body = Body {
            serial: Some(serial),
            sent: Some(Stamp::of(now, 12)),
            content: question.content(),
        };
        self.frame(question.function(), End::Enq, &body)
    }

    /// A station's report of groups, whole; [`super::split`] cuts it.
    pub fn report(&self, function: u8, serial: u16, now: Timestamp, groups: Vec<Group>) -> Option<Frame> {
        let body = Body {
            serial: Some(serial),
            sent: Some(Stamp::of(now, 12)),
            content: Content::Groups { groups, n_cut: 0 },
        };
        self.frame(function, End::Etx, &body)
    }
}

/// What a centre asks or commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// 36: take a picture.
    Picture,
    /// 37: values now.
    Present,
    /// 38: an element over whole hours, both included, every `step` (days, hours, minutes in BCD, one not zero).
    Period {
        /// First hour.
        from: Timestamp,
        /// Last hour.
        to: Timestamp,
        /// Step.
        step: [u8; 3],
        /// Element.
        element: (Element, Definition),
    },
    /// 39: what was typed in by hand.
    Manual,
    /// 3A: named elements.
    Elements(Vec<(Element, Definition)>),
    /// 40, 42: set items of a table.
    Set(Table, Vec<Parameter>),
    /// 41, 43: read items of a table.
    Read(Table, Vec<(Element, Definition)>),
    /// 44: voltages and currents of the pump motor.
    PumpMotor,
    /// 45: version of the software.
    Version,
    /// 46: state and alarms.
    State,
    /// 47: clear the memory.
    ClearMemory,
    /// 48: back to the factory's settings.
    FactoryReset,
    /// 49: another password.
    Password {
        /// The one that holds.
        old: u16,
        /// The one to be.
        new: u16,
    },
    /// 4A: the send time becomes the station's clock.
    SetClock,
    /// 4B: state bits with the card's.
    Card(u32),
    /// 4C: pumps.
    Pumps(Vec<bool>),
    /// 4D: valves.
    Valves(Vec<bool>),
    /// 4E: gates and their openings.
    Gates(Vec<(bool, Number)>),
    /// 4F: control of a fixed quantity.
    FixedQuantity(bool),
    /// 50: event counters.
    Events,
    /// 51: the station's clock.
    Clock,
}

impl Question {
    /// The function code.
    pub fn function(&self) -> u8 {
        match self {
            Question::Picture => 0x36,
            Question::Present => 0x37,
            Question::Period { .. } => 0x38,
            Question::Manual => 0x39,
            Question::Elements(_) => 0x3A,
            Question::Set(Table::Basic, _) => 0x40,
            Question::Read(Table::Basic, _) => 0x41,
            Question::Set(Table::Run, _) => 0x42,
            Question::Read(Table::Run, _) => 0x43,
            Question::PumpMotor => 0x44,
            Question::Version => 0x45,
            Question::State => 0x46,
            Question::ClearMemory => 0x47,
            Question::FactoryReset => 0x48,
            Question::Password { .. } => 0x49,
            Question::SetClock => 0x4A,
            Question::Card(_) => 0x4B,
            Question::Pumps(_) => 0x4C,
            Question::Valves(_) => 0x4D,
            Question::Gates(_) => 0x4E,
            Question::FixedQuantity(_) => 0x4F,
            Question::Events => 0x50,
            Question::Clock => 0x51,
        }
    }

    pub(super) fn content(&self) -> Content {
        let control = |control| Content::Control {
            station: None,
            control: Some(control),
        };
        let parameters = |items| Content::Parameters { station: None, items };
        let groups = |groups| Content::Groups { groups, n_cut: 0 };
        match self {
            Question::Period {
                from,
                to,
                step,
                element,
            } => Content::Period {
                from: Stamp::of(*from, 8),
                to: Stamp::of(*to, 8),
                step: *step,
                element: *element,
            },
            Question::Elements(asked) => Content::Asked(asked.clone()),
            Question::Read(table, asked) => Content::AskedItems(*table, asked.clone()),
            Question::Set(_, items) => parameters(items.clone()),
            Question::Password { old, new } => parameters(
                [old, new]
                    .map(|password| Parameter {
                        table: Table::Basic,
                        element: Element(0x03),
                        definition: Definition(0x10),
                        raw: password.to_be_bytes().to_vec(),
                    })
                    .to_vec(),
            ),
            Question::ClearMemory => control(Control::Confirm(0x97)),
            Question::FactoryReset => control(Control::Confirm(0x98)),
            Question::Card(bits) => groups(vec![Group::State(*bits)]),
            Question::Pumps(on) | Question::Valves(on) => control(Control::Switches(on.clone())),
            Question::Gates(gates) => control(Control::Gates(gates.clone())),
            Question::FixedQuantity(is_on) => control(Control::FixedQuantity(*is_on)),
            Question::Picture
            | Question::Present
            | Question::Manual
            | Question::PumpMotor
            | Question::Version
            | Question::State
            | Question::SetClock
            | Question::Events
            | Question::Clock => groups(Vec::new()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::hex;
    use crate::sl651::decode;

    fn frame(text: &str) -> Frame {
        Frame::decode(&hex::read(text.as_bytes()).unwrap()).unwrap()
    }

    fn written(frame: &Frame) -> String {
        hex::upper(&frame.encode().unwrap())
    }

    fn moment(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    const TIMED: &str = "7E7E05001122334403E832002B020034170718110016F1F1001122334448F0F01707181100201900004026190000403923000104903812109903A421";

    #[test]
    fn an_answer_lets_the_station_sleep_or_keeps_it_awake() {
        let report = frame(TIMED);
        let now = moment("2017-07-18T11:00:18+08:00");
        for (stay, want) in [
            (false, "7E7E00112233440503E8328008020034170718110018044D91"),
            (true, "7E7E00112233440503E83280080200341707181100181B85D0"),
        ] {
            let end = due(&report, Mode::M2, stay).unwrap();
            assert_eq!(written(&answer(&report, 52, now, end, None)), want);
        }
        assert_eq!(due(&report, Mode::M1, false), None);
        let mut part = report.clone();
        part.end = End::Etb;
        assert_eq!(due(&part, Mode::M2, false), Some(End::Ack));
        assert_eq!(due(&part, Mode::M3, false), None);
        let alive = frame("7E7E01001234567812342F0008020003591011155111036BCA");
        assert_eq!(due(&alive, Mode::M2, true), None);
    }

    #[test]
    fn a_nak_names_the_packet_to_send_again() {
        let line = Line {
            station: "0012345678".parse().unwrap(),
            centre: 1,
            password: 0x1234,
            encoding: Encoding::Hex,
        };
        let now = moment("2017-07-18T11:00:18+08:00");
        let picture = line.report(0x36, 5, now, Vec::new()).unwrap();
        let packet = Packet { total: 13, number: 3 };
        let nak = answer(&picture, 5, now, End::Nak, Some(packet));
        assert_eq!(
            written(&nak),
            "7E7E001234567801123436800B1600D003000517071811001815".to_owned() + &written(&nak)[52..]
        );
        assert_eq!(
            Frame::decode(&nak.encode().unwrap()).unwrap().packet,
            Some(packet)
        );
    }

    #[test]
    fn every_question_reads_back_as_it_was_asked() {
        let line = Line::of(&frame(TIMED));
        let now = moment("2024-01-11T16:30:34+08:00");
        let level = (Element(0x39), Definition(0x23));
        let item = Parameter {
            table: Table::Run,
            element: Element(0x20),
            definition: Definition(0x08),
            raw: vec![1],
        };
        let gate = vec![(true, Number::of_bcd(&[0x01, 0x20], 0))];
        let questions = [
            (Question::Picture, ""),
            (Question::Present, ""),
            (
                Question::Period {
                    from: moment("2024-01-10T08:00:00+08:00"),
                    to: moment("2024-01-11T08:00:00+08:00"),
                    step: [0, 1, 0],
                    element: level,
                },
                "240110082401110804180001003923",
            ),
            (Question::Manual, ""),
            (
                Question::Elements(vec![
                    (Element(0xF4), Definition(0x60)),
                    (Element(0xFF11), Definition(0x23)),
                ]),
                "F460FF1123",
            ),
            (Question::Set(Table::Run, vec![item.clone()]), "200801"),
            (
                Question::Read(Table::Basic, vec![(Element(0x01), Definition(0x20))]),
                "0120",
            ),
            (Question::PumpMotor, ""),
            (Question::Version, ""),
            (Question::State, ""),
            (Question::ClearMemory, "9700"),
            (Question::FactoryReset, "9800"),
            (
                Question::Password {
                    old: 0x1234,
                    new: 0xABCD,
                },
                "031012340310ABCD",
            ),
            (Question::SetClock, ""),
            (Question::Card(0x0000_0200), "452000000200"),
            (Question::Pumps(vec![true, false, true]), "0305"),
            (Question::Valves(vec![true; 9]), "09FF01"),
            (Question::Gates(gate), "01010120"),
            (Question::FixedQuantity(true), "FF"),
            (Question::Events, ""),
            (Question::Clock, ""),
        ];
        for (question, body) in questions {
            let asked = line.ask(0, now, &question).unwrap();
            assert_eq!(
                hex::upper(&asked.body),
                format!("0000240111163034{body}"),
                "{question:?}"
            );
            let view = decode(&asked.encode().unwrap()).unwrap();
            assert_eq!(view.body.content, question.content(), "{question:?}");
            assert_eq!(view.frame, asked);
        }
        let clock = line
            .ask(0, moment("2017-07-18T11:00:18+08:00"), &Question::Clock)
            .unwrap();
        assert_eq!(
            written(&clock),
            "7E7E00112233440503E85180080200001707181100180509D6"
        );
    }
}

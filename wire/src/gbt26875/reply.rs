//! What a centre answers and asks, and what a device answers: frames from their parts.

use onemap_model::Timestamp;

use super::{Address, Application, Clock, Component, Frame, Object, System, Time};

/// What is due for a good frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Command 3 within 10 s; without it the frame comes again, up to three times.
    Acknowledgement,
    /// Command 5 with what was asked.
    Response,
    /// Nothing.
    Nothing,
}

/// What is due: controls (1) and data (2) are acknowledged, requests (4) are responded to. Users' types of data are
/// acknowledged too.
pub fn due(frame: &Frame) -> Due {
    match frame.command {
        1 | 2 => Due::Acknowledgement,
        4 => Due::Response,
        _ => Due::Nothing,
    }
}

fn answer(to: &Frame, command: u8, now: Timestamp, clock: Clock) -> Frame {
    Frame {
        time: Time::of(now, clock),
        source: to.destination,
        destination: to.source,
        command,
        data: Vec::new(),
        ..to.clone()
    }
}

/// The acknowledgement (3): same sequence and version, addresses swapped, no data. Give it after the frame is
/// durable; acknowledge a repeat again.
pub fn acknowledge(to: &Frame, now: Timestamp, clock: Clock) -> Frame {
    answer(to, 3, now, clock)
}

/// The refusal (6), of a frame whose envelope could be read and whose data could not. A frame with a wrong checksum has
/// no sender that is certain: it is dropped and comes again.
pub fn refuse(to: &Frame, now: Timestamp, clock: Clock) -> Frame {
    answer(to, 6, now, clock)
}

/// The response (5) to a request.
pub fn respond(to: &Frame, now: Timestamp, clock: Clock, data: &Application) -> Option<Frame> {
    let mut response = answer(to, 5, now, clock);
    response.data = data.write()?;
    Some(response)
}

/// One direction of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// Who sends.
    pub source: Address,
    /// For whom.
    pub destination: Address,
    /// Main and user's version; the standard's is `[1, 0]`.
    pub version: [u8; 2],
    /// How times are written.
    pub clock: Clock,
}

impl Line {
    /// A frame. `None` when a text does not fit its field.
    pub fn frame(&self, sequence: u16, now: Timestamp, command: u8, data: &Application) -> Option<Frame> {
        Some(Frame {
            sequence,
            version: self.version,
            time: Time::of(now, self.clock),
            source: self.source,
            destination: self.destination,
            command,
            data: data.write()?,
        })
    }

    /// A device sends data (2), whose type is `kind`.
    pub fn send(&self, sequence: u16, now: Timestamp, kind: u8, objects: Vec<Object>) -> Option<Frame> {
        self.frame(sequence, now, 2, &Application::of(kind, objects))
    }

    /// A centre asks (4) or controls (1).
    pub fn ask(&self, sequence: u16, now: Timestamp, question: &Question) -> Option<Frame> {
        let time = Time::of(now, self.clock);
        let start = |from: &Timestamp| Time::of(*from, self.clock);
        let reserved = |kind| (kind, vec![Object::Ask { reserved: 0 }]);
        let system = |kind, system: &System| (kind, vec![Object::AskSystem { system: *system }]);
        let component = |kind, one: &Component| (kind, vec![Object::AskComponent { component: *one }]);
        let (kind, objects) = match question {
            Question::SystemState(of) => system(61, of),
            Question::ComponentState(of) => component(62, of),
            Question::AnalogueValue(of) => component(63, of),
            Question::SystemLog(of, number, from) => {
                let (system, number) = (Some(*of), *number);
                let start = start(from);
                (
                    64,
                    vec![Object::AskLog {
                        system,
                        number,
                        start,
                    }],
                )
            }
            Question::SystemVersion(of) => system(65, of),
            Question::SystemConfiguration(of) => system(66, of),
            Question::ComponentConfiguration(of) => component(67, of),
            Question::SystemTime(of) => system(68, of),
            Question::DeviceState => reserved(81),
            Question::DeviceLog(number, from) => {
                let (system, number) = (None, *number);
                let start = start(from);
                (
                    84,
                    vec![Object::AskLog {
                        system,
                        number,
                        start,
                    }],
                )
            }
            Question::DeviceVersion => reserved(85),
            Question::DeviceConfiguration => reserved(86),
            Question::DeviceTime => reserved(88),
            Question::Initialise => reserved(89),
            Question::SetClock => (90, vec![Object::DeviceTime { time }]),
            Question::RollCall { minutes } => (91, vec![Object::RollCall { minutes: *minutes }]),
        };
        let command = if kind >= 89 { 1 } else { 4 };
        self.frame(sequence, now, command, &Application::of(kind, objects))
    }
}

/// What a centre asks or commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// 61.
    SystemState(System),
    /// 62.
    ComponentState(Component),
    /// 63.
    AnalogueValue(Component),
    /// 64: so many records from a time on.
    SystemLog(System, u8, Timestamp),
    /// 65.
    SystemVersion(System),
    /// 66.
    SystemConfiguration(System),
    /// 67.
    ComponentConfiguration(Component),
    /// 68.
    SystemTime(System),
    /// 81.
    DeviceState,
    /// 84: so many records from a time on.
    DeviceLog(u8, Timestamp),
    /// 85.
    DeviceVersion,
    /// 86.
    DeviceConfiguration,
    /// 88.
    DeviceTime,
    /// 89.
    Initialise,
    /// 90: to the time of the frame.
    SetClock,
    /// 91: somebody is to answer within so many minutes.
    RollCall {
        /// Minutes.
        minutes: u8,
    },
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn upper(frame: &Frame) -> String {
        frame
            .encode()
            .unwrap()
            .iter()
            .map(|b| format!("{b:02X}"))
            .collect()
    }

    fn line() -> Line {
        Line {
            source: "385b01000000".parse().unwrap(),
            destination: "790300000000".parse().unwrap(),
            version: [1, 0],
            clock: Clock::Binary,
        }
    }

    #[test]
    fn commands_are_the_standards() {
        let now = Timestamp::parse("2026-11-23T08:30:00+08:00").unwrap();
        let asked = |sequence, question| upper(&line().ask(sequence, now, &question).unwrap());
        assert_eq!(
            asked(7, Question::RollCall { minutes: 10 }),
            "404007000100001E08170B1A385B010000007903000000000300015B010AE42323"
        );
        assert_eq!(
            asked(9, Question::SetClock),
            "404009000100001E08170B1A385B010000007903000000000800015A01001E08170B1A422323"
        );
    }

    #[test]
    fn an_answer_repeats_the_sequence_and_swaps_the_addresses() {
        let now = Timestamp::parse("2026-11-23T08:30:00+08:00").unwrap();
        let frame = line().ask(7, now, &Question::DeviceState).unwrap();
        assert_eq!((due(&frame), frame.command), (Due::Response, 4));
        let answer = acknowledge(&frame, now, Clock::Binary);
        assert_eq!(
            (
                answer.sequence,
                answer.source,
                answer.destination,
                answer.command,
                answer.data.len()
            ),
            (7, frame.destination, frame.source, 3, 0)
        );
        assert_eq!(due(&answer), Due::Nothing);
        assert_eq!(refuse(&frame, now, Clock::Binary).command, 6);
    }

    #[test]
    fn every_question_reads_back() {
        let now = Timestamp::parse("2026-11-23T08:30:00+08:00").unwrap();
        let system = System { kind: 1, address: 2 };
        let component = Component {
            system,
            kind: 40,
            address: [1, 2, 3, 4],
        };
        for (kind, question) in [
            (61, Question::SystemState(system)),
            (62, Question::ComponentState(component)),
            (63, Question::AnalogueValue(component)),
            (64, Question::SystemLog(system, 5, now)),
            (65, Question::SystemVersion(system)),
            (66, Question::SystemConfiguration(system)),
            (67, Question::ComponentConfiguration(component)),
            (68, Question::SystemTime(system)),
            (81, Question::DeviceState),
            (84, Question::DeviceLog(5, now)),
            (85, Question::DeviceVersion),
            (86, Question::DeviceConfiguration),
            (88, Question::DeviceTime),
            (89, Question::Initialise),
            (90, Question::SetClock),
            (91, Question::RollCall { minutes: 3 }),
        ] {
            let frame = line().ask(1, now, &question).unwrap();
            assert_eq!(frame.command, if kind >= 89 { 1 } else { 4 });
            let read = frame.read().unwrap().unwrap();
            assert_eq!((read.kind, read.objects.len()), (kind, 1), "{question:?}");
            assert_eq!(read.write().unwrap(), frame.data);
        }
    }
}

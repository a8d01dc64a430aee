//! What holds for every frame: it reads back as it was written, a changed byte is seen, foreign bytes do no harm.

use onemap_model::Timestamp;
use proptest::prelude::*;

use super::frame::Packet;
use super::reply::{Line, Question};
use super::{
    Body, Content, Decimal, Definition, Direction, Element, Encoding, End, Frame, Group, Limits, Number,
    Packets, Parameter, Stamp, Station, StationClass, Table, Taken, decode, split,
};

fn ends(direction: Direction) -> impl Strategy<Value = End> {
    match direction {
        Direction::Up => prop::sample::select(vec![End::Etx, End::Etb]),
        Direction::Down => prop::sample::select(vec![End::Enq, End::Ack, End::Nak, End::Eot, End::Esc]),
    }
}

prop_compose! {
    pub(crate) fn frames()(direction in prop::sample::select(vec![Direction::Up, Direction::Down]))
        (encoding in prop::sample::select(vec![Encoding::Hex, Encoding::Ascii]),
         centre in any::<u8>(), station in any::<[u8; 5]>(), password in any::<u16>(), function in any::<u8>(), direction in Just(direction), end in ends(direction),
         packet in prop::option::of((1u16..=4095, any::<u16>())),
         body in prop::collection::vec(any::<u8>(), 1..300)) -> Frame {
        let packet = packet.map(|(total, number)| Packet { total, number: number % total + 1 });
        Frame {
            encoding, direction, centre, station: Station(station), password, function, packet, body, end,
            addresses_swapped: false,
        }
    }
}

fn element() -> impl Strategy<Value = Group> {
    // Identifiers that are plain elements: not the arrays, the step, the state and the marks F0 to F3, FD.
    let code = prop_oneof![
        (1u16..=0xEF).prop_filter("a group of its own", |code| !matches!(code, 0x04 | 0x45)),
        0xFF00u16..=0xFFFF
    ];
    (code, 1usize..=8, 0u8..=7, any::<u64>(), any::<bool>()).prop_map(
        |(code, n_bytes, decimals, amount, negative)| {
            let room = if negative {
                n_bytes.saturating_sub(1)
            } else {
                n_bytes
            };
            let amount = i128::from(amount) % 10i128.pow(2 * room as u32);
            // A single byte has no room for a sign, and -0 is 0.
            let digits = if negative { -amount } else { amount };
            Group::Element {
                element: Element(code),
                definition: Definition::new(n_bytes, decimals),
                values: vec![Number::Value(Decimal { digits, decimals })],
                is_series: false,
            }
        },
    )
}

fn groups() -> impl Strategy<Value = Vec<Group>> {
    let one = prop_oneof![
        6 => element(),
        1 => prop::collection::vec(prop::option::of(0u8..=0xFE), 12).prop_map(Group::Rain),
        1 => (0xF5u16..=0xFC, prop::collection::vec(prop::option::of(0u16..=0xFFFE), 12))
            .prop_map(|(code, values)| Group::Levels { element: Element(code), values }),
        1 => any::<u32>().prop_map(Group::State),
        1 => (0i64..3_000_000_000_000).prop_map(|ms| Group::Observed(Stamp::of(Timestamp::from_ms(ms), 10))),
    ];
    let station = (any::<[u8; 5]>(), 0i64..3_000_000_000_000).prop_map(|(station, ms)| {
        let class = Some(StationClass(b'H'));
        let observed = Stamp::of(Timestamp::from_ms(ms), 10);
        vec![
            Group::Station {
                station: Station(station),
                class,
            },
            Group::Observed(observed),
        ]
    });
    (station, prop::collection::vec(one, 0..20)).prop_map(|(start, rest)| [start, rest].concat())
}

fn asked() -> impl Strategy<Value = (Element, Definition)> {
    let code = prop_oneof![1u16..=0xEF, 0xF4u16..=0xFC, 0xFF00u16..=0xFFFF];
    (code, any::<u8>()).prop_map(|(code, definition)| (Element(code), Definition(definition)))
}

fn parameters(table: Table) -> impl Strategy<Value = Vec<Parameter>> {
    let one = (1u16..=0xEF, prop::collection::vec(any::<u8>(), 0..=31), 0u8..=7);
    let one = one.prop_map(move |(code, raw, decimals)| Parameter {
        table,
        element: Element(code),
        definition: Definition::new(raw.len(), decimals).unwrap_or(Definition(0)),
        raw,
    });
    prop::collection::vec(one, 1..10)
}

fn questions() -> impl Strategy<Value = Question> {
    let hour = || (0i64..800_000).prop_map(|hour| Timestamp::from_ms(hour * 3_600_000));
    let switches = || prop::collection::vec(any::<bool>(), 1..=255);
    let gate = (any::<bool>(), 0i128..10_000)
        .prop_map(|(moves, digits)| (moves, Number::Value(Decimal { digits, decimals: 0 })));
    prop_oneof![
        prop::sample::select(vec![
            Question::Picture,
            Question::Present,
            Question::Manual,
            Question::PumpMotor,
            Question::Version,
            Question::State,
            Question::ClearMemory,
            Question::FactoryReset,
            Question::SetClock,
            Question::Events,
            Question::Clock,
        ]),
        (hour(), hour(), any::<[u8; 3]>(), asked()).prop_map(|(from, to, step, element)| Question::Period {
            from,
            to,
            step,
            element
        }),
        prop::collection::vec(asked(), 1..20).prop_map(Question::Elements),
        prop::collection::vec(asked(), 1..20).prop_map(|asked| Question::Read(Table::Basic, asked)),
        prop::collection::vec(asked(), 1..20).prop_map(|asked| Question::Read(Table::Run, asked)),
        parameters(Table::Basic).prop_map(|items| Question::Set(Table::Basic, items)),
        parameters(Table::Run).prop_map(|items| Question::Set(Table::Run, items)),
        any::<(u16, u16)>().prop_map(|(old, new)| Question::Password { old, new }),
        any::<u32>().prop_map(Question::Card),
        switches().prop_map(Question::Pumps),
        switches().prop_map(Question::Valves),
        prop::collection::vec(gate, 1..=255).prop_map(Question::Gates),
        any::<bool>().prop_map(Question::FixedQuantity),
    ]
}

fn report(function: u8, groups: Vec<Group>) -> (Frame, Body) {
    let body = Body {
        serial: Some(7),
        sent: Some(Stamp::of(Timestamp::from_ms(1_700_000_000_000), 12)),
        content: Content::Groups { groups, n_cut: 0 },
    };
    let frame = Frame {
        encoding: Encoding::Hex,
        direction: Direction::Up,
        centre: 1,
        station: Station([0, 0x12, 0x34, 0x56, 0x78]),
        password: 0,
        function,
        packet: None,
        body: body
            .write(Encoding::Hex)
            .expect("these groups have a binary form"),
        end: End::Etx,
        addresses_swapped: false,
    };
    (frame, body)
}

proptest! {
    #[test]
    fn a_frame_reads_back_as_it_was_written(frame in frames()) {
        prop_assume!(frame.body.get(8..10) != Some(&[0xF1, 0xF1]));
        let bytes = frame.encode().expect("every part is possible");
        prop_assert_eq!(Frame::decode(&bytes), Ok(frame));
    }

    #[test]
    fn a_changed_byte_is_seen(frame in frames(), at in any::<prop::sample::Index>(), other in 1u8..) {
        prop_assume!(frame.body.get(8..10) != Some(&[0xF1, 0xF1]));
        let mut bytes = frame.encode().expect("every part is possible");
        let at = at.index(bytes.len());
        bytes[at] ^= other;
        // The checksum of an ASCII frame may be written in small letters.
        if let Ok(read) = Frame::decode(&bytes) {
            prop_assert_eq!(read, frame);
        }
    }

    #[test]
    fn a_body_reads_back_as_it_was_written(groups in groups()) {
        let (frame, body) = report(0x32, groups);
        prop_assert_eq!(frame.read(), Ok(body));
    }

    #[test]
    fn a_question_reads_back_as_it_was_asked(question in questions(), serial in any::<u16>(), ms in 0i64..3_000_000_000_000) {
        let line = Line {
            station: Station([0, 0x12, 0x34, 0x56, 0x78]),
            centre: 1,
            password: 0x1234,
            encoding: Encoding::Hex,
        };
        let frame = line.ask(serial, Timestamp::from_ms(ms), &question).expect("every part is possible");
        let bytes = frame.encode().expect("a question fits a frame");
        let view = decode(&bytes).expect("a question reads back");
        prop_assert_eq!(&view.frame, &frame);
        prop_assert_eq!(&view.body.content, &question.content());
        prop_assert_eq!((view.body.serial, view.body.sent), (Some(serial), Some(Stamp::of(Timestamp::from_ms(ms), 12))));
    }

    #[test]
    fn what_a_station_says_of_a_question_does_no_harm(question in questions(), mut frame in frames(), function in 0x36u8..=0x51) {
        frame.function = function;
        frame.direction = Direction::Up;
        if let Ok(body) = frame.read() {
            let _ = question.fits(function, &body);
            let _ = question.outcome(&frame, &body);
        }
    }

    #[test]
    fn a_question_reads_back_from_its_text(question in questions(), serial in any::<u16>(), hours in 1u8..=9) {
        let line = Line { station: Station([0, 0x12, 0x34, 0x56, 0x78]), centre: 1, password: 0x1234, encoding: Encoding::Ascii };
        // Text has the elements of the dictionary, as long as is usual, and steps of one unit; of items no empty values.
        let usual = |(element, _): &(Element, Definition)| element.kind()?.usual_definition().map(|usual| (*element, usual));
        let level = (Element(0x39), Definition(0x23));
        let question = match question {
            Question::Period { from, to, element, .. } => Question::Period {
                from,
                to,
                step: [0, hours, 0],
                element: usual(&element).unwrap_or(level),
            },
            Question::Elements(asked) => Question::Elements(asked.iter().map(|one| usual(one).unwrap_or(level)).collect()),
            Question::Set(table, items) => {
                Question::Set(table, items.into_iter().filter(|item| !item.raw.is_empty()).collect())
            }
            Question::Read(table, asked) => {
                Question::Read(table, asked.into_iter().filter(|(element, _)| element.0 <= 0xFF).collect())
            }
            other => other,
        };
        let frame = line.ask(serial, Timestamp::from_ms(0), &question).expect("it has a text");
        if let Ok(bytes) = frame.encode() {
            let view = decode(&bytes).expect("it reads back");
            prop_assert_eq!(&view.body.content, &question.content());
        }
    }

    #[test]
    fn a_report_reads_back_from_its_text(groups in groups()) {
        let (_, body) = report(0x32, groups);
        // A value's length is not written; an element without a symbol has no text.
        let Content::Groups { groups, .. } = body.content else { unreachable!("a report has groups") };
        let groups: Vec<Group> = groups
            .into_iter()
            .filter_map(|group| match group {
                Group::Element { element, values, is_series, .. } => element.kind().is_some().then_some(Group::Element {
                    element,
                    definition: None,
                    values,
                    is_series,
                }),
                other => Some(other),
            })
            .collect();
        let body = Body { content: Content::Groups { groups, n_cut: 0 }, ..body };
        let frame = Frame {
            encoding: Encoding::Ascii,
            body: body.write(Encoding::Ascii).expect("it has a text"),
            ..report(0x32, Vec::new()).0
        };
        prop_assert_eq!(frame.read(), Ok(body));
    }

    #[test]
    fn any_body_with_a_good_envelope_does_no_harm(mut frame in frames(), groups in groups(), cut in any::<prop::sample::Index>()) {
        let _ = serde_json::to_value(frame.read().ok().map(|body| super::View { frame: frame.clone(), body }));
        frame.body = report(0x32, groups).0.body;
        frame.body.truncate(cut.index(frame.body.len()) + 1);
        let _ = frame.read();
    }

    #[test]
    fn any_bytes_are_refused_or_read(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        let _ = decode(&bytes);
    }

    #[test]
    fn packets_come_together_in_any_order(n in 100usize..3000, size in 50usize..400, order in any::<u64>()) {
        let (mut whole, _) = report(0x36, vec![Group::Picture((0..n).map(|i| (i * 7 % 251) as u8).collect())]);
        whole.function = 0x36;
        let mut packets = split(&whole, size).expect("few packets");
        let n_packets = packets.len() as u64;
        packets.sort_by_key(|frame| {
            frame.packet.map_or(0, |packet| u64::from(packet.number).wrapping_mul(order | 1) % (n_packets * 3 + 1))
        });
        let mut waiting = Packets::new(Limits::default());
        let mut got = None;
        for packet in packets.iter().chain(&packets[..packets.len() - 1]) {
            let (taken, ended) = waiting.take(Timestamp::from_ms(0), packet.clone());
            prop_assert!(ended.is_empty());
            if let Taken::Whole(frame) = taken {
                got.get_or_insert(frame);
            }
        }
        prop_assert_eq!(got, Some(whole));
    }
}

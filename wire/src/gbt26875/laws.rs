//! What holds for every frame: it reads back as it was written, a changed byte is seen, foreign bytes do no harm.

use onemap_model::Timestamp;
use proptest::prelude::*;

use super::{
    Address, Application, Clock, Component, Frame, Object, System, Text, Time, View, decode, readings,
};

prop_compose! {
    pub(crate) fn frames()(sequence in any::<u16>(), version in any::<[u8; 2]>(), time in any::<[u8; 6]>(),
                source in any::<[u8; 6]>(), destination in any::<[u8; 6]>(), command in any::<u8>(),
                data in prop::collection::vec(any::<u8>(), 0..200)) -> Frame {
        Frame { sequence, version, time: Time(time), source: Address(source), destination: Address(destination), command, data }
    }
}

prop_compose! {
    fn objects()(kind in any::<u8>(), address in any::<[u8; 4]>(), number in any::<u16>(), small in any::<u8>(),
                 time in any::<[u8; 6]>(), text in prop::collection::vec(any::<u8>(), 31..32),
                 long in prop::collection::vec(any::<u8>(), 0..255), which in 0usize..12) -> (u8, Object) {
        let (time, text, long) = (Time(time), Text(text), Text(long));
        let system = System { kind: small, address: kind };
        let component = Component { system, kind, address };
        match which {
            0 => (1, Object::SystemState { system, state: number, time }),
            1 => (2, Object::ComponentState { component, state: number, text, time }),
            2 => (3, Object::Analogue { component, kind: small, value: number as i16, time }),
            3 => (4, Object::SystemOperation { system, flag: small, operator: kind, time }),
            4 => (6, Object::SystemConfiguration { system, text: long }),
            5 => (7, Object::ComponentConfiguration { component, text }),
            6 => (21, Object::DeviceState { state: small, time }),
            7 => (24, Object::DeviceOperation { flag: small, operator: kind, time }),
            8 => (26, Object::DeviceConfiguration { text: long }),
            9 => (62, Object::AskComponent { component }),
            10 => (84, Object::AskLog { system: None, number: small, start: time }),
            _ => (5, Object::SystemVersion { system, main: small, minor: kind }),
        }
    }
}

proptest! {
    #[test]
    fn a_frame_reads_back_as_it_was_written(frame in frames()) {
        let bytes = frame.encode().expect("short data");
        prop_assert_eq!(Frame::decode(&bytes), Ok(frame));
    }

    #[test]
    fn a_changed_byte_is_seen(frame in frames(), at in any::<prop::sample::Index>(), other in 1u8..) {
        let mut bytes = frame.encode().expect("short data");
        let at = at.index(bytes.len());
        bytes[at] ^= other;
        prop_assert!(Frame::decode(&bytes).is_err());
    }

    #[test]
    fn objects_read_back_as_they_were_written((kind, object) in objects(), mut frame in frames(), several in 1usize..4) {
        let n = if matches!(kind, 5 | 21 | 26 | 84) { 1 } else { several };
        let application = Application::of(kind, vec![object; n]);
        frame.command = 2;
        frame.data = application.write().expect("texts of the right length");
        prop_assert_eq!(frame.read(), Ok(Some(application.clone())));
        readings(&frame, &application, Clock::Either, Timestamp::from_ms(0));
        // One object more than there are is refused.
        frame.data[1] = frame.data[1].wrapping_add(1);
        prop_assert!(frame.read().is_err());
    }

    #[test]
    fn any_data_do_no_harm(mut frame in frames(), command in 1u8..7, kind in 0u8..95) {
        frame.command = command;
        if let Some(first) = frame.data.first_mut() {
            *first = kind;
        }
        if let Ok(application) = frame.read() {
            if let Some(application) = &application {
                readings(&frame, application, Clock::Either, Timestamp::from_ms(0));
            }
            serde_json::to_value(View { frame, application }).expect("a view is JSON");
        }
    }

    #[test]
    fn any_bytes_are_refused_or_read(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        let _ = decode(&bytes);
    }
}

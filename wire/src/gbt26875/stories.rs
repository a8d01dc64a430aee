//! Frames made from the standard: what is read of them, and how bad ones are refused.

#![allow(clippy::unwrap_used)]

use serde_json::json;

use super::{Address, Application, Error, Frame, Object, System, Text, Time, decode};

fn frame(command: u8, data: Vec<u8>) -> Frame {
    Frame {
        sequence: 258,
        version: [1, 0],
        time: Time([0, 30, 8, 23, 11, 26]),
        source: Address([0x79, 3, 0, 0, 0, 0]),
        destination: Address([0x38, 0x5B, 1, 0, 0, 0]),
        command,
        data,
    }
}

#[test]
fn numbers_stand_low_byte_first() {
    let bytes = frame(3, Vec::new()).encode().unwrap();
    assert_eq!(bytes.len(), 30);
    assert_eq!(&bytes[..6], &[0x40, 0x40, 2, 1, 1, 0]);
    let view = serde_json::to_value(decode(&bytes).unwrap()).unwrap();
    assert_eq!(view["seq"], 258);
    assert_eq!(view["source"], "790300000000");
    assert_eq!(view["time"], "2026-11-23T08:30:00+08:00");
}

#[test]
fn bad_envelopes_have_names() {
    let good = frame(2, vec![25, 1, 1, 0]).encode().unwrap();
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        Frame::decode(&bytes).unwrap_err()
    };
    assert_eq!(with(1, 0), Error::NoStart { at: 0 });
    assert_eq!(with(25, 4), Error::Length { at: 24, got: 1028 });
    assert_eq!(with(24, 5).code(), "truncated");
    assert_eq!(with(33, 0x24), Error::End { at: 32 });
    assert_eq!(with(29, 7).code(), "checksum");
    assert_eq!(
        Frame::decode(&[&good[..], &[0]].concat()),
        Err(Error::Trailing { at: 34, extra: 1 })
    );
    assert_eq!(
        frame(2, vec![0; 1025]).encode(),
        Err(Error::Length { at: 24, got: 1025 })
    );
}

#[test]
fn counts_and_lengths_agree_or_the_data_are_refused() {
    let read = |command, data: &[u8]| frame(command, data.to_vec()).read();
    assert_eq!(read(2, &[25]).unwrap_err().code(), "data_end");
    assert_eq!(
        read(2, &[25, 1, 1]).unwrap_err(),
        Error::DataEnd {
            at: 30,
            what: "a version",
            need: 1
        }
    );
    assert_eq!(
        read(2, &[25, 1, 1, 0, 9]).unwrap_err(),
        Error::Surplus { at: 31, extra: 1 }
    );
    assert_eq!(read(2, &[25, 2, 1, 0, 1, 0]).unwrap_err().code(), "object_count");
    assert_eq!(read(2, &[26, 1, 3, 65, 66]).unwrap_err().code(), "data_end");
    assert_eq!(read(2, &[]), Ok(None));
    // What a user defines, and what an acknowledgement carries, is kept.
    assert_eq!(read(2, &[200, 9, 1, 2]).unwrap().unwrap().raw, [1, 2]);
    assert_eq!(read(3, &[25]).unwrap().unwrap().kind, 25);
}

#[test]
fn texts_are_gb18030_cut_and_trimmed() {
    for (bytes, want) in [
        (&b"\xC7\xF8 A \x00\x20junk"[..], "区 A"),
        (b"   ", ""),
        (b"no end", "no end"),
        (b"\x81\x30\x81\x30 ok", "\u{80} ok"),
    ] {
        assert_eq!(Text(bytes.to_vec()).read(), want);
    }
    let padded = Text::padded("三层走廊 smoke").unwrap();
    assert_eq!((padded.0.len(), padded.read().as_str()), (31, "三层走廊 smoke"));
    assert!(Text::padded("十六个汉字就是三十二个字节所以太长了").is_none());
}

#[test]
fn several_objects_stand_behind_each_other() {
    let object = |state| Object::SystemState {
        system: System { kind: 12, address: 3 },
        state,
        time: Time([0, 30, 8, 23, 11, 26]),
    };
    let application = Application::of(1, vec![object(0x0001), object(0x2802)]);
    let view = decode(&frame(2, application.write().unwrap()).encode().unwrap()).unwrap();
    let view = serde_json::to_value(view).unwrap();
    assert_eq!(view["objects"], 2);
    assert_eq!(view["items"][1]["state"], "2802");
    assert_eq!(view["items"][1]["state_bits"], json!([1, 11, 13]));
    assert_eq!(view["items"][0]["system"], "sprinklers");
}

//! HJ 212: frames of the field, the standard's examples, and frames that must be refused.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use onemap_wire::hj212::{
    self, Fault, FaultKind, Frame, Framer, Key, Piece, QnRtn, Quirk, Segment, crc, decode, encode, modbus_crc,
};
use serde_json::{Value, json};

/// A file of ../shared/standards/vectors; `None`, said aloud, when it is not there.
fn vectors(name: &str) -> Option<Value> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let path = root.join("shared/standards/vectors").join(name);
    match std::fs::read_to_string(&path) {
        Ok(text) => Some(serde_json::from_str(&text).unwrap()),
        Err(_) => {
            eprintln!("SKIPPED: {} is not there", path.display());
            None
        }
    }
}

fn pieces(bytes: &[u8], size: usize) -> Vec<Piece> {
    let mut framer = Framer::default();
    let mut all: Vec<Piece> = bytes.chunks(size).flat_map(|bytes| framer.push(bytes)).collect();
    all.extend(framer.give_up());
    all
}

fn one_frame(text: &str) -> Frame {
    let sent = format!("{text}\r\n").into_bytes();
    let mut all = pieces(&sent, sent.len());
    match (all.pop(), all.is_empty()) {
        (Some(Piece::Frame { frame, at: 0, bytes }), true) if bytes == sent => frame,
        other => panic!("{text}: {other:?}"),
    }
}

fn header(segment: &Segment) -> Value {
    let items = segment.header.iter();
    items
        .map(|i| (i.key.clone(), json!(i.value)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

#[test]
fn frames_of_the_field_read_as_they_are_written_down_and_encode_back() {
    let Some(file) = vectors("hj212.json") else { return };
    let positive = file["positive"].as_array().unwrap();
    assert!(positive.len() >= 27);
    for vector in positive {
        let id = &vector["id"];
        let text = vector["frame"].as_str().unwrap();
        let frame = one_frame(text);
        let segment = decode(&frame, None).unwrap();
        let want = &vector["decoded"];
        assert_eq!(header(&segment), want["header"], "{id}");
        assert_eq!(serde_json::to_value(&segment.cp).unwrap(), want["cp"], "{id}");
        let mut flag = serde_json::to_value(segment.flag()).unwrap();
        let mut want_flag = want["flag"].clone();
        if let (Some(flag), Some(want)) = (flag.as_object_mut(), want_flag.as_object_mut()) {
            // The vectors add a remark to the edition's name.
            let (name, remarked) = (flag.remove("version").unwrap(), want.remove("version").unwrap());
            assert!(
                remarked.as_str().unwrap().starts_with(name.as_str().unwrap()),
                "{id}"
            );
        }
        assert_eq!(flag, want_flag, "{id}");
        let upper = [
            &text[..text.len() - 4],
            &text[text.len() - 4..].to_uppercase(),
            "\r\n",
        ]
        .concat();
        assert_eq!(encode(&segment).unwrap(), upper.as_bytes(), "{id}");
        assert_eq!(
            segment.quirks.contains(&Quirk::LowerCaseCrc),
            frame.lower_case,
            "{id}"
        );
    }
}

#[test]
fn the_whole_file_as_one_stream_cut_anyhow_gives_its_frames_and_faults() {
    let Some(file) = vectors("hj212.json") else { return };
    let lines = |name: &str| -> Vec<String> {
        let list = file[name].as_array().unwrap().iter();
        list.map(|v| format!("{}\r\n", v["frame"].as_str().unwrap()))
            .collect()
    };
    let (good, bad) = (lines("positive"), lines("negative"));
    let mut stream = String::from("noise#");
    for (i, frame) in good.iter().enumerate() {
        stream.push_str(frame);
        stream.push_str(&bad[i % bad.len()]);
    }
    for piece in [1, 7, 64, 1000, stream.len()] {
        let all = pieces(stream.as_bytes(), piece);
        let mut frames = Vec::new();
        let mut n_bytes = 0;
        for piece in &all {
            let (at, bytes) = match piece {
                Piece::Frame { at, bytes, .. } => {
                    frames.push(bytes);
                    (at, bytes)
                }
                Piece::Fault(fault) => (&fault.at, &fault.skipped),
            };
            assert_eq!(*at, n_bytes as u64, "bytes come in their order");
            assert!(stream.as_bytes()[n_bytes..].starts_with(bytes));
            n_bytes += bytes.len();
        }
        assert_eq!(
            n_bytes,
            stream.len(),
            "every byte comes out once, in pieces of {piece}"
        );
        assert_eq!(frames.len(), good.len(), "pieces of {piece}");
        let mut pairs = frames.iter().zip(&good);
        assert!(pairs.all(|(frame, text)| frame.as_slice() == text.as_bytes()));
    }
}

#[test]
fn frames_that_must_be_refused_are_refused_by_name() {
    let Some(file) = vectors("hj212.json") else { return };
    for vector in file["negative"].as_array().unwrap() {
        let id = vector["id"].as_str().unwrap();
        let bytes = format!("{}\r\n", vector["frame"].as_str().unwrap());
        let all = pieces(bytes.as_bytes(), 16);
        let faults: Vec<&Fault> = all
            .iter()
            .map(|piece| match piece {
                Piece::Fault(fault) => fault,
                Piece::Frame { frame, .. } => panic!("{id}: {frame:?}"),
            })
            .collect();
        let want = match id {
            "neg-length" => FaultKind::LengthMismatch,
            id if id.starts_with("neg-modbus") => FaultKind::CrcModbus,
            _ => FaultKind::CrcMismatch,
        };
        assert_eq!(faults[0].error.kind, want, "{id}");
        // The sender can be told.
        if let Some(segment) = faults[0].segment() {
            let segment = Segment::parse(segment).unwrap();
            let answer = hj212::request_answer(&segment, segment.pw(), QnRtn::WrongCrc);
            assert_eq!((answer.mn(), answer.cp_value("QnRtn")), (segment.mn(), Some("9")));
        }
    }
}

#[test]
fn worked_crc_values() {
    let Some(file) = vectors("hj212-crc-and-conversations.json") else {
        return;
    };
    let hex = |value: &Value| u16::from_str_radix(value.as_str().unwrap(), 16).unwrap();
    assert_eq!(crc(b""), hex(&file["crc_of_empty"]));
    assert_eq!(crc(b"\0"), hex(&file["crc_of_single_zero_byte"]));
    assert_eq!(crc(b"123456789"), hex(&file["crc_of_ascii_123456789"]));
    for segment in file["segments"].as_array().unwrap() {
        let data = segment["data"].as_str().unwrap();
        assert_eq!(json!(data.len()), segment["length"]);
        assert_eq!(crc(data.as_bytes()), hex(&segment["crc"]), "{data}");
        assert_eq!(
            modbus_crc(data.as_bytes()),
            hex(&segment["modbus_for_contrast"]),
            "{data}"
        );
        one_frame(&format!(
            "##{:04}{data}{}",
            data.len(),
            segment["crc"].as_str().unwrap()
        ));
    }
}

/// What either side says next in a conversation, made of what was said before.
fn answer_to(said: &[Segment], next: &Segment) -> Option<Segment> {
    let to = said
        .iter()
        .rev()
        .find(|earlier| earlier.qn() == next.qn() && earlier.cn() < "9000")?;
    let code = |key| next.cp_value(key).unwrap_or_default();
    Some(match next.cn() {
        "9011" => hj212::request_answer(to, next.pw(), QnRtn::parse(code("QnRtn"))?),
        "9012" => hj212::execution_answer(to, next.pw(), hj212::ExeRtn::parse(code("ExeRtn"))?),
        "9013" => hj212::notice_answer(to, next.pw()),
        "9014" => hj212::data_answer(to, next.pw()),
        _ => return None,
    })
}

#[test]
fn answers_are_byte_for_byte_those_of_the_conversations() {
    let Some(file) = vectors("hj212-crc-and-conversations.json") else {
        return;
    };
    let mut n_answers = 0;
    for conversation in file["conversations"].as_array().unwrap() {
        let mut said: Vec<Segment> = Vec::new();
        for step in conversation["steps"].as_array().unwrap() {
            let text = step["frame"].as_str().unwrap();
            let segment = decode(&one_frame(text), None).unwrap();
            if segment.cn() > "9000" {
                let answer = answer_to(&said, &segment).unwrap();
                assert_eq!(encode(&answer).unwrap(), format!("{text}\r\n").as_bytes());
                n_answers += 1;
            }
            said.push(segment);
        }
    }
    assert!(n_answers >= 10, "{n_answers}");
}

#[test]
fn the_printed_example_of_2025_opens_and_closes() {
    let Some(file) = vectors("hj212-2025-sm4.json") else {
        return;
    };
    for case in file["cases"].as_array().unwrap() {
        let text = |name: &str| case[name].as_str().unwrap();
        let plain = text("plaintext_segment");
        let start = plain.find("CP=&&").unwrap() + 5;
        let sealed = format!(
            "{}{}{}&&",
            &plain[..start],
            text("wire_cp"),
            text("plaintext_tail")
        );
        assert_eq!(json!(sealed.len()), case["wire_segment_length"]);
        let key = Key::parse(text("key_ascii")).unwrap();
        let printed = format!(
            "##{}{sealed}{}\r\n",
            text("printed_length_field"),
            text("printed_crc")
        );
        let want = Segment::parse(plain.as_bytes()).unwrap();
        for piece in [1, 100, 5000] {
            let all = pieces(printed.as_bytes(), piece);
            let [Piece::Frame { frame, .. }] = &all[..] else {
                panic!("{all:?}")
            };
            assert!(frame.sealed);
            assert_eq!(decode(frame, Some(&key)).unwrap(), want);
            assert_eq!(decode(frame, None).unwrap_err().code(), "no_key");
        }
        assert_eq!(hj212::encode_sealed(&want, &key).unwrap(), printed.as_bytes());
    }
}

//! Every published and composed frame of `standards/vectors/sl651.json`.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use serde_json::Value;

use super::{Error, Frame, Framer, Piece, decode, hex};

/// The file beside the repository; `None`, and said so, where it is not there.
fn vectors() -> Option<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/standards/vectors/sl651.json");
    match std::fs::read(&path) {
        Ok(bytes) => Some(serde_json::from_slice(&bytes).unwrap()),
        Err(error) => {
            eprintln!("SKIPPED: {}: {error}", path.display());
            None
        }
    }
}

fn each(vectors: &Value, list: &str) -> Vec<(String, Vec<u8>, Value)> {
    let list = vectors[list].as_array().unwrap();
    list.iter()
        .map(|vector| {
            let bytes = hex::read(vector["frame_hex"].as_str().unwrap().as_bytes()).unwrap();
            (vector["id"].as_str().unwrap().to_owned(), bytes, vector.clone())
        })
        .collect()
}

/// Every member of `want` is in `got` with the same value; `got` may say more.
fn holds(got: &Value, want: &Value, at: &str) {
    match (got, want) {
        (Value::Object(got), Value::Object(want)) => {
            for (key, want) in want {
                let got = got.get(key).unwrap_or_else(|| panic!("{at} lacks {key}"));
                holds(got, want, &format!("{at}.{key}"));
            }
        }
        (Value::Array(got), Value::Array(want)) => {
            assert_eq!(got.len(), want.len(), "{at}");
            for (i, (got, want)) in got.iter().zip(want).enumerate() {
                holds(got, want, &format!("{at}[{i}]"));
            }
        }
        _ => assert_eq!(got, want, "{at}"),
    }
}

#[test]
fn frames_of_the_field_read_as_another_decoder_read_them() {
    let Some(vectors) = vectors() else { return };
    let positive = each(&vectors, "positive");
    assert!(positive.len() >= 35);
    for (id, bytes, vector) in positive {
        let view = decode(&bytes).unwrap_or_else(|error| panic!("{id}: {error}"));
        holds(&serde_json::to_value(&view).unwrap(), &vector["decoded"], &id);
        assert_eq!(view.frame.encode().unwrap(), bytes, "{id}");
        if view.body.serial.is_some() {
            let written = view.body.write(view.frame.encoding).unwrap();
            assert_eq!(written, view.frame.body, "{id}");
        }
    }
}

#[test]
fn composed_frames_read_and_write_back() {
    let Some(vectors) = vectors() else { return };
    for (id, bytes, vector) in each(&vectors, "composed") {
        let view = decode(&bytes).unwrap_or_else(|error| panic!("{id}: {error}"));
        if !vector["decoded"].is_null() {
            holds(&serde_json::to_value(&view).unwrap(), &vector["decoded"], &id);
        }
        assert_eq!(view.frame.encode().unwrap(), bytes, "{id}");
        assert_eq!(
            view.body.write(view.frame.encoding).unwrap(),
            view.frame.body,
            "{id}"
        );
    }
}

#[test]
fn edited_frames_are_refused_by_their_crc() {
    let Some(vectors) = vectors() else { return };
    let negative = each(&vectors, "negative");
    assert!(negative.len() >= 10);
    for (id, bytes, vector) in negative {
        let number = |key: &str| u16::from_str_radix(vector[key].as_str().unwrap(), 16).unwrap();
        let want = Error::Crc {
            at: bytes.len() - 2,
            sent: number("crc_sent"),
            calculated: number("crc_calculated"),
        };
        assert_eq!(Frame::decode(&bytes), Err(want), "{id}");
    }
}

#[test]
fn one_stream_of_all_of_them_gives_the_good_ones() {
    let Some(vectors) = vectors() else { return };
    let mut stream = Vec::new();
    let mut want = Vec::new();
    let (good, bad) = (each(&vectors, "positive"), each(&vectors, "negative"));
    for (i, (_, bytes, _)) in good.iter().enumerate() {
        stream.extend(&bad[i % bad.len()].1);
        stream.extend([0x0D, 0x0A]);
        stream.extend(bytes);
        want.push(bytes.clone());
    }
    for size in [1, 7, 64, 1460, stream.len()] {
        let mut framer = Framer::new();
        let mut pieces: Vec<Piece> = stream.chunks(size).flat_map(|c| framer.push(c)).collect();
        pieces.extend(framer.give_up());
        let got: Vec<Vec<u8>> = pieces
            .into_iter()
            .filter_map(|piece| match piece {
                Piece::Frame { bytes, .. } => Some(bytes),
                Piece::Fault(_) => None,
            })
            .collect();
        assert_eq!(got, want, "in pieces of {size}");
    }
}

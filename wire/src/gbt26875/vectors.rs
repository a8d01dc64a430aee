//! Every published and composed frame of `standards/vectors/gbt26875.json`.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use serde_json::Value;

use super::{Frame, Framer, Piece, decode};

/// The file beside the repository; `None`, and said so, where it is not there.
fn vectors() -> Option<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/standards/vectors/gbt26875.json");
    match std::fs::read(&path) {
        Ok(bytes) => Some(serde_json::from_slice(&bytes).unwrap()),
        Err(error) => {
            eprintln!("SKIPPED: {}: {error}", path.display());
            None
        }
    }
}

fn each(vectors: &Value, list: &str) -> Vec<(String, Vec<u8>, Value)> {
    let bytes = |text: &str| -> Vec<u8> {
        (0..text.len())
            .step_by(2)
            .map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap())
            .collect()
    };
    let list = vectors[list].as_array().unwrap();
    list.iter()
        .map(|vector| {
            let frame = bytes(vector["frame_hex"].as_str().unwrap());
            (vector["id"].as_str().unwrap().to_owned(), frame, vector.clone())
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
    let all = [each(&vectors, "positive"), each(&vectors, "composed")].concat();
    assert!(all.len() >= 20);
    for (id, bytes, vector) in all {
        let view = decode(&bytes).unwrap_or_else(|error| panic!("{id}: {error}"));
        if !vector["decoded"].is_null() {
            holds(&serde_json::to_value(&view).unwrap(), &vector["decoded"], &id);
        }
        assert_eq!(view.frame.encode().unwrap(), bytes, "{id}");
        if let Some(application) = &view.application {
            assert_eq!(application.write().unwrap(), view.frame.data, "{id}");
        }
    }
}

#[test]
fn bad_frames_are_refused_by_name() {
    let Some(vectors) = vectors() else { return };
    let names: Vec<(String, &str, usize)> = [each(&vectors, "negative"), each(&vectors, "negative_made")]
        .concat()
        .into_iter()
        .map(|(id, bytes, _)| {
            let error = decode(&bytes).expect_err(&id);
            (id, error.code(), error.at())
        })
        .collect();
    let want = [
        ("bad-sum-1", "checksum", 75),
        ("made-bad-sum", "checksum", 75),
        ("made-bad-end", "end_mark", 76),
        ("made-too-long", "length", 24),
        ("made-count-too-big", "data_end", 75),
    ];
    assert_eq!(names, want.map(|(id, code, at)| (id.to_owned(), code, at)));
}

#[test]
fn one_stream_of_all_of_them_gives_the_good_ones() {
    let Some(vectors) = vectors() else { return };
    let bad = [each(&vectors, "negative"), each(&vectors, "negative_made")].concat();
    let mut stream = Vec::new();
    let mut want = Vec::new();
    for (i, (_, bytes, _)) in each(&vectors, "positive").iter().enumerate() {
        let bad = &bad[i % bad.len()].1;
        want.extend(Frame::decode(bad).is_ok().then(|| bad.clone()));
        stream.extend(bad);
        stream.extend([0x40, 0x0A]);
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

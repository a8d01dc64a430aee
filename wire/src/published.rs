//! The frames that were published with what they mean, in `standards/vectors` beside the repository: for tests.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use serde_json::Value;

use crate::hex;
use crate::stream::{Framer, Framing, Piece};

/// A file of them; `None`, and said so, where it is not there.
pub(crate) fn vectors(file: &str) -> Option<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../shared/standards/vectors")
        .join(file);
    match std::fs::read(&path) {
        Ok(bytes) => Some(serde_json::from_slice(&bytes).unwrap()),
        Err(error) => {
            eprintln!("SKIPPED: {}: {error}", path.display());
            None
        }
    }
}

/// The frames of a list: name, bytes, and all that is said of them.
pub(crate) fn each(vectors: &Value, list: &str) -> Vec<(String, Vec<u8>, Value)> {
    let list = vectors[list].as_array().unwrap();
    list.iter()
        .map(|vector| {
            let bytes = hex::read(vector["frame_hex"].as_str().unwrap().as_bytes()).unwrap();
            (vector["id"].as_str().unwrap().to_owned(), bytes, vector.clone())
        })
        .collect()
}

/// Every member of `want` is in `got` with the same value; `got` may say more.
pub(crate) fn holds(got: &Value, want: &Value, at: &str) {
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

/// A stream gives these frames, in whatever pieces it comes.
pub(crate) fn gives<P: Framing>(stream: &[u8], want: &[Vec<u8>]) {
    for size in [1, 7, 64, 1460, stream.len()] {
        let mut framer = Framer::<P>::new();
        let mut pieces: Vec<_> = stream.chunks(size).flat_map(|c| framer.push(c)).collect();
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

//! Every published and composed frame of `standards/vectors/sl651.json`.

#![allow(clippy::unwrap_used)]

use super::{Error, Frame, decode};
use crate::published::{each, gives, holds, vectors};

#[test]
fn frames_of_the_field_read_as_another_decoder_read_them() {
    let Some(vectors) = vectors("sl651.json") else {
        return;
    };
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
    let Some(vectors) = vectors("sl651.json") else {
        return;
    };
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
    let Some(vectors) = vectors("sl651.json") else {
        return;
    };
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
    let Some(vectors) = vectors("sl651.json") else {
        return;
    };
    let mut stream = Vec::new();
    let mut want = Vec::new();
    let (good, bad) = (each(&vectors, "positive"), each(&vectors, "negative"));
    for (i, (_, bytes, _)) in good.iter().enumerate() {
        stream.extend(&bad[i % bad.len()].1);
        stream.extend([0x0D, 0x0A]);
        stream.extend(bytes);
        want.push(bytes.clone());
    }
    gives::<Frame>(&stream, &want);
}

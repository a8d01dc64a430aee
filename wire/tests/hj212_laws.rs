//! HJ 212: what holds for any bytes and any segment.

#![allow(clippy::unwrap_used)]

use onemap_wire::hj212::{
    Found, Frame, Framer, Group, Item, Key, Segment, Sender, decode, encode, encode_sealed, readings, view,
};
use proptest::prelude::*;

fn found(bytes: &[u8], pieces: &[usize]) -> Vec<Found> {
    let mut framer = Framer::new(600);
    let mut all = Vec::new();
    let mut rest = bytes;
    let mut pieces = pieces.iter().cycle();
    while !rest.is_empty() {
        let n = (*pieces.next().unwrap()).min(rest.len());
        framer.push(&rest[..n]);
        rest = &rest[n..];
        all.extend(std::iter::from_fn(|| framer.next_found()));
        assert!(
            framer.held() <= 6 + 600 + 6 + n.max(1024),
            "{} bytes are held",
            framer.held()
        );
    }
    all.extend(std::iter::from_fn(|| framer.finish()));
    all
}

fn frames(all: &[Found]) -> Vec<&Frame> {
    let frame = |found: &'_ Found| matches!(found, Found::Frame(_));
    all.iter()
        .filter(|found| frame(found))
        .map(|found| match found {
            Found::Frame(frame) => frame,
            Found::Fault(_) => unreachable!(),
        })
        .collect()
}

fn bytes_of(all: &[Found]) -> usize {
    all.iter()
        .map(|found| match found {
            Found::Frame(frame) => frame.segment.len() + 12,
            Found::Fault(fault) => fault.bytes.len(),
        })
        .sum()
}

prop_compose! {
    fn segments()(
        qn in "[0-9]{17}",
        st in "[0-9]{2}",
        cn in "20[1-6]1|1062|9014",
        mn in "[0-9A-Za-z_]{1,24}",
        flag in 0u8..32,
        cp in prop::collection::vec(prop::collection::vec(("[a-zA-Z0-9-]{1,12}", "[0-9.]{1,8}|[N-T]|//[a-z;,]{0,9}//"), 1..4), 0..6),
    ) -> Segment {
        let item = |(key, value): (String, String)| Item::new(key, value);
        let group = |items: Vec<(String, String)>| Group(items.into_iter().map(item).collect());
        let header = [("QN", qn), ("ST", st), ("CN", cn), ("PW", "123456".into()), ("MN", mn), ("Flag", (flag & !2).to_string())];
        Segment {
            header: header.into_iter().map(|(key, value)| Item::new(key, value)).collect(),
            cp: cp.into_iter().map(group).collect(),
            ..Segment::default()
        }
    }
}

/// Read again as it came, apart from what it is called where it departs from the standard.
fn reads_as(frame: &Frame, key: Option<&Key>, want: &Segment) -> bool {
    decode(frame, key).is_ok_and(|got| (got.header, got.cp) == (want.header.clone(), want.cp.clone()))
}

proptest! {
    // A file of failed cases would have to stand beside a library's root.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_encoded_decodes_plain_and_sealed(segment in segments()) {
        let key = Key::new([9; 16]);
        let mut framer = Framer::default();
        framer.push(&encode(&segment).unwrap());
        framer.push(&encode_sealed(&segment, &key).unwrap());
        for _ in 0..2 {
            let Some(Found::Frame(frame)) = framer.next_found() else { panic!() };
            prop_assert!(reads_as(&frame, Some(&key), &segment));
        }
        prop_assert_eq!(framer.held(), 0);
    }

    #[test]
    fn a_changed_byte_is_refused_or_changes_nothing(segment in segments(), at: prop::sample::Index, by in 1u8.., is_sealed: bool) {
        let key = Key::new([9; 16]);
        let mut bytes = match is_sealed {
            true => encode_sealed(&segment, &key).unwrap(),
            false => encode(&segment).unwrap(),
        };
        let at = at.index(bytes.len());
        bytes[at] ^= by;
        let mut framer = Framer::default();
        framer.push(&bytes);
        for found in std::iter::from_fn(|| framer.finish()) {
            if let Found::Frame(frame) = found {
                prop_assert!(decode(&frame, Some(&key)).is_err() || reads_as(&frame, Some(&key), &segment));
            }
        }
    }

    #[test]
    fn a_stream_gives_the_same_frames_however_it_is_cut(
        parts in prop::collection::vec((segments(), "[#0-9A-F&\r\n]{0,12}|##0040QN=1|&&12AB\r\n", 0u8..3), 1..5),
        pieces in prop::collection::vec(1usize..200, 1..8),
    ) {
        let key = Key::new([9; 16]);
        let mut stream = Vec::new();
        for (segment, noise, how) in parts {
            stream.extend_from_slice(noise.as_bytes());
            let frame = match how {
                0 => encode_sealed(&segment, &key).unwrap(),
                _ => encode(&segment).unwrap(),
            };
            let cut = if how == 2 { frame.len() / 2 } else { frame.len() };
            stream.extend_from_slice(&frame[..cut]);
        }
        let whole = found(&stream, &[stream.len()]);
        let cut = found(&stream, &pieces);
        prop_assert_eq!(frames(&whole), frames(&cut));
        prop_assert_eq!((bytes_of(&whole), bytes_of(&cut)), (stream.len(), stream.len()));
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes: Vec<u8>, text in "[A-Z=;,&/ 0-9-]{0,80}") {
        found(&bytes, &[7]);
        for bytes in [&bytes[..], text.as_bytes(), format!("CN=2011;MN=A;CP=&&{text}&&").as_bytes()] {
            if let Ok(segment) = Segment::parse(bytes) {
                readings(&segment, &Sender::new(None));
                serde_json::to_string(&view(&segment)).unwrap();
            }
        }
    }
}

//! HJ 212: what holds for any bytes and any segment.

#![allow(clippy::unwrap_used)]

use onemap_wire::hj212::{
    Frame, Framer, Group, Item, Key, Piece, Segment, Sender, decode, encode, encode_sealed, readings, view,
};
use proptest::prelude::*;

fn cut(bytes: &[u8], sizes: &[usize]) -> Vec<Piece> {
    let mut framer = Framer::new(600);
    let mut all = Vec::new();
    let mut rest = bytes;
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (next, later) = rest.split_at((*size).min(rest.len()));
        all.extend(framer.push(next));
        rest = later;
        assert!(framer.n_waiting() <= 1024, "{} bytes wait", framer.n_waiting());
    }
    all.extend(framer.give_up());
    assert_eq!(framer.n_waiting(), 0);
    all
}

fn frames(all: &[Piece]) -> Vec<(u64, &Frame)> {
    let frame_of = |piece: &'_ Piece| matches!(piece, Piece::Frame { .. });
    all.iter()
        .filter(|piece| frame_of(piece))
        .map(|piece| match piece {
            Piece::Frame { frame, at, .. } => (*at, frame),
            Piece::Fault(_) => unreachable!("only frames are left"),
        })
        .collect()
}

fn bytes_of(all: &[Piece]) -> Vec<u8> {
    let bytes = |piece: &Piece| match piece {
        Piece::Frame { bytes, .. } => bytes.clone(),
        Piece::Fault(fault) => fault.skipped.clone(),
    };
    all.iter().flat_map(bytes).collect()
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
        let mut stream = encode(&segment).unwrap();
        stream.extend(encode_sealed(&segment, &key).unwrap());
        let all = Framer::default().push(&stream);
        prop_assert_eq!(frames(&all).len(), 2);
        prop_assert_eq!(bytes_of(&all), stream);
        for (_, frame) in frames(&all) {
            prop_assert!(reads_as(frame, Some(&key), &segment));
        }
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
        let mut all = framer.push(&bytes);
        all.extend(framer.give_up());
        for (_, frame) in frames(&all) {
            prop_assert!(decode(frame, Some(&key)).is_err() || reads_as(frame, Some(&key), &segment));
        }
    }

    #[test]
    fn a_stream_gives_the_same_frames_and_faults_however_it_is_cut(
        parts in prop::collection::vec((segments(), "[#0-9A-F&\r\n]{0,12}|##0040QN=1|##9999QN=8;ST=22;CN=2011;|&&12AB\r\n|[#a]{600,1500}", 0u8..4), 1..5),
        pieces in prop::collection::vec(1usize..200, 1..8),
    ) {
        let key = Key::new([9; 16]);
        let mut stream = Vec::new();
        for (segment, noise, how) in parts {
            stream.extend_from_slice(noise.as_bytes());
            let mut frame = match how {
                0 => encode_sealed(&segment, &key).unwrap(),
                _ => encode(&segment).unwrap(),
            };
            if how == 3 {
                frame[20] ^= 1;
            }
            let n = if how == 2 { frame.len() / 2 } else { frame.len() };
            stream.extend_from_slice(&frame[..n]);
        }
        let whole = cut(&stream, &[stream.len()]);
        let pieces = cut(&stream, &pieces);
        prop_assert_eq!(&whole, &pieces);
        prop_assert_eq!(&whole, &cut(&stream, &[1]));
        prop_assert_eq!(bytes_of(&whole), stream);
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes: Vec<u8>, text in "[A-Z=;,&/ 0-9-]{0,80}") {
        cut(&bytes, &[7]);
        for bytes in [&bytes[..], text.as_bytes(), format!("CN=2011;MN=A;CP=&&{text}&&").as_bytes()] {
            if let Ok(segment) = Segment::parse(bytes) {
                readings(&segment, &Sender::new(None));
                serde_json::to_string(&view(&segment)).unwrap();
            }
        }
    }
}

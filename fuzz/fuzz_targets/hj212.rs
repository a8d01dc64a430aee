#![no_main]
//! Any bytes as a stream of HJ 212, cut in two: every byte comes out once, what decodes can be read, printed and
//! written, and the same frames and faults come out of the uncut stream.

use libfuzzer_sys::fuzz_target;
use onemap_wire::hj212::{Framer, Key, Piece, Sender, decode, encode, readings, view};

fn pieces(parts: &[&[u8]]) -> Vec<Piece> {
    let mut framer = Framer::new(2048);
    let mut pieces: Vec<Piece> = parts.iter().flat_map(|part| framer.push(part)).collect();
    pieces.extend(framer.give_up());
    pieces
}

fuzz_target!(|data: &[u8]| {
    let cut = data
        .first()
        .map_or(0, |first| usize::from(*first) % (data.len() + 1));
    let whole = pieces(&[data]);
    assert_eq!(pieces(&[&data[..cut], &data[cut..]]), whole);
    let (mut frames, mut told) = (Vec::new(), Vec::new());
    for piece in whole {
        match piece {
            Piece::Frame { frame, bytes, .. } => {
                told.extend(bytes);
                frames.push(frame);
            }
            Piece::Fault(fault) => told.extend(fault.skipped),
        }
    }
    assert_eq!(told, data);
    let key = Key::new(*b"0123456789abcdef");
    for frame in frames {
        if let Ok(segment) = decode(&frame, Some(&key)) {
            readings(&segment, &Sender::new(None));
            serde_json::to_string(&view(&segment)).expect("a view is text and numbers");
            let _: Result<Vec<u8>, _> = encode(&segment);
        }
    }
});

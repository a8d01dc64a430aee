#![no_main]
//! Any bytes as a stream of HJ 212, cut in two: every byte comes out once, what decodes can be read, printed and
//! written, and the same frames come out of the uncut stream.

use libfuzzer_sys::fuzz_target;
use onemap_wire::hj212::{Found, Frame, Framer, Key, Sender, decode, encode, readings, view};

fn frames(pieces: &[&[u8]]) -> (Vec<Frame>, usize) {
    let mut framer = Framer::new(2048);
    let (mut frames, mut n_bytes) = (Vec::new(), 0);
    let mut note = |found| match found {
        Found::Frame(frame) => {
            n_bytes += frame.segment.len() + 12;
            frames.push(frame);
        }
        Found::Fault(fault) => n_bytes += fault.bytes.len(),
    };
    for piece in pieces {
        framer.push(piece);
        while let Some(found) = framer.next_found() {
            note(found);
        }
    }
    while let Some(found) = framer.finish() {
        note(found);
    }
    (frames, n_bytes)
}

fuzz_target!(|data: &[u8]| {
    let cut = data.first().map_or(0, |first| usize::from(*first) % (data.len() + 1));
    let (whole, n_bytes) = frames(&[data]);
    assert_eq!(n_bytes, data.len());
    assert_eq!(frames(&[&data[..cut], &data[cut..]]).0, whole);
    let key = Key::new(*b"0123456789abcdef");
    for frame in whole {
        if let Ok(segment) = decode(&frame, Some(&key)) {
            readings(&segment, &Sender::new(None));
            serde_json::to_string(&view(&segment)).expect("a view is text and numbers");
            let _: Result<Vec<u8>, _> = encode(&segment);
        }
    }
});

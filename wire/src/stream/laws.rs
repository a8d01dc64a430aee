//! What holds for a stream of each protocol that is cut here: however it comes, the same frames and faults come out of it.

use proptest::prelude::*;

use super::{Framer, Framing, Piece};
use crate::{gbt26875, sl651};

/// A stream in pieces of these sizes, again and again, and then no more.
fn cut_into<P: Framing>(stream: &[u8], sizes: &[usize]) -> Vec<Piece<P::Frame, P::Error>> {
    let mut framer = Framer::<P>::new();
    let mut pieces = Vec::new();
    let mut rest = stream;
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (next, later) = rest.split_at((*size).min(rest.len()));
        pieces.extend(framer.push(next));
        rest = later;
        assert!(framer.n_waiting() <= Framer::<P>::LIMIT);
    }
    pieces.extend(framer.give_up());
    assert_eq!(framer.n_waiting(), 0);
    pieces
}

/// A stream gives the same frames and faults in pieces of these sizes, byte by byte, and at once. Every byte is told once and
/// in its place, in a frame that reads back or in a fault; what waits stays below the limit.
fn is_told_however_cut<P>(
    stream: &[u8],
    sizes: &[usize],
    decode: impl Fn(&[u8]) -> Result<P::Frame, P::Error>,
) where
    P: Framing<Frame: PartialEq + std::fmt::Debug, Error: PartialEq + std::fmt::Debug>,
{
    let pieces = cut_into::<P>(stream, &[stream.len()]);
    assert_eq!(pieces, cut_into::<P>(stream, sizes));
    assert_eq!(pieces, cut_into::<P>(stream, &[1]));
    let mut told = Vec::new();
    for piece in pieces {
        let (at, bytes) = match piece {
            Piece::Frame { at, bytes, frame } => {
                assert_eq!(decode(&bytes), Ok(frame));
                (at, bytes)
            }
            Piece::Fault(fault) => (fault.at, fault.skipped),
        };
        assert_eq!(at, told.len() as u64);
        told.extend(bytes);
    }
    assert_eq!(told, stream);
}

/// Good frames, changed and cut ones, noise, long quiet runs and what begins like frames, after one another.
fn streams(
    frames: impl Strategy<Value = Vec<u8>> + Clone + 'static,
    marks: Vec<u8>,
) -> impl Strategy<Value = Vec<u8>> {
    let changed = (
        frames.clone(),
        any::<prop::sample::Index>(),
        any::<u8>(),
        any::<prop::sample::Index>(),
    );
    let changed = changed.prop_map(|(mut bytes, at, by, n)| {
        let at = at.index(bytes.len());
        bytes[at] ^= by;
        bytes.truncate(bytes.len().min(2 * n.index(bytes.len()) + 1));
        bytes
    });
    let part = prop_oneof![
        2 => frames,
        2 => changed,
        1 => prop::collection::vec(any::<u8>(), 0..40),
        1 => prop::collection::vec(prop::sample::select(vec![0x20, 0x40, 0x7E]), 0..6000),
        1 => prop::collection::vec(prop::sample::select(marks), 0..40),
    ];
    prop::collection::vec(part, 0..6).prop_map(|parts| parts.concat())
}

fn sizes() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(1usize..200, 1..8)
}

proptest! {
    #[test]
    fn sl651_is_told_however_it_is_cut(
        stream in streams(
            sl651::laws::frames().prop_map(|frame| frame.encode().expect("every part is possible")).boxed(),
            vec![0x7E, 0x01, 0x30, 0x02, 0x16, 0x00],
        ),
        sizes in sizes(),
    ) {
        is_told_however_cut::<sl651::Frame>(&stream, &sizes, sl651::Frame::decode);
    }

    #[test]
    fn gbt26875_is_told_however_it_is_cut(
        stream in streams(
            gbt26875::laws::frames().prop_map(|frame| frame.encode().expect("short data")).boxed(),
            vec![0x40, 0x23, 0x00],
        ),
        sizes in sizes(),
    ) {
        is_told_however_cut::<gbt26875::Frame>(&stream, &sizes, gbt26875::Frame::decode);
    }
}

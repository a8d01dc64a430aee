#![no_main]
//! Any bytes as a stream of SL 651: every byte is told once, what is kept stays bounded, no body panics. The same
//! bytes as the body of a good frame of each function.

use libfuzzer_sys::fuzz_target;
use onemap_model::Timestamp;
use onemap_wire::sl651::{Bases, Direction, Encoding, End, Frame, Framer, Limits, Packets, Piece, Station, Taken, readings};

fuzz_target!(|data: &[u8]| {
    let mut framer = Framer::new();
    let mut packets = Packets::new(Limits::default());
    let mut pieces = Vec::new();
    for chunk in data.chunks(37) {
        pieces.extend(framer.push(chunk));
        assert!(framer.n_waiting() <= Framer::LIMIT);
    }
    pieces.extend(framer.give_up());
    let mut uncut = Framer::new();
    let mut whole = uncut.push(data);
    whole.extend(uncut.give_up());
    assert_eq!(pieces, whole);
    let mut told = 0;
    for piece in pieces {
        match piece {
            Piece::Fault(fault) => told += fault.skipped.len(),
            Piece::Frame { frame, bytes, .. } => {
                told += bytes.len();
                assert_eq!(Frame::decode(&bytes).as_ref(), Ok(&frame));
                assert_eq!(Frame::decode(&frame.encode().expect("it was read")).as_ref(), Ok(&frame));
                if let (Taken::Whole(whole), _) = packets.take(Timestamp::from_ms(0), frame) {
                    read(&whole);
                }
            }
        }
    }
    assert_eq!(told, data.len());

    let [function, flags, body @ ..] = data else { return };
    let (direction, end) = if flags & 1 == 0 {
        (Direction::Up, End::Etx)
    } else {
        (Direction::Down, if flags & 4 == 0 { End::Enq } else { End::Esc })
    };
    read(&Frame {
        encoding: if flags & 2 == 0 { Encoding::Hex } else { Encoding::Ascii },
        direction,
        centre: 1,
        station: Station([0; 5]),
        password: 0,
        function: *function,
        packet: None,
        body: body.to_vec(),
        end,
        addresses_swapped: false,
    });
});

fn read(frame: &Frame) {
    if let Ok(body) = frame.read() {
        readings(frame, &body, None, &Bases::default());
        // What reads can be written, and reads the same again.
        if let Some(written) = body.write(frame.encoding)
            && frame.packet.is_none()
        {
            let again = Frame { body: written, ..frame.clone() };
            let _ = again.read();
        }
    }
}

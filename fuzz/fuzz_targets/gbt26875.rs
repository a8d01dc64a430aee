#![no_main]
//! Any bytes as a stream of GB/T 26875.3: every byte is told once, what is kept stays bounded, no data panic. The same
//! bytes as the application data of a good frame.

use libfuzzer_sys::fuzz_target;
use onemap_model::Timestamp;
use onemap_wire::gbt26875::{Address, Clock, Frame, Framer, Piece, Time, readings};

fuzz_target!(|data: &[u8]| {
    let mut framer = Framer::new();
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
                assert_eq!(frame.encode().as_deref(), Ok(&bytes[..]));
                read(&frame);
            }
        }
    }
    assert_eq!(told, data.len());

    let [command, body @ ..] = data else { return };
    read(&Frame {
        sequence: 0,
        version: [1, 0],
        time: Time([0, 0, 0, 1, 1, 24]),
        source: Address([0; 6]),
        destination: Address([0; 6]),
        command: command % 8,
        data: body.to_vec(),
    });
});

fn read(frame: &Frame) {
    if let Ok(Some(application)) = frame.read() {
        readings(frame, &application, Clock::Either, Timestamp::from_ms(1_700_000_000_000));
        if !application.objects.is_empty() {
            assert_eq!(application.write().as_deref(), Some(&frame.data[..]));
        }
    }
}

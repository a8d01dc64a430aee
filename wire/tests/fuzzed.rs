//! Inputs that fuzzing kept because they reached something new (`odd/fuzzed.txt`: target and bytes), held to the laws of
//! its targets.

#![allow(clippy::unwrap_used, missing_docs)]

use onemap_model::Timestamp;
use onemap_wire::gbt26875::{self, Clock};
use onemap_wire::sl651::{self, Bases, Direction, Encoding, End};
use onemap_wire::spelt::{Given, Line, Protocol, Speller};

fn inputs() -> Vec<(&'static str, Vec<u8>)> {
    let lines = include_str!("odd/fuzzed.txt").lines();
    let input = |line: &'static str| {
        let (target, hex) = line.split_once(' ').unwrap();
        let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        (target, (0..hex.len()).step_by(2).map(byte).collect())
    };
    lines.map(input).collect()
}

fn told(protocol: Protocol, parts: &[&[u8]]) -> Vec<String> {
    let mut speller = Speller::new(protocol, Given::at(Timestamp::from_ms(1_795_392_000_000)));
    let mut lines: Vec<Line> = parts.iter().flat_map(|part| speller.push(part)).collect();
    lines.extend(speller.end());
    lines
        .iter()
        .map(|line| serde_json::to_string(line).unwrap())
        .collect()
}

#[test]
fn a_stream_tells_the_same_however_it_is_cut() {
    let all = inputs();
    assert!(all.len() >= 60, "{}", all.len());
    for (_, bytes) in &all {
        for protocol in Protocol::ALL {
            let whole = told(protocol, &[bytes]);
            for at in 0..=bytes.len() {
                let cut = told(protocol, &[&bytes[..at], &bytes[at..]]);
                assert_eq!(cut, whole, "{} {bytes:02X?} at {at}", protocol.name());
            }
        }
    }
}

#[test]
fn a_body_of_sl651_that_reads_can_be_told_and_written() {
    let mut n_read = 0;
    for (_, bytes) in inputs() {
        let [function, flags, body @ ..] = &bytes[..] else {
            continue;
        };
        let (direction, end) = match flags & 1 {
            0 => (Direction::Up, End::Etx),
            _ => (Direction::Down, if flags & 4 == 0 { End::Enq } else { End::Esc }),
        };
        let encoding = match flags & 2 {
            0 => Encoding::Hex,
            _ => Encoding::Ascii,
        };
        let frame = sl651::Frame {
            encoding,
            direction,
            centre: 1,
            station: sl651::Station([0; 5]),
            password: 0,
            function: *function,
            packet: None,
            body: body.to_vec(),
            end,
            addresses_swapped: false,
        };
        let Ok(read) = frame.read() else { continue };
        n_read += 1;
        sl651::readings(&frame, &read, None, &Bases::default());
        if let Some(written) = read.write(encoding) {
            let again = sl651::Frame {
                body: written,
                ..frame
            };
            // What is not written alike, as a mark in small letters, is read all the same.
            let read_again = again.read();
            assert!(
                read_again.is_ok() || encoding == Encoding::Hex,
                "{bytes:02X?}: {read_again:?}"
            );
        }
    }
    assert!(n_read >= 5, "{n_read}");
}

#[test]
fn data_of_gbt26875_that_read_are_written_as_they_came() {
    let mut n_read = 0;
    for (_, bytes) in inputs() {
        let [command, data @ ..] = &bytes[..] else {
            continue;
        };
        let frame = gbt26875::Frame {
            sequence: 0,
            version: [1, 0],
            time: gbt26875::Time([0, 0, 0, 1, 1, 24]),
            source: gbt26875::Address([0; 6]),
            destination: gbt26875::Address([0; 6]),
            command: command % 8,
            data: data.to_vec(),
        };
        if let Ok(Some(application)) = frame.read() {
            n_read += 1;
            let now = Timestamp::from_ms(1_700_000_000_000);
            gbt26875::readings(&frame, &application, Clock::Either, now);
            if !application.objects.is_empty() {
                assert_eq!(application.write().as_deref(), Some(&frame.data[..]));
            }
        }
    }
    assert!(n_read >= 3, "{n_read}");
}

//! Bytes of frames out of text: hexadecimal lines, and frames of HJ 212 that stand one a line.
//!
//! A frame of HJ 212 ends with CR LF. A file may have only LF there, or nothing at its end; what is missing is put in,
//! and places are told as if it were not.

use std::collections::VecDeque;

use onemap_wire::spelt::Protocol;

/// `&&` and the CRC, which is what stands before CR LF.
const END: usize = 6;

/// The stream that the input gives, and where in the input its bytes stand.
#[derive(Debug)]
pub(crate) struct Input {
    has_line_ends: bool,
    /// The last bytes of the stream.
    tail: VecDeque<u8>,
    /// Bytes of the input so far.
    n_read: u64,
    /// Where in the stream bytes were put in.
    added: Vec<u64>,
    n_out: u64,
    /// A line of hexadecimal text has ended where a frame may end.
    at_line_end: bool,
}

impl Input {
    pub(crate) fn new(protocol: Protocol) -> Self {
        Self {
            has_line_ends: protocol == Protocol::Hj212,
            tail: VecDeque::with_capacity(END + 1),
            n_read: 0,
            added: Vec::new(),
            n_out: 0,
            at_line_end: false,
        }
    }

    /// Bytes of the input so far.
    pub(crate) fn n_read(&self) -> u64 {
        self.n_read
    }

    /// The next bytes as they are; LF alone behind a CRC becomes CR LF.
    pub(crate) fn text(&mut self, piece: &[u8]) -> Vec<u8> {
        let mut stream = Vec::with_capacity(piece.len() + 8);
        for byte in piece {
            if *byte == b'\n' && self.is_end() {
                self.put_in(b'\r', &mut stream);
            }
            self.pass(*byte, &mut stream);
        }
        stream
    }

    /// The bytes of one line of hexadecimal text. Its end is no end of a frame unless it stands behind a CRC and no CR
    /// follows.
    pub(crate) fn line(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = Vec::with_capacity(bytes.len() + 8);
        if self.at_line_end && bytes.first().is_some_and(|byte| *byte != b'\r') {
            self.put_in(b'\r', &mut stream);
            self.put_in(b'\n', &mut stream);
        }
        for byte in bytes {
            self.pass(*byte, &mut stream);
        }
        self.at_line_end = self.is_end();
        stream
    }

    /// What the last frame lacks of its CR LF.
    pub(crate) fn end(&mut self) -> Vec<u8> {
        let mut stream = Vec::new();
        if self.is_end() {
            self.put_in(b'\r', &mut stream);
            self.put_in(b'\n', &mut stream);
        } else if self.tail.back() == Some(&b'\r') {
            self.tail.pop_back();
            if self.ends_with_crc() {
                self.put_in(b'\n', &mut stream);
            }
        }
        stream
    }

    /// Where in the input a byte of the stream stands.
    pub(crate) fn place(&self, at: u64) -> u64 {
        at - self.added.partition_point(|added| *added < at) as u64
    }

    fn is_end(&self) -> bool {
        self.has_line_ends && self.tail.len() > END && {
            let mut last = self.tail.iter().skip(self.tail.len() - END);
            is_crc(&mut last)
        }
    }

    fn ends_with_crc(&self) -> bool {
        self.has_line_ends && self.tail.len() == END && is_crc(&mut self.tail.iter())
    }

    fn pass(&mut self, byte: u8, stream: &mut Vec<u8>) {
        self.n_read += 1;
        self.out(byte, stream);
    }

    fn put_in(&mut self, byte: u8, stream: &mut Vec<u8>) {
        self.added.push(self.n_out);
        self.out(byte, stream);
    }

    fn out(&mut self, byte: u8, stream: &mut Vec<u8>) {
        if self.tail.len() > END {
            self.tail.pop_front();
        }
        self.tail.push_back(byte);
        self.n_out += 1;
        stream.push(byte);
    }
}

fn is_crc<'a>(last: &mut impl Iterator<Item = &'a u8>) -> bool {
    last.next() == Some(&b'&') && last.next() == Some(&b'&') && last.all(u8::is_ascii_graphic)
}

/// The bytes of a line of hexadecimal text; otherwise the column (from 1) of the first character that is no byte's digit.
pub(crate) fn hexadecimal(line: &[u8]) -> Result<Vec<u8>, usize> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let mut bytes = Vec::with_capacity(line.len() / 2);
    let mut high = None;
    for (i, byte) in line.iter().enumerate() {
        match (high, digit(*byte)) {
            (None, Some(digit)) => high = Some(digit),
            (Some(first), Some(digit)) => {
                bytes.push(first << 4 | digit);
                high = None;
            }
            (None, None) if byte.is_ascii_whitespace() => {}
            _ => return Err(i + 1),
        }
    }
    match high {
        None => Ok(bytes),
        Some(_) => Err(line.len() + 1),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_a_line_lacks_of_its_end_is_put_in_however_the_input_is_cut() {
        for (input, want) in [
            ("##0003&&1A2B\n##", "##0003&&1A2B\r\n##"),
            ("##0003&&1A2B\r\n##", "##0003&&1A2B\r\n##"),
            ("##0003&&1A2B", "##0003&&1A2B\r\n"),
            ("##0003&&1A2B\r", "##0003&&1A2B\r\n"),
            ("no frame\n", "no frame\n"),
            ("##0003&&1A2", "##0003&&1A2"),
            ("##0003&&1 2B\n", "##0003&&1 2B\n"),
        ] {
            for size in 1..=input.len() {
                let mut reader = Input::new(Protocol::Hj212);
                let mut stream = Vec::new();
                for piece in input.as_bytes().chunks(size) {
                    stream.extend(reader.text(piece));
                }
                stream.extend(reader.end());
                assert_eq!(String::from_utf8(stream).unwrap(), want);
                assert_eq!(reader.n_read(), input.len() as u64);
                assert_eq!(reader.place(want.len() as u64), input.len() as u64);
            }
            let mut other = Input::new(Protocol::Sl651);
            assert_eq!(
                [other.text(input.as_bytes()), other.end()].concat(),
                input.as_bytes()
            );
        }
    }

    #[test]
    fn hexadecimal_lines_may_be_cut_anywhere_between_bytes() {
        assert_eq!(hexadecimal(b" 7e 7E01\r\n"), Ok(vec![0x7E, 0x7E, 1]));
        assert_eq!(hexadecimal(b"7"), Err(2));
        assert_eq!(hexadecimal(b"7 7E"), Err(2));
        assert_eq!(hexadecimal(b"0x7E"), Err(2));
        let mut reader = Input::new(Protocol::Hj212);
        let frame = b"##0003&&1A2B";
        assert_eq!(reader.line(frame), frame);
        assert_eq!(reader.line(b"\r\n##"), b"\r\n##");
        assert_eq!(reader.line(&frame[2..]), &frame[2..]);
        assert_eq!(reader.line(b""), b"");
        assert_eq!(reader.line(b"##"), b"\r\n##");
        assert_eq!(reader.place(28), 26);
    }
}

//! Asks two servers in turn, each on one kept connection, and says how long each answer took: a client that costs next
//! to nothing, for benches/map.py. `ask PORT SOCKET FILE`: onemap listens on the loopback's port, PostgreSQL on the Unix
//! socket, FILE is what is sent.
//!
//! FILE holds parts, each with its length before it (four bytes, the lowest first): the messages that open the
//! session with PostgreSQL, each answered; an empty part; then questions, first for the one, then for the other. Both
//! meet what else the machine does. One line a pair goes out: nanoseconds here, nanoseconds there, bytes here, bytes
//! there. An error of either ends it.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Instant;

type Failure = Box<dyn std::error::Error>;

/// What was read and not used yet.
struct Input<S> {
    stream: S,
    bytes: Vec<u8>,
    from: usize,
    to: usize,
}

impl<S: Read + Write> Input<S> {
    fn new(stream: S) -> Self {
        Self {
            stream,
            bytes: vec![0; 1 << 20],
            from: 0,
            to: 0,
        }
    }

    /// At least so many bytes that follow.
    fn peek(&mut self, n: usize) -> io::Result<&[u8]> {
        if self.from == self.to {
            (self.from, self.to) = (0, 0);
        }
        if self.from + n > self.bytes.len() {
            self.bytes.copy_within(self.from..self.to, 0);
            (self.from, self.to) = (0, self.to - self.from);
            self.bytes.resize(self.bytes.len().max(2 * n), 0);
        }
        while self.to - self.from < n {
            let read = self.stream.read(&mut self.bytes[self.to..])?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.to += read;
        }
        Ok(&self.bytes[self.from..self.to])
    }

    fn skip(&mut self, n: usize) -> io::Result<()> {
        self.peek(n)?;
        self.from += n;
        Ok(())
    }

    /// Where a text begins in what follows.
    fn find(&mut self, text: &[u8]) -> io::Result<usize> {
        let mut n = text.len();
        loop {
            let bytes = self.peek(n)?;
            if let Some(at) = bytes.windows(text.len()).position(|window| window == text) {
                return Ok(at);
            }
            n = bytes.len() + 1;
        }
    }
}

/// One answer of HTTP 1.1: its length.
fn http(input: &mut Input<TcpStream>, question: &[u8]) -> Result<usize, Failure> {
    input.stream.write_all(question)?;
    let end = input.find(b"\r\n\r\n")?;
    let head = std::str::from_utf8(&input.peek(end)?[..end])?.to_ascii_lowercase();
    let status = head.get(9..12).unwrap_or_default();
    if !["200", "204"].contains(&status) {
        return Err(format!("{}: {head}", String::from_utf8_lossy(question)).into());
    }
    input.skip(end + 4)?;
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let n = length.map_or(Ok(0), |length| length.trim().parse::<usize>())?;
    if length.is_none() && head.contains("transfer-encoding") {
        return Err("an answer in pieces".into());
    }
    input.skip(n)?;
    Ok(n)
}

/// One answer of PostgreSQL, up to where it is ready for the next question: its length.
fn postgres(input: &mut Input<UnixStream>, question: &[u8]) -> Result<usize, Failure> {
    input.stream.write_all(question)?;
    let mut n_all = 0;
    loop {
        let head = input.peek(5)?;
        let kind = head[0];
        let n = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize + 1;
        if kind == b'E' {
            return Err(String::from_utf8_lossy(&input.peek(n)?[5..n]).into());
        }
        input.skip(n)?;
        n_all += n;
        if kind == b'Z' {
            return Ok(n_all);
        }
    }
}

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [port, socket, file] = &arguments[..] else {
        return Err("ask PORT SOCKET FILE".into());
    };
    let bytes = std::fs::read(file)?;
    let mut rest = &bytes[..];
    let mut part = || -> Option<&[u8]> {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let (part, after) = after.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        rest = after;
        Some(part)
    };
    let tcp = TcpStream::connect(("127.0.0.1", port.parse()?))?;
    tcp.set_nodelay(true)?;
    let (mut here, mut there) = (Input::new(tcp), Input::new(UnixStream::connect(socket)?));
    while let Some(message) = part().filter(|message| !message.is_empty()) {
        postgres(&mut there, message)?;
    }
    let mut out = io::BufWriter::new(io::stdout().lock());
    while let (Some(one), Some(other)) = (part(), part()) {
        let begin = Instant::now();
        let n_here = http(&mut here, one)?;
        let took_here = begin.elapsed().as_nanos();
        let begin = Instant::now();
        let n_there = postgres(&mut there, other)?;
        let took_there = begin.elapsed().as_nanos();
        writeln!(out, "{took_here} {took_there} {n_here} {n_there}")?;
    }
    out.flush()?;
    Ok(())
}

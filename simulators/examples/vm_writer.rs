//! The peer's other half for `make bench-ingest`: subscribes to a broker and writes what it hears into
//! VictoriaMetrics, as little work as can be done well: QoS 1, line protocol, thousands of lines a
//! request, one kept connection.
//!
//! `vm_writer BROKER VICTORIA_METRICS` (both host:port); topics are `bench/{device}/telemetry`. Prints
//! how many readings are written, a line after each request.
#![allow(missing_docs)]

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use onemap_sim::mqtt::codec::{self, Incoming, Qos};
use serde::Deserialize;

/// Lines of one request.
const N_LINES: usize = 4000;

#[derive(Deserialize)]
struct Telemetry<'a> {
    ts: i64,
    #[serde(borrow)]
    values: std::collections::BTreeMap<&'a str, f64>,
}

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let mut args = std::env::args().skip(1);
    let usage = "usage: vm_writer BROKER VICTORIA_METRICS";
    let (broker, database) = (args.next().ok_or(usage)?, args.next().ok_or(usage)?);
    let mut database = Database::open(&database)?;
    let mut stream = TcpStream::connect(broker)?;
    stream.set_nodelay(true)?;
    let mut out = Vec::new();
    codec::connect(&mut out, "vm-writer", "", 0);
    codec::subscribe(&mut out, 1, "bench/+/telemetry", Qos::AtLeastOnce);
    stream.write_all(&out)?;
    stream.set_read_timeout(Some(Duration::from_millis(20)))?;
    let (mut inbox, mut chunk) = (Vec::new(), vec![0; 256 << 10]);
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => return Err("the broker has closed the connection".into()),
            Ok(n) => inbox.extend_from_slice(&chunk[..n]),
            Err(e) if e.kind() == ErrorKind::WouldBlock => database.write()?,
            Err(e) => return Err(e.into()),
        }
        out.clear();
        let mut used = 0;
        while let Some((packet, n)) = codec::cut(&inbox[used..])? {
            used += n;
            match packet {
                Incoming::Publish { topic, payload, id } => {
                    database.put(topic, payload)?;
                    if let Some(id) = id {
                        codec::puback(&mut out, id);
                    }
                }
                Incoming::SubAck { .. } => println!("ready"),
                _ => {}
            }
        }
        inbox.drain(..used);
        stream.write_all(&out)?;
    }
}

/// VictoriaMetrics at the other end of a kept HTTP connection.
struct Database {
    stream: TcpStream,
    lines: Vec<u8>,
    n_lines: usize,
    n_written: usize,
}

impl Database {
    fn open(address: &str) -> Result<Self, Failure> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            lines: Vec::new(),
            n_lines: 0,
            n_written: 0,
        })
    }

    fn put(&mut self, topic: &str, payload: &[u8]) -> Result<(), Failure> {
        let device = topic.split('/').nth(1).unwrap_or_default();
        let telemetry: Telemetry<'_> = serde_json::from_slice(payload)?;
        for (quantity, value) in &telemetry.values {
            writeln!(
                self.lines,
                "{quantity},device={device} value={value} {}",
                telemetry.ts
            )?;
            self.n_lines += 1;
        }
        if self.n_lines >= N_LINES {
            self.write()?;
        }
        Ok(())
    }

    /// Sends what is gathered and waits for the answer.
    fn write(&mut self) -> Result<(), Failure> {
        if self.n_lines == 0 {
            return Ok(());
        }
        write!(
            self.stream,
            "POST /write?precision=ms HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
            self.lines.len()
        )?;
        self.stream.write_all(&self.lines)?;
        let mut answer = Vec::new();
        let mut chunk = [0; 4096];
        while !answer.ends_with(b"\r\n\r\n") {
            let n = self.stream.read(&mut chunk)?;
            if n == 0 {
                return Err("the database has closed the connection".into());
            }
            answer.extend_from_slice(&chunk[..n]);
        }
        if !answer.starts_with(b"HTTP/1.1 204") {
            return Err(String::from_utf8_lossy(&answer).into_owned().into());
        }
        self.n_written += self.n_lines;
        self.lines.clear();
        self.n_lines = 0;
        println!("{}", self.n_written);
        Ok(())
    }
}

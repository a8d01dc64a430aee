//! A field device's end of a connection, of every protocol whose frames say their own length; and a server for it.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use onemap_model::Timestamp;
use onemap_wire::stream::{Framer, Framing, Piece};
use serde_json::Value;

use crate::server::{CONFIG, Server};

pub const LIMIT: Duration = Duration::from_secs(20);

pub fn now() -> Timestamp {
    Timestamp::from_system(std::time::SystemTime::now())
}

/// A server with a listener of one protocol; `more` stands in its section.
pub fn server(section: &str, more: &str) -> (tempfile::TempDir, Server) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("rules")).unwrap();
    let config = format!("{CONFIG}[{section}]\nlisten = \"127.0.0.1:0\"\nframe_seconds = 1\n{more}");
    std::fs::write(folder.path().join("onemap.toml"), config).unwrap();
    let server = Server::start_in(folder.path());
    (folder, server)
}

/// Where a server listens for a protocol.
pub fn address(server: &Server, section: &str) -> String {
    let text = std::fs::read_to_string(server.dir.join("ready.json")).unwrap();
    let ready: Value = serde_json::from_str(&text).unwrap();
    ready[section].as_str().unwrap().to_owned()
}

/// Why frames were refused, in the order of the names.
pub fn reasons(server: &Server) -> Vec<String> {
    server.caught_up();
    let entries = server.get("/api/v1/quarantine?limit=100");
    let items = entries["items"].as_array().unwrap().iter();
    let mut reasons: Vec<_> = items.map(|e| e["reason"].as_str().unwrap().to_owned()).collect();
    reasons.sort();
    reasons
}

/// A device on a plain socket.
pub struct Client<F: Framing> {
    pub socket: TcpStream,
    framer: Framer<F>,
    heard: VecDeque<F::Frame>,
}

impl<F: Framing> Client<F>
where
    F::Frame: Debug,
    F::Error: Debug,
{
    pub fn connect(server: &Server, section: &str) -> Self {
        let socket = TcpStream::connect(address(server, section)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        Self {
            socket,
            framer: Framer::new(),
            heard: VecDeque::new(),
        }
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).unwrap();
    }

    /// The next frame of the centre within a time; `None` when none comes or the connection has ended.
    pub fn within(&mut self, limit: Duration) -> Option<F::Frame> {
        let start = Instant::now();
        let mut bytes = [0; 4096];
        loop {
            if let Some(frame) = self.heard.pop_front() {
                return Some(frame);
            }
            if start.elapsed() > limit {
                return None;
            }
            match self.socket.read(&mut bytes) {
                Ok(0) => return None,
                Ok(n) => {
                    for piece in self.framer.push(&bytes[..n]) {
                        let Piece::Frame { frame, .. } = piece else {
                            panic!("the centre sent no frame: {piece:?}")
                        };
                        self.heard.push_back(frame);
                    }
                }
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => return None,
            }
        }
    }

    pub fn next(&mut self) -> F::Frame {
        self.within(LIMIT).expect("the centre says something")
    }
}

//! A station on a plain socket, and a server for it.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use onemap_wire::hj212::{self, Framer, Piece, Segment};
use serde_json::{Value, json};

use crate::server::{CONFIG, Server};

pub const LIMIT: Duration = Duration::from_secs(20);
pub const PW: &str = "123456";

/// A server with an HJ 212 listener; `more` stands in its section.
pub fn server(more: &str) -> (tempfile::TempDir, Server) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("rules")).unwrap();
    let config = format!("{CONFIG}[hj212]\nlisten = \"127.0.0.1:0\"\n{more}");
    std::fs::write(folder.path().join("onemap.toml"), config).unwrap();
    let server = Server::start_in(folder.path());
    (folder, server)
}

/// Where the server listens for stations.
pub fn address(dir: &Path) -> String {
    let text = std::fs::read_to_string(dir.join("ready.json")).unwrap();
    let ready: Value = serde_json::from_str(&text).unwrap();
    ready["hj212"].as_str().unwrap().to_owned()
}

/// Registers a station with the shipped profile and [`PW`].
pub fn register(server: &Server, mn: &str) {
    server.add_device(mn, &json!({"profile": "hj212-air"}));
    let path = format!("/api/v1/devices/{mn}/token");
    let answer = server.post(&path, &json!({"password": PW}));
    assert!(answer.get("token").is_none(), "{answer}");
}

/// A frame of a segment's text.
pub fn frame(text: &str) -> Vec<u8> {
    let crc = hj212::crc(text.as_bytes());
    format!("##{:04}{text}{crc:04X}\r\n", text.len()).into_bytes()
}

/// A frame of a station with [`PW`].
pub fn says(mn: &str, qn: &str, cn: &str, flag: &str, cp: &str) -> Vec<u8> {
    frame(&format!(
        "QN={qn};ST=22;CN={cn};PW={PW};MN={mn};Flag={flag};CP=&&{cp}&&"
    ))
}

/// A station's end of a connection.
pub struct Station {
    pub socket: TcpStream,
    framer: Framer,
    heard: std::collections::VecDeque<Segment>,
}

impl Station {
    pub fn connect(server: &Server) -> Self {
        Self::of(TcpStream::connect(address(&server.dir)).unwrap())
    }

    /// From another address of this machine.
    pub fn connect_from(server: &Server, own: [u8; 4]) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .unwrap();
        let to = address(&server.dir).parse().unwrap();
        let socket = runtime.block_on(async {
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            socket.bind((own, 0).into()).unwrap();
            socket.connect(to).await.unwrap().into_std().unwrap()
        });
        socket.set_nonblocking(false).unwrap();
        Self::of(socket)
    }

    fn of(socket: TcpStream) -> Self {
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        Self {
            socket,
            framer: Framer::default(),
            heard: Default::default(),
        }
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).unwrap();
    }

    /// The next frame from the centre within a time; `None` when none comes or the connection has ended.
    pub fn within(&mut self, limit: Duration) -> Option<Segment> {
        let start = Instant::now();
        let mut bytes = [0; 4096];
        loop {
            if let Some(segment) = self.heard.pop_front() {
                return Some(segment);
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
                        self.heard.push_back(hj212::decode(&frame, None).unwrap());
                    }
                }
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => return None,
            }
        }
    }

    pub fn next(&mut self) -> Segment {
        self.within(LIMIT).expect("the centre says something")
    }

    /// Waits until the centre has closed the connection.
    pub fn is_closed(&mut self, limit: Duration) -> bool {
        let start = Instant::now();
        let mut bytes = [0; 4096];
        while start.elapsed() < limit {
            match self.socket.read(&mut bytes) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => return true,
            }
        }
        false
    }
}

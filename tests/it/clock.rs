//! A server's clock that a test sets, so that days of record time go by at once.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use onemap_model::Timestamp;

use crate::server::{Server, peer};

/// Ours plus what stands in a file, by libfaketime (Debian package `faketime`). Pauses and timeouts stay as they are.
pub struct Clock {
    library: PathBuf,
    file: PathBuf,
    ahead_ms: i64,
}

impl Clock {
    /// The clock of a server in a folder, not ahead of ours; `None`, with a loud word, without the library.
    pub fn new(dir: &Path) -> Option<Self> {
        peer("faketime")?;
        let libraries = std::fs::read_dir("/usr/lib").unwrap().flatten();
        let library = libraries
            .map(|entry| entry.path().join("faketime/libfaketimeMT.so.1"))
            .find(|path| path.exists())
            .expect("the program comes with its library");
        let mut clock = Self {
            library,
            file: dir.join("clock"),
            ahead_ms: 0,
        };
        clock.set(ours());
        Some(clock)
    }

    /// Now for the server, milliseconds.
    pub fn now(&self) -> i64 {
        ours() + self.ahead_ms
    }

    /// It is this time now, and goes on from here.
    pub fn set(&mut self, at_ms: i64) {
        self.ahead_ms = at_ms - ours();
        let part = self.file.with_extension("part");
        std::fs::write(&part, format!("{:+.3}", self.ahead_ms as f64 / 1000.0)).unwrap();
        std::fs::rename(part, &self.file).unwrap();
    }

    /// Starts a server by this clock.
    pub fn start(&self, dir: &Path) -> Server {
        Server::start_with(dir, |command: &mut Command| {
            command
                .env("LD_PRELOAD", &self.library)
                .env("FAKETIME_TIMESTAMP_FILE", &self.file)
                .env("FAKETIME_NO_CACHE", "1")
                .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
                .env("DONT_FAKE_MONOTONIC", "1");
        })
    }
}

fn ours() -> i64 {
    Timestamp::from_system(SystemTime::now()).ms()
}

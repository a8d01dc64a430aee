//! Files of security events: a JSON line each, the newest in `events.ndjson`, those before in `events.1.ndjson` and on.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use onemap_dashboards::security::{Event, N_SHOWN};

/// The folder of the files, in the data folder.
const FOLDER: &str = "security";
/// Bytes of the newest file when it becomes the one before.
const MAX_BYTES: u64 = 16 << 20;
/// Files at most; the oldest goes.
const N_FILES: usize = 8;

/// Takes events.
pub(super) struct Files {
    folder: PathBuf,
    newest: File,
    n_bytes: u64,
    max_bytes: u64,
    /// The last line may be a part of one: the disk did not take it whole.
    is_cut: bool,
}

/// A file by how many there are after it.
fn path(folder: &Path, age: usize) -> PathBuf {
    match age {
        0 => folder.join("events.ndjson"),
        age => folder.join(format!("events.{age}.ndjson")),
    }
}

/// The events of a file, oldest first. A line that was cut by a stop is left out.
fn read(path: &Path) -> Result<Vec<Event>> {
    let reading = || format!("cannot read {}", path.display());
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(reading),
    };
    let mut events = Vec::new();
    for line in BufReader::new(file).split(b'\n') {
        let line = line.with_context(reading)?;
        events.extend(serde_json::from_slice::<Event>(&line));
    }
    Ok(events)
}

impl Files {
    /// Opens them; gives the newest events in them, oldest first.
    ///
    /// # Errors
    /// When they cannot be read or written.
    pub(super) fn open(dir: &Path) -> Result<(Self, Vec<Event>)> {
        let folder = dir.join(FOLDER);
        std::fs::create_dir_all(&folder).with_context(|| format!("no folder {}", folder.display()))?;
        let mut kept = Vec::new();
        for age in 0..N_FILES {
            if kept.len() >= N_SHOWN {
                break;
            }
            let mut older = read(&path(&folder, age))?;
            older.append(&mut kept);
            kept = older;
        }
        kept.drain(..kept.len().saturating_sub(N_SHOWN));
        let (newest, n_bytes) = append_to(&path(&folder, 0))?;
        let files = Self {
            folder,
            newest,
            n_bytes,
            max_bytes: MAX_BYTES,
            is_cut: false,
        };
        Ok((files, kept))
    }

    /// Writes an event.
    ///
    /// # Errors
    /// When the disk does not take it; the next one is tried again.
    pub(super) fn keep(&mut self, event: &Event) -> Result<()> {
        if self.n_bytes >= self.max_bytes {
            self.set_aside()?;
        }
        let mut line = if self.is_cut { vec![b'\n'] } else { Vec::new() };
        serde_json::to_writer(&mut line, event).context("an event cannot be written as JSON")?;
        line.push(b'\n');
        self.is_cut = true;
        self.newest
            .write_all(&line)
            .with_context(|| format!("cannot write {}", path(&self.folder, 0).display()))?;
        self.is_cut = false;
        self.n_bytes += line.len() as u64;
        Ok(())
    }

    fn set_aside(&mut self) -> Result<()> {
        for age in (1..N_FILES).rev() {
            let (from, to) = (path(&self.folder, age - 1), path(&self.folder, age));
            match std::fs::rename(&from, &to) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("cannot rename {}", from.display()));
                }
                _ => {}
            }
        }
        (self.newest, self.n_bytes) = append_to(&path(&self.folder, 0))?;
        Ok(())
    }
}

/// A file to append to, behind a whole line, and its bytes.
fn append_to(path: &Path) -> Result<(File, u64)> {
    let writing = || format!("cannot write {}", path.display());
    let mut options = OpenOptions::new();
    let opened = options.create(true).read(true).append(true).open(path);
    let mut file = opened.with_context(writing)?;
    let n_bytes = file.seek(SeekFrom::End(0)).with_context(writing)?;
    if n_bytes > 0 {
        let mut last = [0];
        file.seek(SeekFrom::End(-1)).with_context(writing)?;
        file.read_exact(&mut last).with_context(writing)?;
        if last != *b"\n" {
            file.write_all(b"\n").with_context(writing)?;
        }
    }
    Ok((file, n_bytes))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use onemap_dashboards::security::Kind;
    use onemap_model::Timestamp;

    use super::*;

    fn event(seq: u64) -> Event {
        Event {
            seq,
            at: Timestamp::from_ms(1_763_856_000_000),
            kind: Kind::Denied,
            actor: None,
            peer: None,
            subject: "x".to_owned(),
            detail: "y".to_owned(),
            n: 1,
        }
    }

    fn numbers(kept: &[Event]) -> Vec<u64> {
        kept.iter().map(|event| event.seq).collect()
    }

    #[test]
    fn events_are_there_after_a_stop_and_a_cut_line_costs_itself() {
        let dir = tempfile::tempdir().unwrap();
        let (mut files, kept) = Files::open(dir.path()).unwrap();
        assert!(kept.is_empty());
        files.keep(&event(1)).unwrap();
        files.keep(&event(2)).unwrap();
        files.newest.write_all(b"{\"seq\":3,\"at").unwrap();
        drop(files);
        let (mut files, kept) = Files::open(dir.path()).unwrap();
        assert_eq!(numbers(&kept), [1, 2]);
        files.keep(&event(4)).unwrap();
        let (_, kept) = Files::open(dir.path()).unwrap();
        assert_eq!(numbers(&kept), [1, 2, 4]);
    }

    #[test]
    fn files_are_so_many_and_so_large_and_the_newest_events_are_in_them() {
        let dir = tempfile::tempdir().unwrap();
        let (mut files, _) = Files::open(dir.path()).unwrap();
        files.max_bytes = 1000;
        let n_events = 200;
        for seq in 1..=n_events {
            files.keep(&event(seq)).unwrap();
        }
        let found: Vec<u64> = std::fs::read_dir(dir.path().join(FOLDER))
            .unwrap()
            .map(|entry| entry.unwrap().metadata().unwrap().len())
            .collect();
        assert_eq!(found.len(), N_FILES);
        assert!(found.iter().all(|bytes| *bytes < 1000 + 200), "{found:?}");
        let (_, kept) = Files::open(dir.path()).unwrap();
        let first = kept[0].seq;
        assert!(first > 1);
        assert_eq!(numbers(&kept), (first..=n_events).collect::<Vec<_>>());
    }

    #[test]
    fn no_more_than_what_is_shown_is_taken_up() {
        let dir = tempfile::tempdir().unwrap();
        let (mut files, _) = Files::open(dir.path()).unwrap();
        files.max_bytes = 1 << 20;
        let n_events = N_SHOWN as u64 + 5000;
        for seq in 1..=n_events {
            files.keep(&event(seq)).unwrap();
        }
        let (_, kept) = Files::open(dir.path()).unwrap();
        assert_eq!(kept.len(), N_SHOWN);
        assert_eq!((kept[0].seq, kept[N_SHOWN - 1].seq), (5001, n_events));
    }
}

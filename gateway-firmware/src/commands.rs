//! Commands from the server, each carried out once.
//!
//! A command that comes again (a lost acknowledgement, a server that started anew) gets the answer of the
//! first time; one that was begun before this process and has no answer is not begun again. The file
//! `commands` in the spool's folder says which: one JSON line when a command is begun, one when it is
//! answered, one when the server has the answer.
//!
//! A command is named by its number and its expiry together, since a server that starts with an empty
//! ledger numbers from 1 again.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tracing::{info, warn};

/// Commands that are remembered; the oldest go first. Far more than a server keeps waiting for one device.
const N_REMEMBERED: usize = 1_000;
/// Lines of the file before it is written anew.
const N_LINES: usize = 4 * N_REMEMBERED;

/// A command as the server sends it.
#[derive(Debug, Deserialize)]
struct Asked {
    id: u64,
    method: String,
    #[serde(default)]
    params: Value,
    /// Milliseconds since 1970.
    #[serde(default)]
    expires: i64,
}

/// One line of the file.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    id: u64,
    expires: i64,
    #[serde(flatten)]
    what: What,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum What {
    Begun(bool),
    Answer(Value),
    Told(bool),
}

#[derive(Debug)]
struct Known {
    id: u64,
    expires: i64,
    answer: Option<Value>,
    /// Published on the present connection.
    published: bool,
    told: bool,
}

/// What the gateway can do.
pub trait Deeds {
    /// Carries out a method: its result, or why not.
    fn deed(&mut self, method: &str, params: &Value) -> Result<Value, String>;
}

/// The commands that this gateway knows.
#[derive(Debug)]
pub struct Commands {
    path: PathBuf,
    file: File,
    n_lines: usize,
    known: VecDeque<Known>,
}

impl Commands {
    /// Opens or makes the file in the spool's folder. A damaged line (the end of an interrupted write) is
    /// passed over.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn open(spool_dir: &Path) -> anyhow::Result<Self> {
        let path = spool_dir.join("commands");
        let text = match fs::read(&path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(e) if e.kind() == io::ErrorKind::NotFound => String::new(),
            Err(e) => return Err(e).with_context(|| format!("cannot read `{}`", path.display())),
        };
        let mut known = VecDeque::new();
        for (n, line) in text.lines().enumerate() {
            match serde_json::from_str::<Line>(line) {
                Ok(line) => take(&mut known, line),
                Err(e) => warn!("line {} of `{}` is passed over: {e}", n + 1, path.display()),
            }
        }
        let file = write_anew(&path, &known).with_context(|| format!("cannot write `{}`", path.display()))?;
        Ok(Self {
            path,
            file,
            n_lines: 0,
            known,
        })
    }

    /// Takes a message from the command topic; gives the answer to publish. A message that is no command has
    /// no answer.
    ///
    /// # Errors
    /// When the disk refuses: then nothing was done.
    pub fn take(&mut self, payload: &[u8], now_ms: i64, deeds: &mut impl Deeds) -> io::Result<Option<Value>> {
        let asked: Asked = match serde_json::from_slice(payload) {
            Ok(asked) => asked,
            Err(e) => {
                warn!("a command that cannot be read: {e}");
                return Ok(None);
            }
        };
        let Asked {
            id,
            method,
            params,
            expires,
        } = asked;
        if let Some(known) = self.known.iter().find(|k| (k.id, k.expires) == (id, expires)) {
            if let Some(answer) = &known.answer {
                info!(
                    command = id,
                    "command {id} came again and is not carried out twice"
                );
                return Ok(Some(answer.clone()));
            }
            let answer = refusal(
                id,
                "it was begun before a restart; whether it was done is not known",
            );
            self.note(id, expires, What::Answer(answer.clone()))?;
            return Ok(Some(answer));
        }
        if expires != 0 && now_ms >= expires {
            warn!(
                command = id,
                "command {id} came {} ms after its expiry",
                now_ms - expires
            );
            let late = format!("expired {} ms ago by this gateway's clock", now_ms - expires);
            return Ok(Some(refusal(id, &late)));
        }
        self.note(id, expires, What::Begun(true))?;
        let answer = match deeds.deed(&method, &params) {
            Ok(result) => json!({"id": id, "ok": true, "result": result}),
            Err(error) => refusal(id, &error),
        };
        info!(command = id, ok = %answer["ok"], "command {id}, `{method}`, is carried out");
        self.note(id, expires, What::Answer(answer.clone()))?;
        if let Some(known) = self.known.back_mut() {
            known.published = true;
        }
        Ok(Some(answer))
    }

    /// A new connection: what was published on the last one may not have arrived.
    pub fn begin(&mut self) {
        self.known.iter_mut().for_each(|k| k.published = false);
    }

    /// At most `most` answers that the server may not have and that are not on their way, oldest first; they
    /// are to be published now.
    pub fn untold(&mut self, most: usize) -> Vec<Value> {
        let untold = self.known.iter_mut().filter(|k| !k.told && !k.published);
        untold
            .filter(|k| k.answer.is_some())
            .take(most)
            .filter_map(|k| {
                k.published = true;
                k.answer.clone()
            })
            .collect()
    }

    /// The server has every answer that was published.
    ///
    /// # Errors
    /// When the disk refuses; then they are published again after a restart.
    pub fn told(&mut self) -> io::Result<()> {
        let told: Vec<_> = self
            .known
            .iter()
            .filter(|k| k.published && !k.told && k.answer.is_some())
            .map(|k| (k.id, k.expires))
            .collect();
        for (id, expires) in told {
            self.note(id, expires, What::Told(true))?;
        }
        Ok(())
    }

    fn note(&mut self, id: u64, expires: i64, what: What) -> io::Result<()> {
        if self.n_lines >= N_LINES {
            self.file = write_anew(&self.path, &self.known)?;
            self.n_lines = 0;
        }
        let line = Line { id, expires, what };
        let mut text = serde_json::to_vec(&line)?;
        text.push(b'\n');
        self.file.write_all(&text)?;
        self.file.sync_data()?;
        self.n_lines += 1;
        take(&mut self.known, line);
        Ok(())
    }
}

fn refusal(id: u64, error: &str) -> Value {
    json!({"id": id, "ok": false, "error": error})
}

fn take(known: &mut VecDeque<Known>, line: Line) {
    let Line { id, expires, what } = line;
    let at = match known.iter().position(|k| (k.id, k.expires) == (id, expires)) {
        Some(at) => at,
        None => {
            if known.len() == N_REMEMBERED {
                known.pop_front();
            }
            known.push_back(Known {
                id,
                expires,
                answer: None,
                published: false,
                told: false,
            });
            known.len() - 1
        }
    };
    match what {
        What::Begun(_) => {}
        What::Answer(answer) => known[at].answer = Some(answer),
        What::Told(_) => known[at].told = true,
    }
}

/// Writes the file whole or not at all, and opens it to go on.
fn write_anew(path: &Path, known: &VecDeque<Known>) -> io::Result<File> {
    let mut text = Vec::new();
    for k in known {
        let mut line = |what| -> io::Result<()> {
            let line = Line {
                id: k.id,
                expires: k.expires,
                what,
            };
            serde_json::to_writer(&mut text, &line)?;
            text.push(b'\n');
            Ok(())
        };
        line(What::Begun(true))?;
        if let Some(answer) = &k.answer {
            line(What::Answer(answer.clone()))?;
        }
        if k.told {
            line(What::Told(true))?;
        }
    }
    let fresh = path.with_extension("new");
    let mut file = File::create(&fresh)?;
    file.write_all(&text)?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    if let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    OpenOptions::new().append(true).open(path)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Counts what is carried out.
    struct Counting(u32);

    impl Deeds for Counting {
        fn deed(&mut self, method: &str, _: &Value) -> Result<Value, String> {
            if method != "ping" {
                return Err("not supported".to_owned());
            }
            self.0 += 1;
            Ok(json!(self.0))
        }
    }

    const PING: &[u8] = br#"{"id":7,"method":"ping","params":{},"expires":5000}"#;

    #[test]
    fn a_command_is_carried_out_once_even_over_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let mut deeds = Counting(0);
        let mut commands = Commands::open(dir.path()).unwrap();
        let done = Some(json!({"id": 7, "ok": true, "result": 1}));
        assert_eq!(commands.take(PING, 0, &mut deeds).unwrap(), done);
        assert_eq!(
            commands.take(PING, 9000, &mut deeds).unwrap(),
            done,
            "again, late"
        );
        drop(commands);
        let mut commands = Commands::open(dir.path()).unwrap();
        assert_eq!(commands.untold(9), [done.clone().unwrap()]);
        assert!(commands.untold(9).is_empty(), "it is on its way");
        assert_eq!(commands.take(PING, 0, &mut deeds).unwrap(), done);
        commands.told().unwrap();
        assert!(Commands::open(dir.path()).unwrap().untold(9).is_empty());
        // The same number with another expiry is another server's command.
        let other = br#"{"id":7,"method":"ping","expires":6000}"#;
        commands.take(other, 0, &mut deeds).unwrap();
        assert_eq!(deeds.0, 2);
    }

    #[test]
    fn what_was_begun_and_not_answered_is_not_begun_again() {
        let dir = tempfile::tempdir().unwrap();
        let torn = "{\"id\":7,\"expires\":5000,\"begun\":true}\n{\"id\":7,\"expi";
        std::fs::write(dir.path().join("commands"), torn).unwrap();
        let mut deeds = Counting(0);
        let mut commands = Commands::open(dir.path()).unwrap();
        let answer = commands.take(PING, 0, &mut deeds).unwrap().unwrap();
        assert_eq!((deeds.0, &answer["ok"]), (0, &json!(false)));
        assert!(answer["error"].as_str().unwrap().contains("before a restart"));
    }

    #[test]
    fn expired_unknown_and_foreign_commands_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mut deeds = Counting(0);
        let mut commands = Commands::open(dir.path()).unwrap();
        let late = commands.take(PING, 5000, &mut deeds).unwrap().unwrap();
        assert!(late["error"].as_str().unwrap().starts_with("expired 0 ms ago"));
        let unknown = br#"{"id":8,"method":"dance","expires":5000}"#;
        let unknown = commands.take(unknown, 0, &mut deeds).unwrap().unwrap();
        assert_eq!(unknown, json!({"id": 8, "ok": false, "error": "not supported"}));
        for foreign in [&b"open"[..], b"{}", b"{\"id\":-1,\"method\":\"ping\"}", b"\xff"] {
            assert_eq!(commands.take(foreign, 0, &mut deeds).unwrap(), None);
        }
        assert_eq!(deeds.0, 0);
    }

    #[test]
    fn the_file_does_not_grow_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let mut commands = Commands::open(dir.path()).unwrap();
        for id in 0..N_LINES as u64 {
            take(
                &mut commands.known,
                Line {
                    id,
                    expires: 1,
                    what: What::Told(true),
                },
            );
        }
        commands.n_lines = N_LINES;
        commands.note(1, 1, What::Begun(true)).unwrap();
        assert_eq!(commands.known.len(), N_REMEMBERED);
        let text = std::fs::read_to_string(dir.path().join("commands")).unwrap();
        assert!(text.lines().count() <= 2 * N_REMEMBERED + 1);
    }
}

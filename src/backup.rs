//! `onemap backup DIR`: a copy of everything that is kept, consistent in itself, while the server runs.
//!
//! Each part is copied as one commit left it, in the order in which a start needs them: no part stands
//! before one that is copied earlier (sessions, register, history, ledger), and the journal comes last and
//! reaches behind all of them. Nothing is stopped for it; the journal's retention alone waits.
//!
//! What was written is in the backup when its manifest is: that is renamed into place last. Files lie under
//! the SHA-256 of what they hold, so the next backup into the same folder writes what has changed, and one
//! that is cut short leaves the one before as it was.

mod manifest;
mod sink;

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::ops::ControlFlow;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use onemap_dashboards::keeping::Backups;
use onemap_dashboards::views::Views;
use onemap_store::history::LeftOut;
use onemap_store::persons;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

pub(crate) use manifest::{Kept, MANIFEST, Manifest, OBJECTS};
pub(crate) use sink::digest_of;
use sink::{Room, Sink, sync_dir};

use crate::config::Config;
use crate::{door, house};

/// Exit code of a backup, a restore or an export that was made and is not whole, because rows are damaged.
pub(crate) const NOT_WHOLE: u8 = 3;
/// How long the journal may take to close the segment that it writes.
const ROTATES: Duration = Duration::from_secs(30);
/// How often the command asks how it goes.
const ASKS: Duration = Duration::from_millis(200);

/// How one backup goes.
#[derive(Default)]
struct Going {
    files: AtomicU64,
    bytes: AtomicU64,
    written: AtomicU64,
}

/// Makes backups of the running server, one at a time.
pub(crate) struct Maker {
    views: Arc<Views>,
    config: Config,
    stop: CancellationToken,
    last: Arc<Mutex<Value>>,
    going: Arc<Mutex<Option<Arc<Going>>>>,
}

impl Maker {
    pub(crate) fn new(views: Arc<Views>, config: Config, stop: CancellationToken) -> Self {
        Self {
            views,
            config,
            stop,
            last: Arc::new(Mutex::new(json!({"state": "none"}))),
            going: Arc::default(),
        }
    }
}

/// What these locks guard is replaced whole.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Backups for Maker {
    fn begin(&self, dir: &Path) -> Result<(), String> {
        let mut going = lock(&self.going);
        if going.is_some() {
            return Err("a backup is being made; one at a time".to_owned());
        }
        check_folder(&self.config, dir).map_err(|error| format!("{error:#}"))?;
        let own = Arc::new(Going::default());
        *going = Some(own.clone());
        drop(going);
        let (views, config, stop) = (self.views.clone(), self.config.clone(), self.stop.clone());
        let (last, going, dir) = (self.last.clone(), self.going.clone(), dir.to_owned());
        let run = move || {
            let made = make(&views, &config, &dir, &own, &|| stop.is_cancelled());
            let said = match made {
                Ok(said) => said,
                Err(error) => {
                    warn!("the backup into {} failed: {error:#}", dir.display());
                    json!({"state": "failed", "dir": dir, "why": format!("{error:#}")})
                }
            };
            *lock(&last) = said;
            *lock(&going) = None;
        };
        let spawned = std::thread::Builder::new().name("backup".to_owned()).spawn(run);
        spawned.map(|_| ()).map_err(|error| {
            *lock(&self.going) = None;
            format!("no thread can be started: {error}")
        })
    }

    fn state(&self) -> Value {
        match &*lock(&self.going) {
            Some(going) => json!({
                "state": "running",
                "files": going.files.load(Ordering::Relaxed),
                "bytes": going.bytes.load(Ordering::Relaxed),
                "bytes_written": going.written.load(Ordering::Relaxed),
            }),
            None => lock(&self.last).clone(),
        }
    }
}

/// The command: by the running server, or by itself when the folder is not served.
pub(crate) fn backup(config: &Config, dir: &Path, json: bool) -> Result<ExitCode> {
    let dir = std::path::absolute(dir).with_context(|| format!("no folder is {}", dir.display()))?;
    let said = match door::running(config)? {
        Some(remote) => {
            let mut said = remote.post("/api/v1/backup", &json!({"dir": dir}))?;
            while said["state"] == "running" {
                std::thread::sleep(ASKS);
                said = remote.get("/api/v1/backup")?;
            }
            said
        }
        None => {
            ensure!(
                config.data_dir.join("journal").exists(),
                "{} holds no journal: nothing was ever kept there",
                config.data_dir.display()
            );
            check_folder(config, &dir)?;
            let house = house::open(config, None, house::Purpose::Look)?;
            let said = make(&house.views, config, &dir, &Going::default(), &|| false)?;
            house.views.log.close().context("the journal cannot be closed")?;
            said
        }
    };
    if said["state"] != "done" {
        bail!(
            "no backup was made: {}",
            said["why"].as_str().unwrap_or("the server says nothing of it")
        );
    }
    let damaged: Vec<&str> = said["damaged"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let code = match damaged.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(NOT_WHOLE),
    };
    if json {
        crate::say!("{said}");
        return Ok(code);
    }
    crate::say!(
        "backup in {}: {} files, {} bytes, {} of them written now; journal to record {}",
        dir.display(),
        said["files"],
        said["bytes"],
        said["bytes_written"],
        said["journal"]["last"]
    );
    for left_out in said["left_out"].as_array().into_iter().flatten() {
        crate::say!("left out: {}", left_out.as_str().unwrap_or_default());
    }
    for damaged in damaged {
        crate::say!("damaged, not in the backup: {damaged}");
    }
    Ok(code)
}

/// Whether a backup may be put there: a new or empty folder, or one that holds a backup.
fn check_folder(config: &Config, dir: &Path) -> Result<()> {
    let data = std::path::absolute(&config.data_dir).context("the data folder has no path")?;
    ensure!(
        !dir.starts_with(&data) && !data.starts_with(dir),
        "{} lies in the data folder or around it; a backup belongs elsewhere, best on another disk",
        dir.display()
    );
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .with_context(|| format!("cannot make {}", dir.display()))?;
    let held = std::fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    let names: Vec<_> = held.flatten().map(|entry| entry.file_name()).collect();
    let is_ours = names.iter().any(|name| name == MANIFEST || name == OBJECTS);
    ensure!(
        names.is_empty() || is_ours,
        "{} holds something that is no backup; give an empty folder",
        dir.display()
    );
    Ok(())
}

/// A backup on its way.
struct Making<'a> {
    views: &'a Views,
    config: &'a Config,
    dir: &'a Path,
    going: &'a Going,
    is_over: &'a dyn Fn() -> bool,
    /// Of the backup that is there already.
    before: Manifest,
    room: Room,
    files: Vec<Kept>,
    left_out: Vec<String>,
    /// Of the history.
    damaged: Vec<LeftOut>,
}

fn make(
    views: &Views,
    config: &Config,
    dir: &Path,
    going: &Going,
    is_over: &dyn Fn() -> bool,
) -> Result<Value> {
    // Nothing of the journal goes while it is copied; a running round of the retention ends first.
    let _held = lock(&views.keeping.segments);
    let started = Instant::now();
    let objects = dir.join(OBJECTS);
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&objects)
        .with_context(|| format!("cannot make {}", objects.display()))?;
    let mut making = Making {
        views,
        config,
        dir,
        going,
        is_over,
        before: Manifest::read(dir).ok().unwrap_or_default(),
        room: Room::of(dir, &config.data_dir, config.journal_reserve_bytes),
        files: Vec::new(),
        damaged: Vec::new(),
        left_out: vec![
            "admin.token: the local owner's token; a start makes another".to_owned(),
            "seal.key: opens passwords of commands that wait; those are not sent after a restore".to_owned(),
            "audit.key, audit-sm2.key: sign heads of the audit; a start makes another".to_owned(),
            "ready.json: where the server listens".to_owned(),
        ],
    };
    if config.data_dir.join(persons::KEY_FILE).exists() {
        making.left_out.push(
            "persons.key: opens what is known of persons; keep a copy of it apart, without it nobody is found again after a restore"
                .to_owned(),
        );
    }
    making.configuration()?;
    let sessions = config.data_dir.join("mqtt-sessions");
    if sessions.exists() {
        making.copy("mqtt-sessions", &sessions)?;
    }
    // In this order; see the head of this file.
    let register = views.progress.borrow().register;
    making.database("register.gpkg")?;
    let history = making.history()?;
    // Cursors before what they point into: what went out meanwhile goes out again after a restore.
    if config.data_dir.join(onemap_store::feeds::FILE).exists() {
        making.database(onemap_store::feeds::FILE)?;
    }
    making.database("ledger.sqlite")?;
    let ledger = views.ledger.cursor().context("the ledger cannot be read")?;
    let (first, last) = making.journal(ledger.max(history))?;
    let Making {
        files,
        left_out,
        damaged,
        ..
    } = making;
    let manifest = Manifest {
        format: manifest::FORMAT,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        made_at: house::clock().to_string(),
        source: config.data_dir.display().to_string(),
        journal_first: first,
        journal_last: last,
        history_cursor: history,
        register_cursor: register,
        ledger_cursor: ledger,
        left_out: left_out.clone(),
        damaged,
        files,
    };
    manifest.write(dir)?;
    let missing = manifest.missing();
    for missing in &missing {
        warn!("the backup in {} is without {missing}", dir.display());
    }
    sweep(&objects, &manifest);
    let bytes: u64 = manifest.files.iter().map(|file| file.bytes).sum();
    info!(
        files = manifest.files.len(),
        bytes,
        last,
        "a backup is in {}",
        dir.display()
    );
    Ok(json!({
        "state": "done",
        "dir": dir,
        "files": manifest.files.len(),
        "bytes": bytes,
        "bytes_written": going.written.load(Ordering::Relaxed),
        "seconds": started.elapsed().as_secs_f64(),
        "journal": {"first": first, "last": last},
        "cursors": {"history": history, "register": register, "ledger": ledger},
        "left_out": left_out,
        "damaged": missing,
    }))
}

impl Making<'_> {
    /// Rules, profiles, push sources and `onemap.toml`, as far as they are no secrets.
    fn configuration(&mut self) -> Result<()> {
        let folders = [
            ("rules", self.config.rules_dir.clone()),
            ("profiles", self.config.profiles_dir.clone()),
            ("push", self.config.push_dir.clone()),
        ];
        for (name, folder) in folders {
            let Ok(held) = std::fs::read_dir(&folder) else {
                continue;
            };
            let mut paths: Vec<PathBuf> = held.flatten().map(|entry| entry.path()).collect();
            paths.sort();
            for path in paths.into_iter().filter(|path| path.is_file()) {
                let file = path
                    .file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned();
                let is_yaml = path.extension().is_some_and(|e| e == "yaml" || e == "yml");
                if name == "push" && !is_yaml {
                    self.left_out.push(format!("push/{file}: it may be a secret"));
                } else {
                    self.copy(&format!("{name}/{file}"), &path)?;
                }
            }
        }
        if let Some(path) = self.config.written_at() {
            let path = path.to_owned();
            self.copy("onemap.toml", &path)?;
        }
        Ok(())
    }

    /// A SQLite file as its last commit left it.
    fn database(&mut self, name: &str) -> Result<()> {
        let (from, part) = (self.config.data_dir.join(name), self.part(name));
        if part.exists() {
            std::fs::remove_file(&part).with_context(|| format!("cannot remove {}", part.display()))?;
        }
        let size = std::fs::metadata(&from).map_or(0, |meta| meta.len());
        self.room.check(size)?;
        let copied =
            onemap_store::copy_file(&from, &part).with_context(|| format!("{name} cannot be copied"));
        let kept = copied.and_then(|()| self.digest(&part));
        match kept {
            Ok((sha256, bytes)) => self.take(name, &part, sha256, bytes),
            Err(error) => {
                // It is of no use; whether it can be removed changes nothing.
                let _ = std::fs::remove_file(&part);
                Err(error)
            }
        }
    }

    /// The history's rows as of its last checkpoint; gives its cursor. What is damaged is left out and named. Where that
    /// is what all other rows stand by, its keyspace is left out whole: what is restored then stands at record 0, and a
    /// start folds the journal into it again.
    fn history(&mut self) -> Result<u64> {
        let copy = self
            .views
            .history
            .copy()
            .context("the history cannot be copied")?;
        let mut cursor = copy.cursor();
        for keyspace in copy.keyspaces() {
            let part = self.part(&keyspace);
            let mut sink = Sink::create(&part, &self.room)?;
            let is_over = self.is_over;
            let mut n = 0u64;
            let mut pace = |bytes: u64| {
                n += bytes;
                match n > 1 << 20 && std::mem::take(&mut n) > 0 && is_over() {
                    true => ControlFlow::Break(()),
                    false => ControlFlow::Continue(()),
                }
            };
            let mut out = BufWriter::with_capacity(1 << 18, &mut sink);
            let written = copy
                .write(&keyspace, &mut out, &mut pace)
                .map_err(anyhow::Error::from)
                .and_then(|copied| out.flush().context("the copy cannot be written").map(|()| copied));
            drop(out);
            let done = written.and_then(|copied| Ok((copied, sink.finish()?)));
            let (copied, (sha256, bytes)) = match done {
                Ok(done) => done,
                Err(error) => {
                    // As above.
                    let _ = std::fs::remove_file(&part);
                    return Err(error.context(format!("the history's `{keyspace}` cannot be copied")));
                }
            };
            self.damaged.extend(copied.left_out);
            if !copied.is_usable {
                cursor = 0;
                std::fs::remove_file(&part).with_context(|| format!("cannot remove {}", part.display()))?;
                continue;
            }
            self.take(&format!("history/{keyspace}.rows"), &part, sha256, bytes)?;
        }
        Ok(cursor)
    }

    /// The journal's closed segments, after the one that is written was closed; gives their extent, which
    /// reaches to `least` at least.
    fn journal(&mut self, least: u64) -> Result<(u64, u64)> {
        let dir = self.config.data_dir.join("journal");
        let last = *self.views.log.durable().borrow();
        ensure!(
            last >= least,
            "the projections stand at record {least}, but the journal ends at {last}: this folder was made by \
             `journal replay`; back up the one that it was made from"
        );
        self.views.log.rotate();
        let started = Instant::now();
        let active = loop {
            let active = segments(&dir)?.last().map_or(0, |(base, _)| *base);
            if active > last {
                break active;
            }
            ensure!(
                started.elapsed() < ROTATES,
                "the journal does not close the segment that it writes, which begins at record {active}"
            );
            std::thread::sleep(Duration::from_millis(20));
        };
        let carried = dir.join("carry.log");
        if carried.exists() {
            self.copy("journal/carry.log", &carried)?;
        }
        let closed: Vec<u64> = segments(&dir)?
            .into_iter()
            .map(|(base, _)| base)
            .filter(|base| *base < active)
            .collect();
        for base in &closed {
            self.segment(&dir, *base)?;
        }
        Ok((closed.first().copied().unwrap_or(active), active - 1))
    }

    /// One closed segment, which may be compressed at any moment and has another name then.
    fn segment(&mut self, dir: &Path, base: u64) -> Result<()> {
        for _ in 0..100 {
            for end in ["segz", "seg"] {
                let name = format!("{base:020}.{end}");
                let path = dir.join(&name);
                if !path.exists() {
                    continue;
                }
                match self.link(&format!("journal/{name}"), &path) {
                    Err(error) if !path.exists() => drop(error),
                    done => return done,
                }
            }
        }
        bail!("the journal's segment {base} is gone")
    }

    /// A file that never changes any more: by a hard link where the disk is the same.
    fn link(&mut self, name: &str, path: &Path) -> Result<()> {
        let meta = std::fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?;
        let modified_ms = meta.mtime() * 1000 + meta.mtime_nsec() / 1_000_000;
        let known = self.before.files.iter().find(|kept| {
            kept.path == name && kept.bytes == meta.len() && kept.modified_ms == Some(modified_ms)
        });
        if let Some(known) = known.cloned()
            && self.has(&known.sha256, known.bytes)
        {
            self.note(known, 0);
            return Ok(());
        }
        let (sha256, bytes) = self.digest(path)?;
        let object = self.object(&sha256);
        if !self.has(&sha256, bytes) && std::fs::hard_link(path, &object).is_err() {
            return self.copy_as(name, path, Some(modified_ms));
        }
        let kept = Kept {
            path: name.to_owned(),
            bytes,
            sha256,
            modified_ms: Some(modified_ms),
        };
        self.note(kept, 0);
        Ok(())
    }

    fn copy(&mut self, name: &str, path: &Path) -> Result<()> {
        self.copy_as(name, path, None)
    }

    fn copy_as(&mut self, name: &str, path: &Path, modified_ms: Option<i64>) -> Result<()> {
        let part = self.part("file");
        let mut from = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut sink = Sink::create(&part, &self.room)?;
        let copied = std::io::copy(&mut from, &mut sink).with_context(|| format!("{name} cannot be copied"));
        match copied.and_then(|_| sink.finish()) {
            Ok((sha256, bytes)) => {
                self.take_as(name, &part, sha256, bytes, modified_ms)?;
                Ok(())
            }
            Err(error) => {
                // It is of no use; whether it can be removed changes nothing.
                let _ = std::fs::remove_file(&part);
                Err(error)
            }
        }
    }

    fn take(&mut self, name: &str, part: &Path, sha256: String, bytes: u64) -> Result<()> {
        self.take_as(name, part, sha256, bytes, None)
    }

    /// A finished file becomes an object, unless that is there already.
    fn take_as(
        &mut self,
        name: &str,
        part: &Path,
        sha256: String,
        bytes: u64,
        modified_ms: Option<i64>,
    ) -> Result<()> {
        let object = self.object(&sha256);
        let written = if self.has(&sha256, bytes) {
            std::fs::remove_file(part).with_context(|| format!("cannot remove {}", part.display()))?;
            0
        } else {
            std::fs::rename(part, &object).with_context(|| format!("cannot write {}", object.display()))?;
            bytes
        };
        let kept = Kept {
            path: name.to_owned(),
            bytes,
            sha256,
            modified_ms,
        };
        self.note(kept, written);
        ensure!(!(self.is_over)(), "the server stops; the backup was broken off");
        Ok(())
    }

    fn note(&mut self, kept: Kept, written: u64) {
        self.going.files.fetch_add(1, Ordering::Relaxed);
        self.going.bytes.fetch_add(kept.bytes, Ordering::Relaxed);
        self.going.written.fetch_add(written, Ordering::Relaxed);
        self.files.push(kept);
    }

    fn digest(&self, path: &Path) -> Result<(String, u64)> {
        digest_of(path, self.is_over)
    }
    fn has(&self, sha256: &str, bytes: u64) -> bool {
        std::fs::metadata(self.object(sha256)).is_ok_and(|meta| meta.len() == bytes)
    }
    fn object(&self, sha256: &str) -> PathBuf {
        self.dir.join(OBJECTS).join(sha256)
    }
    fn part(&self, name: &str) -> PathBuf {
        self.dir.join(OBJECTS).join(format!("{name}.part"))
    }
}

/// The journal's segments by the position of their first record, ascending.
fn segments(dir: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let held = std::fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    let mut found: Vec<(u64, PathBuf)> = held
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| e == "seg" || e == "segz"))
        .filter_map(|path| Some((path.file_stem()?.to_str()?.parse().ok()?, path)))
        .collect();
    found.sort();
    found.dedup_by_key(|(base, _)| *base);
    Ok(found)
}

/// Takes away what no manifest names: of former backups, and of those that were cut short.
fn sweep(objects: &Path, manifest: &Manifest) {
    let named: HashSet<&str> = manifest.files.iter().map(|file| file.sha256.as_str()).collect();
    for entry in std::fs::read_dir(objects).into_iter().flatten().flatten() {
        if entry
            .file_name()
            .to_str()
            .is_some_and(|name| !named.contains(name))
            && let Err(error) = std::fs::remove_file(entry.path())
        {
            warn!(
                "{} is of no use any more and stays: {error}",
                entry.path().display()
            );
        }
    }
    if let Err(error) = sync_dir(objects) {
        warn!("{error:#}");
    }
}

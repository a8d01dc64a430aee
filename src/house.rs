//! Opens a data folder: journal, projections, views and the pipeline that joins them.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, RwLock};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use onemap_dashboards::auth::Keys;
use onemap_dashboards::views::{Folders, Imports, LoadedRules, Progress, Register, Seen, Views};
use onemap_dashboards::{Changes, NewestFrames, PersonCounts};
use onemap_ingest::admit::{Watch, cadence_s, silent_after_s};
use onemap_ingest::downlink::{Book, Desk, KEY_FILE, Sealer};
use onemap_ingest::fanout::Fanout;
use onemap_ingest::{Counters, Links};
use onemap_log::{Log, Reader};
use onemap_model::{Record, Timestamp, record};
use onemap_rules::Engine;
use onemap_store::acts::Acts;
use onemap_store::attributes::Attributes;
use onemap_store::engine::Archive;
use onemap_store::gaps::GapLedger;
use onemap_store::latest::Latest;
use onemap_store::ledger::{Accounts, Ledger, LedgerReader, Tokens};
use onemap_store::persons::{self, PersonKeys};
use onemap_store::register::{Register as RegisterFile, RegisterError};
use onemap_store::remote::Spool;
use tokio::sync::{broadcast, mpsc, watch};
use tracing::{info, warn};

use crate::config::Config;
use crate::pipeline::{
    Adoptions, FLOWS, Flows, LATE, Late, MOVING, OPEN, Open, PROPOSALS, Parts, Pipeline, RECEIVED, Room,
    WARNINGS, WATCH, locate, parse_profile, refused, restore_board, restore_moving, restore_proposals,
    restore_warnings,
};
use crate::{files, rebuild};

/// Live notices waiting for the pump; when it is slower, screens are told to fetch again.
const N_NOTICES: usize = 4096;

/// The system's clock: the only place that reads it for records.
pub(crate) fn clock() -> Timestamp {
    Timestamp::from_system(SystemTime::now())
}

/// An open data folder, not yet running.
pub(crate) struct House {
    pub(crate) views: Arc<Views>,
    pub(crate) pipeline: Pipeline,
    pub(crate) counters: Counters,
    pub(crate) adoptions: Adoptions,
    /// What the history's engine has not got yet, when it has one.
    pub(crate) spool: Option<Arc<Spool>>,
}

/// Where the journal lies.
pub(crate) fn journal_dir(config: &Config) -> std::path::PathBuf {
    config.data_dir.join("journal")
}

pub(crate) fn log_config(config: &Config) -> onemap_log::Config {
    let mut log = onemap_log::Config::new(journal_dir(config));
    log.segment_bytes = config.segment_bytes;
    log.max_bytes = Some(config.journal_max_bytes);
    log.reserve_bytes = config.journal_reserve_bytes;
    log.compress = true;
    log.lasting_kinds = record::LASTING_KINDS;
    log
}

/// What a folder is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// New records will come.
    Serve,
    /// Only what is there is looked at; a folder that a replay made will do.
    Look,
}

/// Opens the data folder for writing; only one process can.
pub(crate) fn open(config: &Config, fanout: Option<Fanout>, purpose: Purpose) -> Result<House> {
    make_private_dir(&config.data_dir)?;
    if purpose == Purpose::Serve {
        files::warn_when_open(&config.data_dir);
    }
    let unfinished = config.data_dir.join(crate::restore::UNFINISHED);
    anyhow::ensure!(
        !unfinished.exists(),
        "{} is a restore that did not come to its end: remove the folder and restore again",
        config.data_dir.display()
    );
    let (log, recovery) = Log::open(log_config(config))
        .with_context(|| format!("the journal in {} cannot be opened", config.data_dir.display()))?;
    if let Some(torn) = &recovery.torn {
        warn!(
            segment = %torn.segment.display(), at_byte = torn.at_byte, lost_bytes = torn.lost_bytes,
            "the journal ended in a torn record (a stop in the middle of a write; it was never acknowledged); it is set aside as *.torn"
        );
    }
    let journal = log.clone();
    let reader = move |after: u64| {
        let last = journal.status().next.saturating_sub(1);
        if after <= last {
            return journal.reader(after).context("the journal cannot be read");
        }
        match purpose {
            Purpose::Look => journal.reader(last).context("the journal cannot be read"),
            Purpose::Serve => bail!(
                "the projections stand at record {after}, but the journal ends at {last}: this folder was made by \
                 `journal replay`, or its journal was taken away. It can be looked at, not served"
            ),
        }
    };
    let spool = open_spool(config)?;
    let house = assemble(config, &config.data_dir, log.clone(), reader, fanout)?;
    if purpose == Purpose::Serve {
        note_older(config, spool.as_deref(), &house.views)?;
    }
    Ok(House {
        pipeline: house.pipeline.with_spool(spool.clone()),
        spool,
        ..house
    })
}

/// What is folded offline goes to the engine, too, when a server runs again.
fn open_spool(config: &Config) -> Result<Option<Arc<Spool>>> {
    let Some(part) = &config.history.remote else {
        return Ok(None);
    };
    let engine = &part.engine;
    let dir = &engine.spool_dir;
    make_private_dir(dir)?;
    let spool = Spool::open(dir, engine.spool_bytes, engine.reserve_bytes)
        .with_context(|| format!("the spool in {} cannot be opened", dir.display()))?;
    Ok(Some(Arc::new(spool)))
}

/// In the spool's folder: the engine did not get all readings that the history holds.
const LACKS_OLDER: &str = "engine-lacks-older";

/// Notes, for good, that the history holds readings from before the engine was switched on, or that readings are
/// taken in while it is switched off.
fn note_older(config: &Config, spool: Option<&Spool>, views: &Views) -> Result<()> {
    let dir = config.data_dir.join("spool");
    let lacks = match spool {
        Some(spool) => spool.is_unused() && views.history.stats().points > 0,
        None => dir.exists(),
    };
    if lacks && engine_has_all(config) {
        let noted = std::fs::File::create(dir.join(LACKS_OLDER)).and_then(|file| file.sync_all());
        noted
            .and_then(|()| std::fs::File::open(&dir)?.sync_all())
            .with_context(|| {
                format!(
                    "it cannot be noted in {} that the engine lacks older readings",
                    dir.display()
                )
            })?;
    }
    Ok(())
}

/// Whether the history's engine was given every reading that the history holds, so that it can be asked instead.
pub(crate) fn engine_has_all(config: &Config) -> bool {
    !config.data_dir.join("spool").join(LACKS_OLDER).exists()
}

/// Replays the journal of `source` into the empty folder `into`: the same projections, made again.
pub(crate) fn open_replay(config: &Config, source: &Path, into: &Path) -> Result<House> {
    make_private_dir(into)?;
    if std::fs::read_dir(into)
        .with_context(|| format!("cannot read {}", into.display()))?
        .next()
        .is_some()
    {
        bail!("{} is not empty; a replay starts from nothing", into.display());
    }
    // The folder gets a journal of its own, so that it is a whole data folder; the records are read
    // from the source, which may be in use.
    let mut own = log_config(config);
    own.dir = into.join("journal");
    let (log, _) = Log::open(own).context("the new folder's journal cannot be made")?;
    // What waits in the new folder's book can be sent from it, and who is known in it is found again.
    for name in [KEY_FILE, persons::KEY_FILE] {
        let key = source.join(name);
        if key.exists() {
            std::fs::copy(&key, into.join(name))
                .with_context(|| format!("{} cannot be copied", key.display()))?;
        }
    }
    let source = source.join("journal");
    let reader = move |after| {
        Reader::open_dir(&source, after)
            .with_context(|| format!("the journal in {} cannot be read", source.display()))
    };
    assemble(config, into, log, reader, None)
}

fn make_private_dir(dir: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .with_context(|| format!("cannot make the data folder {}", dir.display()))
}

fn assemble(
    config: &Config,
    dir: &Path,
    log: Log,
    reader: impl Fn(u64) -> Result<Reader> + Send + 'static,
    fanout: Option<Fanout>,
) -> Result<House> {
    let history = rebuild::open(config, dir)?;
    history.set_retention(config.history.retention.clone());
    let cursor = history.cursor();
    let durable = *log.durable().borrow();
    let ledger_path = dir.join("ledger.sqlite");
    let ledger = Ledger::open(&ledger_path).context("ledger.sqlite cannot be opened")?;
    let ledger_reader = LedgerReader::open(&ledger_path).context("ledger.sqlite cannot be read")?;

    if ledger.cursor() < cursor {
        bail!(
            "ledger.sqlite stands at record {} and the other projections at {cursor}: it was lost or replaced by an \
             older one. Put it back, or move history/, register.gpkg and ledger.sqlite away and start again: \
             all three are made again from what the journal holds",
            ledger.cursor()
        );
    }
    let (register_file, mut register) = open_register(dir, cursor, &reader)?;
    let mut city_faults = 0;
    for (entity, card) in register.view.entities.with_cards() {
        let put = register.city.put_entity_with(&entity, Some(card));
        city_faults += usize::from(put.is_err() && !entity.geometry.is_null());
    }
    if city_faults > 0 {
        warn!(
            entities = city_faults,
            "entities without a place on the map (their geometry cannot be used)"
        );
    }
    let devices: Vec<_> = register.view.devices.values().cloned().collect();
    for device in &devices {
        register.city.put_device(device);
        if let Some(division) = locate(&register, device) {
            register.divisions.insert(device.id.clone(), division);
        }
    }
    let profiles: HashMap<_, _> = register
        .view
        .profiles
        .iter()
        .filter_map(|(id, text)| parse_profile(id, text))
        .collect();
    for device in &devices {
        let profile = device.profile.as_ref().and_then(|id| profiles.get(id));
        let cadence_s = cadence_s(device, profile);
        register.cadences.insert(device.id.clone(), cadence_s);
        let gateway = device
            .gateway
            .as_ref()
            .and_then(|id| register.view.devices.get(id));
        let of_gateway = gateway.and_then(|gateway| profiles.get(gateway.profile.as_ref()?));
        match silent_after_s(device, profile, of_gateway) {
            0 => {}
            limit => {
                register.silent_after.insert(device.id.clone(), limit);
            }
        }
    }

    let latest = Latest::rebuild(&history).context("the latest values cannot be read from the history")?;
    let (gaps, damaged) = GapLedger::decode(&history.extras(GapLedger::BLOBS));
    if !gaps.knows_heard() {
        // A folder of before, where what was first known of a device was when it was first heard.
        let mut series = history.all_series();
        series.sort_by_key(|series| series.first);
        for series in series {
            gaps.hear(&series.key.device, series.first);
        }
    }
    if !damaged.is_empty() {
        warn!(days = ?damaged, "days of the gap ledger are damaged and left out");
    }
    let mut engine = match history.extra("engine") {
        None => Engine::new(),
        Some(bytes) => Engine::restore(&bytes).context(
            "the checkpoint of the rule engine cannot be read by this version; `onemap journal replay --into NEW` makes all projections again",
        )?,
    };
    for (device, limit) in &register.silent_after {
        engine.set_silent_after(device, *limit);
    }
    for (device, known) in &register.view.hydrology {
        engine.state_stages(device, known);
    }
    let book = match history.extra("commands") {
        None => Book::default(),
        Some(bytes) => Book::restore(&bytes).context("the checkpoint of the commands cannot be read")?,
    };
    let board = restore_board(history.extra("board"))?;
    let proposals = restore_proposals(history.extra(PROPOSALS))?;
    let (warnings, received) = restore_warnings(history.extra(WARNINGS), history.extra(RECEIVED))?;
    let now = history
        .extra("now")
        .and_then(|bytes| bytes.try_into().ok())
        .map_or(Timestamp::from_ms(0), |bytes| {
            Timestamp::from_ms(i64::from_le_bytes(bytes))
        });

    history.note_time(now);
    let newest_person = ledger_reader.newest_person().context("persons cannot be read")?;
    let keys = Keys::new(
        Tokens::load(&ledger_reader).context("tokens cannot be read")?,
        Accounts::load(&ledger_reader).context("accounts cannot be read")?,
    );
    // Those that ended while nobody looked; from now on the pipeline's ticks end them.
    keys.expire(clock());
    let attributes = ledger_reader.attributes().context("attributes cannot be read")?;
    let attributes = Attributes::new(attributes, ledger.cursor());
    let rules: BTreeMap<String, LoadedRules> = engine
        .files()
        .iter()
        .map(|(name, set)| {
            (
                name.clone(),
                LoadedRules {
                    text: set.text().to_owned(),
                    set: Arc::new(set.clone()),
                },
            )
        })
        .collect();

    let history_refused = history.extra(refused::NAME);
    let history = Arc::new(history);
    let latest = Arc::new(latest);
    let mut seen: HashMap<_, Seen> = HashMap::new();
    let watch = match history.extra(WATCH) {
        // A folder of before: what is latest was heard when it was received.
        None => None,
        Some(bytes) => Some(Watch::decode(&bytes).context(
            "the checkpoint of admission cannot be read by this version; `onemap journal replay --into NEW` makes all projections again",
        )?),
    };
    for (id, watched) in watch.iter().flat_map(Watch::iter) {
        if let (Some(received_at), Some(measured_at)) = (watched.heard_at(), watched.measured_at()) {
            let heard = Seen {
                received_at,
                measured_at,
            };
            seen.insert(id.clone(), heard);
        }
    }
    let of_before = if watch.is_none() {
        latest.snapshot_all()
    } else {
        Vec::new()
    };
    for (id, value) in of_before {
        if let Some(key) = history.series_key(id) {
            let entry = seen.entry(key.device.clone()).or_insert(Seen {
                received_at: value.received_at,
                measured_at: value.measured_at,
            });
            entry.received_at = entry.received_at.max(value.received_at);
            entry.measured_at = entry.measured_at.max(value.measured_at);
        }
    }
    let moving = restore_moving(&register, history.extra(MOVING).as_deref(), now)?;
    let counters = Counters::new();
    let last_transition = ledger_reader.last_seq().context("the ledger cannot be read")?;
    let progress = Progress {
        applied: cursor,
        history: cursor,
        register: cursor,
        ledger: ledger.cursor(),
        now,
    };
    let (asks, questions) = mpsc::channel(16);
    let station_keys = crate::keys::open(config)?;
    let sealer = match &fanout {
        Some(_) => Sealer::open(dir),
        None => Sealer::look(dir),
    };
    let sealer = sealer.context("passwords of commands cannot be sealed")?;
    let views = Arc::new(Views {
        instance: random_name()?,
        demo: config.demo,
        started_at: clock(),
        clock,
        register: RwLock::new(register),
        basemaps: config.basemaps.clone(),
        tiles: onemap_dashboards::Tiles::default(),
        keys,
        foresight: onemap_dashboards::foresight::Foresight::default(),
        archive: Archive::new(history.clone()),
        remote: OnceLock::new(),
        superiors: OnceLock::new(),
        outboxes: OnceLock::new(),
        station_keys,
        sealer,
        trust: config.trust,
        persons: PersonKeys::of(dir, newest_person),
        person_counts: PersonCounts::new(config.persons_k),
        carrying_persons: tokio::sync::Mutex::default(),
        rotating_persons: tokio::sync::Mutex::default(),
        dir: dir.to_owned(),
        history,
        latest,
        frames: NewestFrames::default(),
        changes: Changes::default(),
        networks: onemap_dashboards::Networks::default(),
        gaps,
        attributes,
        sources: RwLock::default(),
        line_tags: config.line_tags.clone(),
        conditions: RwLock::default(),
        changed_conditions: Mutex::default(),
        moving: RwLock::new(moving),
        moved: Mutex::default(),
        sightings: Default::default(),
        seen: RwLock::new(seen),
        board: RwLock::new(board),
        warnings: onemap_dashboards::warnings::Desk {
            settings: config.warnings.clone(),
            book: RwLock::new(warnings),
            received: RwLock::new(received),
        },
        proposals: onemap_dashboards::proposals::Desk {
            needed: config.rules_need_approval,
            book: RwLock::new(proposals),
        },
        commands: Desk::new(book, config.command_rules, config.command_limits, durable),
        max_packet_bytes: config.mqtt.max_packet_bytes,
        rules: RwLock::new(rules),
        ledger: ledger_reader,
        acts: Acts::new(log.clone()),
        log,
        progress: watch::channel(progress).0,
        last_transition: watch::channel(last_transition).0,
        notices: broadcast::channel(N_NOTICES).0,
        counters: counters.clone(),
        http: Arc::default(),
        security: Arc::default(),
        links: Links::default(),
        provision: OnceLock::new(),
        keeping: Default::default(),
        places: Default::default(),
        changing: Arc::default(),
        planning: tokio::sync::Mutex::default(),
        accounting: tokio::sync::Mutex::default(),
        config_faults: AtomicU64::new(0),
        unread: Mutex::default(),
        oidc: Mutex::default(),
        open_hours: AtomicU64::new(0),
        refused: refused::decode(history_refused.as_deref()),
        readings: AtomicU64::new(0),
        watch: RwLock::new(watch.unwrap_or_default()),
        imports: Imports::default(),
        ages: config.ages,
        fault: RwLock::default(),
        stood: std::sync::Mutex::default(),
        ready: AtomicBool::new(false),
        folders: Folders {
            rules: config.rules_dir.clone(),
            profiles: config.profiles_dir.clone(),
            sources: config.push_dir.clone(),
            changing: Arc::default(),
        },
        questions: asks,
    });
    let reviewed = views
        .ledger
        .reviewed_devices()
        .context("reviews cannot be read")?;
    let open = match views.history.extra(OPEN) {
        None => Open::default(),
        Some(bytes) => Open::decode(&bytes).context(
            "the checkpoint's open hours cannot be read by this version; `onemap journal replay --into NEW` makes all projections again",
        )?,
    };
    let late = match views.history.extra(LATE) {
        None => Late::default(),
        Some(bytes) => Late::decode(&bytes)?,
    };
    let flows = match views.history.extra(FLOWS) {
        None => Flows::default(),
        Some(bytes) => Flows::decode(&bytes)?,
    };
    for info in views.history.all_series() {
        views.set_condition(info.id, engine.series_state(&info.key));
    }
    info!(
        cursor,
        durable, "projections are at their checkpoint; the rest of the journal is folded now"
    );
    let adoptions = Adoptions::default();
    let pipeline = Pipeline::new(Parts {
        views: views.clone(),
        reader: reader(cursor)?,
        reread: Box::new(reader),
        register: register_file,
        ledger,
        engine,
        open,
        flows,
        late,
        reviewed: reviewed.into_iter().collect(),
        fanout,
        position: cursor,
        now,
        ages: config.ages,
        questions,
        adoptions: adoptions.clone(),
        room: Room {
            dir: config.data_dir.clone(),
            least_bytes: config.journal_reserve_bytes / 4,
        },
    });
    Ok(House {
        views,
        pipeline,
        counters,
        adoptions,
        spool: None,
    })
}

/// Opens register.gpkg and brings it to the checkpoint's position: it is written after the checkpoint
/// and so may lag behind it, never lead. A file that leads (a folder put together by hand) is made
/// again from the journal.
fn open_register(
    dir: &Path,
    cursor: u64,
    reader: &impl Fn(u64) -> Result<Reader>,
) -> Result<(RegisterFile, Register)> {
    let path = dir.join("register.gpkg");
    let mut file = RegisterFile::open(&path).context("register.gpkg cannot be opened")?;
    if file.cursor() > cursor {
        warn!(
            register = file.cursor(),
            cursor, "register.gpkg is ahead of the checkpoint; it is made again from the journal"
        );
        drop(file);
        std::fs::remove_file(&path).context("register.gpkg cannot be removed")?;
        file = RegisterFile::open(&path).context("register.gpkg cannot be made")?;
    }
    let mut register = Register {
        view: file.load().context("register.gpkg cannot be read")?,
        ..Register::default()
    };
    if file.cursor() < cursor {
        let mut journal = reader(file.cursor())?;
        while let Some(entry) = journal.next().context("the journal cannot be read")? {
            if entry.position > cursor {
                break;
            }
            if entry.kind != record::KIND_REGISTER {
                continue;
            }
            let position = entry.position;
            if let Ok(Record::Register(change)) = Record::decode(entry.kind, entry.body) {
                match file.apply(position, change.at, &change.what) {
                    Ok(_) => {
                        register
                            .view
                            .apply(&change.what)
                            .context("the register cannot take a change")?;
                    }
                    // As at its first fold: unsound, so no part of the register.
                    Err(RegisterError::Entity { .. }) => {}
                    Err(other) => return Err(other).context("register.gpkg cannot take a change"),
                }
            }
        }
        file.commit(cursor).context("register.gpkg cannot be written")?;
    }
    Ok((file, register))
}

fn random_name() -> Result<String> {
    let mut bytes = [0u8; 8];
    getrandom::fill(&mut bytes).context("the operating system gives no randomness")?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}

/// A pipeline on its thread.
pub(crate) struct Running {
    thread: std::thread::JoinHandle<Result<()>>,
    stop: Arc<AtomicBool>,
    views: Arc<Views>,
}

impl Running {
    /// Starts folding.
    pub(crate) fn start(mut pipeline: Pipeline, views: Arc<Views>, every: Duration) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (flag, shared) = (stop.clone(), views.clone());
        let thread = std::thread::Builder::new()
            .name("pipeline".to_owned())
            .spawn(move || {
                let run = std::panic::AssertUnwindSafe(|| pipeline.run(every, flag));
                let ended =
                    std::panic::catch_unwind(run).unwrap_or_else(|_| Err(anyhow::anyhow!("it panicked")));
                if let Err(error) = &ended {
                    // The journal goes on taking and acknowledging: nothing is lost, and
                    // /health/ready says that nothing is judged.
                    let text = format!(
                        "the pipeline stopped after record {}: {error:#}",
                        pipeline.position()
                    );
                    tracing::error!("{text}");
                    *shared
                        .fault
                        .write()
                        .unwrap_or_else(std::sync::PoisonError::into_inner) = Some(text);
                }
                ended
            })
            .context("the pipeline's thread cannot be started")?;
        Ok(Self { thread, stop, views })
    }

    /// Folds what is durable, makes a checkpoint and closes the journal.
    pub(crate) fn stop(self) -> Result<()> {
        self.stop.store(true, Ordering::Release);
        let ended = self
            .thread
            .join()
            .unwrap_or_else(|_| bail!("the pipeline's thread panicked"));
        self.views.log.close().context("the journal cannot be closed")?;
        ended
    }
}

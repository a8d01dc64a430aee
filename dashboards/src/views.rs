//! The read side: everything the API and the screen look at. The pipeline writes it, requests read it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, RwLock};
use std::time::{Duration, Instant};

use onemap_alerts::{Alert, Board, Whose};
use onemap_ingest::admit::{AgeLimits, DeviceWatch, Watch};
use onemap_ingest::downlink::{Desk, Sealer};
use onemap_ingest::forward::ForwardState;
use onemap_ingest::station::StationKeys;
use onemap_ingest::{Counters, Links, Provision};
use onemap_log::{Entry, Log, LogError};
use onemap_model::{
    AlertId, Belongs, Device, DeviceId, DivisionCode, EntityCode, EntityKind, FenceEvent, ProfileId, Quality,
    RuleId, Scope, SeriesKey, Timestamp,
};
use onemap_rules::{Condition, Rule, RuleSet};
use onemap_spatial::{CityMap, Moving, ThingKind};
use onemap_store::acts::Acts;
use onemap_store::attributes::Attributes;
use onemap_store::engine::Archive;
use onemap_store::gaps::GapLedger;
use onemap_store::history::{History, SeriesId};
use onemap_store::latest::Latest;
use onemap_store::ledger::LedgerReader;
use onemap_store::persons::PersonKeys;
use onemap_store::register::{RegisterView, Stated};
use onemap_store::remote::RemoteStore;
use onemap_wire::profile::{Profile, Protocol};
use onemap_wire::push::Source;
use tokio::sync::{broadcast, mpsc, watch};

use crate::auth::Keys;
use crate::changes::Changes;
use crate::stand::Question;

/// How the detail of a quarantine entry begins that its listener refused; behind `: ` it says what exactly, but
/// for journals of before. Only its first bytes are kept, so it cannot be read again.
pub const BY_THE_LISTENER: &str = "refused by the listener";
/// Records behind which the answers are no longer called current.
const N_BEHIND: u64 = 50_000;
/// A pipeline that has records to fold and is at the same one for longer is in trouble.
const LONG_AT_ONE: Duration = Duration::from_secs(15);

/// How far each projection is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Last position folded into the views.
    pub applied: u64,
    /// Last position in a durable history checkpoint.
    pub history: u64,
    /// Last position in register.gpkg.
    pub register: u64,
    /// Last position in ledger.sqlite.
    pub ledger: u64,
    /// The pipeline's clock.
    pub now: Timestamp,
}

/// When a device was last heard and what its last value's time was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Receive time of its last reading.
    pub received_at: Timestamp,
    /// Measuring time of its newest reading.
    pub measured_at: Timestamp,
}

/// What the live push tells about, besides values.
#[derive(Clone, Debug)]
pub enum Notice {
    /// An alert changed.
    Alert(AlertId),
    /// Devices or entities changed.
    Register,
    /// A command changed.
    Command(u64),
    /// A moving device came into a fence, left it or stayed.
    Fence(Arc<FenceEvent>),
}

/// What became of a longitude and a latitude of one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sighted {
    /// The device is there.
    Taken,
    /// Not newer than the newest, or sent again: it stays in the history.
    Late,
    /// Too far away to be believed yet.
    Doubted,
    /// 0, 0: a receiver without satellites.
    NoFix,
    /// It cannot lie in the system of its profile.
    Outside,
}

impl Sighted {
    /// Every one.
    pub const ALL: [Self; 5] = [Self::Taken, Self::Late, Self::Doubted, Self::NoFix, Self::Outside];

    /// Its label in metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::Late => "late",
            Self::Doubted => "doubted",
            Self::NoFix => "no_fix",
            Self::Outside => "outside",
        }
    }
}

/// One rule file as loaded.
#[derive(Clone)]
pub struct LoadedRules {
    /// Its text.
    pub text: String,
    /// Its rules.
    pub set: Arc<RuleSet>,
}

/// The register, where its devices stand, and the map, changed together.
#[derive(Default)]
pub struct Register {
    /// Devices, entities, profiles.
    pub view: RegisterView,
    /// Division of each device, as stated or found from its position.
    pub divisions: HashMap<DeviceId, DivisionCode>,
    /// The map's indexes.
    pub city: CityMap,
    /// Seconds between each device's reports, from the register or its profile; 0 is not known.
    pub cadences: HashMap<DeviceId, u32>,
    /// Seconds that devices without a cadence may say nothing, where a profile states it.
    pub silent_after: HashMap<DeviceId, u32>,
}

/// How often a device reports, and how long it may say nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    /// Seconds between its reports; 0 is not known.
    pub cadence_s: u32,
    /// Seconds that it may say nothing where it has no cadence; 0 is not stated.
    pub silent_after_s: u32,
}

impl Pace {
    /// How long a device or one of its series may be silent before it is stale: three cadences; without one what is stated,
    /// else ten minutes.
    pub fn limit(self) -> std::time::Duration {
        let seconds = match (self.cadence_s, self.silent_after_s) {
            (0, 0) => 600,
            (0, stated) => u64::from(stated),
            (cadence, _) => u64::from(cadence) * 3,
        };
        std::time::Duration::from_secs(seconds)
    }
}

impl Whose for Register {
    fn belongs<'a>(&'a self, alert: &'a Alert) -> Belongs<'a> {
        self.recorded(alert.series.device.as_str(), alert.division.as_ref())
    }
}

impl Register {
    /// How often a device reports, and how long it may say nothing.
    pub fn pace(&self, device: &Device) -> Pace {
        let stated = self.silent_after.get(device.id.as_str()).copied();
        Pace {
            cadence_s: self.cadence_s(device),
            silent_after_s: stated.unwrap_or(0),
        }
    }
    /// How long a device may be silent before it is stale ([`Pace::limit`]).
    pub fn silence_limit(&self, device: &Device) -> std::time::Duration {
        self.pace(device).limit()
    }
    /// The department of a device; empty when it has none or is not registered.
    pub fn department_of(&self, device: &str) -> &str {
        self.view
            .devices
            .get(device)
            .map_or("", |device| &device.department)
    }
    /// To whom a device belongs; to nobody when it is not registered.
    pub(crate) fn belongs(&self, device: &str) -> Belongs<'_> {
        Belongs::of(self.divisions.get(device), self.department_of(device))
    }
    /// To whom something belongs that was recorded of a device when it lay in `division`: to whom the device does now, which
    /// takes along what was told of it. What is told of one that is not registered stays where it was.
    pub(crate) fn recorded<'a>(&'a self, device: &str, division: Option<&'a DivisionCode>) -> Belongs<'a> {
        let division = match self.view.devices.contains_key(device) {
            true => self.divisions.get(device),
            false => division,
        };
        Belongs::of(division, self.department_of(device))
    }
    /// Whether a scope sees a device.
    pub(crate) fn sees(&self, scope: &Scope, device: &str) -> bool {
        scope.covers(self.belongs(device))
    }
    /// Whether a scope sees the entity of a kind and code, which lies where it states, else where the map found it.
    pub(crate) fn sees_entity(&self, scope: &Scope, kind: &EntityKind, code: &EntityCode) -> bool {
        self.view
            .entities
            .stated(kind, code)
            .is_some_and(|stated| self.sees_stated(scope, kind, code, &stated))
    }
    /// The same of an entity whose words are at hand.
    pub(crate) fn sees_stated(
        &self,
        scope: &Scope,
        kind: &EntityKind,
        code: &EntityCode,
        stated: &Stated<'_>,
    ) -> bool {
        // The map is asked only where a division bounds what is seen.
        let division = scope.division.as_ref().and_then(|_| match stated.division {
            "" => self.city.division_of(&ThingKind::Entity(kind.clone()), code),
            stated => DivisionCode::new(stated).ok(),
        });
        scope.covers(Belongs {
            division: division.as_ref(),
            owner: kind.owner(stated.department),
        })
    }
    /// A device and its division, when the scope covers it and a question by division and kind takes it.
    pub(crate) fn asked_for(
        &self,
        scope: &Scope,
        device: &DeviceId,
        division: Option<&DivisionCode>,
        kind: Option<&str>,
    ) -> Option<(&Arc<Device>, Option<&DivisionCode>)> {
        let device = self.view.devices.get(device)?;
        let own = self.divisions.get(&device.id);
        let wanted = scope.covers(device.belongs(own))
            && division.is_none_or(|division| own.is_some_and(|own| division.covers(own)))
            && kind.is_none_or(|kind| *device.kind == *kind);
        wanted.then_some((device, own))
    }
    /// Whether a division is an entity of the register, or a device that the scope sees lies in it.
    pub(crate) fn knows(&self, scope: &Scope, division: &DivisionCode) -> bool {
        let mut entities = self.view.with_code(division.as_str());
        entities.any(|entity| entity.kind == EntityKind::Division)
            || self
                .divisions
                .iter()
                .any(|(device, own)| division.covers(own) && self.sees(scope, device.as_str()))
    }
    /// Seconds between a device's reports; 0 is not known.
    pub fn cadence_s(&self, device: &Device) -> u32 {
        let known = self.cadences.get(device.id.as_str()).copied();
        known.unwrap_or(device.cadence_s)
    }
}

/// Platforms that get HJ 212 frames, by name.
pub type Superiors = Vec<(String, Arc<ForwardState>)>;

/// Everything requests read.
pub struct Views {
    /// A random name of this run; screens reload their snapshot when it changes.
    pub instance: String,
    /// Demonstration data is running.
    pub demo: bool,
    /// When this run started.
    pub started_at: Timestamp,
    /// The clock, given by the composition.
    pub clock: fn() -> Timestamp,
    /// Register, divisions and map.
    pub register: RwLock<Register>,
    /// Base maps of the configuration.
    pub basemaps: Arc<crate::basemap::BaseMaps>,
    /// Vector tiles that were made.
    pub tiles: crate::Tiles,
    /// Networks of pipes and rivers, for cards.
    pub networks: crate::Networks,
    /// Tokens and sessions.
    pub keys: Keys,
    /// The embedded time-series store.
    pub history: Arc<History>,
    /// What is known of the series that the server foresees.
    pub foresight: crate::foresight::Foresight,
    /// Values wherever they are kept: what is read goes through here.
    pub archive: Archive,
    /// The history's engine beside the embedded one, set when the server starts.
    pub remote: OnceLock<Arc<RemoteStore>>,
    /// Platforms that get HJ 212 frames, by name, set when the server starts.
    pub superiors: OnceLock<Superiors>,
    /// Consumers of alerts, when there are or were any.
    pub outboxes: OnceLock<crate::feeding::Outboxes>,
    /// Seals passwords of commands before they are recorded.
    pub sealer: Sealer,
    /// What accounts and tokens have to show.
    pub trust: crate::Trust,
    /// Makes pseudonyms of persons, and seals what is known of them.
    pub persons: PersonKeys,
    /// How many persons are where.
    pub person_counts: crate::PersonCounts,
    /// Held while persons are carried over to their newest key.
    pub carrying_persons: tokio::sync::Mutex<()>,
    /// Held while another key of persons is made.
    pub rotating_persons: tokio::sync::Mutex<()>,
    /// The data folder, where files that are imported lie while they are read.
    pub dir: PathBuf,
    /// Keys of stations that encrypt.
    pub station_keys: StationKeys,
    /// Where the newest frames of field stations stand.
    pub frames: crate::frames::NewestFrames,
    /// Newest value of every series.
    pub latest: Arc<Latest>,
    /// How often what was there of each series has changed.
    pub changes: Changes,
    /// Gap ledger.
    pub gaps: GapLedger,
    /// Attributes of devices.
    pub attributes: Attributes,
    /// Push sources by id; their secrets stand in files.
    pub sources: RwLock<HashMap<ProfileId, Arc<Source>>>,
    /// Tags of the line protocol that may name a device.
    pub line_tags: Vec<String>,
    /// State of each series, by id.
    pub conditions: RwLock<Vec<Condition>>,
    /// Series whose state changed since the live push last looked.
    pub changed_conditions: Mutex<Vec<SeriesId>>,
    /// Devices that move, and the fences that watch them.
    pub moving: RwLock<Moving>,
    /// Devices that moved since the live push last looked.
    pub moved: Mutex<BTreeSet<DeviceId>>,
    /// What became of sightings since the start, by label order of [`Sighted::ALL`].
    pub sightings: [AtomicU64; Sighted::ALL.len()],
    /// Devices heard.
    pub seen: RwLock<HashMap<DeviceId, Seen>>,
    /// Open and ended alerts.
    pub board: RwLock<Board>,
    /// Statutory warnings, our own and those of others.
    pub warnings: crate::warnings::Desk,
    /// Rule files that wait for a second person.
    pub proposals: crate::proposals::Desk,
    /// Commands that wait or ended lately.
    pub commands: Desk,
    /// Largest MQTT packet that a device may send.
    pub max_packet_bytes: usize,
    /// Rule files by name.
    pub rules: RwLock<BTreeMap<String, LoadedRules>>,
    /// Read-only ledger.
    pub ledger: LedgerReader,
    /// The journal.
    pub log: Log,
    /// The one way in for people's acts.
    pub acts: Acts,
    /// Where the pipeline is.
    pub progress: watch::Sender<Progress>,
    /// Number of the last transition in the ledger.
    pub last_transition: watch::Sender<u64>,
    /// Changes for live screens; a slow reader is told to resync.
    pub notices: broadcast::Sender<Notice>,
    /// Counters of the listeners.
    pub counters: Counters,
    /// Connections and bodies of HTTP.
    pub http: Arc<crate::limits::Gauges>,
    /// What happened that concerns the server's security.
    pub security: Arc<crate::security::Watchman>,
    /// Devices that are connected now.
    pub links: Links,
    /// Answers devices that register themselves; set when the listeners come up.
    pub provision: OnceLock<Arc<dyn Provision>>,
    /// Held by who changes a device from what it reads of it until the change is folded, so that two changes at
    /// the same time do not undo one another.
    pub changing: Arc<tokio::sync::Mutex<()>>,
    /// Held by who changes a desk or a drill from what he reads of it until the change is folded.
    pub planning: tokio::sync::Mutex<()>,
    /// Held by who changes accounts from what is read of them until the change is folded.
    pub accounting: tokio::sync::Mutex<()>,
    /// Faults found in rule files and profiles since the start.
    pub config_faults: AtomicU64,
    /// Parts of frames that were understood and give no reading, by protocol and name.
    pub unread: Mutex<BTreeMap<(&'static str, &'static str), u64>>,
    /// Log-ins by OpenID Connect, by what became of them.
    pub oidc: Mutex<BTreeMap<&'static str, u64>>,
    /// Hours of stations whose index is not worked out yet.
    pub open_hours: AtomicU64,
    /// Refusals of the pipeline, by label order of `Refusal::ALL`.
    pub refused: Vec<AtomicU64>,
    /// What admission remembers: clocks, and when each series was heard.
    pub watch: RwLock<Watch>,
    /// What became of imports, for those who wait for it.
    pub imports: Imports,
    /// How old readings may be when they arrive.
    pub ages: AgeLimits,
    /// Readings taken since the start.
    pub readings: AtomicU64,
    /// Set when the pipeline has stopped by a fault; says at which position and why.
    pub fault: RwLock<Option<String>>,
    /// Where the pipeline was when readiness was asked for, and since when it has been there.
    pub stood: Mutex<Option<(u64, Instant)>>,
    /// Listeners are up.
    pub ready: AtomicBool,
    /// Where changed rule files and profiles are written, so that a restart finds them.
    pub folders: Folders,
    /// What keeps the data itself in order.
    pub keeping: crate::keeping::Keeping,
    /// The geocoder, which follows the names of the register.
    pub places: crate::geocoding::Places,
    /// Asks the pipeline between two batches.
    pub questions: mpsc::Sender<Question>,
}

/// Folders of the configuration's own files.
#[derive(Clone, Debug)]
pub struct Folders {
    /// Rule files.
    pub rules: PathBuf,
    /// Device profiles.
    pub profiles: PathBuf,
    /// Push sources and their secrets.
    pub sources: PathBuf,
    /// Held while rules are checked, written and taken up.
    pub changing: Arc<tokio::sync::Mutex<()>>,
}

impl Folders {
    /// Writes a file whole or not at all; an empty text removes it.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn write(dir: &Path, name: &str, text: &str) -> std::io::Result<()> {
        let path = dir.join(format!("{name}.yaml"));
        if text.trim().is_empty() {
            return match std::fs::remove_file(&path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e),
                _ => Ok(()),
            };
        }
        let part = dir.join(format!("{name}.yaml.part"));
        std::fs::write(&part, text)?;
        std::fs::rename(&part, &path)
    }
}

const POISON: &str = "no holder of this lock panics";

impl Views {
    /// The time now.
    pub fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// Counts what became of a log-in by OpenID Connect.
    #[cfg(feature = "oidc")]
    pub(crate) fn count_oidc(&self, became: &'static str) {
        *self.oidc.lock().expect(POISON).entry(became).or_default() += 1;
    }

    /// State of one series; unknown when nothing judged it yet.
    pub fn condition(&self, id: SeriesId) -> Condition {
        self.conditions
            .read()
            .expect(POISON)
            .get(id.0 as usize)
            .copied()
            .unwrap_or(Condition::Unknown)
    }

    /// Sets the state of one series.
    pub fn set_condition(&self, id: SeriesId, condition: Condition) {
        let mut all = self.conditions.write().expect(POISON);
        let i = id.0 as usize;
        if all.len() <= i {
            all.resize(i + 1, Condition::Unknown);
        }
        if all[i] != condition {
            all[i] = condition;
            drop(all);
            self.changed_conditions.lock().expect(POISON).push(id);
        }
    }

    /// Waits until the pipeline has folded `position`, at most ten seconds.
    ///
    /// # Errors
    /// [`Behind`] when it takes longer: the record is kept, its effect comes later.
    pub async fn applied(&self, position: u64) -> Result<(), Behind> {
        let mut progress = self.progress.subscribe();
        let wait = progress.wait_for(|p| p.applied >= position);
        match tokio::time::timeout(std::time::Duration::from_secs(10), wait).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(Behind { position }),
        }
    }

    /// Waits until the pipeline has folded `position`, however long it takes.
    pub async fn applied_whenever(&self, position: u64) {
        // The sender lives as long as these views.
        let _ = self
            .progress
            .subscribe()
            .wait_for(|p| p.applied >= position)
            .await;
    }

    /// A record of the journal; `None` when it was let go, or is not there yet.
    ///
    /// # Errors
    /// When the journal cannot be read there.
    pub(crate) fn record_at<T>(
        &self,
        position: u64,
        read: impl FnOnce(Entry<'_>) -> T,
    ) -> Result<Option<T>, LogError> {
        let Some(before) = position.checked_sub(1) else {
            return Ok(None);
        };
        let mut reader = self.log.reader(before)?;
        let entry = reader.next()?.filter(|entry| entry.position == position);
        Ok(entry.map(read))
    }

    /// A rule in force.
    pub fn rule(&self, id: &RuleId) -> Option<Arc<Rule>> {
        let files = self.rules.read().expect(POISON);
        let mut rules = files.values().flat_map(|file| file.set.rules());
        rules.find(|rule| rule.id == *id).cloned()
    }

    /// The device, if the scope may see it.
    pub fn device(&self, scope: &Scope, id: &str) -> Option<Arc<Device>> {
        let register = self.register.read().expect(POISON);
        let device = register.view.devices.get(id)?;
        register.sees(scope, id).then(|| device.clone())
    }

    /// Longitude and latitude of a device: where it says that it is, else where the register has it.
    pub(crate) fn place(&self, device: &Device) -> Option<(f64, f64)> {
        place_of(&self.moving.read().expect(POISON), device)
    }

    /// How a device speaks, by its profile; `None` without a profile that can be read.
    pub fn protocol(&self, device: &Device) -> Option<Protocol> {
        self.profile(device).map(|profile| profile.protocol)
    }

    /// A device's profile, when it has one and it can be read.
    pub fn profile(&self, device: &Device) -> Option<Profile> {
        let id = device.profile.as_ref()?;
        let register = self.register.read().expect(POISON);
        let text = register.view.profiles.get(id)?.clone();
        drop(register);
        Profile::parse(id, &text).ok()
    }

    /// A device is stale when it has been silent for longer than its limit
    /// ([`Register::silence_limit`]).
    pub fn stale(limit: std::time::Duration, seen: Option<Seen>, now: Timestamp) -> bool {
        seen.is_some_and(|seen| now.since(seen.received_at) > limit)
    }

    /// A series is stale when nothing new of it came for longer than its device's limit, whatever else
    /// the device says: a live gateway never masks a dead sensor. A series whose cadence is not known
    /// (0) may have nothing to say, and is stale with its device.
    pub fn series_stale(
        watched: Option<&DeviceWatch>,
        key: &SeriesKey,
        pace: Pace,
        seen: Option<Seen>,
        now: Timestamp,
    ) -> bool {
        let (own, own_cadence) = watched.map_or((None, None), |d| d.series(key.quantity, key.channel));
        let pace = Pace {
            cadence_s: own_cadence.unwrap_or(pace.cadence_s),
            ..pace
        };
        let limit = pace.limit();
        match own {
            Some(heard_at) if pace.cadence_s > 0 => now.since(heard_at) > limit,
            _ => Self::stale(limit, seen, now),
        }
    }

    /// Worst state of a device's series: abnormal before unknown before normal; unknown without any.
    pub fn device_condition(&self, series: &[SeriesId]) -> Condition {
        worst_of(&self.conditions.read().expect(POISON), series)
    }

    /// The state as it is shown: what was normal when last heard is unknown once it is stale, whatever
    /// keeps the engine from saying so itself (it may be behind).
    pub fn shown(condition: Condition, stale: bool) -> Condition {
        match condition {
            Condition::Normal if stale => Condition::Unknown,
            other => other,
        }
    }

    /// Series of a device in dictionary order.
    pub fn series_of(&self, device: &DeviceId) -> Vec<(SeriesId, SeriesKey)> {
        self.history
            .series_of(device)
            .into_iter()
            .map(|info| (info.id, info.key))
            .collect()
    }

    /// Counts over the devices a scope may see.
    pub fn counts(&self, scope: &Scope) -> Counts {
        let now = self.now();
        let mut counts = Counts::default();
        {
            let register = self.register.read().expect(POISON);
            let seen = self.seen.read().expect(POISON);
            let numbers = self.history.numbers();
            let conditions = self.conditions.read().expect(POISON);
            for (id, device) in &register.view.devices {
                if !scope.covers(device.belongs(register.divisions.get(id))) {
                    continue;
                }
                counts.devices += 1;
                let series = numbers.device(id);
                counts.series += series.len();
                let stale = Self::stale(register.silence_limit(device), seen.get(id).copied(), now);
                match Self::shown(worst_of(&conditions, series), stale) {
                    Condition::Normal => counts.normal += 1,
                    Condition::Abnormal => counts.abnormal += 1,
                    Condition::Unknown => counts.unknown += 1,
                }
                counts.stale += usize::from(stale);
            }
        }
        let register = self.register.read().expect(POISON);
        let board = self.board.read().expect(POISON);
        let seen = |alert: &&Alert| {
            scope.covers(register.recorded(alert.series.device.as_str(), alert.division.as_ref()))
        };
        for alert in board.open_alerts().filter(seen) {
            if !alert.is_triaged() {
                counts.alerts_shelved += 1;
                continue;
            }
            counts.alerts_open += 1;
            counts.alerts_unacknowledged += usize::from(alert.acknowledged.is_none());
        }
        counts
    }

    /// Why this process is not ready; empty when it is.
    pub fn not_ready(&self) -> Vec<String> {
        let mut why = Vec::new();
        if !self.ready.load(Ordering::Relaxed) {
            why.push("listeners are not up".to_owned());
        }
        let log = self.log.status();
        if let Some(failed) = log.failed {
            why.push(format!("the journal has failed: {failed}"));
        }
        if let Some(refused) = log.refused {
            why.push(format!(
                "the journal's disk takes nothing, nothing is acknowledged until it does: {refused}"
            ));
        } else if log.full {
            why.push("the journal is at its size limit; sockets are not read until there is room".to_owned());
        }
        let applied = self.progress.borrow().applied;
        let behind = log.durable.saturating_sub(applied);
        if behind == 0 {
            *self.stood.lock().expect(POISON) = None;
        } else if let Some(long) = self.at_one_record_for(applied)
            && long > LONG_AT_ONE
        {
            why.push(format!(
                "the pipeline is at record {applied} for {} s and {behind} wait",
                long.as_secs()
            ));
        }
        if behind > N_BEHIND {
            why.push(format!(
                "the pipeline is {behind} records behind; what is shown is older than what is kept"
            ));
        }
        if let Some(spool) = self.remote.get().map(|remote| remote.spool().state()) {
            if let Some(failed) = spool.failed {
                why.push(format!("the spool of the history's engine has failed: {failed}"));
            } else if spool.full {
                why.push(
                    "the spool of the history's engine is full; readings wait in the journal".to_owned(),
                );
            }
        }
        if let Some(fault) = &*self.fault.read().expect(POISON) {
            why.push(fault.clone());
        }
        why
    }

    /// How long the pipeline has been behind the same record, as far as anybody looked.
    fn at_one_record_for(&self, applied: u64) -> Option<Duration> {
        let mut stood = self.stood.lock().expect(POISON);
        match &*stood {
            Some((record, since)) if *record == applied => Some(since.elapsed()),
            _ => {
                *stood = Some((applied, Instant::now()));
                None
            }
        }
    }
}

/// Longitude and latitude of a device: where it says that it is, else where the register has it.
pub(crate) fn place_of(moving: &Moving, device: &Device) -> Option<(f64, f64)> {
    match moving.newest(device.id.as_str()) {
        Some(newest) => Some((newest.at.lon_degrees(), newest.at.lat_degrees())),
        None => device.position.map(|p| (p.lon(), p.lat())),
    }
}

/// The pipeline has not come to a position in time.
#[derive(Debug, thiserror::Error)]
#[error("record {position} is kept but not yet applied; the pipeline is behind")]
pub struct Behind {
    position: u64,
}

/// Counts for the top strip.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Counts {
    pub devices: usize,
    pub normal: usize,
    pub abnormal: usize,
    pub unknown: usize,
    pub stale: usize,
    pub alerts_open: usize,
    pub alerts_unacknowledged: usize,
    pub alerts_shelved: usize,
    pub series: usize,
}

/// What became of the readings of one import.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct ImportCounts {
    /// Stored; their time had no value before.
    pub new: u64,
    /// Known already, nothing is stored.
    pub duplicate: u64,
    /// Stored in place of another value, which is kept too.
    pub revised: u64,
    /// Refused by name; they are in the quarantine.
    pub refused: u64,
}

/// One row of an import that was not taken.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct RefusedRow {
    /// From 1; `None` when all of them were refused for this one reason.
    pub row: Option<u32>,
    /// Why, by name.
    pub reason: onemap_model::Refusal,
    /// What exactly.
    pub message: String,
}

/// What the sender of an import learns.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct ImportOutcome {
    /// How many of its readings came to what.
    pub stored: ImportCounts,
    /// The first rows that were refused, at most [`ImportOutcome::N_ERRORS`].
    pub errors: Vec<RefusedRow>,
    /// Refusals that `errors` has no room for.
    pub errors_left_off: usize,
}

impl ImportOutcome {
    /// Most refused rows that one answer spells out.
    pub const N_ERRORS: usize = 100;

    /// Of what was refused only the first rows are spelt out, in their order.
    pub fn new(stored: ImportCounts, mut errors: Vec<RefusedRow>) -> Self {
        errors.sort_by_key(|error| error.row);
        let errors_left_off = errors.len().saturating_sub(Self::N_ERRORS);
        errors.truncate(Self::N_ERRORS);
        Self {
            stored,
            errors,
            errors_left_off,
        }
    }
}

/// Imports: one at a time is on its way through the journal, and whoever sent it learns what became of
/// it. So readings that are measured now wait for at most one piece of an import.
pub struct Imports {
    turn: tokio::sync::Semaphore,
    done: Mutex<BTreeMap<u64, ImportOutcome>>,
}

impl Default for Imports {
    fn default() -> Self {
        Self {
            turn: tokio::sync::Semaphore::new(1),
            done: Mutex::default(),
        }
    }
}

impl Imports {
    /// Imports whose outcome is kept for a sender that has not asked yet.
    const N_KEPT: usize = 256;

    /// Leaves the outcome of the import at a journal position.
    pub fn put(&self, position: u64, outcome: ImportOutcome) {
        let mut done = self.done.lock().expect(POISON);
        done.insert(position, outcome);
        while done.len() > Self::N_KEPT {
            done.pop_first();
        }
    }
    /// The outcome of the import at a position, once.
    pub(crate) fn take(&self, position: u64) -> Option<ImportOutcome> {
        self.done.lock().expect(POISON).remove(&position)
    }
    /// Waits for this import's turn.
    pub(crate) async fn turn(&self) -> tokio::sync::SemaphorePermit<'_> {
        self.turn.acquire().await.expect("the turn is never closed")
    }
}

/// Worst state of some series, as the engine said.
fn worst_of(all: &[Condition], series: &[SeriesId]) -> Condition {
    worst(
        series
            .iter()
            .map(|id| all.get(id.index()).copied().unwrap_or(Condition::Unknown)),
    )
}

/// Abnormal before unknown before normal; unknown without any.
pub fn worst(conditions: impl Iterator<Item = Condition>) -> Condition {
    let mut worst = None;
    for condition in conditions {
        worst = Some(match (worst, condition) {
            (Some(Condition::Abnormal), _) | (_, Condition::Abnormal) => Condition::Abnormal,
            (Some(Condition::Unknown), _) | (_, Condition::Unknown) => Condition::Unknown,
            _ => Condition::Normal,
        });
    }
    worst.unwrap_or(Condition::Unknown)
}

/// The state's name in the API.
pub fn condition_name(condition: Condition) -> &'static str {
    match condition {
        Condition::Normal => "normal",
        Condition::Abnormal => "abnormal",
        Condition::Unknown => "unknown",
    }
}

/// The state's number in the live push.
pub(crate) fn condition_code(condition: Condition) -> u8 {
    match condition {
        Condition::Normal => 0,
        Condition::Abnormal => 1,
        Condition::Unknown => 2,
    }
}

/// The quality's names as a list.
pub(crate) fn quality_names(quality: Quality) -> Vec<&'static str> {
    quality.names().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_is_never_shown_as_normal() {
        use Condition::{Abnormal, Normal, Unknown};
        assert_eq!(worst([].into_iter()), Unknown);
        assert_eq!(worst([Normal, Normal].into_iter()), Normal);
        assert_eq!(worst([Normal, Unknown].into_iter()), Unknown);
        assert_eq!(worst([Unknown, Abnormal, Normal].into_iter()), Abnormal);
    }
}

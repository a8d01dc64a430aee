//! `/api/v1/live`: values, device states and alerts as they change, conflated to the newest, encoded
//! once for each part of the city that someone watches: a division, departments.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use onemap_model::{Belongs, DeviceId, DivisionCode, Reach, Role, Scope};
use onemap_store::history::SeriesId;
use serde_json::json;
use tokio::sync::{broadcast, mpsc};
use tokio_util::sync::CancellationToken;

use crate::api::alerts::alert_json;
use crate::api::commands::command_json;
use crate::api::fences::events::{event_json, sees};
use crate::auth::{self, Caller, Pass};
use crate::error::Problem;
use crate::push::{N_WAITING_EVENTS, event, stream};
use crate::views::{Counts, Notice, Register, Views, condition_code};

/// Changes are gathered this long; a new value is on the wire within it.
const GATHER: Duration = Duration::from_millis(400);
/// Beats tell a screen that the server lives; it shows a banner after two are missing.
const BEAT_EVERY: u32 = 5;
const STALLED: Duration = Duration::from_secs(30);

type Topic = Reach;

/// Who watches which part of the city.
#[derive(Clone, Default)]
pub struct Hub {
    topics: Arc<Mutex<HashMap<Topic, broadcast::Sender<Bytes>>>>,
}

impl Hub {
    fn join(&self, topic: Topic) -> broadcast::Receiver<Bytes> {
        let mut topics = self.topics.lock().expect("no holder of this lock panics");
        topics
            .entry(topic)
            .or_insert_with(|| broadcast::channel(N_WAITING_EVENTS).0)
            .subscribe()
    }
    /// Topics someone watches; those nobody watches any more are dropped.
    fn watched(&self) -> Vec<(Topic, broadcast::Sender<Bytes>)> {
        let mut topics = self.topics.lock().expect("no holder of this lock panics");
        topics.retain(|_, sender| sender.receiver_count() > 0);
        topics
            .iter()
            .map(|(topic, sender)| (topic.clone(), sender.clone()))
            .collect()
    }
}

/// The stream of one screen.
pub(crate) async fn live(
    State(views): State<Arc<Views>>,
    axum::Extension(stop): axum::Extension<CancellationToken>,
    axum::Extension(hub): axum::Extension<Hub>,
    axum::Extension(pass): axum::Extension<Pass>,
    caller: Caller,
) -> Result<Response, Problem> {
    let scope = caller.scope().clone();
    let (sender, receiver) = mpsc::channel::<Result<Bytes, Infallible>>(N_WAITING_EVENTS);
    let topic = hub.join(scope.reach());
    tokio::spawn(async move {
        tokio::select! {
            () = stop.cancelled() => {}
            () = auth::ended(&views, pass, &scope) => {}
            () = pass_on(&views, topic, &sender) => {}
        }
    });
    Ok(stream(receiver))
}

/// Hands a topic's events to one reader until it is gone or takes nothing.
async fn pass_on(
    views: &Views,
    mut topic: broadcast::Receiver<Bytes>,
    sender: &mpsc::Sender<Result<Bytes, Infallible>>,
) {
    let hello =
        json!({"t": views.now().ms(), "version": env!("CARGO_PKG_VERSION"), "instance": views.instance});
    let mut next = event("hello", None, &hello.to_string());
    loop {
        match tokio::time::timeout(STALLED, sender.send(Ok(next))).await {
            Ok(Ok(())) => {}
            _ => return,
        }
        let received = tokio::select! {
            () = sender.closed() => return,
            received = topic.recv() => received,
        };
        next = match received {
            Ok(bytes) => bytes,
            Err(broadcast::error::RecvError::Lagged(_)) => event("resync", None, "{}"),
            Err(broadcast::error::RecvError::Closed) => return,
        };
    }
}

/// What the pump remembers between two rounds.
struct Pump {
    views: Arc<Views>,
    hub: Hub,
    latest_version: u64,
    stale: HashSet<DeviceId>,
    notices: broadcast::Receiver<Notice>,
}

/// Gathers changes and sends them to every watched topic until `stop`.
pub async fn pump(views: Arc<Views>, hub: Hub, stop: CancellationToken) {
    let notices = views.notices.subscribe();
    let latest_version = views.latest.version();
    let mut pump = Pump {
        views,
        hub,
        latest_version,
        stale: HashSet::new(),
        notices,
    };
    let mut clock = tokio::time::interval(GATHER);
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut round = 0u32;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = clock.tick() => {}
        }
        round = round.wrapping_add(1);
        pump.round(round.is_multiple_of(BEAT_EVERY));
    }
}

/// One changed value with the division its device stands in and the department that owns it.
struct Change {
    division: Option<DivisionCode>,
    department: String,
    json: String,
}

impl Change {
    fn of(register: &Register, device: &DeviceId, json: String) -> Self {
        Self {
            division: register.divisions.get(device).cloned(),
            department: register.department_of(device.as_str()).to_owned(),
            json,
        }
    }
    fn belongs(&self) -> Belongs<'_> {
        Belongs::of(self.division.as_ref(), &self.department)
    }
}

impl Pump {
    fn round(&mut self, beat: bool) {
        let topics = self.hub.watched();
        let (mut series, version) = self.views.latest.changed_since(self.latest_version);
        self.latest_version = version;
        series.append(
            &mut self
                .views
                .changed_conditions
                .lock()
                .expect("no holder of this lock panics"),
        );
        series.sort_unstable();
        series.dedup();
        let mut alerts = Vec::new();
        let mut commands = std::collections::BTreeSet::new();
        let mut fence_events = Vec::new();
        let mut register = false;
        let moved = std::mem::take(&mut *self.views.moved.lock().expect("no holder of this lock panics"));
        loop {
            match self.notices.try_recv() {
                Ok(Notice::Alert(id)) => {
                    if !alerts.contains(&id) {
                        alerts.push(id);
                    }
                }
                Ok(Notice::Register) => register = true,
                Ok(Notice::Command(id)) => {
                    commands.insert(id);
                }
                Ok(Notice::Fence(event)) => fence_events.push(event),
                Err(broadcast::error::TryRecvError::Lagged(_)) => register = true,
                Err(_) => break,
            }
        }
        if topics.is_empty() {
            return;
        }
        let t = self.views.now().ms();
        let (values, mut touched) = self.values(&series);
        self.mark_stale(&mut touched);
        let devices = self.devices(&touched);
        let moves = self.moves(&moved);
        let mut counts: HashMap<Topic, Counts> = HashMap::new();
        for (topic, sender) in topics {
            let scope = Scope {
                actor: "live".to_owned(),
                role: Role::Viewer,
                division: topic.division.clone(),
                departments: topic.departments.clone(),
            };
            // Nobody listening any more is not an error: the topic goes with the next round.
            let send = |name: &str, data: String| drop(sender.send(event(name, None, &data)));
            if register {
                send("register", json!({"t": t}).to_string());
            }
            for (name, field, changes) in [
                ("values", "v", &values),
                ("devices", "d", &devices),
                ("moves", "m", &moves),
            ] {
                let own: Vec<&str> = changes
                    .iter()
                    .filter(|c| scope.covers(c.belongs()))
                    .map(|c| &*c.json)
                    .collect();
                if !own.is_empty() {
                    send(name, format!("{{\"t\":{t},\"{field}\":[{}]}}", own.join(",")));
                }
            }
            for id in &alerts {
                if let Some(alert) = alert_json(&self.views, &scope, id) {
                    send("alert", alert.to_string());
                }
            }
            for event in &fence_events {
                let is_seen = {
                    let register = self.views.register.read().expect("no holder of this lock panics");
                    sees(&register, &scope, event)
                };
                if is_seen {
                    send("fence", event_json(&self.views, event, None).to_string());
                }
            }
            for id in &commands {
                if let Some(command) = command_json(&self.views, &scope, *id) {
                    send("command", command.to_string());
                }
            }
            if beat {
                let counts = *counts.entry(topic).or_insert_with(|| self.views.counts(&scope));
                let lag = self
                    .views
                    .log
                    .status()
                    .durable
                    .saturating_sub(self.views.progress.borrow().applied);
                send("beat", json!({"t": t, "lag": lag, "counts": counts}).to_string());
            }
        }
    }

    /// Changed values, and the devices they belong to.
    fn values(&self, series: &[SeriesId]) -> (Vec<Change>, HashSet<DeviceId>) {
        let register = self.views.register.read().expect("no holder of this lock panics");
        let mut changes = Vec::with_capacity(series.len());
        let mut touched = HashSet::new();
        for id in series {
            let (Some(latest), Some(key)) = (self.views.latest.get(*id), self.views.history.series_key(*id))
            else {
                continue;
            };
            let state = condition_code(self.views.condition(*id));
            let value = serde_json::to_string(&latest.value).expect("numbers and texts are JSON");
            let json = format!(
                "[{},{value},{},{state},{}]",
                id.0,
                latest.measured_at.ms(),
                latest.quality.0
            );
            changes.push(Change::of(&register, &key.device, json));
            touched.insert(key.device.clone());
        }
        (changes, touched)
    }

    /// Where devices are that moved.
    fn moves(&self, moved: &BTreeSet<DeviceId>) -> Vec<Change> {
        let register = self.views.register.read().expect("no holder of this lock panics");
        let moving = self.views.moving.read().expect("no holder of this lock panics");
        let places = moved.iter().filter_map(|id| {
            let newest = moving.newest(id.as_str())?;
            let (lon, lat) = (newest.at.lon_degrees(), newest.at.lat_degrees());
            let json = json!([id, lon, lat, newest.measured_at.ms()]).to_string();
            Some(Change::of(&register, id, json))
        });
        places.collect()
    }

    /// Adds the devices that became stale or fresh by the passing of time alone.
    fn mark_stale(&mut self, touched: &mut HashSet<DeviceId>) {
        let now = self.views.now();
        let register = self.views.register.read().expect("no holder of this lock panics");
        let seen = self.views.seen.read().expect("no holder of this lock panics");
        for (id, device) in &register.view.devices {
            let stale = Views::stale(register.silence_limit(device), seen.get(id).copied(), now);
            let changed = if stale {
                self.stale.insert(id.clone())
            } else {
                self.stale.remove(id)
            };
            if changed {
                touched.insert(id.clone());
            }
        }
    }

    fn devices(&self, touched: &HashSet<DeviceId>) -> Vec<Change> {
        let register = self.views.register.read().expect("no holder of this lock panics");
        let seen = self.views.seen.read().expect("no holder of this lock panics");
        let mut ids: Vec<_> = touched.iter().collect();
        ids.sort();
        ids.into_iter()
            .map(|id| {
                let series: Vec<_> = self.views.series_of(id).into_iter().map(|(id, _)| id).collect();
                let condition = self.views.device_condition(&series);
                let status = condition_code(Views::shown(condition, self.stale.contains(id)));
                let heard = seen
                    .get(id)
                    .map_or("null".to_owned(), |s| s.received_at.ms().to_string());
                let stale = u8::from(self.stale.contains(id));
                let id_json = serde_json::to_string(id).expect("a name is JSON");
                Change::of(&register, id, format!("[{id_json},{status},{stale},{heard}]"))
            })
            .collect()
    }
}

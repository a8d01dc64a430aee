//! Asks stations for what they owe: hours that the gap ledger misses are requested as history, once a station is
//! connected.
//!
//! Each hour, or cadence where that is longer, is a command of its own (HJ 212: 2061, or 2051 for stations that report more
//! often than hourly and 2031 for those that report daily; SL 651: function 38 for each element that the station reports),
//! ordered under a key that names it. What the ledger of commands says of
//! that key ends the asking: an hour that the station has sent or has no data of is not asked for again, whatever the gap
//! ledger says of it then; one whose request was never answered is, a few times.
//!
//! Hydrological stations sleep between their reports: what they owe is ordered while they do, waits for the next
//! report, and is answered in the session that it begins.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use onemap_dashboards::views::Views;
use onemap_ingest::station::{Peers, Seen};
use onemap_model::{
    Command, CommandState, CommandStep, Device, DeviceId, DeviceState, Family, Order, Scope, Source,
    Timestamp, Via,
};
use onemap_store::gaps::{Expectation, IN_TIME, window};
use onemap_store::ledger::CommandFilter;
use onemap_wire::hj212::stamp;
use onemap_wire::sl651::{Definition, Element};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::stations::hydrological;

const HOUR: Duration = Duration::from_secs(3600);
/// Requests of one station that wait at a time.
const N_AT_A_TIME: usize = 24;
/// How often one hour is asked for when no answer comes.
const N_TRIES: usize = 3;
/// How long one request may take.
const LIFE: Duration = Duration::from_secs(600);
/// So long ago a sleeping station may have been heard.
const ASLEEP: Duration = Duration::from_secs(26 * 3600);
/// Stations are looked at this often …
const ROUND: Duration = Duration::from_secs(1);
/// … and one that owes nothing once in this time.
const AGAIN: Duration = Duration::from_secs(600);
/// Elements of one hydrological station that are asked for.
const N_ELEMENTS: usize = 8;
/// Before an hour in a key.
const KEY: &str = "resend";
/// Who orders.
const ACTOR: &str = "resend";

/// What is asked for, by protocol; none where no server of it runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) hj212: Option<Asking>,
    pub(crate) sl651: Option<Asking>,
}

impl Rules {
    fn of(&self, protocol: Source) -> Option<Asking> {
        let asking = match protocol {
            Source::Hj212 => self.hj212,
            Source::Sl651 => self.sl651,
            _ => None,
        };
        asking.filter(|asking| !asking.window.is_zero())
    }
}

/// What is asked for of the stations of a protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asking {
    /// How long after its arrival a station is left to send its backlog by itself.
    pub(crate) after: Duration,
    /// How far back hours are asked for; zero asks for none.
    pub(crate) window: Duration,
}

/// Asks until `stop`.
pub(crate) async fn run(
    views: Arc<Views>,
    peers: Peers,
    rules: Rules,
    left: u64,
    stop: CancellationToken,
) -> Result<()> {
    if [Source::Hj212, Source::Sl651]
        .into_iter()
        .all(|protocol| rules.of(protocol).is_none())
    {
        return Ok(());
    }
    tokio::select! {
        () = views.applied_whenever(left) => {}
        () = stop.cancelled() => return Ok(()),
    }
    // By station: on which connection and when nothing was owed.
    let mut settled: HashMap<DeviceId, (u64, Timestamp)> = HashMap::new();
    let mut rounds = tokio::time::interval(ROUND);
    rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            _ = rounds.tick() => {}
        }
        let now = views.now();
        let connected = peers.all(now.saturating_sub(ASLEEP));
        let there: HashSet<&DeviceId> = connected.iter().map(|seen| &seen.device).collect();
        settled.retain(|device, _| there.contains(device));
        let due: Vec<(Seen, Asking)> = connected
            .iter()
            .filter_map(|seen| {
                let asking = rules.of(seen.protocol)?;
                let is_settled = settled
                    .get(&seen.device)
                    .is_some_and(|(on, at)| *on == seen.connection && now.since(*at) < AGAIN);
                let is_due = !is_settled && now.since(seen.since) >= asking.after;
                is_due.then(|| (seen.clone(), asking))
            })
            .collect();
        if due.is_empty() {
            continue;
        }
        // What they sent by themselves is in the ledger first.
        let last = views.log.status().next.saturating_sub(1);
        tokio::select! {
            () = views.applied_whenever(last) => {}
            () = stop.cancelled() => return Ok(()),
        }
        for (seen, asking) in due {
            if stop.is_cancelled() {
                return Ok(());
            }
            let device = seen.device.clone();
            match ask(&views, &seen, asking.window, now).await {
                Ok(0) => {
                    settled.insert(device, (seen.connection, now));
                }
                Ok(_) => {}
                Err(error) => {
                    warn!(device.id = %device, "`{device}` is not asked for what it owes: {error:#}")
                }
            }
        }
    }
}

/// Orders what a station owes; gives how many requests wait or were ordered.
async fn ask(views: &Arc<Views>, seen: &Seen, window: Duration, now: Timestamp) -> Result<usize> {
    let id = &seen.device;
    let n_waiting = {
        let work = views.commands.work();
        work.book
            .waiting(id.as_str())
            .filter(|command| base_of(command).is_some())
            .count()
    };
    if n_waiting > 0 {
        return Ok(n_waiting);
    }
    let Some((device, cadence_s)) = active(views, id) else {
        return Ok(0);
    };
    // It answers in a session, and begins one with each report; of one that has missed two it is not known when.
    let session = Duration::from_secs(u64::from(cadence_s));
    let life = match seen.protocol {
        Source::Sl651 => LIFE + session * 2,
        _ => LIFE,
    };
    if now.since(seen.heard_at) > life && seen.protocol == Source::Sl651 {
        return Ok(0);
    }
    let missing = missing_hours(views, &device, cadence_s, window, now);
    if missing.is_empty() {
        return Ok(0);
    }
    let requests: Vec<Request> = match seen.protocol {
        Source::Sl651 => {
            let elements = elements(views, id);
            let one = |hour: &Timestamp| {
                elements
                    .iter()
                    .map(|of| of_series(*of, *hour, cadence_s))
                    .collect::<Vec<_>>()
            };
            missing.iter().flat_map(one).collect()
        }
        _ => missing.iter().map(|hour| of_hour(*hour, cadence_s)).collect(),
    };
    let (reader, filter) = (
        views.clone(),
        CommandFilter {
            device: Some(id.to_string()),
            from: Some(now.saturating_sub(window + Duration::from_secs(86_400))),
            ..CommandFilter::default()
        },
    );
    let asked = tokio::task::spawn_blocking(move || reader.ledger.commands(&filter, None, 10_000))
        .await
        .context("the look-up was cut short")??;
    let orders = orders(&device.id, &requests, &asked, now, life);
    let n_orders = orders.len();
    if n_orders > 0 {
        info!(device.id = %id, requests = n_orders, hours = missing.len(), "`{id}` is asked for hours that are missing");
    }
    let scope = Scope::local(ACTOR);
    let mut last = None;
    for order in orders {
        let step = CommandStep::Created(Box::new(order));
        last = Some(views.acts.record_command(&scope, now, step).await?);
    }
    if let Some(last) = last {
        views.applied_whenever(last).await;
    }
    Ok(n_orders)
}

fn active(views: &Views, id: &DeviceId) -> Option<(Arc<Device>, u32)> {
    let register = views.register.read().expect("no holder of this lock panics");
    let device = register.view.devices.get(id)?.clone();
    let cadence_s = register.cadence_s(&device);
    (device.state == DeviceState::Active && cadence_s > 0).then_some((device, cadence_s))
}

/// Starts of the hours that are over, should have come by now and miss reports; the oldest first.
fn missing_hours(
    views: &Views,
    device: &Device,
    cadence_s: u32,
    window: Duration,
    now: Timestamp,
) -> Vec<Timestamp> {
    let Some(heard) = views.gaps.heard(&device.id) else {
        return Vec::new();
    };
    let expectation = Expectation {
        cadence_s,
        since: Some(heard),
        until: None,
    };
    let from = now.saturating_sub(window);
    let mut missing = Vec::new();
    for day in from.beijing_day()..=now.beijing_day() {
        let midnight = day * 86_400_000 - 8 * 3_600_000;
        for row in views.gaps.day(&device.id, day, &expectation, now) {
            let start = Timestamp::from_ms(midnight + i64::from(row.hour) * 3_600_000);
            let is_due = start >= from && start + HOUR + IN_TIME <= now;
            if is_due && row.lost > 0 {
                missing.push(start);
            }
        }
    }
    missing
}

/// The key of a command of this module without the number of its try.
fn base_of(command: &Command) -> Option<&str> {
    let key = command.order.key.as_deref()?;
    let is_own = command.order.by.actor == ACTOR && key.starts_with(KEY);
    is_own
        .then(|| key.rsplit_once(':').map(|(base, _)| base))
        .flatten()
}

/// What one hour's values are requested by.
struct Request {
    method: &'static str,
    params: Value,
    /// In its key.
    name: String,
}

/// HJ 212: an hour's values of everything.
fn of_hour(start: Timestamp, cadence_s: u32) -> Request {
    let method = match cadence_s {
        86_400.. => "history_days",
        3600.. => "history_hours",
        _ => "history_minutes",
    };
    let (start, end) = window(cadence_s, start);
    // The last second of the hour: whether a station takes the end of a span in or not, it is this hour.
    let end = Timestamp::from_ms(end.ms() - 1000);
    Request {
        method,
        params: json!({"begin": stamp::written(start), "end": stamp::written(end)}),
        name: format!("{method}:{}", stamp::written(start)),
    }
}

/// SL 651: an hour's values of an element. A value of a period bears the stamp of its end, and is the hour's that it ends.
fn of_series((element, definition): (Element, Definition), start: Timestamp, cadence_s: u32) -> Request {
    let (start, end) = window(cadence_s, start);
    let is_array = matches!(element.0, 0xF4..=0xFC);
    let period_s = element.kind().map_or(0, |kind| kind.period_s);
    let minutes = (cadence_s / 60).max(1);
    let (from, to, step) = match cadence_s {
        _ if is_array => (start, start, "5m".to_owned()),
        3601.. => (start, end, "1h".to_owned()),
        3600 if period_s > 0 => (end, end, "1h".to_owned()),
        3600 => (start, start, "1h".to_owned()),
        _ => (start, end, format!("{}m", minutes.min(59))),
    };
    Request {
        method: "history",
        params: json!({
            "element": format!("{element}:{:02X}", definition.0),
            "from": stamp::written(from), "to": stamp::written(to), "step": step,
        }),
        name: format!("{element}:{}", stamp::written(start)),
    }
}

/// Whether values of a field are worth asking for again; a station's own supply is not.
fn is_asked_for(family: Family) -> bool {
    !matches!(family, Family::Technical | Family::Energy)
}

/// Elements of a hydrological station that are asked for: those of its profile, or those that it has reported, but for what
/// it says of itself (voltages, currents, alarms).
fn elements(views: &Views, id: &DeviceId) -> Vec<(Element, Definition)> {
    let stated = hydrological(views, id).unwrap_or_default().resend;
    if !stated.is_empty() {
        return stated;
    }
    let mut found: Vec<_> = views
        .history
        .series_of(id)
        .into_iter()
        .filter(|series| is_asked_for(series.key.quantity.definition().family))
        .filter_map(|series| Element::giving(series.key.quantity, series.key.channel))
        .filter_map(|element| Some((element, element.kind()?.usual_definition()?)))
        .collect();
    found.sort_by_key(|(element, _)| *element);
    found.dedup();
    found.truncate(N_ELEMENTS);
    found
}

/// What is to be ordered now, when these requests are due and those commands were ordered before.
fn orders(
    device: &DeviceId,
    requests: &[Request],
    asked: &[Command],
    now: Timestamp,
    life: Duration,
) -> Vec<Order> {
    let mut by_base: BTreeMap<&str, Vec<&Command>> = BTreeMap::new();
    for command in asked {
        if let Some(base) = base_of(command) {
            by_base.entry(base).or_default().push(command);
        }
    }
    let order = |request: &Request| {
        let base = format!("{KEY}:{device}:{}", request.name);
        let before = by_base.get(base.as_str()).map_or(&[][..], Vec::as_slice);
        let is_settled = before.iter().any(|command| !may_ask_again(command));
        let n_tried = before.iter().filter(|command| command.attempts > 0).count();
        if is_settled || n_tried >= N_TRIES {
            return None;
        }
        Some(Order {
            device: device.clone(),
            method: request.method.to_owned(),
            params: request.params.clone(),
            two_way: true,
            expires_at: now + life,
            key: Some(format!("{base}:{}", before.len() + 1)),
            via: Via::Auto,
            by: Scope::local(ACTOR),
        })
    };
    requests.iter().filter_map(order).take(N_AT_A_TIME).collect()
}

/// Whether what became of a request leaves the hour open: it was not answered, or the station could not just then.
fn may_ask_again(command: &Command) -> bool {
    match command.state {
        CommandState::Expired | CommandState::Cancelled => true,
        CommandState::Failed => {
            let code = command
                .answer
                .as_ref()
                .and_then(|answer| answer["exe_rtn"].as_str());
            matches!(code, Some("4" | "5" | "6"))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn hour(n: i64) -> Timestamp {
        Timestamp::from_ms(1_795_392_000_000 + n * 3_600_000)
    }

    fn became(order: Order, state: CommandState, answer: serde_json::Value) -> Command {
        Command {
            id: 1,
            order,
            created_at: hour(9),
            state,
            state_at: hour(9),
            attempts: 1,
            received: true,
            unconfirmed: false,
            answer: Some(answer),
        }
    }

    #[test]
    fn a_series_is_asked_for_where_its_hour_s_values_stand() {
        let element = |text| onemap_wire::sl651::element_of(text).unwrap();
        let asked = |text, cadence_s| {
            let params = of_series(element(text), hour(0), cadence_s).params;
            let time = |name: &str| params[name].as_str().unwrap()[8..10].to_owned();
            (
                time("from"),
                time("to"),
                params["step"].as_str().unwrap().to_owned(),
                params["element"].as_str().unwrap().to_owned(),
            )
        };
        let of = |from: &str, to: &str, step: &str, element: &str| {
            (
                from.to_owned(),
                to.to_owned(),
                step.to_owned(),
                element.to_owned(),
            )
        };
        let (start, end) = (&stamp::written(hour(0))[8..10], &stamp::written(hour(1))[8..10]);
        assert_eq!(asked("39", 3600), of(start, start, "1h", "39:23"));
        assert_eq!(asked("1A", 3600), of(end, end, "1h", "1A:19"));
        assert_eq!(asked("F4", 3600), of(start, start, "5m", "F4:60"));
        assert_eq!(asked("39", 300), of(start, end, "5m", "39:23"));
        // Of one that reports daily all of its day, hour by hour.
        let params = of_series(element("39"), hour(0), 86_400).params;
        let time = |name: &str| stamp::read(params[name].as_str().unwrap()).unwrap();
        assert_eq!(time("to").since(time("from")), Duration::from_secs(86_400));
        assert!(time("from") <= hour(0) && hour(0) < time("to"));
        let request = of_hour(hour(0), 86_400);
        assert_eq!(request.method, "history_days");
        assert!(request.params["begin"].as_str().unwrap().ends_with("000000"));
        assert!(request.params["end"].as_str().unwrap().ends_with("235959"));
    }

    #[test]
    fn an_hour_is_asked_for_until_the_station_has_said_what_it_has() {
        let device = DeviceId::new("M1").unwrap();
        let missing: Vec<_> = (0..4).map(hour).collect();
        let ask = |missing: &[Timestamp], asked: &[Command]| {
            let requests: Vec<_> = missing.iter().map(|start| of_hour(*start, 3600)).collect();
            orders(&device, &requests, asked, hour(9), LIFE)
        };
        let first = ask(&missing, &[]);
        assert_eq!(first.len(), 4);
        let span = &first[0].params;
        assert_eq!(span["begin"].as_str().map(|text| &text[10..]), Some("0000"));
        assert_eq!(span["end"].as_str().map(|text| &text[10..]), Some("5959"));
        let states = [
            (CommandState::Executed, json!({"exe_rtn": "1"})),
            (CommandState::Failed, json!({"exe_rtn": "100"})),
            (CommandState::Failed, json!({"exe_rtn": "5"})),
            (CommandState::Expired, json!(null)),
        ];
        let asked: Vec<_> = first
            .into_iter()
            .zip(states)
            .map(|(order, (state, answer))| became(order, state, answer))
            .collect();
        let second = ask(&missing, &asked);
        let keys: Vec<_> = second.iter().map(|order| order.key.clone().unwrap()).collect();
        assert_eq!(keys.len(), 2, "{keys:?}");
        assert!(keys.iter().all(|key| key.ends_with(":2")));
        // After three tries that were sent it is left.
        let tried = |n: usize| -> Vec<Command> {
            (0..n)
                .map(|_| became(second[1].clone(), CommandState::Expired, json!(null)))
                .collect()
        };
        assert_eq!(ask(&missing[3..], &tried(2)).len(), 1);
        assert_eq!(ask(&missing[3..], &tried(3)).len(), 0);
        // Not all at once.
        let many: Vec<_> = (0..100).map(hour).collect();
        assert_eq!(ask(&many, &[]).len(), N_AT_A_TIME);
    }
}

//! The state of the system itself: health, metrics, `/api/v1/system`.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use onemap_model::{Refusal, Scope};
use serde_json::{Map, Value, json};

use crate::api::{disk, engine, feeds, superior};
use crate::auth::Caller;
use crate::error::Problem;
use crate::request::NoParams;
use crate::screen;
use crate::stand::Question;
use crate::views::{Sighted, Views};

pub(crate) async fn live() -> &'static str {
    "ok\n"
}

pub(crate) async fn ready(State(views): State<Arc<Views>>) -> Response {
    let why = views.not_ready();
    if why.is_empty() {
        // Not a reason to take nothing, but one to look.
        let mut warnings: Vec<String> = views
            .keeping
            .disk()
            .and_then(|disk| disk.low)
            .into_iter()
            .collect();
        if views.persons.check().is_err() {
            let said = "persons.key is missing, or not the one by which persons are known: put it back, in any case \
                        before the server stops";
            warnings.push(said.to_owned());
        }
        return match warnings.is_empty() {
            false => Json(json!({"ready": true, "warnings": warnings})).into_response(),
            true => Json(json!({"ready": true})).into_response(),
        };
    }
    (
        StatusCode::SERVICE_UNAVAILABLE,
        Json(json!({"ready": false, "why": why})),
    )
        .into_response()
}

/// Refusals of listeners and pipeline together, by label.
fn refused(views: &Views) -> impl Iterator<Item = (&'static str, u64)> {
    Refusal::ALL.iter().enumerate().map(|(i, refusal)| {
        let pipeline = views.refused.get(i).map_or(0, |n| n.load(Ordering::Relaxed));
        (refusal.label(), pipeline + views.counters.refused(*refusal))
    })
}

pub(crate) async fn show(
    State(views): State<Arc<Views>>,
    caller: Caller,
    _: NoParams,
) -> Result<Json<Value>, Problem> {
    let scope = caller.scope();
    let log = views.log.status();
    let progress = *views.progress.borrow();
    // What is refused is nobody's, and a superior's stations are the whole city's: who sees a part is not told how many.
    let is_whole = scope.is_whole();
    let refused: Map<String, Value> = refused(&views)
        .filter(|(_, n)| is_whole && *n > 0)
        .map(|(label, n)| (label.to_owned(), n.into()))
        .collect();
    let not_ready = views.not_ready();
    Ok(Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "instance": views.instance,
        "ui": if screen::embedded() { "embedded" } else { "absent" },
        "demo": views.demo,
        "now": views.now(),
        "started_at": views.started_at,
        "ready": not_ready.is_empty(),
        "not_ready": not_ready,
        "journal": {"first": log.first, "last": log.next.saturating_sub(1), "durable": log.durable,
                    "bytes": log.bytes, "segments": log.segments},
        "cursors": {"history": progress.history, "ledger": progress.ledger, "register": progress.register,
                    "views": progress.applied},
        "history": engine::shown(views.remote.get().map(AsRef::as_ref), views.now()),
        "superiors": superior::shown(views.superiors.get().filter(|_| is_whole)),
        "disk": disk::shown(views.keeping.disk().as_ref()),
        "counts": views.counts(scope),
        "refused": refused,
    })))
}

/// Digests as of a moment between two batches of the pipeline.
pub(crate) async fn digest(State(views): State<Arc<Views>>, caller: Caller) -> Result<Json<Value>, Problem> {
    if !caller.scope().is_whole() {
        return Err(Problem::forbidden(
            "digests are of the whole city, and this token is of a part of it",
        ));
    }
    let (answer, digests) = tokio::sync::oneshot::channel();
    views
        .questions
        .send(Question::Digests(answer))
        .await
        .map_err(|_| Problem::unavailable("the pipeline has stopped"))?;
    digests
        .await
        .map(Json)
        .map_err(|_| Problem::unavailable("the pipeline could not make digests; the log says why"))
}

/// Counters of the whole city, for who sees the whole of it, and for the token that is for them alone.
pub(crate) async fn metrics(
    State(views): State<Arc<Views>>,
    scope: Option<Extension<Scope>>,
) -> Result<Response, Problem> {
    if scope.is_some_and(|Extension(scope)| !scope.is_whole()) {
        return Err(Problem::forbidden("counters are of the whole city"));
    }
    let mut out = String::with_capacity(4096);
    let mut metric = |name: &str, kind: &str, help: &str, rows: &[(String, u64)]| {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in rows {
            let _ = writeln!(out, "{name}{labels} {value}");
        }
    };
    let one = |value: u64| [(String::new(), value)];
    let counted = views.counters.counted();
    let log = views.log.status();
    let progress = *views.progress.borrow();
    let lag = |name: &str, cursor: u64| {
        (
            format!("{{projection=\"{name}\"}}"),
            log.durable.saturating_sub(cursor),
        )
    };
    // One thread folds a record into all of them before the next one.
    let names = ["views", "history", "ledger", "register"];
    metric(
        "onemap_cursor_lag_records",
        "gauge",
        "Durable journal records that a projection has not folded in yet.",
        &names.map(|name| lag(name, progress.applied)),
    );
    metric(
        "onemap_checkpoint_lag_records",
        "gauge",
        "Durable journal records that a restart would fold again.",
        &[
            lag("history", progress.history),
            lag("ledger", progress.ledger),
            lag("register", progress.register),
        ],
    );
    let refused: Vec<_> = refused(&views)
        .map(|(label, n)| (format!("{{reason=\"{label}\"}}"), n))
        .collect();
    metric(
        "onemap_refused_total",
        "counter",
        "Inputs refused, by reason.",
        &refused,
    );
    let unread: Vec<_> = {
        let counts = views.unread.lock().expect("no holder of this lock panics");
        let label = |(protocol, what): &(&str, &str)| format!("{{protocol=\"{protocol}\",what=\"{what}\"}}");
        counts.iter().map(|(name, n)| (label(name), *n)).collect()
    };
    metric(
        "onemap_unread_total",
        "counter",
        "Parts of stations' frames that were understood and give no reading.",
        &unread,
    );
    let oidc: Vec<_> = {
        let counts = views.oidc.lock().expect("no holder of this lock panics");
        let rows = counts.iter();
        rows.map(|(became, n)| (format!("{{became=\"{became}\"}}"), *n))
            .collect()
    };
    metric(
        "onemap_oidc_total",
        "counter",
        "Log-ins by OpenID Connect since the start, by what became of them.",
        &oidc,
    );
    let sightings: Vec<_> = Sighted::ALL
        .iter()
        .zip(&views.sightings)
        .map(|(became, n)| {
            (
                format!("{{became=\"{}\"}}", became.label()),
                n.load(Ordering::Relaxed),
            )
        })
        .collect();
    metric(
        "onemap_sightings_total",
        "counter",
        "Positions that devices said of themselves since the start, by what became of them.",
        &sightings,
    );
    metric(
        "onemap_config_faults_total",
        "counter",
        "Faults found in changed rule files and profiles; the former ones stay.",
        &one(views.config_faults.load(Ordering::Relaxed)),
    );
    metric(
        "onemap_open_hours",
        "gauge",
        "Hours of stations whose air quality index is not worked out yet, those that are not over included.",
        &one(views.open_hours.load(Ordering::Relaxed)),
    );
    metric(
        "onemap_readings_total",
        "counter",
        "Readings admitted since the start.",
        &one(views.readings.load(Ordering::Relaxed)),
    );
    metric(
        "onemap_mqtt_connections",
        "gauge",
        "MQTT connections now.",
        &one(counted.connections),
    );
    metric(
        "onemap_mqtt_publishes_total",
        "counter",
        "MQTT publishes received.",
        &one(counted.publishes),
    );
    metric(
        "onemap_mqtt_acks_total",
        "counter",
        "MQTT publishes acknowledged after they were durable.",
        &one(counted.acks),
    );
    metric(
        "onemap_mqtt_accepted_total",
        "counter",
        "MQTT connections that were authenticated.",
        &one(counted.accepted),
    );
    metric(
        "onemap_mqtt_accept_errors_total",
        "counter",
        "Connections the system could not hand over, such as too many open files.",
        &one(counted.accept_errors),
    );
    metric(
        "onemap_tls_handshakes_total",
        "counter",
        "TLS handshakes that succeeded.",
        &[
            (
                "{kind=\"full\"}".to_owned(),
                counted.tls_handshakes.saturating_sub(counted.tls_resumed),
            ),
            ("{kind=\"resumed\"}".to_owned(), counted.tls_resumed),
        ],
    );
    metric(
        "onemap_tls_reload_errors_total",
        "counter",
        "Certificate files and deny lists that could not be taken up; the former stay in use.",
        &one(counted.certificate_errors),
    );
    metric(
        "onemap_websockets_total",
        "counter",
        "WebSockets for MQTT that were opened.",
        &one(counted.websockets),
    );
    metric(
        "onemap_mqtt_slow_readers_total",
        "counter",
        "Subscribers cut off because they did not read.",
        &one(counted.slow_readers),
    );
    metric(
        "onemap_mqtt_relayed_total",
        "counter",
        "MQTT publishes on topics of no device, journaled and passed on.",
        &one(counted.relayed),
    );
    let http = &views.http;
    let read = |n: &AtomicU64| one(n.load(Ordering::Relaxed));
    metric(
        "onemap_http_connections",
        "gauge",
        "HTTP connections that are open now.",
        &read(&http.connections),
    );
    metric(
        "onemap_http_connections_refused_total",
        "counter",
        "HTTP connections over [http] max_connections.",
        &read(&http.refused),
    );
    metric(
        "onemap_http_bodies_late_total",
        "counter",
        "Requests answered with 408 because their body did not arrive in time.",
        &read(&http.late_bodies),
    );
    metric(
        "onemap_http_bodies_refused_total",
        "counter",
        "Requests answered with 503 because of [http] max_bodies_bytes.",
        &read(&http.bodies_over_budget),
    );
    metric(
        "onemap_http_answers_untaken_total",
        "counter",
        "Connections cut because their peer did not take its answer within [http] answer_timeout.",
        &read(&http.untaken_answers),
    );
    let events = views.security.counts();
    metric(
        "onemap_security_events_total",
        "counter",
        "Security events since the start, by kind.",
        &events.map(|(kind, n)| (format!("{{kind=\"{kind}\"}}"), n)),
    );
    metric(
        "onemap_security_events_untold_total",
        "counter",
        "Security events that were told by their number only (flood), or that files or collector had no room for (slow).",
        &views
            .security
            .untold()
            .map(|(why, n)| (format!("{{why=\"{why}\"}}"), n)),
    );
    let limited = http.shares.counts();
    metric(
        "onemap_http_limited_total",
        "counter",
        "Requests answered with 429 because of [http.limits], by the limit.",
        &limited.map(|(limit, n)| (format!("{{limit=\"{limit}\"}}"), n)),
    );
    metric(
        "onemap_http_body_bytes",
        "gauge",
        "Bytes of request bodies in flight.",
        &one(http.body_bytes.load(Ordering::Relaxed) as u64),
    );
    metric(
        "onemap_journal_bytes",
        "gauge",
        "Bytes of the journal on disk.",
        &one(log.bytes),
    );
    metric(
        "onemap_journal_segments",
        "gauge",
        "Segments of the journal.",
        &one(log.segments as u64),
    );
    metric(
        "onemap_journal_durable_position",
        "gauge",
        "Last durable record.",
        &one(log.durable),
    );
    metric(
        "onemap_journal_commits_total",
        "counter",
        "Group commits (one fsync each).",
        &one(log.n_commits),
    );
    metric(
        "onemap_journal_full",
        "gauge",
        "1 while the journal waits for room.",
        &one(u64::from(log.full)),
    );
    let history = views.history.stats();
    metric(
        "onemap_series",
        "gauge",
        "Series in the dictionary.",
        &one(history.series),
    );
    metric(
        "onemap_history_reopened_total",
        "counter",
        "How often the history was opened again after a write that failed.",
        &one(history.reopened),
    );
    metric(
        "onemap_history_damaged_total",
        "counter",
        "Damaged rows of the history met since the start.",
        &one(history.damaged),
    );
    let scrub = views.history.scrubbed();
    metric(
        "onemap_history_damaged_rows",
        "gauge",
        "Damaged rows of the history that the reading of all rows knows of.",
        &one(scrub.n_faults),
    );
    metric(
        "onemap_history_scrub_rows",
        "gauge",
        "Rows read in the pass over all rows that is under way, or in the last one.",
        &one(scrub.rows),
    );
    metric(
        "onemap_history_scrub_passes_total",
        "counter",
        "Passes over all rows that came to their end.",
        &one(scrub.passes),
    );
    let ended = scrub
        .ended
        .and_then(|ended| u64::try_from(ended.ms() / 1000).ok());
    metric(
        "onemap_history_scrub_ended_seconds",
        "gauge",
        "When the last whole pass over all rows ended, in seconds since 1970; absent before the first.",
        ended.map(one).as_ref().map_or(&[], |row| &row[..]),
    );
    if let Some(remote) = views.remote.get() {
        engine::metrics(remote, views.now(), &mut metric);
    }
    if let Some(superiors) = views.superiors.get() {
        superior::metrics(superiors, &mut metric);
    }
    if let Some(outboxes) = views.outboxes.get() {
        feeds::metrics(&views, outboxes, &mut metric);
    }
    let (held, facts, n_resent, n_repeated) = {
        let work = views.commands.work();
        let (facts, n_resent, n_repeated) = work.book.facts();
        (work.book.count(), facts.clone(), n_resent, n_repeated)
    };
    let held: Vec<_> = held
        .into_iter()
        .map(|(state, n)| (format!("{{state=\"{}\"}}", state.name()), n))
        .collect();
    metric(
        "onemap_commands",
        "gauge",
        "Commands that wait or ended within a day, by state.",
        &held,
    );
    let facts: Vec<_> = facts
        .into_iter()
        .map(|(fact, n)| (format!("{{fact=\"{fact}\"}}"), n))
        .collect();
    metric(
        "onemap_command_facts_total",
        "counter",
        "Facts about commands since the start, by name.",
        &facts,
    );
    metric(
        "onemap_commands_resent_total",
        "counter",
        "Commands handed to a connection again.",
        &one(n_resent),
    );
    metric(
        "onemap_command_answers_repeated_total",
        "counter",
        "Answers that came again.",
        &one(n_repeated),
    );
    let counts = views.counts(&Scope::local("metrics"));
    metric(
        "onemap_devices",
        "gauge",
        "Devices by state.",
        &[
            ("{state=\"normal\"}".to_owned(), counts.normal as u64),
            ("{state=\"abnormal\"}".to_owned(), counts.abnormal as u64),
            ("{state=\"unknown\"}".to_owned(), counts.unknown as u64),
        ],
    );
    metric(
        "onemap_devices_stale",
        "gauge",
        "Devices silent for more than three cadences.",
        &one(counts.stale as u64),
    );
    let clocks_off = {
        let watch = views.watch.read().expect("no holder of this lock panics");
        watch.n_clocks_off() as u64
    };
    metric(
        "onemap_devices_clock_off",
        "gauge",
        "Devices whose clock is off by more than their profile tolerates.",
        &one(clocks_off),
    );
    metric(
        "onemap_alerts_open",
        "gauge",
        "Open alerts.",
        &one(counts.alerts_open as u64),
    );
    metric(
        "onemap_ready",
        "gauge",
        "1 when ready.",
        &one(u64::from(views.not_ready().is_empty())),
    );
    disk::metrics(views.keeping.disk().as_ref(), &history, &mut out);
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    Ok((kind, out).into_response())
}

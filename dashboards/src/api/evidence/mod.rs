//! `/api/v1/alerts/{id}/evidence`: what an alert rests on, as one signed file that stock tools verify (docs/audit.md).
//!
//! In it are the alert with its story, the rule as it stood, the frames as they came in, the values around them, and the
//! rows of the audit for what people did, each with the way from it to a signed head. That somebody took it is an act
//! with the digest of its list, so the pack itself stands in the audit from then on.

mod pack;
mod rows;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use onemap_alerts::Alert;
use onemap_log::Entry;
use onemap_model::record::{KIND_FRAME, Record};
use onemap_model::scope::Permission;
use onemap_model::{AlertId, Scope, Timestamp, Transition, Verb};
use onemap_store::ledger::ForecastFilter;
use onemap_store::notary::{Algorithm, Notary};
use onemap_wire::spelt::Protocol;
use onemap_wire::veil;
use serde_json::{Value, json};

use self::pack::{Pack, digest};
use crate::api::alerts::alert_json;
use crate::api::forecasts::veiled;
use crate::api::{act_problem, behind, export};
use crate::auth::Caller;
use crate::error::Problem;
use crate::views::Views;

const POISON: &str = "no holder of this lock panics";
/// Values before the first that the alert rests on.
const BEFORE_MS: i64 = 24 * 3600 * 1000;
/// Bytes of values.
const VALUE_BYTES: usize = 16 << 20;
/// Forecasts of the series that are looked through for those that an alert rests on.
const N_FORECASTS: usize = 10_000;
/// Frames.
const N_FRAMES: usize = 1000;

/// How a pack is verified; it lies in each.
const README: &str = include_str!("README.txt");

pub(crate) async fn take(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let unknown = || Problem::not_found("unknown_alert", format!("no alert has the id `{id}`"));
    let alert: AlertId = id.parse().map_err(|_| unknown())?;
    let scope = caller.scope().clone();
    let shown = alert_json(&views, &scope, &alert).ok_or_else(unknown)?;
    let found = views.board.read().expect(POISON).get(&alert).cloned();
    let found = found.ok_or_else(unknown)?;
    let notary = views.keeping.notary.get().cloned();
    let notary = notary.ok_or_else(|| Problem::unavailable("the server is starting"))?;
    // Everything up to now is in the ledger, so the pack has the newest act.
    let now = views.now();
    let reader = views.clone();
    let by = scope.clone();
    let made = tokio::task::spawn_blocking(move || make(&reader, &by, &notary, &found, shown, now));
    let (sha256, tar) = made
        .await
        .map_err(|e| Problem::internal(&e))?
        .map_err(|why| Problem::unavailable(format!("the pack cannot be made: {why}")))?;
    let verb = Verb::Evidence { alert, sha256 };
    let position = views
        .acts
        .record_act(&scope, now, verb)
        .await
        .map_err(act_problem)?;
    views.applied(position).await.map_err(behind)?;
    let name = HeaderValue::from_str(&format!("attachment; filename=\"evidence-{alert}.tar\""));
    let mut response = tar.into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/x-tar"),
    );
    headers.insert(header::CONTENT_DISPOSITION, name.expect("digits and letters"));
    Ok(response)
}

/// What is not in a pack, and why.
#[derive(Default)]
struct LeftOut(Vec<Value>);

impl LeftOut {
    fn note(&mut self, what: impl Into<String>, why: &str) {
        self.0.push(json!({"what": what.into(), "why": why}));
    }
}

/// The digest of the list of files, and the tar file.
fn make(
    views: &Arc<Views>,
    scope: &Scope,
    notary: &Notary,
    alert: &Alert,
    mut shown: Value,
    now: Timestamp,
) -> Result<(String, Vec<u8>), String> {
    let told = views.ledger.transitions_of(&alert.id).map_err(|e| said(&e))?;
    let history: Vec<Transition> = told.into_iter().map(|told| told.transition).collect();
    let (mut pack, mut left_out) = (Pack::default(), LeftOut::default());
    shown["history"] = json!(history);
    pack.put(
        "README.txt",
        README.replace("{OPTIONS}", options(notary.algorithm())),
    );
    pack.put("alert.json", pretty(&shown));
    device(views, alert, &mut pack);

    let mut positions: BTreeSet<u64> = history.iter().map(|edge| edge.position).collect();
    let mut rows: BTreeSet<u64> = BTreeSet::new();
    rule(views, &history, &mut pack, &mut left_out, &mut rows)?;
    let inputs = history.iter().flat_map(|edge| &edge.inputs);
    positions.extend(inputs.map(|input| input.position));
    let mut frames = Vec::new();
    for position in positions {
        match views.ledger.audit_row_at(position).map_err(|e| said(&e))? {
            Some(row) => {
                rows.insert(row.n);
            }
            None if frames.len() == N_FRAMES => {
                left_out.note(format!("frame {position}"), "a pack holds 1000 frames");
            }
            None => frames.push(position),
        }
    }
    put_forecasts(views, scope, alert, &history, &mut pack)?;
    put_frames(views, scope, alert, &frames, &mut pack, &mut left_out, &mut rows)?;
    put_values(views, alert, &history, now, &mut pack, &mut left_out);
    rows::put(views, notary, &rows, now, &mut pack, &mut left_out)?;
    let contents = json!({
        "format": "onemap evidence 1", "alert": alert.id, "made_at": now, "server": env!("CARGO_PKG_VERSION"),
        "made_for": {"actor": scope.actor, "role": scope.role.name(), "division": scope.division,
                     "departments": scope.departments},
        "left_out": left_out.0,
    });
    pack.put("contents.json", pretty(&contents));
    for key in notary.public_keys().map_err(|e| said(&e))? {
        pack.put(format!("keys/{}.pem", key.algorithm().name()), key.pem());
    }
    let sums = pack.sums();
    let signature = notary.sign(sums.as_bytes()).map_err(|e| said(&e))?;
    let folder = format!("evidence-{}", alert.id);
    let tar = pack.tar(&folder, now, &sums, &signature).map_err(|e| said(&e))?;
    Ok((digest(sums.as_bytes()), tar))
}

/// What OpenSSL is told of an algorithm beside its key.
fn options(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::Ed25519 => "",
        Algorithm::Sm2 => " -digest sm3 -pkeyopt distid:1234567812345678",
    }
}

/// An error with its causes.
fn said(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

/// The device as it is registered, and the profile that its values are read by.
fn device(views: &Views, alert: &Alert, pack: &mut Pack) {
    let register = views.register.read().expect(POISON);
    let Some(device) = register.view.devices.get(&alert.series.device) else {
        return;
    };
    pack.put("device.json", pretty(&json!(**device)));
    let profile = device.profile.as_ref();
    if let Some(text) = profile.and_then(|id| register.view.profiles.get(id)) {
        pack.put("profile.yaml", text.as_bytes());
    }
}

/// The file that had the rule when it raised the alert.
fn rule(
    views: &Views,
    history: &[Transition],
    pack: &mut Pack,
    left_out: &mut LeftOut,
    rows: &mut BTreeSet<u64>,
) -> Result<(), String> {
    let Some(raised) = history.first() else {
        left_out.note("rule.yaml", "the ledger has no story of this alert");
        return Ok(());
    };
    match rows::rule(views, raised).map_err(|e| e.to_string())? {
        Some((row, text)) => {
            rows.insert(row);
            pack.put("rule.yaml", text);
        }
        None => left_out.note(
            "rule.yaml",
            "no version of a rule file in the audit has this rule",
        ),
    }
    Ok(())
}

/// The frames as they came in. Passwords in them are covered for who may not register devices; those that speak for other
/// devices, too, are for who sees the whole city.
fn put_frames(
    views: &Views,
    scope: &Scope,
    alert: &Alert,
    positions: &[u64],
    pack: &mut Pack,
    left_out: &mut LeftOut,
    rows: &mut BTreeSet<u64>,
) -> Result<(), String> {
    let segments = rows::segments(views, positions).map_err(|e| e.to_string())?;
    let sees_passwords = scope.may(Permission::Register);
    let sees_all = scope.is_whole();
    let mut lines = String::new();
    for &position in positions {
        let Some(body) = body_of(views, position)? else {
            // Ticks and what else is no frame change alerts, too.
            continue;
        };
        let Ok(Record::Frame(frame)) = Record::decode(KIND_FRAME, &body) else {
            continue;
        };
        let is_own = frame.device == alert.series.device.as_str();
        let mut line = json!({
            "position": position, "received_at": frame.received_at, "source": frame.source,
            "size": frame.payload.len(), "sha256": digest(frame.payload),
        });
        if let Some((n, segment)) = segments
            .iter()
            .find(|(_, s)| (s.first..=s.last).contains(&position))
        {
            rows.insert(*n);
            line["segment"] =
                json!({"row": n, "first": segment.first, "last": segment.last, "sha256": segment.sha256});
        }
        if is_own || sees_all {
            let name = format!("frames/{position}.bin");
            let bytes = match Protocol::of(frame.source) {
                Some(protocol) if !sees_passwords => veil::veiled(protocol, frame.payload),
                _ => Cow::Borrowed(frame.payload),
            };
            line["device"] = frame.device.into();
            line["peer"] = frame.peer.into();
            line["topic"] = frame.topic.into();
            line["file"] = name.as_str().into();
            line["masked"] = matches!(bytes, Cow::Owned(_)).into();
            pack.put(name, bytes);
        } else {
            left_out.note(
                format!("frame {position}"),
                "it speaks for other devices, too, and is given to who sees the whole city",
            );
        }
        lines.push_str(&format!("{line}\n"));
    }
    pack.put("frames.ndjson", lines);
    Ok(())
}

/// A frame's bytes: as the ledger keeps them for the alert, else as the journal has them.
fn body_of(views: &Views, position: u64) -> Result<Option<Vec<u8>>, String> {
    if let Some(body) = views.ledger.evidence(position).map_err(|e| e.to_string())? {
        return Ok(Some(body));
    }
    let frame = |entry: Entry<'_>| (entry.kind == KIND_FRAME).then(|| entry.body.to_vec());
    let body = views.record_at(position, frame).map_err(|e| e.to_string())?;
    Ok(body.flatten())
}

/// The forecasts that edges rest on, as they were issued.
fn put_forecasts(
    views: &Views,
    scope: &Scope,
    alert: &Alert,
    history: &[Transition],
    pack: &mut Pack,
) -> Result<(), String> {
    let inputs = || history.iter().flat_map(|edge| &edge.inputs);
    let times = inputs().map(|input| input.measured_at);
    let (Some(from), Some(to)) = (times.clone().min(), times.max()) else {
        return Ok(());
    };
    let filter = ForecastFilter {
        series: Some(alert.series.to_string()),
        from: Some(from),
        to: Some(to + Duration::from_millis(1)),
        ..ForecastFilter::default()
    };
    let positions: BTreeSet<u64> = inputs().map(|input| input.position).collect();
    let all = views.ledger.forecasts(&filter, None, N_FORECASTS);
    let all = all.map_err(|e| e.to_string())?;
    let asked = all.into_iter().filter(|row| positions.contains(&row.position));
    let rows: Vec<Value> = asked
        .map(|row| {
            let forecast = veiled(views, scope, row.forecast);
            json!({"position": row.position, "taken_at": row.at, "forecast": forecast})
        })
        .collect();
    if !rows.is_empty() {
        pack.put("forecasts.json", pretty(&json!(rows)));
    }
    Ok(())
}

/// The values of the series from a day before the first that the alert rests on.
fn put_values(
    views: &Arc<Views>,
    alert: &Alert,
    history: &[Transition],
    now: Timestamp,
    pack: &mut Pack,
    left_out: &mut LeftOut,
) {
    let inputs = history.iter().flat_map(|edge| &edge.inputs);
    let first = inputs.map(|input| input.measured_at).min();
    let from = Timestamp::from_ms(first.unwrap_or(alert.raised_at).ms() - BEFORE_MS);
    let to = alert.ended_at.unwrap_or(now) + Duration::from_millis(1);
    match export::csv_of(views, &alert.series, from..to, VALUE_BYTES) {
        Ok((csv, is_all)) => {
            pack.put("readings.csv", csv);
            if !is_all {
                left_out.note("readings.csv", "the later values: a pack holds 16 MiB of them");
            }
        }
        Err(error) => left_out.note("readings.csv", &error.to_string()),
    }
}

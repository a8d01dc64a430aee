//! Cards: the open alerts that a caller sees, one card for each incident (`onemap_alerts::cards`).

use std::collections::HashSet;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use onemap_alerts::cards::{Card, Site, Surroundings, fold};
use onemap_alerts::{Alert, Filter, StateFilter};
use onemap_model::{AlertId, DeviceId, DivisionCode, EntityKind, Position, RuleId, Scope, Severity};
use onemap_rules::When;
use serde::Deserialize;
use serde_json::{Value, json};

use super::alerts::render;
use super::limit_up_to;
use super::query::tag::Tag;
use crate::auth::Caller;
use crate::error::Problem;
use crate::networks::Joined;
use crate::request::Params;
use crate::views::{Register, Views};

const POISON: &str = "no holder of this lock panics";

/// Most cards of one answer. A desk with more has no use for the rest before these are done.
const N_CARDS: usize = 1000;
/// Alerts of a card that the list spells out.
const N_SPELT: usize = 10;
/// Most alerts of one page of a card.
const N_PAGE: usize = 1000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Query {
    division: Option<DivisionCode>,
    severity: Option<String>,
    limit: Option<usize>,
}

pub(crate) async fn list_cards(
    State(views): State<Arc<Views>>,
    caller: Caller,
    headers: HeaderMap,
    Params(query): Params<Query>,
) -> Result<Response, Problem> {
    let limit = limit_up_to(N_CARDS, query.limit, 100)?;
    let least = match query.severity.as_deref() {
        None => Severity::Notice,
        Some(text) => serde_json::from_value(text.into()).map_err(|_| {
            Problem::bad_request(
                "bad_severity",
                format!("severity: `{text}` is not critical, major, minor or notice"),
            )
        })?,
    };
    let scope = caller.scope().clone();
    let question = format!("cards {:?} {least:?} {limit}", query.division);
    let answer = blocking(move || {
        let seen = Seen::of(&views, &scope, query.division.as_ref());
        let cards = fold(&seen.alerts, &seen.known);
        let n_shelved = seen.alerts.iter().filter(|a| a.is_open() && a.shelved.is_some());
        let shown: Vec<&Card> = cards.iter().filter(|card| card.severity >= least).collect();
        let items: Vec<Value> = shown
            .iter()
            .take(limit)
            .map(|card| {
                let mut item = card_json(card);
                let members = card.members.iter().take(N_SPELT);
                item["members"] = members.filter_map(|id| seen.brief(id)).collect();
                item
            })
            .collect();
        json!({
            "items": items,
            "total": shown.len(),
            "alerts": shown.iter().map(|card| card.counts.alerts).sum::<usize>(),
            "shelved": n_shelved.count(),
        })
        .to_string()
    })
    .await?;
    let tag = Tag::of_answer(&question, answer.as_bytes(), "");
    if tag.is_known(&headers) {
        return Ok(tag.unchanged());
    }
    let mut response = ([(header::CONTENT_TYPE, "application/json")], answer).into_response();
    tag.put(&mut response);
    Ok(response)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Page {
    limit: Option<usize>,
    after: Option<String>,
}

pub(crate) async fn show_card(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Path(id): Path<String>,
    Params(page): Params<Page>,
) -> Result<axum::Json<Value>, Problem> {
    let unknown = || Problem::not_found("unknown_card", format!("no card has the id `{id}`"));
    let limit = limit_up_to(N_PAGE, page.limit, 100)?;
    let bad = |text: &str| {
        let told = format!("after: `{text}` is no alert of this card, or no more; begin anew");
        Problem::bad_request("bad_after", told)
    };
    let card_id: AlertId = id.parse().map_err(|_| unknown())?;
    let scope = caller.scope().clone();
    let own = views.clone();
    let (seen, card) = blocking(move || {
        let seen = Seen::of(&own, &scope, None);
        let cards = fold(&seen.alerts, &seen.known);
        let card = cards.into_iter().find(|card| card.id == card_id);
        (seen, card)
    })
    .await?;
    let card = card.ok_or_else(unknown)?;
    let from = match &page.after {
        None => 0,
        Some(text) => {
            let after: AlertId = text.parse().map_err(|_| bad(text))?;
            let found = card.members.iter().position(|member| *member == after);
            found.ok_or_else(|| bad(text))? + 1
        }
    };
    let rest = &card.members[from..];
    let items: Vec<Value> = rest
        .iter()
        .take(limit)
        .filter_map(|id| seen.alert(id))
        .map(|alert| render(&views, alert))
        .collect();
    let next = (rest.len() > limit).then(|| rest[limit - 1].to_string());
    Ok(axum::Json(
        json!({"card": card_json(&card), "items": items, "next": next}),
    ))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| Problem::internal(&e))
}

/// A card without its alerts.
fn card_json(card: &Card) -> Value {
    json!({
        "id": card.id, "kind": card.kind,
        "cause": {"id": card.cause.id, "zh": card.cause.name.zh, "en": card.cause.name.en},
        "gateway": card.gateway, "headline": card.headline,
        "severity": card.severity, "severity_zh": card.severity.zh(),
        "condition": card.condition, "acknowledged": card.is_acknowledged,
        "counts": card.counts, "raised_at": card.raised_at, "changed_at": card.changed_at,
        "chatter": card.chatter, "drill": card.drill, "bounds": card.bounds, "position": card.point,
        "network": card.network.as_ref().map(|network| {
            json!({"medium": network.id, "zh": network.name.zh, "en": network.name.en})
        }),
    })
}

/// Rules that wait for silence.
pub(crate) fn silences(views: &Views) -> HashSet<RuleId> {
    let silent = |rule: &&Arc<onemap_rules::Rule>| matches!(rule.when, When::NoData { .. });
    let files = views.rules.read().expect(POISON);
    let rules = files.values().flat_map(|file| file.set.rules());
    rules.filter(silent).map(|rule| rule.id.clone()).collect()
}

/// The alerts that a caller sees, by their ids, and what is known of their devices.
struct Seen {
    /// Sorted by id.
    alerts: Vec<Alert>,
    known: Surroundings,
}

impl Seen {
    /// Holds no lock while it takes another, but for the register's and the board's, in this order as everywhere.
    fn of(views: &Views, scope: &Scope, division: Option<&DivisionCode>) -> Self {
        let joined = views.networks.of(views);
        let mut known = Surroundings {
            silences: silences(views),
            networks: joined.graph.clone(),
            ..Surroundings::default()
        };
        let register = views.register.read().expect(POISON);
        let (mut alerts, silent) = {
            let filter = Filter {
                state: StateFilter::All,
                scope,
                whose: &*register,
                division,
            };
            let board = views.board.read().expect(POISON);
            let alerts = board.list(&filter, None, usize::MAX);
            let is_gateway = |alert: &&Alert| {
                let device = register.view.devices.get(&alert.series.device);
                known.is_silence(alert) && device.is_some_and(|device| device.is_gateway)
            };
            let silent: Vec<Alert> = board.open_alerts().filter(is_gateway).cloned().collect();
            (alerts.into_iter().cloned().collect::<Vec<_>>(), silent)
        };
        alerts.sort_unstable_by_key(|alert| alert.id);
        for alert in alerts.iter().chain(&silent) {
            add_site(&mut known, &register, &joined, scope, &alert.series.device);
        }
        drop(register);
        {
            let seen = views.seen.read().expect(POISON);
            for (id, site) in &mut known.sites {
                site.heard_at = seen.get(id).map(|seen| seen.received_at);
            }
        }
        for alert in &silent {
            known.note(alert, true);
        }
        Self::place(views, &mut known);
        Self { alerts, known }
    }

    /// Devices that move are where they said last.
    fn place(views: &Views, known: &mut Surroundings) {
        let moving = views.moving.read().expect(POISON);
        for (id, site) in &mut known.sites {
            // Who does not see a device learns nothing of where it is.
            let newest = moving.newest(id.as_str()).filter(|_| !site.kind.is_empty());
            if let Some(newest) = newest {
                let (lon, lat) = (newest.at.lon_degrees(), newest.at.lat_degrees());
                site.position = Position::new(lon, lat, None).ok().or(site.position);
            }
        }
    }

    fn alert(&self, id: &AlertId) -> Option<&Alert> {
        let at = self.alerts.binary_search_by_key(id, |alert| alert.id);
        at.ok().map(|at| &self.alerts[at])
    }

    /// An alert as a list of cards spells it out.
    fn brief(&self, id: &AlertId) -> Option<Value> {
        let alert = self.alert(id)?;
        let site = self.known.sites.get(&alert.series.device);
        Some(json!({
            "id": alert.id, "rule": alert.rule, "rule_name": alert.rule_name, "severity": alert.severity,
            "condition": alert.condition, "acknowledged": alert.acknowledged.is_some(),
            "device": alert.series.device, "quantity": alert.series.quantity,
            "device_name": site.map(|site| &site.name), "device_name_en": site.map(|site| &site.name_en),
            "raised_at": alert.raised_at, "changed_at": alert.changed_at, "value": alert.value,
        }))
    }
}

/// What is known of a device, and of the gateways that it hangs on. Of what the caller does not see only that it is a gateway.
fn add_site(
    known: &mut Surroundings,
    register: &Register,
    joined: &Joined,
    scope: &Scope,
    device: &DeviceId,
) {
    let mut at = device.clone();
    while !known.sites.contains_key(&at) {
        let Some(device) = register.view.devices.get(&at) else {
            return;
        };
        let mut site = Site {
            gateway: device.gateway.clone(),
            cadence_s: register.cadence_s(device),
            ..Site::default()
        };
        if register.sees(scope, at.as_str()) {
            site.name.clone_from(&device.name);
            site.name_en.clone_from(&device.name_en);
            site.kind = device.kind.to_string();
            site.position = device.position;
            site.division = register.divisions.get(&at).cloned();
            let entity = device.entity.as_ref();
            // Where nothing is known of what joins them; a pipe or a road is a piece only.
            let named = entity.filter(|e| matches!(e.kind, EntityKind::Reach | EntityKind::Water));
            site.network = named.map(ToString::to_string);
            site.stand = joined.stand(register, device);
        }
        let gateway = site.gateway.clone();
        known.sites.insert(at, site);
        match gateway {
            Some(gateway) => at = gateway,
            None => return,
        }
    }
}

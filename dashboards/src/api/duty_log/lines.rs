//! The log of a desk as it is read: what people wrote, and what the server says itself of the same time.
//!
//! Lines of the server are stored nowhere: they come of the ledger's transitions and messages of warnings. All are in the
//! order of their times.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use onemap_alerts::looks_at;
use onemap_model::duty_log::ShiftName;
use onemap_model::{Desk, DeskId, Edge, Scope, Timestamp, Transition};
use onemap_store::ledger::{DutyLogFilter, LedgerError, WarningMessage};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{manned, shift, shown};
use crate::access::sees_feeds;
use crate::api::cards::silences;
use crate::api::{limit_up_to, time};
use crate::auth::Caller;
use crate::error::Problem;
use crate::request::Params;
use crate::views::Views;

const POISON: &str = "no holder of this lock panics";
/// The span where neither it nor a shift is said.
const HALF_DAY: Duration = Duration::from_secs(43_200);
/// The longest span.
const LONGEST: Duration = Duration::from_secs(7 * 86_400);
/// Most lines of a page.
const MOST: usize = 1_000;
/// Transitions that are read at once.
const PAGE: usize = 1_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Query {
    from: Option<String>,
    to: Option<String>,
    /// `current`, `previous`, or a time in a shift.
    shift: Option<String>,
    after: Option<String>,
    limit: Option<usize>,
}

/// Where a line stands: its time, which source it is of, and its number there.
type Place = (i64, u8, u64);

const ENTRY: u8 = 0;
const ALERT: u8 = 1;
const WARNING: u8 = 2;

/// The lines of a span of a desk's log, oldest first.
pub(crate) async fn show(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Path(id): Path<String>,
    Params(query): Params<Query>,
) -> Result<Json<Value>, Problem> {
    let scope = caller.scope().clone();
    let (id, desk) = manned(&views, &scope, &id)?;
    let limit = limit_up_to(MOST, query.limit, 200)?;
    let after = query.after.as_deref().map(place).transpose()?;
    let (from, to, of) = span(&desk, &query, views.now())?;
    let reading = tokio::task::spawn_blocking(move || {
        let reader = Reader {
            views: &views,
            scope: &scope,
            id: &id,
            desk: &desk,
            from,
            to,
            after: after.unwrap_or((i64::MIN, 0, 0)),
            limit: limit + 1,
        };
        reader.lines().map_err(|e| Problem::internal(&e))
    });
    let mut lines = reading.await.map_err(|e| Problem::internal(&e))??;
    let is_more = lines.len() > limit;
    lines.truncate(limit);
    let next = lines
        .last()
        .filter(|_| is_more)
        .map(|((at, source, n), _)| format!("{at}-{source}-{n}"));
    let items: Vec<Value> = lines.into_iter().map(|(_, line)| line).collect();
    Ok(Json(json!({
        "from": from, "to": to, "shift": of.as_ref().map(shift), "items": items, "next": next,
    })))
}

fn place(text: &str) -> Result<Place, Problem> {
    let read = || {
        let mut parts = text.rsplitn(3, '-');
        let n = parts.next()?.parse().ok()?;
        let source = parts.next()?.parse().ok()?;
        Some((parts.next()?.parse().ok()?, source, n))
    };
    read().ok_or_else(|| Problem::bad_request("bad_after", "`after` is the `next` of the page before"))
}

/// From when to when, and which shift that is.
fn span(
    desk: &Desk,
    query: &Query,
    now: Timestamp,
) -> Result<(Timestamp, Timestamp, Option<ShiftName>), Problem> {
    let Some(asked) = query.shift.as_deref() else {
        let to = query
            .to
            .as_deref()
            .map_or(Ok(now + Duration::from_millis(1)), |text| time("to", text))?;
        let from = query
            .from
            .as_deref()
            .map_or(Ok(to.saturating_sub(HALF_DAY)), |text| time("from", text))?;
        if to <= from || to.since(from) > LONGEST {
            return Err(Problem::bad_request(
                "bad_range",
                "`to` lies behind `from`, by at most 7 days",
            ));
        }
        return Ok((from, to, None));
    };
    if query.from.is_some() || query.to.is_some() {
        return Err(Problem::bad_request(
            "bad_range",
            "either `shift`, or `from` and `to`",
        ));
    }
    let found = match asked {
        "current" => desk.shift_at(now),
        "previous" => match desk.shift_at(now) {
            Some(current) => desk.shift_before(current),
            None => desk
                .shifts
                .iter()
                .filter(|shift| shift.to <= now)
                .max_by_key(|shift| shift.from),
        },
        text => desk.shift_at(time("shift", text)?),
    };
    let shift =
        found.ok_or_else(|| Problem::not_found("no_shift", "the roster of the desk has no such shift"))?;
    // A shift may be of any length; what is read of it is not.
    let to = shift.to.min(shift.from + LONGEST);
    let name = ShiftName {
        from: shift.from,
        to: shift.to,
        name: shift.name.clone(),
    };
    Ok((shift.from, to, Some(name)))
}

struct Reader<'a> {
    views: &'a Views,
    scope: &'a Scope,
    id: &'a DeskId,
    desk: &'a Desk,
    from: Timestamp,
    to: Timestamp,
    after: Place,
    limit: usize,
}

impl Reader<'_> {
    /// The first lines behind `after`, of all sources.
    fn lines(&self) -> Result<Vec<(Place, Value)>, LedgerError> {
        let mut lines = self.entries()?;
        lines.extend(self.alerts()?);
        lines.extend(self.warnings()?);
        lines.sort_by_key(|(place, _)| *place);
        lines.truncate(self.limit);
        Ok(lines)
    }

    fn entries(&self) -> Result<Vec<(Place, Value)>, LedgerError> {
        let filter = DutyLogFilter {
            desk: Some(self.id.to_string()),
            from: self.from,
            to: self.to,
        };
        // Entries are the first of their millisecond.
        let (at, source, n) = self.after;
        let mut behind = (
            Timestamp::from_ms(at),
            if source == ENTRY { n } else { u64::MAX >> 1 },
        );
        let mut found = Vec::new();
        loop {
            let rows = self.views.ledger.duty_log(&filter, behind, self.limit)?;
            let Some(last) = rows.last() else {
                return Ok(found);
            };
            behind = (last.at, last.position);
            // An entry of a desk that another division had under this name is not this one's.
            let own = rows
                .iter()
                .filter(|row| self.scope.encloses(row.entry.division.as_ref(), &[]));
            let sees = sees_feeds(self.scope);
            found.extend(own.map(|row| ((row.at.ms(), ENTRY, row.position), shown(row, sees))));
            if rows.len() < self.limit || found.len() >= self.limit {
                return Ok(found);
            }
        }
    }

    fn alerts(&self) -> Result<Vec<(Place, Value)>, LedgerError> {
        let silences = silences(self.views);
        let begin = self.from.max(Timestamp::from_ms(self.after.0));
        let mut seq = self.views.ledger.seq_before(begin)?;
        let mut found = Vec::new();
        loop {
            let page = self.views.ledger.transitions_after(seq, PAGE)?;
            let Some(last) = page.last() else {
                return Ok(found);
            };
            seq = last.seq;
            let is_over = last.transition.at >= self.to;
            let register = self.views.register.read().expect(POISON);
            for row in &page {
                let told = &row.transition;
                let place = (told.at.ms(), ALERT, row.seq);
                if place <= self.after || told.at < self.from || told.at >= self.to {
                    continue;
                }
                let belongs = register.recorded(told.series.device.as_str(), told.division.as_ref());
                let device = register.view.devices.get(&told.series.device);
                let is_gateway = device.is_some_and(|device| *device.kind == *"gateway");
                let is_dark = is_gateway && silences.contains(&told.rule);
                let Some(what) = self.kind(told, is_dark, belongs.division) else {
                    continue;
                };
                let name = device.map(|device| &*device.name);
                found.push((place, line(what, told, row.seq, name)));
            }
            drop(register);
            if is_over || found.len() >= self.limit {
                return Ok(found);
            }
        }
    }

    /// What a transition is to the desk; `None` when it is nothing to it.
    fn kind(
        &self,
        told: &Transition,
        is_dark: bool,
        division: Option<&onemap_model::DivisionCode>,
    ) -> Option<&'static str> {
        if told.edge == Edge::Paged {
            let desk = told.act.as_ref().map(|act| act.name.as_str());
            return (desk == Some(self.id.as_str())).then_some("alert_paged");
        }
        let of_gateway = match told.edge {
            Edge::Raised | Edge::DrillOver => Some("gateway_dark"),
            Edge::Cleared => Some("gateway_back"),
            _ => None,
        };
        let lies_in = match (&self.desk.division, division) {
            (None, _) => true,
            (Some(own), Some(other)) => own.covers(other),
            (Some(_), None) => false,
        };
        if let (true, true, Some(what)) = (is_dark, lies_in, of_gateway) {
            return Some(what);
        }
        let what = match told.edge {
            Edge::Raised | Edge::DrillOver => "alert_raised",
            Edge::Worsened => "alert_worsened",
            Edge::Cleared => "alert_cleared",
            Edge::Closed => "alert_closed",
            Edge::Withdrawn => "alert_withdrawn",
            _ => return None,
        };
        looks_at(self.desk, told.severity, &told.rule, division).then_some(what)
    }

    fn warnings(&self) -> Result<Vec<(Place, Value)>, LedgerError> {
        let (mut after, mut found) = (0, Vec::new());
        loop {
            let rows = self
                .views
                .ledger
                .warning_messages_in((self.from, self.to), after, self.limit)?;
            let Some(last) = rows.last() else {
                return Ok(found);
            };
            after = last.position;
            let place = |message: &WarningMessage| (message.sent.ms(), WARNING, message.position);
            let own = rows
                .iter()
                .filter(|message| self.is_of(message) && place(message) > self.after);
            found.extend(own.map(|message| (place(message), warning(message))));
            if rows.len() < self.limit || found.len() >= self.limit {
                return Ok(found);
            }
        }
    }

    fn is_of(&self, message: &WarningMessage) -> bool {
        let belongs = onemap_model::Belongs::of(message.division.as_ref(), &message.department);
        let lies_in = match (&self.desk.division, &message.division) {
            (None, _) => true,
            (Some(own), Some(other)) => own.covers(other),
            (Some(_), None) => false,
        };
        lies_in && self.scope.covers(belongs)
    }
}

fn line(what: &str, told: &Transition, seq: u64, device_name: Option<&str>) -> Value {
    let mut line = json!({
        "source": "alerts", "id": seq, "at": told.at, "kind": what, "alert": told.alert, "rule": told.rule,
        "severity": told.severity, "device": told.series.device, "device_name": device_name,
        "message": {"zh": told.message_zh, "en": told.message_en},
    });
    if let Some(drill) = &told.drill {
        line["drill"] = json!(drill);
    }
    line
}

fn warning(message: &WarningMessage) -> Value {
    json!({
        "source": "warnings", "id": message.position, "at": message.sent, "kind": warning_kind(message),
        "warning": message.warning, "identifier": message.identifier, "standing": message.standing,
    })
}

/// What a message is to those before it, as its document says.
pub(crate) fn warning_kind(message: &WarningMessage) -> &'static str {
    let says = |kind: &str| message.document.contains(&format!("<msgType>{kind}</msgType>"));
    match (says("Update"), says("Cancel")) {
        (true, _) => "warning_updated",
        (_, true) => "warning_cancelled",
        _ => "warning_issued",
    }
}

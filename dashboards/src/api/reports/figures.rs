//! The figures of a report, gathered in pages: nothing of the ledger is held.

use std::collections::BTreeMap;
use std::time::Duration;

use onemap_alerts::tally::{Tallied, Tally, Turns};
use onemap_alerts::{Alert, Change};
use onemap_model::duty_log::ShiftName;
use onemap_model::{
    Belongs, Desk, DeskId, DivisionCode, DutyKind, EntityKind, RuleId, Scope, SeriesKey, Severity, Shift,
    Timestamp,
};
use onemap_store::ledger::{DutyLogFilter, LedgerError};
use serde_json::{Value, json};

use super::Period;
use crate::api::cards::silences;
use crate::api::duty::is_of;
use crate::api::duty_log::lines::warning_kind;
use crate::api::duty_log::shift;
use crate::api::ledger::arrival;
use crate::views::Views;

const POISON: &str = "no holder of this lock panics";
/// Rows that are read at once.
const PAGE: usize = 1_000;
/// An alert that goes on for longer is stale (ISA-18.2: 24 h).
const STALE: Duration = Duration::from_secs(86_400);
/// Rules that are listed, those that raised most first.
const N_RULES: usize = 200;
/// Shifts that are listed, those without a hand-over first.
const N_SHIFTS: usize = 500;

/// What a period came to, of what a scope sees, of a division.
pub(super) fn report(
    views: &Views,
    scope: &Scope,
    period: &Period,
    division: Option<&DivisionCode>,
) -> Result<Value, LedgerError> {
    let now = views.now();
    let begins = views.ledger.begins()?;
    let (from, to) = (period.from, period.to);
    let is_known = begins.is_some_and(|begins| begins < to);
    let state = match (is_known, to <= now) {
        (false, _) => "unknown",
        (true, true) => "ended",
        (true, false) => "running",
    };
    let kind = if period.is_month { "monthly" } else { "daily" };
    let mut report = json!({
        "period": kind, "name": period.name, "from": from, "to": to, "now": now, "division": division,
        "division_name": division.map(|code| name_of(views, Some(code.as_str()))), "state": state,
        "known_from": begins, "partial": begins.is_none_or(|begins| begins > from),
        "alarms": null, "response": null, "pages": null, "silence": null, "warnings": null, "data": null, "duty": null,
    });
    if !is_known {
        return Ok(report);
    }
    let asked = Asked {
        views,
        scope,
        division,
        from,
        to,
        now,
    };
    let tallied = asked.tally()?;
    report["alarms"] = asked.alarms(&tallied);
    report["response"] = json!(tallied.response);
    report["pages"] = asked.pages(&tallied);
    report["silence"] = json!({"raised": tallied.silences.0, "devices": tallied.silences.1});
    report["warnings"] = asked.warnings()?;
    let days = from.beijing_day()..=Timestamp::from_ms(to.min(now).ms() - 1).beijing_day();
    report["data"] = arrival(views, scope, division, days, now).unwrap_or(Value::Null);
    report["duty"] = asked.duty()?;
    Ok(report)
}

struct Asked<'a> {
    views: &'a Views,
    scope: &'a Scope,
    division: Option<&'a DivisionCode>,
    from: Timestamp,
    to: Timestamp,
    now: Timestamp,
}

impl Asked<'_> {
    fn sees(&self, belongs: Belongs<'_>) -> bool {
        let lies_in = |code: &DivisionCode| belongs.division.is_some_and(|own| code.covers(own));
        self.scope.covers(belongs) && self.division.is_none_or(lies_in)
    }

    fn tally(&self) -> Result<Tallied, LedgerError> {
        let silences = silences(self.views);
        let mut tally = Tally::new(self.from, self.to);
        let mut seq = self.views.ledger.seq_before(self.from)?;
        loop {
            let page = self.views.ledger.transitions_after(seq, PAGE)?;
            let Some(last) = page.last() else {
                return Ok(tally.finish());
            };
            seq = last.seq;
            // The register is let go between pages, for who changes it.
            let register = self.views.register.read().expect(POISON);
            for told in page.iter().map(|row| &row.transition) {
                let belongs = register.recorded(told.series.device.as_str(), told.division.as_ref());
                if self.sees(belongs) {
                    tally.take(told, belongs.division, silences.contains(&told.rule));
                }
            }
            if last.transition.at >= self.to {
                return Ok(tally.finish());
            }
        }
    }

    fn alarms(&self, tallied: &Tallied) -> Value {
        let load = &tallied.load;
        let turns = |turns: &Turns| json!(turns);
        let severities = [
            Severity::Critical,
            Severity::Major,
            Severity::Minor,
            Severity::Notice,
        ];
        let by_severity = severities.map(|severity| {
            let mut row = turns(&tallied.by_severity.get(&severity).copied().unwrap_or_default());
            row["severity"] = json!(severity);
            row["name"] = json!({"zh": severity.zh(), "en": severity.name()});
            row
        });
        let mut rules: Vec<(&RuleId, &Turns)> = tallied.by_rule.iter().collect();
        rules.sort_by_key(|(id, turns)| (std::cmp::Reverse(turns.raised), (*id).clone()));
        let by_rule = rules.iter().take(N_RULES).map(|(id, of)| {
            let mut row = turns(of);
            row["rule"] = json!(id);
            row["name"] = self.rule(id);
            row
        });
        let by_division = load.desks.iter().map(|desk| {
            json!({"division": desk.division, "name": name_of(self.views, desk.division.as_deref()),
                "raised": desk.n_raised, "mean": rounded(desk.mean), "most": desk.most, "most_at": desk.most_at,
                "flood_share": rounded(desk.flood_share)})
        });
        let mut out = turns(&tallied.all);
        out["stale"] = json!(self.stale());
        out["by_severity"] = json!(by_severity);
        out["n_rules"] = json!(rules.len());
        out["by_rule"] = by_rule.collect();
        out["by_division"] = by_division.collect();
        out["chattering"] = (load.chattering.iter())
            .map(|row| {
                self.named(
                    json!({"index": row.index, "deadband": row.deadband, "unit": row.unit}),
                    &row.rule,
                    &row.series,
                )
            })
            .collect();
        out["bad_actors"] = (load.bad_actors.iter())
            .map(|row| {
                self.named(
                    json!({"raised": row.n_raised, "share": rounded(row.share)}),
                    &row.rule,
                    &row.series,
                )
            })
            .collect();
        out
    }

    fn rule(&self, id: &RuleId) -> Value {
        match self.views.rule(id) {
            Some(rule) => json!(rule.name),
            None => json!({"zh": id, "en": id}),
        }
    }

    fn named(&self, mut row: Value, rule: &RuleId, series: &SeriesKey) -> Value {
        let register = self.views.register.read().expect(POISON);
        let device = register.view.devices.get(&series.device);
        row["name"] = json!(device.map_or(series.device.as_str(), |device| &device.name));
        row["rule"] = json!(rule);
        row["rule_name"] = self.rule(rule);
        row["device"] = json!(series.device);
        row["quantity"] = json!(series.quantity);
        row["ch"] = json!(series.channel);
        row
    }

    /// Alerts that had gone on for longer than a day at the end of the period, or now; `None` where too many ended since to
    /// tell.
    fn stale(&self) -> Option<usize> {
        let end = self.to.min(self.now);
        let register = self.views.register.read().expect(POISON);
        let board = self.views.board.read().expect(POISON);
        let is_stale = |alert: &&Alert| {
            let belongs = register.recorded(alert.series.device.as_str(), alert.division.as_ref());
            end.since(alert.raised_at) > STALE && alert.raised_at < end && self.sees(belongs)
        };
        // What ended behind the end of the period was open then; the board has only the last that ended.
        match self.to <= self.now && board.has_forgotten(end) {
            true => None,
            false => {
                let open_then = board
                    .open_alerts()
                    .chain(board.ended_alerts().filter(|alert| alert.ended_at >= Some(end)));
                Some(open_then.filter(is_stale).count())
            }
        }
    }

    fn pages(&self, tallied: &Tallied) -> Value {
        let board = self.views.board.read().expect(POISON);
        let names: BTreeMap<&str, &str> = (board.duty().desks())
            .map(|(id, desk)| (id.as_str(), desk.name.as_str()))
            .collect();
        let by_desk = tallied.pages.iter().map(
            |(id, n)| json!({"desk": id, "name": names.get(id.as_str()).copied().unwrap_or(id), "n": n}),
        );
        json!({"n": tallied.pages.values().sum::<u64>(), "by_desk": by_desk.collect::<Vec<_>>()})
    }

    fn warnings(&self) -> Result<Value, LedgerError> {
        let (mut after, mut counts) = (0, BTreeMap::<&str, u64>::new());
        loop {
            let rows = self
                .views
                .ledger
                .warning_messages_in((self.from, self.to), after, PAGE)?;
            let Some(last) = rows.last() else {
                break;
            };
            after = last.position;
            for message in &rows {
                if !self.sees(Belongs::of(message.division.as_ref(), &message.department)) {
                    continue;
                }
                let kind = match message.standing.as_str() {
                    "actual" => warning_kind(message),
                    _ => "exercise",
                };
                *counts.entry(kind).or_default() += 1;
            }
        }
        let n = |kind| counts.get(kind).copied().unwrap_or(0);
        Ok(
            json!({"issued": n("warning_issued"), "updated": n("warning_updated"),
            "cancelled": n("warning_cancelled"), "exercises": n("exercise")}),
        )
    }

    fn duty(&self) -> Result<Value, LedgerError> {
        let desks: Vec<(DeskId, Desk)> = {
            let board = self.views.board.read().expect(POISON);
            let own = board.duty().desks().filter(|(_, desk)| self.has(desk));
            own.map(|(id, desk)| (id.clone(), desk.clone())).collect()
        };
        let day = Duration::from_secs(86_400);
        let filter = DutyLogFilter {
            desk: None,
            from: self.from.saturating_sub(day),
            to: self.to + day,
        };
        let mut taken: BTreeMap<String, Vec<(Timestamp, String)>> = BTreeMap::new();
        let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
        let mut behind = (Timestamp::from_ms(i64::MIN), 0);
        loop {
            let rows = self.views.ledger.duty_log(&filter, behind, PAGE)?;
            let Some(last) = rows.last() else {
                break;
            };
            behind = (last.at, last.position);
            for row in rows {
                let entry = &row.entry;
                let is_seen = self.scope.encloses(entry.division.as_ref(), &[]);
                if !is_seen || !desks.iter().any(|(id, _)| *id == entry.desk) {
                    continue;
                }
                if (self.from..self.to).contains(&row.at) {
                    *kinds.entry(entry.kind.name()).or_default() += 1;
                }
                if entry.kind == DutyKind::Takeover {
                    let own = taken.entry(entry.desk.to_string()).or_default();
                    own.push((row.at, entry.name.clone()));
                }
            }
        }
        let mut shifts: Vec<Value> = Vec::new();
        for (id, desk) in &desks {
            let own = taken.get(id.as_str()).map_or(&[][..], Vec::as_slice);
            let begin_here = desk
                .shifts
                .iter()
                .filter(|shift| (self.from..self.to).contains(&shift.from));
            shifts.extend(begin_here.filter_map(|of| self.shift(id, desk, of, own)));
        }
        let count = |state: &str| shifts.iter().filter(|row| row["state"] == state).count();
        let (missing, late) = (count("missing"), count("late"));
        let n_shifts = shifts.len();
        let order = |row: &Value| match row["state"].as_str() {
            Some("missing") => 0,
            Some("late") => 1,
            _ => 2,
        };
        shifts.sort_by_key(order);
        shifts.truncate(N_SHIFTS);
        let n = |kind: DutyKind| kinds.get(kind.name()).copied().unwrap_or(0);
        Ok(json!({
            "entries": kinds.values().sum::<u64>(), "notes": n(DutyKind::Note), "calls": n(DutyKind::Call),
            "instructions": n(DutyKind::Instruction), "handovers": n(DutyKind::Handover),
            "takeovers": n(DutyKind::Takeover), "n_shifts": n_shifts, "missing": missing, "late": late, "shifts": shifts,
        }))
    }

    fn has(&self, desk: &Desk) -> bool {
        let lies_in = |code: &DivisionCode| desk.division.as_ref().is_some_and(|own| code.covers(own));
        is_of(self.scope, desk) && self.division.is_none_or(lies_in)
    }

    /// How a shift took over; `None` for the first of a roster, and before its time.
    fn shift(&self, id: &DeskId, desk: &Desk, of: &Shift, taken: &[(Timestamp, String)]) -> Option<Value> {
        let change = Change::of(desk, of, taken.iter().map(|(at, _)| *at), self.now)?;
        let (early, _) = desk.takeover_span(of)?;
        let by = taken.iter().find(|(at, _)| *at >= early);
        let by = by.filter(|_| matches!(change, Change::Done | Change::Late));
        let name = ShiftName {
            from: of.from,
            to: of.to,
            name: of.name.clone(),
        };
        Some(
            json!({"desk": id, "name": desk.name, "shift": shift(&name), "state": change.name(),
            "taken_at": by.map(|(at, _)| at), "taken_by": by.map(|(_, name)| name)}),
        )
    }
}

/// Four decimals.
fn rounded(share: f64) -> f64 {
    (share * 1e4).round() / 1e4
}

/// What the register calls a division, else its code.
fn name_of(views: &Views, code: Option<&str>) -> Value {
    let Some(code) = code else {
        return json!({"zh": "未定位", "en": "in no division"});
    };
    let register = views.register.read().expect(POISON);
    let mut entities = register.view.with_code(code);
    let named = entities.find(|entity| entity.kind == EntityKind::Division);
    let zh = named.as_ref().map_or(code, |entity| &entity.name).to_owned();
    let en = named
        .as_ref()
        .map(|entity| entity.name_en.to_string())
        .filter(|en| !en.is_empty());
    json!({"zh": zh, "en": en.unwrap_or(zh.clone())})
}

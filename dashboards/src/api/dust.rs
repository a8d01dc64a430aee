//! Times of sand and dust, named for a division or a device by the notice of the authority.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use onemap_model::{Belongs, Device, DeviceId, DivisionCode, Dust, DustPlace, Scope, Timestamp, Verb};
use onemap_store::ledger::{SeriesAct, SeriesActFilter, SeriesActKind};
use serde::Deserialize;
use serde_json::Value;

use crate::api::devices::find;
use crate::api::quarantine::read;
use crate::api::review_problem;
use crate::api::series_acts::{self, ActsQuery, WithdrawBody, known_division, list_chosen, record};
use crate::auth::Caller;
use crate::error::Problem;
use crate::request::{Body, NoParams, Params};
use crate::views::Views;

const POISON: &str = "no holder of this lock panics";
/// Times of sand and dust that one answer looks at.
const MAX_TIMES: usize = 100_000;
const DAY_MS: i64 = 86_400_000;

fn dust_of(act: &SeriesAct) -> Option<&Dust> {
    match &act.act.verb {
        Verb::Dust(dust) => Some(dust),
        _ => None,
    }
}

/// Whether a scope may know of a place: a device that it sees, a division inside its own, or one that its own lies in.
/// Sand and dust of a division are of the ground: whatever departments somebody is of, they are told.
pub(super) fn sees(views: &Views, scope: &Scope, place: &DustPlace) -> bool {
    match place {
        DustPlace::Device(device) => views.device(scope, device.as_str()).is_some(),
        DustPlace::Division(division) => {
            scope.covers(Belongs::ground(Some(division)))
                || scope.division.as_ref().is_some_and(|own| division.covers(own))
        }
    }
}

/// That sand and dust of a place which a scope sees are its to name and to withdraw: not those of a division that is
/// more than its own, nor those of any division by who is of departments, since they are of all departments' devices.
///
/// # Errors
/// [`Problem`] (403).
pub(super) fn is_named_by(scope: &Scope, place: &DustPlace) -> Result<(), Problem> {
    match place {
        DustPlace::Division(division) if !scope.covers(Belongs::ground(Some(division))) => {
            Err(Problem::forbidden("this lies outside your division"))
        }
        DustPlace::Division(_) if !scope.departments.is_empty() => Err(Problem::forbidden(
            "sand and dust of a division are of all departments' devices: name them for a device",
        )),
        _ => Ok(()),
    }
}

/// Whether what is named for a place is of a device in a division: named for it, or for a division that it lies in.
fn is_of_device(place: &DustPlace, device: &DeviceId, division: Option<&DivisionCode>) -> bool {
    match place {
        DustPlace::Device(other) => other == device,
        DustPlace::Division(place) => division.is_some_and(|own| place.covers(own)),
    }
}

/// The division that a device lies in.
fn division_of(views: &Views, device: &DeviceId) -> Option<DivisionCode> {
    let register = views.register.read().expect(POISON);
    register.divisions.get(device).cloned()
}

/// Whether what is named for a place is of a division: named for it, for one that it lies in, or for something in it.
fn is_of_division(views: &Views, place: &DustPlace, division: &DivisionCode) -> bool {
    match place {
        DustPlace::Device(device) => division_of(views, device).is_some_and(|own| division.covers(&own)),
        DustPlace::Division(place) => place.covers(division) || division.covers(place),
    }
}

/// Times of sand and dust, newest first, withdrawn ones too; of a device also those of the divisions that it lies in.
pub(crate) async fn list_dust(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Params(query): Params<ActsQuery>,
) -> Result<Json<Value>, Problem> {
    let scope = caller.scope().clone();
    if query.quantity.is_some() || query.ch.is_some() {
        return Err(Problem::bad_request(
            "bad_parameter",
            "sand and dust are of a place: leave quantity= and ch= out",
        ));
    }
    let device = match query.device.as_deref() {
        None => None,
        Some(id) => {
            let device = find(&views, &scope, id)?;
            Some((device.id.clone(), division_of(&views, &device.id)))
        }
    };
    let division = query.division.clone();
    if let Some(division) = &division {
        known_division(&views, &scope, division)?;
    }
    let wants = move |views: &Views, row: &SeriesAct| {
        let Some(Dust { place, .. }) = dust_of(row) else {
            return false;
        };
        let is_of_device =
            |(id, own): &(DeviceId, Option<DivisionCode>)| is_of_device(place, id, own.as_ref());
        let is_of_division = |division: &DivisionCode| is_of_division(views, place, division);
        sees(views, &scope, place)
            && device.as_ref().is_none_or(is_of_device)
            && division.as_ref().is_none_or(is_of_division)
    };
    list_chosen(&views, query, SeriesActKind::Dust, None, wants).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DustBody {
    division: Option<DivisionCode>,
    device: Option<DeviceId>,
    from: Timestamp,
    to: Timestamp,
    source: String,
    name: String,
}

/// Names a time of sand and dust.
pub(crate) async fn post(
    State(views): State<Arc<Views>>,
    caller: Caller,
    _: NoParams,
    Body(body): Body<DustBody>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let scope = caller.scope();
    let place = match (body.division, body.device) {
        (Some(division), None) => {
            let place = DustPlace::Division(division.clone());
            is_named_by(scope, &place)?;
            known_division(&views, scope, &division)?;
            place
        }
        (None, Some(device)) => {
            find(&views, scope, device.as_str())?;
            DustPlace::Device(device)
        }
        _ => {
            return Err(Problem::bad_request(
                "bad_place",
                "sand and dust are in a `division` or at a `device`",
            ));
        }
    };
    let dust = Dust {
        place,
        from: body.from,
        to: body.to,
        source: body.source,
        name: body.name,
    };
    dust.check().map_err(|fault| review_problem(&fault))?;
    let shown = record(&views, scope, Verb::Dust(Box::new(dust))).await?;
    Ok((StatusCode::CREATED, shown))
}

/// Withdraws what was named.
pub(crate) async fn withdraw(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Path(id): Path<u64>,
    _: NoParams,
    Body(body): Body<WithdrawBody>,
) -> Result<Json<Value>, Problem> {
    series_acts::withdraw(&views, &caller, SeriesActKind::Dust, id, body).await
}

/// When there were sand and dust at a device, as far as they were named.
#[derive(Debug, Default)]
pub(crate) struct DustTimes(Vec<(Timestamp, Timestamp)>);

impl DustTimes {
    /// Of a device from a time to before another; with `known_at` as of then.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub(crate) async fn of(
        views: &Arc<Views>,
        device: &Device,
        (from, to): (Timestamp, Timestamp),
        known_at: Option<Timestamp>,
    ) -> Result<Self, Problem> {
        let division = division_of(views, &device.id);
        let filter = SeriesActFilter {
            kind: Some(SeriesActKind::Dust),
            from: Some(from),
            to: Some(to),
            ..SeriesActFilter::default()
        };
        let acts = read(views, move |views| {
            views.ledger.series_acts(&filter, None, MAX_TIMES)
        });
        let is_known = |at: Timestamp| known_at.is_none_or(|known_at| at <= known_at);
        let mut times = Vec::new();
        for act in acts.await? {
            let Some(dust) = dust_of(&act) else { continue };
            let is_here = is_of_device(&dust.place, &device.id, division.as_ref());
            let is_withdrawn = act.withdrawn.as_ref().is_some_and(|by| is_known(by.act.at));
            if is_here && is_known(act.act.at) && !is_withdrawn {
                times.push((dust.from, dust.to));
            }
        }
        Ok(Self(times))
    }

    /// Whether there were any after a time and not after another, both in ms.
    pub(crate) fn between(&self, after: i64, end: i64) -> bool {
        self.0.iter().any(|(from, to)| from.ms() < end && to.ms() > after)
    }

    /// The days with any, as [`Timestamp::beijing_day`] counts them, from that of one time to that of another.
    pub(crate) fn days(&self, from: Timestamp, to: Timestamp) -> BTreeSet<i64> {
        let midnight = |day: i64| day * DAY_MS - 8 * 3_600_000;
        (from.beijing_day()..=to.beijing_day())
            .filter(|day| self.between(midnight(*day), midnight(day + 1)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_and_a_day_are_dusty_when_any_of_them_is() {
        let at = |text: &str| Timestamp::parse(text).unwrap_or_default();
        let times = DustTimes(vec![(
            at("2026-03-14T23:30:00+08:00"),
            at("2026-03-16T00:00:00+08:00"),
        )]);
        let hour = |end: &str| times.between(at(end).ms() - 3_600_000, at(end).ms());
        assert!(!hour("2026-03-14T23:00:00+08:00") && hour("2026-03-15T00:00:00+08:00"));
        assert!(hour("2026-03-16T00:00:00+08:00") && !hour("2026-03-16T01:00:00+08:00"));
        let days = times.days(at("2026-03-01T00:00:00+08:00"), at("2026-03-31T00:00:00+08:00"));
        let first = at("2026-03-14T12:00:00+08:00").beijing_day();
        assert_eq!(days.into_iter().collect::<Vec<_>>(), [first, first + 1]);
    }
}

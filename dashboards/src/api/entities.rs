//! Entities on the map.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use onemap_model::record::Register;
use onemap_model::{Belongs, DeviceId, Entity, EntityKind, EntityRef, Scope};
use onemap_store::register::check_entity;
use onemap_store::register::import::{Mapping, import_geojson};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::map::tiles::live_state;
use crate::api::numbers::{self, Numbers};
use crate::api::{act_problem, behind};
use crate::auth::Caller;
use crate::error::Problem;
use crate::request::{List, Params};
use crate::views::Views;

const POISON: &str = "no holder of this lock panics";
/// Entities of one journal append.
const N_APPEND: usize = 500;

/// One entity, or a GeoJSON FeatureCollection of them. All good ones are taken; faults are listed
/// with the number of their feature. Citizen numbers are not kept ([`numbers`]).
pub(crate) async fn post(
    State(views): State<Arc<Views>>,
    caller: Caller,
    text: String,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let scope = caller.scope();
    let (good, faults) = read(&text)?;
    keep(&views, scope, good, faults).await
}

/// An array of entities, as the command line's import sends them.
pub(crate) async fn batch(
    State(views): State<Arc<Views>>,
    caller: Caller,
    List(entities): List<Entity>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let scope = caller.scope();
    let (mut good, mut faults) = (Vec::with_capacity(entities.len()), Vec::new());
    for (i, entity) in entities.into_iter().enumerate() {
        let at = format!("entity {}", i + 1);
        match check_entity(&entity) {
            Ok(()) => good.push((at, entity)),
            Err(e) => faults.push(json!({"at": at, "message": said(&e)})),
        }
    }
    keep(&views, scope, good, faults).await
}

/// An error with what it comes from.
fn said(error: &dyn std::error::Error) -> String {
    let mut said = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        said.push_str(&format!(": {error}"));
        source = error.source();
    }
    said
}

/// Keeps one entity, as a list of one.
///
/// # Errors
/// [`Problem`]: it is not sound, not of the caller's division, or not taken by the journal.
pub(crate) async fn keep_one(views: &Arc<Views>, scope: &Scope, entity: Entity) -> Result<(), Problem> {
    let at = "entity 1".to_owned();
    let (good, faults) = match check_entity(&entity) {
        Ok(()) => (vec![(at, entity)], Vec::new()),
        Err(e) => (Vec::new(), vec![json!({"at": at, "message": said(&e)})]),
    };
    keep(views, scope, good, faults).await.map(drop)
}

async fn keep(
    views: &Arc<Views>,
    scope: &Scope,
    read: Vec<(String, Entity)>,
    mut faults: Vec<Value>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let mut numbers = Numbers::default();
    let mut good = Vec::with_capacity(read.len());
    for (at, mut entity) in read {
        let kept = numbers.take(&mut entity, |number| views.persons.pseudonym(number));
        match kept.map_err(|e| Problem::internal(&e))? {
            Ok(()) => good.push(entity),
            Err(field) => faults.push(json!({"at": at, "message": numbers::refusal(field)})),
        }
    }
    if good.is_empty() && !faults.is_empty() {
        return Err(Problem::unprocessable(
            "bad_entities",
            "no entity could be read",
            faults.into(),
        ));
    }
    if good.iter().any(|entity| is_a_border(scope, entity)) {
        return Err(Problem::forbidden(WHOLE_CITYS));
    }
    if let Some(outside) = good
        .iter()
        .find(|entity| !scope.covers(entity.belongs(entity.division.as_ref())))
    {
        return Err(Problem::forbidden(not_stated_own(scope, outside)));
    }
    // Two of different divisions may not take the same code at once.
    let _turn = turn(views, scope).await;
    let taken = {
        let register = views.register.read().expect(POISON);
        good.iter()
            .find(|entity| is_anothers(&register, scope, entity))
            .cloned()
    };
    if let Some(entity) = taken {
        return Err(Problem::forbidden(format!(
            "entity `{}` is known, and not yours to change",
            entity.code
        )));
    }
    let n = good.len();
    let mut last = 0;
    let mut rest = good.into_iter().map(|entity| Register::Entity {
        entity: Box::new(entity),
    });
    loop {
        let changes: Vec<_> = rest.by_ref().take(N_APPEND).collect();
        if changes.is_empty() {
            break;
        }
        last = views
            .acts
            .record_register(scope, views.now(), changes)
            .await
            .map_err(act_problem)?;
    }
    views.applied(last).await.map_err(behind)?;
    Ok((
        StatusCode::CREATED,
        Json(json!({"imported": n, "position": last, "errors": faults, "warnings": numbers.found()})),
    ))
}

/// Held from looking whether something is another's until what is made of it is folded. Whoever has the whole city takes
/// nothing from nobody.
pub(crate) async fn turn<'a>(views: &'a Views, scope: &Scope) -> Option<tokio::sync::MutexGuard<'a, ()>> {
    match scope.is_whole() {
        true => None,
        false => Some(views.changing.lock().await),
    }
}

/// Why an entity is not the caller's: it states another division or another department than his.
pub(crate) fn not_stated_own(scope: &Scope, entity: &Entity) -> String {
    match scope.covers(Belongs::ground(entity.division.as_ref())) {
        false => format!("entity `{}` is not stated to lie in your division", entity.code),
        true => format!(
            "entity `{}` is not stated to be of one of your departments ({})",
            entity.code,
            scope.departments.join(", ")
        ),
    }
}

/// Why a division is not somebody's to state.
pub(crate) const WHOLE_CITYS: &str =
    "divisions are the whole city's: who is bound by their borders does not draw them";

/// Whether an entity is a border that bounds what its stater sees.
pub(crate) fn is_a_border(scope: &Scope, entity: &Entity) -> bool {
    entity.kind == EntityKind::Division && !scope.is_whole()
}

/// Whether what has an entity's kind and code now, or one of the codes that it says to have had before, is not the caller's
/// to see: it is not his to replace, and neither to be taken for his.
pub(crate) fn is_anothers(register: &crate::views::Register, scope: &Scope, entity: &Entity) -> bool {
    let kind = &entity.kind;
    let is_foreign = |code: &str| {
        let mut of_code = register.view.with_code(code).filter(|held| held.kind == *kind);
        of_code.any(|held| !register.sees_entity(scope, kind, &held.code))
    };
    !scope.is_whole()
        && (register.view.entities.contains(kind, &entity.code)
            && !register.sees_entity(scope, kind, &entity.code)
            || entity.former.iter().any(|former| is_foreign(&former.code)))
}

/// What a body says, each entity with its place in it, and its faults.
type Read = (Vec<(String, Entity)>, Vec<Value>);

fn read(text: &str) -> Result<Read, Problem> {
    let value: Value =
        serde_json::from_str(text).map_err(|e| Problem::bad_request("bad_body", e.to_string()))?;
    let mut good = Vec::new();
    let mut faults = Vec::new();
    if value["type"] == "FeatureCollection" {
        for (i, entity) in import_geojson(text, &Mapping::default()).into_iter().enumerate() {
            match entity {
                Ok(entity) => good.push((format!("feature {}", i + 1), entity)),
                Err(e) => faults.push(json!({"at": e.place.to_string(), "message": e.message})),
            }
        }
    } else {
        let entity: Entity =
            serde_json::from_value(value).map_err(|e| Problem::bad_request("bad_body", e.to_string()))?;
        let at = "entity 1".to_owned();
        match check_entity(&entity) {
            Ok(()) => good.push((at, entity)),
            Err(e) => faults.push(json!({"at": at, "message": said(&e)})),
        }
    }
    Ok((good, faults))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Shown {
    kind: Option<EntityKind>,
}

/// The entity with a code, else the one that had it before; where devices stand on it that the caller sees with the
/// worst of their states. One code may be in several kinds: `kind` chooses, and
/// without it 409 names them.
pub(crate) async fn show(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Path(code): Path<String>,
    Params(shown): Params<Shown>,
) -> Result<Json<Value>, Problem> {
    let scope = caller.scope();
    let register = views.register.read().expect(POISON);
    let seen = |entity: &Entity| {
        let wanted = shown.kind.as_ref().is_none_or(|kind| *kind == entity.kind);
        wanted && scope.sees_kind(&entity.kind) && scope.covers(entity.belongs(entity.division.as_ref()))
    };
    let (now, before): (Vec<Entity>, Vec<Entity>) = register
        .view
        .with_code(&code)
        .filter(seen)
        .partition(|entity| *entity.code == *code);
    let found = if now.is_empty() { before } else { now };
    match &found[..] {
        [entity] => {
            let mut shown = serde_json::to_value(entity).expect("entities have text keys only");
            let own = EntityRef {
                kind: entity.kind.clone(),
                code: entity.code.clone(),
            };
            let seen = register.city.devices_on(&own);
            let seen: Vec<DeviceId> = seen
                .filter(|id| register.sees(scope, id.as_str()))
                .cloned()
                .collect();
            drop(register);
            let states = seen.iter().map(|id| live_state(&views, id.as_str()));
            if let Some((state, is_stale)) = onemap_spatial::worst(states) {
                shown["state"] = state.name().into();
                shown["stale"] = is_stale.into();
                shown["devices"] = json!(seen);
            }
            Ok(Json(shown))
        }
        [] => Err(Problem::not_found(
            "unknown_entity",
            format!("no entity has the code `{code:.64}`"),
        )),
        several => {
            let named = several.iter().map(|entity| {
                let kind = serde_json::to_value(&entity.kind).unwrap_or_default();
                format!("kind={} ({})", kind.as_str().unwrap_or_default(), entity.code)
            });
            let named: Vec<String> = named.collect();
            let detail = format!("several have or had the code `{code:.64}`: {}", named.join(", "));
            Err(Problem::conflict("ambiguous_code", detail))
        }
    }
}

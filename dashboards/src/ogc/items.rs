//! `/ogc/collections/{id}/items`: features by pages, and one by its code (OGC 17-069r4, 7.15 and 7.16).
//!
//! Features come in the order of their codes; the next page begins behind the last code of this one, so that what is
//! added or removed meanwhile moves nothing. Everything is counted that the question takes, whatever the page.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use onemap_model::{DeviceId, DeviceState, DivisionCode, EntityCode, Scope, Timestamp};
use onemap_spatial::query::{Filter, Region};
use onemap_spatial::{CityView, ThingKind};
use onemap_store::register::Stated;
use serde_json::{Value, json};

use super::axes::Axes;
use super::collections::{Collection, Property};
use super::feature::Feature;
use super::matched::{Codes, Matched, Question};
use super::projected::ProjectedBox;
use super::query::{Query, Window, only_axes, stratum_name};
use super::{Base, GEOJSON, POISON, short};
use crate::auth::Caller;
use crate::error::Problem;
use crate::views::{Register, Views};

const CONTENT_CRS: HeaderName = HeaderName::from_static("content-crs");

pub(super) async fn page(
    State(views): State<Arc<Views>>,
    Extension(known): Extension<Matched>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let scope = caller.scope().clone();
    let collection = Collection::find(&id)?;
    let asked = Query::parse(collection, query.as_deref())?;
    let base = Base::of(&headers);
    let axes = asked.axes;
    let made = tokio::task::spawn_blocking(move || answer(&views, &known, &scope, collection, &asked, &base));
    let body = made.await.map_err(|e| Problem::internal(&e))??;
    Ok(geojson(&body, axes))
}

pub(super) async fn one(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Path((id, code)): Path<(String, String)>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let scope = caller.scope();
    let collection = Collection::find(&id)?;
    let axes = only_axes(query.as_deref())?;
    let base = Base::of(&headers);
    let found = feature(&views.register.read().expect(POISON), collection, scope, &code);
    let Some(feature) = found else {
        let message = format!("the collection {id} has no feature `{}`", short(&code));
        return Err(Problem::not_found("unknown_feature", message));
    };
    let mut body = feature.json(axes);
    let path = format!("/collections/{id}");
    let name: String = form_urlencoded::byte_serialize(code.as_bytes()).collect();
    body["links"] = json!([
        base.link("self", GEOJSON, &format!("{path}/items/{name}"), "This feature"),
        base.link("collection", "application/json", &path, "Its collection"),
    ]);
    Ok(geojson(&body, axes))
}

fn geojson(body: &Value, axes: Axes) -> Response {
    let mut response = ([(header::CONTENT_TYPE, GEOJSON)], body.to_string()).into_response();
    if let Ok(crs) = HeaderValue::from_str(&format!("<{}>", axes.uri())) {
        response.headers_mut().insert(CONTENT_CRS, crs);
    }
    response
}

fn answer(
    views: &Views,
    known: &Matched,
    scope: &Scope,
    collection: &Collection,
    asked: &Query,
    base: &Base,
) -> Result<Value, Problem> {
    let (version, map) = {
        let register = views.register.read().expect(POISON);
        (register.city.version(), register.city.view())
    };
    let question = Question {
        version,
        scope: scope.reach(),
        collection: collection.id,
        parameters: asked.condition.clone(),
    };
    let matched = match known.known(&question) {
        Some(codes) => codes,
        None => {
            let codes = matching(views, &map, collection, scope, asked)?;
            known.keep(question, &codes);
            codes
        }
    };
    let behind = asked
        .after
        .as_deref()
        .map_or(0, |after| matched.partition_point(|code| **code <= *after));
    let page = &matched[behind..matched.len().min(behind + asked.limit)];
    let features: Vec<_> = {
        let register = views.register.read().expect(POISON);
        let found = page
            .iter()
            .filter_map(|code| feature(&register, collection, scope, code));
        found.map(|feature| feature.json(asked.axes)).collect()
    };
    let path = format!("/collections/{}", collection.id);
    let with = |after: Option<&EntityCode>| {
        let mut query = asked.repeated.clone();
        if let Some(after) = after {
            let after: String = form_urlencoded::byte_serialize(after.as_bytes()).collect();
            query = format!("{query}{}after={after}", if query.is_empty() { "" } else { "&" });
        }
        let mark = if query.is_empty() { "" } else { "?" };
        format!("{path}/items{mark}{query}")
    };
    let own = asked.after.as_deref().map(EntityCode::from);
    let mut links = vec![
        base.link("self", GEOJSON, &with(own.as_ref()), "This page"),
        base.link("collection", "application/json", &path, "The collection"),
    ];
    if let Some(last) = page.last().filter(|_| behind + page.len() < matched.len()) {
        links.push(base.link("next", GEOJSON, &with(Some(last)), "The next page"));
    }
    Ok(json!({
        "type": "FeatureCollection",
        "features": features,
        "numberMatched": matched.len(),
        "numberReturned": features.len(),
        "timeStamp": views.now().to_string(),
        "links": links,
    }))
}

/// Things looked at in one holding of the register.
const N_AT_ONCE: usize = 4096;

/// The codes of what a question takes, in order.
fn matching(
    views: &Views,
    map: &CityView,
    collection: &Collection,
    scope: &Scope,
    asked: &Query,
) -> Result<Codes, Problem> {
    let codes = match (asked.window, &collection.kind) {
        (None, ThingKind::Entity(kind)) => {
            let (mut codes, mut last) = (Vec::new(), None);
            loop {
                let register = views.register.read().expect(POISON);
                let some = register.view.entities.stated_behind(kind, last.as_ref());
                let (mut n, mut end) = (0, None);
                for (code, stated) in some.take(N_AT_ONCE) {
                    (n, end) = (n + 1, Some(code));
                    if Entry::new(&register, collection, code, stated).matches(scope, asked) {
                        codes.push(code.clone());
                    }
                }
                if n < N_AT_ONCE {
                    return Ok(codes.into());
                }
                last = end.cloned();
            }
        }
        (None, ThingKind::Device) => every_device(&views.register.read().expect(POISON)),
        (Some(window), _) => inside(map, collection, scope, asked, window)?,
    };
    let is_open = asked.window.is_some() && asked.projected.is_none();
    if is_open && asked.time.is_none() && asked.equal.is_empty() {
        return Ok(codes.into());
    }
    // What the map has not looked at.
    let mut taken = Vec::new();
    for some in codes.chunks(N_AT_ONCE) {
        let register = views.register.read().expect(POISON);
        let takes = |code: &&EntityCode| match &collection.kind {
            ThingKind::Entity(kind) => {
                let stated = register.view.entities.stated(kind, code);
                stated.is_some_and(|stated| {
                    Entry::new(&register, collection, code, stated).matches(scope, asked)
                }) && asked.projected.is_none_or(|projected| {
                    let entity = register.view.entities.get(kind, code);
                    entity.is_some_and(|entity| projected.meets(&entity.geometry))
                })
            }
            ThingKind::Device => {
                let found = feature(&register, collection, scope, code);
                found.is_some_and(|found| takes_device(asked, &found))
            }
        };
        taken.extend(some.iter().filter(takes).cloned());
    }
    Ok(taken.into())
}

/// Codes of what the map has in a window, in order.
fn inside(
    map: &CityView,
    collection: &Collection,
    scope: &Scope,
    asked: &Query,
    window: Window,
) -> Result<Vec<EntityCode>, Problem> {
    let filter = Filter {
        kinds: vec![collection.kind.clone()],
        z_range_m: asked.heights,
        scope: scope.reach(),
        ..Filter::default()
    };
    let mut codes = Vec::new();
    for bbox in window.halves() {
        let region = Region::bbox(bbox);
        let region = region.map_err(|e| Problem::bad_request("bad_bbox", e.to_string()))?;
        map.within(&region, &filter, |found| codes.push(found.code().clone()));
    }
    codes.sort_unstable();
    codes.dedup();
    Ok(codes)
}

/// The code of every device, in order.
fn every_device(register: &Register) -> Vec<EntityCode> {
    let ids = register.view.devices.keys();
    ids.map(|id| id.as_str().into()).collect()
}

/// An entity as far as questions look at it.
struct Entry<'a> {
    register: &'a Register,
    collection: &'a Collection,
    code: &'a EntityCode,
    stated: Stated<'a>,
}

impl<'a> Entry<'a> {
    fn new(
        register: &'a Register,
        collection: &'a Collection,
        code: &'a EntityCode,
        stated: Stated<'a>,
    ) -> Self {
        Self {
            register,
            collection,
            code,
            stated,
        }
    }

    fn is_seen(&self, scope: &Scope) -> bool {
        match &self.collection.kind {
            ThingKind::Entity(kind) => self.register.sees_stated(scope, kind, self.code, &self.stated),
            ThingKind::Device => self.register.sees(scope, self.code),
        }
    }

    /// Its division, as stated, else as the map found it.
    fn division(&self) -> Option<DivisionCode> {
        match self.stated.division {
            "" => self.register.city.division_of(&self.collection.kind, self.code),
            stated => DivisionCode::new(stated).ok(),
        }
    }

    /// Whether the caller may see it, it is valid at some time of the interval and it has the properties asked for. One
    /// that says nothing of time is valid at all times (7.15.4).
    fn matches(&self, scope: &Scope, asked: &Query) -> bool {
        let stated = &self.stated;
        let at_that_time = |[from, to]: [Option<Timestamp>; 2]| {
            to.is_none_or(|to| stated.valid_from.is_none_or(|begin| begin <= to))
                && from.is_none_or(|from| stated.valid_to.is_none_or(|end| from < end))
        };
        asked.time.is_none_or(at_that_time)
            && asked
                .equal
                .iter()
                .all(|(property, text)| self.is(*property, text))
            && self.is_seen(scope)
    }

    /// Whether a property is this text; as [`Feature::is`] says it of the whole feature.
    fn is(&self, property: Property, text: &str) -> bool {
        let stated = &self.stated;
        match property {
            Property::Code => **self.code == *text,
            Property::Name => stated.name == text,
            Property::NameEn => stated.name_en == text,
            Property::Division => self.division().is_some_and(|code| code.as_str() == text),
            Property::District => self
                .division()
                .is_some_and(|code| code.as_str().get(..6) == Some(text)),
            Property::Class => stated.is_of_class(text),
            Property::Stratum => stratum_name(stated.stratum) == text,
            Property::State => false,
        }
    }
}

/// One feature, if the caller may see it.
fn feature(register: &Register, collection: &Collection, scope: &Scope, code: &str) -> Option<Feature> {
    let found = match &collection.kind {
        ThingKind::Entity(kind) => {
            let entity = register.view.entities.get(kind, code)?;
            let division = entity.division.clone();
            Feature::Entity(
                Box::new(entity),
                division.or_else(|| register.city.division_of(&collection.kind, code)),
            )
        }
        ThingKind::Device => {
            let device = register.view.devices.get(&DeviceId::new(code).ok()?)?;
            if device.state == DeviceState::Retired {
                return None;
            }
            Feature::Device(device.clone(), register.divisions.get(&device.id).cloned())
        }
    };
    scope.covers(found.belongs()).then_some(found)
}

/// Whether a device has the properties asked for and lies in the projected box; devices are valid at all times.
fn takes_device(asked: &Query, feature: &Feature) -> bool {
    let Feature::Device(device, _) = feature else {
        return false;
    };
    let lies = |projected: ProjectedBox| {
        let at = device.position.as_ref();
        at.is_some_and(|at| projected.meets(&json!({"type": "Point", "coordinates": [at.lon(), at.lat()]})))
    };
    asked.projected.is_none_or(lies)
        && asked
            .equal
            .iter()
            .all(|(property, text)| feature.is(*property, text))
}

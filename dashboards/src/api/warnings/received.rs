//! What others warn of: handed in as CAP, listed, and as GeoJSON for the map. Never as our own.

use std::sync::Arc;

use axum::Json;
use axum::extract::{ConnectInfo, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use onemap_alerts::warnings::received::{Received, ReceivedBook, Took};
use onemap_cap::gbt35965::{Colour, division};
use onemap_cap::{Area, Circle, Info, Scope as Audience};
use onemap_model::warning::RECEIVED_TOPIC;
use onemap_model::{Refusal, Scope, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{POISON, area, now};
use crate::api::behind;
use crate::api::keep::Arrived;
use crate::auth::Caller;
use crate::error::Problem;
use crate::request::{NoParams, Params, Unread};
use crate::views::{Register, Views};

/// Largest message that is read; a larger body is counted and its first bytes are kept.
const MAX_MESSAGE: usize = 1 << 20;
/// Largest body that is taken in at all.
pub(crate) const MAX_BODY: usize = 2 << 20;
/// Corners of a circle on the map.
const CORNERS: u32 = 36;
const EARTH_KM: f64 = 6_371.008_8;

/// Keeps a message of others. The bytes are journaled as they came, what is none too: it is in the quarantine then.
pub(crate) async fn post(
    State(views): State<Arc<Views>>,
    ConnectInfo(peer): ConnectInfo<std::net::SocketAddr>,
    caller: Caller,
    _: NoParams,
    body: Unread,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let body = body.read().await?;
    let (peer, topic) = (
        peer.to_string(),
        format!("{RECEIVED_TOPIC}{}", caller.scope().actor),
    );
    let arrived = Arrived {
        device: "",
        peer: &peer,
        topic: &topic,
        payload: &body,
    };
    if body.len() > MAX_MESSAGE {
        let text = format!("a message has at most {MAX_MESSAGE} bytes, not {}", body.len());
        arrived.refuse(&views, Refusal::OverSize, &text).await?;
        return Err(Problem::too_large(text));
    }
    // What becomes of it is tried on an empty book; the fold decides.
    let tried = ReceivedBook::default().take(0, views.now(), "", &body);
    let position = arrived.keep(&views).await?;
    views.applied(position).await.map_err(behind)?;
    let took = tried.map_err(|error| {
        let said = json!([{"field": error.place.path, "code": error.code(), "message": error.to_string()}]);
        Problem::unprocessable("bad_warning", error.to_string(), said)
    })?;
    let book = views.warnings.received.read().expect(POISON);
    let kept = book
        .newest_first()
        .into_iter()
        .find(|received| received.position == position);
    let took = match (kept, took) {
        (Some(_), _) => "new",
        (None, Took::Over) => "over",
        (None, _) => "known",
    };
    Ok((
        StatusCode::ACCEPTED,
        Json(json!({"position": position, "took": took})),
    ))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Query {
    active: Option<bool>,
}

/// Whether a scope may know of a message: what is public everybody, what is for some only who sees the whole city.
fn sees(scope: &Scope, received: &Received) -> bool {
    received.alert.scope == Audience::Public || scope.is_whole()
}

fn with_chosen<T>(
    views: &Views,
    scope: &Scope,
    query: &Query,
    make: impl Fn(&Received, Timestamp) -> T,
) -> Vec<T> {
    let now = now(views);
    let book = views.warnings.received.read().expect(POISON);
    let is_wanted = |received: &&Received| {
        sees(scope, received)
            && query
                .active
                .is_none_or(|active| received.is_active(now) == active)
    };
    let all = book.newest_first().into_iter().filter(is_wanted);
    all.map(|received| make(received, now)).collect()
}

/// Messages of others, the newest sent first.
pub(crate) async fn list_received(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Params(query): Params<Query>,
) -> Result<Json<Value>, Problem> {
    let items = with_chosen(&views, caller.scope(), &query, shown);
    Ok(Json(json!({"items": items})))
}

/// Messages of others as a FeatureCollection: one feature an area that has a place.
pub(crate) async fn geojson(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Params(query): Params<Query>,
) -> Result<Response, Problem> {
    let features = {
        let register = views.register.read().expect(POISON);
        let made = with_chosen(&views, caller.scope(), &query, |received, now| {
            features(&register, received, now)
        });
        made.into_iter().flatten().collect::<Vec<_>>()
    };
    let body = json!({"type": "FeatureCollection", "features": features});
    Ok(([(header::CONTENT_TYPE, "application/geo+json")], body.to_string()).into_response())
}

fn words(info: Option<&Info>) -> Value {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    match info {
        None => Value::Null,
        Some(info) => json!({
            "language": info.language_or_default(), "event": info.event, "sender_name": text(&info.sender_name),
            "headline": text(&info.headline), "description": text(&info.description),
            "instruction": text(&info.instruction),
        }),
    }
}

/// What a message says, without its areas: the info in Chinese, else the first.
fn shown(received: &Received, now: Timestamp) -> Value {
    let alert = &received.alert;
    let info = alert.info_in("zh-CN");
    let other = alert
        .info_in("en-US")
        .filter(|en| info.is_some_and(|zh| zh.language != en.language));
    let areas = info.iter().flat_map(|info| &info.areas);
    json!({
        "position": received.position, "received_at": received.received_at, "source": received.source,
        "identifier": alert.identifier, "sender": alert.sender, "sent": alert.sent.to_string(),
        "status": alert.status.as_str(), "msg_type": alert.msg_type.as_str(), "own": false,
        "active": received.is_active(now), "replaced_by": received.replaced_by, "signed": received.is_signed,
        "colour": info.and_then(Colour::stated).map(|colour| colour.as_str().to_lowercase()),
        "severity": info.map(|info| info.severity.as_str()), "urgency": info.map(|info| info.urgency.as_str()),
        "certainty": info.map(|info| info.certainty.as_str()),
        "effective": info.and_then(|info| info.effective).map(|at| at.to_string()),
        "onset": info.and_then(|info| info.onset).map(|at| at.to_string()),
        "expires": received.over_at(), "text": words(info), "text_en": words(other),
        "areas": areas.map(|area| &*area.description).collect::<Vec<_>>(),
    })
}

fn features(register: &Register, received: &Received, now: Timestamp) -> Vec<Value> {
    let Some(info) = received.alert.info_in("zh-CN") else {
        return Vec::new();
    };
    let feature = |(n, area): (usize, &Area)| {
        let rings = rings(register, area);
        let mut properties = shown(received, now);
        properties["area"] = json!(area.description);
        let polygons: Vec<Value> = rings.iter().map(|ring| json!([ring])).collect();
        (!rings.is_empty()).then(|| {
            json!({
                "type": "Feature", "id": format!("{}-{n}", received.position),
                "geometry": {"type": "MultiPolygon", "coordinates": polygons}, "properties": properties,
            })
        })
    };
    info.areas.iter().enumerate().filter_map(feature).collect()
}

/// The rings of an area, longitude first: its polygons and circles, else the outlines of its divisions.
fn rings(register: &Register, area: &Area) -> Vec<Vec<[f64; 2]>> {
    let turned = area.polygons.iter().map(|polygon| {
        let points = polygon.points().iter();
        points.map(|point| [point.lon(), point.lat()]).collect()
    });
    let drawn: Vec<Vec<[f64; 2]>> = turned.chain(area.circles.iter().filter_map(round)).collect();
    if !drawn.is_empty() {
        return drawn;
    }
    let codes = area.geocodes.iter().filter_map(division);
    codes.flat_map(|code| area::outlines(register, &code)).collect()
}

/// A circle as a ring on the sphere; none for a point, and for one that reaches a pole or around the globe.
fn round(circle: &Circle) -> Option<Vec<[f64; 2]>> {
    let (lat, lon) = (
        circle.centre().lat().to_radians(),
        circle.centre().lon().to_radians(),
    );
    let far = circle.radius_km() / EARTH_KM;
    if far <= 0.0 || lat.abs() + far >= std::f64::consts::FRAC_PI_2 {
        return None;
    }
    let corner = |n: u32| {
        let turn = std::f64::consts::TAU * f64::from(n % CORNERS) / f64::from(CORNERS);
        let to = (lat.sin() * far.cos() + lat.cos() * far.sin() * turn.cos()).asin();
        let east = (turn.sin() * far.sin() * lat.cos()).atan2(far.cos() - lat.sin() * to.sin());
        let six = |v: f64| (v.to_degrees() * 1e6).round() / 1e6;
        [six(lon + east), six(to)]
    };
    Some((0..=CORNERS).map(corner).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use onemap_cap::Point;

    use super::*;

    #[test]
    fn a_circle_is_a_closed_ring_of_its_radius() {
        let circle = |lat, lon, km| Circle::new(Point::new(lat, lon).unwrap(), km).unwrap();
        let ring = round(&circle(36.6, 101.7, 10.0)).unwrap();
        assert_eq!(ring.len(), CORNERS as usize + 1);
        assert_eq!(ring.first(), ring.last());
        // Ten kilometres north, and about as many in degrees of longitude east.
        assert_eq!(ring[0], [101.7, 36.689_932]);
        let east = ring[9];
        assert!(
            (east[0] - 101.812).abs() < 0.001 && (east[1] - 36.6).abs() < 0.001,
            "{east:?}"
        );
        assert_eq!(round(&circle(36.6, 101.7, 0.0)), None);
        assert_eq!(round(&circle(89.99, 0.0, 10.0)), None);
    }
}

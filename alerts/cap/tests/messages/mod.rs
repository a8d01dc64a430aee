//! Messages of every kind, for laws and peers.

use onemap_cap::{
    Alert, Area, Category, Certainty, Circle, DateTime, Feet, Info, MsgType, Named, Point, Polygon,
    Reference, Resource, ResponseType, Scope, Severity, Status, Urgency,
};
use onemap_model::Timestamp;
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;

/// Any text that XML can hold, with what is awkward in it more often than not.
fn text() -> impl Strategy<Value = String> {
    let any = any::<char>().prop_filter(
        "XML",
        |c| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..),
    );
    let awkward = select(vec![
        '<', '>', '&', '"', '\'', ']', '\r', '\n', '\t', ' ', '-', '\u{85}', '\u{2028}', '暴', '\u{3000}',
    ]);
    vec(prop_oneof![any, awkward], 0..12).prop_map(|chars| chars.into_iter().collect())
}
fn filled() -> impl Strategy<Value = String> {
    text().prop_map(|text| format!("{text}雨"))
}
fn name() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9@.:/;'\"<>&,_-]{1,20}|[一-龥]{1,4}".prop_map(|text| text.replace(['<', '&', ','], "x"))
}
fn group() -> impl Strategy<Value = Vec<String>> {
    vec(text().prop_map(|text| text.replace('"', "'")), 0..3)
}
/// A time with any offset.
pub(crate) fn time() -> impl Strategy<Value = DateTime> {
    (-62_000_000_000_000_i64..253_000_000_000_000, -840_i16..=840)
        .prop_map(|(ms, offset)| DateTime::new(Timestamp::from_ms(ms), offset).unwrap())
}
fn named() -> impl Strategy<Value = Vec<Named>> {
    vec(
        (filled(), text()).prop_map(|(name, value)| Named::new(name, value)),
        0..3,
    )
}
fn point() -> impl Strategy<Value = Point> {
    (-90.0..=90.0_f64, -180.0..=180.0_f64).prop_map(|(lat, lon)| Point::new(lat, lon).unwrap())
}
fn polygon() -> impl Strategy<Value = Polygon> {
    vec(point(), 3..8).prop_map(|mut points| {
        points.push(points[0]);
        Polygon::new(points).unwrap()
    })
}
fn circle() -> impl Strategy<Value = Circle> {
    (point(), 0.0..1000.0).prop_map(|(centre, km)| Circle::new(centre, km).unwrap())
}
fn area() -> impl Strategy<Value = Area> {
    let heights = of((-1000_i32..1_000_000, of(0_i32..100_000)));
    (
        filled(),
        vec(polygon(), 0..3),
        vec(circle(), 0..3),
        named(),
        heights,
    )
        .prop_map(|(description, polygons, circles, geocodes, heights)| Area {
            description,
            polygons,
            circles,
            geocodes,
            altitude: heights.and_then(|(low, _)| Feet::new(f64::from(low) / 1000.0)),
            ceiling: heights.and_then(|(low, more)| Feet::new(f64::from(low + more?) / 1000.0)),
        })
}
fn resource() -> impl Strategy<Value = Resource> {
    let data = select(vec!["QUJD", "QUI=", "QUJD\nQQ=="]).prop_map(str::to_owned);
    (
        filled(),
        of(any::<u64>()),
        of("[a-z]{2,5}://[a-z0-9./?=&+%]{1}[a-z0-9./?=&+]{0,9}"),
        of(data),
        of("[0-9a-fA-F]{40}"),
    )
        .prop_map(|(description, size, uri, deref_uri, digest)| Resource {
            description,
            mime_type: Some("image/png".to_owned()),
            size,
            uri: uri.map(|uri| uri.replace('%', "%2f")),
            deref_uri,
            digest,
        })
}
/// What the infos of one message share: language, categories, event, codes.
type Event = (Option<String>, Vec<Category>, String, Vec<Named>);
fn info(event: Event) -> impl Strategy<Value = Info> {
    let grades = (
        select(Urgency::ALL),
        select(Severity::ALL),
        select(Certainty::ALL),
        vec(select(ResponseType::ALL), 0..3),
    );
    let texts = (
        of(text()),
        of(text()),
        of(text()),
        of(text()),
        of(text()),
        of(text()),
    );
    let web = of("https://[a-z]{1,9}\\.cn/[a-z?=&;'()]{0,9}");
    let times = (of(time()), of(time()), of(time()));
    let rest = (named(), vec(resource(), 0..2), vec(area(), 0..3));
    (grades, texts, web, times, rest).prop_map(move |(grades, texts, web, times, rest)| {
        let (language, categories, event, event_codes) = event.clone();
        let (effective, onset, expires) = times;
        // It expires after it is effective, which `sent` may be instead.
        let effective = effective.filter(|_| expires.is_none()).or(expires);
        Info {
            language,
            categories,
            event,
            response_types: grades.3,
            urgency: grades.0,
            severity: grades.1,
            certainty: grades.2,
            audience: texts.0,
            event_codes,
            effective,
            onset,
            expires,
            sender_name: texts.1,
            headline: texts.2,
            description: texts.3,
            instruction: texts.4,
            web,
            contact: texts.5,
            parameters: rest.0,
            resources: rest.1,
            areas: rest.2,
        }
    })
}
/// A message that can be written.
pub(crate) fn alert() -> impl Strategy<Value = Alert> {
    let event = (
        of("[a-z]{2}-[A-Z]{2}"),
        vec(select(Category::ALL), 1..3),
        filled(),
        named(),
    );
    let infos = event.prop_flat_map(|event| vec(info(event), 0..3));
    let reference = (name(), name(), time()).prop_map(|(sender, identifier, sent)| Reference {
        sender,
        identifier,
        sent,
    });
    let head = (
        name(),
        name(),
        time(),
        select(Status::ALL),
        select(MsgType::ALL),
        select(Scope::ALL),
    );
    let texts = (of(text()), filled(), filled(), vec(text(), 0..3));
    (head, texts, group(), group(), vec(reference, 1..4), infos).prop_map(
        |(head, texts, mut addresses, incidents, references, infos)| {
            let (identifier, sender, sent, status, msg_type, scope) = head;
            if scope == Scope::Private {
                addresses.push("a b".to_owned());
            }
            Alert {
                identifier,
                sender,
                sent,
                status,
                msg_type,
                source: texts.0,
                scope,
                restriction: (scope == Scope::Restricted).then_some(texts.1),
                addresses,
                codes: texts.3,
                note: Some(texts.2),
                references,
                incidents,
                infos,
            }
        },
    )
}

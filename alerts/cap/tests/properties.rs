//! Laws: what is written is read as it was; whatever the bytes are, there is a message or a named refusal.
#![allow(clippy::unwrap_used, missing_docs)]

use onemap_cap::{
    Alert, Area, Category, Certainty, Circle, DateTime, Feet, Info, MsgType, Named, Point, Polygon,
    Reference, Resource, ResponseType, Scope, Severity, Status, Urgency, Version, feed, read, write,
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
fn time() -> impl Strategy<Value = DateTime> {
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
fn alert() -> impl Strategy<Value = Alert> {
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

proptest! {
    #[test]
    fn what_is_written_is_read_as_it_was(alert in alert()) {
        let text = write(&alert).unwrap();
        let message = read(text.as_bytes()).unwrap();
        prop_assert_eq!(&message.alert, &alert);
        prop_assert_eq!((message.version, message.is_signed), (Version::V1_2, false));
        prop_assert_eq!(write(&message.alert).unwrap(), text);
    }

    #[test]
    fn what_a_feed_shows_is_read_again(alerts in vec(alert(), 0..4)) {
        let ids: Vec<String> = (0..alerts.len()).map(|i| format!("https://example.cn/cap/{i}.xml")).collect();
        let entries: Vec<_> = alerts.iter().zip(&ids).map(|(alert, id)| feed::Entry { id, href: id, alert }).collect();
        let outgoing = feed::Outgoing {
            id: "https://example.cn/feeds/cap.atom",
            title: "预警",
            author: "西宁",
            self_href: "https://example.cn/feeds/cap.atom",
            updated: Timestamp::from_ms(1_763_856_000_000),
            language: "zh-CN",
        };
        let text = feed::write(&outgoing, &entries).unwrap();
        let read = feed::read(text.as_bytes()).unwrap();
        prop_assert_eq!(&read.faults, &[]);
        prop_assert_eq!(read.self_link.as_deref(), Some(outgoing.self_href));
        prop_assert_eq!(read.updated, Some(outgoing.updated));
        prop_assert_eq!(read.items.len(), alerts.len());
        for item in &read.items {
            let i = ids.iter().position(|id| item.id.as_deref() == Some(id)).unwrap();
            prop_assert_eq!(item.alert_link(), Some(ids[i].as_str()));
            prop_assert_eq!(item.updated, Some(alerts[i].sent.at()));
        }
        let order: Vec<_> = read.items.iter().map(|item| std::cmp::Reverse(item.updated)).collect();
        prop_assert!(order.is_sorted());
    }

    #[test]
    fn any_bytes_are_a_message_or_refused(bytes in vec(any::<u8>(), 0..400)) {
        let _ = (read(&bytes), feed::read(&bytes));
    }

    #[test]
    fn any_markup_is_a_message_or_refused(
        parts in vec(select(vec![
            "<alert xmlns='urn:oasis:names:tc:emergency:cap:1.2'>", "</alert>", "<info>", "</info>", "<area>", "</area>",
            "<identifier>i</identifier>", "<sender>s</sender>", "<sent>2026-11-23T08:15:00+08:00</sent>", "<sent>", "</sent>",
            "<status>Actual</status>", "<msgType>Alert</msgType>", "<scope>Public</scope>", "<polygon>1,1</polygon>",
            "<feed xmlns='http://www.w3.org/2005/Atom'>", "</feed>", "<entry>", "</entry>", "<title>t</title>", "<rss>",
            "<channel>", "<item/>", "</channel>", "</rss>", "<a:b/>", "&amp;", "&x;", "&#x", "<!--", "-->", "<![CDATA[", "]]>",
            "<!DOCTYPE", "<?", "?>", "<", ">", "&", "'", "\"", "=", "\u{feff}", "é", "\0",
        ]), 0..40),
    ) {
        let text: String = parts.concat();
        let _ = (read(text.as_bytes()), feed::read(text.as_bytes()));
    }

    /// A good message with one byte changed, taken out or put in.
    #[test]
    fn a_slip_is_read_or_refused(alert in alert(), at in any::<proptest::sample::Index>(), byte in any::<u8>(), how in 0..3) {
        let mut bytes = write(&alert).unwrap().into_bytes();
        let at = at.index(bytes.len());
        match how {
            0 => bytes[at] = byte,
            1 => { bytes.remove(at); }
            _ => bytes.insert(at, byte),
        }
        if let Ok(message) = read(&bytes) && let Ok(text) = write(&message.alert) {
            prop_assert_eq!(read(text.as_bytes()).unwrap().alert, message.alert);
        }
    }

    #[test]
    fn times_are_read_as_written(time in time()) {
        let sent = "2026-11-23T08:15:00+08:00";
        let text = include_str!("good.xml").replacen(sent, &time.to_string(), 1);
        prop_assert_eq!(read(text.as_bytes()).unwrap().alert.sent, time);
    }
}

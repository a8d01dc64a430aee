#![allow(clippy::unwrap_used)]

use onemap_model::alert::Input;
use onemap_model::{
    AlertId, DeviceId, DivisionCode, Quantity, RuleId, SeriesKey, Severity, Transition, TransitionId,
};

use super::*;
use crate::Texts;
use crate::feeds::item::{Change, Gap, Item, News, Place};

pub(in crate::feeds) fn transition(edge: Edge) -> Transition {
    let rule = RuleId::new("pm10-dust").unwrap();
    let series = SeriesKey {
        device: DeviceId::new("air-1").unwrap(),
        quantity: Quantity::named("pm10").unwrap(),
        channel: 0,
    };
    Transition {
        id: Transition::id_of(&rule, "0123abcd", &series, 9, edge),
        alert: Transition::alert_of(&rule, &series, 9),
        edge,
        at: Timestamp::from_ms(1_763_856_000_000),
        position: 9,
        rule,
        rule_version: "0123abcd".to_owned(),
        series,
        severity: Severity::Major,
        division: Some(DivisionCode::new("630103").unwrap()),
        inputs: vec![Input {
            position: 9,
            measured_at: Timestamp::from_ms(1_763_856_000_000),
            value: 300.5,
            of: None,
        }],
        message_zh: "PM10 为 300.5，超过 250".to_owned(),
        message_en: "PM10 is 300.5, above 250".to_owned(),
        act: None,
        drill: None,
        past: None,
    }
}

pub(in crate::feeds) fn change(transition: Transition) -> Change {
    Change {
        transition,
        alert: Some(serde_json::json!({"state": "open"})),
        rule_name: Texts {
            zh: "扬尘".to_owned(),
            en: "Dust".to_owned(),
        },
        place: Place {
            name: "城东站".to_owned(),
            name_en: "East".to_owned(),
        },
        story: Vec::new(),
    }
}

pub(in crate::feeds) fn item(seq: u64, edge: Edge) -> Item {
    item_of(seq, edge, Severity::Major)
}

pub(in crate::feeds) fn item_of(seq: u64, edge: Edge, severity: Severity) -> Item {
    let mut transition = transition(edge);
    transition.severity = severity;
    transition.alert = AlertId::of(&[&seq.to_le_bytes()]);
    transition.id = TransitionId::of(&[&seq.to_le_bytes()]);
    Item {
        id: transition.id,
        seq,
        news: News::Change(Box::new(change(transition))),
    }
}

fn made(kind: &Kind, target: &str, items: impl IntoIterator<Item = Item>) -> (Made, Value) {
    let mut batch = kind.batch();
    items.into_iter().for_each(|item| batch.push(item));
    let made = kind.request(target, &batch, Timestamp::from_ms(1_763_856_000_500));
    let body = serde_json::from_slice(&made.body).unwrap();
    (made, body)
}

fn secret() -> Option<Secret> {
    Some(Secret::new("this is secret"))
}

#[test]
fn a_webhook_has_the_item_s_id_and_a_signature_over_time_and_body() {
    let kind = Kind::Webhook {
        secret: Secret::new("this is secret"),
    };
    let (made, body) = made(&kind, "/hook?x=1", [item(7, Edge::Raised)]);
    assert_eq!((made.method, made.target.as_str()), ("POST", "/hook?x=1"));
    let header = |name: &str| {
        let found = made.headers.iter().find(|(own, _)| own == name);
        found.unwrap().1.clone()
    };
    assert_eq!(header("onemap-id"), body["id"]);
    assert_eq!(header("onemap-timestamp"), "1763856000");
    let signed = sign::webhook(&Secret::new("this is secret"), 1_763_856_000, &made.body);
    assert_eq!(header("onemap-signature"), signed);
    assert_eq!((&body["type"], &body["seq"]), (&"transition".into(), &7.into()));
    assert_eq!(
        (&body["edge"], &body["edge_zh"]),
        (&"raised".into(), &"发生".into())
    );
    assert_eq!(body["transition"]["message_zh"], "PM10 为 300.5，超过 250");
    assert_eq!(body["alert"]["state"], "open");
}

#[test]
fn an_alertmanager_gets_labels_it_can_route_by_and_one_state_of_each_alert() {
    let item = item(7, Edge::Raised);
    let (made, body) = made(&Kind::Alertmanager, "/", [item.clone(), item]);
    assert_eq!(made.target, "/api/v2/alerts");
    assert_eq!(body.as_array().unwrap().len(), 1);
    let labels = &body[0]["labels"];
    for (label, value) in [
        ("alertname", "pm10-dust"),
        ("severity", "major"),
        ("device", "air-1"),
        ("quantity", "pm10"),
        ("division", "630103"),
        ("onemap_rule", "pm10-dust"),
    ] {
        assert_eq!(labels[label], value, "{label}");
    }
    assert_eq!(
        labels
            .as_object()
            .unwrap()
            .values()
            .filter(|v| !v.is_string())
            .count(),
        0
    );
    assert_eq!(
        body[0]["annotations"]["description_zh"],
        "PM10 为 300.5，超过 250"
    );
    assert!(body[0].get("endsAt").is_none());
}

#[test]
fn robots_are_told_one_alert_whole_and_ten_thousand_in_one_message() {
    let kinds = [
        (Kind::DingTalk { secret: secret() }, "/markdown/text"),
        (Kind::WeCom, "/markdown/content"),
        (Kind::Feishu { secret: secret() }, "/content/text"),
    ];
    for (kind, pointer) in kinds {
        let (_, body) = made(&kind, "/send", [item(7, Edge::Raised)]);
        let text = body.pointer(pointer).unwrap().as_str().unwrap();
        assert!(text.contains("【重要】发生 扬尘（城东站）"), "{text}");
        assert!(text.contains("major raised: PM10 is 300.5"), "{text}");
        let many = (0..10_000).map(|seq| match seq {
            5_000 => item_of(seq, Edge::Raised, Severity::Critical),
            _ => item(seq, Edge::Raised),
        });
        let (_, body) = made(&kind, "/send", many);
        let text = body.pointer(pointer).unwrap().as_str().unwrap();
        assert!(text.len() <= 4096, "{}", text.len());
        let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
        assert_eq!(lines[0], "告警变化 10000 条，紧急 1，重要 9999", "{kind:?}");
        assert_eq!(lines[1], "10000 alert changes, 1 critical, 9999 major");
        assert!(lines[2].starts_with("【紧急】"), "the worst first: {text}");
        assert!(text.contains("另有 9995 条未列出"), "{text}");
    }
}

#[test]
fn robots_sign_where_their_platform_looks_for_it() {
    let ding = Kind::DingTalk { secret: secret() };
    let (made_of_ding, _) = made(&ding, "/robot/send?access_token=t", [item(7, Edge::Raised)]);
    let sign = sign::dingtalk(&Secret::new("this is secret"), 1_763_856_000_500);
    let sign = sign.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    assert_eq!(
        made_of_ding.target,
        format!("/robot/send?access_token=t&timestamp=1763856000500&sign={sign}")
    );
    let (_, body) = made(
        &Kind::Feishu { secret: secret() },
        "/hook",
        [item(7, Edge::Raised)],
    );
    let sign = sign::feishu(&Secret::new("this is secret"), 1_763_856_000);
    assert_eq!(
        (&body["timestamp"], &body["sign"]),
        (&"1763856000".into(), &sign.into())
    );
    let (unsigned, body) = made(&Kind::Feishu { secret: None }, "/hook", [item(7, Edge::Raised)]);
    assert_eq!(unsigned.target, "/hook");
    assert!(body.get("sign").is_none());
}

#[test]
fn every_kind_tells_of_a_gap_but_the_one_that_is_told_the_state() {
    let gap = Gap {
        from: 3,
        to: 9,
        at: Timestamp::from_ms(5),
    };
    let webhook = Kind::Webhook {
        secret: Secret::new("s"),
    };
    let (_, body) = made(&webhook, "/", [Item::gap(gap)]);
    assert_eq!(
        (&body["type"], &body["gap"]["from"], &body["gap"]["to"]),
        (&"gap".into(), &3.into(), &9.into())
    );
    let (_, body) = made(&Kind::WeCom, "/", [Item::gap(gap)]);
    let text = body["markdown"]["content"].as_str().unwrap();
    assert!(text.contains("第 3 至 9 条"), "{text}");
    let (_, body) = made(&Kind::Alertmanager, "/", [Item::gap(gap)]);
    assert_eq!(body, serde_json::json!([]));
}

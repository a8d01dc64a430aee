//! What a desk had to look at, by figures that can be counted by hand.
#![allow(clippy::unwrap_used, missing_docs)]

use onemap_alerts::load::{Load, load};
use onemap_model::alert::Input;
use onemap_model::{
    DeviceId, DivisionCode, Edge, Quantity, RuleId, SeriesKey, Severity, Timestamp, Transition,
};

const START: i64 = 1_795_363_200_000;

fn at(s: i64) -> Timestamp {
    Timestamp::from_ms(START + s * 1000)
}

fn edge(device: &str, edge: Edge, s: i64, value: Option<f64>, division: &str) -> Transition {
    let rule = RuleId::new("dust").unwrap();
    let series = SeriesKey {
        device: DeviceId::new(device).unwrap(),
        quantity: Quantity::named("pm10").unwrap(),
        channel: 0,
    };
    let position = s as u64 + 1;
    let input = |value| Input {
        position,
        measured_at: at(s),
        value,
        of: None,
    };
    Transition {
        id: Transition::id_of(&rule, "v", &series, position, edge),
        alert: Transition::alert_of(&rule, &series, position),
        edge,
        at: at(s),
        position,
        rule,
        rule_version: "v".to_owned(),
        series,
        severity: Severity::Minor,
        division: DivisionCode::new(division).ok(),
        inputs: value.map(input).into_iter().collect(),
        message_zh: String::new(),
        message_en: String::new(),
        act: None,
        drill: None,
        past: None,
    }
}

fn of(transitions: &[Transition], s: i64) -> Load {
    load(at(0), at(s), transitions, |t| t.division.clone())
}

#[test]
fn ten_alarms_in_ten_minutes_are_a_flood() {
    let mut told = Vec::new();
    for i in 0..10 {
        told.push(edge(&format!("a{i}"), Edge::Raised, 600 + i, None, "630102001"));
        told.push(edge(&format!("b{i}"), Edge::Raised, i * 600, None, "630104"));
    }
    told.push(edge("late", Edge::Raised, 6_000, None, "630104"));
    let load = of(&told, 6_000);
    assert_eq!(load.n_raised, 20, "the end is not inside");
    let [east, west] = &load.desks[..] else {
        panic!("{load:?}")
    };
    assert_eq!(
        (east.division.as_deref(), east.n_raised, east.most, east.most_at),
        (Some("630102"), 10, 10, at(600))
    );
    assert_eq!((east.mean, east.flood_share), (1.0, 0.1));
    assert_eq!((west.most, west.most_at, west.flood_share), (1, at(0), 0.0));
    assert!(load.chattering.is_empty());
    assert_eq!(load.bad_actors.len(), 10);
    assert_eq!(load.bad_actors[0].share, 0.05);
}

#[test]
fn three_alarms_of_a_series_in_an_hour_chatter_and_a_deadband_is_proposed() {
    let mut told = Vec::new();
    for (i, (up, down)) in [(251.0, 248.0), (252.0, 246.5), (250.4, 249.0)]
        .into_iter()
        .enumerate()
    {
        let s = i as i64 * 1_000;
        told.push(edge("loose", Edge::Raised, s, Some(up), "630102"));
        told.push(edge("loose", Edge::Cleared, s + 300, Some(down), "630102"));
        told.push(edge(
            "slow",
            Edge::Raised,
            i as i64 * 3_600,
            Some(300.0),
            "630102",
        ));
    }
    let load = of(&told, 4 * 3_600);
    assert_eq!(load.chattering.len(), 1, "three in three hours are no chatter");
    let loose = &load.chattering[0];
    assert_eq!((loose.series.device.as_str(), loose.index), ("loose", 3));
    // 252.0 down to 246.5, in whole micrograms as PM10 is shown.
    assert_eq!((loose.deadband, loose.unit), (Some(6.0), "ug/m3"));
    assert_eq!(load.bad_actors.len(), 2);
}

#[test]
fn nothing_told_is_no_load() {
    let load = of(&[], 600);
    assert_eq!(
        (load.n_raised, load.desks.len(), load.bad_actors.len()),
        (0, 0, 0)
    );
}

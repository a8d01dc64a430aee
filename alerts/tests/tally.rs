//! What a day came to, by figures that can be counted by hand.
#![allow(clippy::unwrap_used, missing_docs)]

use onemap_alerts::load::load;
use onemap_alerts::tally::{Response, Tallied, Tally, Turns};
use onemap_model::alert::ActNote;
use onemap_model::{
    DeviceId, DivisionCode, Edge, Quantity, RuleId, SeriesKey, Severity, Timestamp, Transition,
};

const START: i64 = 1_795_363_200_000;

fn at(s: i64) -> Timestamp {
    Timestamp::from_ms(START + s * 1000)
}

/// An edge of the alert of a device that was raised at its own second.
fn edge(device: &str, raised: i64, edge: Edge, s: i64) -> Transition {
    let rule = RuleId::new("dust").unwrap();
    let series = SeriesKey {
        device: DeviceId::new(device).unwrap(),
        quantity: Quantity::named("pm10").unwrap(),
        channel: 0,
    };
    let position = (s + 100_000) as u64;
    let desk = ActNote {
        actor: "duty".to_owned(),
        name: "east".to_owned(),
        note: String::new(),
        until: None,
        to: None,
    };
    Transition {
        id: Transition::id_of(&rule, "v", &series, position, edge),
        alert: Transition::alert_of(&rule, &series, (raised + 100_000) as u64),
        edge,
        at: at(s),
        position,
        rule,
        rule_version: "v".to_owned(),
        series,
        severity: if device == "a" {
            Severity::Critical
        } else {
            Severity::Minor
        },
        division: DivisionCode::new("630102").ok(),
        inputs: Vec::new(),
        message_zh: String::new(),
        message_en: String::new(),
        act: (edge == Edge::Paged).then_some(desk),
        drill: None,
        past: None,
    }
}

fn of(told: &[Transition], to: i64) -> Tallied {
    let mut tally = Tally::new(at(0), at(to));
    for each in told {
        tally.take(each, each.division.as_ref(), each.series.device.as_str() == "c");
    }
    tally.finish()
}

#[test]
fn a_day_is_counted_and_what_lies_outside_is_not() {
    let told = [
        // Raised the day before: it ends in the day, and nobody is slow for it.
        edge("z", -50, Edge::Raised, -50),
        edge("z", -50, Edge::Acknowledged, 10),
        edge("z", -50, Edge::Cleared, 20),
        edge("a", 100, Edge::Raised, 100),
        edge("a", 100, Edge::Paged, 110),
        edge("a", 100, Edge::Acknowledged, 160),
        edge("a", 100, Edge::AcknowledgementExpired, 170),
        edge("a", 100, Edge::Acknowledged, 180),
        edge("b", 200, Edge::Raised, 200),
        edge("b", 200, Edge::Cleared, 210),
        edge("c", 300, Edge::Raised, 300),
        edge("d", 400, Edge::Raised, 400),
        edge("d", 400, Edge::Acknowledged, 410),
        edge("d", 400, Edge::Closed, 420),
        edge("e", 500, Edge::Raised, 500),
        edge("e", 500, Edge::Withdrawn, 510),
        // The day is over.
        edge("f", 1000, Edge::Raised, 1000),
    ];
    let tallied = of(&told, 1000);
    let all = Turns {
        raised: 5,
        cleared: 2,
        closed: 1,
        withdrawn: 1,
    };
    assert_eq!(tallied.all, all);
    assert_eq!(tallied.by_rule.values().copied().collect::<Vec<_>>(), [all]);
    assert_eq!(tallied.by_severity[&Severity::Critical].raised, 1);
    let response = Response {
        acknowledged: 2,
        median_ms: Some(10_000),
        p90_ms: Some(60_000),
        unacknowledged: 1,
        ended_unacknowledged: 2,
    };
    assert_eq!(tallied.response, response);
    assert_eq!(
        tallied.pages.into_iter().collect::<Vec<_>>(),
        [("east".to_owned(), 1)]
    );
    assert_eq!(tallied.silences, (1, 1));
    assert_eq!(tallied.load, load(at(0), at(1000), &told, |t| t.division.clone()));
    assert_eq!(of(&[], 1000).response, Response::default());
}

//! Alerts folded into cards: stories of one incident each, laws, and a storm.
#![allow(clippy::unwrap_used, missing_docs)]

mod planted;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use std::sync::Arc;
use std::time::{Duration, Instant};

use onemap_alerts::cards::{Card, CardKind, Medium, Networks, Piece, Stand, Surroundings, fold};
use onemap_alerts::{Alert, Condition, Texts, Undertaking};
use onemap_model::{AlertId, DrillId, Severity};
use planted::{CRITICAL, GATEWAYS, Storm, alert, at, device, ended, place, site, surroundings};
use proptest::prelude::*;

/// The members of each card by their devices, in the cards' order.
fn shown(alerts: &[Alert], known: &Surroundings) -> Vec<String> {
    let of: HashMap<AlertId, &Alert> = alerts.iter().map(|alert| (alert.id, alert)).collect();
    let devices = |card: &Card| {
        let devices: BTreeSet<_> = card
            .members
            .iter()
            .map(|id| of[id].series.device.as_str())
            .collect();
        devices.into_iter().collect::<Vec<_>>().join(" ")
    };
    fold(alerts, known).iter().map(devices).collect()
}

/// Devices by name, metres east and gateway.
fn known(devices: &[(&str, f64, Option<&str>)]) -> Surroundings {
    let mut known = surroundings();
    for (id, east, gateway) in devices {
        known
            .sites
            .insert(device(id), site(Some(place(*east, 0.0)), *gateway));
    }
    known
}

#[test]
fn a_dark_gateway_is_one_card_with_all_that_is_silent_or_lost_behind_it() {
    let mut known = known(&[
        ("gw", 0.0, None),
        ("a", 5_000.0, Some("gw")),
        ("b", 9_000.0, Some("gw")),
        ("c", 0.0, None),
    ]);
    let mut lost = alert(1, "b", "pm10", Severity::Major, -900);
    lost.condition = Condition::Unknown;
    let gateway = alert(3, "gw", "silence", Severity::Minor, 320);
    known.note(&gateway, true);
    let mut alerts = vec![
        lost,
        alert(2, "a", "silence", Severity::Minor, 300),
        gateway.clone(),
        alert(4, "b", "silence", Severity::Minor, 330),
        alert(5, "c", "silence", Severity::Minor, 330),
    ];
    assert_eq!(shown(&alerts, &known), ["a b gw", "c"]);
    let cards = fold(&alerts, &known);
    assert_eq!((cards[0].kind, cards[0].id), (CardKind::Gateway, gateway.id));
    assert_eq!(cards[0].members[0], gateway.id, "the parent leads");
    assert_eq!(
        cards[0].headline.zh, "网关 gw 失联，其下 2 台设备状态不明",
        "{:?}",
        cards[0].headline
    );
    assert_eq!((cards[0].counts.alerts, cards[0].counts.devices), (4, 3));
    // What hangs on it follows its acknowledgement.
    assert!(!cards[0].is_acknowledged);
    alerts[2].acknowledged = Some(taken());
    assert!(fold(&alerts, &known)[0].is_acknowledged);
    // Who does not see the gateway's alert sees what it explains.
    alerts.remove(2);
    let cards = fold(&alerts, &known);
    let card = cards.iter().find(|card| card.kind == CardKind::Gateway).unwrap();
    assert_eq!((card.counts.alerts, &card.gateway), (3, &Some(device("gw"))));
}

fn taken() -> Undertaking {
    Undertaking {
        actor: "desk".to_owned(),
        name: "王队".to_owned(),
        note: String::new(),
        at: at(400),
        until: at(4_000),
    }
}

#[test]
fn what_a_dark_gateway_does_not_explain_is_a_card_of_its_own() {
    let mut known = known(&[
        ("gw", 0.0, None),
        ("abnormal", 1.0, Some("gw")),
        ("before", 2.0, Some("gw")),
        ("lost", 3.0, Some("gw")),
        ("child", 4.0, Some("gw")),
    ]);
    // Two cadences of a minute and another minute: it had missed two reports while its gateway spoke.
    known.sites.get_mut("before").unwrap().heard_at = Some(at(-181));
    let gateway = alert(9, "gw", "silence", Severity::Minor, 320);
    known.note(&gateway, true);
    let mut critical = alert(3, "lost", "smoke", Severity::Critical, -100);
    critical.condition = Condition::Unknown;
    let alerts = [
        alert(1, "abnormal", "pm10", Severity::Major, 10),
        alert(2, "before", "silence", Severity::Minor, 120),
        critical,
        alert(4, "child", "silence", Severity::Minor, 301),
        gateway,
    ];
    let shown = shown(&alerts, &known);
    assert_eq!(shown[..2], ["lost", "abnormal"]);
    let rest: BTreeSet<&str> = shown[2..].iter().map(String::as_str).collect();
    assert_eq!(rest, BTreeSet::from(["before", "child gw"]));
}

#[test]
fn a_gateway_behind_a_gateway_is_explained_by_the_outer_one() {
    let mut known = known(&[
        ("outer", 0.0, None),
        ("inner", 1.0, Some("outer")),
        ("a", 2.0, Some("inner")),
    ]);
    let alerts = [
        alert(1, "a", "silence", Severity::Minor, 300),
        alert(2, "inner", "silence", Severity::Minor, 301),
        alert(3, "outer", "silence", Severity::Minor, 302),
    ];
    for alert in &alerts {
        known.note(alert, alert.series.device.as_str() != "a");
    }
    assert_eq!(shown(&alerts, &known), ["a inner outer"]);
}

#[test]
fn near_alerts_of_one_cause_are_one_card_and_do_not_chain() {
    // Noise has 500 m and an hour.
    let places: Vec<_> = (0..10).map(|i| (format!("n{i}"), f64::from(i) * 200.0)).collect();
    let devices: Vec<_> = places.iter().map(|(id, east)| (&**id, *east, None)).collect();
    let known = known(&devices);
    let alerts: Vec<_> = places
        .iter()
        .enumerate()
        .map(|(i, (id, _))| alert(i as u64, id, "noise_laeq", Severity::Minor, 10))
        .collect();
    let mut cards = shown(&alerts, &known);
    cards.sort();
    assert_eq!(cards, ["n0 n1 n2", "n3 n4 n5", "n6 n7 n8", "n9"]);
    let late = [
        alert(1, "n0", "noise_laeq", Severity::Minor, 0),
        alert(2, "n1", "noise_laeq", Severity::Minor, 3_601),
        alert(3, "n2", "pm10", Severity::Minor, 3_601),
    ];
    assert_eq!(
        shown(&late, &known).len(),
        3,
        "another hour and another cause are other incidents"
    );
}

#[test]
fn alerts_of_one_series_are_one_card_led_by_the_worst() {
    let known = known(&[("gauge", 0.0, None)]);
    let mut guarantee = alert(2, "gauge", "water_level", Severity::Critical, 90_000);
    guarantee.rule = onemap_model::RuleId::new("river-stage-guarantee").unwrap();
    guarantee.rule_name.zh = "河道水位超保证".to_owned();
    let alerts = [
        alert(1, "gauge", "water_level", Severity::Major, 0),
        guarantee.clone(),
    ];
    let cards = fold(&alerts, &known);
    assert_eq!(cards.len(), 1);
    assert_eq!((cards[0].kind, cards[0].id), (CardKind::Series, alerts[0].id));
    assert_eq!(cards[0].members, [guarantee.id, alerts[0].id]);
    assert_eq!(cards[0].headline.zh, "gauge：河道水位超保证等 2 条告警");
}

#[test]
fn a_desk_sees_first_what_is_worst_unacknowledged_known_to_be_wrong_and_new() {
    let devices: Vec<String> = (0..6).map(|i| format!("d{i}")).collect();
    let sites: Vec<_> = devices
        .iter()
        .enumerate()
        .map(|(i, id)| (&**id, i as f64 * 20_000.0, None))
        .collect();
    let known = known(&sites);
    let mut alerts: Vec<_> = (0..6)
        .map(|i| {
            alert(
                i,
                &devices[i as usize],
                "pm10",
                Severity::Major,
                i as i64 * 20_000,
            )
        })
        .collect();
    alerts[0].severity = Severity::Critical;
    alerts[0].acknowledged = Some(taken());
    alerts[5].acknowledged = Some(taken());
    alerts[4].condition = Condition::Unknown;
    alerts[1].changed_at = at(1_000_000);
    assert_eq!(shown(&alerts, &known), ["d0", "d1", "d3", "d2", "d4", "d5"]);
}

#[test]
fn a_chattering_series_keeps_one_card_and_says_how_often() {
    let known = known(&[("loose", 0.0, None)]);
    let mut alerts = Vec::new();
    for i in 0..5 {
        alerts.push(ended(
            alert(i, "loose", "pm10", Severity::Minor, i as i64 * 60),
            i as i64 * 60 + 30,
        ));
    }
    let first = alerts[0].id;
    assert!(fold(&alerts, &known).is_empty());
    alerts.push(alert(9, "loose", "pm10", Severity::Minor, 400));
    let cards = fold(&alerts, &known);
    assert_eq!((cards.len(), cards[0].id, cards[0].chatter), (1, first, Some(6)));
    assert_eq!(cards[0].headline.en, "loose: pm10, raised 6 times within an hour");
}

#[test]
fn a_storm_of_10_000_is_at_most_20_cards_and_hides_nothing() {
    let storm = Storm::planted();
    assert_eq!(storm.n_open(), 10_000);
    let cards = fold(&storm.alerts, &storm.known);
    let mut labels = BTreeMap::new();
    for card in &cards {
        let of: BTreeSet<&str> = card.members.iter().map(|id| storm.belongs[id].as_str()).collect();
        assert_eq!(of.len(), 1, "a card mixes {of:?}: {}", card.headline.zh);
        *labels.entry(*of.first().unwrap()).or_insert(0) += 1;
    }
    let wanted: BTreeSet<&str> = storm.belongs.values().map(String::as_str).collect();
    assert_eq!(wanted.len(), 15 + GATEWAYS.len() + 1, "what is planted");
    assert_eq!(labels.keys().copied().collect::<BTreeSet<_>>(), wanted);
    assert!(labels.values().all(|n| *n == 1), "{labels:?}");
    assert!(cards.len() <= 20, "{}", cards.len());
    let first = &cards[0];
    assert_eq!(storm.belongs[&first.members[0]], CRITICAL);
    assert_eq!((first.severity, first.counts.alerts), (Severity::Critical, 1));
    let of_400 = cards
        .iter()
        .find(|card| card.gateway == Some(device("g0")))
        .unwrap();
    assert_eq!(of_400.counts.alerts, 401);
}

/// Networks of chains: of each the medium, how many pieces it has, and how long each is.
fn chains(all: &[(&str, usize, f64)]) -> Networks {
    let media = all.iter().map(|(id, ..)| Medium {
        id: (*id).to_owned(),
        name: Texts {
            zh: format!("{id}管网"),
            en: format!("{id} network"),
        },
    });
    let mut pieces = Vec::new();
    let mut joint = 0;
    for (medium, (_, n, metres)) in (0..).zip(all) {
        for _ in 0..*n {
            pieces.push(Piece {
                from: joint,
                to: joint + 1,
                metres: *metres,
                medium,
            });
            joint += 1;
        }
        joint += 1;
    }
    Networks::new(media.collect(), pieces, &[])
}

/// One device: its name, metres east and north, and the piece that it stands on in the middle of 100 m.
type Placed<'a> = (&'a str, f64, f64, Option<u32>);

fn on(networks: Networks, devices: &[Placed<'_>]) -> Surroundings {
    let mut known = surroundings();
    known.networks = Arc::new(networks);
    for (id, east, north, piece) in devices {
        let mut own = site(Some(place(*east, *north)), None);
        own.stand = piece.map(|piece| Stand { piece, metres: 50.0 });
        known.sites.insert(device(id), own);
    }
    known
}

#[test]
fn a_network_tells_what_is_one_incident_where_the_cause_goes_along_it() {
    // Two drains side by side, 20 m apart; a main in the same street; a long drain of 100 pieces.
    let all = [
        ("drain", 5, 100.0),
        ("drain", 5, 100.0),
        ("supply", 5, 100.0),
        ("drain", 100, 100.0),
    ];
    // Pieces 0 to 4, 5 to 9, 10 to 14, 15 to 114.
    type Raised<'a> = (Placed<'a>, &'a str, i64);
    let hours = |n: i64| n * 3_600;
    let cases: [(&str, &[Raised<'_>], &[&str]); 13] = [
        (
            "one on each of two drains that are not joined",
            &[
                (("a", 0.0, 0.0, Some(0)), "liquid_level", 0),
                (("b", 0.0, 20.0, Some(5)), "liquid_level", 60),
            ],
            &["b", "a"],
        ),
        (
            "a drain and a main in one street",
            &[
                (("a", 0.0, 0.0, Some(0)), "liquid_level", 0),
                (("b", 0.0, 20.0, Some(10)), "liquid_level", 60),
            ],
            &["b", "a"],
        ),
        (
            // What floods does not go along a main: their distance decides, on one main as elsewhere.
            "two on one main, of a cause that it does not carry",
            &[
                (("a", 0.0, 0.0, Some(10)), "liquid_level", 0),
                (("b", 300.0, 0.0, Some(13)), "liquid_level", 60),
            ],
            &["a b"],
        ),
        (
            "two of one drain",
            &[
                (("a", 0.0, 0.0, Some(0)), "liquid_level", 0),
                (("b", 300.0, 0.0, Some(3)), "liquid_level", 60),
            ],
            &["a b"],
        ),
        (
            "3 km along one drain, further than the distance allows, and three hours later",
            &[
                (("a", 0.0, 0.0, Some(15)), "liquid_level", 0),
                (("b", 3_000.0, 0.0, Some(45)), "liquid_level", hours(3)),
            ],
            &["a b"],
        ),
        (
            "3 km along it and five hours later",
            &[
                (("a", 0.0, 0.0, Some(15)), "liquid_level", 0),
                (("b", 3_000.0, 0.0, Some(45)), "liquid_level", hours(5)),
            ],
            &["b", "a"],
        ),
        (
            "6 km along it",
            &[
                (("a", 0.0, 0.0, Some(15)), "liquid_level", 0),
                (("b", 6_000.0, 0.0, Some(75)), "liquid_level", 60),
            ],
            &["b", "a"],
        ),
        (
            "6 km along it and round a bend, 200 m apart: the distance decides as ever",
            &[
                (("a", 0.0, 0.0, Some(15)), "liquid_level", 0),
                (("b", 200.0, 0.0, Some(75)), "liquid_level", 60),
            ],
            &["a b"],
        ),
        (
            "that bend, three hours later",
            &[
                (("a", 0.0, 0.0, Some(15)), "liquid_level", 0),
                (("b", 200.0, 0.0, Some(75)), "liquid_level", hours(3)),
            ],
            &["b", "a"],
        ),
        (
            "nothing is known of the network of one",
            &[
                (("a", 0.0, 0.0, Some(0)), "liquid_level", 0),
                (("b", 0.0, 20.0, None), "liquid_level", 60),
            ],
            &["a b"],
        ),
        (
            "one of unknown network joins two drains as little as anything",
            &[
                (("a", 0.0, 0.0, Some(0)), "liquid_level", 0),
                (("b", 0.0, 10.0, None), "liquid_level", 60),
                (("c", 0.0, 20.0, Some(5)), "liquid_level", 120),
            ],
            &["c", "a b"],
        ),
        (
            "what does not go along drains does not ask for them",
            &[
                (("a", 0.0, 0.0, Some(0)), "noise_laeq", 0),
                (("b", 0.0, 20.0, Some(5)), "noise_laeq", 60),
            ],
            &["a b"],
        ),
        (
            "smoke 3 km along one drain",
            &[
                (("a", 0.0, 0.0, Some(15)), "smoke", 0),
                (("b", 3_000.0, 0.0, Some(45)), "smoke", 60),
            ],
            &["b", "a"],
        ),
    ];
    for (what, raised, want) in cases {
        let devices: Vec<Placed<'_>> = raised.iter().map(|(placed, ..)| *placed).collect();
        let known = on(chains(&all), &devices);
        let one = |(n, (placed, quantity, s)): (u64, &Raised<'_>)| {
            alert(n, placed.0, quantity, Severity::Major, *s)
        };
        let alerts: Vec<Alert> = (1..).zip(raised).map(one).collect();
        assert_eq!(shown(&alerts, &known), want, "{what}");
    }
}

#[test]
fn a_card_says_which_network_makes_it_one() {
    let devices = [
        ("a", 0.0, 0.0, Some(0)),
        ("b", 3_000.0, 0.0, Some(30)),
        ("c", 100.0, 0.0, None),
    ];
    let known = on(chains(&[("drain", 50, 100.0)]), &devices);
    let mut alerts = vec![
        alert(1, "a", "liquid_level", Severity::Major, 0),
        alert(2, "b", "liquid_level", Severity::Minor, 60),
    ];
    let card = &fold(&alerts, &known)[0];
    assert_eq!(card.kind, CardKind::Place);
    assert_eq!(
        card.network.as_ref().map(|network| network.id.as_str()),
        Some("drain")
    );
    assert_eq!(
        card.headline.zh,
        "积水：a等 2 台设备在同一drain管网，2 条告警，最重为liquid_level"
    );
    assert_eq!(
        card.headline.en,
        "Flooded streets and drains: 2 alarms of 2 devices on the same drain network as a, the worst is liquid_level"
    );
    let alone = &fold(&alerts[..1], &known)[0];
    assert_eq!(alone.network, None, "one device needs no reason");
    alerts[1] = alert(3, "c", "liquid_level", Severity::Minor, 60);
    let near = &fold(&alerts, &known)[0];
    assert_eq!(
        (near.counts.devices, &near.network),
        (2, &None),
        "their distance is it"
    );
}

#[test]
fn ten_thousand_alarms_on_networks_fold_as_fast_as_without() {
    // 50 drains of 20 km, 200 alarms on each, a row of drains 20 m apart.
    let known = |is_joined: bool| {
        let mut devices = Vec::new();
        let names: Vec<String> = (0..10_000).map(|i| format!("d{i}")).collect();
        for (i, id) in names.iter().enumerate() {
            let (drain, n) = (i / 200, i % 200);
            let piece = (drain * 200 + n) as u32;
            devices.push((
                &**id,
                n as f64 * 100.0,
                drain as f64 * 20.0,
                is_joined.then_some(piece),
            ));
        }
        on(chains(&vec![("drain", 200, 100.0); 50]), &devices)
    };
    let alerts: Vec<Alert> = (0..10_000)
        .map(|i| {
            alert(
                i,
                &format!("d{i}"),
                "liquid_level",
                Severity::Major,
                i as i64 % 3_600,
            )
        })
        .collect();
    let took = |known: &Surroundings| {
        let began = Instant::now();
        let cards = fold(&alerts, known);
        (began.elapsed(), cards.len())
    };
    let (plain, joined) = (known(false), known(true));
    let (without, _) = took(&plain);
    let (first, n) = took(&joined);
    let (again, _) = took(&joined);
    println!("without networks {without:?}, with {first:?}, again {again:?}, {n} cards");
    // Each card is of one drain, and reaches 5 km either way of the one that founded it.
    assert!((100..=400).contains(&n), "{n}");
    assert!(
        again <= without + Duration::from_millis(500),
        "{again:?} after {without:?}"
    );
}

/// Alerts of a few devices along a line, some behind a gateway.
fn any_alert(n: u64) -> impl Strategy<Value = Alert> {
    let quantity = prop_oneof![Just("pm10"), Just("no2"), Just("noise_laeq"), Just("silence")];
    let severity = prop_oneof![
        Just(Severity::Minor),
        Just(Severity::Major),
        Just(Severity::Critical)
    ];
    (
        0..12_usize,
        quantity,
        severity,
        0..9_000_i64,
        0..4_u8,
        any::<bool>(),
    )
        .prop_map(move |(d, quantity, severity, s, life, taken_up)| {
            let mut one = alert(n, &format!("d{d}"), quantity, severity, n as i64 * 500 + s / 100);
            one.acknowledged = taken_up.then(taken);
            match life {
                0 => ended(one, n as i64 * 500 + s),
                1 => {
                    one.condition = Condition::Unknown;
                    one
                }
                _ => one,
            }
        })
}

fn any_alerts() -> impl Strategy<Value = Vec<Alert>> {
    (1..25_u64).prop_flat_map(|n| (0..n).map(any_alert).collect::<Vec<_>>())
}

fn line(gateways: bool) -> Surroundings {
    let names: Vec<String> = (0..12).map(|d| format!("d{d}")).collect();
    let devices: Vec<_> = names
        .iter()
        .enumerate()
        .map(|(d, id)| {
            let gateway = (gateways && (1..5).contains(&d)).then_some("d0");
            (&**id, d as f64 * 700.0, gateway)
        })
        .collect();
    let mut known = known(&devices);
    known.sites.get_mut("d11").unwrap().position = None;
    known.sites.get_mut("d9").unwrap().network = Some("a".to_owned());
    known.sites.get_mut("d10").unwrap().network = Some("b".to_owned());
    known
}

fn noted(alerts: &[Alert], gateways: bool) -> Surroundings {
    let mut known = line(gateways);
    for alert in alerts {
        known.note(alert, gateways && alert.series.device.as_str() == "d0");
    }
    known
}

/// Which open alerts share a card.
fn partition(cards: &[Card]) -> BTreeSet<BTreeSet<AlertId>> {
    cards
        .iter()
        .map(|card| card.members.iter().copied().collect())
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn each_open_alert_is_on_one_card_and_the_order_given_does_not_matter(
        (alerts, shuffled) in any_alerts().prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle())),
        gateways in any::<bool>(),
    ) {
        let known = noted(&alerts, gateways);
        let cards = fold(&alerts, &known);
        let mut on: Vec<AlertId> = cards.iter().flat_map(|card| card.members.clone()).collect();
        let mut open: Vec<AlertId> = alerts.iter().filter(|a| a.is_open()).map(|a| a.id).collect();
        on.sort();
        open.sort();
        prop_assert_eq!(on, open);
        prop_assert_eq!(&fold(&shuffled, &known), &cards);
        let ids: BTreeSet<AlertId> = cards.iter().map(|card| card.id).collect();
        prop_assert_eq!(ids.len(), cards.len(), "two cards have one id");
        let of: HashMap<AlertId, &Alert> = alerts.iter().map(|a| (a.id, a)).collect();
        for card in &cards {
            let members: Vec<&Alert> = card.members.iter().map(|id| of[id]).collect();
            prop_assert_eq!(card.severity, members.iter().map(|a| a.severity).max().unwrap());
            prop_assert_eq!(card.counts.alerts, members.len());
            if card.kind != CardKind::Place {
                continue;
            }
            for (one, other) in members.iter().flat_map(|a| members.iter().map(move |b| (*a, *b))) {
                let number = |a: &Alert| a.series.device.as_str()[1..].parse::<f64>().unwrap();
                let apart = (number(one) - number(other)).abs() * 700.0;
                prop_assert!(apart <= card.cause.diameter_m, "{} m apart on one card", apart);
                let devices: BTreeSet<&str> = [one, other].map(|a| a.series.device.as_str()).into();
                prop_assert_ne!(devices, BTreeSet::from(["d10", "d9"]), "two networks");
            }
        }
        let criticals = cards.iter().take_while(|card| card.severity == Severity::Critical).count();
        let all = cards.iter().filter(|card| card.severity == Severity::Critical).count();
        prop_assert_eq!(criticals, all, "critical cards stand on top");
    }

    #[test]
    fn coming_and_going_leave_the_other_cards_as_they_are(alerts in any_alerts(), which in any::<prop::sample::Index>()) {
        let known = noted(&alerts, false);
        let cards = fold(&alerts, &known);
        // The newest is not there yet.
        let before = fold(&alerts[..alerts.len() - 1], &known);
        let newest = alerts[alerts.len() - 1].id;
        let without = |groups: BTreeSet<BTreeSet<AlertId>>, id: &AlertId| -> BTreeSet<BTreeSet<AlertId>> {
            let groups = groups.into_iter().map(|mut group| {
                group.remove(id);
                group
            });
            groups.filter(|group| !group.is_empty()).collect()
        };
        prop_assert_eq!(partition(&before), without(partition(&cards), &newest));
        let ids = |cards: &[Card]| -> BTreeMap<AlertId, AlertId> {
            cards.iter().flat_map(|card| card.members.iter().map(|id| (*id, card.id))).collect()
        };
        let (was, is) = (ids(&before), ids(&cards));
        prop_assert!(was.iter().all(|(member, card)| is[member] == *card), "a card has another id");
        // One of them ends, after all were raised.
        let mut after = alerts.clone();
        let gone = which.index(after.len());
        let id = after[gone].id;
        if after[gone].is_open() {
            after[gone] = ended(after[gone].clone(), 1_000_000);
        }
        let later = fold(&after, &known);
        prop_assert_eq!(partition(&later), without(partition(&cards), &id));
        let still = ids(&later);
        prop_assert!(still.iter().all(|(member, card)| is[member] == *card), "a card has another id");
    }
}

#[test]
fn what_was_raised_in_a_drill_shares_no_card_with_what_is_real_and_stands_behind_it() {
    let known = known(&[("a", 0.0, None), ("b", 10.0, None), ("c", 20.0, None)]);
    let mut drilled = alert(1, "a", "pm10", Severity::Critical, 0);
    drilled.drill = Some(DrillId::new("flood").unwrap());
    let alerts = [
        drilled.clone(),
        alert(2, "b", "pm10", Severity::Minor, 10),
        alert(3, "c", "pm10", Severity::Minor, 20),
    ];
    assert_eq!(shown(&alerts, &known), ["b c", "a"]);
    let drills: Vec<_> = fold(&alerts, &known).into_iter().map(|card| card.drill).collect();
    assert_eq!(drills, [None, drilled.drill]);
}

//! Roads that are called as divisions are, roads that borders cut, and what an answer says of where it comes from.

use onemap_model::{DivisionCode, Entity};
use onemap_spatial::geocode::{Answer, Asker, Geocoder, Level, of_entities};
use serde_json::{Value, json};

fn entity(kind: &str, code: &str, name: &str, geometry: Value, attributes: Value) -> Entity {
    serde_json::from_value(json!({
        "code": code, "kind": kind, "name": name, "geometry": geometry, "attributes": attributes,
    }))
    .unwrap()
}

fn square(west: f64) -> Value {
    let (a, b) = (west, west + 0.05);
    json!({"type": "Polygon", "coordinates": [[[a, 36.60], [b, 36.60], [b, 36.65], [a, 36.65], [a, 36.60]]]})
}

fn line(from: f64, to: f64, lat: f64) -> Value {
    json!({"type": "LineString", "coordinates": [[from, lat], [to, lat]]})
}

fn door(code: &str, road: &str, number: u32, lon: f64, lat: f64) -> Entity {
    let at = json!({"type": "Point", "coordinates": [lon, lat]});
    entity("address", code, "", at, json!({"road": road, "number": number}))
}

fn districts() -> Vec<Entity> {
    vec![
        entity("division", "630103", "城中区", square(101.70), json!({})),
        entity("division", "630102000000", "城东区", square(101.75), json!({})),
    ]
}

fn ask(geocoder: &Geocoder, text: &str) -> Answer {
    geocoder.geocode(text, &Asker::default()).unwrap()
}

#[test]
fn a_road_with_a_door_is_no_community_of_its_name() {
    // 长江路社区 is shipped; no road is held.
    let without = of_entities(districts());
    for text in [
        "西宁市城中区长江路12号",
        "西宁市城中区长江路第12号",
        "城中区长江路甲12号",
        "青海西宁城中长江路十二号3单元301",
        "西宁市城中区长江录12号",
        "西宁市城中区長江路12號",
        "西宁市城中区长江路12",
    ] {
        let answer = ask(&without, text);
        assert_eq!(
            (answer.level, answer.code.as_deref()),
            (Level::District, Some("630103")),
            "{text}: {answer:?}"
        );
        assert!(answer.confidence <= 0.5, "{text}: {answer:?}");
        assert!(answer.because.contains(&"road_unknown"), "{text}: {answer:?}");
        assert!(
            answer.ignored.iter().any(|ignored| ignored.contains("长江")),
            "{text}: {answer:?}"
        );
    }
    // No door, or a village's group: the community, the first not surely.
    let bare = ask(&without, "西宁市城中区长江路");
    assert!(
        bare.level == Level::Community && bare.confidence < 0.5,
        "{bare:?}"
    );
    let whole = ask(&without, "西宁市城中区长江路社区");
    assert!(
        whole.level == Level::Community && whole.confidence > 0.9,
        "{whole:?}"
    );
    // Nothing is called so: the district is sure, and the road is said not to be held.
    let other = ask(&without, "西宁市城中区不存在路12号");
    assert_eq!(other.level, Level::District);
    assert!(
        other.because.contains(&"road_unknown") && other.confidence > 0.8,
        "{other:?}"
    );

    // The road is held.
    let mut entities = districts();
    entities.push(entity(
        "road",
        "R1",
        "长江路",
        line(101.71, 101.74, 36.62),
        json!({}),
    ));
    entities.push(door("D12", "长江路", 12, 101.72, 36.6201));
    let with = of_entities(entities);
    for (text, sure) in [
        ("西宁市城中区长江路12号", true),
        ("长江路12号", true),
        ("西宁市城中区长江录12号", false),
    ] {
        let answer = ask(&with, text);
        assert_eq!(
            (answer.level, answer.code.as_deref()),
            (Level::Door, Some("D12")),
            "{text}: {answer:?}"
        );
        assert_eq!(answer.confidence >= 0.8, sure, "{text}: {answer:?}");
    }
    let unheld = ask(&with, "西宁市城中区长江路900号");
    assert_eq!(
        (unheld.level, unheld.code.as_deref()),
        (Level::Road, Some("R1")),
        "{unheld:?}"
    );

    // Only a door names the road: it is the door's road, not the community's.
    let mut entities = districts();
    entities.push(door("D12", "长江路", 12, 101.72, 36.6201));
    let by_door = ask(&of_entities(entities), "西宁市城中区长江路12号");
    assert_eq!(
        (by_door.level, by_door.code.as_deref()),
        (Level::Door, Some("D12")),
        "{by_door:?}"
    );
}

#[test]
fn a_road_that_a_border_cuts_is_one_road() {
    let mut entities = districts();
    // The second begins 90 m behind the first; a third of the name lies elsewhere in the last test.
    entities.push(entity(
        "road",
        "W",
        "祁连路",
        line(101.70, 101.7495, 36.62),
        json!({}),
    ));
    entities.push(entity(
        "road",
        "E",
        "祁连路",
        line(101.7505, 101.79, 36.62),
        json!({}),
    ));
    for (code, number, lon) in [("D11", 11, 101.711), ("D31", 31, 101.731), ("D61", 61, 101.761)] {
        entities.push(door(code, "祁连路", number, lon, 36.6201));
    }
    let geocoder = of_entities(entities.clone());
    let asked = |text: &str| {
        let answer = ask(&geocoder, text);
        assert!(!answer.ambiguous, "{text}: {answer:?}");
        answer
    };
    let of = |answer: &Answer| answer.division.as_ref().unwrap().as_str().to_owned();
    let road = asked("西宁市祁连路");
    assert_eq!(
        (road.level, road.code.as_deref()),
        (Level::Road, Some("W")),
        "the longer piece"
    );
    assert_eq!(of(&road), "630100");
    assert!(road.because.contains(&"several_districts"));
    // The text's district names the piece.
    let east = asked("城东区祁连路");
    assert_eq!((east.code.as_deref(), &*of(&east)), (Some("E"), "630102000000"));
    // The door decides.
    for (text, code, division) in [
        ("西宁市祁连路31号", "D31", "630103"),
        ("西宁市祁连路61号", "D61", "630102000000"),
        ("城东区祁连路61号", "D61", "630102000000"),
    ] {
        let answer = asked(text);
        assert_eq!(
            (answer.code.as_deref(), &*of(&answer)),
            (Some(code), division),
            "{text}"
        );
        assert!(answer.confidence > 0.8, "{text}: {answer:?}");
    }
    let wrong = asked("城东区祁连路31号");
    assert_eq!((wrong.code.as_deref(), &*of(&wrong)), (Some("D31"), "630103"));
    assert!(
        wrong.because.contains(&"district_differs") && wrong.confidence < 0.8,
        "{wrong:?}"
    );
    // Between doors of two pieces: the city, and a place between them.
    let between = asked("西宁市祁连路45号");
    assert_eq!(
        (between.level, &*of(&between)),
        (Level::Interpolated, "630100"),
        "{between:?}"
    );
    assert!(
        (101.735..101.757).contains(&between.position.unwrap()[0]),
        "{between:?}"
    );

    // Whoever may see one district sees nothing of the other piece.
    let east_only = Asker {
        division: DivisionCode::new("630102").ok(),
        near: None,
    };
    let hidden = geocoder.geocode("西宁市祁连路31号", &east_only).unwrap();
    assert!(
        hidden.level <= Level::Road && hidden.code.as_deref() != Some("D31"),
        "{hidden:?}"
    );

    // The same number far away on the other piece: nobody guesses, the text's district decides.
    entities.push(door("D31E", "祁连路", 31, 101.785, 36.6201));
    let twice = of_entities(entities.clone());
    let two = ask(&twice, "西宁市祁连路31号");
    assert!(two.ambiguous && two.code.is_none(), "{two:?}");
    assert_eq!(ask(&twice, "城东区祁连路31号").code.as_deref(), Some("D31E"));
    assert_eq!(ask(&twice, "城中区祁连路31号").code.as_deref(), Some("D31"));

    // A road of that name that does not come near is another one.
    entities.push(entity(
        "road",
        "F",
        "祁连路",
        line(101.71, 101.74, 36.645),
        json!({}),
    ));
    let apart = ask(&of_entities(entities), "西宁市祁连路");
    assert!(apart.ambiguous, "{apart:?}");
}

#[test]
fn codes_are_those_of_the_register_and_say_when_they_are_not() {
    let mut entities = districts();
    entities.push(entity(
        "division",
        "630102001000",
        "东关大街街道",
        square(101.76),
        json!({}),
    ));
    entities.push(entity(
        "place",
        "P",
        "海晏书店",
        json!({"type": "Point", "coordinates": [101.765, 36.61]}),
        json!({}),
    ));
    let geocoder = of_entities(entities);
    for (text, code, held) in [
        ("西宁市城东区", "630102000000", true),
        ("城中区", "630103", true),
        ("城东区东关大街街道", "630102001000", true),
        ("城东区东关大街街道办事处", "630102001000", true),
        ("630102001", "630102001000", true),
        ("城西区", "630104", false),
        ("城东区清真巷街道", "630102002", false),
        ("总寨镇元堡子村", "630103100213", false),
        ("青海省", "630000", false),
    ] {
        let answer = ask(&geocoder, text);
        assert_eq!(
            (answer.code.as_deref(), answer.held, answer.division_held),
            (Some(code), Some(held), Some(held)),
            "{text}: {answer:?}"
        );
        assert_eq!(
            answer.division.as_ref().map(DivisionCode::as_str),
            Some(code),
            "{text}"
        );
        assert_eq!(answer.to_json()["held"], json!(held), "{text}");
    }
    let place = ask(&geocoder, "海晏书店");
    assert_eq!((place.held, place.division_held), (Some(true), Some(true)));
    assert_eq!(place.division.unwrap().as_str(), "630102001000");
}

#[test]
fn how_exactly_a_source_says_it_knows_counts() {
    let at = |lon: f64| json!({"type": "Point", "coordinates": [lon, 36.62]});
    let mut entities = districts();
    entities.push(entity(
        "place",
        "P",
        "海晏书店",
        at(101.71),
        json!({"precision_m": "800"}),
    ));
    entities.push(entity(
        "place",
        "Q",
        "湖滨茶馆",
        at(101.71),
        json!({"precision_m": -3}),
    ));
    entities.push(entity(
        "road",
        "R",
        "祁连路",
        line(101.71, 101.72, 36.62),
        json!({"precision_m": 300}),
    ));
    for (number, lon, m) in [(2, 101.711, json!(120)), (6, 101.713, json!("90"))] {
        let attributes = json!({"road": "祁连路", "number": number, "precision_m": m});
        entities.push(entity("address", &format!("D{number}"), "", at(lon), attributes));
    }
    let geocoder = of_entities(entities);
    let within = |text: &str| ask(&geocoder, text).precision_m.unwrap();
    assert_eq!(within("海晏书店"), 800.0);
    assert_eq!(within("湖滨茶馆"), 10.0, "a negative one is none");
    assert_eq!(within("祁连路2号"), 120.0);
    assert!(within("祁连路4号") > 120.0, "between two that are not exact");
    assert!(within("祁连路") > 700.0, "half its length and what is stated");
}

#[test]
fn traditional_characters_and_several_addresses() {
    let mut entities = districts();
    entities.push(entity(
        "road",
        "R",
        "昆仑东路",
        line(101.76, 101.79, 36.62),
        json!({}),
    ));
    entities.push(door("D8", "昆仑东路", 8, 101.77, 36.6201));
    // The register may be written so, too.
    entities.push(entity(
        "road",
        "T",
        "勝利橋巷",
        line(101.71, 101.74, 36.63),
        json!({}),
    ));
    let geocoder = of_entities(entities);
    for (text, code) in [
        ("西寧市城東區", "630102000000"),
        ("青海省西寧市城東區崑崙東路８號", "D8"),
        ("城中区胜利桥巷", "T"),
        ("西寧市大通縣橋頭鎮", "630121100"),
    ] {
        let answer = ask(&geocoder, text);
        assert_eq!(answer.code.as_deref(), Some(code), "{text}: {answer:?}");
        assert!(
            answer.confidence > 0.8 && answer.corrected.is_none(),
            "{text}: {answer:?}"
        );
    }
    for text in [
        "城东区昆仑东路8号;城中区胜利桥巷3号",
        "城东区昆仑东路8号 ； 城中区胜利桥巷3号；",
        ";城东区昆仑东路8号;城中区胜利桥巷3号",
    ] {
        let first = ask(&geocoder, text);
        assert_eq!(first.code.as_deref(), Some("D8"), "{text}: {first:?}");
        assert_eq!(first.ignored, ["城中区胜利桥巷3号"], "{text}");
        assert!(first.because.contains(&"several_addresses"), "{text}");
    }
    let one = ask(&geocoder, "城东区昆仑东路8号;");
    assert!(
        !one.because.contains(&"several_addresses") && one.ignored.is_empty(),
        "{one:?}"
    );
}

//! Codes against printed examples and against the vectors beside the repository.
#![allow(clippy::unwrap_used)]

use serde_json::Value;

use super::*;

/// A file of ../shared/standards/vectors; `None`, said aloud, when it is not there.
fn vectors() -> Option<Value> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    match std::fs::read_to_string(root.join("shared/standards/vectors/identity.json")) {
        Ok(text) => Some(serde_json::from_str(&text).unwrap()),
        Err(_) => {
            eprintln!("SKIPPED: no ../shared/standards/vectors/identity.json beside the repository");
            None
        }
    }
}

#[test]
fn every_vector_holds() {
    let Some(all) = vectors() else { return };
    let list = |kind: &str, name: &str| all[kind][name].as_array().unwrap().clone();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let expected = |error: CodeError| match error {
        CodeError::Check { expected, .. } => expected.to_string(),
        other => panic!("{other}"),
    };
    for row in list("uscc", "worked") {
        let code = text(&row["code"]);
        assert_eq!(CreditCode::parse(&code).unwrap().as_str(), code);
        let check = text(&row["check"]);
        let wrong = if check == "0" { "1" } else { "0" };
        let error = CreditCode::parse(&format!("{}{wrong}", text(&row["first17"]))).unwrap_err();
        assert_eq!(expected(error), check);
    }
    for row in list("citizen_number", "worked") {
        let number = text(&row["number"]);
        assert_eq!(CitizenNumber::parse(&number).unwrap().reveal(), number);
        let check = text(&row["check"]);
        let wrong = if check == "0" { "1" } else { "0" };
        let error = CitizenNumber::parse(&format!("{}{wrong}", text(&row["first17"]))).unwrap_err();
        assert_eq!(expected(error), check);
    }
    for bad in list("uscc", "invalid") {
        assert!(CreditCode::parse(&text(&bad)).is_err(), "{bad}");
    }
    for bad in list("citizen_number", "invalid") {
        assert!(CitizenNumber::parse(&text(&bad)).is_err(), "{bad}");
    }
}

#[test]
fn credit_codes_are_read_as_people_write_them() {
    for text in [
        "91350100M000100Y43",
        " 91350100m000100y43 ",
        "9 1 350100 M000100Y4-3",
        "９１３５０１００M000100Y43",
    ] {
        let code = CreditCode::parse(text).unwrap();
        assert_eq!((code.as_str(), code.division()), ("91350100M000100Y43", "350100"));
        assert_eq!(code.organisation_check(), OrganisationCheck::Fits);
    }
    // Cooperatives of villages, others, the military.
    for text in ["N2630102MF1234567Y", "Y1630100000000001T", "A1110000000000001G"] {
        assert_eq!(CreditCode::parse(text).unwrap().as_str(), text);
    }
    assert_eq!(
        CreditCode::parse("91110000600037341L")
            .unwrap()
            .organisation_check(),
        OrganisationCheck::Fits
    );
    for (text, says) in [
        (
            "91350100M000100Y4Z",
            "character 18 of a social credit code cannot be `Z`",
        ),
        (
            "91350100I000100Y43",
            "character 9 of a social credit code cannot be `I`",
        ),
        (
            "B1350100M000100Y43",
            "character 1 of a social credit code cannot be `B`",
        ),
        ("9135010M000100Y43", "has 18 characters, not 17"),
        ("91350100M000100Y44", "is `4`, its other characters give `3`"),
        ("", "not 0"),
    ] {
        let message = CreditCode::parse(text).unwrap_err().to_string();
        assert!(message.contains(says), "{text}: {message}");
    }
}

#[test]
fn citizen_numbers_are_checked_whole_and_never_shown() {
    let number = CitizenNumber::parse("11010519491231002x").unwrap();
    assert_eq!(format!("{number:?}"), "110105********002X");
    assert_eq!((number.last_four(), number.sex()), ("002X", Sex::Female));
    assert_eq!(CitizenNumber::from_15("110105491231002").unwrap(), number);
    for (text, says) in [
        ("110105194912310021", "is `1`, its other characters give `X`"),
        ("11010519491331002X", "check character"),
        ("110105491231002", "has 18 characters, not 15"),
        ("1101051949123100 X", "cannot be `?`"),
    ] {
        let message = CitizenNumber::parse(text).unwrap_err().to_string();
        assert!(message.contains(says), "{text}: {message}");
        assert!(!message.contains("1101051949"), "{message}");
    }
    // The check fits; the 30th of February and division 99 do not.
    let with_check = |first: &str| {
        let digits = "0123456789X".chars().map(|c| format!("{first}{c}"));
        digits
            .map(|text| CitizenNumber::parse(&text))
            .find(|read| !matches!(read, Err(CodeError::Check { .. })))
    };
    assert!(matches!(
        with_check("11010519490230002"),
        Some(Err(CodeError::Birth { .. }))
    ));
    assert!(matches!(
        with_check("99010519490228002"),
        Some(Err(CodeError::Division { .. }))
    ));
    // Huangzhong was numbered 632124 until 1999, 630122 until 2019, and is 630106 since. A number of before may have
    // the code of a later year, but none of a year before the birth.
    assert!(matches!(
        with_check("63212420010101001"),
        Some(Err(CodeError::Division { .. }))
    ));
    assert!(matches!(with_check("63212419800101001"), Some(Ok(_))));
    assert!(matches!(with_check("63012219600101001"), Some(Ok(_))));
}

#[test]
fn component_numbers_are_read_by_their_length_and_judged_by_their_day() {
    let old = ComponentNumber::parse("3205080101000001").unwrap();
    assert_eq!(
        (old.division(), old.class().to_string(), old.sequence()),
        ("320508", "0101".into(), 1)
    );
    let new = ComponentNumber::parse("63010201037000012").unwrap();
    assert_eq!(
        (new.division(), new.class().to_string(), new.sequence()),
        ("630102", "01037".into(), 12)
    );
    assert!(
        new.class()
            .entry(ClassKind::Component)
            .unwrap()
            .unwrap()
            .name
            .contains("灯")
    );
    let on = |number: &ComponentNumber, day: &str| {
        number.given_on(day.parse().unwrap()).map_err(|e| e.to_string())
    };
    assert_eq!(on(&new, "2026-07-01"), Ok(()));
    assert!(
        on(&new, "2026-06-30")
            .unwrap_err()
            .contains("17 digits (GB/T 47678.5-2026) were not given")
    );
    assert_eq!(on(&old, "2026-06-30"), Ok(()));
    assert!(
        on(&old, "2026-07-01")
            .unwrap_err()
            .contains("16 digits (GB/T 30428.2-2013)")
    );
    let huangzhong = ComponentNumber::parse("6301220101000001").unwrap();
    assert_eq!(on(&huangzhong, "2018-05-01"), Ok(()));
    assert!(
        on(&huangzhong, "2021-05-01")
            .unwrap_err()
            .contains("its place is taken by 630106")
    );
    for (text, says) in [
        ("63010201016000001", "no component class 01-016"),
        ("63010205001000001", "no component class 05-001"),
        ("63010209001000001", "no component class 09-001"),
        (
            "6301020901000001",
            "GB/T 30428.2-2013 has no component class 09-01",
        ),
        ("63019901001000001", "no division had the code `630199`"),
        (
            "63010201001000000",
            "sequence of this component number is all zeros",
        ),
        ("6301020100100000X", "character 17"),
        ("630102010010001", "has 17 (or 16) characters, not 15"),
    ] {
        let message = ComponentNumber::parse(text).unwrap_err().to_string();
        assert!(message.contains(says), "{text}: {message}");
    }
}

#[test]
fn matters_and_grids_have_their_parts_checked() {
    let matter = MatterClass::parse("63010206028").unwrap();
    assert!(
        matter
            .class()
            .entry(ClassKind::Matter)
            .unwrap()
            .unwrap()
            .name
            .contains("噪")
    );
    assert!(MatterClass::parse("6301020603").is_ok());
    assert!(MatterClass::parse("63010212001").is_err());
    let grid = UnitGrid::parse("630102001001007").unwrap();
    assert_eq!(grid.community(), "630102001001");
    assert!(
        UnitGrid::parse("630102001001000")
            .unwrap_err()
            .to_string()
            .contains("all zeros")
    );
    assert!(UnitGrid::parse("63010200100100").is_err());
    assert_eq!(street_group("003"), Some(StreetGroup::Street));
    assert_eq!(street_group("105"), Some(StreetGroup::Town));
    assert_eq!(street_group("200"), Some(StreetGroup::Township));
    assert_eq!(street_group("400"), Some(StreetGroup::Like));
    assert_eq!(community_group("199"), Some(CommunityGroup::Residents));
    assert_eq!(community_group("200"), Some(CommunityGroup::Villagers));
    assert_eq!(community_group("000"), Some(CommunityGroup::Whole));
    assert_eq!(community_group("00a"), None);
}

#[test]
fn catalogues_have_the_counts_of_their_standards_and_no_class_twice() {
    let [old, new] = catalogues();
    assert_eq!(new.n_classes(ClassKind::Component), 153);
    assert_eq!(new.n_classes(ClassKind::Matter), 250);
    assert_eq!((new.n_minor, new.verified, old.has_minors()), (3, false, false));
    assert_eq!(old.to, Some(new.from));
    assert!(new.class(ClassKind::Component, "05", "009").is_some());
    assert!(new.class(ClassKind::Component, "05", "001").is_none());
}

#[test]
fn stations_and_divisions_are_looked_up() {
    assert!("40100150".parse::<StationCode>().is_ok());
    assert!("A0100150".parse::<StationCode>().is_ok());
    for bad in ["", "4010015", "0010015G", "00100150", "401001500"] {
        assert!(bad.parse::<StationCode>().is_err(), "{bad}");
    }
    assert_eq!(successor("630122"), Some("630106"));
    assert_eq!(successor("630102"), None);
    assert!(is_division("630122", Some(2019)) && !is_division("630122", Some(2020)));
    assert!(is_division("630106", Some(2026)) && !is_division("630106", Some(2018)));
    assert_eq!(
        day(Timestamp::parse("2026-06-30T16:00:00Z").unwrap()).to_string(),
        "2026-07-01"
    );
}

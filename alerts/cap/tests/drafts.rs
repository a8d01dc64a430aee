//! Warnings that we draft: two languages, approval, updates and their end.
#![allow(clippy::unwrap_used, missing_docs)]

use onemap_cap::draft::{APPROVED_BY, Approval, Before, Region, Standing, Warning, Words};
use onemap_cap::gbt35965::{Colour, EventCode, WarningId, division};
use onemap_cap::{Alert, Category, Certainty, MsgType, Polygon, ResponseType, Status, Urgency, read, write};
use onemap_model::{DivisionCode, Timestamp};

fn at(text: &str) -> Timestamp {
    Timestamp::parse(&format!("2026-07-28T{text}+08:00")).unwrap()
}

fn id(sent: Timestamp) -> String {
    WarningId::new("630100", "416", "000", "00", sent, None)
        .unwrap()
        .to_string()
}

fn rain(sent: Timestamp) -> Warning {
    Warning {
        identifier: id(sent),
        sender: "qxt.xining.gov.cn".to_owned(),
        sent,
        colour: Colour::Orange,
        event_code: EventCode::new("11B03").unwrap(),
        categories: vec![Category::Met],
        urgency: Urgency::Expected,
        certainty: Certainty::Likely,
        response_types: vec![ResponseType::Prepare, ResponseType::Avoid],
        effective: None,
        onset: Some(at("18:00:00")),
        expires: at("23:00:00"),
        zh: Words {
            event: "暴雨橙色预警".to_owned(),
            sender_name: "西宁市气象台".to_owned(),
            headline: "西宁市气象台发布暴雨橙色预警".to_owned(),
            description: "预计未来3小时城东区降雨量将达50毫米以上。".to_owned(),
            instruction: "远离河道、低洼处。".to_owned(),
        },
        en: Words {
            event: "Orange warning of heavy rain".to_owned(),
            sender_name: "Xining Meteorological Observatory".to_owned(),
            headline: "Orange warning of heavy rain for Xining".to_owned(),
            description: "More than 50 mm of rain are expected in Chengdong within 3 hours.".to_owned(),
            instruction: "Keep away from rivers & low ground.".to_owned(),
        },
        areas: vec![Region {
            zh: "西宁市城东区".to_owned(),
            en: "Chengdong District, Xining".to_owned(),
            polygons: vec![Polygon::from_lon_lat(&[[101.78, 36.6], [101.9, 36.6], [101.9, 36.65]]).unwrap()],
            circles: vec![],
            divisions: vec![DivisionCode::new("630102").unwrap()],
        }],
        web: Some("https://example.cn/warnings/1".to_owned()),
        contact: Some("12379".to_owned()),
        parameters: vec![],
    }
}

fn approved() -> Standing {
    Standing::Issued(Approval {
        by: "西宁市应急管理局 值班领导".to_owned(),
        number: "2026-017".to_owned(),
    })
}

fn issued(warning: &Warning, before: Before<'_>) -> Alert {
    let alert = warning.alert(&approved(), before).unwrap();
    let text = write(&alert).unwrap();
    assert_eq!(read(text.as_bytes()).unwrap().alert, alert);
    alert
}

#[test]
fn a_warning_says_the_same_in_two_languages() {
    let alert = issued(&rain(at("16:00:00")), Before::Nothing);
    assert_eq!((alert.status, alert.msg_type), (Status::Actual, MsgType::Alert));
    assert_eq!(alert.identifier, "63010041600000_20260728160000");
    let [zh, en] = &alert.infos[..] else {
        panic!("{alert:?}")
    };
    assert_eq!(
        (zh.language_or_default(), en.language_or_default()),
        ("zh-CN", "en-US")
    );
    assert_eq!(
        (zh.event.as_str(), en.event.as_str()),
        ("暴雨橙色预警", "Orange warning of heavy rain")
    );
    assert_eq!(zh.severity.as_str(), "Severe");
    for info in [zh, en] {
        assert_eq!(Colour::stated(info), Some(Colour::Orange));
        assert_eq!(EventCode::stated(info).unwrap().as_str(), "11B03");
        assert_eq!(division(&info.areas[0].geocodes[0]).unwrap().as_str(), "630102");
        assert_eq!(
            info.parameter(APPROVED_BY).collect::<Vec<_>>(),
            ["西宁市应急管理局 值班领导"]
        );
    }
    let both = [zh, en].map(|info| {
        let same = (
            info.categories.clone(),
            info.event_codes.clone(),
            info.urgency,
            info.certainty,
            info.onset,
            info.expires,
        );
        (
            same,
            info.response_types.clone(),
            info.areas[0].polygons.clone(),
            info.parameters.clone(),
        )
    });
    assert_eq!(both[0], both[1]);
    assert_eq!(alert.info_in("EN-us"), Some(en));
    assert_eq!(alert.info_in("fr-FR"), Some(zh));
}

#[test]
fn without_approval_nothing_is_actual() {
    let warning = rain(at("16:00:00"));
    for (standing, status) in [
        (Standing::Draft, Status::Draft),
        (Standing::Exercise, Status::Exercise),
        (Standing::Test, Status::Test),
    ] {
        let alert = warning.alert(&standing, Before::Nothing).unwrap();
        assert_eq!(alert.status, status);
        assert_eq!(alert.infos[0].parameter(APPROVED_BY).count(), 0);
    }
    let nobody = Standing::Issued(Approval {
        by: " ".to_owned(),
        number: "1".to_owned(),
    });
    let error = warning.alert(&nobody, Before::Nothing).unwrap_err();
    assert_eq!(
        (error.code(), error.place.path.as_str()),
        ("empty", "approval/by")
    );
}

#[test]
fn an_update_and_the_end_reference_all_that_they_replace() {
    let first = issued(&rain(at("16:00:00")), Before::Nothing);
    let other = issued(&rain(at("16:30:00")), Before::Nothing);
    let mut red = rain(at("17:00:00"));
    red.colour = Colour::Red;
    let update = issued(&red, Before::Updates(&[&other, &first, &first]));
    assert_eq!(update.msg_type, MsgType::Update);
    assert_eq!(update.references, [first.reference(), other.reference()]);
    assert_eq!(Colour::stated(&update.infos[0]), Some(Colour::Red));

    let end = issued(&rain(at("19:00:00")), Before::Cancels(&[&update]));
    assert_eq!(end.msg_type, MsgType::Cancel);
    assert_eq!(
        end.references,
        [first.reference(), other.reference(), update.reference()]
    );
    assert_eq!(end.infos[1].response_types, [ResponseType::AllClear]);
    assert!(!end.is_active(at("19:00:00")));
    let text = write(&end).unwrap();
    assert!(text.contains(
        "<references>qxt.xining.gov.cn,63010041600000_20260728160000,2026-07-28T16:00:00+08:00 \
         qxt.xining.gov.cn,63010041600000_20260728163000,2026-07-28T16:30:00+08:00 \
         qxt.xining.gov.cn,63010041600000_20260728170000,2026-07-28T17:00:00+08:00</references>"
    ));
}

#[test]
fn what_a_warning_lacks_is_said_with_its_place() {
    let first = issued(&rain(at("16:00:00")), Before::Nothing);
    let mut foreign = first.clone();
    foreign.sender = "other.gov.cn".to_owned();
    let changed = |change: fn(&mut Warning)| {
        let mut warning = rain(at("17:00:00"));
        change(&mut warning);
        warning
    };
    let same = |_: &mut Warning| {};
    for (warning, before, code, path) in [
        (
            changed(|w| w.zh.headline.clear()),
            Before::Nothing,
            "empty",
            "alert/info[1]/headline",
        ),
        (
            changed(|w| w.en.instruction = " ".to_owned()),
            Before::Nothing,
            "empty",
            "alert/info[2]/instruction",
        ),
        (
            changed(|w| w.en.event.clear()),
            Before::Nothing,
            "empty",
            "alert/info[2]/event",
        ),
        (
            changed(|w| w.en.headline = "x".repeat(160)),
            Before::Nothing,
            "headline_long",
            "alert/info[2]/headline",
        ),
        (
            changed(|w| w.zh.description = "\u{1}".to_owned()),
            Before::Nothing,
            "character",
            "alert/info[1]/description",
        ),
        (
            changed(|w| w.areas[0].en.clear()),
            Before::Nothing,
            "empty",
            "alert/info[2]/area[1]/areaDesc",
        ),
        (
            changed(|w| w.categories.clear()),
            Before::Nothing,
            "missing",
            "alert/info[1]",
        ),
        (
            changed(|w| w.identifier = "a b".to_owned()),
            Before::Nothing,
            "forbidden_character",
            "alert/identifier",
        ),
        (
            changed(|w| w.expires = at("16:59:59")),
            Before::Nothing,
            "expires_before",
            "alert/info[1]/expires",
        ),
        (
            changed(|w| w.sent = Timestamp::from_ms(i64::MAX)),
            Before::Nothing,
            "time",
            "alert/sent",
        ),
        (
            changed(|w| w.web = Some("w".to_owned())),
            Before::Nothing,
            "uri",
            "alert/info[1]/web",
        ),
        (
            changed(same),
            Before::Updates(&[]),
            "without_references",
            "alert/msgType",
        ),
        (
            changed(same),
            Before::Cancels(&[&foreign]),
            "other_sender",
            "alert/references",
        ),
        (
            changed(|w| w.sent = at("16:00:00")),
            Before::Updates(&[&first]),
            "not_after",
            "alert/references",
        ),
        (
            changed(|w| w.identifier = id(at("16:00:00"))),
            Before::Updates(&[&first]),
            "not_after",
            "alert/references",
        ),
    ] {
        let error = warning.alert(&approved(), before).unwrap_err();
        assert_eq!((error.code(), error.place.path.as_str()), (code, path), "{error}");
    }
}

//! The functions' bodies in text, told by frames made by the same rules as the binary ones.

#![allow(clippy::unwrap_used)]

use onemap_model::Timestamp;
use serde_json::{Value, json};

use crate::sl651::reply::Line;
use crate::sl651::{Content, Element, Encoding, End, Error, Frame, Packet, decode, question_of};

const HEAD: &str = "0007240111163034";

fn frame(function: u8, end: End, text: &str) -> Frame {
    Frame {
        encoding: Encoding::Ascii,
        direction: end.direction(),
        centre: 1,
        station: "0012345678".parse().unwrap(),
        password: 0x1234,
        function,
        packet: None,
        body: format!("{HEAD}{text}").into_bytes(),
        end,
        addresses_swapped: false,
    }
}

fn line() -> Line {
    Line {
        station: "0012345678".parse().unwrap(),
        centre: 1,
        password: 0x1234,
        encoding: Encoding::Ascii,
    }
}

/// The frame as its view tells it.
fn told(function: u8, end: End, text: &str) -> Result<Value, Error> {
    let view = decode(&frame(function, end, text).encode().unwrap())?;
    Ok(serde_json::to_value(view).unwrap())
}

#[test]
fn every_question_has_its_text() {
    let line = line();
    let now = Timestamp::parse("2024-01-11T16:30:34+08:00").unwrap();
    let hour = "2024-01-11T08:00:00+08:00";
    for (method, params, text) in [
        ("take_picture", json!({}), ""),
        ("read_present", json!({}), ""),
        (
            "history",
            json!({"element": "Z", "from": hour, "to": hour, "step": "5m"}),
            "24011108 24011108 DRN05 Z ",
        ),
        (
            "history",
            json!({"element": "FF11:23", "from": hour, "to": hour}),
            "24011108 24011108 DRH01 FF11 ",
        ),
        ("read_manual", json!({}), ""),
        (
            "read_elements",
            json!({"elements": ["39", "PT", "F4", "FF11:23"]}),
            "Z PT DRP FF11 ",
        ),
        (
            "set_basic",
            json!({"items": {"centre_addresses": [5, 0, 0, 0], "centre_1_main": "IPv4 218.94.153.172:9708", "card_number": "1013"}}),
            "0F 1013 04 02218094153172009708 01 05000000 ",
        ),
        (
            "read_basic",
            json!({"items": ["centre_addresses", "work_mode"]}),
            "01 0C ",
        ),
        (
            "set_run",
            json!({"items": {"level_base_1_m": 10.5, "level_correction_2_m": -0.2, "report_interval_h": 6}}),
            "28 10.500 31 -0.200 20 6 ",
        ),
        ("read_run", json!({"items": ["level_base_1_m", "20"]}), "28 20 "),
        ("read_pump_motor", json!({}), ""),
        ("read_version", json!({}), ""),
        ("read_state", json!({}), ""),
        ("clear_memory", json!({}), "97 "),
        ("factory_reset", json!({}), "98 "),
        ("set_password", json!({"password": "abcd"}), "03 1234 03 ABCD "),
        ("set_clock", json!({}), ""),
        ("set_card", json!({"valid": true}), "ZT 00000200 "),
        ("set_pumps", json!({"on": [true, false, true]}), "03 05 "),
        ("set_valves", json!({"on": [false]}), "01 00 "),
        ("set_gates", json!({"gates": [120, null]}), "02 0101200000 "),
        ("set_fixed_quantity", json!({"on": true}), "FF "),
        ("read_events", json!({}), ""),
        ("read_clock", json!({}), ""),
    ] {
        let question = question_of(method, &params, 0x1234).unwrap();
        let asked = line
            .ask(7, now, &question)
            .unwrap_or_else(|| panic!("{method} has a text"));
        assert_eq!(
            String::from_utf8_lossy(&asked.body),
            format!("{HEAD}{text}"),
            "{method}"
        );
        let read = decode(&asked.encode().unwrap()).unwrap();
        assert_eq!(read.frame, asked);
        // What is not usual of an element is not said by its symbol.
        let same = |content: &Content| match content {
            Content::Asked(asked) => format!("{:?}", asked.iter().map(|(e, _)| *e).collect::<Vec<Element>>()),
            Content::Period {
                from,
                to,
                step,
                element,
            } => format!("{from:?} {to:?} {step:?} {:?}", element.0),
            other => format!("{other:?}"),
        };
        assert_eq!(same(&read.body.content), same(&question.content()), "{method}");
    }
}

#[test]
fn an_element_without_a_symbol_has_no_text() {
    let asked = question_of("read_elements", &json!({"elements": ["39", "76:23"]}), 0x1234).unwrap();
    assert_eq!(line().ask(7, Timestamp::from_ms(0), &asked), None);
}

#[test]
fn answers_say_what_binary_ones_say() {
    let table = told(
        0x41,
        End::Etx,
        "ST 0012345678 01 05000000 02 0012345678 04 02218094153172009708 0C 02 0F 1013 ",
    )
    .unwrap();
    let meanings: Vec<&Value> = table["items"].as_array().unwrap()[1..]
        .iter()
        .map(|item| &item["meaning"])
        .collect();
    assert_eq!(
        meanings,
        [
            "5,0,0,0",
            "0012345678",
            "IPv4 218.94.153.172:9708",
            "report and confirm",
            "1013"
        ]
    );
    let run = told(
        0x43,
        End::Etx,
        "ST 0012345678 20 6 2823 00010500 30 -0.2 77 0105 ",
    )
    .unwrap();
    let meanings: Vec<&Value> = run["items"].as_array().unwrap()[1..]
        .iter()
        .map(|item| &item["meaning"])
        .collect();
    assert_eq!(meanings, ["6", "10.500", "-0.200", "105"]);

    for text in [
        "ST 0012345678 08 OM SIM 1 ",
        "ST 0012345678 08OM SIM 1",
        "ST 0012345678 OM SIM 1 ",
    ] {
        assert_eq!(told(0x45, End::Etx, text).unwrap()["text"], "OM SIM 1", "{text}");
    }
    let state = told(0x46, End::Etx, "ST 0012345678 TT 2401111630 ZT 00000882 ").unwrap();
    assert_eq!(
        state["items"][2]["set"],
        json!(["battery_low", "door_shut", "remaining_water_alarm"])
    );
    let pumps = told(0x4C, End::Etx, "ST 0012345678 09 05 01 ").unwrap();
    assert_eq!(pumps["on"].as_array().unwrap().len(), 9);
    let gates = told(0x4E, End::Etx, "ST 0012345678 02 01 0120 FFFF ").unwrap();
    assert_eq!(
        gates["opening_cm"],
        json!(["120", {"raw": "FFFF", "missing": true}])
    );
    assert_eq!(
        told(0x4F, End::Etx, "ST 0012345678 00 ").unwrap()["fixed_quantity"],
        false
    );
    let counters: Vec<String> = (0..32).map(|i| format!("{i:04X}")).collect();
    for text in [counters.join(" "), counters.concat()] {
        let events = told(0x50, End::Etx, &format!("ST 0012345678 {text} ")).unwrap();
        assert_eq!(
            (
                &events["named"]["memory_cleared"],
                &events["named"]["send_errors"]
            ),
            (&json!(0), &json!(17))
        );
    }
    let clock = told(0x51, End::Etx, "ST 0012345678 ").unwrap();
    assert_eq!(
        (&clock["station_in_body"], &clock["sent_at"]),
        (&json!("0012345678"), &json!("2024-01-11T16:30:34+08:00"))
    );
    let picture = told(0x36, End::Etx, "ST 0012345678 H TT 2401111630 PIC FFD8FFD9 ").unwrap();
    assert_eq!(picture["items"][2]["picture_bytes"], 4);
}

#[test]
fn a_text_that_does_not_add_up_is_refused_with_its_byte() {
    // The text begins at byte 40 of the frame.
    for (function, end, text, code, at) in [
        (0x37, End::Enq, "Z ", "surplus", 40),
        (0x32, End::Eot, "00 ", "surplus", 40),
        (0x38, End::Enq, "24011108 24011109 DRH01 ", "body_ends", 64),
        (0x38, End::Enq, "2401110 24011109 DRH01 Z ", "unexpected", 40),
        (0x38, End::Enq, "24011108 24011109 DRH1 Z ", "unexpected", 58),
        (0x38, End::Enq, "24011108 24011109 DRH01 Z PJ ", "surplus", 66),
        (0x3A, End::Enq, "Z NOSUCH ", "unexpected", 42),
        (0x41, End::Enq, "01 XX ", "unexpected", 43),
        (0x40, End::Enq, "01 050 ", "not_hex", 46),
        (0x40, End::Enq, "01 ", "body_ends", 43),
        (0x42, End::Enq, "28 1.0.0 ", "unexpected", 43),
        (0x42, End::Enq, "2823 0001 ", "unexpected", 45),
        (0x47, End::Enq, "98 ", "unexpected", 40),
        (0x4C, End::Enq, "09 05 ", "body_ends", 43),
        (0x4F, End::Enq, "01 ", "unexpected", 40),
        (0x4F, End::Enq, "FF 00 ", "surplus", 43),
        (0x45, End::Etx, "ST 0012345678 08 OM ", "body_ends", 56),
        (0x45, End::Etx, "ST 0012345678 02 OMX ", "surplus", 58),
        (0x51, End::Etx, "ST 0012345678 5 ", "surplus", 54),
        (0x51, End::Etx, "ST 001234567 ", "unexpected", 43),
        (0x50, End::Etx, "ST 0012345678 0001 ", "body_ends", 54),
    ] {
        let error = told(function, end, text).unwrap_err();
        assert_eq!(
            (error.code(), error.at()),
            (code, at),
            "{function:02X} {text}: {error}"
        );
    }
    assert_eq!(
        told(0xE5, End::Etx, "any thing").unwrap()["raw"],
        "616E79207468696E67"
    );
}

#[test]
fn a_first_packet_keeps_what_it_cuts() {
    for (text, n, cut) in [
        ("ST 0012345678 H TT 2401111630 Z 10.4", 2, 6),
        ("ST 0012345678 H TT 2401111630 Z 10.490 ", 3, 0),
        ("ST 0012345678 H TT 2401111630 Z ", 2, 2),
        ("ST 0012345678 H TT 2401111630 PIC FFD8", 3, 0),
    ] {
        let mut packet = frame(0x32, End::Etb, text);
        packet.packet = Some(Packet { total: 2, number: 1 });
        let body = packet.read().unwrap();
        let Content::Groups { groups, n_cut } = body.content else {
            panic!("{text}");
        };
        assert_eq!((groups.len(), n_cut), (n, cut), "{text}");
    }
}

//! The functions' bodies, told by frames made from the standard.

#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};

use super::{Direction, Encoding, End, Error, Frame, Packet, decode};
use crate::hex;

/// A frame around `body` (hexadecimal, after serial number 7 and the send time), as its view tells it.
fn told(function: u8, end: End, body: &str) -> Result<Value, Error> {
    let head = "0007240111163034";
    let frame = Frame {
        encoding: Encoding::Hex,
        direction: end.direction(),
        centre: 1,
        station: "0012345678".parse().unwrap(),
        password: 0x1234,
        function,
        packet: None,
        body: hex::read(format!("{head}{}", body.replace(' ', "")).as_bytes()).unwrap(),
        end,
        addresses_swapped: false,
    };
    let view = decode(&frame.encode().unwrap())?;
    assert_eq!(
        view.body.write(Encoding::Hex).as_ref(),
        Some(&frame.body),
        "{function:02X}"
    );
    Ok(serde_json::to_value(view).unwrap())
}

#[test]
fn the_basic_table_is_read_with_its_meaning() {
    let view = told(
        0x41,
        End::Etx,
        "F1F10012345678 0120 05000000 0228 0012345678 0450 02 218094153172 009708 0538 01A13012345678 0C08 02 0F20 31303133",
    );
    let items = view.unwrap()["items"].clone();
    let meanings: Vec<&Value> = items.as_array().unwrap()[1..]
        .iter()
        .map(|item| &item["meaning"])
        .collect();
    assert_eq!(
        meanings,
        [
            "5,0,0,0",
            "0012345678",
            "IPv4 218.94.153.172:9708",
            "SMS A13012345678",
            "report and confirm",
            "1013"
        ]
    );
    assert_eq!(items[1]["name"], "centre addresses");
}

#[test]
fn run_parameters_are_numbers_with_decimals() {
    let view = told(
        0x42,
        End::Etx,
        "F1F10012345678 2008 01 2812 9999 2823 00010000 301B FF0200 7708 05",
    )
    .unwrap();
    let items = view["items"].as_array().unwrap().clone();
    let told: Vec<Value> = items[1..]
        .iter()
        .map(|item| json!([item["name"], item["meaning"]]))
        .collect();
    assert_eq!(
        told,
        [
            json!(["report interval, h", "1"]),
            json!(["level base, m", "99.99"]),
            json!(["level base, m", "10.000"]),
            json!(["level correction, m", "-0.200"]),
            json!([null, "5"]),
        ]
    );
}

#[test]
fn controls_say_what_is_on() {
    let pumps = told(0x4C, End::Etx, "F1F10012345678 09 05 01").unwrap();
    assert_eq!(
        pumps["on"],
        json!([true, false, true, false, false, false, false, false, true])
    );
    let gates = told(0x4E, End::Enq, "02 01 0120 FFFF").unwrap();
    assert_eq!(gates["gates"], json!([true, false]));
    assert_eq!(
        gates["opening_cm"],
        json!(["120", { "raw": "FFFF", "missing": true }])
    );
    assert_eq!(
        told(0x4F, End::Etx, "F1F10012345678 00").unwrap()["fixed_quantity"],
        false
    );
    assert_eq!(
        told(0x4F, End::Etx, "F1F10012345678 01").unwrap_err().code(),
        "unexpected"
    );
    assert_eq!(
        told(0x4C, End::Etx, "F1F10012345678 09 05").unwrap_err().code(),
        "body_ends"
    );
    let state = told(0x46, End::Etx, "F1F10012345678 4520 00000882").unwrap();
    assert_eq!(
        state["items"][1]["set"],
        json!(["battery_low", "door_shut", "remaining_water_alarm"])
    );
    let clear = told(0x47, End::Enq, "9700").unwrap();
    assert_eq!(clear["mark"], "97");
    assert_eq!(told(0x47, End::Enq, "9800").unwrap_err().at(), 22);
}

#[test]
fn counters_may_come_with_their_addresses_in_the_other_order() {
    let counters: String = (0..32).map(|i| format!("{i:04X}")).collect();
    let view = told(0x50, End::Etx, &format!("F1F10012345678 {counters}")).unwrap();
    assert_eq!(view["named"]["memory_cleared"], 0);
    assert_eq!(view["named"]["send_errors"], 17);
    let frame = Frame {
        encoding: Encoding::Hex,
        direction: Direction::Up,
        centre: 1,
        station: "0012345678".parse().unwrap(),
        password: 0x1234,
        function: 0x50,
        packet: None,
        body: hex::read(format!("0007240111163034F1F10012345678{counters}").as_bytes()).unwrap(),
        end: End::Etx,
        addresses_swapped: true,
    };
    let bytes = frame.encode().unwrap();
    assert_eq!(&bytes[2..8], &[0x00, 0x12, 0x34, 0x56, 0x78, 0x01]);
    assert_eq!(Frame::decode(&bytes), Ok(frame));
}

#[test]
fn classes_are_told_from_elements_of_the_same_number() {
    // Reports have a class even without an observation time; others only right before it.
    let report = told(0x32, End::Etx, "F1F10012345678 48 3923 00001000").unwrap();
    assert_eq!(
        (&report["items"][0]["class"], &report["items"][1]["id"]),
        (&json!("river"), &json!("39"))
    );
    let motor = told(0x44, End::Etx, "F1F10012345678 4818 000100 7011 2200").unwrap();
    assert_eq!(motor["items"][1]["symbol"], "COND");
    let motor = told(0x44, End::Etx, "F1F10012345678 44 F0F0 2401111630 7011 2200").unwrap();
    assert_eq!(motor["items"][0]["class"], "pump");
    let unknown = told(0x32, End::Etx, "F1F10012345678 99 F0F0 2401111630 8108 12").unwrap();
    assert_eq!(unknown["items"][0]["class"], "99");
    assert_eq!(unknown["items"][2]["unknown"], true);
}

#[test]
fn a_body_that_does_not_add_up_is_refused_with_its_byte() {
    for (function, end, body, code, at) in [
        (
            0x32,
            End::Etx,
            "F1F10012345678 48 F0F0 2401111630 3923 0000",
            "body_ends",
            39,
        ),
        (
            0x32,
            End::Etx,
            "F1F10012345678 48 F0F1 2401111630",
            "unexpected",
            30,
        ),
        (
            0x31,
            End::Etx,
            "F1F10012345678 48 F0F0 2401111630 0418 000005 3923 0000100000",
            "body_ends",
            44,
        ),
        (0x47, End::Etx, "F1F10012345678 00", "surplus", 29),
        (0x32, End::Eot, "00", "surplus", 22),
        (0x37, End::Enq, "3923", "surplus", 22),
        (0x38, End::Enq, "24010108 24010208 0418 000100", "body_ends", 35),
    ] {
        let error = told(function, end, body).unwrap_err();
        assert_eq!((error.code(), error.at()), (code, at), "{body}");
    }
    assert_eq!(told(0xE5, End::Etx, "0102").unwrap()["raw"], "0102");
}

#[test]
fn the_envelope_is_refused_by_name() {
    let good = hex::read(b"7E7E01001234567812342F0008020003591011155111036BCA").unwrap();
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        Frame::decode(&bytes).unwrap_err().code()
    };
    assert_eq!(with(0, 0x00), "no_start");
    assert_eq!(with(11, 0x40), "direction");
    assert_eq!(with(12, 0x00), "length");
    assert_eq!(with(12, 0x09), "truncated");
    assert_eq!(with(12, 0x07), "trailing_bytes");
    assert_eq!(with(13, 0x03), "start_character");
    assert_eq!(with(22, 0x05), "end_character");
    assert_eq!(with(24, 0x00), "crc");
    let mut frame = Frame::decode(&good).unwrap();
    frame.packet = Some(Packet { total: 2, number: 3 });
    assert_eq!(frame.encode().unwrap_err().code(), "packet_number");
    frame.packet = None;
    frame.body = vec![0; 4096];
    assert_eq!(frame.encode().unwrap_err().code(), "length");
    frame.body = vec![0; 4095];
    assert_eq!(Frame::decode(&frame.encode().unwrap()), Ok(frame));
}

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::hj212;

fn given() -> Given {
    Given::at(Timestamp::parse("2026-11-26T08:00:00+08:00").unwrap())
}

fn json(lines: &[Line]) -> Vec<serde_json::Value> {
    lines
        .iter()
        .map(|line| serde_json::to_value(line).unwrap())
        .collect()
}

fn packet(number: u32, cp: &str) -> Vec<u8> {
    let text = format!(
        "QN=2016080108585753{number};ST=32;CN=2061;PW=1;MN=A;Flag=7;PNUM=3;PNO={number};CP=&&DataTime=20160801080000;{cp}&&"
    );
    hj212::encode(&hj212::Segment::parse(text.as_bytes()).unwrap()).unwrap()
}

/// Place, whether it is in order, how many readings, what is missing.
fn told(lines: &[Line]) -> Vec<(u64, bool, usize, Option<Vec<u32>>)> {
    lines
        .iter()
        .map(|line| {
            let n = line.readings.as_ref().map_or(0, Vec::len);
            (line.at, line.ok, n, line.missing.clone())
        })
        .collect()
}

#[test]
fn a_reading_is_told_in_its_unit_at_the_end_of_its_period() {
    let text = "QN=20160801085857223;ST=22;CN=2061;PW=1;MN=A;Flag=5;CP=&&DataTime=20160801080000;a34004-Avg=35.1,a34004-Flag=D;a01006-Avg=-999;a214-Avg=1&&";
    let bytes = hj212::encode(&hj212::Segment::parse(text.as_bytes()).unwrap()).unwrap();
    let lines = json(&spell(Protocol::Hj212, &bytes, given()));
    assert_eq!(lines.len(), 1);
    assert_eq!(
        lines[0]["readings"],
        serde_json::json!([{"device": "A", "quantity": "pm2_5", "ch": 20, "measured_at": "2016-08-01T09:00:00+08:00",
            "period_s": 3600, "value": 35.1, "unit": "ug/m3", "quality": ["suspect"]}])
    );
    let reasons: Vec<&str> = lines[0]["refused"]
        .as_array()
        .unwrap()
        .iter()
        .map(|refused| refused["reason"].as_str().unwrap())
        .collect();
    assert_eq!(reasons, ["sentinel", "unknown_quantity"]);
    assert_eq!(
        (&lines[0]["ok"], &lines[0]["frame"]["cn"]),
        (&true.into(), &"2061".into())
    );
}

#[test]
fn the_last_packet_to_come_has_the_set_s_readings_and_lines_stay_in_order() {
    let single = "QN=1;ST=22;CN=2011;PW=1;MN=B;Flag=4;CP=&&DataTime=20160801085857;a34004-Rtd=1&&";
    let single = hj212::encode(&hj212::Segment::parse(single.as_bytes()).unwrap()).unwrap();
    let packets = [
        packet(2, "w01018-Avg=2"),
        single,
        packet(3, "w21003-Avg=3"),
        packet(3, "w21003-Avg=3"),
        packet(1, "w01001-Avg=7"),
    ];
    let mut starts = vec![0];
    for packet in &packets {
        starts.push(starts.last().unwrap() + packet.len() as u64);
    }
    let stream = packets.concat();
    for size in [1, 100, stream.len()] {
        let mut speller = Speller::new(Protocol::Hj212, given());
        let mut lines: Vec<Line> = stream.chunks(size).flat_map(|part| speller.push(part)).collect();
        assert_eq!(lines.len(), 5, "nothing waits for the end");
        lines.extend(speller.end());
        let n_readings = [0, 1, 0, 0, 3];
        let want: Vec<_> = starts
            .iter()
            .zip(n_readings)
            .map(|(at, n)| (*at, true, n, None))
            .collect();
        assert_eq!(told(&lines), want);
        let duplicates: Vec<bool> = lines.iter().map(|line| line.duplicate).collect();
        assert_eq!(duplicates, [false, false, false, true, false]);
        assert!(lines[4].message.is_some());
    }
}

#[test]
fn of_a_set_that_does_not_become_whole_there_is_what_there_is_and_what_is_missing() {
    let stream = [packet(2, "w01018-Avg=2"), packet(1, "w01001-Avg=7")].concat();
    let lines = spell(Protocol::Hj212, &stream, given());
    let first = packet(2, "w01018-Avg=2").len() as u64;
    assert_eq!(
        told(&lines),
        [(0, true, 0, None), (first, true, 2, Some(vec![3]))]
    );
    let wrong = packet(4, "w01018-Avg=2");
    let lines = spell(Protocol::Hj212, &wrong, given());
    assert_eq!((lines[0].ok, lines[0].error), (false, Some("packet_number")));
}

#[test]
fn faults_are_told_with_the_byte_of_the_stream() {
    let good = packet(1, "w01018-Avg=2");
    let mut bad = good.clone();
    let end = bad.len();
    bad[end - 3] ^= 1;
    let no_mn = b"ST=22;CN=2011;PW=1;CP=&&&&";
    let no_mn = [
        &b"##0026"[..],
        no_mn,
        format!("{:04X}", hj212::crc(no_mn)).as_bytes(),
        b"\r\n",
    ]
    .concat();
    let stream = [&b"noise"[..], &bad, b"\r\n  ", &no_mn].concat();
    let lines = spell(Protocol::Hj212, &stream, given());
    let faults: Vec<_> = lines
        .iter()
        .map(|l| (l.error.unwrap(), l.from.unwrap(), l.at, l.bytes))
        .collect();
    let end = end as u64;
    assert_eq!(
        faults,
        [
            ("garbage", 0, 0, 5),
            ("crc_mismatch", 5, 5 + end - 6, good.len()),
            // Where CP begins, after `##0026` and 19 characters of header.
            ("no_mn", 5 + end + 4, 5 + end + 4 + 25, no_mn.len())
        ]
    );
    let cut = spell(Protocol::Sl651, b"\x7E\x7E\x01", given());
    assert_eq!((cut[0].error, cut[0].at), (Some("truncated"), 3));
}

#[test]
fn names_of_protocols_are_those_of_what_is_built() {
    for protocol in Protocol::ALL {
        assert_eq!(protocol.name().parse(), Ok(protocol));
    }
    let error = "sparkplug".parse::<Protocol>().unwrap_err().to_string();
    assert!(error.contains("not built yet"), "{error}");
    assert!("HJ212".parse::<Protocol>().is_err());
}

proptest! {
    /// Every byte is in one line or blank, in the order of the stream; lines are JSON.
    #[test]
    fn whatever_comes_is_told_once_and_in_order(
        protocol in prop::sample::select(Protocol::ALL.to_vec()),
        parts in prop::collection::vec(prop_oneof![
            prop::collection::vec(any::<u8>(), 0..60),
            (1u32..5).prop_map(|n| packet(n, "w01018-Avg=2")),
            Just(vec![0x7E, 0x7E]), Just(vec![0x40, 0x40]), Just(b"##0010".to_vec()),
        ], 0..12),
        size in 1usize..80,
    ) {
        let stream = parts.concat();
        let mut speller = Speller::new(protocol, given());
        let mut lines: Vec<Line> = stream.chunks(size).flat_map(|part| speller.push(part)).collect();
        lines.extend(speller.end());
        let mut here = 0;
        for line in &lines {
            prop_assert_eq!(line.ok, line.error.is_none());
            prop_assert!(serde_json::to_string(line).is_ok());
            let from = line.from.unwrap_or(line.at) as usize;
            prop_assert!(from >= here && is_blank(&stream[here..from]));
            here = from + line.bytes;
        }
        prop_assert!(is_blank(&stream[here..]));
    }
}

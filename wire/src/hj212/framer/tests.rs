#![allow(clippy::unwrap_used)]
use super::*;

const GOOD: &str =
    "##0085QN=1617936069734;ST=21;CN=1011;PW=123456;MN=DXCBZ000000005;Flag=5;CP=&&PolId=w01018&&4100\r\n";

/// What comes out of a stream: `frame` or the fault's code, and where it starts.
fn told(stream: &str) -> Vec<(&'static str, u64)> {
    let mut framer = Framer::new(1600);
    let mut all = framer.push(stream.as_bytes());
    all.extend(framer.give_up());
    all.iter()
        .map(|piece| match piece {
            Piece::Frame { at, .. } => ("frame", *at),
            Piece::Fault(fault) => (fault.error.code(), fault.at),
        })
        .collect()
}

#[test]
fn every_fault_has_its_name_and_hides_no_frame_behind_it() {
    let n = GOOD.len() as u64;
    for (bad, code) in [
        ("noise\r\n".to_owned(), "garbage"),
        ("##00x5QN=1".to_owned(), "length_not_a_number"),
        ("##1601QN=1".to_owned(), "over_limit"),
        (GOOD.replace("##0085", "##0084"), "length_mismatch"),
        (GOOD.replace("##0085", "##0099"), "length_mismatch"),
        (GOOD[..60].to_owned(), "cut_off"),
        (GOOD.replace("4100", "41x0"), "crc_not_hex"),
        (GOOD.replace("4100", "4101"), "crc_mismatch"),
        (
            "##0076ST=91;CN=9013;PW=123456;MN=ABCDEFG1234567;Flag=0;CP=&&QN=20170516010101001&&1CBA\r\n"
                .to_owned(),
            "crc_modbus",
        ),
    ] {
        let behind = bad.len() as u64;
        let stream = format!("{bad}{GOOD}");
        assert_eq!(told(&stream), [(code, 0), ("frame", behind)], "{bad}");
        let stream = format!("{GOOD}{bad}");
        assert_eq!(told(&stream), [("frame", 0), (code, n)], "{bad}");
    }
}

#[test]
fn what_looks_like_a_head_in_a_text_is_text_where_the_frame_fits() {
    let held = "##0117QN=20261127061540619;ST=21;CN=3020;PW=123456;MN=QN_1;Flag=5;CP=&&DataTime=20261127061540;i11001-Info=//##0100QN=1//&&1C80\r\n";
    let n = held.len() as u64;
    let stream = format!("{GOOD}{held}{GOOD}");
    let want = [
        ("frame", 0),
        ("frame", GOOD.len() as u64),
        ("frame", GOOD.len() as u64 + n),
    ];
    assert_eq!(told(&stream), want);
    // However it is cut, also where its own head is damaged or it is cut off itself.
    let head = held.find("##0100").unwrap() as u64;
    let wrong = held.replace("1C80", "1C81");
    let short = &held[..held.len() - 20];
    for stream in [
        stream.clone(),
        format!("{wrong}{GOOD}"),
        format!("{short}{GOOD}{GOOD}"),
        format!("{held}{held}{wrong}"),
    ] {
        let whole = told(&stream);
        for n in [1, 2, 3, 7, 50] {
            let mut framer = Framer::new(1600);
            let mut pieces: Vec<_> = stream
                .as_bytes()
                .chunks(n)
                .flat_map(|part| framer.push(part))
                .collect();
            pieces.extend(framer.give_up());
            let told: Vec<_> = pieces
                .iter()
                .map(|piece| match piece {
                    Piece::Frame { at, .. } => ("frame", *at),
                    Piece::Fault(fault) => (fault.error.code(), fault.at),
                })
                .collect();
            assert_eq!(told, whole, "{n}: {stream}");
        }
    }
    let told = told(&format!("{wrong}{GOOD}"));
    assert_eq!(
        (told[0], told[1].1, *told.last().unwrap()),
        (("cut_off", 0), head, ("frame", n))
    );
}

#[test]
fn a_cut_frame_does_not_keep_the_next_one_waiting() {
    let mut framer = Framer::default();
    let pieces = framer.push(format!("{}{GOOD}", &GOOD[..60]).as_bytes());
    assert_eq!((pieces.len(), framer.n_waiting()), (2, 0));
    let mut long = Framer::default();
    let pieces = long.push(GOOD.replace("##0085", "##0999").as_bytes());
    assert!(matches!(&pieces[..], [Piece::Fault(fault)] if fault.error.code() == "length_mismatch"));
}

#[test]
fn lower_case_and_long_segments_are_taken_and_told() {
    let data = format!("ST=32;CN=2011;MN=A;CP=&&{}&&", "a-Rtd=1;".repeat(150));
    let value = crc(data.as_bytes());
    let pieces = Framer::default().push(format!("##{:04}{data}{value:04x}\r\n", data.len()).as_bytes());
    let [Piece::Frame { frame, .. }] = &pieces[..] else {
        panic!("{pieces:?}")
    };
    assert!(frame.is_long() && frame.crc == value);
    assert_eq!(
        frame.lower_case,
        format!("{value:x}").contains(|c: char| c.is_ascii_lowercase())
    );
}

#[test]
fn what_waits_is_never_more_than_a_frame() {
    let mut framer = Framer::new(1024);
    for stream in ["#", "##", "##0900", "x", "##0900QN=1;CP=&&{0x"] {
        for _ in 0..3000 {
            framer.push(stream.as_bytes());
            assert!(
                framer.n_waiting() <= 6 + 1024 + 6,
                "{stream}: {}",
                framer.n_waiting()
            );
        }
        framer.give_up();
        assert_eq!(framer.n_waiting(), 0);
    }
}

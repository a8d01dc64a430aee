//! Passwords that are guessed over many connections.

use std::time::Instant;

use onemap_wire::hj212::{Answered, QnRtn};

use super::station::{LIMIT, PW, Station, frame, register, says, server};
use crate::server::{Server, wait_for};

const REFUSED: &str = "onemap_refused_total{reason=\"too_many_guesses\"}";

fn data(server: &Server, from: [u8; 4], mn: &str) -> Option<Answered> {
    let mut station = Station::connect_from(server, from);
    station.send(&says(mn, "1", "2011", "5", ""));
    let segment = station.within(LIMIT)?;
    Answered::of(&segment).map(|(_, answer)| answer)
}

/// Says passwords on new connections until some are not looked at; how many were told to be wrong.
fn guess(server: &Server, from: [u8; 4]) -> u64 {
    let before = server.metric(REFUSED).unwrap_or(0);
    let (mut n_said, mut n_told) = (0, 0);
    wait_for("guesses that are not looked at", LIMIT * 3, || {
        let mut stranger = Station::connect_from(server, from);
        let mut bytes = Vec::new();
        for _ in 0..16 {
            n_said += 1;
            let pw = 654_000 + n_said;
            bytes.extend(frame(&format!(
                "QN={n_said};ST=22;CN=2011;PW={pw};MN=M1;Flag=5;CP=&&&&"
            )));
        }
        stranger.send(&bytes);
        while let Some(segment) = stranger.within(LIMIT) {
            let answer = Answered::of(&segment).unwrap().1;
            assert_eq!(answer, Answered::Request(Some(QnRtn::WrongPw)));
            n_told += 1;
        }
        (server.metric(REFUSED).unwrap_or(0) > before).then_some(())
    });
    n_told
}

#[test]
fn a_stranger_has_few_guesses_over_all_its_connections_and_harms_no_station() {
    let (_folder, server) = server("frames_per_second = 0\n");
    register(&server, "M1");
    register(&server, "M2");
    let mut open = Station::connect(&server);
    open.send(&says("M1", "1", "2011", "5", ""));
    assert!(open.within(LIMIT).is_some());
    let start = Instant::now();
    let n_told = guess(&server, [127, 0, 0, 3]);
    // One a minute comes back.
    let most = 16 + start.elapsed().as_secs() / 60;
    assert!((16..=most).contains(&n_told), "{n_told} of {most}");
    // Who watches over the server is told: of wrong ones, and of those that were not looked at.
    let told = server.get("/api/v1/security/events?kind=device_denied");
    let of = |refusal: &str| {
        let is_of = |event: &&serde_json::Value| {
            let detail = event["detail"].as_str().unwrap_or_default();
            event["subject"] == "hj212 M1" && event["peer"] == "127.0.0.3" && detail.starts_with(refusal)
        };
        told["items"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|event| is_of(&event))
    };
    assert!(of("wrong_password: ") && of("too_many_guesses: "), "{told}");
    assert!(!told.to_string().contains("654"), "{told}");
    // The station has the same password still, where it is and from where it was never.
    open.send(&says("M1", "2", "2011", "5", ""));
    assert!(open.within(LIMIT).is_some());
    for from in [[127, 0, 0, 2], [127, 0, 0, 1]] {
        assert_eq!(data(&server, from, "M1"), Some(Answered::Data));
    }
    server.caught_up();
    let entries = server.get("/api/v1/quarantine?limit=100&reason=too_many_guesses");
    let told = entries["items"][0]["detail"].as_str().unwrap();
    assert!(
        told.contains("M1") && !told.contains(PW) && !told.contains("654"),
        "{told}"
    );
}

#[test]
fn a_frame_with_a_wrong_check_value_is_a_guess_as_well() {
    let (_folder, server) = server("frames_per_second = 0\n");
    register(&server, "M1");
    let start = Instant::now();
    let mut stranger = Station::connect_from(&server, [127, 0, 0, 3]);
    let spoilt = |pw: u32| {
        let mut frame = frame(&format!("QN=1;ST=22;CN=2011;PW={pw:06};MN=M1;Flag=5;CP=&&&&"));
        let n = frame.len();
        frame[n - 3] = if frame[n - 3] == b'0' { b'1' } else { b'0' };
        frame
    };
    // It would be told that the check value is wrong where the password is right.
    stranger.send(&(0..16).flat_map(spoilt).collect::<Vec<u8>>());
    assert!(stranger.is_closed(LIMIT));
    let n_told = guess(&server, [127, 0, 0, 3]);
    assert!(n_told <= start.elapsed().as_secs() / 60, "{n_told}");
    assert_eq!(data(&server, [127, 0, 0, 2], "M1"), Some(Answered::Data));
}

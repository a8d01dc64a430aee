//! Fire transmission devices (GB/T 26875.3) against a real server: acknowledged when durable, each component by itself.

use onemap_wire::gbt26875::reply::Line;
use onemap_wire::gbt26875::{Address, Clock, Component, Frame, Object, System, Text, Time};
use serde_json::json;

use crate::framed::{Client, LIMIT, now, reasons, server};
use crate::server::{Server, wait_for};

/// 889.
const DEVICE: &str = "790300000000";
const SMOKE: Component = Component {
    system: System { kind: 1, address: 1 },
    kind: 40,
    address: [0x0A, 0, 2, 0],
};

fn line(clock: Clock) -> Line {
    Line {
        source: DEVICE.parse().unwrap(),
        destination: Address([0x38, 0x5B, 1, 0, 0, 0]),
        version: [1, 1],
        clock,
    }
}

fn state(sequence: u16, state: u16, clock: Clock) -> Frame {
    let object = Object::ComponentState {
        component: SMOKE,
        state,
        text: Text::padded("一层大厅").unwrap(),
        time: Time::of(now(), clock),
    };
    line(clock).send(sequence, now(), 2, vec![object]).unwrap()
}

fn connect(server: &Server) -> Client<Frame> {
    Client::connect(server, "gbt26875")
}

#[test]
fn a_fire_is_durable_before_it_is_acknowledged_and_is_its_component_s() {
    let (_folder, server) = server("gbt26875", "");
    let more = json!({"profile": "gbt26875-device", "is_gateway": true, "adopts": true});
    server.add_device(DEVICE, &more);
    let mut device = connect(&server);
    // Binary and BCD times, both answered in their own writing.
    for (sequence, bits, clock, alarm) in [(7, 2, Clock::Binary, 1.0), (8, 0, Clock::Bcd, 0.0)] {
        let frame = state(sequence, bits, clock);
        device.send(&frame.encode().unwrap());
        let answer = device.next();
        assert_eq!(
            (answer.sequence, answer.command, answer.data.len()),
            (sequence, 3, 0)
        );
        assert_eq!(
            (answer.source, answer.destination),
            (frame.destination, frame.source)
        );
        let off = answer.time.moment(clock, None).unwrap().ms() - now().ms();
        assert!(off.abs() < 60_000, "{off}");
        server.caught_up();
        let id = format!("{DEVICE}:1.1:0a000200");
        let latest = server.latest(&id, "fire_alarm").unwrap();
        assert_eq!(latest["value"], alarm, "{latest}");
    }
    // What was acknowledged survives a kill, the adopted component too.
    let dir = server.dir.clone();
    let mut server = server;
    server.process.kill();
    let server = Server::start_in(&dir);
    server.caught_up();
    assert!(
        server
            .latest(&format!("{DEVICE}:1.1:0a000200"), "fire_alarm")
            .is_some()
    );
    assert_eq!(reasons(&server), [""; 0]);
}

#[test]
fn what_is_wrong_is_refused_by_name() {
    let (_folder, server) = server("gbt26875", "");
    // Of another protocol first: it does not come in.
    server.add_device(DEVICE, &json!({}));
    let mut device = connect(&server);
    device.send(&state(1, 2, Clock::Binary).encode().unwrap());
    wait_for("the refusal", LIMIT, || {
        (reasons(&server) == ["unknown_device"]).then_some(())
    });
    let path = format!("/api/v1/devices/{DEVICE}");
    let patch = json!({"profile": "gbt26875-device"}).to_string();
    assert_eq!(server.request("PATCH", &path, Some(&patch)).0, 200);
    // No gateway: its components are not taken in its name.
    device.send(&state(2, 2, Clock::Binary).encode().unwrap());
    assert_eq!(device.next().command, 3);
    // A wrong checksum gets nothing, data that do not agree with their count are refused by command 6.
    let mut wrong = state(3, 2, Clock::Binary).encode().unwrap();
    let n = wrong.len();
    wrong[n - 3] ^= 1;
    device.send(&wrong);
    let mut frame = state(4, 2, Clock::Binary);
    frame.data[1] = 9;
    device.send(&frame.encode().unwrap());
    let answer = device.next();
    assert_eq!((answer.sequence, answer.command), (4, 6));
    // A frame that has begun and does not end.
    device.send(&state(5, 2, Clock::Binary).encode().unwrap()[..20]);
    wait_for("the cut frame", LIMIT, || {
        reasons(&server)
            .contains(&"broken_frame".to_owned())
            .then_some(())
    });
    let expected = [
        "broken_frame",
        "crc_mismatch",
        "not_a_gateway",
        "unknown_device",
        "wrong_shape",
    ];
    assert_eq!(reasons(&server), expected);
    device.send(&state(6, 2, Clock::Binary).encode().unwrap());
    assert_eq!(device.next().sequence, 6);
}

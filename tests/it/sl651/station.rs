//! A station of SL 651: what it sends and what it hears.

use onemap_model::Timestamp;
use onemap_wire::sl651::reply::Line;
use onemap_wire::sl651::{
    Body, Content, Decimal, Definition, Element, Encoding, End, Frame, Group, Number, Stamp,
};
use serde_json::{Value, json};

use crate::framed::{Client, now};
use crate::server::{Server, wait_for};

pub const STATION: &str = "0011223344";
pub const PASSWORD: u16 = 0x03E8;

pub use crate::framed::LIMIT;

/// A server with a registered station; `more` stands in its section.
pub fn server(more: &str) -> (tempfile::TempDir, Server) {
    let (folder, server) = crate::framed::server("sl651", more);
    register(&server, "sl651-station");
    (folder, server)
}

pub fn register(server: &Server, profile: &str) {
    server.add_device(STATION, &json!({"profile": profile}));
    let path = format!("/api/v1/devices/{STATION}/token");
    server.post(&path, &json!({"password": "03E8"}));
}

pub fn line(password: u16) -> Line {
    Line {
        station: STATION.parse().unwrap(),
        centre: 5,
        password,
        encoding: Encoding::Hex,
    }
}

/// A value of an identifier with three decimals.
pub fn value(id: u8, thousandths: i64) -> Group {
    Group::Element {
        element: Element(id.into()),
        definition: Definition::new(4, 3),
        values: vec![Number::Value(Decimal {
            digits: thousandths.into(),
            decimals: 3,
        })],
        is_series: false,
    }
}

/// A timed report with its observation time.
pub fn report_at(at: Timestamp, serial: u16, groups: Vec<Group>) -> Frame {
    let mut all = vec![Group::Observed(Stamp::of(at, 10))];
    all.extend(groups);
    line(PASSWORD).report(0x32, serial, now(), all).unwrap()
}

pub fn report(serial: u16, groups: Vec<Group>) -> Frame {
    report_at(now(), serial, groups)
}

/// An answer to a question, with groups behind the station's address.
pub fn says(question: &Frame, serial: u16, groups: Vec<Group>) -> Frame {
    let who = Group::Station {
        station: STATION.parse().unwrap(),
        class: None,
    };
    let content = Content::Groups {
        groups: [vec![who], groups].concat(),
        n_cut: 0,
    };
    answers(question, serial, content)
}

pub fn answers(question: &Frame, serial: u16, content: Content) -> Frame {
    let body = Body {
        serial: Some(serial),
        sent: Some(Stamp::of(now(), 12)),
        content,
    };
    Line::of(question)
        .frame(question.function, End::Etx, &body)
        .unwrap()
}

pub type Station = Client<Frame>;

pub fn connect(server: &Server) -> Station {
    Client::connect(server, "sl651")
}

pub fn send(station: &mut Station, frame: &Frame) {
    station.send(&frame.encode().unwrap());
}

/// What stands in a question.
pub fn content(frame: &Frame) -> Content {
    assert_eq!(frame.end, End::Enq, "{frame:?}");
    frame.read().unwrap().content
}

pub fn order(server: &Server, method: &str, params: &Value, more: &Value) -> u64 {
    let mut body = json!({"device": STATION, "method": method, "params": params});
    for (key, value) in more.as_object().into_iter().flatten() {
        body[key] = value.clone();
    }
    server.post("/api/v1/commands", &body)["id"].as_u64().unwrap()
}

pub fn command(server: &Server, id: u64) -> Value {
    server.get(&format!("/api/v1/commands/{id}"))
}

pub fn is(server: &Server, id: u64, state: &str) -> Value {
    wait_for(&format!("command {id} to be {state}"), LIMIT, || {
        let command = command(server, id);
        (command["state"] == state).then_some(command)
    })
}

pub fn facts(command: &Value) -> Vec<&str> {
    let facts = command["facts"].as_array().unwrap();
    facts.iter().map(|f| f["fact"].as_str().unwrap()).collect()
}

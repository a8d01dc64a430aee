//! How long after a device has said where it is the screens know: from MQTT to the live push and the live tile, on a
//! real server, measured by what the server itself sends.

use std::sync::mpsc;
use std::time::{Duration, Instant, SystemTime};

use rumqttc::{Client, Event, MqttOptions, Packet, QoS};
use serde_json::{Value, json};

use crate::fences::live;
use crate::map::{tile, tile_at};
use crate::server::Server;

/// Sightings of one run.
const N: usize = 30;
/// Moving devices that say where they are meanwhile, each twice a second.
const N_OTHERS: usize = 20;
/// A machine that does other things as well may be late; one that is later than this stands still.
const PATIENCE: Duration = Duration::from_secs(20);

fn now_ms() -> i64 {
    onemap_model::Timestamp::from_system(SystemTime::now()).ms()
}

/// A connection of a device; the second half says when a message is acknowledged.
fn connect(server: &Server, token: &str) -> (Client, mpsc::Receiver<Instant>) {
    let mut options = MqttOptions::new(format!("mover-{token}"), "127.0.0.1", server.mqtt_port);
    options
        .set_credentials(token, "")
        .set_keep_alive(Duration::from_secs(30));
    let (client, mut connection) = Client::new(options, 64);
    let (sender, acks) = mpsc::channel();
    std::thread::spawn(move || {
        for event in connection.iter() {
            match event {
                Ok(Event::Incoming(Packet::PubAck(_))) => {
                    if sender.send(Instant::now()).is_err() {
                        return;
                    }
                }
                Ok(_) => {}
                // The server has gone.
                Err(_) => return,
            }
        }
    });
    (client, acks)
}

fn say(client: &Client, lon: f64) {
    let payload = json!({"ts": now_ms(), "values": {"longitude": lon, "latitude": 36.55}}).to_string();
    let sent = client.publish("v1/devices/me/telemetry", QoS::AtLeastOnce, false, payload);
    sent.unwrap();
}

fn spread(name: &str, mut all: Vec<Duration>) {
    all.sort();
    let at = |part: usize| all[(all.len() - 1) * part / 100].as_millis();
    println!(
        "{name}: n {} p50 {} ms p95 {} ms max {} ms",
        all.len(),
        at(50),
        at(95),
        at(100)
    );
}

#[test]
fn a_device_that_moves_is_on_the_map_soon_after_it_says_so() {
    let server = Server::new();
    let mover = |id: &str| server.add_device(id, &json!({"kind": "truck", "cadence_s": 10}));
    let (client, acks) = connect(&server, &mover("mover"));
    let others: Vec<_> = (0..N_OTHERS)
        .map(|i| connect(&server, &mover(&format!("other-{i}"))))
        .collect();
    let (stop, stopped) = mpsc::channel::<()>();
    let traffic = std::thread::spawn(move || {
        let mut step = 0;
        while stopped.recv_timeout(Duration::from_millis(500)) == Err(mpsc::RecvTimeoutError::Timeout) {
            step += 1;
            others
                .iter()
                .for_each(|(client, _)| say(client, 101.9 + f64::from(step) * 1e-5));
        }
    });
    let events = live(&server, &server.token);
    let [mut acked, mut pushed, mut drawn] = [const { Vec::new() }; 3];
    for i in 0..N {
        let lon = (1_018_000_000 + 1000 * i) as f64 / 1e7;
        let said = Instant::now();
        say(&client, lon);
        acked.push(acks.recv_timeout(PATIENCE).expect("it is acknowledged") - said);
        // The push names its newest place.
        let is_it = |(name, data): &(String, Value)| {
            let moves = data["m"].as_array().filter(|_| name == "moves");
            moves.is_some_and(|moves| moves.iter().any(|m| m[0] == "mover" && m[1] == lon))
        };
        while !is_it(&events.recv_timeout(PATIENCE).expect("the move is pushed")) {}
        pushed.push(said.elapsed());
        // Who asks for the tile then sees it there.
        let (status, head, bytes) = tile(&server, "live", &tile_at(lon, 36.55, 16), None);
        assert_eq!(status, 200, "{head:?}");
        assert!(bytes.windows(5).any(|text| text == b"mover"), "the tile has it");
        drawn.push(said.elapsed());
        // Not in step with the rounds of the push.
        std::thread::sleep(Duration::from_millis(37 * (i as u64 % 11)));
    }
    drop(stop);
    traffic.join().unwrap();
    spread("acknowledged", acked);
    spread("pushed", pushed.clone());
    spread("in the tile", drawn);
    let worst = pushed.into_iter().max().unwrap();
    assert!(
        worst < Duration::from_secs(5),
        "a place was on the stream after {worst:?}"
    );
}

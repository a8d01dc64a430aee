//! The normative statements of MQTT 3.1.1 (its Appendix B) that a server can be held to from outside, each
//! under its number. Neighbouring tests hold some of them too; here is the list.
//!
//! Not here, because no socket shows them:
//! - what clients must do: 2.3.1-2 to -4, 3.1.0-1, 3.1.2-9, -11, -12, -14, -16, -18, -21, -22 (as senders),
//!   3.3.1-1 (client side), 3.8.3-2, 3.10.3-1, 3.14.1-1 (as senders), 3.14.4-1, -2, 4.4.0-1 (client side);
//! - 1.5.3-3 (U+FEFF stays) is held by the topic tables; 3.1.2-2's MQTT 3.1 clients get CONNACK 1 (`connect`);
//! - 3.3.1-12 (what is retained of QoS 0 may be dropped) and 4.5.0-2 (clients) allow, they do not demand;
//! - 4.1.0-1, -2 (state for the life of a session) are shown by every session test and by `it::sessions`,
//!   which kills the process;
//! - 4.2.0-1 (an ordered, lossless stream) is TCP's; 6.0.0-1 to -4 (WebSocket) are in `websocket`;
//! - 4.8.0-2 (transient errors) is `bad_input`, `stop` and the journal's own tests.

use std::time::Duration;

use onemap_model::Refusal;

use crate::client::{Client, Connect, TELEMETRY, packet, publish, subscribe, text, with_id};
use crate::server::{Server, until};

const ME: &str = "v1/devices/me/";

fn kept(device: &str) -> Connect {
    Connect {
        is_clean: false,
        ..Connect::of(device)
    }
}

fn retained(topic: &str, qos: u8, id: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = publish(topic, qos, id, payload);
    bytes[0] |= 1;
    bytes
}

/// A PUBLISH as it came: first byte, topic, packet id (0 for QoS 0), payload.
#[derive(Debug, PartialEq)]
struct Got {
    first: u8,
    topic: String,
    id: u16,
    payload: String,
}

async fn got(client: &mut Client) -> Got {
    let (first, body) = client.packet().await.expect("a PUBLISH");
    assert_eq!(first & 0xF0, 0x30, "a PUBLISH, not {first:#x} {body:?}");
    let length = usize::from(u16::from_be_bytes([body[0], body[1]]));
    let topic = String::from_utf8(body[2..2 + length].to_vec()).unwrap();
    let rest = &body[2 + length..];
    let (id, payload) = match first & 6 {
        0 => (0, rest),
        _ => (u16::from_be_bytes([rest[0], rest[1]]), &rest[2..]),
    };
    Got {
        first,
        topic,
        id,
        payload: String::from_utf8(payload.to_vec()).unwrap(),
    }
}

async fn listen(client: &mut Client, filter: &str, qos: u8) {
    client.send(&subscribe(1, &[(filter, qos)])).await;
    client.expect(0x90, &[0, 1, qos]).await;
}

async fn gone(server: &Server, n_left: u64) {
    until("the connection to be gone", || {
        server.counters.counted().connections == n_left
    })
    .await;
}

/// Sends bytes after a good CONNECT; the connection has to end without an answer.
async fn ends(server: &Server, bytes: &[u8]) {
    let mut client = Client::connect(server.address, &Connect::of("A")).await;
    client.try_send(bytes).await;
    client.expect_end().await;
}

/// Sends bytes first of all; the connection has to end without an answer.
async fn ends_at_once(server: &Server, bytes: &[u8]) {
    let mut client = Client::raw(server.address).await;
    client.try_send(bytes).await;
    client.expect_end().await;
}

fn connect(flags: u8, fields: &[&[u8]]) -> Vec<u8> {
    let mut body = b"\x00\x04MQTT\x04".to_vec();
    body.push(flags);
    body.extend([0, 60]);
    for field in fields {
        body.extend((field.len() as u16).to_be_bytes());
        body.extend(*field);
    }
    packet(0x10, &body)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mqtt_1_5_3_1_and_2_ill_formed_text_and_u0000_end_the_connection() {
    let server = Server::start().await;
    for bad in [
        &b"\xff"[..],
        b"\xed\xa0\x80",
        b"\xed\xbf\xbf",
        b"\xc0\x80",
        b"a\0b",
    ] {
        ends_at_once(&server, &connect(0x82, &[bad, b"token-of-A"])).await;
        ends_at_once(&server, &connect(0x82, &[b"c", bad])).await;
        ends_at_once(&server, &connect(0x86, &[b"c", bad, b"m", b"token-of-A"])).await;
        let mut topic = (bad.len() as u16).to_be_bytes().to_vec();
        topic.extend(bad);
        ends(&server, &packet(0x30, &topic)).await;
        let mut filter = vec![0, 1];
        filter.extend(&topic);
        ends(&server, &packet(0xa2, &filter)).await;
        filter.push(0);
        ends(&server, &packet(0x82, &filter)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mqtt_2_2_2_2_reserved_flags_end_the_connection() {
    let server = Server::start().await;
    for (right, body) in [
        (0x40, vec![0, 1]),
        (0x50, vec![0, 1]),
        (0x62, vec![0, 1]),
        (0x70, vec![0, 1]),
        (0x82, [vec![0, 1], text("v1/devices/me/a"), vec![0]].concat()),
        (0xa2, [vec![0, 1], text("v1/devices/me/a")].concat()),
        (0xc0, vec![]),
        (0xe0, vec![]),
    ] {
        for flags in (0..16).filter(|flags| right & 0x0F != *flags) {
            ends(&server, &packet(right & 0xF0 | flags, &body)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mqtt_2_3_1_1_and_5_packet_ids_are_there_and_not_zero_and_only_with_qos() {
    let server = Server::start().await;
    ends(&server, &publish(TELEMETRY, 1, 0, b"x")).await;
    ends(&server, &publish(TELEMETRY, 2, 0, b"x")).await;
    ends(&server, &subscribe(0, &[("v1/devices/me/a", 0)])).await;
    ends(&server, &packet(0xa2, &[vec![0, 0], text("a")].concat())).await;
    let mut client = Client::connect(server.address, &Connect::of("A")).await;
    listen(&mut client, TELEMETRY, 0).await;
    client.send(&publish(TELEMETRY, 0, 0, b"\x00\x05payload")).await;
    assert_eq!(got(&mut client).await.payload, "\0\u{5}payload");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mqtt_2_3_1_6_and_7_answers_carry_the_id_of_what_they_answer() {
    let server = Server::start().await;
    let mut client = Client::connect(server.address, &Connect::of("A")).await;
    for id in [1, 7, 256, 65_535] {
        client.send(&publish(TELEMETRY, 1, id, b"x")).await;
        client.expect_id(0x40, id).await;
        client.send(&publish(TELEMETRY, 2, id, b"x")).await;
        client.expect_id(0x50, id).await;
        client.send(&with_id(0x62, id)).await;
        client.expect_id(0x70, id).await;
        client.send(&subscribe(id, &[("v1/devices/me/rpc/+", 0)])).await;
        client.expect(0x90, &[(id >> 8) as u8, id as u8, 0]).await;
        let filter = text("v1/devices/me/rpc/+");
        client
            .send(&packet(0xa2, &[&id.to_be_bytes()[..], &filter].concat()))
            .await;
        client.expect_id(0xb0, id).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mqtt_3_1_0_1_and_2_connect_comes_first_and_once() {
    let server = Server::start().await;
    ends_at_once(&server, &publish(TELEMETRY, 0, 0, b"x")).await;
    ends_at_once(&server, b"\xc0\x00").await;
    ends(&server, &Connect::of("A").bytes()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mqtt_3_1_2_1_another_protocol_name_ends_the_connection_without_an_answer() {
    let server = Server::start().await;
    for name in [&b"\x00\x02hj"[..], b"\x00\x04mqtt", b"\x00\x00", b"\x00\x05MQTTX"] {
        let body = [name, b"\x04\x02\x00\x3c\x00\x01c"].concat();
        ends_at_once(&server, &packet(0x10, &body)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mqtt_3_1_2_2_another_level_is_answered_with_1() {
    let server = Server::start().await;
    for level in [3, 5, 0, 255] {
        let connect = Connect {
            level,
            ..Connect::of("A")
        };
        let (mut client, code) = Client::try_connect(server.address, &connect).await;
        assert_eq!(code, Some(1), "level {level}");
        client.expect_end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mqtt_3_1_2_3_and_11_to_24_flags_that_contradict_end_the_connection() {
    let server = Server::start().await;
    let token = &b"token-of-A"[..];
    for (flags, fields) in [
        (0x83, vec![&b"c"[..], token]),        // reserved flag (3.1.2-3)
        (0x8a, vec![b"c", token]),             // will QoS without a will (3.1.2-13)
        (0xa2, vec![b"c", token]),             // will retain without a will (3.1.2-15)
        (0x9e, vec![b"c", b"t", b"m", token]), // will QoS 3 (3.1.2-14)
        (0x86, vec![b"c", token]),             // a will without its fields (3.1.2-9)
        (0x42, vec![b"c", token]),             // a password without a user name (3.1.2-22)
        (0xc2, vec![b"c", token]),             // no password behind its flag (3.1.2-21)
        (0x02, vec![b"c", token]),             // a user name without its flag (3.1.2-18)
        (0x82, vec![b"c", token, b"p"]),       // a password without its flag (3.1.2-20)
        (0x82, vec![b"c"]),                    // no user name behind its flag (3.1.2-19)
        (0x82, vec![]),                        // no client id (3.1.3-3)
    ] {
        ends_at_once(&server, &connect(flags, &fields)).await;
    }
    let mut client = Client::raw(server.address).await;
    client.send(&connect(0xc2, &[b"c", token, b"\xff\xfe"])).await;
    client.expect(0x20, &[0, 0]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mqtt_3_1_2_4_to_6_sessions_are_resumed_or_begun_anew_as_asked() {
    let server = Server::start().await;
    let (mut client, is_present) = Client::resume(server.address, &kept("A")).await;
    assert!(!is_present);
    listen(&mut client, "v1/devices/me/rpc/+", 1).await;
    drop(client);
    gone(&server, 0).await;
    assert_eq!(server.fanout.publish("d/A/rpc/1", "while away", 1), 1);
    assert_eq!(server.fanout.publish("d/A/rpc/2", "of QoS 0", 0), 0);
    let (mut client, is_present) = Client::resume(server.address, &kept("A")).await;
    assert!(is_present);
    assert_eq!(client.message().await.1, b"while away");
    server.fanout.publish("d/A/rpc/3", "still subscribed", 1);
    assert_eq!(client.message().await.1, b"still subscribed");
    drop(client);
    gone(&server, 0).await;
    let (mut clean, is_present) = Client::resume(server.address, &Connect::of("A")).await;
    assert!(!is_present);
    assert_eq!(server.fanout.publish("d/A/rpc/4", "to nobody", 1), 0);
    clean.ping().await;
    drop(clean);
    gone(&server, 0).await;
    assert!(
        !Client::resume(server.address, &kept("A")).await.1,
        "the clean one discarded it"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mqtt_3_1_2_7_and_3_3_1_10_retained_messages_are_no_part_of_a_session() {
    let server = Server::start().await;
    let mut client = Client::connect(server.address, &Connect::of("A")).await;
    client.send(&retained(TELEMETRY, 1, 1, b"stays")).await;
    client.expect_id(0x40, 1).await;
    drop(client);
    gone(&server, 0).await;
    let mut client = Client::connect(server.address, &Connect::of("A")).await;
    listen(&mut client, TELEMETRY, 1).await;
    assert_eq!(got(&mut client).await.payload, "stays");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mqtt_3_1_2_8_and_17_the_will_is_published_as_it_was_given_unless_the_client_says_goodbye() {
    let server = Server::start().await;
    let mut desk = Client::connect(
        server.address,
        &Connect {
            client_id: "desk".into(),
            ..Connect::of("A")
        },
    )
    .await;
    listen(&mut desk, "v1/devices/me/#", 2).await;
    let will = |flags: u8| connect(flags, &[b"w", b"v1/devices/me/left", b"gone", b"token-of-A"]);
    // QoS 1, retained; the connection just breaks.
    let mut client = Client::raw(server.address).await;
    client.send(&will(0x82 | 4 | 1 << 3 | 0x20)).await;
    client.expect(0x20, &[0, 0]).await;
    drop(client);
    let first = got(&mut desk).await;
    assert_eq!(
        (first.first, first.payload.as_str()),
        (0x32, "gone"),
        "not as retained (3.3.1-9)"
    );
    desk.send(&with_id(0x40, first.id)).await;
    // A protocol error.
    let mut client = Client::raw(server.address).await;
    client.send(&will(0x82 | 4)).await;
    client.expect(0x20, &[0, 0]).await;
    client.send(b"\xf0\x00").await;
    assert_eq!(got(&mut desk).await.first, 0x30);
    // DISCONNECT (3.14.4-3).
    let mut client = Client::raw(server.address).await;
    client.send(&will(0x82 | 4)).await;
    client.expect(0x20, &[0, 0]).await;
    client.send(b"\xe0\x00").await;
    client.expect_end().await;
    desk.ping().await;
    let mut late = Client::connect(
        server.address,
        &Connect {
            client_id: "late".into(),
            ..Connect::of("A")
        },
    )
    .await;
    listen(&mut late, "v1/devices/me/left", 0).await;
    let stayed = got(&mut late).await;
    assert_eq!((stayed.first, stayed.payload.as_str()), (0x31, "gone"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mqtt_3_1_2_24_keep_alive_is_one_and_a_half_and_its_end_publishes_the_will() {
    let server = Server::start().await;
    let mut desk = Client::connect(
        server.address,
        &Connect {
            client_id: "desk".into(),
            keep_alive: 0,
            ..Connect::of("A")
        },
    )
    .await;
    listen(&mut desk, "v1/devices/me/left", 1).await;
    let connect = Connect {
        keep_alive: 1,
        will: Some(("v1/devices/me/left".into(), "silent".into())),
        ..Connect::of("A")
    };
    let start = std::time::Instant::now();
    let mut silent = Client::connect(server.address, &connect).await;
    silent.expect_end().await;
    let after = start.elapsed();
    assert!(after >= Duration::from_millis(1450), "{after:?}");
    assert_eq!(got(&mut desk).await.payload, "silent");
    desk.ping().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mqtt_3_1_3_5_to_8_client_ids_of_every_length_and_none_only_for_clean_sessions() {
    let server = Server::start().await;
    for client_id in ["a", "abcdefghijklmnopqrstuvw", "0123456789ABCDEFGHIJKLM", "a/b #"] {
        let connect = Connect {
            client_id: client_id.into(),
            ..Connect::of("A")
        };
        Client::connect(server.address, &connect).await.ping().await;
    }
    let empty = |is_clean| Connect {
        client_id: String::new(),
        is_clean,
        ..Connect::of("A")
    };
    // Each gets a name of its own.
    let mut first = Client::connect(server.address, &empty(true)).await;
    let mut second = Client::connect(server.address, &empty(true)).await;
    first.ping().await;
    second.ping().await;
    let (mut refused, code) = Client::try_connect(server.address, &empty(false)).await;
    assert_eq!(code, Some(2));
    refused.expect_end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mqtt_3_1_4_2_a_client_that_comes_again_ends_its_former_connection() {
    let server = Server::start().await;
    for connect in [Connect::of("A"), kept("A")] {
        let mut old = Client::connect(server.address, &connect).await;
        let mut new = Client::resume(server.address, &connect).await.0;
        old.expect_end().await;
        new.ping().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mqtt_3_1_4_5_and_3_2_0_1_what_follows_connect_at_once_is_answered_after_connack() {
    let server = Server::start().await;
    for connect in [Connect::of("A"), kept("A")] {
        let mut client = Client::raw(server.address).await;
        let mut bytes = connect.bytes();
        bytes.extend(b"\xc0\x00");
        bytes.extend(publish(TELEMETRY, 1, 5, b"x"));
        client.send(&bytes).await;
        client.expect(0x20, &[0, 0]).await;
        let mut next = vec![client.packet().await.unwrap().0, client.packet().await.unwrap().0];
        next.sort_unstable();
        assert_eq!(next, [0x40, 0xd0]);
    }
    // A refused client's further packets are not looked at.
    let mut client = Client::raw(server.address).await;
    let wrong = Connect {
        token: Some("wrong".into()),
        ..Connect::of("A")
    };
    let n_before = server.frames().len();
    client
        .try_send(&[wrong.bytes(), publish(TELEMETRY, 0, 0, b"x")].concat())
        .await;
    client.expect(0x20, &[0, 4]).await;
    client.expect_end().await;
    assert_eq!(server.frames().len(), n_before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mqtt_3_2_2_1_to_6_connack_says_present_only_what_is_and_codes_close() {
    let server = Server::start().await;
    assert!(!Client::resume(server.address, &kept("A")).await.1);
    gone(&server, 0).await;
    assert!(Client::resume(server.address, &kept("A")).await.1);
    gone(&server, 0).await;
    let wrong = Connect {
        token: Some("wrong".into()),
        ..kept("A")
    };
    // Session present is 0 with any code but 0: `try_connect` looks.
    let (mut client, code) = Client::try_connect(server.address, &wrong).await;
    assert_eq!(code, Some(4));
    client.expect_end().await;
    assert!(!Client::resume(server.address, &Connect::of("A")).await.1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mqtt_3_3_1_1_and_4_4_0_1_what_was_not_acknowledged_comes_again_with_dup_and_its_id() {
    let server = Server::start().await;
    let mut client = Client::connect(server.address, &kept("A")).await;
    listen(&mut client, "v1/devices/me/rpc/+", 2).await;
    for (i, qos) in [1, 2, 2, 1].into_iter().enumerate() {
        server.fanout.publish(&format!("d/A/rpc/{i}"), i.to_string(), qos);
    }
    let mut firsts = Vec::new();
    for _ in 0..4 {
        let message = got(&mut client).await;
        assert_eq!(message.first & 8, 0, "the first time without DUP");
        firsts.push(message);
    }
    // PUBREC for the first of QoS 2: from then on it is the PUBREL that comes again.
    let received = firsts.iter().find(|m| m.payload == "1").unwrap().id;
    client.send(&with_id(0x50, received)).await;
    client.expect_id(0x62, received).await;
    drop(client);
    gone(&server, 0).await;
    let mut client = Client::connect(server.address, &kept("A")).await;
    for sent in &firsts {
        if sent.id == received {
            client.expect_id(0x62, received).await;
            continue;
        }
        let again = got(&mut client).await;
        assert_eq!(again.first, sent.first | 8);
        assert_eq!(
            (again.id, &again.payload),
            (sent.id, &sent.payload),
            "in the order it was sent (4.6.0-1)"
        );
    }
    client.send(&with_id(0x70, received)).await;
    for sent in firsts.iter().filter(|m| m.id != received) {
        if sent.first & 6 == 2 {
            client.send(&with_id(0x40, sent.id)).await;
        } else {
            client.send(&with_id(0x50, sent.id)).await;
            client.expect_id(0x62, sent.id).await;
            client.send(&with_id(0x70, sent.id)).await;
        }
    }
    client.ping().await;
    drop(client);
    gone(&server, 0).await;
    Client::connect(server.address, &kept("A")).await.ping().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mqtt_3_3_1_2_and_4_flags_that_cannot_be_end_the_connection() {
    let server = Server::start().await;
    let mut dup = publish(TELEMETRY, 0, 0, b"x");
    dup[0] |= 8;
    ends(&server, &dup).await;
    let mut qos_3 = publish(TELEMETRY, 2, 1, b"x");
    qos_3[0] |= 6;
    ends(&server, &qos_3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mqtt_3_3_1_3_dup_of_the_publisher_is_not_passed_on() {
    let server = Server::start().await;
    let mut client = Client::connect(server.address, &Connect::of("A")).await;
    listen(&mut client, TELEMETRY, 1).await;
    let mut dup = publish(TELEMETRY, 1, 9, b"x");
    dup[0] |= 8;
    client.send(&dup).await;
    client.expect_id(0x40, 9).await;
    assert_eq!(got(&mut client).await.first, 0x32);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mqtt_3_3_1_5_to_11_and_3_8_4_3_retained_messages() {
    let server = Server::start().await;
    let mut client = Client::connect(server.address, &Connect::of("A")).await;
    for (i, qos) in [0, 1, 2].into_iter().enumerate() {
        let topic = format!("{ME}r/{i}");
        client.send(&retained(&topic, qos, 9, b"old")).await;
        client
            .send(&retained(&topic, qos, 10, format!("of {qos}").as_bytes()))
            .await;
        for id in [9, 10] {
            match qos {
                0 => continue,
                1 => client.expect_id(0x40, id).await,
                _ => client.expect_id(0x50, id).await,
            }
        }
        if qos == 2 {
            client.send(&[with_id(0x62, 9), with_id(0x62, 10)].concat()).await;
            client.expect_id(0x70, 9).await;
            client.expect_id(0x70, 10).await;
        }
    }
    until("all to be journaled", || server.payloads().len() == 6).await;
    // A new subscription gets them with RETAIN and the smaller QoS, and so does the same one again (3.8.4-3).
    for _ in 0..2 {
        listen(&mut client, "v1/devices/me/r/+", 1).await;
        for (i, first) in [(0, 0x31), (1, 0x33), (2, 0x33)] {
            let message = got(&mut client).await;
            assert_eq!((message.first, message.payload), (first, format!("of {i}")));
            if message.id > 0 {
                client.send(&with_id(0x40, message.id)).await;
            }
        }
    }
    // Who is subscribed gets it as any other (3.3.1-9), with no payload too; and then nothing is retained.
    client.send(&retained("v1/devices/me/r/1", 0, 0, b"")).await;
    let message = got(&mut client).await;
    assert_eq!((message.first, message.payload.as_str()), (0x30, ""));
    client
        .send(&publish("v1/devices/me/r/0", 0, 0, b"not retained"))
        .await;
    assert_eq!(got(&mut client).await.first, 0x30);
    let mut late = Client::connect(
        server.address,
        &Connect {
            client_id: "late".into(),
            ..Connect::of("A")
        },
    )
    .await;
    listen(&mut late, "v1/devices/me/r/#", 0).await;
    assert_eq!(got(&mut late).await.payload, "of 0");
    assert_eq!(got(&mut late).await.payload, "of 2");
    late.ping().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mqtt_3_3_2_1_to_3_topics_are_text_without_wildcards_and_come_as_they_were_sent() {
    let server = Server::start().await;
    for bad in ["v1/devices/me/+", "v1/devices/me/#", "v1/devices/me/a+b", ""] {
        ends(&server, &publish(bad, 0, 0, b"x")).await;
    }
    let mut client = Client::connect(server.address, &Connect::of("A")).await;
    listen(&mut client, "v1/devices/me/#", 0).await;
    for topic in ["a", "/", "a//b", "\u{feff}", "温度", "A", "a "] {
        let topic = format!("{ME}{topic}");
        client.send(&publish(&topic, 0, 0, b"x")).await;
        assert_eq!(got(&mut client).await.topic, topic);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mqtt_3_3_5_1_and_3_8_4_6_overlapping_filters_deliver_once_with_the_highest_qos() {
    let server = Server::start().await;
    let mut client = Client::connect(server.address, &Connect::of("A")).await;
    let filters = [
        ("v1/devices/me/rpc/#", 2),
        ("v1/devices/me/rpc/+", 1),
        ("v1/devices/me/#", 0),
    ];
    client.send(&subscribe(1, &filters)).await;
    client.expect(0x90, &[0, 1, 2, 1, 0]).await;
    for (published, delivered) in [(0, 0x30), (1, 0x32), (2, 0x34)] {
        assert_eq!(server.fanout.publish("d/A/rpc/1", "x", published), 1);
        assert_eq!(got(&mut client).await.first, delivered);
    }
    client.ping().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mqtt_3_3_5_2_a_publish_that_is_not_allowed_ends_the_connection() {
    let server = Server::start().await;
    ends(&server, &publish("d/B/telemetry", 1, 1, b"x")).await;
    assert_eq!(server.counters.refused(Refusal::ForeignTopic), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mqtt_3_6_1_1_and_3_10_1_1_reserved_bits_of_pubrel_and_unsubscribe() {
    let server = Server::start().await;
    ends(&server, &with_id(0x60, 1)).await;
    ends(&server, &packet(0xa0, &[vec![0, 1], text("a")].concat())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mqtt_3_8_1_1_and_3_8_3_1_to_4_a_malformed_subscribe_ends_the_connection() {
    let server = Server::start().await;
    let filter = text("v1/devices/me/a");
    for bytes in [
        packet(0x80, &[&[0, 1][..], &filter, &[0]].concat()),
        packet(0x82, &[0, 1]),
        packet(0x82, &[&[0, 1][..], &filter].concat()),
        packet(0x82, &[&[0, 1][..], &filter, &[3]].concat()),
        packet(0x82, &[&[0, 1][..], &filter, &[4]].concat()),
        packet(0x82, &[&[0, 1][..], &filter, &[0x80]].concat()),
    ] {
        ends(&server, &bytes).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mqtt_3_8_4_1_to_6_and_3_9_3_1_suback_grants_each_filter_or_refuses_it_in_order() {
    let server = Server::start().await;
    let mut client = Client::connect(server.address, &Connect::of("A")).await;
    let filters = [
        ("v1/devices/me/a", 0),
        ("d/B/a", 1),
        ("v1/devices/me/b", 1),
        ("v1/devices/me/c", 2),
        ("#", 0),
        ("$share/g/v1/devices/me/d", 1),
    ];
    client.send(&subscribe(513, &filters)).await;
    client.expect(0x90, &[2, 1, 0, 0x80, 1, 2, 0x80, 1]).await;
    // The same filter again replaces the former one.
    listen(&mut client, "v1/devices/me/c", 0).await;
    server.fanout.publish("d/A/c", "x", 2);
    assert_eq!(got(&mut client).await.first, 0x30);
    client.ping().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mqtt_3_10_3_2_and_3_10_4_1_to_6_unsubscribe() {
    let server = Server::start().await;
    ends(&server, &packet(0xa2, &[0, 1])).await;
    let mut client = Client::connect(server.address, &Connect::of("A")).await;
    let filters = [("v1/devices/me/a/+", 1), ("v1/devices/me/a/b", 0)];
    client.send(&subscribe(1, &filters)).await;
    client.expect(0x90, &[0, 1, 1, 0]).await;
    server.fanout.publish("d/A/a/b", "in flight", 1);
    let message = got(&mut client).await;
    // Filters are compared byte by byte (3.10.4-1); one answer for all, and for none (3.10.4-5, -6).
    let unsubscribe = |filters: &[&str]| {
        let filters: Vec<u8> = filters.iter().flat_map(|filter| text(filter)).collect();
        packet(0xa2, &[&[0, 7][..], &filters].concat())
    };
    client
        .send(&unsubscribe(&[
            "v1/devices/me/a/#",
            "v1/devices/me/A/+",
            "nobody's",
        ]))
        .await;
    client.expect_id(0xb0, 7).await;
    assert_eq!(server.fanout.publish("d/A/a/c", "still", 0), 1);
    assert_eq!(got(&mut client).await.payload, "still");
    client
        .send(&unsubscribe(&["v1/devices/me/a/+", "v1/devices/me/a/b"]))
        .await;
    client.expect_id(0xb0, 7).await;
    assert_eq!(server.fanout.publish("d/A/a/b", "x", 1), 0);
    // What was being delivered is completed (3.10.4-3).
    client.send(&with_id(0x40, message.id)).await;
    client.ping().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mqtt_3_12_4_1_pingreq_is_answered() {
    let server = Server::start().await;
    let mut client = Client::connect(server.address, &Connect::of("A")).await;
    for _ in 0..3 {
        client.ping().await;
    }
    ends(&server, b"\xc0\x01\x00").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mqtt_3_14_1_1_disconnect_with_reserved_bits_is_a_protocol_error() {
    let server = Server::start().await;
    ends(&server, b"\xe1\x00").await;
    assert_eq!(server.counters.refused(Refusal::MalformedPacket), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mqtt_4_3_2_and_4_3_3_qos_2_out_is_delivered_once() {
    let server = Server::start().await;
    let mut client = Client::connect(server.address, &Connect::of("A")).await;
    listen(&mut client, "v1/devices/me/rpc/+", 2).await;
    server.fanout.publish("d/A/rpc/1", "once", 2);
    let message = got(&mut client).await;
    assert_eq!(message.first, 0x34);
    client.send(&with_id(0x50, message.id)).await;
    client.expect_id(0x62, message.id).await;
    // PUBREC again, as after a lost PUBREL: the answer comes again, the message does not.
    client.send(&with_id(0x50, message.id)).await;
    client.expect_id(0x62, message.id).await;
    client.send(&with_id(0x70, message.id)).await;
    client.ping().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mqtt_4_5_0_1_messages_of_qos_1_and_2_reach_every_session_that_subscribed() {
    let server = Server::start().await;
    let name = |client_id: &str| Connect {
        client_id: client_id.into(),
        ..kept("A")
    };
    let mut away = Client::connect(server.address, &name("away")).await;
    let mut here = Client::connect(server.address, &name("here")).await;
    for client in [&mut away, &mut here] {
        listen(client, TELEMETRY, 1).await;
    }
    drop(away);
    gone(&server, 1).await;
    here.send(&publish(TELEMETRY, 1, 3, b"to all")).await;
    here.expect_id(0x40, 3).await;
    assert_eq!(here.message().await.1, b"to all");
    let mut away = Client::connect(server.address, &name("away")).await;
    assert_eq!(away.message().await.1, b"to all");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mqtt_4_6_0_2_to_6_answers_and_messages_keep_their_order() {
    let server = Server::start().await;
    let mut client = Client::connect(server.address, &kept("A")).await;
    listen(&mut client, "v1/devices/me/note/+", 2).await;
    let mut bytes = Vec::new();
    for id in 1..=300u16 {
        bytes.extend(publish("v1/devices/me/note/1", 2, id, id.to_string().as_bytes()));
    }
    client.send(&bytes).await;
    let (mut next_answer, mut next_message) = (1u16, 1u16);
    let mut n_completed = 0;
    while n_completed < 300 {
        let (first, body) = client.packet().await.expect("the connection stays");
        let id = |at: usize| u16::from_be_bytes([body[at], body[at + 1]]);
        match first {
            0x50 => {
                assert_eq!(
                    id(0),
                    next_answer,
                    "PUBREC in the order of the messages (4.6.0-2)"
                );
                next_answer += 1;
                client.send(&with_id(0x62, id(0))).await;
            }
            0x70 => {}
            0x34 => {
                let at = 2 + usize::from(id(0));
                let payload = std::str::from_utf8(&body[at + 2..]).unwrap();
                assert_eq!(
                    payload,
                    next_message.to_string(),
                    "in the publisher's order (4.6.0-6)"
                );
                next_message += 1;
                client.send(&with_id(0x50, id(at))).await;
            }
            0x62 => {
                client.send(&with_id(0x70, id(0))).await;
                n_completed += 1;
            }
            other => panic!("{other:#x}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mqtt_4_7_2_1_dollar_topics_are_not_met_by_wildcards() {
    use onemap_ingest::mqtt::{Acl, AclEntry, Who};
    let server = Server::with(
        |config| {
            config.allow_anonymous = true;
            let list = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
            let entry = AclEntry {
                who: Who::Anonymous,
                publish: list(&["#", "$TopicA/#"]),
                subscribe: list(&["#", "$SYS/#", "$TopicA/#"]),
                deny_publish: Vec::new(),
                deny_subscribe: list(&["nosubscribe"]),
            };
            config.acl = Acl::new(vec![entry]).unwrap();
        },
        |_| {},
    )
    .await;
    let anonymous = |client_id: &str| Connect {
        client_id: client_id.into(),
        token: None,
        ..Connect::of("A")
    };
    let mut client = Client::connect(server.address, &anonymous("one")).await;
    let filters = [
        ("#", 0),
        ("+/B", 0),
        ("nosubscribe", 0),
        ("d/A/telemetry", 0),
        ("$share/g/x", 0),
    ];
    client.send(&subscribe(1, &filters)).await;
    client.expect(0x90, &[0, 1, 0, 0, 0x80, 0x80, 0]).await;
    client.send(&publish("$TopicA/B", 1, 2, b"hidden")).await;
    client.expect_id(0x40, 2).await;
    // What is denied does not come by a wider filter, nor does what devices say.
    client.send(&publish("nosubscribe", 1, 3, b"hidden")).await;
    client.expect_id(0x40, 3).await;
    let mut device = Client::connect(server.address, &Connect::of("A")).await;
    device.send(&publish(TELEMETRY, 1, 4, b"hidden")).await;
    device.expect_id(0x40, 4).await;
    client.send(&publish("TopicA/B", 0, 0, b"seen")).await;
    assert_eq!(got(&mut client).await.payload, "seen");
    let mut other = Client::connect(server.address, &anonymous("two")).await;
    listen(&mut other, "$SYS/broker/version", 0).await;
    let version = got(&mut other).await;
    assert!(
        version.first == 0x31 && version.payload.starts_with("onemap "),
        "{version:?}"
    );
    listen(&mut other, "$TopicA/+", 0).await;
    client.send(&publish("$TopicA/B", 0, 0, b"asked for")).await;
    assert_eq!(got(&mut other).await.payload, "asked for");
    // Nobody without a name speaks for a device.
    let mut liar = Client::connect(server.address, &anonymous("three")).await;
    liar.try_send(&publish("d/A/telemetry", 0, 0, b"x")).await;
    liar.expect_end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mqtt_4_7_3_1_to_4_and_4_7_1_topic_filters() {
    let server = Server::start().await;
    let mut client = Client::connect(server.address, &Connect::of("A")).await;
    for bad in [
        "",
        "v1/devices/me/a#",
        "v1/devices/me/#/a",
        "v1/devices/me/a+",
        "v1/devices/me/+a/b",
    ] {
        client.send(&subscribe(1, &[(bad, 0)])).await;
        client.expect(0x90, &[0, 1, 0x80]).await;
    }
    for (filter, topic, meets) in [
        ("a/+", "a/b", true),
        ("a/+", "a", false),
        ("a/+", "a/", true),
        ("a/#", "a", true),
        ("+/b", "/b", true),
        ("a", "A", false),
        ("a", "/a", false),
        ("a/+/c", "a//c", true),
    ] {
        let filter = format!("{ME}{filter}");
        listen(&mut client, &filter, 0).await;
        let n = server.fanout.publish(&format!("d/A/{topic}"), "x", 0);
        assert_eq!(n, usize::from(meets), "{filter} {topic}");
        if meets {
            assert_eq!(got(&mut client).await.topic, format!("{ME}{topic}"));
        }
        client
            .send(&packet(0xa2, &[vec![0, 2], text(&filter)].concat()))
            .await;
        client.expect_id(0xb0, 2).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mqtt_4_8_0_1_a_protocol_error_ends_the_connection_and_no_other() {
    let server = Server::start().await;
    let mut bystander = Client::connect(server.address, &Connect::of("B")).await;
    ends(&server, b"\xf0\x00").await;
    bystander.ping().await;
}

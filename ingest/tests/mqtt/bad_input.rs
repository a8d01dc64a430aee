//! What is wrong is named, counted and kept; its sender is cut off, everyone else is not.

use onemap_model::Refusal;

use crate::client::{Client, Connect, TELEMETRY, packet, publish, subscribe, text, with_id};
use crate::server::{PATIENCE, Server, until};

/// Sends bytes after a good CONNECT and one good publish, and gives what was kept of them.
async fn cut_off(server: &Server, refusal: Refusal, bytes: &[u8]) -> crate::server::Kept {
    let before = server.counters.refused(refusal);
    let n_before = server.frames().len();
    let mut client = Client::connect(server.address, &Connect::of("A")).await;
    client.send(&publish(TELEMETRY, 1, 1, b"good")).await;
    client.expect_id(0x40, 1).await;
    client.try_send(bytes).await;
    client.expect_end().await;
    assert_eq!(server.counters.refused(refusal), before + 1, "{bytes:.40x?}");
    until("the refused bytes", || server.frames().len() == n_before + 2).await;
    let kept = server.frames().pop().unwrap();
    assert_eq!(
        (kept.refused, kept.device.as_str()),
        (Some(refusal), "A"),
        "{bytes:.40x?}"
    );
    kept
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn packets_that_no_client_may_send_close_their_connection_only() {
    let server = Server::start().await;
    let mut bystander = Client::connect(server.address, &Connect::of("B")).await;
    let cases = [
        with_id(0x20, 0),                         // CONNACK
        with_id(0xb0, 1),                         // UNSUBACK
        packet(0x90, &[0, 1, 0]),                 // SUBACK
        packet(0xd0, &[]),                        // PINGRESP
        packet(0x00, &[]),                        // type 0
        packet(0xf0, &[]),                        // type 15, AUTH of v5
        packet(0x36, &[0, 1, b'a', 0, 1]),        // QoS 3
        packet(0x32, &[0, 1, b'a', 0, 0]),        // packet id 0
        packet(0x30, &[0, 9, b'a']),              // topic longer than the packet
        packet(0x80, &[0, 1, 0, 1, b'a', 0]),     // SUBSCRIBE with wrong flags
        packet(0x82, &[0, 1]),                    // SUBSCRIBE without a filter
        packet(0x82, &[0, 1, 0, 1, b'a', 3]),     // SUBSCRIBE with QoS 3
        packet(0xa2, &[0, 1]),                    // UNSUBSCRIBE without a filter
        packet(0xa2, &[0]),                       // UNSUBSCRIBE of one byte
        packet(0xa2, &[0, 1, 0, 9, b'a']),        // UNSUBSCRIBE with a filter too long
        packet(0x40, &[]),                        // PUBACK of nothing
        packet(0x38, &[0, 1, b'a']),              // QoS 0 with DUP
        packet(0x82, &[0, 0, 0, 1, b'a', 0]),     // SUBSCRIBE with packet id 0
        packet(0x82, &[0, 1, 0, 1, b'a', 4]),     // SUBSCRIBE with a reserved bit
        packet(0x82, &[0, 1, 0, 1, 0, 0]),        // SUBSCRIBE with U+0000
        packet(0xa2, &[0, 0, 0, 1, b'a']),        // UNSUBSCRIBE with packet id 0
        packet(0xc0, &[0]),                       // PINGREQ with a body
        packet(0xe0, &[0]),                       // DISCONNECT with a body
        with_id(0x40, 0),                         // PUBACK of packet id 0
        b"\x30\xff\xff\xff\xff\x01".to_vec(),     // a length of five bytes
        publish("v1/devices/me/+", 0, 0, b"x"),   // wildcard in a topic
        publish("", 0, 0, b"x"),                  // no topic
        packet(0x30, b"\x00\x02\xff\xfepayload"), // a topic that is not UTF-8
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
    ];
    for bytes in cases {
        let kept = cut_off(&server, Refusal::MalformedPacket, &bytes).await;
        assert_eq!(kept.payload, bytes);
        bystander.ping().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_bytes_before_connect_do_no_harm_either() {
    let server = Server::start().await;
    for bytes in [
        with_id(0x20, 0),
        with_id(0xb0, 1),
        publish(TELEMETRY, 1, 1, b"x"),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(), // a TLS client hello
        b"\x10\x04\x00\x02MQ".to_vec(),
        b"\x10\xff\xff\xff\x7f".to_vec(), // a CONNECT of 256 MiB
        packet(0x10, b"\x00\x04MQTT\x04\x01\x00\x3c\x00\x00"), // reserved flag
        packet(0x10, b"\x00\x04MQTT\x04\x42\x00\x3c\x00\x00\x00\x01x"), // password alone
        packet(0x10, b"\x00\x04MQTT\x04\x1e\x00\x3c\x00\x00\x00\x01t\x00\x00"), // will of QoS 3
        packet(0x10, &[]),
        vec![0; 5000],
    ] {
        let before = server.counters.refused(Refusal::MalformedPacket);
        let mut client = Client::raw(server.address).await;
        client.try_send(&bytes).await;
        client.expect_end().await;
        assert_eq!(
            server.counters.refused(Refusal::MalformedPacket),
            before + 1,
            "{bytes:.40x?}"
        );
    }
    assert!(
        server
            .frames()
            .iter()
            .all(|f| f.payload.len() <= 4096 && f.device.is_empty())
    );
    Client::connect(server.address, &Connect::of("A"))
        .await
        .ping()
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_connect_ends_the_connection_and_its_token_is_not_kept() {
    let server = Server::start().await;
    let kept = cut_off(&server, Refusal::MalformedPacket, &Connect::of("A").bytes()).await;
    assert!(kept.payload.len() < 16 && !kept.payload.windows(5).any(|w| w == b"token"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_topic_is_refused_and_kept_and_reaches_nobody() {
    let server = Server::start().await;
    let mut b = Client::connect(server.address, &Connect::of("B")).await;
    b.send(&subscribe(1, &[("v1/devices/me/#", 1), ("onemap/v1/B/#", 1)]))
        .await;
    b.expect(0x90, &[0, 1, 1, 1]).await;
    for topic in ["d/B/telemetry", "onemap/v1/B/readings", "anything", "$SYS/x"] {
        let kept = cut_off(
            &server,
            Refusal::ForeignTopic,
            &publish(topic, 1, 2, &[b'z'; 9000]),
        )
        .await;
        assert_eq!(kept.topic, topic);
        assert_eq!(kept.payload, [b'z'; 4096]);
        let detail = format!("publish to `{topic}`, which is not the device's own");
        assert_eq!(kept.detail, detail);
    }
    let of_gateways = publish("v1/gateway/telemetry", 1, 2, b"z");
    let kept = cut_off(&server, Refusal::NotAGateway, &of_gateways).await;
    assert_eq!(kept.topic, "v1/gateway/telemetry");
    b.ping().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_over_size_packet_is_refused_before_it_is_read() {
    let server = Server::start().await;
    let payload = vec![b'x'; 1 << 20];
    let bytes = publish(TELEMETRY, 1, 2, &payload);
    let kept = cut_off(&server, Refusal::OverSize, &bytes).await;
    assert_eq!(kept.payload, bytes[..4096]);
    assert_eq!(kept.topic, TELEMETRY);
    assert!(
        kept.detail.ends_with("is over the limit of 262144"),
        "{}",
        kept.detail
    );
    // The largest that is taken.
    let mut client = Client::connect(server.address, &Connect::of("A")).await;
    let room = (256 << 10) - 2 - TELEMETRY.len() - 2;
    client.send(&publish(TELEMETRY, 1, 3, &payload[..room])).await;
    client.expect_id(0x40, 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_ends_inside_a_packet_leaves_what_came() {
    let server = Server::start().await;
    let mut client = Client::connect(server.address, &Connect::of("A")).await;
    let bytes = publish(TELEMETRY, 1, 1, b"{\"temperature\":21.5}");
    client.send(&bytes[..bytes.len() - 3]).await;
    drop(client);
    let kept = server.refused(Refusal::MalformedPacket).await;
    assert_eq!(kept.payload, bytes[..bytes.len() - 3]);
    assert_eq!(kept.detail, "the connection ended inside a packet");
    assert_eq!(server.counters.refused(Refusal::MalformedPacket), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn good_publishes_before_a_bad_packet_are_kept_and_acknowledged() {
    let server = Server::start().await;
    let mut client = Client::connect(server.address, &Connect::of("A")).await;
    let mut bytes = publish(TELEMETRY, 1, 1, b"one");
    bytes.extend(publish(TELEMETRY, 1, 2, b"two"));
    bytes.extend(b"\xf0\x00");
    bytes.extend(publish(TELEMETRY, 1, 3, b"behind the bad one"));
    client.send(&bytes).await;
    client.expect_id(0x40, 1).await;
    client.expect_id(0x40, 2).await;
    client.expect_end().await;
    assert_eq!(server.payloads(), ["one", "two"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_strangers_does_not_stop_the_listener_or_fill_the_journal() {
    let server = Server::with(|config| config.limits.connections = 50, |_| {}).await;
    let mut known = Client::connect(server.address, &Connect::of("A")).await;
    let mut flood = tokio::task::JoinSet::new();
    for i in 0..400usize {
        let address = server.address;
        flood.spawn(async move {
            let mut client = Client::raw(address).await;
            match i % 4 {
                0 => {}
                1 => client.try_send(&[b'x'; 6000]).await,
                2 => client.try_send(&Connect::of("A").bytes()[..9]).await,
                _ => {
                    let mut refused = Connect::of("B");
                    refused.is_clean = false;
                    refused.client_id = String::new();
                    client.try_send(&refused.bytes()).await;
                }
            }
        });
    }
    while let Some(ended) = flood.join_next().await {
        ended.unwrap();
    }
    known.ping().await;
    known.send(&publish(TELEMETRY, 1, 1, b"still here")).await;
    known.expect_id(0x40, 1).await;
    let start = std::time::Instant::now();
    while Client::try_connect(server.address, &Connect::of("C")).await.1 != Some(0) {
        assert!(start.elapsed() < PATIENCE, "no place is free after the flood");
    }
    let kept: usize = server
        .frames()
        .iter()
        .filter(|f| f.device.is_empty())
        .map(|f| f.payload.len())
        .sum();
    assert!(kept <= 100 * 4096, "{kept} bytes of strangers are kept");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_bytes_never_stop_the_listener() {
    let server = Server::start().await;
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    for round in 0..150 {
        let n = (next() % 300) as usize;
        let mut bytes: Vec<u8> = (0..n).map(|_| next() as u8).collect();
        let mut client = Client::raw(server.address).await;
        if round % 2 == 0 {
            client.send(&Connect::of("A").bytes()).await;
            // A likely first byte, so that the rest is looked at.
            if let Some(first) = bytes.first_mut() {
                *first = [0x30, 0x32, 0x34, 0x62, 0x82, 0xa2, 0x40, 0xc0][round / 2 % 8];
            }
        }
        client.try_send(&bytes).await;
    }
    let mut client = Client::connect(server.address, &Connect::of("Z")).await;
    client.ping().await;
    let mut body = vec![0, 9];
    body.extend(text("v1/devices/me/#"));
    client.send(&packet(0xa2, &body)).await;
    client.expect_id(0xb0, 9).await;
}

//! What is acknowledged is in the journal, once.

use onemap_model::Refusal;

use crate::client::{Client, Connect, TELEMETRY, publish, subscribe, with_id};
use crate::server::{Server, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_puback_means_that_the_frame_can_be_read_from_the_journal() {
    let server = Server::start().await;
    let mut client = Client::connect(server.address, &Connect::of("A")).await;
    for id in 1..=50u16 {
        let payload = format!(r#"{{"counter":{id}}}"#);
        client.send(&publish(TELEMETRY, 1, id, payload.as_bytes())).await;
        client.expect_id(0x40, id).await;
        // The reader sees durable records only.
        let frame = server.frames().pop().unwrap();
        assert_eq!(frame.payload, payload.as_bytes());
        assert_eq!(
            (frame.device.as_str(), frame.topic.as_str()),
            ("A", "d/A/telemetry")
        );
    }
    let counted = server.counters.counted();
    assert_eq!(
        (counted.publishes, counted.acks, counted.connections),
        (50, 50, 1)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_in_flight_are_acknowledged_in_order_and_kept_in_order() {
    const N: u16 = 5000;
    let server = Server::start().await;
    let mut client = Client::connect(server.address, &Connect::of("A")).await;
    let mut bytes = Vec::new();
    for id in 1..=N {
        let qos = u8::from(id % 5 != 0);
        bytes.extend(publish(TELEMETRY, qos, id, id.to_string().as_bytes()));
    }
    client.send(&bytes).await;
    for id in (1..=N).filter(|id| id % 5 != 0) {
        client.expect_id(0x40, id).await;
    }
    client.ping().await;
    until("the last QoS 0 publish", || {
        server.payloads().len() == usize::from(N)
    })
    .await;
    let want: Vec<String> = (1..=N).map(|id| id.to_string()).collect();
    assert_eq!(server.payloads(), want);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_of_all_kinds_keep_their_order_and_are_counted() {
    let server = Server::start().await;
    let mut client = Client::connect(server.address, &Connect::of("A")).await;
    let mut others = Vec::new();
    for name in ["B", "C", "D"] {
        others.push(Client::connect(server.address, &Connect::of(name)).await);
    }
    let mut n_acks = 0;
    for round in 1..=200u16 {
        // Alone and among others, in one piece and in several, with what is answered at once between.
        let id = round * 10;
        client.send(&publish(TELEMETRY, 1, id, b"1")).await;
        client.send(&publish(TELEMETRY, 1, id + 1, b"2")).await;
        if round % 3 == 0 {
            for other in &mut others {
                other.send(&publish(TELEMETRY, 1, id, b"o")).await;
            }
        }
        let mut bytes = publish(TELEMETRY, 1, id + 2, b"3");
        if round % 2 == 0 {
            bytes.extend(subscribe(id + 3, &[("v1/devices/me/rpc/request/+", 1)]));
        }
        bytes.extend(publish(TELEMETRY, 2, id + 4, b"4"));
        client.send(&bytes).await;
        for id in id..id + 3 {
            client.expect_id(0x40, id).await;
        }
        if round % 2 == 0 {
            client
                .expect(0x90, &[((id + 3) >> 8) as u8, (id + 3) as u8, 1])
                .await;
        }
        client.expect_id(0x50, id + 4).await;
        client.send(&with_id(0x62, id + 4)).await;
        client.expect_id(0x70, id + 4).await;
        n_acks += 4;
        if round % 3 == 0 {
            for other in &mut others {
                other.expect_id(0x40, id).await;
            }
            n_acks += 3;
        }
    }
    client.ping().await;
    until("every acknowledgement counted", || {
        server.counters.counted().acks >= n_acks
    })
    .await;
    assert_eq!(server.counters.counted().publishes, n_acks);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_come_one_by_one_make_the_same_packets() {
    let server = Server::start().await;
    let mut client = Client::raw(server.address).await;
    let mut bytes = Connect::of("A").bytes();
    bytes.extend(publish(TELEMETRY, 1, 7, &[b'x'; 200]));
    for byte in bytes {
        client.send(&[byte]).await;
    }
    client.expect(0x20, &[0, 0]).await;
    client.expect_id(0x40, 7).await;
    assert_eq!(server.payloads(), ["x".repeat(200)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn qos_2_is_received_once_and_completed_when_its_release_is_durable() {
    let server = Server::start().await;
    let mut client = Client::connect(server.address, &Connect::of("A")).await;
    let first = publish(TELEMETRY, 2, 9, b"one");
    let mut again = first.clone();
    again[0] |= 8;
    client.send(&first).await;
    client.expect_id(0x50, 9).await;
    assert_eq!(server.payloads(), ["one"]);
    // The PUBREC was lost on the way: the client repeats, with DUP.
    client.send(&again).await;
    client.expect_id(0x50, 9).await;
    client.send(&with_id(0x62, 9)).await;
    client.expect_id(0x70, 9).await;
    assert_eq!(
        server.journal().1,
        1,
        "the release is in the journal before PUBCOMP"
    );
    // So was the PUBCOMP.
    client.send(&with_id(0x62, 9)).await;
    client.expect_id(0x70, 9).await;
    assert_eq!((server.payloads().len(), server.journal().1), (1, 1));
    // A released id is free for the next publish, with the same content too.
    client.send(&first).await;
    client.expect_id(0x50, 9).await;
    assert_eq!(server.payloads(), ["one", "one"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn qos_2_repeats_in_one_read_are_taken_once() {
    let server = Server::start().await;
    let mut client = Client::connect(server.address, &Connect::of("A")).await;
    let mut bytes = publish(TELEMETRY, 2, 3, b"x");
    bytes.extend(publish(TELEMETRY, 2, 3, b"x"));
    bytes.extend(with_id(0x62, 3));
    bytes.extend(publish(TELEMETRY, 2, 3, b"x"));
    client.send(&bytes).await;
    for first in [0x50, 0x50, 0x70, 0x50] {
        client.expect_id(first, 3).await;
    }
    assert_eq!(server.payloads(), ["x", "x"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn qos_2_is_remembered_over_a_broken_connection() {
    let server = Server::start().await;
    let connect = Connect {
        is_clean: false,
        ..Connect::of("A")
    };
    let mut client = Client::connect(server.address, &connect).await;
    let first = publish(TELEMETRY, 2, 9, b"one");
    client.send(&first).await;
    client.expect_id(0x50, 9).await;
    drop(client);
    until("the end of the connection", || {
        server.counters.counted().connections == 0
    })
    .await;

    let mut client = Client::connect(server.address, &connect).await;
    let mut again = first.clone();
    again[0] |= 8;
    client.send(&again).await;
    client.expect_id(0x50, 9).await;
    assert_eq!(server.payloads(), ["one"]);
    client.send(&with_id(0x62, 9)).await;
    client.expect_id(0x70, 9).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_json_is_kept_and_acknowledged() {
    // 3.1.1 has no negative PUBACK: the device would send the same bytes for ever.
    let server = Server::start().await;
    let mut client = Client::connect(server.address, &Connect::of("A")).await;
    client
        .send(&publish(TELEMETRY, 1, 1, b"{\"temperature\":NaN}"))
        .await;
    client.expect_id(0x40, 1).await;
    assert_eq!(server.payloads(), [r#"{"temperature":NaN}"#]);
    assert!(Refusal::ALL.iter().all(|r| server.counters.refused(*r) == 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_journal_holds_the_client_back_and_loses_nothing() {
    let server = Server::with(
        |config| config.max_unacked_bytes = 64 << 10,
        |log| {
            log.segment_bytes = 64 << 10;
            log.max_bytes = Some(512 << 10);
            // Packed segments of equal bytes would never fill it.
            log.compress = false;
        },
    )
    .await;
    let mut client = Client::connect(server.address, &Connect::of("A")).await;
    let payload = [b'x'; 8000];
    let n_total = 200u16;
    let (mut read, mut write) = client.stream().split();
    let sending = async {
        use tokio::io::AsyncWriteExt;
        for id in 1..=n_total {
            let bytes = publish(TELEMETRY, 1, id, &payload);
            write.write_all(&bytes).await.unwrap();
        }
    };
    let acks = async {
        use tokio::io::AsyncReadExt;
        for id in 1..=n_total {
            let mut ack = [0; 4];
            read.read_exact(&mut ack).await.unwrap();
            assert_eq!(ack, [0x40, 2, (id >> 8) as u8, id as u8]);
        }
    };
    let releasing = async {
        let mut n_releases = 0;
        loop {
            let is_done = || server.log.status().durable == u64::from(n_total);
            until("a full log", || server.log.status().full || is_done()).await;
            if is_done() {
                return n_releases;
            }
            // The client is held back, not cut off, until a projection has read and released.
            let durable = server.log.status().durable;
            server.log.release_to_size(durable, 0).unwrap();
            n_releases += 1;
        }
    };
    let ((), (), n_releases) = tokio::time::timeout(crate::server::PATIENCE, async {
        tokio::join!(sending, acks, releasing)
    })
    .await
    .expect("the client is let on when there is room");
    assert!(n_releases >= 2, "{n_releases}");
    assert_eq!(server.counters.counted().connections, 1, "held back, not cut off");
}

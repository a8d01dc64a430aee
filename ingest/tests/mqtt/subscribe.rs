//! Who hears what, under which name.

use std::time::Duration;

use onemap_ingest::fanout::{Naming, QUEUE_BYTES};

use crate::client::{Client, Connect, TELEMETRY, packet, publish, subscribe, text};
use crate::server::{Server, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_hears_itself_and_the_server_and_no_other_device() {
    let server = Server::start().await;
    let mut a = Client::connect(server.address, &Connect::of("A")).await;
    let mut b = Client::connect(server.address, &Connect::of("B")).await;
    for client in [&mut a, &mut b] {
        client.send(&subscribe(1, &[("v1/devices/me/#", 1)])).await;
        client.expect(0x90, &[0, 1, 1]).await;
    }
    b.send(&publish(TELEMETRY, 1, 5, b"of B")).await;
    let mut seen = vec![
        b.packet().await.unwrap().0 & 0xF0,
        b.packet().await.unwrap().0 & 0xF0,
    ];
    seen.sort_unstable();
    assert_eq!(seen, [0x30, 0x40], "its own message and its PUBACK");
    a.send(&publish("d/A/claim", 0, 0, b"of A")).await;
    assert_eq!(
        a.message().await,
        ("v1/devices/me/claim".into(), b"of A".to_vec())
    );
    assert_eq!(server.fanout.publish("d/A/rpc/request/1", "go", 1), 1);
    assert_eq!(
        a.message().await,
        ("v1/devices/me/rpc/request/1".into(), b"go".to_vec())
    );
    a.ping().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn foreign_and_malformed_filters_are_refused_one_by_one() {
    let server = Server::start().await;
    let mut client = Client::connect(server.address, &Connect::of("A")).await;
    let filters = [
        ("#", 0),
        ("onemap/v1/A/receipt", 1),
        ("d/+/telemetry", 0),
        ("v1/devices/me/rpc/request/+", 2),
        ("d/B/#", 1),
        ("v1/devices/me/a#", 1),
        ("d/A/+/x", 0),
        ("v1/devices/+/telemetry", 0),
    ];
    client.send(&subscribe(7, &filters)).await;
    client
        .expect(0x90, &[0, 7, 0x80, 1, 0x80, 2, 0x80, 0x80, 0, 0x80])
        .await;
    let receipt = br#"{"epoch":1,"ranges":[[1,9]]}"#;
    assert_eq!(
        server
            .fanout
            .publish("onemap/v1/A/receipt", receipt.as_slice(), 1),
        1
    );
    assert_eq!(
        client.message().await,
        ("onemap/v1/A/receipt".into(), receipt.to_vec())
    );
    assert_eq!(server.fanout.publish("d/B/rpc/1", "x", 1), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_unsubscribe_nothing_comes() {
    let server = Server::start().await;
    let mut client = Client::connect(server.address, &Connect::of("A")).await;
    client.send(&subscribe(1, &[("v1/devices/me/rpc/+", 1)])).await;
    client.expect(0x90, &[0, 1, 1]).await;
    for filter in ["v1/devices/me/rpc/+", "never/subscribed"] {
        let mut body = vec![0, 2];
        body.extend(text(filter));
        client.send(&packet(0xa2, &body)).await;
        client.expect_id(0xb0, 2).await;
    }
    assert_eq!(server.fanout.publish("d/A/rpc/1", "x", 1), 0);
    client.ping().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_hears_of_a_publish_only_when_it_is_durable() {
    let server = Server::start().await;
    let desk = server.fanout.join();
    desk.subscribe("d/+/telemetry", 1, Naming::Plain).unwrap();
    let mut client = Client::connect(server.address, &Connect::of("A")).await;
    for i in 0..200 {
        client
            .send(&publish(TELEMETRY, 0, 0, i.to_string().as_bytes()))
            .await;
        desk.ready().await.unwrap();
        assert_eq!(desk.take().unwrap().payload, i.to_string().as_bytes());
        assert_eq!(server.payloads().pop(), Some(i.to_string()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_messages_than_the_window_all_arrive_in_order() {
    let server = Server::start().await;
    let mut client = Client::connect(server.address, &Connect::of("A")).await;
    client.send(&subscribe(1, &[("v1/devices/me/rpc/+", 1)])).await;
    client.expect(0x90, &[0, 1, 1]).await;
    for i in 0..900u32 {
        assert_eq!(server.fanout.publish("d/A/rpc/1", i.to_string(), 1), 1);
    }
    for i in 0..900u32 {
        assert_eq!(client.message().await.1, i.to_string().as_bytes());
    }
    assert_eq!(server.counters.counted().deliveries, 900);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_is_cut_off_and_counted_and_others_are_not() {
    let server = Server::with(|config| config.write_timeout = Duration::from_millis(500), |_| {}).await;
    let mut slow = Client::connect(server.address, &Connect::of("A")).await;
    let mut no_acks = Client::connect(server.address, &Connect::of("B")).await;
    let mut quick = Client::connect(server.address, &Connect::of("C")).await;
    for client in [&mut slow, &mut no_acks, &mut quick] {
        client.send(&subscribe(1, &[("v1/devices/me/rpc/+", 1)])).await;
        client.expect(0x90, &[0, 1, 1]).await;
    }
    // A does not read at all; B reads and never acknowledges, so its window stays shut.
    let large = vec![b'x'; QUEUE_BYTES / 8];
    until("A to be cut off", || {
        server.fanout.publish("d/A/rpc/1", large.clone(), 1);
        server.counters.counted().slow_readers == 1
    })
    .await;
    until("B to be cut off", || {
        for _ in 0..100 {
            server.fanout.publish("d/B/rpc/1", "x", 1);
        }
        server.counters.counted().slow_readers == 2
    })
    .await;
    let mut n_read = 0;
    while no_acks.packet().await.is_some() {
        n_read += 1;
    }
    assert_eq!(n_read, 100, "the window");
    assert_eq!(server.fanout.publish("d/C/rpc/1", "x", 1), 1);
    assert_eq!(quick.message().await.1, b"x");
}

//! What a session keeps over a restart, and what shared subscriptions do with those who leave.

use onemap_model::Refusal;

use crate::client::{Client, Connect, TELEMETRY, publish, subscribe, with_id};
use crate::server::{Server, until};

fn kept(device: &str, client_id: &str) -> Connect {
    Connect {
        is_clean: false,
        client_id: client_id.into(),
        ..Connect::of(device)
    }
}

async fn gone(server: &Server) {
    until("the connections to be gone", || {
        server.counters.counted().connections == 0
    })
    .await;
}

/// As after a kill (the snapshot of before, the whole journal) and as after a stop (a new snapshot).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_the_same_after_a_restart_with_and_without_its_last_snapshot() {
    for is_killed in [true, false] {
        let server = Server::start_with_sessions().await;
        let mut client = Client::connect(server.address, &kept("A", "c")).await;
        let filters = [("v1/devices/me/note/+", 2), ("v1/devices/me/gone", 1)];
        client.send(&subscribe(1, &filters)).await;
        client.expect(0x90, &[0, 1, 2, 1]).await;
        let gone_filter = crate::client::text("v1/devices/me/gone");
        let unsubscribe = [&[0, 2][..], &gone_filter].concat();
        client.send(&crate::client::packet(0xa2, &unsubscribe)).await;
        client.expect_id(0xb0, 2).await;
        // Inbound QoS 2, not released.
        client.send(&publish(TELEMETRY, 2, 77, b"once")).await;
        client.expect_id(0x50, 77).await;
        // Outbound QoS 2: one sent, one with PUBREC, one done; QoS 1: one done.
        let mut other = Client::connect(server.address, &kept("A", "publisher")).await;
        let mut ids = Vec::new();
        for i in 0..4u16 {
            let qos = if i == 3 { 1 } else { 2 };
            let topic = format!("v1/devices/me/note/{i}");
            other
                .send(&publish(&topic, qos, 10 + i, i.to_string().as_bytes()))
                .await;
            other.expect_id(if qos == 1 { 0x40 } else { 0x50 }, 10 + i).await;
            let (first, body) = client.packet().await.unwrap();
            assert_eq!(first, 0x30 | qos << 1);
            let at = 2 + usize::from(u16::from_be_bytes([body[0], body[1]]));
            ids.push(u16::from_be_bytes([body[at], body[at + 1]]));
        }
        for i in [1, 2] {
            client.send(&with_id(0x50, ids[i])).await;
            client.expect_id(0x62, ids[i]).await;
        }
        client.send(&with_id(0x70, ids[2])).await;
        client.send(&with_id(0x40, ids[3])).await;
        client.ping().await;
        // And one that comes while it is away, retained.
        drop(client);
        until("it to be away", || server.counters.counted().connections == 1).await;
        let mut retained = publish("v1/devices/me/note/9", 1, 20, b"away");
        retained[0] |= 1;
        other.send(&retained).await;
        other.expect_id(0x40, 20).await;
        drop(other);
        gone(&server).await;

        let server = server.restart(is_killed).await;
        let (mut client, is_present) = Client::resume(server.address, &kept("A", "c")).await;
        assert!(is_present);
        let (first, body) = client.packet().await.unwrap();
        assert_eq!(first, 0x3c, "sent before, so with DUP");
        assert!(body.ends_with(b"0"));
        let at = 2 + usize::from(u16::from_be_bytes([body[0], body[1]]));
        assert_eq!(
            u16::from_be_bytes([body[at], body[at + 1]]),
            ids[0],
            "under its id"
        );
        client.expect_id(0x62, ids[1]).await;
        let (topic, payload) = client.message().await;
        assert_eq!(
            (topic.as_str(), &payload[..]),
            ("v1/devices/me/note/9", &b"away"[..])
        );
        client.ping().await;
        // The inbound one is known: the resend is answered and not kept again.
        let n_before = server.payloads().len();
        let mut again = publish(TELEMETRY, 2, 77, b"once");
        again[0] |= 8;
        client.send(&again).await;
        client.expect_id(0x50, 77).await;
        assert_eq!(server.payloads().len(), n_before);
        assert_eq!(server.fanout.publish("d/A/gone", "x", 1), 0);
        // What is retained is there for others.
        let mut late = Client::connect(server.address, &kept("A", "late")).await;
        late.send(&subscribe(1, &[("v1/devices/me/note/9", 1)])).await;
        late.expect(0x90, &[0, 1, 1]).await;
        assert_eq!(late.message().await.1, b"away");
        // A clean session ends it for good.
        drop(client);
        drop(late);
        gone(&server).await;
        let clean = Connect {
            is_clean: true,
            ..kept("A", "c")
        };
        Client::connect(server.address, &clean).await.ping().await;
        gone(&server).await;
        let server = server.restart(is_killed).await;
        assert!(!Client::resume(server.address, &kept("A", "c")).await.1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_snapshot_is_set_aside_and_the_journal_is_enough() {
    let server = Server::start_with_sessions().await;
    let mut client = Client::connect(server.address, &kept("A", "c")).await;
    client.send(&subscribe(1, &[("v1/devices/me/note/+", 1)])).await;
    client.expect(0x90, &[0, 1, 1]).await;
    drop(client);
    gone(&server).await;
    let server = server.restart(false).await;
    let path = server.sessions_file();
    assert!(path.exists(), "a stop writes the snapshot");
    let server = server
        .restart_after(false, |path| std::fs::write(path, b"nonsense").unwrap())
        .await;
    assert!(path.with_extension("damaged").exists());
    let (mut client, is_present) = Client::resume(server.address, &kept("A", "c")).await;
    assert!(is_present);
    assert_eq!(server.fanout.publish("d/A/note/1", "x", 1), 1);
    assert_eq!(client.message().await.1, b"x");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_is_full_keeps_the_newest_and_is_counted() {
    let server = Server::with(|config| config.max_queued_messages = 10, |_| {}).await;
    let mut client = Client::connect(server.address, &kept("A", "c")).await;
    client.send(&subscribe(1, &[("v1/devices/me/note/+", 1)])).await;
    client.expect(0x90, &[0, 1, 1]).await;
    drop(client);
    gone(&server).await;
    for i in 0..25 {
        server.fanout.publish("d/A/note/1", i.to_string(), 1);
    }
    assert_eq!(server.counters.refused(Refusal::QueueFull), 15);
    let mut client = Client::connect(server.address, &kept("A", "c")).await;
    for i in 15..25 {
        assert_eq!(client.message().await.1, i.to_string().as_bytes());
    }
    client.ping().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_of_a_group_that_leaves_hands_on_what_it_did_not_acknowledge() {
    let server = Server::start().await;
    let name = |client_id: &str| Connect {
        client_id: client_id.into(),
        ..Connect::of("A")
    };
    let filter = "$share/desk/v1/devices/me/note/+";
    let mut one = Client::connect(server.address, &name("one")).await;
    one.send(&subscribe(1, &[(filter, 1)])).await;
    one.expect(0x90, &[0, 1, 1]).await;
    for i in 0..3 {
        assert_eq!(server.fanout.publish("d/A/note/1", i.to_string(), 1), 1);
        assert_eq!(one.packet().await.unwrap().0, 0x32);
    }
    let mut two = Client::connect(server.address, &name("two")).await;
    two.send(&subscribe(1, &[(filter, 1)])).await;
    two.expect(0x90, &[0, 1, 1]).await;
    drop(one);
    for i in 0..3 {
        assert_eq!(two.message().await.1, i.to_string().as_bytes());
    }
    two.ping().await;
}

//! Who is let in, under which name, and for how long.

use std::time::Duration;

use onemap_model::Refusal;

use crate::client::{Client, Connect, TELEMETRY, publish};
use crate::server::{Server, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_token_is_told_and_counted_and_not_kept() {
    let server = Server::start().await;
    let wrong = Connect {
        token: Some("a-secret-of-somebody".into()),
        ..Connect::of("A")
    };
    let (mut client, code) = Client::try_connect(server.address, &wrong).await;
    assert_eq!(code, Some(4));
    client.expect_end().await;
    let none = Connect {
        token: None,
        ..Connect::of("A")
    };
    assert_eq!(Client::try_connect(server.address, &none).await.1, Some(5));
    assert_eq!(server.counters.refused(Refusal::WrongToken), 2);
    assert_eq!(server.frames(), []);
    Client::connect(server.address, &Connect::of("A")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_versions_are_told_so() {
    let server = Server::start().await;
    for level in [3, 5, 6] {
        let connect = Connect {
            level,
            ..Connect::of("A")
        };
        let (mut client, code) = Client::try_connect(server.address, &connect).await;
        assert_eq!(code, Some(1), "level {level}");
        client.expect_end().await;
    }
    let kept = server.refused(Refusal::MalformedPacket).await;
    assert!(
        kept.detail.ends_with("only MQTT 3.1.1 is spoken here"),
        "{}",
        kept.detail
    );
    assert!(
        !kept.payload.windows(5).any(|w| w == b"token"),
        "no secret is kept"
    );
    Client::connect(server.address, &Connect::of("A")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn client_ids_of_every_kind_are_taken() {
    let server = Server::start().await;
    for client_id in ["a/b", "a+b", "#", "$SYS/x", "", "设备", &"x".repeat(1000)] {
        for _ in 0..2 {
            let connect = Connect {
                client_id: client_id.to_owned(),
                ..Connect::of("A")
            };
            Client::connect(server.address, &connect).await.ping().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_id_twice_does_not_stop_the_listener() {
    let server = Server::start().await;
    let refused = [
        Connect {
            client_id: String::new(),
            is_clean: false,
            ..Connect::of("A")
        },
        Connect {
            client_id: "x".repeat(1025),
            ..Connect::of("A")
        },
    ];
    for connect in refused.iter().chain(&refused) {
        let (mut client, code) = Client::try_connect(server.address, connect).await;
        assert_eq!(code, Some(2));
        client.expect_end().await;
    }
    Client::connect(server.address, &Connect::of("A"))
        .await
        .ping()
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_client_of_the_same_device_takes_the_old_connection_s_place() {
    let server = Server::start().await;
    let mut old = Client::connect(server.address, &Connect::of("A")).await;
    let same_name = Connect {
        client_id: "client-A".into(),
        ..Connect::of("B")
    };
    let mut other = Client::connect(server.address, &same_name).await;
    old.ping().await;
    let mut new = Client::connect(server.address, &Connect::of("A")).await;
    old.expect_end().await;
    other.ping().await;
    new.ping().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_the_limit_everyone_is_told() {
    let server = Server::with(|config| config.limits.connections = 2, |_| {}).await;
    let mut first = Client::connect(server.address, &Connect::of("A")).await;
    let second = Client::connect(server.address, &Connect::of("B")).await;
    for _ in 0..3 {
        let (mut third, code) = Client::try_connect(server.address, &Connect::of("C")).await;
        assert_eq!(code, Some(3));
        third.expect_end().await;
    }
    assert_eq!(server.counters.refused(Refusal::TooManyConnections), 3);
    first.ping().await;
    drop(second);
    let start = std::time::Instant::now();
    while Client::try_connect(server.address, &Connect::of("C")).await.1 != Some(0) {
        assert!(
            start.elapsed() < crate::server::PATIENCE,
            "the place is never free"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_client_is_let_go_and_a_pinging_one_is_not() {
    let server = Server::start().await;
    let brief = |device| Connect {
        keep_alive: 1,
        ..Connect::of(device)
    };
    let mut silent = Client::connect(server.address, &brief("A")).await;
    let mut lively = Client::connect(server.address, &brief("B")).await;
    let start = std::time::Instant::now();
    let pings = async {
        while start.elapsed() < Duration::from_millis(2500) {
            lively.ping().await;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let (_, after) = tokio::join!(pings, async {
        silent.expect_end().await;
        start.elapsed()
    });
    assert!(
        after >= Duration::from_millis(1400),
        "1.5 keep-alives, not {after:?}"
    );
    lively.ping().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_keep_alive_the_server_s_own_limit_holds() {
    let server = Server::with(|config| config.idle_limit = Duration::from_millis(300), |_| {}).await;
    let connect = Connect {
        keep_alive: 0,
        ..Connect::of("A")
    };
    let mut client = Client::connect(server.address, &connect).await;
    client.ping().await;
    client.expect_end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_says_nothing_or_half_a_connect_is_let_go() {
    let server = Server::with(
        |config| config.handshake_timeout = Duration::from_millis(300),
        |_| {},
    )
    .await;
    let mut mute = Client::raw(server.address).await;
    let mut half = Client::raw(server.address).await;
    let bytes = Connect::of("A").bytes();
    half.send(&bytes[..bytes.len() - 4]).await;
    mute.expect_end().await;
    half.expect_end().await;
    let kept = server.refused(Refusal::MalformedPacket).await;
    assert!(
        !kept.payload.windows(5).any(|w| w == b"token"),
        "no secret is kept"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_will_is_published_when_the_connection_breaks_and_only_then() {
    let server = Server::start().await;
    let with_will = |device: &str, topic: &str| Connect {
        will: Some((topic.to_owned(), format!(r#"{{"switch":0,"of":"{device}"}}"#))),
        ..Connect::of(device)
    };
    let mut left = Client::connect(server.address, &with_will("A", TELEMETRY)).await;
    left.send(&publish(TELEMETRY, 1, 1, b"alive")).await;
    left.expect_id(0x40, 1).await;
    left.send(b"\xe0\x00").await;
    left.expect_end().await;
    drop(Client::connect(server.address, &with_will("B", TELEMETRY)).await);
    until("the will of B", || server.payloads().len() == 2).await;
    assert_eq!(server.payloads(), ["alive", r#"{"switch":0,"of":"B"}"#]);
    assert_eq!(server.frames()[1].topic, "d/B/telemetry");

    let (_, code) = Client::try_connect(server.address, &with_will("C", "v1/devices/B/telemetry")).await;
    assert_eq!(code, Some(5));
    let kept = server.refused(Refusal::ForeignTopic).await;
    assert_eq!(
        (kept.device.as_str(), kept.topic.as_str()),
        ("C", "v1/devices/B/telemetry")
    );
    assert_eq!(
        kept.detail,
        "the will is for `v1/devices/B/telemetry`, which is not the device's own"
    );
}

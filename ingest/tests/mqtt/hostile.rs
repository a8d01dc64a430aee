//! Peers that mean harm, or are broken; each beside a well-behaved device that must not notice.

use std::time::{Duration, Instant};

use onemap_model::Refusal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::client::{Client, Connect, TELEMETRY, publish, subscribe};
use crate::neighbour::Neighbour;
use crate::server::{PATIENCE, Server, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connect_of_one_byte_a_second_is_given_up() {
    let server = Server::with(|config| config.handshake_timeout = Duration::from_secs(2), |_| {}).await;
    let neighbour = Neighbour::start(server.address).await;
    let mut slow = JoinSet::new();
    for i in 0..200 {
        let address = server.address;
        slow.spawn(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let start = Instant::now();
            for byte in Connect::of(&format!("slow-{i}")).bytes() {
                if stream.write_all(&[byte]).await.is_err() {
                    break;
                }
                // Until its end shows: the time is up for bytes, not for silence.
                let mut end = [0];
                let read = timeout(Duration::from_secs(1), stream.read(&mut end)).await;
                if read.is_ok() {
                    break;
                }
            }
            start.elapsed()
        });
    }
    while let Some(took) = slow.join_next().await {
        let took = took.unwrap();
        assert!(took < Duration::from_secs(8), "held for {took:?}");
    }
    assert_eq!(server.counters.counted().accepted, 1, "only the neighbour");
    assert!(server.counters.refused(Refusal::MalformedPacket) >= 200);
    neighbour.was_well(&server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_that_say_nothing_take_no_place_from_devices() {
    let server = Server::with(|config| config.limits.strangers = 20, |_| {}).await;
    let neighbour = Neighbour::start(server.address).await;
    let mut mute = Vec::new();
    for _ in 0..60 {
        mute.push(TcpStream::connect(server.address).await.unwrap());
    }
    let start = Instant::now();
    let mut client = Client::connect(server.address, &Connect::of("A")).await;
    client.ping().await;
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    assert!(server.counters.refused(Refusal::TooManyConnections) >= 20);
    neighbour.was_well(&server).await;
    drop(mute);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_thousand_connects_in_two_seconds_harm_nobody() {
    const N: usize = 20_000;
    let server = Server::with(
        |config| {
            config.limits.connects_per_second = 2000;
            config.limits.connects_burst = 4000;
        },
        |_| {},
    )
    .await;
    let neighbour = Neighbour::start(server.address).await;
    let mut storm = JoinSet::new();
    let start = Instant::now();
    for worker in 0..50u8 {
        let address = server.address;
        storm.spawn(async move {
            let mut n = 0;
            for _ in 0..N / 50 {
                // Closed by reset, so that no port stays taken; the neighbour is at another address.
                let socket = TcpSocket::new_v4().unwrap();
                socket.set_zero_linger().unwrap();
                let own = format!("127.0.1.{}:0", 1 + worker % 4);
                socket.bind(own.parse().unwrap()).unwrap();
                if timeout(PATIENCE, socket.connect(address)).await.unwrap().is_ok() {
                    n += 1;
                }
            }
            n
        });
    }
    let mut n = 0;
    while let Some(done) = storm.join_next().await {
        n += done.unwrap();
    }
    println!("{n} connects in {:?}", start.elapsed());
    assert!(n > N / 2, "{n} connected");
    let mut client = Client::connect(server.address, &Connect::of("A")).await;
    client.ping().await;
    neighbour.was_well(&server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_connects_too_fast_is_counted_and_others_are_not() {
    let server = Server::with(
        |config| {
            config.limits.connects_per_second = 1;
            config.limits.connects_burst = 5;
        },
        |_| {},
    )
    .await;
    let neighbour = Neighbour::start(server.address).await;
    let from = |ip: &'static str| {
        let address = server.address;
        async move {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind(format!("{ip}:0").parse().unwrap()).unwrap();
            let stream = socket.connect(address).await.unwrap();
            Client::over(stream, &Connect::of("A")).await.1
        }
    };
    let mut codes = Vec::new();
    for _ in 0..20 {
        codes.push(from("127.0.1.1").await);
    }
    assert_eq!(codes[..5], [Some(0); 5]);
    assert!(codes.contains(&None), "{codes:?}");
    assert!(server.counters.refused(Refusal::RateLimited) > 5);
    assert_eq!(from("127.0.1.2").await, Some(0));
    neighbour.was_well(&server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_and_a_device_have_so_many_connections() {
    let server = Server::with(
        |config| {
            config.limits.per_device = 2;
            config.limits.per_address = 3;
        },
        |_| {},
    )
    .await;
    let named = |client: &str| Connect {
        client_id: client.to_owned(),
        ..Connect::of("A")
    };
    let mut first = Client::connect(server.address, &named("1")).await;
    let second = Client::connect(server.address, &named("2")).await;
    let over = Client::try_connect(server.address, &named("3")).await;
    assert_eq!(over.1, Some(3), "the device has two");
    drop(over);
    let other = loop {
        // The refused one's place at its address is free when it has read its answer.
        match Client::try_connect(server.address, &Connect::of("B")).await {
            (client, Some(0)) => break client,
            _ => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    assert_eq!(
        Client::try_connect(server.address, &Connect::of("C")).await.1,
        Some(3),
        "the address has three"
    );
    first.ping().await;
    drop((second, other));
    let start = Instant::now();
    while Client::try_connect(server.address, &named("3")).await.1 != Some(0) {
        assert!(start.elapsed() < PATIENCE, "no place is free");
    }
    assert!(server.counters.refused(Refusal::TooManyConnections) >= 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_vanished_is_found_by_its_keep_alive() {
    let server = Server::start().await;
    let neighbour = Neighbour::start(server.address).await;
    let mut vanished = Vec::new();
    for i in 0..50 {
        let connect = Connect {
            keep_alive: 1,
            ..Connect::of(&format!("gone-{i}"))
        };
        // It stays open here and says nothing more, as a peer does whose network is cut.
        vanished.push(Client::connect(server.address, &connect).await);
    }
    assert_eq!(server.counters.counted().connections, 51);
    until("the vanished", || server.counters.counted().connections == 1).await;
    neighbour.was_well(&server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_and_other_protocols_on_the_mqtt_port_are_refused_at_once() {
    let server = Server::start().await;
    let neighbour = Neighbour::start(server.address).await;
    let others: [&[u8]; 5] = [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x00\x00\x00\x00",
        // A CONNECT that announces 256 MiB.
        b"\x10\xff\xff\xff\x7f\x00\x04MQTT\x04\x02",
    ];
    for bytes in others {
        let mut client = Client::raw(server.address).await;
        let start = Instant::now();
        client.send(bytes).await;
        client.expect_end().await;
        assert!(start.elapsed() < Duration::from_secs(2), "{bytes:?}");
    }
    assert_eq!(server.counters.refused(Refusal::MalformedPacket), 5);
    neighbour.was_well(&server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_packet_that_ends_at_any_byte_is_no_reading() {
    let server = Server::start().await;
    let neighbour = Neighbour::start(server.address).await;
    let connect = Connect::of("A").bytes();
    let whole = publish(TELEMETRY, 1, 1, b"{\"cut\":1}");
    for length in 1..connect.len() {
        let mut client = Client::raw(server.address).await;
        client.send(&connect[..length]).await;
        client.stream().shutdown().await.unwrap();
        client.expect_end().await;
    }
    for length in 1..whole.len() {
        let mut client = Client::connect(server.address, &Connect::of("A")).await;
        client.send(&whole[..length]).await;
        client.stream().shutdown().await.unwrap();
        client.expect_end().await;
    }
    assert!(!server.payloads().iter().any(|p| p.contains("cut")));
    neighbour.was_well(&server).await;
}

/// A socket that takes hardly anything before its peer has to wait.
async fn narrow(server: &Server, connect: &Connect) -> Client {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let stream = socket.connect(server.address).await.unwrap();
    let (client, code) = Client::over(stream, connect).await;
    assert_eq!(code, Some(0));
    client
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_that_never_reads_is_cut_off_and_its_publisher_goes_on() {
    let server = Server::with(|config| config.write_timeout = Duration::from_secs(1), |_| {}).await;
    let neighbour = Neighbour::start(server.address).await;
    let mut deaf = narrow(&server, &Connect::of("A")).await;
    deaf.send(&subscribe(1, &[("v1/devices/me/#", 0)])).await;
    deaf.expect(0x90, &[0, 1, 0]).await;
    let connect = Connect {
        client_id: "publisher".to_owned(),
        ..Connect::of("A")
    };
    let mut publisher = Client::connect(server.address, &connect).await;
    let mut n = 0u16;
    let start = Instant::now();
    while server.counters.counted().slow_readers == 0 {
        n += 1;
        publisher.send(&publish(TELEMETRY, 1, n, &[b'x'; 20_000])).await;
        publisher.expect_id(0x40, n).await;
        assert!(start.elapsed() < PATIENCE, "nobody minds the deaf");
    }
    publisher.ping().await;
    until("its end", || server.counters.counted().connections == 2).await;
    neighbour.was_well(&server).await;
    drop(deaf);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_never_reads_its_acknowledgements_is_cut_off() {
    let server = Server::with(|config| config.write_timeout = Duration::from_secs(1), |_| {}).await;
    let neighbour = Neighbour::start(server.address).await;
    let mut deaf = narrow(&server, &Connect::of("A")).await;
    let flood: Vec<u8> = (1..=2000u16)
        .flat_map(|id| publish(TELEMETRY, 1, id, b"x"))
        .collect();
    let start = Instant::now();
    while timeout(Duration::from_secs(5), deaf.stream().write_all(&flood))
        .await
        .is_ok_and(|written| written.is_ok())
    {
        assert!(start.elapsed() < PATIENCE, "it may flood for ever");
    }
    until("its end", || server.counters.counted().connections == 1).await;
    assert_eq!(server.counters.counted().slow_readers, 1);
    neighbour.was_well(&server).await;
}

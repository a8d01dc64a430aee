//! Clients of others: mosquitto's command line tools. Skipped, loudly, where they are not installed.

use std::process::{Command, Output, Stdio};

use crate::server::{PATIENCE, Server, until};

fn installed(tool: &str) -> bool {
    let found = Command::new(tool).arg("--help").output().is_ok();
    if !found {
        eprintln!("SKIPPED: {tool} is not installed (Debian package mosquitto-clients)");
    }
    found
}

fn command(tool: &str, server: &Server, token: &str) -> Command {
    let mut command = Command::new(tool);
    command
        .args([
            "-V",
            "mqttv311",
            "-h",
            "127.0.0.1",
            "-p",
            &server.address.port().to_string(),
        ])
        .args(["-u", token])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

async fn run(mut command: Command) -> Output {
    let running = tokio::task::spawn_blocking(move || command.output().unwrap());
    tokio::time::timeout(PATIENCE, running).await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mosquitto_pub_is_served_at_every_qos() {
    if !installed("mosquitto_pub") {
        return;
    }
    let server = Server::start().await;
    for qos in ["0", "1", "2"] {
        let mut publish = command("mosquitto_pub", &server, "token-of-A");
        publish.args(["-q", qos, "-t", "v1/devices/me/telemetry", "-m", qos]);
        let output = run(publish).await;
        assert!(output.status.success(), "{output:?}");
    }
    until("three publishes", || server.payloads().len() == 3).await;
    assert_eq!(server.payloads(), ["0", "1", "2"]);
    assert_eq!(server.journal().1, 1);

    let mut wrong = command("mosquitto_pub", &server, "nobody");
    wrong.args(["-q", "1", "-t", "v1/devices/me/telemetry", "-m", "x"]);
    let output = run(wrong).await;
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("bad user name or password"), "{said}");

    let mut v5 = Command::new("mosquitto_pub");
    v5.args([
        "-V",
        "mqttv5",
        "-h",
        "127.0.0.1",
        "-p",
        &server.address.port().to_string(),
    ])
    .args(["-u", "token-of-A", "-t", "v1/devices/me/telemetry", "-m", "x"]);
    assert!(!run(v5).await.status.success());
    assert_eq!(server.payloads().len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mosquitto_sub_hears_what_is_sent_to_its_device() {
    if !installed("mosquitto_sub") {
        return;
    }
    let server = Server::start().await;
    let mut subscribe = command("mosquitto_sub", &server, "token-of-A");
    subscribe.args(["-q", "1", "-C", "2", "-v", "-t", "v1/devices/me/rpc/request/+"]);
    let listening = tokio::spawn(run(subscribe));
    until("the subscription", || server.fanout.wanted("d/A/rpc/request/1")).await;
    server.fanout.publish("d/B/rpc/request/1", "not for A", 1);
    server.fanout.publish("d/A/rpc/request/1", "open", 1);
    server.fanout.publish("d/A/rpc/request/2", "close", 0);
    let output = listening.await.unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "v1/devices/me/rpc/request/1 open\nv1/devices/me/rpc/request/2 close\n",
        "{output:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mosquitto_sub_is_refused_other_devices_topics() {
    if !installed("mosquitto_sub") {
        return;
    }
    let server = Server::start().await;
    let mut subscribe = command("mosquitto_sub", &server, "token-of-A");
    subscribe.args(["-q", "1", "-C", "1", "-t", "d/B/#"]);
    let output = run(subscribe).await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("denied"), "{output:?}");
}

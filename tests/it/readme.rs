//! The README's first device, command by command as it stands there.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::server::{Process, binary, peer, request, wait_for};

/// The first block of commands under a heading of the README.
fn block_under(heading: &str) -> String {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let section = readme
        .split_once(heading)
        .expect("the heading stands in README.md")
        .1;
    let block = section.split("```").nth(1).expect("a block follows the heading");
    block.trim_start_matches(|c| c != '\n').to_owned()
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// The server that the block leaves in the background ends with the test, whatever becomes of the shell.
struct Background(std::path::PathBuf);

impl Drop for Background {
    fn drop(&mut self) {
        let Ok(text) = std::fs::read_to_string(&self.0) else {
            return;
        };
        let ready: Value = serde_json::from_str(&text).unwrap_or_default();
        if let Some(pid) = ready["pid"].as_u64() {
            // It may have ended already.
            let _ = Command::new("kill")
                .arg(pid.to_string())
                .stderr(std::process::Stdio::null())
                .status();
        }
    }
}

#[test]
fn a_first_device_in_five_minutes() {
    if peer("mosquitto_pub").is_none() || peer("curl").is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (http, mqtt) = (free_port(), free_port());
    // Other ports, so that the test can run beside anything; all else is as the reader types it.
    let tools = folder.path().join("tools");
    std::fs::create_dir(&tools).unwrap();
    std::fs::write(
        folder.path().join("ports.toml"),
        format!("[http]\nlisten = \"127.0.0.1:{http}\"\n[mqtt]\nlisten = \"127.0.0.1:{mqtt}\"\n"),
    )
    .unwrap();
    let tool = |name: &str, text: String| {
        use std::os::unix::fs::PermissionsExt as _;
        let path = tools.join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    let config = folder.path().join("ports.toml");
    tool(
        "onemap",
        format!(
            "exec {} --config {} \"$@\"",
            binary("onemap").display(),
            config.display()
        ),
    );
    let pub_path = peer("mosquitto_pub").unwrap();
    tool(
        "mosquitto_pub",
        format!("exec {} -p {mqtt} \"$@\"", pub_path.display()),
    );
    let typed = block_under("## A first device in five minutes");
    for command in [
        "onemap serve &",
        "onemap device add",
        "mosquitto_pub",
        "onemap token create",
        "curl",
    ] {
        assert!(
            typed.contains(command),
            "`{command}` is gone from the README's block:\n{typed}"
        );
    }
    let script: String = typed
        .lines()
        .filter(|line| !line.starts_with("cargo build") && !line.starts_with("export PATH"))
        // The feed has no end of its own.
        .map(|line| match line.strip_prefix("curl -N") {
            Some(rest) => format!("curl -sN -m 2{rest} || [ $? = 28 ]\n"),
            None => format!("{line}\n"),
        })
        .collect::<String>()
        .replace("localhost:8080", &format!("127.0.0.1:{http}"));
    let mut shell = Command::new("bash");
    shell
        .args([
            "-euc",
            &format!("trap 'kill $(jobs -p)' EXIT\n{script}\necho \"admin $DESK\"\nread -r _"),
        ])
        .current_dir(folder.path())
        .env(
            "PATH",
            format!("{}:{}", tools.display(), std::env::var("PATH").unwrap()),
        )
        .env("ONEMAP_LOG", "warn");
    let _background = Background(folder.path().join("onemap-data/ready.json"));
    let mut shell = Process::start(shell);
    let admin = wait_for("the end of the block", Duration::from_secs(60), || {
        let line = shell
            .line(Duration::from_secs(60))
            .expect("the block went through");
        line.strip_prefix("admin ").map(str::to_owned)
    });
    let base = format!("http://127.0.0.1:{http}");
    wait_for("both values of the first device", Duration::from_secs(20), || {
        let (status, latest) = request(&base, &admin, "GET", "/api/v1/latest", None);
        assert_eq!(status, 200, "{latest}");
        let value = |quantity: &str| {
            let item = latest["items"]
                .as_array()?
                .iter()
                .find(|i| i["quantity"] == quantity)?;
            (item["device"] == "station-1").then(|| item["value"].clone())
        };
        (value("temperature") == Some(Value::from(21.5)) && value("pm10") == Some(Value::from(48.0)))
            .then_some(())
    });
    // Closing its standard input ends `read`, the trap ends the server.
    drop(shell.child.stdin.take());
    wait_for("the server's end", Duration::from_secs(20), || {
        shell.child.try_wait().unwrap()
    });
}

//! `onemap demo`: the server, a simulated city, simulated Modbus slaves and a gateway, each a process
//! of its own that speaks the real protocols.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use onemap_model::{DeviceId, Quantity, SeriesKey};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tracing::{debug, info, warn};

use crate::config::{Config, GaugePart};
use crate::door::Door;
use crate::serve::{Server, Signals, announce};

/// A folder holding this file was made by the demo and may be made anew by it.
const MARK: &str = "onemap-demo";
/// Days that stations of the demo have measured before it begins: what a forecaster learns a course from.
const PAST_DAYS: u32 = 62;
/// Stations of rivers and of air, each, that are foreseen.
const N_FORESEEN: usize = 4;
/// Between two forecasts, and leads in such steps: half an hour, one, three and six hours.
const STEP_S: u32 = 1_800;
const LEADS: [usize; 4] = [1, 2, 6, 12];
/// Simulated Modbus slaves behind the demo's gateway.
const N_SLAVES: usize = 2;

/// `onemap demo`
#[derive(Args)]
pub(crate) struct DemoArgs {
    /// Another seed gives another city and other incidents.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// A calm city: nothing crosses a threshold.
    #[arg(long)]
    without_incidents: bool,
}

/// Runs the demo until Ctrl-C.
pub(crate) async fn demo(config: Option<&Path>, data_dir: Option<&Path>, args: &DemoArgs) -> Result<()> {
    let dir = data_dir.unwrap_or(Path::new("demo-data"));
    if data_dir.is_none() {
        make_anew(dir)?;
    } else {
        mark_or_refuse(dir)?;
    }
    let mut config = Config::load(config, dir)?;
    config.demo = true;
    if config.forecast.series.is_empty() {
        config.forecast.series = foreseen()?;
    }
    let server = start(&mut config).await?;
    let children = match start_children(&config, &server, args).await {
        Ok(children) => children,
        Err(error) => {
            server.stop().await?;
            return Err(error);
        }
    };
    let mut line = server.ready_line();
    line["token"] = server.token.clone().into();
    line["screen"] = format!("http://{}/#token={}", server.http, server.token).into();
    line["seed"] = args.seed.into();
    let signals = Signals::listen()?;
    announce(&config.data_dir, &line)?;
    eprintln!(
        "\n  西宁市城市运行一张图 (演示) · one map of a simulated Xining\n\n    {}\n\n  Ctrl-C stops it.\n",
        line["screen"].as_str().unwrap_or_default()
    );
    let children = watch(children);
    signals.wait(|| async {}).await;
    info!("stopping the demo");
    stop_children(children).await;
    server.stop().await
}

/// Series of the first stations of rivers and air, which bring along what they measured before.
fn foreseen() -> Result<Vec<GaugePart>> {
    let of = |kind: &'static str, quantity: &'static str, threshold: f64| {
        (1..=N_FORESEEN).map(move |n| {
            let device = DeviceId::new(&format!("{kind}-{n:04}"))?;
            let quantity = Quantity::named(quantity).context("the dictionary has it")?;
            let target = SeriesKey {
                device,
                quantity,
                channel: 0,
            };
            Ok(GaugePart {
                target,
                inputs: Vec::new(),
                ahead: Vec::new(),
                step_s: STEP_S,
                leads: LEADS.to_vec(),
                threshold: Some(threshold),
            })
        })
    };
    of("river", "water_level", 2.5)
        .chain(of("air", "pm2_5", 75.0))
        .collect()
}

/// The demo's own folder, emptied; any other folder stays untouched.
fn make_anew(dir: &Path) -> Result<()> {
    let mark = dir.join(MARK);
    if dir.exists() {
        if !mark.exists() {
            bail!(
                "{} exists and was not made by the demo; name a folder with --data-dir",
                dir.display()
            );
        }
        std::fs::remove_dir_all(dir).with_context(|| format!("cannot empty {}", dir.display()))?;
    }
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    std::fs::write(&mark, "made by `onemap demo`; removed at its next start\n")
        .with_context(|| format!("cannot write {}", mark.display()))
}

/// A folder named by the user: new, empty or a demo's own is used, anything else is not mixed with
/// simulated devices.
fn mark_or_refuse(dir: &Path) -> Result<()> {
    let mark = dir.join(MARK);
    let holds_something = dir.exists()
        && std::fs::read_dir(dir)
            .with_context(|| format!("cannot read {}", dir.display()))?
            .next()
            .is_some();
    if holds_something && !mark.exists() {
        bail!(
            "{} holds data that is not a demo's; simulated devices are not mixed into it",
            dir.display()
        );
    }
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    std::fs::write(&mark, "made by `onemap demo`\n")
        .with_context(|| format!("cannot write {}", mark.display()))
}

/// Starts the server; a port taken by someone else is exchanged for a free one, and that is said.
async fn start(config: &mut Config) -> Result<Server> {
    for listen in [&mut config.http_listen, &mut config.mqtt.listen] {
        if listen.port() != 0 && std::net::TcpListener::bind(*listen).is_err() {
            warn!("port {} is taken; a free one is used instead", listen.port());
            listen.set_port(0);
        }
    }
    Server::start(config).await
}

struct Member {
    name: &'static str,
    child: Child,
}

async fn start_children(config: &Config, server: &Server, args: &DemoArgs) -> Result<Vec<Member>> {
    let sim = sibling("onemap-sim")?;
    let gateway = sibling("onemap-gateway")?;
    let dir = &config.data_dir;
    let mut children = Vec::new();

    let mut slaves = Command::new(&sim);
    slaves.args([
        "modbus",
        "--listen",
        "127.0.0.1:0",
        "--slaves",
        &N_SLAVES.to_string(),
    ]);
    let (slaves, line) = spawn("modbus slaves", slaves, true).await?;
    children.push(slaves);
    let addresses: Vec<String> = line["slaves"]
        .as_array()
        .map(|rows| {
            rows.iter()
                .filter_map(|r| r.as_str().map(str::to_owned))
                .collect()
        })
        .unwrap_or_default();
    if addresses.len() != N_SLAVES {
        bail!("the simulated Modbus slaves announced {line}");
    }

    let mut city = Command::new(&sim);
    city.arg("city")
        .args(["--server", &format!("http://{}", server.http)])
        .args(["--mqtt", &server.mqtt.mqtt.to_string()])
        .args(["--seed", &args.seed.to_string()])
        .args(["--past-days", &PAST_DAYS.to_string()])
        .arg("--state")
        .arg(dir.join("city-tokens.json"))
        .arg("--truth")
        .arg(dir.join("ground-truth.jsonl"))
        .env("ONEMAP_TOKEN", &server.token);
    if args.without_incidents {
        city.arg("--without-incidents");
    }
    let (city, _) = spawn("city", city, false).await?;
    children.push(city);

    let door = Door::to(server.http, &server.token);
    let config_file = dir.join("gateway.toml");
    let written = gateway_config(dir, server.mqtt.mqtt, &addresses);
    let token_file = dir.join("gateway.token");
    let set_up = tokio::task::spawn_blocking(move || -> Result<()> {
        let device = json!({"id": "gw-demo", "name": "演示边缘网关", "name_en": "Demo edge gateway", "kind": "modbus_meter",
            "profile": "modbus-meter", "position": {"lon": 101.7649, "lat": 36.6405}, "cadence_s": 1, "demo": true});
        let answer = door.post("/api/v1/devices?replace=true", &device)?;
        let token = match answer["token"].as_str() {
            Some(token) => token.to_owned(),
            None if token_file.exists() => return Ok(()),
            None => door.post("/api/v1/devices/gw-demo/token", &json!({}))?["token"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
        };
        use std::io::Write as _;
        use std::os::unix::fs::OpenOptionsExt as _;
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&token_file)?;
        writeln!(file, "{token}")?;
        Ok(())
    });
    set_up
        .await
        .context("setting up the gateway was cut short")?
        .context("the demo's gateway cannot be registered")?;
    std::fs::write(&config_file, written)
        .with_context(|| format!("cannot write {}", config_file.display()))?;
    let mut command = Command::new(gateway);
    command.arg("--config").arg(&config_file);
    let (gateway, _) = spawn("gateway", command, true).await?;
    children.push(gateway);
    Ok(children)
}

fn gateway_config(dir: &Path, mqtt: std::net::SocketAddr, slaves: &[String]) -> String {
    let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    let text = |path: PathBuf| json!(path.to_string_lossy()).to_string();
    let mut out = format!(
        "server = \"{mqtt}\"\ndevice = \"gw-demo\"\ntoken_file = {}\n\n[spool]\ndir = {}\nmax_mib = 256\n",
        text(dir.join("gateway.token")),
        text(dir.join("gateway-spool")),
    );
    for (i, address) in slaves.iter().enumerate() {
        out.push_str(&format!(
            "\n[[slave]]\nname = \"meter-{i}\"\naddress = \"{address}\"\nunit = 1\nprofile = {}\nchannel_offset = {}\n",
            text(dir.join("profiles/modbus-meter.yaml")),
            i * 10,
        ));
    }
    out
}

/// A binary built beside this one.
fn sibling(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe().context("this program's own path is not known")?;
    let path = own.with_file_name(name);
    if !path.exists() {
        bail!(
            "{name} is not beside {}; build all binaries with `make build`",
            own.display()
        );
    }
    Ok(path)
}

/// Starts a member of the demo and, when it announces itself, waits for its ready line.
async fn spawn(name: &'static str, mut command: Command, announces: bool) -> Result<(Member, Value)> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .env("ONEMAP_PARENT", std::process::id().to_string());
    if std::env::var_os("RUST_LOG").is_none() {
        // Their routine would push the address off the terminal.
        command.env("RUST_LOG", "warn");
    }
    // Ctrl-C on a terminal reaches the whole group; each member ends by our order instead.
    command.process_group(0);
    let mut child = command
        .spawn()
        .with_context(|| format!("the demo's {name} cannot be started"))?;
    let out = child.stdout.take().context("a piped output is there")?;
    let mut lines = BufReader::new(out).lines();
    let mut ready = Value::Null;
    if announces {
        let first = tokio::time::timeout(Duration::from_secs(10), lines.next_line()).await;
        let Ok(Ok(Some(line))) = first else {
            bail!("the demo's {name} did not come up")
        };
        ready = serde_json::from_str(&line).with_context(|| format!("the demo's {name} said {line}"))?;
    }
    tokio::spawn(async move {
        while let Ok(Some(line)) = lines.next_line().await {
            debug!(member = name, "{line}");
        }
    });
    Ok((Member { name, child }, ready))
}

/// Says when a member ends by itself; the demo goes on without it.
fn watch(members: Vec<Member>) -> Vec<(&'static str, u32, tokio::task::JoinHandle<()>)> {
    members
        .into_iter()
        .filter_map(|Member { name, mut child }| {
            let pid = child.id()?;
            let task = tokio::spawn(async move {
                match child.wait().await {
                    Ok(status) if status.success() => info!(member = name, "ended"),
                    Ok(status) => warn!(member = name, %status, "ended"),
                    Err(error) => warn!(member = name, %error, "cannot be waited for"),
                }
            });
            Some((name, pid, task))
        })
        .collect()
}

async fn stop_children(members: Vec<(&'static str, u32, tokio::task::JoinHandle<()>)>) {
    let signal = |pid: u32, signal| {
        let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
        pid.is_some_and(|pid| rustix::process::kill_process(pid, signal).is_ok())
    };
    for (_, pid, task) in &members {
        if !task.is_finished() {
            signal(*pid, rustix::process::Signal::TERM);
        }
    }
    for (name, pid, mut task) in members {
        if tokio::time::timeout(Duration::from_secs(4), &mut task)
            .await
            .is_err()
        {
            warn!(member = name, "did not stop in time and is killed");
            signal(pid, rustix::process::Signal::KILL);
        }
    }
}

//! The command line's way in: through the HTTP API, of the running server or of one started for the
//! moment. So a command and a request can never differ.

mod accounts;
mod addresses;
mod devices;
mod entities;
mod export;
mod hydrology;
mod persons;
mod recode;

use std::io::IsTerminal as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use onemap_model::{DivisionCode, EntityRef};
use onemap_store::register::import::{Encoding, ImportPlace, import_readings_csv};
use serde_json::{Value, json};

use crate::config::Config;
use crate::serve::Server;

pub(crate) use accounts::UserCommand;
pub(crate) use addresses::AddressesArgs;
pub(crate) use devices::{ImportArgs, MaintainArgs};
pub(crate) use entities::EntitiesArgs;
pub(crate) use export::ExportArgs;
pub(crate) use hydrology::HydrologyArgs;
pub(crate) use persons::PersonsCommand;
pub(crate) use recode::RecodeArgs;

/// Readings of one request.
const N_READINGS: usize = 1000;
/// Rows of an import that wait for their piece to be full, over all devices.
const N_WAITING: usize = 100_000;
/// Refused lines of an import that are told one by one.
const N_ERRORS: usize = 100;

/// Entities of one request.
const N_ENTITIES: usize = 1000;

/// An address and the right to use it.
pub(crate) struct Door {
    base: String,
    token: String,
    agent: ureq::Agent,
    /// The server was there before, and stays.
    is_lasting: bool,
}

/// `onemap device add`
#[derive(Args)]
pub(crate) struct DeviceArgs {
    /// Its id: letters, digits and `-_.:`, at most 64 bytes.
    id: String,
    /// Name for people; the id when absent.
    #[arg(long)]
    name: Option<String>,
    /// English name.
    #[arg(long, default_value = "")]
    name_en: String,
    /// What it is: air_station, river_gauge, manhole, … Rules select by it.
    #[arg(long, default_value = "device")]
    kind: String,
    /// Profile that maps its keys.
    #[arg(long)]
    profile: Option<String>,
    /// Longitude, WGS 84 degrees.
    #[arg(long, requires = "lat", allow_negative_numbers = true)]
    lon: Option<f64>,
    /// Latitude, WGS 84 degrees.
    #[arg(long, requires = "lon", allow_negative_numbers = true)]
    lat: Option<f64>,
    /// Division code; found from the position when absent.
    #[arg(long)]
    division: Option<DivisionCode>,
    /// Seconds between its readings.
    #[arg(long, default_value_t = 0)]
    cadence_s: u32,
    /// The gateway that speaks for it.
    #[arg(long)]
    gateway: Option<String>,
    /// The entity that it stands on, whose state it makes: component/63010201037000012.
    #[arg(long)]
    entity: Option<EntityRef>,
    /// It speaks for other devices, on the gateway topics `v1/gateway/…`.
    #[arg(long)]
    is_gateway: bool,
    /// A gateway whose unknown children are registered when they first speak.
    #[arg(long, requires = "is_gateway")]
    adopts: bool,
    /// Replace a device that is known already with what is said here; its token stays, and so do retirement and
    /// revocation.
    #[arg(long)]
    replace: bool,
}

/// The server that runs on this data folder, if one does.
pub(crate) fn running(config: &Config) -> Result<Option<Door>> {
    let Ok(text) = std::fs::read_to_string(config.data_dir.join("ready.json")) else {
        return Ok(None);
    };
    let ready: Value = serde_json::from_str(&text).context("ready.json is not readable")?;
    let Some(base) = ready["http"].as_str() else {
        return Ok(None);
    };
    let agent = agent();
    // A server that was killed leaves its ready.json behind.
    if agent.get(format!("{base}/health/live")).call().is_err() {
        return Ok(None);
    }
    let path = config.data_dir.join("admin.token");
    let token = std::fs::read_to_string(&path).with_context(|| {
        format!(
            "{} says who may command the running server, and cannot be read",
            path.display()
        )
    })?;
    Ok(Some(Door {
        base: base.to_owned(),
        token: token.trim().to_owned(),
        agent,
        is_lasting: true,
    }))
}

fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(60)))
        .build();
    config.into()
}

/// Does `work` with the running server, or with one started for it on free loopback ports.
pub(crate) async fn with<T: Send + 'static>(
    config: &Config,
    work: impl FnOnce(&Door) -> Result<T> + Send + 'static,
) -> Result<T> {
    let owned = config.clone();
    let found = tokio::task::spawn_blocking(move || running(&owned)).await??;
    let run = |door: Door| async move { tokio::task::spawn_blocking(move || work(&door)).await? };
    if let Some(door) = found {
        return run(door).await;
    }
    let free = ([127, 0, 0, 1], 0).into();
    let config = Config {
        http_listen: free,
        http_tls: None,
        mqtt: onemap_ingest::MqttConfig::new(free),
        ..config.clone()
    };
    let server = Server::start(&config).await?;
    let door = Door {
        base: format!("http://{}", server.http),
        token: server.token.clone(),
        agent: agent(),
        is_lasting: false,
    };
    let done = run(door).await;
    server.stop().await?;
    done
}

/// Departments as lists say them behind a name; nothing for all.
fn of_departments(departments: &Value) -> String {
    let names = departments.as_array().into_iter().flatten();
    let names: Vec<&str> = names.filter_map(Value::as_str).collect();
    match names.is_empty() {
        true => String::new(),
        false => format!(" [{}]", names.join(", ")),
    }
}

impl Door {
    /// A door to a server in this process.
    pub(crate) fn to(http: std::net::SocketAddr, token: &str) -> Self {
        Self {
            base: format!("http://{http}"),
            token: token.to_owned(),
            agent: agent(),
            is_lasting: true,
        }
    }

    pub(crate) fn get(&self, path: &str) -> Result<Value> {
        let request = self.agent.get(format!("{}{path}", self.base));
        let response = request
            .header("authorization", format!("Bearer {}", self.token))
            .call();
        answer(path, response)
    }

    /// As [`Door::get`], for answers that take as long as they take.
    pub(crate) fn get_patiently(&self, path: &str) -> Result<Value> {
        let request = self.agent.get(format!("{}{path}", self.base));
        let response = request
            .config()
            .timeout_global(None)
            .build()
            .header("authorization", format!("Bearer {}", self.token))
            .call();
        answer(path, response)
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Result<Value> {
        let request = self.agent.post(format!("{}{path}", self.base));
        let response = request
            .header("authorization", format!("Bearer {}", self.token))
            .send_json(body);
        answer(path, response)
    }

    fn delete(&self, path: &str) -> Result<Value> {
        let request = self.agent.delete(format!("{}{path}", self.base));
        let response = request
            .header("authorization", format!("Bearer {}", self.token))
            .call();
        answer(path, response)
    }

    fn put(&self, path: &str, body: &Value) -> Result<Value> {
        let request = self.agent.put(format!("{}{path}", self.base));
        let response = request
            .header("authorization", format!("Bearer {}", self.token))
            .send_json(body);
        answer(path, response)
    }

    fn patch(&self, path: &str, body: &Value) -> Result<Value> {
        let request = self.agent.patch(format!("{}{path}", self.base));
        let response = request
            .header("authorization", format!("Bearer {}", self.token))
            .send_json(body);
        answer(path, response)
    }

    fn post_text(&self, path: &str, body: &str) -> Result<Value> {
        let request = self.agent.post(format!("{}{path}", self.base));
        let response = request
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-type", "application/json")
            .send(body);
        answer(path, response)
    }

    /// The text of a token that is made as stated.
    pub(crate) fn new_token(&self, stated: &Value) -> Result<String> {
        let answer = self.post("/api/v1/tokens", stated)?;
        answer["token"]
            .as_str()
            .map(str::to_owned)
            .context("the server's answer holds no token")
    }

    pub(crate) fn list_tokens(&self, json: bool) -> Result<ExitCode> {
        let answer = self.get("/api/v1/tokens")?;
        if json {
            crate::say!("{answer}");
            return Ok(ExitCode::SUCCESS);
        }
        for token in answer["items"].as_array().into_iter().flatten() {
            let text = |key: &str| token[key].as_str().unwrap_or("-");
            crate::say!(
                "{} {:<14} {:<12} {} {:<24} {}{}",
                text("id"),
                text("role"),
                text("division"),
                text("created"),
                text("expires"),
                text("name"),
                of_departments(&token["departments"])
            );
        }
        Ok(ExitCode::SUCCESS)
    }

    pub(crate) fn revoke_token(&self, id: &str) -> Result<ExitCode> {
        let is_id = !id.is_empty() && id.chars().all(|c| c.is_ascii_alphanumeric());
        anyhow::ensure!(is_id, "`{id}` is not a token's id (onemap token list)");
        self.delete(&format!("/api/v1/tokens/{id}"))?;
        Ok(ExitCode::SUCCESS)
    }

    /// Registers a device; its token alone goes to standard output.
    pub(crate) fn add_device(&self, args: DeviceArgs, json: bool) -> Result<ExitCode> {
        let known = self.known(&args.id)?;
        if known && !args.replace {
            bail!(
                "device `{}` is known already; --replace changes it, `onemap device token {}` makes a new token",
                args.id,
                args.id
            );
        }
        let mut device = json!({
            "id": args.id, "name": args.name.unwrap_or_else(|| args.id.clone()), "name_en": args.name_en,
            "kind": args.kind, "profile": args.profile, "division": args.division, "cadence_s": args.cadence_s,
        });
        if let Some(gateway) = args.gateway {
            device["gateway"] = gateway.into();
        }
        if let Some(entity) = args.entity {
            device["entity"] = json!(entity);
        }
        if args.is_gateway {
            device["is_gateway"] = true.into();
            device["adopts"] = args.adopts.into();
        }
        if let (Some(lon), Some(lat)) = (args.lon, args.lat) {
            device["position"] = json!({"lon": lon, "lat": lat});
        }
        let path = format!("/api/v1/devices?replace={}", args.replace);
        let answer = self.post(&path, &device)?;
        match (json, answer["token"].as_str()) {
            (true, _) => crate::say!("{answer}"),
            (false, Some(token)) => crate::say!("{token}"),
            (false, None) => eprintln!("{}", self.replaced(&args.id)?),
        }
        Ok(ExitCode::SUCCESS)
    }

    /// What is said of a known device that was replaced.
    fn replaced(&self, id: &str) -> Result<String> {
        let device = self.get(&format!("/api/v1/devices/{id}"))?;
        let is = |key: &str| device[key] == true;
        let rest = if device["state"] == "retired" {
            format!("it stays retired (onemap device activate {id} takes it back)")
        } else if is("revoked") {
            format!("it stays revoked (onemap device token {id} makes a new token)")
        } else if is("has_token") {
            format!("its token stays (onemap device token {id} makes a new one)")
        } else {
            format!("it has no token (onemap device token {id} makes one)")
        };
        Ok(format!("device `{id}` was known and is changed; {rest}"))
    }

    fn known(&self, id: &str) -> Result<bool> {
        // What cannot be an id is nobody's; the register says why when it is asked to take it.
        if onemap_model::DeviceId::new(id).is_err() {
            return Ok(false);
        }
        let path = format!("/api/v1/devices/{id}");
        let response = self
            .agent
            .get(format!("{}{path}", self.base))
            .header("authorization", format!("Bearer {}", self.token))
            .call();
        if response.as_ref().is_ok_and(|r| r.status() == 404) {
            return Ok(false);
        }
        answer(&path, response).map(|_| true)
    }

    pub(crate) fn rotate(&self, id: &str, grace_s: u32, json: bool) -> Result<ExitCode> {
        let answer = self.post(
            &format!("/api/v1/devices/{id}/token"),
            &json!({"grace_s": grace_s}),
        )?;
        if json {
            crate::say!("{answer}");
        } else {
            crate::say!("{}", answer["token"].as_str().unwrap_or_default());
        }
        Ok(ExitCode::SUCCESS)
    }

    pub(crate) fn list_devices(&self, json: bool) -> Result<ExitCode> {
        let answer = self.get("/api/v1/devices")?;
        if json {
            crate::say!("{answer}");
            return Ok(ExitCode::SUCCESS);
        }
        for device in answer["items"].as_array().into_iter().flatten() {
            let text = |key: &str| device[key].as_str().unwrap_or("-");
            crate::say!(
                "{:<24} {:<16} {:<10} {:<9}{} {}",
                text("id"),
                text("kind"),
                text("division"),
                text("status"),
                if device["stale"] == true { " stale" } else { "" },
                text("name")
            );
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Sends the file's readings by the backfill lane, in the order of its lines as far as pieces of one
    /// device allow, and waits for what became of each. A second run stores nothing twice.
    pub(crate) fn import_readings(&self, file: &Path, json: bool) -> Result<ExitCode> {
        let text = read(file, Encoding::Utf8)?;
        let mut import = Import {
            door: self,
            file,
            waiting: std::collections::BTreeMap::new(),
            n_waiting: 0,
            done: Imported::default(),
        };
        for row in import_readings_csv(&text) {
            match row {
                Ok(row) => import.add(&row),
                Err(fault) => {
                    import.done.faults += 1;
                    let line = match fault.place {
                        ImportPlace::Line(line) => line,
                        ImportPlace::Feature(_) | ImportPlace::Row(_) => 0,
                    };
                    import.refused(line, "broken_line", &fault.message);
                }
            }
        }
        import.send_all();
        let done = import.done;
        if std::io::stderr().is_terminal() {
            eprintln!();
        }
        if done.n_untold() > 0 {
            eprintln!(
                "{}: {} more lines were refused; /api/v1/quarantine has what the server refused",
                file.display(),
                done.n_untold()
            );
        }
        if json {
            crate::say!("{}", done.json());
        } else {
            crate::say!(
                "{} imported ({} new, {} duplicate, {} revised), {} refused",
                done.new + done.duplicate + done.revised,
                done.new,
                done.duplicate,
                done.revised,
                done.refused + done.faults
            );
        }
        Ok(if done.refused + done.faults == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}

/// What became of an import so far.
#[derive(Default)]
struct Imported {
    new: u64,
    duplicate: u64,
    revised: u64,
    /// By the server.
    refused: u64,
    /// Lines that could not be read.
    faults: u64,
    /// The first lines that were refused, as `--json` says them.
    errors: Vec<Value>,
}

impl Imported {
    fn json(&self) -> Value {
        json!({"imported": self.new + self.duplicate + self.revised, "new": self.new,
               "duplicate": self.duplicate, "revised": self.revised, "refused": self.refused + self.faults,
               "errors": self.errors, "errors_left_off": self.n_untold()})
    }

    /// Refused lines that `errors` does not name.
    fn n_untold(&self) -> u64 {
        (self.refused + self.faults).saturating_sub(self.errors.len() as u64)
    }
}

/// An import on its way: rows wait by device until a piece is full.
struct Import<'a> {
    door: &'a Door,
    file: &'a Path,
    /// By device: rows as JSON, with commas between them, and their lines.
    waiting: std::collections::BTreeMap<String, (String, Vec<usize>)>,
    n_waiting: usize,
    done: Imported,
}

impl Import<'_> {
    fn add(&mut self, row: &onemap_store::register::import::ReadingRow) {
        let (rows, lines) = self.waiting.entry(row.device.to_string()).or_default();
        if !lines.is_empty() {
            rows.push(',');
        }
        let reading = json!({"q": row.quantity, "ch": row.channel, "t": row.at.ms(), "v": row.value});
        rows.push_str(&reading.to_string());
        lines.push(row.line);
        self.n_waiting += 1;
        if lines.len() == N_READINGS {
            self.send(row.device.as_str());
        } else if self.n_waiting >= N_WAITING {
            self.send_all();
        }
    }

    /// Says that a line was refused and why; of many only the first.
    fn refused(&mut self, line: usize, reason: &str, message: &str) {
        if self.done.errors.len() >= N_ERRORS {
            return;
        }
        eprintln!("{}: line {line}: {reason}: {message}", self.file.display());
        self.done
            .errors
            .push(json!({"line": line, "reason": reason, "message": message}));
    }

    fn all_refused(&mut self, lines: &[usize], reason: &str, message: &str) {
        for line in lines.iter().take(N_ERRORS) {
            self.refused(*line, reason, message);
        }
    }

    fn send_all(&mut self) {
        let devices: Vec<String> = self.waiting.keys().cloned().collect();
        for device in devices {
            self.send(&device);
        }
    }

    fn send(&mut self, device: &str) {
        let Some((rows, lines)) = self.waiting.remove(device) else {
            return;
        };
        self.n_waiting -= lines.len();
        let body = format!("{{\"device\":{},\"readings\":[{rows}]}}", json!(device));
        match self.door.post_text("/api/v1/readings/import", &body) {
            Ok(answer) => {
                let count = |name: &str| answer["stored"][name].as_u64().unwrap_or(0);
                let [new, duplicate, revised] = ["new", "duplicate", "revised"].map(count);
                self.done.new += new;
                self.done.duplicate += duplicate;
                self.done.revised += revised;
                // Of rows and not of faults: a retired device is refused with all its rows at once.
                self.done.refused += (lines.len() as u64).saturating_sub(new + duplicate + revised);
                for error in answer["errors"].as_array().into_iter().flatten() {
                    let reason = error["reason"].as_str().unwrap_or_default();
                    let message = error["message"].as_str().unwrap_or_default();
                    let row = error["row"].as_u64().and_then(|row| usize::try_from(row).ok());
                    match row.and_then(|row| lines.get(row.checked_sub(1)?)) {
                        Some(line) => self.refused(*line, reason, message),
                        None => self.all_refused(&lines, reason, message),
                    }
                }
            }
            Err(refused) => {
                self.done.refused += lines.len() as u64;
                self.all_refused(&lines, "not_taken", &format!("`{device}`: {refused:#}"));
            }
        }
        if std::io::stderr().is_terminal() {
            eprint!(
                "\r{} rows",
                self.done.new + self.done.duplicate + self.done.revised
            );
        }
    }
}

fn read(file: &Path, encoding: Encoding) -> Result<String> {
    let bytes = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let text = encoding.decode(&bytes).map(std::borrow::Cow::into_owned);
    text.map_err(|what| anyhow::anyhow!("{}: {what}", file.display()))
}

fn progress(done: usize, of: usize) {
    if std::io::stderr().is_terminal() {
        eprint!("\r{done} of {of}");
        if done == of {
            eprintln!();
        }
    }
}

fn report(json: bool, n: usize, n_faults: usize) -> Result<ExitCode> {
    if json {
        crate::say!("{}", json!({"imported": n, "refused": n_faults}));
    } else {
        crate::say!("{n} imported, {n_faults} refused");
    }
    Ok(if n_faults == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn answer(path: &str, response: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<Value> {
    let mut response = response.with_context(|| format!("the server does not answer at {path}"))?;
    let status = response.status();
    let text = response
        .body_mut()
        .read_to_string()
        .with_context(|| format!("the answer at {path} was cut short"))?;
    let value: Value = if text.trim().is_empty() {
        Value::Null
    } else {
        serde_json::from_str(&text).unwrap_or(Value::Null)
    };
    if !status.is_success() {
        let detail = value["detail"].as_str().unwrap_or(text.trim());
        let errors = value["errors"].as_array().into_iter().flatten();
        let errors: String = errors
            .map(|e| format!("\n  {}: {}", e["at"], e["message"].as_str().unwrap_or("")))
            .collect();
        bail!("the server refused ({status}): {detail}{errors}");
    }
    Ok(value)
}

//! Brings geography and devices into the server's register over its HTTP API, once.
//!
//! Idempotent: the tokens that the server shows once are kept in a state file of mode 0600; a device that
//! stands in the register as planned and whose token is known is left alone.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use onemap_model::{Device, DeviceId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::geography::FILES;
use super::truck::DemoFence;

/// Features in one request.
const FEATURES_A_REQUEST: usize = 200;
/// Readings in one request.
const READINGS_A_REQUEST: usize = 1000;
/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// Largest answer that is read.
const MAX_ANSWER_BYTES: u64 = 16 << 20;

/// What survives a restart of the simulator.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    /// The server it belongs to.
    server: String,
    /// Hash of the geography that was registered there.
    #[serde(default)]
    geography: String,
    /// Token of each device.
    #[serde(default)]
    tokens: BTreeMap<String, String>,
}

/// A connection to the register. Calls block: use it from a thread that may.
pub struct Register {
    agent: ureq::Agent,
    admin: String,
    state: State,
    path: Option<PathBuf>,
}

/// FNV-1a, to notice that a file changed.
fn fingerprint(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

impl Register {
    /// Reads the state file, if there is one for this server.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub fn open(server: &str, admin_token: &str, path: Option<&Path>) -> anyhow::Result<Self> {
        let server = server.trim_end_matches('/').to_owned();
        let mut state = State::default();
        if let Some(path) = path {
            match std::fs::read(path) {
                Ok(bytes) => {
                    state = serde_json::from_slice(&bytes).with_context(|| {
                        format!("`{}` is not a state file of the simulator", path.display())
                    })?;
                }
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                Err(e) => return Err(e).with_context(|| format!("cannot read `{}`", path.display())),
            }
        }
        // The address may change with a free port; whether a token is still good is the server's word.
        state.server = server;
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(PATIENCE))
            .http_status_as_error(false)
            .build()
            .new_agent();
        Ok(Self {
            agent,
            admin: format!("Bearer {admin_token}"),
            state,
            path: path.map(Path::to_owned),
        })
    }

    fn save(&self) -> anyhow::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".new");
        let fresh = path.with_file_name(name);
        let write = || -> std::io::Result<()> {
            let mut options = std::fs::OpenOptions::new();
            let mut file = options
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&fresh)?;
            file.write_all(&serde_json::to_vec_pretty(&self.state)?)?;
            file.sync_all()?;
            std::fs::rename(&fresh, path)
        };
        write().with_context(|| format!("cannot keep the device tokens in `{}`", path.display()))
    }

    fn answer(
        &self,
        what: &str,
        response: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> anyhow::Result<(u16, Value)> {
        let mut response = response.with_context(|| format!("{what}: the server cannot be asked"))?;
        let status = response.status().as_u16();
        let bytes = response
            .body_mut()
            .with_config()
            .limit(MAX_ANSWER_BYTES)
            .read_to_vec()
            .with_context(|| format!("{what}: the answer broke off"))?;
        Ok((status, serde_json::from_slice(&bytes).unwrap_or(Value::Null)))
    }

    fn get(&self, path: &str) -> anyhow::Result<(u16, Value)> {
        let url = format!("{}{path}", self.state.server);
        self.answer(
            path,
            self.agent.get(url).header("Authorization", &self.admin).call(),
        )
    }

    fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let url = format!("{}{path}", self.state.server);
        let (status, answer) = self.answer(
            path,
            self.agent
                .post(url)
                .header("Authorization", &self.admin)
                .send_json(body),
        )?;
        if !(200..300).contains(&status) {
            bail!("POST {path} is answered with {status}: {answer}");
        }
        Ok(answer)
    }

    /// Registers the shipped geography unless the server has it already. Returns the number of features sent.
    ///
    /// # Errors
    /// When the server refuses or cannot be reached.
    pub fn geography(&mut self) -> anyhow::Result<usize> {
        let print = FILES
            .iter()
            .fold(0u64, |sum, (_, text)| sum.rotate_left(9) ^ fingerprint(text));
        let print = format!("{print:016x}");
        let mut n = 0;
        let mut known = self.state.geography == print;
        for (file, text) in FILES {
            let all: Value = serde_json::from_str(text).with_context(|| format!("city file `{file}`"))?;
            let features = all["features"]
                .as_array()
                .with_context(|| format!("city file `{file}` has no features"))?;
            // The last feature being there says that everything before it was taken, too.
            let last = features.last().and_then(|f| f["properties"]["code"].as_str());
            if let (true, Some(code)) = (known, last) {
                known = self.get(&format!("/api/v1/entities/{code}"))?.0 == 200;
            }
            if known {
                continue;
            }
            for part in features.chunks(FEATURES_A_REQUEST) {
                self.post(
                    "/api/v1/entities",
                    &serde_json::json!({"type": "FeatureCollection", "features": part}),
                )?;
                n += part.len();
            }
        }
        if n > 0 {
            self.state.geography = print;
            self.save()?;
        }
        Ok(n)
    }

    /// Sets the fences that are not there as they are planned: who is in a fence that is set enters it again.
    /// Returns how many.
    ///
    /// # Errors
    /// When the server refuses or cannot be reached.
    pub fn fences(&mut self, fences: &[DemoFence]) -> anyhow::Result<usize> {
        let mut n = 0;
        for fence in fences {
            let path = format!("/api/v1/fences/{}", escape(&fence.code));
            let (status, found) = self.get(&path)?;
            let planned = fence.body.as_object().into_iter().flatten();
            if status == 200 && planned.clone().all(|(name, value)| found[name] == *value) {
                continue;
            }
            let url = format!("{}{path}", self.state.server);
            let sent = self
                .agent
                .put(url)
                .header("Authorization", &self.admin)
                .send_json(&fence.body);
            let (status, answer) = self.answer(&path, sent)?;
            if !(200..300).contains(&status) {
                bail!("PUT {path} is answered with {status}: {answer}");
            }
            n += 1;
        }
        Ok(n)
    }

    /// Sends readings of the past of a device.
    ///
    /// # Errors
    /// When the server refuses or cannot be reached.
    pub fn readings(&self, device: &DeviceId, readings: &[Value]) -> anyhow::Result<()> {
        for part in readings.chunks(READINGS_A_REQUEST) {
            self.post(
                "/api/v1/readings",
                &serde_json::json!({"device": device, "readings": part}),
            )?;
        }
        Ok(())
    }

    /// Everything the server has registered, by id.
    fn registered(&self) -> anyhow::Result<HashMap<String, Value>> {
        let mut all = HashMap::new();
        let mut path = "/api/v1/devices".to_owned();
        loop {
            let (status, answer) = self.get(&path)?;
            if status != 200 {
                bail!("GET {path} is answered with {status}: {answer}");
            }
            for item in answer["items"].as_array().into_iter().flatten() {
                if let Some(id) = item["id"].as_str() {
                    all.insert(id.to_owned(), item.clone());
                }
            }
            match answer["next"].as_str() {
                Some(next) => path = format!("/api/v1/devices?after={}", escape(next)),
                None => return Ok(all),
            }
        }
    }

    /// Registers what is missing or different and returns how many were sent; afterwards
    /// [`Register::token`] knows every device's token.
    ///
    /// # Errors
    /// When the server refuses or cannot be reached; what was done so far is kept.
    pub fn devices<'a>(&mut self, wanted: impl Iterator<Item = &'a Device>) -> anyhow::Result<usize> {
        let there = self.registered()?;
        let mut n = 0;
        for device in wanted {
            let id = device.id.as_str();
            match there.get(id) {
                Some(found) if same(device, found)? => {
                    if !self.state.tokens.contains_key(id) {
                        self.new_token(&device.id)?;
                        n += 1;
                    }
                }
                _ => {
                    // What is there may be of another plan; it becomes what this one says and keeps its token.
                    let path = "/api/v1/devices?replace=true";
                    let answer = self.post(path, &serde_json::to_value(device)?)?;
                    if answer["token"].is_string() {
                        self.keep(id, &answer)?;
                    } else if !self.state.tokens.contains_key(id) {
                        self.new_token(&device.id)?;
                    }
                    n += 1;
                }
            }
        }
        self.save()?;
        Ok(n)
    }

    fn keep(&mut self, id: &str, answer: &Value) -> anyhow::Result<()> {
        let token = answer["token"]
            .as_str()
            .with_context(|| format!("the server gives no token for `{id}`"))?;
        self.state.tokens.insert(id.to_owned(), token.to_owned());
        Ok(())
    }

    fn new_token(&mut self, device: &DeviceId) -> anyhow::Result<()> {
        let answer = self.post(
            &format!("/api/v1/devices/{}/token", escape(device.as_str())),
            &serde_json::json!({}),
        )?;
        self.keep(device.as_str(), &answer)
    }

    /// The token of a device that went through [`Register::devices`].
    pub fn token(&self, device: &DeviceId) -> Option<&str> {
        self.state.tokens.get(device.as_str()).map(String::as_str)
    }

    /// Gives a device a new token because the server refuses the old one; registers the device if it is gone.
    ///
    /// # Errors
    /// When the server refuses or cannot be reached.
    pub fn renew(&mut self, device: &Device) -> anyhow::Result<String> {
        self.state.tokens.remove(device.id.as_str());
        self.devices(std::iter::once(device))?;
        let token = self
            .token(&device.id)
            .context("a registered device has a token")?;
        Ok(token.to_owned())
    }
}

/// Whether the register's answer holds the device as planned.
fn same(device: &Device, found: &Value) -> anyhow::Result<bool> {
    let planned = serde_json::to_value(device)?;
    let fields = ["name", "kind", "position", "cadence_s", "setting", "profile"];
    Ok(fields.iter().all(|field| match (&planned[field], &found[field]) {
        (Value::Object(a), Value::Object(b)) => a.iter().all(|(k, v)| b.get(k) == Some(v)),
        (a, b) => a == b,
    }))
}

/// Percent-encodes everything that is not plain in a path or query.
fn escape(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.~".contains(&b);
    text.bytes()
        .map(|b| {
            if plain(b) {
                char::from(b).to_string()
            } else {
                format!("%{b:02X}")
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_state_file_is_for_the_owner_only_and_reads_back() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.json");
        let mut register = Register::open("http://127.0.0.1:1/", "t", Some(&path)).unwrap();
        register
            .keep("air-0001", &serde_json::json!({"token": "geheim"}))
            .unwrap();
        register.save().unwrap();
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        let again = Register::open("http://127.0.0.1:2", "t", Some(&path)).unwrap();
        assert_eq!(again.token(&DeviceId::new("air-0001").unwrap()), Some("geheim"));
        std::fs::write(&path, "{}x").unwrap();
        assert!(Register::open("http://127.0.0.1:2", "t", Some(&path)).is_err());
    }

    #[test]
    fn ids_are_escaped_for_paths() {
        assert_eq!(escape("站-1:a b"), "%E7%AB%99-1%3Aa%20b");
    }
}

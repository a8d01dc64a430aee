//! The gateway's configuration: as written in TOML, then as meant.
//!
//! ```toml
//! server = "127.0.0.1:1883"      # MQTT address of the server
//! device = "gateway-1"           # the gateway's own id in the register
//! token_file = "gateway.token"   # or the environment variable ONEMAP_GATEWAY_TOKEN
//!
//! [spool]
//! dir = "spool"
//! max_mib = 256
//!
//! [[slave]]
//! name = "meter-1"
//! address = "127.0.0.1:5020"
//! unit = 1                       # default: the profile's
//! profile = "profiles/meter.yaml"
//! channel_offset = 0             # added to the profile's channels: keeps slaves apart
//! timeout_ms = 1000
//! ```
//! Relative paths start at the configuration file's folder. Unknown keys are refused.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use onemap_model::{DeviceId, IdError, ProfileId};
use onemap_wire::modbus::RegisterMap;
use onemap_wire::profile::{Profile, ProfileError};
use serde::Deserialize;

/// Environment variable that may hold the token.
pub const TOKEN_VARIABLE: &str = "ONEMAP_GATEWAY_TOKEN";
/// Most values of one poll: its message must stay well under the server's packet limit.
pub const MAX_VALUES: usize = 2_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    server: String,
    device: String,
    token_file: Option<PathBuf>,
    spool: SpoolFile,
    #[serde(default)]
    slave: Vec<SlaveFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SpoolFile {
    dir: PathBuf,
    #[serde(default = "default_mib")]
    max_mib: u64,
}

fn default_mib() -> u64 {
    256
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SlaveFile {
    name: String,
    address: String,
    unit: Option<u8>,
    profile: PathBuf,
    #[serde(default)]
    channel_offset: u16,
    #[serde(default = "default_timeout_ms")]
    timeout_ms: u64,
}

fn default_timeout_ms() -> u64 {
    1000
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("cannot read {what} `{}`", path.display())]
    Read {
        /// What it is.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Not TOML of the right shape; says line and column.
    #[error("`{}` is not a gateway configuration", path.display())]
    Toml {
        /// The file.
        path: PathBuf,
        /// What TOML said.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// The device's or profile's name is not one.
    #[error("`{text}` cannot be the name of a {what}")]
    Name {
        /// Device or profile.
        what: &'static str,
        /// As written.
        text: String,
        /// Why.
        #[source]
        source: IdError,
    },
    /// A profile is wrong; says line and column.
    #[error("`{}`", path.display())]
    Profile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: Box<ProfileError>,
    },
    /// Neither file nor environment gives a token.
    #[error("no token: set token_file or the variable {TOKEN_VARIABLE}")]
    NoToken,
    /// A value makes no sense.
    #[error("{0}")]
    Value(String),
}

/// The token. It has no `Debug`, so that it stays out of logs.
#[derive(Clone)]
pub struct Token(pub String);

/// One slave, checked.
#[derive(Clone, Debug)]
pub struct Slave {
    /// Its name in logs and the status.
    pub name: String,
    /// Modbus TCP address, `host:port`. Slaves with the same address share a connection.
    pub address: String,
    /// Unit id.
    pub unit: u8,
    /// What to read, channels already moved.
    pub map: RegisterMap,
    /// How long an answer may take.
    pub timeout: Duration,
}

/// A checked configuration.
#[derive(Clone)]
pub struct Config {
    /// Host of the server as the client wants it (IPv6 in brackets).
    pub host: String,
    /// Its MQTT port.
    pub port: u16,
    /// The gateway's id.
    pub device: DeviceId,
    /// Its token.
    pub token: Token,
    /// Folder of the spool.
    pub spool_dir: PathBuf,
    /// Most bytes of the spool on disk.
    pub spool_bytes: u64,
    /// What is polled.
    pub slaves: Vec<Slave>,
}

impl Config {
    /// Reads and checks the file and everything it names.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::load_with(path, std::env::var(TOKEN_VARIABLE).ok())
    }

    fn load_with(path: &Path, token: Option<String>) -> Result<Self, ConfigError> {
        let text = read("configuration", path)?;
        let file: File = toml::from_str(&text).map_err(|source| ConfigError::Toml {
            path: path.to_owned(),
            source: Box::new(source),
        })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let wrong = |text: String| Err(ConfigError::Value(text));

        let Some((host, port)) = file.server.rsplit_once(':') else {
            return wrong(format!("server `{}` is not host:port", file.server));
        };
        let (host, Ok(port)) = (host.to_owned(), port.parse()) else {
            return wrong(format!("server `{}` has no port", file.server));
        };
        let device = DeviceId::new(&file.device).map_err(|source| ConfigError::Name {
            what: "device",
            text: file.device.clone(),
            source,
        })?;
        let token = match (file.token_file, token) {
            (Some(path), _) => read("token", &folder.join(path))?,
            (None, Some(token)) => token,
            (None, None) => return Err(ConfigError::NoToken),
        };
        let token = token.trim().to_owned();
        if token.is_empty() {
            return Err(ConfigError::NoToken);
        }
        if !(1..=1 << 20).contains(&file.spool.max_mib) {
            return wrong(format!(
                "spool.max_mib is {}, it may be 1 to 1048576",
                file.spool.max_mib
            ));
        }
        let mut slaves = Vec::new();
        for slave in file.slave {
            slaves.push(slave.check(folder)?);
        }
        no_two_alike(&slaves)?;
        Ok(Self {
            host,
            port,
            device,
            token: Token(token),
            spool_dir: folder.join(file.spool.dir),
            spool_bytes: file.spool.max_mib << 20,
            slaves,
        })
    }
}

fn read(what: &'static str, path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
        what,
        path: path.to_owned(),
        source,
    })
}

impl SlaveFile {
    fn check(self, folder: &Path) -> Result<Slave, ConfigError> {
        let wrong = |text: String| Err(ConfigError::Value(format!("slave `{}`: {text}", self.name)));
        let path = folder.join(&self.profile);
        let text = read("profile", &path)?;
        let stem = path.file_stem().and_then(|s| s.to_str()).unwrap_or_default();
        let id = ProfileId::new(stem).map_err(|source| ConfigError::Name {
            what: "profile",
            text: stem.to_owned(),
            source,
        })?;
        let profile = Profile::parse(&id, &text).map_err(|source| ConfigError::Profile {
            path,
            source: Box::new(source),
        })?;
        let Some(mut map) = profile.modbus else {
            return wrong(format!("profile `{id}` has no Modbus registers"));
        };
        if self.timeout_ms == 0 {
            return wrong("timeout_ms must be more than 0".to_owned());
        }
        let n_values: usize = map.registers.iter().map(|r| usize::from(r.count)).sum();
        if n_values > MAX_VALUES {
            return wrong(format!(
                "a poll gives {n_values} values, at most {MAX_VALUES} are possible"
            ));
        }
        for register in &mut map.registers {
            let last =
                u32::from(register.channel) + u32::from(self.channel_offset) + u32::from(register.count);
            if last > u32::from(u16::MAX) {
                return wrong(format!(
                    "channels of `{}` run over {}",
                    register.quantity,
                    u16::MAX
                ));
            }
            register.channel += self.channel_offset;
        }
        Ok(Slave {
            unit: self.unit.unwrap_or(map.unit),
            name: self.name,
            address: self.address,
            map,
            timeout: Duration::from_millis(self.timeout_ms),
        })
    }
}

/// Two registers may not give the same series, nor two slaves have the same name.
fn no_two_alike(slaves: &[Slave]) -> Result<(), ConfigError> {
    let mut series = HashMap::new();
    let mut names = HashMap::new();
    for slave in slaves {
        if names.insert(&slave.name, ()).is_some() {
            return Err(ConfigError::Value(format!(
                "two slaves are called `{}`",
                slave.name
            )));
        }
        for register in &slave.map.registers {
            for i in 0..register.count {
                let channel = register.channel + i;
                if let Some(other) = series.insert((register.quantity, channel), &slave.name) {
                    return Err(ConfigError::Value(format!(
                        "slaves `{other}` and `{}` both give {} channel {channel}; set channel_offset",
                        slave.name, register.quantity
                    )));
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const PROFILE: &str = "version: 1
name: {zh: 计数表, en: Counter}
protocol: modbus
modbus: {unit: 3, poll: 100ms, registers: [{address: 0, table: input, type: u16, count: 20, quantity: counter}]}
";
    const GOOD: &str = r#"server = "[::1]:1883"
device = "gw-1"
token_file = "token"
[spool]
dir = "spool"
[[slave]]
name = "a"
address = "127.0.0.1:5020"
profile = "meter.yaml"
[[slave]]
name = "b"
address = "127.0.0.1:5021"
unit = 9
profile = "meter.yaml"
channel_offset = 20
"#;

    fn load(text: &str) -> Result<Config, String> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("meter.yaml"), PROFILE).unwrap();
        std::fs::write(dir.path().join("token"), "secret\n").unwrap();
        let path = dir.path().join("gateway.toml");
        std::fs::write(&path, text).unwrap();
        Config::load_with(&path, None).map_err(|e| {
            let cause = std::error::Error::source(&e)
                .map(|c| format!(": {c}"))
                .unwrap_or_default();
            format!("{e}{cause}")
        })
    }

    #[test]
    fn a_good_file_is_read_as_meant() {
        let config = load(GOOD).unwrap();
        assert_eq!(
            (config.host.as_str(), config.port, config.token.0.as_str()),
            ("[::1]", 1883, "secret")
        );
        assert_eq!(config.spool_bytes, 256 << 20);
        let [a, b] = &config.slaves[..] else {
            panic!("two slaves")
        };
        assert_eq!((a.unit, a.map.registers[0].channel), (3, 0));
        assert_eq!((b.unit, b.map.registers[0].channel), (9, 20));
        assert_eq!(b.timeout, Duration::from_secs(1));
    }

    #[test]
    fn the_example_is_a_good_configuration() {
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("example");
        let dir = tempfile::tempdir().unwrap();
        for file in ["gateway.toml", "sim-meter.yaml"] {
            std::fs::copy(example.join(file), dir.path().join(file)).unwrap();
        }
        std::fs::write(dir.path().join("gateway.token"), "t").unwrap();
        let config = Config::load_with(&dir.path().join("gateway.toml"), None).unwrap();
        assert_eq!(config.slaves.len(), 2);
        assert_eq!(config.slaves[1].map.registers[0].channel, 20);
        assert_eq!(config.slaves[0].map.read_plan().len(), 2);
    }

    #[test]
    fn bad_files_say_what_is_wrong() {
        let cases = [
            (GOOD.replace("device =", "devise ="), "devise"),
            (GOOD.replace("\"[::1]:1883\"", "\"host\""), "not host:port"),
            (GOOD.replace("gw-1", "gw/1"), "cannot be the name of a device"),
            (
                GOOD.replace("channel_offset = 20", "channel_offset = 19"),
                "both give counter channel 19",
            ),
            (
                GOOD.replace("name = \"b\"", "name = \"a\""),
                "two slaves are called `a`",
            ),
            (
                GOOD.replace("channel_offset = 20", "channel_offset = 65530"),
                "run over 65535",
            ),
            (GOOD.replace("meter.yaml", "none.yaml"), "cannot read profile"),
            (GOOD.replace("token_file = \"token\"\n", ""), "no token"),
            (
                GOOD.replace("dir = \"spool\"", "dir = \"spool\"\nmax_mib = 0"),
                "spool.max_mib is 0",
            ),
        ];
        for (text, wanted) in cases {
            let error = load(&text).err().unwrap_or_else(|| panic!("{wanted}: was taken"));
            assert!(error.contains(wanted), "{error}");
        }
    }
}

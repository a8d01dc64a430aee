//! Who a field station is: a device of the register whose profile is of its protocol.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use onemap_dashboards::views::Views;
use onemap_ingest::Counters;
use onemap_ingest::station::{Admitted, Denied, Manner, Peers, StationServer, Stations, Surroundings};
use onemap_model::{AttributeScope, DeviceId, DeviceState, ProfileId, Source};
use onemap_store::ledger::TokenHash;
use onemap_wire::profile::{Hydrological, Profile, Protocol};
use onemap_wire::sl651::reply::Mode;
use onemap_wire::{hj212, sl651};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::house::clock;

/// Fact: the number of the mode that a station said to have (item 0C of the basic table).
pub(crate) const WORK_MODE: &str = "work_mode";

const POISON: &str = "no holder of this lock panics";

/// The listeners' look-up of stations.
struct Registered {
    views: Arc<Views>,
    /// By profile.
    modes: Mutex<HashMap<ProfileId, Stated>>,
}

/// The mode of hydrological stations that a profile's text states.
struct Stated {
    text: Arc<str>,
    mode: Option<Mode>,
}

impl Registered {
    fn new(views: Arc<Views>) -> Self {
        Self {
            views,
            modes: Mutex::default(),
        }
    }

    /// The mode that the profile states.
    fn stated_mode(&self, device: &DeviceId) -> Option<Mode> {
        let (id, text) = {
            let register = self.views.register.read().expect(POISON);
            let id = register.view.devices.get(device)?.profile.clone()?;
            let text = register.view.profiles.get(&id)?.clone();
            (id, text)
        };
        let mut known = self.modes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(stated) = known.get(&id)
            && Arc::ptr_eq(&stated.text, &text)
        {
            return stated.mode;
        }
        let mode = Profile::parse(&id, &text)
            .ok()
            .and_then(|profile| profile.sl651.mode);
        known.insert(id, Stated { text, mode });
        mode
    }
}

/// What a profile says of hydrological stations.
pub(crate) fn hydrological(views: &Views, device: &DeviceId) -> Option<Hydrological> {
    let register = views.register.read().expect(POISON);
    let id = register.view.devices.get(device)?.profile.clone()?;
    let text = register.view.profiles.get(&id)?.clone();
    drop(register);
    let profile = Profile::parse(&id, &text).ok()?;
    (profile.protocol == Protocol::Sl651).then_some(profile.sl651)
}

/// The mode by the number that the basic table has for it (0C): who reports only is not answered.
fn mode_of(number: u64) -> Option<Mode> {
    match number {
        1 => Some(Mode::M1),
        2 | 4 => Some(Mode::M2),
        3 => Some(Mode::M4),
        _ => None,
    }
}

impl Stations for Registered {
    fn station(&self, protocol: Source, number: &str, password: &str) -> Result<Admitted, Denied> {
        let views = &self.views;
        let device = {
            let register = views.register.read().expect(POISON);
            let find = |id: &str| register.view.devices.get(id).cloned();
            match protocol {
                // Addresses are hexadecimal digits, and a register may have them in either case.
                Source::Gbt26875 | Source::Sl651 => find(number)
                    .or_else(|| find(&number.to_ascii_uppercase()))
                    .or_else(|| find(&number.to_ascii_lowercase())),
                _ => find(number),
            }
        };
        let device = device.ok_or(Denied::Unknown)?;
        if views.protocol(&device).map(source_of) != Some(Some(protocol)) {
            return Err(Denied::OtherProtocol);
        }
        if device.state == DeviceState::Retired {
            return Err(Denied::Retired);
        }
        if views.keys.is_revoked(&device.id) {
            return Err(Denied::Revoked);
        }
        if protocol == Source::Gbt26875 {
            // The standard has no password.
            return Ok(Admitted {
                device: device.id.clone(),
                credential: 0,
            });
        }
        if !views.keys.has_token(&device.id) {
            return Err(Denied::NoPassword);
        }
        let hash = views.keys.station(protocol.name(), &device.id, password);
        let hash = hash.or_else(|| takes(views, &device.id, protocol, password));
        let hash = hash.ok_or(Denied::WrongPassword)?;
        Ok(Admitted {
            device: device.id.clone(),
            credential: hash.fingerprint(),
        })
    }

    fn manner(&self, device: &DeviceId) -> Manner {
        let views = &self.views;
        let mode = self.stated_mode(device).or_else(|| {
            let said = views
                .attributes
                .get(device.as_str(), AttributeScope::Fact, WORK_MODE)?;
            mode_of(said.value.as_u64()?)
        });
        let now = views.now();
        let work = views.commands.work();
        let waiting = work.book.waiting(device.as_str());
        let n_waiting = waiting
            .filter(|command| !command.is_final() && command.order.expires_at > now)
            .count();
        Manner {
            mode: mode.unwrap_or(Mode::M2),
            n_waiting,
        }
    }
}

/// The hash of a password that a station was told to take and has not said yet that it has: it may answer with it.
fn takes(views: &Views, device: &DeviceId, protocol: Source, password: &str) -> Option<TokenHash> {
    let hash = TokenHash::of_password(protocol.name(), device.as_str(), password);
    let work = views.commands.work();
    let is_taken = work.book.waiting(device.as_str()).any(|command| {
        let method = match protocol {
            Source::Hj212 => hj212::method_of(&command.order.method),
            Source::Sl651 => sl651::method_of(&command.order.method),
            _ => None,
        };
        // Noted in the journal a little later than it leaves, and a station may be quick.
        (command.attempts > 0 || work.outbox.has_sent(command.id))
            && method.is_some_and(|method| method.name == "set_password")
            && password_hash(protocol, device, &command.order.params) == Some(hash)
    });
    is_taken.then_some(hash)
}

/// The hash of the password that an order holds: sealed with its hash, or, by an older version, as it is.
pub(crate) fn password_hash(protocol: Source, device: &DeviceId, params: &Value) -> Option<TokenHash> {
    match &params["password"] {
        Value::String(password) => {
            let password = match protocol {
                Source::Sl651 => password.to_ascii_uppercase(),
                _ => password.clone(),
            };
            Some(TokenHash::of_password(
                protocol.name(),
                device.as_str(),
                &password,
            ))
        }
        sealed => sealed["hash"].as_str()?.parse().ok(),
    }
}

fn source_of(protocol: Protocol) -> Option<Source> {
    match protocol {
        Protocol::Hj212 => Some(Source::Hj212),
        Protocol::Sl651 => Some(Source::Sl651),
        Protocol::Gbt26875 => Some(Source::Gbt26875),
        _ => None,
    }
}

/// Bound servers of stations.
pub(crate) struct Servers {
    bound: Vec<(&'static str, StationServer)>,
}

impl Servers {
    /// Binds what the configuration names.
    pub(crate) async fn bind(config: &Config) -> Result<Self> {
        let mut bound = Vec::new();
        if let Some(hj212) = &config.hj212 {
            let server = StationServer::bind(Source::Hj212, hj212.server.clone()).await;
            bound.push(("hj212", server.context("[hj212] cannot be served")?));
        }
        if let Some(sl651) = &config.sl651 {
            let server = StationServer::bind(Source::Sl651, sl651.server.clone()).await;
            bound.push(("sl651", server.context("[sl651] cannot be served")?));
        }
        if let Some(gbt26875) = &config.gbt26875 {
            let server = StationServer::bind(Source::Gbt26875, gbt26875.server.clone()).await;
            bound.push(("gbt26875", server.context("[gbt26875] cannot be served")?));
        }
        Ok(Self { bound })
    }

    /// Under which name each stands in the ready line, and where it listens.
    pub(crate) fn addresses(&self) -> Vec<(&'static str, SocketAddr)> {
        let addresses = self.bound.iter();
        addresses
            .map(|(name, server)| (*name, server.address()))
            .collect()
    }

    /// Serves until `stop`; gives each server's task by its name.
    pub(crate) fn start(
        self,
        views: &Arc<Views>,
        counters: &Counters,
        peers: &Peers,
        stop: &CancellationToken,
    ) -> Vec<(&'static str, tokio::task::JoinHandle<Result<()>>)> {
        let start = |(name, server): (&'static str, StationServer)| {
            let with = Surroundings {
                log: views.log.clone(),
                stations: Arc::new(Registered::new(views.clone())),
                counters: counters.clone(),
                links: views.links.clone(),
                peers: peers.clone(),
                keys: views.station_keys.clone(),
                clock,
            };
            let stop = stop.clone();
            let task = tokio::spawn(async move {
                server.run(with, stop).await;
                Ok(())
            });
            (name, task)
        };
        self.bound.into_iter().map(start).collect()
    }
}

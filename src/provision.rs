//! Devices that register themselves with a profile's key and secret (the ThingsBoard provisioning API).

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::{Duration, Instant};

use onemap_dashboards::auth::new_token;
use onemap_dashboards::views::Views;
use onemap_ingest::{Denial, Provision};
use onemap_log::Batch;
use onemap_model::record::{KIND_REFUSED, ProvisioningStrategy, RefusedFrame, Register};
use onemap_model::{Device, DeviceId, DeviceState, Frame, Refusal, Scope, Source};
use onemap_store::ledger::TokenHash;
use serde_json::{Value, json};
use tracing::{info, warn};

use crate::house::clock;
use crate::pipeline::id_for;
use crate::security;

/// Failed requests of one address in [`WINDOW`]; beyond them it is refused unheard.
const N_FAILURES: u32 = 10;
/// Requests of everybody in [`WINDOW`].
const N_REQUESTS: u32 = 3000;
const WINDOW: Duration = Duration::from_secs(60);
/// Addresses whose failures are counted; when there are more, the count begins anew for all.
const N_ADDRESSES: usize = 10_000;
/// Bytes of a refused request that are kept.
const KEPT_BYTES: usize = 4096;

/// The front ends' way to registration.
pub(crate) struct Provisioner {
    views: Arc<Views>,
    heard: StdMutex<Heard>,
}

struct Heard {
    since: Instant,
    n_requests: u32,
    failures: HashMap<IpAddr, u32>,
}

impl fmt::Debug for Provisioner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Provisioner")
    }
}

/// Why a device was not registered.
struct No(Refusal, String);

fn bad(detail: impl Into<String>) -> No {
    No(Refusal::BadProvisioning, detail.into())
}

impl Provisioner {
    pub(crate) fn new(views: Arc<Views>) -> Self {
        let heard = Heard {
            since: Instant::now(),
            n_requests: 0,
            failures: HashMap::new(),
        };
        Self {
            views,
            heard: StdMutex::new(heard),
        }
    }

    /// Counts a request; whether it may be looked at.
    fn may(&self, ip: Option<IpAddr>) -> bool {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        if heard.since.elapsed() >= WINDOW || heard.failures.len() > N_ADDRESSES {
            *heard = Heard {
                since: Instant::now(),
                n_requests: 0,
                failures: HashMap::new(),
            };
        }
        heard.n_requests += 1;
        let n_failures = ip.and_then(|ip| heard.failures.get(&ip)).copied().unwrap_or(0);
        heard.n_requests <= N_REQUESTS && n_failures < N_FAILURES
    }

    fn failed(&self, ip: Option<IpAddr>) {
        if let Some(ip) = ip {
            let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
            *heard.failures.entry(ip).or_default() += 1;
        }
    }

    async fn answer(&self, request: &[u8], source: Source, peer: &str) -> Value {
        let ip = peer.parse::<SocketAddr>().ok().map(|address| address.ip());
        let done = if self.may(ip) {
            self.register(request).await
        } else {
            Err(No(
                Refusal::RateLimited,
                "too many requests; try again in a minute".to_owned(),
            ))
        };
        match done {
            Ok((device, token)) => {
                security::registered(&self.views, device.as_str(), peer);
                json!({
                    "status": "SUCCESS", "provisionDeviceStatus": "SUCCESS",
                    "credentialsType": "ACCESS_TOKEN", "credentialsValue": token,
                })
            }
            Err(No(refusal, detail)) => {
                self.failed(ip);
                self.views.counters.refuse(refusal);
                let denial = Denial {
                    source,
                    peer,
                    device: "",
                    refusal,
                    detail: &detail,
                };
                security::note(&self.views, &denial);
                warn!(
                    peer,
                    reason = refusal.label(),
                    "a device was not registered: {detail}"
                );
                if refusal != Refusal::RateLimited {
                    self.keep(request, (refusal, &detail), source, peer).await;
                }
                let status = match refusal {
                    Refusal::BadProvisioning | Refusal::Retired | Refusal::Revoked => "FAILURE",
                    _ => "NOT_FOUND",
                };
                json!({"status": "FAILURE", "provisionDeviceStatus": status, "errorMsg": detail})
            }
        }
    }

    async fn register(&self, request: &[u8]) -> Result<(DeviceId, String), No> {
        let request: Value = serde_json::from_slice(request).map_err(|_| bad("the request is not JSON"))?;
        let text = |key: &str| request[key].as_str().map(str::trim).unwrap_or_default();
        let name = text("deviceName");
        if name.is_empty() || name.len() > 255 {
            return Err(bad("`deviceName` of 1 to 255 bytes is needed"));
        }
        match text("credentialsType") {
            "" | "ACCESS_TOKEN" => {}
            _ => return Err(bad("only credentials of type ACCESS_TOKEN are given")),
        }
        let (key, secret) = (text("provisionDeviceKey"), text("provisionDeviceSecret"));
        let keys = &self.views.keys;
        // One text for a wrong key and a wrong secret: which it was is nobody's to know.
        let provisioning = keys
            .provisioned_by(key, secret)
            .filter(|_| !secret.is_empty())
            .ok_or_else(|| bad("`provisionDeviceKey` and `provisionDeviceSecret` open nothing"))?;

        let _turn = self.views.changing.lock().await;
        let profile = &provisioning.profile;
        let id = id_for(name, profile.as_str());
        let known = {
            let register = self
                .views
                .register
                .read()
                .map_err(|_| bad("the register cannot be read"))?;
            register.view.devices.get(&id).cloned()
        };
        // Who was put out by a person is let in by a person.
        if known
            .as_ref()
            .is_some_and(|known| known.state == DeviceState::Retired)
        {
            return Err(No(
                Refusal::Retired,
                format!("`{id}` is retired; somebody has to activate it first"),
            ));
        }
        if keys.is_revoked(&id) {
            return Err(No(
                Refusal::Revoked,
                format!("the tokens of `{id}` were revoked; somebody has to activate it first"),
            ));
        }
        let mut changes = Vec::new();
        match (provisioning.strategy, known) {
            (ProvisioningStrategy::New, Some(_)) => {
                return Err(bad(format!("a device `{id}` is registered already")));
            }
            (ProvisioningStrategy::New, None) => changes.push(Register::Device {
                device: new_device(id.clone(), name, profile.clone()),
            }),
            (ProvisioningStrategy::Known, Some(device))
                if device.profile.as_ref() == Some(profile) && !keys.has_token(&id) => {}
            (ProvisioningStrategy::Known, _) => {
                return Err(bad(format!(
                    "no device `{id}` of this profile waits for its token"
                )));
            }
        }
        let token = match request.get("token").and_then(Value::as_str) {
            None => new_token().map_err(|e| bad(e.to_string()))?,
            Some(own) => own_token(own, keys.device(own).is_some())?,
        };
        changes.push(Register::DeviceToken {
            device: id.clone(),
            sha256: TokenHash::of(&token).to_string(),
            grace_s: 0,
            expires: None,
        });
        let scope = Scope::local("provisioning");
        let unavailable = |e: &dyn fmt::Display| No(Refusal::QueueFull, format!("try again: {e}"));
        let recorded = self.views.acts.record_register(&scope, clock(), changes).await;
        let position = recorded.map_err(|e| unavailable(&e))?;
        self.views.applied(position).await.map_err(|e| unavailable(&e))?;
        info!(device.id = %id, profile = %profile, "`{id}` has registered itself");
        Ok((id, token))
    }

    /// Keeps a refused request without its secret.
    async fn keep(&self, request: &[u8], (refusal, detail): (Refusal, &str), source: Source, peer: &str) {
        let payload = match serde_json::from_slice::<Value>(request) {
            Ok(Value::Object(mut members)) => {
                for secret in ["provisionDeviceSecret", "token", "password", "hash"] {
                    if let Some(value) = members.get_mut(secret) {
                        *value = "***".into();
                    }
                }
                Value::Object(members).to_string().into_bytes()
            }
            // What cannot be read may hold the secret anywhere.
            _ => format!("{} bytes, not kept", request.len()).into_bytes(),
        };
        let frame = Frame {
            received_at: clock(),
            source,
            refused: Some(refusal),
            qos: 0,
            retain: false,
            device: "",
            peer,
            topic: "/provision/request",
            payload: &payload[..payload.len().min(KEPT_BYTES)],
        };
        let mut batch = Batch::new();
        batch.push(KIND_REFUSED, |out| RefusedFrame { detail, frame }.encode(out));
        if let Err(error) = self.views.log.append(&batch).await {
            warn!(peer, "a refused request was not kept: {error}");
        }
    }
}

/// A token that the device chose: long enough not to be guessed, and nobody else's.
fn own_token(token: &str, is_held: bool) -> Result<String, No> {
    let is_sound = (20..=128).contains(&token.len()) && token.bytes().all(|b| b.is_ascii_graphic());
    if !is_sound || is_held {
        return Err(bad(
            "`token` needs 20 to 128 printable characters and must be new",
        ));
    }
    Ok(token.to_owned())
}

fn new_device(id: onemap_model::DeviceId, name: &str, profile: onemap_model::ProfileId) -> Device {
    Device {
        id,
        name: name.to_owned(),
        name_en: String::new(),
        kind: profile.as_str().into(),
        profile: Some(profile),
        position: None,
        division: None,
        setting: onemap_model::Setting::default(),
        gateway: None,
        entity: None,
        is_gateway: false,
        adopts: false,
        state: DeviceState::Active,
        maintenance: None,
        cadence_s: 0,
        department: String::new(),
        demo: false,
    }
}

impl Provision for Provisioner {
    fn provision<'a>(
        &'a self,
        request: &'a [u8],
        source: Source,
        peer: &'a str,
    ) -> Pin<Box<dyn Future<Output = Vec<u8>> + Send + 'a>> {
        Box::pin(async move { self.answer(request, source, peer).await.to_string().into_bytes() })
    }
}

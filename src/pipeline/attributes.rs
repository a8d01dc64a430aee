//! Attributes and claims: what devices say and ask about themselves, and what people set for them.

use onemap_model::record::{Register, Stamped};
use onemap_model::{AttributeScope, Device, DeviceId, DeviceState, Frame, Refusal, Timestamp};
use onemap_store::attributes::Applied;
use onemap_store::ledger::TokenHash;
use onemap_wire::message::Refused;
use onemap_wire::thingsboard::attributes::{Claim, Wanted, attributes};
use serde_json::{Map, Value, json};

use super::children::name_at_gateway;
use super::fold::{Fold, Reply};

/// Fact: the gateway a child is connected through, `{"gateway":…,"name":…}`.
pub(super) const CONNECTED_THROUGH: &str = "connected_through";
/// Fact: an open request to be claimed.
const CLAIM: &str = "claim";
/// Longest request number that is answered.
const MAX_REQUEST: usize = 64;

impl Fold<'_> {
    /// Folds what a device says about itself under its own topics; gives whether the frame was of that kind.
    pub(super) fn about_itself(&mut self, position: u64, frame: &Frame<'_>, device: &Device) -> bool {
        let own = frame.topic.strip_prefix("d/");
        let own = own.and_then(|rest| rest.strip_prefix(frame.device)?.strip_prefix('/'));
        let folded = match own {
            Some("attributes") if device.state == DeviceState::Retired => Err(retired(device)),
            Some("attributes") => {
                self.client_attributes(position, frame.received_at, &device.id, frame.payload)
            }
            Some("claim") => self.claim(position, frame.received_at, &device.id, frame.payload),
            Some(rest) => match rest.strip_prefix("attributes/request/") {
                Some(n) => self.answer_request(device, n, frame.payload),
                None => return false,
            },
            None => return false,
        };
        if let Err(refused) = folded {
            self.refuse(position, 0, frame, refused.refusal, &refused.detail);
        }
        true
    }

    /// Client attributes as a device, or its gateway for it, sent them.
    pub(super) fn client_attributes(
        &mut self,
        position: u64,
        at: Timestamp,
        device: &DeviceId,
        payload: &[u8],
    ) -> Result<(), Refused> {
        let set = attributes(payload)?;
        let applied = self.set_attributes(position, at, device, AttributeScope::Client, set, &[]);
        if applied.refused.is_empty() {
            return Ok(());
        }
        let detail = applied.refused[..applied.refused.len().min(8)].join("; ");
        Err(Refused::new(Refusal::AttributeLimit, detail))
    }

    /// A request to be claimed. Of its secret only the hash is kept.
    pub(super) fn claim(
        &mut self,
        position: u64,
        at: Timestamp,
        device: &DeviceId,
        payload: &[u8],
    ) -> Result<(), Refused> {
        let claim = Claim::decode(payload)?;
        let until = claim
            .duration_ms
            .map(|ms| at + std::time::Duration::from_millis(ms));
        let fact = json!({
            "requested_at": at, "until": until,
            "secret_sha256": (!claim.secret.is_empty()).then(|| TokenHash::of(&claim.secret).to_string()),
        });
        self.set_fact(position, at, device, CLAIM, Some(fact));
        Ok(())
    }

    fn answer_request(&mut self, device: &Device, n: &str, payload: &[u8]) -> Result<(), Refused> {
        if n.is_empty() || n.len() > MAX_REQUEST || n.contains('/') {
            let detail = "a request's number is one topic level of at most 64 bytes";
            return Err(Refused::new(Refusal::WrongShape, detail));
        }
        let Wanted { client, shared } = Wanted::decode(payload)?;
        let mut answer = Map::new();
        let scopes = [(AttributeScope::Client, client), (AttributeScope::Shared, shared)];
        for (scope, keys) in scopes {
            // A scope of which nothing was asked is left out.
            if keys.as_ref().is_none_or(|keys| !keys.is_empty()) {
                let values = self
                    .views
                    .attributes
                    .values(device.id.as_str(), scope, keys.as_deref());
                answer.insert(scope.name().to_owned(), values.into());
            }
        }
        self.pending.replies.push(Reply {
            topic: format!("d/{}/attributes/response/{n}", device.id),
            payload: Value::Object(answer).to_string().into_bytes(),
            qos: 1,
        });
        Ok(())
    }

    /// Attributes as people set them; the device, or its gateway, is told of what changed.
    pub(super) fn attributes(&mut self, position: u64, change: &Stamped<Register>) {
        let Register::Attributes {
            device,
            scope,
            set,
            deleted,
        } = &change.what
        else {
            return;
        };
        let applied = self.set_attributes(position, change.at, device, *scope, set.clone(), deleted);
        if !applied.refused.is_empty() {
            // Looked at before it was journaled; two changes at once may still be too many together.
            tracing::warn!(position, device.id = %device, "attributes are not taken: {}", applied.refused.join("; "));
        }
        if *scope == AttributeScope::Shared {
            if !applied.changed.is_empty() {
                self.tell(device, &Value::Object(applied.changed));
            }
            if !applied.deleted.is_empty() {
                self.tell(device, &json!({"deleted": applied.deleted}));
            }
        }
    }

    /// Tells a device of shared attributes, and the gateway that it is connected through or belongs to.
    fn tell(&mut self, device: &DeviceId, data: &Value) {
        let mut say = |topic, payload: String| {
            self.pending.replies.push(Reply {
                topic,
                payload: payload.into_bytes(),
                qos: 1,
            });
        };
        say(format!("d/{device}/attributes"), data.to_string());
        let fact = self
            .views
            .attributes
            .get(device.as_str(), AttributeScope::Fact, CONNECTED_THROUGH);
        let connected = fact.and_then(|fact| {
            let text = |name: &str| Some(fact.value[name].as_str()?.to_owned());
            Some((text("gateway")?, text("name")?))
        });
        let owner = || {
            let known = self.views.register.read().ok()?.view.devices.get(device)?.clone();
            let name = name_at_gateway(self.views, &known).unwrap_or_else(|| device.to_string());
            Some((known.gateway.as_ref()?.to_string(), name))
        };
        if let Some((gateway, name)) = connected.or_else(owner) {
            say(
                format!("g/{gateway}/attributes"),
                json!({"device": name, "data": data}).to_string(),
            );
        }
    }

    fn set_attributes(
        &mut self,
        position: u64,
        at: Timestamp,
        device: &DeviceId,
        scope: AttributeScope,
        set: Map<String, Value>,
        deleted: &[String],
    ) -> Applied {
        let mut applied = self
            .views
            .attributes
            .apply(position, at, device, scope, set, deleted);
        self.pending.ledger.attributes.append(&mut applied.rows);
        applied
    }

    /// Sets a fact, or takes it away.
    pub(super) fn set_fact(
        &mut self,
        position: u64,
        at: Timestamp,
        device: &DeviceId,
        key: &str,
        value: Option<Value>,
    ) {
        let (mut set, mut deleted) = (Map::new(), Vec::new());
        match value {
            Some(value) => {
                set.insert(key.to_owned(), value);
            }
            None => deleted.push(key.to_owned()),
        }
        let applied = self.set_attributes(position, at, device, AttributeScope::Fact, set, &deleted);
        if !applied.refused.is_empty() {
            tracing::warn!(position, device.id = %device, "a fact is not kept: {}", applied.refused.join("; "));
        }
    }
}

fn retired(device: &Device) -> Refused {
    Refused::new(Refusal::Retired, format!("{} is retired", device.id))
}

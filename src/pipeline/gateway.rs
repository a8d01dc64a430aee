//! What a ThingsBoard gateway says for its children: each part is its child's, and a child's silence stays
//! silence however much its gateway talks.

use std::sync::Arc;

use anyhow::Result;
use onemap_dashboards::views::Seen;
use onemap_model::{AttributeScope, Device, DeviceId, DeviceState, Frame, Refusal, Timestamp};
use onemap_wire::message::Refused;
use onemap_wire::thingsboard::gateway::{AttributesRequest, Connect, parts};
use serde_json::{Map, Value, json};

use super::attributes::CONNECTED_THROUGH;
use super::fold::{Fold, Reply, Said};

const POISON: &str = "no holder of this lock panics";

impl Fold<'_> {
    /// Folds a frame of a gateway's topics; gives whether it was one that is read here.
    pub(super) fn of_gateway(&mut self, position: u64, frame: &Frame<'_>, gateway: &Device) -> Result<bool> {
        let own = frame.topic.strip_prefix("g/");
        let Some(rest) = own.and_then(|rest| rest.strip_prefix(frame.device)?.strip_prefix('/')) else {
            return Ok(false);
        };
        if !gateway.is_gateway {
            self.refuse(position, 0, frame, Refusal::NotAGateway, "");
            return Ok(true);
        }
        if gateway.state == DeviceState::Retired {
            let detail = format!("{} is retired", gateway.id);
            self.refuse(position, 0, frame, Refusal::Retired, &detail);
            return Ok(true);
        }
        self.heard(&gateway.id, frame.received_at);
        let folded = match rest {
            "telemetry" | "attributes" | "claim" => self.parts(position, frame, gateway, rest)?,
            "connect" => self.connect(position, frame, gateway, true),
            "disconnect" => self.connect(position, frame, gateway, false),
            "attributes/request" => self.answer_gateway(position, frame, gateway),
            _ => return Ok(false),
        };
        if let Err(refused) = folded {
            self.refuse(position, 0, frame, refused.refusal, &refused.detail);
        }
        Ok(true)
    }

    /// The gateway itself was heard. Its children are not: each is heard by its own readings.
    pub(super) fn heard(&mut self, gateway: &DeviceId, at: Timestamp) {
        let mut seen = self.views.seen.write().expect(POISON);
        let entry = seen.entry(gateway.clone()).or_insert(Seen {
            received_at: at,
            measured_at: at,
        });
        entry.received_at = entry.received_at.max(at);
    }

    /// The child of a gateway by the name the gateway gives it; nobody is adopted.
    ///
    /// # Errors
    /// `unknown_child`, or `revoked`.
    pub(super) fn known_child(
        &self,
        position: u64,
        gateway: &Device,
        name: &str,
    ) -> Result<Arc<Device>, Refused> {
        let register = self.views.register.read().expect(POISON);
        let child = register.view.child(gateway.id.as_str(), name);
        let child = child.ok_or_else(|| stranger(gateway, name))?;
        self.not_revoked(position, child).map(|()| child.clone())
    }

    /// `{"Device A":…,"Device B":…}`: every part is folded as its child's; an unknown child costs its part.
    fn parts(
        &mut self,
        position: u64,
        frame: &Frame<'_>,
        gateway: &Device,
        topic: &str,
    ) -> Result<Result<(), Refused>> {
        let parts = match parts(frame.payload) {
            Ok(parts) => parts,
            Err(refused) => return Ok(Err(refused)),
        };
        let mut ordinal = 0;
        // Parts of unknown children are kept together, in the shape they came in.
        let (mut unknown, mut strangers) = (Map::new(), Vec::new());
        for (name, part) in parts {
            let child = match self.child(position, frame.received_at, gateway, &name, None) {
                Ok(child) => child,
                Err(refused) => {
                    strangers.push(refused);
                    // What was valid JSON a moment ago still is, but for nesting that is too deep to keep as a value.
                    let part = serde_json::from_str(part.get()).unwrap_or_else(|_| part.get().into());
                    unknown.insert(name, part);
                    continue;
                }
            };
            let payload = part.get().as_bytes();
            let own_topic = format!("d/{}/{topic}", child.id);
            let own = Frame {
                device: child.id.as_str(),
                topic: &own_topic,
                payload,
                ..*frame
            };
            let folded = match topic {
                "attributes" => self.client_attributes(position, frame.received_at, &child.id, payload),
                "claim" => self.claim(position, frame.received_at, &child.id, payload),
                _ => {
                    let message = match self.profile(child.profile.as_ref()) {
                        Ok(profile) => Ok(onemap_wire::decode(&own, profile)),
                        Err(missing) => Err(missing),
                    };
                    match message {
                        Ok(message) => {
                            let said = Said {
                                frame,
                                part: &own,
                                device: &child,
                                profile: child.profile.as_ref(),
                                ordinal,
                            };
                            ordinal = self.said(position, &said, message)?;
                            Ok(())
                        }
                        Err(missing) => Err(missing),
                    }
                }
            };
            if let Err(refused) = folded {
                ordinal = self.refuse_from(ordinal, position, &own, &[refused]);
            }
        }
        if !strangers.is_empty() {
            let payload = Value::Object(unknown).to_string();
            let kept = Frame {
                payload: payload.as_bytes(),
                ..*frame
            };
            self.refuse_from(ordinal, position, &kept, &strangers);
        }
        Ok(Ok(()))
    }

    fn connect(
        &mut self,
        position: u64,
        frame: &Frame<'_>,
        gateway: &Device,
        is_there: bool,
    ) -> Result<(), Refused> {
        let Connect { device: name, kind } = Connect::decode(frame.payload)?;
        let child = if is_there {
            self.child(position, frame.received_at, gateway, &name, kind.as_deref())?
        } else {
            self.known_child(position, gateway, &name)?
        };
        let fact = is_there.then(|| json!({"gateway": gateway.id, "name": name}));
        self.set_fact(position, frame.received_at, &child.id, CONNECTED_THROUGH, fact);
        Ok(())
    }

    fn answer_gateway(&mut self, position: u64, frame: &Frame<'_>, gateway: &Device) -> Result<(), Refused> {
        let request = AttributesRequest::decode(frame.payload)?;
        let child = self.known_child(position, gateway, &request.device)?;
        let scope = if request.client {
            AttributeScope::Client
        } else {
            AttributeScope::Shared
        };
        let find = |key: &str| Some(self.views.attributes.get(child.id.as_str(), scope, key)?.value);
        let answer = request.answer(find);
        self.pending.replies.push(Reply {
            topic: format!("g/{}/attributes/response", gateway.id),
            payload: answer.to_string().into_bytes(),
            qos: 1,
        });
        Ok(())
    }
}

/// The refusal of a name that is none of a gateway's children.
fn stranger(gateway: &Device, name: &str) -> Refused {
    let shown: String = name.chars().take(Refused::QUOTED).collect();
    Refused::new(
        Refusal::UnknownChild,
        format!("{} has no child called `{}`", gateway.id, shown.escape_debug()),
    )
}

//! Children of gateways: found by name, and made known by the gateway's own frames where it adopts.
//!
//! The fold derives an adopted child from the frame alone, so a replay makes the same one. A registrar
//! outside the fold then records it, so that a journal shortened later still knows it.

use std::sync::{Arc, Mutex, PoisonError};

use onemap_dashboards::views::Views;
use onemap_model::record::Register;
use onemap_model::{AttributeScope, Device, DeviceId, DeviceState, Refusal, Timestamp};
use onemap_store::ledger::TokenHash;
use onemap_wire::Refused;
use tokio::sync::Notify;
use tracing::info;

use super::attributes::CONNECTED_THROUGH;
use super::fold::Fold;

/// Children with which a gateway adopts no more, retired and registered ones counted too: what a faulty or
/// hostile gateway can fill the register with. A constant, because a replay must adopt the same ones.
const N_CHILDREN: usize = 1_000;
/// Longest name of a child, in bytes.
const MAX_NAME_BYTES: usize = 255;

const POISON: &str = "no holder of this lock panics";

/// Children that wait to be recorded. Each child comes once, so it is bounded by what gateways may adopt.
#[derive(Clone, Debug, Default)]
pub(crate) struct Adoptions(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    waiting: Mutex<Vec<Device>>,
    changed: Notify,
}

impl Adoptions {
    pub(super) fn push(&self, children: Vec<Device>) {
        if children.is_empty() {
            return;
        }
        let mut waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.extend(children);
        drop(waiting);
        self.0.changed.notify_one();
    }

    /// Waits for children; cancel safe.
    pub(crate) async fn take(&self) -> Vec<Device> {
        loop {
            let changed = self.0.changed.notified();
            {
                let mut waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
                if !waiting.is_empty() {
                    return std::mem::take(&mut *waiting);
                }
            }
            changed.await;
        }
    }
}

/// The id of a device that is called so: the name itself when it is one, else what of it can be in an id
/// and the beginning of its hash, by which two names that look alike stay apart. `within` is who says the
/// name.
pub(crate) fn id_for(name: &str, within: &str) -> DeviceId {
    if let Ok(id) = DeviceId::new(name) {
        return id;
    }
    let mut text = String::new();
    for c in name.chars() {
        let c = if c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | ':') {
            c
        } else {
            '-'
        };
        if text.len() + c.len_utf8() > 48 {
            break;
        }
        text.push(c);
    }
    let hash = TokenHash::of(&format!("{within}\n{name}")).to_string();
    let id = format!("{text}-{}", &hash[..8]);
    DeviceId::new(&id).expect("at most 57 bytes of letters, digits and the marks of an id")
}

/// The name by which a child's gateway knows it, when it is not the id: what the gateway connected it as, else
/// the name it was adopted under.
pub(crate) fn name_at_gateway(views: &Views, device: &Device) -> Option<String> {
    let gateway = device.gateway.as_ref()?;
    let fact = views
        .attributes
        .get(device.id.as_str(), AttributeScope::Fact, CONNECTED_THROUGH);
    let connected = fact.and_then(|fact| {
        let text = |name: &str| Some(fact.value[name].as_str()?.to_owned());
        (text("gateway")? == gateway.as_str()).then(|| text("name"))?
    });
    connected
        .or_else(|| (id_for(&device.name, gateway.as_str()) == device.id).then(|| device.name.clone()))
        .filter(|name| *name != device.id.as_str())
}

impl Fold<'_> {
    /// The child that a gateway speaks for. Of a gateway that adopts, an unknown name becomes a device of
    /// the gateway's place; `kind` is the type its `connect` said.
    ///
    /// # Errors
    /// `unknown_child` when the name is nobody's or another's, `retired` or `revoked` when the child is,
    /// `too_many_children` when the gateway adopts no more.
    pub(super) fn child(
        &mut self,
        position: u64,
        at: Timestamp,
        gateway: &Device,
        name: &str,
        kind: Option<&str>,
    ) -> Result<Arc<Device>, Refused> {
        let unknown = |detail: String| Refused::new(Refusal::UnknownChild, detail);
        let shown: String = name.chars().take(64).collect();
        let shown = shown.escape_debug();
        let child = {
            let register = self.views.register.read().expect(POISON);
            if let Some(child) = register.view.child(gateway.id.as_str(), name) {
                return self.not_revoked(position, child).map(|()| child.clone());
            }
            if name.is_empty() || name.len() > MAX_NAME_BYTES {
                return Err(unknown(format!("a name of {} bytes is no child's", name.len())));
            }
            let id = id_for(name, gateway.id.as_str());
            match register.view.devices.get(&id) {
                Some(own)
                    if own.gateway.as_ref() == Some(&gateway.id) && own.state == DeviceState::Retired =>
                {
                    return Err(Refused::new(Refusal::Retired, format!("`{shown}` is retired")));
                }
                Some(_) => {
                    return Err(unknown(format!(
                        "`{shown}` is no child of gateway {}",
                        gateway.id
                    )));
                }
                None if !gateway.adopts => {
                    return Err(unknown(format!(
                        "gateway {} has no child `{shown}` and does not adopt",
                        gateway.id
                    )));
                }
                None if self.known.has_children(&register.view, &gateway.id, N_CHILDREN) => {
                    let detail = format!(
                        "gateway {} has {N_CHILDREN} children and adopts no more, not `{shown}`",
                        gateway.id
                    );
                    return Err(Refused::new(Refusal::TooManyChildren, detail));
                }
                None => {}
            }
            let kind = kind
                .map(str::trim)
                .filter(|k| !k.is_empty() && *k != "default" && k.len() <= 64);
            let profiles = &register.view.profiles;
            let profile = kind
                .and_then(|k| profiles.get_key_value(k))
                .map(|(id, _)| id.clone());
            Device {
                name: name.to_owned(),
                name_en: String::new(),
                kind: kind.unwrap_or("device").into(),
                profile,
                position: gateway.position,
                division: gateway
                    .division
                    .clone()
                    .or_else(|| register.divisions.get(&gateway.id).cloned()),
                setting: gateway.setting,
                gateway: Some(gateway.id.clone()),
                entity: None,
                is_gateway: false,
                adopts: false,
                state: DeviceState::Active,
                maintenance: None,
                cadence_s: 0,
                department: gateway.department.clone(),
                demo: gateway.demo,
                id,
            }
        };
        info!(device.id = %child.id, gateway = %gateway.id, "gateway `{}` adopts `{}`", gateway.id, child.id);
        self.register.adopt(position, at, &child);
        self.make_known(position, &child);
        self.pending.register_changed = true;
        let made = Arc::new(child.clone());
        self.pending.adopted.push(child);
        Ok(made)
    }

    /// # Errors
    /// `revoked` when nothing lets a child in until it is admitted again: its gateway does not either.
    pub(super) fn not_revoked(&self, position: u64, child: &Device) -> Result<(), Refused> {
        match self.views.keys.is_revoked_at(&child.id, position) {
            true => Err(Refused::new(
                Refusal::Revoked,
                format!(
                    "`{}` was revoked, and its gateway does not speak for it",
                    child.id
                ),
            )),
            false => Ok(()),
        }
    }

    /// Puts a child on the map and tells the engine.
    fn make_known(&mut self, position: u64, child: &Device) {
        {
            let mut register = self.known.forgetting(self.views);
            let change = Register::Adopted {
                device: child.clone(),
            };
            // Only entities can be unsound.
            let _ = register.view.apply(&change);
            register.city.put_device(child);
        }
        self.place(position, &child.id, true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_gives_an_id_and_two_names_two() {
        assert_eq!(id_for("sensor-1", "g").as_str(), "sensor-1");
        assert_eq!(id_for("甲号", "g").as_str(), "甲号");
        let spaced = id_for("Device A", "g");
        assert!(spaced.as_str().starts_with("Device-A-") && spaced.as_str().len() == 17);
        assert_eq!(spaced, id_for("Device A", "g"));
        assert_ne!(spaced, id_for("Device/A", "g"));
        assert_ne!(spaced, id_for("Device A", "h"));
        for name in ["", "/", &"长".repeat(100), &"x y".repeat(50)] {
            assert!(id_for(name, "g").as_str().len() <= 64, "{name}");
        }
    }
}

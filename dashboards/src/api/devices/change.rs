//! Devices are registered, changed, maintained, retired.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use onemap_model::record::Register;
use onemap_model::{Belongs, Device, DeviceState, Maintenance, Scope, Source, Timestamp};
use onemap_store::ledger::TokenHash;
use onemap_wire::profile::Protocol;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{POISON, find, show_device};
use crate::api::{act_problem, behind};
use crate::auth::{Caller, new_token};
use crate::error::Problem;
use crate::request::{Body, OptionalBody, Params};
use crate::views::{self, Views};

/// Longest maintenance.
const MAX_MAINTENANCE: Duration = Duration::from_secs(366 * 86_400);
/// Longest note, in bytes.
const MAX_NOTE: usize = 1000;

/// A gateway would not know which of two of its children is meant.
pub(super) const NAME_TAKEN: &str = "child_name_taken";

/// Why the register does not take a device: a field and what is wrong with it.
pub(super) struct Unsound {
    pub(super) field: &'static str,
    pub(super) code: &'static str,
    pub(super) message: String,
    pub(super) is_forbidden: bool,
}

impl From<Unsound> for Problem {
    fn from(unsound: Unsound) -> Self {
        match (unsound.is_forbidden, unsound.code) {
            (true, code) => Problem::forbidden_by(code, unsound.message),
            (false, NAME_TAKEN) => Problem::conflict(NAME_TAKEN, unsound.message),
            (false, code) => Problem::bad_request(code, unsound.message),
        }
    }
}

/// Whether the scope may put this device and the register can hold it. Of a scope with a division, a device
/// that states none gets the one it stands in, so that the record itself says that it was inside; of one with departments
/// it states one of these. `also` knows
/// gateways that are not in the register yet.
pub(super) fn sound(
    register: &views::Register,
    scope: &Scope,
    device: &mut Device,
    also: &dyn Fn(&str) -> bool,
) -> Result<(), Unsound> {
    let bad = |field, code, message: String| {
        Err(Unsound {
            field,
            code,
            message,
            is_forbidden: false,
        })
    };
    if device.name.trim().is_empty() || device.kind.trim().is_empty() {
        return bad(
            "name",
            "bad_device",
            "a device needs a name and a kind".to_owned(),
        );
    }
    if let Some(profile) = &device.profile
        && !register.view.profiles.contains_key(profile.as_str())
    {
        return bad(
            "profile",
            "unknown_profile",
            format!("no profile is called `{profile}`"),
        );
    }
    if let Some(gateway) = &device.gateway {
        let known = register.view.devices.get(gateway);
        if *gateway == device.id || device.is_gateway {
            let message = "a gateway is nobody's child".to_owned();
            return bad("gateway", "bad_gateway", message);
        }
        if !known.is_some_and(|g| g.is_gateway) && !also(gateway.as_str()) {
            let message = format!("no gateway is called `{gateway}` (is_gateway must be set on it)");
            return bad("gateway", "unknown_gateway", message);
        }
        // Who speaks for a device may say anything in its name and hears its commands.
        let before = register.view.devices.get(&device.id);
        let is_new = before.is_none_or(|before| before.gateway.as_ref() != Some(gateway));
        if is_new && known.is_some() && !register.sees(scope, gateway.as_str()) {
            return Err(Unsound {
                field: "gateway",
                code: "foreign_gateway",
                message: format!("gateway `{gateway}` is not in your division or departments"),
                is_forbidden: true,
            });
        }
    }
    // What stands in the register already may be changed otherwise.
    let is_as_before = register.view.devices.get(&device.id).is_some_and(|before| {
        before.state != DeviceState::Retired
            && (&before.gateway, &before.name) == (&device.gateway, &device.name)
    });
    if device.state != DeviceState::Retired
        && !is_as_before
        && let Some((name, other)) = register.view.namesake(device)
    {
        let message = format!(
            "`{}` answers to `{name}` at its gateway already; two children of one gateway need two names",
            other.id
        );
        return bad("name", NAME_TAKEN, message);
    }
    stands_on_sound(register, scope, device)?;
    if device.adopts && !device.is_gateway {
        return bad("adopts", "bad_gateway", "only a gateway adopts".to_owned());
    }
    let located = device
        .division
        .clone()
        .or_else(|| device.position.and_then(|p| register.city.locate(&p)));
    let is_known = register.view.devices.contains_key(&device.id);
    let forbidden = |field, message: String| {
        Err(Unsound {
            field,
            code: "forbidden",
            message,
            is_forbidden: true,
        })
    };
    let was_outside = is_known && !register.sees(scope, device.id.as_str());
    if was_outside || !scope.covers(Belongs::ground(located.as_ref())) {
        let message = match scope.departments.is_empty() {
            true => "the device does not stand in your division",
            false => "the device is not in your division and departments",
        };
        return forbidden("division", message.to_owned());
    }
    if !scope.covers(device.belongs(located.as_ref())) {
        let own = scope.departments.join(", ");
        return forbidden(
            "department",
            format!("the device states none of your departments ({own})"),
        );
    }
    if scope.division.is_some() {
        device.division = located;
    }
    Ok(())
}

/// Whether what a device stands on is there, and the scope may say so: the entity's state is then the device's. One
/// that the device stands on already stays, whatever has become of it.
fn stands_on_sound(register: &views::Register, scope: &Scope, device: &Device) -> Result<(), Unsound> {
    let Some(entity) = &device.entity else {
        return Ok(());
    };
    let before = register.view.devices.get(&device.id);
    if before.is_some_and(|before| before.entity.as_ref() == Some(entity)) {
        return Ok(());
    }
    let unsound = |code, is_forbidden, message| {
        Err(Unsound {
            field: "entity",
            code,
            message,
            is_forbidden,
        })
    };
    // Another's is told as one that is not there.
    if !register.view.entities.contains(&entity.kind, &entity.code)
        || !register.sees_entity(scope, &entity.kind, &entity.code)
    {
        let kind = &entity.kind;
        let mut renamed = register
            .view
            .with_code(&entity.code)
            .filter(|now| now.kind == *kind && register.sees_entity(scope, kind, &now.code));
        let message = match renamed.next() {
            Some(now) => format!("`{entity:.80}` is `{}/{:.80}` now", kind.name(), now.code),
            None => format!("no entity is `{entity:.80}`"),
        };
        return unsound("unknown_entity", false, message);
    }
    Ok(())
}

async fn record(views: &Views, scope: &Scope, changes: Vec<Register>) -> Result<(), Problem> {
    let recorded = views.acts.record_register(scope, views.now(), changes).await;
    let position = recorded.map_err(act_problem)?;
    views.applied(position).await.map_err(behind)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Adding {
    /// A known device becomes what the body says; without it that is a conflict.
    #[serde(default)]
    replace: bool,
}

/// Registers a device and gives it a token, which stands in this answer only. One that is known is replaced only
/// when that is asked for: it keeps its token, or that it was revoked, and a retired one stays retired.
pub(crate) async fn add(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Params(adding): Params<Adding>,
    Body(mut device): Body<Device>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let scope = caller.scope();
    let _turn = views.changing.lock().await;
    let known = {
        let register = views.register.read().expect(POISON);
        let before = register.view.devices.get(&device.id);
        // Of a device that the caller does not see not even this is said: `sound` refuses it.
        if before.is_some() && !adding.replace && register.sees(scope, device.id.as_str()) {
            let message = format!(
                "device `{}` is known already; PATCH changes what it states, `?replace=true` all of it",
                device.id
            );
            return Err(Problem::conflict("known_device", message));
        }
        // Only activation ends a retirement: the device's token ended with it.
        if before.is_some_and(|before| before.state == DeviceState::Retired) {
            device.state = DeviceState::Retired;
            device.maintenance = None;
        }
        sound(&register, scope, &mut device, &|_| false)?;
        before.is_some()
    };
    let mut changes = vec![Register::Device {
        device: device.clone(),
    }];
    let mut token = None;
    if !known && device.state != DeviceState::Retired {
        let text = new_token().map_err(|e| Problem::internal(&e))?;
        changes.push(Register::DeviceToken {
            device: device.id.clone(),
            sha256: TokenHash::of(&text).to_string(),
            grace_s: 0,
            expires: None,
        });
        token = Some(text);
    }
    record(&views, scope, changes).await?;
    let status = if known {
        StatusCode::OK
    } else {
        StatusCode::CREATED
    };
    let mut answer = json!({"device": device});
    if let Some(token) = token {
        answer["token"] = token.into();
    }
    Ok((status, Json(answer)))
}

/// RFC 7396: members replace, `null` removes, objects are merged.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (key, value) in patch {
        match value {
            Value::Null => {
                target.as_object_mut().map(|members| members.remove(key));
            }
            value => merge(&mut target[key], value),
        }
    }
}

/// Changes the stated fields of a device.
pub(crate) async fn patch(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Path(id): Path<String>,
    Body(patch): Body<Value>,
) -> Result<Json<Value>, Problem> {
    let scope = caller.scope();
    if !patch.is_object() {
        return Err(Problem::bad_request(
            "bad_body",
            "a merge patch of a device is an object",
        ));
    }
    change(&views, scope, &id, |device| {
        let mut whole = serde_json::to_value(&*device).map_err(|e| Problem::internal(&e))?;
        merge(&mut whole, &patch);
        let patched: Device =
            serde_json::from_value(whole).map_err(|e| Problem::bad_request("bad_device", e.to_string()))?;
        if patched.id != device.id {
            return Err(Problem::bad_request("bad_device", "a device's id stays"));
        }
        *device = patched;
        if device.state != DeviceState::Maintenance {
            device.maintenance = None;
        }
        Ok(None)
    })
    .await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MaintenanceBody {
    #[serde(default)]
    until: Option<Timestamp>,
    #[serde(default)]
    note: String,
}

/// Puts a device under maintenance: its readings are kept and marked, its alarms not paged.
pub(crate) async fn maintain(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Path(id): Path<String>,
    OptionalBody(body): OptionalBody<MaintenanceBody>,
) -> Result<Json<Value>, Problem> {
    let scope = caller.scope();
    let now = views.now();
    let (until, note) = body.map_or((None, String::new()), |b| (b.until, b.note));
    if until.is_some_and(|until| until <= now || until > now + MAX_MAINTENANCE) {
        return Err(Problem::bad_request(
            "bad_until",
            "`until` lies ahead, at most a year",
        ));
    }
    if note.len() > MAX_NOTE {
        return Err(Problem::bad_request(
            "bad_note",
            format!("a note has at most {MAX_NOTE} bytes"),
        ));
    }
    change(&views, scope, &id, |device| {
        not_retired(device)?;
        device.state = DeviceState::Maintenance;
        device.maintenance = Some(Maintenance { until, note });
        Ok(None)
    })
    .await
}

/// Takes a device out of use: it is refused by name, its connection is cut and its token ends.
pub(crate) async fn retire(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    put_state(&views, &caller, &id, DeviceState::Retired).await
}

/// Takes a device into use again: maintenance, retirement and revocation end. One that was retired or revoked
/// has no token until it is given a new one.
pub(crate) async fn activate(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    put_state(&views, &caller, &id, DeviceState::Active).await
}

async fn put_state(
    views: &Views,
    caller: &Caller,
    id: &str,
    state: DeviceState,
) -> Result<Json<Value>, Problem> {
    let scope = caller.scope();
    change(views, scope, id, |device| {
        device.state = state;
        device.maintenance = None;
        let is_revoked = state == DeviceState::Active && views.keys.is_revoked(&device.id);
        Ok(is_revoked.then(|| Register::DeviceAdmitted {
            device: device.id.clone(),
        }))
    })
    .await
}

fn not_retired(device: &Device) -> Result<(), Problem> {
    match device.state {
        DeviceState::Retired => Err(Problem::conflict(
            "retired",
            format!("`{}` is retired; activate it first", device.id),
        )),
        _ => Ok(()),
    }
}

/// Changes a device; `how` may give a change that goes with it.
async fn change(
    views: &Views,
    scope: &Scope,
    id: &str,
    how: impl FnOnce(&mut Device) -> Result<Option<Register>, Problem>,
) -> Result<Json<Value>, Problem> {
    let _turn = views.changing.lock().await;
    let before = find(views, scope, id)?;
    let mut device = Device::clone(&before);
    let more = how(&mut device)?;
    sound(&views.register.read().expect(POISON), scope, &mut device, &|_| {
        false
    })?;
    let altered = (device != *before).then_some(Register::Device { device });
    let changes: Vec<Register> = altered.into_iter().chain(more).collect();
    if !changes.is_empty() {
        record(views, scope, changes).await?;
    }
    Ok(Json(show_device(views, scope, id)?))
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rotation {
    /// Seconds that the former token still opens.
    #[serde(default)]
    grace_s: u32,
    /// When the new one ends by itself.
    #[serde(default)]
    expires: Option<Timestamp>,
    /// Of a field station: its password, in place of a token that is made here.
    #[serde(default)]
    password: Option<String>,
}

/// Longest grace of a former token: a month.
const MAX_GRACE_S: u32 = 31 * 86_400;

/// A new token for a device, or the password of a field station; the old one ends at once or after its grace, and its connections with it.
pub(crate) async fn rotate(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Path(id): Path<String>,
    OptionalBody(body): OptionalBody<Rotation>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let scope = caller.scope();
    let _turn = views.changing.lock().await;
    let device = find(&views, scope, &id)?;
    not_retired(&device)?;
    let Rotation {
        grace_s,
        expires,
        password,
    } = body.unwrap_or_default();
    if grace_s > MAX_GRACE_S {
        return Err(Problem::bad_request(
            "bad_grace",
            format!("a grace has at most {MAX_GRACE_S} s"),
        ));
    }
    if expires.is_some_and(|expires| expires <= views.now()) {
        return Err(Problem::bad_request("bad_expires", "`expires` lies ahead"));
    }
    let mut answer = json!({"grace_s": grace_s, "expires": expires});
    let hash = match password {
        Some(password) => password_hash(&views, &device, &password)?,
        None => {
            let token = new_token().map_err(|e| Problem::internal(&e))?;
            let hash = TokenHash::of(&token);
            answer["token"] = token.into();
            hash
        }
    };
    let change = Register::DeviceToken {
        device: device.id.clone(),
        sha256: hash.to_string(),
        grace_s,
        expires,
    };
    record(&views, scope, vec![change]).await?;
    Ok((StatusCode::CREATED, Json(answer)))
}

/// The hash of a station's password, as its protocol has passwords.
fn password_hash(views: &Views, device: &Device, password: &str) -> Result<TokenHash, Problem> {
    let bad = |message: &str| Err(Problem::bad_request("bad_password", message));
    let protocol = match views.protocol(device) {
        Some(Protocol::Hj212) => Source::Hj212,
        Some(Protocol::Sl651) => {
            let is_hex = password.len() == 4 && password.bytes().all(|b| b.is_ascii_hexdigit());
            if !is_hex {
                return bad("the password of an SL 651 station is four hexadecimal digits");
            }
            let password = password.to_ascii_uppercase();
            return Ok(TokenHash::of_password(
                Source::Sl651.name(),
                device.id.as_str(),
                &password,
            ));
        }
        _ => {
            return bad(
                "only a device whose profile has `protocol: hj212` or `sl651` has a password; others have tokens",
            );
        }
    };
    let is_plain = |c: char| c.is_ascii_graphic() && !matches!(c, ';' | ',' | '&' | '#' | '=');
    if !(1..=24).contains(&password.len()) || !password.chars().all(is_plain) {
        return bad("a password (PW) has 1 to 24 printable characters without `;,&#=`; the standard's has 6");
    }
    Ok(TokenHash::of_password(
        protocol.name(),
        device.id.as_str(),
        password,
    ))
}

/// Ends a device's tokens and cuts its connections; its certificate opens nothing either until it is activated or
/// given a token.
pub(crate) async fn revoke(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let scope = caller.scope();
    let _turn = views.changing.lock().await;
    let device = find(&views, scope, &id)?.id.clone();
    record(&views, scope, vec![Register::DeviceTokenRevoked { device }]).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_is_merged_as_the_standard_says() {
        // RFC 7396, appendix A.
        for (target, patch, want) in [
            (json!({"a":"b"}), json!({"a":"c"}), json!({"a":"c"})),
            (json!({"a":"b"}), json!({"b":"c"}), json!({"a":"b","b":"c"})),
            (json!({"a":"b","b":"c"}), json!({"a":null}), json!({"b":"c"})),
            (
                json!({"a":{"b":"c"}}),
                json!({"a":{"b":"d","c":null}}),
                json!({"a":{"b":"d"}}),
            ),
            (json!({"a":[1]}), json!({"a":[2]}), json!({"a":[2]})),
            (json!({"e":null}), json!({"a":1}), json!({"e":null,"a":1})),
            (
                json!({}),
                json!({"a":{"bb":{"ccc":null}}}),
                json!({"a":{"bb":{}}}),
            ),
        ] {
            let mut merged = target.clone();
            merge(&mut merged, &patch);
            assert_eq!(merged, want, "{target} {patch}");
        }
    }
}

//! Commands: order, list, one with its facts, take back; and ThingsBoard's two calls over the same.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use onemap_ingest::downlink::{Claim, Ordered};
use onemap_model::{
    Command, CommandState, CommandStep, Device, DeviceId, DeviceState, Order, Scope, Timestamp, Via,
};
use onemap_store::ledger::{CommandFilter, LedgerError, TokenHash};
use onemap_wire::profile::Protocol;
use onemap_wire::sl651::reply::Mode;
use onemap_wire::{gbt26875, hj212, sl651};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::api::{act_problem, behind, limit, list};
use crate::auth::{self, Caller, Pass};
use crate::error::Problem;
use crate::request::{Body, Params};
use crate::views::{Notice, Views};

const POISON: &str = "no holder of this lock panics";
/// Longest time that a request waits for a command's end.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// Life of a command ordered by ThingsBoard's calls that state none.
const RPC_LIFE: Duration = Duration::from_secs(10);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct New {
    device: String,
    method: String,
    #[serde(default)]
    params: Value,
    expires_at: Option<Timestamp>,
    ttl_s: Option<u64>,
    #[serde(default = "yes")]
    two_way: bool,
    #[serde(default)]
    via: Via,
    idempotency_key: Option<String>,
}

fn yes() -> bool {
    true
}

/// The command as lists, screens and callers see it.
pub(crate) fn render(views: &Views, command: &Command) -> Value {
    let (order, state) = (&command.order, command.state);
    let register = views.register.read().expect(POISON);
    let device = register.view.devices.get(&order.device);
    let mut value = json!({
        "id": command.id, "device": order.device, "device_name": device.map(|d| &*d.name),
        "division": register.divisions.get(&order.device),
        "method": order.method, "params": shown_params(order), "two_way": order.two_way, "via": order.via,
        "idempotency_key": order.key, "by": {"actor": order.by.actor, "role": order.by.role},
        "state": state, "state_zh": state.zh(), "state_en": state.en(), "final": command.is_final(),
        "created_at": command.created_at, "expires_at": order.expires_at, "state_at": command.state_at,
        "attempts": command.attempts, "received": command.received,
    });
    if let Some(answer) = &command.answer {
        let name = if state == CommandState::Failed {
            "error"
        } else {
            "result"
        };
        value[name] = answer.clone();
    }
    value
}

/// A command that waits or ended lately, as shown, if the scope may see its device.
pub(crate) fn command_json(views: &Views, scope: &Scope, id: u64) -> Option<Value> {
    let command = views.commands.work().book.get(id).cloned()?;
    covers(views, scope, &command).then(|| render(views, &command))
}

fn covers(views: &Views, scope: &Scope, command: &Command) -> bool {
    let register = views.register.read().expect(POISON);
    register.sees(scope, command.order.device.as_str())
}

/// A device that the caller sees and that may be commanded.
fn device(views: &Views, scope: &Scope, id: &str) -> Result<Arc<Device>, Problem> {
    let device = views
        .device(scope, id)
        .ok_or_else(|| Problem::not_found("unknown_device", format!("no device is called `{id}`")))?;
    if device.state == DeviceState::Retired {
        return Err(Problem::conflict(
            "device_retired",
            format!("device `{id}` is retired and takes no commands"),
        ));
    }
    Ok(device)
}

/// The place of an order on its way to the journal, given back when dropped unless the journal has it: then the
/// fold does, when the book knows it.
struct Place {
    views: Arc<Views>,
    device: DeviceId,
    is_kept: bool,
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.is_kept {
            self.views.commands.work().ordered(&self.device);
        }
    }
}

/// Whether a command of a protocol holds a password.
fn takes_password(protocol: Protocol, method: &str) -> bool {
    match protocol {
        Protocol::Hj212 => hj212::method_of(method).is_some_and(|method| method.name == "set_password"),
        Protocol::Sl651 => sl651::method_of(method).is_some_and(|method| method.name == "set_password"),
        _ => false,
    }
}

/// The hash under which the register has a station's password.
fn station_hash(protocol: Protocol, station: &str, password: &str) -> TokenHash {
    let name = match protocol {
        Protocol::Sl651 => "sl651",
        _ => "hj212",
    };
    TokenHash::of_password(name, station, password)
}

/// A field station takes the commands of its protocol's standard and no others.
fn check_station(views: &Views, order: &Order) -> Result<(), Problem> {
    let device = {
        let register = views.register.read().expect(POISON);
        register.view.devices.get(&order.device).cloned()
    };
    let profile = device.and_then(|device| views.profile(&device));
    let protocol = profile.as_ref().map(|profile| profile.protocol);
    let bad = |message: String| Err(Problem::bad_request("bad_command", message));
    match protocol {
        Some(Protocol::Hj212) if order.via != Via::Auto => {
            bad("an HJ 212 station is reached on its own connection: `via` is `auto`".to_owned())
        }
        Some(Protocol::Hj212) => match hj212::request_of(&order.method, &order.params, views.now()) {
            Ok(_) => Ok(()),
            Err(error) => bad(error.to_string()),
        },
        Some(Protocol::Gbt26875) if order.via != Via::Auto => {
            bad("a GB/T 26875.3 device is reached on its own connection: `via` is `auto`".to_owned())
        }
        Some(Protocol::Gbt26875) => match gbt26875::question_of(&order.method, &order.params) {
            Ok(_) => Ok(()),
            Err(error) => bad(error.to_string()),
        },
        Some(Protocol::Sl651) if order.via != Via::Auto => {
            bad("an SL 651 station is reached on its own connection: `via` is `auto`".to_owned())
        }
        Some(Protocol::Sl651) if profile.is_some_and(|profile| profile.sl651.mode == Some(Mode::M1)) => {
            bad("a station of mode M1 reports and hears nothing".to_owned())
        }
        // The former password is that of its last frame.
        Some(Protocol::Sl651) => match sl651::question_of(&order.method, &order.params, 0) {
            Ok(_) => Ok(()),
            Err(error) => bad(error.to_string()),
        },
        _ => Ok(()),
    }
}

/// The order as it is recorded: a password in it is sealed.
fn sealed(views: &Views, mut order: Order) -> Order {
    let protocol = {
        let register = views.register.read().expect(POISON);
        register.view.devices.get(&order.device).cloned()
    };
    let Some(protocol) = protocol.and_then(|device| views.protocol(&device)) else {
        return order;
    };
    if !takes_password(protocol, &order.method) {
        return order;
    }
    if let Some(Value::String(password)) = order.params.get("password") {
        let station = order.device.as_str();
        let password = match protocol {
            // Four hexadecimal digits, in either case.
            Protocol::Sl651 => password.to_ascii_uppercase(),
            _ => password.clone(),
        };
        let hash = station_hash(protocol, station, &password).to_string();
        order.params["password"] = views.sealer.seal(station, &password, &hash);
    }
    order
}

/// Parameters as they are shown: a station's new password is not.
fn shown_params(order: &Order) -> Value {
    let mut params = order.params.clone();
    let is_password = [Protocol::Hj212, Protocol::Sl651]
        .iter()
        .any(|protocol| takes_password(*protocol, &order.method));
    if is_password && let Some(password) = params.get_mut("password") {
        *password = "******".into();
    }
    params
}

/// Orders a command; gives it and whether it is new.
async fn order(views: &Arc<Views>, order: Order) -> Result<(Command, bool), Problem> {
    check_station(views, &order)?;
    let order = sealed(views, order);
    let taken = |id| {
        Problem::conflict(
            "idempotency_key_taken",
            format!("the key was used for another order (command {id})"),
        )
    };
    let device = order.device.clone();
    {
        let mut work = views.commands.work();
        let known = order
            .key
            .as_ref()
            .and_then(|key| work.book.by_key(&order.by, key));
        match known {
            Some(known) if known.order.is_same(&order) => return Ok((known.clone(), false)),
            Some(known) => return Err(taken(known.id)),
            None => {}
        }
        let most = views.commands.limits.waiting_per_device;
        if !work.order(&device, most) {
            return Err(Problem::too_many_requests(
                "too_many_waiting",
                format!("{most} commands wait for device `{}` already", order.device),
            ));
        }
    }
    let place = Place {
        views: Arc::clone(views),
        device,
        is_kept: false,
    };
    let (recorded, position) = oneshot::channel();
    // In a task of its own: a caller that goes away meanwhile gives back no place that is still needed.
    tokio::spawn(async move {
        // As a whole, which a block that names its fields alone would not take.
        let mut place = place;
        let scope = order.by.clone();
        let step = CommandStep::Created(Box::new(order));
        let views = &place.views;
        let position = views.acts.record_command(&scope, views.now(), step).await;
        place.is_kept = position.is_ok();
        // Whoever asked may have gone.
        let _ = recorded.send(position);
    });
    let position = position
        .await
        .map_err(|_| Problem::unavailable("the server stops"))?
        .map_err(act_problem)?;
    views.applied(position).await.map_err(behind)?;
    let work = views.commands.work();
    let found = match work.book.outcome(position) {
        Some(Ordered::New(id)) => work.book.get(id).map(|command| (command.clone(), true)),
        Some(Ordered::Same(id)) => work.book.get(id).map(|command| (command.clone(), false)),
        Some(Ordered::KeyTaken(id)) => return Err(taken(id)),
        None => None,
    };
    found.ok_or_else(|| Problem::unavailable("the command is kept; the list of commands shows it"))
}

pub(crate) async fn post(
    State(views): State<Arc<Views>>,
    caller: Caller,
    headers: HeaderMap,
    Body(new): Body<New>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let scope = caller.scope();
    let device = device(&views, scope, &new.device)?;
    let header = match headers.get("idempotency-key") {
        None => None,
        Some(value) => Some(
            value
                .to_str()
                .map_err(|_| Problem::bad_request("bad_key", "Idempotency-Key is not plain text"))?
                .to_owned(),
        ),
    };
    let key = match (new.idempotency_key, header) {
        (Some(a), Some(b)) if a != b => {
            return Err(Problem::bad_request(
                "bad_key",
                "`idempotency_key` and the header Idempotency-Key differ",
            ));
        }
        (body, header) => body.or(header),
    };
    let now = views.now();
    let expires_at = match (new.expires_at, new.ttl_s) {
        (Some(_), Some(_)) => {
            return Err(Problem::bad_request(
                "bad_expiry",
                "give either `expires_at` or `ttl_s`",
            ));
        }
        (Some(at), None) => at,
        (None, Some(ttl_s)) => now + Duration::from_secs(ttl_s),
        (None, None) => now + views.commands.limits.life,
    };
    let (command, is_new) = order(
        &views,
        Order {
            device: device.id.clone(),
            method: new.method,
            params: new.params,
            two_way: new.two_way,
            expires_at,
            key,
            via: new.via,
            by: scope.clone(),
        },
    )
    .await?;
    let status = if is_new {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok((status, Json(render(&views, &command))))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Query {
    device: Option<String>,
    state: Option<String>,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    limit: Option<usize>,
    after: Option<u64>,
}

/// Newest first.
pub(crate) async fn list_commands(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Params(query): Params<Query>,
) -> Result<Json<Value>, Problem> {
    let scope = caller.scope().clone();
    let state = query
        .state
        .map(|text| text.parse())
        .transpose()
        .map_err(|e: String| Problem::bad_request("bad_state", e))?;
    let limit = limit(query.limit, 100)?;
    let reader = views.clone();
    let rows = tokio::task::spawn_blocking(move || {
        let filter = CommandFilter {
            device: query.device,
            state,
            from: query.from,
            to: query.to,
        };
        seen(&reader, &scope, &filter, query.after, limit + 1)
    })
    .await
    .map_err(|e| Problem::internal(&e))?
    .map_err(|e| Problem::internal(&e))?;
    let next = (rows.len() > limit).then(|| rows[limit - 1].id.to_string());
    let shown = rows.iter().take(limit).map(|command| render(&views, command));
    Ok(list(shown.collect(), next))
}

/// At most so many commands that a scope sees: a page that has less is the last one, whatever others there are.
fn seen(
    views: &Views,
    scope: &Scope,
    filter: &CommandFilter,
    mut after: Option<u64>,
    n: usize,
) -> Result<Vec<Command>, LedgerError> {
    let mut found = Vec::new();
    loop {
        let rows = views.ledger.commands(filter, after, n)?;
        let is_end = rows.len() < n;
        after = rows.last().map(|row| row.id);
        found.extend(rows.into_iter().filter(|command| covers(views, scope, command)));
        if is_end || found.len() >= n {
            found.truncate(n);
            return Ok(found);
        }
    }
}

/// The command with its facts, from the ledger.
async fn story(views: &Arc<Views>, scope: &Scope, id: &str) -> Result<Value, Problem> {
    let unknown = || Problem::not_found("unknown_command", format!("no command has the number `{id}`"));
    let number: u64 = id.parse().map_err(|_| unknown())?;
    let reader = views.clone();
    let (command, facts) = tokio::task::spawn_blocking(move || reader.ledger.command(number))
        .await
        .map_err(|e| Problem::internal(&e))?
        .map_err(|e| Problem::internal(&e))?
        .ok_or_else(unknown)?;
    if !covers(views, scope, &command) {
        return Err(unknown());
    }
    let mut value = render(views, &command);
    value["facts"] = json!(facts);
    Ok(value)
}

/// Waits until a command is as `enough` wants it, at most `limit`; gives it as it stands then.
///
/// # Errors
/// 401 as soon as what let the caller in no longer does.
async fn wait_for(
    views: &Views,
    (scope, pass): (&Scope, Pass),
    id: u64,
    limit: Duration,
    stop: &CancellationToken,
    enough: impl Fn(&Command) -> bool,
) -> Result<Option<Command>, Problem> {
    let mut notices = views.notices.subscribe();
    let mut seen = None;
    // A little behind the limit comes the tick that ends the command itself.
    let waiting = async {
        loop {
            seen = views.commands.work().book.get(id).cloned();
            if seen.as_ref().is_none_or(&enough) {
                return;
            }
            loop {
                match notices.recv().await {
                    Ok(Notice::Command(changed)) if changed == id => break,
                    Ok(_) => {}
                    // Notices were missed: look again.
                    Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => break,
                    Err(tokio::sync::broadcast::error::RecvError::Closed) => return,
                }
            }
        }
    };
    tokio::select! {
        // First: an answer that comes at the same time is none of theirs any more.
        biased;
        () = auth::ended(views, pass, scope) => return Err(Problem::unauthorized()),
        () = waiting => {}
        () = tokio::time::sleep(limit) => {}
        () = stop.cancelled() => {}
    }
    Ok(views.commands.work().book.get(id).cloned().or(seen))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wait {
    wait_s: Option<u64>,
}

/// One command with its facts; with `wait_s` the answer comes when it has ended, or after that time.
pub(crate) async fn show(
    State(views): State<Arc<Views>>,
    axum::Extension(stop): axum::Extension<CancellationToken>,
    axum::Extension(pass): axum::Extension<Pass>,
    caller: Caller,
    Path(id): Path<String>,
    Params(query): Params<Wait>,
) -> Result<Json<Value>, Problem> {
    let scope = caller.scope();
    let now = story(&views, scope, &id).await?;
    let Some(wait_s) = query.wait_s.filter(|_| now["final"] == false) else {
        return Ok(Json(now));
    };
    let limit = Duration::from_secs(wait_s).min(LONGEST_WAIT);
    if let Ok(number) = id.parse() {
        wait_for(&views, (scope, pass), number, limit, &stop, Command::is_final).await?;
        // What has ended is in the ledger when its batch is; an answer that is behind is still an answer.
        let durable = *views.log.durable().borrow();
        let _ = views.applied(durable).await;
    }
    story(&views, scope, &id).await.map(Json)
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cancel {
    #[serde(default)]
    note: String,
}

/// Takes back a command that was not sent.
pub(crate) async fn cancel(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Json<Value>, Problem> {
    let scope = caller.scope();
    let Cancel { note } = if body.trim_ascii().is_empty() {
        Cancel::default()
    } else {
        serde_json::from_slice(&body).map_err(|e| Problem::bad_request("bad_body", e.to_string()))?
    };
    let known = story(&views, scope, &id).await?;
    let number = known["id"].as_u64().unwrap_or_default();
    let claim = views.commands.work().claim(number);
    match claim {
        Claim::Yours => {}
        Claim::TooLate(CommandState::Cancelled) => return Ok(Json(known)),
        Claim::TooLate(state) => {
            return Err(Problem::conflict(
                "too_late",
                format!("the command is {} and cannot be taken back", state.name()),
            ));
        }
        Claim::Unknown => {
            return Err(Problem::conflict("too_late", "the command ended long ago"));
        }
    }
    let step = CommandStep::Cancelled {
        id: number,
        by: scope.clone(),
        note,
    };
    let recorded = views.acts.record_command(scope, views.now(), step).await;
    let position = match recorded {
        Ok(position) => position,
        Err(error) => {
            views.commands.work().release(number);
            views.commands.changed.notify_one();
            return Err(act_problem(error));
        }
    };
    views.applied_whenever(position).await;
    views.commands.work().release(number);
    story(&views, scope, &id).await.map(Json)
}

/// ThingsBoard's body of a server-side RPC.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Rpc {
    method: String,
    #[serde(default)]
    params: Value,
    /// Milliseconds from now.
    timeout: Option<u64>,
    /// Milliseconds since 1970.
    expiration_time: Option<i64>,
    /// The number is answered at once.
    #[serde(default)]
    persistent: bool,
}

impl Rpc {
    async fn run(
        self,
        views: &Arc<Views>,
        (caller, pass): (&Caller, Pass),
        stop: &CancellationToken,
        id: &str,
        two_way: bool,
    ) -> Result<Response, Problem> {
        let scope = caller.scope();
        let device = device(views, scope, id)?;
        let now = views.now();
        let life = self.timeout.map_or(RPC_LIFE, Duration::from_millis);
        let expires_at = self.expiration_time.map_or(now + life, Timestamp::from_ms);
        let ordered = Order {
            device: device.id.clone(),
            method: self.method,
            params: self.params,
            two_way,
            expires_at,
            key: None,
            via: Via::Auto,
            by: scope.clone(),
        };
        let (command, _) = order(views, ordered).await?;
        if self.persistent {
            return Ok(Json(json!({"rpcId": command.id.to_string()})).into_response());
        }
        // The tick that ends it comes within a second or two.
        let limit = (expires_at.since(now) + Duration::from_secs(2)).min(LONGEST_WAIT);
        let is_enough =
            |command: &Command| command.is_final() || (!two_way && command.state > CommandState::Created);
        let ended = wait_for(views, (scope, pass), command.id, limit, stop, is_enough).await?;
        match ended {
            Some(command) if matches!(command.state, CommandState::Executed | CommandState::Failed) => {
                let answer = command.answer.unwrap_or_default();
                let answer = match command.state {
                    CommandState::Failed => json!({"error": answer}),
                    _ => answer,
                };
                Ok(Json(answer).into_response())
            }
            Some(command)
                if !two_way && matches!(command.state, CommandState::Sent | CommandState::Received) =>
            {
                Ok(StatusCode::OK.into_response())
            }
            _ => Err(Problem::timed_out(format!(
                "device `{id}` did not answer command {} in time",
                command.id
            ))),
        }
    }
}

pub(crate) async fn one_way(
    State(views): State<Arc<Views>>,
    axum::Extension(stop): axum::Extension<CancellationToken>,
    axum::Extension(pass): axum::Extension<Pass>,
    caller: Caller,
    Path(id): Path<String>,
    Body(rpc): Body<Rpc>,
) -> Result<Response, Problem> {
    rpc.run(&views, (&caller, pass), &stop, &id, false).await
}

pub(crate) async fn two_way(
    State(views): State<Arc<Views>>,
    axum::Extension(stop): axum::Extension<CancellationToken>,
    axum::Extension(pass): axum::Extension<Pass>,
    caller: Caller,
    Path(id): Path<String>,
    Body(rpc): Body<Rpc>,
) -> Result<Response, Problem> {
    rpc.run(&views, (&caller, pass), &stop, &id, true).await
}

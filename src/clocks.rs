//! Sets the clocks of stations that ask for it: a question for the time (HJ 212: 1013) orders `set_clock` (1012).
//!
//! The order is a command like any other, by the actor `clock`; its key holds the question's number, so that a question is
//! answered once, whatever was sent or folded again. The time in it is that of its sending.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use onemap_dashboards::views::Views;
use onemap_ingest::downlink::ClockAsked;
use onemap_model::{CommandStep, DeviceId, Order, Scope, Timestamp, Via};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// Who orders.
const ACTOR: &str = "clock";
/// How long an order lives: a station that does not take it asks again.
const LIFE: Duration = Duration::from_secs(300);
/// A station that asks more often is told no more often.
const REST: Duration = Duration::from_secs(10);
/// How often questions are looked for.
const ROUND: Duration = Duration::from_millis(500);

/// Orders until `stop`.
pub(crate) async fn run(views: Arc<Views>, left: u64, stop: CancellationToken) -> Result<()> {
    tokio::select! {
        () = views.applied_whenever(left) => {}
        () = stop.cancelled() => return Ok(()),
    }
    let scope = Scope::local(ACTOR);
    let mut told: HashMap<DeviceId, Timestamp> = HashMap::new();
    let mut rounds = tokio::time::interval(ROUND);
    rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            _ = rounds.tick() => {}
        }
        let asked = views.commands.work().take_asked_clock();
        let now = views.now();
        told.retain(|_, at| now >= *at && now.since(*at) < REST);
        for (device, asked) in asked {
            if is_waiting(&views, &device) {
                continue;
            }
            if told.contains_key(&device) {
                views.commands.work().asks_clock(&device, asked);
                continue;
            }
            let step = CommandStep::Created(Box::new(order(&device, &asked, now)));
            let recorded = tokio::select! {
                recorded = views.acts.record_command(&scope, now, step) => recorded,
                () = stop.cancelled() => return Ok(()),
            };
            if let Err(error) = recorded {
                warn!(device.id = %device, "the clock of `{device}` is not set, it asks again: {error}");
                continue;
            }
            told.insert(device, now);
        }
    }
}

/// Whether its clock is to be set already.
fn is_waiting(views: &Views, device: &DeviceId) -> bool {
    let work = views.commands.work();
    work.book
        .waiting(device.as_str())
        .any(|command| command.order.by.actor == ACTOR)
}

fn order(device: &DeviceId, asked: &ClockAsked, now: Timestamp) -> Order {
    let params = match &asked.pol_id {
        Some(pol_id) => json!({"pol_id": pol_id}),
        None => json!({}),
    };
    Order {
        device: device.clone(),
        method: "set_clock".to_owned(),
        params,
        two_way: true,
        expires_at: now + LIFE,
        key: Some(format!("clock:{device}:{}", asked.qn)),
        via: Via::Auto,
        by: Scope::local(ACTOR),
    }
}

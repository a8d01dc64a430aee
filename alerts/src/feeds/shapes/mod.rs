//! How something is said to each kind of consumer.

mod alertmanager;
mod email;
mod gateway;
mod robots;
mod webhook;
mod words;

use std::collections::BTreeSet;
use std::time::Duration;

use onemap_model::{Edge, Timestamp};
use serde_json::Value;

pub use gateway::{Gateway, TemplateError};

use super::batch::{Batch, MOST_SHOWN};
use super::sign::{self, Secret};
use crate::Alert;

/// Items of one request to an Alertmanager.
const N_POSTED: usize = 64;
/// Items that one message of a robot tells of at most.
const N_TOLD: usize = 10_000;
/// Robots take twenty messages a minute.
const ROBOT_PAUSE: Duration = Duration::from_secs(3);

/// How a consumer is spoken to.
#[derive(Clone, Debug)]
pub enum Kind {
    /// JSON, signed, one item each (docs/schemas/feed-item.schema.json).
    Webhook {
        /// What signs.
        secret: Secret,
    },
    /// Alertmanager's `POST /api/v2/alerts`.
    Alertmanager,
    /// A robot of a DingTalk group (钉钉).
    DingTalk {
        /// What signs, where the robot wants it.
        secret: Option<Secret>,
    },
    /// A robot of a WeCom group (企业微信).
    WeCom,
    /// A robot of a Feishu group (飞书).
    Feishu {
        /// What signs, where the robot wants it.
        secret: Option<Secret>,
    },
    /// Any HTTP gateway of short messages or calls, by templates.
    Gateway(Gateway),
    /// Mail boxes: what waits in one message.
    Email,
    /// A topic of another MQTT broker: the webhook's JSON, one item each.
    Mqtt,
}

/// A request, as far as it does not say to which host.
#[derive(Clone, PartialEq, Eq)]
pub struct Made {
    /// Its method.
    pub method: &'static str,
    /// Path and query.
    pub target: String,
    /// Headers.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
}

impl Made {
    fn json(target: String, body: &Value) -> Self {
        Self {
            method: "POST",
            target,
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            body: body.to_string().into_bytes(),
        }
    }
}

impl Kind {
    /// Its name in the configuration and the API.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Webhook { .. } => "webhook",
            Self::Alertmanager => "alertmanager",
            Self::DingTalk { .. } => "dingtalk",
            Self::WeCom => "wecom",
            Self::Feishu { .. } => "feishu",
            Self::Gateway(_) => "gateway",
            Self::Email => "email",
            Self::Mqtt => "mqtt",
        }
    }

    /// The edges that it is told of when nothing else is asked for.
    pub fn usual_edges(&self) -> BTreeSet<Edge> {
        use Edge::*;
        let told = [
            Raised, DrillOver, Worsened, Lost, Cleared, Closed, Withdrawn, Paged,
        ];
        match self {
            // What is told to nobody is told to machines when they ask for it.
            Self::Webhook { .. } | Self::Mqtt => Edge::ALL.into_iter().filter(|edge| *edge != Past).collect(),
            Self::Alertmanager => [Raised, DrillOver, Worsened, Eased, Cleared, Closed, Withdrawn].into(),
            _ => told.into(),
        }
    }

    /// Least time between two requests that it bears.
    pub fn least_pause(&self) -> Duration {
        match self {
            Self::DingTalk { .. } | Self::WeCom | Self::Feishu { .. } | Self::Email => ROBOT_PAUSE,
            _ => Duration::ZERO,
        }
    }

    /// Most items of one request.
    pub fn most_items(&self) -> usize {
        match self {
            Self::Webhook { .. } | Self::Gateway(_) | Self::Mqtt => 1,
            Self::Alertmanager => N_POSTED,
            _ => N_TOLD,
        }
    }

    /// An empty batch for one request.
    pub fn batch(&self) -> Batch {
        Batch::new(match self {
            Self::Webhook { .. } | Self::Gateway(_) | Self::Mqtt => 1,
            Self::Alertmanager => N_POSTED,
            _ => MOST_SHOWN,
        })
    }

    /// Whether its items need every edge of their alerts.
    pub fn needs_story(&self) -> bool {
        matches!(self, Self::Alertmanager)
    }

    /// Whether it is told again and again what is open.
    pub fn is_reminded(&self) -> bool {
        matches!(self, Self::Alertmanager)
    }

    /// The request that tells of a batch, which holds at least one item; `target` is path and query of the consumer's
    /// address.
    pub fn request(&self, target: &str, batch: &Batch, now: Timestamp) -> Made {
        match self {
            Self::Webhook { secret } => webhook::request(target, secret, batch, now),
            Self::Alertmanager => alertmanager::request(target, batch),
            Self::DingTalk { secret } => robots::dingtalk(target, secret.as_ref(), batch, now),
            Self::WeCom => robots::wecom(target, batch),
            Self::Feishu { secret } => robots::feishu(target, secret.as_ref(), batch, now),
            Self::Gateway(gateway) => gateway.request(target, batch),
            Self::Email => email::message(batch),
            Self::Mqtt => webhook::plain(target, batch, now),
        }
    }

    /// The requests that tell an Alertmanager again of what is open.
    pub fn reminders(target: &str, open: &[Alert]) -> Vec<Made> {
        open.chunks(N_POSTED)
            .map(|open| alertmanager::reminder(target, open))
            .collect()
    }
}

#[cfg(test)]
pub(super) mod tests;

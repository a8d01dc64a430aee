//! Commands: what goes down to a device, and the facts of its life.
//!
//! A [`Command`] is numbered by the fold over the journal (1, 2, 3 …), so that a replay numbers alike and a
//! device sees small numbers. Its state is never set: it follows from facts, each a journal record
//! ([`CommandRecord`], an answer's frame, a tick). Selecting, confirming and verifying build on top of this.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{DeviceId, Scope, Timestamp};

/// Most bytes of a command's parameters as JSON.
pub const MAX_PARAMS_BYTES: usize = 64 << 10;
/// Most bytes of a method's name.
pub const MAX_METHOD_BYTES: usize = 128;
/// Most bytes of an idempotency key.
pub const MAX_KEY_BYTES: usize = 128;
/// Longest time from creation to expiry.
pub const MAX_LIFE: Duration = Duration::from_secs(30 * 86_400);

/// Which of the device's doors a command takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Via {
    /// Whichever the device listens on: its own RPC topic, its native one, then its gateway's.
    #[default]
    Auto,
    /// ThingsBoard RPC (`v1/devices/me/rpc/request/{n}`, for a gateway's child `v1/gateway/rpc`).
    Rpc,
    /// Native (`onemap/v1/{device}/command`).
    Native,
}

/// The door that an attempt took.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Over {
    /// The device's RPC topic.
    Rpc,
    /// The device's native command topic.
    Native,
    /// Its gateway's RPC topic.
    Gateway,
    /// The device fetched it over HTTP.
    Http,
    /// The connection of an HJ 212 station.
    Hj212,
    /// The connection of an SL 651 station.
    Sl651,
    /// The connection of a GB/T 26875.3 device.
    Gbt26875,
}

/// What somebody wants a device to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// The device.
    pub device: DeviceId,
    /// The device's name for the deed.
    pub method: String,
    /// Any JSON.
    #[serde(default)]
    pub params: Value,
    /// The device is expected to answer; without it the command ends when it is received.
    pub two_way: bool,
    /// Not sent at or after this time; without an answer by then it is expired.
    pub expires_at: Timestamp,
    /// The caller's own name for this order: the same again is the same command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Which door.
    #[serde(default)]
    pub via: Via,
    /// Who.
    pub by: Scope,
}

impl Order {
    /// Whether another order asks for the same under the same key. Its expiry may differ: a caller that
    /// gives a duration and tries again gets another moment.
    pub fn is_same(&self, other: &Order) -> bool {
        (&self.device, &self.method, &self.params, self.two_way, self.via)
            == (
                &other.device,
                &other.method,
                &other.params,
                other.two_way,
                other.via,
            )
    }
}

/// Where a command is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommandState {
    /// Durable, and not handed to a connection yet.
    Created,
    /// Handed to a live connection.
    Sent,
    /// The device acknowledged the message; the end of a one-way command.
    Received,
    /// The device answered that it is done.
    Executed,
    /// The device answered with an error.
    Failed,
    /// Its time ran out.
    Expired,
    /// Taken back by a person before it was sent.
    Cancelled,
}

impl CommandState {
    /// Every state, in the order of a life.
    pub const ALL: [CommandState; 7] = [
        Self::Created,
        Self::Sent,
        Self::Received,
        Self::Executed,
        Self::Failed,
        Self::Expired,
        Self::Cancelled,
    ];
    /// Stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Sent => "sent",
            Self::Received => "received",
            Self::Executed => "executed",
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
        }
    }
    /// The Chinese name for the screen.
    pub fn zh(self) -> &'static str {
        match self {
            Self::Created => "待下发",
            Self::Sent => "已下发",
            Self::Received => "已送达",
            Self::Executed => "已执行",
            Self::Failed => "执行失败",
            Self::Expired => "已过期",
            Self::Cancelled => "已撤销",
        }
    }
    /// The English name for the screen.
    pub fn en(self) -> &'static str {
        match self {
            Self::Created => "waiting to be sent",
            Self::Sent => "sent",
            Self::Received => "received by the device",
            Self::Executed => "executed",
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
        }
    }
    /// Whether nothing follows, for a command that expects an answer or does not.
    pub fn is_final(self, two_way: bool) -> bool {
        match self {
            Self::Created | Self::Sent => false,
            Self::Received => !two_way,
            Self::Executed | Self::Failed | Self::Expired | Self::Cancelled => true,
        }
    }
}

impl std::str::FromStr for CommandState {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|s| s.name() == text).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|s| s.name()).collect();
            format!(
                "`{text}` is not a command's state; states are {}",
                names.join(", ")
            )
        })
    }
}

/// A command as it stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Command {
    /// Its number, from 1.
    pub id: u64,
    /// What was ordered.
    pub order: Order,
    /// When.
    pub created_at: Timestamp,
    /// Where it is in its life.
    pub state: CommandState,
    /// Since when.
    pub state_at: Timestamp,
    /// How often it was handed to a connection.
    pub attempts: u32,
    /// The device acknowledged the message.
    pub received: bool,
    /// It was handed to a subscription of QoS 0, which confirms nothing: whether it arrived is not known,
    /// and it is not sent again.
    #[serde(default)]
    pub unconfirmed: bool,
    /// What the device answered: the result, or the error of a failed one. That of a late answer stands
    /// in its fact only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Value>,
}

impl Command {
    /// Whether nothing follows.
    pub fn is_final(&self) -> bool {
        self.state.is_final(self.order.two_way)
    }
}

/// What happened to a command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Happened {
    /// It was ordered.
    Created {
        /// By whom.
        by: Scope,
    },
    /// It was handed to a live connection.
    Sent {
        /// How often by now.
        attempt: u32,
        /// Which door.
        over: Over,
        /// QoS of the device's subscription: 0 confirms nothing.
        qos: u8,
    },
    /// The device acknowledged the message.
    Received,
    /// The device says that it is done.
    Executed {
        /// With this result.
        result: Value,
    },
    /// The device says that it could not.
    Failed {
        /// For this reason.
        error: Value,
    },
    /// Its time ran out.
    Expired,
    /// A person took it back.
    Cancelled {
        /// Who.
        by: Scope,
        /// Why.
        note: String,
    },
    /// The device answered after the end.
    LateAnswer {
        /// Whether it was done.
        ok: bool,
        /// What it said.
        answer: Value,
    },
}

impl Happened {
    /// Stable name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Created { .. } => "created",
            Self::Sent { .. } => "sent",
            Self::Received => "received",
            Self::Executed { .. } => "executed",
            Self::Failed { .. } => "failed",
            Self::Expired => "expired",
            Self::Cancelled { .. } => "cancelled",
            Self::LateAnswer { .. } => "late_answer",
        }
    }
}

/// One fact of a command's life.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fact {
    /// Journal position of the record that it follows from.
    pub position: u64,
    /// When, by that record.
    pub at: Timestamp,
    /// What.
    #[serde(flatten)]
    pub happened: Happened,
}

/// A journal record about a command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CommandRecord {
    /// When the server took or did it.
    pub at: Timestamp,
    /// What.
    pub what: CommandStep,
}

/// What a [`CommandRecord`] says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
#[non_exhaustive]
pub enum CommandStep {
    /// Somebody orders something; the fold numbers it.
    Created(Box<Order>),
    /// It was handed to a live connection.
    Sent {
        /// The command's number.
        id: u64,
        /// Which door.
        over: Over,
        /// QoS of the device's subscription: 0 confirms nothing.
        #[serde(default = "at_least_once")]
        qos: u8,
    },
    /// The device acknowledged the message.
    Received {
        /// The command's number.
        id: u64,
    },
    /// A person takes it back.
    Cancelled {
        /// The command's number.
        id: u64,
        /// Who.
        by: Scope,
        /// Why.
        #[serde(default)]
        note: String,
    },
}

fn at_least_once() -> u8 {
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_read_back_and_end_as_documented() {
        for state in CommandState::ALL {
            assert_eq!(state.name().parse(), Ok(state));
            assert!(!state.zh().is_empty() && !state.en().is_empty());
        }
        assert!("done".parse::<CommandState>().is_err());
        let ends = |two_way| {
            let mut ends = CommandState::ALL.to_vec();
            ends.retain(|s| s.is_final(two_way));
            ends
        };
        use CommandState::{Cancelled, Executed, Expired, Failed, Received};
        assert_eq!(ends(true), [Executed, Failed, Expired, Cancelled]);
        assert_eq!(ends(false), [Received, Executed, Failed, Expired, Cancelled]);
    }
}

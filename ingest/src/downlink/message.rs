//! Messages of commands: their normalised topics, payloads, and what answers say. Pure.
//!
//! | door | request | answer |
//! |---|---|---|
//! | RPC | `d/{device}/rpc/request/{id}` `{"method":…,"params":…}` | `d/{device}/rpc/response/{id}` any JSON |
//! | native | `onemap/v1/{device}/command` `{"id":…,"method":…,"params":…,"expires":ms}` | `onemap/v1/{device}/command/response` `{"id":…,"ok":true,"result":…}` or `{"id":…,"ok":false,"error":…}` |
//! | gateway | `g/{gateway}/rpc` `{"device":…,"data":{"id":…,"method":…,"params":…}}` | the same topic, `{"device":…,"id":…,"data":…}` |
//!
//! An answer of the first and third kind that is an object with an `error` says that the command failed.

use onemap_model::{Command, DeviceId, Over, Refusal};
use onemap_wire::thingsboard;
use serde::Deserialize;
use serde_json::{Value, json};

/// What a device publishes on the way of commands.
#[derive(Clone, Debug, PartialEq)]
pub enum Upward {
    /// It answers a command.
    Answer {
        /// Whose command: the publisher's, or that of a gateway's child.
        device: String,
        /// The command's number.
        id: u64,
        /// A result, or an error.
        answer: Result<Value, Value>,
    },
    /// It asks the server something.
    Request {
        /// Its own number for the question.
        n: u64,
        /// What.
        method: String,
        /// With which parameters.
        params: Value,
    },
}

/// Why such a message is refused.
pub type Fault = (Refusal, String);

/// The normalised topic of a request at a door.
pub(super) fn topic(over: Over, holder: &DeviceId, id: u64) -> String {
    match over {
        Over::Rpc => format!("d/{holder}/rpc/request/{id}"),
        Over::Native => format!("onemap/v1/{holder}/command"),
        Over::Gateway => format!("g/{holder}/rpc"),
        // Fetched, never pushed; no topic of a device looks like this.
        Over::Http => format!("http/{holder}"),
        Over::Hj212 => format!("hj212/{holder}"),
        Over::Sl651 => format!("sl651/{holder}"),
        Over::Gbt26875 => format!("gbt26875/{holder}"),
    }
}

/// The request itself. `name` is what the gateway calls the device; other doors know it by its id.
pub fn payload(over: Over, command: &Command, name: Option<&str>) -> Vec<u8> {
    let (id, order) = (command.id, &command.order);
    let message = match over {
        Over::Rpc => json!({"method": order.method, "params": order.params}),
        // A station's request is its protocol's frame; this is for whoever looks at it.
        Over::Http | Over::Hj212 | Over::Sl651 | Over::Gbt26875 => {
            json!({"id": id, "method": order.method, "params": order.params})
        }
        Over::Native => {
            json!({"id": id, "method": order.method, "params": order.params, "expires": order.expires_at.ms()})
        }
        Over::Gateway => {
            let (device, method) = (name.unwrap_or(order.device.as_str()), &order.method);
            return thingsboard::gateway_rpc_encode(device, id, method, &order.params);
        }
    };
    message.to_string().into_bytes()
}

/// The doors that a filter opens: at most one of each kind, since a device subscribes under its own name
/// only. `None` when no request would come through it.
pub(super) fn doors_of(filter: &str) -> Option<Vec<(Over, DeviceId)>> {
    let filter = match filter.strip_prefix("$share/") {
        Some(rest) => rest.split_once('/')?.1,
        None => filter,
    };
    let (prefix, over) = [
        ("d/", Over::Rpc),
        ("onemap/v1/", Over::Native),
        ("g/", Over::Gateway),
    ]
    .into_iter()
    .find_map(|(prefix, over)| Some((filter.strip_prefix(prefix)?, over)))?;
    let (holder, rest) = prefix.split_once('/')?;
    let holder = DeviceId::new(holder).ok()?;
    let wanted: &[&str] = match over {
        Over::Rpc => &["rpc", "request", "1"],
        Over::Native => &["command"],
        Over::Gateway | Over::Http | Over::Hj212 | Over::Sl651 | Over::Gbt26875 => &["rpc"],
    };
    let mut levels = rest.split('/');
    for level in wanted {
        match levels.next() {
            Some("#") => return Some(vec![(over, holder)]),
            Some("+") => {}
            // A device may subscribe to one number alone.
            Some(own) if own == *level || (*level == "1" && own.parse::<u64>().is_ok()) => {}
            _ => return None,
        }
    }
    matches!(levels.next(), None | Some("#")).then(|| vec![(over, holder)])
}

/// Reads what `device` published on a normalised topic; `None` when the topic is none of a command's.
pub fn upward(device: &str, topic: &str, payload: &[u8]) -> Option<Result<Upward, Fault>> {
    let own = |prefix: &str| {
        topic
            .strip_prefix(prefix)?
            .strip_prefix(device)?
            .strip_prefix('/')
    };
    if let Some(rest) = own("d/") {
        let (kind, n) = rest.strip_prefix("rpc/")?.split_once('/')?;
        let read = match kind {
            "response" => rpc_answer,
            "request" => request,
            _ => return None,
        };
        return Some(match n.parse() {
            Ok(n) => read(device, n, payload),
            Err(_) => Err((Refusal::UnknownTopic, format!("`{n}` is no request number"))),
        });
    }
    if own("onemap/v1/") == Some("command/response") {
        return Some(native_answer(device, payload));
    }
    (own("g/") == Some("rpc")).then(|| child_answer(payload))
}

fn read<'a, T: Deserialize<'a>>(payload: &'a [u8]) -> Result<T, Fault> {
    serde_json::from_slice(payload).map_err(|error| {
        let refusal = match error.classify() {
            serde_json::error::Category::Data => Refusal::WrongShape,
            _ => Refusal::BrokenJson,
        };
        (refusal, error.to_string())
    })
}

/// ThingsBoard's convention: an object with `error` is a failure.
fn judged(data: Value) -> Result<Value, Value> {
    match data.get("error") {
        Some(error) if !error.is_null() => Err(error.clone()),
        _ => Ok(data),
    }
}

fn rpc_answer(device: &str, id: u64, payload: &[u8]) -> Result<Upward, Fault> {
    // A device may have nothing to say but that it is done.
    let data = if payload.is_empty() {
        Value::Null
    } else {
        read(payload)?
    };
    Ok(Upward::Answer {
        device: device.to_owned(),
        id,
        answer: judged(data),
    })
}

fn request(_device: &str, n: u64, payload: &[u8]) -> Result<Upward, Fault> {
    #[derive(Deserialize)]
    struct Request {
        method: String,
        #[serde(default)]
        params: Value,
    }
    let Request { method, params } = read(payload)?;
    Ok(Upward::Request { n, method, params })
}

fn native_answer(device: &str, payload: &[u8]) -> Result<Upward, Fault> {
    #[derive(Deserialize)]
    struct Answer {
        id: u64,
        ok: bool,
        #[serde(default)]
        result: Value,
        #[serde(default)]
        error: Value,
    }
    let answer: Answer = read(payload)?;
    Ok(Upward::Answer {
        device: device.to_owned(),
        id: answer.id,
        answer: if answer.ok {
            Ok(answer.result)
        } else {
            Err(answer.error)
        },
    })
}

fn child_answer(payload: &[u8]) -> Result<Upward, Fault> {
    let answer = thingsboard::gateway_rpc_decode(payload).map_err(|r| (r.refusal, r.detail))?;
    Ok(Upward::Answer {
        device: answer.device,
        id: answer.id,
        answer: judged(answer.data),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn answers_are_read_and_refused_by_name() {
        let answer = |device: &str, answer| {
            Ok(Upward::Answer {
                device: device.into(),
                id: 7,
                answer,
            })
        };
        for (topic, payload, want) in [
            (
                "d/A/rpc/response/7",
                "{\"on\":true}",
                answer("A", Ok(json!({"on": true}))),
            ),
            ("d/A/rpc/response/7", "", answer("A", Ok(Value::Null))),
            (
                "d/A/rpc/response/7",
                "{\"error\":\"jammed\"}",
                answer("A", Err(json!("jammed"))),
            ),
            (
                "d/A/rpc/response/7",
                "{\"error\":null}",
                answer("A", Ok(json!({"error": null}))),
            ),
            (
                "onemap/v1/A/command/response",
                "{\"id\":7,\"ok\":true,\"result\":3}",
                answer("A", Ok(json!(3))),
            ),
            (
                "onemap/v1/A/command/response",
                "{\"id\":7,\"ok\":false,\"error\":\"no\"}",
                answer("A", Err(json!("no"))),
            ),
            (
                "g/A/rpc",
                "{\"device\":\"child\",\"id\":7,\"data\":{\"error\":\"x\"}}",
                answer("child", Err(json!("x"))),
            ),
            (
                "d/A/rpc/request/3",
                "{\"method\":\"getServerTime\"}",
                Ok(Upward::Request {
                    n: 3,
                    method: "getServerTime".into(),
                    params: Value::Null,
                }),
            ),
        ] {
            assert_eq!(
                upward("A", topic, payload.as_bytes()),
                Some(want),
                "{topic} {payload}"
            );
        }
        for (topic, payload, want) in [
            ("d/A/rpc/response/7", "OK", Refusal::BrokenJson),
            ("d/A/rpc/response/x", "{}", Refusal::UnknownTopic),
            ("d/A/rpc/request/1", "{\"params\":1}", Refusal::WrongShape),
            (
                "onemap/v1/A/command/response",
                "{\"id\":-1,\"ok\":true}",
                Refusal::WrongShape,
            ),
            ("onemap/v1/A/command/response", "{\"id\":7}", Refusal::WrongShape),
            ("g/A/rpc", "{\"device\":7,\"id\":7}", Refusal::WrongShape),
            ("g/A/rpc", "{\"device\":", Refusal::BrokenJson),
        ] {
            let refused = upward("A", topic, payload.as_bytes()).unwrap().unwrap_err();
            assert_eq!(refused.0, want, "{topic} {payload}");
        }
        for topic in [
            "d/A/telemetry",
            "d/B/rpc/response/7",
            "d/A/rpc",
            "onemap/v1/A/command",
            "onemap/v1/A/readings",
            "g/A/telemetry",
        ] {
            assert_eq!(upward("A", topic, b"{}"), None, "{topic}");
        }
    }

    #[test]
    fn filters_open_the_doors_that_they_match() {
        let door = |over, device: &str| Some(vec![(over, DeviceId::new(device).unwrap())]);
        for (filter, want) in [
            ("d/A/rpc/request/+", door(Over::Rpc, "A")),
            ("d/A/rpc/request/#", door(Over::Rpc, "A")),
            ("d/A/rpc/+/+", door(Over::Rpc, "A")),
            ("d/A/#", door(Over::Rpc, "A")),
            ("d/A/rpc/request/9", door(Over::Rpc, "A")),
            ("$share/g/d/A/rpc/request/+", door(Over::Rpc, "A")),
            ("onemap/v1/A/command", door(Over::Native, "A")),
            ("onemap/v1/A/command/#", door(Over::Native, "A")),
            ("onemap/v1/A/#", door(Over::Native, "A")),
            ("g/A/rpc", door(Over::Gateway, "A")),
            ("g/A/+", door(Over::Gateway, "A")),
            ("d/A/rpc/response/+", None),
            ("d/A/rpc/request", None),
            ("d/A/attributes", None),
            ("d/A/rpc/request/+/x", None),
            ("onemap/v1/A/receipt", None),
            ("onemap/v1/A/command/response", None),
            ("g/A/attributes", None),
            ("d/+/#", None),
            ("#", None),
        ] {
            assert_eq!(doors_of(filter), want, "{filter}");
        }
    }

    proptest::proptest! {
        #[test]
        fn foreign_bytes_never_panic(topic in "(d|g|onemap/v1)/A/(rpc|command)(/response|/request)?(/[0-9x]{0,22})?",
                                     payload in proptest::collection::vec(0u8.., 0..80)) {
            let _ = upward("A", &topic, &payload);
        }
    }
}

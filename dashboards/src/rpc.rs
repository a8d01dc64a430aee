//! What a device may ask the server (RPC from the device's side), over MQTT or HTTP.

use onemap_model::Device;
use serde_json::{Value, json};

use crate::views::Views;

/// Messages to one device that wait for its acknowledgement.
const IN_FLIGHT: usize = 100;

/// The server's answer to a device's question; an unknown method is an `{"error":…}`.
///
/// `getServerTime` (also `getTime`, `getCurrentTime`): milliseconds since 1970 and RFC 3339. `getDevice`: the
/// device's own record, which holds no secret. `getSessionLimits` as ThingsBoard's client libraries read it.
pub fn answer(views: &Views, device: &Device, method: &str) -> Value {
    match method {
        "getServerTime" | "getTime" | "getCurrentTime" => {
            let now = views.now();
            json!({"time": now.ms(), "iso": now})
        }
        "getDevice" => {
            let register = views.register.read().expect("no holder of this lock panics");
            let mut own = serde_json::to_value(device).expect("devices have text keys only");
            own["division"] = json!(register.divisions.get(&device.id));
            own
        }
        "getSessionLimits" => json!({
            "maxPayloadSize": views.max_packet_bytes, "maxInflightMessages": IN_FLIGHT, "rateLimits": {},
        }),
        other => {
            let shown: String = other.chars().take(64).collect();
            json!({"error": format!("unknown method {shown}")})
        }
    }
}

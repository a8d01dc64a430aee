//! Which frames are passed on between MQTT clients and are nobody's readings.

use onemap_model::{Frame, Source};

/// First levels of topics that are a device's or a gateway's own.
const OF_DEVICES: &[&str] = &["d", "g", "onemap"];

/// Whether a frame came from an anonymous client, or from a device on a topic that the configuration
/// (`[[mqtt.acl]]`) gives it beside its own. Such a frame is journaled and fanned out; there is nothing to
/// decode, and nothing wrong with it.
pub(super) fn is_relayed(frame: &Frame<'_>) -> bool {
    if frame.source != Source::Mqtt || frame.refused.is_some() {
        return false;
    }
    let first = frame.topic.split('/').next().unwrap_or_default();
    frame.device.is_empty() || !OF_DEVICES.contains(&first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use onemap_model::{Refusal, Timestamp};

    #[test]
    fn only_what_is_no_device_s_is_relayed() {
        let frame = |device, topic, source, refused| Frame {
            received_at: Timestamp::from_ms(0),
            source,
            refused,
            qos: 0,
            retain: false,
            device,
            peer: "",
            topic,
            payload: b"",
        };
        for (device, topic, relayed) in [
            ("", "TopicA/B", true),
            ("A", "room/1", true),
            ("A", "d/A/telemetry", false),
            ("A", "onemap/v1/A/readings", false),
            ("G", "g/G/telemetry", false),
        ] {
            let of = |source, refused| is_relayed(&frame(device, topic, source, refused));
            assert_eq!(of(Source::Mqtt, None), relayed, "{device} {topic}");
            assert!(!of(Source::Http, None) && !of(Source::Mqtt, Some(Refusal::OverSize)));
        }
    }
}

//! Which codec reads which frame.

use onemap_model::{Frame, Refusal, Source};

use crate::message::quoted;
use crate::{Message, Profile, hj212, line, native, thingsboard};

/// HTTP path whose bodies are native readings.
pub const HTTP_READINGS: &str = "/api/v1/readings";

/// Reads one journal frame.
///
/// Topics are the normalised ones: `d/{device}/telemetry`, `d/{device}/attributes` (taken, holds no
/// readings), `onemap/v1/{device}/readings`; and the HTTP paths [`HTTP_READINGS`] and `/api/v2/write` (line
/// protocol, see [`line::Params`]). A station's frame is read by the protocol of the door it came through. A frame that its
/// listener already refused gives just that refusal.
pub fn decode(frame: &Frame<'_>, profile: Option<&Profile>) -> Message {
    if let Some(refusal) = frame.refused {
        return Message::refused(refusal, format!("refused on arrival from {}", frame.peer));
    }
    if frame.source == Source::Hj212 {
        return hj212_frame(frame.payload, profile);
    }
    if frame.topic == HTTP_READINGS {
        return native::decode(frame.payload);
    }
    if let Some(rest) = own(frame.topic.strip_prefix("d/"), frame.device) {
        if rest == "telemetry" {
            return thingsboard::telemetry(frame.payload, profile);
        }
        if matches!(rest, "attributes" | "claim") || rest.starts_with("attributes/request/") {
            return Message::default();
        }
        if rest.starts_with("protobuf/") {
            return Message::refused(
                Refusal::UnknownTopic,
                "the protobuf form is not read here; send JSON on the topic without `p`",
            );
        }
    } else if let Some(params) = line::Params::of_topic(frame.topic) {
        return line::decode(frame.payload, params.precision, profile);
    } else if own(frame.topic.strip_prefix("onemap/v1/"), frame.device) == Some("readings") {
        return native::decode(frame.payload);
    }
    Message::refused(
        Refusal::UnknownTopic,
        format!("nothing reads the topic `{}`", quoted(frame.topic)),
    )
}

fn hj212_frame(payload: &[u8], profile: Option<&Profile>) -> Message {
    match hj212::segment_of(payload, &[]) {
        Some(Ok(segment)) => hj212::readings(&segment, &hj212::Sender::new(profile)),
        Some(Err(error)) => Message::refused(hj212_refusal(&error), format!("{}: {error}", error.code())),
        None => Message::refused(Refusal::BrokenFrame, "no HJ 212 frame"),
    }
}

/// The name under which a frame that cannot be read is refused.
pub fn hj212_refusal(error: &hj212::DecodeError) -> Refusal {
    match error {
        hj212::DecodeError::NoKey { .. } => Refusal::NoKey,
        hj212::DecodeError::CrcAfterUnseal { .. } => Refusal::WrongKey,
        _ => Refusal::WrongShape,
    }
}

/// What follows `{device}/` in a topic, when the topic names this device.
fn own<'a>(rest: Option<&'a str>, device: &str) -> Option<&'a str> {
    rest?.strip_prefix(device)?.strip_prefix('/')
}

#[cfg(test)]
mod tests {
    use onemap_model::Timestamp;

    use super::*;

    fn frame<'a>(topic: &'a str, payload: &'a [u8]) -> Frame<'a> {
        Frame {
            received_at: Timestamp::from_ms(1_763_856_000_000),
            source: Source::Mqtt,
            refused: None,
            qos: 0,
            retain: false,
            device: "air-1",
            peer: "[::1]:1",
            topic,
            payload,
        }
    }

    #[test]
    fn topics_find_their_codec() {
        let native = br#"[{"q":"temperature","v":1.5}]"#;
        let plain = br#"{"temperature":1.5}"#;
        for (topic, payload, n) in [
            ("d/air-1/telemetry", &plain[..], 1),
            ("d/air-1/attributes", plain, 0),
            ("d/air-1/attributes/request/7", plain, 0),
            ("onemap/v1/air-1/readings", native, 1),
            ("/api/v1/readings", native, 1),
        ] {
            let message = decode(&frame(topic, payload), None);
            assert_eq!((message.samples.len(), message.refused.len()), (n, 0), "{topic}");
        }
    }

    #[test]
    fn other_topics_are_refused_by_name() {
        for topic in [
            "d/air-1/rpc",
            "d/air-2/telemetry",
            "d/air-1",
            "onemap/v1/air-1/receipt",
            "",
            "d/air-10/telemetry",
        ] {
            let message = decode(&frame(topic, b"{}"), None);
            assert_eq!(message.refused[0].refusal, Refusal::UnknownTopic, "{topic}");
            assert!(message.samples.is_empty());
        }
    }

    #[test]
    fn a_frame_refused_on_arrival_stays_refused() {
        let mut refused = frame("d/air-1/telemetry", br#"{"temperature":1}"#);
        refused.refused = Some(Refusal::OverSize);
        let message = decode(&refused, None);
        assert_eq!(message.refused[0].refusal, Refusal::OverSize);
        assert!(message.samples.is_empty());
    }
}

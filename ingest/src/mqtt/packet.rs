//! Packets out of a read buffer and into a write buffer.
//!
//! Fixed headers and the rare packets are read by rumqttd's v4 codec, when [`strict`] finds nothing that the
//! standard forbids and the codec lets pass; CONNECT is read by `strict` alone. PUBLISH, of which there are
//! millions, is taken apart in place, since the codec keeps its QoS and packet id to itself.

mod strict;

use bytes::{BufMut, BytesMut};
use rumqttd::protocol::{Error, Packet, Protocol as _, v4};

pub(super) use strict::{Connect, SentWill};

/// What stands at the front of the read buffer.
#[derive(Debug)]
pub(super) enum Cut<'b> {
    /// Not a whole packet yet; so many bytes more are needed at least.
    More(usize),
    /// A whole PUBLISH and its length in the buffer.
    Publish(Publish<'b>, usize),
    /// A whole CONNECT and its length in the buffer.
    Connect(Box<Connect>, usize),
    /// Another whole packet and its length in the buffer.
    Other(Box<Packet>, usize),
}

/// Why the bytes are not a packet we take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Bad {
    #[error("a packet of {got} bytes is over the limit of {limit}")]
    OverSize { got: usize, limit: usize },
    #[error("{0}")]
    Malformed(String),
}

/// A PUBLISH in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Publish<'b> {
    pub(super) qos: u8,
    pub(super) dup: bool,
    pub(super) retain: bool,
    /// 0 for QoS 0.
    pub(super) packet_id: u16,
    pub(super) topic: &'b [u8],
    pub(super) payload: &'b [u8],
}

fn malformed(what: impl Into<String>) -> Bad {
    Bad::Malformed(what.into())
}

/// Cuts the first packet off `buffer`.
pub(super) fn cut(buffer: &[u8], max_packet_bytes: usize) -> Result<Cut<'_>, Bad> {
    // The type shows in the first byte: nobody waits for the rest of what is refused anyway.
    if let Some(first) = buffer.first() {
        check_first_byte(*first)?;
    }
    let header = match v4::check(buffer.iter(), max_packet_bytes) {
        Ok(header) => header,
        Err(Error::InsufficientBytes(more)) => return Ok(Cut::More(more)),
        Err(Error::PayloadSizeLimitExceeded(got)) => {
            return Err(Bad::OverSize {
                got,
                limit: max_packet_bytes,
            });
        }
        Err(error) => return Err(malformed(error.to_string())),
    };
    let length = header.frame_length();
    let packet = &buffer[..length];
    if header.byte1 >> 4 == 3 {
        let publish = publish(header.byte1, &packet[header.fixed_header_len..])?;
        return Ok(Cut::Publish(publish, length));
    }
    let body = &packet[header.fixed_header_len..];
    if header.byte1 >> 4 == 1 {
        return Ok(Cut::Connect(Box::new(strict::connect(body)?), length));
    }
    strict::check(header.byte1 >> 4, body)?;
    let mut copy = BytesMut::from(packet);
    match v4::V4.read_mut(&mut copy, max_packet_bytes) {
        Ok(packet) => Ok(Cut::Other(Box::new(packet), length)),
        Err(error) => Err(malformed(error.to_string())),
    }
}

/// Type and flags that a client may send (3.1.1, tables 2.1 and 2.2).
fn check_first_byte(byte: u8) -> Result<(), Bad> {
    let flags = byte & 0x0F;
    let wanted = match byte >> 4 {
        3 => return Ok(()),
        1 | 4 | 5 | 7 | 12 | 14 => 0,
        6 | 8 | 10 => 2,
        2 | 9 | 11 | 13 => return Err(malformed("a packet that only servers send")),
        kind => return Err(malformed(format!("no packet is of type {kind}"))),
    };
    if flags == wanted {
        Ok(())
    } else {
        Err(malformed(format!(
            "flags {flags:#x} on a packet of type {}",
            byte >> 4
        )))
    }
}

fn publish(byte1: u8, body: &[u8]) -> Result<Publish<'_>, Bad> {
    let short = || malformed("PUBLISH ends early");
    let qos = (byte1 >> 1) & 3;
    if qos == 3 {
        return Err(malformed("PUBLISH with QoS 3"));
    }
    if qos == 0 && byte1 & 8 != 0 {
        return Err(malformed("PUBLISH with QoS 0 and DUP"));
    }
    let (length, rest) = body.split_first_chunk::<2>().ok_or_else(short)?;
    let (topic, rest) = rest
        .split_at_checked(usize::from(u16::from_be_bytes(*length)))
        .ok_or_else(short)?;
    let (packet_id, payload) = if qos == 0 {
        (0, rest)
    } else {
        let (id, payload) = rest.split_first_chunk::<2>().ok_or_else(short)?;
        let id = u16::from_be_bytes(*id);
        if id == 0 {
            return Err(malformed("packet id 0"));
        }
        (id, payload)
    };
    Ok(Publish {
        qos,
        dup: byte1 & 8 != 0,
        retain: byte1 & 1 != 0,
        packet_id,
        topic,
        payload,
    })
}

/// The topic of a PUBLISH of which perhaps only the beginning has come.
pub(super) fn topic_of_beginning(buffer: &[u8]) -> Option<&str> {
    if buffer.first()? >> 4 != 3 {
        return None;
    }
    let length_bytes = buffer[1..].iter().take(4).position(|b| b & 0x80 == 0)? + 1;
    let body = buffer.get(1 + length_bytes..)?;
    let (length, rest) = body.split_first_chunk::<2>()?;
    std::str::from_utf8(rest.get(..usize::from(u16::from_be_bytes(*length)))?).ok()
}

/// The protocol level a CONNECT asks for, when it is an MQTT of another version than 3.1.1.
pub(super) fn other_version(packet: &[u8]) -> Option<u8> {
    let length_bytes = packet.get(1..)?.iter().take(4).position(|b| b & 0x80 == 0)? + 1;
    let body = packet.get(1 + length_bytes..)?;
    let (name, level) = [&b"\x00\x04MQTT"[..], &b"\x00\x06MQIsdp"[..]]
        .iter()
        .find_map(|name| Some((*name, *body.strip_prefix(*name)?.first()?)))?;
    (level != 4 || name.len() != 6).then_some(level)
}

/// The part of a CONNECT before its client id, user name and password: what may be shown of it.
pub(super) fn without_secrets(packet: &[u8]) -> &[u8] {
    // Fixed header up to 5 bytes, name at most 8, level, flags, keep-alive.
    let length_bytes = packet
        .get(1..)
        .and_then(|rest| rest.iter().take(4).position(|b| b & 0x80 == 0))
        .map_or(1, |at| at + 1);
    let name = packet
        .get(1 + length_bytes..)
        .and_then(|body| body.split_first_chunk::<2>())
        .map_or(0, |(length, _)| usize::from(u16::from_be_bytes(*length)).min(6));
    let end = 1 + length_bytes + 2 + name + 4;
    &packet[..end.min(packet.len())]
}

/// Appends a PUBACK, PUBREC, PUBREL or PUBCOMP.
pub(super) fn write_ack(out: &mut BytesMut, ack: Ack, packet_id: u16) {
    let [high, low] = packet_id.to_be_bytes();
    out.extend_from_slice(&[ack as u8, 2, high, low]);
}

/// The acknowledgements of publishes, by their first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ack {
    /// PUBACK: a QoS 1 publish is durable.
    Kept = 0x40,
    /// PUBREC: a QoS 2 publish is durable.
    Received = 0x50,
    /// PUBREL: the client's PUBREC is known, its message is not sent again.
    Release = 0x62,
    /// PUBCOMP: its release is durable.
    Completed = 0x70,
}

/// What stands in front of a PUBLISH to a client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) qos: u8,
    pub(super) dup: bool,
    pub(super) retain: bool,
    /// Left out for QoS 0.
    pub(super) packet_id: u16,
}

/// Appends a PUBLISH. The topic has at most 65,535 bytes.
pub(super) fn write_publish(out: &mut BytesMut, head: Head, topic: &str, payload: &[u8]) {
    let with_id = head.qos > 0;
    let length = 2 + topic.len() + usize::from(with_id) * 2 + payload.len();
    out.reserve(length + 5);
    out.put_u8(0x30 | u8::from(head.dup) << 3 | head.qos << 1 | u8::from(head.retain));
    v4::write_remaining_length(out, length).expect("payloads are far below 256 MiB");
    out.put_u16(topic.len() as u16);
    out.extend_from_slice(topic.as_bytes());
    if with_id {
        out.put_u16(head.packet_id);
    }
    out.extend_from_slice(payload);
}

/// Appends one of the rare packets. Only packets that the codec can write without properties.
pub(super) fn write(out: &mut BytesMut, packet: Packet) {
    v4::V4
        .write(packet, out)
        .expect("CONNACK, SUBACK, UNSUBACK and PINGRESP are never too long");
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn encoded(qos: u8, packet_id: u16, topic: &str, payload: &[u8]) -> Vec<u8> {
        let mut out = BytesMut::new();
        let head = Head {
            qos,
            packet_id,
            ..Head::default()
        };
        write_publish(&mut out, head, topic, payload);
        out.to_vec()
    }

    #[test]
    fn a_publish_is_taken_apart_in_place() {
        let bytes = encoded(1, 513, "a/中", b"payload");
        let Ok(Cut::Publish(publish, length)) = cut(&bytes, 1000) else {
            panic!("{bytes:?}")
        };
        assert_eq!(length, bytes.len());
        let want = Publish {
            qos: 1,
            dup: false,
            retain: false,
            packet_id: 513,
            topic: "a/中".as_bytes(),
            payload: b"payload",
        };
        assert_eq!(publish, want);
        for short in 0..bytes.len() {
            assert!(
                matches!(cut(&bytes[..short], 1000), Ok(Cut::More(n)) if n > 0),
                "{short}"
            );
        }
    }

    #[test]
    fn what_no_client_may_send_is_malformed() {
        for bytes in [
            &b"\x20\x02\x00\x00"[..],         // CONNACK
            b"\xb0\x02\x00\x01",              // UNSUBACK
            b"\x90\x03\x00\x01\x00",          // SUBACK
            b"\xd0\x00",                      // PINGRESP
            b"\x00\x00",                      // type 0
            b"\xf0\x00",                      // type 15
            b"\x80\x06\x00\x01\x00\x01a\x00", // SUBSCRIBE with flags 0
            b"\x82\x02\x00\x01",              // SUBSCRIBE without filter
            b"\xa2\x02\x00\x01",              // UNSUBSCRIBE without filter
            b"\x36\x05\x00\x01a\x00\x01",     // QoS 3
            b"\x32\x05\x00\x01a\x00\x00",     // packet id 0
            b"\x30\x03\x00\x05a",             // topic longer than the packet
            b"\x30\x01\x00",                  // no room for a topic
            b"\x32\x03\x00\x01a",             // no room for a packet id
            b"\x30\xff\xff\xff\xff\x01",      // remaining length of five bytes
            b"\x40\x01\x00",                  // PUBACK of one byte
            b"\x38\x03\x00\x01a",             // QoS 0 with DUP
            b"GET / HTTP/1.1\r\n",
            b"\x16\x03\x01\x02\x00", // a TLS client hello
        ] {
            assert!(matches!(cut(bytes, 1000), Err(Bad::Malformed(_))), "{bytes:x?}");
        }
        assert_eq!(
            cut(b"\x30\x80\x80\x01", 1000).unwrap_err(),
            Bad::OverSize {
                got: 16384,
                limit: 1000
            }
        );
    }

    #[test]
    fn versions_are_told_apart() {
        let connect = |name: &[u8], level: u8| {
            let mut bytes = vec![0x10, name.len() as u8 + 3, 0, name.len() as u8];
            bytes.extend_from_slice(name);
            bytes.push(level);
            bytes
        };
        assert_eq!(other_version(&connect(b"MQTT", 5)), Some(5));
        assert_eq!(other_version(&connect(b"MQIsdp", 3)), Some(3));
        assert_eq!(other_version(&connect(b"MQTT", 4)), None);
        assert_eq!(other_version(&connect(b"AMQP", 4)), None);
        assert_eq!(other_version(b"\x10"), None);
        assert_eq!(other_version(b""), None);
    }

    #[test]
    fn a_connect_is_shown_without_its_secrets() {
        let connect = b"\x10\x1b\x00\x04MQTT\x04\x82\x00\x3c\x00\x03dev\x00\x0atop-secret";
        assert_eq!(without_secrets(connect), b"\x10\x1b\x00\x04MQTT\x04\x82\x00\x3c");
        for end in 0..connect.len() {
            let shown = without_secrets(&connect[..end]);
            assert!(!shown.windows(3).any(|w| w == b"top"), "{end}");
        }
        assert_eq!(without_secrets(b"\x10\x7f\xff\xff0123456789abc").len(), 14);
    }

    #[test]
    fn the_topic_shows_before_the_packet_is_whole() {
        let bytes = encoded(1, 1, "a/b", &[0; 5000]);
        assert_eq!(topic_of_beginning(&bytes[..100]), Some("a/b"));
        assert_eq!(topic_of_beginning(&bytes[..5]), None);
        assert_eq!(topic_of_beginning(b""), None);
    }
}

//! Bytes of MQTT 3.1.1 packets, client side. Pure.
//!
//! Writes into a caller's buffer so that a load generator can put many packets into one write.

/// Quality of service of a publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Qos {
    /// Fire and forget.
    AtMostOnce,
    /// Answered by PUBACK.
    AtLeastOnce,
    /// Answered by PUBREC, then PUBCOMP.
    ExactlyOnce,
}

impl Qos {
    /// The two bits on the wire.
    pub fn bits(self) -> u8 {
        match self {
            Qos::AtMostOnce => 0,
            Qos::AtLeastOnce => 1,
            Qos::ExactlyOnce => 2,
        }
    }
    /// From a number as people write it.
    pub fn from_number(n: u8) -> Option<Self> {
        [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce]
            .into_iter()
            .find(|q| q.bits() == n)
    }
}

/// What a server may send to such a client.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// Answer to CONNECT; code 0 is accepted.
    ConnAck {
        /// Return code: 1 protocol, 2 client id, 3 unavailable, 4 and 5 not authorised.
        code: u8,
    },
    /// A QoS 1 publish is taken.
    PubAck(u16),
    /// First answer to a QoS 2 publish.
    PubRec(u16),
    /// Last answer to a QoS 2 publish.
    PubComp(u16),
    /// Answer to a subscription; 0x80 is refused.
    SubAck {
        /// Packet id of the SUBSCRIBE.
        id: u16,
        /// Return code of its first filter.
        code: u8,
    },
    /// Answer to a ping.
    PingResp,
    /// A message from the server.
    Publish {
        /// Topic.
        topic: &'a str,
        /// Payload.
        payload: &'a [u8],
        /// Packet id to acknowledge, for QoS 1 and 2.
        id: Option<u16>,
    },
}

/// Bytes that no server sends to a 3.1.1 client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The remaining length has a fifth byte.
    #[error("a remaining length is longer than four bytes")]
    Length,
    /// The packet type does not go from server to client, or its length is wrong for it.
    #[error("packet with first byte {0:#04x} is not understood")]
    Packet(u8),
}

fn remaining_length(out: &mut Vec<u8>, mut n: usize) {
    loop {
        let byte = (n % 128) as u8;
        n /= 128;
        if n == 0 {
            out.push(byte);
            return;
        }
        out.push(byte | 0x80);
    }
}

fn text(out: &mut Vec<u8>, text: &str) {
    let n = text.len().min(usize::from(u16::MAX));
    out.extend_from_slice(&(n as u16).to_be_bytes());
    out.extend_from_slice(&text.as_bytes()[..n]);
}

/// Writes CONNECT with a clean session; `user` is the device's token.
pub fn connect(out: &mut Vec<u8>, client_id: &str, user: &str, keep_alive_s: u16) {
    let with_user = !user.is_empty();
    let length = 10 + 2 + client_id.len() + if with_user { 2 + user.len() } else { 0 };
    out.push(0x10);
    remaining_length(out, length);
    text(out, "MQTT");
    out.push(4);
    out.push(0x02 | if with_user { 0x80 } else { 0 });
    out.extend_from_slice(&keep_alive_s.to_be_bytes());
    text(out, client_id);
    if with_user {
        text(out, user);
    }
}

/// Writes PUBLISH. `id` is used from QoS 1 on and may not be 0 there.
pub fn publish(out: &mut Vec<u8>, topic: &str, payload: &[u8], qos: Qos, id: u16, again: bool) {
    let with_id = qos != Qos::AtMostOnce;
    out.push(0x30 | (u8::from(again && with_id) << 3) | (qos.bits() << 1));
    remaining_length(out, 2 + topic.len() + if with_id { 2 } else { 0 } + payload.len());
    text(out, topic);
    if with_id {
        out.extend_from_slice(&id.to_be_bytes());
    }
    out.extend_from_slice(payload);
}

/// Writes PUBACK.
pub fn puback(out: &mut Vec<u8>, id: u16) {
    out.extend_from_slice(&[0x40, 2]);
    out.extend_from_slice(&id.to_be_bytes());
}

/// Writes PUBREL.
pub fn pubrel(out: &mut Vec<u8>, id: u16) {
    out.extend_from_slice(&[0x62, 2]);
    out.extend_from_slice(&id.to_be_bytes());
}

/// Writes SUBSCRIBE to one filter.
pub fn subscribe(out: &mut Vec<u8>, id: u16, filter: &str, qos: Qos) {
    out.push(0x82);
    remaining_length(out, 2 + 2 + filter.len() + 1);
    out.extend_from_slice(&id.to_be_bytes());
    text(out, filter);
    out.push(qos.bits());
}

/// Writes PINGREQ.
pub fn ping(out: &mut Vec<u8>) {
    out.extend_from_slice(&[0xc0, 0]);
}

/// Writes DISCONNECT.
pub fn disconnect(out: &mut Vec<u8>) {
    out.extend_from_slice(&[0xe0, 0]);
}

/// Cuts the first whole packet: the packet and how many bytes it took; `None` while it is not whole.
///
/// # Errors
/// See [`CodecError`]; the connection cannot be read on after one.
pub fn cut(bytes: &[u8]) -> Result<Option<(Incoming<'_>, usize)>, CodecError> {
    let Some(&first) = bytes.first() else {
        return Ok(None);
    };
    let mut length = 0usize;
    let mut head = 1;
    loop {
        let Some(&byte) = bytes.get(head) else {
            return Ok(None);
        };
        length |= usize::from(byte & 0x7f) << (7 * (head - 1));
        head += 1;
        if byte & 0x80 == 0 {
            break;
        }
        if head == 5 {
            return Err(CodecError::Length);
        }
    }
    let Some(body) = bytes.get(head..head + length) else {
        return Ok(None);
    };
    let bad = CodecError::Packet(first);
    let id = |at: usize| -> Result<u16, CodecError> {
        match body.get(at..at + 2) {
            Some(b) => Ok(u16::from_be_bytes([b[0], b[1]])),
            None => Err(CodecError::Packet(first)),
        }
    };
    let packet = match first >> 4 {
        2 => Incoming::ConnAck {
            code: *body.get(1).ok_or(bad)?,
        },
        3 => {
            let n = usize::from(id(0)?);
            let topic = body
                .get(2..2 + n)
                .and_then(|t| std::str::from_utf8(t).ok())
                .ok_or(bad)?;
            let (id, start) = if first & 0x06 == 0 {
                (None, 2 + n)
            } else {
                (Some(id(2 + n)?), 4 + n)
            };
            Incoming::Publish {
                topic,
                payload: &body[start..],
                id,
            }
        }
        4 => Incoming::PubAck(id(0)?),
        5 => Incoming::PubRec(id(0)?),
        7 => Incoming::PubComp(id(0)?),
        9 => Incoming::SubAck {
            id: id(0)?,
            code: *body.get(2).ok_or(bad)?,
        },
        13 => Incoming::PingResp,
        _ => return Err(bad),
    };
    Ok(Some((packet, head + length)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn packets_have_the_bytes_of_the_standard() {
        let mut out = Vec::new();
        connect(&mut out, "c", "tok", 30);
        assert_eq!(out, b"\x10\x12\x00\x04MQTT\x04\x82\x00\x1e\x00\x01c\x00\x03tok");
        out.clear();
        publish(&mut out, "a/b", b"hi", Qos::AtLeastOnce, 258, true);
        assert_eq!(out, b"\x3a\x09\x00\x03a/b\x01\x02hi");
        out.clear();
        publish(&mut out, "a", &[7; 200], Qos::AtMostOnce, 0, false);
        assert_eq!(&out[..6], b"\x30\xcb\x01\x00\x01a");
    }

    #[test]
    fn a_torn_packet_waits_and_a_whole_one_reads_back() {
        let mut out = Vec::new();
        publish(&mut out, "d/x/rpc", &[9; 300], Qos::AtLeastOnce, 5, false);
        for cut_at in 0..out.len() {
            assert_eq!(cut(&out[..cut_at]), Ok(None), "cut at {cut_at}");
        }
        out.extend_from_slice(b"\x40\x02\x00\x07");
        let (packet, n) = cut(&out).unwrap().unwrap();
        assert_eq!(
            packet,
            Incoming::Publish {
                topic: "d/x/rpc",
                payload: &[9; 300],
                id: Some(5)
            }
        );
        assert_eq!(cut(&out[n..]), Ok(Some((Incoming::PubAck(7), 4))));
    }

    #[test]
    fn foreign_bytes_are_errors_and_never_panics() {
        for first in 0..=255u8 {
            for length in 0..6u8 {
                let mut bytes = vec![first, length];
                bytes.resize(2 + usize::from(length), 0xff);
                // Only that it returns: most are errors, some are packets.
                let _ = cut(&bytes);
            }
        }
        assert_eq!(
            cut(&[0x30, 0xff, 0xff, 0xff, 0xff, 0x01]),
            Err(CodecError::Length)
        );
        assert_eq!(cut(&[0x10, 0]), Err(CodecError::Packet(0x10)));
        assert_eq!(cut(&[0x40, 1, 0]), Err(CodecError::Packet(0x40)));
    }
}

//! What MQTT 3.1.1 forbids in the packets of a client and the codec lets pass.
//!
//! Reserved bits, packet id 0, U+0000 in texts, lengths that do not fit (3.1.1, 1.5.3, 2.2.2, 2.3.1, 3.1.2,
//! 3.8.3). Each is a reason to close the connection.

use bytes::Bytes;

use super::{Bad, malformed};

/// A CONNECT of protocol level 4.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::mqtt) struct Connect {
    pub(in crate::mqtt) is_clean: bool,
    /// Seconds; 0 for no limit.
    pub(in crate::mqtt) keep_alive_s: u16,
    pub(in crate::mqtt) client_id: String,
    pub(in crate::mqtt) will: Option<SentWill>,
    pub(in crate::mqtt) user_name: Option<String>,
}

/// The will of a CONNECT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::mqtt) struct SentWill {
    pub(in crate::mqtt) topic: String,
    pub(in crate::mqtt) payload: Bytes,
    pub(in crate::mqtt) qos: u8,
    pub(in crate::mqtt) retain: bool,
}

struct Fields<'b>(&'b [u8]);

impl<'b> Fields<'b> {
    fn take(&mut self, n: usize) -> Result<&'b [u8], Bad> {
        let (taken, rest) = self
            .0
            .split_at_checked(n)
            .ok_or_else(|| malformed("a packet ends inside a field"))?;
        self.0 = rest;
        Ok(taken)
    }
    fn byte(&mut self) -> Result<u8, Bad> {
        Ok(self.take(1)?[0])
    }
    fn short(&mut self) -> Result<u16, Bad> {
        let bytes = self.take(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }
    fn bytes(&mut self) -> Result<&'b [u8], Bad> {
        let n = self.short()?;
        self.take(usize::from(n))
    }
    /// UTF-8 without U+0000; surrogates are not UTF-8.
    fn text(&mut self) -> Result<&'b str, Bad> {
        let text = std::str::from_utf8(self.bytes()?).map_err(|_| malformed("a text that is not UTF-8"))?;
        match text.contains('\0') {
            true => Err(malformed("a text with U+0000")),
            false => Ok(text),
        }
    }
    fn packet_id(&mut self) -> Result<u16, Bad> {
        match self.short()? {
            0 => Err(malformed("packet id 0")),
            id => Ok(id),
        }
    }
    fn end(&self) -> Result<(), Bad> {
        match self.0.is_empty() {
            true => Ok(()),
            false => Err(malformed(format!("{} bytes behind the last field", self.0.len()))),
        }
    }
}

/// Looks at the body of a packet that is neither CONNECT nor PUBLISH.
pub(super) fn check(kind: u8, body: &[u8]) -> Result<(), Bad> {
    let mut fields = Fields(body);
    match kind {
        4..=7 => {
            fields.packet_id()?;
        }
        8 => {
            fields.packet_id()?;
            if fields.0.is_empty() {
                return Err(malformed("SUBSCRIBE without a filter"));
            }
            while !fields.0.is_empty() {
                fields.text()?;
                let options = fields.byte()?;
                if options > 2 {
                    return Err(malformed(format!("SUBSCRIBE with options {options:#x}")));
                }
            }
        }
        10 => {
            fields.packet_id()?;
            if fields.0.is_empty() {
                return Err(malformed("UNSUBSCRIBE without a filter"));
            }
            while !fields.0.is_empty() {
                fields.text()?;
            }
        }
        _ => {}
    }
    fields.end()
}

/// Reads the body of a CONNECT. One of another protocol or level is [`Bad`] too.
pub(super) fn connect(body: &[u8]) -> Result<Connect, Bad> {
    let mut fields = Fields(body);
    if fields.bytes()? != b"MQTT" {
        return Err(malformed("CONNECT of another protocol"));
    }
    let level = fields.byte()?;
    if level != 4 {
        return Err(malformed(format!("CONNECT of protocol level {level}")));
    }
    let flags = fields.byte()?;
    let (has_user, has_password, has_will) = (flags & 0x80 != 0, flags & 0x40 != 0, flags & 4 != 0);
    let (will_retain, will_qos) = (flags & 0x20 != 0, flags >> 3 & 3);
    if flags & 1 != 0 {
        return Err(malformed("CONNECT with the reserved flag"));
    }
    if !has_will && (will_retain || will_qos != 0) {
        return Err(malformed("CONNECT with a will's QoS or retain and no will"));
    }
    if will_qos == 3 {
        return Err(malformed("CONNECT with a will of QoS 3"));
    }
    if has_password && !has_user {
        return Err(malformed("CONNECT with a password and no user name"));
    }
    let keep_alive_s = fields.short()?;
    let client_id = fields.text()?.to_owned();
    let will = match has_will {
        false => None,
        true => Some(SentWill {
            topic: fields.text()?.to_owned(),
            payload: Bytes::copy_from_slice(fields.bytes()?),
            qos: will_qos,
            retain: will_retain,
        }),
    };
    let user_name = match has_user {
        false => None,
        true => Some(fields.text()?.to_owned()),
    };
    if has_password {
        fields.bytes()?; // the user name is the secret
    }
    fields.end()?;
    Ok(Connect {
        is_clean: flags & 2 != 0,
        keep_alive_s,
        client_id,
        will,
        user_name,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_connect_reads_with_all_its_fields() {
        let body = b"\x00\x04MQTT\x04\xf6\x00\x3c\x00\x01c\x00\x01t\x00\x02\xff\x00\x00\x01u\x00\x02\xff\xfe";
        let connect = connect(body).unwrap();
        let will = connect.will.unwrap();
        assert_eq!((will.topic.as_str(), &will.payload[..]), ("t", &b"\xff\x00"[..]));
        assert_eq!((will.qos, will.retain, connect.is_clean), (2, true, true));
        assert_eq!((connect.keep_alive_s, connect.client_id.as_str()), (60, "c"));
        assert_eq!(connect.user_name.as_deref(), Some("u"));
        for end in 0..body.len() {
            assert!(super::connect(&body[..end]).is_err(), "{end}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_the_packets_panic(first: u8, body in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..120)) {
            let bytes = [&[first, body.len() as u8][..], &body].concat();
            let _ = crate::mqtt::packet::cut(&bytes, 1000);
            let _ = super::connect(&body);
            let _ = check(first >> 4, &body);
        }
    }
}

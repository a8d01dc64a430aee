//! Bytes of field protocols spelt out, as `onemap decode` prints them: of the quarantine and of live stations.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use onemap_model::Timestamp;
use onemap_store::ledger::Quarantined;
use onemap_wire::Profile;
use onemap_wire::hj212::Key;
use onemap_wire::spelt::{Given, Protocol, spell};
use serde_json::{Value, json};

use crate::views::Views;

/// The first `n_bytes` of a payload: as text, cut between two characters, where the whole of it is text; and as digits.
pub(crate) fn text_and_hex(payload: &[u8], n_bytes: usize) -> (Option<&str>, String) {
    let mut hex = String::new();
    for byte in payload.iter().take(n_bytes) {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
    }
    let text = std::str::from_utf8(payload).ok().map(|whole| {
        let mut end = whole.len().min(n_bytes);
        while !whole.is_char_boundary(end) {
            end -= 1;
        }
        &whole[..end]
    });
    (text, hex)
}

/// Profiles read once for many entries.
#[derive(Default)]
pub(crate) struct Spelling {
    read: BTreeMap<String, Option<Profile>>,
}

impl Spelling {
    /// Adds `frames` to an entry that came by a field protocol: its bytes line by line, with the device's profile of now.
    /// Bytes over `n_bytes` are not spelt out; then `frames` is null.
    pub(crate) fn add(&mut self, views: &Views, row: &Quarantined, n_bytes: usize, shown: &mut Value) {
        let Some(protocol) = Protocol::of(row.entry.source) else {
            return;
        };
        if row.entry.payload.len() > n_bytes {
            shown["frames"] = Value::Null;
            return;
        }
        let entry = &row.entry;
        shown["frames"] = self.frames(views, protocol, &entry.device, entry.at, &entry.payload);
    }

    /// The bytes of a device's frames line by line, with its profile and keys of now.
    pub(crate) fn frames(
        &mut self,
        views: &Views,
        protocol: Protocol,
        device: &str,
        at: Timestamp,
        payload: &[u8],
    ) -> Value {
        let profile = self.profile(views, device);
        let keys = views.station_keys.of(device).to_vec();
        frames(protocol, at, payload, profile, keys)
    }

    /// The device's profile; without one, or with one that cannot be read, the dictionary speaks.
    fn profile(&mut self, views: &Views, device: &str) -> Option<Profile> {
        let register = views.register.read().expect("no holder of this lock panics");
        let id = register.view.devices.get(device)?.profile.as_ref()?;
        let read = self.read.entry(id.to_string()).or_insert_with(|| {
            let text = register.view.profiles.get(id.as_str())?;
            Profile::parse(id, text).ok()
        });
        read.clone()
    }
}

fn frames(
    protocol: Protocol,
    at: Timestamp,
    payload: &[u8],
    profile: Option<Profile>,
    keys: Vec<Key>,
) -> Value {
    let given = Given {
        profile,
        keys,
        ..Given::at(at)
    };
    json!(spell(protocol, payload, given))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use onemap_model::Source;

    use super::*;

    #[test]
    fn a_bad_frame_says_what_and_where_and_a_good_one_beside_it_is_read() {
        let segment = onemap_wire::hj212::Segment::parse(
            b"QN=1;ST=22;CN=2011;PW=1;MN=A;Flag=4;CP=&&DataTime=20160801085857;a34004-Rtd=7&&",
        )
        .unwrap();
        let good = onemap_wire::hj212::encode(&segment).unwrap();
        let mut bad = good.clone();
        bad[20] ^= 1;
        let both = [bad.clone(), good].concat();
        let frames = frames(Protocol::Hj212, Timestamp::from_ms(0), &both, None, Vec::new());
        assert_eq!(frames[0]["error"], "crc_mismatch");
        assert_eq!(frames[0]["at"], bad.len() - 6);
        assert_eq!(frames[1]["frame"]["mn"], "A");
        assert_eq!(frames[1]["readings"][0]["value"], 7.0);
        assert_eq!(Protocol::of(Source::Mqtt), None);
    }
}

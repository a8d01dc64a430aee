//! One byte form for equal content, for digests.

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Feeds a tag and a value as canonical JSON (members in order of their names), each with its length
/// before it.
pub(crate) fn update(hash: &mut Sha256, tag: &str, value: &impl Serialize) {
    let value = serde_json::to_value(value).expect("what is digested has text keys only");
    let mut text = Vec::with_capacity(256);
    write(&value, &mut text);
    for part in [tag.as_bytes(), &text] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
}

/// Lowercase hexadecimal digits, two a byte.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes
        .iter()
        .fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
            write!(text, "{byte:02x}").expect("a String takes everything");
            text
        })
}

fn write(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by_key(|(name, _)| *name);
            out.push(b'{');
            for (name, member) in members {
                scalar(&Value::String(name.clone()), out);
                out.push(b':');
                write(member, out);
                out.push(b',');
            }
            out.push(b'}');
        }
        Value::Array(items) => {
            out.push(b'[');
            for item in items {
                write(item, out);
                out.push(b',');
            }
            out.push(b']');
        }
        other => scalar(other, out),
    }
}

fn scalar(value: &Value, out: &mut Vec<u8>) {
    serde_json::to_writer(out, value).expect("a Vec takes everything");
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn equal_content_digests_equally_and_borders_count() {
        let digest = |parts: &[(&str, &str)]| {
            let mut hash = Sha256::new();
            for (tag, text) in parts {
                update(&mut hash, tag, &serde_json::from_str::<Value>(text).unwrap());
            }
            hex(&hash.finalize())
        };
        assert_eq!(
            digest(&[("a", r#"{"x":1,"y":[2]}"#)]),
            digest(&[("a", r#"{"y":[2],"x":1}"#)])
        );
        assert_ne!(digest(&[("a", r#"{"x":1}"#)]), digest(&[("a", r#"{"x":1.5}"#)]));
        assert_ne!(
            digest(&[("a", "1"), ("a", "2")]),
            digest(&[("a", "2"), ("a", "1")])
        );
        assert_eq!(hex(&[0, 0xab]), "00ab");
    }
}

//! Where the passwords of stations stand in their bytes, so that who may not see them is shown the rest.
//!
//! HJ 212 has its password in each segment (`PW=`), SL 651 in each frame's head. Bytes that are no whole frame are looked
//! through as well: what begins like one is taken for one. Pure; nothing changes its length, so offsets stay.

use std::borrow::Cow;
use std::ops::Range;

use serde_json::Value;

use crate::hex;
use crate::spelt::Protocol;

/// Bytes of the longest body of SL 651, and of serial number and time before the text of one.
const LONGEST_BODY: usize = 4095;
const TEXT_HEAD: usize = 16;

/// What stands in place of a password.
const VEIL: &str = "******";
/// Function of SL 651 whose body is two passwords.
const SET_PASSWORD: u8 = 0x49;
/// Functions of SL 651 that set and read the basic table, which has the password as its item 03.
const BASIC_TABLE: [u8; 2] = [0x40, 0x41];

/// Where passwords stand, in the order of their beginnings; ranges may touch and overlap.
pub fn passwords(protocol: Protocol, bytes: &[u8]) -> Vec<Range<usize>> {
    let found = match protocol {
        Protocol::Hj212 => hj212(bytes),
        Protocol::Sl651 => sl651(bytes),
        Protocol::Gbt26875 => Vec::new(),
    };
    let within = found
        .into_iter()
        .map(|range| range.start.min(bytes.len())..range.end.min(bytes.len()));
    let mut within: Vec<_> = within.filter(|range| !range.is_empty()).collect();
    within.sort_unstable_by_key(|range| range.start);
    within
}

/// The bytes with `*` for each byte of a password.
///
/// ```
/// # use onemap_wire::{spelt::Protocol, veil::veiled};
/// let shown = veiled(Protocol::Hj212, b"QN=1;PW=123456;MN=A");
/// assert_eq!(&shown[..], b"QN=1;PW=******;MN=A");
/// ```
pub fn veiled(protocol: Protocol, bytes: &[u8]) -> Cow<'_, [u8]> {
    let found = passwords(protocol, bytes);
    if found.is_empty() {
        return Cow::Borrowed(bytes);
    }
    let mut shown = bytes.to_vec();
    for range in found {
        shown[range].fill(b'*');
    }
    Cow::Owned(shown)
}

/// Takes the passwords out of frames that are spelt out ([`crate::spelt`]).
pub fn veil_spelt(spelt: &mut Value) {
    match spelt {
        Value::Array(all) => all.iter_mut().for_each(veil_spelt),
        Value::Object(object) => {
            let sets_password = object
                .get("function")
                .is_some_and(|f| *f == format!("{SET_PASSWORD:02X}"));
            let has_table = object
                .get("function")
                .is_some_and(|f| BASIC_TABLE.iter().any(|function| *f == format!("{function:02X}")));
            let is_item = object.get("name").is_some_and(|name| name == "password");
            for (key, value) in object {
                let is_password = ["pw", "newpw", "password"]
                    .iter()
                    .any(|name| key.eq_ignore_ascii_case(name));
                let is_body = (sets_password && ["items", "body"].contains(&key.as_str()))
                    || (has_table && key == "body")
                    || (is_item && key == "raw");
                match value {
                    Value::Null => {}
                    value if is_password || is_body => *value = VEIL.into(),
                    value => veil_spelt(value),
                }
            }
        }
        _ => {}
    }
}

/// `PW=` and what ends so (`NewPW=`), up to the end of the item.
fn hj212(bytes: &[u8]) -> Vec<Range<usize>> {
    let starts = (0..bytes.len()).filter(|i| {
        bytes
            .get(i.saturating_sub(3)..*i)
            .is_some_and(|key| key.eq_ignore_ascii_case(b"PW="))
    });
    starts
        .map(|start| {
            let ends = |b: &u8| matches!(b, b';' | b'&' | b'\r' | b'\n');
            let n = bytes[start..].iter().position(ends);
            start..n.map_or(bytes.len(), |n| start + n)
        })
        .collect()
}

fn sl651(bytes: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for i in 0..bytes.len() {
        match &bytes[i..] {
            [0x7E, 0x7E, ..] => {
                found.push(i + 8..i + 10);
                if bytes.get(i + 10) == Some(&SET_PASSWORD) {
                    let length = bytes.get(i + 11..i + 13);
                    let length = length.map_or(0, |n| usize::from(n[0] & 0x0F) << 8 | usize::from(n[1]));
                    found.push(i + 14..i + 14 + length);
                }
                if bytes
                    .get(i + 10)
                    .is_some_and(|function| BASIC_TABLE.contains(function))
                {
                    let body = bytes.get(i + 14..).unwrap_or_default();
                    let body = &body[..body.len().min(LONGEST_BODY)];
                    let items = (0..body.len()).filter(|at| body[*at..].starts_with(&[0x03, 0x10]));
                    found.extend(items.map(|at| i + 14 + at + 2..i + 14 + at + 4));
                }
            }
            [0x01, rest @ ..] if rest.iter().take(12).all(|b| hex::digit(*b).is_some()) => {
                found.push(i + 13..i + 17);
                if bytes.get(i + 17..i + 19) == Some(b"49") {
                    let digits = bytes.get(i + 20..i + 23).unwrap_or_default().iter();
                    let length = digits.fold(0, |n, b| n << 4 | usize::from(hex::digit(*b).unwrap_or(0)));
                    found.push(i + 24..i + 24 + length);
                }
                if matches!(bytes.get(i + 17..i + 19), Some(b"40" | b"41")) {
                    let text = bytes.get(i + 24..).unwrap_or_default();
                    let text = &text[..text.len().min(LONGEST_BODY)];
                    for at in 0..text.len() {
                        let is_first = at == TEXT_HEAD || (at > 0 && text[at - 1] == b' ');
                        let item = [&b"03 "[..], b"0310 "]
                            .into_iter()
                            .find(|item| text[at..].starts_with(item));
                        if let Some(item) = item.filter(|_| is_first) {
                            let value = i + 24 + at + item.len();
                            found.push(value..value + 4);
                        }
                    }
                }
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn shown(protocol: Protocol, bytes: &[u8]) -> String {
        String::from_utf8_lossy(&veiled(protocol, bytes)).into_owned()
    }

    #[test]
    fn passwords_of_hj212_are_covered_in_good_cut_and_dirty_segments() {
        for (bytes, want) in [
            (
                "##0020QN=1;PW=12;34;MN=A;CP=&&&&",
                "##0020QN=1;PW=**;34;MN=A;CP=&&&&",
            ),
            ("PW=1234", "PW=****"),
            ("noise\r\nPW=12\r\n##", "noise\r\nPW=**\r\n##"),
            ("CP=&&NewPW=654321&&AB", "CP=&&NewPW=******&&AB"),
            ("pw=1;PW=;MN=PW", "pw=*;PW=;MN=PW"),
        ] {
            assert_eq!(shown(Protocol::Hj212, bytes.as_bytes()), want);
            assert_eq!(shown(Protocol::Gbt26875, bytes.as_bytes()), bytes);
        }
    }

    #[test]
    fn passwords_of_sl651_are_covered_binary_and_as_text() {
        let of = |text: &str| hex::read(text.replace(' ', "").as_bytes()).unwrap();
        let frame = of("7E7E 01 0012345678 BEEF 2F 0008 02 0003591011155111 03 6BCA");
        let veil = veiled(Protocol::Sl651, &frame);
        assert_eq!(veil[8..10], *b"**");
        assert_eq!((&veil[..8], &veil[10..]), (&frame[..8], &frame[10..]));
        assert_eq!(passwords(Protocol::Sl651, &frame[..9]), vec![8..9]);
        assert!(passwords(Protocol::Sl651, &frame[..8]).is_empty());
        // The answer to a new password has it in its body.
        let set = of("7E7E 01 0012345678 ABCD 49 0013 02 0002591011155111 F1F10012345678 0310ABCD 03 0000");
        let veil = veiled(Protocol::Sl651, &set);
        assert!(!veil.windows(2).any(|two| two == [0xAB, 0xCD]));
        assert_eq!(veil[33..], set[33..]);
        // And the basic table as its item 03.
        let table =
            of("7E7E 01 0012345678 ABCD 41 0016 02 0002591011155111 F1F10012345678 0C0802 0310ABCD 03 0000");
        let veil = veiled(Protocol::Sl651, &table);
        assert!(!veil.windows(2).any(|two| two == [0xAB, 0xCD]));
        assert_eq!((&veil[10..34], &veil[36..]), (&table[10..34], &table[36..]));
        let text = b"\x01010012345678ABCD410030\x020002591011155111ST 0012345678 0C 02 03 ABCD 0310 ABCD 0E 03\x03ABCE";
        let veil = shown(Protocol::Sl651, text);
        assert!(
            !veil.contains("ABCD") && veil.contains("0C 02 03 **** 0310 **** 0E 03"),
            "{veil}"
        );
        let text = b"\x01010012345678BEEF2F0008\x020003\x03ABCD";
        assert_eq!(
            shown(Protocol::Sl651, text),
            "\u{1}010012345678****2F0008\u{2}0003\u{3}ABCD"
        );
    }

    #[test]
    fn frames_that_are_spelt_out_have_none() {
        let mut spelt = json!([
            {"frame": {"pw": "1", "header": {"PW": "1", "MN": "A"}, "cp": [{"NewPW": "2", "ExeRtn": "1"}]}},
            {"frame": {"password": "beef", "function": "49", "items": [{"raw": "abcd"}], "body": null}},
            {"frame": {"password": "beef", "function": "32", "items": [{"raw": "abcd"}]}},
            {"frame": {"function": "41", "items": [{"id": "03", "name": "password", "raw": "abcd"}], "body": "03 ABCD"}},
        ]);
        veil_spelt(&mut spelt);
        assert_eq!(
            spelt,
            json!([
                {"frame": {"pw": VEIL, "header": {"PW": VEIL, "MN": "A"}, "cp": [{"NewPW": VEIL, "ExeRtn": "1"}]}},
                {"frame": {"password": VEIL, "function": "49", "items": VEIL, "body": null}},
                {"frame": {"password": VEIL, "function": "32", "items": [{"raw": "abcd"}]}},
                {"frame": {"function": "41", "items": [{"id": "03", "name": "password", "raw": VEIL}], "body": VEIL}},
            ])
        );
    }

    proptest! {
        #[test]
        fn any_bytes_keep_their_length(bytes: Vec<u8>, text in "[PW=1;&\\x01A-F0-9~]{0,60}") {
            for protocol in Protocol::ALL {
                for bytes in [&bytes[..], text.as_bytes()] {
                    prop_assert_eq!(veiled(protocol, bytes).len(), bytes.len());
                }
            }
        }
    }
}

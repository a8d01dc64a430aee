//! The deny list: client certificates that are valid and all the same not let in.
//!
//! ```text
//! # stolen on 3 March
//! sha256:6a1f…(64 hex digits)      fingerprint of the whole certificate
//! serial:0A:1B:2C                  serial number, as `openssl x509 -serial` prints it
//! ```
//! Colons between bytes, upper and lower case are all the same. Without a word in front, 64 digits are a
//! fingerprint and fewer a serial number.

use std::collections::HashSet;

use super::certificate::without_zeros;

/// Certificates that are not let in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DenyList {
    fingerprints: HashSet<[u8; 32]>,
    serials: HashSet<Vec<u8>>,
}

/// A line of a deny list that is neither a fingerprint nor a serial number.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct DenyError {
    /// Counted from 1.
    pub line: usize,
    what: &'static str,
}

/// A serial number has at most 20 bytes (RFC 5280, 4.1.2.2); 32 is what is allowed for those that break it.
const MAX_SERIAL_BYTES: usize = 31;

impl DenyList {
    /// Reads a list.
    ///
    /// # Errors
    /// The first line that is wrong: a list that is taken in part would let in whom it names.
    pub fn parse(text: &str) -> Result<Self, DenyError> {
        let mut list = Self::default();
        for (index, line) in text.lines().enumerate() {
            let entry = line.split('#').next().unwrap_or_default().trim();
            if entry.is_empty() {
                continue;
            }
            list.add(entry).map_err(|what| DenyError {
                line: index + 1,
                what,
            })?;
        }
        Ok(list)
    }

    fn add(&mut self, entry: &str) -> Result<(), &'static str> {
        let lower = entry.to_ascii_lowercase();
        let (digits, kind) = match (lower.strip_prefix("sha256:"), lower.strip_prefix("serial:")) {
            (Some(digits), _) => (digits, Some(true)),
            (_, Some(digits)) => (digits, Some(false)),
            _ => (lower.as_str(), None),
        };
        let bytes = hex(digits).ok_or("not hexadecimal digits")?;
        let is_fingerprint = kind.unwrap_or(bytes.len() == 32);
        if is_fingerprint {
            let fingerprint = bytes
                .try_into()
                .map_err(|_| "a SHA-256 fingerprint has 64 digits")?;
            self.fingerprints.insert(fingerprint);
            return Ok(());
        }
        let serial = without_zeros(&bytes);
        if serial.is_empty() || serial.len() > MAX_SERIAL_BYTES {
            return Err("a serial number has 1 to 62 digits and is not zero");
        }
        self.serials.insert(serial.to_vec());
        Ok(())
    }

    /// Whether a certificate is on it; `serial` without leading zero bytes.
    pub fn holds(&self, fingerprint: &[u8; 32], serial: &[u8]) -> bool {
        self.fingerprints.contains(fingerprint) || self.serials.contains(serial)
    }

    /// How many certificates it names.
    pub fn len(&self) -> usize {
        self.fingerprints.len() + self.serials.len()
    }

    /// Whether it names none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn hex(digits: &str) -> Option<Vec<u8>> {
    let mut nibbles = Vec::with_capacity(digits.len());
    for c in digits.chars().filter(|c| *c != ':' && *c != ' ') {
        nibbles.push(u8::try_from(c.to_digit(16)?).ok()?);
    }
    if nibbles.is_empty() {
        return None;
    }
    if nibbles.len() % 2 == 1 {
        nibbles.insert(0, 0);
    }
    Some(nibbles.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fingerprints_and_serials_are_told_apart() {
        let fingerprint = "AB".repeat(32);
        let text = format!("# lost\n\nSHA256:{fingerprint}\nserial:00:0a:1B # one\n  c0ffe  \n");
        let list = DenyList::parse(&text).unwrap();
        assert_eq!(list.len(), 3);
        assert!(list.holds(&[0xAB; 32], &[]));
        assert!(list.holds(&[0; 32], &[0x0A, 0x1B]));
        assert!(list.holds(&[0; 32], &[0x0C, 0x0F, 0xFE]));
        assert!(!list.holds(&[0; 32], &[0x1B]));
        let bare = DenyList::parse(&"AB:".repeat(32)).unwrap();
        assert!(bare.holds(&[0xAB; 32], &[]) && !bare.holds(&[0; 32], &[0xAB; 32]));
        assert!(DenyList::parse("#\n").unwrap().is_empty());
    }

    #[test]
    fn a_wrong_line_is_named_and_nothing_is_taken() {
        for (text, line) in [
            ("ab\nxyz", 2),
            ("sha256:ab", 1),
            ("serial:", 1),
            ("serial:00", 1),
            ("\n\n::", 3),
            (&"a".repeat(66), 1),
        ] {
            assert_eq!(DenyList::parse(text).unwrap_err().line, line, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,200}") {
            let _ = DenyList::parse(&text);
        }
    }
}

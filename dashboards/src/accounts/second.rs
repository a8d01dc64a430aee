//! One-time passwords: RFC 6238 with SHA-1, 30 s and 6 digits, which every authenticator knows.

use std::fmt;

use hmac::{Hmac, Mac as _};
use onemap_model::AccountId;
use sha1::Sha1;
use subtle::ConstantTimeEq as _;

/// Bytes of a secret (RFC 4226 section 4, R6: 160 bits).
const SECRET_BYTES: usize = 20;
const STEP_S: u64 = 30;
const MODULUS: u32 = 1_000_000;
const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// Number of a step of 30 s since 1970.
pub(crate) type Step = u64;

/// What codes are made of. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret([u8; SECRET_BYTES]);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl Secret {
    /// A new one.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub(crate) fn new() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; SECRET_BYTES];
        getrandom::fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// As authenticators take it by hand: 32 characters of base 32 (RFC 4648).
    pub(crate) fn text(&self) -> String {
        let bits = |group: &[u8]| group.iter().fold(0u64, |all, byte| all << 8 | u64::from(*byte));
        let groups = self.0.chunks_exact(5).map(bits);
        groups
            .flat_map(|bits| (0..8).rev().map(move |i| (bits >> (5 * i) & 31) as usize))
            .map(|digit| char::from(ALPHABET[digit]))
            .collect()
    }

    /// Reads what [`Secret::text`] gives.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut digits = Vec::with_capacity(32);
        for c in text.bytes() {
            digits.push(ALPHABET.iter().position(|own| *own == c)? as u64);
        }
        if digits.len() != 32 {
            return None;
        }
        let mut bytes = [0; SECRET_BYTES];
        for (group, digits) in bytes.chunks_exact_mut(5).zip(digits.chunks_exact(8)) {
            let bits = digits.iter().fold(0, |all, digit| all << 5 | digit);
            group.copy_from_slice(&bits.to_be_bytes()[3..]);
        }
        Some(Self(bytes))
    }

    /// As authenticators read it from a picture.
    pub(crate) fn uri(&self, id: &AccountId) -> String {
        let name: String = form_urlencoded::byte_serialize(id.as_str().as_bytes()).collect();
        format!(
            "otpauth://totp/onemap:{name}?secret={}&issuer=onemap&algorithm=SHA1&digits=6&period={STEP_S}",
            self.text()
        )
    }

    /// The code of a moment, seconds since 1970.
    #[cfg(test)]
    pub(crate) fn code(&self, at_s: u64) -> String {
        format!("{:06}", self.number(at_s / STEP_S))
    }

    fn number(&self, step: Step) -> u32 {
        let mut mac = Hmac::<Sha1>::new_from_slice(&self.0).expect("an HMAC takes keys of every length");
        mac.update(&step.to_be_bytes());
        let mac = mac.finalize().into_bytes();
        let start = usize::from(mac[19] & 15);
        let four: [u8; 4] = mac[start..start + 4]
            .try_into()
            .expect("20 bytes hold 4 behind any of the first 16");
        (u32::from_be_bytes(four) & 0x7fff_ffff) % MODULUS
    }

    /// The step whose code this is: that of now, the one before or the one behind (clocks differ), and newer than
    /// `newest`.
    pub(crate) fn step_of(&self, code: &str, at_s: u64, newest: Option<Step>) -> Option<Step> {
        let code: String = code.chars().filter(|c| !c.is_whitespace()).collect();
        let now = at_s / STEP_S;
        let steps = now.saturating_sub(1)..=now + 1;
        let mut is_it = steps.filter(|step| newest.is_none_or(|newest| *step > newest));
        is_it.find(|step| {
            let expected = format!("{:06}", self.number(*step));
            bool::from(expected.as_bytes().ct_eq(code.as_bytes()))
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// RFC 6238 appendix B, the last six of its eight digits.
    #[test]
    fn codes_are_those_of_the_standard() {
        let secret = Secret(*b"12345678901234567890");
        for (at_s, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(secret.code(at_s), code);
            assert_eq!(secret.step_of(code, at_s, None), Some(at_s / STEP_S));
            assert_eq!(secret.step_of(code, at_s + 30, None), Some(at_s / STEP_S));
            assert_eq!(secret.step_of(code, at_s - 30, None), Some(at_s / STEP_S));
            assert_eq!(secret.step_of(code, at_s + 60, None), None);
            assert_eq!(secret.step_of(code, at_s, Some(at_s / STEP_S)), None);
        }
        assert_eq!(secret.step_of("287 082", 59, None), Some(1), "as people write it");
        for wrong in ["", "28708", "2870820", "二八七零八二", "abcdef"] {
            assert_eq!(secret.step_of(wrong, 59, None), None, "{wrong}");
        }
    }

    #[test]
    fn a_secret_is_base_32() {
        let secret = Secret(*b"12345678901234567890");
        assert_eq!(secret.text(), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", "RFC 4648");
        assert_eq!(Secret::parse(&secret.text()), Some(secret.clone()));
        let new = Secret::new().unwrap();
        assert_eq!(Secret::parse(&new.text()), Some(new));
        for bad in [
            "",
            "GEZDGNBVGY3TQOJQ",
            "0EZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ",
            &"é".repeat(16),
        ] {
            assert_eq!(Secret::parse(bad), None, "{bad}");
        }
        let id = AccountId::new("李娜").unwrap();
        assert_eq!(
            secret.uri(&id),
            "otpauth://totp/onemap:%E6%9D%8E%E5%A8%9C?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=onemap&algorithm=SHA1&digits=6&period=30"
        );
    }
}

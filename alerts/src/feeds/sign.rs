//! Signatures that consumers verify.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use sha2::Sha256;

/// A secret that a consumer shares with us. It is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The secret.
    pub fn new(secret: &str) -> Self {
        Self(secret.to_owned())
    }

    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

fn mac(key: &[u8], message: &[&[u8]]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    message.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().to_vec()
}

/// Of a webhook: `v1=` and HMAC-SHA256 of `timestamp.body` in hexadecimal digits.
pub(super) fn webhook(secret: &Secret, timestamp_s: i64, body: &[u8]) -> String {
    let mac = mac(
        secret.expose().as_bytes(),
        &[timestamp_s.to_string().as_bytes(), b".", body],
    );
    let digits: String = mac.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("v1={digits}")
}

/// Of DingTalk (自定义机器人安全设置, 加签): the secret signs `timestamp\nsecret`; base64, not yet for a query.
pub(super) fn dingtalk(secret: &Secret, timestamp_ms: i64) -> String {
    let secret = secret.expose();
    STANDARD.encode(mac(
        secret.as_bytes(),
        &[format!("{timestamp_ms}\n{secret}").as_bytes()],
    ))
}

/// Of Feishu (自定义机器人使用指南, 签名校验): `timestamp\nsecret` is the key that signs nothing; base64.
pub(super) fn feishu(secret: &Secret, timestamp_s: i64) -> String {
    let key = format!("{timestamp_s}\n{}", secret.expose());
    STANDARD.encode(mac(key.as_bytes(), &[]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_those_that_others_make() {
        // RFC 4231, test case 2.
        let known = mac(b"Jefe", &[b"what do ya want ", b"for nothing?"]);
        let digits: String = known.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            digits,
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        // The others: made with OpenSSL and Python's hmac as the platforms' own examples do.
        let secret = Secret::new("this is secret");
        assert_eq!(
            dingtalk(&secret, 1_577_262_236_757),
            "hmPWwU+7lVdm3ZZz0r9tSfx0L4Q26jWOZr9+Gs6EZQM="
        );
        assert_eq!(
            feishu(&secret, 1_599_360_473),
            "/eYKrXQBzTjUZJ3s6NX16VxGbTwmK7AEs8/FnvC1CSw="
        );
        assert_eq!(
            webhook(&secret, 1_763_856_000, "{\"a\":\"水\"}".as_bytes()),
            "v1=477e488bee3f65ddf8fbed89b366051ec63c9d30f0dfaf6a0d7ecc72927f008d"
        );
    }

    #[test]
    fn a_secret_is_not_shown() {
        assert_eq!(format!("{:?}", Secret::new("abc")), "Secret(..)");
    }
}

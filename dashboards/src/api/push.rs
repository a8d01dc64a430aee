//! Callbacks of operators' platforms: `POST /push/{source}`, and the GET by which a platform looks whether
//! somebody is there. The body is journaled as it came; the pipeline takes it apart.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{ConnectInfo, Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac as _};
use md5::{Digest as _, Md5};
use onemap_model::Refusal;
use onemap_wire::push::{Check, Hash, PUSH, SecretAt, Source};
use serde_json::Value;
use subtle::ConstantTimeEq as _;

use crate::api::keep::Arrived;
use crate::error::Problem;
use crate::request::Unread;
use crate::views::Views;

/// Largest body of one call.
pub(crate) const MAX_BODY: usize = 4 << 20;

fn source(views: &Views, name: &str) -> Result<Arc<Source>, Problem> {
    let found = match views.sources.read() {
        Ok(sources) => sources.get(name).cloned(),
        Err(_) => None,
    };
    found.ok_or_else(|| {
        views.counters.refuse(Refusal::UnknownSource);
        Problem::not_found("unknown_source", "no push source of this name is configured")
    })
}

/// The secret as it stands now: a changed file holds from the next call on.
async fn secret(views: &Views, source: &Source) -> Result<Vec<u8>, Problem> {
    let found = match &source.secret {
        SecretAt::Environment(name) => std::env::var(name).ok().map(String::into_bytes),
        SecretAt::File(name) => {
            let path = views.folders.sources.join(name);
            let read = tokio::task::spawn_blocking(move || std::fs::read(path)).await;
            read.ok().and_then(Result::ok)
        }
    };
    let found = found.map(|secret| secret.trim_ascii().to_vec());
    found.filter(|secret| !secret.is_empty()).ok_or_else(|| {
        tracing::error!(source = %source.id, "the secret of push source `{}` cannot be read or is empty", source.id);
        Problem::unavailable("the source is configured without a readable secret")
    })
}

fn same(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

/// What a call shows for itself.
struct Shown<'a> {
    headers: &'a HeaderMap,
    query: &'a HashMap<String, String>,
    body: &'a [u8],
}

impl Shown<'_> {
    fn header(&self, name: &str) -> &[u8] {
        self.headers.get(name).map(|v| v.as_bytes()).unwrap_or_default()
    }

    fn is_of(&self, check: &Check, secret: &[u8]) -> bool {
        match check {
            Check::Header { header } => same(self.header(header), secret),
            Check::Basic { user } => {
                let text = std::str::from_utf8(self.header("authorization")).unwrap_or_default();
                let encoded = text.strip_prefix("Basic ").unwrap_or_default();
                let shown = STANDARD.decode(encoded.trim()).unwrap_or_default();
                let meant = [user.as_bytes(), b":", secret].concat();
                same(&shown, &meant)
            }
            Check::Hmac {
                hash,
                header,
                is_hex,
                prefix,
            } => {
                let digest = hmac(*hash, secret, self.body);
                let written = match is_hex {
                    true => digest.iter().map(|b| format!("{b:02x}")).collect(),
                    false => STANDARD.encode(digest),
                };
                let shown = self.header(header);
                let shown = shown.strip_prefix(prefix.as_bytes()).unwrap_or_default();
                let shown = if *is_hex {
                    shown.to_ascii_lowercase()
                } else {
                    shown.to_vec()
                };
                same(&shown, written.as_bytes())
            }
            Check::OneNet => {
                let body: Value = serde_json::from_slice(self.body).unwrap_or_default();
                let text = |name: &str| match &body[name] {
                    Value::String(text) => text.clone(),
                    Value::Null => self.query.get(name).cloned().unwrap_or_default(),
                    other => other.to_string(),
                };
                let mut md5 = Md5::new();
                md5.update(secret);
                md5.update(text("nonce"));
                md5.update(text("msg"));
                // A `+` in a query is read as a blank.
                let shown = text("signature").replace(' ', "+");
                same(shown.as_bytes(), STANDARD.encode(md5.finalize()).as_bytes())
            }
        }
    }
}

fn hmac(hash: Hash, secret: &[u8], body: &[u8]) -> Vec<u8> {
    const ANY: &str = "a keyed hash takes a key of any length";
    match hash {
        Hash::Sha256 => {
            let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret).expect(ANY);
            mac.update(body);
            mac.finalize().into_bytes().to_vec()
        }
        Hash::Sha1 => {
            let mut mac = Hmac::<sha1::Sha1>::new_from_slice(secret).expect(ANY);
            mac.update(body);
            mac.finalize().into_bytes().to_vec()
        }
    }
}

async fn checked(views: &Views, name: &str, shown: &Shown<'_>) -> Result<Arc<Source>, Problem> {
    let source = source(views, name)?;
    let secret = secret(views, &source).await?;
    if shown.is_of(&source.check, &secret) {
        return Ok(source);
    }
    views.counters.refuse(Refusal::UnknownSource);
    tracing::warn!(source = %source.id, "a call to push source `{}` does not show its secret", source.id);
    Err(expected(&source.check))
}

/// The answer to a call without its proof: what is expected and where, and nothing of the secret.
fn expected(check: &Check) -> Problem {
    let (scheme, zh, en) = match check {
        Check::Header { header } => (
            "PushSecret",
            format!("应在请求头 {header} 中携带该推送源的密钥"),
            format!("the source's secret is expected in the header {header}"),
        ),
        Check::Basic { .. } => (
            "Basic realm=\"push\"",
            "应在请求头 Authorization 中以 Basic 方式携带该推送源的用户名和密钥".to_owned(),
            "the source's user name and secret are expected as Basic credentials in the header Authorization"
                .to_owned(),
        ),
        Check::Hmac {
            hash,
            header,
            is_hex,
            prefix,
        } => {
            let hash = match hash {
                Hash::Sha256 => "HMAC-SHA256",
                Hash::Sha1 => "HMAC-SHA1",
            };
            let written = if *is_hex { "hex" } else { "base64" };
            (
                "PushSignature",
                format!(
                    "应在请求头 {header} 中携带以该推送源密钥对请求体计算的 {hash} 签名，写作 {prefix}<{written}>"
                ),
                format!(
                    "the body's {hash} signature by the source's secret is expected in the header {header}, written \
                     {prefix}<{written}>"
                ),
            )
        }
        Check::OneNet => (
            "PushSignature",
            "请求体（GET 时为查询参数）中的 signature 应为 base64(MD5(密钥 + nonce + msg))".to_owned(),
            "base64(MD5(secret + nonce + msg)) is expected as `signature` in the body, of a GET in the query"
                .to_owned(),
        ),
    };
    Problem::wrong_credential(
        scheme,
        format!(
            "{zh}，未提供或不符。{en}, and is missing or not right; access tokens and device tokens open nothing here"
        ),
    )
}

/// Keeps a call; answered as the platform expects once it is durable.
pub(crate) async fn post(
    State(views): State<Arc<Views>>,
    ConnectInfo(peer): ConnectInfo<std::net::SocketAddr>,
    Path(name): Path<String>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
    body: Unread,
) -> Result<Response, Problem> {
    // A source that is not there, or a secret in the head that is not its own, is told before the body is
    // read; a signature needs the body.
    let source = source(&views, &name)?;
    if let Check::Header { .. } | Check::Basic { .. } = &source.check {
        let shown = Shown {
            headers: &headers,
            query: &query,
            body: b"",
        };
        checked(&views, &name, &shown).await?;
    }
    let body = body.read().await?;
    let shown = Shown {
        headers: &headers,
        query: &query,
        body: &body,
    };
    let source = checked(&views, &name, &shown).await?;
    let (peer, topic) = (peer.to_string(), format!("{PUSH}{}", source.id));
    let arrived = Arrived {
        device: "",
        peer: &peer,
        topic: &topic,
        payload: &body,
    };
    arrived.keep(&views).await?;
    let answer = &source.answer;
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
    let content_type = [(header::CONTENT_TYPE, answer.content_type.clone())];
    Ok((status, content_type, answer.body.clone()).into_response())
}

/// Says back what the platform asks to hear.
pub(crate) async fn verify(
    State(views): State<Arc<Views>>,
    Path(name): Path<String>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let shown = Shown {
        headers: &headers,
        query: &query,
        body: b"",
    };
    let source = checked(&views, &name, &shown).await?;
    let echo = query.get(&source.echo).cloned().unwrap_or_default();
    let content_type = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    Ok((StatusCode::OK, content_type, echo).into_response())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Test cases 1 and 2 of RFC 4231 (SHA-256) and RFC 2202 (SHA-1).
    #[test]
    fn keyed_hashes_are_the_published_ones() {
        let hex = |digest: Vec<u8>| digest.iter().map(|b| format!("{b:02x}")).collect::<String>();
        assert_eq!(
            hex(hmac(Hash::Sha256, b"Jefe", b"what do ya want for nothing?")),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        assert_eq!(
            hex(hmac(Hash::Sha1, &[0x0b; 20], b"Hi There")),
            "b617318655057264e28bc0b6fb378c8ef146be00"
        );
    }

    fn is_of(check: &Check, headers: &[(&'static str, &str)], query: &[(&str, &str)], body: &[u8]) -> bool {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        let query = query
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        let shown = Shown {
            headers: &map,
            query: &query,
            body,
        };
        shown.is_of(check, b"Jefe")
    }

    #[test]
    fn a_refused_call_is_told_what_is_expected_and_where() {
        let hmac = Check::Hmac {
            hash: Hash::Sha256,
            header: "x-sign".to_owned(),
            is_hex: true,
            prefix: "sha256=".to_owned(),
        };
        let header = Check::Header {
            header: "x-token".to_owned(),
        };
        let basic = Check::Basic {
            user: "platform".to_owned(),
        };
        for (check, scheme, said) in [
            (
                &header,
                "PushSecret",
                &["请求头 x-token", "the header x-token"][..],
            ),
            (
                &basic,
                "Basic realm=\"push\"",
                &["Authorization 中以 Basic", "Basic credentials"],
            ),
            (
                &hmac,
                "PushSignature",
                &["请求头 x-sign", "HMAC-SHA256", "sha256=<hex>"],
            ),
            (
                &Check::OneNet,
                "PushSignature",
                &["查询参数", "MD5(secret + nonce + msg)"],
            ),
        ] {
            let problem = expected(check);
            for part in said {
                assert!(problem.detail().contains(part), "{part}: {}", problem.detail());
            }
            assert!(!problem.detail().contains("platform"), "{}", problem.detail());
            let response = problem.into_response();
            assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
            assert_eq!(response.headers()[header::WWW_AUTHENTICATE], scheme);
        }
    }

    #[test]
    fn only_who_knows_the_secret_is_let_in() {
        let header = Check::Header {
            header: "x-token".to_owned(),
        };
        assert!(is_of(&header, &[("x-token", "Jefe")], &[], b""));
        assert!(!is_of(&header, &[("x-token", "Jeff")], &[], b""));
        assert!(!is_of(&header, &[], &[], b""));
        let basic = Check::Basic { user: "u".to_owned() };
        assert!(is_of(&basic, &[("authorization", "Basic dTpKZWZl")], &[], b""));
        assert!(!is_of(&basic, &[("authorization", "Basic dTo=")], &[], b""));
        assert!(!is_of(&basic, &[("authorization", "Bearer dTpKZWZl")], &[], b""));
        let hmac = Check::Hmac {
            hash: Hash::Sha256,
            header: "x-sign".to_owned(),
            is_hex: true,
            prefix: "sha256=".to_owned(),
        };
        let sign = "sha256=5BDCC146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        let body = b"what do ya want for nothing?";
        assert!(is_of(&hmac, &[("x-sign", sign)], &[], body));
        assert!(!is_of(
            &hmac,
            &[("x-sign", sign)],
            &[],
            b"what do you want for nothing?"
        ));
        assert!(!is_of(&hmac, &[("x-sign", &sign[7..])], &[], body));
        // base64 of MD5 over "Jefe" + "n1" + "hello"
        let good = "oHiBqXPbpcY/uodp1sNnhg==";
        let body = |signature: &str| format!(r#"{{"msg":"hello","nonce":"n1","signature":"{signature}"}}"#);
        assert!(is_of(&Check::OneNet, &[], &[], body(good).as_bytes()));
        assert!(!is_of(&Check::OneNet, &[], &[], body("").as_bytes()));
        let query = [("msg", "hello"), ("nonce", "n1"), ("signature", good)];
        assert!(is_of(&Check::OneNet, &[], &query, b""));
        assert!(!is_of(&Check::OneNet, &[], &query[..2], b""));
    }
}

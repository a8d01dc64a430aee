//! Attributes and claims as ThingsBoard devices send and ask for them.

use onemap_model::Refusal;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::members;
use crate::Refused;

/// Reads `{"fw":"1.2","on":true}`: the device's client attributes. Any JSON is a value.
///
/// # Errors
/// When it is no JSON, or no object.
pub fn attributes(payload: &[u8]) -> Result<Map<String, Value>, Refused> {
    let members = members(payload, "an object of attributes")?;
    let mut map = Map::new();
    for (key, raw) in members {
        let value = serde_json::from_str(raw.get())
            .map_err(|error| Refused::new(Refusal::BrokenJson, error.to_string()))?;
        map.insert(key, value);
    }
    Ok(map)
}

/// Which attributes a device asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Client keys; `None` are all, an empty list is none.
    pub client: Option<Vec<String>>,
    /// Shared keys; `None` are all, an empty list is none.
    pub shared: Option<Vec<String>>,
}

impl Wanted {
    /// Of the two comma-separated lists; with neither, everything is wanted.
    pub fn of(client: Option<&str>, shared: Option<&str>) -> Self {
        let keys = |text: &str| -> Vec<String> {
            let keys = text.split(',').map(str::trim).filter(|key| !key.is_empty());
            keys.map(str::to_owned).collect()
        };
        let (client, shared) = (client.map(keys), shared.map(keys));
        if client.is_none() && shared.is_none() {
            return Self::default();
        }
        Self {
            client: Some(client.unwrap_or_default()),
            shared: Some(shared.unwrap_or_default()),
        }
    }

    /// Reads `{"clientKeys":"a,b","sharedKeys":"c"}`; an empty payload wants everything.
    ///
    /// # Errors
    /// When it is not JSON of that shape.
    pub fn decode(payload: &[u8]) -> Result<Self, Refused> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Asked {
            #[serde(default)]
            client_keys: Option<String>,
            #[serde(default)]
            shared_keys: Option<String>,
        }
        if payload.is_empty() {
            return Ok(Self::default());
        }
        let asked: Asked = serde_json::from_slice(payload).map_err(|error| {
            let refusal = if error.is_data() {
                Refusal::WrongShape
            } else {
                Refusal::BrokenJson
            };
            Refused::new(refusal, error.to_string())
        })?;
        Ok(Self::of(
            asked.client_keys.as_deref(),
            asked.shared_keys.as_deref(),
        ))
    }
}

/// A request to be claimed: `{"secretKey":"..","durationMs":60000}`. Both may be left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    /// What the claimer will have to know.
    pub secret: String,
    /// For how long; `None` is until further notice.
    pub duration_ms: Option<u64>,
}

impl Claim {
    /// Reads a payload.
    ///
    /// # Errors
    /// When it is not JSON of that shape.
    pub fn decode(payload: &[u8]) -> Result<Self, Refused> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Said {
            #[serde(default)]
            secret_key: Option<String>,
            #[serde(default)]
            duration_ms: Option<u64>,
        }
        if payload.is_empty() {
            return Ok(Self::default());
        }
        let said: Said = serde_json::from_slice(payload).map_err(|error| {
            let refusal = if error.is_data() {
                Refusal::WrongShape
            } else {
                Refusal::BrokenJson
            };
            Refused::new(refusal, error.to_string())
        })?;
        Ok(Self {
            secret: said.secret_key.unwrap_or_default(),
            duration_ms: said.duration_ms,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn attributes_are_any_json() {
        let read = attributes(br#"{"fw":"1.2","n":1,"on":true,"deep":{"a":[1,null]},"none":null}"#).unwrap();
        assert_eq!(
            Value::Object(read),
            json!({"fw":"1.2","n":1,"on":true,"deep":{"a":[1,null]},"none":null})
        );
        for (payload, want) in [
            ("", "broken_json"),
            (r#"{"a":NaN}"#, "broken_json"),
            ("[]", "wrong_shape"),
            (r#""a""#, "wrong_shape"),
            ("null", "wrong_shape"),
        ] {
            assert_eq!(
                attributes(payload.as_bytes()).unwrap_err().refusal.label(),
                want,
                "{payload}"
            );
        }
        let deep = format!("{{\"a\":{}}}", "[".repeat(5000));
        assert_eq!(
            attributes(deep.as_bytes()).unwrap_err().refusal,
            Refusal::BrokenJson
        );
    }

    #[test]
    fn what_is_not_asked_for_is_not_wanted() {
        let list = |keys: &[&str]| Some(keys.iter().map(|k| (*k).to_owned()).collect());
        for (payload, client, shared) in [
            ("", None, None),
            ("{}", None, None),
            (r#"{"clientKeys":"a, b"}"#, list(&["a", "b"]), list(&[])),
            (r#"{"sharedKeys":"c"}"#, list(&[]), list(&["c"])),
            (r#"{"clientKeys":"a","sharedKeys":""}"#, list(&["a"]), list(&[])),
        ] {
            assert_eq!(
                Wanted::decode(payload.as_bytes()).unwrap(),
                Wanted { client, shared },
                "{payload}"
            );
        }
        assert_eq!(
            Wanted::decode(br#"{"clientKeys":[1]}"#).unwrap_err().refusal,
            Refusal::WrongShape
        );
        assert_eq!(Wanted::decode(b"{").unwrap_err().refusal, Refusal::BrokenJson);
    }

    #[test]
    fn a_claim_may_say_little() {
        let claim = Claim::decode(br#"{"secretKey":"s","durationMs":60000}"#).unwrap();
        assert_eq!((claim.secret.as_str(), claim.duration_ms), ("s", Some(60_000)));
        assert_eq!(Claim::decode(b"").unwrap(), Claim::default());
        assert_eq!(Claim::decode(b"{}").unwrap(), Claim::default());
        assert!(Claim::decode(br#"{"durationMs":-1}"#).is_err());
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            let _ = (attributes(&bytes), Wanted::decode(&bytes), Claim::decode(&bytes));
        }
    }
}

//! What a ThingsBoard gateway says for its children, under `v1/gateway/…`.
//!
//! Pure splitting: whose child a name is, and by which profile its part is read, is the caller's.

use onemap_model::Refusal;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::members;
use crate::Refused;

/// The parts of `{"Device A": …, "Device B": …}`, in their order; a name that stands twice gives two parts.
///
/// # Errors
/// When it is no JSON, or no object.
pub fn parts(payload: &[u8]) -> Result<Vec<(String, &RawValue)>, Refused> {
    members(payload, "an object of devices")
}

/// `{"device":"Device A","type":"default"}` of connect and disconnect.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Connect {
    /// The child.
    pub device: String,
    /// Its type, which a gateway may leave out.
    #[serde(default, rename = "type")]
    pub kind: Option<String>,
}

impl Connect {
    /// Reads a payload.
    ///
    /// # Errors
    /// When it is not JSON of that shape.
    pub fn decode(payload: &[u8]) -> Result<Self, Refused> {
        shaped(payload)
    }
}

/// `{"id":1,"device":"Device A","client":true,"key":"k"}`, or `keys` with a list.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct AttributesRequest {
    /// The gateway's number, sent back as it came (a number or a text).
    pub id: Value,
    /// The child.
    pub device: String,
    /// Whether the child's client attributes are asked for; otherwise the shared ones.
    #[serde(default)]
    pub client: bool,
    /// One key.
    #[serde(default)]
    pub key: Option<String>,
    /// Several keys.
    #[serde(default)]
    pub keys: Option<Vec<String>>,
}

impl AttributesRequest {
    /// Reads a payload.
    ///
    /// # Errors
    /// When it is not JSON of that shape, or names no key.
    pub fn decode(payload: &[u8]) -> Result<Self, Refused> {
        let request: Self = shaped(payload)?;
        if request.key.is_none() && request.keys.is_none() {
            return Err(Refused::new(
                Refusal::WrongShape,
                "neither `key` nor `keys` is given",
            ));
        }
        if !(request.id.is_number() || request.id.is_string()) {
            return Err(Refused::new(
                Refusal::WrongShape,
                "`id` is neither a number nor a text",
            ));
        }
        Ok(request)
    }

    /// The answer, with the values found: one asked-for key gives `value` (null when there is none), several
    /// give `values`.
    pub fn answer(&self, find: impl Fn(&str) -> Option<Value>) -> Value {
        let mut answer = serde_json::json!({"id": self.id, "device": self.device});
        match (&self.keys, &self.key) {
            (Some(keys), _) if keys.len() != 1 => {
                let found = keys.iter().filter_map(|key| Some((key.clone(), find(key)?)));
                answer["values"] = found.collect::<serde_json::Map<_, _>>().into();
            }
            (Some(keys), _) => answer["value"] = find(&keys[0]).unwrap_or(Value::Null),
            (None, Some(key)) => answer["value"] = find(key).unwrap_or(Value::Null),
            (None, None) => {}
        }
        answer
    }
}

/// A call on its way to a child: `{"device":"Device A","data":{"id":1,"method":"m","params":{}}}`.
pub fn gateway_rpc_encode(device: &str, id: u64, method: &str, params: &Value) -> Vec<u8> {
    #[derive(Serialize)]
    struct Data<'a> {
        id: u64,
        method: &'a str,
        params: &'a Value,
    }
    #[derive(Serialize)]
    struct Call<'a> {
        device: &'a str,
        data: Data<'a>,
    }
    let data = Data { id, method, params };
    serde_json::to_vec(&Call { device, data }).expect("a value has text keys only")
}

/// A child's answer: `{"device":"Device A","id":1,"data":…}`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct GatewayAnswer {
    /// The child.
    pub device: String,
    /// The call's number.
    pub id: u64,
    /// What it answered; null when nothing stands there.
    #[serde(default)]
    pub data: Value,
}

/// Reads a child's answer.
///
/// # Errors
/// When it is not JSON of that shape.
pub fn gateway_rpc_decode(payload: &[u8]) -> Result<GatewayAnswer, Refused> {
    shaped(payload)
}

fn shaped<'de, T: Deserialize<'de>>(payload: &'de [u8]) -> Result<T, Refused> {
    serde_json::from_slice(payload).map_err(|error| {
        let refusal = if error.is_data() {
            Refusal::WrongShape
        } else {
            Refusal::BrokenJson
        };
        Refused::new(refusal, error.to_string())
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;
    use crate::thingsboard::telemetry;

    #[test]
    fn each_child_has_its_part() {
        let payload = br#"{"Device A":[{"ts":1763856000000,"values":{"temperature":42}}],"B":[{"ph":7}],"C":{"ph":8},"B":5}"#;
        let parts = parts(payload).unwrap();
        let read: Vec<String> = parts
            .iter()
            .map(|(name, part)| {
                let message = telemetry(part.get().as_bytes(), None);
                let first = message.samples.first().map(|s| s.value.number());
                format!("{name} {first:?} {}", message.refused.len())
            })
            .collect();
        assert_eq!(
            read,
            [
                "Device A Some(Some(42.0)) 0",
                "B Some(Some(7.0)) 0",
                "C Some(Some(8.0)) 0",
                "B None 1"
            ]
        );
        for (payload, want) in [
            ("", "broken_json"),
            ("{", "broken_json"),
            (r#"{"a":}"#, "broken_json"),
            ("[]", "wrong_shape"),
            ("7", "wrong_shape"),
            ("{}x", "broken_json"),
        ] {
            let refused = super::parts(payload.as_bytes()).unwrap_err();
            assert_eq!(refused.refusal.label(), want, "{payload}");
        }
    }

    #[test]
    fn a_request_is_answered_in_the_form_it_has() {
        let find = |key: &str| (key != "none").then(|| json!(format!("of {key}")));
        for (request, want) in [
            (
                r#"{"id":1,"device":"A","client":true,"key":"k"}"#,
                json!({"id":1,"device":"A","value":"of k"}),
            ),
            (
                r#"{"id":"x","device":"A","key":"none"}"#,
                json!({"id":"x","device":"A","value":null}),
            ),
            (
                r#"{"id":2,"device":"A","keys":["k"]}"#,
                json!({"id":2,"device":"A","value":"of k"}),
            ),
            (
                r#"{"id":3,"device":"A","keys":["k","none","l"]}"#,
                json!({"id":3,"device":"A","values":{"k":"of k","l":"of l"}}),
            ),
        ] {
            let request = AttributesRequest::decode(request.as_bytes()).unwrap();
            assert_eq!(request.answer(find), want);
        }
        for (bad, want) in [
            (r#"{"id":1,"device":"A"}"#, "wrong_shape"),
            (r#"{"id":null,"device":"A","key":"k"}"#, "wrong_shape"),
            (r#"{"device":"A","key":"k"}"#, "wrong_shape"),
            (r#"{"id":1,"device":7,"key":"k"}"#, "wrong_shape"),
            ("{", "broken_json"),
        ] {
            let refused = AttributesRequest::decode(bad.as_bytes()).unwrap_err();
            assert_eq!(refused.refusal.label(), want, "{bad}");
        }
    }

    #[test]
    fn calls_and_answers_have_the_gateway_s_shape() {
        let call = gateway_rpc_encode("Device A", 7, "setOut", &json!({"on": true}));
        assert_eq!(
            serde_json::from_slice::<Value>(&call).unwrap(),
            json!({"device":"Device A","data":{"id":7,"method":"setOut","params":{"on":true}}})
        );
        let answer = gateway_rpc_decode(br#"{"device":"Device A","id":7,"data":{"ok":1}}"#).unwrap();
        assert_eq!(
            (answer.device.as_str(), answer.id, answer.data),
            ("Device A", 7, json!({"ok":1}))
        );
        assert!(gateway_rpc_decode(br#"{"device":"Device A","id":"7"}"#).is_err());
        assert!(gateway_rpc_decode(b"\xff").is_err());
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            let _ = (parts(&bytes), Connect::decode(&bytes), AttributesRequest::decode(&bytes), gateway_rpc_decode(&bytes));
        }
        #[test]
        fn any_likely_text_is_read_without_panic(text in "[{}\\[\\]:,\"a1 ]{0,40}") {
            for (_, part) in parts(text.as_bytes()).into_iter().flatten() {
                telemetry(part.get().as_bytes(), None);
            }
        }
        #[test]
        fn an_answer_is_what_was_called(device in ".{0,20}", id: u64, method in ".{0,20}") {
            let call: Value = serde_json::from_slice(&gateway_rpc_encode(&device, id, &method, &Value::Null)).unwrap();
            let answer = json!({"device": call["device"], "id": call["data"]["id"], "data": call["data"]["method"]});
            let answer = gateway_rpc_decode(answer.to_string().as_bytes()).unwrap();
            proptest::prop_assert_eq!((answer.device, answer.id, answer.data), (device, id, json!(method)));
        }
    }
}

#![allow(clippy::unwrap_used)]

use serde_json::json;

use super::*;

const CTWING: &str = "version: 1
name: {zh: 电信, en: CTWing}
check: {kind: hmac_sha256, header: X-Signature, encoding: hex}
secret_file: ctwing.secret
only: {path: $.messageType, values: [dataReport]}
device: $.deviceId
device_prefix: nb-
time: $.timestamp
payload: {path: $.payload.APPdata, encoding: base64}
answer: {body: '{\"code\":0}'}
";

fn source(text: &str) -> Source {
    Source::parse(&ProfileId::new("s").unwrap(), text).unwrap()
}

fn read(source: &Source, body: &Value) -> Vec<String> {
    let messages = match source.messages(body.to_string().as_bytes()) {
        Ok(messages) => messages,
        Err(refused) => return vec![format!("all {}", refused.refusal)],
    };
    messages
        .into_iter()
        .map(|message| match message {
            Err(refused) => refused.refusal.to_string(),
            Ok(pushed) => {
                let message = pushed.decode(None);
                let values: Vec<String> = message
                    .samples
                    .iter()
                    .map(|s| {
                        let at = s.measured_at.map_or(0, Timestamp::ms);
                        format!("{}={}@{at}", s.quantity, s.value.number().unwrap())
                    })
                    .collect();
                format!("{} {} {}", pushed.device, values.join(","), message.refused.len())
            }
        })
        .collect()
}

#[test]
fn an_operator_s_message_is_taken_apart() {
    let ctwing = source(CTWING);
    let payload = STANDARD.encode(r#"{"temperature":21.5}"#);
    let body = json!({"messageType":"dataReport","deviceId":"77","timestamp":1763856000000i64,"payload":{"APPdata":payload}});
    assert_eq!(read(&ctwing, &body), ["nb-77 temperature=21.5@1763856000000 0"]);
    // What the device stamped itself stays.
    let stamped = STANDARD.encode(r#"{"ts":5000,"values":{"ph":7}}"#);
    let body = json!({"messageType":"dataReport","deviceId":77,"timestamp":"1763856000","payload":{"APPdata":stamped}});
    assert_eq!(read(&ctwing, &body), ["nb-77 ph=7@5000 0"]);
    for (body, want) in [
        (json!({"messageType":"deviceOnline","deviceId":"77"}), &[][..]),
        (json!({"messageType":"dataReport"}), &["wrong_shape"]),
        (
            json!({"messageType":"dataReport","deviceId":"77"}),
            &["wrong_shape"],
        ),
        (
            json!({"messageType":"dataReport","deviceId":"77","payload":{"APPdata":"?"}}),
            &["wrong_shape"],
        ),
        (
            json!({"messageType":"dataReport","deviceId":"77","payload":{"APPdata":5}}),
            &["wrong_shape"],
        ),
        (
            json!({"messageType":"dataReport","deviceId":"77","timestamp":"soon","payload":{"APPdata":payload}}),
            &["wrong_shape"],
        ),
        (json!([]), &[]),
    ] {
        assert_eq!(read(&ctwing, &body), want, "{body}");
    }
}

#[test]
fn lists_and_texts_in_texts_are_looked_into() {
    let onenet = source(
        "version: 1\nname: {zh: 移动, en: OneNET}\ncheck: {kind: onenet}\nsecret_env: ONENET\nlist: $.msg.data\ndevice: $.dev\ntime: $.at\npayload: {path: $.value}\n",
    );
    let msg = json!({"data":[
        {"dev":"a","at":"20251123T000000Z","value":{"ph":7}},
        {"dev":"b","at":"2025-11-23T08:00:00+08:00","value":"{\"ph\":8}"},
        {"dev":"c","value":"no json"},
        {"value":{"ph":9}},
    ]});
    let body = json!({"msg": msg.to_string(), "nonce": "n", "signature": "s"});
    assert_eq!(
        read(&onenet, &body),
        [
            "a ph=7@1763856000000 0",
            "b ph=8@1763856000000 0",
            "c  1",
            "wrong_shape"
        ]
    );
    assert_eq!(read(&onenet, &json!({"msg": 5})), ["all wrong_shape"]);
    assert_eq!(onenet.messages(b"{").unwrap_err().refusal, Refusal::BrokenJson);
    let hex = source(
        "version: 1\nname: {zh: 甲, en: A}\ncheck: {kind: basic, user: u}\nsecret_env: S\ndevice: $.d\npayload: {path: $.p, encoding: hex}\n",
    );
    // [{"q": "ph", "v": 7}] in CBOR
    assert_eq!(
        read(&hex, &json!({"d":"a","p":"81A261716270686176 07"})),
        ["wrong_shape"]
    );
    assert_eq!(
        read(&hex, &json!({"d":"a","p":"81A26171627068617607"})),
        ["a ph=7@0 0"]
    );
}

#[test]
fn faults_have_their_place() {
    let id = ProfileId::new("s").unwrap();
    for (from, to, line) in [
        ("version: 1", "version: 2", 1),
        ("kind: hmac_sha256", "kind: none", 3),
        ("header: X-Signature, ", "", 3),
        ("encoding: hex", "encoding: octal", 3),
        ("secret_file: ctwing.secret", "secret_file: ../x", 4),
        ("secret_file: ctwing.secret\n", "", 3),
        ("device: $.deviceId", "device: deviceId", 6),
        ("time: $.timestamp", "time: $.", 8),
        ("encoding: base64", "encoding: base65", 9),
        ("answer: {", "answer: {status: 404, ", 10),
        ("answer: {", "antwort: {", 10),
    ] {
        let error = Source::parse(&id, &CTWING.replace(from, to)).unwrap_err();
        assert_eq!(error.line, line, "{to}: {error}");
    }
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
        let _ = source(CTWING).messages(&bytes);
        let _ = Source::parse(&ProfileId::new("s").unwrap(), &String::from_utf8_lossy(&bytes));
    }
    #[test]
    fn any_message_is_read_without_panic(device in ".{0,8}", time in ".{0,17}|[0-9TZ]{15,17}", payload in ".{0,12}|[0-9a-f]{0,12}") {
        for encoding in ["json", "base64", "hex"] {
            let text = CTWING.replace("base64", encoding);
            let body = json!({"messageType":"dataReport","deviceId":device,"timestamp":time,"payload":{"APPdata":payload}});
            for pushed in source(&text).messages(body.to_string().as_bytes()).unwrap().into_iter().flatten() {
                pushed.decode(None);
            }
        }
    }
}

//! Telemetry as devices of the ThingsBoard API send it.
//!
//! Shapes: `{k:v}`, `[{k:v},…]`, `{"ts":ms,"values":{k:v}}` and arrays of that. The payload is read in
//! one pass into samples; a value that cannot be read is refused by name and the others are kept.
//! Values are numbers, texts that are one (`"21.5"`, as ThingsBoard reads them), and booleans as 0 and 1 of a state.

pub mod attributes;
pub mod gateway;

use std::fmt;

use onemap_model::{Quantity, Refusal, Timestamp};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

pub use gateway::{gateway_rpc_decode, gateway_rpc_encode};

use crate::message::quoted;
use crate::scalar::{Key, Scalar};
use crate::{Message, Profile, Refused, Sample, Scaling};

/// Reads a telemetry payload.
pub fn telemetry(payload: &[u8], profile: Option<&Profile>) -> Message {
    if let Some(profile) = profile.filter(|p| p.is_nested()) {
        return match serde_json::from_slice(payload) {
            Ok(value) => profile.read(&value),
            Err(error) => Message::refused(Refusal::BrokenJson, error.to_string()),
        };
    }
    let mut message = Message::default();
    let mut json = serde_json::Deserializer::from_slice(payload);
    let read = Telemetry {
        message: &mut message,
        profile,
    }
    .deserialize(&mut json)
    .and_then(|()| json.end());
    match read {
        Ok(()) => message,
        // Half of a text that is not JSON is not evidence of anything.
        Err(error) => Message::refused(Refusal::BrokenJson, error.to_string()),
    }
}

/// The members of an object, each value as its text.
fn members<'a>(payload: &'a [u8], what: &'static str) -> Result<Vec<(String, &'a RawValue)>, Refused> {
    struct Members(&'static str);
    impl<'de> Visitor<'de> for Members {
        type Value = Vec<(String, &'de RawValue)>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut members = Vec::new();
            while let Some(member) = map.next_entry()? {
                members.push(member);
            }
            Ok(members)
        }
    }
    let mut json = serde_json::Deserializer::from_slice(payload);
    let read = json.deserialize_map(Members(what));
    read.and_then(|members| json.end().map(|()| members))
        .map_err(|error| {
            let refusal = if error.is_data() {
                Refusal::WrongShape
            } else {
                Refusal::BrokenJson
            };
            Refused::new(refusal, error.to_string())
        })
}

/// Finds what a key means: the profile's keys first, then dictionary names with an optional channel,
/// `temperature` or `temperature#2`.
fn resolve(key: &str, profile: Option<&Profile>) -> Option<(Quantity, u16, Scaling)> {
    if let Some(mapping) = profile.and_then(|p| p.keys.get(key)) {
        return Some((mapping.quantity, mapping.channel, mapping.scaling));
    }
    if let Some(quantity) = Quantity::named(key) {
        return Some((quantity, 0, Scaling::NONE));
    }
    let (name, channel) = key.rsplit_once('#')?;
    Some((Quantity::named(name)?, channel.parse().ok()?, Scaling::NONE))
}

/// The whole payload, or one element of its array.
struct Telemetry<'m, 'p> {
    message: &'m mut Message,
    profile: Option<&'p Profile>,
}

impl<'de> DeserializeSeed<'de> for Telemetry<'_, '_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<(), D::Error> {
        d.deserialize_any(TopVisitor(self))
    }
}

struct TopVisitor<'m, 'p>(Telemetry<'m, 'p>);

impl TopVisitor<'_, '_> {
    fn wrong<E>(self, what: &str) -> Result<(), E> {
        self.0.message.refused.push(Refused::new(
            Refusal::WrongShape,
            format!("telemetry is an object or an array of objects, this is {what}"),
        ));
        Ok(())
    }
}

impl<'de> Visitor<'de> for TopVisitor<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("telemetry")
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        record(map, self.0.message, self.0.profile)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Telemetry { message, profile } = self.0;
        while seq
            .next_element_seed(Element(Telemetry { message, profile }))?
            .is_some()
        {}
        Ok(())
    }
    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.wrong("null")
    }
    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        self.wrong("a boolean")
    }
    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        self.wrong("a number")
    }
    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        self.wrong("a number")
    }
    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        self.wrong("a number")
    }
    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        self.wrong("a text")
    }
}

/// One element of the array: an object; an array in the array is a wrong shape.
struct Element<'m, 'p>(Telemetry<'m, 'p>);

impl<'de> DeserializeSeed<'de> for Element<'_, '_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<(), D::Error> {
        d.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Element<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of telemetry")
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        record(map, self.0.message, self.0.profile)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element::<serde::de::IgnoredAny>()?.is_some() {}
        TopVisitor(self.0).wrong("an array in an array")
    }
    fn visit_unit<E: Error>(self) -> Result<(), E> {
        TopVisitor(self.0).wrong("null in an array")
    }
    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        TopVisitor(self.0).wrong("a boolean in an array")
    }
    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        TopVisitor(self.0).wrong("a number in an array")
    }
    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        TopVisitor(self.0).wrong("a number in an array")
    }
    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        TopVisitor(self.0).wrong("a number in an array")
    }
    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        TopVisitor(self.0).wrong("a text in an array")
    }
}

/// `{k:v}` or `{"ts":ms,"values":{k:v}}`. Which of the two it is shows only when an object stands
/// under `values`; `ts` may come before or after it.
fn record<'de, A: MapAccess<'de>>(
    mut map: A,
    message: &mut Message,
    profile: Option<&Profile>,
) -> Result<(), A::Error> {
    let first = message.samples.len();
    let mut stamp = None;
    let mut has_values = false;
    while let Some(Key(key)) = map.next_key()? {
        match &*key {
            "ts" => stamp = Some(map.next_value::<Scalar<'de>>()?),
            "values" => {
                let nested = map.next_value_seed(Values {
                    message: &mut *message,
                    profile,
                })?;
                match nested {
                    None => has_values = true,
                    Some(scalar) => sample(&key, &scalar, message, profile),
                }
            }
            _ => {
                let value: Scalar<'de> = map.next_value()?;
                sample(&key, &value, message, profile);
            }
        }
    }
    match stamp {
        Some(stamp) if has_values => match stamp.milliseconds() {
            Some(ms) => {
                for sample in &mut message.samples[first..] {
                    sample.measured_at = Some(Timestamp::from_ms(ms));
                }
            }
            None => {
                // Without its stamp nobody knows when these were measured; the receive time would be a lie.
                let n_lost = message.samples.drain(first..).count();
                message.refused.push(Refused::new(
                    Refusal::WrongShape,
                    format!("`ts` is not whole milliseconds since 1970, so {n_lost} values have no time"),
                ));
            }
        },
        Some(stamp) => sample("ts", &stamp, message, profile),
        None => {}
    }
    Ok(())
}

/// What stands under `values`: an object (read into the message, gives `None`) or one plain value.
struct Values<'m, 'p> {
    message: &'m mut Message,
    profile: Option<&'p Profile>,
}

impl<'de> DeserializeSeed<'de> for Values<'_, '_> {
    type Value = Option<Scalar<'de>>;
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Self::Value, D::Error> {
        d.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Values<'_, '_> {
    type Value = Option<Scalar<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of values")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while let Some(Key(key)) = map.next_key()? {
            let value: Scalar<'de> = map.next_value()?;
            sample(&key, &value, self.message, self.profile);
        }
        Ok(None)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<serde::de::IgnoredAny>()?.is_some() {}
        Ok(Some(Scalar::Nested))
    }
    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Some(Scalar::Null))
    }
    fn visit_bool<E: Error>(self, b: bool) -> Result<Self::Value, E> {
        Ok(Some(Scalar::Bool(b)))
    }
    fn visit_i64<E: Error>(self, n: i64) -> Result<Self::Value, E> {
        Ok(Some(Scalar::Int(n)))
    }
    fn visit_u64<E: Error>(self, n: u64) -> Result<Self::Value, E> {
        Ok(Some(Scalar::Large(n)))
    }
    fn visit_f64<E: Error>(self, n: f64) -> Result<Self::Value, E> {
        Ok(Some(Scalar::Float(n)))
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Some(Scalar::Text(text.to_owned().into())))
    }
}

fn sample(key: &str, value: &Scalar<'_>, message: &mut Message, profile: Option<&Profile>) {
    let Some((quantity, channel, scaling)) = resolve(key, profile) else {
        message.refused.push(Refused::new(
            Refusal::UnknownQuantity,
            format!(
                "`{}` is neither in the profile nor in the dictionary",
                quoted(key)
            ),
        ));
        return;
    };
    match number(key, value, quantity) {
        Ok(number) => message.samples.push(Sample {
            scaling,
            ..Sample::new(quantity, channel, number)
        }),
        Err(refused) => message.refused.push(refused),
    }
}

/// The number in a value; a text counts when it is a number as JSON would write it.
pub(crate) fn number(key: &str, value: &Scalar<'_>, quantity: Quantity) -> Result<f64, Refused> {
    let is_part = |b: u8| matches!(b, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
    if let Scalar::Text(text) = value
        && text.bytes().all(is_part)
        && let Ok(number) = text.parse::<f64>()
        && number.is_finite()
    {
        return Ok(number);
    }
    value.number(key, quantity)
}

#[cfg(test)]
mod tests {
    use onemap_model::ProfileId;

    use super::*;

    /// `quantity#channel=value@stamp` of each sample, then each refusal's label.
    fn read(payload: &str, profile: Option<&Profile>) -> String {
        let message = telemetry(payload.as_bytes(), profile);
        let mut lines: Vec<String> = message
            .samples
            .iter()
            .map(|s| {
                let number = s.value.number().expect("numbers only");
                let at = s.measured_at.map_or(String::new(), |t| format!("@{}", t.ms()));
                format!("{}#{}={number}{at}", s.quantity, s.channel)
            })
            .collect();
        lines.extend(message.refused.iter().map(|r| r.refusal.label().to_owned()));
        lines.join(" ")
    }

    #[test]
    fn every_shape_is_read() {
        for (payload, want) in [
            (
                r#"{"temperature":21.5,"switch":true}"#,
                "temperature#0=21.5 switch#0=1",
            ),
            (
                r#"{"temperature":true,"switch":false}"#,
                "switch#0=0 not_a_number",
            ),
            (
                r#"[{"temperature":1},{"humidity":2}]"#,
                "temperature#0=1 humidity#0=2",
            ),
            (
                r#"{"ts":1763856000000,"values":{"temperature":-3}}"#,
                "temperature#0=-3@1763856000000",
            ),
            (
                r#"{"values":{"temperature":-3},"ts":1763856000000}"#,
                "temperature#0=-3@1763856000000",
            ),
            (r#"{"values":{"temperature":-3}}"#, "temperature#0=-3"),
            (
                r#"[{"ts":1,"values":{"temperature":4}},{"ts":2.0,"values":{"temperature":5}}]"#,
                "temperature#0=4@1 temperature#0=5@2",
            ),
            (r#"{"temperature#3":7}"#, "temperature#3=7"),
            (r#"{"temperature":1e-3}"#, "temperature#0=0.001"),
            ("{\"\\u0074emperature\":8}", "temperature#0=8"),
            ("{}", ""),
            ("[]", ""),
        ] {
            assert_eq!(read(payload, None), want, "{payload}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_and_the_rest_is_kept() {
        for (payload, want) in [
            (
                r#"{"temperature":21.5,"humidity":"NaN"}"#,
                "temperature#0=21.5 not_a_number",
            ),
            (r#"{"temperature":"21.5 C","ph":"-7e0"}"#, "ph#0=-7 not_a_number"),
            (r#"{"temperature":"1e999","ph":""}"#, "not_a_number not_a_number"),
            (r#"{"temperature":null}"#, "not_a_number"),
            (r#"{"temperature":"Infinity","ph":7}"#, "ph#0=7 not_a_number"),
            (r#"{"temperature":{"v":1},"ph":7}"#, "ph#0=7 wrong_shape"),
            (r#"{"temperature":[1,[2,{"a":[]}]],"ph":7}"#, "ph#0=7 wrong_shape"),
            (r#"{"colour":1,"ph":7}"#, "ph#0=7 unknown_quantity"),
            (
                r#"{"temperature#x":1,"temperature#70000":2}"#,
                "unknown_quantity unknown_quantity",
            ),
            (r#"{"ts":"soon","values":{"ph":7}}"#, "wrong_shape"),
            (r#"[{"ph":7},{"ts":1.5,"values":{"ph":7}}]"#, "ph#0=7 wrong_shape"),
            (r#"{"ts":5,"ph":7}"#, "ph#0=7 unknown_quantity"),
            (r#"{"values":3,"ph":7}"#, "ph#0=7 unknown_quantity"),
            (
                r#"[{"ph":7},3,[{"ph":8}],null]"#,
                "ph#0=7 wrong_shape wrong_shape wrong_shape",
            ),
            (r#""text""#, "wrong_shape"),
            ("17", "wrong_shape"),
            ("null", "wrong_shape"),
        ] {
            assert_eq!(read(payload, None), want, "{payload}");
        }
    }

    #[test]
    fn what_is_not_json_gives_nothing() {
        let deep = "[".repeat(10_000);
        for payload in [
            "",
            " ",
            "{",
            r#"{"ph":7"#,
            r#"{"ph":NaN}"#,
            r#"{"ph":-Infinity}"#,
            r#"{"ph":7}x"#,
            r#"[{"ph":7},{"ph":]"#,
            "\u{0}\u{1}",
            "ph=7",
            deep.as_str(),
        ] {
            assert_eq!(read(payload, None), "broken_json", "{payload:.20}");
        }
        assert_eq!(
            telemetry(b"{\"ph\xff\":7}", None).refused[0].refusal,
            Refusal::BrokenJson
        );
    }

    #[test]
    fn profile_keys_come_before_the_dictionary() {
        let id = ProfileId::new("p").expect("a name");
        let profile = Profile::parse(
            &id,
            "version: 1\nname: {zh: 甲, en: A}\nprotocol: thingsboard\nkeys:\n  T: {quantity: temperature, unit: degF, channel: 2}\n  ph: {quantity: soil_ph}\n",
        )
        .expect("a sound profile");
        assert_eq!(
            read(r#"{"T":212,"ph":6,"humidity":40}"#, Some(&profile)),
            "temperature#2=212 soil_ph#0=6 humidity#0=40"
        );
        let message = telemetry(br#"{"T":212}"#, Some(&profile));
        let sample = &message.samples[0];
        let canonical = sample.scaling.apply(sample.quantity, 212.0).map(f64::round);
        assert_eq!(canonical, Some(100.0));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            telemetry(&bytes, None);
        }
        #[test]
        fn numbers_come_out_as_they_went_in(number: f64, ts in 0i64..4_000_000_000_000) {
            proptest::prop_assume!(number.is_finite());
            let payload = serde_json::json!({"ts": ts, "values": {"counter": number}}).to_string();
            let message = telemetry(payload.as_bytes(), None);
            proptest::prop_assert_eq!(message.samples[0].value.number(), Some(number));
            proptest::prop_assert_eq!(message.samples[0].measured_at, Some(Timestamp::from_ms(ts)));
        }
    }
}

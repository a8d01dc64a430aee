//! Telemetry of profiles with paths or an own stamp. It is read whole, because a path may begin anywhere;
//! profiles of plain keys never come here.

use std::collections::HashSet;

use onemap_model::{Quantity, Refusal, Timestamp};
use serde_json::Value;

use super::path::Met;
use super::{Mapping, Profile};
use crate::message::quoted;
use crate::scalar::Scalar;
use crate::thingsboard::number;
use crate::{Message, Refused, Sample, Scaling};

/// Paths and keys that a detail names.
const N_NAMED: usize = 8;

impl Profile {
    /// Whether its payloads are read whole: it has paths or an own stamp.
    pub fn is_nested(&self) -> bool {
        !self.paths.is_empty() || self.timestamp.is_some()
    }

    /// Reads a whole payload: one record, an array of records, or of ThingsBoard's `{"ts":ms,"values":{…}}`.
    pub fn read(&self, payload: &Value) -> Message {
        let mut message = Message::default();
        match payload {
            // A path like `$[0].v` takes the array itself as one record.
            Value::Array(records) if !self.takes_arrays() => {
                if records.is_empty() {
                    let text = "telemetry is an array without a record";
                    message.refused.push(Refused::new(Refusal::WrongShape, text));
                }
                for record in records {
                    self.read_framed(record, &mut message);
                }
            }
            record => self.read_framed(record, &mut message),
        }
        message
    }

    fn takes_arrays(&self) -> bool {
        self.paths.iter().any(|p| p.path.root().is_none())
    }

    fn read_framed(&self, record: &Value, message: &mut Message) {
        if let (Some(ts), Some(values @ Value::Object(_))) = (record.get("ts"), record.get("values")) {
            match ts
                .as_i64()
                .or_else(|| ts.as_f64().filter(|n| n.fract() == 0.0).map(|n| n as i64))
            {
                Some(ms) => self.read_record(values, Some(Timestamp::from_ms(ms)), message),
                None => message.refused.push(Refused::new(
                    Refusal::WrongShape,
                    "`ts` is not whole milliseconds since 1970, so these values have no time",
                )),
            }
            return;
        }
        match record.get("values") {
            Some(values @ Value::Object(_)) if !self.has_root("values") => {
                self.read_record(values, None, message);
            }
            _ => self.read_record(record, None, message),
        }
    }

    /// Reads one record: the profile's plain keys, its paths, and dictionary names. `stamp` is what stood
    /// around the record; without it the record's own counts, and without that the time of receipt.
    ///
    /// Members that a path or the stamp begins in, and those under `ignore`, are not asked for a meaning.
    /// Any other is refused by name, and the rest is kept. A path that is not there is normal, one that
    /// meets another shape is refused, and so is a record in which nothing at all has a meaning, unless the
    /// profile ignores every member of it.
    pub fn read_record(&self, record: &Value, stamp: Option<Timestamp>, message: &mut Message) {
        if !matches!(record, Value::Object(_) | Value::Array(_)) {
            let text = "telemetry is an object or an array of objects";
            message.refused.push(Refused::new(Refusal::WrongShape, text));
            return;
        }
        if let (None, Some(own)) = (stamp, &self.timestamp)
            && let Some(blocked) = own.path.blocked(record)
        {
            let detail = format!("{}, so these values have no time", own.path.way(&blocked));
            message.refused.push(Refused::new(Refusal::WrongShape, detail));
            return;
        }
        let said_before = message.samples.len() + message.refused.len();
        let own = self
            .timestamp
            .as_ref()
            .and_then(|own| Some((own, own.path.first(record)?)));
        let measured_at = match (stamp, own) {
            (Some(stamp), _) => Some(stamp),
            (None, None) => None,
            (None, Some((own, value))) => match own.read(value) {
                Some(stamp) => Some(stamp),
                None => {
                    // Without its stamp nobody knows when this was measured; the receive time would be a lie.
                    let detail = format!(
                        "`{}` at `{}` is not the stamp that the profile describes, so these values have no time",
                        quoted(&value.to_string()),
                        own.path
                    );
                    message.refused.push(Refused::new(Refusal::WrongShape, detail));
                    return;
                }
            },
        };
        for (key, value) in record.as_object().into_iter().flatten() {
            if let Some(mapping) = self.keys.get(key) {
                take(key, value, mapping, 0, measured_at, message);
            } else if self.has_root(key) || self.ignore.contains(key) {
            } else if let Some(mapping) = named(key) {
                take(key, value, &mapping, 0, measured_at, message);
            } else {
                let detail = format!(
                    "`{}` is neither in the profile nor in the dictionary",
                    quoted(key)
                );
                message
                    .refused
                    .push(Refused::new(Refusal::UnknownQuantity, detail));
            }
        }
        for found in &self.paths {
            let key = found.path.as_str();
            found.path.meet(record, &mut |met| match met {
                Met::Value(index, value) => take(key, value, &found.mapping, index, measured_at, message),
                Met::Blocked(blocked) => message
                    .refused
                    .push(Refused::new(Refusal::WrongShape, found.path.way(&blocked))),
            });
        }
        if message.samples.len() + message.refused.len() == said_before && !self.ignores_all(record) {
            let detail = format!("nothing that the profile maps is in it: {}", self.mapped());
            message.refused.push(Refused::new(Refusal::WrongShape, detail));
        }
    }

    /// Whether a record has members, and the profile says of each that it holds no reading.
    fn ignores_all(&self, record: &Value) -> bool {
        let mut members = record.as_object().into_iter().flatten().peekable();
        members.peek().is_some() && members.all(|(key, _)| self.ignore.contains(key))
    }

    /// The first paths and keys that have a meaning, for a detail.
    fn mapped(&self) -> String {
        let mut keys: Vec<&str> = self.keys.keys().map(String::as_str).collect();
        keys.sort_unstable();
        let mut names: Vec<&str> = self.paths.iter().map(|p| p.path.as_str()).chain(keys).collect();
        let mut seen = HashSet::new();
        names.retain(|name| seen.insert(*name));
        let more = names.len().saturating_sub(N_NAMED);
        names.truncate(N_NAMED);
        let mut named: Vec<String> = names.iter().map(|name| format!("`{}`", quoted(name))).collect();
        if more > 0 {
            named.push(format!("{more} more"));
        }
        named.join(", ")
    }

    fn has_root(&self, key: &str) -> bool {
        let stamp = self.timestamp.as_ref().map(|own| &own.path);
        let mut paths = self.paths.iter().map(|p| &p.path).chain(stamp);
        paths.any(|path| path.root() == Some(key))
    }
}

/// A dictionary name with an optional channel: `temperature`, `temperature#2`.
fn named(key: &str) -> Option<Mapping> {
    let (quantity, channel) = match Quantity::named(key) {
        Some(quantity) => (quantity, 0),
        None => {
            let (name, channel) = key.rsplit_once('#')?;
            (Quantity::named(name)?, channel.parse().ok()?)
        }
    };
    Some(Mapping {
        quantity,
        channel,
        scaling: Scaling::NONE,
        cadence: None,
        limits: super::Limits::default(),
    })
}

fn take(
    key: &str,
    value: &Value,
    mapping: &Mapping,
    index: usize,
    measured_at: Option<Timestamp>,
    message: &mut Message,
) {
    let Some(channel) = u16::try_from(index)
        .ok()
        .and_then(|i| mapping.channel.checked_add(i))
    else {
        let detail = format!("`{}` has an element {index}, channels end at 65535", quoted(key));
        message.refused.push(Refused::new(Refusal::WrongShape, detail));
        return;
    };
    let scalar = match value {
        Value::Null => Scalar::Null,
        Value::Bool(b) => Scalar::Bool(*b),
        Value::Number(n) => match (n.as_i64(), n.as_f64()) {
            (Some(whole), _) => Scalar::Int(whole),
            (None, number) => Scalar::Float(number.unwrap_or(f64::NAN)),
        },
        Value::String(text) => Scalar::Text(text.as_str().into()),
        Value::Object(_) | Value::Array(_) => Scalar::Nested,
    };
    match number(key, &scalar, mapping.quantity) {
        Ok(number) => message.samples.push(Sample {
            measured_at,
            scaling: mapping.scaling,
            ..Sample::new(mapping.quantity, channel, number)
        }),
        Err(refused) => message.refused.push(refused),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use onemap_model::ProfileId;

    const PROFILE: &str = "version: 1\nname: {zh: 甲, en: A}\nprotocol: http\nignore: [imei]\ntimestamp: {path: $.head.time, format: s}\nkeys:\n  T: {quantity: temperature, unit: degF}\n  $.data.pm[*].v: {quantity: pm2_5, channel: 1, scale: 0.1}\n  data.hum: {quantity: humidity}\n";

    fn read(text: &str, payload: &str) -> String {
        let profile = Profile::parse(&ProfileId::new("p").unwrap(), text).unwrap();
        assert!(profile.is_nested());
        let message = profile.read(&serde_json::from_str(payload).unwrap());
        let mut lines: Vec<String> = message
            .samples
            .iter()
            .map(|s| {
                let at = s.measured_at.map_or(String::new(), |t| format!("@{}", t.ms()));
                format!("{}#{}={}{at}", s.quantity, s.channel, s.value.number().unwrap())
            })
            .collect();
        lines.extend(message.refused.iter().map(|r| r.refusal.label().to_owned()));
        lines.join(" ")
    }

    #[test]
    fn nested_values_are_found_and_stamped() {
        for (payload, want) in [
            (
                r#"{"imei":"86","head":{"time":5},"data":{"hum":40,"pm":[{"v":1},{"w":2},{"v":3}],"other":9}}"#,
                "pm2_5#1=1@5000 pm2_5#3=3@5000 humidity#0=40@5000",
            ),
            (r#"{"T":32,"data":{"hum":40}}"#, "temperature#0=32 humidity#0=40"),
            (
                r#"{"ts":7,"values":{"T":32,"head":{"time":5}}}"#,
                "temperature#0=32@7",
            ),
            (
                r#"[{"head":{"time":1},"ph":7},{"head":{"time":2},"ph":8}]"#,
                "ph#0=7@1000 ph#0=8@2000",
            ),
            (r#"{"data.hum":41}"#, "humidity#0=41"),
            (r#"{"temperature#4":"1.5"}"#, "temperature#4=1.5"),
            (r#"{"head":{"time":"soon"},"T":1}"#, "wrong_shape"),
            (
                r#"{"T":1,"colour":2,"data":{"hum":"wet","pm":[{"v":null},{"v":[1]},{"v":true}]}}"#,
                "temperature#0=1 unknown_quantity not_a_number wrong_shape not_a_number not_a_number",
            ),
            (r#"{"ts":1.5,"values":{"T":1}}"#, "wrong_shape"),
            ("3", "wrong_shape"),
            ("[3,{}]", "wrong_shape wrong_shape"),
            ("{}", "wrong_shape"),
            ("[]", "wrong_shape"),
            // A member that the profile ignores is no reading, and no fault.
            (r#"{"imei":"86"}"#, ""),
            (r#"{"imei":"86","data":{"other":9}}"#, "wrong_shape"),
            (r#"{"head":{"time":5},"data":{}}"#, "wrong_shape"),
            (
                r#"{"T":32,"data":"none"}"#,
                "temperature#0=32 wrong_shape wrong_shape",
            ),
            (
                r#"{"data":{"hum":40,"pm":[7,{"v":1}]}}"#,
                "pm2_5#2=1 humidity#0=40 wrong_shape",
            ),
            (r#"{"data":{"hum":40,"pm":{"v":1}}}"#, "humidity#0=40 wrong_shape"),
            (r#"{"data":{"hum":40,"pm":[]}}"#, "humidity#0=40"),
            (r#"{"head":5,"T":32}"#, "wrong_shape"),
            (
                r#"[{"T":32},{"head":{"time":5}}]"#,
                "temperature#0=32 wrong_shape",
            ),
        ] {
            assert_eq!(read(PROFILE, payload), want, "{payload}");
        }
        let list =
            "version: 1\nname: {zh: 甲, en: A}\nprotocol: thingsboard\nkeys:\n  '$[1].v': {quantity: ph}\n";
        assert_eq!(read(list, r#"[{"v":1},{"v":2}]"#), "ph#0=2");
    }

    #[test]
    fn a_path_that_meets_another_shape_is_named_with_its_place() {
        let profile = Profile::parse(&ProfileId::new("p").unwrap(), PROFILE).unwrap();
        let details = |payload: &str| {
            let message = profile.read(&serde_json::from_str(payload).unwrap());
            let details: Vec<String> = message.refused.into_iter().map(|r| r.detail).collect();
            details.join("; ")
        };
        for (payload, want) in [
            (
                r#"{"T":1,"data":{"pm":[{"v":1},"x"]}}"#,
                "path `$.data.pm[*].v` meets the text `x` at `$.data.pm[1]`, where an object is needed",
            ),
            (
                r#"{"T":1,"data":{"pm":null}}"#,
                "path `$.data.pm[*].v` meets null at `$.data.pm`, where an array is needed",
            ),
            (
                r#"{"T":1,"head":[1]}"#,
                "path `$.head.time` meets an array at `$.head`, where an object is needed, so these values have no time",
            ),
            (
                r#"{"data":{"hum":{"v":1}}}"#,
                "`data.hum` is an object or array, not one value",
            ),
            (
                r#"{"data":{"hum":"wet"}}"#,
                "`data.hum` is the text `wet`, not a number",
            ),
            (
                r#"{"data":{}}"#,
                "nothing that the profile maps is in it: `$.data.pm[*].v`, `data.hum`, `T`",
            ),
        ] {
            assert_eq!(details(payload), want, "{payload}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_json_is_read_without_panic(text in r#"[\[\]{}":,a-z0-9. headtimpvus]{0,60}"#) {
            if let Ok(value) = serde_json::from_str::<Value>(&text) {
                let profile = Profile::parse(&ProfileId::new("p").unwrap(), PROFILE).unwrap();
                profile.read(&value);
            }
        }
    }
}

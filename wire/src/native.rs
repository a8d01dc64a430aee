//! onemap's own readings: `[{"q","ch","t","v","s","r"}]` or `{"epoch":E,"readings":[…]}`, in JSON or in
//! [CBOR](cbor).
//!
//! `q` is a dictionary name, `ch` the channel (0), `t` milliseconds or RFC 3339 (optional), `v` the
//! value in the canonical unit, `s` the sender's spool number, `r` true when it was sent before.
//! Fields that are not named here are read over, so that newer gateways can talk to older servers.
//! The same file writes what it reads: gateways use [`encode`], the server answers with a [`Receipt`].

pub mod cbor;

use std::fmt;
use std::io::Write as _;

use onemap_model::{Quantity, Refusal, Timestamp, Value};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::message::quoted;
use crate::scalar::{Key, Scalar};
use crate::{Message, Refused, Sample};

/// Reads a payload of native readings, JSON or (by its first byte) CBOR.
pub fn decode(payload: &[u8]) -> Message {
    if crate::cbor::is_cbor(payload) {
        return cbor::decode(payload);
    }
    let mut message = Message::default();
    let mut json = serde_json::Deserializer::from_slice(payload);
    let read = Payload(&mut message)
        .deserialize(&mut json)
        .and_then(|()| json.end());
    match read {
        Ok(()) => message,
        Err(error) => Message::refused(Refusal::BrokenJson, error.to_string()),
    }
}

/// Appends `{"epoch":E,"readings":[…]}` to `out`, or without an epoch just the array. Values are
/// written in the canonical unit ([`Sample::scaling`] is applied); what is not a finite number is
/// written as `null`, which the receiver refuses by name.
pub fn encode<'a>(epoch: Option<u64>, samples: impl IntoIterator<Item = &'a Sample>, out: &mut Vec<u8>) {
    if let Some(epoch) = epoch {
        write(out, format_args!("{{\"epoch\":{epoch},\"readings\":"));
    }
    out.push(b'[');
    for (i, sample) in samples.into_iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        encode_one(sample, out);
    }
    out.push(b']');
    if epoch.is_some() {
        out.push(b'}');
    }
}

fn encode_one(sample: &Sample, out: &mut Vec<u8>) {
    write(out, format_args!("{{\"q\":\"{}\"", sample.quantity));
    if sample.channel != 0 {
        write(out, format_args!(",\"ch\":{}", sample.channel));
    }
    if let Some(at) = sample.measured_at {
        write(out, format_args!(",\"t\":{}", at.ms()));
    }
    out.extend_from_slice(b",\"v\":");
    match &sample.value {
        Value::Number(raw) => match sample.scaling.apply(sample.quantity, *raw) {
            // serde_json writes the shortest text that reads back as the same number.
            Some(number) => serde_json::to_writer(&mut *out, &number).expect("a Vec takes every byte"),
            None => out.extend_from_slice(b"null"),
        },
        Value::Text(text) => serde_json::to_writer(&mut *out, &**text).expect("a Vec takes every byte"),
    }
    if let Some(seq) = sample.seq {
        write(out, format_args!(",\"s\":{seq}"));
    }
    if sample.resent {
        out.extend_from_slice(b",\"r\":true");
    }
    out.push(b'}');
}

fn write(out: &mut Vec<u8>, text: fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a Vec takes every byte");
}

/// What the server has stored of one spool: `{"epoch":E,"ranges":[[first,last],…]}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The spool.
    pub epoch: u64,
    /// Spool numbers, both ends inside.
    pub ranges: Vec<(u64, u64)>,
}

impl Receipt {
    /// A receipt for these numbers, in any order, with repeats.
    ///
    /// ```
    /// # use onemap_wire::native::Receipt;
    /// assert_eq!(Receipt::of(9, &[5, 3, 4, 4, 8]).ranges, [(3, 5), (8, 8)]);
    /// ```
    pub fn of(epoch: u64, seqs: &[u64]) -> Self {
        let mut seqs = seqs.to_vec();
        seqs.sort_unstable();
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        for seq in seqs {
            match ranges.last_mut() {
                Some((_, last)) if seq <= last.saturating_add(1) => *last = seq,
                _ => ranges.push((seq, seq)),
            }
        }
        Self { epoch, ranges }
    }
    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("numbers are always JSON")
    }
    /// Reads what [`Receipt::encode`] wrote.
    ///
    /// # Errors
    /// When it is not JSON of that shape.
    pub fn decode(payload: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(payload)
    }
}

struct Payload<'m>(&'m mut Message);

impl<'de> DeserializeSeed<'de> for Payload<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<(), D::Error> {
        d.deserialize_any(self)
    }
}

macro_rules! wrong_shapes {
    ($what:literal) => {
        fn visit_unit<E: Error>(self) -> Result<(), E> {
            self.wrong($what)
        }
        fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
            self.wrong($what)
        }
        fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
            self.wrong($what)
        }
        fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
            self.wrong($what)
        }
        fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
            self.wrong($what)
        }
        fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
            self.wrong($what)
        }
    };
}

impl Payload<'_> {
    fn wrong<E>(self, what: &str) -> Result<(), E> {
        self.0.refused.push(Refused::new(Refusal::WrongShape, what));
        Ok(())
    }
}

impl<'de> Visitor<'de> for Payload<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("native readings")
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let mut row = 0;
        loop {
            let before = self.0.refused.len();
            if seq.next_element_seed(One(&mut *self.0))?.is_none() {
                return Ok(());
            }
            of_row(self.0, before, row);
            row += 1;
        }
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut has_readings = false;
        while let Some(Key(key)) = map.next_key()? {
            match &*key {
                "epoch" => match map.next_value::<Scalar<'de>>()? {
                    Scalar::Null => {}
                    epoch => match epoch.whole() {
                        Some(epoch) => self.0.epoch = Some(epoch),
                        None => self.0.refused.push(Refused::new(
                            Refusal::WrongShape,
                            "`epoch` is not a whole number; no receipt can be given",
                        )),
                    },
                },
                "readings" => {
                    has_readings = true;
                    map.next_value_seed(Readings(&mut *self.0))?;
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        if !has_readings {
            return self.wrong("the object has no `readings`");
        }
        Ok(())
    }
    wrong_shapes!("readings are an array, or an object with `readings`");
}

/// Says of what was refused since there were `before` refusals, which row it is about.
fn of_row(message: &mut Message, before: usize, row: u32) {
    for refused in &mut message.refused[before..] {
        refused.row = Some(row);
    }
}

/// The array under `readings`.
struct Readings<'m>(&'m mut Message);

impl Readings<'_> {
    fn wrong<E>(self, what: &str) -> Result<(), E> {
        Payload(self.0).wrong(what)
    }
}

impl<'de> DeserializeSeed<'de> for Readings<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<(), D::Error> {
        d.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Readings<'_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of readings")
    }
    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<(), A::Error> {
        Payload(self.0).visit_seq(seq)
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        self.wrong("`readings` is an object, not an array")
    }
    wrong_shapes!("`readings` is not an array");
}

/// One reading.
struct One<'m>(&'m mut Message);

impl One<'_> {
    fn wrong<E>(self, what: &str) -> Result<(), E> {
        Payload(self.0).wrong(what)
    }
}

impl<'de> DeserializeSeed<'de> for One<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<(), D::Error> {
        d.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for One<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a reading")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut fields = Fields::default();
        while let Some(Key(key)) = map.next_key()? {
            match fields.named(&key) {
                Some(field) => *field = Some(map.next_value()?),
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        fields.push(self.0);
        Ok(())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        self.wrong("a reading is an object, this is an array")
    }
    wrong_shapes!("a reading is an object");
}

/// The fields of one reading as they stand.
#[derive(Default)]
struct Fields<'a> {
    q: Option<Scalar<'a>>,
    ch: Option<Scalar<'a>>,
    t: Option<Scalar<'a>>,
    v: Option<Scalar<'a>>,
    s: Option<Scalar<'a>>,
    r: Option<Scalar<'a>>,
}

impl<'a> Fields<'a> {
    fn named(&mut self, name: &str) -> Option<&mut Option<Scalar<'a>>> {
        Some(match name {
            "q" => &mut self.q,
            "ch" => &mut self.ch,
            "t" => &mut self.t,
            "v" => &mut self.v,
            "s" => &mut self.s,
            "r" => &mut self.r,
            _ => return None,
        })
    }

    fn push(&self, message: &mut Message) {
        // The number counts as seen even when the reading is refused: its bytes are in the journal.
        let seq = self.s.as_ref().and_then(Scalar::whole);
        if let Some(seq) = seq
            && message.seqs.last() != Some(&seq)
        {
            message.seqs.push(seq);
        }
        match self.sample(seq) {
            Ok(sample) => message.samples.push(sample),
            Err(refused) => message.refused.push(refused),
        }
    }

    fn sample(&self, seq: Option<u64>) -> Result<Sample, Refused> {
        let wrong = |detail: &str| Refused::new(Refusal::WrongShape, detail);
        let name = match &self.q {
            Some(Scalar::Text(name)) => name,
            _ => return Err(wrong("a reading has its quantity's name under `q`")),
        };
        let quantity = Quantity::named(name).ok_or_else(|| {
            Refused::new(
                Refusal::UnknownQuantity,
                format!("`{}` is not in the dictionary", quoted(name)),
            )
        })?;
        let channel = match &self.ch {
            None | Some(Scalar::Null) => 0,
            Some(ch) => ch
                .whole()
                .and_then(|ch| u16::try_from(ch).ok())
                .ok_or_else(|| wrong("`ch` is not a channel from 0 to 65535"))?,
        };
        let measured_at = match &self.t {
            None | Some(Scalar::Null) => None,
            Some(Scalar::Text(text)) => {
                let at = Timestamp::parse(text).map_err(|error| wrong(&format!("`t`: {error}")))?;
                Some(at)
            }
            Some(t) => {
                let ms = t
                    .milliseconds()
                    .ok_or_else(|| wrong("`t` is neither milliseconds nor RFC 3339"))?;
                Some(Timestamp::from_ms(ms))
            }
        };
        let resent = match &self.r {
            None | Some(Scalar::Null) => false,
            Some(Scalar::Bool(resent)) => *resent,
            Some(_) => return Err(wrong("`r` is true or false")),
        };
        let number = self
            .v
            .as_ref()
            .ok_or_else(|| wrong("a reading has its value under `v`"))?
            .number("v", quantity)?;
        Ok(Sample {
            measured_at,
            resent,
            seq,
            ..Sample::new(quantity, channel, number)
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn labels(message: &Message) -> Vec<&'static str> {
        message.refused.iter().map(|r| r.refusal.label()).collect()
    }

    #[test]
    fn both_shapes_are_read() {
        let message = decode(br#"[{"q":"water_level","ch":3,"t":1763856000000,"v":1.23,"s":7,"r":true}]"#);
        let sample = &message.samples[0];
        assert_eq!(sample.quantity.name(), "water_level");
        assert_eq!((sample.channel, sample.seq, sample.resent), (3, Some(7), true));
        assert_eq!(sample.measured_at, Some(Timestamp::from_ms(1_763_856_000_000)));
        assert_eq!((message.epoch, message.seqs), (None, vec![7]));

        let message = decode(
            br#"{"device":"d","epoch":18446744073709551615,"readings":[{"q":"ph","t":"2025-11-23T08:00:00+08:00","v":7}]}"#,
        );
        assert_eq!(message.epoch, Some(u64::MAX));
        assert_eq!(
            message.samples[0].measured_at,
            Some(Timestamp::from_ms(1_763_856_000_000))
        );
        assert!(message.refused.is_empty());
    }

    #[test]
    fn a_refused_reading_is_still_in_the_receipt() {
        let message = decode(
            br#"{"epoch":5,"readings":[{"q":"ph","v":7,"s":1},{"q":"colour","v":7,"s":2},{"q":"ph","v":null,"s":3},{"q":"ph","v":7,"s":3}]}"#,
        );
        assert_eq!(message.seqs, [1, 2, 3]);
        assert_eq!(message.samples.len(), 2);
        assert_eq!(labels(&message), ["unknown_quantity", "not_a_number"]);
        assert_eq!(
            Receipt::of(5, &message.seqs).encode(),
            br#"{"epoch":5,"ranges":[[1,3]]}"#
        );
    }

    #[test]
    fn wrong_readings_are_named_one_by_one() {
        for (payload, want) in [
            (r#"[{"v":1}]"#, "wrong_shape"),
            (r#"[{"q":1,"v":1}]"#, "wrong_shape"),
            (r#"[{"q":"ph"}]"#, "wrong_shape"),
            (r#"[{"q":"ph","v":"7"}]"#, "not_a_number"),
            (r#"[{"q":"ph","v":true}]"#, "not_a_number"),
            (r#"[{"q":"ph","v":[7]}]"#, "wrong_shape"),
            (r#"[{"q":"ph","v":7,"ch":-1}]"#, "wrong_shape"),
            (r#"[{"q":"ph","v":7,"ch":65536}]"#, "wrong_shape"),
            (r#"[{"q":"ph","v":7,"t":"yesterday"}]"#, "wrong_shape"),
            (r#"[{"q":"ph","v":7,"t":1.5}]"#, "wrong_shape"),
            (r#"[{"q":"ph","v":7,"r":1}]"#, "wrong_shape"),
            ("[7]", "wrong_shape"),
            ("[[]]", "wrong_shape"),
            (r#"{"readings":{"q":"ph"}}"#, "wrong_shape"),
            (r#"{"readings":7}"#, "wrong_shape"),
            (r#"{"epoch":-1,"readings":[]}"#, "wrong_shape"),
            ("{}", "wrong_shape"),
            ("7", "wrong_shape"),
            ("", "broken_json"),
            (r#"[{"q":"ph","v":7}"#, "broken_json"),
            (r#"[{"q":"ph","v":NaN}]"#, "broken_json"),
        ] {
            let message = decode(payload.as_bytes());
            assert_eq!(labels(&message), [want], "{payload}");
            assert!(message.samples.is_empty(), "{payload}");
        }
    }

    #[test]
    fn what_is_refused_says_its_row() {
        let json = br#"[{"q":"ph","v":7},{"q":"ph"},7,{"q":"ph","v":7},{"q":"colour","v":7}]"#;
        let rows = |message: Message| -> Vec<_> { message.refused.iter().map(|r| r.row).collect() };
        assert_eq!(rows(decode(json)), [Some(1), Some(2), Some(4)]);
        // [7, {"q":"ph","v":7}, {}]
        let cbor = b"\x83\x07\xa2\x61q\x62ph\x61v\x07\xa0";
        assert_eq!(rows(decode(cbor)), [Some(0), Some(2)]);
        assert_eq!(rows(decode(b"{}")), [None]);
    }

    #[test]
    fn a_value_without_number_is_refused_at_the_other_end() {
        let mut sample = Sample::new(Quantity::named("ph").unwrap(), 0, f64::NAN);
        sample.seq = Some(4);
        let mut payload = Vec::new();
        encode(Some(1), [&sample], &mut payload);
        let message = decode(&payload);
        assert_eq!((labels(&message), message.seqs), (vec!["not_a_number"], vec![4]));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            decode(&bytes);
        }
        #[test]
        fn what_is_written_is_read(
            epoch: Option<u64>,
            rows in proptest::collection::vec((0usize..40, 0u16..5, 0i64..4_000_000_000_000, -1e9f64..1e9, proptest::option::of(0u64..9), proptest::bool::ANY), 0..20),
        ) {
            let samples: Vec<Sample> = rows
                .iter()
                .map(|&(q, channel, ms, number, seq, resent)| Sample {
                    measured_at: Some(Timestamp::from_ms(ms)),
                    seq,
                    resent,
                    ..Sample::new(Quantity::all().nth(q).unwrap(), channel, number)
                })
                .collect();
            let mut payload = Vec::new();
            encode(epoch, &samples, &mut payload);
            let message = decode(&payload);
            proptest::prop_assert_eq!(&message.samples, &samples);
            proptest::prop_assert_eq!(message.epoch, epoch);
            proptest::prop_assert!(message.refused.is_empty());
        }
    }
}

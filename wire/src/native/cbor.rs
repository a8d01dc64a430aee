//! The native readings in CBOR: the same fields under the same names.

use std::borrow::Cow;

use onemap_model::{Refusal, Value};

use super::{Fields, Receipt, of_row};
use crate::cbor::{Broken, Item, Left, Reader, Writer};
use crate::scalar::Scalar;
use crate::{Message, Refused, Sample};

/// Reads a payload of native readings in CBOR. Half of something broken is not evidence of anything:
/// then the message holds only the refusal, with the byte offset.
pub(super) fn decode(payload: &[u8]) -> Message {
    let mut message = Message {
        is_cbor: true,
        ..Message::default()
    };
    let mut reader = Reader::new(payload);
    match read(&mut reader, &mut message).and_then(|()| reader.end()) {
        Ok(()) => message,
        Err(broken) => Message::refused(Refusal::BrokenCbor, broken.to_string()),
    }
}

/// The device that a posted payload names under `device`, and how many readings it holds.
///
/// # Errors
/// When it is not CBOR.
pub fn posted(payload: &[u8]) -> Result<(Option<String>, usize), Broken> {
    let mut reader = Reader::new(payload);
    let (mut device, mut n_readings) = (None, 0);
    let top = reader.item()?;
    let Item::Map(mut left) = top else {
        reader.skip(&top, 0)?;
        reader.end()?;
        return Ok((None, 0));
    };
    while reader.more(&mut left) {
        let key = key(&mut reader)?;
        let item = reader.item()?;
        match (&*key, &item) {
            ("device", Item::Text(text)) => device = Some(text.clone().into_owned()),
            ("readings", Item::Array(left)) => {
                let mut left = *left;
                while reader.more(&mut left) {
                    let reading = reader.item()?;
                    reader.skip(&reading, 2)?;
                    n_readings += 1;
                }
            }
            _ => reader.skip(&item, 1)?,
        }
    }
    reader.end()?;
    Ok((device, n_readings))
}

/// Appends what [`super::encode`] says, in CBOR.
pub fn encode(epoch: Option<u64>, samples: &[&Sample], out: &mut Vec<u8>) {
    let mut writer = Writer(out);
    if let Some(epoch) = epoch {
        writer.map(2);
        writer.text("epoch");
        writer.whole(epoch);
        writer.text("readings");
    }
    writer.array(samples.len() as u64);
    for sample in samples {
        encode_one(&mut writer, sample);
    }
}

fn encode_one(writer: &mut Writer<'_>, sample: &Sample) {
    let n_fields = 2
        + u64::from(sample.channel != 0)
        + u64::from(sample.measured_at.is_some())
        + u64::from(sample.seq.is_some())
        + u64::from(sample.resent);
    writer.map(n_fields);
    writer.text("q");
    writer.text(sample.quantity.name());
    if sample.channel != 0 {
        writer.text("ch");
        writer.whole(u64::from(sample.channel));
    }
    if let Some(at) = sample.measured_at {
        writer.text("t");
        writer.int(at.ms());
    }
    writer.text("v");
    match &sample.value {
        Value::Number(raw) => match sample.scaling.apply(sample.quantity, *raw) {
            Some(number) if number.is_finite() => writer.float(number),
            _ => writer.null(),
        },
        Value::Text(text) => writer.text(text),
    }
    if let Some(seq) = sample.seq {
        writer.text("s");
        writer.whole(seq);
    }
    if sample.resent {
        writer.text("r");
        writer.bool(true);
    }
}

impl Receipt {
    /// Its bytes for a sender that speaks CBOR.
    pub fn encode_cbor(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut writer = Writer(&mut out);
        writer.map(2);
        writer.text("epoch");
        writer.whole(self.epoch);
        writer.text("ranges");
        writer.array(self.ranges.len() as u64);
        for (first, last) in &self.ranges {
            writer.array(2);
            writer.whole(*first);
            writer.whole(*last);
        }
        out
    }
}

fn wrong(message: &mut Message, what: &str) {
    message.refused.push(Refused::new(Refusal::WrongShape, what));
}

fn key<'a>(reader: &mut Reader<'a>) -> Result<Cow<'a, str>, Broken> {
    let at = reader.at();
    match reader.item()? {
        Item::Text(text) => Ok(text),
        _ => Err(Broken {
            at,
            what: "a key that is not a text",
        }),
    }
}

fn read(reader: &mut Reader<'_>, message: &mut Message) -> Result<(), Broken> {
    let mut left = match reader.item()? {
        Item::Array(left) => return readings(reader, left, message),
        Item::Map(left) => left,
        _ => {
            wrong(message, "readings are an array, or a map with `readings`");
            return Ok(());
        }
    };
    let mut has_readings = false;
    while reader.more(&mut left) {
        let key = key(reader)?;
        let item = reader.item()?;
        match (&*key, &item) {
            ("epoch", Item::Whole(epoch)) => message.epoch = Some(*epoch),
            ("epoch", Item::Null) => {}
            ("epoch", _) => {
                reader.skip(&item, 1)?;
                wrong(message, "`epoch` is not a whole number; no receipt can be given");
            }
            ("readings", Item::Array(left)) => {
                has_readings = true;
                readings(reader, *left, message)?;
            }
            ("readings", _) => {
                has_readings = true;
                reader.skip(&item, 1)?;
                wrong(message, "`readings` is not an array");
            }
            _ => reader.skip(&item, 1)?,
        }
    }
    if !has_readings {
        wrong(message, "the map has no `readings`");
    }
    Ok(())
}

fn readings(reader: &mut Reader<'_>, mut left: Left, message: &mut Message) -> Result<(), Broken> {
    let mut row = 0;
    while reader.more(&mut left) {
        let before = message.refused.len();
        match reader.item()? {
            Item::Map(left) => fields(reader, left)?.push(message),
            item => {
                reader.skip(&item, 2)?;
                wrong(message, "a reading is a map");
            }
        }
        of_row(message, before, row);
        row += 1;
    }
    Ok(())
}

fn fields<'a>(reader: &mut Reader<'a>, mut left: Left) -> Result<Fields<'a>, Broken> {
    let mut fields = Fields::default();
    while reader.more(&mut left) {
        let key = key(reader)?;
        let item = reader.item()?;
        reader.skip(&item, 3)?;
        if let Some(field) = fields.named(&key) {
            *field = Some(scalar(item));
        }
    }
    Ok(fields)
}

fn scalar(item: Item<'_>) -> Scalar<'_> {
    match item {
        Item::Whole(n) => i64::try_from(n).map_or(Scalar::Large(n), Scalar::Int),
        // Below i64::MIN a whole number is no longer exact in a value either.
        Item::Negative(n) => i64::try_from(n).map_or(Scalar::Float(-1.0 - n as f64), |n| Scalar::Int(-1 - n)),
        Item::Float(n) => Scalar::Float(n),
        Item::Text(text) => Scalar::Text(text),
        Item::Bool(b) => Scalar::Bool(b),
        Item::Null => Scalar::Null,
        Item::Array(_) | Item::Map(_) | Item::Other => Scalar::Nested,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use onemap_model::{Quantity, Timestamp};

    use super::*;
    use crate::native;

    fn labels(message: &Message) -> Vec<&'static str> {
        message.refused.iter().map(|r| r.refusal.label()).collect()
    }

    /// `{"epoch": 5, "readings": [{"q": "ph", "v": 7.25, "s": 1, "t": 1763856000000, "ch": 2, "r": true}]}`,
    /// put together from RFC 8949 §3 without this file's writer.
    const FOREIGN: &str = "a2 6565706f6368 05 6872656164696e6773 81 a6 6171 627068 6176 fb401d000000000000 \
                           6173 01 6174 1b0000019aae02a400 626368 02 6172 f5";

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        crate::hex::read(&digits).unwrap()
    }

    #[test]
    fn a_foreign_encoder_s_bytes_are_read() {
        let message = native::decode(&hex(FOREIGN));
        assert_eq!(labels(&message), [""; 0], "{:?}", message.refused);
        let sample = &message.samples[0];
        assert_eq!((sample.quantity.name(), sample.channel), ("ph", 2));
        assert_eq!(sample.value, Value::Number(7.25));
        assert_eq!(sample.measured_at, Some(Timestamp::from_ms(1_763_856_000_000)));
        assert_eq!(
            (message.epoch, message.seqs, message.is_cbor),
            (Some(5), vec![1], true)
        );
        assert!(sample.resent);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (bytes, want) in [
            ("80", vec![]),
            ("a0", vec!["wrong_shape"]),
            ("8101", vec!["wrong_shape"]),
            // [{"q": "ph"}]
            ("81a16171627068", vec!["wrong_shape"]),
            // [{"q": "ph", "v": null}]
            ("81a261716270686176f6", vec!["not_a_number"]),
            // [{"q": "ph", "v": NaN}]
            ("81a261716270686176f97e00", vec!["not_a_number"]),
            // [{"q": "x", "v": 1}]
            ("81a261716178617601", vec!["unknown_quantity"]),
            // {"epoch": -1, "readings": []}
            ("a26565706f6368206872656164696e677380", vec!["wrong_shape"]),
            // {"readings": {}}
            ("a16872656164696e6773a0", vec!["wrong_shape"]),
            // {1: 2}
            ("a10102", vec!["broken_cbor"]),
            // [{"q": "ph", and then nothing
            ("81a261716270", vec!["broken_cbor"]),
            ("8000", vec!["broken_cbor"]),
            ("9bffffffffffffffff", vec!["broken_cbor"]),
        ] {
            assert_eq!(labels(&native::decode(&hex(bytes))), want, "{bytes}");
        }
        let broken = native::decode(&hex("81a261716270"));
        assert!(broken.refused[0].detail.ends_with("at byte 5"), "{broken:?}");
    }

    #[test]
    fn a_posted_payload_says_whose_it_is() {
        // {"device": "air-1", "readings": [{}, {}]}
        let posted_bytes = hex("a266646576696365656169722d316872656164696e677382a0a0");
        assert_eq!(posted(&posted_bytes), Ok((Some("air-1".to_owned()), 2)));
        assert_eq!(posted(&hex("80")), Ok((None, 0)));
        assert!(posted(&hex("a26664")).is_err());
    }

    #[test]
    fn a_receipt_is_a_small_map() {
        let receipt = Receipt::of(9, &[1, 2, 3]).encode_cbor();
        assert_eq!(receipt, hex("a26565706f6368096672616e67657381820103"));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(mut bytes: Vec<u8>, first in 0x80u8..=0xBF) {
            bytes.insert(0, first);
            native::decode(&bytes);
            let _ = posted(&bytes);
        }
        #[test]
        fn what_is_written_is_read(
            epoch: Option<u64>,
            rows in proptest::collection::vec((0usize..40, 0u16..5, -4_000_000_000_000i64..4_000_000_000_000, -1e9f64..1e9, proptest::option::of(0u64..9), proptest::bool::ANY), 0..20),
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
            encode(epoch, &samples.iter().collect::<Vec<_>>(), &mut payload);
            let message = native::decode(&payload);
            proptest::prop_assert_eq!(&message.samples, &samples);
            proptest::prop_assert_eq!(message.epoch, epoch);
            proptest::prop_assert!(message.refused.is_empty());
        }
    }
}

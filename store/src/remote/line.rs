//! Points as lines of the line protocol: `water_level,device=gauge-1,ch=0 value=1.25,q=2i 1763856000000`.
//!
//! The measurement is the quantity, the tags are the device and the channel. `q` holds the marks and is left
//! out when there are none. Where the engine keeps both of two values for one time, a revised value carries
//! the tag `rev` with how many came before it. Engines drop bad lines in silence, so what could be one is
//! found here and counted, never sent.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use bytes::Bytes;
use onemap_model::Value;

use crate::engine::Caps;
use crate::engine::batch::Row;

/// Longest text that InfluxDB takes in a field.
const MAX_TEXT_BYTES: usize = 64 << 10;

/// Why a point is not sent. It stays in the embedded history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unsent {
    /// A text, and the engine keeps numbers only.
    Text,
    /// A text longer than the engine takes.
    TextTooLong,
    /// Older than the engine keeps.
    TooOld,
    /// Before 1970.
    Before1970,
    /// Not a finite number.
    NotFinite,
    /// The engine refused the line.
    Engine,
    /// Kept by another version, of a quantity that this one does not know.
    UnknownSeries,
}

impl Unsent {
    /// All reasons.
    pub const ALL: [Self; 7] = [
        Self::Text,
        Self::TextTooLong,
        Self::TooOld,
        Self::Before1970,
        Self::NotFinite,
        Self::Engine,
        Self::UnknownSeries,
    ];

    /// Its name in metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::TextTooLong => "text_too_long",
            Self::TooOld => "too_old",
            Self::Before1970 => "before_1970",
            Self::NotFinite => "not_finite",
            Self::Engine => "engine",
            Self::UnknownSeries => "unknown_series",
        }
    }
}

/// Writes lines for one engine.
#[derive(Clone, Debug)]
pub struct Encoder {
    texts: bool,
    marks_revisions: bool,
    oldest_ms: Option<i64>,
}

impl Encoder {
    /// For an engine with these abilities.
    pub fn new(caps: &Caps) -> Self {
        Self {
            texts: caps.texts,
            marks_revisions: !caps.upserts,
            oldest_ms: caps
                .oldest
                .map(|age| i64::try_from(age.as_millis()).unwrap_or(i64::MAX)),
        }
    }

    /// Whether a point is to be sent at a time (ms since 1970).
    ///
    /// # Errors
    /// Why it is not.
    pub fn check(&self, row: &Row<'_>, now: i64) -> Result<(), Unsent> {
        if row.at < 0 {
            return Err(Unsent::Before1970);
        }
        if self.oldest_ms.is_some_and(|age| row.at < now.saturating_sub(age)) {
            return Err(Unsent::TooOld);
        }
        match row.value {
            Value::Number(number) if !number.is_finite() => Err(Unsent::NotFinite),
            Value::Text(_) if !self.texts => Err(Unsent::Text),
            Value::Text(text) if text.len() > MAX_TEXT_BYTES => Err(Unsent::TextTooLong),
            _ => Ok(()),
        }
    }

    fn write(&self, row: &Row<'_>, out: &mut String) {
        let key = row.series;
        escape(&key.quantity.definition().name, &[',', ' '], out);
        out.push_str(",device=");
        escape(key.device.as_str(), &[',', ' ', '='], out);
        // Writing to a String cannot fail.
        let _ = write!(out, ",ch={}", key.channel);
        if self.marks_revisions && row.revision > 0 {
            let _ = write!(out, ",rev={}", row.revision);
        }
        match row.value {
            Value::Number(number) => {
                let _ = write!(out, " value={number}");
            }
            Value::Text(text) => {
                out.push_str(" text=\"");
                escape(text, &['"', '\\'], out);
                out.push('"');
            }
        }
        if row.quality.0 != 0 {
            let _ = write!(out, ",q={}i", row.quality.0);
        }
        let _ = writeln!(out, " {}", row.at);
    }
}

fn escape(text: &str, special: &[char], out: &mut String) {
    for c in text.chars() {
        if special.contains(&c) {
            out.push('\\');
        }
        out.push(c);
    }
}

/// Lines of one body, each of which can be told from the next whatever texts hold.
#[derive(Clone, Debug, Default)]
pub struct Lines {
    text: String,
    /// Where each line ends, its newline included.
    ends: Vec<usize>,
    /// Points that are not sent, by reason.
    pub unsent: BTreeMap<Unsent, u64>,
}

impl Lines {
    /// Adds a point, or counts why it is not sent.
    pub fn push(&mut self, encoder: &Encoder, row: &Row<'_>, now: i64) {
        match encoder.check(row, now) {
            Ok(()) => {
                encoder.write(row, &mut self.text);
                self.ends.push(self.text.len());
            }
            Err(why) => *self.unsent.entry(why).or_default() += 1,
        }
    }

    /// Bytes of all lines.
    pub fn n_bytes(&self) -> usize {
        self.text.len()
    }
    /// Lines.
    pub fn len(&self) -> usize {
        self.ends.len()
    }
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
    /// The lines as one text.
    pub fn text(&self) -> &str {
        &self.text
    }
    /// The lines as a body.
    pub fn body(&self) -> Bytes {
        Bytes::copy_from_slice(self.text.as_bytes())
    }

    /// Two halves; the first is empty when there is one line or none.
    pub fn halves(&self) -> (Self, Self) {
        let n = self.ends.len() / 2;
        let at = n.checked_sub(1).map_or(0, |last| self.ends[last]);
        let part = |text: &str, ends: &[usize], from: usize| Self {
            text: text.to_owned(),
            ends: ends.iter().map(|end| end - from).collect(),
            unsent: BTreeMap::new(),
        };
        (
            part(&self.text[..at], &self.ends[..n], 0),
            part(&self.text[at..], &self.ends[n..], at),
        )
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use onemap_model::{Quality, Timestamp};

    use super::*;
    use crate::engine::{Ack, Batch, Deletes};
    use crate::history::{Point, parse_key};

    fn caps(texts: bool, upserts: bool) -> Caps {
        Caps {
            engine: "a test",
            ack: Ack::Accepted,
            upserts,
            texts,
            versions: false,
            deletes: Deletes::Nothing,
            oldest: Some(Duration::from_millis(1_000_000)),
        }
    }

    fn batch(rows: &[(&str, i64, Value, u16, u16)]) -> Batch {
        let mut batch = Batch::default();
        for (key, at, value, marks, revision) in rows {
            let point = Point {
                measured_at: Timestamp::from_ms(*at),
                value: value.clone(),
                quality: Quality(*marks),
            };
            batch.push_point(&parse_key(key).unwrap(), &point, point.measured_at, *revision);
        }
        batch
    }

    #[test]
    fn a_line_holds_what_a_point_says() {
        let batch = batch(&[
            ("gauge-1/water_level/0", 2_000_000, Value::Number(1.25), 0, 0),
            ("井:1/pm2_5/3", 2_000_001, Value::Number(-0.1), 10, 2),
            (
                "a/pm2_5/0",
                2_000_002,
                Value::Text("say \"no\"\\\nx=1".into()),
                0,
                0,
            ),
            ("a/pm2_5/0", 999_999, Value::Number(1.0), 0, 0),
            ("a/pm2_5/0", -1, Value::Number(1.0), 0, 0),
            ("a/pm2_5/0", 2_000_003, Value::Number(f64::NAN), 0, 0),
            (
                "a/pm2_5/0",
                2_000_003,
                Value::Text("x".repeat(70_000).into()),
                0,
                0,
            ),
        ]);
        let lines = |caps| {
            let (encoder, mut lines) = (Encoder::new(&caps), Lines::default());
            batch.rows().for_each(|row| lines.push(&encoder, &row, 2_000_000));
            lines
        };
        let some = lines(caps(true, true));
        assert_eq!(
            some.text(),
            "water_level,device=gauge-1,ch=0 value=1.25 2000000\n\
             pm2_5,device=井:1,ch=3 value=-0.1,q=10i 2000001\n\
             pm2_5,device=a,ch=0 text=\"say \\\"no\\\"\\\\\nx=1\" 2000002\n"
        );
        let counts = |lines: &Lines| {
            lines
                .unsent
                .iter()
                .map(|(why, n)| (why.label(), *n))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            counts(&some),
            [
                ("text_too_long", 1),
                ("too_old", 1),
                ("before_1970", 1),
                ("not_finite", 1)
            ]
        );
        let numbers = lines(caps(false, false));
        assert!(
            numbers
                .text()
                .contains("pm2_5,device=井:1,ch=3,rev=2 value=-0.1,q=10i 2000001\n")
        );
        assert_eq!((numbers.len(), numbers.unsent[&Unsent::Text]), (2, 2));
    }

    #[test]
    fn a_body_is_halved_between_lines_down_to_one() {
        let rows: Vec<_> = (0..5)
            .map(|i| ("a/pm2_5/0", 2_000_000 + i, Value::Text("a\nb".into()), 0, 0))
            .collect();
        let (encoder, mut lines) = (Encoder::new(&caps(true, true)), Lines::default());
        batch(&rows)
            .rows()
            .for_each(|row| lines.push(&encoder, &row, 2_000_000));
        let (first, second) = lines.halves();
        assert_eq!((first.len(), second.len()), (2, 3));
        assert_eq!(format!("{}{}", first.text(), second.text()), lines.text());
        let (_, last) = second.halves();
        let (one, other) = last.halves();
        assert_eq!((one.len(), other.len()), (1, 1));
        assert!(one.halves().0.is_empty() && other.text().ends_with("2000004\n"));
    }
}

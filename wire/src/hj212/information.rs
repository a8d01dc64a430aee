//! What a station says of itself and of its analysers: states, numbers, logs, kept samples, a restart (2081, 3015, 3019, 3020).
//!
//! An analyser's readings have as channel the five digits of the factor that it measures (`w01018` is 1018), or of the item
//! (`i11001` is 11001); 0 where none is told. What gives no reading is named by its command.

use std::time::Duration;

use encoding_rs::GBK;
use onemap_model::{Quantity, Refusal, Timestamp, Value};

use super::codes::{Kind, command_of};
use super::segment::{Group, Item, Segment};
use super::stamp;
use crate::message::quoted;
use crate::profile::{Period, Stamp};
use crate::{Message, Refused, Sample};

/// Longest text of a log that is kept, in characters.
const MOST_TEXT: usize = 1000;

/// Reads what a frame says that is no data.
pub(super) fn information(segment: &Segment) -> Message {
    let mut message = Message::default();
    let kind = command_of(segment.cn(), segment.version()).map(|command| command.kind);
    // Questions for the time, heartbeats and ends of what was asked for say nothing more.
    let is_said = matches!(segment.cn(), "1013" | "9015" | "2012" | "2022");
    if is_said || kind == Some(Kind::Answer) {
        return message;
    }
    // What is asked for has a span of time, and what is asked is no answer.
    let at = match segment.data_time().map(|text| stamp::read(text).ok_or(text)) {
        None => None,
        Some(Ok(at)) => Some(at),
        Some(Err(text)) => {
            let detail = format!("`DataTime` is `{}`, which is no time", quoted(text));
            return Message::refused(Refusal::WrongShape, detail);
        }
    };
    let channel = segment.cp_value("PolId").and_then(digits).unwrap_or(0);
    let mut reader = Reader {
        at,
        channel,
        message: &mut message,
    };
    let items = segment.cp.iter().flat_map(|Group(items)| items);
    for item in items {
        reader.item(segment.cn(), item);
    }
    if message.samples.is_empty() && message.refused.is_empty() && message.unread.is_empty() {
        message.unread.push(name_of(segment.cn()));
    }
    message
}

struct Reader<'a> {
    at: Option<Timestamp>,
    /// Of the analyser that the frame is about.
    channel: u16,
    message: &'a mut Message,
}

impl Reader<'_> {
    fn item(&mut self, cn: &str, item: &Item) {
        let text = item.value.as_deref().unwrap_or_default().trim();
        match (cn, item.key.rsplit_once('-')) {
            ("3019", Some((code, "SN"))) => {
                let channel = digits(code).unwrap_or(self.channel);
                self.text("serial_number", channel, &item.key, text);
            }
            ("3020", Some(("i12001", "Info"))) => {
                self.number("instrument_state", self.channel, &item.key, text)
            }
            ("3020", Some(("i12002", "Info"))) => {
                self.number("instrument_link", self.channel, &item.key, text)
            }
            ("3020", Some((code, "Info"))) if is_log(code) => {
                self.text("station_log", digits(code).unwrap_or(0), &item.key, text);
            }
            ("3020", Some(_)) => self.message.unread.push("3020_item"),
            ("3015", None) if item.key == "VaseNo" => self.number("sample_bottle", 0, &item.key, text),
            ("2081", None) if item.key == "RestartTime" => match stamp::read(text) {
                Some(at) => self.push("logger_restarted", 0, Value::Number(1.0), Some(at)),
                None => self.refuse(Refusal::WrongShape, &item.key, text, "no time"),
            },
            _ => {}
        }
    }

    fn text(&mut self, quantity: &str, channel: u16, key: &str, text: &str) {
        let text = written(text.trim_matches('/'));
        let text: String = text.trim().chars().take(MOST_TEXT).collect();
        match text.is_empty() {
            true => self.refuse(Refusal::Sentinel, key, "", "no text"),
            false => self.push(quantity, channel, Value::Text(text.into()), self.at),
        }
    }

    fn number(&mut self, quantity: &str, channel: u16, key: &str, text: &str) {
        match text.parse::<u16>() {
            Ok(number) => self.push(quantity, channel, Value::Number(number.into()), self.at),
            Err(_) => self.refuse(Refusal::NotANumber, key, text, "no number of 0 to 65535"),
        }
    }

    fn refuse(&mut self, refusal: Refusal, key: &str, text: &str, what: &str) {
        let detail = format!("`{}` is `{}`, {what}", quoted(key), quoted(text));
        self.message.refused.push(Refused::new(refusal, detail));
    }

    fn push(&mut self, name: &str, channel: u16, value: Value, at: Option<Timestamp>) {
        // A test holds that the dictionary has them.
        let Some(quantity) = Quantity::named(name) else {
            return self
                .message
                .refused
                .push(Refused::new(Refusal::UnknownQuantity, name));
        };
        self.message.samples.push(Sample {
            measured_at: at,
            period: Some(Period {
                stamp: Stamp::End,
                length: Duration::ZERO,
            }),
            value,
            ..Sample::new(quantity, channel, 0.0)
        });
    }
}

/// A text as it was written. Bytes that are no UTF-8 stand in a segment as `\xC7`; where there are some it is GBK.
fn written(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text);
    let mut is_gbk = false;
    while let Some(at) = rest.find("\\x") {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        let byte = rest
            .get(at + 2..at + 4)
            .and_then(|two| u8::from_str_radix(two, 16).ok());
        match byte.filter(|byte| !byte.is_ascii()) {
            Some(byte) => {
                bytes.push(byte);
                is_gbk = true;
                rest = &rest[at + 4..];
            }
            None => {
                bytes.extend_from_slice(b"\\x");
                rest = &rest[at + 2..];
            }
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    match is_gbk {
        true => GBK.decode_without_bom_handling(&bytes).0.into_owned(),
        false => text.to_owned(),
    }
}

/// Of an item of a log: `i11001`, `i21001`, `i31001`.
fn is_log(code: &str) -> bool {
    matches!(code.as_bytes(), [b'i', b'1'..=b'3', b'1', rest @ ..] if rest.len() == 3 && rest.iter().all(u8::is_ascii_digit))
}

/// The five digits of a code.
fn digits(code: &str) -> Option<u16> {
    let digits = code.get(1..).filter(|digits| digits.len() == 5)?;
    digits
        .bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| digits.parse().ok())?
}

/// A command's number as the name of what is not read of it: numbers that no edition has are one name.
fn name_of(cn: &str) -> &'static str {
    macro_rules! names {
        ($($cn:literal)*) => {
            match cn {
                $($cn => $cn,)*
                _ => "unknown_command",
            }
        };
    }
    names!(
        "1000" "1001" "1002" "1011" "1012" "1014" "1021" "1022" "1031" "1032" "1041" "1042" "1061" "1062" "1063" "1064"
        "1072" "2013" "2052" "2062" "2071" "2072" "2081" "3011" "3012" "3013" "3014" "3015" "3016" "3017" "3018" "3019"
        "3020" "3021"
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::readings::{Sender, readings};
    use super::*;

    fn told(cn: &str, cp: &str) -> Vec<String> {
        let text = format!("QN=20260801085857223;ST=32;CN={cn};PW=1;MN=A;Flag=5;CP=&&{cp}&&");
        let message = readings(&Segment::parse(text.as_bytes()).unwrap(), &Sender::new(None));
        let samples = message.samples.iter().map(|sample| {
            let value = match &sample.value {
                Value::Number(number) => number.to_string(),
                Value::Text(text) => text.to_string(),
            };
            let at = sample
                .measured_at
                .map_or("none".to_owned(), |at| at.to_string()[11..19].to_owned());
            format!("{}#{} {value} {at}", sample.quantity, sample.channel)
        });
        let refused = message
            .refused
            .iter()
            .map(|one| format!("{}: {}", one.refusal, one.detail));
        let unread = message.unread.iter().map(|what| format!("unread {what}"));
        samples.chain(refused).chain(unread).collect()
    }

    #[test]
    fn what_a_station_says_of_itself_is_a_reading_refused_or_named() {
        for (cn, cp, want) in [
            (
                "3020",
                "DataTime=20260801085857;PolId=w01018;i12001-Info=2",
                "instrument_state#1018 2 08:58:57",
            ),
            (
                "3020",
                "DataTime=20260801085857;PolId=w01018;i12002-Info=1",
                "instrument_link#1018 1 08:58:57",
            ),
            (
                "3020",
                "PolId=w01018;i12001-Info=7",
                "instrument_state#1018 7 none",
            ),
            (
                "3020",
                "DataTime=20260801085857;i11001-Info=//门开//",
                "station_log#11001 门开 08:58:57",
            ),
            (
                "3020",
                "DataTime=20260801085857;i11001-Info=//a\\xC7\\xE5\\x4//",
                "station_log#11001 a清\\x4 08:58:57",
            ),
            (
                "3020",
                "DataTime=20260801085857;i11001-Info=////",
                "sentinel: `i11001-Info` is ``, no text",
            ),
            (
                "3020",
                "DataTime=20260801085857;i12001-Info=x",
                "not_a_number: `i12001-Info` is `x`, no number of 0 to 65535",
            ),
            (
                "3020",
                "DataTime=20260801085857;i13004-Info=4",
                "unread 3020_item",
            ),
            (
                "3019",
                "PolId=w01018;w01018-SN=A-77",
                "serial_number#1018 A-77 none",
            ),
            (
                "3015",
                "DataTime=20260801085857;VaseNo=3",
                "sample_bottle#0 3 08:58:57",
            ),
            (
                "2081",
                "DataTime=20260801085857;RestartTime=20260801080000",
                "logger_restarted#0 1 08:00:00",
            ),
            (
                "2081",
                "DataTime=20260801085857;RestartTime=x",
                "wrong_shape: `RestartTime` is `x`, no time",
            ),
            ("2072", "DataTime=20260801085857;101-Ala=1.1", "unread 2072"),
            ("2013", "DataTime=20260801085857;x-y=1", "unread 2013"),
            ("7777", "x=1", "unread unknown_command"),
            (
                "3019",
                "DataTime=1;w01018-SN=A",
                "wrong_shape: `DataTime` is `1`, which is no time",
            ),
        ] {
            assert_eq!(told(cn, cp), [want], "{cn} {cp}");
        }
        for (cn, cp) in [("9015", ""), ("1013", ""), ("9014", ""), ("2012", "")] {
            assert_eq!(told(cn, cp), [""; 0], "{cn}");
        }
    }
}

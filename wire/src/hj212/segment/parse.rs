//! Reads a data segment, leniently.

use super::{Group, HEADER, Item, Quirk, Segment};

/// Why a segment with a right CRC cannot be taken: nobody can be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the segment has no {name} (byte {at})")]
pub struct SegmentError {
    /// Name of the field that is missing or empty: `MN` or `CN`.
    pub name: &'static str,
    /// Offset in the segment at which its header ends.
    pub at: usize,
}

impl SegmentError {
    /// Stable text.
    pub fn code(&self) -> &'static str {
        match self.name {
            "MN" => "no_mn",
            _ => "no_cn",
        }
    }
}

impl Segment {
    /// Reads the plain text of a segment.
    ///
    /// # Errors
    /// [`SegmentError`] when MN or CN is missing or empty.
    ///
    /// ```
    /// # use onemap_wire::hj212::Segment;
    /// let segment = Segment::parse(b"ST=22;CN=2011;PW=1;MN=A;Flag=4;CP=&&DataTime=20260801000000;LA-Rtd=50.1,LA-Flag=N&&").unwrap();
    /// assert_eq!((segment.mn(), segment.cp[1].value("LA-Rtd")), ("A", Some("50.1")));
    /// ```
    pub fn parse(bytes: &[u8]) -> Result<Self, SegmentError> {
        let mut reader = Reader::default();
        let text = reader.text(bytes);
        let at = reader.segment(&text);
        let Reader { mut segment, .. } = reader;
        segment.quirks.sort_unstable();
        segment.quirks.dedup();
        for name in ["MN", "CN"] {
            if segment.field(name).unwrap_or_default().is_empty() {
                return Err(SegmentError { name, at });
            }
        }
        Ok(segment)
    }
}

/// Between one CP and another.
const SECOND_CP: [&str; 2] = ["&&;CP=&&", "&&CP=&&"];

#[derive(Default)]
struct Reader {
    segment: Segment,
}

impl Reader {
    fn quirk(&mut self, quirk: Quirk) {
        self.segment.quirks.push(quirk);
    }

    fn text(&mut self, bytes: &[u8]) -> String {
        let mut text = String::with_capacity(bytes.len());
        for chunk in bytes.utf8_chunks() {
            text.push_str(chunk.valid());
            for byte in chunk.invalid() {
                text.push_str(&format!("\\x{byte:02X}"));
                self.quirk(Quirk::NotUtf8);
            }
        }
        text
    }

    /// Reads everything; where the header ended.
    fn segment(&mut self, text: &str) -> usize {
        let start = cp_start(text).or_else(|| {
            let start = text.find("CP=&&")?;
            self.quirk(Quirk::NoSemicolon);
            Some(start)
        });
        let (header, cp) = match start {
            Some(start) => (&text[..start], Some(&text[start + "CP=".len()..])),
            None => (text, None),
        };
        self.header(header);
        match cp {
            None => self.quirk(Quirk::NoCp),
            Some(cp) => self.cp(cp),
        }
        self.judge();
        header.len()
    }

    fn header(&mut self, header: &str) {
        let body = header.strip_suffix([';', ',']).unwrap_or(header);
        if body.is_empty() {
            return;
        }
        for part in body.split(';') {
            let mut rest = part;
            // `QN=2016…,ST=32`: a comma counts as `;` where one of the standard's names follows it.
            while let Some(comma) = comma_before_name(rest) {
                self.quirk(Quirk::CommaInHeader);
                self.header_items(&rest[..comma]);
                rest = &rest[comma + 1..];
            }
            self.header_items(rest);
        }
    }

    /// `MN=A1Flag=5`: one of the standard's names begins another field, with a separator in front or without.
    fn header_items(&mut self, mut rest: &str) {
        while let Some(at) = name_in_value(rest) {
            self.quirk(Quirk::NoSemicolon);
            self.header_item(&rest[..at]);
            rest = &rest[at..];
        }
        self.header_item(rest);
    }

    fn header_item(&mut self, part: &str) {
        let Some(item) = self.item(part) else {
            return;
        };
        if !HEADER.contains(&item.key.as_str()) {
            self.quirk(Quirk::UnknownHeader);
        }
        if self.segment.header.iter().any(|earlier| earlier.key == item.key) {
            self.quirk(Quirk::RepeatedHeader);
        }
        self.segment.header.push(item);
    }

    fn cp(&mut self, cp: &str) {
        let body = match cp.trim_start().strip_prefix("&&") {
            Some(body) => match body.rfind("&&") {
                Some(end) => {
                    if !body[end + 2..].is_empty() {
                        self.quirk(Quirk::AfterCp);
                        self.segment.after_cp = body[end + 2..].to_owned();
                    }
                    &body[..end]
                }
                None => {
                    self.quirk(Quirk::CpNotClosed);
                    body
                }
            },
            None => {
                self.quirk(Quirk::CpNotClosed);
                cp
            }
        };
        if body.is_empty() {
            return;
        }
        // A second CP goes on with the first.
        let joined = SECOND_CP
            .iter()
            .fold(body.to_owned(), |body, border| body.replace(border, ";"));
        if joined.len() != body.len() {
            self.quirk(Quirk::RepeatedHeader);
        }
        for part in split(&joined, ';') {
            let items: Vec<&str> = split(part, ',').flat_map(|part| self.stamped(part)).collect();
            let mut group = Group::default();
            for part in items {
                if let Some(item) = self.item(part) {
                    if group.0.iter().any(|earlier| earlier.key == item.key) {
                        self.quirk(Quirk::RepeatedKey);
                    }
                    match (item.key.as_str(), &item.value) {
                        ("Flag", _) => self.quirk(Quirk::BareFlag),
                        ("DataTime", Some(stamp)) if stamp.len() != 14 => self.quirk(Quirk::StampLength),
                        _ => {}
                    }
                    group.0.push(item);
                }
            }
            if !group.0.is_empty() {
                self.segment.cp.push(group);
            }
        }
    }

    /// `DataTime=20160801085857a34004-Rtd=35.1`: what stands behind the fourteen digits is another item.
    fn stamped<'a>(&mut self, part: &'a str) -> Vec<&'a str> {
        let digits = part.trim_start().strip_prefix("DataTime=");
        let behind = digits
            .and_then(|digits| digits.split_at_checked(14))
            .map(|(stamp, behind)| {
                let is_stamp = stamp.bytes().all(|b| b.is_ascii_digit());
                let is_item = behind.starts_with(|c: char| c.is_ascii_alphabetic()) && behind.contains('=');
                if is_stamp && is_item { behind.len() } else { 0 }
            });
        match behind {
            None | Some(0) => vec![part],
            Some(n) => {
                self.quirk(Quirk::NoSemicolon);
                let (stamp, item) = part.split_at(part.len() - n);
                vec![stamp, item]
            }
        }
    }

    fn item(&mut self, part: &str) -> Option<Item> {
        let trimmed = part.trim();
        if trimmed.len() != part.len() {
            self.quirk(Quirk::Blanks);
        }
        if trimmed.is_empty() {
            self.quirk(Quirk::EmptyItem);
            return None;
        }
        let Some((key, value)) = trimmed.split_once('=') else {
            self.quirk(Quirk::NoValue);
            return Some(Item {
                key: trimmed.to_owned(),
                value: None,
            });
        };
        let item = Item::new(key.trim_end(), value.trim_start());
        if item.key.len() + 1 + value.trim_start().len() != trimmed.len() {
            self.quirk(Quirk::Blanks);
        }
        if value.is_empty() && item.key != "PW" {
            self.quirk(Quirk::NoValue);
        }
        Some(item)
    }

    /// What the standard says of the header's fields.
    fn judge(&mut self) {
        let segment = &self.segment;
        let mut quirks = Vec::new();
        match segment.field("QN").map(str::len) {
            None => quirks.push(Quirk::NoQn),
            Some(17) => {}
            Some(_) => quirks.push(Quirk::QnLength),
        }
        if segment.field("Flag").is_some() && segment.flag().is_none() {
            quirks.push(Quirk::FlagNotANumber);
        }
        let has_numbers = segment.field("PNUM").is_some() || segment.field("PNO").is_some();
        let says_so = segment.flag().unwrap_or_default().has_packets();
        if has_numbers != says_so || (has_numbers && segment.packet().is_none()) {
            quirks.push(Quirk::PacketNumbers);
        }
        self.segment.quirks.append(&mut quirks);
    }
}

/// Where `CP=` begins: at the start, or behind a separator of the header.
fn cp_start(text: &str) -> Option<usize> {
    text.match_indices("CP=").map(|(i, _)| i).find(|i| {
        let before = text[..*i].trim_end();
        before.is_empty() || before.ends_with([';', ','])
    })
}

/// Where the value of a field of the standard goes over into another field of it.
fn name_in_value(part: &str) -> Option<usize> {
    let (name, value) = part.split_once('=')?;
    if !HEADER.contains(&name.trim()) {
        return None;
    }
    let value_at = name.len() + 1;
    let begins = |at: &usize| {
        let behind = &value[*at..];
        HEADER.iter().any(|name| {
            behind
                .strip_prefix(name)
                .is_some_and(|rest| rest.starts_with('='))
        })
    };
    // An empty value is one: `PW=MN=A1`.
    let mut places = value.char_indices().map(|(at, _)| at);
    places.find(begins).map(|at| value_at + at)
}

fn comma_before_name(part: &str) -> Option<usize> {
    part.match_indices(',').map(|(i, _)| i).find(|i| {
        let behind = part[i + 1..].trim_start();
        let name = behind.split_once('=').map(|(name, _)| name.trim_end());
        name.is_some_and(|name| HEADER.contains(&name))
    })
}

/// Splits at `separator`, but not inside the text of a log, which stands between `=//` and `//`.
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let mut from = 0;
        loop {
            let at = text[from..].find(separator).map(|i| from + i);
            let log = text[from..].find("=//").map(|i| from + i);
            if let Some(log) = log
                && at.is_none_or(|at| log < at)
            {
                let inner = log + "=//".len();
                if let Some(end) = log_end(&text[inner..]) {
                    from = inner + end;
                    continue;
                }
                // Opened and never closed: no log.
                from = match at {
                    Some(at) => return Some(cut(text, at, &mut rest)),
                    None => text.len(),
                };
                continue;
            }
            return Some(match at {
                Some(at) => cut(text, at, &mut rest),
                None => {
                    rest = None;
                    text
                }
            });
        }
    })
}

fn cut<'a>(text: &'a str, at: usize, rest: &mut Option<&'a str>) -> &'a str {
    *rest = Some(&text[at + 1..]);
    &text[..at]
}

/// Behind the `//` that closes a log: it stands before a separator or the end.
fn log_end(text: &str) -> Option<usize> {
    text.match_indices("//").map(|(i, _)| i + 2).find(|end| {
        let behind = &text[*end..];
        behind.is_empty() || behind.starts_with([';', ','])
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parse(text: &str) -> Segment {
        Segment::parse(text.as_bytes()).unwrap()
    }

    const HEAD: &str = "QN=20160801085857223;ST=32;CN=2011;PW=123456;MN=A1;Flag=5;";

    #[test]
    fn quirks_are_read_as_meant_and_named() {
        use Quirk::*;
        let cp = |cp: &str| format!("{HEAD}CP=&&{cp}&&");
        for (text, quirks, json) in [
            (
                cp("DataTime=20160801085857;a-Rtd=1;"),
                vec![EmptyItem],
                r#"[{"DataTime":"20160801085857"},{"a-Rtd":"1"}]"#,
            ),
            (
                cp("DataTime=20160801085857; LA-Rtd=50.1"),
                vec![Blanks],
                r#"[{"DataTime":"20160801085857"},{"LA-Rtd":"50.1"}]"#,
            ),
            (
                cp("CTime=04,CTime=10"),
                vec![RepeatedKey],
                r#"[{"CTime":["04","10"]}]"#,
            ),
            (
                cp("a-Rtd=92;Flag=N"),
                vec![BareFlag],
                r#"[{"a-Rtd":"92"},{"Flag":"N"}]"#,
            ),
            (
                cp("a-Rtd=;b-Rtd"),
                vec![NoValue],
                r#"[{"a-Rtd":""},{"b-Rtd":null}]"#,
            ),
            (
                cp("DataTime=20210305003817000"),
                vec![StampLength],
                r#"[{"DataTime":"20210305003817000"}]"#,
            ),
            (
                cp("PolId=w01018,i11001-Info=//清洗;a=1,b//c//;x=1"),
                vec![],
                r#"[{"PolId":"w01018","i11001-Info":"//清洗;a=1,b//c//"},{"x":"1"}]"#,
            ),
            (
                cp("i1-Info=//open;x=1"),
                vec![],
                r#"[{"i1-Info":"//open"},{"x":"1"}]"#,
            ),
            (cp(""), vec![], "[]"),
            (
                format!("{HEAD}CP=&&a-Rtd=1"),
                vec![CpNotClosed],
                r#"[{"a-Rtd":"1"}]"#,
            ),
            (
                format!("{HEAD}CP=&&a-Rtd=1&&x"),
                vec![AfterCp],
                r#"[{"a-Rtd":"1"}]"#,
            ),
            (HEAD.to_owned(), vec![NoCp], "[]"),
            (
                format!("{}CP=&&a-Rtd=1&&", HEAD.trim_end_matches(';')),
                vec![NoSemicolon],
                r#"[{"a-Rtd":"1"}]"#,
            ),
            (
                cp("DataTime=20160801085857a-Rtd=1,b-Rtd=2"),
                vec![NoSemicolon],
                r#"[{"DataTime":"20160801085857","a-Rtd":"1","b-Rtd":"2"}]"#,
            ),
            (
                cp("a-Rtd=1&&;CP=&&b-Rtd=2"),
                vec![RepeatedHeader],
                r#"[{"a-Rtd":"1"},{"b-Rtd":"2"}]"#,
            ),
            (
                "QN=20160801085857223ST=32;CN=2011PW=MN=A1Flag=5;CP=&&a-Rtd=1&&".to_owned(),
                vec![NoSemicolon],
                r#"[{"a-Rtd":"1"}]"#,
            ),
            (
                "QN=20160801085857223,ST=32;CN=2011;MN=A1;CP=&&&&".to_owned(),
                vec![CommaInHeader],
                "[]",
            ),
            (
                "ST=32;CN=2011;MN=A1;Flag=x;CP=&&&&".to_owned(),
                vec![NoQn, FlagNotANumber],
                "[]",
            ),
            (
                "QN=1617936069734;CN=2011;MN=A1;Flag=6;CP=&&&&".to_owned(),
                vec![QnLength, PacketNumbers],
                "[]",
            ),
            (
                "QN=1;CN=2011;MN=A1;MN=B;XX=1;PNUM=2;CP=&&&&".to_owned(),
                vec![RepeatedHeader, UnknownHeader, QnLength, PacketNumbers],
                "[]",
            ),
        ] {
            let segment = parse(&text);
            let mut want = quirks;
            want.sort_unstable();
            assert_eq!(segment.quirks, want, "{text}");
            assert_eq!(serde_json::to_string(&segment.cp).unwrap(), json, "{text}");
            assert_eq!(segment.mn(), "A1", "{text}");
        }
    }

    #[test]
    fn who_cannot_be_answered_is_refused_by_name() {
        for (text, code, at) in [
            ("QN=1;ST=22;CN=2011;CP=&&&&", "no_mn", 19),
            ("QN=1;ST=22;CN=2011;MN=;CP=&&&&", "no_mn", 23),
            ("MN=A;CP=&&CN=2011&&", "no_cn", 5),
            ("", "no_mn", 0),
        ] {
            let error = Segment::parse(text.as_bytes()).unwrap_err();
            assert_eq!((error.code(), error.at), (code, at), "{text}");
        }
    }

    #[test]
    fn bytes_of_another_encoding_are_kept_as_hexadecimal() {
        let segment =
            Segment::parse(b"QN=20160801085857223;CN=3020;MN=A;CP=&&i-Info=//\xC7\xE5//&&").unwrap();
        assert_eq!(segment.cp_value("i-Info"), Some("//\\xC7\\xE5//"));
        assert_eq!(segment.quirks, [Quirk::NotUtf8]);
    }

    #[test]
    fn header_items_go_in_in_the_standard_s_order() {
        let segment = parse("ST=22;MN=A;CN=1;CP=&&a=1,b;c=&&")
            .with("QN", "7")
            .with("Flag", "4")
            .with("ST", "91");
        assert_eq!(segment.text(), "QN=7;ST=91;MN=A;CN=1;Flag=4;CP=&&a=1,b;c=&&");
    }
}

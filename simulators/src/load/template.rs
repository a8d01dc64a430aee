//! Payloads from a template, without allocating for each message.

enum Part {
    Text(Vec<u8>),
    Time,
    Stamp,
    Value,
    Seq,
}

/// A payload with holes.
pub(crate) struct Template(Vec<Part>);

impl Template {
    /// Splits a text at `{t}`, `{ts}`, `{v}`, `{seq}` and `{conn}`; every other brace stays.
    pub(crate) fn parse(text: &str, conn: usize) -> Self {
        let text = text.replace("{conn}", &conn.to_string());
        let mut parts = Vec::new();
        let mut rest = text.as_str();
        let holes = [("{t}", 0), ("{v}", 1), ("{seq}", 2), ("{ts}", 3)];
        while let Some((at, name, which)) = holes
            .iter()
            .filter_map(|(name, which)| Some((rest.find(name)?, *name, *which)))
            .min()
        {
            parts.push(Part::Text(rest.as_bytes()[..at].to_vec()));
            parts.push(match which {
                0 => Part::Time,
                1 => Part::Value,
                2 => Part::Seq,
                _ => Part::Stamp,
            });
            rest = &rest[at + name.len()..];
        }
        parts.push(Part::Text(rest.as_bytes().to_vec()));
        Self(parts)
    }

    /// Appends one payload: the time now, a time of this message alone, and its number.
    pub(crate) fn fill(&self, out: &mut Vec<u8>, time_ms: u64, stamp_ms: u64, seq: u64) {
        for part in &self.0 {
            match part {
                Part::Text(text) => out.extend_from_slice(text),
                Part::Time => number(out, time_ms),
                Part::Stamp => number(out, stamp_ms),
                Part::Seq => number(out, seq),
                Part::Value => {
                    number(out, 18 + seq % 7);
                    out.push(b'.');
                    out.push(b'0' + (seq % 10) as u8);
                }
            }
        }
    }
}

fn number(out: &mut Vec<u8>, mut n: u64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn holes_are_filled_and_other_braces_stay() {
        let template = Template::parse(
            r#"{"ts":{t},"at":{ts},"values":{"a":{v},"n":{seq},"c":{conn}}}"#,
            12,
        );
        let mut out = Vec::new();
        template.fill(&mut out, 1_795_435_200_123, 1_795_435_199_009, 1_009);
        let text = String::from_utf8(out).unwrap();
        assert_eq!(
            text,
            r#"{"ts":1795435200123,"at":1795435199009,"values":{"a":19.9,"n":1009,"c":12}}"#
        );
        serde_json::from_str::<serde_json::Value>(&text).unwrap();
    }

    #[test]
    fn numbers_are_decimal() {
        for n in [0, 7, 10, 999, u64::MAX] {
            let mut out = Vec::new();
            number(&mut out, n);
            assert_eq!(String::from_utf8(out).unwrap(), n.to_string());
        }
    }
}

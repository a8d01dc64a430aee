//! Comma-separated lines (RFC 4180): quoted fields, doubled quotes, line ends inside quotes, LF or CRLF, a
//! byte order mark before the first line. Empty lines are passed over.
//!
//! A quote that stands alone costs its own line and not the file: a quoted field that does not end, or that ends on a
//! later line with another number of fields than the first record has, is an error of the line on which it began, and
//! the next line is read by itself.

/// One record and the line on which it begins, from 1.
#[derive(Debug, PartialEq, Eq)]
pub struct Line {
    /// The line.
    pub number: usize,
    /// Its fields.
    pub fields: Vec<String>,
}

/// A record that is not written as it should be; the line on which it begins and why.
pub type BadLine = (usize, &'static str);

/// The records of a text.
pub struct Lines<'a> {
    rest: &'a str,
    number: usize,
    /// Fields of the first record.
    width: Option<usize>,
}

/// What is said of a quote that opens a field and has no fellow.
pub(super) const ALONE: &str = "a quoted field does not end";
/// What is said when it finds one lines later that is not its own.
pub(super) const NOT_ITS_OWN: &str = "a quoted field does not end on its line, and where it ends there are not as many fields as in the first line";

/// Reads the records of a text, each by itself.
pub fn lines(text: &str) -> Lines<'_> {
    Lines {
        rest: text.strip_prefix('\u{feff}').unwrap_or(text),
        number: 1,
        width: None,
    }
}

impl<'a> Lines<'a> {
    /// Takes one field and says what stood behind it.
    fn field(&mut self) -> Result<(String, End), &'static str> {
        if let Some(quoted) = self.rest.strip_prefix('"') {
            self.rest = quoted;
            return self.quoted();
        }
        let end = self.rest.find([',', '\n', '"']).unwrap_or(self.rest.len());
        if self.rest[end..].starts_with('"') {
            return Err("a quote stands inside an unquoted field");
        }
        let field = self.rest[..end].to_owned();
        self.rest = &self.rest[end..];
        let end = self.end();
        let field = match end {
            End::Line => field.strip_suffix('\r').map(str::to_owned).unwrap_or(field),
            _ => field,
        };
        Ok((field, end))
    }

    fn quoted(&mut self) -> Result<(String, End), &'static str> {
        let mut field = String::new();
        loop {
            let Some(quote) = self.rest.find('"') else {
                return Err(ALONE);
            };
            field.push_str(&self.rest[..quote]);
            self.rest = &self.rest[quote + 1..];
            match self.rest.strip_prefix('"') {
                Some(more) => {
                    field.push('"');
                    self.rest = more;
                }
                None => break,
            }
        }
        self.number += field.matches('\n').count();
        if self.rest.starts_with("\r\n") || self.rest == "\r" {
            self.rest = &self.rest[1..];
        }
        match self.end() {
            End::Text => Err("something stands behind a closing quote"),
            end => Ok((field, end)),
        }
    }

    /// Takes a comma or a line end.
    fn end(&mut self) -> End {
        let end = match self.rest.bytes().next() {
            None | Some(b'\n') => End::Line,
            Some(b',') => End::Comma,
            Some(_) => return End::Text,
        };
        self.rest = self.rest.get(1..).unwrap_or("");
        end
    }

    /// Goes on behind the line on which a record began.
    fn skip_line(&mut self, begin: &'a str, number: usize) {
        let end = begin.find('\n').map_or(begin.len(), |i| i + 1);
        self.rest = &begin[end..];
        self.number = number + 1;
    }
}

#[derive(PartialEq, Eq)]
enum End {
    Comma,
    Line,
    Text,
}

impl Iterator for Lines<'_> {
    type Item = Result<Line, BadLine>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.rest.is_empty() {
            let (begin, number) = (self.rest, self.number);
            let mut fields = Vec::new();
            loop {
                match self.field() {
                    Ok((field, end)) => {
                        fields.push(field);
                        if end == End::Line {
                            break;
                        }
                    }
                    Err(why) => {
                        self.skip_line(begin, number);
                        return Some(Err((number, why)));
                    }
                }
            }
            let is_long = self.number > number;
            self.number += 1;
            if is_long && self.width.is_some_and(|width| width != fields.len()) {
                self.skip_line(begin, number);
                return Some(Err((number, NOT_ITS_OWN)));
            }
            if fields.len() > 1 || !fields[0].trim().is_empty() {
                self.width.get_or_insert(fields.len());
                return Some(Ok(Line { number, fields }));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Vec<Result<(usize, Vec<String>), BadLine>> {
        lines(text)
            .map(|line| line.map(|l| (l.number, l.fields)))
            .collect()
    }
    fn ok(number: usize, fields: &[&str]) -> Result<(usize, Vec<String>), BadLine> {
        Ok((number, fields.iter().map(|f| (*f).to_owned()).collect()))
    }

    #[test]
    fn quotes_line_ends_and_marks_are_read() {
        assert_eq!(read(""), []);
        assert_eq!(
            read("\u{feff}编码,名称\r\n1,\r\n"),
            [ok(1, &["编码", "名称"]), ok(2, &["1", ""])]
        );
        assert_eq!(
            read("a,\"b \"\"x\"\"\ny\",c\n\n\"\",2"),
            [ok(1, &["a", "b \"x\"\ny", "c"]), ok(4, &["", "2"])]
        );
        assert_eq!(read("\"a\"\r\n\"b\"\r"), [ok(1, &["a"]), ok(2, &["b"])]);
    }

    #[test]
    fn a_bad_line_leaves_the_next_ones() {
        assert_eq!(
            read("a\"b,c\nd\n\"e\"f\ng"),
            [
                Err((1, "a quote stands inside an unquoted field")),
                ok(2, &["d"]),
                Err((3, "something stands behind a closing quote")),
                ok(4, &["g"]),
            ]
        );
        assert_eq!(
            read("a\n\"b\nc"),
            [
                ok(1, &["a"]),
                Err((2, "a quoted field does not end")),
                ok(3, &["c"])
            ]
        );
        assert_eq!(
            read("a,b\n1,\"x\n2,y\n3,z\",w\n4,v"),
            [
                ok(1, &["a", "b"]),
                Err((2, NOT_ITS_OWN)),
                ok(3, &["2", "y"]),
                Err((4, "a quote stands inside an unquoted field")),
                ok(5, &["4", "v"]),
            ]
        );
    }

    proptest! {
        #[test]
        fn what_is_quoted_reads_back(rows in prop::collection::vec(prop::collection::vec("[ab,\"\r\n名]{0,5}", 3), 1..5)) {
            let quote = |field: &String| format!("\"{}\"", field.replace('"', "\"\""));
            let line = |row: &Vec<String>| row.iter().map(quote).collect::<Vec<_>>().join(",");
            let text = rows.iter().map(line).collect::<Vec<_>>().join("\r\n");
            let back: Vec<_> = lines(&text).map(|line| line.unwrap().fields).collect();
            prop_assert_eq!(back, rows);
        }

        #[test]
        fn any_text_ends(text in "[a,\"\r\n]{0,40}") {
            let n_lines = text.matches('\n').count() + 1;
            prop_assert!(lines(&text).count() <= n_lines);
        }
    }
}

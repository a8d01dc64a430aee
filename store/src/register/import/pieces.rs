//! A file of any size in pieces: features of a JSON collection, lines, records of a sheet. Only one piece is in
//! memory at a time, and one that is larger than the limit is passed over and told.

use std::io::{self, BufRead};

use super::encoding::NotText;

/// Most bytes of one piece.
pub(super) const MAX_PIECE: usize = 16 << 20;

/// What stands next in a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Its text.
    Text(String),
    /// It is larger than [`MAX_PIECE`].
    TooLarge,
    /// It is no UTF-8; what it may be.
    NotUtf8(NotText),
}

fn piece(bytes: Vec<u8>, too_large: bool) -> Piece {
    match (too_large, String::from_utf8(bytes)) {
        (true, _) => Piece::TooLarge,
        (false, Ok(text)) => Piece::Text(text),
        (false, Err(error)) => Piece::NotUtf8(NotText::of(error.as_bytes())),
    }
}

/// The next byte, without taking it.
fn peek(file: &mut impl BufRead) -> io::Result<Option<u8>> {
    Ok(file.fill_buf()?.first().copied())
}

/// Passes over white space and a byte order mark, and gives the next byte without taking it.
fn significant(file: &mut impl BufRead) -> io::Result<Option<u8>> {
    while let Some(byte) = peek(file)? {
        if !(byte.is_ascii_whitespace() || matches!(byte, 0xEF | 0xBB | 0xBF)) {
            return Ok(Some(byte));
        }
        file.consume(1);
    }
    Ok(None)
}

/// Takes one JSON value as text, by its brackets and quotes only; what it is made of is for the parser to say.
fn value(file: &mut impl BufRead) -> io::Result<Option<Piece>> {
    if significant(file)?.is_none() {
        return Ok(None);
    }
    let (mut out, mut too_large) = (Vec::new(), false);
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    loop {
        let buffer = file.fill_buf()?;
        if buffer.is_empty() {
            break;
        }
        let (mut n, mut ends) = (0, false);
        for byte in buffer {
            // A bare number or word ends before what follows it.
            if depth == 0 && !in_text && matches!(byte, b',' | b']' | b'}') {
                ends = true;
                break;
            }
            n += 1;
            match byte {
                _ if escaped => escaped = false,
                b'\\' if in_text => escaped = true,
                b'"' => in_text = !in_text,
                b'{' | b'[' if !in_text => depth += 1,
                b'}' | b']' if !in_text => depth -= 1,
                _ => continue,
            }
            if depth == 0 && !in_text && !escaped {
                ends = true;
                break;
            }
        }
        too_large |= out.len() + n > MAX_PIECE;
        if too_large {
            out = Vec::new();
        } else {
            out.extend_from_slice(&buffer[..n]);
        }
        file.consume(n);
        if ends {
            break;
        }
    }
    Ok(Some(piece(out, too_large)))
}

/// The members of a JSON object, `features` apart.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Outline {
    /// Name and text of each member; too large ones are left out.
    pub(super) members: Vec<(String, String)>,
    /// Whether there is an array `features`.
    pub(super) has_features: bool,
}

/// Reads a file's members and passes over its features. `None` when it is no JSON object.
pub(super) fn outline(file: &mut impl BufRead) -> io::Result<Option<Outline>> {
    let mut outline = Outline::default();
    let whole = members(file, |file, name| {
        if name == "features" && significant(file)? == Some(b'[') {
            outline.has_features = true;
            let mut features = Features::open(file)?;
            while features.skip()? {}
            return Ok(true);
        }
        if let Some(Piece::Text(text)) = value(file)? {
            outline.members.push((name.to_owned(), text));
        }
        Ok(true)
    })?;
    if !whole {
        return Ok(None);
    }
    // To its end, so that what a compressed file says of itself is held, too.
    file.consume(1);
    match significant(file)? {
        None => Ok(Some(outline)),
        Some(_) => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "something stands behind the closing brace of its object",
        )),
    }
}

/// Puts the file at the first of its features; `false` when it has none.
pub(super) fn seek_features(file: &mut impl BufRead) -> io::Result<bool> {
    let mut found = false;
    members(file, |file, name| {
        if name == "features" && significant(file)? == Some(b'[') {
            found = true;
            return Ok(false);
        }
        value(file).map(|_| true)
    })?;
    Ok(found)
}

/// Walks over an object's members until `each` says stop; whether it is an object that ends.
fn members<R: BufRead>(
    file: &mut R,
    mut each: impl FnMut(&mut R, &str) -> io::Result<bool>,
) -> io::Result<bool> {
    if significant(file)? != Some(b'{') {
        return Ok(false);
    }
    file.consume(1);
    loop {
        match significant(file)? {
            Some(b'}') => return Ok(true),
            Some(b',') => file.consume(1),
            Some(b'"') => {
                let Some(Piece::Text(name)) = value(file)? else {
                    return Ok(false);
                };
                if significant(file)? != Some(b':') {
                    return Ok(false);
                }
                file.consume(1);
                let name: String = serde_json::from_str(&name).unwrap_or_default();
                if !each(file, &name)? {
                    return Ok(true);
                }
            }
            _ => return Ok(false),
        }
    }
}

/// The elements of a JSON array.
pub(super) struct Features<'a, R> {
    file: &'a mut R,
}

impl<'a, R: BufRead> Features<'a, R> {
    /// At its opening bracket.
    pub(super) fn open(file: &'a mut R) -> io::Result<Self> {
        if significant(file)? == Some(b'[') {
            file.consume(1);
        }
        Ok(Self { file })
    }
    fn skip(&mut self) -> io::Result<bool> {
        next_element(self.file).map(|piece| piece.is_some())
    }
}

/// The next element of an array whose bracket was opened; `None` behind the last, with the closing bracket taken.
pub(super) fn next_element(file: &mut impl BufRead) -> io::Result<Option<Piece>> {
    loop {
        match significant(file)? {
            None => return Ok(None),
            Some(b',') => file.consume(1),
            Some(b']') => {
                file.consume(1);
                return Ok(None);
            }
            // A bracket that closes nothing: the parser names it.
            Some(b'}') => {
                file.consume(1);
                return Ok(Some(Piece::Text("}".to_owned())));
            }
            Some(_) => return value(file),
        }
    }
}

/// The next line without its end; `None` at the file's.
pub(super) fn next_line(file: &mut impl BufRead) -> io::Result<Option<Piece>> {
    let (mut out, mut too_large, mut any) = (Vec::new(), false, false);
    loop {
        let buffer = file.fill_buf()?;
        if buffer.is_empty() {
            break;
        }
        any = true;
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let n = end.unwrap_or(buffer.len());
        too_large |= out.len() + n > MAX_PIECE;
        if too_large {
            out = Vec::new();
        } else {
            out.extend_from_slice(&buffer[..n]);
        }
        file.consume(n + usize::from(end.is_some()));
        if end.is_some() {
            break;
        }
    }
    Ok(any.then(|| piece(out, too_large)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::io::BufReader;

    /// Read a few bytes at a time, so that pieces lie over the buffer's borders.
    fn file(text: &str) -> BufReader<&[u8]> {
        BufReader::with_capacity(3, text.as_bytes())
    }
    fn features(text: &str) -> Vec<String> {
        let mut file = file(text);
        assert!(seek_features(&mut file).unwrap());
        let _open = Features::open(&mut file).unwrap();
        let mut all = Vec::new();
        while let Some(piece) = next_element(&mut file).unwrap() {
            match piece {
                Piece::Text(text) => all.push(text),
                other => all.push(format!("{other:?}")),
            }
        }
        all
    }

    #[test]
    fn features_come_one_by_one_wherever_they_stand() {
        let text = "\u{feff} {\"type\" : \"FeatureCollection\", \"bbox\": [1,[2]], \"n\":-1.5e3,\n \"features\": [ {\"a\":\"]}\\\"[\"} , 7,[1,2],\"x,]\" , null], \"crs\":{\"properties\":{}} }";
        assert_eq!(
            features(text),
            ["{\"a\":\"]}\\\"[\"}", "7", "[1,2]", "\"x,]\"", "null"]
        );
        let outline = outline(&mut file(text)).unwrap().unwrap();
        assert!(outline.has_features);
        let names: Vec<&str> = outline.members.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["type", "bbox", "n", "crs"]);
        assert_eq!(outline.members[3].1, "{\"properties\":{}}");
    }

    #[test]
    fn what_is_no_object_or_is_cut_is_said() {
        for text in ["", "[1]", "x", "{", "{\"a\"", "{\"a\":1", "{1:2}"] {
            assert_eq!(outline(&mut file(text)).unwrap(), None, "{text}");
        }
        assert_eq!(
            features("{\"features\":[{\"a\":1},{\"b\":"),
            ["{\"a\":1}", "{\"b\":"]
        );
        assert_eq!(features("{\"features\":[}]"), ["}"]);
    }

    #[test]
    fn lines_and_pieces_over_the_limit_are_passed_over() {
        let long = "x".repeat(MAX_PIECE + 1);
        let text = format!("a\r\n{long}\n\nb");
        let mut lines = BufReader::new(text.as_bytes());
        let mut all = Vec::new();
        while let Some(line) = next_line(&mut lines).unwrap() {
            all.push(line);
        }
        let text = |text: &str| Piece::Text(text.to_owned());
        assert_eq!(all, [text("a\r"), Piece::TooLarge, text(""), text("b")]);
        let json = format!("{{\"features\":[\"{long}\",1]}}");
        assert_eq!(features(&json), ["TooLarge", "1"]);
    }
}

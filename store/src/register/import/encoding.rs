//! The encodings that files of text are written in: UTF-8, and GB 18030, which holds GBK and GB 2312. Declared, never
//! guessed: what is not UTF-8 and reads as GB 18030 is refused with the words that declare it.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, BufRead, Read};
use std::str::FromStr;

use encoding_rs::{Decoder, DecoderResult, GB18030};

/// A byte that is in no text of UTF-8: it stands for what a declared encoding cannot read.
const NO_TEXT: u8 = 0xFF;
/// Bytes that are decoded at once.
const N_CHUNK: usize = 16 << 10;

/// What a file of text is written in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// UTF-8, with or without a byte order mark.
    #[default]
    Utf8,
    /// GB 18030, GBK or GB 2312; a byte order mark of UTF-8 or UTF-16 at the file's beginning counts instead.
    Gb18030,
}

impl FromStr for Encoding {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "utf-8" | "utf8" => Ok(Self::Utf8),
            "gb18030" | "gbk" | "gb2312" => Ok(Self::Gb18030),
            _ => Err(format!(
                "`{text:.32}` is not an encoding; encodings are utf-8, gb18030 (gbk, gb2312)"
            )),
        }
    }
}

/// Why bytes are no text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotText {
    /// They are UTF-16.
    Utf16,
    /// They are GB 18030 by all appearance.
    Gb18030,
    /// Not what was declared, and nothing that is known.
    Neither,
}

impl fmt::Display for NotText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Utf16 => "it is UTF-16, which is not read: save it as UTF-8",
            Self::Gb18030 => {
                "it is not UTF-8; it reads as GB 18030 (GBK): --encoding gb18030 (encoding=gb18030) declares that"
            }
            Self::Neither => "it is text neither in the declared encoding nor in UTF-8 or GB 18030",
        })
    }
}

impl NotText {
    /// What bytes are that are no UTF-8.
    pub(super) fn of(bytes: &[u8]) -> Self {
        if matches!(bytes, [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..]) {
            return Self::Utf16;
        }
        match decoded(GB18030.new_decoder_without_bom_handling(), bytes).contains(&NO_TEXT) {
            true => Self::Neither,
            false => Self::Gb18030,
        }
    }
}

impl Encoding {
    /// Reads one line, or a whole text.
    ///
    /// # Errors
    /// [`NotText`] when it is not text in this encoding.
    pub fn decode(self, bytes: &[u8]) -> Result<Cow<'_, str>, NotText> {
        let text = match self {
            Self::Utf8 => Cow::Borrowed(bytes),
            Self::Gb18030 => Cow::Owned(decoded(GB18030.new_decoder(), bytes)),
        };
        let read = match text {
            Cow::Borrowed(bytes) => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
            Cow::Owned(bytes) => String::from_utf8(bytes).ok().map(Cow::Owned),
        };
        read.ok_or_else(|| match self {
            Self::Utf8 => NotText::of(bytes),
            Self::Gb18030 => NotText::Neither,
        })
    }

    /// The file as UTF-8; what cannot be read is no text there either.
    pub(super) fn read<'a>(self, file: Box<dyn BufRead + Send + 'a>) -> Box<dyn BufRead + Send + 'a> {
        match self {
            Self::Utf8 => file,
            Self::Gb18030 => Box::new(io::BufReader::with_capacity(1 << 16, Transcoded::new(file))),
        }
    }
}

fn decoded(decoder: Decoder, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + bytes.len() / 2);
    let read = Transcoded {
        decoder,
        ..Transcoded::new(bytes)
    }
    .read_to_end(&mut out);
    read.expect("bytes in memory can be read");
    out
}

/// Another encoding's bytes as those of UTF-8.
struct Transcoded<R> {
    file: R,
    decoder: Decoder,
    out: Vec<u8>,
    at: usize,
    ended: bool,
}

impl<R: BufRead> Transcoded<R> {
    fn new(file: R) -> Self {
        Self {
            file,
            decoder: GB18030.new_decoder(),
            out: Vec::new(),
            at: 0,
            ended: false,
        }
    }

    fn refill(&mut self) -> io::Result<()> {
        (self.at, self.out) = (0, vec![0; N_CHUNK]);
        let mut n = 0;
        while n == 0 && !self.ended {
            let bytes = self.file.fill_buf()?;
            let last = bytes.is_empty();
            let (result, n_read, n_written) =
                self.decoder
                    .decode_to_utf8_without_replacement(bytes, &mut self.out[..N_CHUNK - 1], last);
            self.file.consume(n_read);
            n = n_written;
            match result {
                DecoderResult::InputEmpty => self.ended = last,
                DecoderResult::OutputFull => {}
                DecoderResult::Malformed(..) => {
                    self.out[n] = NO_TEXT;
                    n += 1;
                }
            }
        }
        self.out.truncate(n);
        Ok(())
    }
}

impl<R: BufRead> Read for Transcoded<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.at == self.out.len() && !self.ended {
            self.refill()?;
        }
        let n = into.len().min(self.out.len() - self.at);
        into[..n].copy_from_slice(&self.out[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// 西宁市 in GBK, and a character of four bytes of GB 18030 (㐃, U+3403).
    const XINING: &[u8] = &[0xCE, 0xF7, 0xC4, 0xFE, 0xCA, 0xD0];
    const FOUR: &[u8] = &[0x81, 0x39, 0xEF, 0x32];

    #[test]
    fn what_is_declared_is_read_and_what_is_not_is_named() {
        let gb = |bytes: &[u8]| Encoding::Gb18030.decode(bytes).map(Cow::into_owned);
        assert_eq!(gb(XINING), Ok("西宁市".to_owned()));
        assert_eq!(gb(FOUR), Ok("\u{3403}".to_owned()));
        assert_eq!(gb(b"plain"), Ok("plain".to_owned()));
        assert_eq!(
            gb("\u{feff}西宁".as_bytes()),
            Ok("西宁".to_owned()),
            "its mark says UTF-8"
        );
        assert_eq!(gb(&[0xCE]), Err(NotText::Neither), "half a character");
        assert_eq!(gb(&[0xFF, 0x41]), Err(NotText::Neither));
        let utf8 = |bytes: &[u8]| Encoding::Utf8.decode(bytes).map(Cow::into_owned);
        assert_eq!(utf8("西宁".as_bytes()), Ok("西宁".to_owned()));
        assert_eq!(utf8(XINING), Err(NotText::Gb18030));
        assert_eq!(utf8(&[0xFF, 0xFE, 0x41, 0]), Err(NotText::Utf16));
        assert_eq!(utf8(&[0xFF, 0xFF]), Err(NotText::Neither));
    }

    #[test]
    fn a_file_is_read_over_the_borders_of_its_buffers() {
        let text: String = ('一'..='龥')
            .step_by(7)
            .chain(['\n', '\u{3402}', '"', '\\'])
            .collect();
        let mut bytes = Vec::new();
        for c in text.chars() {
            let mut one = String::new();
            one.push(c);
            bytes.extend_from_slice(&GB18030.encode(&one).0);
        }
        let bytes = bytes.repeat(20);
        for capacity in [1, 2, 3, 1 << 12] {
            let file = io::BufReader::with_capacity(capacity, bytes.as_slice());
            let mut read = String::new();
            Encoding::Gb18030
                .read(Box::new(file))
                .read_to_string(&mut read)
                .unwrap();
            assert!(read == text.repeat(20), "{capacity}");
        }
        let file = io::BufReader::with_capacity(2, &[b'a', 0xFF, b'b', b'\n', 0xCE, 0xF7][..]);
        let mut read = Vec::new();
        Encoding::Gb18030
            .read(Box::new(file))
            .read_to_end(&mut read)
            .unwrap();
        assert_eq!(read, [b"a\xFFb\n", "西".as_bytes()].concat());
    }
}

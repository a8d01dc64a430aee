//! Encryption of CP (2025): SM4, ECB, whole groups of 16 bytes; what is left over stays plain.
//!
//! On the wire each cipher byte is written `0xHH`, separated by commas, in braces, then the plain rest:
//! `{0xE4,0x3E,…}g=N`. CRC belongs to the plain segment, and so does the length field in the printed
//! examples; the length of what is sent is taken too.

use std::fmt;

use sm4::Sm4;
use sm4::cipher::{BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};

use super::crc::crc;
use super::encode::{EncodeError, frame};
use super::framer::find;
use super::segment::Segment;
use crate::hex;

const BLOCK: usize = 16;

/// A key of 16 bytes. It has no readable `Debug`.
#[derive(Clone)]
pub struct Key(Sm4);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

impl Key {
    /// A key of its bytes.
    pub fn new(bytes: [u8; 16]) -> Self {
        Self(Sm4::new(&bytes.into()))
    }

    /// A key as it is written: 16 characters of ASCII, or 32 hexadecimal digits.
    ///
    /// # Errors
    /// [`KeyError`] for every other text.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let text = text.as_bytes();
        if let Ok(bytes) = <[u8; 16]>::try_from(text) {
            return match bytes.is_ascii() {
                true => Ok(Self::new(bytes)),
                false => Err(KeyError),
            };
        }
        let mut bytes = [0; BLOCK];
        if text.len() != 2 * BLOCK {
            return Err(KeyError);
        }
        for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
            *byte = hex::byte(pair).ok_or(KeyError)?;
        }
        Ok(Self::new(bytes))
    }
}

/// A text that is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key has 16 characters of ASCII or 32 hexadecimal digits")]
pub struct KeyError;

/// Encrypted text that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("encrypted text is `{{0xHH,…}}` of groups of 16 bytes and then less than 16 plain ones (byte {at})")]
pub struct SealError {
    /// Offset in the segment.
    pub at: usize,
}

/// Whether the standard has CP of this command encrypted: data (2000 to 2999), 1014 and 3020.
pub fn is_sealed_command(cn: &str) -> bool {
    (cn.len() == 4 && cn.starts_with('2')) || cn == "1014" || cn == "3020"
}

/// The frame of a segment with CP encrypted; the length field is that of the plain segment, as printed in
/// the standard. A CP below 16 bytes has nothing to encrypt and goes as it is.
///
/// # Errors
/// [`EncodeError::TooLong`] as for a plain frame.
pub fn encode_sealed(segment: &Segment, key: &Key) -> Result<Vec<u8>, EncodeError> {
    let plain = segment.text();
    let cp = segment.cp_text();
    let whole = cp.len() / BLOCK * BLOCK;
    if whole == 0 {
        return super::encode(segment);
    }
    let (start, end) = (
        plain.len() - segment.after_cp.len() - "&&".len() - cp.len(),
        plain.len() - segment.after_cp.len() - "&&".len(),
    );
    let bytes = plain.as_bytes();
    let mut sealed = bytes[..start].to_vec();
    sealed.push(b'{');
    for (i, block) in bytes[start..start + whole].chunks_exact(BLOCK).enumerate() {
        let mut cipher = [0; BLOCK];
        cipher.copy_from_slice(block);
        key.0.encrypt_block((&mut cipher).into());
        for (j, byte) in cipher.iter().enumerate() {
            let comma = if i + j > 0 { "," } else { "" };
            sealed.extend_from_slice(format!("{comma}0x{byte:02X}").as_bytes());
        }
    }
    sealed.push(b'}');
    sealed.extend_from_slice(&bytes[start + whole..end]);
    sealed.extend_from_slice(&bytes[end..]);
    frame(plain.len(), crc(bytes), &sealed)
}

/// The plain segment of an encrypted one. Whether the key was right, the CRC says.
///
/// # Errors
/// [`SealError`] when the text is not written as the standard has it.
pub fn unseal(segment: &[u8], key: &Key) -> Result<Vec<u8>, SealError> {
    let start = find(segment, b"CP=&&{").ok_or(SealError { at: 0 })? + "CP=&&".len();
    let mut plain = segment[..start].to_vec();
    let mut at = start + 1;
    let mut block = [0; BLOCK];
    let mut n_bytes = 0;
    loop {
        let fault = SealError { at };
        let written = segment.get(at..at + 4).ok_or(fault)?;
        if written[0] != b'0' || !written[1].eq_ignore_ascii_case(&b'x') {
            return Err(fault);
        }
        block[n_bytes % BLOCK] = hex::byte(&written[2..]).ok_or(fault)?;
        n_bytes += 1;
        if n_bytes % BLOCK == 0 {
            key.0.decrypt_block((&mut block).into());
            plain.extend_from_slice(&block);
        }
        at += 4;
        match segment.get(at) {
            Some(b',') => at += 1,
            Some(b'}') if n_bytes % BLOCK == 0 => break,
            _ => return Err(SealError { at }),
        }
    }
    let rest = &segment[at + 1..];
    let end = rest.windows(2).rposition(|window| window == b"&&");
    if end.is_none_or(|end| end >= BLOCK) {
        return Err(SealError { at });
    }
    plain.extend_from_slice(rest);
    Ok(plain)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::hj212::{DecodeError, Frame, Framer, Piece, Quirk, decode};

    fn framed(bytes: &[u8]) -> Frame {
        match Framer::default().push(bytes).pop() {
            Some(Piece::Frame { frame, .. }) => frame,
            other => panic!("{other:?}"),
        }
    }

    fn segment(cp: &str) -> Segment {
        Segment::parse(format!("QN=20240520210700000;ST=31;CN=2051;PW=1;MN=A;Flag=9;CP=&&{cp}&&").as_bytes())
            .unwrap()
    }

    #[test]
    fn the_known_answer_of_sm4() {
        let text: [u8; 16] = [
            0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0xfe, 0xdc, 0xba, 0x98, 0x76, 0x54, 0x32, 0x10,
        ];
        let mut block = text;
        Key::new(text).0.encrypt_block((&mut block).into());
        let hex: String = block.iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, "681edf34d206965e86b3e94f536e4246");
    }

    #[test]
    fn what_is_encrypted_reads_back_whatever_is_left_over() {
        let key = Key::parse("0123456789abcdef").unwrap();
        for n in [0, 1, 15, 16, 17, 31, 32, 33, 400] {
            let segment = segment(&format!("a-Rtd={}", "7".repeat(n)));
            let bytes = encode_sealed(&segment, &key).unwrap();
            let frame = framed(&bytes);
            assert_eq!(frame.sealed, n + 6 >= 16);
            assert_eq!(decode(&frame, Some(&key)).as_ref(), Ok(&segment));
            // The length of what is sent is taken as well as that of the plain text.
            if frame.sealed {
                let other = super::super::encode::frame(frame.segment.len(), frame.crc, &frame.segment);
                let other = framed(&other.unwrap());
                let mut long = segment;
                if other.is_long() {
                    long.quirks.push(Quirk::LongSegment);
                }
                assert_eq!(decode(&other, Some(&key)), Ok(long));
            }
        }
    }

    #[test]
    fn a_wrong_key_none_and_broken_text_are_refused_by_name() {
        let key = Key::new([7; 16]);
        let bytes = encode_sealed(&segment("DataTime=20240520210600;a01011-Min=1.35"), &key).unwrap();
        let frame = framed(&bytes);
        let code = |frame: &Frame, key: Option<&Key>| decode(frame, key).map_err(|e| (e.code(), e.at()));
        assert_eq!(code(&frame, None), Err(("no_key", 57)));
        assert_eq!(code(&frame, Some(&Key::new([8; 16]))), Err(("crc_mismatch", 57)));
        let with = |from: &str, to: &str| {
            let text = String::from_utf8(frame.segment.clone()).unwrap();
            Frame {
                segment: text.replacen(from, to, 1).into_bytes(),
                ..frame.clone()
            }
        };
        assert_eq!(code(&with("{0x", "{0y"), Some(&key)), Err(("sealed_text", 58)));
        assert_eq!(code(&with(",0x", ";0x"), Some(&key)), Err(("sealed_text", 62)));
        assert!(matches!(
            decode(&with("}", ""), Some(&key)),
            Err(DecodeError::Seal(_))
        ));
        let mut odd = frame.clone();
        odd.declared += 1;
        assert_eq!(code(&odd, Some(&key)), Err(("length_mismatch", 0)));
    }

    #[test]
    fn keys_are_16_characters_or_32_digits() {
        assert!(Key::parse("0000000000000000").is_ok() && Key::parse(&"aF".repeat(16)).is_ok());
        for bad in ["", "000000000000000", &"xx".repeat(16), "密钥密钥密x"] {
            assert!(Key::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(format!("{:?}", Key::new([1; 16])), "Key");
    }
}

//! Hexadecimal text.

/// Uppercase.
pub(crate) fn upper(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02X}")).collect()
}

/// Lowercase.
pub(crate) fn lower(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The value of one digit.
pub(crate) fn digit(byte: u8) -> Option<u8> {
    (byte as char).to_digit(16).map(|d| d as u8)
}

/// Two digits to a byte.
pub(crate) fn byte(pair: &[u8]) -> Option<u8> {
    match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    }
}

/// Pairs of digits to bytes; the position of the first byte that is no digit otherwise. A last odd digit
/// counts as one that is followed by no digit.
pub(crate) fn read(text: &[u8]) -> Result<Vec<u8>, usize> {
    let mut bytes = Vec::with_capacity(text.len() / 2);
    for (i, pair) in text.chunks(2).enumerate() {
        let high = digit(pair[0]).ok_or(2 * i)?;
        let low = pair.get(1).copied().and_then(digit).ok_or(2 * i + 1)?;
        bytes.push(high << 4 | low);
    }
    Ok(bytes)
}

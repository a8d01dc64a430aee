//! The check value of HJ 212, and the one that home-made devices send in its place.

/// CRC of a data segment.
///
/// Not CRC-16/MODBUS although polynomial and start value are the same: each byte goes into the register
/// after it was shifted by a byte.
///
/// ```
/// # use onemap_wire::hj212::crc;
/// assert_eq!(crc(b""), 0xFFFF);
/// assert_eq!(crc(b"123456789"), 0x2F80);
/// ```
pub fn crc(segment: &[u8]) -> u16 {
    segment
        .iter()
        .fold(0xFFFF, |register, byte| shift(register >> 8 ^ u16::from(*byte)))
}

/// CRC-16/MODBUS of a data segment: refused, and counted by its own name.
pub fn modbus_crc(segment: &[u8]) -> u16 {
    segment
        .iter()
        .fold(0xFFFF, |register, byte| shift(register ^ u16::from(*byte)))
}

/// Eight shifts of a register move its high byte down and add what its low byte alone gives.
fn shift(register: u16) -> u16 {
    register >> 8 ^ LOW[usize::from(register & 0xFF)]
}

/// Eight shifts of each low byte.
const LOW: [u16; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut register = byte as u16;
        let mut i = 0;
        while i < 8 {
            register = match register & 1 {
                1 => register >> 1 ^ 0xA001,
                _ => register >> 1,
            };
            i += 1;
        }
        table[byte] = register;
        byte += 1;
    }
    table
};

/// Four hexadecimal digits in either case.
pub(super) fn hex4(digits: &[u8]) -> Option<u16> {
    if digits.len() != 4 {
        return None;
    }
    digits.iter().try_fold(0, |value, digit| {
        let digit = char::from(*digit).to_digit(16)?;
        Some(value << 4 | digit as u16)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standard_s_example_has_1c80_and_not_the_modbus_value() {
        let segment = b"QN=20160801085857223;ST=32;CN=1062;PW=100000;MN=010000A8900016F000169DC0;Flag=5;CP=&&RtdInterval=30&&";
        assert_eq!((crc(segment), modbus_crc(segment)), (0x1C80, 0x0759));
        assert_eq!((crc(b"\0"), modbus_crc(b"123456789")), (0x4040, 0x4B37));
    }

    #[test]
    fn a_changed_byte_always_changes_it() {
        // The low byte of the register is dropped at each step: what is left must still tell bytes apart.
        for byte in 0..=u8::MAX {
            for other in 0..byte {
                let (a, b) = (crc(&[7, byte, 1, 2, 3]), crc(&[7, other, 1, 2, 3]));
                assert_ne!(a, b, "{byte} and {other}");
            }
        }
    }

    #[test]
    fn four_hexadecimal_digits_and_nothing_else() {
        assert_eq!(hex4(b"1c8F"), Some(0x1C8F));
        for bad in [&b"1c8"[..], b"1c8g", b"+1c8", b"1c80 "] {
            assert_eq!(hex4(bad), None);
        }
    }
}

//! The Flag field, and the version of the standard that it tells.

use serde::ser::{Serialize, SerializeStruct, Serializer};

/// Which edition a peer speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Version {
    /// HJ/T 212-2005.
    V2005,
    /// HJ 212-2017.
    V2017,
    /// HJ 212-2025, and national surface-water stations since 2018.
    V2025,
    /// Version bits of an edition that is not known here.
    Unknown(u8),
}

impl Version {
    /// The version bits.
    pub fn bits(self) -> u8 {
        match self {
            Self::V2005 => 0,
            Self::V2017 => 1,
            Self::V2025 => 2,
            Self::Unknown(bits) => bits,
        }
    }
    fn of_bits(bits: u8) -> Self {
        match bits {
            0 => Self::V2005,
            1 => Self::V2017,
            2 => Self::V2025,
            bits => Self::Unknown(bits),
        }
    }
    /// Stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::V2005 => "HJ/T 212-2005",
            Self::V2017 => "HJ 212-2017",
            Self::V2025 => "HJ 212-2025",
            Self::Unknown(_) => "unknown",
        }
    }
}

/// Bits 7 to 0: `V5 V4 V3 V2 V1 V0 D A`, by position and whatever letters an edition gives them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flag(pub u8);

impl Flag {
    /// A flag of its parts.
    pub fn new(version: Version, has_packets: bool, wants_answer: bool) -> Self {
        Self(version.bits() << 2 | u8::from(has_packets) << 1 | u8::from(wants_answer))
    }
    /// The edition.
    pub fn version(self) -> Version {
        Version::of_bits(self.0 >> 2)
    }
    /// D: PNUM and PNO are there.
    pub fn has_packets(self) -> bool {
        self.0 & 2 != 0
    }
    /// A: the receiver shall answer.
    pub fn wants_answer(self) -> bool {
        self.0 & 1 != 0
    }
}

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.name())
    }
}

impl Serialize for Flag {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut out = s.serialize_struct("Flag", 5)?;
        out.serialize_field("value", &self.0)?;
        out.serialize_field("version_bits", &self.version().bits())?;
        out.serialize_field("version", &self.version())?;
        out.serialize_field("packet_numbers", &self.has_packets())?;
        out.serialize_field("answer_wanted", &self.wants_answer())?;
        out.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_of_the_standard_says_its_parts() {
        for (value, version, has_packets, wants_answer) in [
            (0, Version::V2005, false, false),
            (1, Version::V2005, false, true),
            (3, Version::V2005, true, true),
            (4, Version::V2017, false, false),
            (5, Version::V2017, false, true),
            (6, Version::V2017, true, false),
            (7, Version::V2017, true, true),
            (8, Version::V2025, false, false),
            (11, Version::V2025, true, true),
            (13, Version::Unknown(3), false, true),
            (255, Version::Unknown(63), true, true),
        ] {
            let flag = Flag(value);
            assert_eq!(flag.version(), version);
            assert_eq!(
                (flag.has_packets(), flag.wants_answer()),
                (has_packets, wants_answer)
            );
            assert_eq!(Flag::new(version, has_packets, wants_answer), flag);
        }
    }
}

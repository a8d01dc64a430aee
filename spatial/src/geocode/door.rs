//! House numbers: how they are written, held and found.

use std::sync::Arc;

use super::text::Text;
use super::zone::Zone;
use crate::coordinates::Vertex;

/// A house number and the part behind it (58-3, 58号附3, 甲58号); part 0 is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Number {
    pub(crate) number: u32,
    pub(crate) part: u32,
}

/// Parts that are written as characters count from here.
const STEMS: u32 = 1_000_000;

impl Number {
    /// Reads `58`, `58号`, `58-3`, `58号附3号`, `甲58号`, `58号甲`, `3栋`, `3号楼`, `B座`; no negative number and no word.
    pub(crate) fn read(raw: &str) -> Option<Self> {
        let text = Text::written(raw);
        if raw.trim_start().starts_with(['-', '－']) {
            return None;
        }
        let n_letters = text.chars.iter().filter(|c| c.is_ascii_alphabetic()).count();
        let mut numbers = text
            .chars
            .split(|c| !c.is_ascii_digit())
            .filter(|digits| !digits.is_empty());
        let mut next = || -> Option<u32> {
            let digits: String = numbers.next()?.iter().collect();
            digits.parse().ok().filter(|n| *n < STEMS)
        };
        let number = next();
        let stem = text.chars.iter().find_map(|c| stem(*c));
        match (number, stem) {
            (Some(number), stem) => {
                let part = next().unwrap_or(0);
                Some(Self {
                    number,
                    part: if part > 0 { part } else { stem.unwrap_or(0) },
                })
            }
            (None, Some(stem)) if n_letters <= 1 => Some(Self {
                number: stem,
                part: 0,
            }),
            (None, _) => None,
        }
    }

    /// The number by itself, as in an address: `58`, `58-3`, `12A`, `甲58`, `B`.
    pub(crate) fn bare(self) -> String {
        let own = written(self.number);
        match self.part {
            0 => own,
            part if part >= STEMS + 1_000 => format!("{}{own}", written(part)),
            part if part >= STEMS => format!("{own}{}", written(part)),
            part => format!("{own}-{part}"),
        }
    }

    /// With what follows a number: `58号`, and `B座` of a letter alone.
    pub(crate) fn whole(self) -> String {
        let unit = if self.number >= STEMS { "座" } else { "号" };
        format!("{}{unit}", self.bare())
    }
}

const HEAVENLY: &str = "甲乙丙丁戊己庚辛";

/// A number, or the letter or stem that it stands for.
fn written(n: u32) -> String {
    let letter = match n.checked_sub(STEMS) {
        None => return n.to_string(),
        Some(letter) if letter < 1_000 => char::from_u32(letter),
        Some(stem) => HEAVENLY.chars().nth(stem as usize - 1_000),
    };
    letter.map(String::from).unwrap_or_default()
}

/// A letter or heavenly stem as a number: A座, 甲58号.
pub(crate) fn stem(c: char) -> Option<u32> {
    if c.is_ascii_uppercase() {
        return Some(STEMS + c as u32);
    }
    HEAVENLY
        .chars()
        .position(|stem| stem == c)
        .map(|i| STEMS + 1_000 + i as u32)
}

/// A held door.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    pub(crate) number: Number,
    /// Group of a village; 0 is none.
    pub(crate) group: u16,
    pub(crate) at: Vertex,
    /// Code of the address.
    pub(crate) code: Arc<str>,
    /// The division it lies in, when that is known.
    pub(crate) zone: Option<Zone>,
    /// How far off it may be as its source states, metres; 0 when it does not.
    pub(crate) stated_m: f32,
}

impl Door {
    pub(crate) fn key(&self) -> (u16, Number) {
        (self.group, self.number)
    }
}

/// What a list of doors says about a number.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Found<'a> {
    /// This door.
    Door(&'a Door),
    /// The same number with another part, or without one.
    Beside(&'a Door),
    /// The doors before and behind it on the same side (odd or even).
    Between(&'a Door, &'a Door),
    /// The nearest number on this side; all are smaller, or all are greater.
    Beyond(&'a Door),
}

/// Looks a number up among doors in the order of [`Door::key`].
pub(crate) fn find(doors: &[Door], group: u16, number: Number) -> Option<Found<'_>> {
    let from = doors.partition_point(|door| door.group < group);
    let to = doors.partition_point(|door| door.group <= group);
    let doors = &doors[from..to];
    let at = doors.partition_point(|door| door.number < number);
    if let Some(door) = doors.get(at).filter(|door| door.number == number) {
        return Some(Found::Door(door));
    }
    let same = |door: &&Door| door.number.number == number.number;
    if let Some(door) = doors
        .get(at)
        .filter(same)
        .or(at.checked_sub(1).map(|i| &doors[i]).filter(same))
    {
        return Some(Found::Beside(door));
    }
    let side = |door: &&Door| door.number.number % 2 == number.number % 2 && door.number.number < STEMS;
    let before = doors[..at].iter().rev().find(side);
    let behind = doors[at..].iter().find(side);
    match (before, behind) {
        (Some(a), Some(b)) => Some(Found::Between(a, b)),
        (Some(a), None) | (None, Some(a)) => Some(Found::Beyond(a)),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_number_is_written_as_it_was_read() {
        for (raw, whole) in [
            ("58", "58号"),
            ("58号附3号", "58-3号"),
            ("12A", "12A号"),
            ("甲3号", "甲3号"),
            ("58号乙", "乙58号"),
            ("B座", "B座"),
            ("3栋", "3号"),
        ] {
            assert_eq!(Number::read(raw).unwrap().whole(), whole, "{raw}");
        }
        for bad in ["NaN", "inf", "-5", "", "号", "ABC"] {
            assert_eq!(Number::read(bad), None, "{bad}");
        }
    }

    #[test]
    fn numbers_are_read_as_they_are_written() {
        let read = |raw| Number::read(raw).map(|n| (n.number, n.part));
        assert_eq!(read("58"), Some((58, 0)));
        assert_eq!(read("五十八号"), Some((58, 0)));
        assert_eq!(read("58-3"), Some((58, 3)));
        assert_eq!(read("58号附3号"), Some((58, 3)));
        assert_eq!(read("3栋"), Some((3, 0)));
        assert!(read("甲58号").unwrap().1 > STEMS && read("B座").unwrap().0 > STEMS);
        assert_eq!(read("无号"), None);
        assert_eq!(read("99999999999"), None);
    }

    #[test]
    fn a_number_that_is_not_held_lies_between_its_side() {
        let door = |n| Door {
            number: Number { number: n, part: 0 },
            group: 0,
            at: Vertex {
                lon: n as i32,
                lat: 0,
            },
            code: "".into(),
            zone: None,
            stated_m: 0.0,
        };
        let doors = [1, 4, 9, 10, 20].map(door);
        let ask = |n| match find(&doors, 0, Number { number: n, part: 0 }) {
            Some(Found::Door(d)) => format!("{}", d.number.number),
            Some(Found::Beside(d)) => format!("beside {}", d.number.number),
            Some(Found::Between(a, b)) => format!("{}..{}", a.number.number, b.number.number),
            Some(Found::Beyond(d)) => format!("beyond {}", d.number.number),
            None => "none".into(),
        };
        assert_eq!(
            [ask(9), ask(5), ask(6), ask(11), ask(2), ask(24)],
            ["9", "1..9", "4..10", "beyond 9", "beyond 4", "beyond 20"]
        );
        assert!(find(&doors, 1, Number { number: 4, part: 0 }).is_none());
    }
}

//! What stands behind a name: house number, building, unit, floor, room, village group.

use super::door::{Number, stem};
use super::text::Text;

/// The parts of an address behind its road, estate or village.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Parts {
    pub(crate) number: Option<Number>,
    /// Last number of a range (456-458号).
    pub(crate) number_to: Option<u32>,
    pub(crate) building: Option<Number>,
    /// As they are written: unit, floor, room.
    pub(crate) unit: Option<String>,
    pub(crate) floor: Option<String>,
    pub(crate) room: Option<String>,
    pub(crate) group: Option<u16>,
}

/// What a number stands behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behind {
    Road,
    Place,
    Village,
    /// Nothing that has doors.
    Nothing,
}

/// Reads one part at `at`; how many characters it takes (0: there is none).
pub(crate) fn part(text: &Text, at: usize, behind: Behind, parts: &mut Parts) -> usize {
    let rest = &text.chars[at..];
    let c = rest[0];
    if c.is_ascii_digit() || (c == '-' && rest.get(1).is_some_and(char::is_ascii_digit)) {
        return digits(rest, behind, parts);
    }
    match rest {
        ['第', d, ..] if d.is_ascii_digit() => 1 + digits(&rest[1..], behind, parts),
        ['附', d, ..] if d.is_ascii_digit() && parts.number.is_some() => {
            let (n, len) = run(&rest[1..]);
            if let (Some(number), Some(n)) = (&mut parts.number, n) {
                number.part = n;
            }
            1 + len + usize::from(rest.get(1 + len) == Some(&'号'))
        }
        [c, d, ..]
            if stem(*c).is_some()
                && d.is_ascii_digit()
                && behind == Behind::Road
                && parts.number.is_none() =>
        {
            let (n, len) = run(&rest[1..]);
            let Some(number) = n else { return 0 };
            parts.number = Some(Number {
                number,
                part: stem(*c).unwrap_or(0),
            });
            1 + len + usize::from(rest.get(1 + len) == Some(&'号'))
        }
        [c, '座' | '栋' | '幢' | '区' | '馆' | '楼', ..] if stem(*c).is_some() => {
            parts.building = stem(*c).map(|number| Number { number, part: 0 });
            2
        }
        [c, '号', '楼', ..] if stem(*c).is_some() => {
            parts.building = stem(*c).map(|number| Number { number, part: 0 });
            3
        }
        [b, d, ..] if matches!(b, 'B' | 'F') && d.is_ascii_digit() => {
            let (_, len) = run(&rest[1..]);
            parts.floor = Some(rest[..1 + len].iter().collect());
            1 + len + usize::from(matches!(rest.get(1 + len), Some('层' | '楼' | 'F')))
        }
        ['负' | '地', '下', d, ..] if d.is_ascii_digit() => {
            let (_, len) = run(&rest[2..]);
            parts.floor = Some(rest[2..2 + len].iter().collect());
            2 + len + usize::from(matches!(rest.get(2 + len), Some('层' | '楼')))
        }
        _ => 0,
    }
}

fn run(rest: &[char]) -> (Option<u32>, usize) {
    let len = rest.iter().take_while(|c| c.is_ascii_digit()).count();
    let text: String = rest[..len].iter().collect();
    (text.parse().ok().filter(|n| *n < 1_000_000), len)
}

/// 3-2-101, 58-3号, 3号楼, 58号, 301室, 3社 …
fn digits(rest: &[char], behind: Behind, parts: &mut Parts) -> usize {
    let dash = usize::from(rest[0] == '-');
    let mut runs: Vec<(u32, usize)> = Vec::new();
    let mut at = dash;
    loop {
        let (Some(n), len) = run(&rest[at..]) else {
            // More digits than a number has: left as they are.
            return if runs.is_empty() {
                dash + rest[dash..].iter().take_while(|c| c.is_ascii_digit()).count()
            } else {
                at - 1
            };
        };
        runs.push((n, len));
        at += len;
        let goes_on = rest.get(at) == Some(&'-') && rest.get(at + 1).is_some_and(char::is_ascii_digit);
        if !goes_on || runs.len() == 4 {
            break;
        }
        at += 1;
    }
    let plain = |number: u32| Number { number, part: 0 };
    let last = runs[runs.len() - 1].0;
    let (word, n) = counted(&rest[at..]);
    if runs.len() > 1 && !matches!(word, Word::Number) {
        series(&runs, word, behind, parts);
        return at + n;
    }
    match word {
        Word::Number if behind == Behind::Road && parts.number.is_none() => match runs[..] {
            [(a, _), (b, _), ..] if b > a => {
                // 456-458号 is a range; 58-3号 a part of 58.
                (parts.number, parts.number_to) = (Some(plain(a)), Some(b));
            }
            [(a, _), (b, _), ..] => parts.number = Some(Number { number: a, part: b }),
            _ => parts.number = Some(plain(last)),
        },
        Word::Number => series(&runs, word, behind, parts),
        Word::Building => parts.building = Some(plain(last)),
        Word::Unit => parts.unit = Some(last.to_string()),
        Word::Floor => parts.floor = Some(last.to_string()),
        Word::Room => parts.room = Some(last.to_string()),
        Word::Group => parts.group = u16::try_from(last).ok(),
        Word::Nothing => series(&runs, word, behind, parts),
    }
    at + n
}

/// Numbers joined by dashes, or one without a word: filled in from where the address stands.
fn series(runs: &[(u32, usize)], word: Word, behind: Behind, parts: &mut Parts) {
    for (i, (n, len)) in runs.iter().enumerate() {
        let is_last = i + 1 == runs.len();
        let number = Number { number: *n, part: 0 };
        let takes_number = matches!(behind, Behind::Road | Behind::Village) && parts.number.is_none();
        let is_room = is_last
            && (*len >= 3 || word == Word::Room)
            && (i > 0 || parts.building.is_some() || parts.number.is_some());
        if takes_number && !is_room {
            parts.number = Some(number);
        } else if is_room || (parts.unit.is_some() && parts.building.is_some()) {
            parts.room.get_or_insert_with(|| format!("{n:0len$}", len = *len));
        } else if parts.building.is_none() {
            parts.building = Some(number);
        } else {
            parts.unit.get_or_insert_with(|| n.to_string());
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    Number,
    Building,
    Unit,
    Floor,
    Room,
    Group,
    Nothing,
}

/// The word that a number counts.
fn counted(rest: &[char]) -> (Word, usize) {
    match rest {
        ['号', '楼' | '搂', ..] => (Word::Building, 2),
        ['号', '院', ..] => (Word::Number, 2),
        ['号', '附', ..] => (Word::Number, 1),
        ['号', ..] | ['弄', ..] => (Word::Number, 1),
        ['单', '元', ..] => (Word::Unit, 2),
        ['栋' | '幢' | '座', ..] => (Word::Building, 1),
        ['#', '楼', ..] => (Word::Building, 2),
        ['#', ..] => (Word::Building, 1),
        ['层' | 'F', ..] => (Word::Floor, 1),
        ['楼', ..] => (Word::Floor, 1),
        ['门', c, ..] if c.is_ascii_digit() => (Word::Unit, 1),
        ['室' | '房' | '户', ..] => (Word::Room, 1),
        ['村', '民', '小', '组', ..] => (Word::Group, 4),
        ['社', '区', ..] => (Word::Nothing, 0),
        ['社' | '组' | '队', ..] => (Word::Group, 1),
        _ => (Word::Nothing, 0),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(raw: &str, behind: Behind) -> String {
        let text = Text::read(raw).unwrap();
        let mut parts = Parts::default();
        let mut at = 0;
        while at < text.chars.len() {
            match part(&text, at, behind, &mut parts) {
                0 => break,
                n => at += n,
            }
        }
        let number = |n: Option<Number>| {
            n.map(|n| {
                if n.part > 0 {
                    format!("{}/{}", n.number, n.part)
                } else {
                    n.number.to_string()
                }
            })
        };
        let all = [
            ("no", number(parts.number)),
            ("to", parts.number_to.map(|n| n.to_string())),
            ("b", number(parts.building)),
            ("u", parts.unit),
            ("f", parts.floor),
            ("r", parts.room),
            ("g", parts.group.map(|n| n.to_string())),
        ];
        let said = all.into_iter().filter_map(|(k, v)| Some(format!("{k}{}", v?)));
        format!(
            "{} +{}",
            said.collect::<Vec<_>>().join(" "),
            text.chars.len() - at
        )
    }

    #[test]
    fn the_parts_behind_a_name_are_told_apart() {
        for (raw, behind, want) in [
            ("58号", Behind::Road, "no58 +0"),
            ("58", Behind::Road, "no58 +0"),
            ("58-3号", Behind::Road, "no58/3 +0"),
            ("58号附3号", Behind::Road, "no58/3 +0"),
            ("456-458号", Behind::Road, "no456 to458 +0"),
            ("58号院3号楼2单元301室", Behind::Road, "no58 b3 u2 r301 +0"),
            ("58号12号", Behind::Road, "no58 b12 +0"),
            ("7-9-707", Behind::Place, "b7 u9 r707 +0"),
            ("7-662室", Behind::Place, "b7 r662 +0"),
            ("12号楼1041", Behind::Place, "b12 r1041 +0"),
            ("172栋8单元821", Behind::Place, "b172 u8 r821 +0"),
            ("三社12号", Behind::Village, "no12 g3 +0"),
            ("B座15楼", Behind::Place, "b1000066 f15 +0"),
            ("六楼", Behind::Road, "f6 +0"),
            ("8号楼对面", Behind::Place, "b8 +2"),
        ] {
            assert_eq!(read(raw, behind), want, "{raw}");
        }
    }
}

//! How characters are read: toneless pinyin, for homophones and for typing by syllables or initials.
//!
//! The table is made of Unicode's Unihan database 15.0 (kMandarin; further readings of kHanyuPinlu that
//! make up at least 1 % of a character's uses), CJK Unified Ideographs U+4E00 to U+9FFF.

use std::sync::OnceLock;

/// One syllable a line and its characters; a line that begins with `+` has characters that are also read so.
const TABLE: &str = include_str!("../../data/pinyin.tsv");
const FIRST: u32 = 0x4e00;
const N_CHARS: usize = 0x5200;

/// Which syllables characters are read as.
pub(crate) struct Pinyin {
    syllables: Vec<&'static str>,
    /// Syllable of each character from [`FIRST`]; 0 is none.
    first: Vec<u16>,
    /// Further readings, by character.
    other: Vec<(char, u16)>,
}

impl Pinyin {
    /// The table, read once.
    pub(crate) fn table() -> &'static Self {
        static READ: OnceLock<Pinyin> = OnceLock::new();
        READ.get_or_init(Self::read)
    }

    fn read() -> Self {
        let mut read = Self {
            syllables: vec![""],
            first: vec![0; N_CHARS],
            other: Vec::new(),
        };
        for line in TABLE.lines() {
            let Some((syllable, chars)) = line.split_once('\t') else {
                continue;
            };
            let (also, syllable) = syllable
                .strip_prefix('+')
                .map_or((false, syllable), |s| (true, s));
            let known = read.syllables.iter().position(|s| *s == syllable);
            let id = known.unwrap_or_else(|| {
                read.syllables.push(syllable);
                read.syllables.len() - 1
            }) as u16;
            for c in chars.chars() {
                let slot = (c as u32)
                    .checked_sub(FIRST)
                    .and_then(|i| read.first.get_mut(i as usize));
                match slot {
                    Some(_) if also => read.other.push((c, id)),
                    Some(slot) => *slot = id,
                    None => {}
                }
            }
        }
        read.other.sort_unstable();
        read
    }

    /// The syllable that a character is read as first; 0 when it is none.
    pub(crate) fn id(&self, c: char) -> u16 {
        let i = (c as u32).wrapping_sub(FIRST) as usize;
        self.first.get(i).copied().unwrap_or(0)
    }

    /// Its further readings.
    pub(crate) fn others(&self, c: char) -> impl Iterator<Item = u16> + '_ {
        let from = self.other.partition_point(|(other, _)| *other < c);
        self.other[from..]
            .iter()
            .take_while(move |(other, _)| *other == c)
            .map(|(_, id)| *id)
    }

    /// Every reading, as syllables.
    pub(crate) fn readings(&self, c: char) -> impl Iterator<Item = &'static str> + '_ {
        let first = Some(self.id(c)).filter(|id| *id != 0);
        first
            .into_iter()
            .chain(self.others(c))
            .map(|id| self.syllables[id as usize])
    }

    /// Whether two characters can be read alike.
    pub(crate) fn alike(&self, a: char, b: char) -> bool {
        let (x, y) = (self.id(a), self.id(b));
        x != 0 && y != 0 && (x == y || self.others(a).any(|o| o == y) || self.others(b).any(|o| o == x))
    }

    /// The characters that are read as a character is, it among them.
    #[cfg(test)]
    pub(crate) fn homophones(&self, c: char) -> Vec<char> {
        let id = self.id(c);
        (0..N_CHARS)
            .filter(|i| id != 0 && self.first[*i] == id)
            .filter_map(|i| char::from_u32(FIRST + i as u32))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_read_with_all_their_readings() {
        let table = Pinyin::table();
        let readings = |c| table.readings(c).collect::<Vec<_>>();
        assert_eq!(readings('宁'), ["ning"]);
        assert_eq!(readings('乐'), ["le", "yue"]);
        assert_eq!(readings('x'), [""; 0]);
        assert!(table.alike('仑', '伦') && table.alike('乐', '月') && !table.alike('仑', '西'));
        assert!(!table.alike('1', '1'));
        assert!(table.homophones('仑').contains(&'伦'));
    }
}

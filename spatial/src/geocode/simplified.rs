//! Traditional characters as simplified ones: names and addresses are compared in the latter.
//!
//! The table is made of OpenCC's TSCharacters: of a character with several simplified forms the first counts. Both
//! sides of a comparison go through it, so that one that is wrong in some word is wrong on both.

use std::sync::OnceLock;

/// One simplified character a line, and those that it stands for.
const TABLE: &str = include_str!("../../data/simplified.tsv");

/// The simplified form of a character; what has none is its own.
pub(crate) fn simplified(c: char) -> char {
    static READ: OnceLock<Vec<(char, char)>> = OnceLock::new();
    // Nothing below this is in the table: most texts end here.
    if c < '\u{3400}' {
        return c;
    }
    let table = READ.get_or_init(read);
    match table.binary_search_by_key(&c, |(from, _)| *from) {
        Ok(i) => table[i].1,
        Err(_) => c,
    }
}

fn read() -> Vec<(char, char)> {
    let lines = TABLE.lines().filter(|line| !line.starts_with('#'));
    let mut table: Vec<(char, char)> = lines
        .filter_map(|line| line.split_once('\t'))
        .filter_map(|(to, from)| Some((to.chars().next()?, from)))
        .flat_map(|(to, from)| from.chars().map(move |from| (from, to)))
        .collect();
    table.sort_unstable();
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_addresses_of_xining_are_written_with_is_simplified() {
        for (from, to) in [
            ("西寧市城東區", "西宁市城东区"),
            ("長江路", "长江路"),
            ("崑崙東路", "昆仑东路"),
            ("五四大街", "五四大街"),
            ("黃河路與勝利路交叉口", "黄河路与胜利路交叉口"),
            ("湟源縣城關鎮", "湟源县城关镇"),
            ("大通回族土族自治縣橋頭鎮", "大通回族土族自治县桥头镇"),
            ("樓號單元層室號院", "楼号单元层室号院"),
            ("A-12/é", "A-12/é"),
        ] {
            assert_eq!(from.chars().map(simplified).collect::<String>(), to);
        }
        let table = read();
        assert!(table.len() > 2_900, "{}", table.len());
        assert!(table.windows(2).all(|pair| pair[0].0 < pair[1].0), "each once");
        // What comes out is never itself changed: once is enough.
        assert!(table.iter().all(|(_, to)| simplified(*to) == *to));
    }
}

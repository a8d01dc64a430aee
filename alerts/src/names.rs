//! Names of persons, as they are given.

/// Whether two names may be one person's: case, blanks, full width and what is not seen make no other person.
pub(crate) fn is_same_name(a: &str, b: &str) -> bool {
    seen(a) == seen(b)
}

/// What of a name can be seen, in one case and width; empty when nothing can.
pub(crate) fn seen(name: &str) -> String {
    let is_seen = |c: &char| !c.is_whitespace() && !c.is_control() && !is_invisible(*c);
    let narrow = |c: char| match c {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(c as u32 - 0xfee0).unwrap_or(c),
        other => other,
    };
    name.chars()
        .filter(is_seen)
        .map(narrow)
        .flat_map(char::to_lowercase)
        .collect()
}

/// Signs without width, and those that turn the direction.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_seen_makes_no_other_person() {
        for other in [
            "Li Na",
            "li na",
            " LI  NA ",
            "Li\u{a0}Na",
            "Ｌｉ Ｎａ",
            "Li Na\u{200b}",
            "\u{202e}LiNa",
        ] {
            assert!(is_same_name("Li Na", other), "{other:?}");
        }
        assert!(!is_same_name("李娜", "李雷"));
        assert!(seen("\u{200b}\u{2060}\0 ").is_empty());
    }
}

//! Chinese numerals in front of what is counted.

const NUMERALS: &str = "零一二三四五六七八九";

/// A Chinese number in front of a word that is counted (号, 栋, 单元, 室, 层, 组 …): its value and characters.
pub(super) fn numeral(rest: &[char], before: Option<char>) -> (u32, usize) {
    let is = |c: char| NUMERALS.contains(c) || matches!(c, '十' | '百' | '两' | '千');
    if !is(rest[0]) || before.is_some_and(is) {
        return (0, 0);
    }
    let n = rest.iter().take_while(|c| is(**c)).count();
    let counted = matches!(
        rest.get(n),
        Some('号' | '弄' | '栋' | '幢' | '单' | '室' | '层' | '楼' | '座' | '组' | '社' | '队')
    );
    if !counted || n > 7 {
        return (0, 0);
    }
    value(&rest[..n]).map_or((0, 0), |value| (value, n))
}

fn value(numerals: &[char]) -> Option<u32> {
    let positional = !numerals.iter().any(|c| matches!(c, '十' | '百' | '千'));
    let (mut total, mut current, mut any) = (0u32, 0u32, false);
    for c in numerals {
        let digit = if *c == '两' {
            Some(2)
        } else {
            NUMERALS.chars().position(|d| d == *c).map(|d| d as u32)
        };
        match (digit, c) {
            (Some(d), _) => {
                current = if positional {
                    current.checked_mul(10)?.checked_add(d)?
                } else {
                    d
                };
            }
            (None, '十') => {
                total += 10 * if any && current == 0 { 1 } else { current.max(1) };
                current = 0;
            }
            (None, '百') => {
                total += current.max(1) * 100;
                current = 0;
            }
            (None, '千') => {
                total += current.max(1) * 1000;
                current = 0;
            }
            _ => return None,
        }
        any = true;
    }
    any.then_some(total + current)
}

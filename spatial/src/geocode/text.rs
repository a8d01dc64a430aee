//! Reads an address as characters that can be compared: width, case, separators, Chinese numerals, telephone numbers.
//!
//! Names of the gazetteer go through the same function, so that both sides of a comparison are written alike.

/// Longest address, in characters; longer ones are refused by name.
pub const MAX_CHARS: usize = 256;

/// Why a text is not read as an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// Nothing to read.
    #[error("the address is empty")]
    Empty,
    /// More than [`MAX_CHARS`] characters.
    #[error("the address has {got} characters, at most {MAX_CHARS} are read")]
    TooLong {
        /// Its characters.
        got: usize,
    },
    /// A control character other than tab and line ends.
    #[error("the address holds the control character U+{code:04X} at character {at}")]
    Control {
        /// The character.
        code: u32,
        /// Its place, from 1.
        at: usize,
    },
}

impl AddressError {
    /// The error's name in answers.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::TooLong { .. } => "too_long",
            Self::Control { .. } => "control_character",
        }
    }
}

/// An address, written one way.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Text {
    pub(crate) chars: Vec<char>,
    /// A separator (space, comma, dash between names) stood before this character.
    pub(crate) gap: Vec<bool>,
}

impl Text {
    /// Reads an address.
    pub(crate) fn read(raw: &str) -> Result<Self, AddressError> {
        let raw = raw.trim_matches(['\u{feff}', ' ', '\t', '\r', '\n', '\u{3000}']);
        let mut got = 0;
        for (i, c) in raw.chars().enumerate() {
            got += 1;
            if c.is_control() && !matches!(c, '\t' | '\r' | '\n') && i < MAX_CHARS {
                let code = c as u32;
                return Err(AddressError::Control { code, at: i + 1 });
            }
        }
        if got == 0 {
            return Err(AddressError::Empty);
        }
        if got > MAX_CHARS {
            return Err(AddressError::TooLong { got });
        }
        Ok(Self::written(raw))
    }

    /// Writes a text one way; for names, which have been checked.
    pub(crate) fn written(raw: &str) -> Self {
        let plain: Vec<char> = raw.chars().map(plain).collect();
        let mut text = Self::default();
        let mut gap = false;
        let mut i = 0;
        while i < plain.len() {
            let c = plain[i];
            let before = i.checked_sub(1).map(|i| plain[i]);
            let after = plain.get(i + 1).copied();
            if is_separator(c, before, after) {
                gap = true;
                i += 1;
                continue;
            }
            if c.is_ascii_digit() {
                let n = telephone(&plain[i..], before);
                if n > 0 {
                    gap = true;
                    i += n;
                    continue;
                }
            }
            let (number, n) = numeral(&plain[i..], before);
            if n > 0 {
                for digit in number.to_string().chars() {
                    text.push(digit, std::mem::take(&mut gap));
                }
                i += n;
                continue;
            }
            text.push(c, std::mem::take(&mut gap));
            i += 1;
        }
        text
    }

    fn push(&mut self, c: char, gap: bool) {
        self.chars.push(c);
        self.gap.push(gap);
    }

    pub(crate) fn part(&self, from: usize, to: usize) -> String {
        self.chars[from..to].iter().collect()
    }
}

fn plain(c: char) -> char {
    let c = match c {
        '\u{3000}' => ' ',
        '〇' => '零',
        '號' => '号',
        '—' | '–' | '－' | '﹣' | '‐' | '−' | '~' | '～' => '-',
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(c as u32 - 0xfee0).unwrap_or(c),
        '【' | '〔' | '[' => '(',
        '】' | '〕' | ']' => ')',
        c => c,
    };
    c.to_ascii_uppercase()
}

fn is_separator(c: char, before: Option<char>, after: Option<char>) -> bool {
    match c {
        // 3-2-101, 58-3号: a part of a number.
        '-' | '.' => {
            let number = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
            !(number(before) && number(after)) || c == '.'
        }
        '(' | ')' | '/' | '&' | '#' | '+' => false,
        c => {
            c.is_whitespace()
                || "，,。、；;：:·•|\\\"'“”‘’!?！？*_=<>《》".contains(c)
                || matches!(c, '\u{200b}'..='\u{200f}' | '\u{feff}' | '\u{fe0f}')
                || c.is_control()
        }
    }
}

/// How many characters a telephone number takes here: 11 digits that begin with 1, or 0 and an area code.
fn telephone(rest: &[char], before: Option<char>) -> usize {
    if before.is_some_and(|c| c.is_ascii_digit()) {
        return 0;
    }
    let digits = |s: &[char]| s.iter().take_while(|c| c.is_ascii_digit()).count();
    let n = digits(rest);
    let ends_as_number = |n: usize| matches!(rest.get(n), Some('号' | '弄' | '室' | '栋' | '幢'));
    if n == 11 && rest[0] == '1' && !ends_as_number(n) {
        return n;
    }
    if rest[0] == '0' && (n == 3 || n == 4) && rest.get(n) == Some(&'-') {
        let m = digits(&rest[n + 1..]);
        if matches!(m, 7 | 8) {
            return n + 1 + m;
        }
    }
    if rest[0] == '0' && matches!(n, 10..=12) && !ends_as_number(n) {
        return n;
    }
    0
}

const NUMERALS: &str = "零一二三四五六七八九";

/// A Chinese number in front of a word that is counted (号, 栋, 单元, 室, 层, 组 …): its value and characters.
fn numeral(rest: &[char], before: Option<char>) -> (u32, usize) {
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

/// Words around an address that are no part of it.
const NOISE: &[&str] = &[
    "收件人",
    "收货人",
    "收货地址",
    "收件地址",
    "详细地址",
    "联系电话",
    "联系人",
    "地址",
    "电话",
    "手机",
    "邮编",
    "电联",
    "斜对面",
    "正对面",
    "马路对面",
    "对面",
    "对过",
    "附近",
    "旁边",
    "隔壁",
    "旁",
    "门口",
    "路口",
    "路边",
    "楼下",
    "门前",
    "东北角",
    "东南角",
    "西北角",
    "西南角",
    "东北侧",
    "东南侧",
    "西北侧",
    "西南侧",
    "东侧",
    "西侧",
    "南侧",
    "北侧",
    "往东",
    "往西",
    "往南",
    "往北",
    "以东",
    "以西",
    "以南",
    "以北",
    "东边",
    "西边",
    "南边",
    "北边",
    "红绿灯",
    "十字路口",
    "十字",
    "丁字路口",
    "三岔路口",
    "交叉路口",
    "交叉口",
    "交汇处",
    "交汇",
    "交界处",
    "交界",
    "公交站牌",
    "公交站",
    "转盘",
    "电话联系",
    "送货上门",
    "请打电话",
    "内",
    "处",
    "收",
    "启",
    "亲启",
    "的",
    "院内",
    "(",
    ")",
    "与",
    "和",
    "及",
    "/",
    "&",
    "#",
    "+",
    "中国",
];

/// How many characters of noise stand at `at`: a word of the list, or a person (王先生收) at an end of the text.
pub(crate) fn noise(text: &Text, at: usize) -> usize {
    let rest = &text.chars[at..];
    if rest[0] >= '\u{1f000}' || ('\u{2190}'..='\u{2bff}').contains(&rest[0]) {
        return 1;
    }
    let starts = |word: &str| {
        let mut n = 0;
        for c in word.chars() {
            if rest.get(n) != Some(&c) {
                return 0;
            }
            n += 1;
        }
        n
    };
    let longest = NOISE.iter().map(|word| starts(word)).max().unwrap_or(0);
    if longest > 0 {
        return longest;
    }
    for n in 1..=2 {
        let Some(title) = rest.get(n..n + 2) else { break };
        let person = matches!(
            title,
            ['先', '生'] | ['女', '士'] | ['小', '姐'] | ['师', '傅'] | ['老', '师'] | ['同', '志']
        );
        if person && (at == 0 || text.gap[at] || !text.chars[at - 1].is_alphabetic() || n == 1) {
            return n + 2;
        }
    }
    0
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn written(raw: &str) -> String {
        Text::read(raw).unwrap().chars.iter().collect()
    }

    #[test]
    fn one_address_written_in_many_ways_reads_the_same() {
        for raw in [
            "西关大街５８号",
            "西关大街五十八号",
            " 西关大街，58 號 ",
            "西关大街五八号",
            "西关大街58号13812345678",
            "西关大街58号 0971-6123456",
        ] {
            assert_eq!(written(raw), "西关大街58号", "{raw}");
        }
        for (raw, want) in [
            ("一百零五号", "105号"),
            ("二百一十号", "210号"),
            ("十号楼", "10号楼"),
            ("一千二百号", "1200号"),
            // A name is no number.
            ("五四西路", "五四西路"),
            ("二十里铺镇", "二十里铺镇"),
            ("八一路三单元", "八一路3单元"),
            ("3-2-101", "3-2-101"),
            ("浙江省-杭州", "浙江省杭州"),
            ("b座", "B座"),
        ] {
            assert_eq!(written(raw), want, "{raw}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_by_name() {
        assert_eq!(Text::read(" \u{3000}").unwrap_err(), AddressError::Empty);
        let long = "西".repeat(10_000);
        assert_eq!(Text::read(&long).unwrap_err().code(), "too_long");
        assert_eq!(
            Text::read("西宁\u{0}路").unwrap_err(),
            AddressError::Control { code: 0, at: 3 }
        );
    }

    #[test]
    fn noise_is_told_from_names() {
        let at = |raw: &str| noise(&Text::read(raw).unwrap(), 0);
        assert_eq!(at("对面"), 2);
        assert_eq!(at("王先生收"), 3);
        assert_eq!(at("欧阳女士"), 4);
        assert_eq!(at("🚚快"), 1);
        assert_eq!(at("昆仑路"), 0);
    }
}

//! What stands around an address and is no part of it.

use super::text::Text;

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

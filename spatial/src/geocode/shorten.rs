//! How divisions are called for short.

use super::gazetteer::Rank;
use super::names::Style;

/// Peoples in the names of autonomous divisions.
const PEOPLES: &[&str] = &[
    "维吾尔族",
    "维吾尔",
    "哈萨克族",
    "哈萨克",
    "蒙古族",
    "蒙古",
    "回族",
    "藏族",
    "壮族",
    "土族",
    "撒拉族",
    "满族",
    "彝族",
    "苗族",
    "侗族",
    "瑶族",
    "白族",
    "傣族",
    "土家族",
    "黎族",
    "朝鲜族",
    "羌族",
    "傈僳族",
    "景颇族",
    "哈尼族",
    "布依族",
    "柯尔克孜族",
    "柯尔克孜",
    "东乡族",
    "保安族",
    "裕固族",
    "达斡尔族",
    "鄂温克族",
    "鄂伦春",
    "畲族",
    "仡佬族",
    "水族",
    "毛南族",
    "仫佬族",
    "佤族",
    "拉祜族",
    "纳西族",
    "怒族",
    "独龙族",
    "普米族",
    "布朗族",
    "锡伯族",
    "塔吉克",
    "各族",
    "民族",
];

/// Suffixes by level, longest first.
fn suffixes(rank: Rank) -> &'static [&'static str] {
    match rank {
        Rank::Province => &["特别行政区", "自治区", "省", "市"],
        Rank::City => &["自治州", "地区", "盟", "市"],
        Rank::District => &["自治县", "自治旗", "林区", "特区", "新区", "区", "县", "市", "旗"],
        Rank::Town => &["街道办事处", "民族乡", "街道", "地区", "镇", "乡", "苏木"],
        Rank::Community => &[
            "社区居民委员会",
            "社区居委会",
            "居民委员会",
            "居委会",
            "村民委员会",
            "村委会",
            "生活区",
            "社区",
            "村",
        ],
        Rank::Road | Rank::Place => &[],
    }
}

/// Whether a name says what level of division it is (广州 does not, 广州市 does).
pub(crate) fn has_class(name: &str, rank: Rank) -> bool {
    suffixes(rank)
        .iter()
        .any(|suffix| name.strip_suffix(suffix).is_some_and(|stem| !stem.is_empty()))
}

/// Other ways to say a division's name, with how far they are from it.
pub(crate) fn short_names(name: &str, rank: Rank) -> Vec<(String, Style)> {
    let mut short = Vec::new();
    let mut add = |text: &str, style: Style| {
        if text.chars().count() >= 2 && text != name {
            short.push((text.to_owned(), style));
        }
    };
    let Some((stem, suffix)) = suffixes(rank)
        .iter()
        .find_map(|s| Some((name.strip_suffix(s)?, *s)))
    else {
        return short;
    };
    match (rank, suffix) {
        (Rank::Community, "村民委员会" | "村委会") => {
            // 友谊村村民委员会 and 元堡子村委会 are both the committee of a village that ends with 村.
            let plain = stem.strip_suffix('村').unwrap_or(stem);
            add(&format!("{plain}村"), Style::Full);
            add(&format!("{plain}村委会"), Style::Full);
            bare(plain, &mut add);
        }
        (Rank::Community, "社区居民委员会" | "社区居委会") => {
            add(&format!("{stem}社区"), Style::Full);
            add(&format!("{stem}居委会"), Style::Full);
            bare(stem, &mut add);
        }
        (Rank::Community, "居民委员会" | "居委会") => {
            add(&format!("{stem}居委会"), Style::Full);
            add(&format!("{stem}社区"), Style::Alias);
            bare(stem, &mut add);
        }
        (Rank::Community, _) => bare(stem, &mut add),
        (Rank::Town, "街道办事处" | "街道") => {
            add(&format!("{stem}街道"), Style::Full);
            add(&format!("{stem}街道办事处"), Style::Full);
            add(&format!("{stem}街办"), Style::Full);
            add(stem, Style::Short);
        }
        _ => {
            let mut plain = stem;
            while let Some(less) = PEOPLES.iter().find_map(|people| plain.strip_suffix(people)) {
                if less.chars().count() < 2 {
                    break;
                }
                plain = less;
            }
            if plain != stem {
                let class = suffix.chars().last().unwrap_or_default();
                add(&format!("{plain}{class}"), Style::Alias);
            }
            add(plain, Style::Short);
        }
    }
    short
}

/// A village without the word village is a name from three characters on.
fn bare(stem: &str, add: &mut impl FnMut(&str, Style)) {
    if stem.chars().count() >= 3 {
        add(stem, Style::Short);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn divisions_have_their_short_names() {
        let short = |name, rank| {
            short_names(name, rank)
                .into_iter()
                .map(|(n, _)| n)
                .collect::<Vec<_>>()
        };
        assert_eq!(short("青海省", Rank::Province), ["青海"]);
        assert_eq!(short("新疆维吾尔自治区", Rank::Province), ["新疆区", "新疆"]);
        assert_eq!(short("大通回族土族自治县", Rank::District), ["大通县", "大通"]);
        assert_eq!(short("汉东回族乡", Rank::Town), ["汉东乡", "汉东"]);
        assert_eq!(short("海北藏族自治州", Rank::City), ["海北州", "海北"]);
        assert_eq!(
            short("友谊村村民委员会", Rank::Community),
            ["友谊村", "友谊村委会"]
        );
        assert_eq!(short("元堡子村委会", Rank::Community), ["元堡子村", "元堡子"]);
        assert_eq!(short("上十里铺村", Rank::Community), ["上十里铺"]);
        assert_eq!(short("忠县", Rank::District), [""; 0], "one character is no name");
    }
}

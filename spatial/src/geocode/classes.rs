//! The words at a name's end that say what it is the name of: a road, an estate, a school.

/// What a name's last characters say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Class {
    /// Characters of the suffix.
    pub(crate) n: usize,
    /// It is a road, street, lane or square with house numbers.
    pub(crate) is_road: bool,
}

const ROADS: &[&str] = &[
    "高速公路",
    "大街",
    "大道",
    "公路",
    "胡同",
    "东路",
    "西路",
    "南路",
    "北路",
    "中路",
    "东街",
    "西街",
    "南街",
    "北街",
    "横街",
    "支路",
    "步行街",
    "路",
    "街",
    "巷",
    "道",
    "弄",
    "里",
];
const PLACES: &[&str] = &[
    "卫生服务中心",
    "农贸市场",
    "培训中心",
    "幼儿园",
    "派出所",
    "加油站",
    "停车场",
    "收费站",
    "火车站",
    "汽车站",
    "小区",
    "花园",
    "家园",
    "新村",
    "公寓",
    "广场",
    "大厦",
    "宾馆",
    "酒店",
    "超市",
    "药店",
    "医院",
    "学校",
    "小学",
    "中学",
    "大学",
    "学院",
    "银行",
    "公司",
    "公园",
    "商场",
    "市场",
    "中心",
    "工业园区",
    "工业园",
    "工业区",
    "产业园",
    "雅苑",
    "名邸",
    "国际城",
    "苑",
    "城",
    "园",
    "店",
    "站",
    "厂",
    "院",
    "楼",
    "桥",
    "村",
];

/// The class that a name ends with.
pub(crate) fn class_suffix(name: &[char]) -> Option<Class> {
    let ends = |words: &[&str]| {
        words
            .iter()
            .map(|word| word.chars().count())
            .zip(words)
            .filter(|(n, word)| name.len() > *n && name[name.len() - n..].iter().copied().eq(word.chars()))
            .map(|(n, _)| n)
            .max()
    };
    match (ends(ROADS), ends(PLACES)) {
        (Some(n), _) => Some(Class { n, is_road: true }),
        (None, Some(n)) => Some(Class { n, is_road: false }),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_what_it_is() {
        let class = |name: &str| class_suffix(&name.chars().collect::<Vec<_>>());
        assert_eq!(class("昆仑东路"), Some(Class { n: 2, is_road: true }));
        assert_eq!(class("锦绣花园"), Some(Class { n: 2, is_road: false }));
        assert_eq!(class("路"), None);
    }
}

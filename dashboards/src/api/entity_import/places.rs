//! Divisions by the names that files give them: with what lies above before it, or short.

use onemap_model::{DivisionCode, EntityKind};
use onemap_store::register::RegisterView;

/// Peoples in the names of autonomous counties and prefectures: `大通回族土族自治县` is called `大通县`.
const PEOPLES: &[&str] = &[
    "蒙古族",
    "蒙古",
    "回族",
    "藏族",
    "维吾尔",
    "哈萨克",
    "柯尔克孜",
    "苗族",
    "彝族",
    "壮族",
    "布依族",
    "朝鲜族",
    "满族",
    "侗族",
    "瑶族",
    "白族",
    "土家族",
    "哈尼族",
    "傣族",
    "黎族",
    "傈僳族",
    "佤族",
    "畲族",
    "拉祜族",
    "水族",
    "东乡族",
    "纳西族",
    "景颇族",
    "土族",
    "达斡尔族",
    "仫佬族",
    "羌族",
    "布朗族",
    "撒拉族",
    "毛南族",
    "仡佬族",
    "锡伯",
    "怒族",
    "普米族",
    "裕固族",
    "保安族",
    "独龙族",
    "鄂温克族",
    "鄂伦春",
    "塔吉克",
    "各族",
];

/// The divisions of a register by name.
pub(super) struct Places(Vec<(String, Option<String>, DivisionCode)>);

impl Places {
    pub(super) fn of(view: &RegisterView) -> Self {
        let divisions = view.entities.of_kind(&EntityKind::Division);
        let named = divisions.filter(|division| !division.name.is_empty());
        Self(
            named
                .filter_map(|division| {
                    let code = DivisionCode::new(&division.code).ok()?;
                    let short = short(&division.name);
                    Some((division.name, short, code))
                })
                .collect(),
        )
    }

    /// The division that a text names at its end (`西宁市大通县`), by its whole name or its short one. Of several the one
    /// with the longer name; of several with one name the one whose city or province the text names too, else none.
    pub(super) fn find(&self, text: &str) -> Option<DivisionCode> {
        let text = text.trim();
        let fit = |name: &str| text.ends_with(name).then_some(name.len());
        let mut best: Vec<(usize, &DivisionCode)> = Vec::new();
        for (name, short, code) in &self.0 {
            let Some(length) = fit(name).or_else(|| fit(short.as_deref()?)) else {
                continue;
            };
            match best.first() {
                Some((longest, _)) if *longest > length => {}
                Some((longest, _)) if *longest == length => best.push((length, code)),
                _ => best = vec![(length, code)],
            }
        }
        if let [(_, only)] = best[..] {
            return Some(only.clone());
        }
        let above_is_named = |code: &DivisionCode| {
            self.0
                .iter()
                .any(|(name, _, above)| above != code && above.covers(code) && text.contains(name.as_str()))
        };
        let mut under = best.into_iter().filter(|(_, code)| above_is_named(code));
        match (under.next(), under.next()) {
            (Some((_, only)), None) => Some(only.clone()),
            _ => None,
        }
    }
}

/// The short name of an autonomous division: up to its people, and what it is.
fn short(name: &str) -> Option<String> {
    let (whole, kind) = ["自治县", "自治州", "自治旗"]
        .iter()
        .find_map(|kind| Some((name.strip_suffix(kind)?, &kind["自治".len()..])))?;
    let end = PEOPLES
        .iter()
        .filter_map(|people| whole.find(people))
        .filter(|at| *at > 0)
        .min()?;
    Some(format!("{}{kind}", &whole[..end]))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn divisions_are_found_by_whole_and_short_names() {
        let row = |name: &str, code: &str| (name.to_owned(), short(name), DivisionCode::new(code).unwrap());
        let places = Places(vec![
            row("西宁市", "630100"),
            row("城中区", "630103"),
            row("柳州市", "450200"),
            row("城中区", "450202"),
            row("大通回族土族自治县", "630121"),
            row("门源回族自治县", "632221"),
            row("海西蒙古族藏族自治州", "632800"),
        ]);
        for (text, code) in [
            ("西宁市大通县", Some("630121")),
            ("大通回族土族自治县", Some("630121")),
            ("青海省西宁市城中区", Some("630103")),
            ("柳州市城中区", Some("450202")),
            ("城中区", None),
            ("海北州门源县", Some("632221")),
            ("海西州", Some("632800")),
            ("西宁市", Some("630100")),
            ("海东市民和县", None),
            ("Meireles", None),
            ("", None),
        ] {
            let found = places.find(text);
            assert_eq!(found.as_ref().map(DivisionCode::as_str), code, "{text}");
        }
    }
}

//! The names that are shipped: provinces, Qinghai's prefectures, Xining's districts, streets, towns and villages.
//!
//! Names and codes only; positions come from the register. Dated: the statistics bureau's list by way of
//! china-division 2.7.0 (WTFPL) with names of AreaCity (MIT), see NOTICE. A register's divisions take their place.

use onemap_model::DivisionCode;

use super::{Entry, EntryKind, Ground};

const LISTS: [&str; 3] = [
    include_str!("../../data/divisions.tsv"),
    include_str!("../../data/townships.tsv"),
    include_str!("../../data/villages.tsv"),
];

/// Names that differ from their short forms in more than the class: numerals of the old style.
const ALSO: &[(&str, &str)] = &[("廿里铺", "二十里铺")];

/// The shipped divisions, province first. Two codes for one township are one entry's code and alias.
pub fn base_entries() -> Vec<Entry> {
    let lines = LISTS
        .iter()
        .flat_map(|list| list.lines())
        .filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| {
            let mut columns = line.split('\t');
            let division = DivisionCode::new(columns.next()?).ok()?;
            let name = columns.next()?.to_owned();
            let mut aliases: Vec<String> = columns
                .next()
                .unwrap_or_default()
                .split(';')
                .filter(|a| !a.is_empty())
                .map(str::to_owned)
                .collect();
            aliases.extend(
                ALSO.iter()
                    .filter(|(a, _)| name.contains(a))
                    .map(|(a, b)| name.replace(a, b)),
            );
            Some(Entry {
                code: division.as_str().into(),
                name,
                aliases,
                kind: EntryKind::Division,
                division: Some(division),
                ground: Ground::Nowhere,
                stated_m: 0.0,
                held: false,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::{Asker, Geocoder, Level};
    use super::*;

    fn asked(raw: &str) -> (Level, String) {
        let geocoder = Geocoder::new(base_entries(), []);
        let answer = geocoder.geocode(raw, &Asker::default()).unwrap();
        (
            answer.level,
            answer.division.map(|d| d.as_str().to_owned()).unwrap_or_default(),
        )
    }

    #[test]
    fn divisions_are_read_by_all_their_names() {
        assert_eq!(base_entries().len(), 1_251);
        for (raw, level, code) in [
            ("青海省", Level::Province, "630000"),
            ("青海西宁", Level::City, "630100"),
            ("青海省西宁市城中区", Level::District, "630103"),
            ("青海西宁城中", Level::District, "630103"),
            ("湟中县", Level::District, "630106"),
            ("湟中", Level::District, "630106"),
            ("630122", Level::District, "630106"),
            ("大通县", Level::District, "630121"),
            ("西宁市大通回族土族自治县桥头镇", Level::Town, "630121100"),
            ("湟源城关镇", Level::Town, "630123100"),
            ("城北区二十里铺镇", Level::Town, "630105101"),
            ("总寨镇元堡子村", Level::Community, "630103100213"),
            ("甘肃省", Level::Province, "620000"),
        ] {
            assert_eq!(asked(raw), (level, code.to_owned()), "{raw}");
        }
    }
}

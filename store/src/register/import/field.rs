//! Which column or property of a foreign file is which field of an entity.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// A field of an entity that a column or property can give.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names are those of the entity's fields")]
pub enum Field {
    Code,
    Kind,
    Name,
    NameEn,
    Lon,
    Lat,
    Height,
    /// Well-known text of the geometry, in place of `Lon` and `Lat`.
    Wkt,
    Division,
    /// The division's name; it is looked up, and kept among the attributes as well.
    DivisionName,
    /// The department that owns it or answers for it.
    Department,
    Class,
    Stratum,
    ZMin,
    ZMax,
    HeightDatum,
    ValidFrom,
    ValidTo,
    /// The code it had before.
    FormerCode,
    /// When it got the one it has.
    RecodedAt,
    /// The unit grid of a person; of other kinds an attribute.
    UnitGrid,
    Source,
    /// Not a field: kept among the attributes under its own name.
    Attribute,
    /// Left out.
    Skip,
}

/// A text names no field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a field; fields are code, kind, name, name_en, lon, lat, height, wkt, division, division_name, department, class, stratum, z_min, z_max, height_datum, valid_from, valid_to, former_code, recoded_at, unit_grid, source, attribute, skip"
)]
pub struct FieldError(String);

/// Field, its name, and further names it goes by in files, the likelier first. Names are compared in lower
/// case. `GLBJBSM`, `GLBJMC` and `ZGBMMC` are those of GB/T 47678.5, `ObjID`, `ObjName` and `DeptName1` of CJ/T 214.
const NAMES: [(Field, &str, &[&str]); 24] = [
    (
        Field::Code,
        "code",
        &[
            "编码",
            "代码",
            "标识码",
            "编号",
            "glbjbsm",
            "objid",
            "adcode",
            "osm_id",
            "公民身份号码",
            "身份证号",
            "统一社会信用代码",
            "uscc",
            "code12",
            "code9",
            "hydrant_id",
            "id",
        ],
    ),
    (Field::Kind, "kind", &["类别"]),
    (Field::Name, "name", &["名称", "glbjmc", "objname"]),
    (Field::NameEn, "name_en", &["英文名称", "英文名", "name:en"]),
    (Field::Lon, "lon", &["经度", "lng", "longitude"]),
    (Field::Lat, "lat", &["纬度", "latitude"]),
    (Field::Height, "height", &["高程", "海拔", "height_m"]),
    (
        Field::Wkt,
        "wkt",
        &["geometry", "geom", "the_geom", "wkt_geom", "几何"],
    ),
    (
        Field::Division,
        "division",
        &["区划代码", "行政区划代码", "行政区划", "district_code"],
    ),
    (
        Field::DivisionName,
        "division_name",
        &[
            "区划名称",
            "行政区划名称",
            "所在区县",
            "所属区县",
            "区县",
            "district_name",
            "district",
            "area",
        ],
    ),
    (
        Field::Department,
        "department",
        &["主管部门名称", "主管部门", "zgbmmc", "deptname1", "deptname"],
    ),
    (
        Field::Class,
        "class",
        &["class_code", "类别代码", "小类代码", "sxdm"],
    ),
    (Field::Stratum, "stratum", &["层位"]),
    (Field::ZMin, "z_min", &["最低高程"]),
    (Field::ZMax, "z_max", &["最高高程"]),
    (Field::HeightDatum, "height_datum", &["高程基准", "高程系统"]),
    (Field::ValidFrom, "valid_from", &["启用时间"]),
    (Field::ValidTo, "valid_to", &["停用时间"]),
    (Field::FormerCode, "former_code", &["原编码", "旧编码", "原代码"]),
    (Field::RecodedAt, "recoded_at", &["换码时间", "赋码时间"]),
    (Field::UnitGrid, "unit_grid", &["szdywgbsm", "bgid", "单元网格"]),
    (Field::Source, "source", &["来源", "数据来源"]),
    (Field::Attribute, "attribute", &[]),
    (Field::Skip, "skip", &[]),
];

impl Field {
    /// The field's name in a mapping.
    pub fn name(self) -> &'static str {
        let found = NAMES.iter().find(|(field, ..)| *field == self);
        found.expect("the table holds every field").1
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Field {
    type Err = FieldError;
    fn from_str(text: &str) -> Result<Self, FieldError> {
        let found = NAMES.iter().find(|(_, name, _)| *name == text);
        found
            .map(|(field, ..)| *field)
            .ok_or_else(|| FieldError(text.chars().take(64).collect()))
    }
}

/// Whether a column or property of this name could be taken for something else than an attribute.
pub(crate) fn is_own_name(name: &str) -> bool {
    let name = name.to_lowercase();
    let beside = [
        "attributes",
        "former",
        "z_range_m",
        "fid",
        "geom",
        "rowid",
        "oid",
        "_rowid_",
    ];
    let is_field = |own: &str, others: &[&str]| own == name || others.contains(&&*name);
    beside.contains(&&*name) || NAMES.iter().any(|(_, own, others)| is_field(own, others))
}

/// The field of each of `names`. First what the mapping says; then, for fields still without a column, the
/// field's own name and the usual ones; the rest are attributes.
///
/// # Errors
/// When the mapping gives one field twice: the two names.
pub(super) fn assign<'a>(
    names: &[&'a str],
    mapping: &BTreeMap<String, Field>,
    usable: impl Fn(Field) -> bool,
) -> Result<Vec<Field>, (Field, &'a str, &'a str)> {
    let mut fields: Vec<Option<Field>> = names.iter().map(|name| mapping.get(*name).copied()).collect();
    for (field, own, others) in NAMES {
        if matches!(field, Field::Attribute | Field::Skip) {
            continue;
        }
        let mut holders = (0..names.len()).filter(|i| fields[*i] == Some(field));
        match (holders.next(), holders.next()) {
            (Some(first), Some(second)) => return Err((field, names[first], names[second])),
            (Some(_), None) => continue,
            (None, _) => {}
        }
        if !usable(field) {
            continue;
        }
        let usual = std::iter::once(&own).chain(others).find_map(|usual| {
            (0..names.len()).find(|i| fields[*i].is_none() && names[*i].to_lowercase() == **usual)
        });
        if let Some(i) = usual {
            fields[i] = Some(field);
        }
    }
    Ok(fields
        .into_iter()
        .map(|field| field.unwrap_or(Field::Attribute))
        .collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_likelier_name_wins_and_the_mapping_beats_both() {
        let usual = |names: &[&str]| assign(names, &BTreeMap::new(), |_| true).unwrap();
        assert_eq!(
            usual(&["id", "Code", "经度"]),
            [Field::Attribute, Field::Code, Field::Lon]
        );
        assert_eq!(usual(&["id", "名称"]), [Field::Code, Field::Name]);
        let mapping = BTreeMap::from([("id".to_owned(), Field::Code), ("code".to_owned(), Field::Skip)]);
        let mapped = assign(&["id", "code", "adcode"], &mapping, |_| true).unwrap();
        assert_eq!(mapped, [Field::Code, Field::Skip, Field::Attribute]);
        let twice = BTreeMap::from([("a".to_owned(), Field::Lon), ("b".to_owned(), Field::Lon)]);
        assert_eq!(assign(&["a", "b"], &twice, |_| true), Err((Field::Lon, "a", "b")));
    }

    #[test]
    fn fields_read_back_from_their_names() {
        for (field, name, _) in NAMES {
            assert_eq!(name.parse(), Ok(field));
            assert_eq!(field.to_string(), name);
        }
        assert!("geometry".parse::<Field>().is_err());
    }
}

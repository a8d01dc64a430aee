//! House numbers, buildings of estates and houses of villages, one a line.

use std::collections::{BTreeMap, HashMap};

use onemap_model::{Crs, DivisionCode, Entity, EntityKind};
use serde_json::{Map, Value, json};

use super::csv;
use super::entities_csv::bad_line;
use super::{ImportError, ImportPlace, Mapping};
use crate::register::check_entity;

/// What a column is, by its names.
const COLUMNS: &[(&str, &[&str])] = &[
    ("code", &["code", "编码", "地址编码"]),
    ("road", &["road", "street", "道路", "路名", "街路巷"]),
    ("estate", &["estate", "小区", "小区名称"]),
    ("village", &["village", "村", "行政村"]),
    ("group", &["group", "社", "组", "村民小组"]),
    ("number", &["number", "housenumber", "no", "门牌号", "门牌", "号"]),
    ("building", &["building", "楼栋", "栋", "楼号"]),
    ("lon", &["lon", "lng", "longitude", "经度", "x"]),
    ("lat", &["lat", "latitude", "纬度", "y"]),
    ("crs", &["crs", "坐标系"]),
    ("division", &["division", "adcode", "区划代码", "行政区划代码"]),
    ("name", &["name", "地址", "address"]),
];

/// Reads addresses: `number` on a `road`, `building` of an `estate`, or `number` (and `group`) of a `village`, each
/// with `lon` and `lat` in the system that the line's `crs`, else the mapping, declares. Chinese column names do,
/// too; `maps` says of further columns which of these they are (or `attribute`). Without a `code` an address has one made of where and what it is, so that a second import changes it
/// instead of adding another. Further columns become attributes.
///
/// Yields an entity or an error for each line, in order; a first line that is not usable gives one error.
pub fn import_addresses_csv(
    text: &str,
    mapping: &Mapping,
    maps: &BTreeMap<String, String>,
) -> Vec<Result<Entity, ImportError>> {
    let mut lines = csv::lines(text);
    let first = match lines.next() {
        None => return vec![Err(ImportError::new(ImportPlace::Line(1), "the file is empty"))],
        Some(Err(bad)) => return vec![Err(bad_line(bad))],
        Some(Ok(line)) => line,
    };
    let place = ImportPlace::Line(first.number);
    let columns = match columns(&first.fields, maps) {
        Ok(columns) => columns,
        Err(message) => return vec![Err(ImportError::new(place, message))],
    };
    let has = |any: &[&str]| columns.iter().any(|column| any.contains(&column.as_str()));
    for (any, what) in [
        (
            &["road", "estate", "village"][..],
            "a column road, estate or village is needed",
        ),
        (&["number", "building"], "a column number or building is needed"),
        (&["lon"], "a column lon is needed"),
        (&["lat"], "a column lat is needed"),
    ] {
        if !has(any) {
            let message = format!("{what}; the columns are: {}", columns.join(", "));
            return vec![Err(ImportError::new(place, message))];
        }
    }
    if let Some(twice) = columns
        .iter()
        .enumerate()
        .find(|(i, c)| columns[..*i].contains(c))
    {
        return vec![Err(ImportError::new(
            place,
            format!("two columns give `{}`", twice.1),
        ))];
    }
    let mut seen: HashMap<String, usize> = HashMap::new();
    lines
        .map(|line| {
            let line = line.map_err(bad_line)?;
            let number = line.number;
            let entity = address(line, &columns, mapping)?;
            match seen.insert(entity.code.to_string(), number) {
                Some(before) => Err(ImportError::new(
                    ImportPlace::Line(number),
                    format!("the address `{}` stands on line {before} already", entity.name),
                )),
                None => Ok(entity),
            }
        })
        .collect()
}

/// What the columns of a first line are: what the mapping says, else what their names say where no mapped column is
/// that already.
fn columns(names: &[String], maps: &BTreeMap<String, String>) -> Result<Vec<String>, String> {
    let names: Vec<&str> = names.iter().map(|name| name.trim()).collect();
    for (column, field) in maps {
        if !names.contains(&column.as_str()) {
            return Err(format!(
                "there is no column `{column}`; the columns are: {}",
                names.join(", ")
            ));
        }
        if field != "attribute" && !COLUMNS.iter().any(|(known, _)| known == field) {
            let known: Vec<&str> = COLUMNS.iter().map(|(known, _)| *known).collect();
            return Err(format!(
                "`{field:.64}` is no field of an address; they are: {}, attribute",
                known.join(", ")
            ));
        }
    }
    let read = |name: &&str| match maps.get(*name).map(String::as_str) {
        Some("attribute") => (*name).to_owned(),
        Some(field) => field.to_owned(),
        None => match known(name) {
            field if maps.values().any(|mapped| *mapped == field) => (*name).to_owned(),
            field => field,
        },
    };
    Ok(names.iter().map(read).collect())
}

fn known(name: &str) -> String {
    let lower = name.to_lowercase();
    let found = COLUMNS.iter().find(|(_, names)| names.contains(&lower.as_str()));
    found.map_or_else(|| name.to_owned(), |(column, _)| (*column).to_owned())
}

fn address(line: csv::Line, columns: &[String], mapping: &Mapping) -> Result<Entity, ImportError> {
    let place = ImportPlace::Line(line.number);
    let wrong = |text: String| ImportError::new(place, text);
    if line.fields.len() != columns.len() {
        let (got, want) = (line.fields.len(), columns.len());
        return Err(wrong(format!("{got} fields where the first line has {want}")));
    }
    let mut cells: HashMap<&str, String> = HashMap::new();
    let mut attributes = Map::new();
    for (column, value) in columns.iter().zip(&line.fields) {
        let value = value.trim();
        if value.is_empty() {
            continue;
        }
        if COLUMNS.iter().any(|(known, _)| known == column) {
            cells.insert(column, value.to_owned());
        } else {
            attributes.insert(column.clone(), value.into());
        }
    }
    let of = ["road", "estate", "village"]
        .into_iter()
        .find(|of| cells.contains_key(of));
    let of = of.ok_or_else(|| wrong("there is neither road nor estate nor village".to_owned()))?;
    let what = ["number", "building"]
        .into_iter()
        .find(|what| cells.contains_key(what));
    let what = what.ok_or_else(|| wrong("there is neither number nor building".to_owned()))?;
    let number = &cells[what];
    let numbered = number
        .chars()
        .any(|c| c.is_ascii_digit() || c.is_ascii_alphabetic() || is_numeral(c));
    if !numbered || number.chars().count() > 32 {
        return Err(wrong(format!("{what} `{number:.32}` is no number")));
    }
    let coordinate = |column: &str| -> Result<f64, ImportError> {
        let cell = cells
            .get(column)
            .ok_or_else(|| wrong(format!("there is no {column}")))?;
        let value: f64 = cell
            .parse()
            .map_err(|_| wrong(format!("{column} `{cell:.32}` is not a number")))?;
        let finite = value.is_finite().then_some(value);
        finite.ok_or_else(|| wrong(format!("{column} `{cell:.32}` is not a number")))
    };
    let crs: Crs = match cells.get("crs") {
        None => mapping.crs.unwrap_or_default(),
        Some(name) => name
            .parse()
            .map_err(|e| wrong(format!("crs `{name:.32}`: {e}")))?,
    };
    let (lon, lat) = crs.to_wgs84(coordinate("lon")?, coordinate("lat")?);
    let division = match cells.get("division") {
        None => mapping.division.clone(),
        Some(code) => Some(DivisionCode::new(code).map_err(|e| wrong(e.to_string()))?),
    };
    let suffix = match (what, number.chars().last()) {
        (_, Some(last)) if !last.is_ascii_alphanumeric() => "",
        ("building", _) => "号楼",
        _ => "号",
    };
    let group = cells.get("group").map(String::as_str).unwrap_or_default();
    let group_text = match group.chars().last() {
        None => String::new(),
        Some(last) if last.is_ascii_digit() => format!("{group}社"),
        Some(_) => group.to_owned(),
    };
    let name = cells
        .get("name")
        .cloned()
        .unwrap_or_else(|| format!("{}{group_text}{number}{suffix}", cells[of]));
    for column in [of, what, "group"] {
        if let Some(value) = cells.get(column) {
            attributes.insert(column.to_owned(), value.as_str().into());
        }
    }
    let made = || {
        let district: String = division
            .as_ref()
            .map(|d| d.as_str().chars().take(6).collect())
            .unwrap_or_default();
        code(&[&district, &cells[of], group, number])
    };
    let entity = json!({
        "code": cells.get("code").cloned().unwrap_or_else(made),
        "kind": EntityKind::Address,
        "name": name,
        "division": division,
        "geometry": {"type": "Point", "coordinates": [lon, lat]},
        "attributes": Value::Object(attributes),
        "source": mapping.source,
    });
    let entity: Entity = serde_json::from_value(entity).map_err(|e| wrong(e.to_string()))?;
    check_entity(&entity).map_err(|e| ImportError::of(place, &e))?;
    Ok(entity)
}

fn is_numeral(c: char) -> bool {
    "零〇一二三四五六七八九十百甲乙丙丁".contains(c) || ('０'..='９').contains(&c)
}

/// A code made of parts: the same parts, the same code.
fn code(parts: &[&str]) -> String {
    use sha2::{Digest, Sha256};
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    let hash = hash.finalize();
    let hex: String = hash[..10].iter().map(|b| format!("{b:02x}")).collect();
    format!("addr-{hex}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(text: &str) -> Vec<Result<Entity, String>> {
        let rows = import_addresses_csv(text, &Mapping::default(), &BTreeMap::new());
        rows.into_iter()
            .map(|row| row.map_err(|e| e.to_string()))
            .collect()
    }

    #[test]
    fn doors_buildings_and_houses_are_read() {
        let text = "road,estate,village,group,number,building,lon,lat,crs,division,note\n\
            西关大街,,,,58,,101.77,36.62,WGS84,630104,x\n\
            ,虎台小区,,,,3栋,101.741,36.63,GCJ02,630104,\n\
            ,,元堡子村,3社,12,,101.70,36.53,,630103,\n";
        let rows: Vec<Entity> = read(text).into_iter().map(Result::unwrap).collect();
        let names: Vec<&str> = rows.iter().map(|e| e.name.as_str()).collect();
        assert_eq!(names, ["西关大街58号", "虎台小区3栋", "元堡子村3社12号"]);
        assert_eq!(rows[0].attributes["note"], "x");
        let lon = rows[1].geometry["coordinates"][0].as_f64().unwrap();
        assert!((101.735..101.740).contains(&lon), "{lon} is out of GCJ-02");
        let again: Vec<Entity> = read(text).into_iter().map(Result::unwrap).collect();
        assert_eq!(rows[0].code, again[0].code);
        assert_ne!(rows[0].code, rows[1].code);
    }

    #[test]
    fn columns_are_what_the_mapping_says() {
        let read = |text: &str, maps: &[(&str, &str)]| {
            let maps = maps
                .iter()
                .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
                .collect();
            let rows = import_addresses_csv(text, &Mapping::default(), &maps).into_iter();
            rows.map(|row| row.map_err(|e| e.to_string())).collect::<Vec<_>>()
        };
        let text = "街巷,no,门牌,X坐标,Y坐标\n西关大街,58,甲,101.77,36.62\n";
        let maps = [
            ("街巷", "road"),
            ("no", "number"),
            ("X坐标", "lon"),
            ("Y坐标", "lat"),
        ];
        let rows = read(text, &maps);
        let entity = rows[0].as_ref().unwrap();
        assert_eq!(entity.name, "西关大街58号");
        // What would be the number by its name is an attribute now.
        assert_eq!(
            (&entity.attributes["number"], &entity.attributes["门牌"]),
            (&"58".into(), &"甲".into())
        );
        let error = |maps: &[(&str, &str)]| read(text, maps)[0].clone().unwrap_err();
        assert!(error(&[]).contains("a column road, estate or village is needed; the columns are: 街巷"));
        assert!(error(&[("街", "road")]).contains("there is no column `街`"));
        assert!(error(&[("街巷", "street")]).contains("`street` is no field of an address"));
        let twice = error(&[("街巷", "road"), ("X坐标", "lon"), ("Y坐标", "lat")]);
        assert!(twice.contains("two columns give `number`"), "{twice}");
    }

    #[test]
    fn each_bad_line_is_named_and_the_others_are_read() {
        let text = "道路,门牌号,经度,纬度,坐标系\n\
            西关大街,58,101.77,36.62,\n\
            ,58,101.77,36.62,\n\
            西关大街,,101.77,36.62,\n\
            西关大街,无,101.77,36.62,\n\
            西关大街,60,east,36.62,\n\
            西关大街,62,101.77,99,\n\
            西关大街,64,101.77,36.62,XY\n\
            西关大街,58,101.78,36.62,\n\
            西关大街,66\n\
            西关大街,68,101.79,36.62,\n";
        let rows = read(text);
        let good: Vec<&str> = rows.iter().flatten().map(|e| e.name.as_str()).collect();
        assert_eq!(good, ["西关大街58号", "西关大街68号"]);
        let bad: Vec<&str> = rows
            .iter()
            .filter_map(|r| r.as_ref().err())
            .map(String::as_str)
            .collect();
        for (line, (error, want)) in (3..=10).zip(bad.iter().zip([
            "neither road",
            "neither number",
            "is no number",
            "is not a number",
            "",
            "crs",
            "already",
            "fields",
        ])) {
            assert!(
                error.starts_with(&format!("line {line}:")) && error.contains(want),
                "{error}"
            );
        }
        assert_eq!(bad.len(), 8);
        for text in ["", "road,number\na,1\n", "number,lon,lat\n1,2,3\n"] {
            assert_eq!(read(text).len(), 1, "{text}");
            assert!(read(text)[0].is_err());
        }
    }
}

//! Devices from CSV. The first line names the columns, in any order:
//! `id, name, name_en, kind, profile, lon, lat, crs, division, gateway, cadence_s, department, setting,
//! is_gateway, adopts, entity, token`. Only `id` is needed. An empty cell says nothing.

use std::collections::HashMap;

use onemap_model::{Crs, DeviceId, DivisionCode, EntityRef, ProfileId};
use serde_json::{Map, Value, json};

use super::csv::lines;

const COLUMNS: [&str; 17] = [
    "id",
    "name",
    "name_en",
    "kind",
    "profile",
    "lon",
    "lat",
    "crs",
    "division",
    "gateway",
    "cadence_s",
    "department",
    "setting",
    "is_gateway",
    "adopts",
    "entity",
    "token",
];
/// Longest name and kind, in bytes.
const MAX_TEXT: usize = 255;

/// One device as a line gives it.
#[derive(Clone, Debug, PartialEq)]
pub struct DeviceRow {
    /// Its line, from 1.
    pub line: usize,
    /// Its id.
    pub id: DeviceId,
    /// What else the line says, by the names of the device's fields; the position is WGS 84.
    pub fields: Map<String, Value>,
    /// The token it shall have.
    pub token: Option<String>,
}

/// A line that was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct DeviceFault {
    /// The line, from 1.
    pub line: usize,
    /// The column's name; empty when the line as a whole is meant.
    pub column: String,
    /// What is wrong.
    pub message: String,
}

impl DeviceFault {
    /// A fault in one cell.
    pub fn new(line: usize, column: &str, message: impl Into<String>) -> Self {
        Self {
            line,
            column: column.to_owned(),
            message: message.into(),
        }
    }
}

/// Reads devices, each line for itself. A file whose first line names an unknown column or no `id` gives that
/// one fault. An id that comes again is a fault of the later line.
pub fn import_devices_csv(text: &str) -> Vec<Result<DeviceRow, DeviceFault>> {
    let mut lines = lines(text);
    let header = match lines.next() {
        None => return vec![Err(DeviceFault::new(1, "", "the file is empty"))],
        Some(Err((line, why))) => return vec![Err(DeviceFault::new(line, "", why))],
        Some(Ok(header)) => header,
    };
    let mut columns: Vec<&'static str> = Vec::new();
    for written in &header.fields {
        let name = written.trim();
        match COLUMNS.iter().find(|c| name.eq_ignore_ascii_case(c)) {
            Some(column) if columns.contains(column) => {
                return vec![Err(DeviceFault::new(
                    header.number,
                    column,
                    "the column stands twice",
                ))];
            }
            Some(column) => columns.push(column),
            None => {
                let message = format!("no such column; columns are {}", COLUMNS.join(", "));
                return vec![Err(DeviceFault::new(header.number, name, message))];
            }
        }
    }
    if !columns.contains(&"id") {
        return vec![Err(DeviceFault::new(header.number, "id", "the column is needed"))];
    }
    let mut seen: HashMap<DeviceId, usize> = HashMap::new();
    let mut rows = Vec::new();
    for line in lines {
        let row = match line {
            Err((line, why)) => Err(DeviceFault::new(line, "", why)),
            Ok(line) => row(line.number, &columns, &line.fields),
        };
        rows.push(row.and_then(|row| match seen.get(&row.id) {
            Some(before) => {
                let message = format!("`{}` stands in line {before} already", row.id);
                Err(DeviceFault::new(row.line, "id", message))
            }
            None => {
                seen.insert(row.id.clone(), row.line);
                Ok(row)
            }
        }));
    }
    rows
}

fn row(line: usize, columns: &[&'static str], cells: &[String]) -> Result<DeviceRow, DeviceFault> {
    if cells.len() != columns.len() {
        let message = format!("{} cells, the first line names {}", cells.len(), columns.len());
        return Err(DeviceFault::new(line, "", message));
    }
    let mut fields = Map::new();
    let (mut id, mut token, mut crs) = (None, None, Crs::default());
    let mut degrees: [Option<f64>; 2] = [None, None];
    for (column, cell) in columns.iter().zip(cells) {
        let cell = cell.trim();
        if cell.is_empty() {
            continue;
        }
        let bad = |message: String| DeviceFault::new(line, column, message);
        let wrong = |what: &str| bad(format!("`{cell}` is not {what}"));
        let value = match *column {
            "id" => {
                id = Some(DeviceId::new(cell).map_err(|e| bad(format!("`{cell}`: {e}")))?);
                continue;
            }
            "token" => {
                let is_sound = (8..=128).contains(&cell.len()) && cell.bytes().all(|b| b.is_ascii_graphic());
                if !is_sound {
                    return Err(bad("a token is 8 to 128 printable ASCII characters".to_owned()));
                }
                token = Some(cell.to_owned());
                continue;
            }
            "crs" => {
                crs = cell
                    .parse()
                    .map_err(|e: onemap_model::crs::CrsError| bad(e.to_string()))?;
                continue;
            }
            "lon" | "lat" => {
                let number = cell.parse().ok().filter(|n: &f64| n.is_finite());
                degrees[usize::from(*column == "lat")] = Some(number.ok_or_else(|| wrong("a number"))?);
                continue;
            }
            "profile" => json!(ProfileId::new(cell).map_err(|e| bad(format!("`{cell}`: {e}")))?),
            "gateway" => json!(DeviceId::new(cell).map_err(|e| bad(format!("`{cell}`: {e}")))?),
            "entity" => json!(
                cell.parse::<EntityRef>()
                    .map_err(|e| bad(format!("`{cell:.64}`: {e}")))?
            ),
            "division" => json!(DivisionCode::new(cell).map_err(|e| bad(e.to_string()))?),
            "cadence_s" => json!(cell.parse::<u32>().map_err(|_| wrong("whole seconds"))?),
            "setting" => match cell {
                "urban" | "城市" => json!("urban"),
                "rural" | "农村" => json!("rural"),
                _ => return Err(wrong("urban or rural")),
            },
            "is_gateway" | "adopts" => match cell.to_ascii_lowercase().as_str() {
                "true" | "yes" | "1" | "是" => json!(true),
                "false" | "no" | "0" | "否" => json!(false),
                _ => return Err(wrong("true or false")),
            },
            _ if cell.len() > MAX_TEXT => return Err(bad(format!("longer than {MAX_TEXT} bytes"))),
            _ => json!(cell),
        };
        fields.insert((*column).to_owned(), value);
    }
    match degrees {
        [None, None] => {}
        [Some(lon), Some(lat)] => {
            let (lon, lat) = crs.to_wgs84(lon, lat);
            let column = if (-180.0..=180.0).contains(&lon) {
                "lat"
            } else {
                "lon"
            };
            let position = onemap_model::Position::new(lon, lat, None);
            let position = position.map_err(|e| DeviceFault::new(line, column, e.to_string()))?;
            fields.insert("position".to_owned(), json!(position));
        }
        [lon, _] => {
            let column = if lon.is_none() { "lon" } else { "lat" };
            return Err(DeviceFault::new(
                line,
                column,
                "longitude and latitude come together",
            ));
        }
    }
    let id = id.ok_or_else(|| DeviceFault::new(line, "id", "a device needs an id"))?;
    Ok(DeviceRow {
        line,
        id,
        fields,
        token,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<String> {
        let shown = |row: Result<DeviceRow, DeviceFault>| match row {
            Ok(row) => format!("{} {} {}", row.line, row.id, Value::Object(row.fields)),
            Err(fault) => format!("{}:{}", fault.line, fault.column),
        };
        import_devices_csv(text).into_iter().map(shown).collect()
    }

    #[test]
    fn good_lines_are_taken_and_bad_ones_named_by_line_and_column() {
        let text = "\u{feff}id,name,lon,lat,crs,division,cadence_s,is_gateway,setting,token\r\n\
            a,\"甲, 乙\",101.5,36.5,,630102,60,yes,rural,\n\
            ,b,,,,,,,,\n\
            a b,b,,,,,,,,\n\
            c,c,101,,,,,,,\n\
            d,d,x,36,,,,,,\n\
            e,e,,,MARS,,,,,\n\
            f,f,,,,63,,,,\n\
            g,g,,,,,1.5,,,\n\
            h,h,,,,,,maybe,,\n\
            i,i,,,,,,,moon,\n\
            j,j,,,,,,,,short\n\
            a,again,,,,,,,,\n\
            k,k,200,36,,,,,,\n\
            l,\"l\"x,,,,,,,,\n\
            m,m\n\
            n,n,101.78013247,36.61701834,GCJ02,,,,,\n";
        let rows = read(text);
        assert!(rows[0].starts_with("2 a {"), "{}", rows[0]);
        for part in [
            "\"name\":\"甲, 乙\"",
            "\"lon\":101.5",
            "\"cadence_s\":60",
            "\"is_gateway\":true",
            "rural",
        ] {
            assert!(rows[0].contains(part), "{part}: {}", rows[0]);
        }
        let places = [
            "3:id",
            "4:id",
            "5:lat",
            "6:lon",
            "7:crs",
            "8:division",
            "9:cadence_s",
            "10:is_gateway",
            "11:setting",
            "12:token",
            "13:id",
            "14:lon",
            "15:",
            "16:",
        ];
        assert_eq!(rows[1..15], places);
        assert!(rows[15].contains("101.778"), "{}", rows[15]);
    }

    #[test]
    fn a_first_line_that_is_not_one_is_the_only_fault() {
        for (text, place) in [
            ("", "1:"),
            ("name\nx\n", "1:id"),
            ("id,colour\na,red\n", "1:colour"),
            ("id,ID\na,b\n", "1:id"),
        ] {
            assert_eq!(read(text), [place], "{text}");
        }
    }

    #[test]
    fn a_device_stands_on_an_entity_of_a_kind() {
        let rows =
            read("id,entity\na,component/63010201037000012\nb,lamp/1\nc,63010201037000012\nd,person/p\ne,\n");
        assert_eq!(rows[0], r#"2 a {"entity":"component/63010201037000012"}"#);
        assert_eq!(rows[1..], ["3:entity", "4:entity", "5:entity", "6 e {}"]);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_without_panic(text: String) {
            import_devices_csv(&text);
            import_devices_csv(&format!("id,name,lon,lat,token\n{text}"));
        }
    }
}

//! Entities that are points, one a line.

use onemap_model::Entity;
use serde_json::{Value, json};

use super::csv;
use super::field::{Field, assign};
use super::{Draft, ImportError, ImportPlace, Mapping, Seen};

/// Reads entities from comma-separated text, its first line naming the columns: `code`, `name`, `lon`, `lat`
/// and whatever else [`Field`] lists, Chinese names (编码, 名称, 经度, 纬度 …) too. Columns that are no field
/// become attributes, as text; empty cells are absent.
///
/// Yields an entity or an error for each line, in order. A first line that is not usable gives one error.
pub fn import_csv(text: &str, mapping: &Mapping) -> impl Iterator<Item = Result<Entity, ImportError>> {
    let mut lines = csv::lines(text);
    let header = header(&mut lines, mapping);
    let (header, mut broken) = match header {
        Ok(header) => (header, None),
        Err(error) => (Vec::new(), Some(error)),
    };
    let mut seen = Seen::default();
    std::iter::from_fn(move || {
        if let Some(error) = broken.take() {
            lines = csv::lines("");
            return Some(Err(error));
        }
        let line = lines.next()?;
        Some(
            line.map_err(bad_line)
                .and_then(|line| entity(line, &header, mapping, &mut seen)),
        )
    })
}

type Header = Vec<(String, Field)>;

fn header(lines: &mut csv::Lines<'_>, mapping: &Mapping) -> Result<Header, ImportError> {
    let first = ImportPlace::Line(1);
    let line = match lines.next() {
        None => return Err(ImportError::new(first, "the file is empty")),
        Some(line) => line.map_err(bad_line)?,
    };
    let place = ImportPlace::Line(line.number);
    let names: Vec<&str> = line.fields.iter().map(|name| name.trim()).collect();
    if let Some(missing) = mapping
        .columns
        .keys()
        .find(|name| !names.contains(&name.as_str()))
    {
        return Err(ImportError::new(place, format!("there is no column `{missing}`")));
    }
    let usable = |field| field != Field::Kind || mapping.kind.is_none();
    let fields = assign(&names, &mapping.columns, usable).map_err(|(field, a, b)| {
        ImportError::new(place, format!("columns `{a}` and `{b}` both give the {field}"))
    })?;
    for needed in [Field::Code, Field::Lon, Field::Lat] {
        if !fields.contains(&needed) {
            return Err(ImportError::new(place, format!("no column gives the {needed}")));
        }
    }
    Ok(names.into_iter().map(str::to_owned).zip(fields).collect())
}

fn entity(
    line: csv::Line,
    header: &Header,
    mapping: &Mapping,
    seen: &mut Seen,
) -> Result<Entity, ImportError> {
    let place = ImportPlace::Line(line.number);
    if line.fields.len() != header.len() {
        let (got, want) = (line.fields.len(), header.len());
        return Err(ImportError::new(
            place,
            format!("{got} fields where the first line has {want}"),
        ));
    }
    let mut draft = Draft::default();
    for ((name, field), value) in header.iter().zip(line.fields) {
        let value = value.trim();
        match field {
            _ if value.is_empty() => {}
            Field::Skip => {}
            Field::Attribute => {
                draft.attributes.insert(name.clone(), value.into());
            }
            field => {
                draft.fields.insert(*field, value.to_owned());
            }
        }
    }
    let point = point(&mut draft, place)?;
    draft.entity(&point, mapping, place, seen)
}

fn point(draft: &mut Draft, place: ImportPlace) -> Result<Value, ImportError> {
    let mut needed = |field| {
        let number = draft.number(field, place)?;
        number.ok_or_else(|| ImportError::new(place, format!("there is no {field}")))
    };
    let (lon, lat) = (needed(Field::Lon)?, needed(Field::Lat)?);
    let coordinates = match draft.number(Field::Height, place)? {
        Some(height) => json!([lon, lat, height]),
        None => json!([lon, lat]),
    };
    Ok(json!({"type": "Point", "coordinates": coordinates}))
}

pub(super) fn bad_line((number, why): csv::BadLine) -> ImportError {
    ImportError::new(ImportPlace::Line(number), why)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use onemap_model::{Crs, DivisionCode, EntityKind, Stratum};

    fn read(text: &str, mapping: &Mapping) -> Vec<Result<Entity, String>> {
        import_csv(text, mapping)
            .map(|row| row.map_err(|e| e.to_string()))
            .collect()
    }
    fn places() -> Mapping {
        Mapping {
            kind: Some(EntityKind::Place),
            source: "test".into(),
            ..Mapping::default()
        }
    }

    #[test]
    fn a_chinese_sheet_is_read() {
        let text = "\u{feff}编码,名称,经度,纬度,高程,层位,备注\r\nm1,\"城东,1 号\",101.8,36.6,2260,地下,\r\n";
        let rows = read(text, &places());
        let entity = rows[0].as_ref().unwrap();
        assert_eq!((&*entity.code, entity.name.as_str()), ("m1", "城东,1 号"));
        assert_eq!(entity.geometry["coordinates"], json!([101.8, 36.6, 2260.0]));
        assert_eq!(entity.stratum, Stratum::Below);
        assert_eq!(entity.source, "test");
        assert!(entity.attributes.is_empty());
        assert_eq!(rows.len(), 1);
    }

    #[test]
    fn a_declared_system_is_converted() {
        let text = "code,name,lon,lat\nx,西宁,101.78659284,36.62317444\n";
        let mapping = Mapping {
            crs: Crs::Bd09,
            ..places()
        };
        let entity = import_csv(text, &mapping).next().unwrap().unwrap();
        let at = |i: usize| entity.geometry["coordinates"][i].as_f64().unwrap();
        assert!((at(0) - 101.7782).abs() < 1e-6 && (at(1) - 36.6171).abs() < 1e-6);
    }

    #[test]
    fn a_component_number_gives_its_division() {
        let text = "GLBJBSM,GLBJMC,经度,纬度\n63010201001000001,供水井盖,101.8,36.6\n3205080101000001,井盖,120.6,31.3\nother,井盖,101.8,36.6\n";
        let mapping = Mapping {
            kind: Some(EntityKind::Component),
            division: Some(DivisionCode::new("630100").unwrap()),
            ..Mapping::default()
        };
        let divisions: Vec<_> = read(text, &mapping)
            .into_iter()
            .map(|row| row.unwrap().division.unwrap().to_string())
            .collect();
        assert_eq!(divisions, ["630102", "320508", "630100"]);
    }

    #[test]
    fn each_bad_line_is_named_and_the_others_are_read() {
        let text = "code,kind,name,lon,lat,division,valid_from\n\
            a,place,A,101.8,36.6,630102,2026-01-01T00:00:00+08:00\n\
            ,place,B,101.8,36.6,,\n\
            c,plaza,C,101.8,36.6,,\n\
            d,place,D,36.6,101.8,,\n\
            e,place,E,x,36.6,,\n\
            f,place,F,,36.6,,\n\
            g,place,G,101.8,36.6,63,\n\
            h,place,H,101.8,36.6,,yesterday\n\
            a,place,A again,101.8,36.6,,\n\
            i,place\n\
            j,person,J,101.8,36.6,,\n\
            k,,K,101.8,36.6,,\n\
            l,place,L,101.8,36.6,,\n";
        let rows = read(text, &Mapping::default());
        let expected = [
            "",
            "line 3: an entity's code",
            "line 4: `plaza` is not a kind",
            "line 5: latitude 101.8 is not in",
            "line 6: lon `x` is not a number",
            "line 7: there is no lon",
            "line 8: `63` is not a division code",
            "line 9: `yesterday` is not an RFC 3339",
            "line 10: code `a` was given before, by line 2",
            "line 11: 2 fields where the first line has 7",
            "line 12: `person` is not a kind the register keeps",
            "line 13: it does not say its kind",
            "",
        ];
        assert_eq!(rows.len(), expected.len());
        for (row, expected) in rows.iter().zip(expected) {
            match row {
                Ok(_) => assert_eq!(expected, ""),
                Err(message) => assert!(!expected.is_empty() && message.starts_with(expected), "{message}"),
            }
        }
    }

    #[test]
    fn an_unusable_first_line_is_one_error() {
        let error = |text: &str, mapping: &Mapping| {
            let rows = read(text, mapping);
            assert_eq!(rows.len(), 1, "{rows:?}");
            rows[0].clone().unwrap_err()
        };
        assert_eq!(error("", &places()), "line 1: the file is empty");
        assert_eq!(
            error("code,name,lon\nx,y,1\n", &places()),
            "line 1: no column gives the lat"
        );
        let mapping = Mapping {
            columns: [("号".to_owned(), Field::Code)].into(),
            ..places()
        };
        assert_eq!(
            error("code,lon,lat\n", &mapping),
            "line 1: there is no column `号`"
        );
    }
}

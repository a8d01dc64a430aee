//! Entities from comma-separated lines: points, well-known text, or without a place.

use std::collections::VecDeque;
use std::io::BufRead;

use onemap_model::{Entity, EntityKind};

use super::draft::{Draft, Seen};
use super::field::{Field, assign};
use super::pieces::{MAX_PIECE, Piece, next_line};
use super::{ImportError, ImportPlace, Mapping, Row, Thing, csv};
use crate::register::geometry::{Coord, Geometry, GeometryError};
use crate::register::well_known::read_wkt;

/// Reads entities from comma-separated text, its first line naming the columns: `code`, `name`, `lon`, `lat` (or
/// `wkt`, or no place) and whatever else [`Field`] lists, Chinese names (编码, 名称, 经度, 纬度 …) too. Columns that are
/// no field become attributes, as text; empty cells are absent. Persons are not read here.
///
/// Yields an entity or an error for each line, in order. A first line that is not usable gives one error.
pub fn import_csv(text: &str, mapping: &Mapping) -> impl Iterator<Item = Result<Entity, ImportError>> {
    Sheet::new(text.as_bytes(), mapping.clone()).map(entity_of)
}

/// The entity of a row.
pub(super) fn entity_of(row: Result<Row, ImportError>) -> Result<Entity, ImportError> {
    let Row { place, thing, .. } = row?;
    match thing {
        Thing::Entity(entity) => Ok(*entity),
        Thing::Person(_) => Err(ImportError::new(place, "persons are not kept in the register")),
    }
}

/// The rows of a sheet.
pub(super) struct Sheet<R> {
    file: R,
    mapping: Mapping,
    /// Line of the next record, from 1.
    number: usize,
    /// Lines that were read ahead for a quoted field that did not end.
    ahead: VecDeque<Piece>,
    header: Option<Header>,
    seen: Seen,
    ended: bool,
}

type Header = Vec<(String, Field)>;

/// Columns that a message names.
const N_SHOWN: usize = 64;

fn is_odd(text: &str) -> bool {
    text.bytes().filter(|b| *b == b'"').count() % 2 == 1
}

impl<R: BufRead> Sheet<R> {
    pub(super) fn new(file: R, mapping: Mapping) -> Self {
        Self {
            file,
            mapping,
            number: 1,
            ahead: VecDeque::new(),
            header: None,
            seen: Seen::default(),
            ended: false,
        }
    }

    fn next_piece(&mut self) -> std::io::Result<Option<Piece>> {
        match self.ahead.pop_front() {
            Some(piece) => Ok(Some(piece)),
            None => next_line(&mut self.file),
        }
    }

    /// The next record that is not empty. A record goes on over line ends inside quotes, when it comes to its end with
    /// as many fields as the first has; else the line on which it begins is an error and the next is read by itself.
    fn record(&mut self) -> Option<Result<csv::Line, ImportError>> {
        loop {
            let number = self.number;
            let bad = |why: &str| Some(Err(ImportError::new(ImportPlace::Line(number), why)));
            let first = match self.next_piece() {
                Ok(Some(piece)) => piece,
                Ok(None) => return None,
                Err(error) => {
                    self.ended = true;
                    return bad(&format!("the file cannot be read on: {error}"));
                }
            };
            self.number += 1;
            let mut record = match first {
                Piece::Text(text) => text + "\n",
                Piece::NotUtf8(what) => return bad(&what.to_string()),
                Piece::TooLarge => return bad("the line has more than 16 MiB"),
            };
            // What it takes in, to be read again should it not be its own.
            let mut taken: Vec<Piece> = Vec::new();
            let mut is_open = is_odd(&record);
            // A quote inside of an unquoted field is wrong whatever follows.
            is_open &= matches!(csv::lines(&record).next(), Some(Err((_, csv::ALONE))));
            let mut alone = false;
            while is_open {
                match self.next_piece() {
                    Ok(Some(Piece::Text(text))) if record.len() + text.len() <= MAX_PIECE => {
                        is_open ^= is_odd(&text);
                        record.push_str(&text);
                        record.push('\n');
                        taken.push(Piece::Text(text));
                    }
                    Ok(other) => {
                        taken.extend(other);
                        (is_open, alone) = (false, true);
                    }
                    Err(error) => {
                        self.ended = true;
                        return bad(&format!("the file cannot be read on: {error}"));
                    }
                }
            }
            let text = if number == 1 {
                record.as_str()
            } else {
                record.trim_start_matches('\u{feff}')
            };
            let width = self.header.as_ref().map(Vec::len);
            let n_taken = taken.len();
            let found = match csv::lines(text).next() {
                _ if alone => Err(csv::ALONE),
                None => continue,
                Some(Ok(line)) if n_taken > 0 && width.is_some_and(|width| width != line.fields.len()) => {
                    Err(csv::NOT_ITS_OWN)
                }
                Some(Ok(line)) => Ok(line),
                Some(Err((_, why))) => Err(why),
            };
            match found {
                Ok(line) => {
                    self.number += n_taken;
                    return Some(Ok(csv::Line {
                        number: number + line.number - 1,
                        ..line
                    }));
                }
                Err(why) => {
                    for piece in taken.into_iter().rev() {
                        self.ahead.push_front(piece);
                    }
                    return bad(why);
                }
            }
        }
    }

    fn header(&mut self) -> Result<Header, ImportError> {
        let mapping = &self.mapping.clone();
        let line = match self.record() {
            None => return Err(ImportError::new(ImportPlace::Line(1), "the file is empty")),
            Some(line) => line?,
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
        let fields =
            assign(&names, &mapping.columns, |field| usable(field, mapping)).map_err(|(field, a, b)| {
                ImportError::new(place, format!("columns `{a}` and `{b}` both give the {field}"))
            })?;
        let has = |field: Field| fields.contains(&field);
        let half = has(Field::Lon) != has(Field::Lat);
        let missing = match (has(Field::Code), half, has(Field::Lon)) {
            (false, ..) => Some(Field::Code),
            (_, true, false) => Some(Field::Lon),
            (_, true, true) => Some(Field::Lat),
            _ => None,
        };
        match missing {
            Some(needed) => {
                let shown: Vec<&str> = names.iter().take(N_SHOWN).copied().collect();
                let more = if names.len() > N_SHOWN { " …" } else { "" };
                let message = format!(
                    "no column gives the {needed}; the columns are: {}{more}; --map COLUMN={needed} (map=COLUMN={needed}) says which one does",
                    shown.join(", ")
                );
                Err(ImportError::new(place, message))
            }
            None => Ok(names.into_iter().map(str::to_owned).zip(fields).collect()),
        }
    }

    fn row(&mut self, line: csv::Line) -> Result<Row, ImportError> {
        let place = ImportPlace::Line(line.number);
        let header = self.header.as_ref().map_or(&[][..], |header| header);
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
                Field::Attribute if draft.take_own(name, &value.into()) => {}
                Field::Attribute => {
                    draft.attributes.insert(name.clone(), value.into());
                }
                field => {
                    if *field == Field::DivisionName {
                        draft.attributes.insert(name.clone(), value.into());
                    }
                    draft.fields.insert(*field, value.to_owned());
                }
            }
        }
        let geometry = geometry(&mut draft, place)?;
        let crs = self.mapping.crs.unwrap_or_default();
        draft.row(geometry, crs, &self.mapping, place, &mut self.seen)
    }
}

impl<R: BufRead> Iterator for Sheet<R> {
    type Item = Result<Row, ImportError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        if self.header.is_none() {
            match self.header() {
                Ok(header) => self.header = Some(header),
                Err(error) => {
                    self.ended = true;
                    return Some(Err(error));
                }
            }
        }
        let line = self.record()?;
        Some(line.and_then(|line| self.row(line)))
    }
}

/// Fields that a column may give by its name alone.
pub(super) fn usable(field: Field, mapping: &Mapping) -> bool {
    match field {
        Field::Kind => mapping.kind.is_none(),
        Field::UnitGrid => mapping.kind == Some(EntityKind::Person),
        _ => true,
    }
}

/// The place of a line: well-known text, or longitude and latitude, or none when their cells are empty.
fn geometry(
    draft: &mut Draft,
    place: ImportPlace,
) -> Result<Option<Result<Geometry, GeometryError>>, ImportError> {
    if let Some(text) = draft.fields.remove(&Field::Wkt) {
        return Ok(Some(read_wkt(&text)));
    }
    let missing = |field| ImportError::new(place, format!("there is no {field}"));
    let (lon, lat) = (draft.number(Field::Lon, place)?, draft.number(Field::Lat, place)?);
    let height = draft.number(Field::Height, place)?;
    match (lon, lat) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(missing(Field::Lon)),
        (Some(_), None) => Err(missing(Field::Lat)),
        (Some(lon), Some(lat)) => Ok(Some(Ok(Geometry::Point(Coord { lon, lat, height })))),
    }
}

pub(super) fn bad_line((number, why): csv::BadLine) -> ImportError {
    ImportError::new(ImportPlace::Line(number), why)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use onemap_model::{Crs, DivisionCode, Stratum};
    use serde_json::json;

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
            crs: Some(Crs::Bd09),
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
    fn the_authority_of_the_standards_is_the_department() {
        let components = Mapping {
            kind: Some(EntityKind::Component),
            ..Mapping::default()
        };
        for (columns, cells, department, others) in [
            // GB/T 47678.5, CJ/T 214, and onemap's own export.
            (
                "GLBJBSM,GLBJMC,ZGBMDM,ZGBMMC",
                "m1,井盖,1163,城市管理局 ",
                "城市管理局",
                1,
            ),
            (
                "ObjID,ObjName,DeptName1,DeptName2",
                "m1,井盖,水务局,水司",
                "水务局",
                1,
            ),
            (
                "code,name,department,zgbmmc",
                "m1,井盖,水务局,城管局",
                "水务局",
                1,
            ),
            ("code,name,department", "m1,井盖,", "", 0),
        ] {
            let rows = read(&format!("{columns},lon,lat\n{cells},101.8,36.6\n"), &components);
            let entity = rows[0].as_ref().unwrap();
            assert_eq!(entity.department, department, "{columns}");
            assert_eq!(entity.attributes.len(), others, "{columns}");
        }
        let long = "局".repeat(400);
        let rows = read(
            &format!("code,department,lon,lat\na,{long},101.8,36.6\n"),
            &components,
        );
        assert_eq!(
            rows[0].clone().unwrap_err(),
            "line 2: an entity's department has at most 1024 bytes and no control characters"
        );
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
    fn a_stray_quote_costs_its_own_line() {
        let read = |body: &str| -> Vec<String> {
            let text = format!("code,note,lon,lat\n{body}");
            let rows = read(&text, &places()).into_iter();
            rows.map(|row| row.map_or_else(|error| error, |entity| entity.code.to_string()))
                .collect()
        };
        let alone = |n: usize| format!("line {n}: a quoted field does not end");
        let starts = |got: &[String], want: &[String]| {
            assert_eq!(got.len(), want.len(), "{got:?}");
            for (got, want) in got.iter().zip(want) {
                assert!(got.starts_with(want.as_str()), "{got:?} is not {want}");
            }
        };
        let ok = |code: &str| code.to_owned();
        // Up to the end of the file.
        starts(
            &read("a,\"A,101,36\nb,B,101,36\nc,C,101,36\n"),
            &[alone(2), ok("b"), ok("c")],
        );
        // Up to another line with one of its own.
        starts(
            &read("a,\"A,101,36\nb,B,101,36\nc,\"C,101,36\nd,D,101,36\n"),
            &[
                ok("line 2: something stands behind a closing quote"),
                ok("b"),
                alone(4),
                ok("d"),
            ],
        );
        // With a field behind it that is quoted as it should be.
        starts(
            &read("a,\"A,101,36\nb,\"B\",101,36\nc,C,101,36\n"),
            &[alone(2), ok("b"), ok("c")],
        );
        starts(
            &read("a,A,\"101,36\nb,B,101,36\nc,C,101\",36,7\nd,D,101,36\n"),
            &[
                ok("line 2: a quoted field does not end on its line, and"),
                ok("b"),
                ok("line 4: a quote stands inside"),
                ok("d"),
            ],
        );
        // Inside of a field: of this line only.
        starts(
            &read("a,A 3\" pipe,101,36\nb,B,101,36\n"),
            &[ok("line 2: a quote stands inside"), ok("b")],
        );
        // A field over lines stays one, also with a line that looks like a record, and lines are counted on.
        starts(
            &read("a,\"A\nb,B,101,36\nx\",101,36\nc,C,101,36\nd,,,\"\n"),
            &[ok("a"), ok("c"), alone(6)],
        );
    }

    #[test]
    fn many_stray_quotes_are_read_in_one_pass() {
        let n: usize = 20_000;
        let text: String = (0..n)
            .map(|i| match i % 3 {
                0 => format!("s{i},\"S,101,36\n"),
                _ => format!("g{i},G,101,36\n"),
            })
            .collect();
        let from = std::time::Instant::now();
        let rows = read(&format!("code,name,lon,lat\n{text}"), &places());
        let good = rows.iter().filter(|row| row.is_ok()).count();
        assert_eq!((rows.len(), good), (n, n - n.div_ceil(3)));
        assert!(from.elapsed().as_secs() < 20, "{:?}", from.elapsed());
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
            "line 1: no column gives the lat; the columns are: code, name, lon; --map COLUMN=lat (map=COLUMN=lat) says which one does"
        );
        let no_code = error("设施编号,名称,lon,lat\n1,a,101,36\n", &places());
        assert!(
            no_code.contains("no column gives the code; the columns are: 设施编号, 名称, lon, lat;"),
            "{no_code}"
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

//! Entities from GeoJSON (RFC 7946) and sequences of it (RFC 8142), feature by feature.

use std::io::{BufRead, BufReader, Cursor};

use onemap_model::{Crs, Entity};
use serde_json::{Map, Value};

use super::draft::{Draft, Seen};
use super::entities_csv::{entity_of, usable};
use super::field::{Field, assign};
use super::pieces::{Features, Outline, Piece, next_element, next_line, outline, seek_features};
use super::{ImportError, ImportPlace, Mapping, Row};
use crate::register::geometry::Geometry;

/// Reads entities from a GeoJSON `FeatureCollection`, or one `Feature`. Properties named as an entity's fields
/// (or as [`Field`] lists) are those fields, an object `attributes` and all other properties are attributes;
/// the feature's `id` is the code when no property is. Persons are not read here.
///
/// Gives an entity or an error for each feature, in order. A text that is no collection, or one that states a
/// coordinate system that onemap does not know or that contradicts the declared one, is one error.
pub fn import_geojson(text: &str, mapping: &Mapping) -> Vec<Result<Entity, ImportError>> {
    let open = || Ok(BufReader::new(Cursor::new(text.as_bytes())));
    match Collection::open(open, mapping) {
        Ok(rows) => rows.map(entity_of).collect(),
        Err(error) => vec![Err(error)],
    }
}

/// The features of a collection or sequence.
pub(super) struct Collection<R> {
    file: R,
    mapping: Mapping,
    crs: Crs,
    seen: Seen,
    n: usize,
    shape: Shape,
}

#[derive(PartialEq)]
enum Shape {
    /// In an array whose bracket is open.
    Array,
    /// One a line.
    Lines,
    /// This one.
    One(Option<String>),
    Ended,
}

impl<R: BufRead> Collection<R> {
    /// Reads the file twice: its outline first, then its features.
    pub(super) fn open(
        open: impl Fn() -> std::io::Result<R>,
        mapping: &Mapping,
    ) -> Result<Self, ImportError> {
        let whole = |message: String| ImportError::new(ImportPlace::Feature(0), message);
        let unread = |error: std::io::Error| whole(format!("it cannot be read: {error}"));
        let found = outline(&mut open().map_err(unread)?).map_err(unread)?;
        let Some(Outline {
            members,
            has_features,
        }) = found
        else {
            // What exactly is wrong the parser says, of a file that is not too large for it.
            let mut text = String::new();
            let mut head = std::io::Read::take(open().map_err(unread)?, super::pieces::MAX_PIECE as u64);
            std::io::Read::read_to_string(&mut head, &mut text).map_err(unread)?;
            return Err(whole(match serde_json::from_str::<Value>(&text) {
                Ok(_) => "it is neither a FeatureCollection nor a Feature".to_owned(),
                Err(error) => format!("it is not JSON: {error}"),
            }));
        };
        let member = |name: &str| {
            let found = members.iter().find(|(own, _)| own == name);
            found.and_then(|(_, text)| serde_json::from_str::<Value>(text).ok())
        };
        let crs = crs(mapping.crs, member("crs").as_ref()).map_err(whole)?;
        let mut file = open().map_err(unread)?;
        let shape = match member("type").as_ref().and_then(Value::as_str) {
            Some("FeatureCollection") if !has_features => {
                return Err(whole("the collection has no array `features`".into()));
            }
            Some("FeatureCollection") => {
                seek_features(&mut file).map_err(unread)?;
                Features::open(&mut file).map_err(unread)?;
                Shape::Array
            }
            Some("Feature") => {
                let members = members
                    .iter()
                    .map(|(name, text)| format!("{}:{text}", Value::from(name.as_str())));
                Shape::One(Some(format!("{{{}}}", members.collect::<Vec<_>>().join(","))))
            }
            _ => return Err(whole("it is neither a FeatureCollection nor a Feature".into())),
        };
        Ok(Self::with(file, mapping, crs, shape))
    }

    /// One feature a line, perhaps with a record separator before it.
    pub(super) fn lines(file: R, mapping: &Mapping) -> Self {
        Self::with(file, mapping, mapping.crs.unwrap_or_default(), Shape::Lines)
    }

    fn with(file: R, mapping: &Mapping, crs: Crs, shape: Shape) -> Self {
        Self {
            file,
            mapping: mapping.clone(),
            crs,
            seen: Seen::default(),
            n: 0,
            shape,
        }
    }

    /// The text of the next feature and its place.
    fn text(&mut self) -> Option<(ImportPlace, Result<String, ImportError>)> {
        loop {
            let is_lines = self.shape == Shape::Lines;
            let next = match &mut self.shape {
                Shape::Array => next_element(&mut self.file),
                Shape::Lines => next_line(&mut self.file),
                Shape::One(text) => Ok(text.take().map(Piece::Text)),
                Shape::Ended => return None,
            };
            self.n += 1;
            let place = if is_lines {
                ImportPlace::Line(self.n)
            } else {
                ImportPlace::Feature(self.n)
            };
            let bad = |message: String| Some((place, Err(ImportError::new(place, message))));
            let text = match next {
                Ok(None) => return None,
                Ok(Some(Piece::Text(text))) => text,
                Ok(Some(Piece::TooLarge)) => return bad("it has more than 16 MiB".into()),
                Ok(Some(Piece::NotUtf8(what))) => return bad(what.to_string()),
                Err(error) => {
                    self.shape = Shape::Ended;
                    return bad(format!("the file cannot be read on: {error}"));
                }
            };
            let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\u{1e}' || c == '\u{feff}');
            if !text.is_empty() {
                return Some((place, Ok(text.to_owned())));
            }
        }
    }
}

impl<R: BufRead> Iterator for Collection<R> {
    type Item = Result<Row, ImportError>;

    fn next(&mut self) -> Option<Self::Item> {
        let (place, text) = self.text()?;
        let row = text.and_then(|text| {
            let feature = serde_json::from_str(&text);
            let feature =
                feature.map_err(|error| ImportError::new(place, format!("it is not JSON: {error}")))?;
            row(feature, self.crs, &self.mapping, place, &mut self.seen)
        });
        Some(row)
    }
}

/// The system of a file: what is declared, else what the file states, else WGS 84. GeoJSON of 2008 could state one. It
/// is often wrong in files from web maps, which say degrees of WGS 84 for GCJ-02; but metres are not read as degrees,
/// nor those of one zone as another's.
fn crs(declared: Option<Crs>, stated: Option<&Value>) -> Result<Crs, String> {
    let name = stated
        .and_then(|crs| crs.pointer("/properties/name"))
        .and_then(Value::as_str);
    let Some(name) = name else {
        return Ok(declared.unwrap_or_default());
    };
    let stated: Crs = name
        .parse()
        .map_err(|error: onemap_model::crs::CrsError| error.to_string())?;
    agree(declared, stated)
}

/// The declared system, unless the one the file states contradicts it.
pub(super) fn agree(declared: Option<Crs>, stated: Crs) -> Result<Crs, String> {
    match declared {
        None => Ok(stated),
        Some(declared) if declared == stated || !(declared.is_projected() || stated.is_projected()) => {
            Ok(declared)
        }
        Some(declared) => Err(format!(
            "the file states {stated}, which contradicts the declared {declared}"
        )),
    }
}

fn row(
    mut feature: Value,
    crs: Crs,
    mapping: &Mapping,
    place: ImportPlace,
    seen: &mut Seen,
) -> Result<Row, ImportError> {
    let bad = |message: &str| ImportError::new(place, message);
    if feature.get("type").and_then(Value::as_str) != Some("Feature") {
        return Err(bad("it is not a Feature"));
    }
    let properties = match feature.get_mut("properties").map(Value::take) {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(properties)) => properties,
        Some(_) => return Err(bad("its properties are not an object")),
    };
    let mut draft = draft(properties, mapping, place)?;
    if let (false, Some(id)) = (draft.fields.contains_key(&Field::Code), scalar(&feature["id"])) {
        draft.fields.insert(Field::Code, id);
    }
    let geometry = match &feature["geometry"] {
        Value::Null => None,
        geometry => Some(Geometry::parse(geometry)),
    };
    draft.row(geometry, crs, mapping, place, seen)
}

pub(super) fn draft(
    properties: Map<String, Value>,
    mapping: &Mapping,
    place: ImportPlace,
) -> Result<Draft, ImportError> {
    let bad = |message: String| ImportError::new(place, message);
    // What is null is absent: another property may then be the field.
    let properties: Vec<(String, Value)> = properties
        .into_iter()
        .filter(|(_, value)| !value.is_null())
        .collect();
    let names: Vec<&str> = properties.iter().map(|(name, _)| name.as_str()).collect();
    let usable = |field| match field {
        Field::Lon | Field::Lat | Field::Height | Field::Wkt => false,
        _ => usable(field, mapping),
    };
    let fields = assign(&names, &mapping.columns, usable)
        .map_err(|(field, a, b)| bad(format!("properties `{a}` and `{b}` both give the {field}")))?;
    let mut draft = Draft::default();
    for ((name, value), field) in properties.into_iter().zip(fields) {
        match (field, value) {
            (Field::Skip, _) => {}
            (Field::Attribute, value) if draft.take_own(&name, &value) => {}
            (Field::Attribute, value) if name == "z_range_m" => match serde_json::from_value(value) {
                Ok(range) => draft.z_range_m = Some(range),
                Err(_) => return Err(bad("z_range_m is not [lowest, highest]".into())),
            },
            (Field::Attribute, value) => {
                draft.attributes.entry(name).or_insert(value);
            }
            (Field::DivisionName, value) => {
                if let Some(text) = value.as_str() {
                    draft.fields.insert(field, text.trim().to_owned());
                }
                draft.attributes.insert(name, value);
            }
            (field, value) => match scalar(&value) {
                Some(text) if text.is_empty() => {}
                Some(text) => {
                    draft.fields.insert(field, text);
                }
                None => return Err(bad(format!("`{name}` is neither text nor number"))),
            },
        }
    }
    Ok(draft)
}

/// Text of a text or number: division codes often come as numbers.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.trim().to_owned()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use onemap_model::EntityKind;
    use serde_json::json;

    fn read(value: &Value, mapping: &Mapping) -> Vec<Result<Entity, String>> {
        let rows = import_geojson(&value.to_string(), mapping);
        rows.into_iter()
            .map(|row| row.map_err(|e| e.to_string()))
            .collect()
    }
    fn feature(properties: Value, coordinates: Value) -> Value {
        json!({"type": "Feature", "properties": properties, "geometry": {"type": "Point", "coordinates": coordinates}})
    }
    fn collection(features: &[Value]) -> Value {
        json!({"type": "FeatureCollection", "features": features})
    }

    #[test]
    fn an_entity_written_as_a_feature_reads_back() {
        let entity = json!({
            "code": "p1", "kind": "place", "name": "莫家街", "name_en": "Mojia Street", "division": "630103",
            "geometry": {"type": "Point", "coordinates": [101.78, 36.62]}, "stratum": "above",
            "z_range_m": [2260.0, 2270.0], "valid_from": "2020-01-01T00:00:00+08:00",
            "attributes": {"class": "market", "rank": 3}, "source": "示意",
        });
        let mut properties = entity.clone();
        let geometry = properties.as_object_mut().unwrap().remove("geometry").unwrap();
        let feature = json!({"type": "Feature", "properties": properties, "geometry": geometry});
        let rows = read(&feature, &Mapping::default());
        assert_eq!(rows, [Ok(serde_json::from_value(entity).unwrap())]);
    }

    #[test]
    fn foreign_properties_are_fields_where_the_mapping_says_so() {
        let file = collection(&[feature(
            json!({"adcode": 630102, "kind": "university", "lon": 7, "note": null, "title": "校"}),
            json!([101.8, 36.6]),
        )]);
        let mapping = Mapping {
            kind: Some(EntityKind::Place),
            columns: [("title".to_owned(), Field::Name)].into(),
            ..Mapping::default()
        };
        let entity = read(&file, &mapping).remove(0).unwrap();
        assert_eq!((&*entity.code, entity.name.as_str()), ("630102", "校"));
        assert_eq!(
            Value::Object(entity.attributes),
            json!({"kind": "university", "lon": 7})
        );
    }

    #[test]
    fn each_bad_feature_is_named_and_the_others_are_read() {
        let good = |code: &str| feature(json!({"code": code, "kind": "place"}), json!([101.8, 36.6]));
        let file = collection(&[
            good("a"),
            json!({"type": "Point", "coordinates": [1, 2]}),
            json!({"type": "Feature", "properties": {"code": "b", "kind": "place"}, "geometry": null}),
            feature(json!({"code": "c", "kind": "road"}), json!([101.8, 36.6])),
            feature(
                json!({"code": "d", "kind": "place", "z_range_m": 5}),
                json!([101.8, 36.6]),
            ),
            feature(json!({"code": ["e"], "kind": "place"}), json!([101.8, 36.6])),
            feature(
                json!({"code": "f", "kind": "place"}),
                json!([500000.0, 4000000.0]),
            ),
            good("a"),
            json!({"type": "Feature", "id": 7, "properties": {"kind": "place"}, "geometry": good("g")["geometry"]}),
        ]);
        let rows = read(&file, &Mapping::default());
        for (row, expected) in rows.iter().zip([
            "",
            "feature 2: it is not a Feature",
            "",
            "feature 4: a road is not drawn as a Point",
            "feature 5: z_range_m is not",
            "feature 6: `code` is neither text nor number",
            "feature 7: 500000, 4000000 are not degrees of WGS84",
            "feature 8: code `a` was given before, by feature 1",
            "",
        ]) {
            match row {
                Ok(_) => assert_eq!(expected, ""),
                Err(message) => assert!(!expected.is_empty() && message.starts_with(expected), "{message}"),
            }
        }
        assert_eq!(rows.len(), 9);
        assert_eq!(&*rows[8].as_ref().unwrap().code, "7");
    }

    #[test]
    fn a_text_that_is_no_collection_is_one_error() {
        let error = |text: &str| {
            let mut rows = import_geojson(text, &Mapping::default());
            assert_eq!(rows.len(), 1);
            rows.remove(0).unwrap_err().to_string()
        };
        assert!(error("{").starts_with("file: it is not JSON"));
        assert!(error("[]").contains("neither"));
        assert!(error(r#"{"type":"FeatureCollection"}"#).contains("no array"));
        let projected =
            r#"{"type":"FeatureCollection","crs":{"properties":{"name":"EPSG:2343"}},"features":[]}"#;
        assert!(error(projected).contains("`EPSG:2343` is not a known coordinate system"));
    }
}

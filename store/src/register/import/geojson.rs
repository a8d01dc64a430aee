//! Entities from a GeoJSON feature collection (RFC 7946).

use onemap_model::{Crs, Entity};
use serde_json::{Map, Value};

use super::field::{Field, assign};
use super::{Draft, ImportError, ImportPlace, Mapping, Seen};

/// Reads entities from a GeoJSON `FeatureCollection`, or one `Feature`. Properties named as an entity's fields
/// (or as [`Field`] lists) are those fields, an object `attributes` and all other properties are attributes;
/// the feature's `id` is the code when no property is.
///
/// Gives an entity or an error for each feature, in order. A text that is no collection, or one that states a
/// coordinate system onemap does not know, is one error.
pub fn import_geojson(text: &str, mapping: &Mapping) -> Vec<Result<Entity, ImportError>> {
    let whole = |message: String| vec![Err(ImportError::new(ImportPlace::Feature(0), message))];
    let mut root: Value = match serde_json::from_str(text.strip_prefix('\u{feff}').unwrap_or(text)) {
        Ok(root) => root,
        Err(error) => return whole(format!("it is not JSON: {error}")),
    };
    // GeoJSON of 2008 could state a system. It is often wrong in files from web maps, so what the importer
    // declares holds; but metres of a projection are not read as degrees.
    if let Some(stated) = root.pointer("/crs/properties/name").and_then(Value::as_str)
        && let Err(error) = stated.parse::<Crs>()
    {
        return whole(error.to_string());
    }
    let features = match root.get("type").and_then(Value::as_str) {
        Some("Feature") => vec![root],
        Some("FeatureCollection") => match root.get_mut("features").map(Value::take) {
            Some(Value::Array(features)) => features,
            _ => return whole("the collection has no array `features`".into()),
        },
        _ => return whole("it is neither a FeatureCollection nor a Feature".into()),
    };
    let mut seen = Seen::default();
    let numbered = features.into_iter().zip(1..);
    numbered
        .map(|(feature, n)| entity(feature, mapping, ImportPlace::Feature(n), &mut seen))
        .collect()
}

fn entity(
    mut feature: Value,
    mapping: &Mapping,
    place: ImportPlace,
    seen: &mut Seen,
) -> Result<Entity, ImportError> {
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
    draft.entity(&feature["geometry"], mapping, place, seen)
}

fn draft(
    properties: Map<String, Value>,
    mapping: &Mapping,
    place: ImportPlace,
) -> Result<Draft, ImportError> {
    let bad = |message: String| ImportError::new(place, message);
    // What is null is not given: another property may then be the field.
    let properties: Vec<(String, Value)> = properties
        .into_iter()
        .filter(|(_, value)| !value.is_null())
        .collect();
    let names: Vec<&str> = properties.iter().map(|(name, _)| name.as_str()).collect();
    let usable = |field| match field {
        Field::Kind => mapping.kind.is_none(),
        Field::Lon | Field::Lat | Field::Height => false,
        _ => true,
    };
    let fields = assign(&names, &mapping.columns, usable)
        .map_err(|(field, a, b)| bad(format!("properties `{a}` and `{b}` both give the {field}")))?;
    let mut draft = Draft::default();
    for ((name, value), field) in properties.into_iter().zip(fields) {
        match (field, value) {
            (Field::Skip, _) => {}
            (Field::Attribute, Value::Object(own)) if name == "attributes" => draft.attributes.extend(own),
            (Field::Attribute, value) if name == "z_range_m" => match serde_json::from_value(value) {
                Ok(range) => draft.z_range_m = Some(range),
                Err(_) => return Err(bad("z_range_m is not [lowest, highest]".into())),
            },
            (Field::Attribute, value) => {
                draft.attributes.entry(name).or_insert(value);
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
            "feature 3: a geometry is an object",
            "feature 4: a road is not drawn as a Point",
            "feature 5: z_range_m is not",
            "feature 6: `code` is neither text nor number",
            "feature 7: longitude 500000 is not in",
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

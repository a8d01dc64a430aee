//! One feature as GeoJSON (RFC 7946; other systems of coordinates as OGC 18-058r1 lets them stand in it).

use std::sync::Arc;

use onemap_model::{Belongs, Device, DivisionCode, Entity};
use serde_json::{Map, Value, json};

use super::axes::Axes;
use super::collections::Property;
use super::query::stratum_name;

/// A thing of the register with the division the map found for it.
pub(super) enum Feature {
    Entity(Box<Entity>, Option<DivisionCode>),
    Device(Arc<Device>, Option<DivisionCode>),
}

impl Feature {
    pub(super) fn code(&self) -> &str {
        match self {
            Feature::Entity(entity, _) => &entity.code,
            Feature::Device(device, _) => device.id.as_str(),
        }
    }

    pub(super) fn division(&self) -> Option<&DivisionCode> {
        match self {
            Feature::Entity(_, division) | Feature::Device(_, division) => division.as_ref(),
        }
    }

    /// To whom it belongs.
    pub(super) fn belongs(&self) -> Belongs<'_> {
        match self {
            Feature::Entity(entity, division) => entity.belongs(division.as_ref()),
            Feature::Device(device, division) => device.belongs(division.as_ref()),
        }
    }

    /// Whether a property is this text.
    pub(super) fn is(&self, property: Property, text: &str) -> bool {
        let division = || self.division().map(DivisionCode::as_str);
        match (property, self) {
            (Property::Code, _) => self.code() == text,
            (Property::Division, _) => division() == Some(text),
            (Property::District, _) => division().and_then(|code| code.get(..6)) == Some(text),
            (Property::Name, Feature::Entity(entity, _)) => entity.name == text,
            (Property::Name, Feature::Device(device, _)) => device.name == text,
            (Property::NameEn, Feature::Entity(entity, _)) => entity.name_en == text,
            (Property::NameEn, Feature::Device(device, _)) => device.name_en == text,
            (Property::Class, Feature::Entity(entity, _)) => class(entity).is_some_and(|class| class == text),
            (Property::Class, Feature::Device(device, _)) => &*device.kind == text,
            (Property::Stratum, Feature::Entity(entity, _)) => stratum_name(entity.stratum) == text,
            (Property::State, Feature::Device(device, _)) => state(device) == text,
            (Property::Stratum, Feature::Device(..)) | (Property::State, Feature::Entity(..)) => false,
        }
    }

    /// `Feature`, its coordinates in the order of `axes`.
    pub(super) fn json(&self, axes: Axes) -> Value {
        let (geometry, properties) = match self {
            Feature::Entity(entity, _) => (place(&entity.geometry, axes), self.of_entity(entity)),
            Feature::Device(device, _) => {
                let point = device.position.as_ref().map_or(Value::Null, |position| {
                    let mut coordinates = vec![json!(position.lon()), json!(position.lat())];
                    coordinates.extend(position.height_m().map(|height| json!(height)));
                    json!({"type": "Point", "coordinates": coordinates})
                });
                (place(&point, axes), self.of_device(device))
            }
        };
        json!({"type": "Feature", "id": self.code(), "geometry": geometry, "properties": properties})
    }

    fn begin(&self, name: &str, name_en: &str) -> Map<String, Value> {
        let mut properties = Map::new();
        let division = self.division().map(DivisionCode::as_str);
        properties.insert("code".to_owned(), self.code().into());
        properties.insert("name".to_owned(), name.into());
        properties.insert("name_en".to_owned(), name_en.into());
        properties.insert("division".to_owned(), division.into());
        properties.insert(
            "district".to_owned(),
            division.and_then(|code| code.get(..6)).into(),
        );
        properties
    }

    /// What every entity has, then what its source said; a name that is taken gets `source_` before it.
    fn of_entity(&self, entity: &Entity) -> Map<String, Value> {
        let mut properties = self.begin(&entity.name, &entity.name_en);
        properties.insert("class".to_owned(), class(entity).into());
        properties.insert("stratum".to_owned(), stratum_name(entity.stratum).into());
        if !entity.department.is_empty() {
            properties.insert("department".to_owned(), entity.department.as_str().into());
        }
        let [low, high] = entity
            .z_range_m
            .map_or([None, None], |[low, high]| [Some(low), Some(high)]);
        properties.insert("z_low_m".to_owned(), low.into());
        properties.insert("z_high_m".to_owned(), high.into());
        let time = |at: Option<onemap_model::Timestamp>| Value::from(at.map(|at| at.to_string()));
        properties.insert("valid_from".to_owned(), time(entity.valid_from));
        properties.insert("valid_to".to_owned(), time(entity.valid_to));
        properties.insert("source".to_owned(), entity.source.as_str().into());
        for (name, value) in &entity.attributes {
            if entity.class.is_none() && name == "class" && value.is_string() {
                continue;
            }
            let mut name = name.clone();
            while properties.contains_key(&name) {
                name.insert_str(0, "source_");
            }
            properties.insert(name, value.clone());
        }
        properties
    }

    fn of_device(&self, device: &Device) -> Map<String, Value> {
        let mut properties = self.begin(&device.name, &device.name_en);
        properties.insert("class".to_owned(), (&*device.kind).into());
        properties.insert("state".to_owned(), state(device).into());
        properties
    }
}

/// The class by the catalogue, else what the source calls so.
fn class(entity: &Entity) -> Option<String> {
    let own = || {
        entity
            .attributes
            .get("class")
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    entity.class.as_ref().map(ToString::to_string).or_else(own)
}

/// The name of a device's state.
fn state(device: &Device) -> String {
    match serde_json::to_value(device.state) {
        Ok(Value::String(name)) => name,
        _ => String::new(),
    }
}

/// A geometry of WGS 84 in other axes; heights stay as they are.
fn place(geometry: &Value, axes: Axes) -> Value {
    if axes == Axes::DEFAULT {
        return geometry.clone();
    }
    match geometry {
        Value::Object(members) => {
            let turned = members.iter().map(|(name, value)| {
                let value = match name.as_str() {
                    "coordinates" => coordinates(value, axes),
                    "geometries" => match value {
                        Value::Array(all) => all.iter().map(|one| place(one, axes)).collect(),
                        other => other.clone(),
                    },
                    _ => value.clone(),
                };
                (name.clone(), value)
            });
            Value::Object(turned.collect())
        }
        other => other.clone(),
    }
}

fn coordinates(value: &Value, axes: Axes) -> Value {
    let Value::Array(parts) = value else {
        return value.clone();
    };
    let (Some(lon), Some(lat)) = (
        parts.first().and_then(Value::as_f64),
        parts.get(1).and_then(Value::as_f64),
    ) else {
        return parts.iter().map(|part| coordinates(part, axes)).collect();
    };
    let (first, second) = axes.of_wgs84(lon, lat);
    let scale = 10f64.powi(axes.places());
    let rounded = |n: f64| json!((n * scale).round() / scale);
    let mut turned = vec![rounded(first), rounded(second)];
    turned.extend(parts.iter().skip(2).cloned());
    turned.into()
}

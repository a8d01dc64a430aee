//! What a question about the map says: its parameters, read once for all of them, from an address or a body.

use std::cell::RefCell;
use std::collections::BTreeMap;

use onemap_model::crs::{Crs, OutOfDomain};
use onemap_model::{DivisionCode, EntityKind, Scope, Stratum, Timestamp};
use onemap_spatial::ThingKind;
use onemap_spatial::query::{Filter, Region, RegionError};
use serde_json::{Value, json};

use crate::api::time;
use crate::error::Problem;

/// Points along each side of a box that is given in a shifted or projected system.
const N_ALONG_SIDE: u32 = 16;

/// Parameters by name; each is taken out as it is read, and what is left over is refused.
#[derive(Debug)]
pub(crate) struct Asked(BTreeMap<String, Value>);

impl Asked {
    /// Of an address.
    ///
    /// # Errors
    /// A parameter that stands there twice.
    pub(crate) fn of_query(query: Option<&str>) -> Result<Self, Problem> {
        let mut all = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            if all
                .insert(name.to_string(), Value::String(value.into_owned()))
                .is_some()
            {
                return Err(Problem::bad_request(
                    "bad_parameter",
                    format!("`{name}` is stated twice"),
                ));
            }
        }
        Ok(Self(all))
    }

    /// Of a JSON object with the same names.
    pub(crate) fn of_body(object: serde_json::Map<String, Value>) -> Self {
        Self(object.into_iter().filter(|(_, value)| !value.is_null()).collect())
    }

    /// Whether a parameter stands there.
    pub(crate) fn states(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// A parameter as it is.
    pub(crate) fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name)
    }

    /// A text.
    pub(crate) fn text(&mut self, name: &'static str) -> Result<Option<String>, Problem> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(Value::Number(number)) => Ok(Some(number.to_string())),
            Some(_) => Err(Problem::bad_request(
                "bad_parameter",
                format!("{name}: a text is wanted"),
            )),
        }
    }

    /// A finite number.
    pub(crate) fn number(&mut self, name: &'static str) -> Result<Option<f64>, Problem> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        match text.trim().parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Some(number)),
            Ok(_) => Err(Problem::bad_request(
                "not_finite",
                format!("{name}={}: not a finite number", short(&text)),
            )),
            Err(_) => Err(Problem::bad_request(
                "bad_parameter",
                format!("{name}={}: not a number", short(&text)),
            )),
        }
    }

    /// A whole number.
    pub(crate) fn whole(&mut self, name: &'static str) -> Result<Option<usize>, Problem> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        let wrong = || {
            Problem::bad_request(
                "bad_parameter",
                format!("{name}={}: not a whole number", short(&text)),
            )
        };
        text.trim().parse().map(Some).map_err(|_| wrong())
    }

    /// Numbers with commas between, or a list of numbers.
    pub(crate) fn numbers(&mut self, name: &'static str) -> Result<Option<Vec<f64>>, Problem> {
        let wrong = |why: String| Problem::bad_request("bad_parameter", format!("{name}: {why}"));
        let number = |text: &str| {
            let read = text.trim().parse::<f64>();
            read.map_err(|_| wrong(format!("`{}` is not a number", short(text))))
        };
        match self.take(name) {
            None => Ok(None),
            Some(Value::Array(items)) => {
                let items = items
                    .iter()
                    .map(|item| item.as_f64().ok_or_else(|| wrong("numbers are wanted".into())));
                items.collect::<Result<_, _>>().map(Some)
            }
            Some(Value::String(text)) => text.split(',').map(number).collect::<Result<_, _>>().map(Some),
            Some(_) => Err(wrong("numbers are wanted".into())),
        }
    }

    /// Longitude and latitude, WGS 84.
    pub(crate) fn position(&mut self, crs: Crs) -> Result<Option<(f64, f64)>, Problem> {
        match (self.number("lon")?, self.number("lat")?) {
            (None, None) => Ok(None),
            (Some(lon), Some(lat)) => crs.read(lon, lat).map(Some).map_err(out_of_domain),
            _ => Err(Problem::bad_request(
                "bad_parameter",
                "lon= and lat= belong together",
            )),
        }
    }

    /// Longitude and latitude, WGS 84, of a question that has no answer without them.
    pub(crate) fn wanted_position(&mut self, crs: Crs) -> Result<(f64, f64), Problem> {
        let missing = || Problem::bad_request("bad_parameter", "lon= and lat= are wanted");
        self.position(crs)?.ok_or_else(missing)
    }

    /// The system of all coordinates, in the question and in the answer.
    pub(crate) fn crs(&mut self) -> Result<Crs, Problem> {
        let text = self.text("crs")?;
        let read = text.map(|text| text.parse::<Crs>()).transpose();
        Ok(read
            .map_err(|error| Problem::bad_request("bad_crs", error.to_string()))?
            .unwrap_or_default())
    }

    /// Which things are asked for; what the scope does not see is not among them. `usual` are the kinds when
    /// none is stated.
    pub(crate) fn filter(&mut self, scope: &Scope, now: Timestamp) -> Result<Filter, Problem> {
        let kinds = match self.take("kind") {
            None => None,
            Some(Value::String(text)) => Some(
                text.split(',')
                    .map(|name| kind_of(name.trim()))
                    .collect::<Result<_, _>>()?,
            ),
            Some(Value::Array(names)) => {
                let names = names
                    .iter()
                    .map(|name| kind_of(name.as_str().unwrap_or_default()));
                Some(names.collect::<Result<_, _>>()?)
            }
            Some(_) => {
                return Err(kind_of("")
                    .err()
                    .unwrap_or_else(|| Problem::bad_request("bad_kind", "kind=")));
            }
        };
        let division = self.text("division")?;
        let division = division.map(|code| DivisionCode::new(&code)).transpose();
        let stratum = match self.text("stratum")?.as_deref() {
            None => None,
            Some("above") => Some(Stratum::Above),
            Some("surface") => Some(Stratum::Surface),
            Some("below") => Some(Stratum::Below),
            Some(_) => {
                return Err(Problem::bad_request(
                    "bad_stratum",
                    "stratum= is above, surface or below",
                ));
            }
        };
        let z_range_m = match self.numbers("z")?.as_deref() {
            None => None,
            Some([low, high]) if low.is_finite() && high.is_finite() && low <= high => Some([*low, *high]),
            Some(_) => {
                return Err(Problem::bad_request(
                    "bad_heights",
                    "z= is lowest,highest in metres",
                ));
            }
        };
        let at = self.text("at")?;
        Ok(Filter {
            kinds: kinds.unwrap_or_else(usual_kinds),
            class: self.text("class")?,
            division: division.map_err(|error| Problem::bad_request("bad_division", error.to_string()))?,
            stratum,
            z_range_m,
            valid_at: Some(at.map_or(Ok(now), |at| time("at", &at))?),
            scope: scope.reach(),
        })
    }

    /// The region: `bbox`, `polygon`, or `lon`, `lat` and `radius_m`; exactly one of them.
    pub(crate) fn region(&mut self, crs: Crs) -> Result<Region, Problem> {
        let bbox = self.numbers("bbox")?;
        let polygon = self.take("polygon");
        let radius_m = self.number("radius_m")?;
        let position = self.position(crs)?;
        match (bbox, polygon, position, radius_m) {
            (Some(numbers), None, None, None) => bbox_of(&numbers, crs),
            (None, Some(polygon), None, None) => polygon_of(&polygon, crs),
            (None, None, Some((lon, lat)), Some(radius_m)) => {
                Region::circle(lon, lat, radius_m).map_err(region_problem)
            }
            _ => Err(Problem::bad_request(
                "bad_region",
                "one region is wanted: bbox=west,south,east,north, polygon= (GeoJSON or WKT), or lon=, lat= and radius_m=",
            )),
        }
    }

    /// Refuses what nobody asked for.
    pub(crate) fn done(self) -> Result<(), Problem> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(name) => Err(Problem::bad_request(
                "bad_parameter",
                format!("unknown parameter `{}`", short(name)),
            )),
        }
    }
}

fn short(text: &str) -> String {
    text.chars().take(40).collect()
}

/// Everything but what covers whole districts: divisions and grids come when they are asked for.
fn usual_kinds() -> Vec<ThingKind> {
    use EntityKind as K;
    let kinds = [
        K::Address,
        K::Place,
        K::LegalPerson,
        K::Component,
        K::Event,
        K::Hazard,
        K::Reach,
        K::Pipe,
        K::Road,
        K::Water,
    ];
    kinds
        .map(ThingKind::Entity)
        .into_iter()
        .chain([ThingKind::Device])
        .collect()
}

/// The kind of a name. Persons are not among the kinds that can be asked for.
pub(crate) fn kind_of(name: &str) -> Result<ThingKind, Problem> {
    if name == "device" {
        return Ok(ThingKind::Device);
    }
    match serde_json::from_value::<EntityKind>(Value::String(name.to_owned())) {
        Ok(EntityKind::Person) => Err(Problem::bad_request(
            "bad_kind",
            "persons are not shown on the map",
        )),
        Ok(kind) => Ok(ThingKind::Entity(kind)),
        Err(_) => Err(Problem::bad_request(
            "bad_kind",
            format!(
                "`{}` is no kind of thing on the map; kinds are device, division, grid, address, place, legal_person, component, event, hazard, reach, pipe, road, water, fence",
                short(name)
            ),
        )),
    }
}

pub(crate) fn out_of_domain(error: OutOfDomain) -> Problem {
    let code = match error {
        OutOfDomain::NotFinite { .. } => "not_finite",
        OutOfDomain::Globe { .. } => "off_globe",
        _ => "out_of_domain",
    };
    Problem::bad_request(code, error.to_string())
}

/// Each fault of a region under its own name.
pub(crate) fn region_problem(error: RegionError) -> Problem {
    use onemap_spatial::GeometryError as G;
    let code = match &error {
        RegionError::NotFinite => "not_finite",
        RegionError::OffGlobe { .. } | RegionError::Geometry(G::OffGlobe { .. }) => "off_globe",
        RegionError::UpsideDown { .. } => "bad_bbox",
        RegionError::Wide { .. } | RegionError::Geometry(G::Antimeridian { .. }) => "too_wide",
        RegionError::Radius { .. } => "bad_radius",
        RegionError::Vertices { .. } => "too_many_vertices",
        RegionError::Crossing { .. } => "self_crossing",
        RegionError::LinePositions { .. } => "too_many_positions",
        RegionError::NoLength | RegionError::Geometry(G::Degenerate { .. }) => "no_extent",
        RegionError::Long { .. } => "too_long",
        RegionError::Width { .. } => "bad_width",
        RegionError::Geometry(G::OpenRing { .. }) => "unclosed_ring",
        RegionError::Geometry(G::Empty) => "empty_geometry",
        RegionError::Geometry(G::Position) => "bad_position",
        _ => "bad_polygon",
    };
    Problem::bad_request(code, error.to_string())
}

fn bbox_of(numbers: &[f64], crs: Crs) -> Result<Region, Problem> {
    let &[west, south, east, north] = numbers else {
        return Err(Problem::bad_request(
            "bad_bbox",
            format!(
                "bbox= has {} numbers, west,south,east,north are wanted",
                numbers.len()
            ),
        ));
    };
    if matches!(crs, Crs::Wgs84 | Crs::Cgcs2000) {
        return Region::bbox([west, south, east, north]).map_err(region_problem);
    }
    // In another system the sides are bent.
    if south > north {
        return Err(region_problem(RegionError::UpsideDown { south, north }));
    }
    let corners = [
        (west, south),
        (east, south),
        (east, north),
        (west, north),
        (west, south),
    ];
    let sides = corners.windows(2).flat_map(|side| {
        let [a, b] = [side[0], side[1]];
        (0..N_ALONG_SIDE).map(move |i| {
            let part = f64::from(i) / f64::from(N_ALONG_SIDE);
            [a.0 + part * (b.0 - a.0), a.1 + part * (b.1 - a.1)]
        })
    });
    let ring: Vec<[f64; 2]> = sides.chain([[west, south]]).collect();
    polygon_of(&json!({"type": "Polygon", "coordinates": [ring]}), crs)
}

fn polygon_of(polygon: &Value, crs: Crs) -> Result<Region, Problem> {
    let outside = RefCell::new(None);
    let to_wgs84 = |x: f64, y: f64| {
        let read = crs.read(x, y);
        read.map_err(|error| *outside.borrow_mut() = Some(error)).ok()
    };
    let region = match polygon {
        Value::String(text) if text.trim_start().starts_with('{') => {
            let value: Value = serde_json::from_str(text)
                .map_err(|error| Problem::bad_request("bad_polygon", format!("polygon=: {error}")))?;
            Region::geojson(&value, &to_wgs84)
        }
        Value::String(text) => Region::wkt(text, &to_wgs84),
        value => Region::geojson(value, &to_wgs84),
    };
    region.map_err(|error| match outside.take() {
        Some(outside) => out_of_domain(outside),
        None => region_problem(error),
    })
}

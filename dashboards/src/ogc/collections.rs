//! `/ogc/collections`: one for each kind of thing, and what features of it can be asked by (OGC 17-069r4, 7.13 and 7.14;
//! OGC 19-079r2, 6.2).

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use onemap_model::{EntityKind, Scope};
use onemap_spatial::ThingKind;
use onemap_spatial::query::Filter;
use serde_json::{Map, Value, json};

use super::axes::{Axes, CRS84};
use super::query::only_format;
use super::{Base, GEOJSON, POISON, SCHEMA, answer, short};
use crate::auth::Caller;
use crate::error::Problem;
use crate::views::Views;

const JSON: &str = "application/json";

/// A layer as GIS programs list it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Collection {
    pub(super) id: &'static str,
    pub(super) kind: ThingKind,
    title: &'static str,
    description: &'static str,
}

const fn entities(
    id: &'static str,
    kind: EntityKind,
    title: &'static str,
    description: &'static str,
) -> Collection {
    Collection {
        id,
        kind: ThingKind::Entity(kind),
        title,
        description,
    }
}

/// All there are. Persons are none of them: they never come out of a plain query.
pub(super) static COLLECTIONS: [Collection; 14] = [
    entities(
        "divisions",
        EntityKind::Division,
        "行政区划 Divisions",
        "Province to community; the code is the division code (GB/T 2260, GB/T 10114)",
    ),
    entities(
        "grids",
        EntityKind::Grid,
        "网格 Grids",
        "Unit and responsibility grids",
    ),
    entities(
        "addresses",
        EntityKind::Address,
        "地址 Addresses",
        "Doors and buildings with their addresses",
    ),
    entities("places", EntityKind::Place, "地名 Places", "Named places"),
    entities(
        "legal_persons",
        EntityKind::LegalPerson,
        "法人 Legal persons",
        "Organisations by their unified social credit code (GB 32100)",
    ),
    entities(
        "components",
        EntityKind::Component,
        "城市部件 Components",
        "City components by class (GB/T 47678.5, GB/T 30428.2)",
    ),
    entities("events", EntityKind::Event, "事件 Events", "Events"),
    entities("hazards", EntityKind::Hazard, "隐患 Hazards", "Hazards"),
    entities(
        "reaches",
        EntityKind::Reach,
        "河段 River reaches",
        "River reaches",
    ),
    entities("pipes", EntityKind::Pipe, "管线 Pipes", "Pipes"),
    entities("roads", EntityKind::Road, "道路 Roads", "Roads"),
    entities(
        "water",
        EntityKind::Water,
        "水系 Water",
        "Rivers, canals and lakes",
    ),
    entities(
        "fences",
        EntityKind::Fence,
        "电子围栏 Fences",
        "Fences that watch moving devices",
    ),
    Collection {
        id: "devices",
        kind: ThingKind::Device,
        title: "感知设备 Devices",
        description: "Devices and gateways, retired ones not among them",
    },
];

/// A property that features can be asked by: they have the same text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Property {
    Code,
    Name,
    NameEn,
    Division,
    District,
    Class,
    Stratum,
    State,
}

impl Property {
    pub(super) fn name(self) -> &'static str {
        match self {
            Property::Code => "code",
            Property::Name => "name",
            Property::NameEn => "name_en",
            Property::Division => "division",
            Property::District => "district",
            Property::Class => "class",
            Property::Stratum => "stratum",
            Property::State => "state",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Property::Code => "编码 Code",
            Property::Name => "名称 Name",
            Property::NameEn => "英文名称 English name",
            Property::Division => "区划代码 Code of the finest known division",
            Property::District => "区县代码 Six digits of the district or county",
            Property::Class => "类别 Class; of a device its kind",
            Property::Stratum => "地上、地表、地下 Above, on or below the ground",
            Property::State => "状态 State of the device's life",
        }
    }
}

impl Collection {
    pub(super) fn properties(&self) -> &'static [Property] {
        use Property as P;
        match self.kind {
            ThingKind::Device => &[
                P::Code,
                P::Name,
                P::NameEn,
                P::Division,
                P::District,
                P::Class,
                P::State,
            ],
            ThingKind::Entity(_) => &[
                P::Code,
                P::Name,
                P::NameEn,
                P::Division,
                P::District,
                P::Class,
                P::Stratum,
            ],
        }
    }

    pub(super) fn property(&self, name: &str) -> Option<Property> {
        self.properties()
            .iter()
            .copied()
            .find(|property| property.name() == name)
    }

    /// # Errors
    /// 404 when none is called so.
    pub(super) fn find(id: &str) -> Result<&'static Self, Problem> {
        COLLECTIONS
            .iter()
            .find(|collection| collection.id == id)
            .ok_or_else(|| {
                Problem::not_found(
                    "unknown_collection",
                    format!("no collection is called `{}`", short(id)),
                )
            })
    }

    /// What clients read of it before they ask for features.
    fn about(&self, base: &Base, extent: Option<[f64; 4]>) -> Value {
        let path = format!("/collections/{}", self.id);
        let mut about = json!({
            "id": self.id,
            "title": self.title,
            "description": self.description,
            "itemType": "feature",
            "crs": Axes::all().map(Axes::uri).collect::<Vec<_>>(),
            "storageCrs": CRS84,
            "links": [
                base.link("self", JSON, &path, self.title),
                base.link("items", GEOJSON, &format!("{path}/items"), self.title),
                base.link(
                    "http://www.opengis.net/def/rel/ogc/1.0/queryables",
                    SCHEMA,
                    &format!("{path}/queryables"),
                    "What features can be asked by",
                ),
            ],
        });
        if let Some(bbox) = extent {
            about["extent"] = json!({"spatial": {"bbox": [bbox], "crs": CRS84}});
        }
        about
    }
}

pub(super) async fn list(
    State(views): State<Arc<Views>>,
    caller: Caller,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let scope = caller.scope();
    only_format(query.as_deref())?;
    let base = Base::of(&headers);
    let extents = extents(&views, scope).await?;
    let about = |collection: &Collection| collection.about(&base, extents.get(&collection.kind).copied());
    let body = json!({
        "links": [base.link("self", JSON, "/collections", "This page")],
        "crs": Axes::all().map(Axes::uri).collect::<Vec<_>>(),
        "collections": COLLECTIONS.iter().map(about).collect::<Vec<_>>(),
    });
    Ok(answer(JSON, &body))
}

pub(super) async fn show(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let scope = caller.scope();
    let collection = Collection::find(&id)?;
    only_format(query.as_deref())?;
    let extent = extents(&views, scope).await?.get(&collection.kind).copied();
    Ok(answer(JSON, &collection.about(&Base::of(&headers), extent)))
}

/// How far each layer reaches, for who asks.
async fn extents(views: &Arc<Views>, scope: &Scope) -> Result<BTreeMap<ThingKind, [f64; 4]>, Problem> {
    let map = views.register.read().expect(POISON).city.view();
    let filter = Filter {
        scope: scope.reach(),
        ..Filter::default()
    };
    let all = tokio::task::spawn_blocking(move || map.extents(&filter)).await;
    all.map_err(|e| Problem::internal(&e))
}

pub(super) async fn queryables(
    _: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let collection = Collection::find(&id)?;
    only_format(query.as_deref())?;
    let Base(base) = Base::of(&headers);
    let one = |property: &Property| {
        let schema = json!({"title": property.title(), "type": "string"});
        (property.name().to_owned(), schema)
    };
    let mut properties: Map<String, Value> = collection.properties().iter().map(one).collect();
    properties.insert(
        "geometry".to_owned(),
        json!({"title": "位置 Place", "format": "geometry-any", "x-ogc-role": "primary-geometry"}),
    );
    let body = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": format!("{base}/collections/{}/queryables", collection.id),
        "type": "object",
        "title": collection.title,
        "properties": properties,
        "additionalProperties": false,
    });
    Ok(answer(SCHEMA, &body))
}

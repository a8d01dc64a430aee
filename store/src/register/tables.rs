//! The GeoPackage's tables (OGC 12-128r19, version 1.4).
//!
//! Feature tables by what they hold, each of one geometry type so that QGIS opens it as one layer.
//! Single lines and polygons stand there as multi ones; `geometry_type` says what they were. Their spatial
//! indexes are those of [`super::spatial_index`].

use super::geometry::Geometry;
use onemap_model::EntityKind;

/// `GPKG`.
pub(crate) const APPLICATION_ID: i64 = 0x4750_4B47;
/// GeoPackage 1.4.
pub(crate) const USER_VERSION: i64 = 10_400;
/// GeoPackage 1.3, without spatial indexes: what files said until November 2026. They are brought up when opened.
pub(crate) const EARLIER_USER_VERSIONS: [i64; 1] = [10_300];
/// Version of the tables below.
pub(crate) const FORMAT: i64 = 1;

/// A feature table of entities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) name: &'static str,
    geometry_type: &'static str,
    description: &'static str,
}

const fn table(name: &'static str, geometry_type: &'static str, description: &'static str) -> Table {
    Table {
        name,
        geometry_type,
        description,
    }
}

const DIVISIONS: Table = table("divisions", "MULTIPOLYGON", "Divisions and grids 行政区划与网格");
const PLACES: Table = table("places", "POINT", "Places, addresses, legal persons 地名地址");
const COMPONENTS: Table = table("components", "POINT", "City components 城市部件");
const EVENTS: Table = table("events", "POINT", "Events and hazards 事件与隐患");
const MULTIPOINTS: Table = table("multipoints", "MULTIPOINT", "Things of several points 多点");
const LINES: Table = table("lines", "MULTILINESTRING", "Rivers, roads, pipes 线状要素");
const AREAS: Table = table("areas", "MULTIPOLYGON", "Things that cover ground 面状要素");

/// Every table of entities; devices and profiles have their own.
pub(crate) const ENTITY_TABLES: [Table; 7] =
    [DIVISIONS, PLACES, COMPONENTS, EVENTS, MULTIPOINTS, LINES, AREAS];

/// Things whose place nobody knows: attributes without a geometry.
const UNPLACED: Table = table("unplaced", "", "Things without a known place 无位置");

/// Every table that holds entities, drawn or not.
pub(crate) fn tables() -> impl Iterator<Item = Table> {
    ENTITY_TABLES.into_iter().chain([UNPLACED])
}

impl Table {
    /// Whether its rows have a geometry.
    pub(crate) fn is_drawn(&self) -> bool {
        !self.geometry_type.is_empty()
    }
}

/// The names of all layers: tables with a geometry, which all call it `geom`.
pub(crate) fn layers() -> impl Iterator<Item = &'static str> {
    ENTITY_TABLES
        .into_iter()
        .map(|table| table.name)
        .chain(["devices"])
}

/// The table for a kind drawn so, or not drawn.
pub(crate) fn table_of(kind: &EntityKind, geometry: Option<&Geometry>) -> Table {
    let Some(geometry) = geometry else {
        return UNPLACED;
    };
    match (geometry, kind) {
        (_, EntityKind::Division | EntityKind::Grid) => DIVISIONS,
        (Geometry::Point(_), EntityKind::Component) => COMPONENTS,
        (Geometry::Point(_), EntityKind::Event | EntityKind::Hazard) => EVENTS,
        (Geometry::Point(_), _) => PLACES,
        (Geometry::MultiPoint(_), _) => MULTIPOINTS,
        (Geometry::LineString(_) | Geometry::MultiLineString(_), _) => LINES,
        (Geometry::Polygon(_) | Geometry::MultiPolygon(_), _) => AREAS,
    }
}

/// The statements that make an empty register. `last_change` stands at the epoch until the first
/// commit, because the register never reads a clock (the column's default, which the standard demands, is not used).
pub(crate) fn schema() -> String {
    let mut sql = format!("{CORE}{META}\n");
    for t in ENTITY_TABLES {
        let (name, geometry_type) = (t.name, t.geometry_type);
        sql.push_str(&format!(
            "CREATE TABLE {name} (
                fid INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
                geom {geometry_type} NOT NULL,
                kind TEXT NOT NULL, code TEXT NOT NULL, name TEXT NOT NULL, name_en TEXT NOT NULL,
                division TEXT, stratum TEXT NOT NULL, z_min REAL, z_max REAL,
                valid_from DATETIME, valid_to DATETIME,
                attributes TEXT NOT NULL, source TEXT NOT NULL,
                geometry_type TEXT NOT NULL, changed_at DATETIME NOT NULL, position INTEGER NOT NULL,
                UNIQUE (kind, code));\n"
        ));
        sql.push_str(&features(name, geometry_type, t.description));
    }
    sql.push_str(DEVICES);
    sql.push_str(&features("devices", "POINT", "Devices and gateways 感知设备"));
    sql.push_str(PROFILES);
    sql
}

/// The entries that make a table a layer. `z` 2: heights may be present.
fn features(name: &str, geometry_type: &str, description: &str) -> String {
    format!(
        "INSERT INTO gpkg_contents (table_name, data_type, identifier, description, last_change, srs_id)
            VALUES ('{name}', 'features', '{name}', '{description}', '1970-01-01T00:00:00.000Z', 4326);
         INSERT INTO gpkg_geometry_columns VALUES ('{name}', 'geom', '{geometry_type}', 4326, 2, 0);\n"
    )
}

/// The tables that every GeoPackage with features has.
pub(crate) const CORE: &str = r#"
CREATE TABLE gpkg_spatial_ref_sys (
    srs_name TEXT NOT NULL, srs_id INTEGER NOT NULL PRIMARY KEY, organization TEXT NOT NULL,
    organization_coordsys_id INTEGER NOT NULL, definition TEXT NOT NULL, description TEXT);
INSERT INTO gpkg_spatial_ref_sys VALUES
    ('Undefined Cartesian SRS', -1, 'NONE', -1, 'undefined', 'undefined Cartesian coordinate reference system'),
    ('Undefined geographic SRS', 0, 'NONE', 0, 'undefined', 'undefined geographic coordinate reference system'),
    ('WGS 84 geodetic', 4326, 'EPSG', 4326,
     'GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563,AUTHORITY["EPSG","7030"]],AUTHORITY["EPSG","6326"]],PRIMEM["Greenwich",0,AUTHORITY["EPSG","8901"]],UNIT["degree",0.0174532925199433,AUTHORITY["EPSG","9122"]],AXIS["Latitude",NORTH],AXIS["Longitude",EAST],AUTHORITY["EPSG","4326"]]',
     'longitude/latitude coordinates in decimal degrees on the WGS 84 spheroid');
CREATE TABLE gpkg_contents (
    table_name TEXT NOT NULL PRIMARY KEY, data_type TEXT NOT NULL, identifier TEXT UNIQUE,
    description TEXT DEFAULT '',
    last_change DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now')),
    min_x DOUBLE, min_y DOUBLE, max_x DOUBLE, max_y DOUBLE, srs_id INTEGER,
    CONSTRAINT fk_gc_r_srs_id FOREIGN KEY (srs_id) REFERENCES gpkg_spatial_ref_sys(srs_id));
CREATE TABLE gpkg_geometry_columns (
    table_name TEXT NOT NULL, column_name TEXT NOT NULL, geometry_type_name TEXT NOT NULL,
    srs_id INTEGER NOT NULL, z TINYINT NOT NULL, m TINYINT NOT NULL,
    CONSTRAINT pk_geom_cols PRIMARY KEY (table_name, column_name),
    CONSTRAINT uk_gc_table_name UNIQUE (table_name),
    CONSTRAINT fk_gc_tn FOREIGN KEY (table_name) REFERENCES gpkg_contents(table_name),
    CONSTRAINT fk_gc_srs FOREIGN KEY (srs_id) REFERENCES gpkg_spatial_ref_sys (srs_id));
"#;

const META: &str =
    "CREATE TABLE onemap_meta (key TEXT NOT NULL PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;";

const DEVICES: &str = "
CREATE TABLE devices (
    fid INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, geom POINT,
    id TEXT NOT NULL UNIQUE, name TEXT NOT NULL, name_en TEXT NOT NULL, kind TEXT NOT NULL,
    profile TEXT, division TEXT, setting TEXT NOT NULL, gateway TEXT, state TEXT NOT NULL,
    cadence_s INTEGER NOT NULL, department TEXT NOT NULL, demo BOOLEAN NOT NULL,
    changed_at DATETIME NOT NULL, position INTEGER NOT NULL,
    is_gateway BOOLEAN NOT NULL DEFAULT 0, adopts BOOLEAN NOT NULL DEFAULT 0,
    maintenance TEXT, entity TEXT);
";

/// Columns that came after the first version: table, name, definition. A file of before gets them when it is opened.
pub(crate) fn later_columns() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    let devices = [
        ("devices", "is_gateway", "BOOLEAN NOT NULL DEFAULT 0"),
        ("devices", "adopts", "BOOLEAN NOT NULL DEFAULT 0"),
        ("devices", "maintenance", "TEXT"),
        ("devices", "entity", "TEXT"),
    ];
    let entities = ENTITY_TABLES
        .into_iter()
        .flat_map(|table| ["class", "height_datum", "former"].map(|column| (table.name, column, "TEXT")));
    let departments = tables().map(|table| (table.name, "department", "TEXT"));
    devices.into_iter().chain(entities).chain(departments)
}

/// Tables that came after the first version and are made at every open: things without a place, which the package
/// lists as attributes; push sources and what is known of hydrological stations, which it does not list, because
/// nobody looks at them in a GIS.
pub(crate) const LATER_TABLES: &str = "
CREATE TABLE IF NOT EXISTS unplaced (
    fid INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    kind TEXT NOT NULL, code TEXT NOT NULL, name TEXT NOT NULL, name_en TEXT NOT NULL,
    division TEXT, stratum TEXT NOT NULL, z_min REAL, z_max REAL,
    valid_from DATETIME, valid_to DATETIME,
    attributes TEXT NOT NULL, source TEXT NOT NULL,
    changed_at DATETIME NOT NULL, position INTEGER NOT NULL,
    class TEXT, height_datum TEXT, former TEXT,
    UNIQUE (kind, code));
INSERT OR IGNORE INTO gpkg_contents (table_name, data_type, identifier, description, last_change)
    VALUES ('unplaced', 'attributes', 'unplaced', 'Things without a known place 无位置', '1970-01-01T00:00:00.000Z');
CREATE TABLE IF NOT EXISTS onemap_sources (
    id TEXT NOT NULL PRIMARY KEY, text TEXT NOT NULL, changed_at DATETIME NOT NULL, position INTEGER NOT NULL)
    WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS onemap_hydrology (
    device TEXT NOT NULL PRIMARY KEY, json TEXT NOT NULL, changed_at DATETIME NOT NULL, position INTEGER NOT NULL)
    WITHOUT ROWID;
";

const PROFILES: &str = "
CREATE TABLE profiles (
    fid INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, id TEXT NOT NULL UNIQUE, text TEXT NOT NULL,
    changed_at DATETIME NOT NULL, position INTEGER NOT NULL);
INSERT INTO gpkg_contents (table_name, data_type, identifier, description, last_change)
    VALUES ('profiles', 'attributes', 'profiles', 'Device profiles 设备模型', '1970-01-01T00:00:00.000Z');
";

//! Spatial indexes of the layers: the GeoPackage's R-tree extension (OGC 12-128r19, annex F.3).
//!
//! Each layer has a virtual table `rtree_<layer>_geom` with a box for every geometry that is not empty. The triggers
//! are those of version 1.4: before, `update1` did `INSERT OR REPLACE`, whose conflict clause the one of an outer
//! `ON CONFLICT DO UPDATE` overrides, so that an upsert failed. Here `update6` and `update7` take its place.
//!
//! The triggers call `ST_MinX` and its like. GIS programs have them, and so has every connection of the register;
//! the plain `sqlite3` program reads the file, but writes nothing into a layer.

use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Error, Result};

use super::tables::{USER_VERSION, layers};
use super::well_known::read_geopackage;
use crate::sqlite;

/// The table that lists a package's extensions.
pub(super) const EXTENSIONS: &str = "
CREATE TABLE IF NOT EXISTS gpkg_extensions (
    table_name TEXT, column_name TEXT, extension_name TEXT NOT NULL, definition TEXT NOT NULL, scope TEXT NOT NULL,
    CONSTRAINT ge_tce UNIQUE (table_name, column_name, extension_name));
";

/// The table of one layer's boxes, its entry, and the boxes of what is there already. `{t}` is the layer.
const INDEX: &str = r#"
CREATE VIRTUAL TABLE "rtree_{t}_geom" USING rtree(id, minx, maxx, miny, maxy);
INSERT INTO gpkg_extensions VALUES ('{t}', 'geom', 'gpkg_rtree_index',
    'http://www.geopackage.org/spec120/#extension_rtree', 'write-only');
INSERT INTO "rtree_{t}_geom"
    SELECT fid, ST_MinX(geom), ST_MaxX(geom), ST_MinY(geom), ST_MaxY(geom) FROM "{t}"
    WHERE geom NOTNULL AND NOT ST_IsEmpty(geom);
"#;

const TRIGGERS: &str = r#"
CREATE TRIGGER "rtree_{t}_geom_insert" AFTER INSERT ON "{t}"
WHEN (NEW."geom" NOT NULL AND NOT ST_IsEmpty(NEW."geom"))
BEGIN
    INSERT OR REPLACE INTO "rtree_{t}_geom" VALUES (NEW."fid",
        ST_MinX(NEW."geom"), ST_MaxX(NEW."geom"), ST_MinY(NEW."geom"), ST_MaxY(NEW."geom"));
END;
CREATE TRIGGER "rtree_{t}_geom_update2" AFTER UPDATE OF "geom" ON "{t}"
WHEN OLD."fid" = NEW."fid" AND (NEW."geom" ISNULL OR ST_IsEmpty(NEW."geom"))
BEGIN
    DELETE FROM "rtree_{t}_geom" WHERE id = OLD."fid";
END;
CREATE TRIGGER "rtree_{t}_geom_update4" AFTER UPDATE ON "{t}"
WHEN OLD."fid" != NEW."fid" AND (NEW."geom" ISNULL OR ST_IsEmpty(NEW."geom"))
BEGIN
    DELETE FROM "rtree_{t}_geom" WHERE id IN (OLD."fid", NEW."fid");
END;
CREATE TRIGGER "rtree_{t}_geom_update5" AFTER UPDATE ON "{t}"
WHEN OLD."fid" != NEW."fid" AND (NEW."geom" NOTNULL AND NOT ST_IsEmpty(NEW."geom"))
BEGIN
    DELETE FROM "rtree_{t}_geom" WHERE id = OLD."fid";
    INSERT OR REPLACE INTO "rtree_{t}_geom" VALUES (NEW."fid",
        ST_MinX(NEW."geom"), ST_MaxX(NEW."geom"), ST_MinY(NEW."geom"), ST_MaxY(NEW."geom"));
END;
CREATE TRIGGER "rtree_{t}_geom_update6" AFTER UPDATE OF "geom" ON "{t}"
WHEN OLD."fid" = NEW."fid" AND (NEW."geom" NOTNULL AND NOT ST_IsEmpty(NEW."geom"))
    AND (OLD."geom" NOTNULL AND NOT ST_IsEmpty(OLD."geom"))
BEGIN
    UPDATE "rtree_{t}_geom" SET minx = ST_MinX(NEW."geom"), maxx = ST_MaxX(NEW."geom"),
        miny = ST_MinY(NEW."geom"), maxy = ST_MaxY(NEW."geom") WHERE id = NEW."fid";
END;
CREATE TRIGGER "rtree_{t}_geom_update7" AFTER UPDATE OF "geom" ON "{t}"
WHEN OLD."fid" = NEW."fid" AND (NEW."geom" NOTNULL AND NOT ST_IsEmpty(NEW."geom"))
    AND (OLD."geom" ISNULL OR ST_IsEmpty(OLD."geom"))
BEGIN
    INSERT INTO "rtree_{t}_geom" VALUES (NEW."fid",
        ST_MinX(NEW."geom"), ST_MaxX(NEW."geom"), ST_MinY(NEW."geom"), ST_MaxY(NEW."geom"));
END;
CREATE TRIGGER "rtree_{t}_geom_delete" AFTER DELETE ON "{t}"
WHEN OLD."geom" NOT NULL
BEGIN
    DELETE FROM "rtree_{t}_geom" WHERE id = OLD."fid";
END;
"#;

/// Gives the layers that have no index theirs, filled, and says the file's version: all of it or nothing. A file of
/// before November 2026 has none.
pub(crate) fn add_missing(connection: &mut Connection) -> Result<()> {
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let tx = sqlite::begin(connection)?;
    tx.execute_batch(EXTENSIONS)?;
    for layer in layers() {
        let is_there = tx
            .prepare(
                "SELECT 1 FROM gpkg_extensions WHERE table_name = ?1 AND extension_name = 'gpkg_rtree_index'",
            )?
            .exists([layer])?;
        if !is_there {
            add(&tx, layer)?;
        }
    }
    if version != USER_VERSION {
        tx.pragma_update(None, "user_version", USER_VERSION)?;
    }
    tx.commit()
}

/// Gives one layer its index, filled. What its table is called needs no quotes.
pub(super) fn add(tx: &Connection, layer: &str) -> Result<()> {
    tx.execute_batch(&(INDEX.to_owned() + TRIGGERS).replace("{t}", layer))
}

/// Gives a connection the functions that the triggers call (annex F.3, table 45).
pub(crate) fn add_functions(connection: &Connection) -> Result<()> {
    let flags =
        FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_INNOCUOUS;
    for (name, edge) in [("ST_MinX", 0), ("ST_MinY", 1), ("ST_MaxX", 2), ("ST_MaxY", 3)] {
        connection.create_scalar_function(name, 1, flags, move |call| {
            Ok(bounds(call)?.flatten().map(|bounds| bounds[edge]))
        })?;
    }
    connection.create_scalar_function("ST_IsEmpty", 1, flags, |call| {
        Ok(bounds(call)?.map(|bounds| bounds.is_none()))
    })
}

/// West, south, east, north of the geometry that a function was called with: `None` for no geometry, `Some(None)` for
/// an empty one.
fn bounds(call: &Context<'_>) -> Result<Option<Option<[f64; 4]>>> {
    let blob = match call.get_raw(0) {
        ValueRef::Null => return Ok(None),
        ValueRef::Blob(blob) => blob,
        _ => return Err(Error::UserFunctionError("a geometry is a blob".into())),
    };
    match stated(blob) {
        Some(bounds) => Ok(Some(bounds)),
        None => match read_geopackage(blob) {
            Ok(header) => Ok(Some(header.geometry.map(|geometry| geometry.bounds()))),
            Err(error) => Err(Error::UserFunctionError(error.into())),
        },
    }
}

/// What a blob says without being read whole: by its envelope, or because it is a point.
fn stated(blob: &[u8]) -> Option<Option<[f64; 4]>> {
    let flags = *blob.get(3)?;
    // Little-endian, of a usual type; others are read whole.
    if !blob.starts_with(b"GP\0") || flags & 0x21 != 1 {
        return None;
    }
    if flags & 0x10 != 0 {
        return Some(None);
    }
    let number = |at: usize| Some(f64::from_le_bytes(blob.get(at..at + 8)?.try_into().ok()?));
    let four = match flags >> 1 & 7 {
        0 => {
            let code = u32::from_le_bytes(blob.get(9..13)?.try_into().ok()?);
            if blob[8] != 1 || !matches!(code, 1 | 1001) {
                return None;
            }
            let (x, y) = (number(13)?, number(21)?);
            [x, y, x, y]
        }
        // West, east, south, north.
        1..=4 => [number(8)?, number(24)?, number(16)?, number(32)?],
        _ => return None,
    };
    // A point without coordinates is written as not-a-number.
    Some((!four.iter().any(|n| n.is_nan())).then_some(four))
}

#[cfg(test)]
pub(super) mod tests;

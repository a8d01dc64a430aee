//! Devices, entities and profiles as rows of the GeoPackage, and back.

use std::collections::BTreeMap;
use std::sync::Arc;

use onemap_model::code::ClassCode;
use onemap_model::{
    Device, DeviceId, DivisionCode, EntityCode, EntityKind, FormerCode, Hydrology, Position, ProfileId,
    Timestamp,
};
use rusqlite::{Connection, OptionalExtension, Row, ToSql, named_params, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::entity::kind_named;
use super::geometry::{Coord, Geometry};
use super::packed::{Fields, Packed};
use super::tables::{later_columns, table_of, tables};
use crate::sqlite::signed;

/// When and where in the journal a row was changed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change {
    pub(crate) position: u64,
    pub(crate) at: Timestamp,
}

/// What cannot be read back: table, key and column.
pub(crate) type BadRow = (&'static str, String, &'static str);

/// Rows as read, each on its own.
type Rows<T> = rusqlite::Result<Vec<Result<T, BadRow>>>;

pub(crate) fn put_device(tx: &Connection, change: Change, device: &Device) -> rusqlite::Result<()> {
    let point = device.position.map(|p| {
        Geometry::Point(Coord {
            lon: p.lon(),
            lat: p.lat(),
            height: p.height_m(),
        })
    });
    tx.prepare_cached(
        "INSERT INTO devices (geom, id, name, name_en, kind, profile, division, setting, gateway, state,
             cadence_s, department, demo, is_gateway, adopts, maintenance, entity, changed_at, position)
         VALUES (:geom, :id, :name, :name_en, :kind, :profile, :division, :setting, :gateway, :state,
             :cadence_s, :department, :demo, :is_gateway, :adopts, :maintenance, :entity, :changed_at, :position)
         ON CONFLICT (id) DO UPDATE SET geom = :geom, name = :name, name_en = :name_en, kind = :kind,
             profile = :profile, division = :division, setting = :setting, gateway = :gateway, state = :state,
             cadence_s = :cadence_s, department = :department, demo = :demo,
             is_gateway = :is_gateway, adopts = :adopts, maintenance = :maintenance, entity = :entity, changed_at = :changed_at,
             position = :position",
    )?
    .execute(named_params! {
        ":geom": point.as_ref().map(Geometry::to_blob),
        ":id": device.id.as_str(),
        ":name": device.name,
        ":name_en": device.name_en,
        ":kind": &*device.kind,
        ":profile": device.profile.as_ref().map(ProfileId::as_str),
        ":division": device.division.as_ref().map(|d| d.as_str()),
        ":setting": word(&device.setting),
        ":gateway": device.gateway.as_ref().map(|g| g.as_str()),
        ":state": word(&device.state),
        ":cadence_s": device.cadence_s,
        ":department": device.department,
        ":demo": device.demo,
        ":is_gateway": device.is_gateway,
        ":adopts": device.adopts,
        ":maintenance": device.maintenance.as_ref().map(|m| serde_json::to_string(m).expect("its keys are texts")),
        ":entity": device.entity.as_ref().map(ToString::to_string),
        ":changed_at": utc_text(change.at),
        ":position": signed(change.position),
    })?;
    touch(tx, "devices", change.at, point.map(|point| point.bounds()))
}

pub(crate) fn put_device_if_new(tx: &Connection, change: Change, device: &Device) -> rusqlite::Result<()> {
    let is_known = tx
        .prepare_cached("SELECT 1 FROM devices WHERE id = ?1")?
        .exists([device.id.as_str()])?;
    if is_known {
        Ok(())
    } else {
        put_device(tx, change, device)
    }
}

/// Writes an entity, and takes away what stood under a code it had before. Gives the table it is in.
pub(crate) fn put_entity(
    tx: &Connection,
    change: Change,
    kind: &EntityKind,
    code: &str,
    packed: &Packed,
    touched: &mut Touched,
) -> rusqlite::Result<()> {
    let fields = packed.fields();
    let geometry = packed.geometry();
    let table = table_of(kind, geometry.as_ref());
    for other in tables().filter(|other| *other != table) {
        delete(tx, other.name, kind, code, touched)?;
    }
    let former: Vec<FormerCode> = match fields.former {
        "" => Vec::new(),
        json => serde_json::from_str(json).unwrap_or_default(),
    };
    for former in former {
        remove_entity(tx, kind, &former.code, touched)?;
    }
    let (drawn, values, sets) = match table.is_drawn() {
        true => (
            "geom, geometry_type, ",
            ":geom, :geometry_type, ",
            "geom = :geom, geometry_type = :geometry_type, ",
        ),
        false => ("", "", ""),
    };
    let mut insert = tx.prepare_cached(&format!(
        "INSERT INTO {} ({drawn}kind, code, name, name_en, division, stratum, z_min, z_max, valid_from,
             valid_to, attributes, source, class, height_datum, former, department, changed_at, position)
         VALUES ({values}:kind, :code, :name, :name_en, :division, :stratum, :z_min, :z_max, :valid_from,
             :valid_to, :attributes, :source, :class, :height_datum, :former, :department, :changed_at, :position)
         ON CONFLICT (kind, code) DO UPDATE SET {sets}name = :name, name_en = :name_en,
             division = :division, stratum = :stratum, z_min = :z_min, z_max = :z_max,
             valid_from = :valid_from, valid_to = :valid_to, attributes = :attributes, source = :source,
             class = :class, height_datum = :height_datum, former = :former, department = :department,
             changed_at = :changed_at, position = :position",
        table.name
    ))?;
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let attributes = if fields.attributes.is_empty() {
        "{}"
    } else {
        fields.attributes
    };
    let (changed_at, position) = (utc_text(change.at), signed(change.position));
    let (division, class, former) = (some(fields.division), some(fields.class), some(fields.former));
    let department = some(fields.department);
    let (valid_from, valid_to) = (fields.valid_from.map(utc_text), fields.valid_to.map(utc_text));
    let datum = fields.height_datum.as_ref().map(word);
    let (z_min, z_max) = (fields.z_range_m.map(|z| z[0]), fields.z_range_m.map(|z| z[1]));
    let (kind, stratum) = (kind.name(), word(&fields.stratum));
    let mut all: Vec<(&str, &dyn ToSql)> = vec![
        (":kind", &kind),
        (":code", &code),
        (":name", &fields.name),
        (":name_en", &fields.name_en),
        (":division", &division),
        (":stratum", &stratum),
        (":z_min", &z_min),
        (":z_max", &z_max),
        (":valid_from", &valid_from),
        (":valid_to", &valid_to),
        (":attributes", &attributes),
        (":source", &fields.source),
        (":class", &class),
        (":height_datum", &datum),
        (":former", &former),
        (":department", &department),
        (":changed_at", &changed_at),
        (":position", &position),
    ];
    let Some(geometry) = geometry else {
        insert.execute(&all[..])?;
        touched.note(table.name, None);
        return Ok(());
    };
    let (name, bounds) = (geometry.name(), geometry.bounds());
    let blob = geometry.promoted().to_blob();
    all.push((":geom", &blob));
    all.push((":geometry_type", &name));
    insert.execute(&all[..])?;
    touched.note(table.name, Some(bounds));
    Ok(())
}

pub(crate) fn remove_entity(
    tx: &Connection,
    kind: &EntityKind,
    code: &str,
    touched: &mut Touched,
) -> rusqlite::Result<()> {
    tables().try_for_each(|table| delete(tx, table.name, kind, code, touched))
}

/// Tables that a commit changes, and how far what it puts there reaches: noted once a commit, not once a row.
#[derive(Default)]
pub(crate) struct Touched(BTreeMap<&'static str, Option<[f64; 4]>>);

impl Touched {
    fn note(&mut self, table: &'static str, bounds: Option<[f64; 4]>) {
        let known = self.0.entry(table).or_default();
        *known = match (*known, bounds) {
            (Some(a), Some(b)) => Some([a[0].min(b[0]), a[1].min(b[1]), a[2].max(b[2]), a[3].max(b[3])]),
            (known, new) => known.or(new),
        };
    }
    /// Writes it.
    pub(crate) fn write(&self, tx: &Connection, at: Timestamp) -> rusqlite::Result<()> {
        self.0
            .iter()
            .try_for_each(|(table, bounds)| touch(tx, table, at, *bounds))
    }
}

pub(crate) fn put_profile(
    tx: &Connection,
    change: Change,
    id: &ProfileId,
    text: &str,
) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "INSERT INTO profiles (id, text, changed_at, position) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (id) DO UPDATE SET text = ?2, changed_at = ?3, position = ?4",
    )?
    .execute(params![
        id.as_str(),
        text,
        utc_text(change.at),
        signed(change.position)
    ])?;
    touch(tx, "profiles", change.at, None)
}

fn delete(
    tx: &Connection,
    table: &'static str,
    kind: &EntityKind,
    code: &str,
    touched: &mut Touched,
) -> rusqlite::Result<()> {
    let n = tx
        .prepare_cached(&format!("DELETE FROM {table} WHERE kind = ?1 AND code = ?2"))?
        .execute(params![kind.name(), code])?;
    if n > 0 {
        touched.note(table, None);
    }
    Ok(())
}

/// Notes the change in the table's entry. Its bounds only widen: they are informative by the standard.
fn touch(tx: &Connection, table: &str, at: Timestamp, bounds: Option<[f64; 4]>) -> rusqlite::Result<()> {
    tx.prepare_cached("UPDATE gpkg_contents SET last_change = ?2 WHERE table_name = ?1")?
        .execute(params![table, utc_text(at)])?;
    if let Some([west, south, east, north]) = bounds {
        tx.prepare_cached(
            "UPDATE gpkg_contents SET min_x = min(coalesce(min_x, ?2), ?2), min_y = min(coalesce(min_y, ?3), ?3),
                 max_x = max(coalesce(max_x, ?4), ?4), max_y = max(coalesce(max_y, ?5), ?5)
             WHERE table_name = ?1",
        )?
        .execute(params![table, west, south, east, north])?;
    }
    Ok(())
}

fn has_column(connection: &Connection, table: &str, column: &str) -> rusqlite::Result<bool> {
    let asked = "SELECT count(*) > 0 FROM pragma_table_info(?1) WHERE name = ?2";
    connection.query_row(asked, [table, column], |row| row.get(0))
}

/// Adds the columns that came later and the file lacks.
pub(crate) fn add_columns(connection: &Connection) -> rusqlite::Result<()> {
    for (table, column, definition) in later_columns() {
        if !has_column(connection, table, column)? {
            connection.execute_batch(&format!("ALTER TABLE {table} ADD COLUMN {column} {definition}"))?;
        }
    }
    Ok(())
}

/// Reads every device.
pub(crate) fn devices(connection: &Connection) -> Rows<Device> {
    let read = |row: &Row<'_>| {
        let id: String = row.get("id")?;
        let blob: Option<Vec<u8>> = row.get("geom")?;
        let text = |column: &'static str| row.get::<_, String>(column);
        let optional = |column: &'static str| row.get::<_, Option<String>>(column);
        let bad = |column| ("devices", id.clone(), column);
        let (name, name_en, kind, department) = (
            text("name")?,
            text("name_en")?,
            text("kind")?,
            text("department")?,
        );
        let (setting, state) = (text("setting")?, text("state")?);
        let (profile, division, gateway) =
            (optional("profile")?, optional("division")?, optional("gateway")?);
        let (maintenance, entity) = (optional("maintenance")?, optional("entity")?);
        let (cadence_s, demo) = (row.get("cadence_s")?, row.get("demo")?);
        let (is_gateway, adopts) = (row.get("is_gateway")?, row.get("adopts")?);
        let device = || {
            let position = match blob {
                None => None,
                Some(blob) => Some(position(&blob).ok_or_else(|| bad("geom"))?),
            };
            Ok(Device {
                id: id.parse().map_err(|_| bad("id"))?,
                name,
                name_en,
                kind: kind.into(),
                profile: parsed(profile).ok_or_else(|| bad("profile"))?,
                position,
                division: parsed(division).ok_or_else(|| bad("division"))?,
                setting: from_word(setting).ok_or_else(|| bad("setting"))?,
                gateway: parsed(gateway).ok_or_else(|| bad("gateway"))?,
                entity: parsed(entity).ok_or_else(|| bad("entity"))?,
                state: from_word(state).ok_or_else(|| bad("state"))?,
                maintenance: match maintenance {
                    None => None,
                    Some(json) => serde_json::from_str(&json).map_err(|_| bad("maintenance"))?,
                },
                is_gateway,
                adopts,
                cadence_s,
                department,
                demo,
            })
        };
        Ok(device())
    };
    connection
        .prepare("SELECT * FROM devices")?
        .query_map([], read)?
        .collect()
}

/// Reads every entity and gives each to `take`.
pub(crate) fn entities(
    connection: &Connection,
    mut take: impl FnMut(EntityKind, EntityCode, Packed),
) -> rusqlite::Result<Result<(), BadRow>> {
    for table in tables() {
        let drawn = if table.is_drawn() {
            "geom, geometry_type"
        } else {
            "NULL, NULL"
        };
        // Who only looks at a file of before adds no columns to it.
        let department = match has_column(connection, table.name, "department")? {
            true => "department",
            false => "NULL",
        };
        let mut statement = connection.prepare(&format!(
            "SELECT kind, code, name, name_en, division, stratum, z_min, z_max, valid_from, valid_to, attributes,
                 source, class, height_datum, former, {drawn}, {department} FROM {}",
            table.name
        ))?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            match entity(table.name, row)? {
                Ok((kind, code, packed)) => take(kind, code, packed),
                Err(bad) => return Ok(Err(bad)),
            }
        }
    }
    Ok(Ok(()))
}

type Read = Result<(EntityKind, EntityCode, Packed), BadRow>;

fn entity(table: &'static str, row: &Row<'_>) -> rusqlite::Result<Read> {
    // Texts are read in place: a city has a million of these rows.
    let text = |i: usize| -> rusqlite::Result<Option<&str>> { Ok(row.get_ref(i)?.as_str_or_null()?) };
    let code = text(1)?.unwrap_or_default();
    let bad = |column: &'static str| (table, code.to_owned(), column);
    let time = |text: Option<&str>, column| match text {
        None => Ok(None),
        Some(text) => Timestamp::parse(text).map(Some).map_err(|_| bad(column)),
    };
    let json = |text: Option<&str>, column: &'static str| match text {
        None => Ok(()),
        Some(text) => serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text)
            .map(|_| ())
            .map_err(|_| bad(column)),
    };
    let (kind, name, name_en) = (text(0)?, text(2)?, text(3)?);
    let (division, stratum) = (text(4)?, text(5)?);
    let heights: (Option<f64>, Option<f64>) = (row.get(6)?, row.get(7)?);
    let (from, to) = (text(8)?, text(9)?);
    let (attributes, source) = (text(10)?, text(11)?);
    let (class, datum, former) = (text(12)?, text(13)?, text(14)?);
    let blob = row.get_ref(15)?.as_blob_or_null()?;
    let geometry_type = text(16)?.unwrap_or_default();
    let department = text(17)?;
    let read = || {
        let kind = kind.and_then(kind_named).ok_or_else(|| bad("kind"))?;
        let stratum = stratum
            .and_then(|word| from_word(word.to_owned()))
            .ok_or_else(|| bad("stratum"))?;
        let height_datum = match datum {
            None => None,
            Some(word) => Some(from_word(word.to_owned()).ok_or_else(|| bad("height_datum"))?),
        };
        if division.is_some_and(|division| DivisionCode::new(division).is_err()) {
            return Err(bad("division"));
        }
        if class.is_some_and(|class| ClassCode::parse(class).is_err()) {
            return Err(bad("class"));
        }
        let attributes = attributes.filter(|text| *text != "{}");
        json(attributes, "attributes")?;
        if former.is_some_and(|text| serde_json::from_str::<Vec<FormerCode>>(text).is_err()) {
            return Err(bad("former"));
        }
        let mut wkb = Vec::new();
        if let Some(blob) = blob {
            let geometry = Geometry::from_blob(blob).ok_or_else(|| bad("geom"))?;
            geometry.demoted(geometry_type).wkb(&mut wkb);
        }
        let packed = Packed::of(&Fields {
            name: name.unwrap_or_default(),
            name_en: name_en.unwrap_or_default(),
            division: division.unwrap_or_default(),
            department: department.unwrap_or_default(),
            class: class.unwrap_or_default(),
            stratum,
            z_range_m: heights.0.zip(heights.1).map(|(low, high)| [low, high]),
            height_datum,
            valid_from: time(from, "valid_from")?,
            valid_to: time(to, "valid_to")?,
            former: former.unwrap_or_default(),
            attributes: attributes.unwrap_or_default(),
            source: source.unwrap_or_default(),
            geometry: &wkb,
        });
        Ok((kind, code.into(), packed))
    };
    Ok(read())
}

/// Writes a push source; an empty text takes it away.
pub(crate) fn put_source(
    tx: &Connection,
    change: Change,
    id: &ProfileId,
    text: &str,
) -> rusqlite::Result<()> {
    if text.is_empty() {
        tx.execute("DELETE FROM onemap_sources WHERE id = ?1", [id.as_str()])?;
        return Ok(());
    }
    tx.prepare_cached(
        "INSERT OR REPLACE INTO onemap_sources (id, text, changed_at, position) VALUES (?1, ?2, ?3, ?4)",
    )?
    .execute(params![
        id.as_str(),
        text,
        utc_text(change.at),
        signed(change.position)
    ])?;
    Ok(())
}

/// Writes what is known of a station, or that nothing is.
pub(crate) fn put_hydrology(
    tx: &Connection,
    change: Change,
    device: &DeviceId,
    known: Option<&Hydrology>,
) -> rusqlite::Result<()> {
    let Some(known) = known else {
        tx.execute(
            "DELETE FROM onemap_hydrology WHERE device = ?1",
            [device.as_str()],
        )?;
        return Ok(());
    };
    tx.prepare_cached(
        "INSERT OR REPLACE INTO onemap_hydrology (device, json, changed_at, position) VALUES (?1, ?2, ?3, ?4)",
    )?
    .execute(params![
        device.as_str(),
        serde_json::to_string(known).expect("stations have text keys only"),
        utc_text(change.at),
        signed(change.position)
    ])?;
    Ok(())
}

/// Reads what is known of every station.
pub(crate) fn hydrology(connection: &Connection) -> Rows<(DeviceId, Hydrology)> {
    let read = |row: &Row<'_>| {
        let (device, json): (String, String) = (row.get(0)?, row.get(1)?);
        let Ok(id) = device.parse() else {
            return Ok(Err(("onemap_hydrology", device, "device")));
        };
        let known = serde_json::from_str(&json).map_err(|_| ("onemap_hydrology", device, "json"));
        Ok(known.map(|known| (id, known)))
    };
    connection
        .prepare("SELECT device, json FROM onemap_hydrology")?
        .query_map([], read)?
        .collect()
}

/// Reads every push source.
pub(crate) fn sources(connection: &Connection) -> Rows<(ProfileId, Arc<str>)> {
    let read = |row: &Row<'_>| {
        let (id, text): (String, String) = (row.get(0)?, row.get(1)?);
        let parsed = id.parse().map_err(|_| ("onemap_sources", id, "id"));
        Ok(parsed.map(|id| (id, text.into())))
    };
    connection
        .prepare("SELECT id, text FROM onemap_sources")?
        .query_map([], read)?
        .collect()
}

/// Reads every profile.
pub(crate) fn profiles(connection: &Connection) -> Rows<(ProfileId, Arc<str>)> {
    let read = |row: &Row<'_>| {
        let (id, text): (String, String) = (row.get(0)?, row.get(1)?);
        let parsed = id.parse().map_err(|_| ("profiles", id, "id"));
        Ok(parsed.map(|id| (id, text.into())))
    };
    connection
        .prepare("SELECT id, text FROM profiles")?
        .query_map([], read)?
        .collect()
}

/// A number of the file's own.
pub(crate) fn meta(connection: &Connection, key: &str) -> rusqlite::Result<Option<i64>> {
    connection
        .query_row("SELECT value FROM onemap_meta WHERE key = ?1", [key], |row| {
            row.get(0)
        })
        .optional()
}

pub(crate) fn set_meta(connection: &Connection, key: &str, value: i64) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO onemap_meta VALUES (?1, ?2)")?
        .execute(params![key, value])
        .map(|_| ())
}

fn position(blob: &[u8]) -> Option<Position> {
    match Geometry::from_blob(blob)? {
        Geometry::Point(c) => Position::new(c.lon, c.lat, c.height).ok(),
        _ => None,
    }
}

/// The word an enum without fields is written as.
pub(crate) fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        other => unreachable!("enums of the register are written as words, not {other:?}"),
    }
}

fn from_word<T: DeserializeOwned>(word: String) -> Option<T> {
    serde_json::from_value(serde_json::Value::String(word)).ok()
}

/// `Some(None)` for an absent text, `None` for one that does not parse.
fn parsed<T: std::str::FromStr>(text: Option<String>) -> Option<Option<T>> {
    match text {
        None => Some(None),
        Some(text) => text.parse().ok().map(Some),
    }
}

/// ISO 8601 in UTC with milliseconds, as the GeoPackage standard wants it; a time outside the years 1 to
/// 9999 is written as its border.
pub(crate) fn utc_text(t: Timestamp) -> String {
    let ms = t.ms().clamp(-62_135_596_800_000, 253_402_207_200_000);
    match jiff::Timestamp::from_millisecond(ms) {
        Ok(t) => t.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string(),
        Err(_) => unreachable!("{ms} lies within the calendar's range"),
    }
}

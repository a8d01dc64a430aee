//! The register: devices, entities and profiles, as a GeoPackage that GIS programs open.
//!
//! [`Register`] owns the file `register.gpkg` and is written by the pipeline; [`RegisterView`] is the same
//! content in memory for everyone who asks. The file holds no secrets and no persons. It is a projection:
//! what others write into it is lost at the next replay.

mod blob;
mod crossing;
mod entity;
pub mod export;
mod geometry;
pub mod import;
mod nesting;
mod packed;
mod rows;
mod spatial_index;
mod tables;
mod view;
mod well_known;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use onemap_model::record::Register as Change;
use onemap_model::{Device, DeviceId, EntityCode, EntityKind, Hydrology, ProfileId, Timestamp};
use rusqlite::Connection;

pub use crossing::Crossing;
pub use entity::{EntityError, KINDS, check_entity};
pub use geometry::{GeometryError, MAX_POSITIONS};
pub use packed::{Card, Entities, Stated, Written, name_on};

pub use view::RegisterView;

use crate::sqlite::{self, FileError, signed, unsigned};
use packed::Packed;
use rows::BadRow;

/// The middle of an entity's box, or the point that it is; `None` when it has no sound geometry.
pub fn middle(entity: &onemap_model::Entity) -> Option<onemap_model::Position> {
    let [west, south, east, north] = geometry::Geometry::from_json(&entity.geometry).ok()?.bounds();
    onemap_model::Position::new((west + east) / 2.0, (south + north) / 2.0, None).ok()
}

/// Pages of the file that memory keeps, KiB.
const CACHE_KIB: i64 = 32 << 10;

/// The register's file and the changes that wait for the next [`commit`](Self::commit).
pub struct Register {
    path: PathBuf,
    connection: Connection,
    cursor: u64,
    waiting: Vec<(rows::Change, Waiting)>,
}

enum Waiting {
    Device(Box<Device>),
    Adopted(Box<Device>),
    Entity(EntityKind, EntityCode, Packed),
    EntityRemoved(EntityKind, String),
    Profile(ProfileId, String),
    Source(ProfileId, String),
    Hydrology(DeviceId, Option<Box<Hydrology>>),
}

/// What [`Register::apply`] did with a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It waits for the next commit.
    Waiting,
    /// Its position is not after the cursor or the last waiting change: it was applied before.
    Before,
    /// It is kept elsewhere (tokens stand in the ledger).
    Elsewhere,
}

/// What can go wrong with the register.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// The file.
    #[error(transparent)]
    File(#[from] FileError),
    /// The entity is not sound; nothing was changed.
    #[error("the entity at journal position {position} is not kept")]
    Entity {
        /// Journal position.
        position: u64,
        /// What is wrong with it.
        #[source]
        source: EntityError,
    },
    /// A commit that would leave waiting changes behind its cursor.
    #[error("cursor {cursor} lies before position {position} of a change to be committed")]
    CursorBehind {
        /// The cursor asked for.
        cursor: u64,
        /// Position of the last waiting change.
        position: u64,
    },
}

/// Names that a file holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Its devices.
    pub devices: BTreeSet<DeviceId>,
    /// Its profiles.
    pub profiles: BTreeSet<ProfileId>,
}

impl Names {
    /// Reads the names of a file that is there, changing nothing in it. A running server commits to it every few
    /// seconds, so what is newer is not among them.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read(path: &Path) -> Result<Self, RegisterError> {
        let connection = sqlite::open_to_read(path)?;
        let read = |source| sqlite::error(path, "read", source);
        let all = |query: &str| -> rusqlite::Result<Vec<String>> {
            connection
                .prepare(query)?
                .query_map([], |row| row.get(0))?
                .collect()
        };
        // An id that is none was not written by onemap; the start that reads the file whole says so.
        Ok(Self {
            devices: all("SELECT id FROM devices")
                .map_err(read)?
                .iter()
                .filter_map(|id| DeviceId::new(id).ok())
                .collect(),
            profiles: all("SELECT id FROM profiles")
                .map_err(read)?
                .iter()
                .filter_map(|id| ProfileId::new(id).ok())
                .collect(),
        })
    }
}

/// The entities of a file that is there, changing nothing in it. What a running server has not committed yet is not
/// among them.
///
/// # Errors
/// When the file cannot be read, or another program has changed a row into something impossible.
pub fn read_entities(path: &Path) -> Result<Entities, RegisterError> {
    let connection = sqlite::open_to_read(path)?;
    let mut entities = Entities::default();
    rows::entities(&connection, |kind, code, packed| {
        entities.put(kind, code, packed);
    })
    .map_err(|source| sqlite::error(path, "read", source))?
    .map_err(|(table, row, column)| FileError::Row {
        path: path.to_owned(),
        table,
        row,
        column,
    })?;
    Ok(entities)
}

impl Register {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    /// [`RegisterError::File`] when the file is damaged, another program's, of another version, locked or
    /// cannot be written.
    pub fn open(path: &Path) -> Result<Self, RegisterError> {
        let kind = sqlite::Kind {
            application_id: tables::APPLICATION_ID,
            user_version: tables::USER_VERSION,
            earlier_versions: &tables::EARLIER_USER_VERSIONS,
            schema: || {
                let format = tables::FORMAT;
                tables::schema()
                    + &format!("INSERT INTO onemap_meta VALUES ('cursor', 0), ('format', {format});")
            },
        };
        let mut connection = sqlite::open(path, &kind)?;
        connection.set_prepared_statement_cache_capacity(64);
        // Boxes of a city come in no order, and SQLite's usual 2 MB would read the index's pages again for each.
        connection
            .pragma_update(None, "cache_size", -CACHE_KIB)
            .map_err(|e| sqlite::error(path, "prepare", e))?;
        let meta = |key| match rows::meta(&connection, key) {
            Ok(value) => Ok(value),
            // Any other GeoPackage has the same application id.
            Err(e) if e.to_string().contains("no such table") => Ok(None),
            Err(source) => Err(sqlite::error(path, "read", source)),
        };
        let (Some(cursor), Some(format)) = (meta("cursor")?, meta("format")?) else {
            return Err(RegisterError::File(FileError::ForeignPackage {
                path: path.to_owned(),
            }));
        };
        sqlite::check_format(path, format, tables::FORMAT)?;
        connection
            .execute_batch(tables::LATER_TABLES)
            .map_err(|e| sqlite::error(path, "add tables to", e))?;
        rows::add_columns(&connection).map_err(|e| sqlite::error(path, "add columns to", e))?;
        spatial_index::add_functions(&connection)
            .and_then(|()| spatial_index::add_missing(&mut connection))
            .map_err(|e| sqlite::error(path, "add spatial indexes to", e))?;
        Ok(Self {
            path: path.to_owned(),
            connection,
            cursor: unsigned(cursor),
            waiting: Vec::new(),
        })
    }

    /// The last journal position the file holds; 0 is nothing.
    pub fn cursor(&self) -> u64 {
        self.cursor
    }

    /// Takes one change; it is in the file after the next [`commit`](Self::commit).
    ///
    /// # Errors
    /// [`RegisterError::Entity`] when the entity is not sound. The change is then no part of the register
    /// and the caller goes on with the next.
    pub fn apply(&mut self, position: u64, at: Timestamp, change: &Change) -> Result<Applied, RegisterError> {
        if position <= self.last() {
            return Ok(Applied::Before);
        }
        let waiting = match change {
            Change::Device { device } => Waiting::Device(Box::new(device.clone())),
            Change::Adopted { device } => Waiting::Adopted(Box::new(device.clone())),
            Change::Entity { entity } => {
                let geometry = entity::checked(entity);
                let geometry = geometry.map_err(|source| RegisterError::Entity { position, source })?;
                let packed = Packed::new(entity, geometry.as_ref());
                Waiting::Entity(entity.kind.clone(), entity.code.clone(), packed)
            }
            Change::EntityRemoved { kind, code } => Waiting::EntityRemoved(kind.clone(), code.clone()),
            Change::Profile { id, text } => Waiting::Profile(id.clone(), text.clone()),
            Change::Source { id, text } => Waiting::Source(id.clone(), text.clone()),
            Change::Hydrology { device, hydrology } => Waiting::Hydrology(device.clone(), hydrology.clone()),
            // Tokens, attributes, and kinds of change that came after this version.
            _ => return Ok(Applied::Elsewhere),
        };
        self.waiting.push((rows::Change { position, at }, waiting));
        Ok(Applied::Waiting)
    }

    /// Takes a child that a gateway's frame at `position` made known, if no device of its id is there. Several
    /// may come of one frame; one from a frame that the file is past already is not taken again.
    pub fn adopt(&mut self, position: u64, at: Timestamp, device: &Device) {
        if position > self.cursor && position >= self.last() {
            let waiting = Waiting::Adopted(Box::new(device.clone()));
            self.waiting.push((rows::Change { position, at }, waiting));
        }
    }

    /// Writes the waiting changes and the cursor in one transaction, with an fsync. Does nothing when there
    /// is nothing new.
    ///
    /// # Errors
    /// When the cursor lies before a waiting change, or the file cannot be written: then nothing is
    /// written, the changes still wait and the call may be repeated.
    pub fn commit(&mut self, cursor: u64) -> Result<(), RegisterError> {
        if cursor < self.last() {
            if self.waiting.is_empty() {
                return Ok(());
            }
            return Err(RegisterError::CursorBehind {
                cursor,
                position: self.last(),
            });
        }
        if cursor == self.cursor {
            return Ok(());
        }
        self.write(cursor)
            .map_err(|source| sqlite::error(&self.path, "write", source))?;
        self.waiting.clear();
        self.cursor = cursor;
        Ok(())
    }

    fn write(&mut self, cursor: u64) -> rusqlite::Result<()> {
        let tx = sqlite::begin(&mut self.connection)?;
        let mut touched = rows::Touched::default();
        for (change, waiting) in &self.waiting {
            match waiting {
                Waiting::Device(device) => rows::put_device(&tx, *change, device)?,
                Waiting::Adopted(device) => rows::put_device_if_new(&tx, *change, device)?,
                Waiting::Entity(kind, code, packed) => {
                    rows::put_entity(&tx, *change, kind, code, packed, &mut touched)?;
                }
                Waiting::EntityRemoved(kind, code) => rows::remove_entity(&tx, kind, code, &mut touched)?,
                Waiting::Profile(id, text) => rows::put_profile(&tx, *change, id, text)?,
                Waiting::Source(id, text) => rows::put_source(&tx, *change, id, text)?,
                Waiting::Hydrology(device, known) => {
                    rows::put_hydrology(&tx, *change, device, known.as_deref())?;
                }
            }
        }
        if let Some((last, _)) = self.waiting.last() {
            touched.write(&tx, last.at)?;
        }
        rows::set_meta(&tx, "cursor", signed(cursor))?;
        tx.commit()?;
        if !self.waiting.is_empty() {
            // Folds the write-ahead log into the file as far as readers allow, so that a plain copy of it
            // is recent. What does not go now goes later: the commit stands either way.
            let _ = self
                .connection
                .query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
        }
        Ok(())
    }

    /// Reads the committed content into memory.
    ///
    /// # Errors
    /// When the file cannot be read, or another program has changed a row into something impossible.
    pub fn load(&self) -> Result<RegisterView, RegisterError> {
        let read = |source| sqlite::error(&self.path, "read", source);
        let bad = |(table, row, column): BadRow| FileError::Row {
            path: self.path.clone(),
            table,
            row,
            column,
        };
        let mut view = RegisterView::default();
        for device in rows::devices(&self.connection).map_err(read)? {
            let device = device.map_err(bad)?;
            view.put_device(Arc::new(device));
        }
        let entities = &mut view.entities;
        rows::entities(&self.connection, |kind, code, packed| {
            entities.put(kind, code, packed);
        })
        .map_err(read)?
        .map_err(bad)?;
        for profile in rows::profiles(&self.connection).map_err(read)? {
            let (id, text) = profile.map_err(bad)?;
            view.profiles.insert(id, text);
        }
        for source in rows::sources(&self.connection).map_err(read)? {
            let (id, text) = source.map_err(bad)?;
            view.sources.insert(id, text);
        }
        for station in rows::hydrology(&self.connection).map_err(read)? {
            let (device, known) = station.map_err(bad)?;
            view.hydrology.insert(device, Arc::new(known));
        }
        Ok(view)
    }

    /// SHA-256 over the committed content; see [`RegisterView::digest`].
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn digest(&self) -> Result<[u8; 32], RegisterError> {
        Ok(self.load()?.digest())
    }

    fn last(&self) -> u64 {
        self.waiting
            .last()
            .map_or(self.cursor, |(change, _)| change.position)
    }
}

#[cfg(test)]
mod tests;

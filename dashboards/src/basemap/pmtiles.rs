//! Tiles out of a PMTiles file (version 3): header, directories with their leaves, plain or compressed by gzip.
//!
//! The crate `pmtiles` is not used: it reads asynchronously and brings a compression stack for that, where a file on
//! this disk needs a binary search.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex};

use flate2::read::MultiGzDecoder;

const POISON: &str = "no holder of this lock panics";
/// Bytes of the header.
const N_HEADER: usize = 127;
/// Largest directory, bytes, as it lies in the file and unpacked.
const MAX_PACKED: u64 = 16 << 20;
const MAX_DIRECTORY: u64 = 128 << 20;
/// Largest tile, bytes.
const MAX_TILE: u64 = 8 << 20;
/// Leaves that are kept unpacked.
const N_LEAVES: usize = 64;
/// Directories below each other; the format's writers make two.
const MAX_DEPTH: usize = 4;

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PmTilesError {
    /// It cannot be read.
    #[error("it cannot be read")]
    Io(#[from] io::Error),
    /// It is something else.
    #[error("it is no PMTiles file of version 3")]
    Magic,
    /// A compression other than none and gzip.
    #[error("its {0} are compressed in a way that is not read here (none and gzip are)")]
    Compression(&'static str),
    /// Tiles of a type that the screen does not draw.
    #[error("its tiles are of type {0}; vector tiles, PNG, JPEG, WebP and AVIF are drawn")]
    Type(u8),
    /// Something in it is not as the format says.
    #[error("{0}")]
    Damaged(&'static str),
}

/// What a file's tiles are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TileType {
    /// Mapbox vector tiles.
    Vector,
    /// Pictures, and their media type.
    Picture(&'static str),
}

/// One entry of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    id: u64,
    offset: u64,
    length: u32,
    /// Tiles with this content, one after the other; 0 of a leaf.
    run: u32,
}

/// An open file.
#[derive(Debug)]
pub struct PmTiles {
    file: File,
    root: Vec<Entry>,
    leaves: (u64, u64),
    tiles: (u64, u64),
    is_packed: bool,
    /// Whether tiles are compressed by gzip.
    pub is_gzip: bool,
    /// What the tiles are.
    pub tile_type: TileType,
    /// Smallest and largest zoom.
    pub zooms: [u8; 2],
    /// Names of the layers in vector tiles, from its metadata.
    pub layers: Vec<String>,
    kept: Mutex<HashMap<u64, Arc<Vec<Entry>>>>,
}

impl PmTiles {
    /// Opens a file and reads its header, metadata and first directory.
    ///
    /// # Errors
    /// [`PmTilesError`].
    pub fn open(path: &Path) -> Result<Self, PmTilesError> {
        let file = File::open(path)?;
        let mut head = [0; N_HEADER];
        file.read_exact_at(&mut head, 0)
            .map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => PmTilesError::Magic,
                _ => error.into(),
            })?;
        if !head.starts_with(b"PMTiles\x03") {
            return Err(PmTilesError::Magic);
        }
        let number = |i: usize| {
            let at = 8 + 8 * i;
            u64::from_le_bytes(head[at..at + 8].try_into().unwrap_or_default())
        };
        let is_packed = compressed(head[97], "directories")?;
        let is_gzip = compressed(head[98], "tiles")?;
        let tile_type = match head[99] {
            1 => TileType::Vector,
            2 => TileType::Picture("image/png"),
            3 => TileType::Picture("image/jpeg"),
            4 => TileType::Picture("image/webp"),
            5 => TileType::Picture("image/avif"),
            other => return Err(PmTilesError::Type(other)),
        };
        let zooms = [head[100], head[101]];
        if zooms[0] > zooms[1] || zooms[1] > 30 {
            return Err(PmTilesError::Damaged("its zooms are not in order"));
        }
        let root = directory(&unpacked(&file, number(0), number(1), is_packed)?)?;
        let metadata = match number(3) {
            0 => Vec::new(),
            size => unpacked(&file, number(2), size, is_packed)?,
        };
        Ok(Self {
            file,
            root,
            leaves: (number(4), number(5)),
            tiles: (number(6), number(7)),
            is_packed,
            is_gzip,
            tile_type,
            zooms,
            layers: layers(&metadata),
            kept: Mutex::default(),
        })
    }

    /// The bytes of a tile, compressed as the file has them; `None` when there is none.
    ///
    /// # Errors
    /// [`PmTilesError`].
    pub fn tile(&self, z: u8, x: u32, y: u32) -> Result<Option<Vec<u8>>, PmTilesError> {
        let Some(id) = tile_id(z, x, y) else {
            return Ok(None);
        };
        let mut found = find(&self.root, id);
        for _ in 0..MAX_DEPTH {
            let Some(entry) = found else { return Ok(None) };
            if entry.run > 0 {
                let (start, size) = self.tiles;
                let length = u64::from(entry.length);
                let is_inside = entry.offset.checked_add(length).is_some_and(|end| end <= size);
                if !is_inside || length > MAX_TILE {
                    return Err(PmTilesError::Damaged(
                        "a tile lies outside of its part of the file",
                    ));
                }
                return Ok(Some(read(&self.file, start, entry.offset, length)?));
            }
            found = find(&self.leaf(entry)?, id);
        }
        Err(PmTilesError::Damaged("its directories stand too deep"))
    }

    fn leaf(&self, entry: Entry) -> Result<Arc<Vec<Entry>>, PmTilesError> {
        if let Some(leaf) = self.kept.lock().expect(POISON).get(&entry.offset) {
            return Ok(leaf.clone());
        }
        let (start, size) = self.leaves;
        let length = u64::from(entry.length);
        let is_inside = entry.offset.checked_add(length).is_some_and(|end| end <= size);
        let at = start.checked_add(entry.offset).filter(|_| is_inside);
        let at = at.ok_or(PmTilesError::Damaged(
            "a leaf lies outside of its part of the file",
        ))?;
        let leaf = Arc::new(directory(&unpacked(&self.file, at, length, self.is_packed)?)?);
        let mut kept = self.kept.lock().expect(POISON);
        if kept.len() >= N_LEAVES {
            kept.clear();
        }
        kept.insert(entry.offset, leaf.clone());
        Ok(leaf)
    }
}

fn compressed(code: u8, what: &'static str) -> Result<bool, PmTilesError> {
    match code {
        1 => Ok(false),
        2 => Ok(true),
        _ => Err(PmTilesError::Compression(what)),
    }
}

fn read(file: &File, start: u64, offset: u64, length: u64) -> Result<Vec<u8>, PmTilesError> {
    let at = start
        .checked_add(offset)
        .ok_or(PmTilesError::Damaged("a part lies outside of the file"))?;
    let mut bytes = vec![0; length as usize];
    file.read_exact_at(&mut bytes, at)?;
    Ok(bytes)
}

fn unpacked(file: &File, at: u64, length: u64, is_packed: bool) -> Result<Vec<u8>, PmTilesError> {
    if length > MAX_PACKED {
        return Err(PmTilesError::Damaged("a directory is too large"));
    }
    let bytes = read(file, at, 0, length)?;
    if !is_packed {
        return Ok(bytes);
    }
    let mut out = Vec::new();
    MultiGzDecoder::new(&bytes[..])
        .take(MAX_DIRECTORY + 1)
        .read_to_end(&mut out)?;
    match out.len() as u64 > MAX_DIRECTORY {
        true => Err(PmTilesError::Damaged("a directory is too large")),
        false => Ok(out),
    }
}

/// The last entry that begins at or before a tile, if the tile is in it.
fn find(entries: &[Entry], id: u64) -> Option<Entry> {
    let behind = entries.partition_point(|entry| entry.id <= id);
    let entry = *entries.get(behind.checked_sub(1)?)?;
    (entry.run == 0 || id - entry.id < u64::from(entry.run)).then_some(entry)
}

/// A directory's entries: their number, then ids, runs, lengths and offsets, each as a column of varints.
fn directory(bytes: &[u8]) -> Result<Vec<Entry>, PmTilesError> {
    let cut = || PmTilesError::Damaged("a directory is cut short");
    let mut rest = bytes;
    let n = varint(&mut rest).ok_or_else(cut)? as usize;
    // Each entry has four numbers of a byte at least.
    if n > bytes.len() / 4 + 1 {
        return Err(cut());
    }
    let mut entries = vec![
        Entry {
            id: 0,
            offset: 0,
            length: 0,
            run: 0
        };
        n
    ];
    let wrong = || PmTilesError::Damaged("a directory has numbers that are too large");
    let small = |rest: &mut &[u8]| -> Result<u32, PmTilesError> {
        u32::try_from(varint(rest).ok_or_else(cut)?).map_err(|_| wrong())
    };
    let mut id = 0u64;
    for entry in &mut entries {
        id = id
            .checked_add(varint(&mut rest).ok_or_else(cut)?)
            .ok_or_else(wrong)?;
        entry.id = id;
    }
    for entry in &mut entries {
        entry.run = small(&mut rest)?;
    }
    for entry in &mut entries {
        entry.length = small(&mut rest)?;
    }
    let mut behind = None;
    for entry in &mut entries {
        entry.offset = match (varint(&mut rest).ok_or_else(cut)?, behind) {
            // Right behind the one before.
            (0, Some(behind)) => behind,
            (0, None) => return Err(PmTilesError::Damaged("a directory begins without an offset")),
            (offset, _) => offset - 1,
        };
        behind = Some(
            entry
                .offset
                .checked_add(u64::from(entry.length))
                .ok_or_else(wrong)?,
        );
    }
    Ok(entries)
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, tail) = rest.split_first()?;
        *rest = tail;
        number |= u64::from(byte & 0x7F).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// A tile's number: all tiles of lower zooms, and its place on the Hilbert curve of its own. `None` off the map.
fn tile_id(z: u8, x: u32, y: u32) -> Option<u64> {
    if z > 30 || x >> z != 0 || y >> z != 0 {
        return None;
    }
    let before = ((1u64 << (2 * z)) - 1) / 3;
    let (mut x, mut y, mut d) = (u64::from(x), u64::from(y), 0u64);
    let n = 1u64 << z;
    let mut s = n / 2;
    while s > 0 {
        let (rx, ry) = (u64::from(x & s > 0), u64::from(y & s > 0));
        d += s * s * ((3 * rx) ^ ry);
        if ry == 0 {
            if rx == 1 {
                (x, y) = (n - 1 - x, n - 1 - y);
            }
            (x, y) = (y, x);
        }
        s /= 2;
    }
    Some(before + d)
}

fn layers(metadata: &[u8]) -> Vec<String> {
    let read: serde_json::Value = serde_json::from_slice(metadata).unwrap_or_default();
    let layers = read["vector_layers"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let names = layers.iter().filter_map(|layer| layer["id"].as_str());
    names.map(str::to_owned).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]
    use std::io::Write as _;

    use super::*;

    fn put(out: &mut Vec<u8>, mut number: u64) {
        while number >= 0x80 {
            out.push(number as u8 | 0x80);
            number >>= 7;
        }
        out.push(number as u8);
    }

    fn packed(bytes: &[u8]) -> Vec<u8> {
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        out.write_all(bytes).unwrap();
        out.finish().unwrap()
    }

    fn written(entries: &[Entry]) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out, entries.len() as u64);
        let mut id = 0;
        for entry in entries {
            put(&mut out, entry.id - id);
            id = entry.id;
        }
        entries.iter().for_each(|entry| put(&mut out, entry.run.into()));
        entries
            .iter()
            .for_each(|entry| put(&mut out, entry.length.into()));
        entries.iter().for_each(|entry| put(&mut out, entry.offset + 1));
        out
    }

    /// A file whose tiles are those given, in leaves of a few entries each.
    pub(crate) fn file(tiles: &[(u8, u32, u32, Vec<u8>)], tile_type: u8, zooms: [u8; 2]) -> Vec<u8> {
        let mut tiles: Vec<(u64, &[u8])> = tiles
            .iter()
            .map(|(z, x, y, bytes)| (tile_id(*z, *x, *y).unwrap(), &bytes[..]))
            .collect();
        tiles.sort_unstable();
        let mut data = Vec::new();
        let mut entries = Vec::new();
        for (id, bytes) in tiles {
            let (offset, length) = (data.len() as u64, bytes.len() as u32);
            entries.push(Entry {
                id,
                offset,
                length,
                run: 1,
            });
            data.extend_from_slice(bytes);
        }
        let (mut leaves, mut root) = (Vec::new(), Vec::new());
        for part in entries.chunks(3) {
            let leaf = packed(&written(part));
            let (offset, length) = (leaves.len() as u64, leaf.len() as u32);
            root.push(Entry {
                id: part[0].id,
                offset,
                length,
                run: 0,
            });
            leaves.extend(leaf);
        }
        let root = packed(&written(&root));
        let metadata = packed(br#"{"vector_layers":[{"id":"roads"},{"id":"water"}]}"#);
        let mut out = b"PMTiles\x03".to_vec();
        let mut at = N_HEADER as u64;
        for size in [root.len(), metadata.len(), leaves.len(), data.len()] {
            out.extend_from_slice(&at.to_le_bytes());
            out.extend_from_slice(&(size as u64).to_le_bytes());
            at += size as u64;
        }
        out.resize(96, 0);
        out.extend([1, 2, 1, tile_type, zooms[0], zooms[1]]);
        out.resize(N_HEADER, 0);
        for part in [root, metadata, leaves, data] {
            out.extend(part);
        }
        out
    }

    #[test]
    fn tiles_are_numbered_as_the_format_says() {
        // Of the specification, version 3, and its own examples.
        for (z, x, y, id) in [
            (0, 0, 0, 0),
            (1, 0, 0, 1),
            (1, 0, 1, 2),
            (1, 1, 1, 3),
            (1, 1, 0, 4),
            (2, 0, 0, 5),
            (12, 3423, 1763, 19_078_479),
        ] {
            assert_eq!(tile_id(z, x, y), Some(id), "{z}/{x}/{y}");
        }
        assert_eq!(tile_id(1, 2, 0), None);
        assert_eq!(tile_id(31, 0, 0), None);
        // Each number once, without a gap.
        let mut all: Vec<u64> = (0..32)
            .flat_map(|x| (0..32).map(move |y| tile_id(5, x, y).unwrap()))
            .collect();
        all.sort_unstable();
        let first = (4u64.pow(5) - 1) / 3;
        assert_eq!(all, (first..first + 1024).collect::<Vec<_>>());
    }

    #[test]
    fn every_tile_is_found_by_way_of_its_leaf() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.pmtiles");
        let tiles: Vec<_> = (0..4)
            .flat_map(|x| (0..3).map(move |y| (3, x, y, format!("{x}/{y}").into_bytes())))
            .collect();
        std::fs::write(&path, file(&tiles, 2, [3, 3])).unwrap();
        let open = PmTiles::open(&path).unwrap();
        assert_eq!(open.tile_type, TileType::Picture("image/png"));
        assert_eq!((open.zooms, open.is_gzip), ([3, 3], false));
        assert_eq!(open.layers, ["roads", "water"]);
        for (z, x, y, bytes) in tiles {
            assert_eq!(open.tile(z, x, y).unwrap(), Some(bytes));
        }
        assert_eq!(open.tile(3, 7, 7).unwrap(), None);
        assert_eq!(open.tile(2, 0, 0).unwrap(), None);
        assert_eq!(open.tile(3, 900, 0).unwrap(), None);
    }

    #[test]
    fn what_is_no_such_file_or_is_damaged_is_told_and_does_no_harm() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.pmtiles");
        let open = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            PmTiles::open(&path)
        };
        let tiles: Vec<_> = (0..8).map(|x| (3, x, x, vec![x as u8; 9])).collect();
        let sound = file(&tiles, 1, [0, 3]);
        assert!(matches!(open(b"short"), Err(PmTilesError::Magic)));
        assert!(matches!(open(&[0; 200]), Err(PmTilesError::Magic)));
        let with = |at: usize, byte: u8| {
            let mut bytes = sound.clone();
            bytes[at] = byte;
            bytes
        };
        assert!(matches!(
            open(&with(97, 3)),
            Err(PmTilesError::Compression("directories"))
        ));
        assert!(matches!(
            open(&with(98, 4)),
            Err(PmTilesError::Compression("tiles"))
        ));
        assert!(matches!(open(&with(99, 9)), Err(PmTilesError::Type(9))));
        assert!(matches!(open(&with(100, 9)), Err(PmTilesError::Damaged(_))));
        // Whatever byte is another: a tile, none or an error, never a panic.
        for at in 0..sound.len() {
            for byte in [0, 1, 0x7F, 0x80, 0xFF] {
                if let Ok(open) = open(&with(at, byte)) {
                    for x in 0..8 {
                        let _no_panic = open.tile(3, x, x);
                    }
                }
            }
        }
        for cut in 0..sound.len() {
            if let Ok(open) = open(&sound[..cut]) {
                let _no_panic = open.tile(3, 7, 7);
            }
        }
    }
}

//! Files of entities by their format, plain or compressed by gzip.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write as _};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use flate2::read::MultiGzDecoder;
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;

use super::encoding::Encoding;
use super::entities_csv::Sheet;
use super::flatgeobuf::Features;
use super::geojson::Collection;
use super::geopackage::Layers;
use super::{ImportError, ImportPlace, Mapping, Row};

/// Most bytes of a compressed file's content.
const MAX_UNPACKED: u64 = 4 << 30;

/// What a file of entities is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A GeoJSON `FeatureCollection` or `Feature` (RFC 7946).
    GeoJson,
    /// GeoJSON features, one a line, with or without record separators (RFC 8142).
    GeoJsonSeq,
    /// Comma-separated lines.
    Csv,
    /// A layer of a GeoPackage.
    GeoPackage,
    /// FlatGeobuf 3.
    FlatGeobuf,
}

impl Format {
    /// By a file's name: `.geojson`, `.json`, `.geojsonl`, `.geojsons`, `.ndjson`, `.jsonl`, `.csv`, `.gpkg`, `.fgb`, each
    /// perhaps with `.gz` behind it.
    pub fn of_name(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        let name = name.strip_suffix(".gz").unwrap_or(&name);
        name.rsplit_once('.')?.1.parse().ok()
    }
}

impl FromStr for Format {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "geojson" | "json" => Ok(Self::GeoJson),
            "geojsonseq" | "geojsonl" | "geojsons" | "ndjson" | "jsonl" => Ok(Self::GeoJsonSeq),
            "csv" => Ok(Self::Csv),
            "gpkg" | "geopackage" => Ok(Self::GeoPackage),
            "fgb" | "flatgeobuf" => Ok(Self::FlatGeobuf),
            _ => {
                let text: String = text.chars().take(32).collect();
                Err(format!(
                    "`{text}` is not a format; formats are geojson, geojsonseq, csv, gpkg, flatgeobuf"
                ))
            }
        }
    }
}

/// The rows of a file, in order, good ones and bad.
pub type Rows = Box<dyn Iterator<Item = Result<Row, ImportError>> + Send>;

/// Opens a file. It may be compressed by gzip, whatever its name. The file needs no name: what is imported may hold
/// citizen numbers and lies nowhere where a stop would leave it. `dir` is a folder on the file's disk: a GeoPackage stands
/// in it by name while the database engine opens it, for as long as that takes.
///
/// # Errors
/// What is wrong with the file as a whole.
pub fn open(file: &File, dir: &Path, format: Format, mapping: &Mapping) -> Result<Rows, ImportError> {
    let whole =
        |error: io::Error| ImportError::new(ImportPlace::Feature(0), format!("it cannot be read: {error}"));
    let text = || text(file, mapping.encoding);
    let is_text = !matches!(format, Format::GeoPackage | Format::FlatGeobuf);
    if !is_text && mapping.encoding != Encoding::Utf8 {
        let message = "encoding= is of files of text; a GeoPackage or FlatGeobuf has its own";
        return Err(ImportError::new(ImportPlace::Feature(0), message));
    }
    Ok(match format {
        Format::Csv => Box::new(Sheet::new(text().map_err(whole)?, mapping.clone())),
        Format::GeoJsonSeq => Box::new(Collection::lines(text().map_err(whole)?, mapping)),
        Format::FlatGeobuf => Box::new(Features::open(bytes(file).map_err(whole)?, mapping)?),
        Format::GeoJson => Box::new(Collection::open(text, mapping)?),
        Format::GeoPackage => {
            let named = match unpacked(file, dir).map_err(whole)? {
                None => Named::of(file, dir),
                Some(plain) => Named::of(&plain, dir),
            };
            let named = named.map_err(whole)?;
            // The engine has it open from here on; its name goes.
            Box::new(Layers::open(&named.0, mapping)?)
        }
    })
}

/// Opens it once more, from its beginning.
fn again(file: &File) -> io::Result<File> {
    File::open(proc_path(file))
}

fn proc_path(file: &File) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

fn is_gzip(file: &File) -> io::Result<bool> {
    let mut head = [0; 2];
    let n = again(file)?.read(&mut head)?;
    Ok(n == 2 && head == [0x1F, 0x8B])
}

fn text(file: &File, encoding: Encoding) -> io::Result<Box<dyn BufRead + Send>> {
    bytes(file).map(|file| encoding.read(file))
}

/// What stands in it, uncompressed.
fn bytes(file: &File) -> io::Result<Box<dyn BufRead + Send>> {
    let plain = again(file)?;
    Ok(match is_gzip(file)? {
        true => Box::new(BufReader::with_capacity(1 << 16, inflating(plain))),
        false => Box::new(BufReader::with_capacity(1 << 16, plain)),
    })
}

/// A compressed file's content, of which there may be [`MAX_UNPACKED`] bytes.
fn inflating(file: File) -> impl Read + Send {
    Bounded {
        inner: MultiGzDecoder::new(BufReader::new(file)),
        left: MAX_UNPACKED,
    }
}

/// Reads so many bytes, and says so when there are more.
struct Bounded<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(out)?;
        let left = self.left.checked_sub(n as u64);
        self.left = left.ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("unpacked it has more than {MAX_UNPACKED} bytes"),
            )
        })?;
        Ok(n)
    }
}

/// A file of a folder without a name: it is gone when nobody has it open, however that ends.
///
/// # Errors
/// When it cannot be made.
pub fn nameless(dir: &Path) -> io::Result<File> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    match rustix::fs::open(dir, flags, Mode::RUSR | Mode::WUSR) {
        Ok(file) => Ok(file.into()),
        // Not every file system knows files without names: one is made and its name taken away.
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT | Errno::INVAL) => {
            let (file, named) = new_file(dir)?;
            drop(named);
            Ok(file)
        }
        Err(error) => Err(error.into()),
    }
}

/// A name that goes with this value.
struct Named(PathBuf);

impl Drop for Named {
    fn drop(&mut self) {
        // The next start empties the folder.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Named {
    fn new(dir: &Path) -> io::Result<Self> {
        let mut name = [0; 8];
        getrandom::fill(&mut name).map_err(io::Error::other)?;
        Ok(Self(dir.join(format!("{:016x}", u64::from_le_bytes(name)))))
    }

    /// A name for a file that has none; where the file system gives none, of a copy.
    fn of(file: &File, dir: &Path) -> io::Result<Self> {
        let named = Self::new(dir)?;
        match rustix::fs::linkat(CWD, proc_path(file), CWD, &named.0, AtFlags::SYMLINK_FOLLOW) {
            Ok(()) => Ok(named),
            Err(_) => {
                let (mut copy, named) = new_file(dir)?;
                io::copy(&mut again(file)?, &mut copy)?;
                Ok(named)
            }
        }
    }
}

fn new_file(dir: &Path) -> io::Result<(File, Named)> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let named = Named::new(dir)?;
    let mut options = File::options();
    let file = options.read(true).write(true).create_new(true).mode(0o600);
    Ok((file.open(&named.0)?, named))
}

/// A GeoPackage out of its compressed file; `None` when it is not compressed.
fn unpacked(file: &File, dir: &Path) -> io::Result<Option<File>> {
    if !is_gzip(file)? {
        return Ok(None);
    }
    let mut plain = nameless(dir)?;
    io::copy(&mut inflating(again(file)?), &mut plain)?;
    plain.flush()?;
    Ok(Some(plain))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::Thing;
    use super::*;

    fn names(dir: &Path) -> usize {
        std::fs::read_dir(dir).unwrap().count()
    }

    #[test]
    fn a_file_without_a_name_is_read_and_leaves_none() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = nameless(dir.path()).unwrap();
        file.write_all("code,kind,lon,lat\na,place,101.8,36.6\nb,place,101.8,36.6\n".as_bytes())
            .unwrap();
        assert_eq!(names(dir.path()), 0);
        for _ in 0..2 {
            let rows = open(&file, dir.path(), Format::Csv, &Mapping::default()).unwrap();
            assert_eq!(
                rows.filter(Result::is_ok).count(),
                2,
                "from its beginning each time"
            );
        }
        assert_eq!(names(dir.path()), 0);
        let error = open(&file, dir.path(), Format::GeoPackage, &Mapping::default())
            .err()
            .unwrap();
        assert!(error.message.contains("not a GeoPackage"), "{error}");
        assert_eq!(names(dir.path()), 0, "its name is gone also when it is none");
    }

    #[test]
    fn a_sheet_of_gbk_is_read_when_it_is_declared() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = nameless(dir.path()).unwrap();
        let text = "编码,类别,名称,经度,纬度\na,place,西宁站,101.8,36.6\n";
        file.write_all(&encoding_rs::GB18030.encode(text).0).unwrap();
        let read = |encoding| {
            let mapping = Mapping {
                encoding,
                ..Mapping::default()
            };
            open(&file, dir.path(), Format::Csv, &mapping)
                .unwrap()
                .next()
                .unwrap()
        };
        let error = read(Encoding::Utf8).unwrap_err().to_string();
        assert!(
            error.starts_with("line 1: it is not UTF-8; it reads as GB 18030"),
            "{error}"
        );
        let Thing::Entity(entity) = read(Encoding::Gb18030).unwrap().thing else {
            panic!("an entity")
        };
        assert_eq!(entity.name, "西宁站");
    }

    #[test]
    fn what_follows_a_collection_and_a_damaged_check_value_are_told() {
        use std::io::Write as _;
        let dir = tempfile::tempdir().unwrap();
        let text = r#"{"type":"FeatureCollection","features":[{"type":"Feature","geometry":{"type":"Point",
            "coordinates":[101.8,36.6]},"properties":{"kind":"place","code":"z1","name":"n1500"}}]}"#;
        let read = |bytes: &[u8]| {
            let mut file = nameless(dir.path()).unwrap();
            file.write_all(bytes).unwrap();
            let rows = open(&file, dir.path(), Format::GeoJson, &Mapping::default());
            rows.map(Iterator::count).map_err(|error| error.message)
        };
        assert_eq!(read(text.as_bytes()), Ok(1));
        assert_eq!(read(format!("{text}\n \n").as_bytes()), Ok(1));
        let behind = read(format!("{text} x").as_bytes()).unwrap_err();
        assert!(behind.contains("stands behind"), "{behind}");
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
        packed.write_all(text.as_bytes()).unwrap();
        let mut packed = packed.finish().unwrap();
        assert_eq!(read(&packed), Ok(1));
        let at = packed.windows(5).position(|w| w == b"n1500").unwrap();
        packed[at + 1] = b'9';
        let damaged = read(&packed).unwrap_err();
        assert!(damaged.contains("cannot be read"), "{damaged}");
    }
}

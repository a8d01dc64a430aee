//! Files of entities by their format, plain or compressed by gzip.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use flate2::read::MultiGzDecoder;

use super::entities_csv::Sheet;
use super::flatgeobuf::Features;
use super::geojson::Collection;
use super::geopackage::Layer;
use super::{ImportError, ImportPlace, Mapping, Row};

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

/// Opens a file. It may be compressed by gzip, whatever its name; a compressed GeoPackage is unpacked beside it, into a
/// file that goes when it was read.
///
/// # Errors
/// What is wrong with the file as a whole.
pub fn open(path: &Path, format: Format, mapping: &Mapping) -> Result<Rows, ImportError> {
    let whole =
        |error: io::Error| ImportError::new(ImportPlace::Feature(0), format!("it cannot be read: {error}"));
    let text = || text(path);
    Ok(match format {
        Format::Csv => Box::new(Sheet::new(text().map_err(whole)?, mapping.clone())),
        Format::GeoJsonSeq => Box::new(Collection::lines(text().map_err(whole)?, mapping)),
        Format::FlatGeobuf => Box::new(Features::open(text().map_err(whole)?, mapping)?),
        Format::GeoJson => Box::new(Collection::open(text, mapping)?),
        Format::GeoPackage => match unpacked(path).map_err(whole)? {
            None => Box::new(Layer::open(path, mapping)?),
            Some(beside) => {
                let layer = Layer::open(&beside.0, mapping)?;
                Box::new(Kept {
                    layer,
                    _beside: beside,
                })
            }
        },
    })
}

fn is_gzip(file: &mut File) -> io::Result<bool> {
    let mut head = [0; 2];
    let n = file.read(&mut head)?;
    file.rewind()?;
    Ok(n == 2 && head == [0x1F, 0x8B])
}

fn text(path: &Path) -> io::Result<Box<dyn BufRead + Send>> {
    let mut file = File::open(path)?;
    Ok(match is_gzip(&mut file)? {
        true => Box::new(BufReader::with_capacity(
            1 << 16,
            MultiGzDecoder::new(BufReader::new(file)),
        )),
        false => Box::new(BufReader::with_capacity(1 << 16, file)),
    })
}

/// A file that goes when nobody reads it any more.
struct Beside(PathBuf);

impl Drop for Beside {
    fn drop(&mut self) {
        // It is a copy; who cannot take it away leaves it.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A GeoPackage out of its compressed file; `None` when it is not compressed.
fn unpacked(path: &Path) -> io::Result<Option<Beside>> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = File::open(path)?;
    if !is_gzip(&mut file)? {
        return Ok(None);
    }
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.unpacked", std::process::id()));
    let beside = Beside(name.into());
    let mut out = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside.0)?;
    io::copy(&mut MultiGzDecoder::new(BufReader::new(file)), &mut out)?;
    out.flush()?;
    Ok(Some(beside))
}

struct Kept {
    layer: Layer,
    _beside: Beside,
}

impl Iterator for Kept {
    type Item = Result<Row, ImportError>;
    fn next(&mut self) -> Option<Self::Item> {
        self.layer.next()
    }
}

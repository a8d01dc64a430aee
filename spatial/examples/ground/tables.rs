//! Writes the city and the questions as PostGIS reads them: tables for COPY, and one statement a line.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use onemap_spatial::ground::{Polygon, Vertex};

use crate::city::{City, N_MOVERS, square, star};
use crate::{MOVES_A_BATCH, N_FENCE_MOVES, N_QUESTIONS, Questions};

/// EWKB in hexadecimal digits: SRID 4326, little-endian.
fn ewkb(kind: u32, rings: &[&[Vertex]]) -> String {
    let mut bytes = vec![1u8];
    bytes.extend((kind | 0x2000_0000).to_le_bytes());
    bytes.extend(4326u32.to_le_bytes());
    if kind == 3 {
        bytes.extend((rings.len() as u32).to_le_bytes());
    }
    for ring in rings {
        // Rings are closed.
        let closing = if kind == 3 { ring.first() } else { None };
        if kind > 1 {
            bytes.extend((ring.len() as u32 + u32::from(closing.is_some())).to_le_bytes());
        }
        for v in ring.iter().chain(closing) {
            bytes.extend(v.lon_degrees().to_le_bytes());
            bytes.extend(v.lat_degrees().to_le_bytes());
        }
    }
    bytes.iter().fold(String::new(), |mut hex, byte| {
        _ = write!(hex, "{byte:02X}");
        hex
    })
}

pub(crate) fn polygon(polygon: &Polygon) -> String {
    let rings: Vec<&[Vertex]> = polygon.rings.iter().map(Vec::as_slice).collect();
    ewkb(3, &rings)
}

fn lines_of(path: &Path, lines: impl Iterator<Item = String>) -> std::io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    for line in lines {
        writeln!(file, "{line}")?;
    }
    file.flush()
}

/// Writes everything into a folder.
pub(crate) fn write(city: &City, questions: &Questions, folder: &Path) -> std::io::Result<()> {
    let table = |name: &str| folder.join(format!("{name}.copy"));
    let points = city.points.iter().enumerate();
    lines_of(
        &table("points"),
        points.map(|(i, (at, kind))| format!("{i}\t{kind}\t{}", ewkb(1, &[&[*at]]))),
    )?;
    for (name, shapes) in [("polygons", &city.polygons), ("fences", &city.fences)] {
        let rows = shapes.iter().enumerate();
        lines_of(&table(name), rows.map(|(i, p)| format!("{i}\t{}", polygon(p))))?;
    }
    let rows = city.lines.iter().enumerate();
    lines_of(
        &table("lines"),
        rows.map(|(i, l)| format!("{i}\t{}", ewkb(2, &[l]))),
    )?;
    let rows = city.points.iter().step_by(7).take(N_MOVERS).enumerate();
    lines_of(
        &table("movers"),
        rows.map(|(i, (at, _))| format!("{i}\t{}", ewkb(1, &[&[*at]]))),
    )?;

    let statements = |name: &str, each: &mut dyn Iterator<Item = String>| {
        lines_of(&folder.join(format!("{name}.sql")), each)
    };
    let places = || questions.places.iter().take(N_QUESTIONS);
    for metres in [100, 250, 1000] {
        let bbox = |at: &Vertex| {
            let [west, south, east, north] = square(*at, f64::from(metres)).degrees();
            format!("({west},{south},{east},{north})")
        };
        statements(&format!("bbox-{metres}"), &mut places().map(bbox))?;
    }
    let at = |v: &Vertex| format!("{},{}", v.lon_degrees(), v.lat_degrees());
    statements("point", &mut places().map(|v| format!("({})", at(v))))?;
    let stars = questions.stars.iter();
    statements("polygon", &mut stars.map(|s| format!("('{}')", polygon(s))))?;
    let array = |values: Vec<String>, kind: &str| format!("'{{{}}}'::{kind}[]", values.join(","));
    let batches = questions.moves[..N_FENCE_MOVES].chunks(MOVES_A_BATCH);
    let batch = |moves: &[(u32, Vertex)]| {
        let column = |of: fn(&(u32, Vertex)) -> String| moves.iter().map(of).collect::<Vec<_>>();
        format!(
            "({},{},{})",
            array(column(|m| m.0.to_string()), "int"),
            array(column(|m| m.1.lon_degrees().to_string()), "float8"),
            array(column(|m| m.1.lat_degrees().to_string()), "float8"),
        )
    };
    statements("moves", &mut batches.map(batch))
}

/// Stars to ask with.
pub(crate) fn stars(city: &City) -> Vec<Polygon> {
    let mut chance = crate::city::Chance::new(11);
    let places = city.places(N_QUESTIONS);
    let star = |at: &Vertex| star(&mut chance, *at, 400.0, 48);
    places.iter().map(star).collect()
}

#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

use std::path::{Path, PathBuf};
use std::process::Command;

use onemap_model::{EntityKind, Timestamp};
use rusqlite::{Connection, params};
use serde_json::json;
use tempfile::TempDir;

use super::super::geometry::{Coord, Geometry};
use super::super::tables::layers;
use super::super::{Change, Register};
use super::*;

/// Every row's box by the index, against the geometry in the row: no row too many, none too few, none elsewhere.
pub(in super::super) fn assert_in_step(connection: &Connection) {
    for layer in layers() {
        let boxes = format!("SELECT id, minx, miny, maxx, maxy FROM rtree_{layer}_geom ORDER BY id");
        let boxes: Vec<(i64, [f64; 4])> = connection
            .prepare(&boxes)
            .unwrap()
            .query_map([], |row| {
                Ok((row.get(0)?, [row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?]))
            })
            .unwrap()
            .map(Result::unwrap)
            .collect();
        let drawn = format!("SELECT fid, geom FROM {layer} WHERE geom NOTNULL ORDER BY fid");
        let drawn: Vec<(i64, [f64; 4])> = connection
            .prepare(&drawn)
            .unwrap()
            .query_map([], |row| Ok((row.get(0)?, row.get::<_, Vec<u8>>(1)?)))
            .unwrap()
            .map(Result::unwrap)
            .map(|(fid, blob)| (fid, Geometry::from_blob(&blob).unwrap().bounds()))
            .collect();
        assert_eq!(boxes.len(), drawn.len(), "{layer}");
        for ((id, of_index), (fid, own)) in boxes.iter().zip(&drawn) {
            assert_eq!(id, fid, "{layer}");
            // The index keeps numbers of 32 bits, rounded outwards.
            let close = |a: f64, b: f64| a <= b && b - a < 4e-5;
            let holds = close(of_index[0], own[0])
                && close(of_index[1], own[1])
                && close(own[2], of_index[2])
                && close(own[3], of_index[3]);
            assert!(holds, "{layer} {id}: {of_index:?} {own:?}");
        }
    }
}

fn point(lon: f64, lat: f64) -> Vec<u8> {
    let height = None;
    Geometry::Point(Coord { lon, lat, height }).to_blob()
}

/// Features on a grid, every fifth one an area.
fn filled(path: &Path, n: u64) -> Register {
    let mut register = Register::open(path).unwrap();
    for i in 0..n {
        let (x, y) = (101.5 + (i % 50) as f64 * 0.01, 36.5 + (i / 50) as f64 * 0.01);
        let geometry = match i % 5 {
            0 => json!({"type": "Polygon", "coordinates":
                [[[x, y], [x + 0.005, y], [x + 0.005, y + 0.005], [x, y]]]}),
            _ => json!({"type": "Point", "coordinates": [x, y]}),
        };
        let entity = serde_json::from_value(json!({
            "code": format!("c{i}"), "kind": EntityKind::Component, "name": "井盖", "geometry": geometry,
        }));
        let change = Change::Entity {
            entity: entity.unwrap(),
        };
        register.apply(i + 1, Timestamp::from_ms(1), &change).unwrap();
    }
    register.commit(n).unwrap();
    register
}

#[test]
fn the_index_follows_whatever_happens_to_a_row() {
    let dir = TempDir::new().unwrap();
    let register = Register::open(&dir.path().join("r.gpkg")).unwrap();
    let insert =
        "INSERT INTO devices (fid, geom, id, name, name_en, kind, setting, state, cadence_s, department,
            demo, changed_at, position)
        VALUES (?1, ?2, ?3, '', '', '', '', '', 0, '', 0, '', 0)
        ON CONFLICT (id) DO UPDATE SET geom = ?2";
    let put = |fid: i64, geom: Option<Vec<u8>>| {
        let id = format!("d{fid}");
        register
            .connection
            .execute(insert, params![fid, geom, id])
            .unwrap();
        assert_in_step(&register.connection);
    };
    let empty_point = {
        let mut blob = point(0.0, 0.0);
        let (_, numbers) = blob.split_at_mut(13);
        numbers.copy_from_slice(&[f64::NAN.to_le_bytes(), f64::NAN.to_le_bytes()].concat());
        blob
    };
    put(1, Some(point(101.7, 36.6)));
    put(1, Some(point(101.8, 36.6)));
    put(1, None);
    put(1, None);
    put(1, Some(point(101.9, 36.6)));
    put(2, None);
    put(2, Some(point(102.0, 36.6)));
    for statement in [
        "UPDATE devices SET name = 'x'",
        "UPDATE devices SET fid = 7 WHERE fid = 1",
        "UPDATE devices SET fid = 8, geom = NULL WHERE fid = 7",
        "UPDATE OR REPLACE devices SET geom = (SELECT geom FROM devices WHERE fid = 2)",
        "DELETE FROM devices WHERE fid = 2",
        "DELETE FROM devices",
    ] {
        register.connection.execute(statement, []).unwrap();
        assert_in_step(&register.connection);
    }
    // A geometry that is empty has no box, and one that cannot be read is an error, not a missing box.
    let n_boxes = || -> i64 {
        let count = "SELECT count(*) FROM rtree_devices_geom";
        register
            .connection
            .query_row(count, [], |row| row.get(0))
            .unwrap()
    };
    let bare = |geom: &[u8]| register.connection.execute(insert, params![9, geom, "d9"]);
    bare(&empty_point).unwrap();
    assert_eq!(n_boxes(), 0);
    bare(&point(1.0, 2.0)).unwrap();
    assert_eq!(n_boxes(), 1);
    bare(b"GP\0\x11\xe6\x10\0\0").unwrap();
    assert_eq!(n_boxes(), 0);
    assert!(bare(b"no geometry").is_err());
    assert!(bare(&point(1.0, 2.0)[..20]).is_err());
}

#[test]
fn a_file_of_version_1_3_gets_its_indexes_when_it_is_opened() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("register.gpkg");
    // Written by the last program that made files without indexes (d8bea12): components, places, a road, an area and
    // devices.
    let packed = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/register-1.3.gpkg.gz");
    let mut packed = flate2::read::GzDecoder::new(std::fs::File::open(packed).unwrap());
    std::io::copy(&mut packed, &mut std::fs::File::create(&path).unwrap()).unwrap();
    let version = |path: &Path| -> i64 {
        let connection = Connection::open(path).unwrap();
        connection
            .pragma_query_value(None, "user_version", |row| row.get(0))
            .unwrap()
    };
    assert_eq!(version(&path), 10_300);
    let before = {
        let connection = Connection::open(&path).unwrap();
        let count = "SELECT count(*) FROM sqlite_schema WHERE name LIKE 'rtree%' OR name = 'gpkg_extensions'";
        let n: i64 = connection.query_row(count, [], |row| row.get(0)).unwrap();
        assert_eq!(n, 0);
        super::super::read_entities(&path).unwrap()
    };
    assert_eq!(before.len(), 205);
    let register = Register::open(&path).unwrap();
    assert_in_step(&register.connection);
    let n: i64 = register
        .connection
        .query_row("SELECT count(*) FROM rtree_components_geom", [], |row| row.get(0))
        .unwrap();
    assert_eq!(n, 200);
    let view = register.load().unwrap();
    assert_eq!(view.entities, before);
    assert_eq!(view.devices.len(), 2);
    let cursor = register.cursor();
    assert!(cursor > 0);
    drop(register);
    assert_eq!(version(&path), 10_400);
    // Once is enough: a second start finds them there.
    let mut again = Register::open(&path).unwrap();
    assert_eq!(again.cursor(), cursor);
    let removed = Change::EntityRemoved {
        kind: EntityKind::Component,
        code: "m7".into(),
    };
    again.apply(cursor + 1, Timestamp::from_ms(1), &removed).unwrap();
    again.commit(cursor + 1).unwrap();
    assert_in_step(&again.connection);
}

fn ogrinfo(path: &Path, args: &[&str]) -> Option<String> {
    let output = match Command::new("ogrinfo").arg("-ro").args(args).arg(path).output() {
        Ok(output) => output,
        Err(error) => {
            eprintln!("SKIPPED: ogrinfo is not here ({error}); Debian package gdal-bin has it");
            return None;
        }
    };
    assert!(output.status.success(), "{output:?}");
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn gdal_finds_by_the_index() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("register.gpkg");
    let register = filled(&path, 500);
    for layer in layers() {
        let sql = format!("SELECT HasSpatialIndex('{layer}', 'geom')");
        let Some(said) = ogrinfo(&path, &["-q", "-sql", &sql]) else {
            return;
        };
        assert!(said.contains("(Integer) = 1"), "{layer}: {said}");
    }
    let n_within = || {
        let said = ogrinfo(
            &path,
            &["-al", "-so", "-spat", "101.505", "36.505", "101.605", "36.555"],
        )
        .unwrap();
        let count = |line: &str| line.strip_prefix("Feature Count: ")?.trim().parse::<usize>().ok();
        said.lines().filter_map(count).sum::<usize>()
    };
    // Columns 1 to 10 of rows 1 to 5, and the areas that reach in from the column and row before.
    let expected = (0..500)
        .filter(|i| {
            let (x, y) = (101.5 + (i % 50) as f64 * 0.01, 36.5 + (i / 50) as f64 * 0.01);
            let reach = if i % 5 == 0 { 0.005 } else { 0.0 };
            x <= 101.605 && x + reach >= 101.505 && y <= 36.555 && y + reach >= 36.505
        })
        .count();
    assert!(expected > 40);
    assert_eq!(n_within(), expected);
    // Without its boxes nothing is found: it was the index that was asked.
    register
        .connection
        .execute_batch("DELETE FROM rtree_components_geom; DELETE FROM rtree_areas_geom")
        .unwrap();
    assert_eq!(n_within(), 0);
}

#[test]
fn the_newest_validator_finds_no_fault() {
    let python: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/peers/geopackage/bin/python");
    if !python.exists() {
        assert!(
            std::env::var_os("CI").is_none(),
            "tests/peers/install.sh must have run in CI"
        );
        eprintln!("SKIPPED: target/peers/geopackage is not there (tests/peers/install.sh installs it)");
        return;
    }
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("register.gpkg");
    let register = filled(&path, 50);
    let check = || {
        let arguments = [
            "-m",
            "osgeo_utils.samples.validate_gpkg",
            "--extra",
            "--warning-as-error",
        ];
        Command::new(&python).args(arguments).arg(&path).output().unwrap()
    };
    let sound = check();
    assert!(sound.status.success(), "{sound:?}");
    register
        .connection
        .execute_batch("DROP TRIGGER rtree_areas_geom_update6")
        .unwrap();
    assert!(!check().status.success(), "it looks at the triggers");
}

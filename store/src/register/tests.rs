//! The register's promises, against real files and the programs that read them.
#![allow(clippy::unwrap_used)]

use std::process::Command;

use onemap_model::{DeviceId, DeviceState, DivisionCode, Entity, Position, Setting};
use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::entity::KINDS;
use super::entity::tests::{entity, shapes};
use super::geometry::Geometry;
use super::*;

fn at(position: u64) -> Timestamp {
    Timestamp::from_ms(1_795_392_000_000 + position as i64)
}

fn device(id: &str) -> Change {
    let plain = Device {
        id: DeviceId::new(id).unwrap(),
        name: format!("设备 {id}"),
        name_en: String::new(),
        kind: "air_station".into(),
        profile: None,
        position: None,
        division: None,
        setting: Setting::Urban,
        gateway: None,
        entity: None,
        state: DeviceState::Active,
        maintenance: None,
        cadence_s: 0,
        department: String::new(),
        is_gateway: false,
        adopts: false,
        demo: false,
    };
    Change::Device { device: plain }
}

fn full_device(id: &str) -> Change {
    let Change::Device { device: plain } = device(id) else {
        unreachable!()
    };
    Change::Device {
        device: Device {
            name_en: "it's \"quoted\"".into(),
            profile: Some(ProfileId::new("noise-v2").unwrap()),
            position: Some(Position::new(101.778_2, 36.617_1, Some(2261.25)).unwrap()),
            division: Some(DivisionCode::new("630102001").unwrap()),
            setting: Setting::Rural,
            gateway: Some(DeviceId::new("gw-1").unwrap()),
            entity: Some("component/63010201037000012".parse().unwrap()),
            state: DeviceState::Maintenance,
            maintenance: None,
            cadence_s: 60,
            department: "生态环境局".into(),
            is_gateway: false,
            adopts: false,
            demo: true,
            ..plain
        },
    }
}

fn put(entity: Entity) -> Change {
    Change::Entity {
        entity: Box::new(entity),
    }
}

/// One of everything: every kind in every shape that fits it, devices with and without a place, a profile.
fn everything() -> Vec<Change> {
    let mut changes = vec![
        device("d1"),
        full_device("d2"),
        Change::Profile {
            id: ProfileId::new("noise-v2").unwrap(),
            text: "version: 1\nname: {zh: 噪声}\n".into(),
        },
    ];
    for kind in KINDS {
        for (i, shape) in shapes().into_iter().enumerate() {
            let code = match kind {
                EntityKind::LegalPerson => [
                    "91350100M000100Y43",
                    "91110000600037341L",
                    "91630100MA757H4BFA",
                    "91630101MA7520F8HQ",
                    "91630102MA7576FHHJ",
                    "91630103MA75FC4749",
                ][i]
                    .to_owned(),
                _ => format!("63010200{i}"),
            };
            let mut entity = entity(kind.clone(), &code, shape);
            if check_entity(&entity).is_err() {
                continue;
            }
            entity.name_en = format!("{} {i}", kind.name());
            entity.division = Some(DivisionCode::new("630102").unwrap());
            entity.department = "城市管理局".to_owned();
            entity.stratum = onemap_model::Stratum::Below;
            entity.z_range_m = Some([-3.5, 0.0]);
            entity.valid_from = Some(Timestamp::from_ms(-1));
            entity.valid_to = Some(Timestamp::from_ms(1_795_392_000_123));
            entity.attributes = json!({"n": 0.1, "list": [1, null], "文": "O'Brien"})
                .as_object()
                .unwrap()
                .clone();
            entity.source = "示意".into();
            if kind == EntityKind::Component {
                entity.class = Some("01037".parse().unwrap());
                entity.height_datum = Some(onemap_model::hydrology::DatumName::National1985);
                entity.former = vec![onemap_model::FormerCode {
                    code: format!("old{i}").into(),
                    from: None,
                    to: Timestamp::from_ms(7),
                }];
            }
            if i == 0 {
                let nowhere = Entity {
                    code: match kind {
                        EntityKind::LegalPerson => "116301000150000030".into(),
                        _ => "630103".into(),
                    },
                    geometry: Value::Null,
                    former: vec![],
                    ..entity.clone()
                };
                changes.push(put(nowhere));
            }
            changes.push(put(entity));
        }
    }
    changes
}

/// Applies changes at positions `from + 1` and on.
fn apply(register: &mut Register, from: u64, changes: &[Change]) -> u64 {
    let mut position = from;
    for change in changes {
        position += 1;
        register.apply(position, at(position), change).unwrap();
    }
    position
}

fn view_of(changes: &[Change]) -> RegisterView {
    let mut view = RegisterView::default();
    for change in changes {
        view.apply(change).unwrap();
    }
    view
}

/// Runs a foreign program; `None`, said aloud, when the machine does not have it.
fn foreign(program: &str, args: &[&str]) -> Option<String> {
    let output = match Command::new(program).args(args).output() {
        Ok(output) => output,
        Err(error) => {
            eprintln!(
                "SKIPPED: {program} is not here ({error}); Debian packages gdal-bin and python3 have it"
            );
            return None;
        }
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {complaint}");
    // GDAL before 3.7 knows version 1.3 and says so of what it reads of 1.4.
    let complaint: String = complaint
        .lines()
        .filter(|line| !line.contains("(10400, v1.4.0)"))
        .collect();
    assert!(!complaint.contains("Warning"), "{program} {args:?}: {complaint}");
    Some(text)
}

#[test]
fn everything_reads_back_as_it_was_applied() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("register.gpkg");
    let changes = everything();
    let mut register = Register::open(&path).unwrap();
    let last = apply(&mut register, 0, &changes);
    assert_eq!(
        register.load().unwrap(),
        RegisterView::default(),
        "nothing is in the file before the commit"
    );
    register.commit(last + 7).unwrap();
    let view = view_of(&changes);
    assert_eq!(view.devices.len(), 2);
    assert_eq!(view.entities.len(), changes.len() - 3);
    assert_eq!(register.load().unwrap(), view);
    drop(register);
    let register = Register::open(&path).unwrap();
    assert_eq!(register.cursor(), last + 7);
    assert_eq!(register.load().unwrap(), view);
    assert_eq!(register.digest().unwrap(), view.digest());
}

#[test]
fn a_change_that_comes_again_changes_nothing() {
    let dir = TempDir::new().unwrap();
    let mut register = Register::open(&dir.path().join("r.gpkg")).unwrap();
    let changes = everything();
    let last = apply(&mut register, 0, &changes);
    register.commit(last).unwrap();
    let digest = register.digest().unwrap();
    for (change, position) in changes.iter().rev().zip(1..=last) {
        assert_eq!(register.apply(position, at(1), change).unwrap(), Applied::Before);
    }
    register.commit(3).unwrap();
    register.commit(last).unwrap();
    assert_eq!((register.cursor(), register.digest().unwrap()), (last, digest));
    // The same content at later positions is the same register.
    let end = apply(&mut register, last, &changes);
    assert!(matches!(
        register.commit(end - 1),
        Err(RegisterError::CursorBehind { .. })
    ));
    register.commit(end).unwrap();
    assert_eq!(register.digest().unwrap(), digest);
}

#[test]
fn an_entity_that_changes_its_shape_stands_in_one_table() {
    let dir = TempDir::new().unwrap();
    let mut register = Register::open(&dir.path().join("r.gpkg")).unwrap();
    for (shape, position) in shapes().into_iter().zip(1..) {
        let change = put(entity(EntityKind::Component, "c", shape));
        register.apply(position, at(position), &change).unwrap();
        register.commit(position).unwrap();
        assert_eq!(register.load().unwrap(), view_of(&[change]));
        let n: i64 = tables::ENTITY_TABLES
            .iter()
            .map(|t| format!("SELECT count(*) FROM {}", t.name))
            .map(|sql| {
                register
                    .connection
                    .query_row(&sql, [], |row| row.get::<_, i64>(0))
                    .unwrap()
            })
            .sum();
        assert_eq!(n, 1);
    }
}

#[test]
fn secrets_and_persons_never_enter_the_file() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("r.gpkg");
    let mut register = Register::open(&path).unwrap();
    let hash = "ab".repeat(32);
    let token = Change::DeviceToken {
        device: DeviceId::new("d1").unwrap(),
        sha256: hash.clone(),
        grace_s: 0,
        expires: None,
    };
    assert_eq!(register.apply(1, at(1), &token).unwrap(), Applied::Elsewhere);
    let access = Change::AccessToken {
        name: "desk-of-wang".into(),
        sha256: hash.clone(),
        role: onemap_model::Role::Admin,
        division: None,
        departments: Vec::new(),
        expires: None,
    };
    assert_eq!(register.apply(2, at(2), &access).unwrap(), Applied::Elsewhere);
    let person = put(entity(EntityKind::Person, "p-9d1f", shapes()[0].clone()));
    assert!(matches!(
        register.apply(3, at(3), &person),
        Err(RegisterError::Entity {
            position: 3,
            source: EntityError::Person
        })
    ));
    register.apply(4, at(4), &device("d1")).unwrap();
    register.commit(4).unwrap();
    drop(register);
    let bytes = std::fs::read(&path).unwrap();
    let holds = |text: &str| bytes.windows(text.len()).any(|w| w == text.as_bytes());
    assert!(holds("air_station"), "the device is there");
    for secret in [hash.as_str(), "desk-of-wang", "p-9d1f"] {
        assert!(!holds(secret), "{secret}");
    }
}

#[test]
fn gis_programs_open_the_file() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("register.gpkg");
    let changes = everything();
    let mut register = Register::open(&path).unwrap();
    let last = apply(&mut register, 0, &changes);
    register.commit(last).unwrap();
    let head = std::fs::read(&path).unwrap();
    assert_eq!(&head[68..72], b"GPKG", "the mark stands in the file itself");
    let copy = dir.path().join("copy.gpkg");
    std::fs::copy(&path, &copy).unwrap();
    assert_eq!(Register::open(&copy).unwrap().load().unwrap(), view_of(&changes));
    // The writer stays open, as in a running server.
    let path = path.to_str().unwrap();
    let script = "import sqlite3, sys\n\
        db = sqlite3.connect('file:' + sys.argv[1] + '?mode=ro', uri=True)\n\
        print(db.execute('PRAGMA integrity_check').fetchone()[0], db.execute('PRAGMA foreign_key_check').fetchall())\n\
        print(db.execute('SELECT count(*) FROM lines').fetchone()[0])\n";
    if let Some(said) = foreign("python3", &["-c", script, path]) {
        assert_eq!(said.lines().next(), Some("ok []"));
    }
    let Some(layers) = foreign("ogrinfo", &["-ro", "-q", path]) else {
        return;
    };
    for layer in [
        "divisions (3D Multi Polygon)",
        "places (3D Point)",
        "components (3D Point)",
        "events (3D Point)",
        "multipoints (3D Multi Point)",
        "lines (3D Multi Line String)",
        "areas (3D Multi Polygon)",
        "devices (3D Point)",
        "profiles (None)",
        "unplaced (None)",
    ] {
        assert!(layers.contains(layer), "{layer} is not in\n{layers}");
    }
    assert!(!layers.contains("onemap_meta"));
    let mut n_features = 0;
    for table in tables::ENTITY_TABLES {
        let args = [
            "-f",
            "GeoJSON",
            "-preserve_fid",
            "-lco",
            "COORDINATE_PRECISION=9",
            "/vsistdout/",
            path,
            table.name,
        ];
        let text = foreign("ogr2ogr", &args).expect("it comes with ogrinfo");
        let collection: Value = serde_json::from_str(&text).unwrap();
        for feature in collection["features"].as_array().unwrap() {
            let own = &feature["properties"];
            let kind = entity::kind_named(own["kind"].as_str().unwrap()).unwrap();
            let code: onemap_model::EntityCode = own["code"].as_str().unwrap().into();
            let kept = view_of(&changes).entities.get(&kind, &code).unwrap();
            let theirs = Geometry::from_json(&feature["geometry"]).unwrap();
            assert_eq!(theirs, Geometry::from_json(&kept.geometry).unwrap().promoted());
            assert_eq!(own["name"].as_str(), Some(kept.name.as_str()));
            assert_eq!(own["valid_from"], "1969-12-31T23:59:59.999Z");
            n_features += 1;
        }
    }
    let view = view_of(&changes);
    assert_eq!(
        n_features,
        view.entities.iter().filter(|e| !e.geometry.is_null()).count()
    );
    let device = foreign("ogrinfo", &["-ro", "-q", "-al", path, "devices"]).unwrap();
    assert!(device.contains("POINT Z (101.7782 36.6171 2261.25)"), "{device}");
    assert!(device.contains("demo (Integer(Boolean)) = 1"), "{device}");
}

#[test]
fn a_locked_file_loses_nothing() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("r.gpkg");
    let mut register = Register::open(&path).unwrap();
    register
        .connection
        .busy_timeout(std::time::Duration::from_millis(20))
        .unwrap();
    let mut other = Connection::open(&path).unwrap();
    let lock = sqlite::begin(&mut other).unwrap();
    register.apply(1, at(1), &device("d1")).unwrap();
    let error = register.commit(1).unwrap_err();
    assert!(
        matches!(error, RegisterError::File(FileError::Locked { .. })),
        "{error:?}"
    );
    assert_eq!(register.cursor(), 0);
    drop(lock);
    register.commit(1).unwrap();
    assert_eq!(register.load().unwrap(), view_of(&[device("d1")]));
}

#[test]
fn a_wrong_or_broken_file_is_named() {
    let dir = TempDir::new().unwrap();
    let named = |name: &str| dir.path().join(name);
    let error = |name: &str| Register::open(&named(name)).err().unwrap();
    std::fs::write(
        named("text"),
        "not a database, but a text that is long enough for a header".repeat(20),
    )
    .unwrap();
    assert!(matches!(
        error("text"),
        RegisterError::File(FileError::Damaged { .. })
    ));
    let foreign = Connection::open(named("foreign")).unwrap();
    foreign
        .execute_batch("CREATE TABLE gpkg_contents (x); PRAGMA application_id = 1196444487")
        .unwrap();
    foreign
        .pragma_update(None, "user_version", tables::USER_VERSION)
        .unwrap();
    let message = error("foreign").to_string();
    assert!(
        message.contains("a GeoPackage that onemap did not make"),
        "{message}"
    );
    drop(Register::open(&named("newer")).unwrap());
    let newer = Connection::open(named("newer")).unwrap();
    newer
        .execute_batch("UPDATE onemap_meta SET value = 9 WHERE key = 'format'")
        .unwrap();
    let message = error("newer").to_string();
    assert!(
        message.contains("has format 9, this version reads 1"),
        "{message}"
    );

    let mut register = Register::open(&named("edited")).unwrap();
    register.apply(1, at(1), &full_device("d1")).unwrap();
    register.commit(1).unwrap();
    register
        .connection
        .execute("UPDATE devices SET state = 'broken'", [])
        .unwrap();
    let message = register.load().unwrap_err().to_string();
    assert!(
        message.contains("impossible state in `d1` of table devices"),
        "{message}"
    );
}

/// A few codes and shapes, so that changes meet each other.
fn changes() -> impl Strategy<Value = Change> {
    let kinds = prop::sample::select(vec![EntityKind::Place, EntityKind::Component, EntityKind::Hazard]);
    let entity_change = (kinds.clone(), 0..4u8, 0..6usize, 0..9u8).prop_map(|(kind, code, shape, n)| {
        let mut entity = entity(kind, &format!("c{code}"), shapes()[shape].clone());
        entity.attributes = json!({ "n": n }).as_object().unwrap().clone();
        put(entity)
    });
    let removed = (kinds, 0..4u8).prop_map(|(kind, code)| Change::EntityRemoved {
        kind,
        code: format!("c{code}"),
    });
    let devices = (0..4u8, any::<bool>()).prop_map(|(id, full)| match full {
        true => full_device(&format!("d{id}")),
        false => device(&format!("d{id}")),
    });
    let profiles = (0..3u8, 0..9u8).prop_map(|(id, n)| Change::Profile {
        id: ProfileId::new(&format!("p{id}")).unwrap(),
        text: format!("version: {n}"),
    });
    prop_oneof![4 => entity_change, 1 => removed, 2 => devices, 1 => profiles]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn a_register_that_crashed_is_the_same_after_replay(
        journal in prop::collection::vec(changes(), 1..30),
        stops in prop::collection::vec((0..30u64, any::<bool>()), 0..6),
    ) {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("r.gpkg");
        let mut register = Register::open(&path).unwrap();
        let replay = |register: &mut Register, from: u64, to: u64| {
            for (change, position) in journal.iter().zip(1..=to) {
                if position > from {
                    register.apply(position, at(position), change).unwrap();
                }
            }
        };
        let end = journal.len() as u64;
        for (stop, commits) in stops {
            // The pipeline may start earlier than this projection stands: another one lags.
            let from = register.cursor().saturating_sub(stop % 3);
            let to = stop.min(end);
            replay(&mut register, from, to);
            if commits {
                register.commit(to.max(register.cursor())).unwrap();
            }
            drop(register);
            register = Register::open(&path).unwrap();
        }
        replay(&mut register, 0, end);
        register.commit(end).unwrap();
        spatial_index::tests::assert_in_step(&register.connection);
        prop_assert_eq!(register.load().unwrap(), view_of(&journal));
        prop_assert_eq!(register.digest().unwrap(), view_of(&journal).digest());
    }
}

/// The folder of real data sets, when the machine has one.
fn real(file: &str) -> Option<String> {
    let Some(folder) = std::env::var_os("ONEMAP_SHARED") else {
        eprintln!("SKIPPED: ONEMAP_SHARED does not name a folder of real data");
        return None;
    };
    let path = Path::new(&folder).join("data").join(file);
    match std::fs::read_to_string(&path) {
        Ok(text) => Some(text),
        Err(error) => {
            eprintln!("SKIPPED: {}: {error}", path.display());
            None
        }
    }
}

#[test]
fn real_files_are_imported() {
    let dir = TempDir::new().unwrap();
    let mut register = Register::open(&dir.path().join("r.gpkg")).unwrap();
    let mut all = Vec::new();
    let mut take = |entities: Vec<Result<Entity, import::ImportError>>, n_good: usize| {
        let (good, bad): (Vec<_>, Vec<_>) = entities.into_iter().partition(Result::is_ok);
        assert_eq!(good.len(), n_good, "{:?}", bad.first());
        all.extend(good.into_iter().map(|entity| put(entity.unwrap())));
    };
    let mapping = |kind, crs: &str, columns: &[(&str, import::Field)]| import::Mapping {
        kind: Some(kind),
        crs: Some(crs.parse().unwrap()),
        columns: columns
            .iter()
            .map(|(name, field)| ((*name).to_owned(), *field))
            .collect(),
        ..import::Mapping::default()
    };
    if let Some(text) = real("xining-admin/districts_gcj02.geojson") {
        let gcj02 = import::import_geojson(&text, &mapping(EntityKind::Division, "GCJ02", &[]));
        let wgs84 = real("xining-admin/districts_wgs84.geojson").unwrap();
        let wgs84 = import::import_geojson(&wgs84, &mapping(EntityKind::Division, "WGS84", &[]));
        assert_eq!(gcj02.len(), wgs84.len());
        for (a, b) in gcj02.iter().zip(&wgs84) {
            let bounds = |e: &Result<Entity, _>| {
                Geometry::from_json(&e.as_ref().unwrap().geometry)
                    .unwrap()
                    .bounds()
            };
            for (x, y) in bounds(a).iter().zip(bounds(b)) {
                assert!((x - y).abs() < 2e-5, "{x} {y}");
            }
        }
        take(wgs84, 7);
    }
    if let Some(text) = real("xining-places/places.csv") {
        let columns = [
            ("lon_wgs84", import::Field::Lon),
            ("lat_wgs84", import::Field::Lat),
        ];
        let mapping = mapping(EntityKind::Place, "WGS84", &columns);
        take(
            import::import_csv(&text, &mapping).collect(),
            text.lines().count() - 1,
        );
    }
    if let Some(text) = real("xining-places/osm_lines.geojson") {
        let entities = import::import_geojson(&text, &mapping(EntityKind::Water, "WGS84", &[]));
        let n = entities.len();
        take(entities, n);
    }
    if let Some(text) = real("xining-places/railway_geohazards.csv") {
        let mapping = mapping(EntityKind::Hazard, "WGS84", &[]);
        take(
            import::import_csv(&text, &mapping).collect(),
            text.lines().count() - 1,
        );
    }
    let last = apply(&mut register, 0, &all);
    register.commit(last).unwrap();
    assert_eq!(register.load().unwrap(), view_of(&all));
}

#[test]
fn the_demo_city_is_imported_whole() {
    let city = Path::new(env!("CARGO_MANIFEST_DIR")).join("../simulators/city");
    for (file, kind) in [
        ("divisions.geojson", EntityKind::Division),
        ("water.geojson", EntityKind::Water),
        ("roads.geojson", EntityKind::Road),
        ("places.geojson", EntityKind::Place),
    ] {
        let text = std::fs::read_to_string(city.join(file)).unwrap();
        let entities = import::import_geojson(&text, &import::Mapping::default());
        assert!(entities.len() > 3, "{file}");
        for entity in entities {
            let entity = entity.unwrap_or_else(|error| panic!("{file}: {error}"));
            assert_eq!(entity.kind, kind);
            assert!(
                !entity.name.is_empty() && !entity.source.is_empty(),
                "{file}: {entity:?}"
            );
        }
    }
}

//! Base maps of the configuration: fetched by the server, read from a file, never a key in sight, drawn by a browser.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;

use crate::screen::{Script, ready};
use crate::server::{Server, binary, peer, request, wait_for};

const KEY: &str = "0f00dcafe0f00dcafe";
/// A green picture of one pixel.
const PNG: [u8; 69] = [
    137, 80, 78, 71, 13, 10, 26, 10, 0, 0, 0, 13, 73, 72, 68, 82, 0, 0, 0, 1, 0, 0, 0, 1, 8, 2, 0, 0, 0, 144,
    119, 83, 222, 0, 0, 0, 12, 73, 68, 65, 84, 120, 218, 99, 80, 56, 144, 0, 0, 2, 68, 1, 65, 177, 50, 204,
    27, 0, 0, 0, 0, 73, 69, 78, 68, 174, 66, 96, 130,
];

/// Somebody else's server: a picture for every path, or 403 while it does not want to. Notes what it was asked.
struct Elsewhere {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
    refuses: Arc<AtomicBool>,
}

impl Elsewhere {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (asked, refuses) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (notes, moods) = (asked.clone(), refuses.clone());
        // It ends with the process of the tests.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (notes, moods) = (notes.clone(), moods.clone());
                std::thread::spawn(move || answer(stream.unwrap(), &notes, &moods));
            }
        });
        Self { port, asked, refuses }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn answer(mut stream: TcpStream, notes: &Mutex<Vec<String>>, refuses: &AtomicBool) {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    notes
        .lock()
        .unwrap()
        .push(head.split(' ').nth(1).unwrap().to_owned());
    let said = match refuses.load(Ordering::SeqCst) {
        true => "HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".into(),
        false => format!(
            "HTTP/1.1 200 OK\r\ncontent-type: image/png\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            PNG.len()
        ),
    };
    let mut bytes = said.into_bytes();
    if bytes.starts_with(b"HTTP/1.1 200") {
        bytes.extend(PNG);
    }
    // Who asked may have gone.
    let _ = stream.write_all(&bytes);
}

/// A folder with base maps of every kind; the file is written by the format's own Python package when it is there.
fn folder(elsewhere: &Elsewhere) -> (tempfile::TempDir, bool) {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("map.key");
    std::fs::write(&key, format!("{KEY}\n")).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let port = elsewhere.port;
    let mut text = format!(
        "[http]\nlisten = \"127.0.0.1:0\"\n[mqtt]\nlisten = \"127.0.0.1:0\"\n\
         [[map.base]]\nname = \"天地图\"\nname_en = \"Tianditu\"\nkind = \"wmts\"\n\
         url = \"http://127.0.0.1:{port}/{{layer}}_w/wmts\"\nlayers = [\"vec\", \"cva\"]\nkey_file = \"map.key\"\n\
         attribution = \"© 天地图\"\nmin_zoom = 1\n\
         [[map.base]]\nname = \"plain\"\nkind = \"xyz\"\nurl = \"http://127.0.0.1:{port}/t/{{z}}/{{x}}/{{y}}.png?k={{key}}\"\n\
         key_file = \"map.key\"\nattribution = \"© plain\"\n"
    );
    let python = format!("{}/target/peers/tiles/bin/python", env!("CARGO_MANIFEST_DIR"));
    let has_file = match peer(&python) {
        None => false,
        Some(python) => {
            std::fs::write(dir.path().join("x.png"), PNG).unwrap();
            let script = "import sys\n\
                from pmtiles.writer import write\n\
                from pmtiles.tile import zxy_to_tileid, TileType, Compression\n\
                png = open(sys.argv[1], 'rb').read()\n\
                with write(sys.argv[2]) as out:\n\
                \x20   for i in range(20000):\n\
                \x20       x, y = 6000 + i % 200, 3000 + i // 200\n\
                \x20       out.write_tile(zxy_to_tileid(13, x, y), png + b'%d/%d' % (x, y))\n\
                \x20   out.finalize({'tile_type': TileType.PNG, 'tile_compression': Compression.NONE,\n\
                \x20       'min_zoom': 13, 'max_zoom': 13, 'min_lon_e7': 0, 'min_lat_e7': 0, 'max_lon_e7': 0,\n\
                \x20       'max_lat_e7': 0, 'center_zoom': 13, 'center_lon_e7': 0, 'center_lat_e7': 0}, {})\n";
            let output = Command::new(python)
                .args(["-c", script])
                .arg(dir.path().join("x.png"))
                .arg(dir.path().join("city.pmtiles"))
                .output()
                .unwrap();
            assert!(output.status.success(), "{output:?}");
            text.push_str("[[map.base]]\nname = \"file\"\nkind = \"pmtiles\"\nfile = \"city.pmtiles\"\nattribution = \"© file\"\n");
            true
        }
    };
    std::fs::write(dir.path().join("onemap.toml"), text).unwrap();
    (dir, has_file)
}

/// Status, media type and body of a GET.
fn get(server: &Server, token: &str, path: &str) -> (u16, String, Vec<u8>) {
    let address = server.http.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n"
    )
    .unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    let at = all.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(all[..at].to_vec()).unwrap().to_lowercase();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let kind = head.lines().find_map(|line| line.strip_prefix("content-type: "));
    (
        status,
        kind.unwrap_or_default().to_owned(),
        all[at + 4..].to_vec(),
    )
}

#[test]
fn tiles_come_through_the_server_and_no_key_goes_out() {
    let elsewhere = Elsewhere::start();
    let (dir, has_file) = folder(&elsewhere);
    let server = Server::start_in(dir.path());
    let list = server.get("/api/v1/basemaps");
    let items = list["items"].as_array().unwrap();
    assert_eq!(items.len(), if has_file { 3 } else { 2 }, "{list}");
    assert_eq!(items[0]["name_en"], "Tianditu");
    assert_eq!(items[0]["attribution"], "© 天地图");
    assert_eq!(items[0]["tiles"].as_array().unwrap().len(), 2, "{list}");
    let path = |map: usize, layer: usize, z: u32, x: u32, y: u32| {
        let path = items[map]["tiles"][layer].as_str().unwrap();
        path.replace("{z}", &z.to_string())
            .replace("{x}", &x.to_string())
            .replace("{y}", &y.to_string())
    };
    assert!(
        elsewhere.asked().is_empty(),
        "nothing is fetched before somebody asks"
    );
    // Twice asked, once fetched, as 天地图 wants to be asked.
    for _ in 0..2 {
        let (status, kind, body) = get(&server, &server.token, &path(0, 1, 10, 800, 400));
        assert_eq!((status, &*kind, &body[..]), (200, "image/png", &PNG[..]));
    }
    assert_eq!(
        elsewhere.asked(),
        [format!(
            "/cva_w/wmts?SERVICE=WMTS&REQUEST=GetTile&VERSION=1.0.0&LAYER=cva&STYLE=default&TILEMATRIXSET=w&FORMAT=tiles&TILEMATRIX=10&TILEROW=400&TILECOL=800&tk={KEY}"
        )]
    );
    let (status, ..) = get(&server, &server.token, &path(1, 0, 3, 5, 6));
    assert_eq!(status, 200);
    assert_eq!(elsewhere.asked()[1], format!("/t/3/5/6.png?k={KEY}"));
    // Outside of its zooms there is nothing to fetch.
    assert_eq!(get(&server, &server.token, &path(0, 0, 0, 0, 0)).0, 204);
    if has_file {
        let (status, kind, body) = get(&server, &server.token, &path(2, 0, 13, 6123, 3045));
        assert_eq!((status, &*kind), (200, "image/png"));
        assert!(body.ends_with(b"6123/3045"));
        assert_eq!(get(&server, &server.token, &path(2, 0, 13, 1, 1)).0, 204);
        assert_eq!(
            get(&server, &server.token, "/basemaps/file/13/6123/3045?layer=1").0,
            404
        );
    }
    for (path, status) in [
        ("/basemaps/other/1/0/0", 404),
        ("/basemaps/plain/3/9/0", 400),
        ("/basemaps/plain/3/x/0", 400),
        ("/basemaps/plain/3/0/0?layer=7", 404),
        ("/basemaps/plain/3/0/0?size=7", 400),
        ("/api/v1/basemaps?key=1", 400),
    ] {
        let (got, _, body) = get(&server, &server.token, path);
        assert_eq!(got, status, "{path}: {}", String::from_utf8_lossy(&body));
    }
    for path in ["/api/v1/basemaps", "/basemaps/plain/3/5/6"] {
        assert_eq!(get(&server, "nobody", path).0, 401, "{path}");
    }
    let n_asked = elsewhere.asked().len();
    // A server that refuses is told, without the key, and left alone for a moment.
    elsewhere.refuses.store(true, Ordering::SeqCst);
    for x in 0..4 {
        let (status, said) = request(&server.http, &server.token, "GET", &path(1, 0, 4, x, 1), None);
        assert_eq!(status, 502, "{said}");
        let said = said.to_string();
        assert!(
            said.contains("the other server answers 403") && !said.contains(KEY),
            "{said}"
        );
    }
    assert_eq!(elsewhere.asked().len(), n_asked + 1);
    assert!(!list.to_string().contains(KEY));
    elsewhere.refuses.store(false, Ordering::SeqCst);
    wait_for("the other server is asked again", Duration::from_secs(20), || {
        (get(&server, &server.token, &path(1, 0, 4, 9, 1)).0 == 200).then_some(())
    });
}

#[test]
fn a_key_stands_in_no_log_no_answer_and_no_error() {
    let elsewhere = Elsewhere::start();
    let (dir, _) = folder(&elsewhere);
    // One more, whose server is not there: a failed connection knows the whole address.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nowhere = free.local_addr().unwrap().port();
    drop(free);
    let config = dir.path().join("onemap.toml");
    let mut text = std::fs::read_to_string(&config).unwrap();
    text.push_str(&format!(
        "[[map.base]]\nname = \"gone\"\nkind = \"xyz\"\nurl = \"http://127.0.0.1:{nowhere}/{{z}}/{{x}}/{{y}}?k={{key}}\"\n\
         key_file = \"map.key\"\nattribution = \"© gone\"\n"
    ));
    std::fs::write(&config, text).unwrap();
    // Everything that can be said is said.
    let log = dir.path().join("log.txt");
    let mut server = Server::start_with(dir.path(), |command| {
        command
            .env("ONEMAP_LOG", "trace")
            .stderr(std::fs::File::create(&log).unwrap());
    });
    let mut answers = Vec::new();
    let ask = |path: &str| {
        let (status, _, body) = get(&server, &server.token, path);
        (status, format!("{path}: {}", String::from_utf8_lossy(&body)))
    };
    let list = server.get("/api/v1/basemaps");
    let tiles = |name: &str| {
        let map = list["items"]
            .as_array()
            .unwrap()
            .iter()
            .find(|map| map["name"] == name);
        let path = map.unwrap()["tiles"][0].as_str().unwrap();
        path.replace("{z}", "5").replace("{x}", "7").replace("{y}", "9")
    };
    for name in ["plain", "天地图", "gone"] {
        let (status, said) = ask(&tiles(name));
        assert_eq!(status, if name == "gone" { 502 } else { 200 }, "{said}");
        answers.push(said);
    }
    elsewhere.refuses.store(true, Ordering::SeqCst);
    let (status, said) = ask(&tiles("plain").replace("/5/", "/6/"));
    assert_eq!(status, 502, "{said}");
    answers.push(said);
    assert!(
        elsewhere.asked().iter().all(|path| path.contains(KEY)),
        "the key is sent"
    );
    for path in [
        "/api/v1/basemaps",
        "/api/v1/system",
        "/api/openapi.json",
        "/metrics",
        "/health/ready",
        "/basemaps/plain/9/9999/0",
        "/basemaps/plain/5/7/9?layer=3",
        "/config",
        "/onemap.toml",
        "/map.key",
        "/",
    ] {
        answers.push(ask(path).1);
    }
    server.stop();
    answers.push(std::fs::read_to_string(dir.path().join("ready.json")).unwrap_or_default());
    let said = std::fs::read_to_string(&log).unwrap();
    assert!(
        said.contains("TRACE") || said.contains("DEBUG"),
        "the log says much: {}",
        said.len()
    );
    answers.push(said);
    for said in answers {
        assert!(!said.contains(KEY), "the key stands in {said:.120}…");
    }
}

#[test]
fn the_check_names_the_line_and_no_key() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("onemap.toml");
    let check = |text: &str| {
        std::fs::write(&file, text).unwrap();
        let output = Command::new(binary("onemap"))
            .arg("--config")
            .arg(&file)
            .arg("--data-dir")
            .arg(dir.path().join("data"))
            .arg("check")
            .output()
            .unwrap();
        assert!(!output.status.success());
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    let said = check(&format!(
        "[http]\n\n[[map.base]]\nname = \"a\"\nkind = \"xyz\"\nattribution = \"x\"\nurl = \"http://h/{{z}}/{{x}}/{{y}}?tk={KEY}\"\n"
    ));
    assert!(
        said.contains("onemap.toml:4: ") && said.contains("name its file with key_file"),
        "{said}"
    );
    assert!(!said.contains(KEY), "{said}");
    let said = check(
        "[[map.base]]\nname = \"a\"\nkind = \"pmtiles\"\nattribution = \"x\"\nfile = \"onemap.toml\"\n",
    );
    assert!(
        said.contains("onemap.toml:2: ") && said.contains("no PMTiles file"),
        "{said}"
    );
}

#[test]
fn a_person_chooses_a_base_map_and_is_told_when_it_fails() {
    if !ready() {
        return;
    }
    let elsewhere = Elsewhere::start();
    let (dir, _) = folder(&elsewhere);
    let server = Server::start_in(dir.path());
    server.add_device(
        "station-7",
        &json!({"position": {"lon": 101.8, "lat": 36.6}, "cadence_s": 60}),
    );
    let run = |step: &str| Script::new("base-map.mjs", &[step], &server.http, &server.token).said();
    let chosen = run("choose");
    assert!(chosen["n_tiles"].as_u64().unwrap() > 0, "{chosen}");
    assert!(elsewhere.asked().iter().any(|path| path.contains("LAYER=vec")));
    elsewhere.refuses.store(true, Ordering::SeqCst);
    let failed = run("fail");
    assert_eq!(
        failed["said_en"], "The base map plain is not available: own layers are shown",
        "{failed}"
    );
}

//! People: the first link, passwords and second factors, who sees what, and guesses.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hmac::{Hmac, Mac as _};
use serde_json::{Value, json};
use sha1::Sha1;

use crate::server::{Server, binary, wait_for};

pub const PASSWORD: &str = "河湟谷地的春天来得晚一些";

/// A browser: it keeps the cookie that it was given and says where its page came from.
#[derive(Clone, Default)]
pub struct Person {
    pub cookie: Option<String>,
}

impl Person {
    pub fn ask(&mut self, http: &str, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .build()
            .into();
        let mut request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{http}{path}"))
            .header("origin", http)
            .header("content-type", "application/json");
        if let Some(cookie) = &self.cookie {
            request = request.header("cookie", cookie);
        }
        let body = body.map(Value::to_string).unwrap_or_default();
        let mut response = agent.run(request.body(body).unwrap()).unwrap();
        if let Some(cookie) = response.headers().get("set-cookie") {
            let cookie = cookie.to_str().unwrap();
            assert!(
                cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"),
                "{cookie}"
            );
            self.cookie = cookie.split(';').next().map(str::to_owned);
        }
        let text = response.body_mut().read_to_string().unwrap();
        (
            response.status().as_u16(),
            serde_json::from_str(&text).unwrap_or(Value::String(text)),
        )
    }

    pub fn log_in(&mut self, http: &str, account: &str, password: &str, code: Option<&str>) -> (u16, Value) {
        let mut login = json!({"account": account, "password": password});
        if let Some(code) = code {
            login["code"] = code.into();
        }
        self.ask(http, "POST", "/api/v1/session", Some(&login))
    }
}

pub fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// RFC 6238, of the text that an authenticator is given.
pub fn code(secret: &str, step: u64) -> String {
    let mut bits = String::new();
    for c in secret.bytes() {
        let digit = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
            .iter()
            .position(|d| *d == c)
            .unwrap();
        bits.push_str(&format!("{digit:05b}"));
    }
    let bytes: Vec<u8> = (0..bits.len() / 8)
        .map(|i| u8::from_str_radix(&bits[8 * i..8 * i + 8], 2).unwrap())
        .collect();
    let mut mac = Hmac::<Sha1>::new_from_slice(&bytes).unwrap();
    mac.update(&step.to_be_bytes());
    let mac = mac.finalize().into_bytes();
    let at = usize::from(mac[19] & 15);
    let number = u32::from_be_bytes(mac[at..at + 4].try_into().unwrap()) & 0x7fff_ffff;
    format!("{:06}", number % 1_000_000)
}

/// A code that was not used yet: of this step or a later one.
pub fn next_code(secret: &str, used: &mut u64) -> String {
    let step = wait_for("a new step of the authenticator", Duration::from_secs(70), || {
        // The server takes the step behind its own, too.
        let step = now_s() / 30 + 1;
        (step > *used).then_some(step)
    });
    *used = step;
    code(secret, step)
}

pub fn user(server: &Server, arguments: &[&str]) -> Output {
    Command::new(binary("onemap"))
        .args(["--data-dir"])
        .arg(&server.dir)
        .arg("user")
        .args(arguments)
        .output()
        .unwrap()
}

/// An account with a password and a second factor; gives the newest step that was used and the factor's secret.
pub fn set_up(server: &Server, id: &str, role: &str) -> (u64, String) {
    let made = user(server, &["add", id, "--role", role]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let link = String::from_utf8(made.stdout).unwrap();
    let key = link.trim().rsplit_once("/#setup=").unwrap().1;
    let mut person = Person::default();
    let ask =
        |person: &mut Person, path: &str, body: Value| person.ask(&server.http, "POST", path, Some(&body));
    let (status, look) = ask(&mut person, "/api/v1/setup/look", json!({"key": key}));
    assert_eq!(status, 200, "{look}");
    let secret = look["secret"].as_str().unwrap().to_owned();
    let used = now_s() / 30;
    let setup = json!({"key": key, "password": PASSWORD, "code": code(&secret, used)});
    let (status, said) = ask(&mut person, "/api/v1/setup", setup);
    assert_eq!(status, 204, "{said}");
    (used, secret)
}

/// An account that has set its password by the link that the command line gave.
pub fn add(server: &Server, id: &str, role: &str, more: &[&str]) -> Person {
    let made = user(server, &[&["add", id, "--role", role], more].concat());
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let link = String::from_utf8(made.stdout).unwrap();
    let key = link
        .trim()
        .strip_prefix(&format!("{}/#setup=", server.http))
        .unwrap();
    let mut person = Person::default();
    let (status, said) = person.ask(
        &server.http,
        "POST",
        "/api/v1/setup",
        Some(&json!({"key": key, "password": PASSWORD})),
    );
    assert_eq!(status, 204, "{said}");
    person
}

fn device(id: &str, division: &str) -> Value {
    json!({"name": id, "kind": "river_gauge", "division": division})
}

#[test]
fn a_new_city_from_the_first_link_to_a_second_user_of_one_district() {
    let server = Server::new();
    for (id, division) in [("upstream", "630104"), ("downstream", "630105")] {
        server.add_device(id, &device(id, division));
    }
    let path = server.dir.join("setup.link");
    let link = std::fs::read_to_string(&path).unwrap();
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let key = link.trim().rsplit_once("#setup=").unwrap().1;

    let mut first = Person::default();
    let look = json!({"key": key, "id": "wang"});
    let (status, look) = first.ask(&server.http, "POST", "/api/v1/setup/look", Some(&look));
    assert_eq!(
        (status, &look["role"], &look["second"]),
        (200, &json!("system_admin"), &json!("needed"))
    );
    let secret = look["secret"].as_str().unwrap().to_owned();
    assert!(look["uri"].as_str().unwrap().contains(&secret));
    let mut setup = json!({"key": key, "id": "wang", "name": "王建国", "password": PASSWORD});
    let (status, said) = first.ask(&server.http, "POST", "/api/v1/setup", Some(&setup));
    assert_eq!((status, &said["code"]), (400, &json!("code_needed")));
    setup["code"] = "000000".into();
    let mut used = 0;
    let wrong = first.ask(&server.http, "POST", "/api/v1/setup", Some(&setup));
    assert_eq!((wrong.0, &wrong.1["code"]), (400, &json!("wrong_code")));
    setup["code"] = next_code(&secret, &mut used).into();
    setup["password"] = "wang wang wang".into();
    let weak = first.ask(&server.http, "POST", "/api/v1/setup", Some(&setup));
    assert_eq!((weak.0, &weak.1["code"]), (400, &json!("weak_password")));
    setup["password"] = PASSWORD.into();
    let (status, said) = first.ask(&server.http, "POST", "/api/v1/setup", Some(&setup));
    assert_eq!(status, 204, "{said}");
    assert!(!path.exists(), "the first link is gone");
    let again = Person::default().ask(&server.http, "POST", "/api/v1/setup", Some(&setup));
    assert_eq!((again.0, &again.1["code"]), (404, &json!("unknown_link")));

    // The administrator makes the second user and sees no reading.
    let (_, session) = first.ask(&server.http, "GET", "/api/v1/session", None);
    assert_eq!(session["account"]["name"], "王建国");
    assert_eq!(session["may"], json!(["register", "rules", "tokens"]));
    assert_eq!(first.ask(&server.http, "GET", "/api/v1/latest", None).0, 403);
    let account = json!({"id": "li.na", "name": "李娜", "role": "viewer", "division": "630104"});
    let (status, made) = first.ask(&server.http, "POST", "/api/v1/accounts", Some(&account));
    assert_eq!(status, 201, "{made}");
    let twice = first.ask(&server.http, "POST", "/api/v1/accounts", Some(&account));
    assert_eq!((twice.0, &twice.1["code"]), (409, &json!("known_account")));
    assert_eq!(made["first_link_ended"], false);
    // Nobody tells these two apart where they are read.
    let like = json!({"id": "Li.Na", "name": "李娜", "role": "viewer", "division": "630104"});
    let like = first.ask(&server.http, "POST", "/api/v1/accounts", Some(&like));
    assert_eq!((like.0, &like.1["code"]), (409, &json!("known_account")));
    let key = made["link"]["key"].as_str().unwrap();
    let mut second = Person::default();
    let setup = json!({"key": key, "password": PASSWORD});
    assert_eq!(
        second.ask(&server.http, "POST", "/api/v1/setup", Some(&setup)).0,
        204
    );
    let seen = |server: &Server, person: &mut Person| -> Vec<String> {
        let (status, devices) = person.ask(&server.http, "GET", "/api/v1/devices", None);
        assert_eq!(status, 200, "{devices}");
        let items = devices["items"].as_array().unwrap().iter();
        items.map(|d| d["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(seen(&server, &mut second), ["upstream"]);
    assert_eq!(
        second
            .ask(&server.http, "GET", "/api/v1/devices/downstream", None)
            .0,
        404
    );
    assert_eq!(second.ask(&server.http, "GET", "/api/v1/accounts", None).0, 403);

    // Accounts are in the journal: a killed server knows them, and its sessions are over.
    let server = server.kill_and_restart();
    assert_eq!(second.ask(&server.http, "GET", "/api/v1/session", None).0, 401);
    assert_eq!(second.log_in(&server.http, "li.na", PASSWORD, None).0, 204);
    assert_eq!(seen(&server, &mut second), ["upstream"]);
    let (status, said) = first.log_in(&server.http, "wang", PASSWORD, None);
    assert_eq!((status, &said["code"]), (401, &json!("code_needed")));
    let good = next_code(&secret, &mut used);
    assert_eq!(first.log_in(&server.http, "wang", PASSWORD, Some(&good)).0, 204);
    let again = Person::default().log_in(&server.http, "wang", PASSWORD, Some(&good));
    assert_eq!(
        (again.0, &again.1["code"]),
        (401, &json!("wrong_login")),
        "a code opens once"
    );

    // What the administrator says holds at once, also for what was begun before: its stream ends.
    let mut live = TcpStream::connect(server.http.trim_start_matches("http://")).unwrap();
    live.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let cookie = second.cookie.clone().unwrap();
    let head =
        format!("GET /api/v1/live HTTP/1.1\r\nhost: onemap\r\nconnection: close\r\ncookie: {cookie}\r\n\r\n");
    live.write_all(head.as_bytes()).unwrap();
    let mut heard = Vec::new();
    while !String::from_utf8_lossy(&heard).contains("event: hello") {
        let mut some = [0; 512];
        let n = live.read(&mut some).unwrap();
        assert!(n > 0, "{}", String::from_utf8_lossy(&heard));
        heard.extend_from_slice(&some[..n]);
    }
    let moved = first.ask(
        &server.http,
        "PATCH",
        "/api/v1/accounts/li.na",
        Some(&json!({"division": "630105"})),
    );
    assert_eq!(moved.0, 200, "{}", moved.1);
    assert_eq!(seen(&server, &mut second), ["downstream"]);
    live.read_to_end(&mut heard).expect("the stream comes to its end");
    let mut bind = |departments: Value| {
        let change = json!({"departments": departments});
        let said = first.ask(&server.http, "PATCH", "/api/v1/accounts/li.na", Some(&change));
        assert_eq!(said.0, 200, "{}", said.1);
    };
    bind(json!(["水务局"]));
    assert!(
        seen(&server, &mut second).is_empty(),
        "no device is that department's"
    );
    bind(json!([]));
    assert_eq!(seen(&server, &mut second), ["downstream"]);
    let off = first.ask(
        &server.http,
        "PATCH",
        "/api/v1/accounts/li.na",
        Some(&json!({"disabled": true})),
    );
    assert_eq!(off.0, 200);
    assert_eq!(second.ask(&server.http, "GET", "/api/v1/devices", None).0, 401);
    assert_eq!(second.log_in(&server.http, "li.na", PASSWORD, None).0, 401);
    let own = first.ask(
        &server.http,
        "PATCH",
        "/api/v1/accounts/wang",
        Some(&json!({"role": "commander"})),
    );
    assert_eq!(own.0, 403, "nobody raises himself");
}

#[test]
fn a_password_is_changed_by_its_holder_and_ends_other_sessions() {
    let server = Server::new();
    let mut here = add(&server, "zhao", "officer", &[]);
    let mut there = Person::default();
    assert_eq!(there.log_in(&server.http, "zhao", PASSWORD, None).0, 204);
    let mut change = json!({"password": "not the password", "new_password": "another long password"});
    let path = "/api/v1/session/password";
    assert_eq!(here.ask(&server.http, "POST", path, Some(&change)).0, 401);
    change["password"] = PASSWORD.into();
    let same = json!({"password": PASSWORD, "new_password": PASSWORD});
    let (status, said) = here.ask(&server.http, "POST", path, Some(&same));
    assert_eq!((status, &said["code"]), (400, &json!("same_password")));
    assert_eq!(here.ask(&server.http, "POST", path, Some(&change)).0, 204);
    assert_eq!(here.ask(&server.http, "GET", "/api/v1/session", None).0, 200);
    assert_eq!(there.ask(&server.http, "GET", "/api/v1/session", None).0, 401);
    assert_eq!(there.log_in(&server.http, "zhao", PASSWORD, None).0, 401);
    assert_eq!(
        there
            .log_in(&server.http, "zhao", "another long password", None)
            .0,
        204
    );
    // A foreign page changes nothing with the cookie that the browser sends along.
    let mut foreign = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .build()
        .new_agent();
    let answer = foreign_post(&mut foreign, &server, here.cookie.as_deref().unwrap());
    assert_eq!(answer, 403);
    // No secret stands in a file that others read, and none in the journal as it was typed.
    let ledger = std::fs::read(server.dir.join("ledger.sqlite")).unwrap();
    let holds = |bytes: &[u8], text: &str| bytes.windows(text.len()).any(|w| w == text.as_bytes());
    assert!(!holds(&ledger, PASSWORD) && !holds(&ledger, "another long password"));
    for entry in std::fs::read_dir(server.dir.join("journal")).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(!holds(&bytes, PASSWORD) && !holds(&bytes, "another long password"));
    }
}

fn foreign_post(agent: &mut ureq::Agent, server: &Server, cookie: &str) -> u16 {
    let request = agent.post(format!("{}/api/v1/session/password", server.http));
    let answer = request
        .header("origin", "http://evil.example")
        .header("cookie", cookie)
        .send_json(json!({"password": "a", "new_password": "b"}));
    answer.unwrap().status().as_u16()
}

#[test]
fn the_command_line_keeps_accounts() {
    let server = Server::new();
    let mut person = add(
        &server,
        "ma",
        "viewer",
        &["--division", "630104", "--name", "马晓燕"],
    );
    assert!(!server.dir.join("setup.link").exists(), "the first link is void");
    assert_eq!(person.ask(&server.http, "GET", "/api/v1/session", None).0, 200);
    let list = user(&server, &["list"]);
    let list = String::from_utf8(list.stdout).unwrap();
    assert!(
        list.contains("ma") && list.contains("630104") && list.contains("active"),
        "{list}"
    );
    for (arguments, expected) in [
        (&["add", "root", "--role", "admin"][..], "no account has it"),
        (&["add", "x y", "--role", "viewer"], "letters, digits"),
        (&["passwd", "nobody"], "no account `nobody`"),
        (&["add", "ma", "--role", "viewer"], "there is an account `ma`"),
    ] {
        let refused = user(&server, arguments);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(
            !refused.status.success() && said.contains(expected),
            "{arguments:?}: {said}"
        );
    }
    assert!(user(&server, &["logout", "ma"]).status.success());
    assert_eq!(person.ask(&server.http, "GET", "/api/v1/session", None).0, 401);
    assert!(user(&server, &["disable", "ma"]).status.success());
    assert_eq!(person.log_in(&server.http, "ma", PASSWORD, None).0, 401);
    assert!(user(&server, &["enable", "ma"]).status.success());
    assert_eq!(person.log_in(&server.http, "ma", PASSWORD, None).0, 204);
    assert!(user(&server, &["remove", "ma"]).status.success());
    assert_eq!(person.ask(&server.http, "GET", "/api/v1/session", None).0, 401);
}

#[test]
fn guesses_run_out_for_one_name_and_hold_up_nobody_else() {
    let server = Server::new();
    add(&server, "victim", "viewer", &[]);
    add(&server, "other", "viewer", &[]);
    let (over, tried, refused) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (http, over, tried, refused) = (&*server.http, &over, &tried, &refused);
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    // Half of them guess names that are nobody's.
                    let n = tried.fetch_add(1, Ordering::Relaxed);
                    let name = match thread % 2 {
                        0 => "victim".to_owned(),
                        _ => format!("name{n}"),
                    };
                    let (status, said) = Person::default().log_in(http, &name, "a wrong password", None);
                    match status {
                        401 => assert_eq!(said["code"], "wrong_login"),
                        // Two of one name at once: the second is not looked at.
                        429 if said["code"] == "login_under_way" => {}
                        429 => {
                            assert_eq!(said["code"], "too_many_guesses");
                            assert!(said["retry_after_s"].as_u64().unwrap() > 0);
                            refused.fetch_add(1, Ordering::Relaxed);
                        }
                        503 => {}
                        other => panic!("{other}: {said}"),
                    }
                }
            });
        }
        wait_for("a thousand tries", Duration::from_secs(120), || {
            (tried.load(Ordering::Relaxed) > 1000 && refused.load(Ordering::Relaxed) > 100).then_some(())
        });
        let mut other = Person::default();
        let (status, said) = other.log_in(&server.http, "other", PASSWORD, None);
        over.store(true, Ordering::Relaxed);
        assert_eq!(status, 204, "{said}");
    });
    let (status, said) = Person::default().log_in(&server.http, "victim", PASSWORD, None);
    assert_eq!(
        (status, &said["code"]),
        (429, &json!("too_many_guesses")),
        "the right one waits, too"
    );
}

#[test]
fn a_token_ends_by_itself_and_says_so() {
    let server = Server::new();
    let make = |token: &str, more: Value| {
        let mut stated = json!({"role": "viewer", "name": "feed"});
        stated
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        crate::server::request(
            &server.http,
            token,
            "POST",
            "/api/v1/tokens",
            Some(&stated.to_string()),
        )
    };
    for (more, code) in [
        (json!({"expires": "2020-01-01T00:00:00Z"}), "bad_expires"),
        (json!({"expires": "2126-01-01T00:00:00Z"}), "bad_expires"),
        (
            json!({"expires": "2026-12-01T00:00:00Z", "days": 1}),
            "bad_expires",
        ),
        (json!({"days": 3654}), "bad_expires"),
    ] {
        let (status, said) = make(&server.token, more.clone());
        assert_eq!((status, &said["code"]), (400, &json!(code)), "{more}: {said}");
    }
    assert_eq!(make(&server.token, json!({"days": 0})).1["expires"], Value::Null);
    let year = make(&server.token, json!({})).1["expires"]
        .as_str()
        .unwrap()
        .to_owned();
    let tokens = Command::new(binary("onemap"))
        .args(["--data-dir"])
        .arg(&server.dir)
        .args(["token", "list"])
        .output()
        .unwrap();
    assert!(String::from_utf8(tokens.stdout).unwrap().contains(&year));

    let (status, made) = make(&server.token, json!({"expires": (now_s() + 3) * 1000}));
    assert_eq!(status, 201, "{made}");
    let token = made["token"].as_str().unwrap();
    let mut holder = Person::default();
    let (status, said) = holder.ask(
        &server.http,
        "POST",
        "/api/v1/session",
        Some(&json!({"token": token})),
    );
    assert_eq!(status, 204, "{said}");
    assert_eq!(holder.ask(&server.http, "GET", "/api/v1/latest", None).0, 200);
    let ended = wait_for("the token's end", Duration::from_secs(20), || {
        let (status, said) = crate::server::request(&server.http, token, "GET", "/api/v1/latest", None);
        (status == 401).then_some(said)
    });
    assert_eq!(ended["code"], "token_expired", "{ended}");
    assert_eq!(
        holder.ask(&server.http, "GET", "/api/v1/latest", None).0,
        401,
        "its session ends with it"
    );
    let listed = server.get("/api/v1/tokens").to_string();
    assert!(!listed.contains(made["id"].as_str().unwrap()), "{listed}");
    let server = server.kill_and_restart();
    let (status, said) = crate::server::request(&server.http, token, "GET", "/api/v1/latest", None);
    assert_eq!((status, &said["code"]), (401, &json!("token_expired")));
}

#[test]
fn everybody_shows_a_second_factor_where_all_have_to() {
    let mut first = Server::new();
    add(&first, "li.na", "viewer", &[]);
    assert_eq!(
        Person::default().log_in(&first.http, "li.na", PASSWORD, None).0,
        204
    );
    first.stop();
    let path = first.dir.join("onemap.toml");
    let config = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, config + "\n[accounts]\nsecond_for_all = true\n").unwrap();
    let server = Server::start_in(&first.dir);
    let (status, said) = Person::default().log_in(&server.http, "li.na", PASSWORD, None);
    assert_eq!(
        (status, &said["code"]),
        (403, &json!("second_factor_needed")),
        "{said}"
    );
    let made = user(&server, &["passwd", "li.na"]);
    let link = String::from_utf8(made.stdout).unwrap();
    let key = link.trim().rsplit_once("#setup=").unwrap().1;
    let mut holder = Person::default();
    let (_, look) = holder.ask(
        &server.http,
        "POST",
        "/api/v1/setup/look",
        Some(&json!({"key": key})),
    );
    assert_eq!(look["second"], "needed");
    let mut setup = json!({"key": key, "password": PASSWORD});
    let (status, said) = holder.ask(&server.http, "POST", "/api/v1/setup", Some(&setup));
    assert_eq!((status, &said["code"]), (400, &json!("code_needed")));
    let mut used = 0;
    setup["code"] = next_code(look["secret"].as_str().unwrap(), &mut used).into();
    let (status, said) = holder.ask(&server.http, "POST", "/api/v1/setup", Some(&setup));
    assert_eq!(status, 204, "{said}");
    assert_eq!(holder.ask(&server.http, "GET", "/api/v1/latest", None).0, 200);
}

#[test]
fn a_token_passes_for_nobody_and_opens_no_way_around_the_second_factor() {
    let server = Server::new();
    let ask = |token: &str, method: &str, path: &str, body: Value| {
        crate::server::request(&server.http, token, method, path, Some(&body.to_string()))
    };
    let made = |role: &str, name: &str| {
        let (status, made) = ask(
            &server.token,
            "POST",
            "/api/v1/tokens",
            json!({"role": role, "name": name}),
        );
        assert_eq!(status, 201, "{made}");
        made["token"].as_str().unwrap().to_owned()
    };
    let system = made("system_admin", "zhang.wei");
    let (_, session) = crate::server::request(&server.http, &system, "GET", "/api/v1/session", None);
    assert_eq!(session["actor"], "token#zhang.wei");
    for role in [
        "operator",
        "commander",
        "system_admin",
        "security_admin",
        "audit_admin",
        "admin",
    ] {
        let (status, said) = ask(&system, "POST", "/api/v1/tokens", json!({"role": role}));
        assert_eq!(status, 403, "{role}: {said}");
    }
    for name in ["", "  ", "a\nb", "\u{1b}[31m", &"长".repeat(65)] {
        let (status, said) = ask(
            &system,
            "POST",
            "/api/v1/tokens",
            json!({"role": "viewer", "name": name}),
        );
        assert_eq!((status, &said["code"]), (400, &json!("bad_name")), "{name:?}");
    }
    let (status, viewer) = ask(
        &system,
        "POST",
        "/api/v1/tokens",
        json!({"role": "viewer", "name": "大屏"}),
    );
    assert_eq!(status, 201, "{viewer}");
    // Who keeps the security sees it and ends it.
    let security = made("security_admin", "security");
    let (_, listed) = crate::server::request(&server.http, &security, "GET", "/api/v1/tokens", None);
    assert!(listed.to_string().contains("大屏"), "{listed}");
    let path = format!("/api/v1/tokens/{}", viewer["id"].as_str().unwrap());
    assert_eq!(
        crate::server::request(&server.http, &security, "DELETE", &path, None).0,
        204
    );
    let token = viewer["token"].as_str().unwrap();
    assert_eq!(
        crate::server::request(&server.http, token, "GET", "/api/v1/latest", None).0,
        401
    );
}

#[test]
fn sessions_of_one_end_nobody_elses_and_begin_on_the_own_page() {
    let server = Server::new();
    let token = |name: &str| {
        let made = server.post("/api/v1/tokens", &json!({"role": "viewer", "name": name}));
        made["token"].as_str().unwrap().to_owned()
    };
    let log_in = |token: &str| {
        let mut holder = Person::default();
        let (status, said) = holder.ask(
            &server.http,
            "POST",
            "/api/v1/session",
            Some(&json!({"token": token})),
        );
        assert_eq!(status, 204, "{said}");
        holder
    };
    let (wall, flood) = (token("wall"), token("flood"));
    let mut on_wall = log_in(&wall);
    let mut first = log_in(&flood);
    for _ in 0..300 {
        log_in(&flood);
    }
    assert_eq!(on_wall.ask(&server.http, "GET", "/api/v1/latest", None).0, 200);
    assert_eq!(
        first.ask(&server.http, "GET", "/api/v1/latest", None).0,
        401,
        "its own oldest"
    );

    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .build()
        .into();
    for (origin, status) in [
        ("http://evil.example", 403),
        ("null", 403),
        (server.http.as_str(), 204),
    ] {
        for (path, body, own) in [
            ("/api/v1/session", json!({"token": wall}), 204),
            ("/api/v1/setup/look", json!({"key": "k"}), 404),
            ("/api/v1/setup", json!({"key": "k", "password": "p"}), 404),
        ] {
            let answer = agent
                .post(format!("{}{path}", server.http))
                .header("origin", origin)
                .header("content-type", "application/json")
                .send(body.to_string())
                .unwrap();
            let wanted = if status == 204 { own } else { status };
            assert_eq!(answer.status().as_u16(), wanted, "{path} from {origin}");
        }
    }
}

#[test]
fn one_who_logs_in_without_end_takes_one_turn_of_all() {
    let server = Server::new();
    for id in ["busy", "li.na"] {
        add(&server, id, "viewer", &[]);
    }
    let until = std::time::Instant::now() + Duration::from_secs(3);
    std::thread::scope(|scope| {
        for _ in 0..24 {
            scope.spawn(|| {
                while std::time::Instant::now() < until {
                    let (status, said) = Person::default().log_in(&server.http, "busy", PASSWORD, None);
                    assert!(
                        status == 204 || (status == 429 && said["code"] == "login_under_way"),
                        "{said}"
                    );
                }
            });
        }
        let mut n = 0;
        while std::time::Instant::now() < until {
            let (status, said) = Person::default().log_in(&server.http, "li.na", PASSWORD, None);
            assert_eq!(status, 204, "{said}");
            n += 1;
        }
        assert!(n > 3, "{n}");
    });
}

#[test]
fn the_last_who_administers_stays_and_a_link_opens_what_is_enabled() {
    let server = Server::new();
    let (mut used, secret) = set_up(&server, "root", "system_admin");
    let mut root = Person::default();
    let code = next_code(&secret, &mut used);
    assert_eq!(root.log_in(&server.http, "root", PASSWORD, Some(&code)).0, 204);
    let (_, secret) = set_up(&server, "second", "system_admin");
    assert!(user(&server, &["disable", "second"]).status.success());
    let ask = |person: &mut Person, method: &str, path: &str, body: Value| {
        let body = Some(body).filter(|body| !body.is_null());
        person.ask(&server.http, method, path, body.as_ref())
    };
    // Who is disabled gets no link, which would open nothing.
    let (status, said) = ask(&mut root, "POST", "/api/v1/accounts/second/link", json!({}));
    assert_eq!(
        (status, &said["code"]),
        (409, &json!("account_disabled")),
        "{said}"
    );
    assert!(user(&server, &["enable", "second"]).status.success());
    let mut second = Person::default();
    let code = next_code(&secret, &mut 0);
    assert_eq!(
        second.log_in(&server.http, "second", PASSWORD, Some(&code)).0,
        204
    );
    // One of two may go; the one that stays may not, in any way.
    let path = "/api/v1/accounts/root";
    let (status, said) = ask(&mut second, "PATCH", path, json!({"disabled": true}));
    assert_eq!(status, 200, "{said}");
    assert!(user(&server, &["enable", "root"]).status.success());
    let token = server.post(
        "/api/v1/tokens",
        &json!({"role": "system_admin", "name": "machine"}),
    );
    let token = token["token"].as_str().unwrap();
    let by_token = |method: &str, path: &str, body: &Value| {
        let body = Some(body.to_string()).filter(|_| !body.is_null());
        crate::server::request(&server.http, token, method, path, body.as_deref())
    };
    assert_eq!(by_token("DELETE", "/api/v1/accounts/second", &Value::Null).0, 204);
    for (method, body) in [
        ("DELETE", Value::Null),
        ("PATCH", json!({"disabled": true})),
        ("PATCH", json!({"role": "viewer"})),
        ("PATCH", json!({"division": "630104"})),
        ("PATCH", json!({"departments": ["水务局"]})),
    ] {
        let (status, said) = by_token(method, path, &body);
        assert_eq!(
            (status, &said["code"]),
            (409, &json!("last_of_role")),
            "{method} {body}: {said}"
        );
    }
    assert_eq!(by_token("PATCH", path, &json!({"name": "管理员"})).0, 200);
    // Whoever has the machine may.
    assert!(user(&server, &["remove", "root"]).status.success());
}

#[test]
fn accounts_and_tokens_are_bound_to_divisions_that_there_are() {
    let server = Server::new();
    for (path, body) in [
        (
            "/api/v1/accounts",
            json!({"id": "qian", "role": "viewer", "division": "630199"}),
        ),
        (
            "/api/v1/tokens",
            json!({"role": "viewer", "division": "630102999000"}),
        ),
    ] {
        let (status, said) = server.request("POST", path, Some(&body.to_string()));
        assert_eq!(
            (status, &said["code"]),
            (400, &json!("unknown_division")),
            "{path}: {said}"
        );
    }
    server.post(
        "/api/v1/accounts",
        &json!({"id": "qian", "role": "viewer", "division": "630102"}),
    );
    let patch = |division: Value| {
        let body = json!({"division": division}).to_string();
        server.request("PATCH", "/api/v1/accounts/qian", Some(&body)).0
    };
    assert_eq!(patch(json!("999999")), 400);
    assert_eq!(patch(json!("630104001")), 200);
    // What no list has yet is known by the register.
    let entity = json!({"kind": "division", "code": "630199", "name": "新区", "division": "630199"});
    server.post("/api/v1/entities", &entity);
    assert_eq!(patch(json!("630199")), 200);
}

//! Log-in by OpenID Connect: a certified provider's word, a crooked one's, and what either is worth here.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::accounts::{Person, add, next_code, set_up, user};
use crate::screen::{Script, ready};
use crate::server::{CONFIG, Process, Server, peer, wait_for};

const LIMIT: Duration = Duration::from_secs(20);
/// What the providers of tests/peers know the server by.
const SECRET: &str = "a secret of the tests, which nobody else has";
const BEGIN: &str = "/api/v1/session/oidc";

/// A provider of tests/peers.
struct Provider {
    issuer: String,
    process: Process,
}

impl Provider {
    /// The certified one, and the one that answers as it is told; `None` with a loud word where they are not installed.
    fn start(script: &str, port: u16) -> Option<Self> {
        Self::start_with(script, |command| {
            command.env("PORT", port.to_string());
        })
    }

    fn start_with(script: &str, more: impl FnOnce(&mut Command)) -> Option<Self> {
        peer("node")?;
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let installed = root.join("target/peers/node");
        if !installed.join("node_modules/oidc-provider").exists() {
            assert!(
                std::env::var_os("CI").is_none(),
                "tests/peers/install.sh must have run in CI"
            );
            eprintln!("SKIPPED: tests/peers/install.sh has not installed oidc-provider");
            return None;
        }
        // It finds its modules beside it.
        std::fs::copy(root.join("tests/peers").join(script), installed.join(script)).unwrap();
        let mut command = Command::new("node");
        command
            .arg(installed.join(script))
            .stderr(std::process::Stdio::null());
        more(&mut command);
        let process = Process::start(command);
        let line = process.line(LIMIT).expect("the provider comes up");
        let said: Value = serde_json::from_str(&line).unwrap();
        let issuer = said["issuer"].as_str().unwrap().to_owned();
        Some(Self { issuer, process })
    }

    /// Says how the crooked one answers from here on; gives how often its keys were asked for.
    fn next(&self, how: &Value) -> u64 {
        let mut browser = Browser::default();
        let answer = browser.send("POST", &format!("{}/next", self.issuer), Some(&how.to_string()));
        serde_json::from_str::<Value>(&answer.body).unwrap()["keys_asked"]
            .as_u64()
            .unwrap()
    }
}

/// A server whose people come by a provider; `more` stands in `[oidc]`.
fn server_of(issuer: &str, more: &str) -> (Server, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    std::fs::create_dir(dir.join("rules")).unwrap();
    std::fs::write(dir.join("oidc.secret"), format!("{SECRET}\n")).unwrap();
    let oidc = format!("[oidc]\nissuer = \"{issuer}\"\nscopes = [\"profile\", \"groups\"]\n{more}");
    std::fs::write(dir.join("onemap.toml"), format!("{CONFIG}{oidc}")).unwrap();
    let log = std::fs::File::create(dir.join("log")).unwrap();
    let server = Server::start_with(dir, |command| {
        command.env("ONEMAP_LOG", "trace").stderr(log);
    });
    (server, folder)
}

/// A port that nobody listens on now.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

const CONFIDENTIAL: &str = "client_id = \"onemap\"\nclient_secret_file = \"oidc.secret\"\n";

/// What came back.
#[derive(Debug)]
struct Answer {
    status: u16,
    location: String,
    cookies: Vec<String>,
    body: String,
}

impl Answer {
    fn code(&self) -> String {
        let body: Value = serde_json::from_str(&self.body).unwrap_or_default();
        body["code"].as_str().unwrap_or_default().to_owned()
    }
}

/// A browser: it keeps cookies, by host as browsers do, and goes where it is sent only when it is told to.
#[derive(Clone, Default)]
struct Browser {
    cookies: BTreeMap<String, String>,
    /// Asks for pages.
    is_person: bool,
}

impl Browser {
    fn send(&mut self, method: &str, url: &str, body: Option<&str>) -> Answer {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_global(Some(Duration::from_secs(30)))
            .build()
            .into();
        let is_form = body.is_some_and(|body| !body.starts_with('{'));
        let mut request = ureq::http::Request::builder().method(method).uri(url).header(
            "content-type",
            if is_form {
                "application/x-www-form-urlencoded"
            } else {
                "application/json"
            },
        );
        if !self.cookies.is_empty() {
            let pairs: Vec<String> = self
                .cookies
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            request = request.header("cookie", pairs.join("; "));
        }
        if self.is_person {
            request = request.header("accept", "text/html,application/xhtml+xml");
        }
        let request = request.body(body.unwrap_or_default().to_owned()).unwrap();
        let mut response = agent.run(request).unwrap();
        let text = |name: &str| {
            let all = response.headers().get_all(name).iter();
            all.map(|value| value.to_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        let cookies = text("set-cookie");
        let location = text("location").pop().unwrap_or_default();
        for cookie in &cookies {
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            match value.is_empty() || cookie.contains("Max-Age=0") {
                true => self.cookies.remove(name),
                false => self.cookies.insert(name.to_owned(), value.to_owned()),
            };
        }
        Answer {
            status: response.status().as_u16(),
            location,
            cookies,
            body: response.body_mut().read_to_string().unwrap(),
        }
    }

    /// Begins a log-in; gives where the provider is.
    fn begin(&mut self, server: &Server) -> String {
        let answer = self.send("GET", &format!("{}{BEGIN}", server.http), None);
        assert_eq!(answer.status, 302, "{answer:?}");
        answer.location
    }

    /// Says at the provider who it is; gives where the provider sends it.
    fn at_provider(&mut self, issuer: &str, address: &str, form: &str) -> String {
        let mut address = address.to_owned();
        for _ in 0..8 {
            let is_page = address.contains("/interaction/");
            let answer = match is_page {
                true => self.send("POST", &address, Some(form)),
                false => self.send("GET", &address, None),
            };
            assert!((300..400).contains(&answer.status), "{address}: {answer:?}");
            address = match answer.location.starts_with('/') {
                true => format!("{issuer}{}", answer.location),
                false => answer.location,
            };
            if !address.starts_with(issuer) {
                return address;
            }
        }
        panic!("the provider does not come to an end: {address}");
    }

    /// All the way; gives the answer of the server to what the provider said.
    fn log_in(&mut self, server: &Server, issuer: &str, form: &str) -> Answer {
        let there = self.begin(server);
        let back = self.at_provider(issuer, &there, form);
        assert!(back.starts_with(&server.http), "{back}");
        self.send("GET", &back, None)
    }

    fn session(&mut self, server: &Server) -> Option<Value> {
        let answer = self.send("GET", &format!("{}/api/v1/session", server.http), None);
        (answer.status == 200).then(|| serde_json::from_str(&answer.body).unwrap())
    }
}

fn parameter(address: &str, name: &str) -> String {
    let query = address.split_once('?').unwrap().1;
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let found = pairs.find(|(own, _)| *own == name);
    found
        .unwrap_or_else(|| panic!("{name} in {address}"))
        .1
        .to_owned()
}

fn became(server: &Server, what: &str) -> u64 {
    server
        .metric(&format!("onemap_oidc_total{{became=\"{what}\"}}"))
        .unwrap_or_default()
}

/// Makes an account that nobody has set a password for.
fn invite(server: &Server, id: &str, role: &str) {
    let made = user(server, &["add", id, "--role", role]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

fn link(server: &Server, id: &str, subject: &str) {
    let linked = user(server, &["link", id, "--subject", subject]);
    assert!(
        linked.status.success(),
        "{}",
        String::from_utf8_lossy(&linked.stderr)
    );
}

/// Whether a file of the data folder holds a text.
fn holds(server: &Server, path: &str, text: &str) -> bool {
    let path = server.dir.join(path);
    let bytes = std::fs::read(&path).unwrap_or_default();
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[test]
fn who_is_linked_comes_in_by_the_provider_s_word_and_once_by_each_answer() {
    let Some(provider) = Provider::start("oidc_provider.mjs", 0) else {
        return;
    };
    let (server, _folder) = server_of(&provider.issuer, CONFIDENTIAL);
    let ways = server.get("/api/v1/session/ways");
    assert_eq!(ways["oidc"]["name"]["zh"], "统一身份认证登录");
    assert_eq!(ways["oidc"]["href"], format!("{}{BEGIN}", server.http));

    // Nobody is in by being known to the provider.
    let mut li = Browser::default();
    let refused = li.log_in(&server, &provider.issuer, "login=sub-li&amr=");
    assert_eq!((refused.status, refused.code().as_str()), (403, "oidc_unknown"));
    invite(&server, "li", "viewer");
    let refused = li.log_in(&server, &provider.issuer, "login=sub-li&amr=");
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (403, "oidc_not_linked")
    );
    let mut person = Browser {
        is_person: true,
        ..Browser::default()
    };
    let shown = person.log_in(&server, &provider.issuer, "login=sub-li&amr=");
    assert_eq!(
        (shown.status, shown.location.as_str()),
        (303, "/#sso=oidc_not_linked")
    );
    link(&server, "li", "sub-li");

    let there = li.begin(&server);
    assert_eq!(parameter(&there, "code_challenge_method"), "S256");
    assert!(parameter(&there, "state").len() >= 43 && parameter(&there, "nonce").len() >= 20);
    let flow = li.clone();
    let back = li.at_provider(&provider.issuer, &there, "login=sub-li&amr=");
    let code = parameter(&back, "code");
    let done = li.send("GET", &back, None);
    assert_eq!((done.status, done.location.as_str()), (303, "/"), "{done:?}");
    let session = &done.cookies[0];
    for part in ["onemap_session=", "; HttpOnly", "; SameSite=Strict", "; Path=/"] {
        assert!(session.contains(part), "{session}");
    }
    assert!(
        !li.cookies.contains_key("onemap_oidc"),
        "the way's cookie is gone"
    );
    let who = li.session(&server).expect("a session");
    assert_eq!(
        (&who["account"]["id"], &who["role"]),
        (&json!("li"), &json!("viewer"))
    );

    // Each answer is one browser's, one log-in's, and used up.
    let again = flow.clone().send("GET", &back, None);
    assert_eq!((again.status, again.code().as_str()), (400, "oidc_again"));
    let elsewhere = Browser::default().send("GET", &back, None);
    assert_eq!((elsewhere.status, elsewhere.code().as_str()), (400, "oidc_state"));
    let mut other = Browser::default();
    let own_state = parameter(&other.begin(&server), "state");
    let mixed = other.clone().send("GET", &back, None);
    assert_eq!((mixed.status, mixed.code().as_str()), (400, "oidc_state"));
    let callback = back.split('?').next().unwrap();
    let stolen = other
        .clone()
        .send("GET", &format!("{callback}?state={own_state}&code={code}"), None);
    assert_eq!(
        (stolen.status, stolen.code().as_str()),
        (401, "oidc_code"),
        "a used code"
    );
    let without = other.send("GET", &format!("{callback}?code={code}"), None);
    assert_eq!(without.code(), "oidc_state");

    // Who says no at the provider is not in.
    let refused = Browser::default().log_in(&server, &provider.issuer, "does=leave");
    assert_eq!((refused.status, refused.code().as_str()), (403, "oidc_denied"));

    // A new log-in ends the session that the browser had.
    let before = li.clone();
    assert_eq!(
        li.log_in(&server, &provider.issuer, "login=sub-li&amr=").status,
        303
    );
    assert!(li.session(&server).is_some());
    assert!(before.clone().session(&server).is_none(), "the one of before");
    assert_eq!(became(&server, "in"), 2);
    assert_eq!(became(&server, "oidc_state"), 3);

    // Who watches is told.
    let seen = |kind: &str, detail: &str| {
        let events = server.get(&format!("/api/v1/security/events?kind={kind}"));
        let items = events["items"].as_array().unwrap().clone();
        items
            .iter()
            .any(|event| event["detail"].as_str().unwrap().contains(detail))
    };
    assert!(seen("login", "by single sign-on"));
    for refused in [
        "oidc_unknown",
        "oidc_not_linked",
        "oidc_state",
        "oidc_again",
        "oidc_denied",
    ] {
        assert!(seen("login_failed", refused), "{refused}");
    }

    // What was done stands in the ledger; what opens something stands nowhere.
    server.caught_up();
    wait_for("the ledger", LIMIT, || {
        let is_there =
            |text| holds(&server, "ledger.sqlite", text) || holds(&server, "ledger.sqlite-wal", text);
        (is_there("\"verb\":\"log_in\"") && is_there("account_subject")).then_some(())
    });
    let verifier_cookie = &flow.cookies["onemap_oidc"];
    for secret in [code.as_str(), verifier_cookie, &own_state, SECRET] {
        assert!(!holds(&server, "log", secret), "the log tells {secret}");
        assert!(!holds(&server, "ledger.sqlite", secret) && !holds(&server, "ledger.sqlite-wal", secret));
    }
    assert!(
        holds(&server, "log", "oidc_denied"),
        "why somebody was refused is logged"
    );

    // Whom nobody speaks of any more is out, and an ended session stays so.
    assert!(user(&server, &["unlink", "li"]).status.success());
    assert!(li.session(&server).is_none());
    let gone = li.log_in(&server, &provider.issuer, "login=sub-li&amr=");
    assert_eq!(gone.code(), "oidc_not_linked");
}

#[test]
fn clients_without_a_secret_and_with_one_in_the_body_come_in_too() {
    for (in_body, client) in [(false, "client_id = \"onemap-public\"\n"), (true, CONFIDENTIAL)] {
        let provider = Provider::start_with("oidc_provider.mjs", |command| {
            if in_body {
                command.env("SECRET_IN_BODY", "1");
            }
        });
        let Some(provider) = provider else {
            return;
        };
        let (server, _folder) = server_of(&provider.issuer, client);
        invite(&server, "li", "viewer");
        link(&server, "li", "sub-li");
        let mut li = Browser::default();
        let done = li.log_in(&server, &provider.issuer, "login=sub-li&amr=");
        assert_eq!(done.status, 303, "{client}: {done:?}");
        assert!(li.session(&server).is_some());
    }
}

#[test]
fn accounts_are_made_and_bound_as_the_configuration_says_and_no_further() {
    let Some(provider) = Provider::start("oidc_provider.mjs", 0) else {
        return;
    };
    let more = format!(
        "{CONFIDENTIAL}bind_by_name = true\nsecond_factor_amr = [\"otp\"]\n\
         [[oidc.map]]\nclaim = \"groups\"\nvalue = \"onemap-duty\"\nrole = \"operator\"\nprivileged = true\n\
         [[oidc.map]]\nclaim = \"groups\"\nvalue = \"onemap-officers\"\nrole = \"officer\"\ndivision = \"630104\"\n\
         departments = [\"水务局\"]\n"
    );
    let (server, _folder) = server_of(&provider.issuer, &more);
    let enter = |form: &str| {
        let mut browser = Browser::default();
        let answer = browser.log_in(&server, &provider.issuer, form);
        (browser, answer)
    };

    // Made, with what the first entry that fits says.
    let (mut zhou, done) = enter("login=sub-new&amr=");
    assert_eq!(done.status, 303, "{done:?}");
    let who = zhou.session(&server).unwrap();
    assert_eq!(
        (&who["account"]["id"], &who["account"]["name"]),
        (&json!("zhou"), &json!("周新"))
    );
    assert_eq!(
        (&who["role"], &who["division"], &who["departments"]),
        (&json!("officer"), &json!("630104"), &json!(["水务局"]))
    );
    let account = server.get("/api/v1/accounts/zhou");
    assert_eq!(
        account["subject"],
        json!({"issuer": provider.issuer, "sub": "sub-new"})
    );
    assert_eq!(account["has_password"], false);
    // What an administrator says of it since holds: nothing is mapped again.
    let (status, _) = server.request("PATCH", "/api/v1/accounts/zhou", Some(r#"{"role":"viewer"}"#));
    assert_eq!(status, 200);
    assert_eq!(
        zhou.log_in(&server, &provider.issuer, "login=sub-new&amr=")
            .status,
        303
    );
    assert_eq!(zhou.session(&server).unwrap()["role"], "viewer");

    // Bound by name, once: the next of that name is somebody else.
    invite(&server, "li", "viewer");
    let (mut li, done) = enter("login=sub-li&amr=");
    assert_eq!(done.status, 303, "{done:?}");
    assert_eq!(li.session(&server).unwrap()["role"], "viewer");
    let (_, other) = enter("login=sub-li-2&amr=");
    assert_eq!((other.status, other.code().as_str()), (403, "oidc_not_linked"));
    // Nobody takes an account that commands by a name.
    invite(&server, "wang", "commander");
    let (_, named) = enter("login=sub-wang&amr=otp");
    assert_eq!(named.code(), "oidc_not_linked");
    // No entry fits.
    assert!(user(&server, &["remove", "wang"]).status.success());
    let (_, unmapped) = enter("login=sub-wang&amr=");
    assert_eq!((unmapped.status, unmapped.code().as_str()), (403, "oidc_unknown"));
    assert_eq!(server.request("GET", "/api/v1/accounts/wang", None).0, 404);

    // Who commands shows a second factor to somebody.
    let (_, one) = enter("login=sub-duty&amr=pwd");
    assert_eq!((one.status, one.code().as_str()), (403, "second_factor_needed"));
    let (mut duty, two) = enter("login=sub-duty&amr=pwd+otp");
    assert_eq!(two.status, 303, "{two:?}");
    assert_eq!(duty.session(&server).unwrap()["role"], "operator");

    // Out is out, and a person is one account's.
    assert!(user(&server, &["disable", "li"]).status.success());
    assert!(li.session(&server).is_none());
    let (_, off) = enter("login=sub-li&amr=");
    assert_eq!((off.status, off.code().as_str()), (403, "oidc_disabled"));
    let taken = user(&server, &["link", "zhou", "--subject", "sub-li"]);
    let said = String::from_utf8_lossy(&taken.stderr).into_owned();
    assert!(
        !taken.status.success() && said.contains("another account"),
        "{said}"
    );
    // All of it is in the journal.
    let dir = server.dir.clone();
    drop(server);
    let server = Server::start_in(&dir);
    assert_eq!(server.get("/api/v1/accounts/duty")["subject"]["sub"], "sub-duty");
    let mut duty = Browser::default();
    let done = duty.log_in(&server, &provider.issuer, "login=sub-duty&amr=otp");
    assert_eq!(done.status, 303, "{done:?}");
}

#[test]
fn the_own_second_factor_is_asked_for_where_the_provider_saw_none() {
    let Some(provider) = Provider::start("oidc_provider.mjs", 0) else {
        return;
    };
    let (server, _folder) = server_of(&provider.issuer, CONFIDENTIAL);
    let (mut used, secret) = set_up(&server, "duty", "operator");
    link(&server, "duty", "sub-duty");
    let finish = |browser: &mut Browser, code: &str| {
        let body = json!({"code": code}).to_string();
        browser.send("POST", &format!("{}{BEGIN}", server.http), Some(&body))
    };
    // What the provider says of a second factor is worth nothing where nothing is configured.
    let mut duty = Browser::default();
    let half = duty.log_in(&server, &provider.issuer, "login=sub-duty&amr=otp+mfa");
    assert_eq!((half.status, half.code().as_str()), (401, "code_needed"));
    assert!(half.cookies[0].contains("SameSite=Strict"), "{half:?}");
    assert!(duty.session(&server).is_none(), "half is not in");
    assert_eq!(finish(&mut Browser::default(), "123456").code(), "oidc_state");
    assert_eq!(finish(&mut duty, "000000").code(), "wrong_login");
    let code = next_code(&secret, &mut used);
    let done = finish(&mut duty, &code);
    assert_eq!(done.status, 204, "{done:?}");
    assert_eq!(duty.session(&server).unwrap()["role"], "operator");

    // A code opens once, and what ends the account's sessions ends who is half in.
    let mut again = Browser::default();
    let shown = Browser {
        is_person: true,
        ..Browser::default()
    }
    .log_in(&server, &provider.issuer, "login=sub-duty&amr=");
    assert_eq!(
        (shown.status, shown.location.as_str()),
        (303, "/#sso=code_needed")
    );
    assert_eq!(
        again
            .log_in(&server, &provider.issuer, "login=sub-duty&amr=")
            .status,
        401
    );
    assert_eq!(finish(&mut again, &code).code(), "wrong_login");
    assert!(user(&server, &["logout", "duty"]).status.success());
    let code = next_code(&secret, &mut used);
    assert_eq!(finish(&mut again, &code).code(), "oidc_late");
    assert!(duty.session(&server).is_none());

    // Guesses run out as those of passwords do, and the provider's word does not go round that.
    assert_eq!(
        again
            .log_in(&server, &provider.issuer, "login=sub-duty&amr=")
            .status,
        401
    );
    let mut last = String::new();
    for _ in 0..12 {
        last = finish(&mut again, "000000").code();
    }
    assert_eq!(last, "too_many_guesses");
    let locked = again.log_in(&server, &provider.issuer, "login=sub-duty&amr=");
    assert_eq!((locked.status, locked.code().as_str()), (429, "too_many_guesses"));
    // Who has one of his own choice is asked for it, too.
    let (_, _secret) = set_up(&server, "li", "viewer");
    link(&server, "li", "sub-li");
    let half = Browser::default().log_in(&server, &provider.issuer, "login=sub-li&amr=");
    assert_eq!(half.code(), "code_needed");
}

#[test]
fn a_crooked_provider_lets_nobody_in() {
    let Some(provider) = Provider::start("oidc_crooked.mjs", 0) else {
        return;
    };
    let (server, _folder) = server_of(&provider.issuer, CONFIDENTIAL);
    invite(&server, "li", "viewer");
    link(&server, "li", "sub-li");
    let enter = || {
        let mut browser = Browser::default();
        let answer = browser.log_in(&server, &provider.issuer, "");
        let is_in = browser.session(&server).is_some();
        (answer, is_in)
    };
    let (right, is_in) = enter();
    assert!(is_in, "as it should be: {right:?}");
    let now = std::time::SystemTime::now();
    let now = now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    for (how, reason) in [
        (json!({"claims": {"nonce": "of another log-in"}}), "oidc_nonce"),
        (json!({"claims": {"nonce": null}}), "oidc_nonce"),
        (json!({"claims": {"aud": "somebody"}}), "oidc_audience"),
        (
            json!({"claims": {"aud": ["onemap", "somebody"]}}),
            "oidc_audience",
        ),
        (json!({"claims": {"azp": "somebody"}}), "oidc_audience"),
        (json!({"claims": {"iss": "http://localhost:1"}}), "oidc_issuer"),
        (json!({"iss": "http://localhost:1"}), "oidc_issuer"),
        (json!({"key": "other"}), "oidc_signature"),
        (json!({"key": "none"}), "oidc_signature"),
        (json!({"key": "secret"}), "oidc_signature"),
        (
            json!({"claims": {"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"}}),
            "oidc_signature",
        ),
        (json!({"claims": {"exp": now - 1}}), "oidc_time"),
        (json!({"claims": {"iat": now + 3600}}), "oidc_time"),
        (json!({"claims": {"iat": now - 3600}}), "oidc_time"),
        (json!({"claims": {"sub": "sub-nobody"}}), "oidc_not_linked"),
        (json!({"claims": {"sub": "s".repeat(256)}}), "oidc_name"),
        (json!({"claims": {"sub": null}}), "oidc_answer"),
        (
            json!({"body": {"access_token": "a", "token_type": "Bearer"}}),
            "oidc_answer",
        ),
        (json!({"body": "no object"}), "oidc_answer"),
        (json!({"status": 400}), "oidc_code"),
    ] {
        provider.next(&how);
        let (answer, is_in) = enter();
        assert_eq!(answer.code(), reason, "{how}: {answer:?}");
        assert!(!is_in && answer.status >= 400, "{how}");
    }
    // A new key is taken up at its first token; one that never was the provider's is looked for once a minute.
    let asked = provider.next(&json!({"publish": ["own", "new"], "key": "new"}));
    assert!(enter().1, "the provider has a new key");
    let again = provider.next(&json!({"key": "gone"}));
    assert_eq!(again, asked + 1);
    for _ in 0..3 {
        let (answer, is_in) = enter();
        assert_eq!((answer.code().as_str(), is_in), ("oidc_signature", false));
    }
    assert_eq!(
        provider.next(&json!({})),
        again,
        "its keys are not asked for again so soon"
    );
    assert!(enter().1);
}

#[test]
fn a_provider_that_is_away_holds_up_nobody_else() {
    let port = free_port();
    let issuer = format!("http://localhost:{port}");
    let (server, _folder) = server_of(&issuer, CONFIDENTIAL);
    let address = format!("{}{BEGIN}", server.http);
    let away = Browser::default().send("GET", &address, None);
    assert_eq!(
        (away.status, away.code().as_str()),
        (503, "oidc_away"),
        "{away:?}"
    );
    let mut person = Browser {
        is_person: true,
        ..Browser::default()
    };
    let shown = person.send("GET", &address, None);
    assert_eq!((shown.status, shown.location.as_str()), (303, "/#sso=oidc_away"));
    let mut here = add(&server, "li", "viewer", &[]);
    assert_eq!(here.ask(&server.http, "GET", "/api/v1/session", None).0, 200);
    let Some(provider) = Provider::start("oidc_crooked.mjs", port) else {
        return;
    };
    link(&server, "li", "sub-li");
    let mut li = Browser::default();
    wait_for("the provider that has come up", LIMIT, || {
        (li.send("GET", &address, None).status == 302).then_some(())
    });
    let done = li.log_in(&server, &provider.issuer, "");
    assert_eq!(done.status, 303, "{done:?}");
    // It goes again while somebody is there.
    let there = li.begin(&server);
    let back = li.at_provider(&provider.issuer, &there, "");
    let mut provider = provider;
    provider.process.kill();
    let lost = li.send("GET", &back, None);
    assert_eq!(
        (lost.status, lost.code().as_str()),
        (503, "oidc_away"),
        "{lost:?}"
    );
    assert_eq!(
        Person::default()
            .ask(&server.http, "GET", "/health/ready", None)
            .0,
        200
    );
}

#[test]
fn without_a_provider_nobody_is_sent_to_one_and_a_wrong_configuration_is_said_by_its_line() {
    let server = Server::new();
    assert_eq!(server.get("/api/v1/session/ways"), json!({"oidc": null}));
    for path in [BEGIN, "/api/v1/session/oidc/callback?code=a&state=b"] {
        let answer = Browser::default().send("GET", &format!("{}{path}", server.http), None);
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (404, "oidc_not_configured")
        );
    }
    // Whom a provider speaks of may be said before there is one; then by whose name.
    invite(&server, "li", "viewer");
    let unsaid = user(&server, &["link", "li", "--subject", "sub-li"]);
    let said = String::from_utf8_lossy(&unsaid.stderr).into_owned();
    assert!(
        !unsaid.status.success() && said.contains("issuer is missing"),
        "{said}"
    );
    for (subject, is_taken) in [("sub-li", true), ("", false), (&*"s".repeat(256), false)] {
        let arguments = [
            "link",
            "li",
            "--issuer",
            "https://sso.example",
            "--subject",
            subject,
        ];
        assert_eq!(
            user(&server, &arguments).status.success(),
            is_taken,
            "{subject:.10}"
        );
    }
    let subject = json!({"issuer": "https://sso.example", "sub": "sub-li"});
    assert_eq!(server.get("/api/v1/accounts/li")["subject"], subject);
    let config = server.dir.join("wrong.toml");
    let oidc = "[oidc]\nissuer = \"http://sso.example\"\nclient_id = \"onemap\"\n";
    std::fs::write(&config, oidc).unwrap();
    let checked = Command::new(crate::server::binary("onemap"))
        .args(["--config"])
        .arg(&config)
        .args(["--data-dir"])
        .arg(server.dir.join("none"))
        .arg("check")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(
        !checked.status.success() && said.contains("wrong.toml:2: [oidc] issuer"),
        "{said}"
    );
}

#[test]
fn in_a_browser_the_button_leads_to_the_provider_and_back_over_tls() {
    if !ready() {
        return;
    }
    let port = free_port();
    let callback = format!("https://127.0.0.1:{port}{BEGIN}/callback");
    let provider = Provider::start_with("oidc_provider.mjs", |command| {
        command.env("CALLBACK", callback);
    });
    let Some(provider) = provider else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    if !crate::https::certificate(dir) {
        eprintln!("SKIPPED: there is no openssl that makes certificates");
        return;
    }
    std::fs::create_dir(dir.join("rules")).unwrap();
    std::fs::write(dir.join("oidc.secret"), SECRET).unwrap();
    let more = format!(
        "[http.tls]\nlisten = \"127.0.0.1:{port}\"\ncert_file = \"server.pem\"\nkey_file = \"server.key\"\n\
         [oidc]\nissuer = \"{}\"\n{CONFIDENTIAL}",
        provider.issuer
    );
    std::fs::write(dir.join("onemap.toml"), format!("{CONFIG}{more}")).unwrap();
    let server = Server::start_in(dir);
    invite(&server, "wang", "viewer");
    link(&server, "wang", "sub-wang");
    let (mut used, secret) = set_up(&server, "duty", "operator");
    link(&server, "duty", "sub-duty");
    let ready: Value =
        serde_json::from_str(&std::fs::read_to_string(dir.join("ready.json")).unwrap()).unwrap();
    let https = ready["https"].as_str().unwrap();
    let code = next_code(&secret, &mut used);
    let mut script = Script::new("sso.mjs", &[&code], https, &server.token);
    let said = script.said();
    assert_eq!(said["in"], json!(["wang", "duty"]), "{said}");
    assert_eq!(
        said["cookie"],
        json!({"name": "__Host-onemap_session", "sameSite": "Strict", "secure": true})
    );
    assert!(said["trouble"].as_str().unwrap().contains("未关联"), "{said}");
}

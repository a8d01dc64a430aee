//! Who may ask what: every route of the running server, by every role, of the own and of a foreign division, of the own
//! and of a foreign department, against a table written by hand (`matrix.txt`).

pub mod city;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::server::Server;
use city::{City, DEPARTMENT, Lies, OWN, Things};

const ROLES: [(char, &str); 9] = [
    ('V', "viewer"),
    ('O', "officer"),
    ('P', "operator"),
    ('C', "commander"),
    ('I', "integrator"),
    ('S', "system_admin"),
    ('E', "security_admin"),
    ('A', "audit_admin"),
    ('M', "admin"),
];
/// Members of answers that tell when and up to which record they were made, not what is there.
const OF_THE_MOMENT: [&str; 8] = [
    "now",
    "as_of",
    "position",
    "journal",
    "cursors",
    "timeStamp",
    "disk",
    "cursor",
];

/// A line of the table.
struct Row {
    method: String,
    route: String,
    roles: String,
    how: String,
    path: String,
    body: String,
}

impl Row {
    fn read(line: &str) -> Self {
        let mut rest = line;
        let mut word = || {
            let (word, after) = rest.split_once(' ').unwrap_or((rest, ""));
            rest = after.trim_start();
            word.to_owned()
        };
        let [method, route, roles, how, path] = std::array::from_fn(|_| word());
        let body = rest.replace("\\n", "\n");
        Self {
            method,
            route,
            roles,
            how,
            path,
            body,
        }
    }
    fn allows(&self, letter: char) -> bool {
        self.roles.contains(letter)
    }
    fn is_of_roles(&self) -> bool {
        !matches!(&*self.roles, "open" | "own")
    }
    fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

/// Roles that are also bound to a department of the whole city.
const OF_A_DEPARTMENT: &str = "VOPI";

/// Who asks.
pub struct Asker {
    letter: char,
    division: Option<&'static str>,
    department: Option<&'static str>,
    token: String,
}

impl Asker {
    fn all(server: &Server) -> Vec<Self> {
        let mut all = Vec::new();
        for (letter, role) in ROLES {
            let bounds = [
                (Some(OWN), Some(DEPARTMENT)),
                (None, Some(DEPARTMENT)),
                (Some(OWN), None),
                (None, None),
            ];
            let is_asked = |(division, department): &(Option<_>, Option<_>)| {
                division.is_some() || department.is_none() || OF_A_DEPARTMENT.contains(letter)
            };
            for (division, department) in bounds.into_iter().filter(is_asked) {
                let departments: Vec<&str> = department.into_iter().collect();
                let new =
                    json!({"role": role, "name": role, "division": division, "departments": departments});
                let token = server.post("/api/v1/tokens", &new)["token"]
                    .as_str()
                    .unwrap()
                    .to_owned();
                all.push(Self {
                    letter,
                    division,
                    department,
                    token,
                });
            }
        }
        all
    }
    fn name(&self) -> String {
        let division = self.division.unwrap_or("the city");
        format!(
            "{} of {division} {}",
            self.letter,
            self.department.unwrap_or_default()
        )
    }
    fn is_whole(&self) -> bool {
        self.division.is_none() && self.department.is_none()
    }
    /// Whether things that lie so are his to see.
    fn sees(&self, lies: Lies) -> bool {
        match lies {
            Lies::Own => true,
            Lies::ElsewhereInTheCity => self.division.is_none(),
            Lies::WithAnotherDepartment => self.department.is_none(),
        }
    }
}

/// All that an answer tells but for its date.
#[derive(Clone, PartialEq, Eq)]
struct Answer {
    status: u16,
    heads: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let told = ["content-type", "etag"].map(|name| self.heads.get(name));
        write!(f, "{} {told:?} {}", self.status, self.text())
    }
}

impl Answer {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
    fn is_denied(&self) -> bool {
        self.status == 403 && self.text().contains("does not hold the permission")
    }
    /// Without what is of the moment.
    fn settled(mut self) -> Self {
        if let Ok(mut value) = serde_json::from_slice::<Value>(&self.body) {
            settle(&mut value);
            self.body = value.to_string().into_bytes();
            self.heads.remove("content-length");
        }
        self
    }
    /// Without the name of what was asked for.
    fn masked(mut self, id: &str) -> Self {
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let text = self.text();
        let mut masked = String::new();
        let mut rest = text.as_str();
        while let Some(start) = rest.find(is_part) {
            masked.push_str(&rest[..start]);
            let end = rest[start..]
                .find(|c| !is_part(c))
                .map_or(rest.len(), |n| start + n);
            masked.push_str(if &rest[start..end] == id {
                "§"
            } else {
                &rest[start..end]
            });
            rest = &rest[end..];
        }
        masked.push_str(rest);
        self.body = masked.into_bytes();
        self.heads.remove("content-length");
        self.settled()
    }
}

fn settle(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|key, _| !OF_THE_MOMENT.contains(&&**key));
            members.values_mut().for_each(settle);
        }
        Value::Array(items) => items.iter_mut().for_each(settle),
        _ => {}
    }
}

/// Asks, and counts how often.
struct Matrix {
    city: City,
    rows: Vec<Row>,
    askers: Vec<Asker>,
    n_asked: usize,
    faults: Vec<String>,
}

impl Matrix {
    fn ask(&mut self, row: usize, token: Option<&str>, things: Option<&Things>) -> Answer {
        self.n_asked += 1;
        let row = &self.rows[row];
        let fill = |text: &str| {
            let text = self.city.times(text);
            things.map_or(text.clone(), |things| things.fill(&text))
        };
        let mut request = ureq::http::Request::builder().method(&*row.method).uri(format!(
            "{}{}",
            self.city.server.http,
            fill(&row.path)
        ));
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if !row.body.is_empty() {
            let kind = match row.body.starts_with('{') {
                true => "application/json",
                false if row.route.starts_with("/prometheus") => "application/x-www-form-urlencoded",
                false => "text/csv",
            };
            request = request.header("content-type", kind);
        }
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .accept_encoding("identity")
            .timeout_global(Some(std::time::Duration::from_secs(30)))
            .build()
            .into();
        let mut answer = agent.run(request.body(fill(&row.body)).unwrap()).unwrap();
        let heads = answer.headers().iter().filter(|(name, _)| *name != "date");
        let heads = heads.map(|(name, value)| {
            (
                name.to_string(),
                String::from_utf8_lossy(value.as_bytes()).into_owned(),
            )
        });
        let (status, heads) = (answer.status().as_u16(), heads.collect());
        // A stream has no end: whether it opens is told by its head.
        let body = match row.how == "stream" && status == 200 {
            true => Vec::new(),
            false => answer.body_mut().read_to_vec().unwrap(),
        };
        Answer { status, heads, body }
    }

    fn claim(&mut self, holds: bool, row: usize, asker: &str, what: impl FnOnce() -> String) {
        if !holds {
            let name = self.rows[row].name();
            self.faults.push(format!("{name}, {asker}: {}", what()));
        }
    }

    /// What lists, counts, tiles and the like show now, by row and asker.
    fn shown(&mut self) -> BTreeMap<(usize, usize), Answer> {
        let mut shown = BTreeMap::new();
        for row in 0..self.rows.len() {
            if !matches!(&*self.rows[row].how, "see" | "grows" | "there" | "whole") {
                continue;
            }
            for asker in 0..self.askers.len() {
                if self.rows[row].allows(self.askers[asker].letter) {
                    let token = self.askers[asker].token.clone();
                    shown.insert((row, asker), self.ask(row, Some(&token), None).settled());
                }
            }
        }
        shown
    }

    /// What came to be in another division, or with another department, has changed nothing for who does not see it.
    fn compare(
        &mut self,
        before: &BTreeMap<(usize, usize), Answer>,
        after: &BTreeMap<(usize, usize), Answer>,
        lies: Lies,
    ) {
        for ((row, asker), was) in before {
            let (row, is) = (*row, &after[&(*row, *asker)]);
            let asker = &self.askers[*asker];
            let (name, sees, is_whole) = (asker.name(), asker.sees(lies), asker.is_whole());
            let grows = match (&*self.rows[row].how, lies) {
                ("grows", _) => true,
                ("there", Lies::ElsewhereInTheCity) => true,
                ("whole", _) => is_whole,
                _ => false,
            };
            let told = || format!("{was:?}\nbecame {is:?}").chars().take(4000).collect();
            if !sees {
                self.claim(was == is, row, &name, told);
            } else if grows && (is_whole || was.status == 200) {
                self.claim(was != is, row, &name, || {
                    "nothing shows what came to be".to_owned()
                });
            }
        }
    }

    /// Roles, and that a thing of another division is as one that is not.
    fn roles(&mut self) {
        let [own, elsewhere, others, absent] = self.city.things();
        for row in 0..self.rows.len() {
            let has_thing = matches!(&*self.rows[row].how, "thing" | "last");
            let nobody = self.ask(row, None, Some(&absent));
            let (status, open) = (nobody.status, &self.rows[row].roles);
            let holds = match &**open {
                "open" => status != 401 && status != 403,
                "own" => status >= 400 || nobody.text().contains("FAILURE"),
                _ => status == 401,
            };
            self.claim(holds, row, "nobody", || format!("{status}"));
            if !self.rows[row].is_of_roles() {
                continue;
            }
            for asker in 0..self.askers.len() {
                let asker = &self.askers[asker];
                let (may, token) = (self.rows[row].allows(asker.letter), asker.token.clone());
                let (name, is_whole) = (asker.name(), asker.is_whole());
                let is_foreign = |lies: Lies| !may || !asker.sees(lies);
                let foreign: Vec<&Things> = [
                    (Lies::ElsewhereInTheCity, &elsewhere),
                    (Lies::WithAnotherDepartment, &others),
                ]
                .into_iter()
                .filter(|(lies, _)| is_foreign(*lies))
                .map(|(_, things)| things)
                .chain((!may).then_some(&own))
                .collect();
                let missing = self.ask(row, Some(&token), Some(&absent));
                let told = || format!("{} {}", missing.status, missing.text());
                self.claim(may != missing.is_denied(), row, &name, told);
                self.claim(![401, 405].contains(&missing.status), row, &name, told);
                if self.rows[row].how == "city" && may && !is_whole {
                    self.claim(missing.status == 403, row, &name, told);
                }
                if !has_thing || foreign.is_empty() {
                    continue;
                }
                let kind = Things::named_in(&format!("{} {}", self.rows[row].path, self.rows[row].body));
                let missing = missing.masked(absent.get(kind));
                for thing in foreign.into_iter().filter(|things| things.has(kind)) {
                    let is = self.ask(row, Some(&token), Some(thing)).masked(thing.get(kind));
                    self.claim(is == missing, row, &name, || {
                        let (is, missing) = (format!("{is:?}"), format!("{missing:?}"));
                        let short = |text: String| text.chars().take(2000).collect::<String>();
                        format!("{}\nis not as\n{}", short(is), short(missing))
                    });
                }
            }
        }
    }

    /// An own thing is there for those who may.
    fn own_things(&mut self) {
        let [own, _, _, absent] = self.city.things();
        for how in ["thing", "last"] {
            for row in 0..self.rows.len() {
                if self.rows[row].how != how {
                    continue;
                }
                let of_own = |asker: &&Asker| !asker.is_whole() && self.rows[row].allows(asker.letter);
                let all: Vec<_> = self
                    .askers
                    .iter()
                    .filter(of_own)
                    .map(|a| (a.name(), a.token.clone()))
                    .collect();
                let kind = Things::named_in(&format!("{} {}", self.rows[row].path, self.rows[row].body));
                for (n, (name, token)) in all.iter().enumerate() {
                    let is = self.ask(row, Some(token), Some(&own));
                    let told = format!("{} {}", is.status, is.text());
                    self.claim(!is.is_denied() && is.status != 401, row, name, || told.clone());
                    if how == "last" {
                        self.claim((200..300).contains(&is.status), row, name, || told);
                        break;
                    }
                    if n == 0 {
                        let missing = self.ask(row, Some(token), Some(&absent)).masked(absent.get(kind));
                        let is = is.masked(own.get(kind));
                        self.claim(is != missing, row, name, || {
                            format!("an own thing is as one that is not: {told}")
                        });
                    }
                }
            }
        }
    }
}

#[test]
fn every_route_by_every_role_shows_nothing_of_another_division_or_department() {
    let city = City::new();
    let rows: Vec<Row> = include_str!("matrix.txt")
        .lines()
        .filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
        .map(Row::read)
        .collect();
    // What the running server says that it answers is what stands in the table.
    let described = city.server.get("/api/openapi.json");
    let paths = described["paths"].as_object().unwrap().iter();
    let routes: BTreeSet<_> = paths
        .flat_map(|(path, methods)| {
            let methods = methods.as_object().unwrap().keys();
            methods.map(move |method| (method.to_uppercase(), path.clone()))
        })
        .collect();
    let listed: BTreeSet<_> = rows
        .iter()
        .map(|row| (row.method.clone(), row.route.clone()))
        .collect();
    assert_eq!(routes, listed);

    let askers = Asker::all(&city.server);
    let n_askers = askers.len();
    let mut matrix = Matrix {
        city,
        rows,
        askers,
        n_asked: 0,
        faults: Vec::new(),
    };
    let streams = matrix.city.open_streams(&matrix.askers);
    let mut before = matrix.shown();
    for lies in [Lies::WithAnotherDepartment, Lies::ElsewhereInTheCity] {
        matrix.city.fill(lies);
        let after = matrix.shown();
        matrix.compare(&before, &after, lies);
        before = after;
    }
    let told = matrix.city.hear(streams);
    matrix.faults.extend(told);
    matrix.roles();
    matrix.own_things();
    println!(
        "{} routes x {n_askers} askers in {} rows: {} requests, {} of things of others as of none",
        listed.len(),
        matrix.rows.len(),
        matrix.n_asked,
        matrix
            .rows
            .iter()
            .filter(|row| matches!(&*row.how, "thing" | "last"))
            .count(),
    );
    assert!(
        matrix.faults.is_empty(),
        "{} faults\n{}",
        matrix.faults.len(),
        matrix.faults.join("\n")
    );
}

//! Addresses whose parts people have labelled, against gazetteers made of these parts.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::process::Command;

use onemap_spatial::geocode::{Answer, Asker, Entry, EntryKind, Geocoder, Ground};

use crate::real::{Score, division, is_held_out, shared};

struct Row {
    text: String,
    spans: Vec<(String, String)>,
}

fn rows() -> Option<Vec<Row>> {
    let mut rows = Vec::new();
    for file in ["train", "dev"] {
        let path = shared(&format!("cn-address-parsing/{file}.jsonl.gz"))?;
        let out = Command::new("gzip").arg("-dc").arg(path).output().unwrap();
        assert!(out.status.success(), "gzip is needed to read the corpus");
        for line in String::from_utf8(out.stdout).unwrap().lines() {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            let spans = value["spans"].as_array().unwrap().iter().map(|span| {
                (
                    span[0].as_str().unwrap().to_lowercase(),
                    span[1].as_str().unwrap().to_owned(),
                )
            });
            rows.push(Row {
                text: value["text"].as_str().unwrap().to_owned(),
                spans: spans.collect(),
            });
        }
    }
    Some(rows)
}

const LEVELS: [(&str, usize); 5] = [
    ("prov", 2),
    ("city", 4),
    ("district", 6),
    ("town", 9),
    ("community", 12),
];

/// A name without its class, so that 杭州 and 杭州市 are one.
fn stem(name: &str) -> String {
    let n = name.chars().count();
    let name = name.strip_suffix("办事处").unwrap_or(name);
    let less = name.trim_end_matches(['省', '市', '区', '县', '镇', '乡']);
    let less = less.strip_suffix("街道").unwrap_or(less);
    if less.chars().count() >= 2 && n > 2 {
        less.to_owned()
    } else {
        name.to_owned()
    }
}

/// Divisions and named things of labelled rows; codes are made up.
#[derive(Default)]
struct Labelled {
    /// By level and stem: code digits. One of a name is enough: where rows disagree, the first counts.
    divisions: HashMap<(usize, String), String>,
    names: HashMap<String, String>,
    children: HashMap<String, usize>,
    things: BTreeMap<(String, bool, String), String>,
}

fn is_name(label: &str, text: &str) -> bool {
    let letters = text
        .chars()
        .filter(|c| c.is_alphabetic() && !c.is_ascii())
        .count();
    let counted = text.ends_with(['组', '号', '社', '队', '栋', '幢', '楼']) && text.chars().count() <= 4;
    matches!(label, "road" | "subroad" | "poi" | "subpoi") && letters >= 2 && !counted && letters <= 30
}

impl Labelled {
    fn of<'a>(rows: impl Iterator<Item = &'a Row> + Clone) -> Self {
        let mut made = Self::default();
        // Rows that name most levels first, so that a town finds its district.
        let n_levels = |row: &Row| {
            LEVELS
                .iter()
                .filter(|(l, _)| row.spans.iter().any(|(label, _)| label == l))
                .count()
        };
        let mut sorted: Vec<&Row> = rows.collect();
        sorted.sort_by_key(|row| std::cmp::Reverse(n_levels(row)));
        for row in sorted {
            let code = made.place(row, true);
            for (label, text) in &row.spans {
                if is_name(label, text) {
                    let district: String = code.chars().take(6).collect();
                    let next = format!("T{}", made.things.len());
                    made.things
                        .entry((text.clone(), label.ends_with("road"), district))
                        .or_insert(next);
                }
            }
        }
        made
    }

    /// Digits of the deepest division of a row; makes those that are new.
    fn place(&mut self, row: &Row, make: bool) -> String {
        let mut code = String::new();
        for (label, digits) in LEVELS {
            let Some((_, name)) = row.spans.iter().find(|(l, _)| l == label) else {
                continue;
            };
            let key = (digits, stem(name));
            // A community is one of its town; the other levels are found by name alone when nothing is above them.
            let fits = |known: &&String| digits < 9 || code.is_empty() || known.starts_with(&code);
            if let Some(known) = self.divisions.get(&key).filter(fits) {
                code = known.clone();
                continue;
            }
            if !make {
                break;
            }
            let mut parent = code.clone();
            for (_, at) in LEVELS.iter().filter(|(_, at)| *at < digits && *at > code.len()) {
                let width = at - parent.len();
                parent.push_str(&"9".repeat(width));
            }
            let width = digits - parent.len();
            let n = self.children.entry(parent.clone()).or_insert(0);
            *n += 1;
            if *n >= 10usize.pow(width as u32) - 1 {
                break;
            }
            code = format!("{parent}{n:0width$}");
            self.divisions.insert(key, code.clone());
            let names = self.names.entry(code.clone()).or_default();
            names.clone_from(name);
        }
        code
    }

    fn geocoder(&self) -> Geocoder {
        let whole = |digits: &str| {
            let n = if digits.len() <= 6 { 6 } else { digits.len() };
            format!("{digits:0<n$}")
        };
        let divisions = self.names.iter().map(|(digits, name)| Entry {
            stated_m: 0.0,
            held: true,
            code: whole(digits).into(),
            name: name.clone(),
            aliases: vec![],
            kind: EntryKind::Division,
            division: division(&whole(digits)),
            ground: Ground::Nowhere,
        });
        let mut divisions: Vec<_> = divisions.collect();
        divisions.sort_by(|a, b| a.code.cmp(&b.code));
        let things = self.things.iter().map(|((name, is_road, district), code)| Entry {
            stated_m: 0.0,
            held: true,
            code: code.as_str().into(),
            name: name.clone(),
            aliases: vec![],
            kind: if *is_road {
                EntryKind::Road
            } else {
                EntryKind::Place
            },
            division: (district.len() == 6).then(|| division(district)).flatten(),
            ground: Ground::Nowhere,
        });
        Geocoder::new(divisions.into_iter().chain(things), [])
    }

    /// Names of the row that this gazetteer has, and how deep its divisions are known.
    fn known(&self, row: &Row) -> HashSet<String> {
        let has = |text: &String| self.things.keys().any(|(name, ..)| name == text);
        row.spans
            .iter()
            .filter(|(l, t)| is_name(l, t) && has(t))
            .map(|(_, t)| t.clone())
            .collect()
    }
}

/// The names that were answered: the thing, or of an ambiguous answer the first.
fn said(answer: &Answer) -> &str {
    answer
        .alternatives
        .first()
        .filter(|_| answer.ambiguous)
        .map_or(&answer.name, |a| &a.name)
}

/// What is answered is one of the row's own names or divisions.
fn is_true(row: &Row, answer: &Answer) -> bool {
    let name = said(answer);
    let divisions = LEVELS.iter().map(|(label, _)| *label);
    let of_division = row.spans.iter().any(|(l, t)| {
        (divisions.clone().any(|d| d == l) || l == "devzone" || l == "redundant") && stem(t) == stem(name)
    });
    of_division || row.spans.iter().any(|(_, t)| t == name) || row.text.contains(name)
}

#[test]
fn labelled_addresses_find_their_deepest_known_name() {
    let Some(rows) = rows() else { return };
    let all = Labelled::of(rows.iter());
    let geocoder = all.geocoder();
    let mut score = Score::default();
    for row in &rows {
        let Ok(answer) = geocoder.geocode(&row.text, &Asker::default()) else {
            continue;
        };
        let names: Vec<&String> = row
            .spans
            .iter()
            .filter(|(l, t)| is_name(l, t))
            .map(|(_, t)| t)
            .collect();
        let right = if names.is_empty() {
            is_true(row, &answer)
        } else {
            names.iter().any(|n| *n == said(&answer))
        };
        score.count_as(
            is_held_out(&row.text),
            &row.text,
            &answer,
            right,
            right || is_true(row, &answer),
        );
    }
    let (right, wrong) = score.print("labelled addresses, every name known");
    assert!(right >= 95.0 && wrong <= 1.0);
}

#[test]
fn names_that_are_not_held_are_not_guessed() {
    let Some(rows) = rows() else { return };
    let tuning: Vec<&Row> = rows.iter().filter(|row| !is_held_out(&row.text)).collect();
    let mut score = Score::default();
    let mut far = [0usize; 2];
    // For the held-out half the gazetteer is the tuning half; for the tuning half it is one half of that.
    let is_second = |row: &Row| is_held_out(&format!("second {}", row.text));
    for held_out in [false, true] {
        let known = Labelled::of(tuning.iter().copied().filter(|row| held_out || !is_second(row)));
        let geocoder = known.geocoder();
        for row in rows
            .iter()
            .filter(|row| is_held_out(&row.text) == held_out && (held_out || is_second(row)))
        {
            let Ok(answer) = geocoder.geocode(&row.text, &Asker::default()) else {
                continue;
            };
            let names = known.known(row);
            far[usize::from(held_out)] += usize::from(names.is_empty());
            let right = if names.is_empty() {
                is_true(row, &answer) || answer.name.is_empty()
            } else {
                names.contains(said(&answer))
            };
            score.count_as(held_out, &row.text, &answer, right, is_true(row, &answer));
        }
    }
    println!(
        "rows of which no road or place is known: {} and {}",
        far[0], far[1]
    );
    let (_, wrong) = score.print("labelled addresses, names of the other half only");
    assert!(wrong <= 1.0, "{wrong:.2} % of the sure answers are wrong");
}

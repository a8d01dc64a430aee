//! Real names and addresses: the split of docs/geocoding.md, both halves printed.
//!
//! The data lies beside the repository and is no part of it; without it these tests say so and end.

use std::fs;
use std::path::PathBuf;

use onemap_model::DivisionCode;
use onemap_spatial::geocode::{Answer, Asker, Entry, EntryKind, Geocoder, Ground, Level, base_entries};

use crate::city::mix;

/// The folder of test data, when it is there.
pub(crate) fn shared(file: &str) -> Option<PathBuf> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let of_environment = std::env::var_os("ONEMAP_SHARED").map(PathBuf::from);
    let candidates = of_environment.into_iter().chain([root.join("shared")]);
    let found = candidates
        .map(|dir| dir.join("data").join(file))
        .find(|path| path.exists());
    if found.is_none() {
        println!("SKIPPED: ../shared/data/{file} is not there (ONEMAP_SHARED names the folder)");
    }
    found
}

/// Whether a row is held out (docs/geocoding.md).
pub(crate) fn is_held_out(key: &str) -> bool {
    let hash = key.bytes().fold(0xcbf2_9ce4_8422_2325u64, |h, b| {
        (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3)
    });
    mix(hash) & 1 == 1
}

/// Rows of a CSV file by the names of its columns.
pub(crate) struct Rows {
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Rows {
    pub(crate) fn read(path: PathBuf) -> Self {
        let text = fs::read_to_string(path).unwrap();
        let mut lines = text.trim_start_matches('\u{feff}').lines().map(fields);
        let columns = lines.next().unwrap();
        Self {
            columns,
            rows: lines.collect(),
        }
    }
    pub(crate) fn each<'a>(&'a self) -> impl Iterator<Item = impl Fn(&'static str) -> &'a str + 'a> + 'a {
        self.rows.iter().map(move |row| {
            move |column: &'static str| {
                let i = self.columns.iter().position(|c| c == column).unwrap();
                row.get(i).map_or("", String::as_str)
            }
        })
    }
}

fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            c => fields.last_mut().unwrap().push(c),
        }
    }
    fields
}

/// Right answers, all answers, and answers that were called sure and are wrong, by half.
#[derive(Default)]
pub(crate) struct Score {
    halves: [[usize; 4]; 2],
}

impl Score {
    pub(crate) fn count(&mut self, held_out: bool, text: &str, answer: &Answer, right: bool) {
        self.count_as(held_out, text, answer, right, right);
    }
    /// `right` is what is asked for; `true_to` whether what was answered is true, however far it goes.
    pub(crate) fn count_as(
        &mut self,
        held_out: bool,
        text: &str,
        answer: &Answer,
        right: bool,
        true_to: bool,
    ) {
        let half = &mut self.halves[usize::from(held_out)];
        half[0] += 1;
        half[1] += usize::from(right);
        half[2] += usize::from(answer.confidence >= 0.8);
        half[3] += usize::from(answer.confidence >= 0.8 && !true_to);
        let show = std::env::var("ONEMAP_SHOW").unwrap_or_default();
        // The held-out half is counted and never shown.
        if !held_out
            && (!right && show.contains("wrong")
                || !true_to && answer.confidence >= 0.8 && show.contains("sure"))
        {
            println!(
                "   {text} -> {} {} {:.2} {:?} ignored {:?} alternatives {:?}",
                answer.level.name(),
                answer.address,
                answer.confidence,
                answer.because,
                answer.ignored,
                answer
                    .alternatives
                    .iter()
                    .map(|a| (&a.name, a.division.as_ref()))
                    .take(3)
                    .collect::<Vec<_>>()
            );
        }
    }
    /// Prints both halves; shares right and sure-but-wrong of the held-out half, in percent.
    pub(crate) fn print(&self, what: &str) -> (f64, f64) {
        let share = |n: usize, of: usize| {
            if of == 0 {
                0.0
            } else {
                100.0 * n as f64 / of as f64
            }
        };
        let line = |half: &[usize; 4]| {
            let [n, right, sure, bad] = *half;
            (
                share(right, n),
                share(bad, sure),
                format!(
                    "{right}/{n} = {:.1} % right, {bad}/{sure} sure and wrong",
                    share(right, n)
                ),
            )
        };
        let [tuned, held_out] = self.halves.each_ref().map(line);
        println!("{what}: tuning half {}; held-out half {}", tuned.2, held_out.2);
        (held_out.0, held_out.1)
    }
}

pub(crate) fn division(code: &str) -> Option<DivisionCode> {
    DivisionCode::new(code).ok()
}

fn places() -> Option<Rows> {
    shared("xining-places/places.csv").map(Rows::read)
}

fn xining(places: &Rows) -> Geocoder {
    let entries = places.each().map(|row| Entry {
        stated_m: 0.0,
        held: true,
        code: row("id").into(),
        name: row("name").to_owned(),
        aliases: row("alt_names")
            .split(';')
            .filter(|a| !a.is_empty())
            .map(str::to_owned)
            .collect(),
        kind: EntryKind::Place,
        division: division(row("district_code")),
        ground: Ground::Point {
            at: [
                row("lon_wgs84").parse().unwrap(),
                row("lat_wgs84").parse().unwrap(),
            ],
            precision_m: row("precision_m").parse().unwrap(),
        },
    });
    let entries: Vec<_> = entries.collect();
    Geocoder::new(base_entries().into_iter().chain(entries), [])
}

/// The answer, or of an ambiguous one any of its alternatives, is a thing of this code.
fn means(answer: &Answer, code: &str) -> bool {
    answer.code.as_deref() == Some(code)
        || (answer.ambiguous && answer.alternatives.iter().any(|a| &*a.code == code))
}

#[test]
fn places_come_first_by_their_names() {
    let Some(places) = places() else { return };
    let geocoder = xining(&places);
    let ask = |text: &str| geocoder.geocode(text, &Asker::default()).unwrap();
    let (mut alone, mut behind, mut aliased) = (Score::default(), Score::default(), Score::default());
    for row in places.each() {
        let (id, name, district) = (row("id"), row("name"), row("district_name"));
        // Namesakes less than a kilometre apart are one answer; the name of a division is the division.
        let right = |answer: &Answer, name: &str| {
            let plain = |name: &str| name.replace('廿', "二十").replace("村委会", "村");
            let said = plain(&answer.division_name);
            let of_division = answer.level <= Level::Community
                && (plain(name).contains(&plain(&answer.name)) || said.contains(&plain(name)));
            means(answer, id) || answer.name == name || of_division
        };
        let answer = ask(name);
        alone.count(is_held_out(id), name, &answer, right(&answer, name));
        if !district.is_empty() {
            let text = format!("西宁市{district}{name}");
            let answer = ask(&text);
            behind.count(is_held_out(id), &text, &answer, right(&answer, name));
        }
        for alias in row("alt_names").split(';').filter(|a| a.chars().count() >= 2) {
            let answer = ask(alias);
            let same = places.each().any(|other| {
                means(&answer, other("id"))
                    && other("alt_names")
                        .split(';')
                        .chain([other("name")])
                        .any(|n| n == alias)
            });
            let of_division = answer.level <= Level::Community && answer.level > Level::Unknown;
            aliased.count(is_held_out(id), alias, &answer, same || of_division);
        }
    }
    for (score, what) in [
        (alone, "names alone"),
        (behind, "names behind their district"),
        (aliased, "other names"),
    ] {
        let (right, wrong) = score.print(what);
        // One of so few is more than 1 %.
        assert!(
            right >= 95.0 && wrong <= 2.5,
            "{what}: {right:.1} % right, {wrong:.1} % of the sure ones wrong"
        );
    }
}

#[test]
fn the_true_districts_of_addresses_come_out() {
    let (Some(places), Some(path)) = (places(), shared("xining-places/addresses.csv")) else {
        return;
    };
    let geocoder = xining(&places);
    let mut score = Score::default();
    for row in Rows::read(path).each() {
        let (name, address, truth) = (row("name"), row("address"), row("district_truth"));
        for text in [
            address.to_owned(),
            format!("{name} {address}"),
            format!("{address}{name}"),
        ] {
            let answer = geocoder.geocode(&text, &Asker::default()).unwrap();
            let short = |name: &str| name.trim_end_matches(['区', '县']).to_owned();
            let right = answer.division_name.contains(truth) || answer.division_name.contains(&short(truth));
            score.count(is_held_out(&format!("{name}|{address}")), &text, &answer, right);
        }
    }
    let (right, wrong) = score.print("districts of addresses");
    assert!(right >= 100.0 && wrong <= 1.0);
}

#[test]
fn villages_come_first_behind_their_towns() {
    let Some(path) = shared("xining-admin/villages.csv") else {
        return;
    };
    let geocoder = Geocoder::new(base_entries(), []);
    let districts = base_entries();
    let (mut official, mut short) = (Score::default(), Score::default());
    for row in Rows::read(path).each() {
        let code = row("code12");
        let district = districts
            .iter()
            .find(|e| &*e.code == row("district_code"))
            .map_or("", |e| &e.name);
        let text = format!("{district}{}{}", row("township_name"), row("name"));
        let answer = geocoder.geocode(&text, &Asker::default()).unwrap();
        official.count(
            is_held_out(code),
            &text,
            &answer,
            answer.code.as_deref() == Some(code),
        );
        let text = format!("{district}{}{}", row("township_name"), row("short_name"));
        let answer = geocoder.geocode(&text, &Asker::default()).unwrap();
        short.count(
            is_held_out(code),
            &text,
            &answer,
            answer.code.as_deref() == Some(code),
        );
    }
    for (score, what) in [
        (official, "villages, official names"),
        (short, "villages, short names"),
    ] {
        let (right, wrong) = score.print(what);
        assert!(right >= 95.0 && wrong <= 1.0, "{what}");
    }
}

#[test]
fn districts_named_in_addresses_of_the_whole_country_come_out() {
    let (Some(seats), Some(path)) = (
        shared("cn-places/county_seats_qweather.csv"),
        shared("cn-addresses/address_coord.csv"),
    ) else {
        return;
    };
    let seats = Rows::read(seats);
    let counties = seats
        .each()
        .filter(|row| row("adcode").len() == 6)
        .map(|row| Entry {
            stated_m: 0.0,
            held: true,
            code: row("adcode").into(),
            name: row("name").to_owned(),
            aliases: vec![],
            kind: EntryKind::Division,
            division: division(row("adcode")),
            ground: Ground::Nowhere,
        });
    let counties: Vec<_> = counties.collect();
    let provinces = base_entries().into_iter().filter(|e| e.code.ends_with("0000"));
    let geocoder = Geocoder::new(provinces.chain(counties), []);
    let mut score = Score::default();
    for row in Rows::read(path)
        .each()
        .filter(|row| row("district_consistent") == "1")
    {
        let (address, named) = (row("address"), row("district_in_address"));
        // Test input that is no address, or a district that the list does not have, is counted all the same.
        let Ok(answer) = geocoder.geocode(address, &Asker::default()) else {
            continue;
        };
        let stem = |name: &str| name.trim_end_matches(['区', '县', '市', '旗']).to_owned();
        let right = answer.level == Level::District && stem(&answer.name) == stem(named);
        let in_city = row("province").starts_with(&answer.name) || row("city").starts_with(&answer.name);
        let true_to = right || (answer.level < Level::District && in_city);
        score.count_as(is_held_out(row("id")), address, &answer, right, true_to);
    }
    let (right, wrong) = score.print("districts named in addresses of the country");
    assert!(right >= 95.0 && wrong <= 1.0);
}

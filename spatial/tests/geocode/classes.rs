//! Every class of question is answered at least as well as the prototype did, and what is wrong is not called sure.

use std::time::Instant;

use onemap_spatial::geocode::{Answer, Asker};

use crate::city::{City, Dice, metres};
use crate::queries::{CLASSES, Query, Sounds, of_class};

const N_PER_CLASS: usize = 1_000;

/// What counts as the answer: of an ambiguous one its first alternative.
fn first(answer: &Answer) -> (String, Option<String>, Option<[f64; 2]>) {
    let district = |d: Option<&onemap_model::DivisionCode>| d.map(|d| d.as_str().chars().take(6).collect());
    match answer.alternatives.first().filter(|_| answer.ambiguous) {
        Some(first) => (
            first.name.clone(),
            district(first.division.as_ref()),
            first.position,
        ),
        None => (
            answer.name.clone(),
            district(answer.division.as_ref()),
            answer.position,
        ),
    }
}

fn is_right(query: &Query, answer: &Answer) -> bool {
    let (name, district, _) = first(answer);
    name == query.name && (query.any || district.as_deref() == Some(query.district))
}

#[test]
fn every_class_is_at_least_as_good_as_the_prototype() {
    let city = City::new(6301);
    let geocoder = city.geocoder();
    let mut names = String::new();
    for name in city
        .roads
        .iter()
        .map(|r| &r.name)
        .chain(city.places.iter().map(|p| &p.name))
    {
        names.push_str(name);
    }
    let sounds = Sounds::of_names(&names);
    let mut dice = Dice(11);
    let (mut faults, mut n_sure, mut n_sure_and_wrong) = (Vec::new(), 0, 0);
    println!(
        "{:24} {:>6} {:>6} {:>8} | right, prototype | ambiguous, sure and wrong",
        "class", "<=30m", "<=100m", "median"
    );
    for (class, bar) in CLASSES {
        let queries = of_class(class, N_PER_CLASS, &city, &sounds, &mut dice);
        let (mut right, mut ambiguous, mut bad) = (0, 0, 0);
        let mut off: Vec<f64> = Vec::new();
        for query in &queries {
            let answer = geocoder.geocode(&query.text, &Asker::default()).unwrap();
            let good = is_right(query, &answer);
            right += usize::from(good);
            ambiguous += usize::from(answer.ambiguous);
            n_sure += usize::from(answer.confidence >= 0.8);
            if !good && answer.confidence >= 0.8 {
                bad += 1;
            }
            if !good && std::env::var("ONEMAP_SHOW").is_ok_and(|show| class.starts_with(&show)) {
                println!(
                    "   {} -> {:?} {} {:.2} {:?} {:?}",
                    query.text,
                    answer.level,
                    answer.address,
                    answer.confidence,
                    answer.because,
                    answer.ignored
                );
            }
            let at = first(&answer).2;
            let mut away = at.map_or(f64::INFINITY, |at| metres(at, query.at));
            if query.any
                && let Some(at) = at
            {
                let same = city.places.iter().filter(|place| place.name == query.name);
                away = same.map(|place| metres(at, place.at)).fold(away, f64::min);
            }
            off.push(away);
        }
        n_sure_and_wrong += bad;
        off.sort_by(f64::total_cmp);
        let percent = |n: usize| 100.0 * n as f64 / queries.len() as f64;
        let within = |m: f64| percent(off.iter().filter(|d| **d <= m).count());
        let share = percent(right);
        println!(
            "{class:24} {:>5.1}% {:>5.1}% {:>7.1}m | {share:>5.1} {bar:>5.1} | {ambiguous} {bad}",
            within(30.0),
            within(100.0),
            off[off.len() / 2]
        );
        if share + 1e-9 < bar {
            faults.push(format!("{class}: {share:.1} % right, at least {bar} %"));
        }
    }
    let wrong = 100.0 * n_sure_and_wrong as f64 / n_sure as f64;
    println!("sure (>= 0.8) {n_sure}, of them wrong {n_sure_and_wrong}: {wrong:.2} %");
    assert!(faults.is_empty(), "{faults:#?}");
    assert!(wrong <= 1.0, "{wrong:.2} % of the sure answers are wrong");
}

#[test]
fn hostile_texts_are_answered_in_bounded_time() {
    let geocoder = City::new(6301).geocoder();
    let ask = |text: &str| {
        let from = Instant::now();
        let answer = geocoder.geocode(text, &Asker::default());
        (answer, from.elapsed())
    };
    let longest = onemap_spatial::geocode::MAX_CHARS;
    let dense: String = "城东区昆仑路".chars().cycle().take(longest).collect();
    for text in [
        "1".repeat(longest),
        "路".repeat(longest),
        "西宁".repeat(longest / 2),
        "金华".repeat(longest / 2),
        "1-".repeat(longest / 2),
        "零一".repeat(longest / 2),
        "🚚".repeat(longest),
        "a".repeat(longest),
        dense,
    ] {
        let (answer, took) = ask(&text);
        let answer = answer.unwrap();
        assert!(answer.confidence < 0.8, "{text:.20}: {answer:?}");
        assert!(took.as_millis() < 500, "{text:.20}: {took:?}");
    }
    assert_eq!(ask(&"西".repeat(10_000)).0.unwrap_err().code(), "too_long");
    assert_eq!(ask("西宁\u{7}").0.unwrap_err().code(), "control_character");
    assert_eq!(ask("  ").0.unwrap_err().code(), "empty");
    assert_eq!(ask("20261126").0.unwrap().level.name(), "unknown");
}

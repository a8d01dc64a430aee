//! How fast addresses are read, on the made-up city of the tests: `cargo run --release -p onemap-spatial --example geocode_speed`.

#[path = "../tests/geocode/city.rs"]
mod city;
#[path = "../tests/geocode/queries.rs"]
mod queries;

use std::time::Instant;

use onemap_model::Position;
use onemap_spatial::geocode::{Asker, base_entries};

fn main() {
    let city = city::City::new(6301);
    let from = Instant::now();
    let geocoder = city.geocoder();
    println!(
        "{} divisions, {} things, {} spellings, {} doors: built in {:.2} s",
        base_entries().len(),
        geocoder.size()[0],
        geocoder.size()[1],
        geocoder.size()[2],
        from.elapsed().as_secs_f64()
    );
    let mut names = String::new();
    for name in city
        .roads
        .iter()
        .map(|r| &r.name)
        .chain(city.places.iter().map(|p| &p.name))
    {
        names.push_str(name);
    }
    let sounds = queries::Sounds::of_names(&names);
    let mut dice = city::Dice(11);
    let mut all = Vec::new();
    for (class, _) in queries::CLASSES {
        all.extend(queries::of_class(class, 1_000, &city, &sounds, &mut dice));
    }
    let asker = Asker::default();
    let run = |what: &str, ask: &mut dyn FnMut(&queries::Query)| {
        for query in all.iter().step_by(11) {
            ask(query);
        }
        let mut took: Vec<u64> = Vec::with_capacity(all.len());
        let from = Instant::now();
        // In an order that mixes the classes.
        for i in 0..all.len() {
            let query = &all[i * 997 % all.len()];
            let from = Instant::now();
            ask(query);
            took.push(from.elapsed().as_nanos() as u64);
        }
        let whole = from.elapsed().as_secs_f64();
        took.sort_unstable();
        let at = |part: f64| took[((took.len() - 1) as f64 * part) as usize] as f64 / 1e3;
        println!(
            "{what:12} {:>8.0}/s  p50 {:>6.1} us  p95 {:>6.1} us  p99 {:>6.1} us  longest {:>7.1} us",
            took.len() as f64 / whole,
            at(0.5),
            at(0.95),
            at(0.99),
            at(1.0)
        );
    };
    run("geocode", &mut |query| {
        std::hint::black_box(geocoder.geocode(&query.text, &asker).ok());
    });
    run("suggest", &mut |query| {
        let typed: String = query.name.chars().take(3).collect();
        std::hint::black_box(geocoder.suggest(&typed, &asker, 10).ok());
    });
    run("reverse", &mut |query| {
        let here = Position::new(query.at[0], query.at[1], None).expect("the city lies on the globe");
        std::hint::black_box(geocoder.reverse(&here, &[], &asker));
    });
}

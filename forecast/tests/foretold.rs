//! Rain forecasts of others as an input: what they add, and what is left when they stop.

#![allow(clippy::unwrap_used)]

use onemap_forecast::backtest::test;
use onemap_forecast::conformal::Steps;
use onemap_forecast::learn::Options;
use onemap_forecast::model::Model;
use onemap_forecast::series::{Aligned, Amounts, Foretold, Kind, Series};

const HOUR_MS: i64 = 3_600_000;
const N: usize = 6_000;
const N_TRAIN: usize = 4_000;
/// Steps between two forecasts; steps that each reaches.
const EVERY: usize = 3;
const REACH: usize = 12;

/// Evenly spread over `[0, 1)`; the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Rain and the level of a stream behind it, hourly.
fn stream(dice: &mut Dice) -> (Vec<f64>, Vec<f64>) {
    let mut rain = vec![0.0; N];
    let mut at = 0;
    loop {
        at += 20 + (dice.roll() * 80.0) as usize;
        let (length, depth) = (2 + (dice.roll() * 8.0) as usize, 2.0 + 25.0 * dice.roll().powi(3));
        if at + length >= N {
            break;
        }
        rain[at..at + length]
            .iter_mut()
            .for_each(|mm| *mm = depth / length as f64 * 2.0 * dice.roll());
    }
    let (mut wet, mut fast, mut slow) = (0.0, 0.0, 0.0);
    let level = rain.iter().map(|mm| {
        wet = 0.95 * wet + mm;
        fast += mm * (0.2 + 0.01 * wet) - fast / 4.0;
        slow += fast / 4.0 - slow / 9.0;
        0.6 + 0.1 * slow + 0.002 * dice.roll()
    });
    let level = level.collect();
    (rain, level)
}

/// What somebody foresaw of the rain every few hours: too much or too little by a third, sometimes rain where none comes.
fn foreseen(rain: &[f64], dice: &mut Dice, until: usize) -> Foretold {
    let forecasts = (0..until).step_by(EVERY).map(|at| {
        let (factor, false_mm) = (
            0.67 + 0.66 * dice.roll(),
            if dice.roll() < 0.02 { 2.0 } else { 0.0 },
        );
        let amounts =
            (at + 1..=at + REACH).map(|step| rain.get(step).map_or(0.0, |mm| factor * mm + false_mm));
        Amounts {
            known_from: at as i64,
            known_until: (at + 24) as i64,
            first: at as i64 + 1,
            amounts: amounts.collect(),
        }
    });
    Foretold::new(N, forecasts.collect::<Vec<_>>())
}

fn series(name: &str, kind: Kind, values: Vec<f64>, foretold: Foretold) -> Series {
    Series {
        name: name.to_owned(),
        kind,
        values,
        foretold,
    }
}

/// Level, rain, what was foreseen of it up to a step.
fn river(until: usize) -> Aligned {
    let mut dice = Dice(7);
    let (rain, level) = stream(&mut dice);
    let foretold = foreseen(&rain, &mut dice, until);
    Aligned {
        start_ms: 0,
        step_ms: HOUR_MS,
        series: vec![
            series("level", Kind::State, level, Foretold::default()),
            series("rain", Kind::Amount, rain, Foretold::default()),
            series("bureau", Kind::Foretold, vec![f64::NAN; N], foretold),
        ],
    }
}

fn trained(aligned: &Aligned) -> Model {
    let options = Options {
        with_trees: false,
        ..Options::default()
    };
    Model::train(aligned, N_TRAIN, &[3, 6], &[vec![0, 1]], &options)
}

#[test]
fn a_rain_forecast_adds_skill_where_the_water_has_not_fallen_yet() {
    let with = river(N);
    let mut without = with.clone();
    without.series.truncate(2);
    let skill = |aligned: &Aligned| -> Vec<f64> {
        let found = test(trained(aligned), aligned, N_TRAIN);
        found.horizons.iter().map(|of| of.scores.skill.unwrap()).collect()
    };
    let (with, without) = (skill(&with), skill(&without));
    assert!(with[1] > without[1] + 0.1, "{with:?} {without:?}");
    assert!(with[0] > without[0], "{with:?} {without:?}");
}

#[test]
fn when_no_forecast_comes_any_more_the_model_goes_on_without() {
    let ends = 5_000;
    let aligned = river(ends);
    let model = trained(&aligned);
    let sight = model.sight(&aligned);
    let tier = |origin: usize| model.issue(&sight, 1, origin, &Steps::default()).unwrap().tier;
    let n_inputs = |tier: usize| model.horizons[1].tiers[tier].layout.channels.len();
    assert_eq!(n_inputs(tier(ends - 10)), 3);
    // The last one reaches some hours; what it does not reach is not asked of it.
    assert_eq!(n_inputs(tier(ends + 2)), 3);
    assert_eq!(n_inputs(tier(ends + 8)), 2);
    let parts = model.explain(&sight, 1, ends - 10);
    assert!(parts.iter().any(|part| part.input == "bureau"), "{parts:?}");
    let parts = model.explain(&sight, 1, ends + 8);
    assert!(parts.iter().all(|part| part.input != "bureau"), "{parts:?}");
}

#[test]
fn a_forecast_that_came_for_the_last_weeks_alone_is_not_learned_from() {
    let mut aligned = river(N);
    let mut dice = Dice(9);
    let late = foreseen(&aligned.series[1].values, &mut dice, 500);
    aligned.series[2].foretold = late;
    let model = trained(&aligned);
    assert!(
        model.horizons[0]
            .tiers
            .iter()
            .all(|tier| !tier.layout.channels.contains(&2))
    );
}

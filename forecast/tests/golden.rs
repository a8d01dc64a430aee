//! The models equal those of numpy, scipy and scikit-learn (tests/reference/golden.py writes golden.json).

use onemap_forecast::baseline::DampedTrend;
use onemap_forecast::blend::Blend;
use onemap_forecast::ridge::Moments;
use onemap_forecast::score::quantile_of;
use onemap_forecast::trees::{Binned, Loss, Options, Trees};
use serde_json::Value;

fn golden() -> Value {
    serde_json::from_str(include_str!("reference/golden.json")).expect("golden.json is JSON")
}

fn numbers(value: &Value) -> Vec<f64> {
    value
        .as_array()
        .expect("a list")
        .iter()
        .map(|v| v.as_f64().expect("a number"))
        .collect()
}

fn assert_near(own: &[f64], other: &[f64], tolerance: f64, what: &str) {
    assert_eq!(own.len(), other.len(), "{what}");
    for (at, (a, b)) in own.iter().zip(other).enumerate() {
        assert!((a - b).abs() <= tolerance, "{what} {at}: {a} and {b}");
    }
}

#[test]
fn ridges_equal_those_of_scikit_learn() {
    let golden = golden();
    let (x, y, w) = (
        numbers(&golden["x"]),
        numbers(&golden["y"]),
        numbers(&golden["w"]),
    );
    let mut moments = Moments::new(4);
    moments.add(x.chunks_exact(4).zip(&y).zip(&w).map(|((x, y), w)| (x, *y, *w)));
    for case in golden["ridges"].as_array().expect("ridges") {
        let ridge = moments
            .solve(case["penalty"].as_f64().expect("a penalty"))
            .expect("it can be solved");
        assert_near(&ridge.slopes, &numbers(&case["slopes"]), 1e-8, "slopes");
        assert_near(
            &[ridge.intercept],
            &[case["intercept"].as_f64().expect("an intercept")],
            1e-8,
            "intercept",
        );
    }
}

#[test]
fn boosted_trees_equal_those_of_scikit_learn() {
    let golden = golden();
    let (x, y) = (numbers(&golden["x"]), numbers(&golden["y"]));
    let table = Binned::new(&x, 4);
    let rows: Vec<u32> = (0..y.len() as u32).collect();
    for case in golden["trees"].as_array().expect("trees") {
        let loss = match case["loss"].as_str() {
            Some("squared") => Loss::Squared,
            _ => Loss::Quantile(0.5),
        };
        let options = Options {
            loss,
            n_trees: 25,
            rate: 0.1,
            max_leaves: 8,
            min_rows: 20,
            ..Options::default()
        };
        let trees = Trees::fit(&table, &y, &vec![1.0; y.len()], &rows, &options);
        let own: Vec<f64> = x.chunks_exact(4).map(|x| trees.at(x)).collect();
        // Gradients are of single precision there.
        assert_near(
            &own,
            &numbers(&case["values"]),
            2e-5,
            case["loss"].as_str().unwrap_or_default(),
        );
    }
}

#[test]
fn blends_damped_trends_and_quantiles_equal_those_of_scipy_and_numpy() {
    let golden = golden();
    let y = numbers(&golden["y"]);
    let blend = Blend::squares(&numbers(&golden["blend"]["candidates"]), 3, &y, |_| 1.0);
    assert_near(
        &blend.weights,
        &numbers(&golden["blend"]["weights"]),
        1e-6,
        "weights",
    );
    let trend = DampedTrend {
        level: 0.9,
        trend: 0.3,
        damping: 0.8,
    };
    let changes = trend.changes(&numbers(&golden["damped"]["series"]), 3);
    assert_near(&changes, &numbers(&golden["damped"]["changes"]), 1e-8, "changes");
    let mut sorted = numbers(&golden["quantiles"]["of"]);
    sorted.sort_unstable_by(f64::total_cmp);
    let own: Vec<f64> = numbers(&golden["quantiles"]["levels"])
        .iter()
        .map(|q| quantile_of(&sorted, *q))
        .collect();
    assert_near(&own, &numbers(&golden["quantiles"]["values"]), 1e-9, "quantiles");
}

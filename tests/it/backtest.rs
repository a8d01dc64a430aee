//! `onemap forecast backtest`: on a river that is made here, on bad files, and on a real one when it is there.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::server::binary;

fn backtest(file: &Path, arguments: &[&str]) -> Output {
    Command::new(binary("onemap"))
        .args(["forecast", "backtest", "--time", "time", "--data"])
        .arg(file)
        .args(arguments)
        .output()
        .unwrap()
}

fn found(output: &Output) -> Value {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn refused(output: &Output) -> String {
    assert!(
        !output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Hours of a gauge, the gauge above it and rain: rain runs through one store into the next.
fn river(n: usize, edit: impl Fn(usize, &mut [String; 3])) -> String {
    let mut text = "time,level,upper,rain\n".to_owned();
    let (mut state, mut left, mut upper, mut lower) = (7u64, 0u64, 0.0f64, 0.0f64);
    for hour in 0..n {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        if left == 0 && (state >> 33) % 90 == 0 {
            left = 3 + (state >> 50) % 9;
        }
        let rain = if left > 0 {
            ((state >> 40) % 60) as f64 / 10.0
        } else {
            0.0
        };
        left = left.saturating_sub(1);
        upper += rain - 0.15 * upper;
        lower += 0.15 * upper - 0.12 * lower;
        let mut fields = [
            format!("{:.3}", 1.0 + 0.1 * lower),
            format!("{:.3}", 2.0 + 0.1 * upper),
            format!("{rain}"),
        ];
        edit(hour, &mut fields);
        let (day, hour) = (hour / 24, hour % 24);
        let (month, day) = (1 + day / 28, 1 + day % 28);
        let _ = writeln!(text, "2021-{month:02}-{day:02} {hour:02}:00,{}", fields.join(","));
    }
    text
}

const ASKED: [&str; 10] = [
    "--target",
    "level",
    "--horizons",
    "1h,3h,6h",
    "--train-until",
    "2021-06-01",
    "--threshold",
    "2.0",
    "--inputs",
    "upper,rain",
];

fn with_json<'a>(more: &[&'a str]) -> Vec<&'a str> {
    ASKED
        .iter()
        .copied()
        .chain(more.iter().copied())
        .chain(["--json"])
        .collect()
}

#[test]
fn a_river_is_foreseen_better_than_by_persistence_and_the_report_names_no_host() {
    let folder = tempfile::tempdir().unwrap();
    let (file, report) = (folder.path().join("river.csv"), folder.path().join("report.html"));
    std::fs::write(&file, river(28 * 24 * 9, |_, _| {})).unwrap();
    let told = found(&backtest(
        &file,
        &with_json(&["--report", report.to_str().unwrap()]),
    ));
    let horizons = told["horizons"].as_array().unwrap();
    assert_eq!(
        horizons
            .iter()
            .map(|h| h["horizon"].as_str().unwrap())
            .collect::<Vec<_>>(),
        ["1h", "3h", "6h"]
    );
    for horizon in horizons {
        let figure = |name: &str| {
            horizon[name]
                .as_f64()
                .unwrap_or_else(|| panic!("{name} of {horizon}"))
        };
        assert!(figure("skill") > 0.3 && figure("flood_skill") > 0.3, "{horizon}");
        assert!((0.74..=0.87).contains(&figure("coverage80")), "{horizon}");
        let (rmse, other) = (figure("rmse"), figure("rmse_persistence"));
        assert!((figure("skill") - (1.0 - (rmse / other).powi(2))).abs() < 1e-9);
        for name in ["n", "mae_skill", "coverage80_above", "pod", "far", "csi"] {
            assert!(horizon[name].is_number(), "{name} of {horizon}");
        }
        assert_eq!(horizon["silent"], false);
    }
    let page = std::fs::read_to_string(report).unwrap();
    assert!(
        page.contains("<svg") && !page.contains("http") && !page.contains("<script"),
        "{}",
        &page[..500]
    );
    let table = backtest(&file, &ASKED);
    assert!(String::from_utf8_lossy(&table.stdout).contains("horizon"));
}

#[test]
fn sentinels_a_moved_datum_twice_told_hours_and_a_silent_input_are_told_and_lived_with() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("river.csv");
    let text = river(28 * 24 * 9, |hour, fields| {
        if hour % 501 == 7 {
            fields[0] = "-999".to_owned();
        }
        if hour > 3000 {
            let level: f64 = fields[0].parse().unwrap();
            if level > -900.0 {
                fields[0] = format!("{:.3}", level + 2400.0);
            }
        }
        if hour > 28 * 24 * 5 {
            fields[1].clear();
        }
    });
    let mut lines: Vec<&str> = text.lines().collect();
    let again = lines[1000];
    lines.insert(2000, again);
    std::fs::write(&file, lines.join("\n")).unwrap();
    let asked: Vec<&str> = with_json(&[])
        .into_iter()
        .map(|a| if a == "2.0" { "2402.0" } else { a })
        .collect();
    let told = found(&backtest(&file, &asked));
    let notes = told["notes"].to_string();
    for word in ["sentinel", "datum", "`upper` has values in"] {
        assert!(notes.contains(word), "{word} in {notes}");
    }
    assert_eq!(
        (&told["rows"]["repeated"], &told["rows"]["unordered"]),
        (&1.into(), &1.into())
    );
    for horizon in told["horizons"].as_array().unwrap() {
        assert!(horizon["skill"].as_f64().unwrap() >= 0.0, "{horizon}");
        let rmse = horizon["rmse"].as_f64().unwrap();
        assert!(rmse < 1.0, "the jump is in no score: {horizon}");
    }
}

#[test]
fn what_cannot_be_foreseen_is_persistence_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("flat.csv");
    let mut flat = "time,level\n".to_owned();
    for day in 1..=28 {
        let _ = writeln!(flat, "2021-02-{day:02},5");
    }
    std::fs::write(&file, flat).unwrap();
    let asked = [
        "--target",
        "level",
        "--horizons",
        "1d",
        "--train-until",
        "2021-02-14",
        "--json",
    ];
    let horizon = found(&backtest(&file, &asked))["horizons"][0].clone();
    assert_eq!(
        (&horizon["silent"], &horizon["skill"]),
        (&true.into(), &Value::Null),
        "{horizon}"
    );
    std::fs::write(&file, "time,level\n2021-02-01,1\n2021-02-02,2\n2021-02-03,4\n").unwrap();
    let asked = [
        "--target",
        "level",
        "--horizons",
        "1d",
        "--train-until",
        "2021-02-01",
        "--json",
    ];
    let horizon = found(&backtest(&file, &asked))["horizons"][0].clone();
    assert_eq!(
        (&horizon["silent"], &horizon["n"]),
        (&true.into(), &1.into()),
        "{horizon}"
    );
    assert!(horizon["reason"].as_str().unwrap().contains("too few"));
}

#[test]
fn a_fault_of_a_file_is_named_with_file_line_and_column() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bad.csv");
    let cases = [
        ("", "empty"),
        ("time,level\n", "no row"),
        (
            "time,stage\n2021-01-01,1\n",
            "bad.csv:1: the header has no column `level`; it has time, stage",
        ),
        (
            "time,level\n2021-01-01,1\n2021-01-02,high\n",
            "bad.csv:3: column `level`: `high` is no number",
        ),
        (
            "time,level\n2021-01-01,1\nyesterday,2\n",
            "bad.csv:3: column `time`: `yesterday` is no time",
        ),
        (
            "time,level\n2021-01-01,1\n2021-01-02,1,9\n",
            "bad.csv:3: 3 fields, the header has 2",
        ),
        (
            "time,level\n2021-01-01,\n2021-01-02,\n",
            "column `level` has no number",
        ),
        (
            "time,level\n2021-01-01,1\n2021-01-01,2\n",
            "different times are too few",
        ),
        (
            "time,level\n2021-01-01T00:00Z,1\n2021-01-02T00:00,2\n",
            "bad.csv:3: column `time`",
        ),
        (
            "time,level\n2021-01-01,1\n2021-01-02,2\n",
            "leaves no row to test on",
        ),
    ];
    for (text, word) in cases {
        std::fs::write(&file, text).unwrap();
        let asked = [
            "--target",
            "level",
            "--horizons",
            "1d",
            "--train-until",
            "2021-01-05",
        ];
        let said = refused(&backtest(&file, &asked));
        assert!(said.contains(word), "`{word}` in `{said}`");
        assert!(!said.contains("panicked"), "{said}");
    }
    std::fs::write(&file, river(600, |_, _| {})).unwrap();
    for (changed, word) in [
        (["--horizons", "soon"], "like 6h"),
        (["--horizons", "10m"], "3600 s apart"),
        (["--train-until", "later"], "is no time"),
    ] {
        let mut asked = vec!["--target", "level"];
        for (name, usual) in [("--horizons", "1h"), ("--train-until", "2021-01-10")] {
            asked.extend([name, if changed[0] == name { changed[1] } else { usual }]);
        }
        let said = refused(&backtest(&file, &asked));
        assert!(said.contains(word), "`{word}` in `{said}`");
    }
}

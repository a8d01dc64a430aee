//! The evaluator on small series written by hand, and its bounds on any text.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use promql_parser::parser::VectorSelector;
use proptest::prelude::*;

use super::answer::Found;
use super::eval::{MAX_DEPTH, Take};
use super::fault::{Fault, FaultKind};
use super::grid::Grid;
use super::labels::Labels;
use super::meter::{MAX_MADE, Meter};
use super::query::{self, MAX_LETTERS};
use super::select::finds;

type Series = (Labels, Vec<(i64, f64)>);

/// `name{a="1"} 10 20 _ 40`: a value each minute from 0 on, `_` is none.
fn series(text: &str) -> Vec<Series> {
    let line = |line: &str| {
        let (labels, values) = line.split_once('}').unwrap();
        let (name, labels) = labels.split_once('{').unwrap();
        let mut all = vec![(Arc::from("__name__"), Arc::from(name.trim()))];
        for label in labels.split(',').filter(|l| !l.is_empty()) {
            let (name, value) = label.split_once('=').unwrap();
            all.push((Arc::from(name), Arc::from(value.trim_matches('"'))));
        }
        let points = values.split_whitespace().enumerate();
        let points = points
            .filter(|(_, v)| *v != "_")
            .map(|(i, v)| (i as i64 * 60_000, v.parse().unwrap()));
        (Labels::new(all), points.collect())
    };
    text.lines()
        .map(str::trim)
        .filter(|l| !l.is_empty())
        .map(line)
        .collect()
}

/// Asks at one time (`Ok`) or on a grid (`Err`), in ms.
fn found(data: &[Series], text: &str, when: Result<i64, Grid>, meter: &Meter<'_>) -> Result<Found, Fault> {
    let source = |selector: &VectorSelector, (from, to): (i64, i64), take: &mut Take<'_>| {
        for (labels, points) in data.iter().filter(|(labels, _)| finds(selector, labels)) {
            let there = points.iter().filter(|(t, _)| (from..=to).contains(t));
            let (times, values): (Vec<i64>, Vec<f64>) = there.copied().unzip();
            meter.read(times.len())?;
            if !times.is_empty() {
                take(labels, &times, &values)?;
            }
        }
        Ok(())
    };
    let expr = query::parse(text)?;
    match when {
        Ok(at) => query::instant(&expr, at, 300_000, &source, meter),
        Err(grid) => query::range(&expr, grid, &source, meter),
    }
}

/// What an expression gives at a minute, as `labels value` lines.
fn at(data: &str, text: &str, minute: i64) -> String {
    let meter = Meter::new(&|| None);
    match found(&series(data), text, Ok(minute * 60_000), &meter) {
        Ok(Found::Vector(_, rows)) => {
            let line = |row: &super::eval::Row| {
                let values: Vec<String> = row.values.iter().map(|v| super::answer::number(*v)).collect();
                format!("{} {}", super::answer::braced(&row.labels), values.join(" "))
            };
            rows.iter().map(line).collect::<Vec<_>>().join("\n")
        }
        Ok(Found::Scalar(_, value)) => super::answer::number(value),
        Ok(other) => format!("{other:?}"),
        Err(fault) => format!("{}: {}", fault.kind.name(), fault.text),
    }
}

/// The values of the only series of an expression, minute by minute, `_` where there is none.
fn over(data: &str, text: &str, minutes: std::ops::RangeInclusive<i64>) -> String {
    let meter = Meter::new(&|| None);
    let grid = Grid::new(minutes.start() * 60_000, minutes.end() * 60_000, 60_000);
    let Found::Matrix(_, rows) = found(&series(data), text, Err(grid), &meter).unwrap() else {
        panic!("a range is a matrix");
    };
    let [row] = &rows[..] else {
        return format!("{} series", rows.len());
    };
    let word = |v: &f64| {
        if v.is_nan() {
            "_".to_owned()
        } else {
            super::answer::number(*v)
        }
    };
    row.values.iter().map(word).collect::<Vec<_>>().join(" ")
}

const CITY: &str = r#"
    pm10{device="a",zone="1"} 10 20 30 40
    pm10{device="b",zone="1"} 50 60 _ 80
    pm10{device="c",zone="2"} 5 5 5 5
    so2{device="a",zone="1"} 1 2 4 8
"#;

#[test]
fn expressions_at_one_time() {
    for (text, want) in [
        ("1 + 2 * 3", "7"),
        ("-1 ^ 2", "-1"),
        ("7 % 4 > bool 2", "1"),
        ("0 / 0", "NaN"),
        (
            r#"pm10{device="a"}"#,
            r#"{__name__="pm10", device="a", zone="1"} 40"#,
        ),
        (r#"pm10{device="a"} + 1"#, r#"{device="a", zone="1"} 41"#),
        (r#"pm10 > 45"#, r#"{__name__="pm10", device="b", zone="1"} 80"#),
        (r#"45 < pm10"#, r#"{__name__="pm10", device="b", zone="1"} 80"#),
        (
            r#"pm10{zone="1"} offset 2m"#,
            "{__name__=\"pm10\", device=\"a\", zone=\"1\"} 20\n{__name__=\"pm10\", device=\"b\", zone=\"1\"} 60",
        ),
        (
            r#"pm10{device="a"} @ 60"#,
            r#"{__name__="pm10", device="a", zone="1"} 20"#,
        ),
        ("sum(pm10)", "{} 125"),
        ("sum by (zone) (pm10)", "{zone=\"1\"} 120\n{zone=\"2\"} 5"),
        ("max without (device) (pm10)", "{zone=\"1\"} 80\n{zone=\"2\"} 5"),
        ("count(pm10) / 2", "{} 1.5"),
        ("quantile(0.5, pm10)", "{} 40"),
        ("topk(1, pm10)", r#"{__name__="pm10", device="b", zone="1"} 80"#),
        (
            "topk by (zone) (1, pm10) < 10",
            r#"{__name__="pm10", device="c", zone="2"} 5"#,
        ),
        ("bottomk(0, pm10)", ""),
        (r#"count_values("v", pm10 * 0)"#, r#"{v="0"} 3"#),
        ("pm10 / on(device) so2", r#"{device="a"} 5"#),
        (
            "pm10 / ignoring(device) group_left so2",
            "{device=\"a\", zone=\"1\"} 5\n{device=\"b\", zone=\"1\"} 10",
        ),
        (
            "pm10 * on(zone) group_left so2",
            "{device=\"a\", zone=\"1\"} 320\n{device=\"b\", zone=\"1\"} 640",
        ),
        ("so2 * on(zone) pm10", "execution: found duplicate series"),
        (
            "pm10 and on(device) so2",
            r#"{__name__="pm10", device="a", zone="1"} 40"#,
        ),
        (
            "so2 or pm10",
            "{__name__=\"pm10\", device=\"b\", zone=\"1\"} 80\n{__name__=\"pm10\", device=\"c\", zone=\"2\"} 5\n{__name__=\"so2\", device=\"a\", zone=\"1\"} 8",
        ),
        (
            "pm10 unless on(zone) so2",
            r#"{__name__="pm10", device="c", zone="2"} 5"#,
        ),
        ("absent(pm10)", ""),
        (r#"absent(pm10{device="z",zone=~".*"})"#, r#"{device="z"} 1"#),
        ("scalar(so2) + 1", "9"),
        ("scalar(pm10)", "NaN"),
        ("vector(time())", "{} 180"),
        ("clamp(so2, 3, 5)", r#"{__name__="so2", device="a", zone="1"} 5"#),
        ("clamp(so2, 5, 3)", ""),
        (
            r#"label_replace(so2, "n", "x$1", "device", "(.)")"#,
            r#"{__name__="so2", device="a", n="xa", zone="1"} 8"#,
        ),
        (
            r#"label_replace(so2, "n-", "x", "device", ".")"#,
            "execution: `n-` is no name",
        ),
        (
            r#"label_join(so2, "n", "/", "zone", "device")"#,
            r#"{__name__="so2", device="a", n="1/a", zone="1"} 8"#,
        ),
        (
            r#"{__name__=~"pm10|so2",device="a"} * 0"#,
            "execution: vector cannot contain",
        ),
        (
            "sort(pm10) > 6",
            "{__name__=\"pm10\", device=\"a\", zone=\"1\"} 40\n{__name__=\"pm10\", device=\"b\", zone=\"1\"} 80",
        ),
        ("max_over_time(sum(pm10)[3m:1m])", "{} 125"),
        ("sum(nothing) or vector(0)", "{} 0"),
        ("holt_winters(pm10[5m], 0.5, 0.5)", "bad_data: "),
        (
            "histogram_quantile(0.5, pm10)",
            "execution: the function `histogram_quantile` is not supported",
        ),
        (
            "limitk(1, pm10)",
            "execution: the aggregation `limitk` is not supported",
        ),
        ("pm10[5m] + 1", "bad_data: "),
        ("rate(pm10)", "bad_data: "),
        ("sum(1)", "bad_data: "),
        ("{}", "bad_data: "),
    ] {
        let got = at(CITY, text, 3);
        let fits = match want.split_once(": ") {
            Some(_) => got.starts_with(want),
            None => got == want,
        };
        assert!(fits, "{text}\n  {got}\n  {want}");
    }
}

#[test]
fn windows_over_a_gap_and_a_restart() {
    let gap = r#"m{} 1 2 4 8 _ _ _ _ 16 16"#;
    for (text, want) in [
        ("m", "1 2 4 8 8 _ _ _ 16 16"),
        ("last_over_time(m[3m])", "1 2 4 8 8 8 _ _ 16 16"),
        ("sum_over_time(m[2m])", "1 3 6 12 8 _ _ _ 16 32"),
        ("count_over_time(m[2m])", "1 2 2 2 1 _ _ _ 1 2"),
        ("avg_over_time(m[2m])", "1 1.5 3 6 8 _ _ _ 16 16"),
        ("min_over_time(m[2m])", "1 1 2 4 8 _ _ _ 16 16"),
        ("stdvar_over_time(m[2m])", "0 0.25 1 4 0 _ _ _ 0 0"),
        ("delta(m[2m])", "1 2 3 6 4 0 0 _ 8 8"),
        ("idelta(m[2m])", "1 1 2 4 4 0 0 _ 16 0"),
        ("changes(m[2m])", "1 2 2 2 1 0 0 _ 1 1"),
        ("present_over_time(m[2m])", "1 1 1 1 1 _ _ _ 1 1"),
        ("absent_over_time(m[2m])", "_ _ _ _ _ 1 1 1 _ _"),
        ("timestamp(m)", "0 60 120 180 180 _ _ _ 480 540"),
        ("quantile_over_time(0.5, m[3m])", "1 1.5 2 4 6 8 _ _ 16 16"),
    ] {
        assert_eq!(over(gap, text, 0..=9), want, "{text}");
    }
    let counter = r#"c{} 0 60 120 180 6 66"#;
    for (text, want) in [
        ("increase(c[1m])", "0 60 60 60 6 60"),
        ("increase(c[5m])", "0 60 120 180 186 246"),
        ("rate(c[1m])", "_ 1 1 1 0.55 0.55"),
        ("irate(c[5m])", "_ 1 1 1 0.1 1"),
        ("resets(c[5m])", "0 0 0 0 1 1"),
        ("deriv(c[2m])", "0 1 1 1 -2.9 1"),
        ("predict_linear(c[2m], 60)", "0 120 180 240 -168 126"),
    ] {
        assert_eq!(over(counter, text, 0..=5), want, "{text}");
    }
    // A window from before 1970, ends beyond the years of any calendar.
    assert_eq!(over(gap, "m offset 300000y", 0..=9), "0 series");
    assert_eq!(over(gap, "max_over_time(m[30000y])", 8..=9), "16 16");
}

#[test]
fn a_query_is_bounded_in_what_it_makes() {
    let data = series(CITY);
    let grid = Grid::new(0, 10_999_000, 1000);
    for (text, word) in [
        // Each level of subqueries has as many steps as its range, not as many as those above it times its own.
        (
            "max_over_time(max_over_time(max_over_time(pm10[20h:1s])[20h:1s])[20h:1s])",
            "steps",
        ),
        ("sum_over_time(pm10[2y:1s])", "steps"),
        (&["(pm10 + so2)"; 3000].join("+")[..15_000], "parse error"),
    ] {
        let meter = Meter::new(&|| None);
        let fault = found(&data, text, Err(grid), &meter).unwrap_err();
        assert!(fault.text.contains(word), "{text}: {fault:?}");
        assert!(meter.n_made() <= MAX_MADE);
    }
    let wide = vec!["pm10"; 400].join(" or ");
    let meter = Meter::new(&|| None);
    let fault = found(
        &data,
        &format!("sum_over_time(({wide})[20h:1s])"),
        Err(grid),
        &meter,
    )
    .unwrap_err();
    assert_eq!(fault.kind, FaultKind::Execution, "{fault:?}");

    // A caller who has gone ends it.
    let gone = || Some(Fault::timeout("gone"));
    let meter = Meter::new(&gone);
    let fault = found(&data, &wide, Err(grid), &meter).unwrap_err();
    assert_eq!(fault.kind, FaultKind::Timeout);
}

/// Parsing recurses before the depth is looked at; the server gives it such a stack too.
fn deep(work: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new()
        .stack_size(64 << 20)
        .spawn(work)
        .unwrap();
    thread.join().unwrap();
}

#[test]
fn a_deep_query_is_refused_and_takes_no_stack() {
    deep(|| {
        let half = MAX_LETTERS / 2 - 10;
        for text in [
            format!("{}1{}", "(".repeat(half), ")".repeat(half)),
            format!("{}a", "-".repeat(2 * half)),
            format!("1{}", "+1".repeat(half)),
            format!("{}a{}", "sum(".repeat(half / 3), ")".repeat(half / 3)),
            format!("{}a{}", "abs(".repeat(half / 3), ")".repeat(half / 3)),
            format!("a{}", "[1m:1m]".repeat(half / 4)),
            "(".repeat(2 * half),
            "[".repeat(2 * half),
            "{".repeat(2 * half),
        ] {
            let fault = query::parse(&text).unwrap_err();
            assert_eq!(fault.kind, FaultKind::BadData, "{}", &text[..20]);
        }
        let fine = MAX_DEPTH - 10;
        let text = format!("{}1{}", "(".repeat(fine), ")".repeat(fine));
        assert_eq!(at(CITY, &text, 3), "1");
    });
}

#[test]
fn a_regular_expression_is_bounded() {
    for text in [
        r#"m{a=~"(\\w{500}){50}"}"#,
        r#"m{a !~ '\\w{5000}'}"#,
        r##"m{b="#",a=~`(\w{500}){50}`}"##,
    ] {
        let fault = query::parse(text).unwrap_err();
        assert!(fault.text.contains("too large"), "{text}: {fault:?}");
    }
    for text in [
        r#"m{a=~"air-.*|b{1,3}"}"#,
        r#"m{a="(\\w{500}){50}"}"#,
        "m # =~\"\\w{5000}\"\n + 1",
    ] {
        assert!(query::parse(text).is_ok(), "{text}");
    }
}

/// Words of the language in any order: most are no expression, some are.
fn words() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "pm10",
        "so2",
        "{",
        "}",
        "(",
        ")",
        "[5m]",
        "[1h:1m]",
        "[9999y:1ms]",
        "+",
        "-",
        "*",
        "/",
        "%",
        "^",
        "and",
        "or",
        "unless",
        "on(device)",
        "ignoring(zone)",
        "group_left",
        "group_right()",
        "bool",
        ">",
        "==",
        "!=",
        "sum",
        "by(zone)",
        "topk(",
        "quantile(2,",
        "count_values(\"v\",",
        "rate(",
        "avg_over_time(",
        "absent(",
        "label_replace(",
        "predict_linear(",
        "\"a\"",
        "'(x'",
        "=~",
        ",",
        "1",
        "-0",
        "NaN",
        "Inf",
        "1e300",
        "0x1f",
        "offset 5m",
        "offset -1y",
        "@ 1e9",
        "@ end()",
        "@ -5",
        "device=\"a\"",
        "zone=~\".*\"",
        "clamp(",
        "hour(",
        "vector(",
        "scalar(",
        "time()",
        "atan2",
        "fill(0)",
        "#",
        "\n",
        "`",
        "\\",
        "点",
    ]);
    prop::collection::vec(word, 0..24).prop_map(|words| words.join(" "))
}

/// Expressions that mostly are some.
fn expressions() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "pm10",
        "so2{zone=\"1\"}",
        "1",
        "-2.5",
        "time()",
        "pm10 @ end()",
        "so2 offset -3m",
        "nothing",
    ]);
    leaf.prop_map(str::to_owned).prop_recursive(5, 40, 3, |inner| {
        let one = prop::sample::select(vec![
            "sum(X)",
            "avg by (zone) (X)",
            "topk(2, X)",
            "quantile(0.3, X)",
            "stddev without (device) (X)",
            "count_values(\"v\", X)",
            "-X",
            "abs(X)",
            "round(X, 7)",
            "exp(X)",
            "absent(X)",
            "scalar(X)",
            "vector(X)",
            "max_over_time((X)[7m:90s])",
            "rate((X)[1h:])",
            "deriv((X)[5m:1m] offset 2m)",
            "timestamp(X)",
            "hour(X)",
            "sort(X)",
            "label_join(X, \"n\", \"-\", \"zone\")",
            "predict_linear((X)[9m:2m], 60)",
        ]);
        let two = prop::sample::select(vec![
            "X + Y",
            "X / on(device) Y",
            "X % Y",
            "X ^ Y",
            "X > bool Y",
            "X == Y",
            "X and Y",
            "X or on(zone) Y",
            "X unless Y",
            "X * on(zone) group_left Y",
            "X - ignoring(device) group_right Y",
            "X atan2 Y",
            "clamp(X, scalar(Y), 5)",
        ]);
        prop_oneof![
            (one, inner.clone()).prop_map(|(form, x)| form.replace('X', &format!("({x})"))),
            (two, inner.clone(), inner).prop_map(|(form, x, y)| {
                form.replace('X', "\u{1}")
                    .replace('Y', &format!("({y})"))
                    .replace('\u{1}', &format!("({x})"))
            }),
        ]
    })
}

/// Asks on a grid and at a time: an answer or a fault, within the bounds, the same at both.
fn holds(text: &str) {
    let data = series(CITY);
    let meter = Meter::new(&|| None);
    let grid = Grid::new(-60_000, 420_000, 37_000);
    let ranged = found(&data, text, Err(grid), &meter);
    assert!(meter.n_made() <= MAX_MADE + 1_000_000);
    if let Ok(Found::Matrix(grid, rows)) = &ranged {
        assert!(rows.iter().all(|row| row.values.len() == grid.n));
        assert!(
            rows.windows(2).all(|pair| pair[0].labels < pair[1].labels),
            "sorted and none twice"
        );
    }
    if let Ok(found) = found(&data, text, Ok(180_000), &meter) {
        let written = found.written(&[]);
        let answer: serde_json::Value = serde_json::from_slice(&written).unwrap();
        assert_eq!(answer["status"], "success");
    }
}

/// As many as `PROPTEST_CASES` says, at least 400.
fn cases() -> ProptestConfig {
    let default = ProptestConfig::default();
    ProptestConfig {
        cases: default.cases.max(400),
        ..default
    }
}

proptest! {
    #![proptest_config(cases())]
    #[test]
    fn any_text_is_answered_or_refused(text in "\\PC{0,60}") {
        holds(&text);
    }
    #[test]
    fn any_words_are_answered_or_refused(text in words()) {
        holds(&text);
    }
    #[test]
    fn any_expression_is_answered_or_refused(text in expressions()) {
        holds(&text);
    }
    #[test]
    fn what_is_laid_out_reads_as_the_same(text in expressions()) {
        if let Ok(expr) = query::parse(&text) {
            let again = query::parse(&expr.prettify());
            prop_assert!(again.is_ok(), "{}", expr.prettify());
        }
    }
}

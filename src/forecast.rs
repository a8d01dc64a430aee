//! `onemap forecast`: what series will be, tried on files, without a server.

mod report;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use onemap_forecast::backtest::{Backtest, Outcome, backtest};
use onemap_forecast::features::View;
use onemap_forecast::learn::Options;
use onemap_forecast::model::Silence;
use onemap_forecast::series::{Aligned, Kind, Regridded};
use onemap_forecast::travel::{Travel, travel};
use serde_json::{Value, json};

use table::{Clock, Table, shown_ms};

#[derive(Subcommand)]
pub(crate) enum ForecastCommand {
    /// Train on the rows of a CSV file (.gz too) up to a time, forecast from every later row as it would have been done
    /// then, and score what was forecast beside persistence.
    Backtest(BacktestArgs),
}

#[derive(Args)]
pub(crate) struct BacktestArgs {
    /// The file: a header, a column of times, a column for each series. Rows may be irregular and in any order; what is
    /// missing is empty.
    #[arg(long)]
    data: PathBuf,
    /// The column of times: with and without T, zone and seconds, or dates alone.
    #[arg(long)]
    time: String,
    /// The column that is forecast.
    #[arg(long)]
    target: String,
    /// Columns that it is forecast from, beside itself.
    #[arg(long, value_delimiter = ',')]
    inputs: Vec<String>,
    /// Those of the inputs that are amounts known ahead, as rain forecasts are; the file's values stand for the forecasts.
    #[arg(long, value_delimiter = ',')]
    known_ahead: Vec<String>,
    /// How far ahead, like 30m,1h,6h,2d.
    #[arg(long, value_delimiter = ',', required = true)]
    horizons: Vec<Span>,
    /// The last time that is trained on, as times stand in the file.
    #[arg(long)]
    train_until: String,
    /// What is exceeded in a flood, in the target's unit.
    #[arg(long, allow_hyphen_values = true)]
    threshold: Option<f64>,
    /// Write plots of it as one HTML file.
    #[arg(long)]
    report: Option<PathBuf>,
    /// Leave the boosted trees out: the lines alone are trained in a tenth of the time.
    #[arg(long)]
    without_trees: bool,
}

/// A span as it was written.
#[derive(Clone)]
struct Span {
    text: String,
    ms: i64,
}

impl std::str::FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let unit_ms: i64 = match &text[end..] {
            "s" => 1_000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 7 * 86_400_000,
            _ => return Err("a number and s, m, h, d or w are needed, like 6h".to_owned()),
        };
        let n: i64 = text[..end]
            .parse()
            .map_err(|_| "a whole number is needed before the unit".to_owned())?;
        let ms = n
            .checked_mul(unit_ms)
            .filter(|ms| (1..=400 * 86_400_000).contains(ms));
        let ms = ms.ok_or_else(|| "a horizon is longer than nothing and at most 400 days".to_owned())?;
        Ok(Self {
            text: text.to_owned(),
            ms,
        })
    }
}

pub(crate) fn run(command: &ForecastCommand, json: bool) -> Result<ExitCode> {
    match command {
        ForecastCommand::Backtest(args) => run_backtest(args, json),
    }
}

/// What a backtest is told with.
struct Told {
    clock: Clock,
    aligned: Aligned,
    regridded: Regridded,
    n_train: usize,
    spans: Vec<Span>,
    threshold: Option<f64>,
    notes: Vec<String>,
    travels: Vec<(String, Option<Travel>)>,
    found: Backtest,
}

fn run_backtest(args: &BacktestArgs, json: bool) -> Result<ExitCode> {
    if let Some(threshold) = args.threshold
        && !threshold.is_finite()
    {
        bail!("--threshold {threshold} is no number to exceed");
    }
    let table = Table::read(
        &args.data,
        &args.time,
        &args.target,
        &args.inputs,
        &args.known_ahead,
    )?;
    let name = args.data.display();
    let until_ms = table.clock.read(&args.train_until).with_context(|| {
        format!(
            "--train-until `{}` is no time, like 2014-12-31 or 2014-12-31T23:00",
            args.train_until
        )
    })?;
    let clock = table.clock;
    let (mut aligned, regridded) = Aligned::regrid(&table.times, table.series)
        .with_context(|| format!("{name}: column `{}`", args.time))?;
    let n_train = (0..aligned.len())
        .take_while(|at| aligned.time_ms(*at) <= until_ms)
        .count();
    let (first, last) = (aligned.time_ms(0), aligned.time_ms(aligned.len() - 1));
    if n_train == 0 || n_train == aligned.len() {
        let what = if n_train == 0 { "train on" } else { "test on" };
        bail!(
            "--train-until {} leaves no row to {what}: {name} goes from {} to {}",
            args.train_until,
            shown_ms(first, clock),
            shown_ms(last, clock)
        );
    }
    let mut steps = Vec::new();
    for span in &args.horizons {
        if span.ms < aligned.step_ms {
            bail!(
                "--horizons {}: the rows of {name} are {} s apart",
                span.text,
                aligned.step_ms / 1000
            );
        }
        let n = (span.ms + aligned.step_ms / 2) / aligned.step_ms;
        steps.push(usize::try_from(n).context("a horizon is that many steps")?);
    }
    let mut order: Vec<usize> = (0..steps.len()).collect();
    order.sort_by_key(|at| steps[*at]);
    order.dedup_by_key(|at| steps[*at]);
    let spans: Vec<Span> = order.iter().map(|at| args.horizons[*at].clone()).collect();
    let steps: Vec<usize> = order.iter().map(|at| steps[*at]).collect();
    let mut notes = table.notes;
    notes.extend(dropped(&mut aligned, n_train));
    let options = Options {
        threshold: args.threshold,
        with_trees: !args.without_trees,
        n_workers: std::thread::available_parallelism().map_or(1, usize::from).min(4),
        ..Options::default()
    };
    let found = backtest(&aligned, n_train, &steps, &options);
    let view = found.model.channels.view(&aligned);
    notes.extend(cleaned(&view, &found, clock));
    let travels = travels(&aligned, &view, n_train);
    let told = Told {
        clock,
        aligned,
        regridded,
        n_train,
        spans,
        threshold: args.threshold,
        notes,
        travels,
        found,
    };
    if let Some(path) = &args.report {
        let title = format!(
            "{} of {}",
            args.target,
            args.data.file_name().unwrap_or_default().to_string_lossy()
        );
        std::fs::write(path, report::html(&title, &told))
            .with_context(|| format!("{} cannot be written", path.display()))?;
    }
    match json {
        true => crate::say!("{}", as_json(args, &told)),
        false => as_text(&told),
    }
    Ok(ExitCode::SUCCESS)
}

/// Takes inputs away that say nothing in training, and tells of them and of those that fall silent afterwards.
fn dropped(aligned: &mut Aligned, n_train: usize) -> Vec<String> {
    let mut notes = Vec::new();
    let share =
        |values: &[f64]| values.iter().filter(|v| !v.is_nan()).count() as f64 / values.len().max(1) as f64;
    let target = aligned
        .series
        .first()
        .map_or(0.0, |s| share(&s.values[..n_train]));
    let mut at = 0;
    aligned.series.retain(|series| {
        at += 1;
        let (before, after) = (share(&series.values[..n_train]), share(&series.values[n_train..]));
        if at > 1 && before < 0.2 * target.min(1.0) {
            notes.push(format!("input `{}` has values in {:.0} % of the training rows: not used", series.name, before * 100.0));
            return false;
        }
        if at > 1 && after < 0.5 * before {
            notes.push(format!(
                "input `{}` has values in {:.0} % of the rows after training (before: {:.0} %): where it has none, models without it speak",
                series.name,
                after * 100.0,
                before * 100.0
            ));
        }
        true
    });
    notes
}

fn cleaned(view: &View, found: &Backtest, clock: Clock) -> Vec<String> {
    let mut notes = Vec::new();
    for (channel, track) in found.model.channels.all.iter().zip(&view.tracks) {
        let (clean, name) = (&track.clean, &channel.name);
        if clean.n_sentinels > 0 {
            notes.push(format!("`{name}`: {} sentinels are no values", clean.n_sentinels));
        }
        if clean.n_spikes > 0 {
            notes.push(format!("`{name}`: {} spikes are no values", clean.n_spikes));
        }
        for (step, by) in clean.jumps.iter().take(5) {
            notes.push(format!(
                "`{name}`: the datum moved at {} (now {by:+.3} in all): bridged",
                shown_ms(view.time_ms(*step), clock)
            ));
        }
    }
    notes
}

fn travels(aligned: &Aligned, view: &View, n_train: usize) -> Vec<(String, Option<Travel>)> {
    let n_day = (2 * 86_400_000 / aligned.step_ms).clamp(10, 400) as usize;
    let target = &view.tracks[0].clean.values[..n_train];
    aligned
        .series
        .iter()
        .zip(&view.tracks)
        .skip(1)
        .filter(|(series, _)| series.kind == Kind::State)
        .map(|(series, track)| {
            (
                series.name.clone(),
                travel(&track.clean.values[..n_train], target, n_day),
            )
        })
        .collect()
}

fn silence(silent: Option<Silence>) -> Option<String> {
    silent.map(|why| match why {
        Silence::TooFewRows { rows } => format!("{rows} training rows are too few: persistence is issued"),
        Silence::Constant => "the target does not change in training: persistence is issued".to_owned(),
        Silence::QuietWeeks { days } => {
            format!("{days} days without a flood are too short a training for this lead: persistence is issued")
        }
        Silence::NoSkill { skill } => {
            format!("cross-validation in training shows no skill over persistence ({skill:.3}): persistence is issued")
        }
    })
}

fn as_json(args: &BacktestArgs, told: &Told) -> Value {
    let time = |at: usize| shown_ms(told.aligned.time_ms(at), told.clock);
    let last = told.aligned.len() - 1;
    let travels: Vec<Value> = told
        .travels
        .iter()
        .map(|(name, found)| {
            let hours = found.map(|t| t.steps as f64 * told.aligned.step_ms as f64 / 3.6e6);
            json!({"input": name, "hours": hours, "correlation": found.map(|t| t.correlation)})
        })
        .collect();
    json!({
        "file": args.data,
        "target": args.target,
        "inputs": told.aligned.series.iter().skip(1).map(|s| &s.name).collect::<Vec<_>>(),
        "threshold": told.threshold,
        "step_s": told.aligned.step_ms / 1000,
        "rows": told.regridded,
        "trained": {"from": time(0), "until": time(told.n_train - 1), "steps": told.n_train},
        "tested": {"from": time(told.n_train), "until": time(last), "steps": last + 1 - told.n_train},
        "travel": travels,
        "median_lead_h": told.found.median_lead_ms.map(|ms| ms as f64 / 3.6e6),
        "notes": told.notes,
        "horizons": told.spans.iter().zip(&told.found.horizons).map(|(span, outcome)| horizon_json(span, outcome)).collect::<Vec<_>>(),
    })
}

fn horizon_json(span: &Span, outcome: &Outcome) -> Value {
    let mut value = json!(outcome.scores);
    let states: serde_json::Map<String, Value> = outcome
        .by_state
        .iter()
        .map(|(state, n, share)| {
            (
                json!(state).as_str().unwrap_or_default().to_owned(),
                json!({"n": n, "coverage80": share}),
            )
        })
        .collect();
    let weights: serde_json::Map<String, Value> = outcome
        .weights
        .iter()
        .filter(|(_, steady, lively)| *steady > 0.0 || *lively > 0.0)
        .map(|(name, steady, lively)| ((*name).to_owned(), json!({"steady": steady, "lively": lively})))
        .collect();
    let tiers: Vec<Value> = outcome
        .tiers
        .iter()
        .map(|(inputs, n)| json!({"needs": inputs, "issued": n}))
        .collect();
    value["horizon"] = json!(span.text);
    value["steps"] = json!(outcome.steps);
    value["silent"] = json!(outcome.silent.is_some());
    value["reason"] = json!(silence(outcome.silent));
    value["coverage_by_state"] = Value::Object(states);
    value["cross_validated"] = json!(outcome.validated);
    value["blend"] = Value::Object(weights);
    value["models"] = json!(tiers);
    value["without_forecast"] = json!(outcome.without);
    value
}

fn as_text(told: &Told) {
    crate::say!(
        "trained {} to {}, tested to {}, a step is {} s",
        shown_ms(told.aligned.time_ms(0), told.clock),
        shown_ms(told.aligned.time_ms(told.n_train - 1), told.clock),
        shown_ms(told.aligned.time_ms(told.aligned.len() - 1), told.clock),
        told.aligned.step_ms / 1000
    );
    for note in &told.notes {
        crate::say!("note: {note}");
    }
    for (name, found) in &told.travels {
        if let Some(found) = found.filter(|found| found.correlation >= 0.3) {
            let hours = found.steps as f64 * told.aligned.step_ms as f64 / 3.6e6;
            crate::say!(
                "`{name}` is followed after {hours:.1} h (correlation of changes {:.2})",
                found.correlation
            );
        }
    }
    crate::say!(
        "{:>8} {:>8} {:>10} {:>10} {:>7} {:>7} {:>7} {:>7} {:>7} {:>6} {:>6} {:>6}",
        "horizon",
        "n",
        "rmse",
        "persist.",
        "skill",
        "flood",
        "mae",
        "cover80",
        "above",
        "pod",
        "far",
        "csi"
    );
    let figure = |value: Option<f64>| value.map_or("-".to_owned(), |v| format!("{v:.3}"));
    for (span, outcome) in told.spans.iter().zip(&told.found.horizons) {
        let s = &outcome.scores;
        crate::say!(
            "{:>8} {:>8} {:>10} {:>10} {:>7} {:>7} {:>7} {:>7} {:>7} {:>6} {:>6} {:>6}",
            span.text,
            s.n,
            figure(s.rmse),
            figure(s.rmse_persistence),
            figure(s.skill),
            figure(s.flood_skill),
            figure(s.mae_skill),
            figure(s.coverage80),
            figure(s.coverage80_above),
            figure(s.pod),
            figure(s.far),
            figure(s.csi)
        );
    }
    for (span, outcome) in told.spans.iter().zip(&told.found.horizons) {
        if let Some(why) = silence(outcome.silent) {
            crate::say!("{}: {why}", span.text);
        }
    }
    if let Some(lead) = told.found.median_lead_ms {
        crate::say!(
            "half of the crossings were warned of at least {:.1} h before",
            lead as f64 / 3.6e6
        );
    }
}

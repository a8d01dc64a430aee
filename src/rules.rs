//! `onemap rules`: rules tried before they are in force, by the engine that judges the city.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Subcommand};
use onemap_model::{DivisionCode, Edge, Timestamp, TransitionId};
use onemap_rules::RuleSet;
use onemap_store::ledger::LedgerReader;
use serde::Serialize;
use serde_json::json;

use crate::config::Config;
use crate::fault::{self, Fault, Faults};
use crate::{house, shipped};

const DAY_MS: f64 = 86_400_000.0;
/// How many transitions are read at once.
const PAGE: usize = 10_000;
/// What the folder beside the data is called, with the process's number behind it.
const SCRATCH: &str = "rules-replay-";
/// Digits of a county in a division's code: one desk each.
const DESK: usize = 6;

#[derive(Subcommand)]
pub(crate) enum RulesCommand {
    /// Run the tests that stand beside the rules of files or folders; without any, of the rules in force. Ends with 1
    /// when one fails or a file has a fault.
    Test {
        /// Files or folders.
        paths: Vec<PathBuf>,
    },
    /// Fold the journal again, lateness as it happened, and tell which alarms there would have been; without --rules
    /// whether they are those that were told, by id.
    Replay(ReplayArgs),
}

#[derive(Args)]
pub(crate) struct ReplayArgs {
    /// From this time on the rules are tried (RFC 3339 with offset).
    #[arg(long, value_parser = Timestamp::parse)]
    from: Timestamp,
    /// Until this time; to the journal's end when absent.
    #[arg(long, value_parser = Timestamp::parse)]
    to: Option<Timestamp>,
    /// The folder of the rules to try in place of those in force.
    #[arg(long)]
    rules: Option<PathBuf>,
    /// An empty folder for what is made on the way, which takes as much room as the history; one beside the data when
    /// absent. It is removed in the end.
    #[arg(long)]
    scratch: Option<PathBuf>,
}

impl RulesCommand {
    pub(crate) fn run(&self, config: &Config, json: bool) -> Result<ExitCode> {
        match self {
            Self::Test { paths } => test(config, paths, json),
            Self::Replay(args) => replay(config, args, json),
        }
    }
}

/// One file of rules by its name, or what is wrong with it.
fn parse(file: &shipped::YamlFile) -> Result<RuleSet, Vec<Fault>> {
    RuleSet::parse(&file.name, &file.text).map_err(|errors| {
        let told = errors.iter().map(|error| Fault::of_rules(&file.path, error));
        told.collect()
    })
}

fn files(paths: &[PathBuf]) -> Result<Vec<shipped::YamlFile>> {
    let mut files = Vec::new();
    for path in paths {
        ensure!(
            path.exists(),
            "{}: there is no such file or folder",
            path.display()
        );
        if path.is_dir() {
            files.extend(shipped::read_dir(path)?);
            continue;
        }
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let name = path.file_stem().map(|name| name.to_string_lossy().into_owned());
        files.push(shipped::YamlFile {
            name: name.unwrap_or_default(),
            path: path.clone(),
            text,
        });
    }
    ensure!(!files.is_empty(), "there are no rule files (*.yaml) there");
    Ok(files)
}

fn test(config: &Config, paths: &[PathBuf], json: bool) -> Result<ExitCode> {
    let in_force = [config.rules_dir.clone()];
    let paths = if paths.is_empty() { &in_force } else { paths };
    let (mut faults, mut outcomes) = (Vec::new(), Vec::new());
    for file in files(paths)? {
        match parse(&file) {
            Ok(set) => outcomes.extend(
                set.run_tests()
                    .into_iter()
                    .map(|outcome| (file.path.clone(), outcome)),
            ),
            Err(errors) => faults.extend(errors),
        }
    }
    let failed: Vec<_> = outcomes.iter().filter(|(_, outcome)| !outcome.passed()).collect();
    let ok = faults.is_empty() && failed.is_empty();
    if json {
        let tests: Vec<_> = outcomes
            .iter()
            .map(|(path, outcome)| {
                json!({"file": path, "line": outcome.line, "rule": outcome.rule, "name": outcome.name,
                       "passed": outcome.passed(), "expected": outcome.expected, "got": outcome.got})
            })
            .collect();
        let mut answer = json!({"ok": ok, "tests": tests});
        fault::into_json(&faults, &mut answer);
        crate::say!("{answer}");
    } else {
        for fault in &faults {
            crate::say!("{fault}");
        }
        for (path, outcome) in &failed {
            let place = format!("{}:{}", path.display(), outcome.line);
            crate::say!("{}", Fault::at(&place, &outcome.told()));
        }
        let n = outcomes.len();
        crate::say!(
            "{} of {n} tests passed, {} faults",
            n - failed.len(),
            faults.len()
        );
    }
    Ok(if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What was raised in a time.
#[derive(Default, Serialize)]
struct Load {
    /// Alarms raised.
    raised: usize,
    /// By rule.
    by_rule: BTreeMap<String, usize>,
    /// By desk (county, 6 digits; `-` without a division): how many, a day in the mean, on the worst day.
    by_desk: BTreeMap<String, Desk>,
    #[serde(skip)]
    ids: BTreeSet<TransitionId>,
}

#[derive(Default, Serialize)]
struct Desk {
    raised: usize,
    per_day: f64,
    worst_day: usize,
    #[serde(skip)]
    days: BTreeMap<i64, usize>,
}

impl Load {
    fn of(ledger: &Path, from: Timestamp, to: Timestamp) -> Result<Self> {
        let reader =
            LedgerReader::open(ledger).with_context(|| format!("{} cannot be read", ledger.display()))?;
        let (mut load, mut after) = (Self::default(), 0);
        loop {
            let page = reader.transitions_after(after, PAGE)?;
            let Some(last) = page.last() else {
                break;
            };
            after = last.seq;
            for transition in page.iter().map(|row| &row.transition) {
                // Acts of people are those of then in both.
                let is_judged = transition.act.is_none();
                if is_judged && transition.at >= from && transition.at <= to {
                    load.ids.insert(transition.id);
                    if transition.edge == Edge::Raised {
                        load.raise(
                            transition.rule.as_str(),
                            transition.division.as_ref(),
                            transition.at,
                        );
                    }
                }
            }
        }
        // Less than a day is counted as it is: nobody knows the rest of it.
        let days = (to.since(from).as_millis() as f64 / DAY_MS).max(1.0);
        for desk in load.by_desk.values_mut() {
            desk.per_day = (desk.raised as f64 / days * 100.0).round() / 100.0;
            desk.worst_day = desk.days.values().copied().max().unwrap_or(0);
        }
        Ok(load)
    }
    fn raise(&mut self, rule: &str, division: Option<&DivisionCode>, at: Timestamp) {
        self.raised += 1;
        *self.by_rule.entry(rule.to_owned()).or_default() += 1;
        let desk = division.map_or("-", |code| code.as_str().get(..DESK).unwrap_or(code.as_str()));
        let desk = self.by_desk.entry(desk.to_owned()).or_default();
        desk.raised += 1;
        *desk.days.entry(at.beijing_day()).or_default() += 1;
    }
}

fn replay(config: &Config, args: &ReplayArgs, json: bool) -> Result<ExitCode> {
    let trial = match &args.rules {
        None => None,
        Some(dir) => {
            let mut sets = Vec::new();
            for file in files(std::slice::from_ref(dir))? {
                match parse(&file) {
                    Ok(set) => sets.push((file.name, set)),
                    Err(errors) => bail!(Faults(errors)),
                }
            }
            Some(sets)
        }
    };
    if args.to.is_some_and(|to| to <= args.from) {
        bail!("--to lies before --from");
    }
    sweep(&config.data_dir)?;
    let beside = config.data_dir.join(format!("{SCRATCH}{}", std::process::id()));
    let scratch = args.scratch.clone().unwrap_or(beside);
    let is_usable = match std::fs::read_dir(&scratch) {
        Ok(mut entries) => entries.next().is_none(),
        Err(_) => !scratch.exists(),
    };
    ensure!(is_usable, "{} is not an empty folder", scratch.display());
    let found = fold(config, args, &scratch, trial);
    // It holds copies of keys, and nobody needs it any more, whatever came of it.
    let emptied = match scratch.exists() {
        true => std::fs::remove_dir_all(&scratch),
        false => Ok(()),
    };
    let (records, to, after) = found?;
    emptied.with_context(|| format!("{} cannot be removed", scratch.display()))?;
    ensure!(
        args.from <= to,
        "--from ({}) lies behind the last record ({to}): nothing was tried",
        args.from
    );
    let before = Load::of(&config.data_dir.join("ledger.sqlite"), args.from, to)?;
    let same = before.ids.intersection(&after.ids).count();
    let (gone, new) = (before.ids.len() - same, after.ids.len() - same);
    if json {
        crate::say!(
            "{}",
            json!({"from": args.from, "to": to, "records": records, "before": before, "after": after,
                   "transitions": {"same": same, "only_before": gone, "only_after": new}, "equal": gone + new == 0})
        );
        return Ok(ExitCode::SUCCESS);
    }
    crate::say!("{records} records folded; {} to {to}", args.from);
    crate::say!("{:<40} {:>10} {:>10}", "alarms raised", "then", "now");
    let names: BTreeSet<&String> = before.by_rule.keys().chain(after.by_rule.keys()).collect();
    let count = |load: &Load, name: &str| load.by_rule.get(name).copied().unwrap_or(0);
    for name in names {
        crate::say!(
            "{name:<40} {:>10} {:>10}",
            count(&before, name),
            count(&after, name)
        );
    }
    crate::say!("{:<40} {:>10} {:>10}", "all", before.raised, after.raised);
    crate::say!("{:<40} {:>10} {:>10}", "a desk and day (county)", "then", "now");
    let desks: BTreeSet<&String> = before.by_desk.keys().chain(after.by_desk.keys()).collect();
    let per_day = |load: &Load, desk: &str| load.by_desk.get(desk).map_or(0.0, |desk| desk.per_day);
    for desk in desks {
        crate::say!(
            "{desk:<40} {:>10} {:>10}",
            per_day(&before, desk),
            per_day(&after, desk)
        );
    }
    match gone + new {
        0 => crate::say!("every transition has the id that it had: {same}"),
        _ => crate::say!("{same} transitions are the same by id, {gone} would not have been, {new} are new"),
    }
    Ok(ExitCode::SUCCESS)
}

/// Removes what replays left behind that were ended in the middle.
fn sweep(data_dir: &Path) -> Result<()> {
    let Ok(entries) = std::fs::read_dir(data_dir) else {
        return Ok(());
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let pid = name
            .to_str()
            .and_then(|name| name.strip_prefix(SCRATCH)?.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists()) {
            let path = entry.path();
            std::fs::remove_dir_all(&path)
                .with_context(|| format!("{} cannot be removed", path.display()))?;
        }
    }
    Ok(())
}

/// Folds the journal into a folder; how many records, until when, and what was raised.
fn fold(
    config: &Config,
    args: &ReplayArgs,
    scratch: &Path,
    trial: Option<Vec<(String, RuleSet)>>,
) -> Result<(u64, Timestamp, Load)> {
    let mut house = house::open_replay(config, &config.data_dir, scratch)?;
    if let Some(files) = trial {
        house.pipeline.try_rules(args.from, files);
    }
    let records = house.pipeline.run_to_end()?;
    let to = args.to.unwrap_or(house.pipeline.now());
    house
        .views
        .log
        .close()
        .context("the folder's journal cannot be closed")?;
    drop(house);
    let load = Load::of(&scratch.join("ledger.sqlite"), args.from, to)?;
    Ok((records, to, load))
}

//! Rule files and device profiles: shipped ones fill an empty folder, and what the folder holds goes
//! into the journal when it differs from what is loaded.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use onemap_alerts::proposals::Proposal;
use onemap_dashboards::views::{Folders, Views};
use onemap_model::record::{Register, RuleFile};
use onemap_model::{IdError, ProfileId, RuleId, Scope};
use onemap_rules::{RuleSet, Texts, no_id};
use onemap_wire::profile::Profile;
use onemap_wire::push::{SecretAt, Source};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::config::Config;
use crate::fault::{Fault, Faults};
use crate::house::clock;

macro_rules! shipped {
    ($folder:literal: $($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../config/", $folder, "/", $name, ".yaml")))),*]
    };
}

const RULES: &[(&str, &str)] =
    shipped!("rules": "air", "drain", "fire", "noise", "river", "silence", "water-supply");
const PROFILES: &[(&str, &str)] =
    shipped!("profiles": "gbt26875-device", "hj212-air", "modbus-meter", "sl651-station");

/// One YAML file of a folder.
pub(crate) struct YamlFile {
    pub(crate) name: String,
    pub(crate) path: std::path::PathBuf,
    pub(crate) text: String,
}

/// Reads the `*.yaml` files of a folder, by name.
pub(crate) fn read_dir(dir: &Path) -> Result<Vec<YamlFile>> {
    let mut files = Vec::new();
    if !dir.exists() {
        return Ok(files);
    }
    for path in yaml_files(dir)? {
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let name = stem(&path);
        files.push(YamlFile { name, path, text });
    }
    Ok(files)
}

/// Paths of a folder's YAML files, by name.
fn yaml_files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let path = entry
            .with_context(|| format!("cannot read {}", dir.display()))?
            .path();
        if path.extension().is_some_and(|e| e == "yaml" || e == "yml") {
            paths.push(path);
        }
    }
    paths.sort_by_cached_key(|path| (stem(path), path.clone()));
    Ok(paths)
}

/// What a file is called, without its extension.
fn stem(path: &Path) -> String {
    path.file_stem()
        .map(|s| s.to_string_lossy().into_owned())
        .unwrap_or_default()
}

fn fill(dir: &Path, shipped: &[(&str, &str)]) -> Result<()> {
    if dir.exists() {
        return Ok(());
    }
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    for (name, text) in shipped {
        let path = dir.join(format!("{name}.yaml"));
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// Fills missing folders with the shipped files.
pub(crate) fn fill_folders(config: &Config) -> Result<()> {
    fill(&config.rules_dir, RULES)?;
    fill(&config.profiles_dir, PROFILES)?;
    fill(&config.push_dir, &[])
}

/// The YAML files of a folder that can be read, by name; what stands in the way of others goes to `faults`.
fn readable(dir: &Path, faults: &mut Vec<Fault>) -> Vec<YamlFile> {
    let mut files: Vec<YamlFile> = Vec::new();
    if !dir.exists() {
        return files;
    }
    let paths = match yaml_files(dir) {
        Ok(paths) => paths,
        Err(error) => {
            faults.push(format!("{error:#}").into());
            return files;
        }
    };
    for path in paths {
        let at = path.display();
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) => {
                faults.push(format!("{at}: cannot be read: {error}").into());
                continue;
            }
        };
        let text = match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
                let line = 1 + good.iter().filter(|b| **b == b'\n').count();
                faults.push(format!("{at}:{line}:1: the file is not UTF-8").into());
                continue;
            }
        };
        let name = stem(&path);
        if let Some(other) = files.last().filter(|other| other.name == name) {
            let other = other.path.display();
            let fault = format!("{at}:1:1: `{name}` stands in {other} already: one name, one file");
            faults.push(fault.into());
            continue;
        }
        files.push(YamlFile { name, path, text });
    }
    files
}

/// Every fault in the folders' files that stops a start.
pub(crate) fn faults(config: &Config) -> Vec<Fault> {
    let mut faults = Vec::new();
    // A start fills the folders of a new data folder; a configured one that is not there is a mistyped path.
    for dir in [&config.rules_dir, &config.profiles_dir, &config.push_dir] {
        if !dir.exists() && !dir.starts_with(&config.data_dir) {
            faults.push(format!("{}: there is no such folder", dir.display()).into());
        }
    }
    let mut owners: std::collections::HashMap<String, String> = std::collections::HashMap::new();
    for file in readable(&config.rules_dir, &mut faults) {
        let at = file.path.display();
        if let Err(e) = RuleId::new(&file.name) {
            faults.push(Fault::at(&format!("{at}:1:1"), &misnamed(&e)));
        }
        match RuleSet::parse(&file.name, &file.text) {
            Err(errors) => faults.extend(errors.iter().map(|error| Fault::of_rules(&file.path, error))),
            Ok(set) => {
                let failed = set.run_tests().into_iter().filter(|t| !t.passed());
                faults.extend(failed.map(|t| Fault::at(&format!("{at}:{}:1", t.line), &t.told())));
                for rule in set.rules() {
                    if let Some(other) = owners.insert(rule.id.to_string(), file.name.clone()) {
                        let line = line_of_id(&file.text, rule.id.as_str());
                        faults.push(Fault::at(&format!("{at}:{line}:1"), &stands_in(&rule.id, &other)));
                    }
                }
            }
        }
    }
    for file in readable(&config.profiles_dir, &mut faults) {
        let at = file.path.display();
        match ProfileId::new(&file.name) {
            Err(e) => faults.push(format!("{at}:1:1: the file's name: {e}").into()),
            Ok(id) => {
                if let Err(e) = Profile::parse(&id, &file.text) {
                    faults.push(format!("{at}:{}:{}: {e}", e.line, e.column).into());
                }
            }
        }
    }
    for file in readable(&config.push_dir, &mut faults) {
        let at = file.path.display();
        match ProfileId::new(&file.name) {
            Err(e) => faults.push(format!("{at}:1:1: the file's name: {e}").into()),
            Ok(id) => {
                if let Err(e) = Source::parse(&id, &file.text) {
                    faults.push(format!("{at}:{}:{}: {e}", e.line, e.column).into());
                }
            }
        }
    }
    faults
}

fn misnamed(error: &IdError) -> Texts {
    let Texts { zh, en } = no_id(error);
    Texts {
        zh: format!("文件名：{zh}"),
        en: format!("the file's name: {en}"),
    }
}

fn stands_in(rule: &RuleId, other: &str) -> Texts {
    Texts {
        zh: format!("规则 `{rule}` 已在 {other}.yaml 中"),
        en: format!("rule `{rule}` stands in {other}.yaml already"),
    }
}

/// What rules lack that are sound: a panel of their alerts that they neither fill nor
/// say why not. A start does not look: rules of before go on.
pub(crate) fn remarks(config: &Config) -> Vec<Fault> {
    // Files that cannot be read are faults and named there.
    let files = readable(&config.rules_dir, &mut Vec::new());
    let mut remarks = Vec::new();
    for file in files {
        let set = RuleSet::parse(&file.name, &file.text).ok();
        let found = set.iter().flat_map(RuleSet::remarks);
        remarks.extend(found.map(|error| Fault::of_rules(&file.path, &error)));
    }
    remarks
}

/// The line of a rule's id in its file; 1 where it is written in some other way.
fn line_of_id(text: &str, id: &str) -> usize {
    let is_of = |line: &str| {
        let written = line.trim_start_matches([' ', '-']).strip_prefix("id:")?;
        let written = written.split(" #").next()?.trim().trim_matches(['"', '\'']);
        (written == id).then_some(())
    };
    let found = text.lines().position(|line| is_of(line).is_some());
    found.map_or(1, |n| n + 1)
}

/// What is surely not meant in files that are sound: a source whose calls are all refused for want of a secret, or
/// whose messages nothing maps. A start goes on and says so: the secret may still come, it is read at each call.
pub(crate) fn doubts(config: &Config, known: &BTreeSet<ProfileId>) -> Vec<String> {
    let mut doubts = Vec::new();
    // Files that cannot be read are faults and named there.
    let profiles = readable(&config.profiles_dir, &mut Vec::new());
    for file in readable(&config.push_dir, &mut Vec::new()) {
        let at = file.path.display();
        let Some(source) = ProfileId::new(&file.name)
            .ok()
            .and_then(|id| Source::parse(&id, &file.text).ok())
        else {
            continue;
        };
        let (secret_line, profile_line) = source.lines;
        if let SecretAt::File(name) = &source.secret {
            let wrong = match std::fs::read(config.push_dir.join(name)) {
                Err(error) => Some(format!("cannot be read: {error}")),
                Ok(bytes) if bytes.trim_ascii().is_empty() => Some("is empty".to_owned()),
                Ok(_) => None,
            };
            if let Some(wrong) = wrong {
                doubts.push(format!("{at}:{secret_line}:1: the secret_file `{name}` {wrong}"));
            }
        }
        if let Some(profile) = &source.profile
            && !known.contains(profile)
            && !profiles.iter().any(|file| file.name == profile.as_str())
        {
            let dir = config.profiles_dir.display();
            doubts.push(format!(
                "{at}:{profile_line}:1: there is no profile `{profile}` in {dir}"
            ));
        }
    }
    doubts
}

/// How often the folders are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Takes up rule files and profiles when they change. A fault is logged with its place and counted, and what
/// was loaded stays until the file changes again.
pub(crate) async fn watch(config: Config, views: Arc<Views>, stop: CancellationToken) -> Result<()> {
    let mut looks = tokio::time::interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let look = |config: Config| tokio::task::spawn_blocking(move || fingerprint(&config));
    // What changed between the start's reading and the first look is taken up at that look.
    let mut before = Vec::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            _ = looks.tick() => {}
        }
        let now = look(config.clone())
            .await
            .context("the look at the folders was cut short")?;
        if now != before {
            before = now;
            reload(&config, &views).await;
        }
    }
}

/// Takes the folders up again; what is wrong with them is logged one by one and counted.
pub(crate) async fn reload(config: &Config, views: &Arc<Views>) {
    if let Err(error) = load(config, views).await {
        for fault in each(error) {
            views.config_faults.fetch_add(1, Ordering::Relaxed);
            warn!("rules and profiles stay as they are: {fault}");
        }
    }
}

/// The faults that an error is about; another one counts by its lines.
fn each(error: anyhow::Error) -> Vec<Fault> {
    match error.downcast::<Faults>() {
        Ok(Faults(faults)) => faults,
        Err(error) => format!("{error:#}")
            .lines()
            .map(|line| line.to_owned().into())
            .collect(),
    }
}

/// Names, times and sizes of the folders' files: what a change of a file changes.
fn fingerprint(config: &Config) -> Vec<(PathBuf, Option<SystemTime>, u64)> {
    let mut files = Vec::new();
    for dir in [&config.rules_dir, &config.profiles_dir] {
        // A folder that cannot be read has no files; the next reload says why.
        let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
        for path in entries.map(|entry| entry.path()) {
            if path.extension().is_some_and(|e| e == "yaml" || e == "yml")
                && let Ok(meta) = path.metadata()
            {
                files.push((path, meta.modified().ok(), meta.len()));
            }
        }
    }
    files.sort();
    files
}

/// Records that are folded in a moment; a change behind more of them is not waited for.
const N_SOON: u64 = 10_000;

/// Brings the journal up to the folders: changed and new files are recorded, removed rule files too.
/// With any fault nothing is taken.
pub(crate) async fn load(config: &Config, views: &Arc<Views>) -> Result<()> {
    fill_folders(config)?;
    finish_approved(config, views).await?;
    let faults = faults(config);
    if !faults.is_empty() {
        bail!(Faults(faults));
    }
    let known: BTreeSet<ProfileId> = {
        let register = views.register.read().expect("no holder of this lock panics");
        register.view.profiles.keys().cloned().collect()
    };
    for doubt in doubts(config, &known) {
        warn!("{doubt}");
    }
    for told in unknown_devices(config, views)? {
        warn!("{told}");
    }
    let scope = Scope::local("local");
    let mut last = 0;
    let profiles = read_dir(&config.profiles_dir)?;
    for file in profiles {
        let id = ProfileId::new(&file.name).expect("checked above");
        let same = {
            let register = views.register.read().expect("no holder of this lock panics");
            register
                .view
                .profiles
                .get(&id)
                .is_some_and(|text| **text == *file.text)
        };
        if !same {
            info!(profile = %id, "profile taken up");
            let change = Register::Profile { id, text: file.text };
            last = views.acts.record_register(&scope, clock(), vec![change]).await?;
        }
    }
    if let Some(position) = load_sources(config, views, &scope).await? {
        last = position;
    }
    let files = read_dir(&config.rules_dir)?;
    let loaded: Vec<(String, String)> = {
        let rules = views.rules.read().expect("no holder of this lock panics");
        rules
            .iter()
            .map(|(name, file)| (name.clone(), file.text.clone()))
            .collect()
    };
    for (name, _) in loaded
        .iter()
        .filter(|(name, _)| !files.iter().any(|f| f.name == *name))
    {
        info!(file = %name, "rules taken away");
        last = views
            .acts
            .record_rule(
                &scope,
                clock(),
                RuleFile {
                    name: name.clone(),
                    text: String::new(),
                },
            )
            .await?;
    }
    for file in files {
        if !loaded
            .iter()
            .any(|(name, text)| *name == file.name && *text == file.text)
        {
            info!(file = %file.name, "rules taken up");
            last = views
                .acts
                .record_rule(
                    &scope,
                    clock(),
                    RuleFile {
                        name: file.name,
                        text: file.text,
                    },
                )
                .await?;
        }
    }
    if views.progress.borrow().applied + N_SOON >= last {
        views.applied(last).await?;
    }
    Ok(())
}

/// Writes rule files that a second person agreed to and that a stop kept from the folder: what follows takes them up.
/// One that was changed in the folder meanwhile is left, and overtakes the approval.
async fn finish_approved(config: &Config, views: &Views) -> Result<()> {
    // Not while an approval is under way.
    let _one = views.folders.changing.lock().await;
    let unfinished: Vec<Proposal> = {
        let book = views
            .proposals
            .book
            .read()
            .expect("no holder of this lock panics");
        book.unfinished().cloned().collect()
    };
    for Proposal {
        id,
        file,
        text,
        before,
        ..
    } in unfinished
    {
        let path = config.rules_dir.join(format!("{file}.yaml"));
        let there = match std::fs::read_to_string(&path) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        if let Some(fault) = stands_against(config, &file, &text)? {
            error!(file = %file, proposal = id, "rules that were approved cannot be taken up: {fault}");
            continue;
        }
        if there == before {
            info!(file = %file, proposal = id, "rules that were approved before the stop are taken up");
            Folders::write(&config.rules_dir, &file, &text)
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
    }
    Ok(())
}

/// What stands against a rule file beside the others of the folder; an empty text is none.
fn stands_against(config: &Config, name: &str, text: &str) -> Result<Option<String>> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    let set = match RuleSet::parse(name, text) {
        Ok(set) => set,
        Err(errors) => return Ok(errors.first().map(ToString::to_string)),
    };
    for other in read_dir(&config.rules_dir)?
        .iter()
        .filter(|other| other.name != name)
    {
        let Ok(others) = RuleSet::parse(&other.name, &other.text) else {
            continue;
        };
        let has_it = |id: &RuleId| others.rules().iter().any(|rule| rule.id == *id);
        if let Some(twice) = set.rules().iter().find(|rule| has_it(&rule.id)) {
            return Ok(Some(format!(
                "rule `{}` stands in {} already",
                twice.id,
                other.path.display()
            )));
        }
    }
    Ok(None)
}

/// What the rule files name and the register does not have: they may come, or their rule never looks.
fn unknown_devices(config: &Config, views: &Views) -> Result<Vec<String>> {
    let mut told = Vec::new();
    for file in read_dir(&config.rules_dir)? {
        // Its faults were told.
        let Ok(set) = RuleSet::parse(&file.name, &file.text) else {
            continue;
        };
        let register = views.register.read().expect("no holder of this lock panics");
        let unknown = set.named_devices();
        let unknown = unknown.filter(|(_, _, device)| !register.view.devices.contains_key(*device));
        told.extend(unknown.map(|(line, _, device)| {
            format!(
                "{}:{line}: no device is called `{device}` yet; the rule waits for it",
                file.path.display()
            )
        }));
    }
    Ok(told)
}

/// Push sources of the folder, new, changed and gone.
async fn load_sources(config: &Config, views: &Arc<Views>, scope: &Scope) -> Result<Option<u64>> {
    let mut changes = Vec::new();
    let files = read_dir(&config.push_dir)?;
    {
        let register = views.register.read().expect("no holder of this lock panics");
        let loaded = &register.view.sources;
        let is_there = |id: &ProfileId| files.iter().any(|file| file.name == id.as_str());
        for id in loaded.keys().filter(|id| !is_there(id)) {
            info!(source = %id, "push source taken away");
            changes.push(Register::Source {
                id: id.clone(),
                text: String::new(),
            });
        }
        for file in &files {
            let id = ProfileId::new(&file.name).expect("checked before");
            if loaded.get(&id).is_none_or(|text| **text != *file.text) {
                info!(source = %id, "push source taken up");
                let text = file.text.clone();
                changes.push(Register::Source { id, text });
            }
        }
    }
    if changes.is_empty() {
        return Ok(None);
    }
    Ok(Some(views.acts.record_register(scope, clock(), changes).await?))
}

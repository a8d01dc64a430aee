//! Rule files: seen, put, taken away.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use onemap_model::record::RuleFile;
use onemap_model::{DivisionCode, RuleId, Scope};
use onemap_rules::{Rule, RuleError, RuleSet, Texts, no_id};
use onemap_store::acts::check_rule;
use serde_json::{Value, json};

use crate::api::proposals::{self, Said};
use crate::api::{act_problem, behind, list};
use crate::auth::Caller;
use crate::error::Problem;
use crate::request::Params;
use crate::views::{Folders, Register, Views};

const POISON: &str = "no holder of this lock panics";

/// 200 with what was taken up, 202 with what waits for a second person.
type Answer = Result<(StatusCode, Json<Value>), Problem>;

pub(crate) async fn list_rules(
    State(views): State<Arc<Views>>,
    caller: Caller,
) -> Result<Json<Value>, Problem> {
    let scope = caller.scope();
    let register = views.register.read().expect(POISON);
    let files = views.rules.read().expect(POISON);
    let items = files
        .iter()
        .map(|(name, file)| {
            let rules: Vec<Value> = file
                .set
                .rules()
                .iter()
                .filter(|rule| shows(&register, scope, rule))
                .map(|rule| {
                    json!({"id": rule.id, "version": rule.version, "name": rule.name, "severity": rule.severity,
                           "applies_to": rule.applies_to, "threshold": rule.threshold(), "quantity": rule.quantity(), "channel": rule.channel(), "advice": rule.advice, "sentence": rule.sentence(), "looks_ahead": rule.looks_ahead().is_some()})
                })
                .collect();
            // A file is of the whole city, and may name what lies anywhere in it.
            let text = scope.is_whole().then_some(&file.text);
            json!({"file": name, "text": text, "rules": rules})
        })
        .collect();
    Ok(list(items, None))
}

/// Whether a rule may judge something that a scope sees.
pub(super) fn shows(register: &Register, scope: &Scope, rule: &Rule) -> bool {
    let device = rule.applies_to.device.as_ref();
    may_judge(scope, rule.applies_to.division.as_ref())
        && device.is_none_or(|device| register.sees(scope, device.as_str()))
}

/// Whether rules of a division may judge something that a scope sees.
fn may_judge(scope: &Scope, division: Option<&DivisionCode>) -> bool {
    match (&scope.division, division) {
        (Some(own), Some(other)) => own.covers(other) || other.covers(own),
        _ => true,
    }
}

/// Puts a rule file: checked, its own tests run, then taken up whole, or proposed where a second person is needed.
/// Faults change nothing.
pub(crate) async fn put(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Path(name): Path<String>,
    Params(said): Params<Said>,
    text: String,
) -> Answer {
    let scope = caller.scope();
    RuleId::new(&name).map_err(|error| {
        let Texts { zh, en } = no_id(&error);
        Problem::bad_request("bad_name", en).in_chinese(zh)
    })?;
    if name.starts_with('.') {
        let problem = Problem::bad_request("bad_name", "a file's name may not begin with a dot");
        return Err(problem.in_chinese("文件名不能以点开头"));
    }
    if text.trim().is_empty() {
        return Err(bad_rules(Texts {
            zh: "文件为空，撤除文件请用 DELETE".to_owned(),
            en: "the file is empty; DELETE takes a file away".to_owned(),
        }));
    }
    keep(&views, scope, RuleFile { name, text }, said).await
}

/// Takes up, or proposes, a file whose name is sound; an empty one takes that of before away.
async fn keep(views: &Arc<Views>, scope: &Scope, file: RuleFile, said: Said) -> Answer {
    // What stands in the folder is taken up, whoever put it there.
    check_rule(scope, &file).map_err(act_problem)?;
    // One after the other: two files that hold the same rule would each be right by itself.
    let _one = views.folders.changing.lock().await;
    if !file.text.trim().is_empty() {
        let set = check(views, &file.name, &file.text)?;
        if !said.waits() {
            are_there(views, &file.name, &set)?;
        }
    }
    if views.proposals.needed {
        return proposals::propose(views, scope, file, said).await;
    }
    let name = file.name.clone();
    let position = take_up(views, scope, file).await?;
    Ok((StatusCode::OK, Json(json!({"file": name, "position": position}))))
}

/// Puts a file in force that was checked, and gives the position of its record; the caller holds the lock of the rules.
pub(super) async fn take_up(views: &Views, scope: &Scope, file: RuleFile) -> Result<u64, Problem> {
    // The folder first: were the record first, a stop between the two would undo it at the next start.
    Folders::write(&views.folders.rules, &file.name, &file.text).map_err(|e| Problem::internal(&e))?;
    let position = views
        .acts
        .record_rule(scope, views.now(), file)
        .await
        .map_err(act_problem)?;
    views.applied(position).await.map_err(behind)?;
    Ok(position)
}

/// Takes a rule file away; its open alerts are withdrawn, not called normal.
pub(crate) async fn delete(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Path(name): Path<String>,
    Params(said): Params<Said>,
) -> Answer {
    if !views.rules.read().expect(POISON).contains_key(&name) {
        return Err(Problem::not_found(
            "unknown_rules",
            format!("no rule file is called `{name}`"),
        ));
    }
    let text = String::new();
    keep(&views, caller.scope(), RuleFile { name, text }, said).await
}

/// Refuses a file that names devices which the register does not have: a letter that is wrong would be a rule that never
/// looks.
fn are_there(views: &Views, name: &str, set: &RuleSet) -> Result<(), Problem> {
    let register = views.register.read().expect(POISON);
    let unknown = set
        .named_devices()
        .filter(|(_, _, device)| !register.view.devices.contains_key(*device));
    let faults: Vec<(u32, u32, Texts)> = unknown
        .map(|(line, column, device)| {
            let said = Texts {
                zh: format!("没有名为 `{device}` 的设备；加 ?unknown=wait 则规则等待其注册"),
                en: format!("no device is called `{device}`; with ?unknown=wait the rule waits for it"),
            };
            (line, column, said)
        })
        .collect();
    let Some((line, column, first)) = faults.first() else {
        return Ok(());
    };
    let said = Texts {
        zh: format!("规则文件 `{name}`：{line}:{column}: {}", first.zh),
        en: format!("rules `{name}`: {line}:{column}: {}", first.en),
    };
    let rows = faults
        .iter()
        .map(|(line, column, said)| row(*line, *column, said.clone()));
    Err(refused("bad_rules", said, rows.collect()))
}

/// Checks a file beside the others that are in force, and runs its tests.
pub(super) fn check(views: &Views, name: &str, text: &str) -> Result<RuleSet, Problem> {
    let set = RuleSet::parse(name, text).map_err(|errors| unsound(name, &errors))?;
    elsewhere(views, name, &set)?;
    let failed: Vec<_> = set.run_tests().into_iter().filter(|t| !t.passed()).collect();
    if failed.is_empty() {
        return Ok(set);
    }
    let n = failed.len();
    let said = Texts {
        zh: format!("文件自带的测试有 {n} 项未通过"),
        en: format!("{n} of the file's own tests fail"),
    };
    let rows = failed.iter().map(|f| row(f.line, 1, f.told())).collect();
    Err(refused("rule_tests_failed", said, rows))
}

/// A file that cannot be read, by the first of its faults.
fn unsound(name: &str, errors: &[RuleError]) -> Problem {
    let rows = errors.iter().map(|error| json!(error)).collect();
    let first = errors.first();
    let en = first.map(ToString::to_string).unwrap_or_default();
    let zh = first.map(|e| format!("{}:{}: {}", e.line, e.column, e.message_zh));
    let said = Texts {
        zh: format!("规则文件 `{name}`：{}", zh.unwrap_or_default()),
        en: format!("rules `{name}`: {en}"),
    };
    refused("bad_rules", said, rows)
}

/// Refuses a file of which another one has a rule.
fn elsewhere(views: &Views, name: &str, set: &RuleSet) -> Result<(), Problem> {
    let files = views.rules.read().expect(POISON);
    for Rule { id, .. } in set.rules().iter().map(AsRef::as_ref) {
        let has_it = |set: &RuleSet| set.rules().iter().any(|rule| rule.id == *id);
        let twice = files
            .iter()
            .find(|(other, file)| *other != name && has_it(&file.set));
        if let Some((other, _)) = twice {
            return Err(bad_rules(Texts {
                zh: format!("规则 `{id}` 已在文件 `{other}` 中"),
                en: format!("rule `{id}` stands in file `{other}` already"),
            }));
        }
    }
    Ok(())
}

/// One fault, at the beginning of the file.
fn bad_rules(said: Texts) -> Problem {
    let rows = vec![row(1, 1, said.clone())];
    refused("bad_rules", said, rows)
}

fn refused(code: &'static str, Texts { zh, en }: Texts, rows: Vec<Value>) -> Problem {
    Problem::unprocessable(code, en, rows.into()).in_chinese(zh)
}

fn row(line: u32, column: u32, Texts { zh, en }: Texts) -> Value {
    json!({"line": line, "column": column, "message": en, "message_zh": zh})
}

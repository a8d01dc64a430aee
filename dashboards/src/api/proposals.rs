//! Proposed rule files: who wants what changed, and the second person's word on it.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use onemap_alerts::proposals::{Fate, Proposal, ProposalRefused, Word};
use onemap_model::record::RuleFile;
use onemap_model::{Act, RuleStep, Scope, Verb};
use onemap_rules::RuleSet;
use serde::Deserialize;
use serde_json::{Value, json};

use super::rules;
use crate::api::{act_problem, behind};
use crate::auth::Caller;
use crate::error::Problem;
use crate::request::{Body, NoParams};
use crate::views::Views;

const POISON: &str = "no holder of this lock panics";

/// What a person says with a rule file, beside it in the address. What else stands there was never looked at.
#[derive(Deserialize)]
pub(crate) struct Said {
    #[serde(default)]
    name: String,
    #[serde(default)]
    note: String,
    unknown: Option<Unknown>,
}

/// What becomes of devices that a file names and that are not there.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Unknown {
    /// The rule waits for them.
    Wait,
}

impl Said {
    /// Whether devices that the file names may come later.
    pub(super) fn waits(&self) -> bool {
        self.unknown == Some(Unknown::Wait)
    }
}

/// Makes a proposal of a file that was checked; the caller holds the lock of the rules.
pub(super) async fn propose(
    views: &Views,
    scope: &Scope,
    file: RuleFile,
    said: Said,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let RuleFile { name: file, text } = file;
    let before = in_force(views, &file);
    let Said { name, note, .. } = said;
    let step = RuleStep::Propose {
        file,
        text,
        before,
        name,
        note,
    };
    let id = take(views, scope, step).await?;
    let proposal = known(views, id).ok_or_else(|| refused(&ProposalRefused::TooMany))?;
    Ok((StatusCode::ACCEPTED, Json(row(views, &proposal))))
}

/// Takes a step: looked at first, then recorded, and folded before the answer. Gives its journal position.
async fn take(views: &Views, scope: &Scope, step: RuleStep) -> Result<u64, Problem> {
    record(views, scope, looked_at(views, scope, step)?).await
}

/// A step that may be taken now.
fn looked_at(views: &Views, scope: &Scope, step: RuleStep) -> Result<Act, Problem> {
    let act = Act {
        at: views.now(),
        by: scope.clone(),
        verb: Verb::RuleProposal(Box::new(step)),
    };
    // The fold takes the rules before the proposals, too.
    let files = views.rules.read().expect(POISON);
    let in_force = |file: &str| files.get(file).map(|loaded| loaded.text.clone());
    let book = views.proposals.book.read().expect(POISON);
    book.check(&act, &in_force).map_err(|fault| refused(&fault))?;
    Ok(act)
}

async fn record(views: &Views, scope: &Scope, act: Act) -> Result<u64, Problem> {
    let recorded = views.acts.record_act(scope, act.at, act.verb).await;
    let position = recorded.map_err(act_problem)?;
    views.applied(position).await.map_err(behind)?;
    Ok(position)
}

fn in_force(views: &Views, file: &str) -> Option<String> {
    let files = views.rules.read().expect(POISON);
    files.get(file).map(|loaded| loaded.text.clone())
}

fn known(views: &Views, id: u64) -> Option<Proposal> {
    views.proposals.book.read().expect(POISON).get(id).cloned()
}

/// Rule files are of the whole city, and so is what is said of them.
fn is_whole(scope: &Scope) -> Result<(), Problem> {
    match scope.is_whole() {
        true => Ok(()),
        false => Err(Problem::forbidden(
            "rule files are of the whole city, and so are proposals",
        )),
    }
}

fn found(views: &Views, scope: &Scope, id: &str) -> Result<Proposal, Problem> {
    is_whole(scope)?;
    let unknown = || {
        let text = format!("no proposal {id} is known");
        Problem::not_found("unknown_proposal", text).in_chinese(format!("没有编号为 {id} 的规则提案"))
    };
    let id: u64 = id.parse().map_err(|_| unknown())?;
    known(views, id).ok_or_else(unknown)
}

/// What the client is told of a step that is refused.
fn refused(fault: &ProposalRefused) -> Problem {
    use ProposalRefused as R;
    let (code, text) = (fault.code(), fault.to_string());
    let problem = match fault {
        R::Unknown(_) | R::NoFile(_) => Problem::not_found(code, text),
        R::NoName | R::TooLong | R::NoReason => Problem::bad_request(code, text),
        R::OwnApproval(_) | R::SharedToken(_) | R::NotProposer(_) => Problem::forbidden_by(code, text),
        _ => Problem::conflict(code, text),
    };
    problem.in_chinese(fault.zh())
}

fn word(word: &Word) -> Value {
    json!({"by": word.actor, "name": word.name, "at": word.at, "note": word.note})
}

/// Versions by rule of a file's text; none of a text that this version cannot read.
fn versions(file: &str, text: Option<&str>) -> BTreeMap<String, String> {
    let text = text.filter(|text| !text.trim().is_empty());
    let set = text.and_then(|text| RuleSet::parse(file, text).ok());
    let rules = set.iter().flat_map(|set| set.rules());
    rules
        .map(|rule| (rule.id.to_string(), rule.version.clone()))
        .collect()
}

/// The rules that a proposal adds, changes or removes, beside what was in force when it was made.
fn changes(proposal: &Proposal) -> Vec<Value> {
    let before = versions(&proposal.file, proposal.before.as_deref());
    let after = versions(&proposal.file, Some(&proposal.text));
    let mut all: Vec<&String> = before.keys().chain(after.keys()).collect();
    all.sort_unstable();
    all.dedup();
    let change = |rule: &String| {
        let (was, is) = (before.get(rule), after.get(rule));
        let change = match (was, is) {
            (None, _) => "added",
            (_, None) => "removed",
            (Some(was), Some(is)) if was != is => "changed",
            _ => return None,
        };
        Some(json!({"rule": rule, "change": change, "before": was, "after": is}))
    };
    all.into_iter().filter_map(change).collect()
}

/// A proposal without its texts.
fn row(views: &Views, proposal: &Proposal) -> Value {
    let is_open = proposal.fate == Fate::Open;
    let stale = is_open && proposal.is_stale(in_force(views, &proposal.file).as_deref());
    let taken_up = match &proposal.fate {
        Fate::Approved { taken_up, .. } => *taken_up,
        _ => None,
    };
    let superseded_by = match &proposal.fate {
        Fate::Superseded { proposal } => Some(*proposal),
        _ => None,
    };
    json!({
        "id": proposal.id, "file": proposal.file, "removes": proposal.removes(), "state": proposal.fate.name(),
        "stale": stale, "proposed": word(&proposal.by), "decided": proposal.fate.word().map(word),
        "superseded_by": superseded_by, "position": taken_up, "changes": changes(proposal),
    })
}

fn whole(views: &Views, proposal: &Proposal) -> Json<Value> {
    let mut row = row(views, proposal);
    row["text"] = json!(proposal.text);
    row["before"] = json!(proposal.before);
    Json(row)
}

/// Proposals that wait, and the last that are decided, newest first.
pub(crate) async fn list_proposals(
    State(views): State<Arc<Views>>,
    caller: Caller,
    _: NoParams,
) -> Result<Json<Value>, Problem> {
    is_whole(caller.scope())?;
    let all: Vec<Proposal> = {
        let book = views.proposals.book.read().expect(POISON);
        book.newest_first().cloned().collect()
    };
    let needed = views.proposals.needed;
    // Files are read for what they change.
    let rows = move || -> Vec<Value> { all.iter().map(|proposal| row(&views, proposal)).collect() };
    let items = tokio::task::spawn_blocking(rows)
        .await
        .map_err(|e| Problem::internal(&e))?;
    Ok(Json(
        json!({"items": items, "next": null, "needs_approval": needed}),
    ))
}

/// One with its text and the one that was in force.
pub(crate) async fn show(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Path(id): Path<String>,
    _: NoParams,
) -> Result<Json<Value>, Problem> {
    let proposal = found(&views, caller.scope(), &id)?;
    Ok(whole(&views, &proposal))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Decision {
    name: String,
    #[serde(default)]
    note: String,
}

/// A second person agrees: the file is looked at once more, beside what is in force now, and taken up.
pub(crate) async fn approve(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Path(id): Path<String>,
    _: NoParams,
    Body(body): Body<Decision>,
) -> Result<Json<Value>, Problem> {
    let scope = caller.scope();
    found(&views, scope, &id)?;
    let _one = views.folders.changing.lock().await;
    let proposal = found(&views, scope, &id)?;
    // One that is approved and could not be written then is finished, by whoever asks.
    if !proposal.is_unfinished() {
        agree(&views, scope, &proposal, body).await?;
    } else if !proposal.removes() {
        // Others may have been taken up since.
        rules::check(&views, &proposal.file, &proposal.text)?;
    }
    let file = RuleFile {
        name: proposal.file,
        text: proposal.text,
    };
    rules::take_up(&views, scope, file).await?;
    let proposal = found(&views, scope, &id)?;
    Ok(whole(&views, &proposal))
}

/// Records that somebody agrees.
async fn agree(views: &Views, scope: &Scope, proposal: &Proposal, body: Decision) -> Result<(), Problem> {
    let id = proposal.id;
    let Decision { name, note } = body;
    let step = RuleStep::Approve {
        proposal: id,
        name,
        note,
    };
    // Whether he may say so comes first, then whether the file still can be.
    let act = looked_at(views, scope, step)?;
    if !proposal.removes() {
        rules::check(views, &proposal.file, &proposal.text)?;
    }
    is_as_in_folder(views, id, &proposal.file)?;
    record(views, scope, act).await?;
    match known(views, id).is_some_and(|proposal| proposal.is_unfinished()) {
        true => Ok(()),
        // The fold saw another file in force, or another word on it.
        false => Err(Problem::conflict(
            "proposal_changed",
            format!("proposal {id} was decided, or its file changed, at the same moment: look at it again"),
        )
        .in_chinese(format!("提案 {id} 或其规则文件同时被他人改动，请重新查看"))),
    }
}

/// That a file of the folder is what is in force: what somebody changed there, and nobody took up yet, is not overwritten.
fn is_as_in_folder(views: &Views, id: u64, file: &str) -> Result<(), Problem> {
    let there = match std::fs::read_to_string(views.folders.rules.join(format!("{file}.yaml"))) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(Problem::internal(&error)),
    };
    let is_same = there.as_deref().map(str::trim) == in_force(views, file).as_deref().map(str::trim);
    match is_same {
        true => Ok(()),
        false => Err(Problem::conflict(
            "proposal_stale",
            format!("`{file}.yaml` was changed in the folder and is not taken up: proposal {id} would overwrite it"),
        )
        .in_chinese(format!("规则文件 `{file}.yaml` 已在文件夹中改动但尚未生效，批准提案 {id} 会将其覆盖"))),
    }
}

/// Somebody does not agree, and says why.
pub(crate) async fn reject(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Path(id): Path<String>,
    _: NoParams,
    Body(body): Body<Decision>,
) -> Result<Json<Value>, Problem> {
    decide(&views, caller.scope(), &id, body, |proposal, name, note| {
        RuleStep::Reject { proposal, name, note }
    })
    .await
}

/// Who proposed it takes it back.
pub(crate) async fn withdraw(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Path(id): Path<String>,
    _: NoParams,
    Body(body): Body<Decision>,
) -> Result<Json<Value>, Problem> {
    decide(&views, caller.scope(), &id, body, |proposal, name, note| {
        RuleStep::Withdraw { proposal, name, note }
    })
    .await
}

async fn decide(
    views: &Views,
    scope: &Scope,
    id: &str,
    body: Decision,
    step: impl Fn(u64, String, String) -> RuleStep,
) -> Result<Json<Value>, Problem> {
    found(views, scope, id)?;
    // Not while another person's approval is under way.
    let _one = views.folders.changing.lock().await;
    let proposal = found(views, scope, id)?;
    take(views, scope, step(proposal.id, body.name, body.note)).await?;
    let proposal = found(views, scope, id)?;
    Ok(whole(views, &proposal))
}

//! A warning as lists and screens show it.

use onemap_alerts::warnings::{
    Author, ContentFault, Issued, Pending, Rejection, Warning, WarningState, faults,
};
use onemap_model::{Timestamp, WarningContent};
use serde_json::{Value, json};

fn state_words(state: WarningState) -> (&'static str, &'static str) {
    match state {
        WarningState::Draft => ("待批准", "waits for approval"),
        WarningState::Rejected => ("未批准", "not approved"),
        WarningState::Issued => ("生效中", "in force"),
        WarningState::Cancelled => ("已解除", "cancelled"),
        WarningState::Expired => ("已失效", "over"),
        WarningState::Dropped => ("已放弃", "given up"),
    }
}

/// A warning.
pub(super) fn warning(warning: &Warning, now: Timestamp) -> Value {
    let state = warning.state(now);
    let (zh, en) = state_words(state);
    let belongs = warning.belongs();
    let department = warning.content().map_or("", |content| &content.department);
    json!({
        "id": warning.id, "state": state, "state_zh": zh, "state_en": en,
        "division": belongs.division, "department": department,
        "alert": warning.content().and_then(|content| content.alert),
        "draft": warning.pending.as_ref().map(draft),
        "messages": warning.issued.iter().map(message).collect::<Vec<_>>(),
        "dropped": warning.dropped.as_ref().map(rejection),
    })
}

fn draft(pending: &Pending) -> Value {
    json!({
        "kind": pending.kind, "revision": pending.revision, "content": said(&pending.content),
        "authors": authors(&pending.authors), "rejected": pending.rejected.as_ref().map(rejection),
        "faults": faults(&pending.content).iter().map(fault).collect::<Vec<_>>(),
    })
}

fn message(issued: &Issued) -> Value {
    json!({
        "identifier": issued.identifier, "kind": issued.kind, "standing": issued.standing, "sent": issued.sent,
        "expires": issued.expires, "content": said(&issued.content), "authors": authors(&issued.authors),
        "approval": issued.approval, "approved_by": issued.approved_by,
        "href": format!("/feeds/cap/{}.xml", issued.identifier),
    })
}

/// What it says; whose it is stands beside it.
fn said(content: &WarningContent) -> Value {
    let mut value = serde_json::to_value(content).expect("contents have text keys only");
    if let Some(members) = value.as_object_mut() {
        members.remove("alert");
    }
    value
}

fn authors(all: &[Author]) -> Vec<Value> {
    all.iter().map(author).collect()
}

fn author(author: &Author) -> Value {
    json!({"actor": author.actor, "name": author.name, "at": author.at})
}

fn rejection(rejection: &Rejection) -> Value {
    let mut value = author(&rejection.by);
    value["note"] = json!(rejection.note);
    value
}

/// What keeps a draft from being issued.
pub(super) fn fault(fault: &ContentFault) -> Value {
    json!({"field": fault.field, "code": fault.code, "message": fault.text})
}

//! Persons: who stands behind a citizen number, asked with a purpose that is kept. The number comes in, is turned into
//! its pseudonym and goes no further; no other query shows one person ([`counts`] shows how many there are).

pub(crate) mod counts;
pub(crate) mod keys;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use onemap_model::code::{CitizenNumber, UnitGrid};
use onemap_model::record::Register;
use onemap_model::{Belongs, DivisionCode, Person, Position, Scope, Timestamp, Verb};
use onemap_store::ledger::{LedgerError, LedgerReader};
use onemap_store::persons::PersonKeyError;
use onemap_store::register::import::PersonRow;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::act_problem;
use crate::api::entities::turn;
use crate::api::entity_import::{applied, person};
use crate::auth::Caller;
use crate::error::Problem;
use crate::request::{Body, Params};
use crate::views::Views;

/// Acts of one page.
const N_PAGE: usize = 1000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Posted {
    number: String,
    #[serde(default)]
    position: Option<Position>,
    #[serde(default)]
    unit_grid: Option<String>,
    #[serde(default)]
    division: Option<DivisionCode>,
    #[serde(default)]
    source: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Question {
    number: String,
    purpose: String,
}

/// 18 characters, or 15 digits of before 1999.
fn number(text: &str) -> Result<CitizenNumber, Problem> {
    let read = match text.trim().chars().count() {
        15 => CitizenNumber::from_15(text),
        _ => CitizenNumber::parse(text),
    };
    // What is said of a wrong number does not repeat it.
    read.map_err(|error| Problem::unprocessable("bad_number", error.to_string(), json!([])))
}

/// Whether a text that is kept as it is has a citizen number in it.
pub(crate) fn holds_number(text: &str) -> bool {
    let all: Vec<char> = text.chars().collect();
    let reads =
        |n: usize, read: fn(&str) -> bool| all.windows(n).any(|part| read(&part.iter().collect::<String>()));
    reads(18, |part| CitizenNumber::parse(part).is_ok())
        || reads(15, |part| CitizenNumber::from_15(part).is_ok())
}

/// Why a person is not somebody's to make known.
pub(crate) const NOT_OWN: &str =
    "the person is not stated to be in your division, or you are of departments, which have no persons";

/// To whom what is known of a person belongs: to no department, so that nobody who is of one sees it.
pub(crate) fn belongs(person: &Person) -> Belongs<'_> {
    Belongs::of(person.division.as_ref(), "")
}

/// A fault of the keys: what an operator can mend is told, to everybody who may ask for persons.
pub(crate) fn key_problem(error: &PersonKeyError) -> Problem {
    match error {
        PersonKeyError::Missing { .. } | PersonKeyError::Foreign { .. } => {
            tracing::error!(%error, "persons cannot be looked up");
            Problem::unavailable_by(
                "no_person_key",
                "the keys of persons are not there, or are those of another data folder: who keeps the server puts back the copy of persons.key",
            )
        }
        PersonKeyError::Mode { .. } | PersonKeyError::Length { .. } | PersonKeyError::File { .. } => {
            tracing::error!(%error, "persons cannot be looked up");
            Problem::unavailable_by(
                "no_person_key",
                "persons.key cannot be used: who keeps the server finds in its log what is wrong with the file",
            )
        }
        PersonKeyError::Full { .. } => Problem::conflict("too_many_keys", error.to_string()),
        error => Problem::internal(error),
    }
}

/// What is known of a number under any key.
fn known(views: &Views, number: &CitizenNumber) -> Result<Option<(Person, Timestamp)>, Problem> {
    for pseudonym in views.persons.pseudonyms(number).map_err(|e| key_problem(&e))? {
        let found = views
            .ledger
            .person(&pseudonym)
            .map_err(|e| Problem::internal(&e))?;
        if let Some((kept, since)) = found {
            let person = views.persons.open(kept).map_err(|e| key_problem(&e))?;
            return Ok(Some((person, since)));
        }
    }
    Ok(None)
}

/// A person that the caller may make known, as it is journaled. The inner error says why he may not. Of somebody who has a
/// part of the city a person who is another's is taken as any other, and nothing comes of it but that he stated it: whom
/// others know he learns by a question with a purpose alone.
pub(crate) fn change(
    views: &Views,
    scope: &Scope,
    row: &PersonRow,
) -> Result<Result<(Person, Register), &'static str>, Problem> {
    let sealed = views
        .persons
        .seal(&row.number, |pseudonym| person(views, pseudonym, row));
    let (person, sealed) = sealed.map_err(|e| key_problem(&e))?;
    if !scope.covers(belongs(&person)) {
        return Ok(Err(NOT_OWN));
    }
    let sealed = Box::new(sealed);
    if scope.is_whole() {
        return Ok(Ok((person, Register::PersonSealed { person: sealed })));
    }
    let known = known(views, &row.number)?;
    let is_anothers = known.is_some_and(|(known, _)| !scope.covers(belongs(&known)));
    let change = Register::PersonStated {
        person: sealed,
        by: scope.actor.clone(),
        is_anothers: u8::from(is_anothers),
    };
    Ok(Ok((person, change)))
}

/// Makes a person known.
pub(crate) async fn post(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Body(posted): Body<Posted>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let scope = caller.scope();
    let unit_grid = posted.unit_grid.as_deref().map(UnitGrid::parse).transpose();
    let row = PersonRow {
        number: number(&posted.number)?,
        position: posted.position,
        unit_grid: unit_grid
            .map_err(|error| Problem::unprocessable("bad_unit_grid", error.to_string(), json!([])))?,
        division: posted.division,
        source: posted.source,
    };
    let _turn = turn(&views, scope).await;
    let (person, change) = change(&views, scope, &row)?.map_err(Problem::forbidden)?;
    let answer = json!({"pseudonym": person.pseudonym, "last_four": person.last_four});
    let recorded = views.acts.record_register(scope, views.now(), vec![change]).await;
    applied(&views, recorded.map_err(act_problem)?).await?;
    Ok((StatusCode::CREATED, Json(answer)))
}

/// What is known of the person with a number. The question is in the journal before it is answered, also when nobody
/// is known or the person is in another division.
pub(crate) async fn resolve(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Body(question): Body<Question>,
) -> Result<Json<Value>, Problem> {
    let scope = caller.scope();
    if question.purpose.trim().is_empty() {
        return Err(Problem::bad_request(
            "bad_purpose",
            "purpose says what the person is looked up for",
        ));
    }
    if holds_number(&question.purpose) {
        return Err(Problem::bad_request(
            "bad_purpose",
            "purpose holds a citizen number; it is kept in clear, and numbers are kept nowhere",
        ));
    }
    let number = number(&question.number)?;
    let asked = (views.clone(), number.clone());
    let looked = tokio::task::spawn_blocking(move || {
        let (views, number) = asked;
        let pseudonym = views.persons.pseudonym(&number).map_err(|e| key_problem(&e))?;
        Ok::<_, Problem>((pseudonym, known(&views, &number)?))
    })
    .await
    .map_err(|e| Problem::internal(&e))?;
    let (pseudonym, found) = looked?;
    let found = found.filter(|(person, _)| scope.covers(belongs(person)));
    let act = Verb::ResolvePerson {
        pseudonym,
        purpose: question.purpose,
        found: found.is_some(),
    };
    let recorded = views.acts.record_act(scope, views.now(), act).await;
    let position = recorded.map_err(act_problem)?;
    let Some((person, since)) = found else {
        return Err(Problem::not_found(
            "unknown_person",
            "no person with this number is known",
        ));
    };
    let mut answer = serde_json::to_value(&person).map_err(|e| Problem::internal(&e))?;
    answer["since"] = json!(since);
    answer["number"] = number.masked().into();
    answer["audit"] = position.into();
    if let Some(bounds) = person.place.as_ref().and_then(|place| place.bounds()) {
        answer["bbox"] = json!(bounds);
    }
    Ok(Json(answer))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Page {
    #[serde(default)]
    after: u64,
}

/// Who asked for whom, and why; for who audits.
pub(crate) async fn resolutions(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Params(page): Params<Page>,
) -> Result<Json<Value>, Problem> {
    let scope = caller.scope().clone();
    let reader = views.ledger.clone();
    let (items, next) = tokio::task::spawn_blocking(move || asked_for(&reader, &scope, page.after))
        .await
        .map_err(|e| Problem::internal(&e))?
        .map_err(|e| Problem::internal(&e))?;
    Ok(Json(json!({"items": items, "next": next})))
}

/// A page of what a scope may see: acts that resolved persons, and for who has the whole city those who were stated while
/// they were another's. A page is full of what is seen, so that its end tells nothing of what is not.
fn asked_for(
    reader: &LedgerReader,
    scope: &Scope,
    mut after: u64,
) -> Result<(Vec<Value>, Option<u64>), LedgerError> {
    let mut found: BTreeMap<u64, Value> = BTreeMap::new();
    if scope.is_whole() {
        for stated in reader.stated_persons(after, N_PAGE + 1)? {
            let act = json!({"verb": "state_known_person", "at": stated.at, "by": {"actor": stated.by},
                             "pseudonym": stated.person.pseudonym});
            found.insert(stated.position, json!({"position": stated.position, "act": act}));
        }
    }
    loop {
        let acts = reader.resolutions(after, N_PAGE)?;
        let is_end = acts.len() < N_PAGE;
        after = acts.last().map_or(after, |act| act.position);
        let seen = acts
            .into_iter()
            .filter(|act| scope.encloses(act.act.by.division.as_ref(), &act.act.by.departments));
        found.extend(seen.map(|act| (act.position, json!({"position": act.position, "act": act.act}))));
        if is_end || found.len() > N_PAGE {
            break;
        }
    }
    let is_more = found.len() > N_PAGE;
    let items: Vec<(u64, Value)> = found.into_iter().take(N_PAGE).collect();
    let next = items.last().filter(|_| is_more).map(|(position, _)| *position);
    Ok((items.into_iter().map(|(_, item)| item).collect(), next))
}

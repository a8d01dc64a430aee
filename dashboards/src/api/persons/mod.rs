//! Persons: who stands behind a citizen number, asked with a purpose that is kept. The number comes in, is turned into
//! its pseudonym and goes no further; no other query shows one person ([`counts`] shows how many there are).

pub(crate) mod counts;
pub(crate) mod keys;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use onemap_model::code::{CitizenNumber, UnitGrid};
use onemap_model::record::Register;
use onemap_model::{Belongs, DivisionCode, Person, Position, Pseudonym, Scope, Timestamp, Verb};
use onemap_store::acts::ActError;
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

/// What stating a person comes to.
pub(crate) enum Stated {
    /// A change of the register.
    Change(Box<Register>),
    /// The person is another's: what is known stays, an act says who stated him, and the caller is told as of any other,
    /// so that nobody learns without a purpose who is known elsewhere.
    Kept(Pseudonym),
}

/// A person that the caller may make known, and what comes of it. The inner error says why he may not.
pub(crate) fn stated(
    views: &Views,
    scope: &Scope,
    row: &PersonRow,
) -> Result<Result<(Person, Stated), &'static str>, Problem> {
    let sealed = views
        .persons
        .seal(&row.number, |pseudonym| person(views, pseudonym, row));
    let (person, sealed) = sealed.map_err(|e| key_problem(&e))?;
    if !scope.covers(belongs(&person)) {
        return Ok(Err(NOT_OWN));
    }
    // What is another's to see is not the caller's to replace.
    if !scope.is_whole()
        && let Some((known, _)) = known(views, &row.number)?
        && !scope.covers(belongs(&known))
    {
        let kept = Stated::Kept(person.pseudonym);
        return Ok(Ok((person, kept)));
    }
    let change = Register::PersonSealed {
        person: Box::new(sealed),
    };
    Ok(Ok((person, Stated::Change(Box::new(change)))))
}

/// Keeps in the journal that somebody stated persons who are another's.
pub(crate) async fn keep(views: &Views, scope: &Scope, pseudonyms: Vec<Pseudonym>) -> Result<u64, ActError> {
    let act = Verb::KeepPersons { pseudonyms };
    views.acts.record_act(scope, views.now(), act).await
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
    let (person, stated) = stated(&views, scope, &row)?.map_err(Problem::forbidden)?;
    let answer = json!({"pseudonym": person.pseudonym, "last_four": person.last_four});
    let recorded = match stated {
        Stated::Change(change) => {
            let changes = vec![*change];
            views.acts.record_register(scope, views.now(), changes).await
        }
        Stated::Kept(pseudonym) => keep(&views, scope, vec![pseudonym]).await,
    };
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
    let scope = caller.scope();
    let reader = views.ledger.clone();
    let acts = tokio::task::spawn_blocking(move || reader.resolutions(page.after, N_PAGE))
        .await
        .map_err(|e| Problem::internal(&e))?
        .map_err(|e| Problem::internal(&e))?;
    let next = (acts.len() == N_PAGE)
        .then(|| acts.last().map(|act| act.position))
        .flatten();
    // That a person is another's is for who sees all of them.
    let seen = acts.into_iter().filter(|act| match act.act.verb {
        Verb::KeepPersons { .. } => scope.is_whole(),
        _ => scope.encloses(act.act.by.division.as_ref(), &act.act.by.departments),
    });
    let items: Vec<Value> = seen
        .map(|act| json!({"position": act.position, "act": act.act}))
        .collect();
    Ok(Json(json!({"items": items, "next": next})))
}

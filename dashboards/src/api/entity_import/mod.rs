//! Files of entities in: the body lies in the data folder while it is read, row by row, and goes into the journal in
//! pieces. Good rows are taken, faults are listed, what looks wrong is warned of and never corrected.

mod places;
mod shift;
mod upload;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{RawQuery, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, body::Body};
use bytes::Bytes;
use onemap_model::record::Register;
use onemap_model::{DivisionCode, Entity, EntityKind, Person, PersonPlace, Pseudonym, Scope};
use onemap_store::register::import::{
    Field, Format, ImportError, ImportPlace, Mapping, PersonRow, Row, Thing, open,
};
use onemap_store::register::middle;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::api::entities::{WHOLE_CITYS, is_a_border, is_anothers, not_stated_own, turn};
use crate::api::listed::is_listed;
use crate::api::numbers::{self, Numbers};
use crate::api::persons::{self, holds_number};
use crate::api::{act_problem, behind};
use crate::auth::Caller;
use crate::error::Problem;
use crate::views::Views;
pub use upload::sweep;

use places::Places;
use shift::Shift;
use upload::Room;

/// Rows of one journal append.
const N_PIECE: usize = 1000;
/// Records that the pipeline may be behind before an import waits for it.
const N_LAG: u64 = 8_000;
/// Bytes that must be free for a piece: its rows in the journal and in the register.
const PIECE_ROOM: u64 = 16 << 20;
/// How long the journal may take nothing.
const PATIENCE: Duration = Duration::from_secs(30);
/// Faults and warnings that are told one by one.
const N_TOLD: usize = 1000;

const POISON: &str = "no holder of this lock panics";

/// What the request says of the file.
struct Asked {
    format: Format,
    mapping: Mapping,
    /// Lines of JSON that tell how far it is, before the answer.
    progress: bool,
}

/// Takes a file of entities or persons: `name` or `format` says what it is, `kind`, `crs`, `encoding`, `source`, `division`, `layer`
/// and any number of `map=column=field` how to read it.
pub(crate) async fn post(
    State(views): State<Arc<Views>>,
    caller: Caller,
    RawQuery(query): RawQuery,
    request: Request,
) -> Result<Response, Problem> {
    let scope = caller.scope().clone();
    let asked = asked(query.as_deref().unwrap_or_default())?;
    let room = Room::of(&views);
    let announced = request.headers().get(header::CONTENT_LENGTH);
    let announced = announced.and_then(|n| n.to_str().ok()?.parse().ok());
    let upload = upload::take(&room, announced, request.into_body()).await?;
    let progress = asked.progress;
    let (rows, inbox) = mpsc::channel(2);
    let reading = tokio::task::spawn_blocking(move || {
        let Asked { format, mapping, .. } = asked;
        let mut piece = Vec::with_capacity(N_PIECE);
        match open(&upload.file, &upload.folder, format, &mapping) {
            Err(error) => piece.push(Err(error)),
            Ok(all) => {
                for row in all {
                    piece.push(row);
                    if piece.len() == N_PIECE {
                        let full = std::mem::replace(&mut piece, Vec::with_capacity(N_PIECE));
                        if rows.blocking_send(full).is_err() {
                            return;
                        }
                    }
                }
            }
        }
        // Nobody waits for the rest when the other side has failed.
        let _ = rows.blocking_send(piece);
    });
    let import = Import::new(views, scope, room);
    if !progress {
        let done = import.run(inbox, None).await;
        // The file is gone before anybody hears of it.
        reading.await.map_err(|e| Problem::internal(&e))?;
        return done?.answer().map(IntoResponse::into_response);
    }
    let (lines, told) = mpsc::channel::<Result<Bytes, std::convert::Infallible>>(16);
    tokio::spawn(async move {
        let done = import.run(inbox, Some(&lines)).await;
        // The file is gone before anybody hears of it, and rows that ended by a fault are not all.
        let read = reading.await.map_err(|e| Problem::internal(&e));
        let last = match done.and_then(|done| read.map(|()| done)) {
            Ok(done) => done.json(),
            Err(problem) => json!({"error": problem.detail()}),
        };
        // Whoever asked may have gone; what was taken stays.
        let _ = lines.send(Ok(line(&last))).await;
    });
    let kind = [(header::CONTENT_TYPE, "application/x-ndjson")];
    Ok((kind, Body::from_stream(ReceiverStream::new(told))).into_response())
}

fn line(value: &Value) -> Bytes {
    format!("{value}\n").into()
}

fn asked(query: &str) -> Result<Asked, Problem> {
    let bad = |message: String| Problem::bad_request("bad_parameter", message);
    let mut mapping = Mapping::default();
    let (mut format, mut named, mut progress) = (None, None, false);
    for (key, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*key {
            "format" => format = Some(value.parse::<Format>().map_err(bad)?),
            "name" => named = Some(value.into_owned()),
            "kind" => {
                let kind = serde_json::from_value::<EntityKind>(Value::from(&*value));
                mapping.kind = Some(kind.map_err(|_| bad(format!("kind={value}: not a kind of entity")))?);
            }
            "crs" => mapping.crs = Some(value.parse().map_err(|e| bad(format!("crs: {e}")))?),
            "source" if holds_number(&value) => {
                return Err(bad(
                    "source holds a citizen number, which is kept nowhere".to_owned()
                ));
            }
            "source" => mapping.source = value.into_owned(),
            "encoding" => mapping.encoding = value.parse().map_err(|e| bad(format!("encoding: {e}")))?,
            "layer" => mapping.layer = Some(value.into_owned()),
            "division" => {
                let division = DivisionCode::new(&value).map_err(|e| bad(format!("division: {e}")))?;
                mapping.division = Some(division);
            }
            "map" => {
                let (column, field) = value
                    .rsplit_once('=')
                    .ok_or_else(|| bad(format!("map={value}: column=field is wanted")))?;
                let field = field.parse::<Field>().map_err(|e| bad(format!("map: {e}")))?;
                mapping.columns.insert(column.to_owned(), field);
            }
            "progress" => progress = &*value == "true",
            other => return Err(bad(format!("unknown parameter `{other}`"))),
        }
    }
    let by_name = named.as_deref().and_then(Format::of_name);
    let format = format.or(by_name).ok_or_else(|| {
        let known = "name ends in .geojson, .json, .geojsonl, .ndjson, .csv, .gpkg or .fgb, perhaps with .gz";
        bad(format!(
            "format says what the file is, where its name does not: {known}"
        ))
    })?;
    Ok(Asked {
        format,
        mapping,
        progress,
    })
}

/// An import on its way.
struct Import {
    views: Arc<Views>,
    scope: Scope,
    room: Room,
    places: Places,
    shift: Shift,
    numbers: Numbers,
    /// Divisions that the file names, as far as looked at.
    known: BTreeSet<DivisionCode>,
    done: Done,
    /// Things without a place, of kinds that have one.
    n_nowhere: u64,
    /// Things with heights of which nobody says what they are counted from.
    n_no_datum: u64,
    /// Divisions with an area in the register, as far as looked at.
    drawn: BTreeMap<DivisionCode, bool>,
}

/// What became of it so far.
#[derive(Default)]
struct Done {
    n_imported: u64,
    /// Of them those whose kind and code were known before.
    n_replaced: u64,
    n_refused: u64,
    position: u64,
    errors: Vec<Value>,
    warnings: Vec<Value>,
    n_warnings: u64,
    /// Of a file of which several layers are read: each with what was taken and what refused, in their order.
    layers: Vec<(Arc<str>, [u64; 2])>,
}

impl Done {
    /// What follows stands in this layer.
    fn enter(&mut self, layer: &Arc<str>) {
        if self.layers.last().is_none_or(|(last, _)| last != layer) {
            self.layers.push((layer.clone(), [0; 2]));
        }
    }
    fn at(&self, place: ImportPlace) -> String {
        match (self.layers.last(), place) {
            (None, place) => place.to_string(),
            (Some((layer, _)), ImportPlace::Feature(0)) => format!("layer {layer}"),
            (Some((layer, _)), place) => format!("layer {layer}, {place}"),
        }
    }
    fn take_one(&mut self) {
        if let Some((_, [n_taken, _])) = self.layers.last_mut() {
            *n_taken += 1;
        }
    }
    fn refuse(&mut self, at: &str, message: &str) {
        self.n_refused += 1;
        if let Some((_, [_, n_refused])) = self.layers.last_mut() {
            *n_refused += 1;
        }
        if self.errors.len() < N_TOLD {
            self.errors.push(json!({"at": at, "message": message}));
        }
    }
    fn warn(&mut self, code: &str, at: &str, message: &str) {
        self.n_warnings += 1;
        if self.warnings.len() < N_TOLD {
            self.warnings
                .push(json!({"code": code, "at": at, "message": message}));
        }
    }
    fn json(&self) -> Value {
        let mut said = json!({
            "imported": self.n_imported, "replaced": self.n_replaced, "refused": self.n_refused,
            "position": self.position,
            "errors": self.errors, "errors_left_off": self.n_refused - self.errors.len() as u64,
            "warnings": self.warnings, "warnings_left_off": self.n_warnings - self.warnings.len() as u64,
        });
        let layer = |(layer, [n_taken, n_refused]): &(Arc<str>, [u64; 2])| json!({"layer": layer, "imported": n_taken, "refused": n_refused});
        if !self.layers.is_empty() {
            said["layers"] = self.layers.iter().map(layer).collect();
        }
        said
    }
    fn answer(self) -> Result<(StatusCode, Json<Value>), Problem> {
        if self.n_imported == 0 && self.n_refused > 0 {
            let detail = format!("none of {} rows could be taken", self.n_refused);
            return Err(Problem::unprocessable("bad_entities", detail, self.errors.into()));
        }
        Ok((StatusCode::CREATED, Json(self.json())))
    }
}

type Lines = mpsc::Sender<Result<Bytes, std::convert::Infallible>>;

impl Import {
    fn new(views: Arc<Views>, scope: Scope, room: Room) -> Self {
        let (places, shift) = {
            let register = views.register.read().expect(POISON);
            (Places::of(&register.view), Shift::default())
        };
        Self {
            views,
            scope,
            room,
            places,
            shift,
            numbers: Numbers::default(),
            known: BTreeSet::new(),
            done: Done::default(),
            n_nowhere: 0,
            n_no_datum: 0,
            drawn: BTreeMap::new(),
        }
    }

    async fn run(
        mut self,
        mut inbox: mpsc::Receiver<Vec<Result<Row, ImportError>>>,
        lines: Option<&Lines>,
    ) -> Result<Done, Problem> {
        while let Some(piece) = inbox.recv().await {
            let views = self.views.clone();
            let turn = turn(&views, &self.scope).await;
            let changes = self.changes(piece)?;
            if !changes.is_empty() {
                let n_replaced = self.n_known(&changes);
                self.caught_up().await;
                let n = changes.len() as u64;
                self.room
                    .check(PIECE_ROOM)
                    .map_err(|problem| self.cut(&problem))?;
                let now = self.views.now();
                let recorded = self.views.acts.record_register(&self.scope, now, changes);
                // The file is let go when this ends, and may be what the journal waits for.
                let Ok(recorded) = tokio::time::timeout(PATIENCE, recorded).await else {
                    let slow = Problem::unavailable(format!(
                        "the journal took nothing for {} s; of the next {n} rows some may be in",
                        PATIENCE.as_secs()
                    ));
                    return Err(self.cut(&slow));
                };
                self.done.position = recorded.map_err(act_problem)?;
                if turn.is_some() {
                    self.views.applied(self.done.position).await.map_err(behind)?;
                }
                self.done.n_imported += n;
                self.done.n_replaced += n_replaced;
            }
            if let Some(lines) = lines {
                let so_far = json!({"imported": self.done.n_imported, "refused": self.done.n_refused});
                // Whoever asked may have gone; the import goes on to its end.
                let _ = lines.send(Ok(line(&so_far))).await;
            }
        }
        if self.n_nowhere > 0 {
            let message = format!(
                "{} things have no place: in a sheet, columns lon and lat or wkt give it, or others by map=COLUMN=lon",
                self.n_nowhere
            );
            self.done.warn("no_place", "file", &message);
        }
        if self.n_no_datum > 0 {
            let message = format!(
                "the positions of {} things have heights and nothing says from what they are counted: they stay in the geometry and are no z_range_m; a column height_datum says it",
                self.n_no_datum
            );
            self.done.warn("no_height_datum", "file", &message);
        }
        for message in self.numbers.found() {
            self.done.warn("citizen_number", "file", &message);
        }
        for message in self.shift.found() {
            self.done.warn("shifted", "file", &message);
        }
        if self.done.position > 0 {
            self.views.applied_whenever(self.done.position).await;
        }
        Ok(self.done)
    }

    /// Why the import ends here, and how far it came.
    fn cut(&self, problem: &Problem) -> Problem {
        let detail = format!(
            "after {} imported rows: {}",
            self.done.n_imported,
            problem.detail()
        );
        match problem.status() {
            StatusCode::INSUFFICIENT_STORAGE => Problem::no_room(detail),
            _ => Problem::unavailable(detail),
        }
    }

    /// How many of these entities take the place of one that is known. A code of another source that happens to be the
    /// same is seen by it.
    fn n_known(&self, changes: &[Register]) -> u64 {
        let register = self.views.register.read().expect(POISON);
        let known = changes.iter().filter(|change| match change {
            Register::Entity { entity } => register.view.entities.contains(&entity.kind, &entity.code),
            _ => false,
        });
        known.count() as u64
    }

    /// Live data comes first: an import waits while the pipeline is behind.
    async fn caught_up(&self) {
        loop {
            let durable = self.views.log.status().durable;
            if durable.saturating_sub(self.views.progress.borrow().applied) <= N_LAG {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn changes(&mut self, piece: Vec<Result<Row, ImportError>>) -> Result<Vec<Register>, Problem> {
        let mut changes = Vec::with_capacity(piece.len());
        for row in piece {
            let (layer, row) = match row {
                Ok(row) => (row.layer.clone(), Ok(row)),
                Err(error) => (error.layer.clone(), Err(error)),
            };
            if let Some(layer) = layer {
                self.done.enter(&layer);
            }
            let Row {
                place,
                thing,
                division_name,
                ..
            } = match row {
                Ok(row) => row,
                Err(error) => {
                    let at = self.done.at(error.place);
                    self.done.refuse(&at, &error.message);
                    continue;
                }
            };
            let at = self.done.at(place);
            let named = division_name.as_deref().and_then(|name| self.places.find(name));
            match thing {
                Thing::Entity(mut entity) => {
                    entity.division = entity.division.take().or(named.clone());
                    if is_a_border(&self.scope, &entity) {
                        self.done.refuse(&at, WHOLE_CITYS);
                        continue;
                    }
                    if !self.scope.covers(entity.belongs(entity.division.as_ref())) {
                        self.done.refuse(&at, &not_stated_own(&self.scope, &entity));
                        continue;
                    }
                    let is_anothers =
                        is_anothers(&self.views.register.read().expect(POISON), &self.scope, &entity);
                    if is_anothers {
                        let message = format!("entity `{}` is known, and not yours to change", entity.code);
                        self.done.refuse(&at, &message);
                        continue;
                    }
                    let kept = self
                        .numbers
                        .take(&mut entity, |number| self.views.persons.pseudonym(number));
                    if let Err(field) = kept.map_err(|e| persons::key_problem(&e))? {
                        self.done.refuse(&at, &numbers::refusal(field));
                        continue;
                    }
                    self.is_known(&entity, &at);
                    if entity.height_datum.is_none() && entity.z_range_m.is_none() && has_heights(&entity) {
                        self.n_no_datum += 1;
                    }
                    if entity.geometry.is_null() && has_place(&entity.kind) {
                        self.n_nowhere += 1;
                    }
                    self.look(&entity, &at, division_name.as_deref());
                    self.done.take_one();
                    changes.push(Register::Entity { entity });
                }
                Thing::Person(mut row) => {
                    row.division = row.division.take().or(named.clone());
                    match persons::change(&self.views, &self.scope, &row)? {
                        Ok((_, change)) => {
                            self.done.take_one();
                            changes.push(change);
                        }
                        Err(why) => self.done.refuse(&at, why),
                    }
                }
            }
        }
        Ok(changes)
    }

    /// Warns of a division that no list has, of any date, and no entity.
    fn is_known(&mut self, entity: &Entity, at: &str) {
        let Some(stated) = entity
            .division
            .as_ref()
            .filter(|_| entity.kind != EntityKind::Division)
        else {
            return;
        };
        // Once for each: a file may have a million rows of one.
        if !self.known.insert(stated.clone()) {
            return;
        }
        let register = self.views.register.read().expect(POISON);
        let is_held = register
            .view
            .entities
            .contains(&EntityKind::Division, &stated.as_str().into());
        drop(register);
        if !is_held && !is_listed(stated) {
            let message = format!(
                "`{}` names division {stated}, which no list and no entity has",
                entity.code
            );
            self.done.warn("unknown_division", at, &message);
        }
    }

    /// Whether an entity lies where it says, and what is known of it already lies where it lies.
    fn look(&mut self, entity: &Entity, at: &str, name: Option<&str>) {
        if entity.kind == EntityKind::Division {
            // A division is compared with itself only.
            if let Some(middle) = self.shift.wants().then(|| middle(entity)).flatten() {
                let register = self.views.register.read().expect(POISON);
                self.shift.compare(&register.view, entity, &middle);
            }
            return;
        }
        let stated = entity.division.clone();
        if !(self.shift.wants() || stated.is_some()) || entity.geometry.is_null() {
            return;
        }
        let Some(middle) = middle(entity) else { return };
        let register = self.views.register.read().expect(POISON);
        if self.shift.wants() {
            self.shift.compare(&register.view, entity, &middle);
        }
        let Some(stated) = stated else { return };
        let is_drawn = *self.drawn.entry(stated.clone()).or_insert_with(|| {
            let area = register.view.entities.get(&EntityKind::Division, stated.as_str());
            area.is_some_and(|area| !area.geometry.is_null())
        });
        let inside = |position: &onemap_model::Position| {
            register
                .city
                .divisions_at(position)
                .iter()
                .any(|code| stated.covers(code))
        };
        if !is_drawn || inside(&middle) {
            return;
        }
        self.shift.outside(&middle, inside);
        let here = register.city.divisions_at(&middle);
        drop(register);
        let called = name.map_or_else(String::new, |name| format!(" ({name})"));
        let there = match here.first() {
            Some(code) => format!("it lies in {code}"),
            None => "it lies in no division that is known".to_owned(),
        };
        let message = format!(
            "`{}` is outside the division it names, {stated}{called}: {there}",
            entity.code
        );
        self.done.warn("outside_division", at, &message);
    }
}

/// Whether the first position of an entity's geometry has a height; then all have.
fn has_heights(entity: &Entity) -> bool {
    let mut at = &entity.geometry["coordinates"];
    while at[0].is_array() {
        at = &at[0];
    }
    at.as_array().is_some_and(|position| position.len() > 2)
}

/// Whether things of a kind are usually somewhere.
fn has_place(kind: &EntityKind) -> bool {
    !matches!(
        kind,
        EntityKind::Division | EntityKind::LegalPerson | EntityKind::Event
    )
}

/// What is kept of a person.
pub(crate) fn person(views: &Views, pseudonym: Pseudonym, row: &PersonRow) -> Person {
    let place = match (&row.unit_grid, &row.position) {
        (Some(grid), _) => Some(PersonPlace::unit_grid(grid)),
        (None, Some(position)) => Some(PersonPlace::cell_of(position)),
        (None, None) => None,
    };
    let grid_division = row
        .unit_grid
        .as_ref()
        .and_then(|grid| DivisionCode::new(grid.community()).ok());
    let division = row.division.clone().or(grid_division).or_else(|| {
        let register = views.register.read().expect(POISON);
        register
            .city
            .divisions_at(row.position.as_ref()?)
            .into_iter()
            .next()
    });
    // No finer than a community.
    let division = division.filter(|code| code.as_str().len() <= 12);
    Person {
        pseudonym,
        last_four: row.number.last_four().to_owned(),
        division,
        place,
        source: row.source.clone(),
    }
}

/// Waits until what a change says is known.
pub(crate) async fn applied(views: &Views, position: u64) -> Result<(), Problem> {
    views.applied(position).await.map_err(behind)
}

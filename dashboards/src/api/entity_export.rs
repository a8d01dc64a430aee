//! `/api/v1/entities/export`: entities as a file that other programs read, and that an import takes back as they are.
//!
//! Chosen when they are asked for, by kind and code, and read while somebody takes them: what is gone meanwhile is left
//! out. GeoJSON and CSV are made in pieces; FlatGeobuf and GeoPackage lie in the data folder while they are sent,
//! because what they begin with depends on what they end with. Persons are no entities of the register.

use std::collections::HashSet;
use std::fs::{DirBuilder, File};
use std::io::{self, Read as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use onemap_model::crs::Crs;
use onemap_model::{Entity, EntityCode, EntityKind, Scope};
use onemap_spatial::query::{Filter, Found, Region};
use onemap_spatial::{CityView, ThingKind};
use onemap_store::register::export::{ExportError, Format, Text, Things, check, write_file};
use tokio_util::sync::CancellationToken;

use crate::api::leaves;
use crate::api::map::asked::Asked;
use crate::api::rows::{Piece, Turns};
use crate::auth::{self, Caller, Pass};
use crate::error::Problem;
use crate::views::Views;

const POISON: &str = "no holder of this lock panics";
/// Entities of one piece, which is made in one turn.
const N_PIECE: usize = 2048;
/// Bytes of one piece of a file.
const N_BYTES: usize = 256 << 10;
/// The folder of files that are being sent, in the data folder.
pub(crate) const FOLDER: &str = "export";

/// What the request asks for.
struct Wanted {
    format: Format,
    crs: Crs,
    filter: Filter,
    region: Option<Region>,
}

impl Wanted {
    fn read(mut asked: Asked, scope: &Scope, views: &Views) -> Result<Self, Problem> {
        let format = asked.text("format")?.ok_or_else(|| {
            Problem::bad_request(
                "bad_format",
                "format= is geojson, geojsonseq, csv, flatgeobuf or gpkg",
            )
        })?;
        let format = format
            .parse()
            .map_err(|error: String| Problem::bad_request("bad_format", error))?;
        let crs = asked.crs()?;
        let region = match asked.states("bbox") {
            true => Some(asked.region(Crs::Wgs84)?),
            false => None,
        };
        let (states_kind, states_time) = (asked.states("kind"), asked.states("at"));
        let mut filter = asked.filter(scope, views.now())?;
        if !states_kind {
            filter.kinds.extend([
                ThingKind::Entity(EntityKind::Division),
                ThingKind::Entity(EntityKind::Grid),
            ]);
            filter.kinds.retain(|kind| *kind != ThingKind::Device);
        }
        if filter.kinds.contains(&ThingKind::Device) {
            return Err(Problem::bad_request(
                "bad_kind",
                "devices are no entities; /api/v1/devices lists them",
            ));
        }
        // A copy of the register holds what is no longer, too.
        if !states_time {
            filter.valid_at = None;
        }
        asked.done()?;
        Ok(Self {
            format,
            crs,
            filter,
            region,
        })
    }

    /// The entities that are meant, by kind and code.
    fn choose(&self, views: &Views, scope: &Scope) -> Vec<(EntityKind, EntityCode)> {
        let city = views.register.read().expect(POISON).city.view();
        let mut chosen = self.on_map(&city, scope);
        if self.region.is_none() {
            chosen.extend(self.off_map(views, &city, scope));
            chosen.sort_unstable();
            chosen.dedup();
        }
        chosen
    }

    fn on_map(&self, city: &CityView, scope: &Scope) -> Vec<(EntityKind, EntityCode)> {
        let mut found: Vec<Found<'_>> = Vec::new();
        match &self.region {
            Some(region) => city.within(region, &self.filter, |thing| found.push(thing)),
            None => city.every(&self.filter, |thing| found.push(thing)),
        }
        found.sort_unstable_by(Found::order);
        let entity = |found: Found<'_>| match found.kind() {
            ThingKind::Entity(kind) if scope.sees_kind(kind) => Some((kind.clone(), found.code().clone())),
            _ => None,
        };
        found.into_iter().filter_map(entity).collect()
    }

    /// Those that the register holds and the map does not, because nobody knows where they are: by what they say
    /// themselves.
    fn off_map(&self, views: &Views, city: &CityView, scope: &Scope) -> Vec<(EntityKind, EntityCode)> {
        let of_kinds = Filter {
            kinds: self.filter.kinds.clone(),
            ..Filter::default()
        };
        let mut known = HashSet::new();
        city.every(&of_kinds, |found| {
            known.insert((found.kind(), found.code()));
        });
        let mut missing = Vec::new();
        for thing in &self.filter.kinds {
            let ThingKind::Entity(kind) = thing else { continue };
            if scope.sees_kind(kind) {
                let register = views.register.read().expect(POISON);
                let codes = register.view.entities.codes(kind);
                let off = codes.filter(|code| !known.contains(&(thing, *code)));
                missing.extend(off.map(|code| (kind.clone(), code.clone())));
            }
        }
        missing.sort_unstable();
        missing.dedup();
        missing.retain(|key| entity(views, key).is_some_and(|entity| self.lets(&entity, scope)));
        missing
    }

    /// Whether an entity without a place is among those that are asked for.
    fn lets(&self, entity: &Entity, scope: &Scope) -> bool {
        let Filter {
            class,
            division,
            stratum,
            z_range_m,
            valid_at,
            ..
        } = &self.filter;
        let reaches = |[low, high]: [f64; 2]| {
            let own = entity.z_range_m;
            own.is_some_and(|[own_low, own_high]| own_low <= high && low <= own_high)
        };
        let own = entity.division.as_ref();
        scope.covers(entity.belongs(own))
            && division
                .as_ref()
                .is_none_or(|asked| own.is_some_and(|own| asked.covers(own)))
            && class
                .as_ref()
                .is_none_or(|class| entity.class.as_ref().is_some_and(|own| own.as_str() == class))
            && stratum.is_none_or(|stratum| stratum == entity.stratum)
            && z_range_m.is_none_or(reaches)
            && valid_at.is_none_or(|at| {
                entity.valid_from.is_none_or(|from| from <= at) && entity.valid_to.is_none_or(|to| at < to)
            })
    }
}

fn entity(views: &Views, (kind, code): &(EntityKind, EntityCode)) -> Option<Entity> {
    views.register.read().expect(POISON).view.entities.get(kind, code)
}

fn problem(error: ExportError) -> Problem {
    let chain = |error: &dyn std::error::Error| match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    };
    match &error {
        ExportError::Crs(_) => Problem::bad_request("bad_crs", error.to_string()),
        ExportError::Outside { .. } => Problem::bad_request("out_of_domain", chain(&error)),
        ExportError::TooLarge(_) => Problem::bad_request("too_large", error.to_string()),
        _ => Problem::internal(&error),
    }
}

pub(crate) async fn export(
    State(views): State<Arc<Views>>,
    Extension(turns): Extension<Turns>,
    Extension(stop): Extension<CancellationToken>,
    Extension(pass): Extension<Pass>,
    caller: Caller,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let scope = caller.scope().clone();
    let wanted = Wanted::read(Asked::of_query(query.as_deref())?, &scope, &views)?;
    let place = turns.export(views.keys.holder(pass))?;
    let (format, crs) = (wanted.format, wanted.crs);
    let turns = turns.of_lists();
    let begun = scope.clone();
    let make = move |views: &Views| {
        let chosen = wanted.choose(views, &scope);
        let get = |i: usize| entity(views, &chosen[i]);
        let things = Things {
            n: chosen.len(),
            get: &get,
        };
        let checked = check(crs, things);
        let file = checked.and_then(|()| match format {
            Format::FlatGeobuf | Format::GeoPackage => made(views, format, crs, things).map(Some),
            Format::GeoJson | Format::GeoJsonSeq | Format::Csv => Ok(None),
        });
        Ok(file.map(|file| (file, chosen)))
    };
    let (file, chosen) = turns.once(views.clone(), make).await?.map_err(problem)?;
    leaves(
        &views,
        caller.scope(),
        "entities",
        query.as_deref().unwrap_or_default(),
    )
    .await?;
    let end = {
        let views = views.clone();
        async move {
            tokio::select! {
                () = auth::ended(&views, pass, &begun) => {}
                () = stop.cancelled() => {}
            }
        }
    };
    let mut pieces: Box<dyn FnMut() -> Piece + Send> = match file {
        Some(file) => Box::new(file_pieces(file)),
        None => Box::new(text_pieces(views, chosen, Text::new(format, crs))),
    };
    let mut response = Response::new(turns.body(end, move || {
        let _held = &place;
        pieces()
    }));
    let (content, name) = format.names();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content));
    let name = format!("attachment; filename=\"entities.{name}\"");
    headers.extend(HeaderValue::from_str(&name).map(|name| (header::CONTENT_DISPOSITION, name)));
    Ok(response)
}

/// A path in the data folder that is free again when this goes.
struct Made(PathBuf);

impl Drop for Made {
    fn drop(&mut self) {
        // The next start empties the folder.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Makes a file and opens it; its name is gone then, so that it goes when it was read.
fn made(views: &Views, format: Format, crs: Crs, things: Things<'_>) -> Result<File, ExportError> {
    let folder = views.dir.join(FOLDER);
    DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
    let made = Made(free(&folder)?);
    write_file(&made.0, format, crs, views.now(), things)?;
    Ok(File::open(&made.0)?)
}

fn free(folder: &Path) -> io::Result<PathBuf> {
    let mut name = [0; 8];
    getrandom::fill(&mut name).map_err(io::Error::other)?;
    Ok(folder.join(format!("{:016x}", u64::from_le_bytes(name))))
}

fn file_pieces(mut file: File) -> impl FnMut() -> Piece + Send {
    move || {
        let mut piece = Vec::with_capacity(N_BYTES);
        let n = (&mut file).take(N_BYTES as u64).read_to_end(&mut piece)?;
        Ok((piece, n == N_BYTES))
    }
}

fn text_pieces(
    views: Arc<Views>,
    chosen: Vec<(EntityKind, EntityCode)>,
    mut text: Text,
) -> impl FnMut() -> Piece + Send {
    let mut next = 0;
    move || {
        let mut out = Vec::new();
        if next == 0 {
            text.begin(&mut out);
        }
        let until = chosen.len().min(next + N_PIECE);
        for key in &chosen[next..until] {
            if let Some(entity) = entity(&views, key) {
                text.entity(&mut out, &entity)?;
            }
        }
        next = until;
        let is_end = next == chosen.len();
        if is_end {
            text.end(&mut out);
        }
        Ok((out, !is_end))
    }
}

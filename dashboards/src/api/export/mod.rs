//! `/api/v1/export`: readings as a file, as long as they are.
//!
//! Series by series in the order of their names, each by time, made in pieces while somebody takes them. Columns
//! are those of [`COLUMNS`]. What damaged rows took from it is said behind the last row. CSV is what `onemap import readings` takes, line protocol what `/api/v2/write` takes.

mod columnar;
mod text;

use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::Response;
use onemap_model::{DeviceId, DivisionCode, Quantity, Scope, SeriesKey, Timestamp};
use onemap_store::history::{Damage, Missing, SeriesId, Version, noting};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use crate::api::query::kept::KeptRow;
use crate::api::query::marks::Marks;
use crate::api::query::page::Given;
use crate::api::query::walk::Chosen;
use crate::api::rows::{Piece, Turns};
use crate::api::{leaves, time};
use crate::auth::{self, Caller, Pass};
use crate::error::Problem;
use crate::request::Params;
use crate::views::Views;

const POISON: &str = "no holder of this lock panics";
/// Rows of one piece, which is made in one turn.
const N_ROWS: usize = 8192;
/// What stands in a row, by the names it has in every format with columns.
const COLUMNS: [&str; 8] = [
    "device",
    "quantity",
    "channel",
    "unit",
    "measured_at",
    "received_at",
    "value",
    "quality",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Format {
    Csv,
    Lineprotocol,
    Ndjson,
    Parquet,
}

impl Format {
    /// Content type and file name.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Csv => ("text/csv; charset=utf-8", "attachment; filename=\"readings.csv\""),
            Self::Lineprotocol => (
                "text/plain; charset=utf-8",
                "attachment; filename=\"readings.lp\"",
            ),
            Self::Ndjson => ("application/x-ndjson", "attachment; filename=\"readings.ndjson\""),
            Self::Parquet => (
                "application/vnd.apache.parquet",
                "attachment; filename=\"readings.parquet\"",
            ),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExportQuery {
    format: Format,
    /// Several with commas between them.
    device: Option<String>,
    /// Several with commas between them.
    quantity: Option<String>,
    ch: Option<u16>,
    division: Option<DivisionCode>,
    kind: Option<String>,
    from: Option<String>,
    to: Option<String>,
    #[serde(default)]
    revisions: bool,
    known_at: Option<String>,
    quality: Option<String>,
}

/// One value with its series.
struct Row<'a> {
    key: &'a SeriesKey,
    version: Version,
}

/// Writes rows in a format.
enum Writer {
    Csv,
    Lineprotocol,
    Ndjson,
    Parquet(Box<columnar::Columns>),
}

impl Writer {
    fn of(format: Format) -> Result<Self, parquet::errors::ParquetError> {
        Ok(match format {
            Format::Csv => Self::Csv,
            Format::Lineprotocol => Self::Lineprotocol,
            Format::Ndjson => Self::Ndjson,
            Format::Parquet => Self::Parquet(Box::new(columnar::Columns::new()?)),
        })
    }
    fn begin(&self, out: &mut Vec<u8>) {
        if let Self::Csv = self {
            text::csv_head(out);
        }
    }
    fn row(&mut self, out: &mut Vec<u8>, row: &Row<'_>) {
        match self {
            Self::Csv => text::csv(out, row),
            Self::Lineprotocol => text::line_protocol(out, row),
            Self::Ndjson => text::ndjson(out, row),
            Self::Parquet(columns) => columns.push(row),
        }
    }
    /// Behind the last row, what damaged rows took from it. Readers of rows that do not expect it fail there, and
    /// take nothing for whole that is not.
    fn damaged(&mut self, out: &mut Vec<u8>, damage: &Damage) {
        match self {
            Self::Csv | Self::Lineprotocol => text::damaged(out, damage),
            Self::Ndjson => text::damaged_object(out, damage),
            Self::Parquet(columns) => columns.damaged(damage),
        }
    }
    /// What is whole after a piece.
    fn flush(&mut self, out: &mut Vec<u8>, is_end: bool) -> Result<(), parquet::errors::ParquetError> {
        match self {
            Self::Parquet(columns) => columns.flush(out, is_end),
            _ => Ok(()),
        }
    }
}

pub(crate) async fn export(
    State(views): State<Arc<Views>>,
    Extension(turns): Extension<Turns>,
    Extension(stop): Extension<CancellationToken>,
    Extension(pass): Extension<Pass>,
    caller: Caller,
    RawQuery(asked): RawQuery,
    Params(query): Params<ExportQuery>,
) -> Result<Response, Problem> {
    let scope = caller.scope();
    let at = |name, text: &Option<String>| text.as_deref().map(|t| time(name, t)).transpose();
    let chosen = Chosen {
        from: at("from", &query.from)?.unwrap_or(Timestamp::from_ms(i64::MIN)),
        to: at("to", &query.to)?.unwrap_or(Timestamp::from_ms(i64::MAX)),
        marks: Marks::parse(query.quality.as_deref())?,
        known_at: at("known_at", &query.known_at)?,
        revisions: query.revisions,
        received: true,
    };
    if chosen.from > chosen.to {
        return Err(Problem::bad_request("bad_range", "from is after to"));
    }
    let place = turns.export(views.keys.holder(pass))?;
    let series = series(&views, scope, &query)?;
    // Said before the first byte is sent: rows tell when they were received, which only the embedded history knows.
    let ids: Vec<SeriesId> = series.iter().map(|(_, id)| *id).collect();
    let kept = KeptRow::of(&views, ids.iter().copied(), chosen.from);
    let check = move |views: &Views| views.archive.check(&ids, chosen.from, chosen.known_at, true);
    turns.once(views.clone(), check).await?;
    let writer = Writer::of(query.format).map_err(|error| Problem::internal(&error))?;
    leaves(&views, scope, "readings", asked.as_deref().unwrap_or_default()).await?;
    let end = {
        let (views, scope) = (views.clone(), scope.clone());
        async move {
            tokio::select! {
                () = auth::ended(&views, pass, &scope) => {}
                () = stop.cancelled() => {}
            }
        }
    };
    let mut pieces = pieces(views, series, chosen, writer);
    let mut response = Response::new(turns.body(end, move || {
        let _held = &place;
        pieces()
    }));
    let (content, name) = query.format.names();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content));
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static(name));
    let kept = kept.and_then(|kept| HeaderValue::from_str(&kept.kept_from.to_string()).ok());
    headers.extend(kept.map(|at| (HeaderName::from_static("kept-from"), at)));
    Ok(response)
}

/// The series that are asked for and may be seen, by name.
fn series(views: &Views, scope: &Scope, query: &ExportQuery) -> Result<Vec<(SeriesKey, SeriesId)>, Problem> {
    let register = views.register.read().expect(POISON);
    let (division, kind) = (query.division.as_ref(), query.kind.as_deref());
    let visible = |device: &DeviceId| register.asked_for(scope, device, division, kind).is_some();
    let quantities: Option<Vec<Quantity>> = list(query.quantity.as_deref())
        .map(|names| {
            let quantity = |name| {
                Quantity::named(name).ok_or_else(|| {
                    Problem::bad_request("bad_quantity", format!("no quantity is called `{name}`"))
                })
            };
            names.map(quantity).collect()
        })
        .transpose()?;
    let all = match list(query.device.as_deref()) {
        None => views.history.all_series(),
        Some(names) => {
            let mut of_devices = Vec::new();
            for name in names {
                let device = DeviceId::new(name).ok().filter(&visible).ok_or_else(|| {
                    Problem::not_found(
                        "unknown_device",
                        format!("no device that is asked for is called `{name}`"),
                    )
                })?;
                of_devices.extend(views.history.series_of(&device));
            }
            of_devices
        }
    };
    let mut series: Vec<(SeriesKey, SeriesId)> = all
        .into_iter()
        .filter(|info| {
            let key = &info.key;
            quantities.as_ref().is_none_or(|all| all.contains(&key.quantity))
                && query.ch.is_none_or(|ch| key.channel == ch)
                && visible(&key.device)
        })
        .map(|info| (info.key, info.id))
        .collect();
    let name = |key: &SeriesKey| (key.device.clone(), &key.quantity.definition().name, key.channel);
    series.sort_by(|(a, _), (b, _)| name(a).cmp(&name(b)));
    series.dedup_by_key(|(_, id)| *id);
    Ok(series)
}

/// The names between commas.
fn list(text: Option<&str>) -> Option<impl Iterator<Item = &str>> {
    text.map(|text| text.split(',').map(str::trim).filter(|name| !name.is_empty()))
}

/// One series as CSV with every value that was ever given, in at most about `most` bytes; says whether that is all.
///
/// # Errors
/// When the history, or the engine beside it, does not tell.
pub(crate) fn csv_of(views: &Arc<Views>, key: &SeriesKey, span: Range<Timestamp>, most: usize) -> Piece {
    let series = views.history.series_id(key).map(|id| (key.clone(), id));
    let chosen = Chosen {
        from: span.start,
        to: span.end,
        marks: Marks::Any,
        known_at: None,
        revisions: true,
        received: true,
    };
    let mut next = pieces(views.clone(), series.into_iter().collect(), chosen, Writer::Csv);
    let mut all = Vec::new();
    loop {
        let (piece, goes_on) = next()?;
        all.extend(piece);
        if !goes_on || all.len() >= most {
            return Ok((all, !goes_on));
        }
    }
}

fn pieces(
    views: Arc<Views>,
    series: Vec<(SeriesKey, SeriesId)>,
    chosen: Chosen,
    mut writer: Writer,
) -> impl FnMut() -> Piece + Send {
    let mut series = series.into_iter();
    let mut current = series.next();
    let mut given: Option<Given> = None;
    let mut has_begun = false;
    let mut missing = Missing::default();
    move || {
        let mut out = Vec::new();
        if !std::mem::replace(&mut has_begun, true) {
            writer.begin(&mut out);
        }
        let mut n_left = N_ROWS;
        while let Some((key, id)) = &current {
            let mut take = |version: Version| {
                if n_left == 0 {
                    return ControlFlow::Break(());
                }
                n_left -= 1;
                writer.row(&mut out, &Row { key, version });
                ControlFlow::Continue(())
            };
            let (is_all, left_out) = noting(|| chosen.walk(&views, *id, &mut given, &mut take));
            missing.add(left_out);
            if is_all? {
                current = series.next();
                given = None;
                // A series without values in the span costs a look, too.
                n_left = n_left.saturating_sub(16);
            }
            if n_left == 0 {
                break;
            }
        }
        if current.is_none()
            && let Some(damage) = missing.damage()
        {
            writer.damaged(&mut out, &damage);
        }
        writer.flush(&mut out, current.is_none())?;
        Ok((out, current.is_some()))
    }
}

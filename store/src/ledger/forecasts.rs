//! Forecasts as they were issued: written with their record, never changed, read by series.

use onemap_model::{Forecast, Timestamp};
use rusqlite::{Connection, Row, ToSql, params};

use crate::sqlite::{signed, unsigned};

/// Made at every open, so that a ledger of before gains them.
pub(super) const TABLES: &str = "
CREATE TABLE IF NOT EXISTS forecasts (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, position INTEGER NOT NULL, ordinal INTEGER NOT NULL, at INTEGER NOT NULL,
    series TEXT NOT NULL, source TEXT NOT NULL, origin INTEGER NOT NULL, json TEXT NOT NULL,
    UNIQUE (position, ordinal));
CREATE INDEX IF NOT EXISTS forecasts_series ON forecasts (series, source, seq);
CREATE INDEX IF NOT EXISTS forecasts_at ON forecasts (at);
";

const COLUMNS: &str = "seq, position, at, json";

/// Forecasts of one record.
#[derive(Clone, Debug, PartialEq)]
pub struct Issued {
    /// The record's position.
    pub position: u64,
    /// When the server took them.
    pub at: Timestamp,
    /// In their order.
    pub forecasts: Vec<Forecast>,
}

/// Which forecasts to read; an absent part takes all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForecastFilter {
    /// Only of this series, as `device/quantity/channel`.
    pub series: Option<String>,
    /// Only by this source.
    pub source: Option<String>,
    /// Only with an origin at or after this time.
    pub from: Option<Timestamp>,
    /// Only with an origin before this time.
    pub to: Option<Timestamp>,
    /// Only those that the server had then.
    pub known_at: Option<Timestamp>,
}

/// A forecast with its number in the ledger, which rises in the order in which they came.
#[derive(Clone, Debug, PartialEq)]
pub struct LedgerForecast {
    /// The number; it belongs to this ledger.
    pub seq: u64,
    /// Position of the record.
    pub position: u64,
    /// When the server took it.
    pub at: Timestamp,
    /// What was said.
    pub forecast: Forecast,
}

/// Writes the forecasts of a record; those that are there stay as they are.
pub(super) fn put(tx: &Connection, issued: &Issued) -> rusqlite::Result<()> {
    let mut insert = tx.prepare_cached(
        "INSERT OR IGNORE INTO forecasts (position, ordinal, at, series, source, origin, json)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    for (ordinal, forecast) in (0_i64..).zip(&issued.forecasts) {
        insert.execute(params![
            signed(issued.position),
            ordinal,
            issued.at.ms(),
            forecast.series.to_string(),
            forecast.source,
            forecast.origin.ms(),
            serde_json::to_string(forecast).expect("forecasts have text keys only"),
        ])?;
    }
    Ok(())
}

/// Removes forecasts that were taken before a time.
pub(super) fn retain(tx: &Connection, before: Timestamp) -> rusqlite::Result<u64> {
    let n = tx.execute("DELETE FROM forecasts WHERE at < ?1", [before.ms()])?;
    Ok(n as u64)
}

/// The condition of a filter, its values from `?2` on.
fn condition<'a>(filter: &'a ForecastFilter, times: &'a [Option<i64>; 3]) -> (String, Vec<&'a dyn ToSql>) {
    let [from, to, known_at] = times;
    let (mut sql, mut values) = (String::new(), Vec::<&dyn ToSql>::new());
    let parts: [(&str, Option<&dyn ToSql>); 5] = [
        ("series = ?", filter.series.as_ref().map(|v| v as &dyn ToSql)),
        ("source = ?", filter.source.as_ref().map(|v| v as &dyn ToSql)),
        ("origin >= ?", from.as_ref().map(|v| v as &dyn ToSql)),
        ("origin < ?", to.as_ref().map(|v| v as &dyn ToSql)),
        ("at <= ?", known_at.as_ref().map(|v| v as &dyn ToSql)),
    ];
    for (condition, value) in parts {
        if let Some(value) = value {
            values.push(value);
            let own = format!("?{}", values.len() + 1);
            sql.push_str(&format!(" AND {}", condition.replace('?', &own)));
        }
    }
    (sql, values)
}

/// Reads forecasts newest first, those with smaller numbers than `before`.
pub(super) fn page(
    connection: &Connection,
    filter: &ForecastFilter,
    before: Option<u64>,
    limit: usize,
) -> rusqlite::Result<Vec<LedgerForecast>> {
    let before = before.map_or(i64::MAX, signed);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let times = [filter.from, filter.to, filter.known_at].map(|time| time.map(Timestamp::ms));
    let (condition, more) = condition(filter, &times);
    let mut values: Vec<&dyn ToSql> = vec![&before];
    values.extend(more);
    values.push(&limit);
    let sql = format!(
        "SELECT {COLUMNS} FROM forecasts WHERE seq < ?1{condition} ORDER BY seq DESC LIMIT ?{}",
        values.len()
    );
    connection
        .prepare_cached(&sql)?
        .query_map(values.as_slice(), read)?
        .collect()
}

/// The newest of each series and source, in the order of their names, behind the last of a page before.
pub(super) fn newest(
    connection: &Connection,
    (series, source): (&str, &str),
    limit: usize,
) -> rusqlite::Result<Vec<LedgerForecast>> {
    connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM forecasts WHERE seq IN (
                 SELECT max(seq) FROM forecasts WHERE series >= ?1 AND (series, source) > (?1, ?2)
                 GROUP BY series, source ORDER BY series, source LIMIT ?3)
             ORDER BY series, source"
        ))?
        .query_map(
            params![series, source, i64::try_from(limit).unwrap_or(i64::MAX)],
            read,
        )?
        .collect()
}

fn read(row: &Row<'_>) -> rusqlite::Result<LedgerForecast> {
    let text: String = row.get(3)?;
    let forecast = serde_json::from_str(&text).map_err(|e| {
        rusqlite::Error::FromSqlConversionFailure(3, rusqlite::types::Type::Text, Box::new(e))
    })?;
    Ok(LedgerForecast {
        seq: unsigned(row.get(0)?),
        position: unsigned(row.get(1)?),
        at: Timestamp::from_ms(row.get(2)?),
        forecast,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use onemap_model::{DeviceId, Lead, Quantity, SeriesKey};

    use super::*;
    use crate::ledger::{Ledger, LedgerBatch, LedgerReader};

    fn at(minutes: i64) -> Timestamp {
        Timestamp::from_ms(1_763_856_000_000 + minutes * 60_000)
    }

    fn forecast(device: &str, source: &str, minutes: i64) -> Forecast {
        Forecast {
            series: SeriesKey {
                device: DeviceId::new(device).unwrap(),
                quantity: Quantity::named("water_level").unwrap(),
                channel: 0,
            },
            source: source.to_owned(),
            model: String::new(),
            issued_at: at(minutes),
            origin: at(minutes),
            at_origin: Some(2.0),
            step_s: 3600,
            regime: None,
            leads: vec![Lead {
                at: at(minutes + 60),
                value: 2.1,
                median: None,
                quantiles: vec![],
                exceed: vec![],
            }],
            silent: vec![],
            influences: vec![],
            notes: vec![],
        }
    }

    fn batch(cursor: u64, issued: Vec<Issued>) -> LedgerBatch {
        LedgerBatch {
            cursor,
            forecasts: issued,
            ..LedgerBatch::default()
        }
    }

    #[test]
    fn forecasts_stay_as_they_were_issued() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.sqlite");
        let mut ledger = Ledger::open(&path).unwrap();
        let issued = |position: u64, minutes: i64| Issued {
            position,
            at: at(minutes),
            forecasts: vec![
                forecast("a", "onemap", minutes),
                forecast("a", "气象台", minutes),
                forecast("b", "onemap", minutes),
            ],
        };
        let all: Vec<Issued> = (0..4).map(|n| issued(10 + n, 60 * n as i64)).collect();
        ledger.write(&batch(13, all.clone())).unwrap();
        // What comes again changes nothing, whatever it says now.
        let mut again = all.clone();
        again[0].forecasts[0].leads[0].value = 9.9;
        ledger.write(&batch(13, again)).unwrap();
        let reader = LedgerReader::open(&path).unwrap();
        let of = |series: &str, source: &str| ForecastFilter {
            series: Some(series.to_owned()),
            source: Some(source.to_owned()),
            ..ForecastFilter::default()
        };
        let page = reader
            .forecasts(&of("a/water_level/0", "onemap"), None, 10)
            .unwrap();
        let origins: Vec<Timestamp> = page.iter().map(|row| row.forecast.origin).collect();
        assert_eq!(origins, [at(180), at(120), at(60), at(0)]);
        assert_eq!(page[3].forecast, all[0].forecasts[0]);
        let next = reader
            .forecasts(&of("a/water_level/0", "onemap"), Some(page[1].seq), 1)
            .unwrap();
        assert_eq!(next[0].forecast.origin, at(60));
        let then = ForecastFilter {
            known_at: Some(at(61)),
            ..of("a/water_level/0", "气象台")
        };
        assert_eq!(
            reader.forecasts(&then, None, 1).unwrap()[0].forecast.origin,
            at(60)
        );
        let span = ForecastFilter {
            from: Some(at(60)),
            to: Some(at(180)),
            ..ForecastFilter::default()
        };
        assert_eq!(reader.forecasts(&span, None, 100).unwrap().len(), 6);
        let newest = reader.newest_forecasts(("", ""), 10).unwrap();
        let names: Vec<(String, &str)> = newest
            .iter()
            .map(|row| (row.forecast.series.to_string(), &*row.forecast.source))
            .collect();
        let name = |device: &str, source| (format!("{device}/water_level/0"), source);
        assert_eq!(
            names,
            [name("a", "onemap"), name("a", "气象台"), name("b", "onemap")]
        );
        assert!(newest.iter().all(|row| row.forecast.origin == at(180)));
        assert_eq!(
            reader
                .newest_forecasts(("a/water_level/0", "\u{10ffff}"), 10)
                .unwrap()
                .len(),
            1
        );
        let kept = ledger.retain(at(61) + Duration::from_secs(180 * 86_400)).unwrap();
        assert_eq!(kept.n_forecasts, 6);
    }
}

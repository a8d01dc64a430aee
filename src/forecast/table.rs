//! A CSV file as times and columns of numbers.

use std::io::Read as _;
use std::path::Path;

use anyhow::{Context, Result, bail};
use onemap_forecast::series::{Foretold, Kind, Series, kind_of};
use onemap_store::register::import::csv;

/// What a file holds of what was asked for.
pub(super) struct Table {
    pub(super) clock: Clock,
    /// Milliseconds since 1970, of UTC when the times have a zone, else of the clock that they were read from.
    pub(super) times: Vec<i64>,
    /// The target first.
    pub(super) series: Vec<Series>,
    pub(super) notes: Vec<String>,
}

/// Which clock the times of a file are of.
#[derive(Clone, Copy)]
pub(super) struct Clock {
    /// Of the first row, minutes east of UTC; `None` where times have no zone.
    zone_min: Option<i64>,
}

/// What networks write where they have no number, in small letters.
const MISSING: [&str; 14] = [
    "", "na", "n/a", "nan", "null", "none", "nil", "-", "--", "---", "*", "***", "#n/a", "\\n",
];
const COMPASS: [&str; 16] = [
    "N", "NNE", "NE", "ENE", "E", "ESE", "SE", "SSE", "S", "SSW", "SW", "WSW", "W", "WNW", "NW", "NNW",
];

impl Table {
    /// Reads the columns of a file.
    pub(super) fn read(
        path: &Path,
        time: &str,
        target: &str,
        inputs: &[String],
        known_ahead: &[String],
    ) -> Result<Self> {
        let name = path.display();
        let text = text_of(path)?;
        let mut lines = csv::lines(&text);
        let header: Vec<String> = match lines.next() {
            Some(Ok(line)) => line.fields.iter().map(|field| field.trim().to_owned()).collect(),
            Some(Err((number, why))) => bail!("{name}:{number}: {why}"),
            None => bail!("{name}: it is empty"),
        };
        let place = |wanted: &str| {
            let wanted = wanted.trim();
            header
                .iter()
                .position(|column| column == wanted)
                .with_context(|| {
                    format!(
                        "{name}:1: the header has no column `{wanted}`; it has {}",
                        header.join(", ")
                    )
                })
        };
        let at_time = place(time)?;
        let mut wanted: Vec<(String, usize)> = vec![(target.trim().to_owned(), place(target)?)];
        for input in inputs.iter().filter(|input| !input.trim().is_empty()) {
            let input = input.trim();
            if wanted.iter().all(|(name, _)| name != input) {
                wanted.push((input.to_owned(), place(input)?));
            }
        }
        for ahead in known_ahead {
            if wanted.iter().skip(1).all(|(name, _)| name != ahead.trim()) {
                bail!("--known-ahead {ahead} is none of --inputs");
            }
        }
        let mut clock = Clock { zone_min: None };
        let mut times = Vec::new();
        let mut columns: Vec<Column> = wanted.iter().map(|_| Column::default()).collect();
        for line in lines {
            let line = match line {
                Ok(line) => line,
                Err((number, why)) => bail!("{name}:{number}: {why}"),
            };
            if line.fields.len() != header.len() {
                bail!(
                    "{name}:{}: {} fields, the header has {}",
                    line.number,
                    line.fields.len(),
                    header.len()
                );
            }
            let text = line.fields[at_time].trim();
            let Some(moment) = Moment::read(text) else {
                bail!(
                    "{name}:{}: column `{}`: `{text}` is no time, like 2014-12-31T23:00",
                    line.number,
                    header[at_time]
                );
            };
            if times.is_empty() {
                clock.zone_min = moment.zone_min;
            }
            if clock.zone_min.is_some() != moment.zone_min.is_some() {
                bail!(
                    "{name}:{}: column `{}`: `{text}` has {} zone, unlike the first row",
                    line.number,
                    header[at_time],
                    if moment.zone_min.is_some() { "a" } else { "no" }
                );
            }
            times.push(clock.ms(moment));
            for (column, (_, at)) in columns.iter_mut().zip(&wanted) {
                column.take(line.fields[*at].trim(), line.number);
            }
        }
        if times.is_empty() {
            bail!("{name}: it has a header and no row");
        }
        let mut notes = Vec::new();
        let mut series = Vec::new();
        for (at, ((column_name, _), column)) in wanted.iter().zip(columns).enumerate() {
            let is_ahead = known_ahead.iter().any(|ahead| ahead.trim() == column_name);
            series.extend(column.series(&name, column_name, at == 0, is_ahead, &mut notes)?);
        }
        if series[0].values.iter().all(|value| value.is_nan()) {
            bail!("{name}: column `{target}` has no number");
        }
        Ok(Self {
            clock,
            times,
            series,
            notes,
        })
    }
}

#[derive(Default)]
struct Column {
    values: Vec<f64>,
    /// Angles of compass points, NaN elsewhere; empty when there is none.
    angles: Vec<f64>,
    /// The first field that is neither a number nor a compass point, with its line.
    bad: Option<(usize, String)>,
    compass: Option<(usize, String)>,
    n_numbers: usize,
}

impl Column {
    fn take(&mut self, text: &str, line: usize) {
        self.values.push(f64::NAN);
        if let Some(number) = text.parse::<f64>().ok().filter(|number| number.is_finite()) {
            self.n_numbers += 1;
            *self.values.last_mut().expect("it was pushed") = number;
            return;
        }
        if MISSING.contains(&text.to_ascii_lowercase().as_str()) {
            return;
        }
        match COMPASS.iter().position(|point| point.eq_ignore_ascii_case(text)) {
            Some(point) => {
                self.angles.resize(self.values.len() - 1, f64::NAN);
                self.angles.push(point as f64 * std::f64::consts::TAU / 16.0);
                self.compass.get_or_insert_with(|| (line, text.to_owned()));
            }
            None => {
                self.bad.get_or_insert_with(|| (line, text.to_owned()));
            }
        }
    }

    /// One series of numbers, or two of a wind's direction.
    fn series(
        mut self,
        file: &dyn std::fmt::Display,
        name: &str,
        is_target: bool,
        is_ahead: bool,
        notes: &mut Vec<String>,
    ) -> Result<Vec<Series>> {
        let is_wind = self.compass.is_some() && self.n_numbers == 0 && self.bad.is_none() && !is_target;
        if is_wind {
            self.angles.resize(self.values.len(), f64::NAN);
            notes.push(format!(
                "input `{name}` holds compass points: its parts to the east and north are used"
            ));
            let part = |suffix: &str, of: fn(f64) -> f64| Series {
                name: format!("{name}.{suffix}"),
                kind: Kind::State,
                values: self.angles.iter().map(|angle| of(*angle)).collect(),
                foretold: Foretold::default(),
            };
            return Ok(vec![part("east", f64::sin), part("north", f64::cos)]);
        }
        if let Some((line, text)) = self.bad.or(self.compass) {
            bail!("{file}:{line}: column `{name}`: `{text}` is no number");
        }
        let mut kind = if is_target {
            Kind::State
        } else {
            kind_of(&self.values)
        };
        if is_ahead {
            if let Some(value) = self.values.iter().find(|value| **value < 0.0) {
                bail!(
                    "{file}: column `{name}`: --known-ahead takes amounts, which are not negative ({value})"
                );
            }
            kind = Kind::AheadAmount;
        }
        Ok(vec![Series {
            name: name.to_owned(),
            kind,
            values: self.values,
            foretold: Foretold::default(),
        }])
    }
}

fn text_of(path: &Path) -> Result<String> {
    let name = path.display();
    let bytes = std::fs::read(path).with_context(|| format!("{name} cannot be read"))?;
    let bytes = match bytes.starts_with(&[0x1f, 0x8b]) {
        false => bytes,
        true => {
            let mut unpacked = Vec::new();
            flate2::read::MultiGzDecoder::new(bytes.as_slice())
                .take(MOST_BYTES + 1)
                .read_to_end(&mut unpacked)
                .with_context(|| format!("{name} cannot be unpacked"))?;
            if unpacked.len() as u64 > MOST_BYTES {
                bail!("{name}: unpacked it is larger than {} MiB", MOST_BYTES >> 20);
            }
            unpacked
        }
    };
    String::from_utf8(bytes).with_context(|| format!("{name}: it is not UTF-8"))
}

/// Of an unpacked file.
const MOST_BYTES: u64 = 2 << 30;

/// A time as it was written.
#[derive(Clone, Copy)]
struct Moment {
    /// Milliseconds since 1970 on its own clock.
    local_ms: i64,
    zone_min: Option<i64>,
}

impl Clock {
    fn ms(self, moment: Moment) -> i64 {
        match (self.zone_min, moment.zone_min) {
            (Some(zone), own) => moment.local_ms - own.unwrap_or(zone) * 60_000,
            // What has a zone where the file has none is read as the file's clock.
            (None, _) => moment.local_ms,
        }
    }

    /// A time on the file's clock.
    pub(super) fn read(self, text: &str) -> Option<i64> {
        Some(self.ms(Moment::read(text.trim())?))
    }
}

/// A time as the file would have it, to the second.
pub(super) fn shown_ms(ms: i64, clock: Clock) -> String {
    let local = ms + clock.zone_min.unwrap_or(0) * 60_000;
    let text = jiff::Timestamp::from_millisecond(local)
        .map(|time| {
            time.to_zoned(jiff::tz::TimeZone::UTC)
                .strftime("%Y-%m-%dT%H:%M:%S")
                .to_string()
        })
        .unwrap_or_else(|_| format!("{local} ms"));
    match clock.zone_min {
        None => text,
        Some(0) => format!("{text}Z"),
        Some(zone) => format!(
            "{text}{}{:02}:{:02}",
            if zone < 0 { '-' } else { '+' },
            zone.abs() / 60,
            zone.abs() % 60
        ),
    }
}

impl Moment {
    /// `2014-12-31`, `2014/12/31 23:00`, `20141231`, `201412312300`, `2014-12-31T23:00:00.5+08:00`; seconds or milliseconds
    /// since 1970 of ten or thirteen digits. `24:00` is the end of its day.
    fn read(text: &str) -> Option<Self> {
        if text.len() >= 8 && text.bytes().all(|b| b.is_ascii_digit()) {
            return Self::of_digits(text);
        }
        let (date, rest) = match text.find(['T', 't', ' ']) {
            Some(at) => (&text[..at], text[at + 1..].trim()),
            None => (text, ""),
        };
        let mut parts = date.split(['-', '/', '.']);
        let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() || year.len() != 4 {
            return None;
        }
        let days = days(year.parse().ok()?, month.parse().ok()?, day.parse().ok()?)?;
        if rest.is_empty() {
            return Some(Self {
                local_ms: days * 86_400_000,
                zone_min: None,
            });
        }
        let (clock, zone_min) = zone(rest)?;
        let mut parts = clock.split(':');
        let hour: i64 = parts.next()?.parse().ok()?;
        let minute: i64 = parts.next().map_or(Some(0), |m| m.parse().ok())?;
        let second: f64 = parts.next().map_or(Some(0.0), |s| s.parse().ok())?;
        let is_end = hour == 24 && minute == 0 && second == 0.0;
        let is_time = (0..24).contains(&hour) && (0..60).contains(&minute) && (0.0..61.0).contains(&second);
        if parts.next().is_some() || !(is_end || is_time) {
            return None;
        }
        let local_ms = ((days * 24 + hour) * 60 + minute) * 60_000 + (second * 1000.0).round() as i64;
        Some(Self { local_ms, zone_min })
    }

    fn of_digits(text: &str) -> Option<Self> {
        let part = |from: usize, to: usize| text.get(from..to).map_or(Some(0), |t| t.parse::<i64>().ok());
        let local_ms = match text.len() {
            10 => text.parse::<i64>().ok()? * 1000,
            13 => text.parse().ok()?,
            8 | 12 | 14 => {
                let days = days(part(0, 4)?, part(4, 6)?, part(6, 8)?)?;
                let (hour, minute, second) = (part(8, 10)?, part(10, 12)?, part(12, 14)?);
                if hour > 24 || minute > 59 || second > 60 {
                    return None;
                }
                ((days * 24 + hour) * 60 + minute) * 60_000 + second * 1000
            }
            _ => return None,
        };
        Some(Self {
            local_ms,
            zone_min: None,
        })
    }
}

/// Days since 1970 of a date of the Gregorian calendar.
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    let (year, month, day) = (
        i16::try_from(year).ok()?,
        i8::try_from(month).ok()?,
        i8::try_from(day).ok()?,
    );
    let date = jiff::civil::Date::new(year, month, day).ok()?;
    let zoned = date.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(zoned.timestamp().as_second() / 86_400)
}

/// A time of day without its zone, and the zone in minutes east.
fn zone(text: &str) -> Option<(&str, Option<i64>)> {
    if let Some(clock) = text
        .strip_suffix(['Z', 'z'])
        .or_else(|| text.strip_suffix(" UTC"))
    {
        return Some((clock.trim(), Some(0)));
    }
    let Some(at) = text.rfind(['+', '-']) else {
        return Some((text, None));
    };
    let digits: String = text[at + 1..].chars().filter(|c| *c != ':').collect();
    if !digits.bytes().all(|b| b.is_ascii_digit()) || !(digits.len() == 2 || digits.len() == 4) {
        return None;
    }
    let hours: i64 = digits[..2].parse().ok()?;
    let minutes: i64 = digits.get(2..4).map_or(Some(0), |m| m.parse().ok())?;
    let sign = if text[at..].starts_with('-') { -1 } else { 1 };
    (hours <= 18 && minutes < 60).then(|| (text[..at].trim(), Some(sign * (hours * 60 + minutes))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_they_come() {
        let new_year = 1_388_534_400_000;
        let same = [
            "2014-01-01",
            "2014/1/1",
            "2014-01-01T00:00",
            "2014-01-01 00:00:00",
            "20140101",
            "201401010000",
            "2014-01-01T00:00:00.000",
            "2013-12-31T24:00",
            "1388534400",
            "1388534400000",
        ];
        for text in same {
            assert_eq!(Moment::read(text).map(|m| m.local_ms), Some(new_year), "{text}");
        }
        let zoned = Clock { zone_min: Some(480) };
        for text in [
            "2014-01-01T08:00+08:00",
            "2014-01-01 08:00:00+0800",
            "2014-01-01T00:00Z",
            "2014-01-01T08:00",
        ] {
            assert_eq!(zoned.read(text), Some(new_year), "{text}");
        }
        for text in [
            "",
            "yesterday",
            "2014-13-01",
            "2014-02-30",
            "01/02/2014",
            "2014-01-01T25:00",
            "2014-01-01T10:61",
        ] {
            assert!(Moment::read(text).is_none(), "{text}");
        }
        assert_eq!(shown_ms(new_year, zoned), "2014-01-01T08:00:00+08:00");
    }
}

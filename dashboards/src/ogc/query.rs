//! What a request for items asks for (OGC 17-069r4, 7.15; OGC 18-058r1, 6.2; OGC 19-079r2, 6.2).

use onemap_model::{Stratum, Timestamp};

use super::axes::Axes;
use super::collections::{Collection, Property};
use super::projected::ProjectedBox;
use super::{check_format, short};
use crate::error::Problem;

/// Features of a page when no number is asked for.
pub(super) const DEFAULT_LIMIT: usize = 10;
/// Most features of one page; who asks for more gets as many.
pub(super) const MAX_LIMIT: usize = 10_000;
/// Times that a layer can be asked for begin and end here.
const YEARS_MS: std::ops::RangeInclusive<i64> = -62_135_596_800_000..=253_402_300_799_999;

/// Longitudes and latitudes of a box; west greater than east crosses the antimeridian.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Window {
    pub(super) west: f64,
    pub(super) south: f64,
    pub(super) east: f64,
    pub(super) north: f64,
}

impl Window {
    /// West, south, east, north of one box, or of two that meet in its middle: the map takes no box wider than half the
    /// globe, and GIS programs ask for the whole of it.
    pub(super) fn halves(self) -> Vec<[f64; 4]> {
        let Self {
            west,
            south,
            east,
            north,
        } = self;
        match east - west > 180.0 {
            true => {
                let middle = west + (east - west) / 2.0;
                vec![[west, south, middle, north], [middle, south, east, north]]
            }
            false => vec![[west, south, east, north]],
        }
    }
}

/// One question for items.
#[derive(Debug)]
pub(super) struct Query {
    pub(super) limit: usize,
    pub(super) window: Option<Window>,
    /// The box itself when it is of metres; the window lies around it.
    pub(super) projected: Option<ProjectedBox>,
    /// The lowest and highest height of a box with three axes; metres.
    pub(super) heights: Option<[f64; 2]>,
    /// From and to, both inside; open when absent.
    pub(super) time: Option<[Option<Timestamp>; 2]>,
    pub(super) axes: Axes,
    /// Properties that must equal a text.
    pub(super) equal: Vec<(Property, String)>,
    /// Features behind this code only.
    pub(super) after: Option<String>,
    /// The parameters as they came, but for `after`: a link to the next page repeats them.
    pub(super) repeated: String,
    /// Those that say which features match.
    pub(super) condition: String,
}

impl Query {
    /// # Errors
    /// 400: a parameter that is unknown, there twice, or cannot be read.
    pub(super) fn parse(collection: &Collection, query: Option<&str>) -> Result<Self, Problem> {
        let mut asked = Self {
            limit: DEFAULT_LIMIT,
            window: None,
            projected: None,
            heights: None,
            time: None,
            axes: Axes::DEFAULT,
            equal: Vec::new(),
            after: None,
            repeated: String::new(),
            condition: String::new(),
        };
        let (mut corners, mut corner_axes) = (None, None);
        let mut seen: Vec<String> = Vec::new();
        let mut repeated = form_urlencoded::Serializer::new(String::new());
        let mut condition = form_urlencoded::Serializer::new(String::new());
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            if seen.iter().any(|before| *before == name) {
                return Err(wrong(&name, &value, "given twice"));
            }
            match &*name {
                "limit" => asked.limit = limit(&value)?,
                "bbox" => corners = Some(numbers(&value)?),
                "bbox-crs" => corner_axes = Some(Axes::parse("bbox-crs", &value)?),
                "datetime" => asked.time = Some(interval(&value)?),
                "crs" => asked.axes = Axes::parse("crs", &value)?,
                "f" => check_format(Some(&value))?,
                "after" => asked.after = Some(value.clone().into_owned()),
                name => match collection.property(name) {
                    Some(property) => asked.equal.push((property, value.clone().into_owned())),
                    None => return Err(unknown(name)),
                },
            }
            if name != "after" {
                repeated.append_pair(&name, &value);
            }
            if !matches!(&*name, "after" | "limit" | "crs" | "f") {
                condition.append_pair(&name, &value);
            }
            seen.push(name.into_owned());
        }
        (asked.repeated, asked.condition) = (repeated.finish(), condition.finish());
        match (corners, corner_axes) {
            (Some(corners), axes) => {
                let axes = axes.unwrap_or(Axes::DEFAULT);
                let (window, heights) = window(&corners, axes)?;
                (asked.window, asked.heights) = (Some(window), heights);
                let (low, high) = corners.split_at(corners.len() / 2);
                asked.projected = (!axes.is_degrees()).then(|| ProjectedBox {
                    axes,
                    low: [low[0], low[1]],
                    high: [high[0], high[1]],
                });
            }
            (None, Some(_)) => {
                return Err(Problem::bad_request(
                    "bad_parameter",
                    "bbox-crs stands without bbox",
                ));
            }
            (None, None) => {}
        }
        Ok(asked)
    }
}

/// The parameters of a page that takes none but `f`.
pub(super) fn only_format(query: Option<&str>) -> Result<(), Problem> {
    for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        if name != "f" {
            return Err(unknown(&name));
        }
        check_format(Some(&value))?;
    }
    Ok(())
}

/// The parameters of one feature: `crs` and `f`.
pub(super) fn only_axes(query: Option<&str>) -> Result<Axes, Problem> {
    let mut axes = Axes::DEFAULT;
    for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        match &*name {
            "crs" => axes = Axes::parse("crs", &value)?,
            "f" => check_format(Some(&value))?,
            name => return Err(unknown(name)),
        }
    }
    Ok(axes)
}

fn unknown(name: &str) -> Problem {
    Problem::bad_request(
        "unknown_parameter",
        format!(
            "`{}` is no parameter of this resource (/ogc/api lists them)",
            short(name)
        ),
    )
}

fn wrong(name: &str, value: &str, why: &str) -> Problem {
    Problem::bad_request(
        "bad_parameter",
        format!("{}={}: {why}", short(name), short(value)),
    )
}

fn limit(text: &str) -> Result<usize, Problem> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match text.parse::<usize>() {
        Ok(n) if digits && n > 0 => Ok(n.min(MAX_LIMIT)),
        // More digits than a number has are more than there may be.
        Err(_) if digits => Ok(MAX_LIMIT),
        _ => Err(wrong("limit", text, "a whole number from 1 on is needed")),
    }
}

fn numbers(text: &str) -> Result<Vec<f64>, Problem> {
    let read = |part: &str| part.trim().parse().ok().filter(|n: &f64| n.is_finite());
    let numbers: Option<Vec<f64>> = text.split(',').map(read).collect();
    match numbers {
        Some(numbers) if matches!(numbers.len(), 4 | 6) => Ok(numbers),
        _ => Err(wrong(
            "bbox",
            text,
            "four numbers are needed, or six with heights",
        )),
    }
}

/// The box of its lower and upper corner. In degrees the first longitude may be greater than the second.
fn window(numbers: &[f64], axes: Axes) -> Result<(Window, Option<[f64; 2]>), Problem> {
    let bad = |why: &str| Problem::bad_request("bad_bbox", format!("bbox: {why}"));
    let (low, high) = numbers.split_at(numbers.len() / 2);
    let heights = match (low.get(2), high.get(2)) {
        (Some(low), Some(high)) if low > high => return Err(bad("its lowest height is above its highest")),
        (Some(low), Some(high)) => Some([*low, *high]),
        _ => None,
    };
    let (west, south) = axes.to_wgs84(low[0], low[1]).map_err(|e| bad(&e))?;
    let (east, north) = axes.to_wgs84(high[0], high[1]).map_err(|e| bad(&e))?;
    if south > north {
        return Err(bad("its southern border lies north of its northern one"));
    }
    if axes.is_degrees() {
        return Ok((
            Window {
                west,
                south,
                east,
                north,
            },
            heights,
        ));
    }
    // The straight borders of a projected box bend in degrees: the window holds points along all of them.
    if low[0] > high[0] || low[1] > high[1] {
        return Err(bad("its second corner is not the upper one"));
    }
    const N_STEPS: u32 = 64;
    let mut all = Window {
        west,
        south,
        east,
        north,
    };
    let along = |low: f64, high: f64, step: u32| low + (high - low) * f64::from(step) / f64::from(N_STEPS);
    for step in 0..=N_STEPS {
        let (a, b) = (along(low[0], high[0], step), along(low[1], high[1], step));
        for (first, second) in [(a, low[1]), (a, high[1]), (low[0], b), (high[0], b)] {
            let (lon, lat) = axes.to_wgs84(first, second).map_err(|e| bad(&e))?;
            all.west = all.west.min(lon);
            all.east = all.east.max(lon);
            all.south = all.south.min(lat);
            all.north = all.north.max(lat);
        }
    }
    Ok((all, heights))
}

/// An instant, or two with a slash between, of which one may be `..` or nothing (7.15.4).
fn interval(text: &str) -> Result<[Option<Timestamp>; 2], Problem> {
    let bad = |why: &str| wrong("datetime", text, why);
    let one = |part: &str| {
        // A plus sign that was not escaped arrives as a space.
        let at = Timestamp::parse(&part.replace(' ', "+"))
            .map_err(|_| bad("times are RFC 3339 with offset, like 2026-11-26T08:00:00+08:00 or …Z"))?;
        match YEARS_MS.contains(&at.ms()) {
            true => Ok(at),
            false => Err(bad("a time outside of the years 1 to 9999")),
        }
    };
    let open = |part: &str| match part {
        "" | ".." => Ok(None),
        part => one(part).map(Some),
    };
    let Some((from, to)) = text.split_once('/') else {
        let at = one(text)?;
        return Ok([Some(at), Some(at)]);
    };
    match [open(from)?, open(to)?] {
        [None, None] => Err(bad("an interval is open at one end only")),
        [Some(from), Some(to)] if from > to => Err(bad("its end lies before its beginning")),
        ends => Ok(ends),
    }
}

/// A stratum by its name.
pub(super) fn stratum_name(stratum: Stratum) -> &'static str {
    match stratum {
        Stratum::Above => "above",
        Stratum::Surface => "surface",
        Stratum::Below => "below",
    }
}

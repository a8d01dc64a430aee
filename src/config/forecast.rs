//! `[forecast]`, `[[forecast.series]]`: what is foreseen, from what, how far ahead.

use anyhow::{Context, Result, bail, ensure};
use onemap_model::forecast::reads_as_own;
use onemap_model::{DeviceId, Quantity, SeriesKey};
use serde::Deserialize;

/// Most series that are foreseen, inputs of one, and leads of one.
const MOST_SERIES: usize = 2_000;
const MOST_INPUTS: usize = 16;
const MOST_LEADS: usize = 48;
/// Steps from the origin to the last lead at most.
pub(crate) const MOST_STEPS: u32 = 400;

/// `[forecast]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Forecast {
    /// Time of the day in Beijing at which models are trained again, `HH:MM`. Default `02:30`.
    train_at: String,
    /// Days of the history that they are trained on. Default 1100.
    history_days: u32,
    series: Vec<Series>,
}

impl Default for Forecast {
    fn default() -> Self {
        Self {
            train_at: "02:30".to_owned(),
            history_days: 1_100,
            series: Vec::new(),
        }
    }
}

/// `[[forecast.series]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Series {
    device: String,
    quantity: String,
    #[serde(default)]
    ch: u16,
    /// Other series, `device/quantity` or `device/quantity/ch`: gauges upstream, rain.
    #[serde(default)]
    inputs: Vec<String>,
    /// What others foresee of rain: an input where it reaches far enough.
    #[serde(default)]
    ahead: Vec<Ahead>,
    /// Between two forecasts and two values of the grid: `10m`, `1h`, `1d`.
    step: String,
    /// How far ahead: `["1h", "3h"]`, whole steps.
    leads: Vec<String>,
    /// Of exceedances, in the quantity's unit.
    threshold: Option<f64>,
}

/// A forecast of others.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ahead {
    /// Of which series, as inputs are written.
    series: String,
    /// By whom, as it is handed in.
    source: String,
}

/// What is foreseen, as meant.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ForecastPart {
    /// Minutes of the Beijing day.
    pub(crate) train_at_min: u32,
    pub(crate) history_days: u32,
    pub(crate) series: Vec<GaugePart>,
}

/// One series that is foreseen.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct GaugePart {
    pub(crate) target: SeriesKey,
    pub(crate) inputs: Vec<SeriesKey>,
    pub(crate) ahead: Vec<AheadPart>,
    pub(crate) step_s: u32,
    /// In steps, ascending.
    pub(crate) leads: Vec<usize>,
    pub(crate) threshold: Option<f64>,
}

/// A forecast of others that a model has as an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AheadPart {
    pub(crate) series: SeriesKey,
    pub(crate) source: String,
}

/// `device/quantity/ch (source)`: how the input is told.
impl std::fmt::Display for AheadPart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.series, self.source)
    }
}

impl GaugePart {
    /// What a model is told to look at, as it is told: the series itself, measured inputs, forecasts of others.
    pub(crate) fn names(&self) -> Vec<String> {
        let measured = std::iter::once(&self.target).chain(&self.inputs);
        let measured = measured.map(ToString::to_string);
        measured
            .chain(self.ahead.iter().map(ToString::to_string))
            .collect()
    }
}

impl Ahead {
    fn checked(&self) -> Result<AheadPart> {
        let series = key(&self.series, "ahead")?;
        ensure!(
            series.quantity.is_amount(),
            "ahead: {series} is no rain or evaporation of a while; of others only these are taken"
        );
        let is_named = !self.source.is_empty() && self.source.trim() == self.source;
        ensure!(
            is_named && !reads_as_own(&self.source),
            "ahead: source = \"{}\" is nobody else's name, as forecasts are handed in with",
            self.source
        );
        let source = self.source.clone();
        Ok(AheadPart { series, source })
    }
}

impl Forecast {
    pub(super) fn checked(&self) -> Result<ForecastPart> {
        let at = || format!("[forecast] train_at = \"{}\": use HH:MM", self.train_at);
        let (hour, minute) = self.train_at.split_once(':').with_context(at)?;
        let (hour, minute): (u32, u32) = (hour.parse().with_context(at)?, minute.parse().with_context(at)?);
        ensure!(hour < 24 && minute < 60, "{}", at());
        ensure!(
            (1..=36_500).contains(&self.history_days),
            "[forecast] history_days = {}: 1 to 36500",
            self.history_days
        );
        ensure!(
            self.series.len() <= MOST_SERIES,
            "[[forecast.series]]: at most {MOST_SERIES}, not {}",
            self.series.len()
        );
        let mut series: Vec<GaugePart> = Vec::with_capacity(self.series.len());
        for one in &self.series {
            let part = one
                .checked()
                .with_context(|| format!("[[forecast.series]] {}/{}/{}", one.device, one.quantity, one.ch))?;
            ensure!(
                series.iter().all(|other| other.target != part.target),
                "[[forecast.series]] {} stands there twice",
                part.target
            );
            series.push(part);
        }
        Ok(ForecastPart {
            train_at_min: hour * 60 + minute,
            history_days: self.history_days,
            series,
        })
    }
}

impl Series {
    fn checked(&self) -> Result<GaugePart> {
        let target = SeriesKey {
            device: DeviceId::new(&self.device).with_context(|| format!("device = \"{}\"", self.device))?,
            quantity: quantity(&self.quantity)?,
            channel: self.ch,
        };
        ensure!(
            self.inputs.len() + self.ahead.len() <= MOST_INPUTS,
            "inputs and ahead: at most {MOST_INPUTS}, not {}",
            self.inputs.len() + self.ahead.len()
        );
        let inputs = self.inputs.iter().map(|text| key(text, "inputs"));
        let inputs: Vec<SeriesKey> = inputs.collect::<Result<_>>()?;
        let ahead = self.ahead.iter().map(Ahead::checked);
        let ahead: Vec<AheadPart> = ahead.collect::<Result<_>>()?;
        for (index, part) in ahead.iter().enumerate() {
            ensure!(!ahead[..index].contains(part), "ahead: {part} stands there twice");
        }
        for (index, input) in inputs.iter().enumerate() {
            ensure!(*input != target, "inputs: {input} is the series itself");
            ensure!(
                !inputs[..index].contains(input),
                "inputs: {input} stands there twice"
            );
        }
        let step_s = seconds("step", &self.step)?;
        ensure!(
            (60..=86_400).contains(&step_s),
            "step = \"{}\": one minute to one day",
            self.step
        );
        ensure!(
            (1..=MOST_LEADS).contains(&self.leads.len()),
            "leads: 1 to {MOST_LEADS}, not {}",
            self.leads.len()
        );
        let mut leads = Vec::with_capacity(self.leads.len());
        for text in &self.leads {
            let lead_s = seconds("leads", text)?;
            ensure!(
                lead_s % step_s == 0 && lead_s / step_s <= MOST_STEPS,
                "leads: {text} is no whole number of steps of {}, up to {MOST_STEPS}",
                self.step
            );
            leads.push((lead_s / step_s) as usize);
        }
        leads.sort_unstable();
        leads.dedup();
        ensure!(
            self.threshold.is_none_or(f64::is_finite),
            "threshold is no finite number"
        );
        Ok(GaugePart {
            target,
            inputs,
            ahead,
            step_s,
            leads,
            threshold: self.threshold,
        })
    }
}

fn quantity(name: &str) -> Result<Quantity> {
    let quantity = Quantity::named(name)
        .with_context(|| format!("no quantity is called `{name}` (see /api/v1/quantities)"))?;
    ensure!(
        !quantity.is_state() && !quantity.definition().text,
        "`{name}` is no number that could be foreseen"
    );
    Ok(quantity)
}

/// `device/quantity` or `device/quantity/ch`.
fn key(text: &str, place: &str) -> Result<SeriesKey> {
    let wrong = || format!("{place}: `{text}` is no device/quantity or device/quantity/ch");
    let mut parts = text.split('/');
    let (Some(device), Some(name)) = (parts.next(), parts.next()) else {
        bail!("{}", wrong());
    };
    let channel = parts.next().map_or(Ok(0), str::parse).with_context(wrong)?;
    ensure!(parts.next().is_none(), "{}", wrong());
    Ok(SeriesKey {
        device: DeviceId::new(device).with_context(wrong)?,
        quantity: quantity(name)?,
        channel,
    })
}

fn seconds(name: &str, text: &str) -> Result<u32> {
    let wrong = || format!("{name} = \"{text}\": use a whole number with s, m, h or d, like 10m");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let n: u32 = digits.parse().with_context(wrong)?;
    let unit = match &text[digits.len()..] {
        "s" => 1,
        "m" | "min" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => bail!("{}", wrong()),
    };
    n.checked_mul(unit).filter(|s| *s > 0).with_context(wrong)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const GAUGE: &str = "[[series]]\ndevice = \"hydro-7\"\nquantity = \"water_level\"\n\
                         inputs = [\"hydro-3/water_level\", \"rain-1/rain/2\"]\nstep = \"1h\"\n\
                         leads = [\"6h\", \"1h\", \"1h\"]\nthreshold = 2.5\n\
                         ahead = [{ series = \"rain-1/rain\", source = \"气象台\" }]\n";

    fn read(text: &str) -> Result<ForecastPart> {
        toml::from_str::<Forecast>(text)?.checked()
    }

    #[test]
    fn a_gauge_is_what_its_part_says() {
        let part = read(GAUGE).unwrap();
        let gauge = &part.series[0];
        assert_eq!((part.train_at_min, part.history_days), (150, 1_100));
        assert_eq!((gauge.step_s, &gauge.leads[..]), (3_600, &[1, 6][..]));
        assert_eq!(gauge.inputs[1].to_string(), "rain-1/rain/2");
        assert_eq!(gauge.names()[3], "rain-1/rain/0 (气象台)");
        assert_eq!(read("").unwrap().series, []);
    }

    #[test]
    fn what_cannot_be_foreseen_is_refused_by_name() {
        for (from, to, words) in [
            (
                "water_level\"\ninputs",
                "nonsense\"\ninputs",
                "no quantity is called `nonsense`",
            ),
            ("step = \"1h\"", "step = \"1x\"", "like 10m"),
            ("step = \"1h\"", "step = \"2d\"", "one minute to one day"),
            ("\"6h\"", "\"90m\"", "no whole number of steps"),
            ("\"6h\"", "\"500h\"", "up to 400"),
            (
                "\"hydro-3/water_level\"",
                "\"hydro-7/water_level\"",
                "the series itself",
            ),
            ("\"hydro-3/water_level\"", "\"rain-1/rain/2\"", "twice"),
            ("\"hydro-3/water_level\"", "\"hydro-3\"", "no device/quantity"),
            ("threshold = 2.5", "threshold = nan", "no finite number"),
            ("source = \"气象台\"", "source = \"Onemap\"", "nobody else's name"),
            ("source = \"气象台\"", "source = \" x\"", "nobody else's name"),
            (
                "{ series = \"rain-1/rain\"",
                "{ series = \"hydro-3/water_level\"",
                "no rain or evaporation",
            ),
            (
                "{ series = \"rain-1/rain\"",
                "{ series = \"rain-1\"",
                "ahead: `rain-1` is no device/quantity",
            ),
            (
                "ahead = [",
                "ahead = [{ series = \"rain-1/rain\", source = \"气象台\" }, ",
                "stands there twice",
            ),
            ("[[series]]", "train_at = \"24:00\"\n[[series]]", "HH:MM"),
        ] {
            let error = format!("{:#}", read(&GAUGE.replace(from, to)).unwrap_err());
            assert!(error.contains(words), "{error} ({words})");
        }
        let twice = format!("{:#}", read(&format!("{GAUGE}{GAUGE}")).unwrap_err());
        assert!(twice.contains("stands there twice"), "{twice}");
    }
}

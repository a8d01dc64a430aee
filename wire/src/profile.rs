//! Profiles (thing models): what a type of device says and how it is meant, one YAML file each.
//!
//! ```yaml
//! version: 1
//! name: {zh: 一体化水位计, en: Level gauge}
//! protocol: thingsboard          # thingsboard | http | native | modbus | hj212 | sl651 | gbt26875
//! cadence: 60s                   # how often it sends
//! period: {stamp: end, length: 0s}
//! timestamp: {path: $.head.time, format: "%Y-%m-%d %H:%M:%S", zone: "+08:00"}   # or ms, s, rfc3339
//! future_tolerance: 2min
//! clock_tolerance: 30s           # how far its clock may be off before its readings are marked
//! crs: GCJ02                     # of the positions it sends, WGS84 without it; also CGCS2000, BD09
//! sentinels: [-999]              # in addition to -999 and -9999
//! ignore: [imei]                 # members that hold no reading
//! keys:
//!   lvl: {quantity: water_level, unit: cm, channel: 0, scale: 1, offset: 0}
//!   $.data.pm[*].v:              # a path, see [`Path`]; `[*]` counts the channels on
//!     quantity: pm2_5
//!     cadence: 1min              # when it differs from the profile's
//!     limits: {min: 0, max: 1000, rate_per_min: 200, stuck_after: 6h}
//! ```
//!
//! Limits are in the quantity's canonical unit. Two keys that give one quantity on one channel are a fault. A
//! name like `data.pm` is a plain key and a path.
//! Secrets are never in a profile: the register keeps the hash of a provisioning secret.
//!
//! A `modbus` profile has in place of `keys`
//! `modbus: {unit: 1, poll: 100ms, registers: [{address: 0, type: u16, count: 20, quantity: counter}]}`.

//!
//! An `sl651` profile may say `sl651: {mode: m3, resend: [39, 26]}`: how its stations and the centre speak with each other
//! (m2 without it), and which elements are asked for when hours are missing.

mod limits;
mod nested;
mod path;
mod stamp;
mod written;

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use onemap_model::{Crs, ProfileId, Quantity};
use serde::Deserialize;
use serde_saphyr::Location;

pub use limits::{Expected, Limits};
pub use path::{Path, PathError, PathMapping};
pub use stamp::OwnStamp;

use crate::Scaling;
use crate::modbus::{Read, RegisterMap};
use crate::sl651::reply::Mode;
use crate::sl651::{Definition, Element};
use written::ProfileFile;

/// Raw values that mean "no value" whatever the profile says.
pub const SENTINELS: [f64; 2] = [-999.0, -9999.0];
/// How far a stamp may be ahead of the receive time unless a profile says otherwise.
pub const FUTURE_TOLERANCE: Duration = Duration::from_secs(120);

/// How long a transmission device of GB/T 26875.3 may say nothing: inspections (查岗) are made every day.
const SILENT_WITHOUT_CADENCE: Duration = Duration::from_secs(86_400);

/// A text in two languages.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Names {
    /// Chinese.
    pub zh: String,
    /// English.
    pub en: String,
}

/// How the device speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names say it")]
pub enum Protocol {
    Thingsboard,
    Http,
    Native,
    Modbus,
    Hj212,
    Sl651,
    Gbt26875,
}

/// Which end of its period a device stamps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names say it")]
pub enum Stamp {
    Start,
    #[default]
    End,
}

/// The time a value stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Period {
    /// Which end is stamped.
    pub stamp: Stamp,
    /// How long; zero is instantaneous.
    pub length: Duration,
}

/// What one key of the device means.
#[derive(Clone, Debug, PartialEq)]
pub struct Mapping {
    /// Quantity.
    pub quantity: Quantity,
    /// Channel.
    pub channel: u16,
    /// From the device's number to the canonical one.
    pub scaling: Scaling,
    /// How often this key comes, when it is not the profile's cadence.
    pub cadence: Option<Duration>,
    /// What is believed of it.
    pub limits: Limits,
}

/// A checked profile.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// Its id: the file name without its extension.
    pub id: ProfileId,
    /// What the type is called.
    pub name: Names,
    /// How it speaks.
    pub protocol: Protocol,
    /// How often it sends, if it is known.
    pub cadence: Option<Duration>,
    /// How long a device that reports changes only, and has no cadence, may say nothing; it holds for devices that it speaks
    /// for, too. A day for GB/T 26875.3, else not stated.
    pub silent_after: Option<Duration>,
    /// What a stamp means.
    pub period: Period,
    /// How far a stamp may be ahead of the receive time.
    pub future_tolerance: Duration,
    /// How far the device's clock may be off before its readings are marked.
    pub clock_tolerance: Option<Duration>,
    /// Further raw values that mean "no value".
    pub sentinels: Vec<f64>,
    /// The stamp that its payloads carry themselves.
    pub timestamp: Option<OwnStamp>,
    /// Members of its payloads that hold no reading.
    pub ignore: HashSet<String>,
    /// Keys that are not dictionary names, or not in the canonical unit.
    pub keys: HashMap<String, Mapping>,
    /// Paths into nested values, in the order of the file.
    pub paths: Vec<PathMapping>,
    series: limits::Series,
    /// Register list of a Modbus slave.
    pub modbus: Option<RegisterMap>,
    /// What SL 651 stations of this type are told apart by.
    pub sl651: Hydrological,
    /// The system of the positions that its devices send (`longitude`, `latitude`), in degrees.
    pub crs: Crs,
}

/// What hydrological stations are told apart by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hydrological {
    /// How they and the centre speak; none leaves it to what a station says of itself (item 0C), and M2.
    pub mode: Option<Mode>,
    /// Elements that are asked for when hours are missing; empty takes those that a station reports.
    pub resend: Vec<(Element, Definition)>,
}

/// Why a profile cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("profile `{profile}`, line {line}, column {column}: {message}")]
pub struct ProfileError {
    /// The profile.
    pub profile: ProfileId,
    /// Line, from 1; 0 when the place is not known.
    pub line: u64,
    /// Column, from 1; 0 when the place is not known.
    pub column: u64,
    /// What is wrong.
    pub message: String,
}

impl Profile {
    /// Reads and checks a profile's YAML.
    ///
    /// # Errors
    /// The first thing that is wrong, with its line and column.
    pub fn parse(id: &ProfileId, text: &str) -> Result<Self, ProfileError> {
        let at = |location: Location, message: String| ProfileError {
            profile: id.clone(),
            line: location.line(),
            column: location.column(),
            message,
        };
        let options = serde_saphyr::options! { with_snippet: false };
        let file: ProfileFile = serde_saphyr::from_str_with_options(text, options).map_err(|error| {
            let location = error.location().unwrap_or(Location::UNKNOWN);
            // The library ends its texts with the place, which stands in fields of its own here.
            let place = format!(" at line {}, column {}", location.line(), location.column());
            let message = error.without_snippet().to_string();
            at(
                location,
                message.strip_suffix(&place).unwrap_or(&message).to_owned(),
            )
        })?;
        file.check(id)
            .map_err(|(location, message)| at(location, message))
    }

    /// Whether a raw value means "no value".
    pub fn is_sentinel(&self, raw: f64) -> bool {
        SENTINELS.contains(&raw) || self.sentinels.contains(&raw)
    }

    /// What is expected of one series; `None` when no key or register speaks of it.
    pub fn expected(&self, quantity: Quantity, channel: u16) -> Option<&Expected> {
        self.series.of(quantity, channel)
    }

    /// The requests that read every register of a Modbus profile; empty for other protocols.
    pub fn read_plan(&self) -> Vec<Read> {
        self.modbus.as_ref().map_or_else(Vec::new, RegisterMap::read_plan)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::modbus::Table;

    fn parse(text: &str) -> Result<Profile, ProfileError> {
        Profile::parse(&ProfileId::new("gauge").unwrap(), text)
    }

    const HEAD: &str = "version: 1\nname: {zh: 计, en: Gauge}\n";

    #[test]
    fn a_whole_profile_is_read() {
        let profile = parse(&format!(
            "{HEAD}protocol: thingsboard\ncadence: 60s\nperiod: {{stamp: start, length: 1h}}\nfuture_tolerance: 5min\nsentinels: [-999, 9999.5]\nkeys:\n  t: {{quantity: temperature, unit: degF}}\n  p: {{quantity: pressure, unit: kPa, channel: 3, scale: 0.1, offset: -2}}\n"
        ))
        .unwrap();
        assert_eq!(profile.cadence, Some(Duration::from_secs(60)));
        assert_eq!(
            profile.period,
            Period {
                stamp: Stamp::Start,
                length: Duration::from_secs(3600)
            }
        );
        assert_eq!(profile.future_tolerance, Duration::from_secs(300));
        assert!(profile.is_sentinel(-9999.0) && profile.is_sentinel(9999.5) && !profile.is_sentinel(-99.9));
        let p = &profile.keys["p"];
        assert_eq!((p.quantity.name(), p.channel), ("pressure", 3));
        // (1020 * 0.1 - 2) kPa
        assert_eq!(p.scaling.apply(p.quantity, 1020.0), Some(1000.0));
    }

    #[test]
    fn what_is_left_out_has_its_stated_default() {
        let profile = parse(&format!("{HEAD}protocol: native\n")).unwrap();
        assert_eq!(profile.period, Period::default());
        assert_eq!(profile.future_tolerance, FUTURE_TOLERANCE);
        assert_eq!((profile.cadence, profile.read_plan().len()), (None, 0));
    }

    #[test]
    fn what_reports_changes_only_is_silent_after_a_time_of_its_own() {
        let day = Some(Duration::from_secs(86_400));
        for (text, want) in [
            ("protocol: gbt26875\n", day),
            (
                "protocol: gbt26875\nsilent_after: 2h\n",
                Some(Duration::from_secs(7200)),
            ),
            ("protocol: gbt26875\ncadence: 1h\n", day),
            ("protocol: hj212\n", None),
            ("protocol: native\nsilent_after: 24h\n", day),
        ] {
            assert_eq!(
                parse(&format!("{HEAD}{text}")).unwrap().silent_after,
                want,
                "{text}"
            );
        }
        let error = parse(&format!("{HEAD}protocol: gbt26875\nsilent_after: 0s\n")).unwrap_err();
        assert_eq!((error.line, error.column), (4, 15), "{error}");
    }

    #[test]
    fn a_register_list_is_read_and_planned() {
        let profile = parse(&format!(
            "{HEAD}protocol: modbus\nmodbus:\n  poll: 100ms\n  registers:\n  - {{address: 20, type: f32, order: little_swapped, quantity: voltage}}\n  - {{address: 0, type: u16, count: 20, quantity: counter}}\n  - {{address: 7, table: coil, quantity: switch}}\n"
        ))
        .unwrap();
        let map = profile.modbus.as_ref().unwrap();
        assert_eq!((map.unit, map.poll), (1, Duration::from_millis(100)));
        let plan: Vec<_> = profile
            .read_plan()
            .iter()
            .map(|r| (r.table, r.start, r.count))
            .collect();
        assert_eq!(plan, [(Table::Holding, 0, 22), (Table::Coil, 7, 1)]);
    }

    #[test]
    fn positions_have_a_system_in_degrees() {
        let crs = |line: &str| parse(&format!("{HEAD}protocol: thingsboard\n{line}")).map(|p| p.crs);
        assert_eq!(crs(""), Ok(Crs::Wgs84));
        assert_eq!(crs("crs: GCJ02\n"), Ok(Crs::Gcj02));
        assert_eq!(crs("crs: BD09\n"), Ok(Crs::Bd09));
        for (line, part) in [("crs: EPSG:4522\n", "in degrees"), ("crs: mars\n", "mars")] {
            let error = crs(line).unwrap_err();
            assert!(error.message.contains(part) && error.line == 4, "{error}");
        }
    }

    #[test]
    fn hydrological_stations_have_a_mode_and_elements() {
        let profile = parse(&format!(
            "{HEAD}protocol: sl651\nsl651: {{mode: m3, resend: [39, \"FF11:23\", Z]}}\n"
        ))
        .unwrap();
        assert_eq!(profile.sl651.mode, Some(Mode::M3));
        let codes: Vec<_> = profile
            .sl651
            .resend
            .iter()
            .map(|(element, _)| element.0)
            .collect();
        assert_eq!(codes, [0x39, 0xFF11, 0x39]);
        let plain = parse(&format!("{HEAD}protocol: sl651\n")).unwrap();
        assert_eq!(plain.sl651, Hydrological::default());
        for (section, part) in [
            ("protocol: sl651\nsl651: {mode: m5}\n", "m5"),
            ("protocol: sl651\nsl651: {resend: [FF11]}\n", "FF11:23"),
            ("protocol: native\nsl651: {mode: m2}\n", "needs `protocol: sl651`"),
        ] {
            let error = parse(&format!("{HEAD}{section}")).unwrap_err();
            assert!(error.message.contains(part) && error.line > 3, "{error}");
        }
    }

    #[test]
    fn keys_may_be_paths_and_state_cadence_and_limits() {
        let profile = parse(&format!(
            "{HEAD}protocol: http\ncadence: 60s\nclock_tolerance: 30s\nignore: [imei]\nkeys:\n  $.pm[*]: {{quantity: pm2_5, channel: 2, limits: {{max: 1000}}}}\n  a.b: {{quantity: ph, cadence: 5min, limits: {{min: 0, max: 14, rate_per_min: 2, stuck_after: 6h}}}}\n  t 1: {{quantity: temperature}}\n"
        ))
        .unwrap();
        assert_eq!(profile.paths.len(), 2);
        let mut keys: Vec<_> = profile.keys.keys().map(String::as_str).collect();
        keys.sort_unstable();
        assert_eq!(keys, ["a.b", "t 1"]);
        let expected = |name, channel| profile.expected(Quantity::named(name).unwrap(), channel);
        let ph = expected("ph", 0).unwrap();
        assert_eq!(ph.cadence, Some(Duration::from_secs(300)));
        assert_eq!(
            ph.limits,
            Limits {
                min: Some(0.0),
                max: Some(14.0),
                rate_per_min: Some(2.0),
                stuck_after: Some(Duration::from_secs(6 * 3600)),
            }
        );
        assert_eq!(expected("ph", 1), None);
        assert_eq!(expected("pm2_5", 1), None);
        let pm = expected("pm2_5", 9).unwrap();
        assert_eq!(
            (pm.cadence, pm.limits.max),
            (Some(Duration::from_secs(60)), Some(1000.0))
        );
        assert_eq!(profile.clock_tolerance, Some(Duration::from_secs(30)));
    }

    #[test]
    fn errors_name_line_and_column() {
        for (body, line, column, part) in [
            (
                "protocol: http\nkeys:\n  $..a: {quantity: ph}\n",
                5,
                3,
                "character 3",
            ),
            (
                "protocol: http\nkeys:\n  a: {quantity: ph, limits: {min: 3, max: 3}}\n",
                5,
                43,
                "smallest",
            ),
            (
                "protocol: http\nkeys:\n  a: {quantity: ph, limits: {rate_per_min: 0}}\n",
                5,
                44,
                "above 0",
            ),
            (
                "protocol: http\nkeys:\n  a: {quantity: ph, limits: {stuck_after: 0s}}\n",
                5,
                43,
                "longer",
            ),
            (
                "protocol: http\nkeys:\n  a: {quantity: ph, limits: {most: 1}}\n",
                5,
                30,
                "most",
            ),
            (
                "protocol: http\nkeys:\n  a: {quantity: ph, cadence: 0s}\n",
                5,
                30,
                "cadence",
            ),
            ("protocol: http\nclock_tolerance: 0s\n", 4, 18, "tolerance"),
            (
                "protocol: http\nkeys:\n  a: {quantity: ph}\n  b: {quantity: ph, limits: {max: 9}}\n",
                6,
                3,
                "channel 0",
            ),
            (
                "protocol: http\nkeys:\n  c: {quantity: pm10}\n  e: {quantity: pm10, channel: 1}\n  d: {quantity: pm10}\n",
                7,
                3,
                "`d` gives pm10 on channel 0, which key `c` gives already",
            ),
            (
                "protocol: http\nkeys:\n  $.a.v: {quantity: pm10}\n  $.b.v: {quantity: pm10}\n",
                6,
                3,
                "`$.b.v` gives pm10 on channel 0, which key `$.a.v` gives already",
            ),
            (
                "protocol: http\nkeys:\n  $.a[*]: {quantity: pm10, channel: 2}\n  b: {quantity: pm10, channel: 2}\n",
                6,
                3,
                "key `$.a[*]`",
            ),
            (
                "protocol: http\nkeys:\n  a: {quantity: ph}\n  a: {quantity: ph}\n",
                6,
                3,
                "a",
            ),
            ("protocol: thingsboard\ncolour: red\n", 4, 1, "colour"),
            ("protocol: telex\n", 3, 11, "telex"),
            ("protocol: native\ncadence: soon\n", 4, 10, "soon"),
            ("protocol: native\ncadence: 0s\n", 4, 10, "zero"),
            (
                "protocol: thingsboard\nkeys:\n  t: {quantity: colour}\n",
                5,
                17,
                "colour",
            ),
            (
                "protocol: thingsboard\nkeys:\n  t: {quantity: temperature, unit: m}\n",
                5,
                36,
                "degF",
            ),
            (
                "protocol: thingsboard\nkeys:\n  t: {quantity: temperature, scale: 0}\n",
                5,
                37,
                "scale",
            ),
            (
                "protocol: thingsboard\nkeys:\n  t: {quantity: temperature, offset: .nan}\n",
                5,
                38,
                "finite",
            ),
            ("protocol: modbus\n", 3, 11, "modbus"),
            (
                "protocol: modbus\nmodbus: {poll: 1s, registers: []}\n",
                4,
                31,
                "registers",
            ),
            (
                "protocol: modbus\nmodbus: {poll: 1ms, registers: [{address: 0, quantity: counter}]}\n",
                4,
                16,
                "10ms",
            ),
            (
                "protocol: modbus\nmodbus:\n  poll: 1s\n  registers:\n  - {address: 0, type: u32, quantity: counter}\n  - {address: 1, quantity: ph}\n",
                8,
                15,
                "already",
            ),
            (
                "protocol: modbus\nmodbus:\n  poll: 1s\n  registers:\n  - {address: 0, count: 5, quantity: counter}\n  - {address: 9, channel: 4, quantity: counter}\n",
                8,
                15,
                "channel 4",
            ),
            (
                "protocol: modbus\nmodbus: {poll: 1s, registers: [{address: 65535, type: u32, quantity: counter}]}\n",
                4,
                42,
                "65535",
            ),
            (
                "protocol: modbus\nmodbus: {poll: 1s, registers: [{address: 0, table: coil, type: u16, quantity: switch}]}\n",
                4,
                64,
                "bool",
            ),
            ("protocol: [\n", 3, 11, ""),
        ] {
            let error = parse(&format!("{HEAD}{body}")).unwrap_err();
            assert_eq!((error.line, error.column), (line, column), "{body}: {error}");
            assert!(error.message.contains(part), "{body}: {error}");
            assert!(
                !error.message.contains("line"),
                "{body}: the place is said once: {error}"
            );
        }
        let error = parse("version: 2\nname: {zh: a, en: b}\nprotocol: native\n").unwrap_err();
        assert_eq!((error.line, error.column), (1, 10));
        assert!(parse("").is_err());
        assert!(parse("version: 1\nversion: 1\nname: {zh: a, en: b}\nprotocol: native\n").is_err());
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_without_panic(text: String) {
            let _: Result<Profile, ProfileError> = parse(&text);
        }
    }
}

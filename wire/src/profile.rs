//! Profiles (thing models): what a type of device says and how it is meant, one YAML file each.
//!
//! ```yaml
//! version: 1
//! name: {zh: 一体化水位计, en: Level gauge}
//! protocol: thingsboard          # thingsboard | native | modbus
//! cadence: 60s                   # how often it sends
//! period: {stamp: end, length: 0s}
//! future_tolerance: 2min
//! sentinels: [-999]              # in addition to -999 and -9999
//! keys:
//!   lvl: {quantity: water_level, unit: cm, channel: 0, scale: 1, offset: 0}
//! ```
//!
//! A `modbus` profile has in place of `keys`
//! `modbus: {unit: 1, poll: 100ms, registers: [{address: 0, type: u16, count: 20, quantity: counter}]}`.

use std::collections::HashMap;
use std::time::Duration;

use onemap_model::{ProfileId, Quantity};
use serde::Deserialize;
use serde_saphyr::{Location, Spanned};

use crate::Scaling;
use crate::duration::Written;
use crate::modbus::{Order, Read, Register, RegisterMap, Table, WordType};

/// Raw values that mean "no value" whatever the profile says.
pub const SENTINELS: [f64; 2] = [-999.0, -9999.0];
/// How far a stamp may be ahead of the receive time unless a profile says otherwise.
pub const FUTURE_TOLERANCE: Duration = Duration::from_secs(120);

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
    Native,
    Modbus,
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
    /// What a stamp means.
    pub period: Period,
    /// How far a stamp may be ahead of the receive time.
    pub future_tolerance: Duration,
    /// Further raw values that mean "no value".
    pub sentinels: Vec<f64>,
    /// Keys that are not dictionary names, or not in the canonical unit.
    pub keys: HashMap<String, Mapping>,
    /// Register list of a Modbus slave.
    pub modbus: Option<RegisterMap>,
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

    /// The requests that read every register of a Modbus profile; empty for other protocols.
    pub fn read_plan(&self) -> Vec<Read> {
        self.modbus.as_ref().map_or_else(Vec::new, RegisterMap::read_plan)
    }
}

type Wrong = (Location, String);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProfileFile {
    version: Spanned<u32>,
    name: Names,
    protocol: Spanned<Protocol>,
    #[serde(default)]
    cadence: Option<Spanned<Written>>,
    #[serde(default)]
    period: PeriodFile,
    #[serde(default)]
    future_tolerance: Option<Written>,
    #[serde(default)]
    sentinels: Vec<Spanned<f64>>,
    #[serde(default)]
    keys: HashMap<String, KeyFile>,
    #[serde(default)]
    modbus: Option<ModbusFile>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct PeriodFile {
    #[serde(default)]
    stamp: Stamp,
    #[serde(default)]
    length: Option<Written>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    quantity: Spanned<String>,
    #[serde(default)]
    unit: Option<Spanned<String>>,
    #[serde(default)]
    channel: u16,
    #[serde(default)]
    scale: Option<Spanned<f64>>,
    #[serde(default)]
    offset: Option<Spanned<f64>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ModbusFile {
    #[serde(default = "one_unit")]
    unit: u8,
    poll: Spanned<Written>,
    registers: Spanned<Vec<RegisterFile>>,
}

fn one_unit() -> u8 {
    1
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RegisterFile {
    address: Spanned<u16>,
    #[serde(default)]
    table: Table,
    #[serde(default, rename = "type")]
    word_type: Option<Spanned<WordType>>,
    #[serde(default)]
    order: Order,
    #[serde(default)]
    count: Option<Spanned<u16>>,
    quantity: Spanned<String>,
    #[serde(default)]
    channel: u16,
    #[serde(default)]
    unit: Option<Spanned<String>>,
    #[serde(default)]
    scale: Option<Spanned<f64>>,
    #[serde(default)]
    offset: Option<Spanned<f64>>,
}

impl ProfileFile {
    fn check(self, id: &ProfileId) -> Result<Profile, Wrong> {
        if self.version.value != 1 {
            let message = format!(
                "version {} is not known, this onemap reads version 1",
                self.version.value
            );
            return Err((self.version.referenced, message));
        }
        if let Some(cadence) = &self.cadence
            && cadence.value.0.is_zero()
        {
            return Err((cadence.referenced, "a cadence is longer than zero".to_owned()));
        }
        let mut sentinels = Vec::with_capacity(self.sentinels.len());
        for sentinel in &self.sentinels {
            sentinels.push(finite(sentinel)?);
        }
        let mut keys = HashMap::with_capacity(self.keys.len());
        // In the order of the text, so that the first error is the first in the file.
        let mut written: Vec<_> = self.keys.into_iter().collect();
        written.sort_by_key(|(_, key)| (key.quantity.referenced.line(), key.quantity.referenced.column()));
        for (name, key) in written {
            let quantity = known(&key.quantity)?;
            let mapping = Mapping {
                quantity,
                channel: key.channel,
                scaling: scaling(
                    quantity,
                    key.unit.as_ref(),
                    key.scale.as_ref(),
                    key.offset.as_ref(),
                )?,
            };
            keys.insert(name, mapping);
        }
        let is_modbus = self.protocol.value == Protocol::Modbus;
        let modbus = match self.modbus {
            Some(modbus) if is_modbus => Some(modbus.check(sentinels.clone())?),
            None if is_modbus => {
                let message = "a modbus profile needs a `modbus` section".to_owned();
                return Err((self.protocol.referenced, message));
            }
            Some(modbus) => {
                let message = "a `modbus` section needs `protocol: modbus`".to_owned();
                return Err((modbus.registers.referenced, message));
            }
            None => None,
        };
        Ok(Profile {
            id: id.clone(),
            name: self.name,
            protocol: self.protocol.value,
            cadence: self.cadence.map(|c| c.value.0),
            period: Period {
                stamp: self.period.stamp,
                length: self.period.length.map_or(Duration::ZERO, |l| l.0),
            },
            future_tolerance: self.future_tolerance.map_or(FUTURE_TOLERANCE, |t| t.0),
            sentinels,
            keys,
            modbus,
        })
    }
}

impl ModbusFile {
    fn check(self, mut sentinels: Vec<f64>) -> Result<RegisterMap, Wrong> {
        if self.poll.value.0 < Duration::from_millis(10) {
            return Err((self.poll.referenced, "a poll takes at least 10ms".to_owned()));
        }
        if self.registers.value.is_empty() {
            return Err((self.registers.referenced, "no registers are listed".to_owned()));
        }
        let mut checked: Vec<(Location, Register)> = Vec::with_capacity(self.registers.value.len());
        for register in self.registers.value {
            let location = register.address.referenced;
            checked.push((location, register.check()?));
        }
        checked.sort_by_key(|(_, r)| (r.table, r.address));
        for pair in checked.windows(2) {
            let [(_, before), (location, after)] = pair else {
                continue;
            };
            if before.table == after.table && before.end() > u32::from(after.address) {
                let message = format!(
                    "register {} is already read by the list that starts at {}",
                    after.address, before.address
                );
                return Err((*location, message));
            }
        }
        for (i, (location, register)) in checked.iter().enumerate() {
            let channels = |r: &Register| u32::from(r.channel)..u32::from(r.channel) + u32::from(r.count);
            let (own, clash) = (channels(register), |other: &Register| {
                let others = channels(other);
                other.quantity == register.quantity
                    && others.start < channels(register).end
                    && channels(register).start < others.end
            });
            if checked[..i].iter().any(|(_, other)| clash(other)) {
                let message = format!(
                    "channel {} of {} is already read by another register",
                    own.start, register.quantity
                );
                return Err((*location, message));
            }
        }
        sentinels.extend(SENTINELS);
        Ok(RegisterMap {
            unit: self.unit,
            poll: self.poll.value.0,
            registers: checked.into_iter().map(|(_, r)| r).collect(),
            sentinels,
        })
    }
}

impl RegisterFile {
    fn check(self) -> Result<Register, Wrong> {
        let default = if self.table.is_bits() {
            WordType::Bool
        } else {
            WordType::U16
        };
        let word_type = match &self.word_type {
            Some(written) if self.table.is_bits() && written.value != WordType::Bool => {
                return Err((
                    written.referenced,
                    "coils and discrete inputs are of type bool".to_owned(),
                ));
            }
            Some(written) => written.value,
            None => default,
        };
        let count = self.count.as_ref().map_or(1, |c| c.value);
        let count_at = self
            .count
            .as_ref()
            .map_or(self.address.referenced, |c| c.referenced);
        if count == 0 {
            return Err((count_at, "a count is at least 1".to_owned()));
        }
        if u32::from(self.channel) + u32::from(count) > 65_536 {
            return Err((count_at, "channels end at 65535".to_owned()));
        }
        let quantity = known(&self.quantity)?;
        let register = Register {
            table: self.table,
            address: self.address.value,
            word_type,
            order: self.order,
            count,
            quantity,
            channel: self.channel,
            scaling: scaling(
                quantity,
                self.unit.as_ref(),
                self.scale.as_ref(),
                self.offset.as_ref(),
            )?,
        };
        if register.end() > 65_536 {
            return Err((count_at, "addresses end at 65535".to_owned()));
        }
        Ok(register)
    }
}

fn known(name: &Spanned<String>) -> Result<Quantity, Wrong> {
    Quantity::named(&name.value).ok_or_else(|| {
        (
            name.referenced,
            format!("no quantity is called `{}` (see /api/v1/quantities)", name.value),
        )
    })
}

fn finite(number: &Spanned<f64>) -> Result<f64, Wrong> {
    if number.value.is_finite() {
        Ok(number.value)
    } else {
        Err((
            number.referenced,
            format!("{} is not a finite number", number.value),
        ))
    }
}

fn scaling(
    quantity: Quantity,
    unit: Option<&Spanned<String>>,
    scale: Option<&Spanned<f64>>,
    offset: Option<&Spanned<f64>>,
) -> Result<Scaling, Wrong> {
    let scale_number = scale.map_or(Ok(1.0), finite)?;
    if let Some(scale) = scale
        && scale_number == 0.0
    {
        return Err((
            scale.referenced,
            "a scale of 0 makes every value the same".to_owned(),
        ));
    }
    let definition = quantity.definition();
    let unit = match unit {
        None => None,
        Some(unit) if unit.value == definition.unit => None,
        Some(unit) => match definition.units.iter().find(|c| c.unit == unit.value) {
            Some(conversion) => Some(conversion.unit.as_str()),
            None => {
                let mut units = vec![definition.unit.as_str()];
                units.extend(definition.units.iter().map(|c| c.unit.as_str()));
                let message = format!(
                    "{quantity} is not given in `{}`; its units are {}",
                    unit.value,
                    units.join(", ")
                );
                return Err((unit.referenced, message));
            }
        },
    };
    Ok(Scaling {
        scale: scale_number,
        offset: offset.map_or(Ok(0.0), finite)?,
        unit,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

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
    fn errors_name_line_and_column() {
        for (body, line, column, part) in [
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

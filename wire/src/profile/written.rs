//! A profile as it is written, and its check: each fault with the place where it stands.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::time::Duration;

use onemap_model::{Crs, ProfileId, Quantity};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_saphyr::{Location, Spanned};

use super::limits::{Channels, Expected, LimitsFile, Series};
use super::path::{Path, PathMapping};
use super::stamp::StampFile;
use super::{FUTURE_TOLERANCE, Hydrological, Mapping, Names, Period, Profile, Protocol, SENTINELS, Stamp};
use crate::Scaling;
use crate::duration::Written;
use crate::modbus::{Order, Register, RegisterMap, Table, WordType};
use crate::sl651::element_of;
use crate::sl651::reply::Mode;

/// Where, and what.
pub(super) type Wrong = (Location, String);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProfileFile {
    version: Spanned<u32>,
    name: Names,
    protocol: Spanned<Protocol>,
    #[serde(default)]
    cadence: Option<Spanned<Written>>,
    /// How long a device without a cadence may say nothing.
    #[serde(default)]
    silent_after: Option<Spanned<Written>>,
    #[serde(default)]
    period: PeriodFile,
    #[serde(default)]
    future_tolerance: Option<Written>,
    #[serde(default)]
    sentinels: Vec<Spanned<f64>>,
    #[serde(default)]
    clock_tolerance: Option<Spanned<Written>>,
    #[serde(default)]
    timestamp: Option<StampFile>,
    #[serde(default)]
    ignore: HashSet<String>,
    #[serde(default)]
    keys: KeysFile,
    #[serde(default)]
    modbus: Option<ModbusFile>,
    #[serde(default)]
    sl651: Option<Spanned<HydrologicalFile>>,
    #[serde(default)]
    crs: Option<Spanned<String>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct HydrologicalFile {
    #[serde(default)]
    mode: Option<Mode>,
    #[serde(default)]
    resend: Vec<Spanned<String>>,
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
    #[serde(default)]
    cadence: Option<Spanned<Written>>,
    #[serde(default)]
    limits: LimitsFile,
}

/// The keys in the order of the text, so that the first error is the first in the file.
#[derive(Default)]
struct KeysFile(Vec<(Spanned<String>, KeyFile)>);

impl<'de> Deserialize<'de> for KeysFile {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = KeysFile;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("keys with what they mean")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<KeysFile, A::Error> {
                let mut keys = Vec::new();
                while let Some(key) = map.next_key()? {
                    keys.push((key, map.next_value()?));
                }
                Ok(KeysFile(keys))
            }
            fn visit_unit<E: serde::de::Error>(self) -> Result<KeysFile, E> {
                Ok(KeysFile::default())
            }
        }
        d.deserialize_map(Keys)
    }
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
    #[serde(default)]
    cadence: Option<Spanned<Written>>,
    #[serde(default)]
    limits: LimitsFile,
}

impl ProfileFile {
    pub(super) fn check(self, id: &ProfileId) -> Result<Profile, Wrong> {
        if self.version.value != 1 {
            let message = format!(
                "version {} is not known, this onemap reads version 1",
                self.version.value
            );
            return Err((self.version.referenced, message));
        }
        let cadence = longer_than_zero(self.cadence.as_ref(), "a cadence")?;
        let silent_after = longer_than_zero(self.silent_after.as_ref(), "a silence")?;
        // Its devices report changes only.
        let silent_after = silent_after
            .or((self.protocol.value == Protocol::Gbt26875).then_some(super::SILENT_WITHOUT_CADENCE));
        let clock_tolerance = longer_than_zero(self.clock_tolerance.as_ref(), "a clock tolerance")?;
        let mut sentinels = Vec::with_capacity(self.sentinels.len());
        for sentinel in &self.sentinels {
            sentinels.push(finite(sentinel)?);
        }
        let mut keys = HashMap::with_capacity(self.keys.0.len());
        let (mut paths, mut series) = (Vec::new(), Series::default());
        let mut givers: HashMap<(Quantity, u16), String> = HashMap::new();
        for (name, key) in self.keys.0 {
            let mapping = key.check()?;
            let path = path_of(&name)?;
            // Two values of one stamp in one series: the second would revise the first. Where a `[*]` meets a key
            // further on, only the devices know whether it goes that far.
            let gives = (mapping.quantity, mapping.channel);
            if let Some(other) = givers.insert(gives, name.value.clone()) {
                let message = format!(
                    "key `{}` gives {} on channel {}, which key `{other}` gives already",
                    name.value, mapping.quantity, mapping.channel
                );
                return Err((name.referenced, message));
            }
            let is_each = path.as_ref().is_some_and(Path::is_each);
            let channels = match is_each {
                true => Channels::Onward(mapping.channel),
                false => Channels::Some(mapping.channel..=mapping.channel),
            };
            let expected = Expected {
                cadence: mapping.cadence.or(cadence),
                limits: mapping.limits,
            };
            series.expect(mapping.quantity, channels, expected, name.referenced)?;
            if let Some(path) = path {
                let mapping = mapping.clone();
                paths.push(PathMapping { path, mapping });
            }
            if !name.value.starts_with('$') {
                keys.insert(name.value, mapping);
            }
        }
        let is_modbus = self.protocol.value == Protocol::Modbus;
        let modbus = match self.modbus {
            Some(modbus) if is_modbus => Some(modbus.check(sentinels.clone(), cadence, &mut series)?),
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
        let sl651 = match self.sl651 {
            Some(section) if self.protocol.value != Protocol::Sl651 => {
                let message = "an `sl651` section needs `protocol: sl651`".to_owned();
                return Err((section.referenced, message));
            }
            Some(section) => section.value.check()?,
            None => Hydrological::default(),
        };
        let crs = self.crs.as_ref().map_or(Ok(Crs::default()), degrees)?;
        Ok(Profile {
            id: id.clone(),
            name: self.name,
            protocol: self.protocol.value,
            cadence,
            silent_after,
            period: Period {
                stamp: self.period.stamp,
                length: self.period.length.map_or(Duration::ZERO, |l| l.0),
            },
            future_tolerance: self.future_tolerance.map_or(FUTURE_TOLERANCE, |t| t.0),
            clock_tolerance,
            sentinels,
            timestamp: self.timestamp.map(StampFile::check).transpose()?,
            ignore: self.ignore,
            keys,
            paths,
            series,
            modbus,
            sl651,
            crs,
        })
    }
}

impl HydrologicalFile {
    fn check(self) -> Result<Hydrological, Wrong> {
        let element = |text: &Spanned<String>| {
            let read = element_of(&text.value);
            read.ok_or_else(|| {
                let what = format!(
                    "`{}` is no element of SL 651 with its definition byte (`39`, `FF11:23`)",
                    text.value
                );
                (text.referenced, what)
            })
        };
        Ok(Hydrological {
            mode: self.mode,
            resend: self.resend.iter().map(element).collect::<Result<_, _>>()?,
        })
    }
}

impl KeyFile {
    fn check(&self) -> Result<Mapping, Wrong> {
        let quantity = known(&self.quantity)?;
        Ok(Mapping {
            quantity,
            channel: self.channel,
            scaling: scaling(
                quantity,
                self.unit.as_ref(),
                self.scale.as_ref(),
                self.offset.as_ref(),
            )?,
            cadence: longer_than_zero(self.cadence.as_ref(), "a cadence")?,
            limits: self.limits.check()?,
        })
    }
}

/// The path that a key is: always behind `$`. A name such as `data.pm` is both a plain key and a path, for
/// devices that send it flat and those that nest; one that cannot be a path is a plain key only.
fn path_of(name: &Spanned<String>) -> Result<Option<Path>, Wrong> {
    match Path::parse(&name.value) {
        Ok(path) => Ok((name.value.starts_with('$') || !path.is_plain()).then_some(path)),
        Err(error) if name.value.starts_with('$') => Err((name.referenced, error.to_string())),
        Err(_) => Ok(None),
    }
}

fn longer_than_zero(written: Option<&Spanned<Written>>, what: &str) -> Result<Option<Duration>, Wrong> {
    match written {
        Some(written) if written.value.0.is_zero() => {
            Err((written.referenced, format!("{what} is longer than zero")))
        }
        written => Ok(written.map(|w| w.value.0)),
    }
}

impl ModbusFile {
    fn check(
        self,
        mut sentinels: Vec<f64>,
        cadence: Option<Duration>,
        series: &mut Series,
    ) -> Result<RegisterMap, Wrong> {
        if self.poll.value.0 < Duration::from_millis(10) {
            return Err((self.poll.referenced, "a poll takes at least 10ms".to_owned()));
        }
        if self.registers.value.is_empty() {
            return Err((self.registers.referenced, "no registers are listed".to_owned()));
        }
        let mut checked: Vec<(Location, Register)> = Vec::with_capacity(self.registers.value.len());
        for register in self.registers.value {
            let location = register.address.referenced;
            let expected = Expected {
                cadence: longer_than_zero(register.cadence.as_ref(), "a cadence")?.or(cadence),
                limits: register.limits.check()?,
            };
            let register = register.check()?;
            let last = register.channel + (register.count - 1);
            let channels = Channels::Some(register.channel..=last);
            series.expect(register.quantity, channels, expected, location)?;
            checked.push((location, register));
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

/// A system of degrees: what a device sends as longitude and latitude is no easting.
fn degrees(written: &Spanned<String>) -> Result<Crs, Wrong> {
    match written.value.parse::<Crs>() {
        Ok(crs) if !crs.is_projected() => Ok(crs),
        Ok(crs) => {
            let message =
                format!("{crs} is in metres; positions are in degrees of WGS84, CGCS2000, GCJ02 or BD09");
            Err((written.referenced, message))
        }
        Err(error) => Err((written.referenced, error.to_string())),
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

pub(super) fn finite(number: &Spanned<f64>) -> Result<f64, Wrong> {
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

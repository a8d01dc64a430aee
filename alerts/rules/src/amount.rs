//! Amounts as people write them: `250 ug/m3`, `10 min`, `3 x cadence`.

use std::time::Duration;

use onemap_model::Quantity;

use crate::fault::{listed, said};
use crate::rule::{Silence, Texts};

/// The longest duration a rule may name: a year.
const LONGEST: Duration = Duration::from_secs(366 * 86_400);

/// Reads `250 ug/m3` into the quantity's canonical unit. A quantity without unit (a state, pH) takes
/// a bare number; a quantity with one does not, because a bare number hides a mistaken unit.
pub(crate) fn parse_value(quantity: Quantity, text: &str) -> Result<f64, Texts> {
    let (number, unit) = split(text)?;
    let want = &quantity.definition().unit;
    if unit.is_empty() && !want.is_empty() {
        return Err(said!(
            "`{text}` 没有单位，请写 `{number} {want}`",
            "`{text}` has no unit; write `{number} {want}`"
        ));
    }
    match quantity.convert(number, unit) {
        Some(value) if value.is_finite() => Ok(value),
        Some(_) => Err(said!("`{text}` 不是有限的数", "`{text}` is not a finite number")),
        None if want.is_empty() => Err(said!(
            "量 {quantity} 没有单位，不应写 `{unit}`",
            "{quantity} has no unit, `{unit}` does not belong there"
        )),
        None => {
            let others = quantity.definition().units.iter().map(|c| c.unit.as_str());
            let known: Vec<&str> = std::iter::once(want.as_str()).chain(others).collect();
            let Texts { zh, en } = listed(&known);
            Err(Texts {
                zh: format!("`{unit}` 不是量 {quantity} 的单位，可用的单位有 {zh}"),
                en: format!("`{unit}` is not a unit of {quantity}; known are {en}"),
            })
        }
    }
}

/// Reads an amount by which values differ, `0.15 m` or `5 Cel`, into the quantity's canonical unit: where a unit has
/// another zero only its size counts.
pub(crate) fn parse_difference(quantity: Quantity, text: &str) -> Result<f64, Texts> {
    let value = parse_value(quantity, text)?;
    let (_, unit) = split(text)?;
    let zero = quantity.convert(0.0, unit).unwrap_or_default();
    match value - zero {
        amount if amount >= 0.0 => Ok(amount),
        _ => Err(said!(
            "差值 `{text}` 不能为负，升降方向由旁边的字段说明",
            "`{text}` is less than nothing; which way is said beside it"
        )),
    }
}

/// Reads `6 to 9`, `5 to 35 Cel`: the unit stands behind the second number and holds for both.
pub(crate) fn parse_band(quantity: Quantity, text: &str) -> Result<(f64, f64), Texts> {
    let bad = || {
        said!(
            "`{text}` 不是取值范围（例如 `6 to 9` 或 `5 to 35 Cel`）",
            "`{text}` is not a band (like `6 to 9` or `5 to 35 Cel`)"
        )
    };
    let (low, high) = text.split_once(" to ").ok_or_else(bad)?;
    let (_, unit) = split(high)?;
    let (low, high) = (
        parse_value(quantity, &format!("{} {unit}", low.trim()))?,
        parse_value(quantity, high)?,
    );
    match low < high {
        true => Ok((low, high)),
        false => Err(said!(
            "取值范围 `{text}` 的上限须大于下限",
            "`{text}` ends before it begins"
        )),
    }
}

/// Reads `500 m`, `3 km` into metres, more than nothing and at most 100 km.
pub(crate) fn parse_distance(text: &str) -> Result<f64, Texts> {
    let bad = || {
        said!(
            "`{text}` 不是距离（例如 `500 m`、`3 km`）",
            "`{text}` is not a distance (like `500 m`, `3 km`)"
        )
    };
    let (number, unit) = split(text).map_err(|_| bad())?;
    let metres = match unit {
        "m" => number,
        "km" => number * 1000.0,
        _ => return Err(bad()),
    };
    match metres > 0.0 && metres <= 100_000.0 {
        true => Ok(metres),
        false => Err(said!(
            "距离 `{text}` 须大于零且不超过 100 km",
            "`{text}` is not more than nothing and at most 100 km"
        )),
    }
}

/// Reads `30 s`, `10min`, `2 h`, `1 d`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, Texts> {
    let bad = || {
        said!(
            "`{text}` 不是时长（例如 `30 s`、`10 min`、`2 h`、`1 d`）",
            "`{text}` is not a duration (like `30 s`, `10 min`, `2 h`, `1 d`)"
        )
    };
    let (number, unit) = split(text).map_err(|_| bad())?;
    let unit_s = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "min" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return Err(bad()),
    };
    let duration = Duration::try_from_secs_f64(number * unit_s).map_err(|_| bad())?;
    if duration > LONGEST {
        return Err(said!("时长 `{text}` 超过一年", "`{text}` is longer than a year"));
    }
    Ok(Duration::from_millis(duration.as_millis() as u64))
}

/// Reads `3 x cadence` or a duration, more than zero.
pub(crate) fn parse_silence(text: &str) -> Result<Silence, Texts> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let silence = match words.as_slice() {
        [times, "x" | "×", "cadence"] => match times.parse::<u16>() {
            Ok(times) if times > 0 => Silence::Cadences(times),
            _ => {
                return Err(said!(
                    "`{text}` 须以 1 至 65535 的整数开头",
                    "`{text}` does not begin with a whole number from 1 to 65535"
                ));
            }
        },
        _ => Silence::Fixed(parse_duration(text).map_err(|_| {
            said!(
                "`{text}` 既不是 `3 x cadence`，也不是时长（例如 `30 s`、`10 min`）",
                "`{text}` is neither `3 x cadence` nor a duration (like `30 s`, `10 min`)"
            )
        })?),
    };
    match silence {
        Silence::Fixed(Duration::ZERO) => Err(said!(
            "无数据的时长须大于零",
            "a silence of no length is always there"
        )),
        other => Ok(other),
    }
}

/// Splits a number from what follows it.
fn split(text: &str) -> Result<(f64, &str), Texts> {
    let text = text.trim();
    let mut end = 0;
    for (i, c) in text.char_indices() {
        let exponent_sign = matches!(c, '+' | '-') && text[..i].ends_with(['e', 'E']);
        let exponent = matches!(c, 'e' | 'E')
            && text[i + 1..].starts_with(|next: char| next.is_ascii_digit() || matches!(next, '+' | '-'));
        let sign = i == 0 && matches!(c, '+' | '-');
        if c.is_ascii_digit() || c == '.' || sign || exponent_sign || exponent {
            end = i + c.len_utf8();
        } else {
            break;
        }
    }
    let number: f64 = text[..end]
        .parse()
        .map_err(|_| said!("`{text}` 没有以数开头", "`{text}` does not begin with a number"))?;
    if !number.is_finite() {
        return Err(said!("`{text}` 不是有限的数", "`{text}` is not a finite number"));
    }
    Ok((number, text[end..].trim()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn values_carry_their_unit_into_the_canonical_one() {
        let quantity = |name: &str| Quantity::named(name).unwrap();
        for (name, text, want) in [
            ("pm2_5", "250 ug/m3", 250.0),
            ("pm2_5", "0.25mg/m3", 250.0),
            ("water_level", "240 cm", 2.4),
            ("temperature", "-5 Cel", -5.0),
            ("temperature", "323.15 K", 50.0),
            ("manhole_open", "0.5", 0.5),
            ("noise_laeq", "7e1 dB(A)", 70.0),
        ] {
            let got = parse_value(quantity(name), text).unwrap();
            assert!((got - want).abs() < 1e-9, "{text}: {got}");
        }
        for (name, text) in [
            ("pm2_5", "250"),
            ("pm2_5", "250 ppm"),
            ("pm2_5", "high"),
            ("pm2_5", ""),
            ("pm2_5", "1e999 ug/m3"),
            ("manhole_open", "1 m"),
        ] {
            assert!(parse_value(quantity(name), text).is_err(), "{name} {text}");
        }
    }

    #[test]
    fn durations_and_silences() {
        assert_eq!(parse_duration("30 s"), Ok(Duration::from_secs(30)));
        assert_eq!(parse_duration("1.5min"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("0 s"), Ok(Duration::ZERO));
        for bad in ["30", "-1 s", "s", "", "1 month", "400 d", "1e300 d"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
        assert_eq!(parse_silence("3 x cadence"), Ok(Silence::Cadences(3)));
        assert_eq!(
            parse_silence("10 min"),
            Ok(Silence::Fixed(Duration::from_secs(600)))
        );
        for bad in [
            "0 x cadence",
            "x cadence",
            "3 x",
            "0 s",
            "-3 x cadence",
            "70000 x cadence",
        ] {
            assert!(parse_silence(bad).is_err(), "{bad}");
        }
    }
}

//! Rounding as the standards want it (GB/T 8170): half to even, of the decimal number that was written.

/// The decimal number that sums, means and conversions of decimal numbers stand for: 0.1 + 0.2 is 0.3. Of 12 significant
/// digits, more than any reading has and fewer than the noise of `f64` reaches.
pub fn tidy(value: f64) -> f64 {
    // Values that are no number stay what they are.
    format!("{value:.11e}").parse().unwrap_or(value)
}

/// A number as a whole multiple of `10^-decimals`, half to even. It is rounded as the decimal text that stands
/// for it ([`tidy`]): 0.35 is halfway between 0.3 and 0.4, although no `f64` is. `None` for what is not finite or too large.
pub fn round_half_even(value: f64, decimals: usize) -> Option<i64> {
    if !value.is_finite() {
        return None;
    }
    // The shortest text that gives back the number; without an exponent, however large.
    let text = format!("{}", tidy(value.abs()));
    let (whole, part) = text.split_once('.').unwrap_or((&text, ""));
    let (kept, rest) = part.split_at(part.len().min(decimals));
    let scaled: i64 = format!("{whole}{kept:0<decimals$}").parse().ok()?;
    let half = match rest.as_bytes() {
        [] | [b'0'..=b'4', ..] => false,
        [b'5'] => scaled % 2 == 1,
        _ => true,
    };
    let rounded = scaled.checked_add(i64::from(half))?;
    Some(if value < 0.0 { -rounded } else { rounded })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_of_sums_is_none_of_the_number() {
        for (noisy, want) in [
            (0.1 + 0.2, 0.3),
            ((0.1 + 0.2 + 0.3) / 3.0, 0.2),
            (4.049999999999999, 4.05),
            (75.49999999999999, 75.5),
            (-0.04999999999999982, -0.05),
            (75600.0 * 1e-3, 75.6),
            (0.0, 0.0),
            (1.0 / 3.0, 0.333333333333),
            (123456789.0125, 123456789.013),
            (1e-7, 1e-7),
        ] {
            assert_eq!(tidy(noisy), want, "{noisy}");
        }
        assert!(tidy(f64::NAN).is_nan());
        assert_eq!(tidy(f64::INFINITY), f64::INFINITY);
    }

    #[test]
    fn halves_go_to_the_even_neighbour_of_the_written_number() {
        for (value, decimals, want) in [
            (0.0, 0, Some(0)),
            (0.5, 0, Some(0)),
            (1.5, 0, Some(2)),
            (2.5, 0, Some(2)),
            (2.500001, 0, Some(3)),
            (47.6, 0, Some(48)),
            (60.6, 0, Some(61)),
            (0.35, 1, Some(4)),
            (75.49999999999999, 0, Some(76)),
            (4.049999999999999, 1, Some(40)),
            (0.25, 1, Some(2)),
            (0.45, 1, Some(4)),
            (1.05, 1, Some(10)),
            (2.0, 1, Some(20)),
            (-2.5, 0, Some(-2)),
            (-3.5, 0, Some(-4)),
            (1e30, 0, None),
            (f64::NAN, 0, None),
            (f64::INFINITY, 1, None),
        ] {
            assert_eq!(round_half_even(value, decimals), want, "{value} to {decimals}");
        }
    }
}

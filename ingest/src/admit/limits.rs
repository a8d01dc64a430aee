//! What a profile believes of a key's values.

use onemap_model::Quantity;
use onemap_wire::profile::Limits;

/// Whether a number lies in the plausible range, borders inside: the profile's where it has one, else the
/// dictionary's. A state code is plausible when it has a name.
pub(super) fn plausible(quantity: Quantity, number: f64, limits: Option<&Limits>) -> bool {
    let definition = quantity.definition();
    let states = &definition.states;
    if !states.is_empty() && !states.iter().any(|s| f64::from(s.code) == number) {
        return false;
    }
    let [low, high] = definition.range.unwrap_or([f64::NEG_INFINITY, f64::INFINITY]);
    let low = limits.and_then(|l| l.min).unwrap_or(low);
    let high = limits.and_then(|l| l.max).unwrap_or(high);
    (low..=high).contains(&number)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_profile_s_range_stands_over_the_dictionary_s_end_by_end() {
        let humidity = Quantity::named("humidity").unwrap();
        let own = Limits {
            max: Some(120.0),
            ..Limits::default()
        };
        for (number, limits, want) in [
            (100.0, None, true),
            (100.1, None, false),
            (100.1, Some(&own), true),
            (120.1, Some(&own), false),
            (-0.1, Some(&own), false),
            (f64::NAN, Some(&own), false),
        ] {
            assert_eq!(plausible(humidity, number, limits), want, "{number}");
        }
        let open = Quantity::named("manhole_open").unwrap();
        assert!(plausible(open, 1.0, Some(&own)) && !plausible(open, 7.0, Some(&own)));
    }
}

//! What stands in a step without a value. A gap is shown as one unless it is filled on purpose, and what was
//! filled says so.

use std::time::Duration;

use serde::Deserialize;

use crate::error::Problem;
use crate::request::parse_step;

/// What stands in a step without a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Fill {
    /// The step is left out.
    None,
    /// `null`: a gap stays a gap.
    #[default]
    Null,
    /// The value before it, if there is one.
    Previous,
    /// On the line between the values before and behind it, if there are both.
    Linear,
    /// 0.
    Zero,
}

/// How gaps are filled, and up to which length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Filling {
    how: Fill,
    /// Steps of the longest gap that is filled; a longer one stays whole.
    longest: usize,
}

/// What is shown of a step: `None` leaves it out; else its value, and whether that was filled in.
pub(crate) type Shown = Option<(Option<f64>, bool)>;

impl Filling {
    /// `max_gap` is a length of time like `2h`.
    pub(crate) fn of(how: Option<Fill>, max_gap: Option<&str>, step: Duration) -> Result<Self, Problem> {
        let how = how.unwrap_or_default();
        let longest = match max_gap {
            None => usize::MAX,
            Some(_) if matches!(how, Fill::None | Fill::Null) => {
                return Err(Problem::bad_request(
                    "bad_fill",
                    "max_gap= is for fill=previous, linear or zero",
                ));
            }
            Some(text) => {
                let gap = parse_step(text).map_err(|_| {
                    Problem::bad_request(
                        "bad_fill",
                        format!("max_gap={text}: use a whole number with s, m, h or d, like 2h"),
                    )
                })?;
                usize::try_from(gap.as_millis() / step.as_millis().max(1)).unwrap_or(usize::MAX)
            }
        };
        Ok(Self { how, longest })
    }

    /// What is shown of steps with these values, one for each.
    pub(crate) fn fill(self, values: &[Option<f64>]) -> Vec<Shown> {
        let mut shown: Vec<Shown> = values
            .iter()
            .map(|value| match (value, self.how) {
                (None, Fill::None) => None,
                (value, _) => Some((*value, false)),
            })
            .collect();
        let mut start = 0;
        while start < values.len() {
            if values[start].is_some() {
                start += 1;
                continue;
            }
            let n = values[start..].iter().take_while(|value| value.is_none()).count();
            let before = start.checked_sub(1).and_then(|i| values[i]);
            let behind = values.get(start + n).copied().flatten();
            if n <= self.longest {
                for i in 0..n {
                    let filled = match (self.how, before, behind) {
                        (Fill::Zero, ..) => Some(0.0),
                        (Fill::Previous, before, _) => before,
                        (Fill::Linear, Some(before), Some(behind)) => {
                            let share = (i + 1) as f64 / (n + 1) as f64;
                            Some(before * (1.0 - share) + behind * share)
                        }
                        _ => None,
                    };
                    if filled.is_some() {
                        shown[start + i] = Some((filled, true));
                    }
                }
            }
            start += n;
        }
        shown
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_gap_is_filled_only_as_asked_and_says_so() {
        // `.` is left out, `-` a gap, a number in brackets filled.
        let filled = |how, max_gap: Option<&str>| {
            let filling = Filling::of(how, max_gap, Duration::from_secs(60)).unwrap();
            let values = [
                None,
                Some(2.0),
                None,
                Some(4.0),
                None,
                None,
                None,
                Some(0.0),
                None,
            ];
            let word = |shown: Shown| match shown {
                None => ".".to_owned(),
                Some((None, _)) => "-".to_owned(),
                Some((Some(v), false)) => format!("{v}"),
                Some((Some(v), true)) => format!("({v})"),
            };
            let words: Vec<String> = filling.fill(&values).into_iter().map(word).collect();
            words.join(" ")
        };
        for (how, max_gap, want) in [
            (None, None, "- 2 - 4 - - - 0 -"),
            (Some(Fill::Null), None, "- 2 - 4 - - - 0 -"),
            (Some(Fill::None), None, ". 2 . 4 . . . 0 ."),
            (Some(Fill::Previous), None, "- 2 (2) 4 (4) (4) (4) 0 (0)"),
            (Some(Fill::Linear), None, "- 2 (3) 4 (3) (2) (1) 0 -"),
            (Some(Fill::Zero), None, "(0) 2 (0) 4 (0) (0) (0) 0 (0)"),
            (Some(Fill::Previous), Some("2m"), "- 2 (2) 4 - - - 0 (0)"),
            (Some(Fill::Linear), Some("179s"), "- 2 (3) 4 - - - 0 -"),
            (Some(Fill::Linear), Some("3m"), "- 2 (3) 4 (3) (2) (1) 0 -"),
            (Some(Fill::Zero), Some("59s"), "- 2 - 4 - - - 0 -"),
        ] {
            assert_eq!(filled(how, max_gap), want, "{how:?} {max_gap:?}");
        }
        let filling = Filling::of(Some(Fill::Linear), None, Duration::from_secs(60)).unwrap();
        assert_eq!(filling.fill(&[]), []);
        for (how, max_gap) in [(None, "2h"), (Some(Fill::None), "2h"), (Some(Fill::Zero), "2")] {
            assert!(Filling::of(how, Some(max_gap), Duration::from_secs(60)).is_err());
        }
    }
}

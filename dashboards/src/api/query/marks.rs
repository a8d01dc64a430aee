//! Which marks a value may carry to be taken.

use onemap_model::Quality;

use crate::error::Problem;

/// Which marks a value may carry to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Marks {
    Any,
    /// None that says something about what was measured; late, resent and revised values are good.
    Good,
    Judgeable,
    With(Quality),
    Without(Quality),
}

impl Marks {
    /// `good`, `judgeable`, the name of a mark, or that name after `!`.
    pub(crate) fn parse(text: Option<&str>) -> Result<Self, Problem> {
        let named = |name: &str| {
            Quality::named(name).ok_or_else(|| {
                Problem::bad_request(
                    "bad_quality",
                    format!("quality={name}: use good, judgeable, a mark like suspect, or !suspect"),
                )
            })
        };
        Ok(match text {
            None => Self::Any,
            Some("good") => Self::Good,
            Some("judgeable") => Self::Judgeable,
            Some(name) => match name.strip_prefix('!') {
                Some(name) => Self::Without(named(name)?),
                None => Self::With(named(name)?),
            },
        })
    }

    pub(crate) fn takes(self, quality: Quality) -> bool {
        const HARMLESS: Quality = Quality(
            Quality::RESENT.0
                | Quality::REVISED.0
                | Quality::BACKFILL.0
                | Quality::STAMPED_HERE.0
                | Quality::DERIVED.0,
        );
        match self {
            Self::Any => true,
            Self::Good => quality.without(HARMLESS) == Quality::GOOD,
            Self::Judgeable => quality.judgeable(),
            Self::With(mark) => quality.has(mark),
            Self::Without(mark) => !quality.has(mark),
        }
    }

    /// As the history is asked; nothing when every value is taken, so that it may answer without its points.
    pub(crate) fn filter<'a>(
        self,
        takes: &'a (dyn Fn(Quality) -> bool + Sync + 'a),
    ) -> Option<&'a (dyn Fn(Quality) -> bool + Sync)> {
        (self != Self::Any).then_some(takes)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn marks_are_chosen_by_name() {
        let (resent, suspect) = (Quality::RESENT, Quality::SUSPECT);
        for (text, takes) in [
            (None, [true, true, true]),
            (Some("good"), [true, true, false]),
            (Some("judgeable"), [true, true, false]),
            (Some("suspect"), [false, false, true]),
            (Some("!resent"), [true, false, true]),
        ] {
            let marks = Marks::parse(text).unwrap();
            assert_eq!(
                [Quality::GOOD, resent, suspect].map(|q| marks.takes(q)),
                takes,
                "{text:?}"
            );
        }
        for bad in ["", "nice", "!", "!!suspect"] {
            assert!(Marks::parse(Some(bad)).is_err(), "{bad}");
        }
    }
}

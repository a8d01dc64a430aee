//! Where a page of a series' values ends and the next begins.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use onemap_model::Timestamp;

use crate::error::Problem;

/// Everything up to a time was given; of a time with several versions, so many of them. What comes to earlier
/// times while somebody pages is not seen by him, and nothing is given twice or left out.
///
/// Written `ms`, or `ms.n` for versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Given {
    at: Timestamp,
    /// Versions of that time, where versions are paged.
    n: Option<usize>,
}

impl Given {
    /// After a value; `n` counts it and the versions of its time that were given before it.
    pub(crate) fn up_to(at: Timestamp, n: Option<usize>) -> Self {
        Self { at, n }
    }

    /// From when on there is more to give.
    pub(crate) fn next(&self) -> Timestamp {
        match self.n {
            // Later versions of the same time may have come.
            Some(_) => self.at,
            None => self.at + Duration::from_millis(1),
        }
    }

    /// How many versions of a time were given.
    pub(crate) fn n_at(&self, at: Timestamp) -> usize {
        self.n.filter(|_| self.at == at).unwrap_or(0)
    }
}

impl fmt::Display for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.n {
            Some(n) => write!(f, "{}.{n}", self.at.ms()),
            None => write!(f, "{}", self.at.ms()),
        }
    }
}

impl FromStr for Given {
    type Err = Problem;
    /// A time as any other parameter takes it stands for `ms`.
    fn from_str(text: &str) -> Result<Self, Problem> {
        if let Some((ms, n)) = text.split_once('.')
            && let (Ok(ms), Ok(n)) = (ms.parse(), n.parse())
        {
            return Ok(Self::up_to(Timestamp::from_ms(ms), Some(n)));
        }
        Ok(Self::up_to(crate::api::time("after", text)?, None))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_page_goes_on_where_the_last_ended() {
        let at = Timestamp::from_ms;
        for (text, next, n_at) in [
            ("5", 6, 0),
            ("-7", -6, 0),
            ("1970-01-01T00:00:00.005Z", 6, 0),
            ("5.2", 5, 2),
            ("5.0", 5, 0),
        ] {
            let given: Given = text.parse().unwrap();
            assert_eq!((given.next(), given.n_at(at(5))), (at(next), n_at), "{text}");
            assert_eq!(given.n_at(at(6)), 0);
            if !text.contains('T') {
                assert_eq!(given.to_string(), text);
            }
        }
        for bad in ["", "x", "5.", ".5", "5.-1", "5.1.1"] {
            assert!(bad.parse::<Given>().is_err(), "{bad}");
        }
        assert_eq!(Given::up_to(at(i64::MAX), None).next(), at(i64::MAX));
    }
}

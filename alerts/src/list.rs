//! Which alerts a list shows, and where its pages end.

use std::fmt;
use std::str::FromStr;

use onemap_model::{AlertId, Belongs, DivisionCode, Scope};

use crate::alert::Alert;

/// Which states a list shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StateFilter {
    /// Those that go on and are not shelved.
    #[default]
    Open,
    /// Those that go on and are shelved.
    Shelved,
    /// Those that ended, without those that are past.
    Ended,
    /// Historical events: found in data that came late.
    Past,
    /// Every one.
    All,
}

impl FromStr for StateFilter {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "open" => Ok(Self::Open),
            "shelved" => Ok(Self::Shelved),
            "ended" => Ok(Self::Ended),
            "past" => Ok(Self::Past),
            "all" => Ok(Self::All),
            _ => Err(format!("`{text}` is not open, shelved, ended, past or all")),
        }
    }
}

/// Knows whose devices are. An alert about a device is seen by who sees the device.
pub trait Whose {
    /// To whom an alert belongs: to whom its device does now.
    fn belongs<'a>(&'a self, alert: &'a Alert) -> Belongs<'a>;
}

/// Which alerts a list shows.
#[derive(Clone, Copy)]
pub struct Filter<'a> {
    /// In which states.
    pub state: StateFilter,
    /// Only what its holder may see.
    pub scope: &'a Scope,
    /// Whose the devices are.
    pub whose: &'a dyn Whose,
    /// Only inside this division.
    pub division: Option<&'a DivisionCode>,
}

impl Filter<'_> {
    pub(crate) fn shows(&self, alert: &Alert) -> bool {
        let state = match self.state {
            StateFilter::Open => alert.is_triaged(),
            StateFilter::Shelved => alert.is_open() && alert.shelved.is_some(),
            StateFilter::Ended => !alert.is_open() && alert.past.is_none(),
            StateFilter::Past => alert.past.is_some(),
            StateFilter::All => true,
        };
        let belongs = self.whose.belongs(alert);
        state
            && self.scope.covers(belongs)
            && self
                .division
                .is_none_or(|own| belongs.division.is_some_and(|other| own.covers(other)))
    }
}

/// The last alert of a page; the next page begins after it. Alerts are ordered by the position that
/// raised them, newest first, so a page never repeats or skips one when new alerts come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    pub(crate) position: u64,
    pub(crate) id: AlertId,
}

impl Cursor {
    /// The cursor of an alert.
    pub fn of(alert: &Alert) -> Self {
        Self {
            position: alert.raised_position,
            id: alert.id,
        }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.position, self.id)
    }
}

impl FromStr for Cursor {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("`{text}` is not a cursor that a list of alerts gave");
        let (position, id) = text.split_once('-').ok_or_else(bad)?;
        Ok(Self {
            position: position.parse().map_err(|_| bad())?,
            id: id.parse().map_err(|_| bad())?,
        })
    }
}

//! Drills (演练): what is raised of some devices or rules for a while is kept and shown, and calls nobody.

use serde::{Deserialize, Serialize};

use crate::{DeviceId, DivisionCode, RuleId, Timestamp};

/// Most devices, and most rules, of one drill.
pub const MAX_NAMED: usize = 1_000;
/// Characters of a drill's name.
pub const MAX_NAME: usize = 64;
/// The longest drill: three days, in milliseconds.
pub const MAX_LENGTH_MS: i64 = 3 * 86_400_000;

/// A drill: alerts that are raised while it is on, of what it names, are marked as its own and page nobody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drill {
    /// What it is called.
    pub name: String,
    /// Only alerts of this division; of the whole city, also what lies in none, when it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub division: Option<DivisionCode>,
    /// Only alerts of these devices; of all when there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<DeviceId>,
    /// Only alerts of these rules; of all when there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<RuleId>,
    /// It begins at this time.
    pub from: Timestamp,
    /// It is over at this time.
    pub to: Timestamp,
}

/// What is wrong with a drill.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DrillError {
    /// The name is empty, too long, or holds control characters.
    #[error("`name` has 1 to {MAX_NAME} characters")]
    Name,
    /// It would silence all that is real.
    #[error("a drill names the devices or the rules that it is about; everything else stays real")]
    Everything,
    /// It names more than one drill needs.
    #[error("a drill names at most {MAX_NAMED} devices and {MAX_NAMED} rules")]
    TooMany,
    /// It ends before it begins.
    #[error("a drill ends after it begins: `to` is later than `from`")]
    Over,
    /// It is longer than drills are: somebody forgot it.
    #[error("a drill lasts at most three days")]
    TooLong,
}

impl Drill {
    /// Whether it can be.
    ///
    /// # Errors
    /// See [`DrillError`].
    pub fn check(&self) -> Result<(), DrillError> {
        let is_named = !self.name.trim().is_empty()
            && self.name.chars().count() <= MAX_NAME
            && !self.name.contains(char::is_control);
        if !is_named {
            return Err(DrillError::Name);
        }
        if self.devices.is_empty() && self.rules.is_empty() {
            return Err(DrillError::Everything);
        }
        if self.devices.len() > MAX_NAMED || self.rules.len() > MAX_NAMED {
            return Err(DrillError::TooMany);
        }
        if self.to <= self.from {
            return Err(DrillError::Over);
        }
        if self.to - self.from > MAX_LENGTH_MS {
            return Err(DrillError::TooLong);
        }
        Ok(())
    }

    /// Whether it is on at a time.
    pub fn is_on(&self, at: Timestamp) -> bool {
        (self.from..self.to).contains(&at)
    }

    /// Whether what is raised of a device in a division by a rule belongs to it while it is on.
    pub fn is_about(&self, rule: &RuleId, device: &DeviceId, division: Option<&DivisionCode>) -> bool {
        (self.devices.is_empty() || self.devices.contains(device))
            && (self.rules.is_empty() || self.rules.contains(rule))
            && match (&self.division, division) {
                (None, _) => true,
                (Some(own), Some(other)) => own.covers(other),
                (Some(_), None) => false,
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drill() -> Drill {
        Drill {
            name: "汛前演练".to_owned(),
            division: None,
            devices: vec![DeviceId::new("gauge-1").expect("an id")],
            rules: Vec::new(),
            from: Timestamp::from_ms(1_000),
            to: Timestamp::from_ms(2_000),
        }
    }

    #[test]
    fn a_drill_names_what_it_is_about_and_ends() {
        assert_eq!(drill().check(), Ok(()));
        type Change = fn(&mut Drill);
        let wrong: [(Change, DrillError); 7] = [
            (|d| d.name = "  ".to_owned(), DrillError::Name),
            (|d| d.name = "x".repeat(65), DrillError::Name),
            (|d| d.name = "a\nb".to_owned(), DrillError::Name),
            (|d| d.devices.clear(), DrillError::Everything),
            (
                |d| d.devices = vec![d.devices[0].clone(); 1_001],
                DrillError::TooMany,
            ),
            (|d| d.to = d.from, DrillError::Over),
            (
                |d| d.to = Timestamp::from_ms(1_001 + MAX_LENGTH_MS),
                DrillError::TooLong,
            ),
        ];
        for (change, error) in wrong {
            let mut wrong = drill();
            change(&mut wrong);
            assert_eq!(wrong.check(), Err(error));
        }
    }

    #[test]
    fn its_end_is_not_inside_and_each_part_narrows_it() {
        let mut drill = drill();
        let on = [999, 1_000, 1_999, 2_000].map(|ms| drill.is_on(Timestamp::from_ms(ms)));
        assert_eq!(on, [false, true, true, false]);
        let [one, other] = ["gauge-1", "gauge-2"].map(|id| DeviceId::new(id).expect("an id"));
        let [rise, smoke] = ["rise", "smoke"].map(|id| RuleId::new(id).expect("an id"));
        let inside = DivisionCode::new("630102").expect("a code");
        assert!(drill.is_about(&rise, &one, None) && !drill.is_about(&rise, &other, None));
        drill.rules = vec![rise.clone()];
        assert!(!drill.is_about(&smoke, &one, None));
        drill.division = Some(DivisionCode::new("630100").expect("a code"));
        assert!(drill.is_about(&rise, &one, Some(&inside)) && !drill.is_about(&rise, &one, None));
    }
}

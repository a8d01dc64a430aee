//! Devices and gateways as the register holds them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::scope::Belongs;
use crate::{DeviceId, DivisionCode, EntityRef, Position, ProfileId, Timestamp};

/// Where in its life a device is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceState {
    /// In use.
    #[default]
    Active,
    /// Registered and not heard yet; its first reading makes it active.
    Provisioned,
    /// Under maintenance: readings are kept and marked, alarms recorded and not paged.
    Maintenance,
    /// Out of use: whatever it still sends is refused by name.
    Retired,
}

/// Urban or rural surroundings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names say it")]
pub enum Setting {
    #[default]
    Urban,
    Rural,
}

/// Until when and why a device is under maintenance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Maintenance {
    /// When it ends by itself; `None` lasts until somebody ends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// One device or gateway.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Device {
    /// Its id.
    pub id: DeviceId,
    /// Name for people, Chinese first.
    pub name: String,
    /// English name; the screen shows `name` when empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name_en: String,
    /// What it is: `air_station`, `river_gauge`, `manhole`, … Rules select by it.
    pub kind: Arc<str>,
    /// Its profile; `None` takes dictionary names as keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<ProfileId>,
    /// Where it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<Position>,
    /// The entity that it stands on or in, whose state is the worst of its devices: a cover of a manhole, a pump of a
    /// pipe, a sensor of a hazard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entity: Option<EntityRef>,
    /// Division as stated by its owner; when absent it is found from the position.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub division: Option<DivisionCode>,
    /// Urban or rural.
    #[serde(default)]
    pub setting: Setting,
    /// The gateway that speaks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<DeviceId>,
    /// It may speak for other devices: for those whose `gateway` it is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_gateway: bool,
    /// A gateway whose unknown children are registered when they first speak.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub adopts: bool,
    /// Life-cycle state.
    #[serde(default)]
    pub state: DeviceState,
    /// Until when and why it is under maintenance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance: Option<Maintenance>,
    /// Seconds between its readings, for silence and the gap ledger; 0 is not known.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cadence_s: u32,
    /// Department that owns it; empty when it has none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub department: String,
    /// Demonstration data, marked 演示 on the screen.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub demo: bool,
}

impl Device {
    /// To whom it belongs; `division` is where it lies, as stated or found from its position.
    pub fn belongs<'a>(&'a self, division: Option<&'a DivisionCode>) -> Belongs<'a> {
        Belongs::of(division, &self.department)
    }

    /// Its state at a time: a maintenance whose end has come is over, the end itself included.
    pub fn state_at(&self, now: Timestamp) -> DeviceState {
        match self.maintenance_ends() {
            Some(until) if until <= now => DeviceState::Active,
            _ => self.state,
        }
    }

    /// When its maintenance ends by itself; `None` outside maintenance and for one without end.
    pub fn maintenance_ends(&self) -> Option<Timestamp> {
        match self.state {
            DeviceState::Maintenance => self.maintenance.as_ref()?.until,
            _ => None,
        }
    }
}

fn is_zero(n: &u32) -> bool {
    *n == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_maintenance_ends_by_itself() {
        let json = r#"{"id":"d","name":"d","kind":"gauge","state":"maintenance"}"#;
        let mut device: Device = serde_json::from_str(json).expect("a device of before");
        let at = Timestamp::from_ms;
        assert_eq!(device.state_at(at(i64::MAX)), DeviceState::Maintenance);
        device.maintenance = Some(Maintenance {
            until: Some(at(1000)),
            note: String::new(),
        });
        assert_eq!(device.state_at(at(999)), DeviceState::Maintenance);
        assert_eq!(device.state_at(at(1000)), DeviceState::Active);
        device.state = DeviceState::Retired;
        assert_eq!(device.state_at(at(1000)), DeviceState::Retired);
        assert_eq!(device.maintenance_ends(), None);
    }
}

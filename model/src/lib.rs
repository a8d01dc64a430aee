//! The vocabulary of onemap: what every other member speaks about.
//!
//! No I/O and no clock here; every type is a plain value. Wire formats of foreign devices live in
//! `wire`, storage in `store`; only the journal's own record encoding is here ([`record`]), because
//! listeners write it and the pipeline reads it.

pub mod account;
pub mod act;
pub mod alert;
pub mod attribute;
pub mod code;
pub mod command;
pub mod crs;
pub mod device;
pub mod drill;
pub mod duty;
pub mod duty_log;
pub mod entity;
pub mod fence;
pub mod forecast;
pub mod hydrology;
pub mod id;
pub mod person;
pub mod place;
mod projection;
pub mod quantity;
pub mod reading;
pub mod record;
pub mod refusal;
pub mod review;
pub mod rule_step;
pub mod scope;
pub mod time;
pub mod warning;

pub use account::{Account, AccountError, Subject};
pub use act::{Act, SecondSeen, Verb};
pub use alert::{AlertId, Edge, Past, Severity, Transition, TransitionId};
pub use attribute::AttributeScope;
pub use command::{Command, CommandRecord, CommandState, CommandStep, Fact, Happened, Order, Over, Via};
pub use crs::Crs;
pub use device::{Device, DeviceState, Maintenance, Setting};
pub use drill::{Drill, DrillError};
pub use duty::{Desk, DeskError, Shift};
pub use duty_log::{DutyEntry, DutyEntryError, DutyKind};
pub use entity::{Entity, EntityCode, EntityKind, EntityRef, EntityRefError, FormerCode, Stratum};
pub use fence::{FenceEdge, FenceEvent, FenceEventId, FenceRules};
pub use forecast::{Exceedance, Forecast, ForecastError, Lead, Regime};
pub use hydrology::Hydrology;
pub use id::{AccountId, DeskId, DeviceId, DrillId, IdError, ProfileId, RuleId};
pub use person::{Person, PersonPlace, Pseudonym, SealedPerson};
pub use place::{DivisionCode, Position};
pub use quantity::{Calendar, Family, Quantity};
pub use reading::{Observation, Quality, Reading, SeriesKey, Value};
pub use record::{Frame, Record, Source};
pub use refusal::Refusal;
pub use review::{Correction, Dust, DustPlace, Review, ReviewError, Verdict};
pub use rule_step::RuleStep;
pub use scope::{Belongs, Owner, Reach, Role, Scope};
pub use time::Timestamp;
pub use warning::{
    WarningAbout, WarningApproval, WarningArea, WarningCircle, WarningColour, WarningContent, WarningIssuer,
    WarningKind, WarningStanding, WarningStep, WarningWords,
};

//! Warnings (预警) as people draft, approve and issue them: the steps that stand in the journal.
//!
//! An alarm (告警) is no warning. What a step makes of a warning is decided where warnings are folded; here stands
//! only what a person said, and everything that the message made of it needs, so that a replay under another
//! configuration makes the same message.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{AlertId, DeviceId, DivisionCode, Quantity, SeriesKey, Timestamp};

/// How the topic of a frame begins that is a CAP message of others; behind it stands who handed it in.
pub const RECEIVED_TOPIC: &str = "/cap/";

/// The colour by law, from the least to the worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WarningColour {
    /// 蓝色, grade IV.
    Blue,
    /// 黄色, grade III.
    Yellow,
    /// 橙色, grade II.
    Orange,
    /// 红色, grade I.
    Red,
}

/// How a message is to be taken once it is approved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WarningStanding {
    /// In force.
    #[default]
    Actual,
    /// 演练: for an exercise.
    Exercise,
    /// Of the technology only.
    Test,
}

impl WarningStanding {
    /// As it stands in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Actual => "actual",
            Self::Exercise => "exercise",
            Self::Test => "test",
        }
    }
}

/// What a message is to those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WarningKind {
    /// The first of its event.
    Alert,
    /// It replaces what was issued.
    Update,
    /// It ends what was issued (解除).
    Cancel,
}

/// The texts of one language.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WarningWords {
    /// The event: 暴雨橙色预警.
    pub event: String,
    /// Who warns: 西宁市气象台.
    pub sender_name: String,
    /// Less than 160 characters.
    pub headline: String,
    /// The event at length.
    pub description: String,
    /// What to do.
    pub instruction: String,
}

/// A circle of an area.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WarningCircle {
    /// Longitude of the centre, degrees.
    pub lon: f64,
    /// Latitude of the centre, degrees.
    pub lat: f64,
    /// Radius in kilometres.
    pub radius_km: f64,
}

/// A part of the area.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WarningArea {
    /// 西宁市城东区
    pub zh: String,
    /// Chengdong District, Xining
    pub en: String,
    /// Divisions in it.
    pub divisions: Vec<DivisionCode>,
    /// Rings drawn by hand, longitude first, in degrees.
    pub polygons: Vec<Vec<[f64; 2]>>,
    /// Circles.
    pub circles: Vec<WarningCircle>,
    /// Outlines of the divisions as the register had them when this was written, filled by the server.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub outlines: Vec<Vec<[f64; 2]>>,
}

/// What is measured of that which a warning is about, so that it can be told afterwards whether it came.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WarningAbout {
    /// Where it is measured.
    pub device: DeviceId,
    /// What.
    pub quantity: Quantity,
    /// On which channel.
    #[serde(default)]
    pub ch: u16,
    /// It has come when a value is greater, in the quantity's canonical unit.
    pub above: f64,
}

impl WarningAbout {
    /// The series that it looks at.
    pub fn series(&self) -> SeriesKey {
        SeriesKey {
            device: self.device.clone(),
            quantity: self.quantity,
            channel: self.ch,
        }
    }
}

/// What a warning says. A draft may leave out what an issued one has to have.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WarningContent {
    /// How it is to be taken.
    #[serde(default)]
    pub standing: WarningStanding,
    /// The colour by law.
    pub colour: WarningColour,
    /// The kind of event by GB/T 35561, `11B03`.
    #[serde(default)]
    pub event_code: String,
    /// CAP's categories.
    #[serde(default)]
    pub categories: Vec<String>,
    /// CAP's word for how soon.
    #[serde(default)]
    pub urgency: String,
    /// CAP's word for how sure.
    #[serde(default)]
    pub certainty: String,
    /// CAP's words for what is asked.
    #[serde(default)]
    pub response_types: Vec<String>,
    /// From when it holds; from when it is sent where nothing stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effective: Option<Timestamp>,
    /// When the event is expected to begin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub onset: Option<Timestamp>,
    /// When it is over by itself.
    pub expires: Timestamp,
    /// 中文.
    #[serde(default)]
    pub zh: WarningWords,
    /// English.
    #[serde(default)]
    pub en: WarningWords,
    /// Where.
    #[serde(default)]
    pub areas: Vec<WarningArea>,
    /// More of it, an absolute URI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub web: Option<String>,
    /// Whom to ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contact: Option<String>,
    /// The alert it was proposed from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alert: Option<AlertId>,
    /// What it is scored by when it is over. Not part of the message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<WarningAbout>,
    /// The division that it is of: who is of another one neither sees nor changes it. Not part of the message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub division: Option<DivisionCode>,
    /// The department that it is of, empty for none. Not part of the message.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub department: String,
}

/// That the competent authority approved, as it is recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WarningApproval {
    /// Which authority.
    pub authority: String,
    /// Who of it.
    pub name: String,
    /// The number under which it is recorded.
    pub number: String,
    /// When it was given.
    pub at: Timestamp,
}

/// By whom and within which bounds a message is issued, as configured when it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WarningIssuer {
    /// The sender of the message.
    pub sender: String,
    /// Division, organisation, internal code and extension of its identifier: fourteen characters.
    pub unit: String,
    /// Longest time in ms from sent to expires.
    pub longest_ms: u64,
    /// Whether who drafted it may approve it.
    pub own_approval: bool,
}

impl WarningIssuer {
    /// Longest time from sent to expires.
    pub fn longest(&self) -> Duration {
        Duration::from_millis(self.longest_ms)
    }
}

/// One step of a warning's life.
///
/// `warning` is the journal position of its first draft, `revision` that of the last draft or edit: who approves or
/// rejects names what he saw.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
#[non_exhaustive]
pub enum WarningStep {
    /// A new warning is drafted.
    Draft {
        /// The person's name as given.
        name: String,
        /// What it says.
        content: WarningContent,
    },
    /// The draft says something else.
    Edit {
        /// The warning.
        warning: u64,
        /// What was changed, where the editor says so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        revision: Option<u64>,
        /// The person's name as given.
        name: String,
        /// What it says now.
        content: WarningContent,
    },
    /// The draft is given up; what was issued stays.
    Drop {
        /// The warning.
        warning: u64,
        /// The person's name as given.
        name: String,
        /// Why.
        note: String,
    },
    /// An update or a cancellation of what was issued is drafted.
    Revise {
        /// The warning.
        warning: u64,
        /// [`WarningKind::Update`] or [`WarningKind::Cancel`].
        kind: WarningKind,
        /// The person's name as given.
        name: String,
        /// What it says.
        content: WarningContent,
    },
    /// The draft is approved by the competent authority, and issued.
    Approve {
        /// The warning.
        warning: u64,
        /// What was approved.
        revision: u64,
        /// The approval.
        approval: WarningApproval,
        /// By whom it is issued.
        issuer: WarningIssuer,
    },
    /// The draft is not approved.
    Reject {
        /// The warning.
        warning: u64,
        /// What was not approved.
        revision: u64,
        /// The person's name as given.
        name: String,
        /// Why.
        note: String,
    },
}

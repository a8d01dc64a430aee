//! The duty log (值班日志): what people on duty write down, and how one shift hands over to the next (交接班).
//!
//! Entries are only ever added. Who made a mistake writes another entry that names the one it corrects.

use serde::{Deserialize, Serialize};

use crate::{AlertId, DeskId, DeviceId, DivisionCode, RuleId, Severity, Timestamp};

/// Characters of an entry's text.
pub const MAX_TEXT: usize = 4_000;
/// Alerts, warnings and devices that one entry names, of each kind.
pub const MAX_ABOUT: usize = 50;
/// Alerts of a hand-over that are listed, the worst first; all are counted.
pub const MAX_HANDED: usize = 200;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DutyKind {
    /// 记事
    Note,
    /// 交班
    Handover,
    /// 接班
    Takeover,
    /// 指令
    Instruction,
    /// 通话
    Call,
}

impl DutyKind {
    /// Stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Handover => "handover",
            Self::Takeover => "takeover",
            Self::Instruction => "instruction",
            Self::Call => "call",
        }
    }
    /// The Chinese word.
    pub fn zh(self) -> &'static str {
        match self {
            Self::Note => "记事",
            Self::Handover => "交班",
            Self::Takeover => "接班",
            Self::Instruction => "指令",
            Self::Call => "通话",
        }
    }
}

/// A shift as an entry names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShiftName {
    /// From this time on.
    pub from: Timestamp,
    /// Until before this time.
    pub to: Timestamp,
    /// What the roster calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// What an entry is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct About {
    /// Alerts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub alerts: Vec<AlertId>,
    /// Statutory warnings, by id.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<u64>,
    /// Devices.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<DeviceId>,
}

/// One entry, as the journal has it. When and by whom stands in its act.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DutyEntry {
    /// Whose log it is in.
    pub desk: DeskId,
    /// What the desk looked at then: who sees less does not see the entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub division: Option<DivisionCode>,
    /// The shift it was written in; `None` where the roster had none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shift: Option<ShiftName>,
    /// Name of who was logged in, as people read it.
    pub name: String,
    /// What it is.
    pub kind: DutyKind,
    /// What was written, in any language.
    pub text: String,
    /// What it is about.
    #[serde(default)]
    pub about: About,
    /// Journal position of the entry that this one corrects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub corrects: Option<u64>,
    /// Of a hand-over: what was handed over, as it was then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handed: Option<Box<Handed>>,
    /// Of a take-over: journal position of the hand-over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handover: Option<u64>,
}

/// What one shift leaves to the next.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Handed {
    /// Open alerts that the desk looks at, shelved ones among them.
    pub n_open: u32,
    /// Those that nobody has acknowledged or shelved.
    pub n_waiting: u32,
    /// Those that are shelved.
    pub n_shelved: u32,
    /// Those somebody was called for and that still wait.
    pub n_paged: u32,
    /// The worst first, at most [`MAX_HANDED`].
    pub alerts: Vec<HandedAlert>,
    /// Statutory warnings in force.
    pub warnings: Vec<HandedWarning>,
    /// What consumers of alerts did not take; `None` where who handed over may not see it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_aside: Option<Vec<HandedAside>>,
}

/// One alert that is handed over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandedAlert {
    /// Its id.
    pub id: AlertId,
    /// Its rule.
    pub rule: RuleId,
    /// What the rule is called, Chinese.
    pub name_zh: String,
    /// English.
    pub name_en: String,
    /// How much it matters.
    pub severity: Severity,
    /// What it is about.
    pub device: DeviceId,
    /// What that is called.
    pub device_name: String,
    /// When it was raised.
    pub raised_at: Timestamp,
    /// Who takes care of it, and until when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<Until>,
    /// Who shelved it, and until when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shelved: Option<Until>,
    /// Somebody was called for it, and nobody has it.
    #[serde(default)]
    pub paged: bool,
}

/// A person's word that runs out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Until {
    /// Whose.
    pub name: String,
    /// When it runs out.
    pub until: Timestamp,
}

/// One warning in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandedWarning {
    /// Its id.
    pub id: u64,
    /// Name of the message that holds.
    pub identifier: String,
    /// What it warns of, Chinese.
    pub event_zh: String,
    /// English.
    pub event_en: String,
    /// When it is over by itself.
    pub expires: Timestamp,
}

/// What one consumer of alerts did not take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandedAside {
    /// The consumer.
    pub consumer: String,
    /// How many items.
    pub n: u64,
}

/// What is wrong with an entry by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DutyEntryError {
    /// There is no text where there must be one, too much of it, or it holds control characters.
    #[error(
        "a text has 1 to {MAX_TEXT} characters, of controls only line ends and tabs; a take-over may be without one"
    )]
    Text,
    /// It names too much.
    #[error("an entry names at most {MAX_ABOUT} alerts, {MAX_ABOUT} warnings and {MAX_ABOUT} devices")]
    About,
    /// It has parts of another kind of entry.
    #[error(
        "a hand-over says what is handed over, a take-over which hand-over it takes, other entries neither"
    )]
    Parts,
}

impl DutyEntry {
    /// Whether it can be.
    ///
    /// # Errors
    /// See [`DutyEntryError`].
    pub fn check(&self) -> Result<(), DutyEntryError> {
        let is_empty = self.text.trim().is_empty() && self.kind != DutyKind::Takeover;
        let is_odd = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
        if is_empty || self.text.chars().count() > MAX_TEXT || self.text.contains(is_odd) {
            return Err(DutyEntryError::Text);
        }
        let About {
            alerts,
            warnings,
            devices,
        } = &self.about;
        if [alerts.len(), warnings.len(), devices.len()]
            .iter()
            .any(|n| *n > MAX_ABOUT)
        {
            return Err(DutyEntryError::About);
        }
        let is_whole = match self.kind {
            DutyKind::Handover => self.handed.is_some() && self.handover.is_none(),
            DutyKind::Takeover => self.handed.is_none() && self.handover.is_some(),
            _ => self.handed.is_none() && self.handover.is_none(),
        };
        let corrects_nothing = self.corrects.is_none();
        let may_correct = !matches!(self.kind, DutyKind::Handover | DutyKind::Takeover);
        match is_whole && (corrects_nothing || may_correct) {
            true => Ok(()),
            false => Err(DutyEntryError::Parts),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn note(text: &str) -> DutyEntry {
        DutyEntry {
            desk: DeskId::new("east").unwrap(),
            division: None,
            shift: None,
            name: "王队".to_owned(),
            kind: DutyKind::Note,
            text: text.to_owned(),
            about: About::default(),
            corrects: None,
            handed: None,
            handover: None,
        }
    }

    #[test]
    fn an_entry_is_text_of_a_bounded_length_and_has_the_parts_of_its_kind() {
        let long = |n| "巡".repeat(n);
        let (whole, over) = (long(MAX_TEXT), long(MAX_TEXT + 1));
        for (text, is_good) in [
            ("巡查正常", true),
            ("一行\n另一行\t", true),
            (&*whole, true),
            (&*over, false),
            (" \n", false),
            ("a\u{0}b", false),
            ("a\u{1b}[31m", false),
        ] {
            assert_eq!(note(text).check().is_ok(), is_good, "{text:.9}");
        }
        let of = |kind, handed: bool, handover| DutyEntry {
            kind,
            handed: handed.then(Box::default),
            handover,
            ..note("交")
        };
        for (entry, is_good) in [
            (of(DutyKind::Handover, true, None), true),
            (of(DutyKind::Handover, false, None), false),
            (of(DutyKind::Takeover, false, Some(1)), true),
            (of(DutyKind::Takeover, false, None), false),
            (of(DutyKind::Takeover, true, Some(1)), false),
            (of(DutyKind::Call, false, Some(1)), false),
            (of(DutyKind::Call, true, None), false),
        ] {
            assert_eq!(entry.check().is_ok(), is_good, "{entry:?}");
        }
        let silent = DutyEntry {
            text: String::new(),
            ..of(DutyKind::Takeover, false, Some(1))
        };
        silent.check().unwrap();
        let mut many = note("a");
        many.about.warnings = vec![1; MAX_ABOUT + 1];
        assert_eq!(many.check(), Err(DutyEntryError::About));
    }
}

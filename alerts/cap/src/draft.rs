//! Statutory warnings (预警) that we draft: one event in Chinese and English, its updates and its end.
//!
//! A draft is a message of status `Draft`. It becomes `Actual` only with an [`Approval`] of the competent
//! authority, which then stands in the message; there is no other way in this module to one. An alarm (告警) is
//! no warning and is not sent through here.

use onemap_model::{DivisionCode, Timestamp};

use crate::error::{CapError, Fault, start};
use crate::gbt35965::{Colour, EventCode, geocode};
use crate::message::{Alert, Area, Info, Named, Reference};
use crate::words::{Category, Certainty, MsgType, ResponseType, Scope, Status, Urgency};
use crate::{Circle, DateTime, Polygon};

/// The parameter with the authority that approved.
pub const APPROVED_BY: &str = "onemap approved by";
/// The parameter with the number of the approval.
pub const APPROVAL: &str = "onemap approval";

/// What is warned of.
#[derive(Clone, Debug, PartialEq)]
pub struct Warning {
    /// A name in the form of [`crate::gbt35965::WarningId`], or another one without blanks and commas.
    pub identifier: String,
    /// Who sends, without blanks and commas: a name of the form of a domain.
    pub sender: String,
    /// When.
    pub sent: Timestamp,
    /// The colour by law.
    pub colour: Colour,
    /// The kind of event.
    pub event_code: EventCode,
    /// CAP's categories, at least one; [`EventCode::category`] knows some.
    pub categories: Vec<Category>,
    /// How soon.
    pub urgency: Urgency,
    /// How sure.
    pub certainty: Certainty,
    /// What is asked. Of a cancellation it is `AllClear`, whatever stands here.
    pub response_types: Vec<ResponseType>,
    /// From when it holds; from `sent` when it does not say.
    pub effective: Option<Timestamp>,
    /// When the event is expected to begin.
    pub onset: Option<Timestamp>,
    /// When it is over by itself.
    pub expires: Timestamp,
    /// 中文.
    pub zh: Words,
    /// English.
    pub en: Words,
    /// Where.
    pub areas: Vec<Region>,
    /// More of it, an absolute URI.
    pub web: Option<String>,
    /// Whom to ask.
    pub contact: Option<String>,
    /// More facts, the same in both languages.
    pub parameters: Vec<Named>,
}

/// The texts of one language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words {
    /// The event: 暴雨橙色预警, Orange warning of heavy rain.
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

/// A part of the area, the same in both languages but for its name.
#[derive(Clone, Debug, PartialEq)]
pub struct Region {
    /// 西宁市城东区
    pub zh: String,
    /// Chengdong District, Xining
    pub en: String,
    /// Its outlines.
    pub polygons: Vec<Polygon>,
    /// Circles.
    pub circles: Vec<Circle>,
    /// Its divisions.
    pub divisions: Vec<DivisionCode>,
}

/// That the competent authority approved it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    /// Which authority, and who of it.
    pub by: String,
    /// The number or id under which the approval is recorded.
    pub number: String,
}

/// How a warning stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Not approved: for those who work on it.
    Draft,
    /// 演练: for exercise.
    Exercise,
    /// Of the technology only.
    Test,
    /// Approved and in force.
    Issued(Approval),
}

/// What it is to messages before it.
#[derive(Clone, Copy, Debug)]
pub enum Before<'a> {
    /// The first of its event.
    Nothing,
    /// It replaces these.
    Updates(&'a [&'a Alert]),
    /// It ends these (解除).
    Cancels(&'a [&'a Alert]),
}

impl Warning {
    /// The message, with one info in zh-CN and one in en-US.
    ///
    /// An update or cancellation references the given messages and all that these reference, oldest first, each
    /// once. What comes out can be written: [`Alert::check`] is good, and [`Alert::remarks`] has none.
    ///
    /// # Errors
    /// [`Fault::WithoutReferences`] when nothing is replaced, [`Fault::OtherSender`], [`Fault::NotAfter`],
    /// [`Fault::Time`] outside of the years 1 to 9999, [`Fault::Empty`] for a text of either language or of the
    /// approval that is missing, and what check and remarks have.
    pub fn alert(&self, standing: &Standing, before: Before<'_>) -> Result<Alert, CapError> {
        let (msg_type, replaced) = match before {
            Before::Nothing => (MsgType::Alert, &[][..]),
            Before::Updates(replaced) => (MsgType::Update, replaced),
            Before::Cancels(replaced) => (MsgType::Cancel, replaced),
        };
        let (status, approval) = match standing {
            Standing::Draft => (Status::Draft, None),
            Standing::Exercise => (Status::Exercise, None),
            Standing::Test => (Status::Test, None),
            Standing::Issued(approval) => (Status::Actual, Some(approval)),
        };
        if let Some(approval) = approval {
            filled("approval/by", &approval.by)?;
            filled("approval/number", &approval.number)?;
        }
        let alert = Alert {
            identifier: self.identifier.clone(),
            sender: self.sender.clone(),
            sent: time("alert/sent", self.sent)?,
            status,
            msg_type,
            source: None,
            scope: Scope::Public,
            restriction: None,
            addresses: vec![],
            codes: vec![],
            note: None,
            references: self.replaced(replaced)?,
            incidents: vec![],
            infos: vec![
                self.info(&self.zh, "zh-CN", "alert/info[1]", msg_type, approval)?,
                self.info(&self.en, "en-US", "alert/info[2]", msg_type, approval)?,
            ],
        };
        alert.check()?;
        alert.remarks().into_iter().next().map_or(Ok(alert), Err)
    }

    /// The names of all messages that this one replaces.
    fn replaced(&self, messages: &[&Alert]) -> Result<Vec<Reference>, CapError> {
        let at = |fault| CapError::at("alert/references", fault);
        let mut all = Vec::<Reference>::new();
        for message in messages {
            if message.sender != self.sender {
                return Err(at(Fault::OtherSender {
                    found: start(&message.sender),
                }));
            }
            all.extend(message.references.iter().cloned());
            all.push(message.reference());
        }
        // By whole seconds, as messages have them.
        let sent_s = self.sent.ms().div_euclid(1000);
        let is_old =
            |r: &&Reference| r.sent.at().ms().div_euclid(1000) < sent_s && r.identifier != self.identifier;
        if let Some(newer) = all.iter().find(|reference| !is_old(reference)) {
            return Err(at(Fault::NotAfter {
                found: start(&newer.identifier),
            }));
        }
        all.sort_by(|a, b| {
            (a.sent.at(), &a.sender, &a.identifier).cmp(&(b.sent.at(), &b.sender, &b.identifier))
        });
        all.dedup_by(|a, b| {
            (a.sent.at(), &a.sender, &a.identifier) == (b.sent.at(), &b.sender, &b.identifier)
        });
        Ok(all)
    }

    fn info(
        &self,
        words: &Words,
        language: &str,
        path: &str,
        msg_type: MsgType,
        approval: Option<&Approval>,
    ) -> Result<Info, CapError> {
        let at = |name: &str| format!("{path}/{name}");
        filled(&at("senderName"), &words.sender_name)?;
        filled(&at("headline"), &words.headline)?;
        filled(&at("description"), &words.description)?;
        filled(&at("instruction"), &words.instruction)?;
        let when = |name: &str, t: Option<Timestamp>| t.map(|t| time(&at(name), t)).transpose();
        let approved = approval.into_iter().flat_map(|approval| {
            [
                Named::new(APPROVED_BY, &approval.by),
                Named::new(APPROVAL, &approval.number),
            ]
        });
        let is_over = msg_type == MsgType::Cancel;
        Ok(Info {
            language: Some(language.to_owned()),
            categories: self.categories.clone(),
            event: words.event.clone(),
            response_types: if is_over {
                vec![ResponseType::AllClear]
            } else {
                self.response_types.clone()
            },
            urgency: self.urgency,
            severity: self.colour.severity(),
            certainty: self.certainty,
            audience: None,
            event_codes: vec![self.event_code.named()],
            effective: when("effective", self.effective)?,
            onset: when("onset", self.onset)?,
            expires: when("expires", Some(self.expires))?,
            sender_name: Some(words.sender_name.clone()),
            headline: Some(words.headline.clone()),
            description: Some(words.description.clone()),
            instruction: Some(words.instruction.clone()),
            web: self.web.clone(),
            contact: self.contact.clone(),
            parameters: [self.colour.parameter()]
                .into_iter()
                .chain(approved)
                .chain(self.parameters.clone())
                .collect(),
            resources: vec![],
            areas: self.areas.iter().map(|region| region.area(language)).collect(),
        })
    }
}

impl Region {
    fn area(&self, language: &str) -> Area {
        Area {
            description: if language == "zh-CN" {
                self.zh.clone()
            } else {
                self.en.clone()
            },
            polygons: self.polygons.clone(),
            circles: self.circles.clone(),
            geocodes: self.divisions.iter().map(geocode).collect(),
            altitude: None,
            ceiling: None,
        }
    }
}

fn time(path: &str, at: Timestamp) -> Result<DateTime, CapError> {
    DateTime::beijing(at).ok_or_else(|| {
        CapError::at(
            path,
            Fault::Time {
                found: at.to_string(),
            },
        )
    })
}

fn filled(path: &str, text: &str) -> Result<(), CapError> {
    match text.trim().is_empty() {
        true => Err(CapError::at(path, Fault::Empty)),
        false => Ok(()),
    }
}

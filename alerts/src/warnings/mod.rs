//! Statutory warnings (预警): drafted, approved, issued, updated, cancelled, over.
//!
//! [`Warnings`] folds [`WarningStep`]s into [`Warning`]s and their messages. It is a projection of the journal: no
//! clock, no I/O; the same acts give the same documents, byte for byte, whatever is configured when they are folded
//! again, since a step brings what its message needs. Times are those of the acts: what follows from other records is
//! not looked at, so that a journal whose frames were let go gives the same.
//!
//! An alarm (告警) is no warning. What others warn of stands in [`received`] and never here.

mod content;
pub mod received;
mod refused;
mod ring;
pub mod score;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use onemap_cap::gbt35965::WarningId;
use onemap_model::{
    Act, Belongs, Scope, Timestamp, Verb, WarningAbout, WarningApproval, WarningContent, WarningIssuer,
    WarningKind, WarningStanding, WarningStep,
};
use serde::{Deserialize, Serialize};

use score::Held;

pub use content::faults;
pub use refused::{ContentFault, WarningRefused};
pub use ring::{MOST_PAIRS, simplified};

/// Drafts and warnings in force at once.
pub const MOST_OPEN: usize = 1000;
/// Warnings that are over and are kept here; the ledger keeps all messages.
pub const MOST_OVER: usize = 200;
/// Most bytes of what a warning says, as JSON.
pub const MOST_BYTES: usize = 256 << 10;
/// Messages of one warning: each references all before it.
const MOST_MESSAGES: usize = 100;
const LONGEST_NAME: usize = 64;
const LONGEST_NOTE: usize = 2000;

/// Who wrote a draft.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Author {
    /// The token or account.
    pub actor: String,
    /// The person's name as given.
    pub name: String,
    /// When.
    pub at: Timestamp,
}

/// That a draft was not approved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// Who, and when.
    #[serde(flatten)]
    pub by: Author,
    /// Why.
    pub note: String,
}

/// What waits for its approval.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pending {
    /// What it is to what was issued.
    pub kind: WarningKind,
    /// Journal position of the last draft or edit.
    pub revision: u64,
    /// What it says.
    pub content: WarningContent,
    /// Everybody who wrote it, the last one last.
    pub authors: Vec<Author>,
    /// Set until it is edited again.
    pub rejected: Option<Rejection>,
}

/// A message as it was issued; nothing changes it any more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Issued {
    /// Its name, unique for ever.
    pub identifier: String,
    /// Journal position of its approval.
    pub position: u64,
    /// What it is to those before it.
    pub kind: WarningKind,
    /// How it is to be taken.
    pub standing: WarningStanding,
    /// When it was sent, a whole second.
    pub sent: Timestamp,
    /// When it is over by itself.
    pub expires: Timestamp,
    /// What it says.
    pub content: WarningContent,
    /// Who wrote it.
    pub authors: Vec<Author>,
    /// The approval as recorded.
    pub approval: WarningApproval,
    /// The token or account that recorded it.
    pub approved_by: String,
    /// The CAP document.
    pub document: Arc<str>,
}

/// Where a warning is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WarningState {
    /// Nothing is issued; the draft waits for its approval.
    Draft,
    /// Nothing is issued; the draft was rejected.
    Rejected,
    /// In force.
    Issued,
    /// Ended by a cancellation.
    Cancelled,
    /// Over by itself.
    Expired,
    /// Given up before anything was issued.
    Dropped,
}

/// A warning: one event with its messages.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Warning {
    /// Journal position of its first draft.
    pub id: u64,
    /// What waits for its approval.
    pub pending: Option<Pending>,
    /// What was issued, oldest first.
    pub issued: Vec<Issued>,
    /// Why its first draft was given up.
    pub dropped: Option<Rejection>,
    /// It was drafted from an alert of a drill: it is an exercise, and stays one. False of drafts from before this was kept.
    #[serde(default)]
    pub from_drill: bool,
    /// What it said when it was given up.
    given_up: Option<WarningContent>,
}

impl Warning {
    /// What it says: the draft, else what was issued last.
    pub fn content(&self) -> Option<&WarningContent> {
        let pending = self.pending.as_ref().map(|pending| &pending.content);
        let issued = self.issued.last().map(|issued| &issued.content);
        pending.or(issued).or(self.given_up.as_ref())
    }
    /// Whose it is: what was issued is whose it was issued as.
    pub fn belongs(&self) -> Belongs<'_> {
        let issued = self.issued.last().map(|issued| &issued.content);
        match issued.or(self.content()) {
            Some(content) => belongs(content),
            None => Belongs::NOBODY,
        }
    }
    /// Where it is in its life at a time.
    pub fn state(&self, now: Timestamp) -> WarningState {
        match (self.issued.last(), &self.pending) {
            (Some(last), _) if last.kind == WarningKind::Cancel => WarningState::Cancelled,
            (Some(last), _) if last.expires <= now => WarningState::Expired,
            (Some(_), _) => WarningState::Issued,
            (None, Some(pending)) if pending.rejected.is_some() => WarningState::Rejected,
            (None, Some(_)) => WarningState::Draft,
            (None, None) => WarningState::Dropped,
        }
    }
    /// From when its first message was sent to when it ended or will end by itself; none where nothing is issued.
    pub fn in_force(&self) -> Option<(Timestamp, Timestamp)> {
        let (first, last) = (self.issued.first()?, self.issued.last()?);
        let until = match last.kind {
            WarningKind::Cancel => last.sent,
            _ => last.expires,
        };
        Some((first.sent, until))
    }
    /// What it is about since its first message that says so (an update changes nothing of what it is judged by), and from
    /// when to when it held; none where that is not said, nothing is issued, or it is not the real thing.
    pub fn held(&self) -> Option<(&WarningAbout, Held)> {
        let (sent, until) = self.in_force()?;
        let mut all = self.issued.iter();
        let about = all.find_map(|issued| issued.content.about.as_ref())?;
        let is_actual = self.issued.first()?.standing == WarningStanding::Actual;
        let above = about.above;
        is_actual.then_some((about, Held { sent, until, above }))
    }
    fn is_over(&self, now: Timestamp) -> bool {
        use WarningState as S;
        matches!(self.state(now), S::Cancelled | S::Expired | S::Dropped)
    }
}

/// To whom what a warning says belongs.
pub fn belongs(content: &WarningContent) -> Belongs<'_> {
    Belongs::of(content.division.as_ref(), &content.department)
}

/// All warnings: drafts, those in force, and the last that are over.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Warnings {
    warnings: BTreeMap<u64, Warning>,
    /// Of each unit the second of its last identifier, and how many it has in it.
    named: BTreeMap<String, (i64, u32)>,
    /// When the last message was sent.
    sent: Timestamp,
    /// Journal position of the last message.
    last: u64,
    #[serde(skip)]
    is_changed: bool,
}

/// Why bytes do not restore the warnings; the journal still can.
#[derive(Debug, thiserror::Error)]
#[error("the warnings' snapshot is not readable")]
pub struct WarningsError(#[source] serde_json::Error);

/// What a step makes.
struct Change {
    warning: Warning,
    /// Of a message the unit of its name with second and number in it.
    named: Option<(String, (i64, u32))>,
}

impl Warnings {
    /// Carries a step out, if it may be; gives the message when one was issued by it. `position` is the act's in the
    /// journal.
    ///
    /// # Errors
    /// See [`WarningRefused`]; then nothing changed.
    pub fn act(&mut self, position: u64, act: &Act) -> Result<Option<&Issued>, WarningRefused> {
        let Change { warning, named } = self.change(position, act)?;
        let (id, is_issued) = (warning.id, named.is_some());
        if let (Some((unit, serial)), Some(issued)) = (named, warning.issued.last()) {
            self.named.insert(unit, serial);
            self.sent = issued.sent;
            self.last = position;
        }
        self.warnings.insert(id, warning);
        self.forget(act.at);
        self.is_changed = true;
        let issued = || self.warnings.get(&id)?.issued.last();
        Ok(is_issued.then(issued).flatten())
    }

    /// Whether a step would be carried out now; for the answer to the person before it is journaled.
    ///
    /// # Errors
    /// See [`WarningRefused`].
    pub fn check(&self, act: &Act) -> Result<(), WarningRefused> {
        self.change(0, act).map(drop)
    }

    /// A warning.
    pub fn get(&self, id: u64) -> Option<&Warning> {
        self.warnings.get(&id)
    }
    /// All that are known, newest first.
    pub fn newest_first(&self) -> impl Iterator<Item = &Warning> {
        self.warnings.values().rev()
    }
    /// The messages that hold at a time, the newest sent first.
    pub fn active(&self, now: Timestamp) -> Vec<&Issued> {
        let of = |warning: &'_ Warning| warning.state(now) == WarningState::Issued;
        let held = self.warnings.values().filter(|warning| of(warning));
        let mut all: Vec<&Issued> = held.filter_map(|warning| warning.issued.last()).collect();
        all.sort_by_key(|message| Reverse((message.sent, message.position)));
        all
    }
    /// The message of a name, and the warning that it is of.
    pub fn message(&self, identifier: &str) -> Option<(&Warning, &Issued)> {
        let found = |warning: &'_ Warning| warning.issued.iter().rposition(|m| m.identifier == identifier);
        let mut all = self.warnings.values();
        all.find_map(|warning| Some((warning, warning.issued.get(found(warning)?)?)))
    }
    /// When the messages that hold were last others than before, at a time: when the last one was sent or ran out.
    pub fn changed_at(&self, now: Timestamp) -> Timestamp {
        let messages = self.warnings.values().filter_map(|warning| warning.issued.last());
        let ends = messages.map(|message| message.expires).filter(|end| *end <= now);
        ends.fold(self.sent, Ord::max)
    }
    /// Journal position of the last message.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// Whether it is another than its last snapshot.
    pub fn is_changed(&self) -> bool {
        self.is_changed
    }
    /// Notes that the last snapshot is kept.
    pub fn note_kept(&mut self) {
        self.is_changed = false;
    }
    /// Everything, to go on from.
    pub fn snapshot(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("warnings have text keys only")
    }
    /// From a snapshot.
    ///
    /// # Errors
    /// [`WarningsError`].
    pub fn restore(bytes: &[u8]) -> Result<Self, WarningsError> {
        serde_json::from_slice(bytes).map_err(WarningsError)
    }

    fn change(&self, position: u64, act: &Act) -> Result<Change, WarningRefused> {
        let Verb::Warning(step) = &act.verb else {
            return Err(WarningRefused::UnknownStep);
        };
        let plain = |warning| Change { warning, named: None };
        match &**step {
            WarningStep::Draft { name, content } => self.draft(position, act, name, content).map(plain),
            WarningStep::Edit {
                warning,
                revision,
                name,
                content,
            } => {
                let mut warning = self.found(*warning, act)?;
                let pending = draft_of(&mut warning)?;
                pending.is_revision(revision.unwrap_or(pending.revision))?;
                pending.edit(position, author(act, name)?, content)?;
                is_of(&act.by, content)?;
                is_standing(&warning)?;
                Ok(plain(warning))
            }
            WarningStep::Drop { warning, name, note } => {
                let mut warning = self.found(*warning, act)?;
                let by = author(act, name)?;
                let note = reason(note)?;
                draft_of(&mut warning)?;
                let pending = warning.pending.take();
                if warning.issued.is_empty() {
                    warning.dropped = Some(Rejection { by, note });
                    warning.given_up = pending.map(|pending| pending.content);
                }
                Ok(plain(warning))
            }
            WarningStep::Revise {
                warning,
                kind,
                name,
                content,
            } => {
                let warning = self.found(*warning, act)?;
                revise(position, act, warning, *kind, name, content).map(plain)
            }
            WarningStep::Reject {
                warning,
                revision,
                name,
                note,
            } => {
                let id = *warning;
                let mut warning = self.found(id, act)?;
                let by = author(act, name)?;
                let note = reason(note)?;
                let pending = draft_of(&mut warning)?;
                pending.is_revision(*revision)?;
                pending.is_open(id)?;
                pending.rejected = Some(Rejection { by, note });
                Ok(plain(warning))
            }
            WarningStep::Approve {
                warning,
                revision,
                approval,
                issuer,
            } => {
                let warning = self.found(*warning, act)?;
                self.approve(position, act, warning, *revision, approval, issuer)
            }
            _ => Err(WarningRefused::UnknownStep),
        }
    }

    fn found(&self, id: u64, act: &Act) -> Result<Warning, WarningRefused> {
        let warning = self.get(id).ok_or(WarningRefused::Unknown(id))?;
        match act.by.covers(warning.belongs()) {
            true => Ok(warning.clone()),
            false => Err(WarningRefused::OutOfScope(id)),
        }
    }

    fn draft(
        &self,
        position: u64,
        act: &Act,
        name: &str,
        content: &WarningContent,
    ) -> Result<Warning, WarningRefused> {
        let by = author(act, name)?;
        is_of(&act.by, content)?;
        is_small(content)?;
        let open = self.warnings.values().filter(|warning| !warning.is_over(act.at));
        if open.count() >= MOST_OPEN {
            return Err(WarningRefused::TooMany { limit: MOST_OPEN });
        }
        Ok(Warning {
            id: position,
            pending: Some(Pending {
                kind: WarningKind::Alert,
                revision: position,
                content: content.clone(),
                authors: vec![by],
                rejected: None,
            }),
            issued: Vec::new(),
            from_drill: content.alert.is_some() && content.standing == WarningStanding::Exercise,
            dropped: None,
            given_up: None,
        })
    }

    fn approve(
        &self,
        position: u64,
        act: &Act,
        mut warning: Warning,
        revision: u64,
        approval: &WarningApproval,
        issuer: &WarningIssuer,
    ) -> Result<Change, WarningRefused> {
        let id = warning.id;
        let pending = draft_of(&mut warning)?;
        pending.is_revision(revision)?;
        pending.is_open(id)?;
        is_of(&act.by, &pending.content)?;
        is_recorded(act, approval)?;
        let wrote = |author: &Author| author.actor == act.by.actor || author.name == approval.name.trim();
        if !issuer.own_approval && pending.authors.iter().any(wrote) {
            return Err(WarningRefused::OwnApproval);
        }
        let before = warning.issued.last();
        let sent = self.sending(act.at, before);
        if before.is_some() && warning.is_over(sent) {
            return Err(WarningRefused::Over(id));
        }
        let Some(pending) = warning.pending.take() else {
            return Err(WarningRefused::NoDraft(id));
        };
        is_in_time(&pending.content, sent, issuer)?;
        let (serial, identifier) = self.name(&issuer.unit, sent)?;
        let document = document(&pending, before, approval, (&identifier, &issuer.sender), sent)?;
        warning.issued.push(Issued {
            identifier,
            position,
            kind: pending.kind,
            standing: pending.content.standing,
            sent,
            expires: pending.content.expires,
            content: pending.content,
            authors: pending.authors,
            approval: approval.clone(),
            approved_by: act.by.actor.clone(),
            document,
        });
        Ok(Change {
            warning,
            named: Some((issuer.unit.clone(), serial)),
        })
    }

    /// The second in which a message is sent: that of its approval, never before that of the last message, and after
    /// those that it replaces.
    fn sending(&self, at: Timestamp, before: Option<&Issued>) -> Timestamp {
        let second = |at: Timestamp| Timestamp::from_ms(at.ms().div_euclid(1000) * 1000);
        let after = before.map(|before| Timestamp::from_ms(before.sent.ms() + 1000));
        let sent = second(at).max(self.sent);
        after.map_or(sent, |after| sent.max(after))
    }

    /// A name that no message had before: seconds never go back, and within one a number counts.
    fn name(&self, unit: &str, sent: Timestamp) -> Result<((i64, u32), String), WarningRefused> {
        let wrong = || WarningRefused::Unit {
            unit: unit.chars().take(64).collect(),
        };
        let second = sent.ms().div_euclid(1000);
        let n = match self.named.get(unit) {
            Some((last, n)) if *last == second => n + 1,
            _ => 1,
        };
        let part = |from, to| unit.get(from..to).ok_or_else(wrong);
        let serial = (n > 1).then_some(n);
        let id = WarningId::new(
            part(0, 6)?,
            part(6, 9)?,
            part(9, 12)?,
            part(12, unit.len())?,
            sent,
            serial,
        );
        Ok(((second, n), id.map_err(|_| wrong())?.to_string()))
    }

    /// Lets the oldest that are over go.
    fn forget(&mut self, now: Timestamp) {
        let over = self.warnings.values().filter(|warning| warning.is_over(now));
        let over: Vec<u64> = over.map(|warning| warning.id).collect();
        for id in over.iter().take(over.len().saturating_sub(MOST_OVER)) {
            self.warnings.remove(id);
        }
    }
}

impl Pending {
    fn is_revision(&self, named: u64) -> Result<(), WarningRefused> {
        match self.revision == named {
            true => Ok(()),
            false => Err(WarningRefused::DraftChanged {
                is: self.revision,
                named,
            }),
        }
    }
    fn is_open(&self, id: u64) -> Result<(), WarningRefused> {
        match self.rejected {
            None => Ok(()),
            Some(_) => Err(WarningRefused::Rejected(id)),
        }
    }
    fn edit(&mut self, position: u64, by: Author, content: &WarningContent) -> Result<(), WarningRefused> {
        is_small(content)?;
        self.revision = position;
        self.content = content.clone();
        self.rejected = None;
        // Each writer once, the last one last.
        self.authors
            .retain(|author| (&author.actor, &author.name) != (&by.actor, &by.name));
        self.authors.push(by);
        Ok(())
    }
}

fn draft_of(warning: &mut Warning) -> Result<&mut Pending, WarningRefused> {
    let id = warning.id;
    warning.pending.as_mut().ok_or(WarningRefused::NoDraft(id))
}

fn revise(
    position: u64,
    act: &Act,
    mut warning: Warning,
    kind: WarningKind,
    name: &str,
    content: &WarningContent,
) -> Result<Warning, WarningRefused> {
    let by = author(act, name)?;
    is_of(&act.by, content)?;
    is_small(content)?;
    if kind == WarningKind::Alert {
        return Err(WarningRefused::NoRevision);
    }
    if warning.issued.is_empty() {
        return Err(WarningRefused::NotIssued(warning.id));
    }
    if warning.is_over(act.at) || warning.issued.len() >= MOST_MESSAGES {
        return Err(WarningRefused::Over(warning.id));
    }
    if warning.pending.is_some() {
        return Err(WarningRefused::DraftWaits(warning.id));
    }
    warning.pending = Some(Pending {
        kind,
        revision: position,
        content: content.clone(),
        authors: vec![by],
        rejected: None,
    });
    is_standing(&warning)?;
    Ok(warning)
}

/// That a revision is of the standing of what it replaces.
fn is_standing(warning: &Warning) -> Result<(), WarningRefused> {
    match (warning.issued.last(), &warning.pending) {
        (Some(last), Some(pending)) if last.standing != pending.content.standing => {
            Err(WarningRefused::StandingDiffers)
        }
        _ => Ok(()),
    }
}

fn is_small(content: &WarningContent) -> Result<(), WarningRefused> {
    let bytes = serde_json::to_vec(content).map_or(usize::MAX, |bytes| bytes.len());
    match bytes <= MOST_BYTES {
        true => Ok(()),
        false => Err(WarningRefused::TooLarge {
            bytes,
            limit: MOST_BYTES,
        }),
    }
}

/// That what a warning says is the actor's to say. Who is bound to a division names divisions in it: where a polygon or
/// circle lies is not looked at here.
fn is_of(by: &Scope, content: &WarningContent) -> Result<(), WarningRefused> {
    let outside = |what: String| Err(WarningRefused::AreaOutOfScope { what });
    if !by.covers(belongs(content)) {
        return outside("its division or department".to_owned());
    }
    for (area, n) in content.areas.iter().zip(1..) {
        let drawn = !area.polygons.is_empty() || !area.circles.is_empty();
        if by.division.is_some() && (drawn || area.divisions.is_empty()) {
            return outside(format!("what is drawn in area {n}"));
        }
        let foreign = |code: &&onemap_model::DivisionCode| !by.covers(Belongs::ground(Some(code)));
        if let Some(code) = area.divisions.iter().find(foreign) {
            return outside(format!("division {code}"));
        }
    }
    Ok(())
}

fn author(act: &Act, name: &str) -> Result<Author, WarningRefused> {
    let name = name.trim();
    if name.is_empty() {
        return Err(WarningRefused::NoName);
    }
    is_short(name, LONGEST_NAME)?;
    Ok(Author {
        actor: act.by.actor.clone(),
        name: name.to_owned(),
        at: act.at,
    })
}

fn reason(note: &str) -> Result<String, WarningRefused> {
    let note = note.trim();
    if note.is_empty() {
        return Err(WarningRefused::NoReason);
    }
    is_short(note, LONGEST_NOTE)?;
    Ok(note.to_owned())
}

fn is_short(text: &str, most: usize) -> Result<(), WarningRefused> {
    match text.chars().count() <= most {
        true => Ok(()),
        false => Err(WarningRefused::TooLong {
            name: LONGEST_NAME,
            note: LONGEST_NOTE,
        }),
    }
}

/// That an approval is recorded in full.
fn is_recorded(act: &Act, approval: &WarningApproval) -> Result<(), WarningRefused> {
    let texts = [&approval.authority, &approval.name, &approval.number];
    if texts.iter().any(|text| text.trim().is_empty()) {
        return Err(WarningRefused::NoApproval);
    }
    texts.iter().try_for_each(|text| is_short(text, LONGEST_NAME))?;
    match approval.at <= act.at {
        true => Ok(()),
        false => Err(WarningRefused::ApprovalTime { at: approval.at }),
    }
}

fn is_in_time(
    content: &WarningContent,
    sent: Timestamp,
    issuer: &WarningIssuer,
) -> Result<(), WarningRefused> {
    let expires = content.expires;
    let latest = sent + issuer.longest();
    if expires.ms().div_euclid(1000) <= sent.ms().div_euclid(1000) {
        return Err(WarningRefused::ExpiresPast { expires, sent });
    }
    match expires <= latest {
        true => Ok(()),
        false => Err(WarningRefused::ExpiresTooFar { expires, latest }),
    }
}

/// The CAP document of a draft that is approved.
fn document(
    pending: &Pending,
    before: Option<&Issued>,
    approval: &WarningApproval,
    (identifier, sender): (&str, &str),
    sent: Timestamp,
) -> Result<Arc<str>, WarningRefused> {
    let incomplete = |faults| WarningRefused::Incomplete { faults };
    let fault = |error: onemap_cap::CapError| {
        let (code, text) = (error.code(), error.fault.to_string());
        incomplete(vec![ContentFault::new(error.place.path, code, text)])
    };
    let content = &pending.content;
    let before = before.map(|before| onemap_cap::read(before.document.as_bytes()));
    let before = before.transpose().map_err(fault)?.map(|message| message.alert);
    // What was issued under another name is replaced under it.
    let sender = before.as_ref().map_or(sender, |before| &before.sender);
    let warning = content::warning(content, (identifier, sender), sent).map_err(incomplete)?;
    let alert = content::message(
        &warning,
        content.standing,
        approval,
        pending.kind,
        before.as_ref(),
    );
    let alert = alert.map_err(|fault| incomplete(vec![fault]))?;
    Ok(onemap_cap::write(&alert).map_err(fault)?.into())
}

//! How one shift hands over to the next: what may follow what, and where a desk stands.
//!
//! A hand-over waits until another person takes it. A second hand-over before that renews the first, which is then stale.

use std::collections::VecDeque;

use onemap_model::duty_log::ShiftName;
use onemap_model::{Act, Desk, DeskId, DutyEntry, DutyEntryError, DutyKind, Shift, Timestamp, Verb};
use serde::{Deserialize, Serialize};

/// Hand-overs of a desk whose fate is remembered here; the ledger has all.
const N_REMEMBERED: usize = 200;

/// Why nothing is written into a log. The same journal refuses the same acts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DutyRefused {
    /// It is an act about something else.
    #[error("the act is no entry of a log")]
    NoEntry,
    /// No such desk.
    #[error("no desk has the id `{0}`")]
    UnknownDesk(DeskId),
    /// The desk looks at more than the actor sees.
    #[error("the desk looks at more than the actor sees")]
    OutOfScope,
    /// The entry cannot be.
    #[error(transparent)]
    Entry(#[from] DutyEntryError),
    /// Nothing of this number was handed over at the desk.
    #[error("nothing was handed over by entry {0} of this desk")]
    NotHandedOver(u64),
    /// Somebody has taken it over.
    #[error("hand-over {id} was taken over by {by} at {at}")]
    Taken {
        /// The hand-over.
        id: u64,
        /// By whom.
        by: String,
        /// When.
        at: Timestamp,
    },
    /// A later one stands in its place.
    #[error("hand-over {id} was renewed by {newest}")]
    Stale {
        /// The one that was named.
        id: u64,
        /// The one that waits.
        newest: u64,
    },
    /// Nobody hands over to himself.
    #[error("who handed over does not take over")]
    Own,
}

impl DutyRefused {
    /// Stable name for the API.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoEntry => "no_entry",
            Self::UnknownDesk(_) => "unknown_desk",
            Self::OutOfScope => "out_of_scope",
            Self::Entry(_) => "bad_entry",
            Self::NotHandedOver(_) => "not_handed_over",
            Self::Taken { .. } => "handover_taken",
            Self::Stale { .. } => "handover_stale",
            Self::Own => "own_handover",
        }
    }
    /// What it says, in Chinese.
    pub fn zh(&self) -> String {
        match self {
            Self::NoEntry => "这不是值班日志的记录".to_owned(),
            Self::UnknownDesk(id) => format!("没有编号为“{id}”的席位"),
            Self::OutOfScope => "该席位的范围超出您可见的范围".to_owned(),
            Self::Entry(_) => "记录的内容不完整、过长或含有控制字符".to_owned(),
            Self::NotHandedOver(id) => format!("本席位没有编号为 {id} 的交班"),
            Self::Taken { id, by, at } => format!("交班 {id} 已由{by}于 {} 接班", at.beijing_minute()),
            Self::Stale { id, newest } => format!("交班 {id} 已被新的交班 {newest} 取代"),
            Self::Own => "交班人不能自己接班".to_owned(),
        }
    }
}

/// Who wrote an entry, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hand {
    /// Journal position of the entry.
    pub id: u64,
    /// When.
    pub at: Timestamp,
    /// The token or account.
    pub actor: String,
    /// Name as people read it.
    pub name: String,
}

/// A hand-over and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handover {
    /// Who handed over.
    pub by: Hand,
    /// The shift it was written in.
    pub shift: Option<ShiftName>,
    /// Who took over.
    pub taken: Option<Hand>,
}

/// The hand-overs of a desk.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Handovers {
    /// Oldest first.
    all: VecDeque<Handover>,
}

/// Whether a shift has taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It has, in time.
    Done,
    /// It has, and late.
    Late,
    /// There is still time.
    Waiting,
    /// It has not, and the time is over.
    Missing,
}

impl Change {
    /// Stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Late => "late",
            Self::Waiting => "waiting",
            Self::Missing => "missing",
        }
    }

    /// How a shift of a desk stands at a time, of the times at which the desk was taken over; `None` for the first shift of
    /// a roster, which nobody hands over to, and before its time.
    pub fn of(
        desk: &Desk,
        shift: &Shift,
        taken: impl IntoIterator<Item = Timestamp>,
        now: Timestamp,
    ) -> Option<Self> {
        let (early, late) = desk.takeover_span(shift)?;
        let until = match desk.shift_after(shift.from) {
            Some(next) => desk.takeover_span(next).map_or(next.from, |(early, _)| early),
            None => Timestamp::from_ms(i64::MAX),
        };
        let mut own = taken
            .into_iter()
            .filter(|at| (early..until.max(late)).contains(at));
        match own.next() {
            Some(at) if at <= late => Some(Self::Done),
            Some(_) => Some(Self::Late),
            None if now < early => None,
            None if now <= late => Some(Self::Waiting),
            None => Some(Self::Missing),
        }
    }
}

impl Handovers {
    /// The last one.
    pub fn last(&self) -> Option<&Handover> {
        self.all.back()
    }

    /// How the shift of now stands.
    pub fn change(&self, desk: &Desk, now: Timestamp) -> Option<Change> {
        let taken = self
            .all
            .iter()
            .filter_map(|one| one.taken.as_ref())
            .map(|by| by.at);
        Change::of(desk, desk.shift_at(now)?, taken, now)
    }

    /// Whether an entry may be written now.
    pub(crate) fn check(&self, actor: &str, entry: &DutyEntry) -> Result<(), DutyRefused> {
        entry.check()?;
        let (DutyKind::Takeover, Some(id)) = (entry.kind, entry.handover) else {
            return Ok(());
        };
        let named = self.all.iter().rev().find(|one| one.by.id == id);
        let last = self.all.back().map_or(0, |last| last.by.id);
        match named {
            None => Err(DutyRefused::NotHandedOver(id)),
            Some(Handover { taken: Some(by), .. }) => Err(DutyRefused::Taken {
                id,
                by: by.name.clone(),
                at: by.at,
            }),
            Some(one) if one.by.id != last => Err(DutyRefused::Stale { id, newest: last }),
            Some(one) if one.by.actor == actor => Err(DutyRefused::Own),
            Some(_) => Ok(()),
        }
    }

    /// Notes an entry that was checked.
    pub(crate) fn note(&mut self, position: u64, act: &Act, entry: &DutyEntry) {
        let by = Hand {
            id: position,
            at: act.at,
            actor: act.by.actor.clone(),
            name: entry.name.clone(),
        };
        match entry.kind {
            DutyKind::Handover => {
                let shift = entry.shift.clone();
                self.all.push_back(Handover {
                    by,
                    shift,
                    taken: None,
                });
                while self.all.len() > N_REMEMBERED {
                    self.all.pop_front();
                }
            }
            DutyKind::Takeover => {
                if let Some(last) = self.all.back_mut() {
                    last.taken = Some(by);
                }
            }
            _ => {}
        }
    }
}

/// The entry of an act.
///
/// # Errors
/// When it is an act about something else.
pub fn entry_of(act: &Act) -> Result<&DutyEntry, DutyRefused> {
    match &act.verb {
        Verb::Duty(entry) => Ok(entry),
        _ => Err(DutyRefused::NoEntry),
    }
}

//! Rule files that wait for a second person.
//!
//! [`Proposals`] folds [`RuleStep`]s into [`Proposal`]s. It is a projection of the journal: no clock, no I/O, and no
//! knowledge of what rules say. What is in force is asked of the caller; that an approved file is taken up is told by
//! the record of the rule file itself, so that an approval whose file was not taken up is known, and finished, at the
//! next start.

use std::collections::BTreeMap;

use onemap_model::{Act, RuleStep, Timestamp, Verb};
use serde::{Deserialize, Serialize};

use crate::names::{is_same_name, seen};

/// Proposals that wait at once.
pub const MOST_OPEN: usize = 50;
/// Proposals that are decided and kept here; the ledger keeps all acts.
pub const MOST_DECIDED: usize = 200;
/// Bytes of the texts of those that are decided: the oldest go first.
const MOST_DECIDED_BYTES: usize = 4 << 20;
/// Characters of a person's name, and of a note.
const LONGEST_NAME: usize = 64;
const LONGEST_NOTE: usize = 2000;

/// Who said something, when, and what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Word {
    /// The token or account.
    pub actor: String,
    /// The person's name as given.
    pub name: String,
    /// When.
    pub at: Timestamp,
    /// What was said; empty where nothing need be.
    pub note: String,
}

/// What became of a proposal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Fate {
    /// It waits.
    Open,
    /// A second person agreed.
    Approved {
        /// Who.
        by: Word,
        /// Journal position of the rule file's record, by which it was in force; `None` until then.
        taken_up: Option<u64>,
        /// The file was another before this one was taken up.
        overtaken: bool,
    },
    /// Somebody did not agree.
    Rejected {
        /// Who.
        by: Word,
    },
    /// Who proposed it took it back.
    Withdrawn {
        /// Who.
        by: Word,
    },
    /// Who proposed it proposed another text of the file.
    Superseded {
        /// The proposal in its place.
        proposal: u64,
    },
}

impl Fate {
    /// As it stands in the API.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Approved { .. } => "approved",
            Self::Rejected { .. } => "rejected",
            Self::Withdrawn { .. } => "withdrawn",
            Self::Superseded { .. } => "superseded",
        }
    }
    /// Whose word decided it.
    pub fn word(&self) -> Option<&Word> {
        match self {
            Self::Approved { by, .. } | Self::Rejected { by } | Self::Withdrawn { by } => Some(by),
            Self::Open | Self::Superseded { .. } => None,
        }
    }
}

/// A rule file as somebody wants it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal {
    /// Journal position of the act that made it.
    pub id: u64,
    /// The file's name, without `.yaml`.
    pub file: String,
    /// Its text; empty to take it away.
    pub text: String,
    /// Its text in force when this was proposed; `None` when there was no such file.
    pub before: Option<String>,
    /// Who proposed it.
    pub by: Word,
    /// What became of it.
    pub fate: Fate,
}

impl Proposal {
    /// Whether it takes the file away.
    pub fn removes(&self) -> bool {
        self.text.trim().is_empty()
    }
    /// Whether the file is another in force than when this was proposed.
    pub fn is_stale(&self, in_force: Option<&str>) -> bool {
        self.before.as_deref() != in_force
    }
    /// Whether it is approved and its file was never taken up.
    pub fn is_unfinished(&self) -> bool {
        matches!(
            self.fate,
            Fate::Approved {
                taken_up: None,
                overtaken: false,
                ..
            }
        )
    }
    fn bytes(&self) -> usize {
        self.text.len() + self.before.as_ref().map_or(0, String::len)
    }
}

/// Why a step is refused. The same journal refuses the same steps.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProposalRefused {
    /// No such proposal, or it was decided so long ago that only the ledger has it.
    #[error("no proposal {0} is known")]
    Unknown(u64),
    /// Nobody acts without a name.
    #[error("a proposal, and each word on it, needs the name of a person (`name`)")]
    NoName,
    /// A name or note is too long.
    #[error("a name has at most {LONGEST_NAME} characters, a note at most {LONGEST_NOTE}")]
    TooLong,
    /// Rejecting says why.
    #[error("rejecting a proposal needs a reason (`note`)")]
    NoReason,
    /// It would change nothing.
    #[error("file `{0}` is in force with this very text")]
    Unchanged(String),
    /// There is no file to take away.
    #[error("no rule file is called `{0}`")]
    NoFile(String),
    /// No more of them.
    #[error("{MOST_OPEN} proposals wait, and no more are taken: decide or withdraw one")]
    TooMany,
    /// The person who proposed it.
    #[error("who proposed it does not approve it: proposal {0} needs a second person")]
    OwnApproval(u64),
    /// Another name, and the same token or account.
    #[error(
        "proposal {0} was made with this very token or account. One that several people use counts as one person: who \
         approves it needs a token or account of his own"
    )]
    SharedToken(u64),
    /// Only who proposed it withdraws it.
    #[error("only who proposed it withdraws proposal {0}; others reject it")]
    NotProposer(u64),
    /// The file is another by now.
    #[error("file `{file}` has changed since proposal {id} was made: propose it anew")]
    Stale {
        /// The proposal.
        id: u64,
        /// The file.
        file: String,
    },
    /// It is approved.
    #[error("proposal {0} is approved already")]
    Approved(u64),
    /// It was rejected.
    #[error("proposal {0} was rejected: propose it anew")]
    Rejected(u64),
    /// It was taken back.
    #[error("proposal {0} was withdrawn: propose it anew")]
    Withdrawn(u64),
    /// Its proposer made another one.
    #[error("proposal {id} was replaced by its proposer: look at proposal {by}")]
    Superseded {
        /// The proposal.
        id: u64,
        /// The one in its place.
        by: u64,
    },
    /// A step of a newer version.
    #[error("this version does not know the step")]
    UnknownStep,
}

impl ProposalRefused {
    /// Stable name for the API.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unknown(_) => "unknown_proposal",
            Self::NoName => "no_name",
            Self::TooLong => "too_long",
            Self::NoReason => "no_reason",
            Self::Unchanged(_) => "unchanged",
            Self::NoFile(_) => "unknown_rules",
            Self::TooMany => "too_many_proposals",
            Self::OwnApproval(_) => "own_approval",
            Self::SharedToken(_) => "shared_token",
            Self::NotProposer(_) => "not_proposer",
            Self::Stale { .. } => "proposal_stale",
            Self::Approved(_) => "proposal_approved",
            Self::Rejected(_) => "proposal_rejected",
            Self::Withdrawn(_) => "proposal_withdrawn",
            Self::Superseded { .. } => "proposal_superseded",
            Self::UnknownStep => "unknown_step",
        }
    }
    /// In Chinese.
    pub fn zh(&self) -> String {
        match self {
            Self::Unknown(id) => format!("没有编号为 {id} 的规则提案"),
            Self::NoName => "提出、批准、驳回或撤回提案须写明姓名（name）".to_owned(),
            Self::TooLong => format!("姓名最多 {LONGEST_NAME} 字，说明最多 {LONGEST_NOTE} 字"),
            Self::NoReason => "驳回提案须说明理由（note）".to_owned(),
            Self::Unchanged(file) => format!("规则文件 {file} 与现行内容相同"),
            Self::NoFile(file) => format!("没有名为 {file} 的规则文件"),
            Self::TooMany => format!("已有 {MOST_OPEN} 个提案待批，请先批准、驳回或撤回"),
            Self::OwnApproval(id) => format!("提案人不能批准自己的提案 {id}，须由第二人批准"),
            Self::SharedToken(id) => {
                format!(
                    "提案 {id} 正是用此令牌或账号提出的；多人共用的令牌只算一人，批准人须用自己的令牌或账号"
                )
            }
            Self::NotProposer(id) => format!("只有提案人可以撤回提案 {id}，其他人可驳回"),
            Self::Stale { id, file } => format!("提案 {id} 提出后规则文件 {file} 已有变化，请重新提出"),
            Self::Approved(id) => format!("提案 {id} 已批准"),
            Self::Rejected(id) => format!("提案 {id} 已驳回，请重新提出"),
            Self::Withdrawn(id) => format!("提案 {id} 已撤回，请重新提出"),
            Self::Superseded { id, by } => format!("提案 {id} 已由提案人以提案 {by} 取代"),
            Self::UnknownStep => "此版本不认识这一步骤".to_owned(),
        }
    }
}

/// Proposals by their ids: those that wait, and the last that are decided.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Proposals {
    all: BTreeMap<u64, Proposal>,
    #[serde(skip)]
    is_changed: bool,
}

/// Why bytes do not restore the proposals; the journal still can.
#[derive(Debug, thiserror::Error)]
#[error("the snapshot of proposed rules is not readable")]
pub struct ProposalsError(#[source] serde_json::Error);

impl Proposals {
    /// Carries a step out, if it may be. `position` is the act's in the journal, `in_force` gives the text in force of a
    /// file.
    ///
    /// # Errors
    /// See [`ProposalRefused`]; then nothing changed.
    pub fn act(
        &mut self,
        position: u64,
        act: &Act,
        in_force: &dyn Fn(&str) -> Option<String>,
    ) -> Result<(), ProposalRefused> {
        let changed = self.change(position, act, in_force)?;
        if changed.fate == Fate::Open {
            self.supersede(&changed);
        }
        self.all.insert(changed.id, changed);
        self.forget();
        self.is_changed = true;
        Ok(())
    }

    /// Whether a step would be carried out now; for the answer to the person before it is journaled.
    ///
    /// # Errors
    /// See [`ProposalRefused`].
    pub fn check(&self, act: &Act, in_force: &dyn Fn(&str) -> Option<String>) -> Result<(), ProposalRefused> {
        self.change(0, act, in_force).map(drop)
    }

    /// Notes that a rule file is in force, or (empty text) taken away, by the record at `position`.
    pub fn note_rule(&mut self, position: u64, file: &str, text: &str) {
        let unfinished = self.all.values_mut().filter(|one| one.is_unfinished());
        for proposal in unfinished.filter(|one| one.file == file) {
            let is_it = proposal.text == text || (proposal.removes() && text.trim().is_empty());
            if let Fate::Approved {
                taken_up, overtaken, ..
            } = &mut proposal.fate
            {
                match is_it {
                    true => *taken_up = Some(position),
                    false => *overtaken = true,
                }
                self.is_changed = true;
            }
        }
    }

    /// One proposal.
    pub fn get(&self, id: u64) -> Option<&Proposal> {
        self.all.get(&id)
    }
    /// All that are known, newest first.
    pub fn newest_first(&self) -> impl Iterator<Item = &Proposal> {
        self.all.values().rev()
    }
    /// Those that are approved and whose file was never taken up, oldest first.
    pub fn unfinished(&self) -> impl Iterator<Item = &Proposal> {
        self.all.values().filter(|proposal| proposal.is_unfinished())
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
        serde_json::to_vec(self).expect("proposals have text keys only")
    }
    /// From a snapshot.
    ///
    /// # Errors
    /// [`ProposalsError`].
    pub fn restore(bytes: &[u8]) -> Result<Self, ProposalsError> {
        serde_json::from_slice(bytes).map_err(ProposalsError)
    }

    /// The proposal as a step leaves it.
    fn change(
        &self,
        position: u64,
        act: &Act,
        in_force: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Proposal, ProposalRefused> {
        let Verb::RuleProposal(step) = &act.verb else {
            return Err(ProposalRefused::UnknownStep);
        };
        let by = word(act, step.words())?;
        match &**step {
            RuleStep::Propose {
                file, text, before, ..
            } => {
                let proposal = Proposal {
                    id: position,
                    file: file.clone(),
                    text: text.clone(),
                    before: before.clone(),
                    by,
                    fate: Fate::Open,
                };
                self.is_new(&proposal)?;
                Ok(proposal)
            }
            RuleStep::Approve { proposal, .. } => {
                let mut proposal = self.open(*proposal)?;
                is_second(&proposal, &by)?;
                if proposal.is_stale(in_force(&proposal.file).as_deref()) {
                    let Proposal { id, file, .. } = proposal;
                    return Err(ProposalRefused::Stale { id, file });
                }
                proposal.fate = Fate::Approved {
                    by,
                    taken_up: None,
                    overtaken: false,
                };
                Ok(proposal)
            }
            RuleStep::Reject { proposal, .. } => {
                let mut proposal = self.open(*proposal)?;
                if by.note.is_empty() {
                    return Err(ProposalRefused::NoReason);
                }
                proposal.fate = Fate::Rejected { by };
                Ok(proposal)
            }
            RuleStep::Withdraw { proposal, .. } => {
                let mut proposal = self.open(*proposal)?;
                if (&proposal.by.actor, &proposal.by.name) != (&by.actor, &by.name) {
                    return Err(ProposalRefused::NotProposer(proposal.id));
                }
                proposal.fate = Fate::Withdrawn { by };
                Ok(proposal)
            }
            _ => Err(ProposalRefused::UnknownStep),
        }
    }

    /// That a proposal says something, and that there is room for it.
    fn is_new(&self, proposal: &Proposal) -> Result<(), ProposalRefused> {
        if proposal.removes() && proposal.before.is_none() {
            return Err(ProposalRefused::NoFile(proposal.file.clone()));
        }
        if proposal.before.as_deref() == Some(&*proposal.text) {
            return Err(ProposalRefused::Unchanged(proposal.file.clone()));
        }
        let waiting = self.all.values().filter(|other| other.fate == Fate::Open);
        match waiting.filter(|other| !replaces(proposal, other)).count() < MOST_OPEN {
            true => Ok(()),
            false => Err(ProposalRefused::TooMany),
        }
    }

    /// A proposal that waits.
    fn open(&self, id: u64) -> Result<Proposal, ProposalRefused> {
        let proposal = self.get(id).ok_or(ProposalRefused::Unknown(id))?;
        match &proposal.fate {
            Fate::Open => Ok(proposal.clone()),
            Fate::Approved { .. } => Err(ProposalRefused::Approved(id)),
            Fate::Rejected { .. } => Err(ProposalRefused::Rejected(id)),
            Fate::Withdrawn { .. } => Err(ProposalRefused::Withdrawn(id)),
            Fate::Superseded { proposal } => Err(ProposalRefused::Superseded { id, by: *proposal }),
        }
    }

    /// Who proposes a file anew means the newest one.
    fn supersede(&mut self, newest: &Proposal) {
        for former in self.all.values_mut() {
            if former.fate == Fate::Open && replaces(newest, former) {
                former.fate = Fate::Superseded { proposal: newest.id };
            }
        }
    }

    /// Lets the oldest that are decided go; one that is to be finished stays.
    fn forget(&mut self) {
        let is_done = |one: &&Proposal| one.fate != Fate::Open && !one.is_unfinished();
        let (mut n, mut bytes) = (0, 0);
        let decided = self.all.values().rev().filter(is_done);
        let over = decided.filter(|proposal| {
            (n, bytes) = (n + 1, bytes + proposal.bytes());
            n > MOST_DECIDED || bytes > MOST_DECIDED_BYTES
        });
        let over: Vec<u64> = over.map(|proposal| proposal.id).collect();
        for id in over {
            self.all.remove(&id);
        }
    }
}

/// Whether a proposal is of the same file by the same person as another one.
fn replaces(newest: &Proposal, former: &Proposal) -> bool {
    let of = |proposal: &Proposal| {
        (
            proposal.file.clone(),
            proposal.by.actor.clone(),
            proposal.by.name.clone(),
        )
    };
    of(newest) == of(former)
}

/// That who approves is another person, by token or account and by name.
fn is_second(proposal: &Proposal, by: &Word) -> Result<(), ProposalRefused> {
    match (
        is_same_name(&proposal.by.name, &by.name),
        proposal.by.actor == by.actor,
    ) {
        (true, _) => Err(ProposalRefused::OwnApproval(proposal.id)),
        (false, true) => Err(ProposalRefused::SharedToken(proposal.id)),
        (false, false) => Ok(()),
    }
}

fn word(act: &Act, (name, note): (&str, &str)) -> Result<Word, ProposalRefused> {
    let (name, note) = (name.trim(), note.trim());
    if seen(name).is_empty() {
        return Err(ProposalRefused::NoName);
    }
    if name.chars().count() > LONGEST_NAME || note.chars().count() > LONGEST_NOTE {
        return Err(ProposalRefused::TooLong);
    }
    Ok(Word {
        actor: act.by.actor.clone(),
        name: name.to_owned(),
        at: act.at,
        note: note.to_owned(),
    })
}

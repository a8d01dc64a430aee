//! The one gate through which people and machines with a name change something.
//!
//! Whoever comes in by HTTP or command line passes here: the role is checked, the record is sound, it is in
//! the journal and durable before the caller hears "done". What follows from the record (the alert's new
//! state, the device on the map) comes a moment later, when the pipeline reads it.

use std::time::Duration;

use onemap_log::{Batch, Log, LogError};
use onemap_model::DutyEntryError;
use onemap_model::account::check_departments;
use onemap_model::command::{MAX_KEY_BYTES, MAX_LIFE, MAX_METHOD_BYTES, MAX_PARAMS_BYTES};
use onemap_model::hydrology::HydrologyError;
use onemap_model::record::{Frame, KIND_READMISSION, Readmission, Register, RuleFile, Stamped};
use onemap_model::scope::Permission;
use onemap_model::{
    AccountError, Act, Belongs, CommandRecord, CommandStep, DeskError, DivisionCode, DrillError, EntityKind,
    Forecast, Record, ReviewError, Role, RuleId, Scope, Subject, Timestamp, Verb, WarningStep,
};

use crate::ledger::{TokenHash, TokenHashError};
use crate::register::{EntityError, check_entity};

/// Longest time for which an alert can be taken.
pub const MAX_ACKNOWLEDGEMENT: Duration = Duration::from_secs(7 * 86_400);
/// Most bytes of a person's name, and of a note.
const MAX_NAME: usize = 256;
const MAX_NOTE: usize = 4096;
/// Records of a long import go to the journal in pieces of about this many bytes.
const PIECE_BYTES: usize = 1 << 20;
/// Forecasts of one record.
const N_FORECASTS: usize = 200;

/// Writes acts and changes to the journal. Clones write to the same journal.
#[derive(Clone)]
pub struct Acts {
    log: Log,
}

/// Why an act was not recorded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ActError {
    /// The role does not hold the permission.
    #[error("role {} may not do this (needs {needs:?})", role.name())]
    Denied {
        /// The role.
        role: Role,
        /// What it lacks.
        needs: Permission,
    },
    /// No permission is defined for the verb.
    #[error("no role may do this")]
    Verb,
    /// The thing lies outside the scope's division.
    #[error("this lies outside division {own}")]
    Outside {
        /// The scope's division.
        own: DivisionCode,
    },
    /// The thing is that of another department than the scope's, or of none.
    #[error("this belongs to none of your departments ({})", own.join(", "))]
    Foreign {
        /// The scope's departments.
        own: Vec<String>,
    },
    /// An administrator's token is made by the machine's owner only.
    #[error("a token of role {} is made by an admin only", role.name())]
    Escalation {
        /// The role asked for.
        role: Role,
    },
    /// Acts carry the name of a person.
    #[error("the name is empty or longer than {MAX_NAME} bytes")]
    Name,
    /// The note is too long, or empty where it must say why.
    #[error("a note says why, in at most {MAX_NOTE} bytes")]
    Note,
    /// The acknowledgement or the time on the shelf does not end within the next seven days.
    #[error("an acknowledgement, or a time on the shelf, ends later than now and within 7 days")]
    Until,
    /// An entity that the register does not take.
    #[error("change {index} holds an entity that the register does not take")]
    Entity {
        /// Index in the call's list.
        index: usize,
        /// What is wrong.
        #[source]
        source: EntityError,
    },
    /// What is said of a station is not sound.
    #[error("change {index} is not sound")]
    Hydrology {
        /// Index in the call's list.
        index: usize,
        /// What is wrong.
        #[source]
        source: HydrologyError,
    },
    /// What is said of an account is not sound.
    #[error("change {index} is not sound")]
    Account {
        /// Index in the call's list.
        index: usize,
        /// What is wrong.
        #[source]
        source: AccountError,
    },
    /// A token's hash that is none.
    #[error("change {index} holds no token hash")]
    TokenHash {
        /// Index in the call's list.
        index: usize,
        /// What is wrong.
        #[source]
        source: TokenHashError,
    },
    /// A rule file's name that is no file name.
    #[error("`{name}` cannot name a rule file")]
    RuleName {
        /// The name.
        name: String,
        /// What is wrong.
        #[source]
        source: onemap_model::IdError,
    },
    /// A command's method, key or parameters are no such thing, or too long.
    #[error("the command's {what}")]
    Command {
        /// Which part, and what is wrong with it.
        what: String,
    },
    /// A review, correction or time of dust that says nothing, or what cannot be.
    #[error(transparent)]
    Review(#[from] ReviewError),
    /// A desk that cannot be.
    #[error(transparent)]
    Desk(#[from] DeskError),
    /// A drill that cannot be.
    #[error(transparent)]
    Drill(#[from] DrillError),
    /// An entry of a duty log that cannot be.
    #[error(transparent)]
    DutyEntry(#[from] DutyEntryError),
    /// The journal did not take it. Whether a part was kept is not known.
    #[error("the journal did not take it")]
    Journal(#[from] LogError),
}

impl Acts {
    /// Writes to `log`.
    pub fn new(log: Log) -> Self {
        Self { log }
    }

    /// Records one act and waits until it is durable; gives its journal position.
    ///
    /// Whether the alert exists, is the scope's to see and is still open is for the caller to look
    /// at before, and for the fold over the journal to decide.
    ///
    /// # Errors
    /// See [`ActError`]; after all but [`ActError::Journal`] nothing was recorded.
    pub async fn record_act(&self, scope: &Scope, at: Timestamp, verb: Verb) -> Result<u64, ActError> {
        match &verb {
            // The server says so of whom it lets in, whatever the role; of others nobody does.
            Verb::LogIn { account, .. } if scope.actor == account.as_str() => {}
            verb => permit(scope, permission_for(verb).ok_or(ActError::Verb)?)?,
        }
        check_verb(at, &verb)?;
        if matches!(verb, Verb::RuleProposal(_)) {
            // Rules concern the whole city, as in [`check_rule`].
            cover(scope, Belongs::NOBODY)?;
        }
        let by = scope.clone();
        self.append([Record::Act(Act { at, by, verb })]).await
    }

    /// Records that frames are taken out of the quarantine, and the frames themselves to be read again;
    /// gives the journal position of the last. `frames` are whole bodies ([`Frame::encode`]) by the position
    /// at which they came first.
    ///
    /// # Errors
    /// See [`ActError`]; after all but [`ActError::Journal`] nothing was recorded. A stop in the middle
    /// leaves the act and the first frames: re-admitting the rest, or all again, stores nothing twice.
    pub async fn record_readmission(
        &self,
        scope: &Scope,
        at: Timestamp,
        note: String,
        frames: Vec<(u64, Vec<u8>)>,
    ) -> Result<u64, ActError> {
        let positions = frames.iter().map(|(position, _)| *position).collect();
        let verb = Verb::Readmit {
            frames: positions,
            note,
        };
        permit(scope, permission_for(&verb).ok_or(ActError::Verb)?)?;
        check_verb(at, &verb)?;
        let Verb::Readmit { note, .. } = &verb else {
            return Err(ActError::Verb);
        };
        let (by, note) = (scope.clone(), note.clone());
        self.append([Record::Act(Act { at, by, verb })]).await?;
        let mut batch = Batch::new();
        let mut last = 0;
        for (origin, body) in &frames {
            let Ok(frame) = Frame::decode(body) else { continue };
            let again = Readmission {
                origin: *origin,
                at,
                by: &scope.actor,
                note: &note,
                frame,
            };
            batch.try_push(KIND_READMISSION, |out| again.encode(out))?;
            if batch.bytes() >= PIECE_BYTES {
                last = self.log.append(&batch).await?;
                batch.clear();
            }
        }
        if batch.bytes() > 0 {
            last = self.log.append(&batch).await?;
        }
        self.log.wait_durable(last).await?;
        Ok(last)
    }

    /// Records changes of the register in their order and waits until all are durable; gives the journal
    /// position of the last. A long list goes in pieces: after a crash its first changes may be there without
    /// its last. An empty list records nothing and gives the journal's last position.
    ///
    /// A scope with a division changes only what states a division inside it, one with departments only what states one
    /// of these. A device's token, attributes and hydrology and the removal of an entity state none: there the caller
    /// looks the thing up and checks [`Scope::covers`].
    ///
    /// # Errors
    /// See [`ActError`]; after all but [`ActError::Journal`] nothing was recorded.
    pub async fn record_register(
        &self,
        scope: &Scope,
        at: Timestamp,
        changes: Vec<Register>,
    ) -> Result<u64, ActError> {
        check_register(scope, &changes)?;
        let by = || scope.actor.clone();
        let stamped = |what| Record::Register(Stamped { at, by: by(), what });
        self.append(changes.into_iter().map(stamped)).await
    }

    /// Records a rule file, new, changed or (empty text) removed, and waits until it is durable; gives its
    /// journal position. The caller has parsed the text. Rules concern the whole city, so a scope with a
    /// division or departments cannot change them.
    ///
    /// # Errors
    /// See [`ActError`]; after all but [`ActError::Journal`] nothing was recorded.
    pub async fn record_rule(&self, scope: &Scope, at: Timestamp, file: RuleFile) -> Result<u64, ActError> {
        check_rule(scope, &file)?;
        let by = scope.actor.clone();
        self.append([Record::Rule(Stamped { at, by, what: file })]).await
    }

    /// Records that a command is ordered or taken back and waits until it is durable; gives its journal
    /// position. Whether the device exists and is the scope's to see is for the caller to look at
    /// before. What a device did to a command is no act: the server writes it down itself.
    ///
    /// # Errors
    /// See [`ActError`]; after all but [`ActError::Journal`] nothing was recorded.
    pub async fn record_command(
        &self,
        scope: &Scope,
        at: Timestamp,
        what: CommandStep,
    ) -> Result<u64, ActError> {
        permit(scope, Permission::Command)?;
        check_step(at, &what)?;
        self.append([Record::Command(CommandRecord { at, what })]).await
    }

    /// Records forecasts as they are issued and waits until they are durable; gives the journal position of the last.
    /// They are sound ([`Forecast::check`]), and their series the scope's to see.
    ///
    /// # Errors
    /// See [`ActError`]; after all but [`ActError::Journal`] nothing was recorded.
    pub async fn record_forecasts(
        &self,
        scope: &Scope,
        at: Timestamp,
        forecasts: Vec<Forecast>,
    ) -> Result<u64, ActError> {
        permit(scope, Permission::WriteReadings)?;
        let by = || scope.actor.clone();
        // A record is read as a whole, so it holds no more than some hundred.
        let pieces: Vec<Vec<Forecast>> = forecasts.chunks(N_FORECASTS).map(<[_]>::to_vec).collect();
        let stamped = |what| Record::Forecast(Stamped { at, by: by(), what });
        self.append(pieces.into_iter().map(stamped)).await
    }

    async fn append(&self, records: impl IntoIterator<Item = Record<'static>>) -> Result<u64, ActError> {
        let mut batch = Batch::new();
        for record in records {
            if batch.bytes() >= PIECE_BYTES {
                self.log.append(&batch).await?;
                batch.clear();
            }
            let (kind, body) = record.encode();
            batch.try_push(kind, |out| out.extend_from_slice(&body))?;
        }
        let position = self.log.append(&batch).await?;
        self.log.wait_durable(position).await?;
        Ok(position)
    }
}

/// What a role needs for a verb; `None` for a verb nobody has ruled on, which is then nobody's.
fn permission_for(verb: &Verb) -> Option<Permission> {
    match verb {
        Verb::Acknowledge { .. } | Verb::Close { .. } | Verb::Assign { .. } | Verb::Duty(_) => {
            Some(Permission::HandleAlerts)
        }
        Verb::Shelve { .. } | Verb::Unshelve { .. } => Some(Permission::ShelveAlerts),
        Verb::PutDesk { .. } | Verb::RemoveDesk { .. } | Verb::PutDrill { .. } | Verb::EndDrill { .. } => {
            Some(Permission::Duty)
        }
        Verb::Readmit { .. } | Verb::Discard { .. } => Some(Permission::Quarantine),
        Verb::Review(_) | Verb::Dust(_) | Verb::WithdrawDust { .. } => Some(Permission::Review),
        Verb::Correct(_) | Verb::WithdrawCorrection { .. } => Some(Permission::Register),
        Verb::ResolvePerson { .. } => Some(Permission::Persons),
        Verb::RotatePersonKey { .. } => Some(Permission::Security),
        Verb::Export { .. } => Some(Permission::View),
        Verb::Evidence { .. } => Some(Permission::Evidence),
        Verb::Backup { .. } => Some(Permission::Backup),
        Verb::Warning(step) => permission_for_warning(step),
        Verb::RuleProposal(_) => Some(Permission::Rules),
        _ => None,
    }
}

/// Who handles alerts drafts; another permission approves.
fn permission_for_warning(step: &WarningStep) -> Option<Permission> {
    match step {
        WarningStep::Draft { .. }
        | WarningStep::Edit { .. }
        | WarningStep::Drop { .. }
        | WarningStep::Revise { .. } => Some(Permission::HandleAlerts),
        WarningStep::Approve { .. } | WarningStep::Reject { .. } => Some(Permission::ApproveWarnings),
        _ => None,
    }
}

fn check_verb(at: Timestamp, verb: &Verb) -> Result<(), ActError> {
    let (name, note) = match verb {
        Verb::Acknowledge {
            name, note, until, ..
        } => {
            if *until <= at || *until > at + MAX_ACKNOWLEDGEMENT {
                return Err(ActError::Until);
            }
            (name, note)
        }
        Verb::Close { name, note, .. } => (name, note),
        Verb::Shelve {
            name, note, until, ..
        } => {
            if *until <= at || *until > at + MAX_ACKNOWLEDGEMENT {
                return Err(ActError::Until);
            }
            check_reason(note)?;
            (name, note)
        }
        Verb::Unshelve { name, note, .. } => (name, note),
        Verb::Assign { name, to, note, .. } => {
            if to.trim().is_empty() || to.len() > MAX_NAME {
                return Err(ActError::Name);
            }
            (name, note)
        }
        Verb::Readmit { note, .. } | Verb::Discard { note, .. } => {
            if note.trim().is_empty() || note.len() > MAX_NOTE {
                return Err(ActError::Note);
            }
            return Ok(());
        }
        Verb::PutDesk { desk, .. } => return Ok(desk.check()?),
        Verb::PutDrill { drill, .. } => return Ok(drill.check()?),
        Verb::Duty(entry) => return Ok(entry.check()?),
        Verb::ResolvePerson { purpose, .. } => {
            if purpose.trim().is_empty() || purpose.len() > MAX_NOTE {
                return Err(ActError::Note);
            }
            return Ok(());
        }
        Verb::Review(review) => {
            review.check()?;
            check_reason(&review.reason)?;
            (&review.name, &review.reason)
        }
        Verb::Correct(correction) => {
            correction.check()?;
            check_reason(&correction.reason)?;
            (&correction.name, &correction.reason)
        }
        Verb::Dust(dust) => {
            dust.check()?;
            check_reason(&dust.source)?;
            (&dust.name, &dust.source)
        }
        Verb::WithdrawCorrection { name, reason, .. } | Verb::WithdrawDust { name, reason, .. } => {
            check_reason(reason)?;
            (name, reason)
        }
        _ => return Ok(()),
    };
    if name.trim().is_empty() || name.len() > MAX_NAME {
        return Err(ActError::Name);
    }
    if note.len() > MAX_NOTE {
        return Err(ActError::Note);
    }
    Ok(())
}

fn check_reason(reason: &str) -> Result<(), ActError> {
    match reason.trim().is_empty() {
        true => Err(ActError::Note),
        false => Ok(()),
    }
}

fn check_step(at: Timestamp, step: &CommandStep) -> Result<(), ActError> {
    let wrong = |what: String| Err(ActError::Command { what });
    match step {
        CommandStep::Created(order) => {
            let is_name = |text: &str, most: usize| {
                !text.trim().is_empty() && text.len() <= most && !text.contains(char::is_control)
            };
            if !is_name(&order.method, MAX_METHOD_BYTES) {
                return wrong(format!("method is a name of 1 to {MAX_METHOD_BYTES} bytes"));
            }
            if order.key.as_ref().is_some_and(|key| !is_name(key, MAX_KEY_BYTES)) {
                return wrong(format!("idempotency key is a text of 1 to {MAX_KEY_BYTES} bytes"));
            }
            let n = order.params.to_string().len();
            if n > MAX_PARAMS_BYTES {
                return wrong(format!(
                    "parameters have {n} bytes as JSON, at most {MAX_PARAMS_BYTES} are taken"
                ));
            }
            if order.expires_at <= at || order.expires_at > at + MAX_LIFE {
                return wrong("expiry lies in the future, within 30 days".to_owned());
            }
            Ok(())
        }
        CommandStep::Cancelled { note, .. } if note.len() > MAX_NOTE => Err(ActError::Note),
        CommandStep::Cancelled { .. } => Ok(()),
        _ => Err(ActError::Verb),
    }
}

/// Whether a scope may record these changes of the register, for who does something before recording them.
///
/// # Errors
/// As [`Acts::record_register`].
pub fn check_register(scope: &Scope, changes: &[Register]) -> Result<(), ActError> {
    let mut all = changes.iter().enumerate();
    all.try_for_each(|(index, change)| check_change(scope, index, change))
}

/// Whether a scope may record this rule file, for who does something before recording it.
///
/// # Errors
/// As [`Acts::record_rule`].
pub fn check_rule(scope: &Scope, file: &RuleFile) -> Result<(), ActError> {
    permit(scope, Permission::Rules)?;
    cover(scope, Belongs::NOBODY)?;
    RuleId::new(&file.name)
        .map(|_| ())
        .map_err(|source| ActError::RuleName {
            name: file.name.chars().take(64).collect(),
            source,
        })
}

fn check_change(scope: &Scope, index: usize, change: &Register) -> Result<(), ActError> {
    let needs = match change {
        Register::AccessToken { .. }
        | Register::AccountInvited { .. }
        | Register::AccountSubject { .. }
        | Register::AccountGone { .. } => Permission::Tokens,
        // Who keeps the security may disable an account and end its sessions.
        Register::Account { .. }
        | Register::AccountLoggedOut { .. }
        | Register::AccessTokenRevoked { .. }
            if scope.may(Permission::Security) =>
        {
            Permission::Security
        }
        Register::Account { .. }
        | Register::AccountLoggedOut { .. }
        | Register::AccessTokenRevoked { .. } => Permission::Tokens,
        _ => Permission::Register,
    };
    permit(scope, needs)?;
    match change {
        Register::Device { device } | Register::Adopted { device } => {
            cover(scope, device.belongs(device.division.as_ref()))
        }
        Register::Entity { entity } => {
            check_entity(entity).map_err(|source| ActError::Entity { index, source })?;
            // Who sees what follows the borders of divisions: nobody whom they bound draws them.
            if entity.kind == EntityKind::Division {
                cover(scope, Belongs::NOBODY)?;
            }
            cover(scope, entity.belongs(entity.division.as_ref()))
        }
        Register::Person { person } => cover(scope, Belongs::of(person.division.as_ref(), "")),
        // Who sealed it has seen its division.
        Register::PersonSealed { .. } | Register::PersonStated { .. } => Ok(()),
        Register::DeviceToken { sha256, .. } | Register::AccessTokenRevoked { sha256 } => hash(index, sha256),
        Register::EntityRemoved { .. }
        | Register::Attributes { .. }
        | Register::DeviceTokenRevoked { .. }
        | Register::DeviceAdmitted { .. } => Ok(()),
        Register::Hydrology { hydrology, .. } => match hydrology.as_ref().map(|h| h.check()) {
            Some(Err(source)) => Err(ActError::Hydrology { index, source }),
            Some(Ok(())) | None => Ok(()),
        },
        Register::Provisioning { sha256, .. } => {
            cover(scope, Belongs::NOBODY)?;
            hash(index, sha256)
        }
        Register::AccessToken {
            sha256,
            role,
            division,
            departments,
            ..
        } => {
            // Who commands or administers has an account with a second factor.
            if (*role == Role::Admin || role.needs_second()) && scope.role != Role::Admin {
                return Err(ActError::Escalation { role: *role });
            }
            check_departments(departments).map_err(|source| ActError::Account { index, source })?;
            enclose(scope, division.as_ref(), departments)?;
            hash(index, sha256)
        }
        Register::Account { account } => {
            account
                .check()
                .map_err(|source| ActError::Account { index, source })?;
            enclose(scope, account.division.as_ref(), &account.departments)
        }
        Register::AccountInvited { sha256, .. } => hash(index, sha256),
        Register::AccountSubject { subject, .. } => match subject.as_ref().map(Subject::check) {
            Some(Err(source)) => Err(ActError::Account { index, source }),
            Some(Ok(())) | None => Ok(()),
        },
        Register::AccountGone { .. } | Register::AccountLoggedOut { .. } => Ok(()),
        // An account's holder alone says them, and is let in before: the server records them itself.
        Register::AccountPassword { .. } | Register::AccountSecond { .. } if scope.role != Role::Admin => {
            Err(ActError::Denied {
                role: scope.role,
                needs: Permission::Tokens,
            })
        }
        // Profiles, and whatever comes later, concern the whole city.
        _ => cover(scope, Belongs::NOBODY),
    }
}

fn hash(index: usize, sha256: &str) -> Result<(), ActError> {
    match sha256.parse::<TokenHash>() {
        Ok(_) => Ok(()),
        Err(source) => Err(ActError::TokenHash { index, source }),
    }
}

fn permit(scope: &Scope, needs: Permission) -> Result<(), ActError> {
    if scope.may(needs) {
        return Ok(());
    }
    Err(ActError::Denied {
        role: scope.role,
        needs,
    })
}

/// That a thing is the scope's to see.
fn cover(scope: &Scope, thing: Belongs<'_>) -> Result<(), ActError> {
    match scope.covers(thing) {
        true => Ok(()),
        false => Err(outside(scope, thing.division)),
    }
}

/// That a token or an account of this division and these departments is the scope's to make or to change.
fn enclose(scope: &Scope, division: Option<&DivisionCode>, departments: &[String]) -> Result<(), ActError> {
    match scope.encloses(division, departments) {
        true => Ok(()),
        false => Err(outside(scope, division)),
    }
}

/// Which bound of a scope a thing of a division is beyond, which is beyond one.
fn outside(scope: &Scope, division: Option<&DivisionCode>) -> ActError {
    match &scope.division {
        Some(own) if !scope.covers(Belongs::ground(division)) => ActError::Outside { own: own.clone() },
        _ => ActError::Foreign {
            own: scope.departments.clone(),
        },
    }
}

#[cfg(test)]
mod tests;

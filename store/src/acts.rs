//! The one gate through which people and machines with a name change something.
//!
//! Whoever comes in by HTTP or command line passes here: the role is checked, the record is sound, it is in
//! the journal and durable before the caller hears "done". What follows from the record (the alert's new
//! state, the device on the map) comes a moment later, when the pipeline reads it.

use std::time::Duration;

use onemap_log::{Batch, Log, LogError};
use onemap_model::record::{Register, RuleFile, Stamped};
use onemap_model::scope::Permission;
use onemap_model::{Act, DivisionCode, Record, Role, RuleId, Scope, Timestamp, Verb};

use crate::ledger::{TokenHash, TokenHashError};
use crate::register::{EntityError, check_entity};

/// Longest time for which an alert can be taken.
pub const MAX_ACKNOWLEDGEMENT: Duration = Duration::from_secs(7 * 86_400);
/// Most bytes of a person's name, and of a note.
const MAX_NAME: usize = 256;
const MAX_NOTE: usize = 4096;
/// Records of a long import go to the journal in pieces of about this many bytes.
const PIECE_BYTES: usize = 1 << 20;

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
    /// An administrator's token is made by the machine's owner only.
    #[error("a token of role {} is made by an admin only", role.name())]
    Escalation {
        /// The role asked for.
        role: Role,
    },
    /// Acts carry the name of a person.
    #[error("the name is empty or longer than {MAX_NAME} bytes")]
    Name,
    /// The note is too long.
    #[error("the note is longer than {MAX_NOTE} bytes")]
    Note,
    /// The acknowledgement does not end within the next seven days.
    #[error("an acknowledgement ends later than now and within 7 days")]
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
    /// Whether the alert exists, lies inside the scope's division and is still open is for the caller to look
    /// at before, and for the fold over the journal to decide.
    ///
    /// # Errors
    /// See [`ActError`]; after all but [`ActError::Journal`] nothing was recorded.
    pub async fn record_act(&self, scope: &Scope, at: Timestamp, verb: Verb) -> Result<u64, ActError> {
        permit(scope, permission_for(&verb).ok_or(ActError::Verb)?)?;
        check_verb(at, &verb)?;
        let by = scope.clone();
        self.append([Record::Act(Act { at, by, verb })]).await
    }

    /// Records changes of the register in their order and waits until all are durable; gives the journal
    /// position of the last. A long list goes in pieces: after a crash its first changes may be there without
    /// its last. An empty list records nothing and gives the journal's last position.
    ///
    /// A scope with a division changes only what states a division inside it. A device's token and the removal
    /// of an entity state none: there the caller looks the thing up and checks [`Scope::covers`].
    ///
    /// # Errors
    /// See [`ActError`]; after all but [`ActError::Journal`] nothing was recorded.
    pub async fn record_register(
        &self,
        scope: &Scope,
        at: Timestamp,
        changes: Vec<Register>,
    ) -> Result<u64, ActError> {
        for (index, change) in changes.iter().enumerate() {
            check_change(scope, index, change)?;
        }
        let by = || scope.actor.clone();
        let stamped = |what| Record::Register(Stamped { at, by: by(), what });
        self.append(changes.into_iter().map(stamped)).await
    }

    /// Records a rule file, new, changed or (empty text) removed, and waits until it is durable; gives its
    /// journal position. The caller has parsed the text. Rules concern the whole city, so a scope with a
    /// division cannot change them.
    ///
    /// # Errors
    /// See [`ActError`]; after all but [`ActError::Journal`] nothing was recorded.
    pub async fn record_rule(&self, scope: &Scope, at: Timestamp, file: RuleFile) -> Result<u64, ActError> {
        permit(scope, Permission::Rules)?;
        cover(scope, None)?;
        RuleId::new(&file.name).map_err(|source| ActError::RuleName {
            name: file.name.chars().take(64).collect(),
            source,
        })?;
        let by = scope.actor.clone();
        self.append([Record::Rule(Stamped { at, by, what: file })]).await
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
        Verb::Acknowledge { .. } | Verb::Close { .. } => Some(Permission::HandleAlerts),
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

fn check_change(scope: &Scope, index: usize, change: &Register) -> Result<(), ActError> {
    let needs = match change {
        Register::AccessToken { .. } => Permission::Tokens,
        _ => Permission::Register,
    };
    permit(scope, needs)?;
    match change {
        Register::Device { device } => cover(scope, device.division.as_ref()),
        Register::Entity { entity } => {
            check_entity(entity).map_err(|source| ActError::Entity { index, source })?;
            cover(scope, entity.division.as_ref())
        }
        Register::DeviceToken { sha256, .. } => hash(index, sha256),
        Register::EntityRemoved { .. } => Ok(()),
        Register::AccessToken {
            sha256,
            role,
            division,
            ..
        } => {
            if *role == Role::Admin && scope.role != Role::Admin {
                return Err(ActError::Escalation { role: *role });
            }
            cover(scope, division.as_ref())?;
            hash(index, sha256)
        }
        // Profiles, and whatever comes later, concern the whole city.
        _ => cover(scope, None),
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

fn cover(scope: &Scope, division: Option<&DivisionCode>) -> Result<(), ActError> {
    match &scope.division {
        Some(own) if !scope.covers(division) => Err(ActError::Outside { own: own.clone() }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use onemap_log::Config;
    use onemap_model::record::LASTING_KINDS;
    use onemap_model::{AlertId, Device, DeviceId, EntityKind};
    use serde_json::json;
    use tempfile::TempDir;

    struct Desk {
        _dir: TempDir,
        log: Log,
        acts: Acts,
    }

    fn desk() -> Desk {
        let dir = TempDir::new().unwrap();
        let mut config = Config::new(dir.path());
        config.lasting_kinds = LASTING_KINDS;
        let (log, _) = Log::open(config).unwrap();
        let acts = Acts::new(log.clone());
        Desk { _dir: dir, log, acts }
    }

    impl Desk {
        fn kept(&self) -> Vec<Record<'static>> {
            let mut reader = self.log.reader(0).unwrap();
            let mut kept = Vec::new();
            while let Some(entry) = reader.next().unwrap() {
                match Record::decode(entry.kind, entry.body).unwrap() {
                    Record::Act(act) => kept.push(Record::Act(act)),
                    Record::Register(change) => kept.push(Record::Register(change)),
                    Record::Rule(file) => kept.push(Record::Rule(file)),
                    other => panic!("{other:?}"),
                }
            }
            kept
        }
    }

    /// Runs a future that waits for the log's own thread only.
    fn wait<T>(future: impl Future<Output = T>) -> T {
        struct Unpark(std::thread::Thread);
        impl std::task::Wake for Unpark {
            fn wake(self: std::sync::Arc<Self>) {
                self.0.unpark();
            }
        }
        let waker = std::sync::Arc::new(Unpark(std::thread::current())).into();
        let mut context = std::task::Context::from_waker(&waker);
        let mut future = std::pin::pin!(future);
        loop {
            if let std::task::Poll::Ready(value) = future.as_mut().poll(&mut context) {
                return value;
            }
            std::thread::park();
        }
    }

    fn scope(role: Role, division: Option<&str>) -> Scope {
        Scope {
            actor: "desk".into(),
            role,
            division: division.map(|d| DivisionCode::new(d).unwrap()),
            departments: Vec::new(),
        }
    }
    fn at(ms: i64) -> Timestamp {
        Timestamp::from_ms(ms)
    }
    fn close(name: &str, note: &str) -> Verb {
        Verb::Close {
            alert: AlertId::of(&[b"a"]),
            name: name.into(),
            note: note.into(),
        }
    }
    fn acknowledge(until: i64) -> Verb {
        Verb::Acknowledge {
            alert: AlertId::of(&[b"a"]),
            name: "王队".into(),
            note: String::new(),
            until: at(until),
        }
    }
    fn device(id: &str, division: Option<&str>) -> Register {
        let device: Device = serde_json::from_value(json!({
            "id": id, "name": id, "kind": "manhole", "division": division,
        }))
        .unwrap();
        Register::Device { device }
    }
    fn token(role: Role, division: Option<&str>) -> Register {
        Register::AccessToken {
            name: "t".into(),
            sha256: TokenHash::of("t").to_string(),
            role,
            division: division.map(|d| DivisionCode::new(d).unwrap()),
        }
    }

    #[test]
    fn what_is_recorded_is_durable_and_says_who_and_when() {
        let desk = desk();
        let officer = scope(Role::Officer, Some("630102"));
        let position = wait(desk.acts.record_act(&officer, at(5), close("王队", "已清理"))).unwrap();
        assert_eq!((position, *desk.log.durable().borrow()), (1, 1));
        let integrator = scope(Role::Integrator, None);
        let changes = vec![device("m1", None), device("m2", None)];
        assert_eq!(
            wait(desk.acts.record_register(&integrator, at(6), changes)).unwrap(),
            3
        );
        let file = RuleFile {
            name: "air".into(),
            text: "rules: []".into(),
        };
        assert_eq!(
            wait(desk.acts.record_rule(&integrator, at(7), file.clone())).unwrap(),
            4
        );
        assert_eq!(
            wait(desk.acts.record_register(&integrator, at(8), vec![])).unwrap(),
            4
        );
        let stamped = |at, what| {
            Record::Register(Stamped {
                at,
                by: "desk".into(),
                what,
            })
        };
        let expected = [
            Record::Act(Act {
                at: at(5),
                by: officer,
                verb: close("王队", "已清理"),
            }),
            stamped(at(6), device("m1", None)),
            stamped(at(6), device("m2", None)),
            Record::Rule(Stamped {
                at: at(7),
                by: "desk".into(),
                what: file,
            }),
        ];
        assert_eq!(desk.kept(), expected);
    }

    #[test]
    fn a_long_import_goes_in_pieces() {
        let desk = desk();
        let changes: Vec<_> = (0..20_000).map(|i| device(&format!("d{i}"), None)).collect();
        let integrator = scope(Role::Integrator, None);
        let position = wait(desk.acts.record_register(&integrator, at(0), changes.clone())).unwrap();
        assert_eq!(position, 20_000);
        let kept = desk.kept().into_iter().map(|record| match record {
            Record::Register(stamped) => stamped.what,
            other => panic!("{other:?}"),
        });
        assert!(kept.eq(changes));
    }

    #[test]
    fn what_a_role_may_not_do_leaves_no_record() {
        let desk = desk();
        let until = MAX_ACKNOWLEDGEMENT.as_millis() as i64;
        let act = |role, verb| wait(desk.acts.record_act(&scope(role, None), at(0), verb)).unwrap_err();
        assert!(matches!(
            act(Role::Viewer, close("a", "")),
            ActError::Denied { .. }
        ));
        assert!(matches!(
            act(Role::Integrator, acknowledge(1)),
            ActError::Denied { .. }
        ));
        assert!(matches!(act(Role::Officer, close(" ", "")), ActError::Name));
        assert!(matches!(
            act(Role::Officer, close(&"王".repeat(100), "")),
            ActError::Name
        ));
        assert!(matches!(
            act(Role::Officer, close("a", &"x".repeat(5000))),
            ActError::Note
        ));
        assert!(matches!(act(Role::Officer, acknowledge(0)), ActError::Until));
        assert!(matches!(
            act(Role::Officer, acknowledge(until + 1)),
            ActError::Until
        ));

        let change = |role, division, change| {
            let scope = scope(role, division);
            // A good change goes before the bad one: nothing of the list may be kept.
            let good = device("good", division);
            let changes = match role {
                Role::SystemAdmin | Role::Integrator => vec![good, change],
                _ => vec![change],
            };
            wait(desk.acts.record_register(&scope, at(0), changes)).unwrap_err()
        };
        assert!(matches!(
            change(Role::Officer, None, device("d", None)),
            ActError::Denied { .. }
        ));
        assert!(matches!(
            change(Role::Integrator, None, token(Role::Viewer, None)),
            ActError::Denied { .. }
        ));
        assert!(matches!(
            change(Role::SystemAdmin, None, token(Role::Admin, None)),
            ActError::Escalation { role: Role::Admin }
        ));
        let district = Some("630102");
        for outside in [None, Some("630103"), Some("630100")] {
            let refused = [
                change(Role::Integrator, district, device("d", outside)),
                change(Role::SystemAdmin, district, token(Role::Viewer, outside)),
            ];
            for error in refused {
                assert!(
                    matches!(error, ActError::Outside { .. }),
                    "{outside:?}: {error:?}"
                );
            }
        }
        let entity = serde_json::from_value(json!({
            "code": "r", "kind": "road", "name": "", "geometry": {"type": "Point", "coordinates": [101.8, 36.6]},
        }));
        let road = Register::Entity {
            entity: entity.unwrap(),
        };
        assert!(matches!(
            change(Role::Integrator, None, road),
            ActError::Entity { index: 1, .. }
        ));
        let bad_hash = Register::DeviceToken {
            device: DeviceId::new("d").unwrap(),
            sha256: "secret itself".into(),
        };
        assert!(matches!(
            change(Role::Integrator, None, bad_hash),
            ActError::TokenHash { index: 1, .. }
        ));
        let rule = |scope: &Scope, name: &str| {
            let file = RuleFile {
                name: name.into(),
                text: String::new(),
            };
            wait(desk.acts.record_rule(scope, at(0), file)).unwrap_err()
        };
        assert!(matches!(
            rule(&scope(Role::Officer, None), "air"),
            ActError::Denied { .. }
        ));
        assert!(matches!(
            rule(&scope(Role::Integrator, district), "air"),
            ActError::Outside { .. }
        ));
        assert!(matches!(
            rule(&scope(Role::Integrator, None), "../air"),
            ActError::RuleName { .. }
        ));
        assert_eq!(desk.kept(), []);
        assert_eq!(desk.log.status().next, 1);

        // What is left is allowed.
        let verb = acknowledge(until);
        assert_eq!(
            wait(desk.acts.record_act(&scope(Role::Officer, None), at(0), verb)).unwrap(),
            1
        );
        let removed = Register::EntityRemoved {
            kind: EntityKind::Road,
            code: "r".into(),
        };
        let made = vec![token(Role::Viewer, Some("630102001")), removed];
        let admin = scope(Role::SystemAdmin, district);
        assert_eq!(wait(desk.acts.record_register(&admin, at(0), made)).unwrap(), 3);
    }
}

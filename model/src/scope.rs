//! Who asks, and what he may see and do.

use serde::{Deserialize, Serialize};

use crate::{DivisionCode, EntityKind};

/// What a user or machine is for. Three administrators are apart (三员分立).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Sees the map, readings and alerts of his division.
    Viewer,
    /// Also acknowledges and handles alerts and cases, and reviews values.
    Officer,
    /// Also runs the desk: shelves alarms, re-admits quarantine, commands devices.
    Operator,
    /// Also resolves persons and approves warnings.
    Commander,
    /// Registers devices, profiles and entities; writes readings; hands in warnings of others.
    Integrator,
    /// Users, tokens, configuration.
    SystemAdmin,
    /// Security settings.
    SecurityAdmin,
    /// Reads the audit.
    AuditAdmin,
    /// The local owner of the data folder: everything. Made only on the machine itself.
    Admin,
}

/// Kinds of deed that a role may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Permission {
    /// Read readings, map, alerts.
    View,
    /// Acknowledge, assign, close alerts.
    HandleAlerts,
    /// Take alerts off the desk's list for a while, and put them back.
    ShelveAlerts,
    /// Say who is on duty, and whom alerts reach that nobody takes.
    Duty,
    /// See and re-admit quarantined bytes.
    Quarantine,
    /// Register devices, profiles, entities; import.
    Register,
    /// Post readings over HTTP.
    WriteReadings,
    /// Change rules.
    Rules,
    /// Make tokens and users.
    Tokens,
    /// Read the audit trail.
    Audit,
    /// Send commands to devices and take them back.
    Command,
    /// Copy everything that is kept to a folder of the server's machine.
    Backup,
    /// Say of values that they are valid, invalid or another.
    Review,
    /// Disable accounts, end their sessions, see who tried to come in.
    Security,
    /// Ask what is known of the person with a citizen number, with a purpose that is kept.
    Persons,
    /// Take away what an alert rests on, signed.
    Evidence,
    /// Record that the competent authority approved a warning, by which it is issued.
    ApproveWarnings,
    /// Hand in warnings of others.
    ExchangeWarnings,
}

impl Permission {
    /// Every permission.
    pub const ALL: [Self; 18] = [
        Self::View,
        Self::HandleAlerts,
        Self::ShelveAlerts,
        Self::Duty,
        Self::Quarantine,
        Self::Register,
        Self::WriteReadings,
        Self::Rules,
        Self::Tokens,
        Self::Audit,
        Self::Command,
        Self::Backup,
        Self::Review,
        Self::Security,
        Self::Persons,
        Self::Evidence,
        Self::ApproveWarnings,
        Self::ExchangeWarnings,
    ];

    /// As it stands in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::View => "view",
            Self::HandleAlerts => "handle_alerts",
            Self::ShelveAlerts => "shelve_alerts",
            Self::Duty => "duty",
            Self::Quarantine => "quarantine",
            Self::Register => "register",
            Self::WriteReadings => "write_readings",
            Self::Rules => "rules",
            Self::Tokens => "tokens",
            Self::Audit => "audit",
            Self::Command => "command",
            Self::Backup => "backup",
            Self::Review => "review",
            Self::Security => "security",
            Self::Persons => "persons",
            Self::Evidence => "evidence",
            Self::ApproveWarnings => "approve_warnings",
            Self::ExchangeWarnings => "exchange_warnings",
        }
    }
}

impl Role {
    /// Whether the role holds a permission. Deny by default.
    pub fn may(self, permission: Permission) -> bool {
        use Permission as P;
        use Role as R;
        match self {
            R::Admin => true,
            R::Viewer => matches!(permission, P::View),
            R::Officer => matches!(permission, P::View | P::HandleAlerts | P::Review | P::Evidence),
            R::Operator => {
                matches!(
                    permission,
                    P::View
                        | P::HandleAlerts
                        | P::ShelveAlerts
                        | P::Quarantine
                        | P::Command
                        | P::Review
                        | P::Evidence
                )
            }
            R::Commander => {
                matches!(
                    permission,
                    P::View
                        | P::HandleAlerts
                        | P::ShelveAlerts
                        | P::Duty
                        | P::Quarantine
                        | P::Command
                        | P::Review
                        | P::Persons
                        | P::Evidence
                        | P::ApproveWarnings
                )
            }
            R::Integrator => {
                matches!(
                    permission,
                    P::View | P::Quarantine | P::Register | P::WriteReadings | P::Rules | P::ExchangeWarnings
                )
            }
            R::SystemAdmin => matches!(permission, P::Tokens | P::Register | P::Rules),
            R::SecurityAdmin => matches!(permission, P::Security),
            R::AuditAdmin => matches!(permission, P::Audit | P::Evidence),
        }
    }
    /// Whether it is one of the three that administer (system, security, audit).
    pub fn administers(self) -> bool {
        matches!(self, Role::SystemAdmin | Role::SecurityAdmin | Role::AuditAdmin)
    }
    /// Whether an account of this role must show a second factor: who commands, who administers.
    pub fn needs_second(self) -> bool {
        self.may(Permission::Command) || self.administers()
    }
    /// The name used on the command line and in tokens.
    pub fn name(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Officer => "officer",
            Role::Operator => "operator",
            Role::Commander => "commander",
            Role::Integrator => "integrator",
            Role::SystemAdmin => "system_admin",
            Role::SecurityAdmin => "security_admin",
            Role::AuditAdmin => "audit_admin",
            Role::Admin => "admin",
        }
    }
}

impl std::str::FromStr for Role {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        serde_json::from_value(serde_json::Value::String(text.to_owned())).map_err(|_| {
            format!(
                "`{text}` is not a role; roles are viewer, officer, operator, commander, integrator, system_admin, security_admin, audit_admin, admin"
            )
        })
    }
}

/// Whose a thing is, for who may see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner<'a> {
    /// Nobody's and everybody's: geography, which is seen by its division alone.
    Ground,
    /// The department of this name; an empty name is that of no department.
    Department(&'a str),
}

/// To whom something belongs: where it lies and whose it is. Whoever asks whether something may be seen
/// has to say both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Belongs<'a> {
    /// The division it lies in; `None` when it lies in none, or nobody knows.
    pub division: Option<&'a DivisionCode>,
    /// Whose it is.
    pub owner: Owner<'a>,
}

impl<'a> Belongs<'a> {
    /// Geography: a division, a grid cell, a place, an address, a road.
    pub fn ground(division: Option<&'a DivisionCode>) -> Self {
        Self {
            division,
            owner: Owner::Ground,
        }
    }
    /// What a department may own; `department` is empty when it has none.
    pub fn of(division: Option<&'a DivisionCode>, department: &'a str) -> Self {
        Self {
            division,
            owner: Owner::Department(department),
        }
    }
    /// What nobody has placed and no department owns: only who sees everything sees it.
    pub const NOBODY: Belongs<'static> = Belongs {
        division: None,
        owner: Owner::Department(""),
    };
}

/// The part of what there is that somebody may see: a division, and departments.
///
/// A reach without departments is all of its division. One with departments holds a thing only when the
/// thing's department is one of them, to the letter but for spaces around it; what has no department is then
/// not in it. Geography ([`Owner::Ground`]) is in it by its division alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Reach {
    /// Only what lies inside this division; `None` is the whole city.
    pub division: Option<DivisionCode>,
    /// Only what these departments own; empty is all.
    pub departments: Vec<String>,
}

impl Reach {
    /// Whether everything is in it, unplaced things and those of no department too.
    pub fn is_whole(&self) -> bool {
        self.division.is_none() && self.departments.is_empty()
    }
    /// Whether something is in it.
    pub fn covers(&self, thing: Belongs<'_>) -> bool {
        covers(self.division.as_ref(), &self.departments, thing)
    }
}

/// The one rule of who sees what ([`Reach`]).
fn covers(division: Option<&DivisionCode>, departments: &[String], thing: Belongs<'_>) -> bool {
    let is_inside = match (division, thing.division) {
        (None, _) => true,
        (Some(own), Some(other)) => own.covers(other),
        (Some(_), None) => false,
    };
    is_inside
        && match thing.owner {
            Owner::Ground => true,
            Owner::Department(_) if departments.is_empty() => true,
            Owner::Department(department) => has_department(departments, department),
        }
}

/// Whether a department is one of these: to the letter, but for spaces around it. No department is none of them.
fn has_department(departments: &[String], department: &str) -> bool {
    let department = department.trim();
    !department.is_empty() && departments.iter().any(|own| own.trim() == department)
}

/// What one request may see and do; every query and every act takes one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// Name of the token or user, for the audit.
    pub actor: String,
    /// What it is for.
    pub role: Role,
    /// Only entities inside this division; `None` is the whole city.
    #[serde(default)]
    pub division: Option<DivisionCode>,
    /// Only these departments; empty is all.
    #[serde(default)]
    pub departments: Vec<String>,
}

impl Scope {
    /// The scope of the process itself (start-up records, replays).
    pub fn local(actor: &str) -> Self {
        Self {
            actor: actor.to_owned(),
            role: Role::Admin,
            division: None,
            departments: Vec::new(),
        }
    }
    /// Whether the role holds the permission.
    pub fn may(&self, permission: Permission) -> bool {
        self.role.may(permission)
    }
    /// Whether something may be seen. Unplaced things belong to no division, so only a scope without a
    /// division sees them; things of no department only a scope without departments ([`Reach`]).
    pub fn covers(&self, thing: Belongs<'_>) -> bool {
        covers(self.division.as_ref(), &self.departments, thing)
    }
    /// Whether it sees everything: it has neither a division nor departments.
    pub fn is_whole(&self) -> bool {
        self.division.is_none() && self.departments.is_empty()
    }
    /// What it may see, by itself.
    pub fn reach(&self) -> Reach {
        Reach {
            division: self.division.clone(),
            departments: self.departments.clone(),
        }
    }
    /// Whether somebody of this division and these departments sees nothing that this scope does not see: whom
    /// it may make a token or an account for, and whose it may look at.
    pub fn encloses(&self, division: Option<&DivisionCode>, departments: &[String]) -> bool {
        let is_inside = self.covers(Belongs::ground(division));
        let all_are_own = || {
            departments
                .iter()
                .all(|other| has_department(&self.departments, other))
        };
        is_inside && (self.departments.is_empty() || (!departments.is_empty() && all_are_own()))
    }
    /// Whether an entity of this kind may be seen at all: persons never come out of a plain query.
    pub fn sees_kind(&self, kind: &EntityKind) -> bool {
        *kind != EntityKind::Person
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_district_viewer_sees_only_the_district() {
        let division = |t: &str| DivisionCode::new(t).unwrap();
        let scope = Scope {
            actor: "a".into(),
            role: Role::Viewer,
            division: Some(division("630102")),
            departments: vec![],
        };
        let covers = |division: Option<&DivisionCode>| {
            let of_some = scope.covers(Belongs::of(division, "水务局"));
            assert_eq!(of_some, scope.covers(Belongs::of(division, "")));
            assert_eq!(of_some, scope.covers(Belongs::ground(division)));
            of_some
        };
        assert!(covers(Some(&division("630102001"))));
        assert!(!covers(Some(&division("630103"))));
        assert!(!covers(None));
        assert!(scope.may(Permission::View));
        for denied in [
            Permission::HandleAlerts,
            Permission::Register,
            Permission::Tokens,
            Permission::Rules,
            Permission::Command,
            Permission::Review,
            Permission::Persons,
            Permission::Security,
        ] {
            assert!(!scope.may(denied), "{denied:?}");
        }
    }

    fn bound_to(division: Option<&str>, departments: &[&str]) -> Scope {
        Scope {
            actor: "a".into(),
            role: Role::Viewer,
            division: division.map(|code| DivisionCode::new(code).unwrap()),
            departments: departments.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    #[test]
    fn who_is_of_departments_sees_what_is_theirs_and_the_ground() {
        let (here, there) = (
            DivisionCode::new("630102001").unwrap(),
            DivisionCode::new("630103").unwrap(),
        );
        let scope = bound_to(Some("630102"), &["水务局", " 城管局 "]);
        for (department, sees) in [
            ("水务局", true),
            (" 水务局\t", true),
            ("城管局", true),
            ("水务", false),
            ("水务局一处", false),
            ("环保局", false),
            ("", false),
            ("  ", false),
        ] {
            let own = Belongs::of(Some(&here), department);
            assert_eq!(scope.covers(own), sees, "{department:?}");
            assert_eq!(scope.reach().covers(own), sees, "{department:?}");
            assert!(
                !scope.covers(Belongs::of(Some(&there), department)),
                "{department:?}"
            );
            assert!(!scope.covers(Belongs::of(None, department)), "{department:?}");
            assert!(bound_to(Some("630102"), &[]).covers(own), "{department:?}");
            assert!(
                bound_to(None, &[]).covers(Belongs::of(None, department)),
                "{department:?}"
            );
            assert_eq!(
                bound_to(None, &["水务局", "城管局"]).covers(own),
                sees,
                "{department:?}"
            );
        }
        assert!(scope.covers(Belongs::ground(Some(&here))));
        assert!(!scope.covers(Belongs::ground(Some(&there))));
        assert!(bound_to(None, &["水务局"]).covers(Belongs::ground(None)));
        assert!(!bound_to(None, &["水务局"]).covers(Belongs::NOBODY));
        assert!(!bound_to(None, &[""]).covers(Belongs::NOBODY));
        assert!(bound_to(None, &[]).covers(Belongs::NOBODY));
        let whole: Vec<bool> = [
            bound_to(None, &[]),
            bound_to(None, &["x"]),
            bound_to(Some("630102"), &[]),
        ]
        .iter()
        .map(|scope| (scope.is_whole(), scope.reach().is_whole()))
        .map(|(a, b)| a && b)
        .collect();
        assert_eq!(whole, [true, false, false]);
    }

    #[test]
    fn nobody_hands_out_more_than_is_his() {
        let own = bound_to(Some("630102"), &["水务局", "城管局"]);
        let names = |names: &[&str]| -> Vec<String> { names.iter().map(|name| (*name).to_owned()).collect() };
        let street = DivisionCode::new("630102001").unwrap();
        for (departments, may) in [
            (&["水务局"][..], true),
            (&["城管局 ", "水务局"], true),
            (&["水务局", "环保局"], false),
            (&["环保局"], false),
            (&[""], false),
            // All departments are more than two.
            (&[], false),
        ] {
            let departments = names(departments);
            assert_eq!(own.encloses(Some(&street), &departments), may, "{departments:?}");
            assert!(!own.encloses(None, &departments), "{departments:?}");
            let of_division = bound_to(Some("630102"), &[]);
            assert!(
                of_division.encloses(Some(&street), &departments),
                "{departments:?}"
            );
        }
    }

    #[test]
    fn roles_read_back_from_their_names() {
        for role in [Role::Viewer, Role::SystemAdmin, Role::Admin, Role::Integrator] {
            assert_eq!(role.name().parse::<Role>(), Ok(role));
        }
        assert!("root".parse::<Role>().is_err());
    }
}

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
    /// Also resolves persons.
    Commander,
    /// Registers devices, profiles and entities; writes readings.
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
}

impl Permission {
    /// Every permission.
    pub const ALL: [Self; 14] = [
        Self::View,
        Self::HandleAlerts,
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
    ];

    /// As it stands in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::View => "view",
            Self::HandleAlerts => "handle_alerts",
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
                    P::View | P::HandleAlerts | P::Quarantine | P::Command | P::Review | P::Evidence
                )
            }
            R::Commander => {
                matches!(
                    permission,
                    P::View
                        | P::HandleAlerts
                        | P::Quarantine
                        | P::Command
                        | P::Review
                        | P::Persons
                        | P::Evidence
                )
            }
            R::Integrator => {
                matches!(
                    permission,
                    P::View | P::Quarantine | P::Register | P::WriteReadings | P::Rules
                )
            }
            R::SystemAdmin => matches!(permission, P::Tokens | P::Register | P::Rules),
            R::SecurityAdmin => matches!(permission, P::Security),
            R::AuditAdmin => matches!(permission, P::Audit | P::Evidence),
        }
    }
    /// Whether an account of this role must show a second factor: who commands, who administers.
    pub fn needs_second(self) -> bool {
        self.may(Permission::Command)
            || matches!(self, Role::SystemAdmin | Role::SecurityAdmin | Role::AuditAdmin)
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
    /// Whether something in `division` (unplaced when `None`) may be seen. Unplaced things belong to
    /// no division, so only a scope without a division sees them.
    pub fn covers(&self, division: Option<&DivisionCode>) -> bool {
        match (&self.division, division) {
            (None, _) => true,
            (Some(own), Some(other)) => own.covers(other),
            (Some(_), None) => false,
        }
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
        assert!(scope.covers(Some(&division("630102001"))));
        assert!(!scope.covers(Some(&division("630103"))));
        assert!(!scope.covers(None));
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

    #[test]
    fn roles_read_back_from_their_names() {
        for role in [Role::Viewer, Role::SystemAdmin, Role::Admin, Role::Integrator] {
            assert_eq!(role.name().parse::<Role>(), Ok(role));
        }
        assert!("root".parse::<Role>().is_err());
    }
}

//! `onemap user`: accounts of people.

use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::{Args, Subcommand};
use onemap_model::{DivisionCode, Role};
use serde_json::{Value, json};

use super::Door;

/// `onemap user`
#[derive(Subcommand)]
pub(crate) enum UserCommand {
    /// Make an account; prints the link by which its holder sets password and second factor, good for 24 hours.
    Add(AddArgs),
    /// List accounts.
    List,
    /// Make a new link for who has lost password or second factor; prints it.
    Passwd {
        /// The account.
        id: String,
    },
    /// Link an account with a person whom the provider of OpenID Connect (`[oidc]`) speaks of.
    Link {
        /// The account.
        id: String,
        /// The provider's name for the person: `sub` of its ID tokens.
        #[arg(long)]
        subject: String,
        /// The provider's address; the configured one by default.
        #[arg(long)]
        issuer: Option<String>,
    },
    /// End an account's link with a person of the provider, and its sessions.
    Unlink {
        /// The account.
        id: String,
    },
    /// Let nobody in by an account any more; it stays known.
    Disable {
        /// The account.
        id: String,
    },
    /// Let its holder in again.
    Enable {
        /// The account.
        id: String,
    },
    /// End an account's sessions and their live streams.
    Logout {
        /// The account.
        id: String,
    },
    /// End an account; what its holder did stays under its name.
    Remove {
        /// The account.
        id: String,
    },
}

/// `onemap user add`
#[derive(Args)]
pub(crate) struct AddArgs {
    /// The name to log in with: letters, digits and `-_.:`, at most 64 bytes.
    id: String,
    /// viewer, officer, operator, commander, integrator, system_admin, security_admin or audit_admin.
    #[arg(long)]
    role: Role,
    /// The holder's name as people read it.
    #[arg(long, default_value = "")]
    name: String,
    /// Only this division (6, 9 or 12 digits).
    #[arg(long)]
    division: Option<DivisionCode>,
    /// Only this department; several times for several.
    #[arg(long = "department")]
    departments: Vec<String>,
}

impl UserCommand {
    pub(crate) fn only_looks(&self) -> bool {
        matches!(self, Self::List)
    }

    pub(crate) fn run(self, door: &Door, json: bool) -> Result<ExitCode> {
        match self {
            Self::Add(args) => {
                let account = json!({
                    "id": args.id, "name": args.name, "role": args.role, "division": args.division,
                    "departments": args.departments,
                });
                let answer = door.post("/api/v1/accounts", &account)?;
                if answer["first_link_ended"] == true {
                    eprintln!(
                        "this is the first account: the set-up link of the first start (setup.link) opens nothing any more"
                    );
                }
                door.say_link(&answer, json)
            }
            Self::List => door.list_accounts(json),
            Self::Passwd { id } => {
                let answer = door.post(&format!("{}/link", of(&id)?), &json!({}))?;
                door.say_link(&answer, json)
            }
            Self::Link { id, subject, issuer } => {
                let body = json!({"subject": subject, "issuer": issuer});
                let account = door.put(&format!("{}/subject", of(&id)?), &body)?;
                if json {
                    crate::say!("{account}");
                }
                Ok(ExitCode::SUCCESS)
            }
            Self::Unlink { id } => {
                door.delete(&format!("{}/subject", of(&id)?))?;
                Ok(ExitCode::SUCCESS)
            }
            Self::Disable { id } => door.disable(&id, true, json),
            Self::Enable { id } => door.disable(&id, false, json),
            Self::Logout { id } => {
                door.post(&format!("{}/logout", of(&id)?), &json!({}))?;
                Ok(ExitCode::SUCCESS)
            }
            Self::Remove { id } => {
                door.delete(&of(&id)?)?;
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

/// The path of an account.
fn of(id: &str) -> Result<String> {
    let is_id = |c: char| c.is_alphanumeric() || "-_.:".contains(c);
    ensure!(
        !id.is_empty() && id.chars().all(is_id),
        "`{id}` is no account's name (onemap user list)"
    );
    let id: String = form_urlencoded::byte_serialize(id.as_bytes()).collect();
    Ok(format!("/api/v1/accounts/{id}"))
}

impl Door {
    /// A link alone goes to standard output.
    fn say_link(&self, answer: &Value, json: bool) -> Result<ExitCode> {
        let path = answer["link"]["path"]
            .as_str()
            .context("the answer has no link")?;
        match json {
            true => crate::say!("{answer}"),
            // A server that was started for this command alone has another address next time.
            false if self.is_lasting => crate::say!("{}{path}", self.base),
            false => crate::say!("{path}"),
        }
        Ok(ExitCode::SUCCESS)
    }

    fn list_accounts(&self, json: bool) -> Result<ExitCode> {
        let answer = self.get("/api/v1/accounts")?;
        if json {
            crate::say!("{answer}");
            return Ok(ExitCode::SUCCESS);
        }
        for account in answer["items"].as_array().into_iter().flatten() {
            let text = |key: &str| account[key].as_str().unwrap_or("-");
            let is = |key: &str| account[key].as_bool().unwrap_or(false);
            let state = match (is("disabled"), is("has_password")) {
                (true, _) => "disabled",
                (false, true) => "active",
                (false, false) if account["subject"].is_object() => "linked",
                (false, false) => "invited",
            };
            crate::say!(
                "{:<20} {:<14} {:<12} {:<9} {:<8} {}{}",
                text("id"),
                text("role"),
                text("division"),
                state,
                if is("has_second") { "totp" } else { "-" },
                text("name"),
                super::of_departments(&account["departments"])
            );
        }
        Ok(ExitCode::SUCCESS)
    }

    fn disable(&self, id: &str, disabled: bool, json: bool) -> Result<ExitCode> {
        let account = self.patch(&of(id)?, &json!({"disabled": disabled}))?;
        if json {
            crate::say!("{account}");
        }
        Ok(ExitCode::SUCCESS)
    }
}

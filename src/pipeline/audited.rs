//! Which records the audit takes: what people and machines with a name did, and what changes whom the server trusts.

use onemap_model::Record;
use onemap_model::record::Register;
use onemap_store::ledger::{AuditKind, Audited};

/// The row of a record; `None` for what the audit does not take: frames, clock, and the things of the map, which come by
/// the million and are told by their own files.
pub(super) fn audited(position: u64, record: &Record<'_>) -> Option<Audited> {
    let (kind, at) = match record {
        Record::Act(act) => (AuditKind::Act, act.at),
        Record::Command(command) => (AuditKind::Command, command.at),
        Record::Rule(rule) => (AuditKind::Rule, rule.at),
        Record::Segment(segment) => (AuditKind::Segment, segment.at),
        Record::Register(change) => match change.what {
            Register::Entity { .. }
            | Register::EntityRemoved { .. }
            | Register::Person { .. }
            | Register::PersonSealed { .. }
            | Register::PersonStated { .. }
            | Register::Adopted { .. }
            | Register::Attributes { .. } => return None,
            _ => (AuditKind::Register, change.at),
        },
        _ => return None,
    };
    let (_, body) = record.encode();
    let body = String::from_utf8(body).expect("these records are JSON");
    Some(Audited {
        position,
        at,
        kind,
        body,
    })
}

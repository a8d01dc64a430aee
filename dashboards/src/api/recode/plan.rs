//! What a map of codes changes: the things themselves, and what points to them.

use std::collections::{BTreeMap, HashMap, HashSet};

use onemap_model::code::{ComponentNumber, day, successor};
use onemap_model::record::Register as Change;
use onemap_model::{DivisionCode, Entity, EntityCode, EntityKind, EntityRef, FormerCode, Timestamp};
use onemap_store::register::{KINDS, check_entity};
use serde_json::Value;

use super::rows::{Line, fault, read};
use crate::api::numbers::{has_number, refusal};
use crate::views::{Register, Views};

const POISON: &str = "no holder of this lock panics";
/// Entities looked at in one holding of the register.
const N_AT_ONCE: usize = 4096;
/// Attributes whose text is the code of another thing: the parent, the component that something belongs to, the unit grid
/// (`SZDYWGBSM` of GB/T 47678.5, `BGID` of CJ/T 214), street and community of a component.
pub(super) const POINTERS: [&str; 9] = [
    "parent",
    "parent_code",
    "belongs_to",
    "component",
    "unit_grid",
    "szdywgbsm",
    "bgid",
    "szjddm",
    "szsqdm",
];

/// What comes of a map.
pub(super) struct Plan {
    /// The things themselves first, in the order of the lines.
    pub(super) changes: Vec<Change>,
    pub(super) n_recoded: usize,
    /// Lines whose thing has the new code and had the old one before.
    pub(super) n_already: usize,
    /// Entities and devices that point to one of them and are not recoded themselves.
    pub(super) n_followed: [usize; 2],
    pub(super) errors: Vec<Value>,
}

type Key = (EntityKind, EntityCode);

/// Reads a map and works out what it changes.
pub(super) fn of(views: &Views, text: &str, at: Timestamp) -> Plan {
    let mut plan = Plan {
        changes: Vec::new(),
        n_recoded: 0,
        n_already: 0,
        n_followed: [0; 2],
        errors: Vec::new(),
    };
    // In the order of the lines: a code that an earlier line has freed may be given again.
    let mut recoded: Vec<Entity> = Vec::new();
    let (mut freed, mut given): (HashMap<Key, EntityCode>, HashSet<Key>) = Default::default();
    let mut codes: BTreeMap<String, EntityCode> = BTreeMap::new();
    let mut divisions: HashMap<DivisionCode, DivisionCode> = HashMap::new();
    for line in read(text) {
        let line = match line {
            Ok(line) => line,
            Err(fault) => {
                plan.errors.push(fault);
                continue;
            }
        };
        let register = views.register.read().expect(POISON);
        let made = named(&register, &line).and_then(|found| match found {
            Some(entity) => recode(&register, &line, entity, at, &freed, &given).map(Some),
            None => Ok(None),
        });
        drop(register);
        match made {
            Ok(Some(entity)) => {
                freed.insert(
                    (entity.kind.clone(), line.old.as_str().into()),
                    entity.code.clone(),
                );
                given.insert((entity.kind.clone(), entity.code.clone()));
                if entity.kind == EntityKind::Division
                    && let (Ok(old), Ok(new)) = (DivisionCode::new(&line.old), DivisionCode::new(&line.new))
                {
                    divisions.insert(old, new);
                }
                codes.insert(line.old, entity.code.clone());
                recoded.push(entity);
            }
            Ok(None) => plan.n_already += 1,
            Err(fault) => plan.errors.push(fault),
        }
    }
    plan.n_recoded = recoded.len();
    for mut entity in recoded {
        follow(&mut entity, &codes, &divisions);
        plan.changes.push(Change::Entity {
            entity: Box::new(entity),
        });
    }
    if plan.n_recoded > 0 {
        followers(views, &codes, &divisions, &freed, &mut plan);
    }
    plan
}

/// The entity that a line is about; `None` when it has its new code already.
fn named(register: &Register, line: &Line) -> Result<Option<Entity>, Value> {
    let is_kind = |entity: &Entity| line.kind.as_ref().is_none_or(|kind| *kind == entity.kind);
    let all: Vec<Entity> = register.view.with_code(&line.old).filter(is_kind).collect();
    let (now, before): (Vec<Entity>, Vec<Entity>) =
        all.into_iter().partition(|entity| *entity.code == *line.old);
    if let [entity] = &now[..] {
        return Ok(Some(entity.clone()));
    }
    if now.len() > 1 {
        let message = format!(
            "several kinds have the code `{:.64}`: a column kind says which one is meant",
            line.old
        );
        return Err(fault(line.number, "ambiguous_old", message));
    }
    if before.iter().any(|entity| *entity.code == *line.new) {
        return Ok(None);
    }
    let known = match before.first() {
        Some(entity) => format!("; what had it is `{}` now", entity.code),
        None => String::new(),
    };
    let message = format!("no entity has the code `{:.64}`{known}", line.old);
    Err(fault(line.number, "unknown_old", message))
}

/// The entity under its new code.
fn recode(
    register: &Register,
    line: &Line,
    mut entity: Entity,
    at: Timestamp,
    freed: &HashMap<Key, EntityCode>,
    given: &HashSet<Key>,
) -> Result<Entity, Value> {
    let number = line.number;
    let new: Key = (entity.kind.clone(), line.new.as_str().into());
    let old: Key = (entity.kind.clone(), line.old.as_str().into());
    if freed.contains_key(&old) {
        return Err(fault(
            number,
            "twice",
            format!("`{:.64}` got a code by an earlier line", line.old),
        ));
    }
    let is_taken = register.view.entities.contains(&new.0, &new.1) && !freed.contains_key(&new);
    if is_taken || given.contains(&new) {
        return Err(fault(
            number,
            "taken",
            format!("`{:.64}` is the code of another", line.new),
        ));
    }
    if has_number(&line.new) {
        return Err(fault(number, "bad_new", refusal("new code")));
    }
    same_class_and_division(line, &mut entity, at)?;
    let since = entity.former.last().map(|former| former.to).or(entity.valid_from);
    entity.former.push(FormerCode {
        code: old.1,
        from: since.filter(|since| *since <= at),
        to: at,
    });
    entity.code = new.1;
    check_entity(&entity).map_err(|error| {
        let mut message = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(error) = cause {
            message.push_str(&format!(": {error}"));
            cause = error.source();
        }
        fault(number, "bad_new", message)
    })?;
    Ok(entity)
}

/// What a code says of class and county stays as it was, or the line says that it does not.
fn same_class_and_division(line: &Line, entity: &mut Entity, at: Timestamp) -> Result<(), Value> {
    let bad = |code: &str, message: String| Err(fault(line.number, code, message));
    if entity.kind == EntityKind::Component
        && let Ok(new) = ComponentNumber::parse(&line.new)
    {
        if let Err(error) = new.given_on(day(at)) {
            return bad(
                "bad_new",
                format!("`{}` could not be given then: {error}", line.new),
            );
        }
        let class = new.class();
        let before = ComponentNumber::parse(&line.old)
            .ok()
            .map(|old| old.class())
            .or(entity.class.clone());
        // Minor classes have other numbers in another standard: there the major one has to stay.
        let is_same = before.is_none_or(|before| match before.as_str().len() == class.as_str().len() {
            true => before == class,
            false => before.major() == class.major(),
        });
        if !is_same && line.class != class.as_str() {
            let message = format!(
                "`{}` says class {class}, another than before: a column class says so",
                line.new
            );
            return bad("class_changed", message);
        }
        entity.class = Some(class);
    } else if !line.class.is_empty() {
        return bad("class_changed", format!("`{:.64}` says no class", line.new));
    }
    let has_division = match entity.kind {
        EntityKind::Division => true,
        EntityKind::Component => ComponentNumber::parse(&line.new).is_ok(),
        EntityKind::Grid => line.new.len() == 15,
        _ => false,
    };
    let county = |code: &str| {
        code.get(..6)
            .filter(|c| c.bytes().all(|b| b.is_ascii_digit()))
            .map(str::to_owned)
    };
    if let (true, Some(old), Some(new)) = (has_division, county(&line.old), county(&line.new)) {
        let is_same = old == new || successor(&old) == Some(&*new);
        if !is_same && line.division != new {
            let message = format!(
                "`{}` says division {new}, another than {old}: a column division says so",
                line.new
            );
            return bad("division_changed", message);
        }
        let stated = entity
            .division
            .as_ref()
            .is_some_and(|stated| stated.as_str() == old);
        if let (true, Ok(new)) = (stated, DivisionCode::new(&new)) {
            entity.division = Some(new);
        }
    }
    if entity.kind == EntityKind::Division {
        let [old, new] = [&line.old, &line.new].map(|code| DivisionCode::new(code));
        match (old, new) {
            (Ok(old), Ok(new)) if old.prefix().len() == new.prefix().len() => entity.division = Some(new),
            (_, Ok(_)) => return bad("bad_new", format!("`{}` is of another level", line.new)),
            (_, Err(error)) => return bad("bad_new", error.to_string()),
        }
    }
    Ok(())
}

/// Lets an entity point to the new codes; whether it pointed to one.
fn follow(
    entity: &mut Entity,
    codes: &BTreeMap<String, EntityCode>,
    divisions: &HashMap<DivisionCode, DivisionCode>,
) -> bool {
    let mut changed = false;
    if let Some(new) = entity
        .division
        .as_ref()
        .and_then(|division| divisions.get(division))
    {
        entity.division = Some(new.clone());
        changed = true;
    }
    for (name, value) in &mut entity.attributes {
        if POINTERS.contains(&name.to_lowercase().as_str())
            && let Some(new) = value.as_str().and_then(|code| codes.get(code))
        {
            *value = Value::from(&**new);
            changed = true;
        }
    }
    changed
}

/// Adds what points to recoded things and is none itself.
fn followers(
    views: &Views,
    codes: &BTreeMap<String, EntityCode>,
    divisions: &HashMap<DivisionCode, DivisionCode>,
    freed: &HashMap<Key, EntityCode>,
    plan: &mut Plan,
) {
    for kind in KINDS {
        let mut last: Option<EntityCode> = None;
        loop {
            let register = views.register.read().expect(POISON);
            let (mut n, mut end) = (0, None);
            for (code, stated) in register
                .view
                .entities
                .stated_behind(&kind, last.as_ref())
                .take(N_AT_ONCE)
            {
                (n, end) = (n + 1, Some(code));
                let in_one = !divisions.is_empty()
                    && DivisionCode::new(stated.division).is_ok_and(|own| divisions.contains_key(&own));
                let points = || {
                    let written = register.view.entities.written(&kind, code);
                    let attributes =
                        written.map_or_else(String::new, |written| written.attributes.to_lowercase());
                    POINTERS
                        .iter()
                        .any(|name| attributes.contains(&format!("\"{name}\"")))
                };
                if freed.contains_key(&(kind.clone(), code.clone())) || !(in_one || points()) {
                    continue;
                }
                let Some(mut entity) = register.view.entities.get(&kind, code) else {
                    continue;
                };
                if follow(&mut entity, codes, divisions) {
                    plan.n_followed[0] += 1;
                    plan.changes.push(Change::Entity {
                        entity: Box::new(entity),
                    });
                }
            }
            if n < N_AT_ONCE {
                break;
            }
            last = end.cloned();
        }
    }
    let register = views.register.read().expect(POISON);
    for device in register.view.devices.values() {
        let division = device.division.as_ref();
        let division = division.and_then(|division| divisions.get(division));
        let entity = device.entity.as_ref();
        let entity = entity.and_then(|entity| {
            let code = freed.get(&(entity.kind.clone(), entity.code.clone()))?.clone();
            let kind = entity.kind.clone();
            Some(EntityRef { kind, code })
        });
        if division.is_some() || entity.is_some() {
            let mut device = onemap_model::Device::clone(device);
            device.division = division.cloned().or(device.division);
            device.entity = entity.or(device.entity);
            plan.n_followed[1] += 1;
            plan.changes.push(Change::Device { device });
        }
    }
}

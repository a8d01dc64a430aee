//! What drills and desks name: devices, rules and divisions that there are. A name that is nothing's is a mistake that
//! nobody would notice: the drill marks nothing, the desk is never called.

use std::collections::HashSet;

use onemap_model::{DeviceId, DivisionCode, RuleId, Scope};
use serde_json::{Value, json};

use super::listed::is_there;
use super::rules::shows;
use crate::error::Problem;
use crate::views::Views;

const POISON: &str = "no holder of this lock panics";
/// Names that are told of one body at most.
const MOST_TOLD: usize = 100;
/// Of these the words name so many.
const MOST_SPELT: usize = 5;

/// What a body names.
pub(super) struct Names<'a> {
    pub(super) division: Option<&'a DivisionCode>,
    pub(super) devices: &'a [DeviceId],
    pub(super) rules: &'a [RuleId],
}

/// One that is not there.
struct Unknown {
    at: String,
    code: &'static str,
    zh: String,
    en: String,
}

/// That all that is named is there, for the scope to see.
///
/// # Errors
/// 422 `unknown_names`, with each name in `errors`.
pub(super) fn are_there(views: &Views, scope: &Scope, names: &Names<'_>) -> Result<(), Problem> {
    let unknown = unknown(views, scope, names);
    if unknown.is_empty() {
        return Ok(());
    }
    let rows: Vec<Value> = unknown
        .iter()
        .take(MOST_TOLD)
        .map(|one| json!({"at": one.at, "code": one.code, "message": one.en, "message_zh": one.zh}))
        .collect();
    let more = unknown.len().saturating_sub(MOST_SPELT);
    let spelt = || unknown.iter().take(MOST_SPELT);
    let mut en: Vec<&str> = spelt().map(|one| &*one.en).collect();
    let mut zh: Vec<&str> = spelt().map(|one| &*one.zh).collect();
    let (more_en, more_zh) = (format!("and {more} more"), format!("另有 {more} 个"));
    if more > 0 {
        en.push(&more_en);
        zh.push(&more_zh);
    }
    Err(Problem::unprocessable("unknown_names", en.join("; "), rows.into()).in_chinese(zh.join("；")))
}

fn unknown(views: &Views, scope: &Scope, names: &Names<'_>) -> Vec<Unknown> {
    let register = views.register.read().expect(POISON);
    let division = names.division.filter(|division| !is_there(&register, division));
    let division = division.map(|division| Unknown {
        at: "division".to_owned(),
        code: "unknown_division",
        zh: format!("没有行政区划 {division}"),
        en: format!("{division} is a division of no list and of no entity, and no device lies in it"),
    });
    let is_seen = |device: &DeviceId| {
        register.view.devices.contains_key(device) && register.sees(scope, device.as_str())
    };
    let devices = names.devices.iter().enumerate();
    let devices = devices.filter(|(_, device)| !is_seen(device));
    let devices = devices.map(|(i, device)| Unknown {
        at: format!("devices[{i}]"),
        code: "unknown_device",
        zh: format!("没有设备 {device}"),
        en: format!("no device is called `{device}`"),
    });
    let files = views.rules.read().expect(POISON);
    let rules = files.values().flat_map(|file| file.set.rules());
    let seen: HashSet<&RuleId> = rules
        .filter(|rule| shows(&register, scope, rule))
        .map(|rule| &rule.id)
        .collect();
    let rules = names.rules.iter().enumerate();
    let rules = rules.filter(|(_, rule)| !seen.contains(rule));
    let rules = rules.map(|(i, rule)| Unknown {
        at: format!("rules[{i}]"),
        code: "unknown_rule",
        zh: format!("没有规则 {rule}"),
        en: format!("no rule is called `{rule}`"),
    });
    division.into_iter().chain(devices).chain(rules).collect()
}

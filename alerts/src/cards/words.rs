//! Headlines of cards, in both languages.

use onemap_model::DeviceId;
use onemap_rules::Texts;

use super::{Card, CardKind, Medium, Site, Surroundings};
use crate::alert::{Alert, Condition};

/// Name of a device in both languages; its id when it has none.
fn name(device: &DeviceId, site: Option<&Site>) -> (String, String) {
    let or = |text: &str, other: &str| match text.is_empty() {
        true => other.to_owned(),
        false => text.to_owned(),
    };
    let zh = or(site.map_or("", |site| &site.name), device.as_str());
    let en = or(site.map_or("", |site| &site.name_en), &zh);
    (zh, en)
}

pub(super) fn gateway(gateway: &DeviceId, site: Option<&Site>, n_behind: usize) -> Texts {
    let (zh, en) = name(gateway, site);
    match n_behind {
        0 => Texts {
            zh: format!("网关 {zh} 失联"),
            en: format!("Gateway {en} is dark"),
        },
        1 => Texts {
            zh: format!("网关 {zh} 失联，其下 1 台设备状态不明"),
            en: format!("Gateway {en} is dark, nothing is known of 1 device behind it"),
        },
        n => Texts {
            zh: format!("网关 {zh} 失联，其下 {n} 台设备状态不明"),
            en: format!("Gateway {en} is dark, nothing is known of {n} devices behind it"),
        },
    }
}

/// Several devices that a network joins; its device that leads is called `zh` and `en`.
fn on_network(card: &Card, network: &Medium, (zh, en): (&str, &str), rule: &Texts) -> Texts {
    let (cause, n, devices) = (&card.cause.name, card.counts.alerts, card.counts.devices);
    Texts {
        zh: format!(
            "{}：{zh}等 {devices} 台设备在同一{}，{n} 条告警，最重为{}",
            cause.zh, network.name.zh, rule.zh
        ),
        en: format!(
            "{}: {n} alarms of {devices} devices on the same {} as {en}, the worst is {}",
            cause.en, network.name.en, rule.en
        ),
    }
}

pub(super) fn incident(lead: &Alert, known: &Surroundings, card: &Card) -> Texts {
    let device = &lead.series.device;
    let (zh, en) = name(device, known.sites.get(device));
    let (rule_zh, rule_en) = (&lead.rule_name.zh, &lead.rule_name.en);
    let (n, devices) = (card.counts.alerts, card.counts.devices);
    let mut words = match (card.kind, devices) {
        (CardKind::Series, _) | (_, 1) if n == 1 => Texts {
            zh: format!("{zh}：{rule_zh}"),
            en: format!("{en}: {rule_en}"),
        },
        (_, 1) => Texts {
            zh: format!("{zh}：{rule_zh}等 {n} 条告警"),
            en: format!("{en}: {rule_en}, {n} alarms"),
        },
        _ => match &card.network {
            Some(network) => on_network(card, network, (&zh, &en), &lead.rule_name),
            None => Texts {
                zh: format!(
                    "{}：{zh}一带 {devices} 台设备 {n} 条告警，最重为{rule_zh}",
                    card.cause.name.zh
                ),
                en: format!(
                    "{}: {n} alarms of {devices} devices around {en}, the worst is {rule_en}",
                    card.cause.name.en
                ),
            },
        },
    };
    if card.condition == Condition::Unknown {
        words.zh.push_str("（状态不明）");
        words.en.push_str(" (now unknown)");
    }
    if let Some(times) = card.chatter {
        words.zh.push_str(&format!("，一小时内反复触发 {times} 次"));
        words
            .en
            .push_str(&format!(", raised {times} times within an hour"));
    }
    words
}

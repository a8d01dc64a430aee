//! What a shift leaves to the next, as it is when it hands over.

use std::cmp::Reverse;

use onemap_alerts::warnings::WarningState;
use onemap_alerts::{Alert, Undertaking, looks_at};
use onemap_model::duty_log::{Handed, HandedAlert, HandedAside, HandedWarning, MAX_HANDED, Until};
use onemap_model::{Desk, DeskId, Scope};

use crate::access::sees_feeds;
use crate::views::Views;

const POISON: &str = "no holder of this lock panics";

/// Everything that is open at a desk.
pub(super) fn list(views: &Views, scope: &Scope, id: &DeskId, desk: &Desk) -> Handed {
    let mut handed = alerts(views, id, desk);
    handed.warnings = warnings(views, scope, desk);
    handed.set_aside = sees_feeds(scope).then(|| set_aside(views));
    handed
}

fn alerts(views: &Views, id: &DeskId, desk: &Desk) -> Handed {
    let register = views.register.read().expect(POISON);
    let board = views.board.read().expect(POISON);
    let is_own = |alert: &&Alert| {
        let belongs = register.recorded(alert.series.device.as_str(), alert.division.as_ref());
        // What was raised in a drill is nobody's to take over.
        alert.drill.is_none() && looks_at(desk, alert.severity, &alert.rule, belongs.division)
    };
    let paged = board.duty().paged(id, board.open_alerts());
    let mut open: Vec<&Alert> = board.open_alerts().filter(is_own).collect();
    open.sort_by_key(|alert| (Reverse(alert.severity), alert.raised_at, alert.id));
    let count = |is: &dyn Fn(&Alert) -> bool| open.iter().filter(|alert| is(alert)).count() as u32;
    let until = |by: &Option<Undertaking>| {
        by.as_ref().map(|by| Until {
            name: by.name.clone(),
            until: by.until,
        })
    };
    let shown = |alert: &&Alert| {
        let device = register.view.devices.get(&alert.series.device);
        HandedAlert {
            id: alert.id,
            rule: alert.rule.clone(),
            name_zh: alert.rule_name.zh.clone(),
            name_en: alert.rule_name.en.clone(),
            severity: alert.severity,
            device: alert.series.device.clone(),
            device_name: device.map_or_else(String::new, |device| device.name.to_string()),
            raised_at: alert.raised_at,
            acknowledged: until(&alert.acknowledged),
            shelved: until(&alert.shelved),
            paged: paged.contains(&alert.id),
        }
    };
    Handed {
        n_open: count(&|_| true),
        n_waiting: count(&|alert| alert.acknowledged.is_none() && alert.shelved.is_none()),
        n_shelved: count(&|alert| alert.shelved.is_some()),
        n_paged: count(&|alert| paged.contains(&alert.id)),
        alerts: open.iter().take(MAX_HANDED).map(shown).collect(),
        warnings: Vec::new(),
        set_aside: None,
    }
}

/// Warnings in force that are of what the desk looks at.
fn warnings(views: &Views, scope: &Scope, desk: &Desk) -> Vec<HandedWarning> {
    let now = views.now();
    let book = views.warnings.book.read().expect(POISON);
    let of_desk = book.newest_first().filter(|warning| {
        let belongs = warning.belongs();
        let lies_in = match (&desk.division, belongs.division) {
            (None, _) => true,
            (Some(own), Some(other)) => own.covers(other),
            (Some(_), None) => false,
        };
        lies_in && scope.covers(belongs) && warning.state(now) == WarningState::Issued
    });
    let shown = of_desk.filter_map(|warning| {
        let issued = warning.issued.last()?;
        Some(HandedWarning {
            id: warning.id,
            identifier: issued.identifier.clone(),
            event_zh: issued.content.zh.event.clone(),
            event_en: issued.content.en.event.clone(),
            expires: issued.expires,
        })
    });
    shown.collect()
}

fn set_aside(views: &Views) -> Vec<HandedAside> {
    let outboxes = views
        .outboxes
        .get()
        .into_iter()
        .flat_map(|outboxes| &outboxes.all);
    let counted = outboxes.map(|outbox| HandedAside {
        consumer: outbox.name.clone(),
        n: outbox.n_aside.load(std::sync::atomic::Ordering::Relaxed),
    });
    counted.filter(|aside| aside.n > 0).collect()
}

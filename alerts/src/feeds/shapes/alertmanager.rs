//! Alertmanager's `POST /api/v2/alerts`.
//!
//! Labels are what an alert is known by there, and severity is one of them: an alert whose severity changed is another one,
//! and those of its former severities end. All is said as it stands when it is sent, out of the alert's whole story, so that
//! what comes late opens nothing that has ended.

use std::collections::BTreeSet;

use onemap_model::{AlertId, DivisionCode, Edge, RuleId, SeriesKey, Severity, Transition};
use serde_json::json;

use super::{Batch, Made, Timestamp, Value};
use crate::feeds::item::{Change, News};
use crate::{Alert, Texts};

/// Path below the address of an Alertmanager.
const PATH: &str = "/api/v2/alerts";

/// What an alert is known by.
struct Known<'a> {
    id: AlertId,
    rule: &'a RuleId,
    series: &'a SeriesKey,
    division: Option<&'a DivisionCode>,
    raised_at: Timestamp,
}

pub(super) fn request(target: &str, batch: &Batch) -> Made {
    let mut done = BTreeSet::new();
    let mut posted = Vec::new();
    for item in batch.items() {
        let News::Change(change) = &item.news else {
            continue;
        };
        // Several edges of an alert are one state.
        if done.insert(change.transition.alert) {
            posted.extend(states(change));
        }
    }
    Made::json(path(target), &Value::Array(posted))
}

pub(super) fn reminder(target: &str, open: &[Alert]) -> Made {
    let posted = open.iter().map(|alert| {
        let known = Known {
            id: alert.id,
            rule: &alert.rule,
            series: &alert.series,
            division: alert.division.as_ref(),
            raised_at: alert.raised_at,
        };
        known.said(alert.severity, None, &alert.rule_name, &alert.message)
    });
    Made::json(path(target), &posted.collect())
}

fn path(target: &str) -> String {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mark = if query.is_empty() { "" } else { "?" };
    format!("{}{PATH}{mark}{query}", path.trim_end_matches('/'))
}

/// The alert under each severity that it had.
fn states(change: &Change) -> Vec<Value> {
    let own = std::slice::from_ref(&change.transition);
    let story = if change.story.is_empty() {
        own
    } else {
        &change.story
    };
    let (Some(first), Some(last)) = (story.first(), story.last()) else {
        return Vec::new();
    };
    let known = Known {
        id: first.alert,
        rule: &first.rule,
        series: &first.series,
        division: first.division.as_ref(),
        raised_at: first.at,
    };
    let message = Texts {
        zh: last.message_zh.clone(),
        en: last.message_en.clone(),
    };
    let ended = story.iter().find(|edge| is_end(edge)).map(|edge| edge.at);
    let mut severities: Vec<(Severity, Timestamp)> = Vec::new();
    for edge in story {
        if severities
            .last()
            .is_none_or(|(severity, _)| *severity != edge.severity)
        {
            severities.push((edge.severity, edge.at));
        }
    }
    // Each ends when the next begins. One that came back is the last of its kind.
    let mut said: Vec<(Severity, Option<Timestamp>)> = Vec::new();
    for (n, (severity, _)) in severities.iter().enumerate() {
        let until = severities.get(n + 1).map(|(_, at)| *at).or(ended);
        said.retain(|(other, _)| other != severity);
        said.push((*severity, until));
    }
    said.into_iter()
        .map(|(severity, until)| known.said(severity, until, &change.rule_name, &message))
        .collect()
}

fn is_end(transition: &Transition) -> bool {
    matches!(transition.edge, Edge::Cleared | Edge::Closed | Edge::Withdrawn)
}

impl Known<'_> {
    fn said(&self, severity: Severity, until: Option<Timestamp>, name: &Texts, message: &Texts) -> Value {
        let mut said = json!({
            "labels": {
                "alertname": self.rule, "severity": severity.name(),
                "device": self.series.device, "quantity": self.series.quantity,
                "channel": self.series.channel.to_string(),
                "division": self.division.map_or("", |division| division.as_str()),
                "onemap_rule": self.rule, "onemap_alert": self.id.to_string(),
            },
            "annotations": {
                "summary": name.en, "summary_zh": name.zh,
                "description": message.en, "description_zh": message.zh,
                "severity_zh": severity.zh(),
            },
            "startsAt": self.raised_at,
        });
        if let Some(until) = until {
            // It may not end before it began, and its times are ours.
            said["endsAt"] = json!(until.max(self.raised_at));
        }
        said
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{change, transition};
    use super::*;

    fn at(mut edge: Transition, severity: Severity, ms: i64) -> Transition {
        edge.severity = severity;
        edge.at = Timestamp::from_ms(ms);
        edge
    }

    #[test]
    fn an_alert_that_changed_its_severity_ends_under_the_former_one() {
        use Severity::{Major, Minor};
        let raised = at(transition(Edge::Raised), Minor, 1_000);
        let worsened = at(transition(Edge::Worsened), Major, 2_000);
        let eased = at(transition(Edge::Eased), Minor, 3_000);
        let cleared = at(transition(Edge::Cleared), Minor, 4_000);
        let said = |story: &[&Transition]| {
            let mut change = change(story[0].clone());
            change.story = story.iter().map(|edge| (*edge).clone()).collect();
            states(&change)
                .iter()
                .map(|said| {
                    let label = said["labels"]["severity"]
                        .as_str()
                        .expect("a severity")
                        .to_owned();
                    let ends = said
                        .get("endsAt")
                        .map(|at| Timestamp::parse(at.as_str().expect("a time")));
                    (label, ends.map(|at| at.expect("a time").ms()))
                })
                .collect::<Vec<_>>()
        };
        let minor = |end| ("minor".to_owned(), end);
        let major = |end| ("major".to_owned(), end);
        assert_eq!(said(&[&raised]), [minor(None)]);
        assert_eq!(said(&[&raised, &worsened]), [minor(Some(2_000)), major(None)]);
        assert_eq!(
            said(&[&raised, &worsened, &eased]),
            [major(Some(3_000)), minor(None)]
        );
        assert_eq!(
            said(&[&raised, &worsened, &eased, &cleared]),
            [major(Some(3_000)), minor(Some(4_000))]
        );
    }

    #[test]
    fn a_path_of_a_proxy_stays_before_that_of_the_api() {
        for (target, path) in [
            ("/", "/api/v2/alerts"),
            ("", "/api/v2/alerts"),
            ("/am/", "/am/api/v2/alerts"),
            ("/am?tenant=7", "/am/api/v2/alerts?tenant=7"),
        ] {
            assert_eq!(super::path(target), path);
        }
    }
}

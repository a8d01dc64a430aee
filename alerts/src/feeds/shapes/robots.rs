//! Robots of chat groups. They take twenty messages a minute, so whatever waits is one message: one alert whole, or the worst
//! of several and how many there are.

use std::fmt::Write as _;

use serde_json::json;

use super::words::{edge_zh, plain, within};
use super::{Batch, Made, Secret, Timestamp, Value, sign};
use crate::feeds::item::{Change, Item, News};

/// Bytes of a text: WeCom takes 4096.
const MOST_BYTES: usize = 3800;
/// Characters of a name and of a sentence.
const MOST_NAME: usize = 60;
const MOST_SENTENCE: usize = 300;

/// <https://open.dingtalk.com/document/orgapp/custom-robot-access>: `markdown`, signed in the query.
pub(super) fn dingtalk(target: &str, secret: Option<&Secret>, batch: &Batch, now: Timestamp) -> Made {
    // A line break of its layout language is two.
    let text = within(text(batch).replace('\n', "\n\n"), MOST_BYTES);
    let body = json!({"msgtype": "markdown", "markdown": {"title": title(batch), "text": text}});
    let target = match secret {
        None => target.to_owned(),
        Some(secret) => {
            let mark = if target.contains('?') { '&' } else { '?' };
            let sign = encoded(&sign::dingtalk(secret, now.ms()));
            format!("{target}{mark}timestamp={}&sign={sign}", now.ms())
        }
    };
    Made::json(target, &body)
}

/// <https://developer.work.weixin.qq.com/document/path/91770>: `markdown` of at most 4096 bytes.
pub(super) fn wecom(target: &str, batch: &Batch) -> Made {
    let body = json!({"msgtype": "markdown", "markdown": {"content": within(text(batch), MOST_BYTES)}});
    Made::json(target.to_owned(), &body)
}

/// <https://open.feishu.cn/document/client-docs/bot-v3/add-custom-bot>: `text`, signed in the body.
pub(super) fn feishu(target: &str, secret: Option<&Secret>, batch: &Batch, now: Timestamp) -> Made {
    let mut body = json!({"msg_type": "text", "content": {"text": within(text(batch), MOST_BYTES)}});
    if let Some(secret) = secret {
        let seconds = now.ms().div_euclid(1000);
        body["timestamp"] = Value::String(seconds.to_string());
        body["sign"] = Value::String(sign::feishu(secret, seconds));
    }
    Made::json(target.to_owned(), &body)
}

/// Base64 in a query.
fn encoded(base64: &str) -> String {
    base64.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D")
}

pub(super) fn title(batch: &Batch) -> String {
    match batch.items() {
        [only] if batch.len() == 1 => headline(only),
        _ => format!("告警 {} 条 / {} alert changes", batch.len(), batch.len()),
    }
}

pub(super) fn text(batch: &Batch) -> String {
    let mut text = String::new();
    if batch.len() > 1 {
        text.push_str(&counts(batch));
    }
    for item in batch.items() {
        spell(&mut text, item);
    }
    let n_unsaid = batch.len().saturating_sub(batch.items().len());
    if n_unsaid > 0 {
        let _ = writeln!(text, "另有 {n_unsaid} 条未列出 / {n_unsaid} more are not listed");
    }
    text.trim_end().to_owned()
}

fn counts(batch: &Batch) -> String {
    let mut zh = format!("告警变化 {} 条", batch.len());
    let mut en = format!("{} alert changes", batch.len());
    for (severity, n) in batch.begun() {
        let _ = write!(zh, "，{} {n}", severity.zh());
        let _ = write!(en, ", {n} {}", severity.name());
    }
    let (n_ended, n_other) = (batch.n_ended(), batch.n_other());
    if n_ended > 0 {
        let _ = write!(zh, "，结束 {n_ended}");
        let _ = write!(en, ", {n_ended} ended");
    }
    if n_other > 0 {
        let _ = write!(zh, "，其他 {n_other}");
        let _ = write!(en, ", {n_other} other");
    }
    format!("{zh}\n{en}\n")
}

fn headline(item: &Item) -> String {
    match &item.news {
        News::Gap(_) => "告警推送有缺失 / Alerts are missing here".to_owned(),
        News::Change(change) => format!(
            "【{}】{} {}（{}）",
            change.transition.severity.zh(),
            edge_zh(change.transition.edge),
            plain(&change.rule_name.zh, MOST_NAME),
            plain(&change.place.name, MOST_NAME),
        ),
    }
}

fn spell(text: &mut String, item: &Item) {
    let _ = writeln!(text, "{}", headline(item));
    match &item.news {
        News::Gap(gap) => {
            let (from, to) = (gap.from, gap.to);
            let _ = writeln!(
                text,
                "第 {from} 至 {to} 条已不可得 / Changes {from} to {to} are gone"
            );
        }
        News::Change(change) => spell_change(text, change),
    }
}

fn spell_change(text: &mut String, change: &Change) {
    let edge = &change.transition;
    let _ = writeln!(text, "{}", plain(&edge.message_zh, MOST_SENTENCE));
    let _ = writeln!(
        text,
        "{} {}: {}",
        edge.severity.name(),
        edge.edge.name(),
        plain(&edge.message_en, MOST_SENTENCE)
    );
    let id = edge.alert.to_string();
    let division = edge.division.as_ref().map_or("", |division| division.as_str());
    let _ = writeln!(
        text,
        "{} {} {division} {}",
        edge.at,
        plain(edge.series.device.as_str(), MOST_NAME),
        &id[..8]
    );
}

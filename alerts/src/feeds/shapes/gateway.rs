//! Any HTTP gateway of short messages or calls: address, headers and body are templates with named fields only.
//!
//! `{{field}}` is replaced, and nothing else means anything. What stands for a field is written as the place wants it: in the
//! address percent-encoded, in a body by its content type (JSON, form, XML, else plain). What others wrote can end no string
//! and begin no other field.

use super::words::edge_zh;
use super::{Batch, Made, Secret};
use crate::feeds::item::{Item, News};

/// The fields by name.
const FIELDS: &[&str] = &[
    "id",
    "seq",
    "alert",
    "edge",
    "edge_zh",
    "severity",
    "severity_zh",
    "rule",
    "rule_name_zh",
    "rule_name_en",
    "device",
    "device_name",
    "division",
    "quantity",
    "value",
    "at",
    "message_zh",
    "message_en",
    "secret",
];
/// Characters of a field.
const MOST: usize = 500;

/// How a gateway is spoken to.
#[derive(Clone, Debug)]
pub struct Gateway {
    method: &'static str,
    headers: Vec<(String, String)>,
    body: String,
    written: Writing,
    secret: Option<Secret>,
}

/// A template that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// It names a field that there is not.
    #[error("there is no field `{0}`")]
    Field(String),
    /// `{{` without its `}}`.
    #[error("a `{{{{` has no `}}}}` behind it")]
    Open,
    /// A method that carries no message.
    #[error("`{0}` is none of GET, POST and PUT")]
    Method(String),
    /// It names the secret, and there is none.
    #[error("`{{{{secret}}}}` is named without a secret_file")]
    Secret,
}

/// How a field is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writing {
    /// As it is, on one line.
    Plain,
    /// In a string of JSON.
    Json,
    /// Percent-encoded.
    Form,
    /// In text or an attribute of XML.
    Xml,
}

impl Gateway {
    /// Checks templates; `target` is path and query of the address.
    ///
    /// # Errors
    /// [`TemplateError`].
    pub fn new(
        method: &str,
        target: &str,
        headers: Vec<(String, String)>,
        body: &str,
        secret: Option<Secret>,
    ) -> Result<Self, TemplateError> {
        let method = ["GET", "POST", "PUT"]
            .into_iter()
            .find(|known| *known == method)
            .ok_or_else(|| TemplateError::Method(method.to_owned()))?;
        let values = headers.iter().map(|(_, value)| value.as_str());
        for template in [target, body].into_iter().chain(values) {
            check(template, secret.is_some())?;
        }
        let kind = headers
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case("content-type"))
            .map_or("", |(_, value)| value.as_str())
            .to_ascii_lowercase();
        let written = match kind {
            kind if kind.contains("json") => Writing::Json,
            kind if kind.contains("x-www-form-urlencoded") => Writing::Form,
            kind if kind.contains("xml") => Writing::Xml,
            _ => Writing::Plain,
        };
        Ok(Self {
            method,
            headers,
            body: body.to_owned(),
            written,
            secret,
        })
    }

    pub(super) fn request(&self, target: &str, batch: &Batch) -> Made {
        let fill = |template: &str, writing| match batch.items().first() {
            Some(item) => self.fill(template, writing, item),
            None => template.to_owned(),
        };
        let header = |(name, value): &(String, String)| (name.clone(), fill(value, Writing::Form));
        // A secret is no field of others and stands as it is.
        let headers = self.headers.iter().map(header).collect();
        Made {
            method: self.method,
            target: fill(target, Writing::Form),
            headers,
            body: fill(&self.body, self.written).into_bytes(),
        }
    }

    fn fill(&self, template: &str, writing: Writing, item: &Item) -> String {
        let mut filled = String::with_capacity(template.len() + 256);
        let mut rest = template;
        while let Some((before, after)) = rest.split_once("{{") {
            let Some((name, behind)) = after.split_once("}}") else {
                break;
            };
            filled.push_str(before);
            match (name.trim(), &self.secret) {
                ("secret", Some(secret)) => filled.push_str(secret.expose()),
                (name, _) => write(&mut filled, &field(item, name), writing),
            }
            rest = behind;
        }
        filled.push_str(rest);
        filled
    }
}

fn check(template: &str, has_secret: bool) -> Result<(), TemplateError> {
    let mut rest = template;
    while let Some((_, after)) = rest.split_once("{{") {
        let (name, behind) = after.split_once("}}").ok_or(TemplateError::Open)?;
        let name = name.trim();
        if !FIELDS.contains(&name) {
            return Err(TemplateError::Field(name.to_owned()));
        }
        if name == "secret" && !has_secret {
            return Err(TemplateError::Secret);
        }
        rest = behind;
    }
    Ok(())
}

fn field(item: &Item, name: &str) -> String {
    let change = match &item.news {
        News::Change(change) => change,
        News::Gap(gap) => {
            let (from, to) = (gap.from, gap.to);
            return match name {
                "id" => item.id.to_string(),
                "seq" => item.seq.to_string(),
                "edge" => "gap".to_owned(),
                "edge_zh" => "推送缺失".to_owned(),
                "at" => gap.at.to_string(),
                "message_zh" => format!("第 {from} 至 {to} 条告警变化已不可得"),
                "message_en" => format!("Alert changes {from} to {to} are gone"),
                _ => String::new(),
            };
        }
    };
    let edge = &change.transition;
    match name {
        "id" => item.id.to_string(),
        "seq" => item.seq.to_string(),
        "alert" => edge.alert.to_string(),
        "edge" => edge.edge.name().to_owned(),
        "edge_zh" => edge_zh(edge.edge).to_owned(),
        "severity" => edge.severity.name().to_owned(),
        "severity_zh" => edge.severity.zh().to_owned(),
        "rule" => edge.rule.as_str().to_owned(),
        "rule_name_zh" => change.rule_name.zh.clone(),
        "rule_name_en" => change.rule_name.en.clone(),
        "device" => edge.series.device.as_str().to_owned(),
        "device_name" => change.place.name.clone(),
        "division" => edge
            .division
            .as_ref()
            .map_or_else(String::new, |d| d.as_str().to_owned()),
        "quantity" => edge.series.quantity.to_string(),
        "value" => edge
            .inputs
            .last()
            .map_or_else(String::new, |input| input.value.to_string()),
        "at" => edge.at.to_string(),
        "message_zh" => edge.message_zh.clone(),
        "message_en" => edge.message_en.clone(),
        _ => String::new(),
    }
}

fn write(out: &mut String, text: &str, writing: Writing) {
    for c in text.chars().take(MOST) {
        let c = if c.is_control() { ' ' } else { c };
        match (writing, c) {
            (Writing::Json, '"' | '\\') => out.extend(['\\', c]),
            (Writing::Xml, '<') => out.push_str("&lt;"),
            (Writing::Xml, '>') => out.push_str("&gt;"),
            (Writing::Xml, '&') => out.push_str("&amp;"),
            (Writing::Xml, '"') => out.push_str("&quot;"),
            (Writing::Xml, '\'') => out.push_str("&apos;"),
            (Writing::Form, c) if !(c.is_ascii_alphanumeric() || "-_.~".contains(c)) => {
                let mut bytes = [0; 4];
                for byte in c.encode_utf8(&mut bytes).bytes() {
                    out.push_str(&format!("%{byte:02X}"));
                }
            }
            (_, c) => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::item;
    use super::*;
    use onemap_model::Edge;

    fn made(headers: &[(&str, &str)], target: &str, body: &str, message: &str) -> Made {
        let mut item = item(7, Edge::Raised);
        if let News::Change(change) = &mut item.news {
            change.transition.message_zh = message.to_owned();
        }
        let headers = headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let secret = Some(Secret::new("k/1"));
        let gateway = Gateway::new("POST", target, headers, body, secret).expect("a template");
        let mut batch = Batch::new(1);
        batch.push(item);
        gateway.request(target, &batch)
    }

    #[test]
    fn a_field_is_written_as_its_place_wants_it() {
        let hostile = "\"},{\"to\":\"1\" <b>&{{secret}}\n水";
        let body = "{\"to\":\"139\",\"text\":{\"zh\":\"{{message_zh}}\"},\"key\":\"{{secret}}\"}";
        let json = made(&[("Content-Type", "application/json")], "/sms", body, hostile);
        let read: serde_json::Value = serde_json::from_slice(&json.body).expect("JSON");
        assert_eq!(read["text"]["zh"], "\"},{\"to\":\"1\" <b>&{{secret}} 水");
        assert_eq!((&read["to"], &read["key"]), (&"139".into(), &"k/1".into()));
        let form = made(
            &[("content-type", "application/x-www-form-urlencoded")],
            "/sms?m={{ message_zh }}&s={{seq}}",
            "m={{message_zh}}",
            "水&x=1",
        );
        assert_eq!(form.body, b"m=%E6%B0%B4%26x%3D1");
        assert_eq!(form.target, "/sms?m=%E6%B0%B4%26x%3D1&s=7");
        let xml = made(
            &[("content-type", "text/xml")],
            "/",
            "<m>{{message_zh}}</m>",
            "a<b & 'c'",
        );
        assert_eq!(xml.body, b"<m>a&lt;b &amp; &apos;c&apos;</m>");
        let plain = made(&[("x-key", "{{secret}}")], "/", "{{severity_zh}} {x} }}", "");
        assert_eq!(plain.body, "重要 {x} }}".as_bytes());
        assert_eq!(plain.headers[0].1, "k/1");
    }

    #[test]
    fn a_template_that_cannot_be_filled_is_refused() {
        let new = |method, body, secret| Gateway::new(method, "/", Vec::new(), body, secret).map(drop);
        let field = TemplateError::Field("device_token".to_owned());
        assert_eq!(new("POST", "{{device_token}}", None), Err(field));
        assert_eq!(new("POST", "{{seq", None), Err(TemplateError::Open));
        assert_eq!(new("POST", "{{secret}}", None), Err(TemplateError::Secret));
        let method = TemplateError::Method("DELETE".to_owned());
        assert_eq!(new("DELETE", "", None), Err(method));
        assert_eq!(new("GET", "{ {seq} }", None), Ok(()));
    }
}

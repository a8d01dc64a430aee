//! A message as XML of CAP 1.2, in the schema's order: the same message is always the same bytes.

use std::fmt::Display;

use crate::NAMESPACE;
use crate::error::CapError;
use crate::group;
use crate::message::{Alert, Area, Info, Named, Reference, Resource};

/// Writes a message as a document of CAP 1.2 in UTF-8.
///
/// # Errors
/// What [`Alert::check`] says, else the first of [`Alert::remarks`].
pub fn write(alert: &Alert) -> Result<String, CapError> {
    alert.check()?;
    if let Some(remark) = alert.remarks().into_iter().next() {
        return Err(remark);
    }
    let mut out = Xml::document();
    out.within("alert", &[("xmlns", NAMESPACE)], |out| alert_elements(out, alert));
    Ok(out.text)
}

fn alert_elements(out: &mut Xml, alert: &Alert) {
    out.leaf("identifier", &alert.identifier);
    out.leaf("sender", &alert.sender);
    out.leaf("sent", alert.sent);
    out.leaf("status", alert.status);
    out.leaf("msgType", alert.msg_type);
    out.leaves("source", &alert.source);
    out.leaf("scope", alert.scope);
    out.leaves("restriction", &alert.restriction);
    out.leaves("addresses", joined(&alert.addresses));
    out.leaves("code", &alert.codes);
    out.leaves("note", &alert.note);
    let one = |r: &Reference| format!("{},{},{}", r.sender, r.identifier, r.sent);
    let references = alert.references.iter().map(one).collect::<Vec<_>>().join(" ");
    out.leaves("references", Some(references).filter(|text| !text.is_empty()));
    out.leaves("incidents", joined(&alert.incidents));
    for info in &alert.infos {
        out.within("info", &[], |out| info_elements(out, info));
    }
}

fn info_elements(out: &mut Xml, info: &Info) {
    out.leaves("language", &info.language);
    out.leaves("category", &info.categories);
    out.leaf("event", &info.event);
    out.leaves("responseType", &info.response_types);
    out.leaf("urgency", info.urgency);
    out.leaf("severity", info.severity);
    out.leaf("certainty", info.certainty);
    out.leaves("audience", &info.audience);
    named(out, "eventCode", &info.event_codes);
    out.leaves("effective", info.effective);
    out.leaves("onset", info.onset);
    out.leaves("expires", info.expires);
    out.leaves("senderName", &info.sender_name);
    out.leaves("headline", &info.headline);
    out.leaves("description", &info.description);
    out.leaves("instruction", &info.instruction);
    out.leaves("web", &info.web);
    out.leaves("contact", &info.contact);
    named(out, "parameter", &info.parameters);
    for resource in &info.resources {
        out.within("resource", &[], |out| resource_elements(out, resource));
    }
    for area in &info.areas {
        out.within("area", &[], |out| area_elements(out, area));
    }
}

fn resource_elements(out: &mut Xml, resource: &Resource) {
    out.leaf("resourceDesc", &resource.description);
    out.leaves("mimeType", &resource.mime_type);
    out.leaves("size", resource.size);
    out.leaves("uri", &resource.uri);
    out.leaves("derefUri", &resource.deref_uri);
    out.leaves("digest", &resource.digest);
}

fn area_elements(out: &mut Xml, area: &Area) {
    out.leaf("areaDesc", &area.description);
    out.leaves("polygon", &area.polygons);
    out.leaves("circle", &area.circles);
    named(out, "geocode", &area.geocodes);
    out.leaves("altitude", area.altitude);
    out.leaves("ceiling", area.ceiling);
}

fn named(out: &mut Xml, element: &str, all: &[Named]) {
    for Named { name, value } in all {
        out.within(element, &[], |out| {
            out.leaf("valueName", name);
            out.leaf("value", value);
        });
    }
}

fn joined(names: &[String]) -> Option<String> {
    (!names.is_empty()).then(|| group::join(names))
}

/// A document while it is written: two blanks a level, every element closed.
pub(crate) struct Xml {
    pub(crate) text: String,
    depth: usize,
}

impl Xml {
    pub(crate) fn document() -> Self {
        Self {
            text: "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n".to_owned(),
            depth: 0,
        }
    }
    pub(crate) fn within(&mut self, name: &str, attributes: &[(&str, &str)], inside: impl FnOnce(&mut Self)) {
        self.open(name, attributes);
        self.text.push_str(">\n");
        self.depth += 1;
        inside(self);
        self.depth -= 1;
        self.indent();
        self.text.push_str(&format!("</{name}>\n"));
    }
    pub(crate) fn leaf(&mut self, name: &str, value: impl Display) {
        self.open(name, &[]);
        self.text.push('>');
        escape(&mut self.text, &value.to_string());
        self.text.push_str(&format!("</{name}>\n"));
    }
    pub(crate) fn leaves<T: Display>(&mut self, name: &str, values: impl IntoIterator<Item = T>) {
        values.into_iter().for_each(|value| self.leaf(name, value));
    }
    pub(crate) fn empty(&mut self, name: &str, attributes: &[(&str, &str)]) {
        self.open(name, attributes);
        self.text.push_str("/>\n");
    }
    fn open(&mut self, name: &str, attributes: &[(&str, &str)]) {
        self.indent();
        self.text.push('<');
        self.text.push_str(name);
        for (name, value) in attributes {
            self.text.push_str(&format!(" {name}=\""));
            escape_attribute(&mut self.text, value);
            self.text.push('"');
        }
    }
    fn indent(&mut self) {
        (0..self.depth).for_each(|_| self.text.push_str("  "));
    }
}

/// A carriage return is written by its number: readers make line feeds of others.
fn escape(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '\r' => out.push_str("&#13;"),
            c => out.push(c),
        }
    }
}

/// For attributes in double quotes, of whose blanks readers make plain ones.
fn escape_attribute(out: &mut String, text: &str) {
    let mut escaped = String::new();
    escape(&mut escaped, text);
    out.push_str(
        &escaped
            .replace('"', "&quot;")
            .replace('\n', "&#10;")
            .replace('\t', "&#9;"),
    );
}

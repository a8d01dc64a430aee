//! What the elements of one message have to be to one another, beyond what its types hold.

use crate::error::{CapError, Fault, start};
use crate::message::{Alert, Area, Info, Named, Reference, Resource};
use crate::tree::is_xml;
use crate::words::{MsgType, Scope};

/// How many of what may repeat one parent has.
pub(crate) const N_INFOS: usize = 256;
pub(crate) const N_AREAS: usize = 4096;
pub(crate) const N_OTHERS: usize = 4096;
/// A headline is shorter.
const HEADLINE_CHARS: usize = 160;

impl Alert {
    /// Whether this is a message of the standard. What [`crate::read`] gives is one.
    ///
    /// # Errors
    /// The first fault in the order of the elements: an empty text where one is needed; characters that identifier,
    /// sender or XML do not allow; restriction and addresses that the scope needs; a ceiling without altitude; too
    /// many of something.
    pub fn check(&self) -> Result<(), CapError> {
        named("alert/identifier", &self.identifier)?;
        named("alert/sender", &self.sender)?;
        optional("alert/source", &self.source)?;
        match self.scope {
            Scope::Restricted if is_blank(&self.restriction) => {
                return Err(CapError::at("alert/scope", Fault::ScopeRestriction));
            }
            Scope::Private if self.addresses.is_empty() => {
                return Err(CapError::at("alert/scope", Fault::ScopeAddresses));
            }
            _ => {}
        }
        optional("alert/restriction", &self.restriction)?;
        grouped("alert/addresses", &self.addresses)?;
        for (i, code) in self.codes.iter().enumerate() {
            text(&nth("alert", "code", i), code)?;
        }
        optional("alert/note", &self.note)?;
        for Reference {
            sender, identifier, ..
        } in &self.references
        {
            named("alert/references", sender)?;
            named("alert/references", identifier)?;
        }
        grouped("alert/incidents", &self.incidents)?;
        few("alert", "codes", self.codes.len(), N_OTHERS)?;
        few("alert", "references", self.references.len(), N_OTHERS)?;
        few("alert", "infos", self.infos.len(), N_INFOS)?;
        self.infos
            .iter()
            .enumerate()
            .try_for_each(|(i, info)| check_info(&nth("alert", "info", i), info))
    }

    /// What is against the standard's advice, in the order of the elements. Such a message of others is read all the
    /// same; none like it is written.
    pub fn remarks(&self) -> Vec<CapError> {
        let mut said = Vec::new();
        let mut say = |path: &str, fault| said.push(CapError::at(path, fault));
        if self.restriction.is_some() && self.scope != Scope::Restricted {
            say("alert/restriction", Fault::RestrictionUnused);
        }
        if self.msg_type == MsgType::Error && is_blank(&self.note) {
            say("alert/msgType", Fault::ErrorWithoutNote);
        }
        if self.msg_type != MsgType::Alert && self.references.is_empty() {
            say("alert/msgType", Fault::WithoutReferences);
        }
        for (i, info) in self.infos.iter().enumerate() {
            let path = nth("alert", "info", i);
            let earlier = self.infos.get(..i).unwrap_or_default();
            said.extend(
                beside(earlier, info).map(|(name, fault)| CapError::at(format!("{path}/{name}"), fault)),
            );
            remark_info(self, &path, info, &mut said);
        }
        said
    }
}

/// What differs from the infos before, all of which are of one event.
fn beside(earlier: &[Info], info: &Info) -> Option<(&'static str, Fault)> {
    let first = earlier.first()?;
    if (&first.categories, &first.event_codes) != (&info.categories, &info.event_codes) {
        return Some(("category[1]", Fault::CategoryDiffers));
    }
    let speaks = |other: &&Info| other.language_or_default() == info.language_or_default();
    let same = earlier.iter().find(speaks)?;
    (same.event != info.event).then_some(("event", Fault::EventDiffers))
}

fn check_info(path: &str, info: &Info) -> Result<(), CapError> {
    let at = |name: &str| format!("{path}/{name}");
    optional(&at("language"), &info.language)?;
    if info.categories.is_empty() {
        return Err(CapError::at(path, Fault::Missing { name: "category" }));
    }
    filled(&at("event"), &info.event)?;
    optional(&at("audience"), &info.audience)?;
    all(path, "eventCode", &info.event_codes)?;
    for (name, value) in [
        ("senderName", &info.sender_name),
        ("headline", &info.headline),
        ("description", &info.description),
        ("instruction", &info.instruction),
        ("web", &info.web),
        ("contact", &info.contact),
    ] {
        optional(&at(name), value)?;
    }
    all(path, "parameter", &info.parameters)?;
    few(path, "categories", info.categories.len(), N_OTHERS)?;
    few(path, "response types", info.response_types.len(), N_OTHERS)?;
    few(path, "resources", info.resources.len(), N_OTHERS)?;
    few(path, "areas", info.areas.len(), N_AREAS)?;
    for (i, resource) in info.resources.iter().enumerate() {
        check_resource(&nth(path, "resource", i), resource)?;
    }
    info.areas
        .iter()
        .enumerate()
        .try_for_each(|(i, area)| check_area(&nth(path, "area", i), area))
}

fn check_resource(path: &str, resource: &Resource) -> Result<(), CapError> {
    let at = |name: &str| format!("{path}/{name}");
    filled(&at("resourceDesc"), &resource.description)?;
    if let Some(kind) = &resource.mime_type {
        filled(&at("mimeType"), kind)?;
    }
    optional(&at("uri"), &resource.uri)?;
    optional(&at("derefUri"), &resource.deref_uri)?;
    optional(&at("digest"), &resource.digest)
}

fn check_area(path: &str, area: &Area) -> Result<(), CapError> {
    let at = |name: &str| format!("{path}/{name}");
    filled(&at("areaDesc"), &area.description)?;
    all(path, "geocode", &area.geocodes)?;
    few(path, "polygons", area.polygons.len(), N_OTHERS)?;
    few(path, "circles", area.circles.len(), N_OTHERS)?;
    match (area.altitude, area.ceiling) {
        (None, Some(_)) => Err(CapError::at(at("ceiling"), Fault::Ceiling)),
        (Some(low), Some(high)) if low > high => {
            Err(CapError::at(at("altitude"), Fault::AltitudeAboveCeiling))
        }
        _ => Ok(()),
    }
}

fn remark_info(alert: &Alert, path: &str, info: &Info, said: &mut Vec<CapError>) {
    let mut say = |name: &str, fault| said.push(CapError::at(format!("{path}/{name}"), fault));
    if let Some(language) = info.language.as_deref().filter(|language| !is_language(language)) {
        say(
            "language",
            Fault::Language {
                found: start(language),
            },
        );
    }
    let from = info.effective.unwrap_or(alert.sent);
    if info.expires.is_some_and(|end| end.at() < from.at()) {
        say("expires", Fault::ExpiresBefore);
    }
    let n = info
        .headline
        .as_deref()
        .map_or(0, |headline| headline.chars().count());
    if n >= HEADLINE_CHARS {
        say("headline", Fault::Headline { n });
    }
    if let Some(web) = info.web.as_deref().filter(|web| !is_absolute_uri(web)) {
        say("web", Fault::Uri { found: start(web) });
    }
    for (i, resource) in info.resources.iter().enumerate() {
        remark_resource(&nth(path, "resource", i), resource, said);
    }
}

fn remark_resource(path: &str, resource: &Resource, said: &mut Vec<CapError>) {
    let mut say = |name: &str, fault| said.push(CapError::at(format!("{path}/{name}"), fault));
    match resource.mime_type.as_deref() {
        None => say("mimeType", Fault::Missing { name: "mimeType" }),
        Some(kind) if !is_media_type(kind) => say("mimeType", Fault::MimeType { found: start(kind) }),
        Some(_) => {}
    }
    if let Some(uri) = resource.uri.as_deref().filter(|uri| !is_uri(uri)) {
        say("uri", Fault::Uri { found: start(uri) });
    }
    if resource.deref_uri.as_deref().is_some_and(|data| !is_base64(data)) {
        say("derefUri", Fault::Base64);
    }
    if let Some(digest) = resource.digest.as_deref().filter(|digest| !is_sha1(digest)) {
        say("digest", Fault::Digest { found: start(digest) });
    }
}

/// The path of the i-th (from 0) of what may repeat.
pub(crate) fn nth(parent: &str, name: &str, i: usize) -> String {
    format!("{parent}/{name}[{}]", i + 1)
}

fn few(path: &str, what: &'static str, n: usize, limit: usize) -> Result<(), CapError> {
    if n > limit {
        Err(CapError::at(path, Fault::TooMany { what, limit }))
    } else {
        Ok(())
    }
}

fn all(path: &str, name: &'static str, pairs: &[Named]) -> Result<(), CapError> {
    few(path, name, pairs.len(), N_OTHERS)?;
    pairs.iter().enumerate().try_for_each(|(i, pair)| {
        let path = nth(path, name, i);
        filled(&format!("{path}/valueName"), &pair.name)?;
        text(&format!("{path}/value"), &pair.value)
    })
}

fn named(path: &str, value: &str) -> Result<(), CapError> {
    filled(path, value)?;
    match value
        .chars()
        .find(|c| c.is_whitespace() || matches!(c, ',' | '<' | '&'))
    {
        Some(found) => Err(CapError::at(path, Fault::Forbidden { found })),
        None => Ok(()),
    }
}

fn grouped(path: &str, names: &[String]) -> Result<(), CapError> {
    few(path, "names", names.len(), N_OTHERS)?;
    names.iter().try_for_each(|name| match name.contains('"') {
        true => Err(CapError::at(path, Fault::Quote)),
        false => text(path, name),
    })
}

fn filled(path: &str, value: &str) -> Result<(), CapError> {
    if value.trim().is_empty() {
        return Err(CapError::at(path, Fault::Empty));
    }
    text(path, value)
}

fn optional(path: &str, value: &Option<String>) -> Result<(), CapError> {
    value.as_deref().map_or(Ok(()), |value| text(path, value))
}

fn text(path: &str, value: &str) -> Result<(), CapError> {
    match value.chars().find(|&c| !is_xml(c)) {
        Some(c) => Err(CapError::at(path, Fault::Character { found: c.into() })),
        None => Ok(()),
    }
}

fn is_blank(value: &Option<String>) -> bool {
    value.as_deref().unwrap_or_default().trim().is_empty()
}

/// xs:language.
fn is_language(text: &str) -> bool {
    text.split('-').enumerate().all(|(i, part)| {
        let is_part = |b: u8| b.is_ascii_alphabetic() || (i > 0 && b.is_ascii_digit());
        (1..=8).contains(&part.len()) && part.bytes().all(is_part)
    })
}

/// Characters that RFC 3986 has, and percent signs with two digits.
fn is_uri(text: &str) -> bool {
    let bytes = text.as_bytes();
    let is_escape = |i: usize| {
        bytes
            .get(i + 1..i + 3)
            .is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit))
    };
    !bytes.is_empty()
        && bytes.iter().enumerate().all(|(i, b)| match b {
            b'%' => is_escape(i),
            b => b.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=".contains(b),
        })
        && bytes.iter().filter(|b| **b == b'#').count() <= 1
}

pub(crate) fn is_absolute_uri(text: &str) -> bool {
    let is_scheme = |scheme: &str| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
    };
    is_uri(text)
        && text
            .split_once(':')
            .is_some_and(|(scheme, rest)| is_scheme(scheme) && !rest.is_empty())
}

fn is_media_type(text: &str) -> bool {
    let is_token = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|b| b.is_ascii_graphic() && !b"/;,\"()<>@".contains(&b))
    };
    let kind = text.split(';').next().unwrap_or_default().trim_end();
    kind.split_once('/')
        .is_some_and(|(kind, of)| is_token(kind) && is_token(of))
}

fn is_base64(text: &str) -> bool {
    let data: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    let n_padding = data.iter().rev().take_while(|b| **b == b'=').count();
    let is_digit = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/');
    !data.is_empty()
        && data.len().is_multiple_of(4)
        && n_padding <= 2
        && data.iter().rev().skip(n_padding).all(is_digit)
}

fn is_sha1(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_look_like_something() {
        type Row<'a> = (fn(&str) -> bool, &'a [&'a str], &'a [&'a str]);
        let table: [Row<'_>; 6] = [
            (
                is_language,
                &["zh-CN", "en", "zh-Hans-CN", "en-029"],
                &["", "zh_CN", "zh-", "123", "abcdefghi"],
            ),
            (
                is_uri,
                &["a.png", "https://x.cn/a?b=c%20d#e"],
                &["", "a b", "a%2", "a%zz", "中", "a#b#c", "<"],
            ),
            (
                is_absolute_uri,
                &["https://x.cn/", "urn:a", "mailto:a@b.cn"],
                &["a.png", "//x.cn", ":a", "1a:b", "x:"],
            ),
            (
                is_media_type,
                &["image/png", "text/html; charset=utf-8"],
                &["", "png", "image/", "/png", "a/b/c", "a b/c"],
            ),
            (
                is_base64,
                &["QUJD", "QUI=", "QQ==", "QU\nJD"],
                &["", "QUJ", "Q===", "QU=D", "Q-JD"],
            ),
            (
                is_sha1,
                &["da39a3ee5e6b4b0d3255bfef95601890afd80709"],
                &["", "da39", "zz39a3ee5e6b4b0d3255bfef95601890afd80709"],
            ),
        ];
        for (is, good, bad) in table {
            good.iter().for_each(|text| assert!(is(text), "{text}"));
            bad.iter().for_each(|text| assert!(!is(text), "{text}"));
        }
    }
}

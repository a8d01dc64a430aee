//! The Atom feed of our messages.

use std::cmp::Reverse;

use onemap_model::Timestamp;

use super::ATOM;
use crate::check::is_absolute_uri;
use crate::error::{CapError, Fault, start};
use crate::message::{Alert, Info};
use crate::tree::is_xml;
use crate::write::Xml;
use crate::{FEED_MEDIA_TYPE, MEDIA_TYPE, NAMESPACE};

/// A feed of ours. Only messages that hold belong in it ([`Alert::is_active`], not replaced): the caller knows which.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// An absolute URI that stays.
    pub id: &'a str,
    /// For people.
    pub title: &'a str,
    /// Who publishes it.
    pub author: &'a str,
    /// Where it is, absolute.
    pub self_href: &'a str,
    /// When something in it was last changed, also taken out.
    pub updated: Timestamp,
    /// The language whose info an entry shows, like zh-CN; the first info of a message without it.
    pub language: &'a str,
}

/// A message of the feed.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// An absolute URI that stays, one a message.
    pub id: &'a str,
    /// Where its document is, absolute.
    pub href: &'a str,
    /// The message.
    pub alert: &'a Alert,
}

/// Writes the feed, newest message first; of the same second by id. The same input is always the same bytes.
///
/// # Errors
/// What [`Alert::check`] says of a message, [`Fault::Uri`] of ids and addresses, [`Fault::Character`] and
/// [`Fault::Empty`] of title and author. Paths of messages begin with `feed/entry[n]`, numbered as given.
pub fn write(feed: &Outgoing<'_>, entries: &[Entry<'_>]) -> Result<String, CapError> {
    check(feed, entries)?;
    let mut sorted: Vec<&Entry<'_>> = entries.iter().collect();
    sorted.sort_by_key(|entry| (Reverse(entry.alert.sent.at()), entry.id));
    let mut out = Xml::document();
    let attributes = [
        ("xmlns", ATOM),
        ("xmlns:cap", NAMESPACE),
        ("xml:lang", feed.language),
    ];
    out.within("feed", &attributes, |out| {
        out.leaf("id", feed.id);
        out.leaf("title", feed.title);
        out.leaf("updated", feed.updated);
        out.within("author", &[], |out| out.leaf("name", feed.author));
        out.empty(
            "link",
            &[
                ("rel", "self"),
                ("type", FEED_MEDIA_TYPE),
                ("href", feed.self_href),
            ],
        );
        for entry in sorted {
            out.within("entry", &[], |out| elements(out, entry, feed.language));
        }
    });
    Ok(out.text)
}

fn check(feed: &Outgoing<'_>, entries: &[Entry<'_>]) -> Result<(), CapError> {
    uri("feed/id", feed.id)?;
    uri("feed/link", feed.self_href)?;
    said("feed/title", feed.title)?;
    said("feed/author", feed.author)?;
    said("feed", feed.language)?;
    for (i, entry) in entries.iter().enumerate() {
        let path = format!("feed/entry[{}]", i + 1);
        uri(&format!("{path}/id"), entry.id)?;
        uri(&format!("{path}/link"), entry.href)?;
        entry
            .alert
            .check()
            .map_err(|error| CapError::at(format!("{path}/{}", error.place.path), error.fault))?;
    }
    Ok(())
}

fn uri(path: &str, text: &str) -> Result<(), CapError> {
    match is_absolute_uri(text) {
        true => Ok(()),
        false => Err(CapError::at(path, Fault::Uri { found: start(text) })),
    }
}

fn said(path: &str, text: &str) -> Result<(), CapError> {
    match text.chars().find(|&c| !is_xml(c)) {
        Some(c) => Err(CapError::at(path, Fault::Character { found: c.into() })),
        None if text.trim().is_empty() => Err(CapError::at(path, Fault::Empty)),
        None => Ok(()),
    }
}

fn elements(out: &mut Xml, entry: &Entry<'_>, language: &str) {
    let alert = entry.alert;
    let info = alert.info_in(language);
    out.leaf("id", entry.id);
    out.leaf("title", info.map_or(alert.identifier.as_str(), title));
    out.leaf("updated", alert.sent);
    out.leaf("published", alert.sent);
    out.empty(
        "link",
        &[("rel", "alternate"), ("type", MEDIA_TYPE), ("href", entry.href)],
    );
    let summary = info.map(|info| info.description.as_deref().unwrap_or(title(info)));
    out.leaf("summary", summary.or(alert.note.as_deref()).unwrap_or_default());
    out.leaf("cap:status", alert.status);
    out.leaf("cap:msgType", alert.msg_type);
    let Some(info) = info else { return };
    out.leaves("cap:category", &info.categories);
    out.leaf("cap:event", &info.event);
    out.leaf("cap:urgency", info.urgency);
    out.leaf("cap:severity", info.severity);
    out.leaf("cap:certainty", info.certainty);
    out.leaf("cap:effective", info.effective.unwrap_or(alert.sent));
    out.leaves("cap:expires", info.expires);
    for area in &info.areas {
        out.leaf("cap:areaDesc", &area.description);
        out.leaves("cap:polygon", &area.polygons);
        out.leaves("cap:circle", &area.circles);
        for geocode in &area.geocodes {
            out.within("cap:geocode", &[], |out| {
                out.leaf("cap:valueName", &geocode.name);
                out.leaf("cap:value", &geocode.value);
            });
        }
    }
}

fn title(info: &Info) -> &str {
    info.headline
        .as_deref()
        .filter(|headline| !headline.trim().is_empty())
        .unwrap_or(&info.event)
}

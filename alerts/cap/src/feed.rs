//! Feeds of messages: Atom of ours, Atom and RSS 2.0 of others.

mod read;
mod write;

use onemap_model::Timestamp;

use crate::error::CapError;
use crate::message::Named;
use crate::read::Message;

pub use read::read;
pub use write::{Entry, Outgoing, write};

const ATOM: &str = "http://www.w3.org/2005/Atom";

/// A feed of others.
#[derive(Clone, Debug, PartialEq)]
pub struct Feed {
    /// Its id (Atom).
    pub id: Option<String>,
    /// Its title.
    pub title: String,
    /// When it was changed: Atom's `updated`, RSS's `lastBuildDate` or `pubDate`.
    pub updated: Option<Timestamp>,
    /// Where it is (Atom), as it stands there, perhaps relative.
    pub self_link: Option<String>,
    /// What can be used, in the order of the feed.
    pub items: Vec<Item>,
    /// What could not be read: items without title, link and alert, which are left out; alerts inside of items; times
    /// and ids that are missing or broken.
    pub faults: Vec<CapError>,
}

/// One item or entry of a feed of others.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// Its id or guid.
    pub id: Option<String>,
    /// Its title; empty when it has none.
    pub title: String,
    /// When it was changed (Atom).
    pub updated: Option<Timestamp>,
    /// When it came out.
    pub published: Option<Timestamp>,
    /// Summary or description, perhaps HTML of strangers.
    pub summary: Option<String>,
    /// Its links.
    pub links: Vec<Link>,
    /// Its categories.
    pub categories: Vec<String>,
    /// Elements of CAP's namespaces beside it: `event`, `expires`, … with their texts. They are hints, unchecked; the
    /// message says what holds.
    pub hints: Vec<Named>,
    /// Names and values of `cap:geocode`, as unchecked.
    pub geocodes: Vec<Named>,
    /// The message, when it stands inside of the item.
    pub alert: Option<Message>,
}

/// A link of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Where to, as it stands there, perhaps relative.
    pub href: String,
    /// `alternate` where Atom says nothing.
    pub rel: String,
    /// The media type, when it is said.
    pub media_type: Option<String>,
}

impl Item {
    /// The link to the message: that of CAP's media type, else the first of XML, else the first alternate of no
    /// stated type (the only one of RSS).
    pub fn alert_link(&self) -> Option<&str> {
        let kind = |link: &Link| {
            link.media_type.as_deref().map(|kind| {
                kind.split(';')
                    .next()
                    .unwrap_or_default()
                    .trim()
                    .to_ascii_lowercase()
            })
        };
        let typed = |wanted: &'static [&str]| {
            self.links
                .iter()
                .find(move |link| kind(link).is_some_and(|kind| wanted.contains(&kind.as_str())))
        };
        let plain = || {
            self.links
                .iter()
                .find(|link| link.rel == "alternate" && link.media_type.is_none())
        };
        let found = typed(&[crate::MEDIA_TYPE])
            .or_else(|| typed(&["application/xml", "text/xml"]))
            .or_else(plain);
        found.map(|link| link.href.as_str())
    }
}

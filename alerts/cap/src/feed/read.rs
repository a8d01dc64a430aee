//! Feeds of others. One broken item hides none of the rest.

use onemap_model::Timestamp;

use super::{ATOM, Feed, Item, Link};
use crate::check::nth;
use crate::error::{CapError, Fault, Place, start};
use crate::message::Named;
use crate::read::{Message, message};
use crate::tree::{self, Element, Limits};
use crate::{NAMESPACE, NAMESPACE_1_1};

/// CAP 1.0; only hints of it are taken, no messages.
const NAMESPACE_1_0: &str = "http://www.incident.com/cap/1.0";

/// Reads an Atom or RSS 2.0 feed of at most 8 MiB.
///
/// # Errors
/// [`CapError`] when the document is refused ([`Limits::FEED`]), is no feed, or has no title. What else is wrong
/// stands in [`Feed::faults`].
pub fn read(bytes: &[u8]) -> Result<Feed, CapError> {
    let root = tree::parse(bytes, Limits::FEED)?;
    if root.is(ATOM, "feed") {
        return atom(&root);
    }
    if root.is("", "rss") {
        return rss(&root);
    }
    let found = match &*root.namespace {
        "" => start(&root.name),
        namespace => format!("{} of {}", start(&root.name), start(namespace)),
    };
    Err(CapError {
        place: Place::new(start(&root.name), root.line),
        fault: Fault::Root { found },
    })
}

fn atom(root: &Element) -> Result<Feed, CapError> {
    let mut reading = Reading {
        namespace: ATOM,
        faults: vec![],
    };
    let title = reading.title(root, "feed")?;
    let updated = reading.time(root, "feed", "updated");
    if updated.is_none() && child(root, ATOM, "updated").is_none() {
        reading.missing(root, "feed", "updated");
    }
    let id = text(root, ATOM, "id");
    if id.is_none() {
        reading.missing(root, "feed", "id");
    }
    let self_link = links(root)
        .into_iter()
        .find(|link| link.rel == "self")
        .map(|link| link.href);
    let mut items = Vec::new();
    for (i, entry) in children(root, ATOM, "entry").enumerate() {
        items.extend(reading.entry(entry, &nth("feed", "entry", i)));
    }
    Ok(Feed {
        id,
        title,
        updated,
        self_link,
        items,
        faults: reading.faults,
    })
}

fn rss(root: &Element) -> Result<Feed, CapError> {
    let mut reading = Reading {
        namespace: "",
        faults: vec![],
    };
    let channel = child(root, "", "channel").ok_or_else(|| CapError {
        place: Place::new("rss", root.line),
        fault: Fault::Missing { name: "channel" },
    })?;
    let title = reading.title(channel, "rss/channel")?;
    let built = reading.time(channel, "rss/channel", "lastBuildDate");
    let updated = built.or_else(|| reading.time(channel, "rss/channel", "pubDate"));
    let self_link = links(channel)
        .into_iter()
        .find(|link| link.rel == "self")
        .map(|link| link.href);
    let mut items = Vec::new();
    for (i, item) in children(channel, "", "item").enumerate() {
        items.extend(reading.item(item, &nth("rss/channel", "item", i)));
    }
    Ok(Feed {
        id: None,
        title,
        updated,
        self_link,
        items,
        faults: reading.faults,
    })
}

/// A feed while it is read.
struct Reading {
    namespace: &'static str,
    faults: Vec<CapError>,
}

impl Reading {
    fn title(&self, element: &Element, path: &str) -> Result<String, CapError> {
        text(element, self.namespace, "title").ok_or_else(|| CapError {
            place: Place::new(path, element.line),
            fault: Fault::Missing { name: "title" },
        })
    }

    fn missing(&mut self, element: &Element, path: &str, name: &'static str) {
        self.faults.push(CapError {
            place: Place::new(path, element.line),
            fault: Fault::Missing { name },
        });
    }

    /// A time, RFC 3339 in Atom, RFC 822 in RSS.
    fn time(&mut self, element: &Element, path: &str, name: &str) -> Option<Timestamp> {
        let stated = child(element, self.namespace, name)?;
        let found = stated.all_text();
        let time = match self.namespace {
            ATOM => Timestamp::parse(found.trim()).ok(),
            _ => rfc822(found.trim()),
        };
        if time.is_none() {
            let place = Place::new(format!("{path}/{name}"), stated.line);
            self.faults.push(CapError {
                place,
                fault: Fault::FeedTime {
                    found: start(found.trim()),
                },
            });
        }
        time
    }

    fn entry(&mut self, entry: &Element, path: &str) -> Option<Item> {
        let id = text(entry, ATOM, "id");
        if id.is_none() {
            self.missing(entry, path, "id");
        }
        let content = child(entry, ATOM, "content");
        let alert = content.and_then(|content| self.alert(content, &format!("{path}/content")));
        let labels = children(entry, ATOM, "category").filter_map(|category| category.attribute("term"));
        let item = Item {
            id,
            title: text(entry, ATOM, "title").unwrap_or_default(),
            updated: self.time(entry, path, "updated"),
            published: self.time(entry, path, "published"),
            summary: text(entry, ATOM, "summary"),
            links: links(entry),
            categories: labels.map(str::to_owned).collect(),
            hints: hints(entry),
            geocodes: geocodes(entry),
            alert,
        };
        self.usable(item, entry, path)
    }

    fn item(&mut self, item: &Element, path: &str) -> Option<Item> {
        let plain = text(item, "", "link").map(|href| Link {
            href,
            rel: "alternate".to_owned(),
            media_type: None,
        });
        let enclosed = children(item, "", "enclosure").filter_map(|file| {
            let media_type = file.attribute("type").map(str::to_owned);
            Some(Link {
                href: file.attribute("url")?.to_owned(),
                rel: "enclosure".to_owned(),
                media_type,
            })
        });
        let alert = item.children.iter().find(|child| is_alert(child));
        let labels = children(item, "", "category").map(|category| category.all_text().trim().to_owned());
        let read = Item {
            id: text(item, "", "guid"),
            title: text(item, "", "title").unwrap_or_default(),
            updated: None,
            published: self.time(item, path, "pubDate"),
            summary: text(item, "", "description"),
            links: plain.into_iter().chain(enclosed).chain(links(item)).collect(),
            categories: labels.collect(),
            hints: hints(item),
            geocodes: geocodes(item),
            alert: alert.and_then(|alert| self.message(alert, path)),
        };
        self.usable(read, item, path)
    }

    fn usable(&mut self, item: Item, element: &Element, path: &str) -> Option<Item> {
        if item.title.is_empty() && item.summary.is_none() && item.links.is_empty() && item.alert.is_none() {
            self.missing(element, path, "title");
            return None;
        }
        Some(item)
    }

    fn alert(&mut self, content: &Element, path: &str) -> Option<Message> {
        let alert = content.children.iter().find(|child| is_alert(child))?;
        self.message(alert, path)
    }

    fn message(&mut self, alert: &Element, path: &str) -> Option<Message> {
        let read = message(alert).map_err(|mut error| {
            error.place.path = format!("{path}/{}", error.place.path);
            self.faults.push(error);
        });
        read.ok()
    }
}

fn is_alert(element: &Element) -> bool {
    element.name == "alert"
}

fn children<'a>(
    element: &'a Element,
    namespace: &'a str,
    name: &'a str,
) -> impl Iterator<Item = &'a Element> {
    element
        .children
        .iter()
        .filter(move |child| child.is(namespace, name))
}

fn child<'a>(element: &'a Element, namespace: &'a str, name: &'a str) -> Option<&'a Element> {
    children(element, namespace, name).next()
}

/// The text of a child without blanks around; `None` when there is no text.
fn text(element: &Element, namespace: &str, name: &str) -> Option<String> {
    let text = child(element, namespace, name)?.all_text();
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// Links of Atom, which RSS feeds have as well.
fn links(element: &Element) -> Vec<Link> {
    let link = |link: &Element| {
        Some(Link {
            href: link.attribute("href")?.trim().to_owned(),
            rel: link.attribute("rel").unwrap_or("alternate").to_owned(),
            media_type: link.attribute("type").map(str::to_owned),
        })
    };
    children(element, ATOM, "link").filter_map(link).collect()
}

fn is_cap(element: &Element) -> bool {
    matches!(&*element.namespace, NAMESPACE | NAMESPACE_1_1 | NAMESPACE_1_0)
}

fn hints(element: &Element) -> Vec<Named> {
    let plain = element
        .children
        .iter()
        .filter(|child| is_cap(child) && child.children.is_empty());
    plain
        .map(|hint| Named::new(hint.name.as_str(), hint.text.trim()))
        .collect()
}

/// Pairs of valueName and value, of which one geocode may have several (as the National Weather Service writes them).
fn geocodes(element: &Element) -> Vec<Named> {
    let mut all = Vec::new();
    for geocode in element
        .children
        .iter()
        .filter(|child| is_cap(child) && child.name == "geocode")
    {
        for pair in geocode.children.chunks(2) {
            if let [name, value] = pair
                && (name.name.as_str(), value.name.as_str()) == ("valueName", "value")
            {
                all.push(Named::new(name.text.trim(), value.text.trim()));
            }
        }
    }
    all
}

/// A time of RFC 822 or 2822, `Fri, 04 Feb 2011 20:20:00 GMT`. A wrong weekday is passed over.
fn rfc822(text: &str) -> Option<Timestamp> {
    let parser = jiff::fmt::rfc2822::DateTimeParser::new().relaxed_weekday(true);
    Timestamp::given(parser.parse_timestamp(text).ok()?.as_millisecond()).ok()
}

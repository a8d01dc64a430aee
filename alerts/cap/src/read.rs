//! XML of CAP 1.2 or 1.1 as a message. The order of elements is the schema's, and so are counts and words.

use crate::check::nth;
use crate::error::{CapError, Fault, Place, start};
use crate::group;
use crate::message::{Alert, Area, Info, Named, Resource};
use crate::tree::{self, Element, Limits};
use crate::words::Word;
use crate::{Circle, DateTime, Feet, NAMESPACE, NAMESPACE_1_1, Polygon};

/// Of which version a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// CAP 1.1, whose times may end in Z.
    V1_1,
    /// CAP 1.2.
    V1_2,
}

/// A message that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// What it says. [`Alert::check`] is good; [`Alert::remarks`] may have some.
    pub alert: Alert,
    /// Of which version it was. What is written is 1.2.
    pub version: Version,
    /// Whether it has an XML-DSig signature, which is not verified and not part of the alert.
    pub is_signed: bool,
}

/// Elements of XML-DSig.
const SIGNATURE: &str = "http://www.w3.org/2000/09/xmldsig#";
/// Its attributes may stand anywhere in what a schema describes.
const SCHEMA_INSTANCE: &str = "http://www.w3.org/2001/XMLSchema-instance";

const ALERT: &[&str] = &[
    "identifier",
    "sender",
    "sent",
    "status",
    "msgType",
    "source",
    "scope",
    "restriction",
    "addresses",
    "code",
    "note",
    "references",
    "incidents",
    "info",
];
const INFO: &[&str] = &[
    "language",
    "category",
    "event",
    "responseType",
    "urgency",
    "severity",
    "certainty",
    "audience",
    "eventCode",
    "effective",
    "onset",
    "expires",
    "senderName",
    "headline",
    "description",
    "instruction",
    "web",
    "contact",
    "parameter",
    "resource",
    "area",
];
const RESOURCE: &[&str] = &["resourceDesc", "mimeType", "size", "uri", "derefUri", "digest"];
const AREA: &[&str] = &["areaDesc", "polygon", "circle", "geocode", "altitude", "ceiling"];
const NAMED: &[&str] = &["valueName", "value"];

/// Reads a message of at most 1 MiB.
///
/// # Errors
/// [`CapError`] with the first fault: of the document ([`Limits::MESSAGE`], UTF-8, well-formed, no document type, no
/// entities), of the elements (namespace, order, counts, words, times, places), then of [`Alert::check`].
pub fn read(bytes: &[u8]) -> Result<Message, CapError> {
    message(&tree::parse(bytes, Limits::MESSAGE)?)
}

/// Reads a message that is a document, or stands in one of a feed.
pub(crate) fn message(root: &Element) -> Result<Message, CapError> {
    let place = || Place::new(start(&root.name), root.line);
    let version = match &*root.namespace {
        NAMESPACE => Version::V1_2,
        NAMESPACE_1_1 => Version::V1_1,
        _ if root.name != "alert" => {
            return Err(CapError {
                place: place(),
                fault: Fault::Root {
                    found: start(&root.name),
                },
            });
        }
        other => {
            return Err(CapError {
                place: place(),
                fault: Fault::Namespace { found: start(other) },
            });
        }
    };
    if root.name != "alert" {
        return Err(CapError {
            place: place(),
            fault: Fault::Root {
                found: start(&root.name),
            },
        });
    }
    let (alert, is_signed) = alert(root, version)?;
    alert.check().map_err(|error| with_line(root, error))?;
    Ok(Message {
        alert,
        version,
        is_signed,
    })
}

/// Finds the line of an error that knows its path only.
fn with_line(root: &Element, mut error: CapError) -> CapError {
    let mut element = root;
    for step in error.place.path.split('/').skip(1) {
        let (name, nth) = step
            .strip_suffix(']')
            .and_then(|step| step.split_once('['))
            .unwrap_or((step, "1"));
        let before = nth.parse::<usize>().unwrap_or(1).saturating_sub(1);
        match element
            .children
            .iter()
            .filter(|child| child.name == name)
            .nth(before)
        {
            Some(child) => element = child,
            None => break,
        }
    }
    error.place.line = Some(element.line);
    error
}

fn alert(root: &Element, version: Version) -> Result<(Alert, bool), CapError> {
    let mut within = Within::of(root, "alert".to_owned(), ALERT, version)?;
    let alert = Alert {
        identifier: within.one("identifier", Leaf::text)?,
        sender: within.one("sender", Leaf::text)?,
        sent: within.one("sent", Leaf::time)?,
        status: within.one("status", Leaf::word)?,
        msg_type: within.one("msgType", Leaf::word)?,
        source: within.perhaps("source", Leaf::text)?,
        scope: within.one("scope", Leaf::word)?,
        restriction: within.perhaps("restriction", Leaf::text)?,
        addresses: within.perhaps("addresses", Leaf::group)?.unwrap_or_default(),
        codes: within.many("code", Leaf::text)?,
        note: within.perhaps("note", Leaf::text)?,
        references: within
            .perhaps("references", Leaf::references)?
            .unwrap_or_default(),
        incidents: within.perhaps("incidents", Leaf::group)?.unwrap_or_default(),
        infos: within.nested("info", info)?,
    };
    let is_signed = within.signatures();
    within.end()?;
    Ok((alert, is_signed))
}

fn info(element: &Element, path: String, version: Version) -> Result<Info, CapError> {
    let mut within = Within::of(element, path, INFO, version)?;
    let info = Info {
        // The schema's default stands for an empty one, too.
        language: within
            .perhaps("language", Leaf::token)?
            .filter(|language| !language.is_empty()),
        categories: within.some("category", Leaf::word)?,
        event: within.one("event", Leaf::text)?,
        response_types: within.many("responseType", Leaf::word)?,
        urgency: within.one("urgency", Leaf::word)?,
        severity: within.one("severity", Leaf::word)?,
        certainty: within.one("certainty", Leaf::word)?,
        audience: within.perhaps("audience", Leaf::text)?,
        event_codes: within.nested("eventCode", named)?,
        effective: within.perhaps("effective", Leaf::time)?,
        onset: within.perhaps("onset", Leaf::time)?,
        expires: within.perhaps("expires", Leaf::time)?,
        sender_name: within.perhaps("senderName", Leaf::text)?,
        headline: within.perhaps("headline", Leaf::text)?,
        description: within.perhaps("description", Leaf::text)?,
        instruction: within.perhaps("instruction", Leaf::text)?,
        web: within.perhaps("web", Leaf::token)?,
        contact: within.perhaps("contact", Leaf::text)?,
        parameters: within.nested("parameter", named)?,
        resources: within.nested("resource", resource)?,
        areas: within.nested("area", area)?,
    };
    within.end()?;
    Ok(info)
}

fn resource(element: &Element, path: String, version: Version) -> Result<Resource, CapError> {
    let mut within = Within::of(element, path, RESOURCE, version)?;
    let description = within.one("resourceDesc", Leaf::text)?;
    let mime_type = match version {
        Version::V1_1 => within.perhaps("mimeType", Leaf::text)?,
        Version::V1_2 => Some(within.one("mimeType", Leaf::text)?),
    };
    let resource = Resource {
        description,
        mime_type,
        size: within.perhaps("size", Leaf::size)?,
        uri: within.perhaps("uri", Leaf::token)?,
        deref_uri: within.perhaps("derefUri", Leaf::text)?,
        digest: within.perhaps("digest", Leaf::text)?,
    };
    within.end()?;
    Ok(resource)
}

fn area(element: &Element, path: String, version: Version) -> Result<Area, CapError> {
    let mut within = Within::of(element, path, AREA, version)?;
    let area = Area {
        description: within.one("areaDesc", Leaf::text)?,
        polygons: within.many("polygon", |leaf| Polygon::parse(leaf.text))?,
        circles: within.many("circle", |leaf| Circle::parse(leaf.text))?,
        geocodes: within.nested("geocode", named)?,
        altitude: within.perhaps("altitude", |leaf| Feet::parse(leaf.text.trim_ascii()))?,
        ceiling: within.perhaps("ceiling", |leaf| Feet::parse(leaf.text.trim_ascii()))?,
    };
    within.end()?;
    Ok(area)
}

fn named(element: &Element, path: String, version: Version) -> Result<Named, CapError> {
    let mut within = Within::of(element, path, NAMED, version)?;
    let named = Named {
        name: within.one("valueName", Leaf::text)?,
        value: within.one("value", Leaf::text)?,
    };
    within.end()?;
    Ok(named)
}

/// The text of an element that has no others in it.
struct Leaf<'a> {
    text: &'a str,
    version: Version,
}

impl Leaf<'_> {
    fn text(self) -> Result<String, Fault> {
        Ok(self.text.to_owned())
    }
    /// Text of a type whose blanks around do not count.
    fn token(self) -> Result<String, Fault> {
        Ok(self.text.trim_ascii().to_owned())
    }
    fn word<W: Word>(self) -> Result<W, Fault> {
        W::of(self.text).ok_or_else(|| Fault::Word {
            found: start(self.text),
            known: W::known(),
        })
    }
    fn time(self) -> Result<DateTime, Fault> {
        DateTime::parse(self.text.trim_ascii(), self.version == Version::V1_1)
    }
    fn group(self) -> Result<Vec<String>, Fault> {
        group::split(self.text)
    }
    fn references(self) -> Result<Vec<crate::Reference>, Fault> {
        group::references(self.text, self.version == Version::V1_1)
    }
    fn size(self) -> Result<u64, Fault> {
        let text = self.text.trim_ascii();
        text.parse().map_err(|_| Fault::Number {
            found: start(text),
            wanted: "a number of bytes",
        })
    }
}

/// The children of an element, taken in the order of the schema.
struct Within<'a> {
    parent: &'a Element,
    path: String,
    /// What the schema has here, in its order.
    known: &'static [&'static str],
    version: Version,
    /// How many children are taken.
    at: usize,
}

impl<'a> Within<'a> {
    fn of(
        parent: &'a Element,
        path: String,
        known: &'static [&'static str],
        version: Version,
    ) -> Result<Self, CapError> {
        let within = Self {
            parent,
            path,
            known,
            version,
            at: 0,
        };
        no_attributes(parent, &within.path)?;
        match parent.text.trim_ascii() {
            "" => Ok(within),
            found => Err(within.fault(parent, Fault::StrayText { found: start(found) })),
        }
    }

    fn fault(&self, element: &Element, fault: Fault) -> CapError {
        CapError {
            place: Place::new(self.path.clone(), element.line),
            fault,
        }
    }

    fn is(&self, element: &Element, name: &str) -> bool {
        element.is(&self.parent.namespace, name)
    }

    fn next(&mut self, name: &str) -> Option<&'a Element> {
        let next = self
            .parent
            .children
            .get(self.at)
            .filter(|child| self.is(child, name))?;
        self.at += 1;
        Some(next)
    }

    fn leaf<T>(
        &self,
        element: &'a Element,
        path: String,
        read: impl Fn(Leaf<'a>) -> Result<T, Fault>,
    ) -> Result<T, CapError> {
        no_attributes(element, &path)?;
        let fault = match element.children.first() {
            Some(child) => Fault::UnknownElement {
                name: start(&child.name),
            },
            None => match read(Leaf {
                text: &element.text,
                version: self.version,
            }) {
                Ok(value) => return Ok(value),
                Err(fault) => fault,
            },
        };
        Err(CapError {
            place: Place::new(path, element.line),
            fault,
        })
    }

    fn perhaps<T>(
        &mut self,
        name: &'static str,
        read: impl Fn(Leaf<'a>) -> Result<T, Fault>,
    ) -> Result<Option<T>, CapError> {
        let Some(element) = self.next(name) else {
            return Ok(None);
        };
        self.leaf(element, format!("{}/{name}", self.path), read)
            .map(Some)
    }

    fn one<T>(
        &mut self,
        name: &'static str,
        read: impl Fn(Leaf<'a>) -> Result<T, Fault>,
    ) -> Result<T, CapError> {
        match self.perhaps(name, read)? {
            Some(value) => Ok(value),
            None => Err(self.without(name)),
        }
    }

    fn many<T>(
        &mut self,
        name: &'static str,
        read: impl Fn(Leaf<'a>) -> Result<T, Fault>,
    ) -> Result<Vec<T>, CapError> {
        let mut all = Vec::new();
        while let Some(element) = self.next(name) {
            all.push(self.leaf(element, nth(&self.path, name, all.len()), &read)?);
        }
        Ok(all)
    }

    fn some<T>(
        &mut self,
        name: &'static str,
        read: impl Fn(Leaf<'a>) -> Result<T, Fault>,
    ) -> Result<Vec<T>, CapError> {
        let all = self.many(name, read)?;
        if all.is_empty() {
            Err(self.without(name))
        } else {
            Ok(all)
        }
    }

    fn nested<T>(
        &mut self,
        name: &'static str,
        read: fn(&Element, String, Version) -> Result<T, CapError>,
    ) -> Result<Vec<T>, CapError> {
        let mut all = Vec::new();
        while let Some(element) = self.next(name) {
            all.push(read(element, nth(&self.path, name, all.len()), self.version)?);
        }
        Ok(all)
    }

    /// Passes signatures, which the schema has at the end of an alert.
    fn signatures(&mut self) -> bool {
        let from = self.at;
        while self
            .parent
            .children
            .get(self.at)
            .is_some_and(|child| *child.namespace == *SIGNATURE)
        {
            self.at += 1;
        }
        self.at > from
    }

    /// Why something that has to come now does not.
    fn without(&self, name: &'static str) -> CapError {
        let rest = self.parent.children.get(self.at..).unwrap_or_default();
        match rest.first() {
            Some(next) if !self.known.iter().any(|known| self.is(next, known)) => self.unexpected(next),
            Some(next) if rest.iter().any(|later| self.is(later, name)) => self.fault(
                next,
                Fault::Order {
                    name: start(&next.name),
                    due: name,
                },
            ),
            next => self.fault(next.unwrap_or(self.parent), Fault::Missing { name }),
        }
    }

    /// Holds that nothing is left.
    fn end(&self) -> Result<(), CapError> {
        self.parent
            .children
            .get(self.at)
            .map_or(Ok(()), |next| Err(self.unexpected(next)))
    }

    fn unexpected(&self, next: &Element) -> CapError {
        let name = start(&next.name);
        let fault = match self.known.iter().position(|known| *known == next.name) {
            _ if next.namespace != self.parent.namespace => Fault::Foreign {
                name,
                namespace: start(&next.namespace),
            },
            None => Fault::UnknownElement { name },
            Some(place) => {
                let taken = self.parent.children.get(..self.at).unwrap_or_default();
                let place_of = |child: &Element| self.known.iter().position(|known| *known == child.name);
                match taken.last().and_then(place_of) {
                    // Of what this passes over, only signatures are not known here.
                    None if !taken.is_empty() => Fault::Late {
                        name,
                        behind: "Signature",
                    },
                    Some(last) if last == place => Fault::Repeated { name },
                    Some(last) if last > place => Fault::Late {
                        name,
                        behind: self.known.get(last).copied().unwrap_or_default(),
                    },
                    // Everything that is known and comes later was asked for before the end.
                    _ => Fault::UnknownElement { name },
                }
            }
        };
        self.fault(next, fault)
    }
}

fn no_attributes(element: &Element, path: &str) -> Result<(), CapError> {
    match element
        .attributes
        .iter()
        .find(|attribute| *attribute.namespace != *SCHEMA_INSTANCE)
    {
        Some(attribute) => Err(CapError {
            place: Place::new(path, element.line),
            fault: Fault::Attribute {
                name: start(&attribute.name),
            },
        }),
        None => Ok(()),
    }
}

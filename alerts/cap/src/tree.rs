//! XML of strangers as a small tree: bounded, without document types and entities, each element with its line.

use std::rc::Rc;

use quick_xml::XmlVersion;
use quick_xml::errors::Error as XmlError;
use quick_xml::escape::EscapeError;
use quick_xml::events::{BytesDecl, BytesRef, BytesStart, Event};
use quick_xml::name::{NamespaceError, QName, ResolveResult};
use quick_xml::reader::NsReader;

use crate::error::{CapError, Fault, Place, start};

/// How much of a document is read.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Its bytes.
    pub bytes: usize,
    /// Elements in elements.
    pub depth: usize,
    /// Elements in all.
    pub elements: usize,
}

impl Limits {
    /// Of a message: 1 MiB.
    pub const MESSAGE: Self = Self {
        bytes: 1 << 20,
        depth: 32,
        elements: 1 << 15,
    };
    /// Of a feed: 8 MiB.
    pub const FEED: Self = Self {
        bytes: 8 << 20,
        depth: 48,
        elements: 1 << 17,
    };
}

/// Attributes of one element, and namespaces in scope, that are read.
const N_ATTRIBUTES: usize = 32;
/// Bytes of a namespace: each element may hold its own copy, so that a long one would take up memory without end.
const NAMESPACE_BYTES: usize = 256;

/// An element with all that is in it.
#[derive(Debug)]
pub(crate) struct Element {
    /// Empty when it is in none.
    pub(crate) namespace: Rc<str>,
    /// Without prefix.
    pub(crate) name: String,
    pub(crate) attributes: Vec<Attribute>,
    /// All text right inside of it, without that of its children.
    pub(crate) text: String,
    pub(crate) children: Vec<Element>,
    pub(crate) line: u32,
}

/// An attribute; declarations of namespaces are none.
#[derive(Debug)]
pub(crate) struct Attribute {
    pub(crate) namespace: Rc<str>,
    pub(crate) name: String,
    pub(crate) value: String,
}

impl Element {
    pub(crate) fn is(&self, namespace: &str, name: &str) -> bool {
        *self.namespace == *namespace && self.name == name
    }
    /// An attribute without namespace.
    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        let named = |a: &&Attribute| a.namespace.is_empty() && a.name == name;
        self.attributes.iter().find(named).map(|a| a.value.as_str())
    }
    /// Its text and that of all that is in it. Where they alternate the order is lost.
    pub(crate) fn all_text(&self) -> String {
        self.children
            .iter()
            .fold(self.text.clone(), |text, child| text + &child.all_text())
    }
}

/// Reads a document and gives its root.
pub(crate) fn parse(bytes: &[u8], limits: Limits) -> Result<Element, CapError> {
    let whole = |fault| CapError {
        place: Place::default(),
        fault,
    };
    if bytes.len() > limits.bytes {
        return Err(whole(Fault::TooLarge {
            bytes: bytes.len(),
            limit: limits.bytes,
        }));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        whole(Fault::NotUtf8 {
            at: error.valid_up_to(),
        })
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if let Some((at, c)) = text.char_indices().find(|&(_, c)| !is_xml(c)) {
        let line = Lines::of(text).at(at);
        return Err(CapError {
            place: Place::line(line),
            fault: Fault::Character { found: c.into() },
        });
    }
    Growth::of(text, limits).root()
}

/// Whether XML 1.0 has this character.
pub(crate) fn is_xml(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..)
}

/// Which line a byte is in, asked in ascending order.
struct Lines<'a> {
    text: &'a [u8],
    seen: usize,
    line: u32,
}

impl<'a> Lines<'a> {
    fn of(text: &'a str) -> Self {
        Self {
            text: text.as_bytes(),
            seen: 0,
            line: 1,
        }
    }
    fn at(&mut self, byte: usize) -> u32 {
        let to = byte.min(self.text.len());
        if let Some(passed) = self.text.get(self.seen..to) {
            self.line += passed.iter().filter(|b| **b == b'\n').count() as u32;
            self.seen = to;
        }
        self.line
    }
}

/// The tree while it grows.
struct Growth<'a> {
    reader: NsReader<&'a [u8]>,
    lines: Lines<'a>,
    limits: Limits,
    /// From the root to the element that is open.
    open: Vec<Element>,
    root: Option<Element>,
    n_elements: usize,
    namespaces: Vec<Rc<str>>,
}

impl<'a> Growth<'a> {
    fn of(text: &'a str, limits: Limits) -> Self {
        let mut reader = NsReader::from_str(text);
        let config = reader.config_mut();
        config.expand_empty_elements = true;
        config.check_comments = true;
        reader.resolver_mut().set_max_namespace_bindings(N_ATTRIBUTES);
        Self {
            reader,
            lines: Lines::of(text),
            limits,
            open: vec![],
            root: None,
            n_elements: 0,
            namespaces: vec![],
        }
    }

    fn root(mut self) -> Result<Element, CapError> {
        loop {
            let from = self.reader.buffer_position();
            let line = self.lines.at(from as usize);
            let event = self.reader.read_event().map_err(|error| CapError {
                place: Place::line(line),
                fault: fault(error),
            })?;
            let is_end = matches!(event, Event::Eof);
            self.take(event, from, line).map_err(|fault| CapError {
                place: Place::line(line),
                fault,
            })?;
            if is_end {
                break;
            }
        }
        let line = self.lines.line;
        let broken = |reason: &str| CapError {
            place: Place::line(line),
            fault: broken(reason),
        };
        if let Some(open) = self.open.last() {
            return Err(broken(&format!(
                "`{}` of line {} is not closed",
                start(&open.name),
                open.line
            )));
        }
        self.root.ok_or_else(|| broken("there is no element"))
    }

    fn take(&mut self, event: Event<'_>, from: u64, line: u32) -> Result<(), Fault> {
        match event {
            Event::Start(tag) => self.begin(&tag, line),
            Event::Empty(_) => Err(broken("an empty element")), // expanded by the reader
            Event::End(_) => {
                let closed = self
                    .open
                    .pop()
                    .ok_or_else(|| broken("an end without a beginning"))?;
                match self.open.last_mut() {
                    Some(parent) => parent.children.push(closed),
                    None => self.root = Some(closed),
                }
                Ok(())
            }
            Event::Text(text) if text.contains("]]>") => Err(broken("`]]>` in text")),
            Event::Text(text) => self.text(&text.xml10_content()),
            Event::CData(_) if self.open.is_empty() => Err(broken("CDATA outside of the root")),
            Event::CData(data) => self.text(&data.xml10_content()),
            Event::GeneralRef(_) if self.open.is_empty() => Err(broken("a reference outside of the root")),
            Event::GeneralRef(name) => {
                let c = character(&name)?;
                self.text(c.encode_utf8(&mut [0; 4]))
            }
            Event::Decl(declaration) if from == 0 => declared(&declaration),
            Event::Decl(_) => Err(broken("an XML declaration that is not at the beginning")),
            Event::DocType(_) => Err(Fault::Doctype),
            Event::Comment(_) | Event::PI(_) | Event::Eof => Ok(()),
        }
    }

    fn text(&mut self, text: &str) -> Result<(), Fault> {
        match self.open.last_mut() {
            Some(element) => element.text.push_str(text),
            None if text.trim_ascii().is_empty() => {}
            None => return Err(broken("text outside of the root")),
        }
        Ok(())
    }

    fn begin(&mut self, tag: &BytesStart<'_>, line: u32) -> Result<(), Fault> {
        self.n_elements += 1;
        if self.n_elements > self.limits.elements {
            return Err(Fault::TooMany {
                what: "elements",
                limit: self.limits.elements,
            });
        }
        if self.open.len() >= self.limits.depth {
            return Err(Fault::TooDeep {
                limit: self.limits.depth,
            });
        }
        if self.root.is_some() {
            return Err(broken("a second root"));
        }
        let name = local(tag.name())?;
        let (found, _) = self.reader.resolver().resolve_element(tag.name());
        let namespace = interned(&mut self.namespaces, found)?;
        let mut attributes = Vec::<Attribute>::new();
        for (n, attribute) in tag.attributes().with_checks(false).enumerate() {
            if n == N_ATTRIBUTES {
                return Err(Fault::TooMany {
                    what: "attributes of an element",
                    limit: N_ATTRIBUTES,
                });
            }
            let attribute = attribute.map_err(|error| broken(&error.to_string()))?;
            if attribute.value.contains('<') {
                return Err(broken("`<` in an attribute"));
            }
            if attribute.key.as_namespace_binding().is_some() {
                continue;
            }
            let name = local(attribute.key)?;
            let (found, _) = self.reader.resolver().resolve_attribute(attribute.key);
            let namespace = interned(&mut self.namespaces, found)?;
            if attributes
                .iter()
                .any(|a| a.name == name && a.namespace == namespace)
            {
                return Err(broken(&format!("attribute `{}` twice", start(&name))));
            }
            let value = attribute
                .normalized_value(XmlVersion::Explicit1_0)
                .map_err(fault)?;
            if let Some(c) = value.chars().find(|&c| !is_xml(c)) {
                return Err(Fault::Character { found: c.into() });
            }
            attributes.push(Attribute {
                namespace,
                name,
                value: value.into_owned(),
            });
        }
        self.open.push(Element {
            namespace,
            name,
            attributes,
            text: String::new(),
            children: vec![],
            line,
        });
        Ok(())
    }
}

fn broken(reason: &str) -> Fault {
    Fault::BrokenXml {
        reason: reason.chars().take(160).collect(),
    }
}

fn fault(error: XmlError) -> Fault {
    match error {
        XmlError::Escape(EscapeError::UnrecognizedEntity(_, name)) => Fault::Entity { name: start(&name) },
        XmlError::Namespace(NamespaceError::TooManyBindings(limit)) => Fault::TooMany {
            what: "namespaces",
            limit,
        },
        other => broken(&other.to_string()),
    }
}

/// The one of the five entities of XML, or the character by its number.
fn character(name: &BytesRef<'_>) -> Result<char, Fault> {
    let c = match &**name {
        "lt" => '<',
        "gt" => '>',
        "amp" => '&',
        "quot" => '"',
        "apos" => '\'',
        other => match name.resolve_char_ref() {
            Ok(Some(c)) => c,
            Ok(None) => return Err(Fault::Entity { name: start(other) }),
            Err(error) => return Err(fault(error)),
        },
    };
    if is_xml(c) {
        Ok(c)
    } else {
        Err(Fault::Character { found: c.into() })
    }
}

fn declared(declaration: &BytesDecl<'_>) -> Result<(), Fault> {
    match declaration.version() {
        Ok(version) if version == "1.0" => {}
        Ok(version) => return Err(broken(&format!("version {} of XML", start(&version)))),
        Err(error) => return Err(fault(error)),
    }
    match declaration.encoding() {
        None => Ok(()),
        Some(Ok(name)) if name.eq_ignore_ascii_case("utf-8") || name.eq_ignore_ascii_case("us-ascii") => {
            Ok(())
        }
        Some(Ok(name)) => Err(Fault::Encoding { found: start(&name) }),
        Some(Err(error)) => Err(broken(&error.to_string())),
    }
}

/// The local part of a name that XML allows, at least of those that matter here.
fn local(name: QName<'_>) -> Result<String, Fault> {
    let (local, prefix) = name.decompose();
    let is_name = |text: &str| {
        text.starts_with(|c: char| c.is_alphabetic() || c == '_')
            && text
                .chars()
                .all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '\u{b7}'))
    };
    if is_name(local.into_inner()) && prefix.is_none_or(|prefix| is_name(prefix.into_inner())) {
        Ok(local.into_inner().to_owned())
    } else {
        Err(broken(&format!("`{}` is no name", start(name.into_inner()))))
    }
}

fn interned(known: &mut Vec<Rc<str>>, found: ResolveResult<'_>) -> Result<Rc<str>, Fault> {
    let text = match found {
        ResolveResult::Bound(namespace) => namespace.into_inner(),
        ResolveResult::Unbound => "",
        ResolveResult::Unknown(prefix) => {
            return Err(broken(&format!("prefix `{}` has no namespace", start(&prefix))));
        }
    };
    if text.len() > NAMESPACE_BYTES {
        return Err(Fault::TooMany {
            what: "bytes of a namespace",
            limit: NAMESPACE_BYTES,
        });
    }
    if let Some(same) = known.iter().find(|known| ***known == *text) {
        return Ok(same.clone());
    }
    let new: Rc<str> = text.into();
    // A document with more namespaces than this has each of the others on its own.
    if known.len() < N_ATTRIBUTES {
        known.push(new.clone());
    }
    Ok(new)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn code(text: &str) -> &'static str {
        parse(text.as_bytes(), Limits::MESSAGE).map_or_else(|error| error.code(), |_| "good")
    }

    #[test]
    fn what_is_no_document_is_refused_by_name() {
        let deep = |n: usize| "<a>".repeat(n) + &"</a>".repeat(n);
        let many_attributes = format!(
            "<a {}/>",
            (0..33).map(|i| format!("a{i}='' ")).collect::<String>()
        );
        let many_namespaces = format!(
            "<a {}/>",
            (0..60_000)
                .map(|i| format!("xmlns:a{i}='u' "))
                .collect::<String>()
        );
        for (text, said) in [
            ("<a/>", "good"),
            (
                "\u{feff}<?xml version='1.0' encoding='utf-8'?>\n<?p i?><!-- c --><a>x<!-- c -->y<![CDATA[<&z]]></a>\n",
                "good",
            ),
            ("", "broken_xml"),
            ("   ", "broken_xml"),
            ("x", "broken_xml"),
            ("<a>", "broken_xml"),
            ("<a><b></a></b>", "broken_xml"),
            ("</a>", "broken_xml"),
            ("<a/><a/>", "broken_xml"),
            ("<a/>x", "broken_xml"),
            ("&amp;<a/>", "broken_xml"),
            ("<![CDATA[x]]><a/>", "broken_xml"),
            ("<a", "broken_xml"),
            ("<a b/>", "broken_xml"),
            ("<a b=c/>", "broken_xml"),
            ("<a b='1' b='2'/>", "broken_xml"),
            ("<a b='<'/>", "broken_xml"),
            ("<1/>", "broken_xml"),
            ("<a:b/>", "broken_xml"),
            ("<a:b:c xmlns:a='u'/>", "broken_xml"),
            ("<a><!-- -- --></a>", "broken_xml"),
            ("<a>]]></a>", "broken_xml"),
            (" <?xml version='1.0'?><a/>", "broken_xml"),
            ("<?xml version='1.1'?><a/>", "broken_xml"),
            ("<?xml version='1.0' encoding='GB18030'?><a/>", "encoding"),
            ("<!DOCTYPE a><a/>", "dtd"),
            (
                "<!DOCTYPE a [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><a>&x;</a>",
                "dtd",
            ),
            ("<a><!DOCTYPE a></a>", "dtd"),
            ("<a>&x;</a>", "entity"),
            ("<a>&nbsp;</a>", "entity"),
            ("<a b='&x;'/>", "entity"),
            ("<a>&lt;&gt;&amp;&quot;&apos;&#65;&#x4e2d;</a>", "good"),
            ("<a>& b</a>", "broken_xml"),
            ("<a>&#0;</a>", "broken_xml"),
            ("<a>&#xd800;</a>", "broken_xml"),
            ("<a>&#x110000;</a>", "broken_xml"),
            ("<a>&#1;</a>", "character"),
            ("<a>&#xffff;</a>", "character"),
            ("<a b='&#1;'/>", "character"),
            ("<a>\u{1}</a>", "character"),
            (&deep(32), "good"),
            (&deep(33), "too_deep"),
            (&deep(100_000), "too_deep"),
            (&many_attributes, "too_many"),
            (&many_namespaces, "too_many"),
            (&format!("<a xmlns='{}'/>", "u".repeat(257)), "too_many"),
            (&format!("<a>{}</a>", "<b/>".repeat(1 << 15)), "too_many"),
            (&format!("<a>{}</a>", "x".repeat(2 << 20)), "too_large"),
        ] {
            assert_eq!(code(text), said, "{}", start(text));
        }
        assert_eq!(
            parse(b"<a>\xff</a>", Limits::MESSAGE).unwrap_err().fault,
            Fault::NotUtf8 { at: 3 }
        );
    }

    #[test]
    fn text_is_put_together_and_elements_know_their_line() {
        let root = parse(
            "<a xmlns='u'>\r\n<b>1&amp;<!-- x -->2<![CDATA[<]]></b>\r\n<c/></a>".as_bytes(),
            Limits::MESSAGE,
        )
        .unwrap();
        assert!(root.is("u", "a"));
        let [b, c] = &root.children[..] else {
            panic!("{root:?}")
        };
        assert_eq!((b.text.as_str(), b.line, c.line), ("1&2<", 2, 3));
        assert_eq!(root.text, "\n\n");
    }
}

//! The catalogues of city components 部件 and matters 事项, each with the days on which it holds.

use std::collections::HashMap;
use std::sync::OnceLock;

use jiff::civil::Date;

use super::{note, rows};

const FILES: [&str; 2] = [
    include_str!("../../data/catalogue-30428.csv"),
    include_str!("../../data/catalogue-47678.csv"),
];

/// What a class is of; the same numbers mean other things in the other kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names say it")]
pub enum ClassKind {
    Component,
    Matter,
}

impl ClassKind {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Component => "component",
            Self::Matter => "matter",
        }
    }
}

/// One class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClassEntry {
    /// Two digits.
    pub major: &'static str,
    /// Name of the major class.
    pub major_name: &'static str,
    /// Two or three digits.
    pub minor: &'static str,
    /// Its name.
    pub name: &'static str,
}

/// A standard's catalogue.
#[derive(Debug)]
pub struct Catalogue {
    /// `GB/T 47678.5-2026`.
    pub standard: &'static str,
    /// First day in force.
    pub from: Date,
    /// First day no longer in force.
    pub to: Option<Date>,
    /// Somebody has compared it with the standard.
    pub verified: bool,
    /// Digits of a minor class.
    pub n_minor: usize,
    majors: HashMap<(ClassKind, u32), &'static str>,
    classes: HashMap<(ClassKind, u32), ClassEntry>,
}

impl Catalogue {
    /// A class of it; `None` when it has none such, or lists no minor classes.
    pub fn class(&self, kind: ClassKind, major: &str, minor: &str) -> Option<&ClassEntry> {
        let number = number(major, minor).filter(|_| minor.len() == self.n_minor)?;
        self.classes.get(&(kind, number))
    }
    /// Whether it lists minor classes; the one of before has its majors only.
    pub fn has_minors(&self) -> bool {
        !self.classes.is_empty()
    }
    /// The name of a major class.
    pub fn major(&self, kind: ClassKind, major: &str) -> Option<&'static str> {
        self.majors.get(&(kind, number(major, "")?)).copied()
    }
    /// How many minor classes it lists.
    pub fn n_classes(&self, kind: ClassKind) -> usize {
        self.classes.keys().filter(|(of, _)| *of == kind).count()
    }
    /// Whether it holds on a day.
    pub fn holds(&self, day: Date) -> bool {
        self.from <= day && self.to.is_none_or(|to| day < to)
    }
}

/// Every catalogue, the oldest first.
pub fn catalogues() -> &'static [Catalogue; 2] {
    static READ: OnceLock<[Catalogue; 2]> = OnceLock::new();
    READ.get_or_init(|| FILES.map(read))
}

fn read(text: &'static str) -> Catalogue {
    let date = |key| note(text, key).and_then(|date| date.parse().ok());
    let mut catalogue = Catalogue {
        standard: note(text, "standard").expect("a catalogue's file names its standard"),
        from: date("valid_from").expect("a catalogue's file says since when it holds"),
        to: date("valid_to"),
        verified: note(text, "verified") == Some("true"),
        n_minor: 2,
        majors: HashMap::new(),
        classes: HashMap::new(),
    };
    for row in rows(text) {
        let [kind, major, major_name, minor, name] = row[..] else {
            unreachable!("rows of a catalogue have five columns")
        };
        let kind = match kind {
            "component" => ClassKind::Component,
            _ => ClassKind::Matter,
        };
        let numbered = |minor| number(major, minor).expect("classes of a catalogue are digits");
        catalogue.majors.insert((kind, numbered("")), major_name);
        if !minor.is_empty() {
            catalogue.n_minor = minor.len();
            let entry = ClassEntry {
                major,
                major_name,
                minor,
                name,
            };
            catalogue.classes.insert((kind, numbered(minor)), entry);
        }
    }
    catalogue
}

/// Major and minor as one number; `None` when they are no digits.
fn number(major: &str, minor: &str) -> Option<u32> {
    let is_digits = major.len() == 2 && minor.len() <= 3;
    is_digits.then(|| format!("{major}{minor}").parse().ok())?
}

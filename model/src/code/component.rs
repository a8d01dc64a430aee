//! Numbers of city components, classes of matters, and unit grids.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::catalogue::{Catalogue, ClassEntry, ClassKind, catalogues};
use super::{CodeError, division, plain};

/// Major and minor class: four digits by GB/T 30428.2, five by GB/T 47678.5. Which things it classes (components or
/// matters) the entity's kind says; it is unique only with it.
///
/// Invariant: four or five digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClassCode(Arc<str>);

impl ClassCode {
    /// Reads `01037` or `01-037`.
    ///
    /// # Errors
    /// [`CodeError::Length`] or [`CodeError::Character`].
    pub fn parse(text: &str) -> Result<Self, CodeError> {
        let code = digits("class", text, &['-', ' '], "4 or 5", |n| matches!(n, 4 | 5))?;
        Ok(Self(code.into()))
    }
    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
    /// The first two.
    pub fn major(&self) -> &str {
        &self.0[..2]
    }
    /// The others.
    pub fn minor(&self) -> &str {
        &self.0[2..]
    }
    /// The catalogue by its length.
    pub fn catalogue(&self) -> &'static Catalogue {
        let [old, new] = catalogues();
        if self.0.len() == 4 { old } else { new }
    }
    /// Its entry, if its catalogue lists minor classes.
    ///
    /// # Errors
    /// [`CodeError::Class`] when the catalogue does not have it.
    pub fn entry(&self, kind: ClassKind) -> Result<Option<&'static ClassEntry>, CodeError> {
        let catalogue = self.catalogue();
        let entry = catalogue.class(kind, self.major(), self.minor());
        let known = match catalogue.has_minors() {
            true => entry.is_some(),
            false => catalogue.major(kind, self.major()).is_some() && self.minor() != "00",
        };
        match known {
            true => Ok(entry),
            false => Err(CodeError::Class {
                kind: kind.name(),
                class: format!("{}-{}", self.major(), self.minor()),
                standard: catalogue.standard,
            }),
        }
    }
}

impl FromStr for ClassCode {
    type Err = CodeError;
    fn from_str(text: &str) -> Result<Self, CodeError> {
        Self::parse(text)
    }
}
impl TryFrom<String> for ClassCode {
    type Error = CodeError;
    fn try_from(text: String) -> Result<Self, CodeError> {
        Self::parse(&text)
    }
}
impl From<ClassCode> for String {
    fn from(code: ClassCode) -> String {
        code.0.as_ref().to_owned()
    }
}
impl fmt::Display for ClassCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The number of a city component 管理部件标识码: division (6), major (2), minor (3; by GB/T 30428.2 2), sequence (6).
///
/// Invariant: 17 digits with a class of GB/T 47678.5-2026, or 16 with a major of GB/T 30428.2-2013; the division had
/// its code in some year. Old and new are told by their length; it has no check digit.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ComponentNumber(String);

const NUMBER: &str = "component number";

impl ComponentNumber {
    /// Reads a number.
    ///
    /// # Errors
    /// [`CodeError`]: length, a character that is no digit, a division or class that never was, sequence zero.
    pub fn parse(text: &str) -> Result<Self, CodeError> {
        let code = digits(NUMBER, text, &[], "17 (or 16)", |n| matches!(n, 16 | 17))?;
        let number = Self(code);
        known_division(number.division(), None)?;
        number.class().entry(ClassKind::Component)?;
        match number.sequence() {
            0 => Err(CodeError::Zero {
                kind: NUMBER,
                part: "sequence",
            }),
            _ => Ok(number),
        }
    }
    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
    /// The six digits of its division, perhaps of an abolished one.
    pub fn division(&self) -> &str {
        &self.0[..6]
    }
    /// Major and minor class.
    pub fn class(&self) -> ClassCode {
        ClassCode(self.0[6..self.0.len() - 6].into())
    }
    /// Sequence inside division and class, from 1.
    pub fn sequence(&self) -> u32 {
        self.0[self.0.len() - 6..].parse().unwrap_or(0)
    }
    /// Whether a component that was there from one day to before another may have this number: it may have got it at
    /// any time of its own.
    ///
    /// # Errors
    /// [`CodeError::Standard`] when it ended before 17 digits or began after 16 were given, [`CodeError::Division`]
    /// when its division had ended before it began or came after its end.
    pub fn held(&self, from: Option<Date>, to: Option<Date>) -> Result<(), CodeError> {
        let unknown = |year: i16| CodeError::Division {
            code: self.division().to_owned(),
            year: Some(year),
            successor: division::successor(self.division()),
        };
        if let Some(from) = from
            && !division::is_division_from(self.division(), from.year())
        {
            return Err(unknown(from.year()));
        }
        if let Some(to) = to
            && !division::is_division_until(self.division(), to.year())
        {
            return Err(unknown(to.year()));
        }
        let catalogue = self.class().catalogue();
        let outside = from
            .filter(|from| catalogue.to.is_some_and(|end| end <= *from))
            .or(to.filter(|to| *to < catalogue.from && self.0.len() == 17));
        match outside {
            None => Ok(()),
            Some(date) => Err(CodeError::Standard {
                kind: "component",
                digits: self.0.len(),
                standard: catalogue.standard,
                date,
            }),
        }
    }
    /// Whether such a number could be given on a day: its standard was in force and the division had its code.
    ///
    /// # Errors
    /// [`CodeError::Standard`] or [`CodeError::Division`].
    pub fn given_on(&self, day: Date) -> Result<(), CodeError> {
        known_division(self.division(), Some(day.year()))?;
        let catalogue = self.class().catalogue();
        // Numbers were given by CJ/T 214 before the standard of 2013, in the same form.
        let early = self.0.len() == 16 && day < catalogue.from;
        match early || catalogue.holds(day) {
            true => Ok(()),
            false => Err(CodeError::Standard {
                kind: "component",
                digits: self.0.len(),
                standard: catalogue.standard,
                date: day,
            }),
        }
    }
}

/// The class of a matter with its division 事项代码: division (6), major (2), minor (3; before 2026-07-01 2).
///
/// Invariant: 11 or 10 digits, a class of the catalogue, a division that had its code in some year.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MatterClass(String);

impl MatterClass {
    /// Reads 11 or 10 digits.
    ///
    /// # Errors
    /// As [`ComponentNumber::parse`].
    pub fn parse(text: &str) -> Result<Self, CodeError> {
        let matter = Self(digits("matter class", text, &[], "11 (or 10)", |n| {
            matches!(n, 10 | 11)
        })?);
        known_division(matter.division(), None)?;
        matter.class().entry(ClassKind::Matter)?;
        Ok(matter)
    }
    /// The six digits of its division.
    pub fn division(&self) -> &str {
        &self.0[..6]
    }
    /// Major and minor class.
    pub fn class(&self) -> ClassCode {
        ClassCode(self.0[6..].into())
    }
}

/// The number of a unit grid 单元网格标识码 (GB/T 30428.1): division (6), street (3), community (3), grid (3).
///
/// Invariant: 15 digits, a division that had its code in some year, a grid that is not 000.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UnitGrid(String);

impl UnitGrid {
    /// Reads 15 digits.
    ///
    /// # Errors
    /// [`CodeError`]: length, character, division, or a grid 000.
    pub fn parse(text: &str) -> Result<Self, CodeError> {
        let grid = Self(digits("unit grid", text, &[], "15", |n| n == 15)?);
        known_division(&grid.0[..6], None)?;
        match &grid.0[12..] == "000" {
            true => Err(CodeError::Zero {
                kind: "unit grid",
                part: "last group",
            }),
            false => Ok(grid),
        }
    }
    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
    /// The twelve digits of its community.
    pub fn community(&self) -> &str {
        &self.0[..12]
    }
}

fn digits(
    kind: &'static str,
    text: &str,
    without: &[char],
    want: &'static str,
    fits: impl Fn(usize) -> bool,
) -> Result<String, CodeError> {
    let code = plain(text, without);
    let n = code.chars().count();
    if !fits(n) {
        return Err(CodeError::Length { kind, want, got: n });
    }
    match code.chars().enumerate().find(|(_, c)| !c.is_ascii_digit()) {
        Some((i, found)) => Err(CodeError::Character {
            kind,
            at: i + 1,
            found,
        }),
        None => Ok(code),
    }
}

fn known_division(code: &str, year: Option<i16>) -> Result<(), CodeError> {
    match division::is_division(code, year) {
        true => Ok(()),
        false => Err(CodeError::Division {
            code: code.to_owned(),
            year,
            successor: division::successor(code),
        }),
    }
}

//! What is Chinese about a message: GB/T 35965.1-2018 (应急信息交互协议 第1部分: 预警信息) laid onto CAP.
//!
//! Everything that stands on that standard stands in this module. How sure it is:
//!
//! | what | grade |
//! |---|---|
//! | [`WarningId`]: `ZZZZZZDDDUUUXX_YYYYMMDDhhmmss`, perhaps `_N`, in Beijing time | B: by descriptions, the text was not seen |
//! | [`Colour`] and its severity in CAP | B |
//! | [`geocode`]: divisions with twelve digits | B |
//! | [`EventCode`] of GB/T 35561: the forms of codes and the four classes by the first digit | C: codes such as 11B03 are in use in the national release system |
//! | the names of parameter, event code and geocode ([`SEVERITY`], [`EVENT`], [`DIVISION`]) | ours |
//!
//! The XML of GB/T 35965.1 itself, which differs from CAP's in its envelope, is not written: its text was not seen.

use std::fmt;

use jiff::civil::{Date, Time};
use jiff::tz::Offset;
use onemap_model::{DivisionCode, Timestamp};

use crate::error::{Fault, start};
use crate::message::{Info, Named};
use crate::time::whole_second;
use crate::words::{Category, Severity};

/// The parameter that keeps the colour, so that the way back needs no guess.
pub const SEVERITY: &str = "GB/T 35965.1 severity";
/// The name of the system of event codes.
pub const EVENT: &str = "GB/T 35561";
/// The name of the system of division codes.
pub const DIVISION: &str = "GB/T 2260";

const BEIJING: Offset = Offset::constant(8);

/// The colour of a statutory warning (预警). It is no severity of an alarm and no colour of air quality.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Colour {
    /// 蓝色, grade IV: Minor.
    Blue,
    /// 黄色, grade III: Moderate.
    Yellow,
    /// 橙色, grade II: Severe.
    Orange,
    /// 红色, grade I: Extreme.
    Red,
}

impl Colour {
    /// From the least to the worst.
    pub const ALL: [Self; 4] = [Self::Blue, Self::Yellow, Self::Orange, Self::Red];

    /// The word of GB/T 35965.1, which the parameter [`SEVERITY`] has.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Blue => "Blue",
            Self::Yellow => "Yellow",
            Self::Orange => "Orange",
            Self::Red => "Red",
        }
    }
    /// 蓝色, 黄色, 橙色, 红色.
    pub fn zh(self) -> &'static str {
        match self {
            Self::Blue => "蓝色",
            Self::Yellow => "黄色",
            Self::Orange => "橙色",
            Self::Red => "红色",
        }
    }
    /// The severity of CAP.
    pub fn severity(self) -> Severity {
        match self {
            Self::Blue => Severity::Minor,
            Self::Yellow => Severity::Moderate,
            Self::Orange => Severity::Severe,
            Self::Red => Severity::Extreme,
        }
    }
    /// The colour of a severity; `None` of Unknown.
    pub fn of(severity: Severity) -> Option<Self> {
        Self::ALL.into_iter().find(|colour| colour.severity() == severity)
    }
    /// The parameter that keeps it.
    pub fn parameter(self) -> Named {
        Named::new(SEVERITY, self.as_str())
    }
    /// The colour that an info states by its parameter. A severity alone is none: what others call Severe was
    /// not graded by Chinese law.
    pub fn stated(info: &Info) -> Option<Self> {
        let word = info.parameter(SEVERITY).next()?;
        Self::ALL
            .into_iter()
            .find(|colour| colour.as_str().eq_ignore_ascii_case(word))
    }
}

/// A kind of event by GB/T 35561: `11B03`, or five digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EventCode(String);

/// The four classes of emergencies (突发事件应对法).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventClass {
    /// 自然灾害
    Natural,
    /// 事故灾难
    Accident,
    /// 公共卫生
    Health,
    /// 社会安全
    Security,
}

impl EventClass {
    /// The Chinese name.
    pub fn zh(self) -> &'static str {
        match self {
            Self::Natural => "自然灾害",
            Self::Accident => "事故灾难",
            Self::Health => "公共卫生",
            Self::Security => "社会安全",
        }
    }
}

impl EventCode {
    /// Checks the form of a code: first a class 1 to 4, a digit, a capital letter or a digit, two digits. Whether the
    /// standard has such a code is not known here.
    ///
    /// # Errors
    /// [`Fault::EventCode`].
    pub fn new(text: &str) -> Result<Self, Fault> {
        match text.as_bytes() {
            [
                b'1'..=b'4',
                b'0'..=b'9',
                b'0'..=b'9' | b'A'..=b'Z',
                b'0'..=b'9',
                b'0'..=b'9',
            ] => Ok(Self(text.to_owned())),
            _ => Err(Fault::EventCode { found: start(text) }),
        }
    }
    /// The code.
    pub fn as_str(&self) -> &str {
        &self.0
    }
    /// The class by the first digit.
    pub fn class(&self) -> EventClass {
        match self.0.as_bytes().first() {
            Some(b'1') => EventClass::Natural,
            Some(b'2') => EventClass::Accident,
            Some(b'3') => EventClass::Health,
            _ => EventClass::Security,
        }
    }
    /// CAP's category, where the code says one: meteorology (11B) and the classes other than natural disasters,
    /// which are of several categories.
    pub fn category(&self) -> Option<Category> {
        match self.class() {
            EventClass::Natural => self.0.starts_with("11B").then_some(Category::Met),
            EventClass::Accident => Some(Category::Safety),
            EventClass::Health => Some(Category::Health),
            EventClass::Security => Some(Category::Security),
        }
    }
    /// The event code of an info.
    pub fn named(&self) -> Named {
        Named::new(EVENT, self.as_str())
    }
    /// The first code of this system that an info has and that has the form of one.
    pub fn stated(info: &Info) -> Option<Self> {
        info.event_codes
            .iter()
            .filter(|code| code.name == EVENT)
            .find_map(|code| Self::new(&code.value).ok())
    }
}

/// A division as a geocode of twelve digits, those below it zero: `630102` is `630102000000`. A grid (15 digits)
/// is the community that it is in.
pub fn geocode(division: &DivisionCode) -> Named {
    let digits: String = division.as_str().chars().take(12).collect();
    Named::new(DIVISION, format!("{digits:0<12}"))
}

/// The division that a geocode names; `None` when it is of another system or no code.
pub fn division(geocode: &Named) -> Option<DivisionCode> {
    let mut digits = Some(geocode)
        .filter(|geocode| geocode.name == DIVISION)?
        .value
        .as_str();
    while digits.len() > 6 && digits.ends_with("000") {
        digits = digits.get(..digits.len() - 3)?;
    }
    DivisionCode::new(digits).ok()
}

/// The identifier of a warning: `63010041600000_20261123081500`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WarningId {
    unit: String,
    at: Timestamp,
    serial: Option<u32>,
}

impl WarningId {
    /// From its parts: six digits of the division, three of the organisation, three internal ones, two of the
    /// extension (digits or capital letters but for the division), the second in which it is made, and a serial
    /// number where one second has several.
    ///
    /// # Errors
    /// [`Fault::WarningId`] when a part has another form or the time is not in the years 1 to 9999.
    pub fn new(
        division: &str,
        organisation: &str,
        internal: &str,
        extension: &str,
        at: Timestamp,
        serial: Option<u32>,
    ) -> Result<Self, Fault> {
        let unit = format!("{division}{organisation}{internal}{extension}");
        let is_unit =
            [division, organisation, internal, extension].map(str::len) == [6, 3, 3, 2] && is_unit(&unit);
        let at = whole_second(at).filter(|at| beijing(*at).is_some());
        match at {
            Some(at) if is_unit => Ok(Self { unit, at, serial }),
            _ => Err(Fault::WarningId { found: start(&unit) }),
        }
    }
    /// Reads one.
    ///
    /// # Errors
    /// [`Fault::WarningId`].
    pub fn parse(text: &str) -> Result<Self, Fault> {
        Self::of(text).ok_or_else(|| Fault::WarningId { found: start(text) })
    }
    fn of(text: &str) -> Option<Self> {
        let mut parts = text.split('_');
        let (unit, stamp, serial, rest) = (parts.next()?, parts.next()?, parts.next(), parts.next());
        let is_stamp = stamp.len() == 14 && stamp.bytes().all(|b| b.is_ascii_digit());
        if unit.len() != 14 || !is_unit(unit) || !is_stamp || rest.is_some() {
            return None;
        }
        let field = |from, to| stamp.get(from..to)?.parse::<i16>().ok();
        let small = |from, to| i8::try_from(field(from, to)?).ok();
        let date = Date::new(field(0, 4)?, small(4, 6)?, small(6, 8)?).ok()?;
        let time = Time::new(small(8, 10)?, small(10, 12)?, small(12, 14)?, 0).ok()?;
        let at = Timestamp::given(
            BEIJING
                .to_timestamp(date.to_datetime(time))
                .ok()?
                .as_millisecond(),
        )
        .ok()?;
        let serial = match serial {
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0') => {
                Some(digits.parse().ok()?)
            }
            Some("0") => Some(0),
            Some(_) => return None,
            None => None,
        };
        beijing(at).map(|_| Self {
            unit: unit.to_owned(),
            at,
            serial,
        })
    }
    /// The six digits of the division.
    pub fn division(&self) -> &str {
        self.unit.get(..6).unwrap_or_default()
    }
    /// The three characters of the organisation.
    pub fn organisation(&self) -> &str {
        self.unit.get(6..9).unwrap_or_default()
    }
    /// The second in which it was made.
    pub fn at(&self) -> Timestamp {
        self.at
    }
    /// The number within the second.
    pub fn serial(&self) -> Option<u32> {
        self.serial
    }
}

fn is_unit(text: &str) -> bool {
    let is_division = text.bytes().take(6).all(|b| b.is_ascii_digit());
    is_division && text.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase())
}

/// The time of Beijing, when its year has four digits.
fn beijing(at: Timestamp) -> Option<jiff::civil::DateTime> {
    let local = BEIJING.to_datetime(jiff::Timestamp::from_millisecond(at.ms()).ok()?);
    (1..=9999).contains(&local.year()).then_some(local)
}

impl fmt::Display for WarningId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(t) = beijing(self.at) else {
            return Err(fmt::Error);
        };
        write!(f, "{}_{:04}{:02}{:02}", self.unit, t.year(), t.month(), t.day())?;
        write!(f, "{:02}{:02}{:02}", t.hour(), t.minute(), t.second())?;
        self.serial.map_or(Ok(()), |serial| write!(f, "_{serial}"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn identifiers_are_in_beijing_time() {
        let at = Timestamp::parse("2026-11-23T16:15:09.9Z").unwrap();
        let id = WarningId::new("630100", "416", "000", "00", at, None).unwrap();
        assert_eq!(id.to_string(), "63010041600000_20261124001509");
        assert_eq!((id.division(), id.organisation()), ("630100", "416"));
        let second = WarningId::new("630100", "416", "000", "00", at, Some(2)).unwrap();
        assert_eq!(second.to_string(), "63010041600000_20261124001509_2");
        for id in [&id, &second] {
            assert_eq!(WarningId::parse(&id.to_string()).unwrap(), *id);
        }
        for bad in [
            "",
            "63010041600000",
            "6301004160000_20261124001509",
            "63010x41600000_20261124001509",
            "63010041600000_20261324001509",
            "63010041600000_20260229001509",
            "63010041600000_20261124241509",
            "63010041600000_2026112400150",
            "63010041600000_20261124001509_",
            "63010041600000_20261124001509_01",
            "63010041600000_20261124001509_+1",
            "63010041600000_20261124001509_1_2",
            "63010041600000_20261124001509_99999999999",
            "六三〇一〇041600000_20261124001509",
        ] {
            assert_eq!(WarningId::parse(bad).unwrap_err().code(), "warning_id", "{bad}");
        }
        assert!(WarningId::new("6301004", "16", "000", "00", at, None).is_err());
        assert!(WarningId::new("630100", "416", "000", "00", Timestamp::from_ms(i64::MIN), None).is_err());
    }

    #[test]
    fn colours_go_to_severities_and_back() {
        for colour in Colour::ALL {
            assert_eq!(Colour::of(colour.severity()), Some(colour));
        }
        assert_eq!(Colour::of(Severity::Unknown), None);
        assert_eq!(
            (Colour::Red.severity(), Colour::Blue.severity()),
            (Severity::Extreme, Severity::Minor)
        );
        assert!(Colour::Red > Colour::Orange);
    }

    #[test]
    fn divisions_have_twelve_digits() {
        let d = |text: &str| DivisionCode::new(text).unwrap();
        for (code, twelve) in [
            ("630100", "630100000000"),
            ("630102001", "630102001000"),
            ("630102001005", "630102001005"),
        ] {
            assert_eq!(geocode(&d(code)), Named::new(DIVISION, twelve));
            assert_eq!(division(&geocode(&d(code))), Some(d(code)));
        }
        assert_eq!(geocode(&d("630102001005007")).value, "630102001005");
        assert_eq!(division(&Named::new("FIPS6", "030049")), None);
        assert_eq!(division(&Named::new(DIVISION, "x")), None);
        assert_eq!(division(&Named::new(DIVISION, "六三〇一〇〇")), None);
    }

    #[test]
    fn event_codes_say_their_class() {
        let code = EventCode::new("11B03").unwrap();
        assert_eq!(
            (code.class(), code.category()),
            (EventClass::Natural, Some(Category::Met))
        );
        assert_eq!(EventCode::new("11A01").unwrap().category(), None);
        assert_eq!(EventCode::new("20101").unwrap().class().zh(), "事故灾难");
        for bad in ["", "11b03", "51B03", "11B3", "11B033", "一一B03"] {
            assert_eq!(EventCode::new(bad).unwrap_err().code(), "event_code", "{bad}");
        }
    }
}

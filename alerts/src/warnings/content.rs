//! What a warning says, as CAP has it; and what of it is missing.

use onemap_cap::draft::{Approval, Before, Region, Standing, Warning, Words};
use onemap_cap::gbt35965::{Colour, EventCode};
use onemap_cap::{Alert, Category, Certainty, Circle, Point, ResponseType, Urgency};
use onemap_model::{
    Timestamp, WarningApproval, WarningArea, WarningColour, WarningContent, WarningKind, WarningStanding,
    WarningWords,
};

use super::refused::ContentFault;
use super::ring;

const N_AREAS: usize = 100;
const N_SHAPES: usize = 50;
const N_DIVISIONS: usize = 200;

/// Where a message is tried before it has a name.
const TRIED: (&str, &str) = ("63010000000000_20260101000000", "onemap.invalid");

impl From<WarningColour> for ColourOf {
    fn from(colour: WarningColour) -> Self {
        Self(match colour {
            WarningColour::Blue => Colour::Blue,
            WarningColour::Yellow => Colour::Yellow,
            WarningColour::Orange => Colour::Orange,
            WarningColour::Red => Colour::Red,
        })
    }
}

/// The colour of GB/T 35965.1.
pub(super) struct ColourOf(pub(super) Colour);

/// Everything that keeps a draft from being issued, beyond its times; empty when nothing does.
pub fn faults(content: &WarningContent) -> Vec<ContentFault> {
    let sent = content.effective.unwrap_or(content.expires).min(content.expires);
    let approval = WarningApproval {
        authority: "-".to_owned(),
        name: "-".to_owned(),
        number: "-".to_owned(),
        at: sent,
    };
    match warning(content, TRIED, sent) {
        Err(faults) => faults,
        Ok(warning) => match message(&warning, content.standing, &approval, WarningKind::Alert, None) {
            Ok(_) => Vec::new(),
            Err(fault) => vec![fault],
        },
    }
}

/// The message of a warning.
pub(super) fn message(
    warning: &Warning,
    standing: WarningStanding,
    approval: &WarningApproval,
    kind: WarningKind,
    before: Option<&Alert>,
) -> Result<Alert, ContentFault> {
    let standing = match standing {
        WarningStanding::Exercise => Standing::Exercise,
        WarningStanding::Test => Standing::Test,
        WarningStanding::Actual => Standing::Issued(Approval {
            by: format!("{} {}", approval.authority.trim(), approval.name.trim()),
            number: approval.number.trim().to_owned(),
        }),
    };
    let replaced: Vec<&Alert> = before.into_iter().collect();
    let before = match kind {
        WarningKind::Alert => Before::Nothing,
        WarningKind::Update => Before::Updates(&replaced),
        WarningKind::Cancel => Before::Cancels(&replaced),
    };
    warning.alert(&standing, before).map_err(|error| {
        let (code, text) = (error.code(), error.fault.to_string());
        ContentFault::new(error.place.path, code, text)
    })
}

/// What CAP's draft needs; all faults when it is not there.
pub(super) fn warning(
    content: &WarningContent,
    (identifier, sender): (&str, &str),
    sent: Timestamp,
) -> Result<Warning, Vec<ContentFault>> {
    let mut found = Vec::new();
    let event_code = EventCode::new(&content.event_code)
        .map_err(|fault| found.push(ContentFault::new("event_code", fault.code(), fault.to_string())))
        .ok();
    let mut categories = words("categories", &content.categories, Category::ALL, &mut found);
    if content.categories.is_empty() {
        categories.extend(event_code.as_ref().and_then(EventCode::category));
    }
    if categories.is_empty() && found.is_empty() {
        found.push(ContentFault::new(
            "categories",
            "missing",
            "the event code says no category: at least one is needed",
        ));
    }
    let urgency = word("urgency", &content.urgency, Urgency::ALL, &mut found);
    let certainty = word("certainty", &content.certainty, Certainty::ALL, &mut found);
    let response_types = words(
        "response_types",
        &content.response_types,
        ResponseType::ALL,
        &mut found,
    );
    let areas = regions(&content.areas, &mut found);
    filled("zh", &content.zh, &mut found);
    filled("en", &content.en, &mut found);
    let (Some(event_code), true) = (event_code, found.is_empty()) else {
        return Err(found);
    };
    let ColourOf(colour) = content.colour.into();
    Ok(Warning {
        identifier: identifier.to_owned(),
        sender: sender.to_owned(),
        sent,
        colour,
        event_code,
        categories,
        urgency: urgency.unwrap_or(Urgency::Unknown),
        certainty: certainty.unwrap_or(Certainty::Unknown),
        response_types,
        effective: content.effective,
        onset: content.onset,
        expires: content.expires,
        zh: spoken(&content.zh),
        en: spoken(&content.en),
        areas,
        web: content.web.clone(),
        contact: content.contact.clone(),
        parameters: Vec::new(),
    })
}

fn spoken(words: &WarningWords) -> Words {
    let WarningWords {
        event,
        sender_name,
        headline,
        description,
        instruction,
    } = words.clone();
    Words {
        event,
        sender_name,
        headline,
        description,
        instruction,
    }
}

fn filled(language: &str, words: &WarningWords, found: &mut Vec<ContentFault>) {
    for (name, text) in [
        ("event", &words.event),
        ("sender_name", &words.sender_name),
        ("headline", &words.headline),
        ("description", &words.description),
        ("instruction", &words.instruction),
    ] {
        if text.trim().is_empty() {
            found.push(ContentFault::new(
                format!("{language}/{name}"),
                "empty",
                "the text is empty",
            ));
        }
    }
}

/// The word of CAP's list; none where nothing stands.
fn word<W: Copy + std::fmt::Display>(
    field: &str,
    text: &str,
    all: &[W],
    found: &mut Vec<ContentFault>,
) -> Option<W> {
    if text.is_empty() {
        return None;
    }
    let word = all.iter().find(|word| word.to_string() == text).copied();
    if word.is_none() {
        let known: Vec<String> = all.iter().map(ToString::to_string).collect();
        let text: String = text.chars().take(64).collect();
        let said = format!("`{text}` is none of {}", known.join(", "));
        found.push(ContentFault::new(field, "word", said));
    }
    word
}

fn words<W: Copy + std::fmt::Display>(
    field: &str,
    texts: &[String],
    all: &[W],
    found: &mut Vec<ContentFault>,
) -> Vec<W> {
    let mut read = Vec::new();
    for (text, n) in texts.iter().zip(1..).take(all.len()) {
        if text.is_empty() {
            found.push(ContentFault::new(
                format!("{field}[{n}]"),
                "empty",
                "the word is empty",
            ));
        }
        read.extend(word(&format!("{field}[{n}]"), text, all, found));
    }
    read
}

fn regions(areas: &[WarningArea], found: &mut Vec<ContentFault>) -> Vec<Region> {
    if areas.is_empty() {
        found.push(ContentFault::new(
            "areas",
            "no_area",
            "a warning says where it holds",
        ));
    }
    if areas.len() > N_AREAS {
        let text = format!("a warning has at most {N_AREAS} areas");
        found.push(ContentFault::new("areas", "too_many", text));
        return Vec::new();
    }
    areas
        .iter()
        .zip(1..)
        .map(|(area, n)| region(&format!("areas[{n}]"), area, found))
        .collect()
}

fn region(field: &str, area: &WarningArea, found: &mut Vec<ContentFault>) -> Region {
    let mut say = |at: String, code, text: &str| found.push(ContentFault::new(at, code, text));
    for (name, text) in [("zh", &area.zh), ("en", &area.en)] {
        if text.trim().is_empty() {
            say(format!("{field}/{name}"), "empty", "the area has no name");
        }
    }
    let n_shapes = area.polygons.len() + area.outlines.len() + area.circles.len();
    if n_shapes + area.divisions.len() == 0 {
        let text = "neither a division nor a polygon nor a circle says where it is";
        say(field.to_owned(), "no_place", text);
    }
    if n_shapes > N_SHAPES || area.divisions.len() > N_DIVISIONS {
        let text = format!("an area has at most {N_SHAPES} shapes and {N_DIVISIONS} divisions");
        say(field.to_owned(), "too_many", &text);
        return Region {
            zh: String::new(),
            en: String::new(),
            polygons: vec![],
            circles: vec![],
            divisions: vec![],
        };
    }
    let rings = [("polygons", &area.polygons), ("outlines", &area.outlines)];
    let mut polygons = Vec::new();
    for (name, rings) in rings {
        for (ring, n) in rings.iter().zip(1..) {
            match ring::drawn(&format!("{field}/{name}[{n}]"), ring) {
                Ok(polygon) => polygons.push(polygon),
                Err(fault) => found.push(fault),
            }
        }
    }
    let mut circles = Vec::new();
    for (circle, n) in area.circles.iter().zip(1..) {
        let round = |v: f64| (v * 1e6).round() / 1e6;
        let centre = Point::new(round(circle.lat), round(circle.lon));
        match centre.and_then(|centre| Circle::new(centre, round(circle.radius_km))) {
            Some(circle) => circles.push(circle),
            None => found.push(ContentFault::new(
                format!("{field}/circles[{n}]"),
                "circle",
                "a circle has a centre on the globe and a radius in km from 0 on",
            )),
        }
    }
    Region {
        zh: area.zh.clone(),
        en: area.en.clone(),
        polygons,
        circles,
        divisions: area.divisions.clone(),
    }
}

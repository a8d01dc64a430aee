//! Names while they are typed: by their beginning, by pinyin, by initials (`xnz`), by sound, by a piece of them.

use super::answer::Level;
use super::gazetteer::{Gazetteer, Rank};
use super::names::Style;
use super::parse::{Reader, Sight};
use super::pinyin::Pinyin;
use super::resolve::level;
use super::text::{AddressError, Text};
use super::zone::Zone;
use super::{Asker, Geocoder};
use onemap_model::DivisionCode;
use serde_json::{Value, json};

/// Longest text that is completed, in characters.
pub const MAX_TYPED: usize = 64;
/// Names looked at for one way of typing.
const N_LOOKED_AT: usize = 2_000;
/// Readings of one name: 乐都 is typed `ledu`, `yuedu`.
const N_READINGS: usize = 4;

/// A name that may be meant.
#[derive(Clone, Debug, PartialEq)]
pub struct Suggestion {
    /// Its name.
    pub name: String,
    /// Code in the register or division code; empty for a road that only doors name.
    pub code: std::sync::Arc<str>,
    /// A division's level, `road` or `place`.
    pub level: Level,
    /// Where it lies.
    pub division: Option<DivisionCode>,
    /// Names of its divisions, province first, joined.
    pub division_name: String,
    /// Longitude and latitude, WGS 84 degrees.
    pub position: Option<[f64; 2]>,
    /// `name`, `pinyin`, `initials`, `sound` or `part`: how it was found.
    pub by: &'static str,
}

impl Suggestion {
    /// As JSON.
    pub fn to_json(&self) -> Value {
        json!({
            "name": self.name,
            "code": (!self.code.is_empty()).then_some(&*self.code),
            "level": self.level.name(),
            "division": self.division.as_ref().map(DivisionCode::as_str),
            "division_name": self.division_name,
            "position": self.position.map(|[lon, lat]| json!({"lon": lon, "lat": lat})),
            "by": self.by,
        })
    }
}

/// Spellings in the order of their characters, and of how they are typed in letters.
pub(crate) struct Typing {
    by_text: Vec<u32>,
    letters: String,
    by_pinyin: Vec<Key>,
    by_initials: Vec<Key>,
}

#[derive(Clone, Copy)]
struct Key {
    start: u32,
    len: u16,
    spelling: u32,
}

impl Typing {
    pub(crate) fn new(gazetteer: &Gazetteer) -> Self {
        let names = &gazetteer.names;
        let table = Pinyin::table();
        let mut made = Self {
            by_text: Vec::new(),
            letters: String::new(),
            by_pinyin: Vec::new(),
            by_initials: Vec::new(),
        };
        for spelling in 0..names.n_spellings() as u32 {
            let text = names.text(spelling);
            if text.iter().all(char::is_ascii_digit) {
                continue;
            }
            made.by_text.push(spelling);
            let (pinyin, initials) = typed(table, text);
            for (keys, typed) in [(&mut made.by_pinyin, pinyin), (&mut made.by_initials, initials)] {
                for text in typed {
                    let start = made.letters.len() as u32;
                    made.letters.push_str(&text);
                    keys.push(Key {
                        start,
                        len: text.len() as u16,
                        spelling,
                    });
                }
            }
        }
        made.by_text
            .sort_unstable_by(|a, b| names.text(*a).cmp(names.text(*b)));
        let letters = &made.letters;
        for keys in [&mut made.by_pinyin, &mut made.by_initials] {
            keys.sort_unstable_by(|a, b| {
                text(letters, *a)
                    .cmp(text(letters, *b))
                    .then(a.spelling.cmp(&b.spelling))
            });
        }
        made
    }

    fn with_letters<'a>(&'a self, keys: &'a [Key], typed: &'a str) -> impl Iterator<Item = (u32, bool)> + 'a {
        let from = keys.partition_point(|key| text(&self.letters, *key) < typed);
        keys[from..]
            .iter()
            .map_while(move |key| {
                let whole = text(&self.letters, *key);
                whole
                    .starts_with(typed)
                    .then_some((key.spelling, whole.len() == typed.len()))
            })
            .take(N_LOOKED_AT)
    }
}

fn text(letters: &str, key: Key) -> &str {
    &letters[key.start as usize..key.start as usize + usize::from(key.len)]
}

/// A name in full pinyin and in initials, in each of its readings; other letters and digits stand for themselves.
fn typed(table: &Pinyin, name: &[char]) -> (Vec<String>, Vec<String>) {
    let (mut whole, mut initials) = (vec![String::new()], vec![String::new()]);
    for c in name {
        let own = c.to_ascii_lowercase().to_string();
        let mut readings: Vec<&str> = table.readings(*c).collect();
        if readings.is_empty() {
            if !c.is_ascii_alphanumeric() {
                continue;
            }
            readings.push(&own);
        }
        let more = |all: &mut Vec<String>, short: bool| {
            let mut next: Vec<String> = Vec::new();
            for reading in &readings {
                let piece = if short {
                    reading.get(..1).unwrap_or_default()
                } else {
                    reading
                };
                for before in all.iter() {
                    let made = format!("{before}{piece}");
                    if next.len() < N_READINGS && !next.contains(&made) {
                        next.push(made);
                    }
                }
            }
            *all = next;
        };
        more(&mut whole, false);
        more(&mut initials, true);
    }
    whole.retain(|text| !text.is_empty());
    initials.retain(|text| text.len() > 1);
    (whole, initials)
}

/// Whole names first, by way of typing, kind, length and thing.
type Order = (u32, u32, u32, usize, u32);

/// A spelling found, where it must lie, how it was found, and whether it is whole.
struct Met {
    spelling: u32,
    zone: Zone,
    by: &'static str,
    order: u32,
    whole: bool,
}

impl Geocoder {
    /// Completes what is typed: Chinese, pinyin, initials or a mixture, a division in front of it or not. Best
    /// first, at most `limit`; empty when nothing fits.
    ///
    /// # Errors
    /// [`AddressError`] as of [`Geocoder::geocode`]; more than [`MAX_TYPED`] characters are too long.
    pub fn suggest(&self, raw: &str, asker: &Asker, limit: usize) -> Result<Vec<Suggestion>, AddressError> {
        let read = Text::read(raw)?;
        if read.chars.len() > MAX_TYPED {
            return Err(AddressError::TooLong {
                got: read.chars.len(),
            });
        }
        if read.chars.is_empty() {
            return Err(AddressError::Empty);
        }
        let sight = asker.sight();
        let mut met: Vec<Met> = Vec::new();
        self.complete(&read.chars, Zone::WORLD, &mut met);
        let reader = Reader::new(&self.gazetteer, &read, sight);
        for head in reader.heads() {
            let end = head.heads.last().map_or(0, |(_, end, _)| *end);
            if end > 0 && end < read.chars.len() {
                self.complete(&read.chars[end..], head.zone, &mut met);
            }
        }
        Ok(self.ranked(met, sight, limit))
    }

    fn complete(&self, typed_text: &[char], zone: Zone, met: &mut Vec<Met>) {
        let names = &self.gazetteer.names;
        let typing = &self.typing;
        let from = typing.by_text.partition_point(|id| names.text(*id) < typed_text);
        let beginning = typing.by_text[from..]
            .iter()
            .take_while(|id| names.text(**id).starts_with(typed_text));
        for id in beginning.take(N_LOOKED_AT) {
            let whole = names.text(*id).len() == typed_text.len();
            met.push(Met {
                spelling: *id,
                zone,
                by: "name",
                order: 0,
                whole,
            });
        }
        let table = Pinyin::table();
        let letters = typed_text.iter().all(|c| c.is_ascii_alphanumeric());
        let mut sounds = String::new();
        for c in typed_text {
            match table.readings(*c).next() {
                Some(syllable) => sounds.push_str(syllable),
                None if c.is_ascii_alphanumeric() => sounds.push(c.to_ascii_lowercase()),
                None => {}
            }
        }
        if sounds.is_empty() {
            return;
        }
        let by = if letters { "pinyin" } else { "sound" };
        for (spelling, whole) in typing.with_letters(&typing.by_pinyin, &sounds) {
            met.push(Met {
                spelling,
                zone,
                by,
                order: if letters { 1 } else { 2 },
                whole,
            });
        }
        if letters && sounds.len() > 1 {
            for (spelling, whole) in typing.with_letters(&typing.by_initials, &sounds) {
                met.push(Met {
                    spelling,
                    zone,
                    by: "initials",
                    order: 1,
                    whole,
                });
            }
        } else if typed_text.len() > 1 {
            let mut n = 0;
            names.sharing(&typed_text[..2], |ids| {
                for id in ids.iter().take(N_LOOKED_AT) {
                    n += 1;
                    if n < 4 * N_LOOKED_AT
                        && names.text(*id).windows(typed_text.len()).any(|w| w == typed_text)
                    {
                        met.push(Met {
                            spelling: *id,
                            zone,
                            by: "part",
                            order: 3,
                            whole: false,
                        });
                    }
                }
            });
        }
    }

    fn ranked(&self, met: Vec<Met>, sight: Sight, limit: usize) -> Vec<Suggestion> {
        let names = &self.gazetteer.names;
        let mut found: Vec<(Order, &'static str)> = Vec::new();
        for Met {
            spelling,
            zone,
            by,
            order,
            whole,
        } in met
        {
            let n = names.text(spelling).len();
            for name in names.named(spelling).take(64) {
                let thing = self.gazetteer.thing(name.thing);
                let own = thing.rank.is_division();
                let inside = zone == Zone::WORLD
                    || thing
                        .zone
                        .is_some_and(|at| zone.covers(at) && !(own && zone == at));
                if !inside || !(own || sight.sees(thing.zone)) {
                    continue;
                }
                let kind = match thing.rank {
                    Rank::Province | Rank::City | Rank::District => 0,
                    Rank::Road | Rank::Place => 1,
                    Rank::Town => 2,
                    Rank::Community => 3,
                };
                let style = u32::from(name.style == Style::Short);
                found.push(((u32::from(!whole), order + style, kind, n, name.thing), by));
            }
        }
        found.sort_unstable();
        let mut said: Vec<u32> = Vec::new();
        let mut suggestions = Vec::new();
        for ((.., id), by) in found {
            if suggestions.len() == limit {
                break;
            }
            if said.contains(&id) {
                continue;
            }
            said.push(id);
            let thing = self.gazetteer.thing(id);
            let chain = thing
                .zone
                .map(|zone| self.gazetteer.chain(zone).map(|t| &*t.name).collect());
            suggestions.push(Suggestion {
                name: thing.name.to_string(),
                code: thing.code.clone(),
                level: level(thing.rank),
                division: thing.division.clone(),
                division_name: chain.unwrap_or_default(),
                position: thing.at.map(|at| [at.lon_degrees(), at.lat_degrees()]),
                by,
            });
        }
        suggestions
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::{Entry, EntryKind, Ground, base_entries};
    use super::*;

    fn geocoder() -> Geocoder {
        let place = |code: &str, name: &str, division: &str| Entry {
            stated_m: 0.0,
            held: true,
            code: code.into(),
            name: name.into(),
            aliases: vec![],
            kind: EntryKind::Place,
            division: DivisionCode::new(division).ok(),
            ground: Ground::Point {
                at: [101.8, 36.6],
                precision_m: 10.0,
            },
        };
        let places = [
            place("P1", "西宁站", "630102"),
            place("P2", "西宁北站", "630105"),
            place("P3", "青海省博物馆", "630104"),
            place("P4", "乐都南站", "630202"),
        ];
        Geocoder::new(base_entries().into_iter().chain(places), [])
    }

    #[test]
    fn names_are_completed_in_every_way_of_typing() {
        let geocoder = geocoder();
        let first = |typed: &str| {
            let found = geocoder.suggest(typed, &Asker::default(), 5).unwrap();
            found
                .first()
                .map(|s| format!("{} {}", s.name, s.by))
                .unwrap_or_default()
        };
        for (typed, want) in [
            ("xnz", "西宁站 initials"),
            ("XNB", "西宁北站 initials"),
            ("xiningz", "西宁站 pinyin"),
            ("西宁站", "西宁站 name"),
            ("西宁北", "西宁北站 name"),
            ("西宁zhan", "西宁站 sound"),
            ("西凝站", "西宁站 sound"),
            ("博物馆", "青海省博物馆 part"),
            ("城西区qhsbwg", "青海省博物馆 initials"),
            ("yuedunan", "乐都南站 pinyin"),
            ("ledunan", "乐都南站 pinyin"),
            ("huangzhong", "湟中区 pinyin"),
            ("zzzz", ""),
        ] {
            assert_eq!(first(typed), want, "{typed}");
        }
        assert!(geocoder.suggest(&"x".repeat(65), &Asker::default(), 5).is_err());
    }

    #[test]
    fn a_division_sees_its_own_places_only() {
        let asker = Asker {
            division: DivisionCode::new("630102").ok(),
            near: None,
        };
        let found = geocoder().suggest("xn", &asker, 20).unwrap();
        let places: Vec<_> = found
            .iter()
            .filter(|s| s.level == Level::Place)
            .map(|s| &*s.name)
            .collect();
        assert_eq!(places, ["西宁站"]);
    }
}

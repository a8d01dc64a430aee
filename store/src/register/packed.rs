//! Entities as the register keeps them in memory: one block of bytes each.
//!
//! A city has a million of them, and an [`Entity`] with its parsed JSON takes over a kilobyte where its bytes take
//! some 150. Names, texts and attributes stand as they are written to the file, the geometry as well-known binary.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use onemap_model::code::ClassCode;
use onemap_model::hydrology::DatumName;
use onemap_model::{Entity, EntityCode, EntityKind, FormerCode, Stratum, Timestamp};
use serde_json::Value;

use super::entity::KINDS;
use super::geometry::Geometry;

/// An entity without its kind and code, which are its key.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Packed(Arc<[u8]>);

/// What a [`Packed`] holds, borrowed from it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Fields<'a> {
    pub(crate) name: &'a str,
    pub(crate) name_en: &'a str,
    pub(crate) division: &'a str,
    pub(crate) department: &'a str,
    pub(crate) class: &'a str,
    pub(crate) stratum: Stratum,
    pub(crate) z_range_m: Option<[f64; 2]>,
    pub(crate) height_datum: Option<DatumName>,
    pub(crate) valid_from: Option<Timestamp>,
    pub(crate) valid_to: Option<Timestamp>,
    /// JSON; empty for none.
    pub(crate) former: &'a str,
    /// JSON; empty for none.
    pub(crate) attributes: &'a str,
    pub(crate) source: &'a str,
    /// Well-known binary; empty for none.
    pub(crate) geometry: &'a [u8],
}

const DATUMS: [DatumName; 6] = [
    DatumName::National1985,
    DatumName::Huanghai,
    DatumName::Wusong,
    DatumName::Dagu,
    DatumName::Zhujiang,
    DatumName::Assumed,
];

impl Packed {
    /// Of an entity and its checked geometry.
    pub(crate) fn new(entity: &Entity, geometry: Option<&Geometry>) -> Self {
        let json = |empty: bool, value: &dyn Fn() -> serde_json::Result<String>| match empty {
            true => String::new(),
            false => value().expect("keys of the register's JSON are texts"),
        };
        let mut wkb = Vec::new();
        if let Some(geometry) = geometry {
            geometry.wkb(&mut wkb);
        }
        Self::of(&Fields {
            name: &entity.name,
            name_en: &entity.name_en,
            division: entity.division.as_ref().map_or("", |d| d.as_str()),
            department: &entity.department,
            class: entity.class.as_ref().map_or("", |c| c.as_str()),
            stratum: entity.stratum,
            z_range_m: entity.z_range_m,
            height_datum: entity.height_datum,
            valid_from: entity.valid_from,
            valid_to: entity.valid_to,
            former: &json(entity.former.is_empty(), &|| {
                serde_json::to_string(&entity.former)
            }),
            attributes: &json(entity.attributes.is_empty(), &|| {
                serde_json::to_string(&entity.attributes)
            }),
            source: &entity.source,
            geometry: &wkb,
        })
    }

    /// Of fields that were read from the register's file.
    pub(crate) fn of(fields: &Fields<'_>) -> Self {
        let mut out = Vec::with_capacity(96 + fields.attributes.len() + fields.geometry.len());
        let stratum = match fields.stratum {
            Stratum::Above => 0,
            Stratum::Surface => 1,
            Stratum::Below => 2,
        };
        let datum = fields
            .height_datum
            .and_then(|datum| DATUMS.iter().position(|d| *d == datum));
        let has = |present: bool, bit: u8| u8::from(present) << bit;
        out.push(stratum | (datum.map_or(0, |i| i as u8 + 1) << 2));
        out.push(
            has(fields.z_range_m.is_some(), 0)
                | has(fields.valid_from.is_some(), 1)
                | has(fields.valid_to.is_some(), 2),
        );
        for height in fields.z_range_m.iter().flatten() {
            out.extend_from_slice(&height.to_le_bytes());
        }
        for time in [fields.valid_from, fields.valid_to].into_iter().flatten() {
            out.extend_from_slice(&time.ms().to_le_bytes());
        }
        for part in [
            fields.name.as_bytes(),
            fields.name_en.as_bytes(),
            fields.division.as_bytes(),
            fields.department.as_bytes(),
            fields.class.as_bytes(),
            fields.former.as_bytes(),
            fields.attributes.as_bytes(),
            fields.source.as_bytes(),
            fields.geometry,
        ] {
            let mut n = part.len();
            while n >= 0x80 {
                out.push(n as u8 | 0x80);
                n >>= 7;
            }
            out.push(n as u8);
            out.extend_from_slice(part);
        }
        Self(out.into())
    }

    /// What it holds.
    pub(crate) fn fields(&self) -> Fields<'_> {
        let mut rest = &self.0[..];
        read(&mut rest).expect("these bytes were written by this type")
    }

    /// The whole entity.
    pub(crate) fn entity(&self, kind: &EntityKind, code: &EntityCode) -> Entity {
        let fields = self.fields();
        let text = |text: &str| text.to_owned();
        let parsed = "it was checked before it was packed";
        Entity {
            code: code.clone(),
            kind: kind.clone(),
            name: text(fields.name),
            name_en: text(fields.name_en),
            division: (!fields.division.is_empty()).then(|| fields.division.parse().expect(parsed)),
            department: text(fields.department),
            geometry: match self.geometry() {
                None => Value::Null,
                Some(geometry) => geometry.to_json(),
            },
            class: (!fields.class.is_empty()).then(|| ClassCode::parse(fields.class).expect(parsed)),
            stratum: fields.stratum,
            z_range_m: fields.z_range_m,
            height_datum: fields.height_datum,
            valid_from: fields.valid_from,
            valid_to: fields.valid_to,
            former: self.former(),
            attributes: match fields.attributes {
                "" => serde_json::Map::new(),
                json => serde_json::from_str(json).expect(parsed),
            },
            source: text(fields.source),
        }
    }

    /// Its geometry.
    pub(crate) fn geometry(&self) -> Option<Geometry> {
        Geometry::from_wkb(self.fields().geometry)
    }

    fn former(&self) -> Vec<FormerCode> {
        match self.fields().former {
            "" => Vec::new(),
            json => serde_json::from_str(json).expect("it was checked before it was packed"),
        }
    }
}

impl std::fmt::Debug for Packed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.fields().fmt(f)
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}

/// A part with its length before it.
fn part<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (mut n, mut shift) = (0_usize, 0);
    loop {
        let [byte] = take(rest)?;
        n |= usize::from(byte & 0x7F).checked_shl(shift)?;
        shift += 7;
        if byte < 0x80 {
            break;
        }
    }
    let (head, tail) = rest.split_at_checked(n)?;
    *rest = tail;
    Some(head)
}

fn read<'a>(rest: &mut &'a [u8]) -> Option<Fields<'a>> {
    let [kinds, present] = take(rest)?;
    let mut fields = Fields {
        stratum: match kinds & 3 {
            0 => Stratum::Above,
            1 => Stratum::Surface,
            _ => Stratum::Below,
        },
        height_datum: (kinds >> 2)
            .checked_sub(1)
            .and_then(|i| DATUMS.get(usize::from(i)).copied()),
        ..Fields::default()
    };
    if present & 1 != 0 {
        fields.z_range_m = Some([f64::from_le_bytes(take(rest)?), f64::from_le_bytes(take(rest)?)]);
    }
    if present & 2 != 0 {
        fields.valid_from = Some(Timestamp::from_ms(i64::from_le_bytes(take(rest)?)));
    }
    if present & 4 != 0 {
        fields.valid_to = Some(Timestamp::from_ms(i64::from_le_bytes(take(rest)?)));
    }
    let text = |rest: &mut &'a [u8]| std::str::from_utf8(part(rest)?).ok();
    fields.name = text(rest)?;
    fields.name_en = text(rest)?;
    fields.division = text(rest)?;
    fields.department = text(rest)?;
    fields.class = text(rest)?;
    fields.former = text(rest)?;
    fields.attributes = text(rest)?;
    fields.source = text(rest)?;
    fields.geometry = part(rest)?;
    Some(fields)
}

/// The bytes that a [`Written`] is read from, to be handed on by who does not read them.
pub type Card = Arc<[u8]>;

/// The name in the first bytes of a card; empty when it has none, or when this is no card.
pub fn name_on(card: &[u8]) -> &str {
    let mut rest = card;
    let heights_and_times = |rest: &mut &[u8]| {
        let [_, present] = take(rest)?;
        let n = 16 * usize::from(present & 1) + 8 * (present >> 1 & 3).count_ones() as usize;
        *rest = rest.get(n..)?;
        Some(())
    };
    let name = heights_and_times(&mut rest).and_then(|()| part(&mut rest));
    name.and_then(|name| std::str::from_utf8(name).ok())
        .unwrap_or_default()
}

/// Names, source and attributes of one entity as its card has them.
#[derive(Clone, Copy, Debug)]
pub struct Written<'a> {
    /// Name, Chinese first.
    pub name: &'a str,
    /// English name; empty for none.
    pub name_en: &'a str,
    /// Where it comes from; empty when nobody said.
    pub source: &'a str,
    /// The department that owns it or answers for it; empty for none.
    pub department: &'a str,
    /// Attributes as a JSON object; empty for none.
    pub attributes: &'a str,
}

impl<'a> Written<'a> {
    /// Of a card that [`Entities::card`] gave; `None` when it is none.
    pub fn of(card: &'a [u8]) -> Option<Self> {
        let fields = read(&mut &card[..])?;
        Some(Self {
            name: fields.name,
            name_en: fields.name_en,
            source: fields.source,
            department: fields.department,
            attributes: fields.attributes,
        })
    }
}

/// What an entity says of itself, besides its place, read from its bytes without
/// unpacking it.
#[derive(Clone, Copy, Debug)]
pub struct Stated<'a> {
    /// Name, Chinese first.
    pub name: &'a str,
    /// English name; empty for none.
    pub name_en: &'a str,
    /// Division as stated; empty for none.
    pub division: &'a str,
    /// Department as stated; empty for none.
    pub department: &'a str,
    /// Class by the catalogue; empty for none.
    pub class: &'a str,
    /// Above, on or below the ground.
    pub stratum: Stratum,
    /// Valid from, if known.
    pub valid_from: Option<Timestamp>,
    /// Valid until, if it ended.
    pub valid_to: Option<Timestamp>,
    /// Other attributes as JSON; empty for none.
    pub attributes: &'a str,
}

impl Stated<'_> {
    /// Whether its class is this: by the catalogue, else attribute `class`, what its source calls so.
    pub fn is_of_class(&self, class: &str) -> bool {
        if !self.class.is_empty() {
            return self.class == class;
        }
        // Few have the attribute: what does not name it is not parsed.
        self.attributes.contains("\"class\"")
            && serde_json::from_str::<serde_json::Map<String, Value>>(self.attributes)
                .is_ok_and(|attributes| attributes.get("class").and_then(Value::as_str) == Some(class))
    }
}

impl Packed {
    fn stated(&self) -> Stated<'_> {
        let fields = self.fields();
        Stated {
            name: fields.name,
            name_en: fields.name_en,
            division: fields.division,
            department: fields.department,
            class: fields.class,
            stratum: fields.stratum,
            valid_from: fields.valid_from,
            valid_to: fields.valid_to,
            attributes: fields.attributes,
        }
    }
}

/// Every entity of the register, by kind and code. Geometries stand as the register keeps them: numbers are
/// floats, and members besides `type` and `coordinates` are gone.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Entities {
    all: BTreeMap<(EntityKind, EntityCode), Packed>,
    /// Codes of before to the entities that had them.
    former: HashMap<EntityCode, BTreeSet<(EntityKind, EntityCode)>>,
}

impl Entities {
    /// One entity by kind and code, not by a code of before.
    pub fn get(&self, kind: &EntityKind, code: &str) -> Option<Entity> {
        let key = (kind.clone(), EntityCode::from(code));
        self.all.get(&key).map(|packed| packed.entity(&key.0, &key.1))
    }

    /// What is written of an entity besides its place.
    pub fn written(&self, kind: &EntityKind, code: &EntityCode) -> Option<Written<'_>> {
        let packed = self.all.get(&(kind.clone(), code.clone()))?;
        Written::of(&packed.0)
    }

    /// The same of an entity, packed and shared with the register, so it may be read later.
    pub fn card(&self, kind: &EntityKind, code: &EntityCode) -> Option<Card> {
        Some(self.all.get(&(kind.clone(), code.clone()))?.0.clone())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// All of them, by kind and code, each unpacked as it is asked for.
    pub fn iter(&self) -> impl Iterator<Item = Entity> {
        self.all
            .iter()
            .map(|((kind, code), packed)| packed.entity(kind, code))
    }

    /// All of them with their cards.
    pub fn with_cards(&self) -> impl Iterator<Item = (Entity, Card)> {
        let all = self.all.iter();
        all.map(|((kind, code), packed)| (packed.entity(kind, code), packed.0.clone()))
    }

    /// Whether there is an entity of this kind and code.
    pub fn contains(&self, kind: &EntityKind, code: &EntityCode) -> bool {
        self.all.contains_key(&(kind.clone(), code.clone()))
    }

    /// The codes of one kind, in order.
    pub fn codes(&self, kind: &EntityKind) -> impl Iterator<Item = &EntityCode> {
        let from = (kind.clone(), EntityCode::from(""));
        let all = self.all.range(from..).take_while(move |((of, _), _)| of == kind);
        all.map(|((_, code), _)| code)
    }

    /// What one says of itself.
    pub fn stated(&self, kind: &EntityKind, code: &EntityCode) -> Option<Stated<'_>> {
        self.all.get(&(kind.clone(), code.clone())).map(Packed::stated)
    }

    /// What those of a kind say of themselves, by code, those behind `after` when it is given: for reading all of them
    /// in pieces.
    pub fn stated_behind(
        &self,
        kind: &EntityKind,
        after: Option<&EntityCode>,
    ) -> impl Iterator<Item = (&EntityCode, Stated<'_>)> {
        let from = match after {
            Some(code) => Bound::Excluded((kind.clone(), code.clone())),
            None => Bound::Included((kind.clone(), EntityCode::from(""))),
        };
        let all = self.all.range((from, Bound::Unbounded));
        let own = all.take_while(move |((of, _), _)| of == kind);
        own.map(|((_, code), packed)| (code, packed.stated()))
    }

    /// Those of a kind, by code.
    pub fn of_kind(&self, kind: &EntityKind) -> impl Iterator<Item = Entity> {
        let from = (kind.clone(), EntityCode::from(""));
        let all = self.all.range(from..).take_while(move |((of, _), _)| of == kind);
        all.map(|((kind, code), packed)| packed.entity(kind, code))
    }

    /// The entities of a code, whatever their kind; a code is unique only with its kind. Behind those that have it
    /// now the ones that had it before.
    pub fn with_code(&self, code: &str) -> impl Iterator<Item = Entity> {
        let code: EntityCode = code.into();
        let before: Vec<_> = self.former.get(&code).into_iter().flatten().cloned().collect();
        let now = KINDS.into_iter().map(move |kind| (kind, code.clone()));
        now.chain(before)
            .filter_map(|key| Some(self.all.get(&key)?.entity(&key.0, &key.1)))
    }

    /// Puts one; says whether that altered anything. One of the same kind that stands under a code it had before
    /// is the same thing, and goes.
    pub(crate) fn put(&mut self, kind: EntityKind, code: EntityCode, packed: Packed) -> bool {
        let key = (kind, code);
        let before = self.all.get(&key);
        if before == Some(&packed) {
            return false;
        }
        if let Some(before) = before.cloned() {
            self.forget(&key, &before);
        }
        for former in packed.former() {
            if former.code != key.1 {
                self.remove(&key.0, &former.code);
            }
            self.former.entry(former.code).or_default().insert(key.clone());
        }
        self.all.insert(key, packed);
        true
    }

    /// Takes one away; says whether it was there.
    pub(crate) fn remove(&mut self, kind: &EntityKind, code: &str) -> bool {
        let key = (kind.clone(), EntityCode::from(code));
        let Some(packed) = self.all.remove(&key) else {
            return false;
        };
        self.forget(&key, &packed);
        true
    }

    fn forget(&mut self, key: &(EntityKind, EntityCode), packed: &Packed) {
        for former in packed.former() {
            if let Some(keys) = self.former.get_mut(&former.code) {
                keys.remove(key);
                if keys.is_empty() {
                    self.former.remove(&former.code);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::entity::checked;
    use super::super::entity::tests::{entity, shapes};
    use super::*;
    use serde_json::json;

    fn whole(shape: usize) -> Entity {
        let mut entity = entity(EntityKind::Component, "a", shapes()[shape].clone());
        entity.name_en = "Lamp".into();
        entity.division = Some("630102".parse().unwrap());
        entity.department = "城市管理局".to_owned();
        entity.class = Some("01037".parse().unwrap());
        entity.stratum = Stratum::Below;
        entity.z_range_m = Some([-3.5, 1.0]);
        entity.height_datum = Some(DatumName::Assumed);
        entity.valid_from = Some(Timestamp::from_ms(-5));
        entity.valid_to = Some(Timestamp::from_ms(5));
        entity.former = vec![FormerCode {
            code: "b".into(),
            from: None,
            to: Timestamp::from_ms(7),
        }];
        entity.attributes = json!({"备注": "长".repeat(300), "n": 1.5})
            .as_object()
            .unwrap()
            .clone();
        entity.source = "census".into();
        entity
    }

    #[test]
    fn every_entity_comes_back_whole() {
        for shape in 0..shapes().len() {
            let full = whole(shape);
            let bare = entity(EntityKind::Component, "a", shapes()[shape].clone());
            for entity in [full, bare] {
                let geometry = checked(&entity).unwrap();
                let packed = Packed::new(&entity, geometry.as_ref());
                let back = packed.entity(&entity.kind, &entity.code);
                assert_eq!(back.geometry, geometry.unwrap().to_json());
                assert_eq!(name_on(&packed.0), entity.name);
                let written = Written::of(&packed.0).unwrap();
                assert_eq!((written.name, written.source), (&*entity.name, &*entity.source));
                assert_eq!(written.department, entity.department);
                for end in 0..packed.0.len() {
                    assert!(Written::of(&packed.0[..end]).is_none());
                }
                let geometry = back.geometry.clone();
                assert_eq!(back, Entity { geometry, ..entity });
            }
        }
        let nowhere = Entity {
            geometry: Value::Null,
            ..whole(0)
        };
        let packed = Packed::new(&nowhere, None);
        assert_eq!(packed.entity(&nowhere.kind, &nowhere.code), nowhere);
    }

    #[test]
    fn an_entity_with_a_new_code_answers_under_the_old_one() {
        let mut all = Entities::default();
        let put = |all: &mut Entities, code: &str, former: &[&str]| {
            let mut entity = entity(EntityKind::Component, code, shapes()[0].clone());
            let former = former.iter().map(|code| FormerCode {
                code: (*code).into(),
                from: None,
                to: Timestamp::from_ms(1),
            });
            entity.former = former.collect();
            let geometry = checked(&entity).unwrap();
            all.put(
                entity.kind.clone(),
                entity.code.clone(),
                Packed::new(&entity, geometry.as_ref()),
            )
        };
        assert!(put(&mut all, "old", &[]));
        assert!(put(&mut all, "new", &["older", "old"]));
        assert_eq!(all.len(), 1);
        let codes = |all: &Entities, code: &str| {
            all.with_code(code)
                .map(|e| e.code.to_string())
                .collect::<Vec<_>>()
        };
        for code in ["old", "older", "new"] {
            assert_eq!(codes(&all, code), ["new"], "{code}");
        }
        assert!(put(&mut all, "new", &["old"]));
        assert_eq!(codes(&all, "older"), [""; 0]);
        assert!(!put(&mut all, "new", &["old"]), "the same again");
        assert!(all.remove(&EntityKind::Component, "new"));
        assert_eq!(codes(&all, "old"), [""; 0]);
        assert!(all.is_empty() && all.former.is_empty());
    }
}

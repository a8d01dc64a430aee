//! What a geocoder is made of: names with what bears them, and house numbers.

use std::sync::Arc;

use onemap_model::DivisionCode;

/// What bears a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EntryKind {
    /// A division; its level follows from its code.
    Division,
    /// A road, street or lane.
    Road,
    /// A named point or area: an estate, a building, a shop, a park, a station.
    Place,
}

/// Where it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Ground {
    /// Not known.
    #[default]
    Nowhere,
    /// A point and how far from it the thing may reach or the point may be wrong, in metres.
    Point {
        /// Longitude and latitude, WGS 84 degrees.
        at: [f64; 2],
        /// Metres.
        precision_m: f64,
    },
    /// Lines of longitude and latitude, WGS 84 degrees.
    Lines(Vec<Vec<[f64; 2]>>),
}

/// One named thing.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its code in the register, or its division code.
    pub code: Arc<str>,
    /// Its name, Chinese.
    pub name: String,
    /// Other, short and former names, and former codes.
    pub aliases: Vec<String>,
    /// What it is.
    pub kind: EntryKind,
    /// The division it lies in; of a division, itself.
    pub division: Option<DivisionCode>,
    /// Where it is.
    pub ground: Ground,
    /// How far off its position may be as its source states, metres; 0 when it does not.
    pub stated_m: f32,
    /// It is an entity of the register; else a name that is shipped.
    pub held: bool,
}

/// A house number on a road, or a building of an estate, or a house of a village group.
#[derive(Clone, Debug, PartialEq)]
pub struct DoorEntry {
    /// Code of the address in the register.
    pub code: Arc<str>,
    /// Name of the road, estate or village.
    pub of: String,
    /// As written: `58`, `58号`, `58-3`, `58号附3`, `3栋`.
    pub number: String,
    /// Group of a village (社, 组); 0 is none.
    pub group: u16,
    /// The division it lies in.
    pub division: Option<DivisionCode>,
    /// Longitude and latitude, WGS 84 degrees.
    pub at: [f64; 2],
    /// How far off its position may be as its source states, metres; 0 when it does not.
    pub stated_m: f32,
}

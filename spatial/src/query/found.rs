//! A thing that was found, and what the map knows of it.

use std::cmp::Ordering;
use std::sync::Arc;

use onemap_model::{DivisionCode, EntityCode, Stratum};

use crate::city_view::CityView;
use crate::thing::{Card, Thing, ThingKind};

/// One thing of a view.
#[derive(Clone, Copy, Debug)]
pub struct Found<'v> {
    pub(crate) view: &'v CityView,
    pub(crate) thing: &'v Thing,
}

impl<'v> Found<'v> {
    /// What it is.
    pub fn kind(&self) -> &'v ThingKind {
        &self.thing.kind
    }
    /// Its code, unique with its kind; of a device: its id.
    pub fn code(&self) -> &'v EntityCode {
        &self.thing.code
    }
    /// What the register has written of it, when it gave it to the map.
    pub fn card(&self) -> Option<&'v Card> {
        self.thing.card.as_ref()
    }
    /// Above, on or below the ground.
    pub fn stratum(&self) -> Stratum {
        self.thing.stratum()
    }
    /// Lowest and highest height, metres, by the datum of its source.
    pub fn z_range_m(&self) -> Option<[f64; 2]> {
        self.thing.z_range_m()
    }
    /// Its class; of a device: its kind.
    pub fn class(&self) -> Option<Arc<str>> {
        self.view.terms.text(self.thing.class)
    }
    /// Its division, as stated, else as found from its geometry.
    pub fn division(&self) -> Option<DivisionCode> {
        self.view.division_of(self.thing).code()
    }
    /// Its place in every list where nothing else decides.
    pub fn order(&self, other: &Found<'_>) -> Ordering {
        (&self.thing.kind, &self.thing.code).cmp(&(&other.thing.kind, &other.thing.code))
    }
}

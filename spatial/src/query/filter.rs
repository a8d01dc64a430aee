//! Which things a question is about, whatever their place.

use onemap_model::{DivisionCode, Reach, Stratum, Timestamp};

use crate::city_view::CityView;
use crate::labels::Label;
use crate::sight::Sight;
use crate::thing::{DivisionPrefix, PackedDivision, Thing, ThingKind};

/// Conditions that a thing must meet all of. What is not stated does not matter.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// One of these kinds; all of them when empty.
    pub kinds: Vec<ThingKind>,
    /// Of this class; of a device: of this kind of device.
    pub class: Option<String>,
    /// In this division or one inside it: as stated, else as found from the geometry. A thing that lies
    /// in several is in that of its standpoint (a point well inside it, the middle vertex of a line).
    pub division: Option<DivisionCode>,
    /// Above, on or below the ground.
    pub stratum: Option<Stratum>,
    /// Reaches into these heights, metres, both ends inside. What has no heights does not.
    pub z_range_m: Option<[f64; 2]>,
    /// Valid at this time: from its beginning on, and before its end.
    pub valid_at: Option<Timestamp>,
    /// What the caller may see.
    pub scope: Reach,
}

/// A filter ready to be asked.
pub(crate) struct Sieve<'v> {
    view: &'v CityView,
    pub(crate) kinds: u32,
    /// `None` when no thing has the class.
    class: Option<Option<u32>>,
    sight: Sight,
    division: Option<DivisionPrefix>,
    stratum: Option<Stratum>,
    z_range_m: Option<[f64; 2]>,
    valid_at: Option<Timestamp>,
}

impl Filter {
    pub(crate) fn sieve<'v>(&self, view: &'v CityView) -> Sieve<'v> {
        let kinds = self.kinds.iter().fold(0, |bits, kind| bits | kind.bit());
        Sieve {
            view,
            kinds: if self.kinds.is_empty() { u32::MAX } else { kinds },
            class: self.class.as_deref().map(|class| view.terms.known(class)),
            sight: Sight::of(&self.scope, view),
            division: self.division.as_ref().map(DivisionPrefix::of),
            stratum: self.stratum,
            z_range_m: self.z_range_m,
            valid_at: self.valid_at,
        }
    }
}

impl Sieve<'_> {
    /// Whether labels, which tell neither heights nor divisions nor departments, are enough to know what meets all conditions.
    pub(crate) fn reads_labels(&self) -> bool {
        self.z_range_m.is_none() && self.division.is_none() && self.sight.is_whole()
    }

    /// Whether a grid cell is the caller's to see, whatever else is asked for.
    pub(crate) fn sees(&self, thing: &Thing) -> bool {
        self.sight.covers(self.view, thing)
    }

    /// Whether a division is the caller's to see, whatever else is asked for.
    pub(crate) fn sees_division(&self, division: &DivisionCode) -> bool {
        self.sight.covers_ground(PackedDivision::of(division))
    }

    /// Whether a thing of one of the kinds meets all conditions by its label. It is in use and always valid.
    #[inline]
    pub(crate) fn lets_label(&self, label: &Label<'_>) -> bool {
        self.class.is_none_or(|class| class == Some(label.sort.class))
            && self.stratum.is_none_or(|stratum| stratum == label.sort.stratum)
    }

    /// Whether a thing meets all conditions. Devices out of use never do.
    pub(crate) fn lets(&self, thing: &Thing) -> bool {
        let kind: &ThingKind = &thing.kind;
        !thing.is_retired()
            && self.kinds & kind.bit() != 0
            && self.class.is_none_or(|class| class == Some(thing.class))
            && self.stratum.is_none_or(|stratum| stratum == thing.stratum())
            && self.valid_at.is_none_or(|at| thing.valid_at(at))
            && self.z_range_m.is_none_or(|[low, high]| {
                thing
                    .z_range_m()
                    .is_some_and(|[own_low, own_high]| own_low <= high && low <= own_high)
            })
            && self
                .division
                .is_none_or(|division| division.covers(self.view.division_of(thing)))
            && self.sight.covers(self.view, thing)
    }
}

//! What of the map somebody may see.

use onemap_model::{Owner, Reach};

use crate::city_view::CityView;
use crate::terms::Terms;
use crate::thing::{DivisionPrefix, PackedDivision, Thing};

/// Whose a thing is, in two bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PackedOwner(u16);

impl PackedOwner {
    /// Of no department, or of one too many: who is of departments does not see it.
    pub(crate) const NOBODY: Self = Self(0);
    /// Geography.
    pub(crate) const GROUND: Self = Self(u16::MAX);

    /// Packs an owner; departments are numbered as they come, as far as two bytes go.
    pub(crate) fn of(owner: Owner<'_>, departments: &Terms) -> Self {
        match owner {
            Owner::Ground => Self::GROUND,
            Owner::Department(name) => Self::numbered(departments.number(name.trim())),
        }
    }

    fn numbered(number: u32) -> Self {
        match u16::try_from(number) {
            Ok(number) if number < u16::MAX => Self(number),
            _ => Self::NOBODY,
        }
    }
}

/// A reach, ready to be asked of things on the map.
#[derive(Clone, Debug)]
pub(crate) struct Sight {
    division: Option<DivisionPrefix>,
    /// `None` is all of them.
    departments: Option<Vec<PackedOwner>>,
}

impl Sight {
    pub(crate) fn of(reach: &Reach, view: &CityView) -> Self {
        let known = |name: &String| {
            let number = view.departments.known(name.trim())?;
            Some(PackedOwner::numbered(number)).filter(|owner| *owner != PackedOwner::NOBODY)
        };
        Self {
            division: reach.division.as_ref().map(DivisionPrefix::of),
            departments: (!reach.departments.is_empty())
                .then(|| reach.departments.iter().filter_map(known).collect()),
        }
    }

    /// Whether everything is seen.
    #[inline]
    pub(crate) fn is_whole(&self) -> bool {
        self.division.is_none() && self.departments.is_none()
    }

    /// Whether a thing is seen.
    #[inline]
    pub(crate) fn covers(&self, view: &CityView, thing: &Thing) -> bool {
        self.covers_owner(thing.owner)
            && self
                .division
                .is_none_or(|division| division.covers(view.division_of(thing)))
    }

    /// Whether geography in a division is seen.
    pub(crate) fn covers_ground(&self, division: PackedDivision) -> bool {
        self.division.is_none_or(|own| own.covers(division))
    }

    /// Whether what somebody owns is seen, wherever it lies.
    #[inline]
    pub(crate) fn covers_owner(&self, owner: PackedOwner) -> bool {
        match &self.departments {
            None => true,
            Some(own) => owner == PackedOwner::GROUND || own.contains(&owner),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn departments_that_find_no_number_are_nobodys() {
        let departments = Terms::default();
        assert_eq!(
            PackedOwner::of(Owner::Department(" "), &departments),
            PackedOwner::NOBODY
        );
        let first = PackedOwner::of(Owner::Department("水务局 "), &departments);
        assert_eq!(first, PackedOwner::of(Owner::Department("水务局"), &departments));
        assert_ne!(first, PackedOwner::NOBODY);
        for n in 1..70_000 {
            let owner = PackedOwner::of(Owner::Department(&n.to_string()), &departments);
            let has_room = n + 1 < u32::from(u16::MAX);
            assert_eq!(owner != PackedOwner::NOBODY, has_room, "{n}");
            assert!(owner != PackedOwner::GROUND && owner != first);
        }
    }
}

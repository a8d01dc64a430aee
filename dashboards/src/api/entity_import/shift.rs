//! Whether a source looks as if its positions were GCJ-02 or BD-09 and not what it declares, or the other way round.
//!
//! Looked at: things whose code or unique name the register knows, against where it knows them; and points outside the
//! division they name that would lie inside if they were shifted back. Told, never corrected: the register may be wrong
//! as well.

use std::collections::HashMap;

use onemap_model::{Crs, Entity, EntityKind, Position};
use onemap_store::register::{RegisterView, middle};

/// Pairs that are enough.
const N_PAIRS: usize = 2000;
/// Fewest pairs from which something is said.
const N_FEWEST: usize = 5;
/// Entities of a kind whose names are looked at.
const N_NAMES: usize = 200_000;
/// Offsets that are looked into, m. Around Xining GCJ-02 lies 160 m off, BD-09 1000 m.
const OFFSETS_M: std::ops::RangeInclusive<f64> = 50.0..=1500.0;

/// What was compared so far.
#[derive(Default)]
pub(super) struct Shift {
    /// Where the file has something, and where the register has it.
    pairs: Vec<(Position, Position)>,
    /// By kind the unique names of the register and where they are.
    names: HashMap<EntityKind, HashMap<String, Option<Position>>>,
    n_outside: usize,
    /// Of these, how many would lie inside with the shift of GCJ-02 and of BD-09 taken off.
    n_back: [usize; 2],
}

const SHIFTED: [Crs; 2] = [Crs::Gcj02, Crs::Bd09];

impl Shift {
    /// Whether more pairs are wanted.
    pub(super) fn wants(&self) -> bool {
        self.pairs.len() < N_PAIRS
    }

    /// Notes where the register knows the same thing.
    pub(super) fn compare(&mut self, view: &RegisterView, entity: &Entity, at: &Position) {
        let same = view.entities.get(&entity.kind, &entity.code);
        let known = match same.and_then(|known| middle(&known)) {
            Some(known) => Some(known),
            None if entity.name.is_empty() => None,
            None => {
                let names = self
                    .names
                    .entry(entity.kind.clone())
                    .or_insert_with(|| names(view, &entity.kind));
                names.get(&entity.name).copied().flatten()
            }
        };
        if let Some(known) = known {
            self.pairs.push((*at, known));
        }
    }

    /// Notes a point outside the division that it names.
    pub(super) fn outside(&mut self, at: &Position, inside: impl Fn(&Position) -> bool) {
        self.n_outside += 1;
        for (n, crs) in self.n_back.iter_mut().zip(SHIFTED) {
            let (lon, lat) = crs.to_wgs84(at.lon(), at.lat());
            *n += usize::from(Position::new(lon, lat, None).is_ok_and(|back| inside(&back)));
        }
    }

    /// What there is to warn of.
    pub(super) fn found(&self) -> Vec<String> {
        let mut found = Vec::new();
        let plain = median(self.pairs.iter().map(|(new, known)| new.distance_m(*known)));
        if let Some(plain) = plain.filter(|plain| self.pairs.len() >= N_FEWEST && OFFSETS_M.contains(plain)) {
            let explained = |crs: Crs, back: bool| {
                let rest = self.pairs.iter().filter_map(|(new, known)| {
                    let (lon, lat) = match back {
                        false => crs.from_wgs84(known.lon(), known.lat()),
                        true => crs.to_wgs84(known.lon(), known.lat()),
                    };
                    Some(new.distance_m(Position::new(lon, lat, None).ok()?))
                });
                Some((median(rest)?, crs, back))
            };
            let tried = SHIFTED
                .into_iter()
                .flat_map(|crs| [explained(crs, false), explained(crs, true)]);
            let best = tried.flatten().min_by(|a, b| a.0.total_cmp(&b.0));
            if let Some((rest, crs, back)) = best.filter(|(rest, ..)| *rest < plain / 6.0) {
                let n = self.pairs.len();
                let what = match back {
                    false => format!(
                        "as {crs} lies beside WGS 84: the file may be {crs} and declared as another system"
                    ),
                    true => format!("the other way round: the file may be WGS 84 and declared as {crs}"),
                };
                found.push(format!(
                    "{n} things that the register knows lie {plain:.0} m off, {what} ({rest:.0} m remain then); nothing was corrected"
                ));
            }
        }
        let (n_back, crs) = match self.n_back {
            [gcj02, bd09] if gcj02 >= bd09 => (gcj02, Crs::Gcj02),
            [_, bd09] => (bd09, Crs::Bd09),
        };
        if found.is_empty() && self.n_outside >= N_FEWEST && n_back * 5 >= self.n_outside * 4 {
            found.push(format!(
                "{} points lie outside the divisions they name, and {n_back} of them inside if the file is {crs}; nothing was corrected",
                self.n_outside
            ));
        }
        found
    }
}

/// Where the things of a kind are whose name no other of the kind has.
fn names(view: &RegisterView, kind: &EntityKind) -> HashMap<String, Option<Position>> {
    let mut names = HashMap::new();
    for entity in view.entities.of_kind(kind).take(N_NAMES) {
        if entity.name.is_empty() {
            continue;
        }
        let at = middle(&entity);
        names
            .entry(entity.name)
            .and_modify(|known| *known = None)
            .or_insert(at);
    }
    names
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    let middle = values.len() / 2;
    (!values.is_empty()).then(|| *values.select_nth_unstable_by(middle, f64::total_cmp).1)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn known(n: usize) -> impl Iterator<Item = Position> {
        (0..n).map(|i| Position::new(101.6 + i as f64 * 0.011, 36.5 + i as f64 * 0.007, None).unwrap())
    }
    fn found(to: impl Fn(f64, f64) -> (f64, f64), n: usize) -> String {
        let pairs = known(n).map(|known| {
            let (lon, lat) = to(known.lon(), known.lat());
            (Position::new(lon, lat, None).unwrap(), known)
        });
        let shift = Shift {
            pairs: pairs.collect(),
            ..Shift::default()
        };
        shift.found().join("; ")
    }

    #[test]
    fn a_shift_is_told_apart_from_noise_and_from_a_move() {
        let gcj02 = found(|lon, lat| Crs::Gcj02.from_wgs84(lon + 1e-4, lat - 5e-5), 9);
        assert!(gcj02.contains("may be GCJ02"), "{gcj02}");
        let bd09 = found(|lon, lat| Crs::Bd09.from_wgs84(lon, lat), 9);
        assert!(bd09.contains("may be BD09"), "{bd09}");
        let twice = found(|lon, lat| Crs::Gcj02.to_wgs84(lon, lat), 9);
        assert!(twice.contains("may be WGS 84 and declared as GCJ02"), "{twice}");
        assert_eq!(found(|lon, lat| (lon + 1e-5, lat), 9), "", "survey noise");
        assert_eq!(found(|lon, lat| (lon - 2e-3, lat), 9), "", "moved west");
        assert_eq!(found(|lon, lat| (lon, lat + 2e-3), 9), "", "moved north");
        assert_eq!(
            found(|lon, lat| Crs::Gcj02.from_wgs84(lon, lat), 4),
            "",
            "too few"
        );
    }
}

//! How many persons are where, as it may be published: no group of fewer than k, and no number from which another could
//! tell whether one person came or went.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use onemap_model::{Belongs, DivisionCode, Person, PersonPlace, Scope, Timestamp};
use onemap_store::ledger::KeptPerson;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::key_problem;
use crate::auth::Caller;
use crate::error::Problem;
use crate::request::Params;
use crate::views::Views;

/// How long what was counted is shown: whoever asks before and after one person comes sees the same.
const KEPT: Duration = Duration::from_secs(60);
/// Persons that are read at once.
const N_PAGE: usize = 10_000;

/// A cell of the grid of persons, eastward and northward.
type Cell = (u32, u32);
/// How many persons are in a division and a cell: those that are known, and those that were stated there and are another's.
type Counted = HashMap<(Option<DivisionCode>, Option<Cell>), [u64; 2]>;

/// Counts of persons, taken at most once a minute.
#[derive(Debug)]
pub struct PersonCounts {
    k: u32,
    newest: Mutex<Option<(Timestamp, Arc<Counted>)>>,
}

impl PersonCounts {
    /// Groups of fewer than `k` persons are not shown.
    pub fn new(k: u32) -> Self {
        Self {
            k,
            newest: Mutex::new(None),
        }
    }

    async fn at(&self, views: &Arc<Views>) -> Result<(Timestamp, Arc<Counted>), Problem> {
        let mut newest = self.newest.lock().await;
        let now = views.now();
        if let Some((at, counted)) = &*newest
            && now.since(*at) < KEPT
        {
            return Ok((*at, counted.clone()));
        }
        let held = views.clone();
        let counted = tokio::task::spawn_blocking(move || count(&held))
            .await
            .map_err(|e| Problem::internal(&e))??;
        let counted = Arc::new(counted);
        *newest = Some((now, counted.clone()));
        Ok((now, counted))
    }
}

fn count(views: &Views) -> Result<Counted, Problem> {
    let mut counted = Counted::new();
    let mut after = None;
    loop {
        let page = views
            .ledger
            .persons(after.as_ref(), N_PAGE)
            .map_err(|e| Problem::internal(&e))?;
        let Some(last) = page.last() else {
            break;
        };
        after = Some(last.pseudonym());
        for kept in page {
            let person = views.persons.open(kept).map_err(|e| key_problem(&e))?;
            counted.entry(place_of(person)).or_default()[0] += 1;
        }
    }
    // Whoever stated them sees them counted: a count that did not rise would say that they are known elsewhere.
    let (mut after, mut stated) = (0, HashMap::new());
    loop {
        let page = views
            .ledger
            .stated_persons(after, N_PAGE)
            .map_err(|e| Problem::internal(&e))?;
        let Some(last) = page.last() else {
            break;
        };
        after = last.position;
        for one in page {
            let kept = KeptPerson::Sealed(one.person);
            let pseudonym = kept.pseudonym();
            let place = place_of(views.persons.open(kept).map_err(|e| key_problem(&e))?);
            let division = place.0.clone();
            stated.insert((pseudonym, division), place);
        }
    }
    for place in stated.into_values() {
        counted.entry(place).or_default()[1] += 1;
    }
    Ok(counted)
}

fn place_of(person: Person) -> (Option<DivisionCode>, Option<Cell>) {
    let cell = match person.place {
        Some(PersonPlace::Cell { x, y }) => Some((x, y)),
        Some(PersonPlace::UnitGrid(_)) | None => None,
    };
    (person.division, cell)
}

/// What groups persons.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum By {
    /// Districts and counties: 6 digits.
    #[default]
    District,
    /// Streets and towns: 9 digits.
    Street,
    /// Communities and villages: 12 digits.
    Community,
    /// Cells of about 150 m.
    Cell,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    #[serde(default)]
    by: By,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Group {
    Division(String),
    Cell(Cell),
}

/// The groups that a caller may be shown, with their numbers in whole k, rounded down, and whether some are held back,
/// and with them persons without what they are grouped by. What a street has more than its communities that are shown is
/// known to within 2k only, so that it does not tell the size of the one that is held back.
fn published(counted: &Counted, scope: &Scope, by: By, k: u32) -> (BTreeMap<Group, u64>, bool) {
    let mut groups: BTreeMap<Group, u64> = BTreeMap::new();
    let mut is_held_back = false;
    for ((division, cell), [known, stated]) in counted {
        // Who has the whole city counts each person once.
        let n = known + if scope.is_whole() { 0 } else { *stated };
        if n == 0 {
            continue;
        }
        if !scope.covers(Belongs::of(division.as_ref(), "")) {
            continue;
        }
        let of_digits = |n: usize| {
            let digits = division.as_ref().and_then(|d| d.as_str().get(..n));
            digits.map(|digits| Group::Division(digits.to_owned()))
        };
        let group = match by {
            By::District => of_digits(6),
            By::Street => of_digits(9),
            By::Community => of_digits(12),
            By::Cell => cell.map(Group::Cell),
        };
        match group {
            Some(group) => *groups.entry(group).or_default() += n,
            None => is_held_back = true,
        }
    }
    let n_all = groups.len();
    groups.retain(|_, n| *n >= u64::from(k));
    is_held_back |= groups.len() < n_all;
    for n in groups.values_mut() {
        *n -= *n % u64::from(k);
    }
    (groups, is_held_back)
}

/// How many persons are in each division or cell that the caller sees.
pub(crate) async fn show(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Params(asked): Params<Asked>,
) -> Result<Json<Value>, Problem> {
    let counts = &views.person_counts;
    let (at, counted) = counts.at(&views).await?;
    let (groups, is_held_back) = published(&counted, caller.scope(), asked.by, counts.k);
    let item = |(group, n): (Group, u64)| match group {
        Group::Division(code) => json!({"division": code, "persons": n}),
        Group::Cell((x, y)) => json!({"bbox": PersonPlace::Cell { x, y }.bounds(), "persons": n}),
    };
    let items: Vec<Value> = groups.into_iter().map(item).collect();
    Ok(Json(json!({
        "items": items, "k": counts.k, "held_back": is_held_back, "at": at,
    })))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use onemap_model::Role;
    use proptest::prelude::*;

    fn scope(division: Option<&str>, departments: &[&str]) -> Scope {
        Scope {
            actor: "v".into(),
            role: Role::Viewer,
            division: division.map(|d| d.parse().unwrap()),
            departments: departments.iter().map(|d| (*d).to_owned()).collect(),
        }
    }

    fn counted(rows: &[(Option<&str>, Option<Cell>, u64)]) -> Counted {
        let row = |(division, cell, n): &(Option<&str>, Option<Cell>, u64)| {
            ((division.map(|d| d.parse().unwrap()), *cell), [*n, 0])
        };
        rows.iter().map(row).collect()
    }

    fn shown(groups: &BTreeMap<Group, u64>) -> Vec<(String, u64)> {
        let text = |group: &Group| match group {
            Group::Division(code) => code.clone(),
            Group::Cell((x, y)) => format!("{x}/{y}"),
        };
        groups.iter().map(|(group, n)| (text(group), *n)).collect()
    }

    #[test]
    fn groups_of_fewer_than_k_are_held_back_and_others_rounded_down() {
        let all = counted(&[
            (Some("630104001001"), Some((1, 1)), 9),
            (Some("630104001002"), Some((1, 1)), 8),
            (Some("630104002001"), Some((2, 1)), 10),
            (Some("630102001001"), None, 3),
            (Some("630104"), None, 30),
            (None, Some((2, 1)), 4),
        ]);
        let whole = scope(None, &[]);
        let is = |scope: &Scope, by, want: &[(&str, u64)], held_back| {
            let (groups, is_held_back) = published(&all, scope, by, 10);
            let want: Vec<_> = want.iter().map(|(code, n)| ((*code).to_owned(), *n)).collect();
            assert_eq!((shown(&groups), is_held_back), (want, held_back), "{by:?}");
        };
        is(&whole, By::District, &[("630104", 50)], true);
        is(&whole, By::Street, &[("630104001", 10), ("630104002", 10)], true);
        is(&whole, By::Community, &[("630104002001", 10)], true);
        is(&whole, By::Cell, &[("1/1", 10), ("2/1", 10)], true);
        is(&scope(Some("630102"), &[]), By::District, &[], true);
        is(&scope(Some("630104002"), &[]), By::Cell, &[("2/1", 10)], false);
        // Persons belong to no department.
        is(&scope(None, &["水务"]), By::District, &[], false);
        is(&scope(Some("630105"), &[]), By::District, &[], false);
    }

    #[test]
    fn who_stated_a_person_of_others_sees_him_counted_and_the_whole_city_counts_him_once() {
        let mut all = counted(&[(Some("630104001001"), None, 9), (Some("630102001001"), None, 20)]);
        all.entry((Some("630104001001".parse().unwrap()), None))
            .or_default()[1] += 1;
        let own = published(&all, &scope(Some("630104"), &[]), By::District, 10);
        assert_eq!((shown(&own.0), own.1), (vec![("630104".to_owned(), 10)], false));
        let whole = published(&all, &scope(None, &[]), By::District, 10);
        assert_eq!(
            (shown(&whole.0), whole.1),
            (vec![("630102".to_owned(), 20)], true)
        );
    }

    proptest! {
        /// From what is shown of a street and of its communities several sizes of the one that is held back follow.
        #[test]
        fn a_street_does_not_tell_the_community_that_is_held_back(
            (k, hidden) in (10u32..20).prop_flat_map(|k| (Just(k), 1..u64::from(k))), shown in prop::collection::vec(0u64..500, 1..9),
        ) {
            let k_ = u64::from(k);
            let shown: Vec<u64> = shown.into_iter().map(|n| n + k_).collect();
            let of = |hidden: u64, shown: &[u64]| {
                let sizes = std::iter::once(hidden).chain(shown.iter().copied());
                let counted: Counted = sizes.enumerate().map(|(i, n)| {
                    let community = format!("630104001{:03}", i + 1).parse().unwrap();
                    ((Some(community), None), [n, 0])
                }).collect();
                let whole = scope(None, &[]);
                (published(&counted, &whole, By::Street, k), published(&counted, &whole, By::Community, k))
            };
            let seen = of(hidden, &shown);
            // Another size, with other remainders of the communities that are shown, gives the same.
            let of_street = seen.0.0.values().next().copied().unwrap();
            let floors: Vec<u64> = shown.iter().map(|n| n - n % k_).collect();
            let n_fitting = (1..k_).filter(|other| {
                let least = of_street.saturating_sub(floors.iter().sum::<u64>() + other);
                let mut left = least;
                let moved: Vec<u64> = floors.iter().map(|floor| {
                    let more = left.min(k_ - 1);
                    left -= more;
                    floor + more
                }).collect();
                left == 0 && of(*other, &moved) == seen
            }).count();
            prop_assert!(n_fitting >= 2, "{n_fitting} of {seen:?}");
        }
    }
}

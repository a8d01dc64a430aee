//! What kinds of cause an alert may have, and how far apart in distance and time, also along a network, alerts of one kind may
//! lie and still be one incident: `causes.json`, read once. The figures are the house's own, no standard states any.

use std::sync::OnceLock;
use std::time::Duration;

use onemap_model::{Family, Quantity};
use onemap_rules::Texts;
use serde::Deserialize;

/// One kind of cause.
#[derive(Debug, PartialEq)]
pub struct Cause {
    /// Stable name.
    pub id: String,
    /// For people.
    pub name: Texts,
    /// No two alerts of one incident lie further apart, in metres.
    pub diameter_m: f64,
    /// No two alerts of one incident were raised further apart.
    pub window: Duration,
    /// Alerts of different rules are different incidents: what they have in common says nothing of where they come from.
    pub by_rule: bool,
    /// The cause goes along networks; `None` when what joins devices tells nothing of it.
    pub along: Option<Along>,
}

/// How a cause goes along networks.
#[derive(Debug, PartialEq)]
pub struct Along {
    /// Names of the media whose networks carry it ([`super::Medium::id`]).
    pub media: Vec<String>,
    /// No alert of one incident lies further along its network from the one that founded it there, in metres.
    pub reach_m: f64,
    /// No alert of one incident is raised later than this after its first, where it is joined by the network.
    pub window: Duration,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenAlong {
    media: Vec<String>,
    reach_m: f64,
    window_s: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    id: String,
    zh: String,
    en: String,
    diameter_m: f64,
    window_s: u64,
    #[serde(default)]
    by_rule: bool,
    #[serde(default)]
    along: Option<WrittenAlong>,
    #[serde(default)]
    silence: bool,
    #[serde(default)]
    family: Option<Family>,
    #[serde(default)]
    quantities: Vec<Quantity>,
}

struct Causes {
    all: Vec<Cause>,
    silence: usize,
    /// Sorted; goes before the family.
    of_quantity: Vec<(Quantity, usize)>,
    of_family: Vec<(Family, usize)>,
}

fn causes() -> &'static Causes {
    static CAUSES: OnceLock<Causes> = OnceLock::new();
    CAUSES.get_or_init(|| {
        let written: Vec<Written> = serde_json::from_str(include_str!("causes.json"))
            .expect("the causes are part of the program and their test reads them");
        let mut causes = Causes {
            all: Vec::new(),
            silence: 0,
            of_quantity: Vec::new(),
            of_family: Vec::new(),
        };
        for (i, cause) in written.into_iter().enumerate() {
            if cause.silence {
                causes.silence = i;
            }
            causes.of_family.extend(cause.family.map(|family| (family, i)));
            causes
                .of_quantity
                .extend(cause.quantities.iter().map(|q| (*q, i)));
            causes.all.push(Cause {
                id: cause.id,
                name: Texts {
                    zh: cause.zh,
                    en: cause.en,
                },
                diameter_m: cause.diameter_m,
                window: Duration::from_secs(cause.window_s),
                by_rule: cause.by_rule,
                along: cause.along.map(|along| Along {
                    media: along.media,
                    reach_m: along.reach_m,
                    window: Duration::from_secs(along.window_s),
                }),
            });
        }
        causes.of_quantity.sort_unstable();
        causes
    })
}

impl Cause {
    /// That of a device that says nothing.
    pub fn silence() -> &'static Self {
        let causes = causes();
        &causes.all[causes.silence]
    }
    /// That of a quantity: its own where it has one, else its family's.
    pub fn of(quantity: Quantity) -> &'static Self {
        let causes = causes();
        let own = causes.of_quantity.binary_search_by_key(&quantity, |(q, _)| *q);
        let i = match own {
            Ok(at) => causes.of_quantity[at].1,
            Err(_) => {
                let family = quantity.definition().family;
                let of_family = causes.of_family.iter().find(|(own, _)| *own == family);
                of_family.expect("every family has a cause, its test says so").1
            }
        };
        &causes.all[i]
    }
    /// How it goes along a network in which this flows.
    pub(super) fn along(&self, medium: &str) -> Option<&Along> {
        let along = self.along.as_ref()?;
        along.media.iter().any(|own| own == medium).then_some(along)
    }
    /// How long after its first alert an incident may take more.
    pub(super) fn longest(&self) -> Duration {
        let along = self.along.as_ref().map_or(Duration::ZERO, |along| along.window);
        self.window.max(along)
    }
    /// Every one.
    pub fn all() -> &'static [Self] {
        &causes().all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_quantity_has_a_cause_with_bounds() {
        for quantity in Quantity::all() {
            let cause = Cause::of(quantity);
            assert!(cause.diameter_m > 0.0 && !cause.window.is_zero(), "{quantity}");
            if let Some(along) = &cause.along {
                assert!(along.reach_m > 0.0 && along.window >= cause.window, "{quantity}");
                assert!(!along.media.is_empty(), "{quantity}");
            }
        }
        let mut named: Vec<_> = causes().of_quantity.iter().map(|(q, _)| *q).collect();
        named.dedup();
        assert_eq!(
            named.len(),
            causes().of_quantity.len(),
            "a quantity has two causes"
        );
        let ids: std::collections::BTreeSet<_> = Cause::all().iter().map(|cause| &cause.id).collect();
        assert_eq!(ids.len(), Cause::all().len());
        assert_eq!(Cause::silence().id, "silence");
        for (quantity, cause) in [
            ("pm10", "air"),
            ("fire_alarm", "fire"),
            ("manhole_open", "manhole"),
            ("water_level", "river"),
            ("crack_width", "structure"),
            ("longitude", "technical"),
        ] {
            let of = Quantity::named(quantity).map(|q| Cause::of(q).id.as_str());
            assert_eq!(of, Some(cause), "{quantity}");
        }
    }
}

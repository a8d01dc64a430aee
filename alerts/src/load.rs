//! Alarm load (告警负荷) in the words of ISA-18.2 and EEMUA 191: how much a desk has to look at, and which alarms cost it most.
//!
//! Figures of transitions in a span of record time: no clock, no I/O.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use onemap_model::{DivisionCode, Edge, RuleId, SeriesKey, Timestamp, Transition};
use serde::Serialize;

/// The span that alarms are counted in.
pub const TEN_MINUTES: Duration = Duration::from_secs(600);
/// So many alarms of a desk in ten minutes are a flood (ISA-18.2, EEMUA 191).
pub const FLOOD: usize = 10;
/// A series that raised a rule so often within [`CHATTER_WITHIN`] chatters.
pub const CHATTER: usize = 3;
/// An hour.
pub const CHATTER_WITHIN: Duration = Duration::from_secs(3600);
/// Bad actors that are named.
const N_BAD_ACTORS: usize = 10;
/// Chattering series that are named, the worst first.
const N_CHATTERING: usize = 100;

/// What one desk had to look at.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DeskLoad {
    /// County of the desk, six digits; `None` is what lies in no division.
    pub division: Option<String>,
    /// Alarms raised.
    pub n_raised: usize,
    /// Per ten minutes, over the whole span.
    pub mean: f64,
    /// Most in ten minutes.
    pub most: usize,
    /// When those ten minutes began.
    pub most_at: Timestamp,
    /// Share of the ten minutes that were a flood, 0 to 1.
    pub flood_share: f64,
}

/// A series that raises a rule again and again.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Chattering {
    /// The rule.
    pub rule: RuleId,
    /// Where.
    pub series: SeriesKey,
    /// Most alarms in one hour.
    pub index: usize,
    /// How far raise and clear would have to lie apart for its swings to be one alarm, in `unit`: the widest swing between a
    /// raising and the clearing next to it. `None` when no values of two such edges are known.
    pub deadband: Option<f64>,
    /// Unit of the quantity.
    pub unit: &'static str,
}

/// A rule and series that cost desks much.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BadActor {
    /// The rule.
    pub rule: RuleId,
    /// Where.
    pub series: SeriesKey,
    /// Alarms raised.
    pub n_raised: usize,
    /// Share of all alarms, 0 to 1.
    pub share: f64,
}

/// The load of a span.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Load {
    /// Its beginning, on full ten minutes.
    pub from: Timestamp,
    /// Its end, not inside.
    pub to: Timestamp,
    /// Alarms raised.
    pub n_raised: usize,
    /// By desk, in the order of their codes.
    pub desks: Vec<DeskLoad>,
    /// The worst first.
    pub chattering: Vec<Chattering>,
    /// At most ten, the worst first.
    pub bad_actors: Vec<BadActor>,
}

/// The load of the ten minutes from the one that holds `from` on, up to `to`. `desk_of` says in which division a transition
/// lies now. Transitions in any order; those outside, and those of drills, are left out.
pub fn load<'a>(
    from: Timestamp,
    to: Timestamp,
    transitions: impl IntoIterator<Item = &'a Transition>,
    desk_of: impl Fn(&'a Transition) -> Option<DivisionCode>,
) -> Load {
    let step = TEN_MINUTES.as_millis() as i64;
    let from = Timestamp::from_ms(from.ms().div_euclid(step) * step);
    let n_steps = ((to - from).max(0) as u64).div_ceil(step as u64).max(1);
    let mut inside: Vec<&Transition> = transitions
        .into_iter()
        .filter(|t| (from..to).contains(&t.at) && t.drill.is_none())
        .collect();
    inside.sort_by_key(|t| (t.at, t.position, t.id));
    let mut desks: BTreeMap<Option<String>, BTreeMap<i64, usize>> = BTreeMap::new();
    let mut actors: HashMap<(&RuleId, &SeriesKey), Vec<&Transition>> = HashMap::new();
    let mut n_raised = 0;
    for transition in inside {
        let of_one = actors.entry((&transition.rule, &transition.series)).or_default();
        match transition.edge {
            Edge::Raised => {
                n_raised += 1;
                let county = desk_of(transition).map(|code| code.as_str().chars().take(6).collect());
                let minutes = desks.entry(county).or_default();
                *minutes.entry((transition.at - from) / step).or_insert(0) += 1;
                of_one.push(transition);
            }
            Edge::Cleared => of_one.push(transition),
            _ => {}
        }
    }
    let desk = |(division, minutes): (Option<String>, BTreeMap<i64, usize>)| {
        let n: usize = minutes.values().sum();
        // The first of those that are alike.
        let worst = minutes.iter().rev().max_by_key(|(_, n)| **n);
        let (at, most) = worst.map_or((0, 0), |(at, n)| (*at, *n));
        DeskLoad {
            division,
            n_raised: n,
            mean: n as f64 / n_steps as f64,
            most,
            most_at: Timestamp::from_ms(from.ms() + at * step),
            flood_share: minutes.values().filter(|n| **n >= FLOOD).count() as f64 / n_steps as f64,
        }
    };
    let mut chattering: Vec<Chattering> = actors.values().filter_map(|edges| chatter(edges)).collect();
    chattering.sort_by(|a, b| {
        let key = |c: &Chattering| (c.rule.as_str().to_owned(), c.series.to_string());
        b.index.cmp(&a.index).then_with(|| key(a).cmp(&key(b)))
    });
    chattering.truncate(N_CHATTERING);
    let is_raised = |t: &&&Transition| t.edge == Edge::Raised;
    let mut bad_actors: Vec<BadActor> = actors
        .iter()
        .map(|((rule, series), edges)| (rule, series, edges.iter().filter(is_raised).count()))
        .filter(|(_, _, n)| *n > 0)
        .map(|(rule, series, n)| BadActor {
            rule: (*rule).clone(),
            series: (*series).clone(),
            n_raised: n,
            share: n as f64 / n_raised as f64,
        })
        .collect();
    bad_actors.sort_by(|a, b| {
        let key = |c: &BadActor| (c.rule.as_str().to_owned(), c.series.to_string());
        b.n_raised.cmp(&a.n_raised).then_with(|| key(a).cmp(&key(b)))
    });
    bad_actors.truncate(N_BAD_ACTORS);
    Load {
        from,
        to,
        n_raised,
        desks: desks.into_iter().map(desk).collect(),
        chattering,
        bad_actors,
    }
}

/// What of one rule and series chatters: its raised and cleared edges in their order.
fn chatter(edges: &[&Transition]) -> Option<Chattering> {
    let raised: Vec<Timestamp> = edges
        .iter()
        .filter(|t| t.edge == Edge::Raised)
        .map(|t| t.at)
        .collect();
    let within = |(i, at): (usize, &Timestamp)| {
        raised[..=i]
            .iter()
            .rev()
            .take_while(|b| at.since(**b) < CHATTER_WITHIN)
            .count()
    };
    let index = raised.iter().enumerate().map(within).max()?;
    if index < CHATTER {
        return None;
    }
    let first = edges[0];
    let quantity = first.series.quantity;
    let value = |t: &Transition| t.inputs.last().map(|input| input.value);
    let swings = edges.windows(2).filter_map(|pair| {
        let is_swing = pair[0].edge != pair[1].edge && pair[1].at.since(pair[0].at) < CHATTER_WITHIN;
        let swing = (value(pair[0])? - value(pair[1])?).abs();
        (is_swing && swing.is_finite()).then_some(swing)
    });
    let widest = swings.fold(None, |most: Option<f64>, swing| {
        Some(most.map_or(swing, |most| most.max(swing)))
    });
    // Rounded up to the digits that the quantity is shown with.
    let scale = 10f64.powi(i32::from(quantity.definition().decimals));
    let up = |swing: f64| (swing * scale - 1e-6).ceil() / scale;
    Some(Chattering {
        rule: first.rule.clone(),
        series: first.series.clone(),
        index,
        deadband: widest
            .filter(|swing| *swing > 0.0 && !quantity.is_state())
            .map(up),
        unit: &quantity.definition().unit,
    })
}

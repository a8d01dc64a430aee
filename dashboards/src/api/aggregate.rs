//! Many series as one line: by division, kind, device or entity, in steps.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use onemap_model::{
    DivisionCode, Entity, EntityCode, EntityKind, Position, Quality, Quantity, Scope, Timestamp,
};
use onemap_spatial::Areas;
use onemap_store::history::{GroupStep, Member, Over, SeriesId, SeriesInfo, Which};
use onemap_store::reviewed::Reviewed;
use serde::{Deserialize, Serialize};

use crate::api::query::agg::{Weight, across, looks_back};
use crate::api::query::basis::{Basis, reviewed};
use crate::api::query::fill::{Fill, Filling};
use crate::api::query::kept::KeptRow;
use crate::api::query::marks::Marks;
use crate::api::query::span::{MAX_SERIES, Span};
use crate::api::query::tag::{Tag, Tagging};
use crate::api::query::weights::{Divisions, Weights, Weighty};
use crate::api::rows::{self, Turns};
use crate::api::time;
use crate::auth::Caller;
use crate::error::Problem;
use crate::request::{Params, parse_step};
use crate::views::{Register, Views};

const POISON: &str = "no holder of this lock panics";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AggregateQuery {
    quantity: Quantity,
    ch: Option<u16>,
    #[serde(default)]
    group_by: GroupBy,
    level: Option<usize>,
    entity_kind: Option<EntityKind>,
    division: Option<DivisionCode>,
    kind: Option<String>,
    from: Option<String>,
    to: Option<String>,
    step: Option<String>,
    agg: Option<String>,
    across: Option<String>,
    #[serde(default)]
    weight: Weight,
    weights: Option<String>,
    quality: Option<String>,
    known_at: Option<String>,
    fill: Option<Fill>,
    max_gap: Option<String>,
    basis: Option<Basis>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum GroupBy {
    #[default]
    Division,
    Kind,
    Device,
    /// The smallest entity of `entity_kind` that the device stands in.
    Entity,
    None,
}

/// One series that was asked for, with what it may be grouped by.
struct Chosen {
    info: SeriesInfo,
    /// Read before the history is.
    changes: u64,
    group: String,
    position: Option<Position>,
    division: Option<DivisionCode>,
}

/// A group on its way: its members by number and weight, and those that have no weight.
#[derive(Default)]
struct Group {
    members: Vec<Member>,
    n_unweighted: usize,
}

#[derive(Serialize)]
struct GroupRow {
    group: Option<String>,
    items: Vec<Item>,
    name: Option<String>,
    series: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    unweighted: Option<usize>,
}

#[derive(Serialize)]
struct Item {
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    filled: bool,
    n: u64,
    series: u64,
    t: Timestamp,
    v: Option<f64>,
}

#[derive(Serialize)]
struct Answer<'a> {
    from: Timestamp,
    groups: Vec<GroupRow>,
    #[serde(flatten)]
    kept: Option<KeptRow>,
    quantity: Quantity,
    step_s: u64,
    to: Timestamp,
    unit: &'a str,
}

/// Groups of series, step by step. Each series is aggregated by itself first, so that `weight=series` gives
/// every station the same say.
pub(crate) async fn show(
    State(views): State<Arc<Views>>,
    Extension(turns): Extension<Turns>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
    Params(query): Params<AggregateQuery>,
) -> Result<Response, Problem> {
    let scope = caller.scope();
    let basis = Basis::of_one(query.basis, "aggregates are")?;
    let span = Span::parse(query.from.as_deref(), query.to.as_deref(), views.now())?;
    let step = parse_step(query.step.as_deref().unwrap_or("1h"))?;
    let across = across(query.agg.as_deref(), query.across.as_deref(), query.weight)?;
    let marks = Marks::parse(query.quality.as_deref())?;
    let known_at = query
        .known_at
        .as_deref()
        .map(|t| time("known_at", t))
        .transpose()?;
    let filling = Filling::of(query.fill, query.max_gap.as_deref(), step)?;
    let weights = Weights::parse(query.weights.as_deref())?;
    if weights != Weights::Alike && !matches!(across.over, Over::Mean | Over::MeanOfPoints) {
        return Err(Problem::bad_request(
            "bad_weights",
            "weights= is for means of the series: with agg=mean, or across=mean",
        ));
    }
    let level = query.level.unwrap_or(6);
    if !matches!(level, 6 | 9 | 12) {
        return Err(Problem::bad_request(
            "bad_level",
            format!("level={level}: 6 for counties, 9 for streets, 12 for communities"),
        ));
    }
    if (query.group_by == GroupBy::Entity) != query.entity_kind.is_some() {
        return Err(Problem::bad_request(
            "bad_entity_kind",
            "group_by=entity needs entity_kind=, like grid, and nothing else does",
        ));
    }
    let asked = Asked::of(&views, scope, &query, level, &weights)?;
    let kept = KeptRow::of(
        &views,
        asked.chosen.iter().map(|chosen| chosen.info.id),
        span.from,
    );
    // A change is against the value before the first step, wherever that is.
    let first = match looks_back(across.each) {
        true => Timestamp::from_ms(i64::MIN),
        false => span.from,
    };
    let keys = match basis {
        Basis::Raw => Vec::new(),
        _ => asked
            .chosen
            .iter()
            .map(|chosen| chosen.info.key.clone())
            .collect(),
    };
    let found = reviewed(&views, basis, keys, (first, span.to), known_at).await?;
    let ids = asked.chosen.iter().map(|chosen| chosen.info.id);
    let found: HashMap<SeriesId, Reviewed> = ids.zip(found).filter(|(_, found)| !found.is_empty()).collect();
    // The register's version counts what changes in the whole city. That is nothing for who sees a part of it: the
    // tag of such an answer is made of the answer.
    let is_of_part = !scope.is_whole();
    let tag = (span.is_fixed && !is_of_part).then(|| {
        // What devices and entities are makes the groups.
        let question = format!("{uri} {}", asked.version);
        let mut tagging = Tagging::new(&views, &question);
        tagging.text(&KeptRow::fields(kept));
        for series in &asked.chosen {
            if let Some(found) = found.get(&series.info.id) {
                tagging.text(&format!("{:?}", found.positions().collect::<Vec<_>>()));
            }
            tagging.series(series.changes, &series.info, span.to);
        }
        tagging.tag()
    });
    if let Some(tag) = &tag
        && tag.is_known(&headers)
    {
        return Ok(tag.unchanged());
    }
    span.check_points(asked.chosen.iter().map(|chosen| &chosen.info))?;
    let quantity = query.quantity;
    let made = turns.once_noting(views, move |views| {
        let Asked {
            chosen,
            entities,
            divisions,
            names,
            ..
        } = asked;
        let groups = grouped(chosen, &entities, weights.of(&divisions));
        if let Err(problem) = span.check_steps(step, groups.len()) {
            return Ok(Err(problem));
        }
        let members: Vec<Vec<Member>> = groups.values().map(|group| group.members.clone()).collect();
        let takes = |quality: Quality| marks.takes(quality);
        let takes = marks.filter(&takes);
        let which = Which { known_at, takes };
        let steps =
            views
                .archive
                .aggregate_found(&members, (span.from, span.to), step, across, which, &found)?;
        // Once more: it may have been raised before they were read.
        let kept = KeptRow::of(views, members.iter().flatten().map(|member| member.id), span.from);
        let groups = groups.into_iter().zip(steps);
        let rows = groups.map(|((name, group), steps)| GroupRow {
            name: names.name(&name, &entities),
            series: group.members.len(),
            unweighted: (weights != Weights::Alike).then_some(group.n_unweighted),
            items: items(&steps, filling, kept),
            group: (!name.is_empty()).then_some(name),
        });
        let answer = Answer {
            from: span.from,
            groups: rows.collect(),
            kept,
            quantity,
            step_s: step.as_secs(),
            to: span.to,
            unit: &quantity.definition().unit,
        };
        Ok(Ok(
            serde_json::to_vec(&answer).expect("answers have text keys only")
        ))
    });
    let (answer, missing) = made.await?;
    let answer = answer?;
    let tag = match span.is_fixed && is_of_part {
        true => Some(Tag::of_answer(
            &uri.to_string(),
            &answer,
            &rows::damaged(&missing),
        )),
        false => tag,
    };
    if is_of_part
        && let Some(tag) = &tag
        && tag.is_known(&headers)
    {
        return Ok(tag.unchanged());
    }
    let mut response = rows::told(answer, &missing);
    if let Some(tag) = tag {
        tag.put(&mut response);
    }
    Ok(response)
}

/// What a question is about, as the register has it at one moment.
struct Asked {
    chosen: Vec<Chosen>,
    /// Of `entity_kind`.
    entities: BTreeMap<EntityCode, Arc<Entity>>,
    /// That weigh.
    divisions: Divisions,
    names: Names,
    /// Of the map, which counts the changes of devices and entities.
    version: u64,
}

impl Asked {
    fn of(
        views: &Views,
        scope: &Scope,
        query: &AggregateQuery,
        level: usize,
        weights: &Weights,
    ) -> Result<Self, Problem> {
        let register = views.register.read().expect(POISON);
        let mut chosen = Vec::new();
        for info in views.history.all_series() {
            let key = &info.key;
            if key.quantity != query.quantity || query.ch.is_some_and(|ch| key.channel != ch) {
                continue;
            }
            let asked =
                register.asked_for(scope, &key.device, query.division.as_ref(), query.kind.as_deref());
            let Some((device, division)) = asked else { continue };
            // Counted before the extent is looked at again.
            let changes = views.changes.of(info.id);
            let Some(info) = views.history.series(info.id) else {
                continue;
            };
            chosen.push(Chosen {
                changes,
                group: match query.group_by {
                    GroupBy::Division => division.map_or("", |d| shortened(d.as_str(), level)).to_owned(),
                    GroupBy::Kind => device.kind.to_string(),
                    GroupBy::Device => info.key.device.to_string(),
                    GroupBy::Entity | GroupBy::None => String::new(),
                },
                position: device.position,
                division: division.cloned(),
                info,
            });
        }
        if chosen.len() > MAX_SERIES {
            return Err(Problem::bad_request(
                "too_many_series",
                format!(
                    "{} series are more than {MAX_SERIES}; choose by division=, kind= or ch=",
                    chosen.len()
                ),
            ));
        }

        Ok(Self {
            entities: entities(&register, scope, query.entity_kind.as_ref()),
            divisions: weights.divisions(&register, chosen.iter().filter_map(|c| c.division.as_ref())),
            names: Names::of(&register, query, &chosen),
            version: register.city.version(),
            chosen,
        })
    }
}

/// The entities of a kind that a scope sees.
fn entities(
    register: &Register,
    scope: &Scope,
    kind: Option<&EntityKind>,
) -> BTreeMap<EntityCode, Arc<Entity>> {
    let Some(kind) = kind else {
        return BTreeMap::new();
    };
    let all = register.view.entities.of_kind(kind);
    all.filter(|entity| scope.is_whole() || register.sees_entity(scope, kind, &entity.code))
        .map(|entity| (entity.code.clone(), Arc::new(entity)))
        .collect()
}

/// Series by the name of their group, those without a place in one under an empty name.
fn grouped(
    chosen: Vec<Chosen>,
    entities: &BTreeMap<EntityCode, Arc<Entity>>,
    weighty: Weighty<'_>,
) -> BTreeMap<String, Group> {
    let areas = Areas::of(entities.values().map(Arc::as_ref));
    let shares = weighty.shared(chosen.iter().map(|chosen| chosen.division.as_ref()));
    let mut groups = BTreeMap::<String, Group>::new();
    for (chosen, weight) in chosen.into_iter().zip(shares) {
        let group = match (entities.is_empty(), &chosen.position) {
            (true, _) => chosen.group,
            (false, position) => {
                let code = position.as_ref().and_then(|position| areas.at(position));
                code.map_or_else(String::new, |code| code.to_string())
            }
        };
        let group = groups.entry(group).or_default();
        match weight {
            Some(weight) => group.members.push(Member {
                id: chosen.info.id,
                weight,
            }),
            None => group.n_unweighted += 1,
        }
    }
    groups
}

/// What groups are called.
struct Names(BTreeMap<String, String>);

impl Names {
    fn of(register: &Register, query: &AggregateQuery, chosen: &[Chosen]) -> Self {
        if query.group_by != GroupBy::Division {
            return Self(BTreeMap::new());
        }
        let name = |code: &str| {
            let mut entities = register.view.with_code(code);
            let division = entities.find(|entity| entity.kind == EntityKind::Division)?;
            Some((code.to_owned(), division.name.clone()))
        };
        Self(chosen.iter().filter_map(|chosen| name(&chosen.group)).collect())
    }
    fn name(&self, group: &str, entities: &BTreeMap<EntityCode, Arc<Entity>>) -> Option<String> {
        let entity = entities.get(group).map(|entity| entity.name.clone());
        entity.or_else(|| self.0.get(group).cloned())
    }
}

fn items(steps: &[GroupStep], filling: Filling, kept: Option<KeptRow>) -> Vec<Item> {
    let values: Vec<Option<f64>> = steps.iter().map(|step| step.value).collect();
    let shown = steps.iter().zip(filling.fill(&values));
    shown
        .filter_map(|(step, shown)| {
            let is_hidden = KeptRow::hides(kept, step.start, step.n);
            let shown = shown.map(|shown| if is_hidden { (None, false) } else { shown });
            shown.map(|(v, filled)| Item {
                filled,
                n: step.n,
                series: step.n_series,
                t: step.start,
                v,
            })
        })
        .collect()
}

/// The division of that many digits that a code lies in; a shorter code as it is.
fn shortened(code: &str, level: usize) -> &str {
    &code[..level.min(code.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_shortened_to_their_level() {
        assert_eq!(shortened("630102003", 6), "630102");
        assert_eq!(shortened("630102", 9), "630102");
    }
}

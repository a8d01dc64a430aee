//! Which series a caller may see, under which labels, and what they hold.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use onemap_model::{Device, DivisionCode, Quantity, Scope, SeriesKey, Timestamp, Value};
use onemap_store::engine::StoreError;
use onemap_store::history::{HistoryError, SeriesId, SeriesInfo};
use promql_parser::label::{MatchOp, Matcher};
use promql_parser::parser::VectorSelector;

use super::eval::Take;
use super::fault::{Fault, FaultKind};
use super::labels::{Labels, NAME};
use super::meter::Meter;
use crate::api::query::marks::Marks;
use crate::api::query::span::Span;
use crate::views::Views;

/// Series that one selector may find.
pub(super) const MAX_SERIES: usize = 200_000;
/// Series for which the register is held at a time.
const N_HELD: usize = 1024;
const POISON: &str = "no holder of this lock panics";

/// What one caller may see, and which marks a value may carry.
pub(super) struct Catalogue<'v> {
    pub(super) views: &'v Views,
    pub(super) scope: &'v Scope,
    pub(super) marks: Marks,
    /// What was read began before values of these quantities are kept.
    pub(super) gone: Gone,
}

/// Quantities of which earlier values were asked for than are kept, each with the time since which they are.
#[derive(Default)]
pub(super) struct Gone(RefCell<BTreeMap<Quantity, Timestamp>>);

impl Gone {
    fn note(&self, quantity: Quantity, kept: Timestamp) {
        let mut gone = self.0.borrow_mut();
        let noted = gone.entry(quantity).or_insert(kept);
        *noted = (*noted).max(kept);
    }
    /// A sentence for each quantity.
    pub(super) fn warnings(&self) -> Vec<String> {
        let gone = self.0.borrow();
        let sentence = |(quantity, kept): (&Quantity, &Timestamp)| {
            format!(
                "values of {quantity} before {kept} are no longer kept: nothing there does not mean that nothing was measured"
            )
        };
        gone.iter().map(sentence).collect()
    }
}

/// One series under its labels.
pub(super) struct Known {
    pub(super) id: SeriesId,
    pub(super) labels: Labels,
    quantity: Quantity,
}

impl Catalogue<'_> {
    /// The series that any of some selectors finds (all without a selector), that have a number, and a value
    /// between two times if they are given; ascending by labels.
    pub(super) fn series(
        &self,
        selectors: &[&VectorSelector],
        span: Option<(i64, i64)>,
    ) -> Result<Vec<Known>, Fault> {
        self.those(selectors, &|info| span.is_none_or(|span| self.spoke(info, span)))
    }

    /// Whether a series may have a value between two times, both inside.
    fn spoke(&self, info: &SeriesInfo, (from, to): (i64, i64)) -> bool {
        self.views.archive.first(info).ms() <= to && info.last.ms() >= from
    }

    /// As [`Catalogue::series`], of those that `takes` takes.
    fn those(
        &self,
        selectors: &[&VectorSelector],
        takes: &dyn Fn(&SeriesInfo) -> bool,
    ) -> Result<Vec<Known>, Fault> {
        let mut found = Vec::new();
        for some in self.candidates(selectors).chunks(N_HELD) {
            let register = self.views.register.read().expect(POISON);
            for info in some {
                if !takes(info) {
                    continue;
                }
                let asked = register.asked_for(self.scope, &info.key.device, None, None);
                let Some((device, division)) = asked else {
                    continue;
                };
                // Texts are no samples.
                let latest = self.views.latest.get(info.id);
                if latest.is_some_and(|latest| matches!(latest.value, Value::Text(_))) {
                    continue;
                }
                let labels = labels_of(&info.key, device, division);
                if selectors.is_empty() || selectors.iter().any(|own| finds(own, &labels)) {
                    found.push(Known {
                        id: info.id,
                        labels,
                        quantity: info.key.quantity,
                    });
                }
            }
        }
        found.sort_by(|a, b| a.labels.cmp(&b.labels));
        Ok(found)
    }

    /// Series that some selector could find, as far as device and quantity say.
    fn candidates(&self, selectors: &[&VectorSelector]) -> Vec<SeriesInfo> {
        let history = &self.views.history;
        let wants = |selector: &VectorSelector, key: &SeriesKey| {
            let name = key.quantity.name();
            let channel = key.channel;
            selector.name.as_deref().is_none_or(|own| own == name)
                && selector.matchers.matchers.iter().all(|m| match &*m.name {
                    NAME => m.is_match(name),
                    "device" => m.is_match(key.device.as_str()),
                    "channel" => m.is_match(&channel.to_string()),
                    _ => true,
                })
        };
        let any = |key: &SeriesKey| selectors.is_empty() || selectors.iter().any(|own| wants(own, key));
        history.series_where(&any)
    }

    /// Passes what a selector finds between two times, both inside, to `take`, a series at a time.
    pub(super) fn read(
        &self,
        selector: &VectorSelector,
        (from, to): (i64, i64),
        meter: &Meter<'_>,
        take: &mut Take<'_>,
    ) -> Result<(), Fault> {
        let now = self.views.now();
        let kept = |id| self.views.archive.kept_from(id, now).map(|kept| kept.values);
        let is_gone = |id| kept(id).filter(|kept| from < kept.ms());
        // A series all of whose values are gone there has nothing to show but that.
        let series = self.those(&[selector], &|info| {
            self.spoke(info, (from, to)) || is_gone(info.id).is_some()
        })?;
        if series.len() > MAX_SERIES {
            return Err(Fault::execution(format!(
                "a selector finds {} series, more than {MAX_SERIES}; ask for fewer",
                series.len()
            )));
        }
        let (from, end) = (
            Timestamp::from_ms(from.max(0)),
            Timestamp::from_ms(to.max(-1)) + Duration::from_millis(1),
        );
        let (mut times, mut values) = (Vec::new(), Vec::new());
        // Asked for when it is too much.
        let ids: Vec<SeriesId> = series.iter().map(|known| known.id).collect();
        let span = Span {
            from,
            to: end,
            is_fixed: true,
        };
        let estimate = || {
            let infos = ids.iter().filter_map(|id| self.views.history.series(*id));
            let n: u64 = infos.map(|info| span.n_points(&info)).sum();
            format!(
                "; this selector's {} series hold about {n} from {from} to {end}",
                ids.len()
            )
        };
        for known in series {
            if let Some(kept) = is_gone(known.id) {
                self.gone.note(known.quantity, kept);
            }
            times.clear();
            values.clear();
            let mut over = None;
            self.views
                .archive
                .scan(known.id, from, end, &mut |point| {
                    if let Err(mut fault) = meter.read(1) {
                        if fault.kind == FaultKind::Execution {
                            fault.text.push_str(&estimate());
                        }
                        over = Some(fault);
                        return ControlFlow::Break(());
                    }
                    if let Value::Number(value) = point.value
                        && self.marks.takes(point.quality)
                    {
                        times.push(point.measured_at.ms());
                        values.push(value);
                    }
                    ControlFlow::Continue(())
                })
                .map_err(|error| unread(&error))?;
            if let Some(fault) = over {
                return Err(fault);
            }
            if !times.is_empty() {
                take(&known.labels, &times, &values)?;
            }
        }
        Ok(())
    }
}

fn unread(error: &StoreError) -> Fault {
    if matches!(error, StoreError::Unavailable { .. } | StoreError::Busy { .. }) {
        return Fault::new(
            FaultKind::Unavailable,
            format!("values before the embedded span: {error}"),
        );
    }
    if matches!(error, StoreError::Unsupported { .. }) {
        return Fault::execution(error.to_string());
    }
    if matches!(error, StoreError::History(HistoryError::Closed)) {
        return Fault::new(FaultKind::Unavailable, error.to_string());
    }
    tracing::error!(%error, "the history cannot be read for a query");
    Fault::new(
        FaultKind::Internal,
        "the history cannot be read; the server's log says why",
    )
}

/// Whether a selector finds a series; it names the quantity, matches labels, or both.
pub(super) fn finds(selector: &VectorSelector, labels: &Labels) -> bool {
    let all = |matchers: &[Matcher]| {
        let own = |m: &Matcher| m.is_match(labels.get(&m.name));
        matchers.iter().all(own)
    };
    let own = &selector.matchers;
    selector
        .name
        .as_deref()
        .is_none_or(|name| labels.get(NAME) == name)
        && (own.or_matchers.is_empty() || own.or_matchers.iter().any(|matchers| all(matchers)))
        && all(&own.matchers)
}

/// Whether a selector says anything at all: one that matches a series without labels finds everything.
pub(super) fn says_something(selector: &VectorSelector) -> bool {
    let own = &selector.matchers;
    let says = |m: &Matcher| match m.op {
        MatchOp::Equal => !m.value.is_empty(),
        _ => !m.is_match(""),
    };
    selector.name.is_some()
        || own
            .matchers
            .iter()
            .chain(own.or_matchers.iter().flatten())
            .any(says)
}

/// Names of labels that a series may have, besides the quantity's.
fn labels_of(key: &SeriesKey, device: &Device, division: Option<&DivisionCode>) -> Labels {
    let text = |text: &str| Arc::<str>::from(text);
    let optional = |label: Option<&str>| text(label.unwrap_or_default());
    Labels::new([
        (text(NAME), text(key.quantity.name())),
        (text("channel"), text(&key.channel.to_string())),
        (text("device"), text(device.id.as_str())),
        (text("device_name"), text(&device.name)),
        (text("division"), optional(division.map(DivisionCode::as_str))),
        (
            text("gateway"),
            optional(device.gateway.as_ref().map(|own| own.as_str())),
        ),
        (text("kind"), text(&device.kind)),
        (
            text("profile"),
            optional(device.profile.as_ref().map(|own| own.as_str())),
        ),
        (text("unit"), text(&key.quantity.definition().unit)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_engine_cannot_answer_is_no_fault_of_the_server() {
        let unsupported = unread(&StoreError::Unsupported {
            engine: "influxdb2",
            what: "answer this".to_owned(),
        });
        assert_eq!(unsupported.kind, FaultKind::Execution);
        assert!(
            unsupported.text.contains("influxdb2 cannot answer this"),
            "{unsupported}"
        );
        let closed = unread(&StoreError::History(HistoryError::Closed));
        assert_eq!(closed.kind, FaultKind::Unavailable);
        let damaged = unread(&StoreError::History(HistoryError::Cursor));
        assert_eq!(damaged.kind, FaultKind::Internal);
    }
}

//! Who is told what.

use std::collections::BTreeSet;

use onemap_model::{DivisionCode, Edge, RuleId, Severity, Transition};

/// What a consumer wants to be told of. Where something lies is asked of the register by the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// Only things of this division; `None` is the whole city.
    pub division: Option<DivisionCode>,
    /// Least severity.
    pub severity_at_least: Severity,
    /// Only these rules; empty is all.
    pub rules: BTreeSet<RuleId>,
    /// Only these edges.
    pub edges: BTreeSet<Edge>,
}

impl Selection {
    /// Whether a transition is for the consumer; `is_told` says whether it has a receipt for anything of the alert.
    ///
    /// An alert that it was told of and that became less severe, or ended so, is told on: nobody waits for an end that
    /// does not come. One that is under maintenance, or that was raised in a drill, is told only on so; who is told what is
    /// raised is told what was raised in a drill and turns real.
    pub fn takes(
        &self,
        transition: &Transition,
        is_maintained: bool,
        is_told: impl FnOnce() -> bool,
    ) -> bool {
        let turns_real = transition.edge == Edge::DrillOver && self.edges.contains(&Edge::Raised);
        let is_asked_for = (turns_real || self.edges.contains(&transition.edge))
            && (self.rules.is_empty() || self.rules.contains(&transition.rule));
        let is_muted = is_maintained || transition.drill.is_some();
        let is_due = transition.severity >= self.severity_at_least && !is_muted;
        is_asked_for && (is_due || (is_last(transition.edge) && is_told()))
    }
}

/// Edges by which an alert ends or matters less.
fn is_last(edge: Edge) -> bool {
    matches!(edge, Edge::Cleared | Edge::Closed | Edge::Withdrawn | Edge::Eased)
}

#[cfg(test)]
mod tests {
    use onemap_model::DrillId;

    use super::*;
    use crate::feeds::shapes::tests::transition;

    #[test]
    fn an_end_is_told_to_whom_the_beginning_was() {
        use Edge::{Acknowledged, Cleared, DrillOver, Eased, Raised, Worsened};
        use Severity::{Major, Minor};
        let selection = Selection {
            division: None,
            severity_at_least: Major,
            rules: BTreeSet::new(),
            edges: [Raised, Worsened, Eased, Cleared].into(),
        };
        for (edge, severity, is_maintained, is_told, is_taken) in [
            (Raised, Major, false, false, true),
            (Raised, Minor, false, false, false),
            (Worsened, Major, false, false, true),
            (Acknowledged, Major, false, true, false),
            (Eased, Minor, false, true, true),
            (Eased, Minor, false, false, false),
            (Cleared, Minor, false, true, true),
            (Cleared, Minor, false, false, false),
            (Raised, Major, true, false, false),
            (Worsened, Major, true, true, false),
            (Cleared, Major, true, true, true),
            (Cleared, Major, true, false, false),
        ] {
            let mut transition = transition(edge);
            transition.severity = severity;
            assert_eq!(
                selection.takes(&transition, is_maintained, || is_told),
                is_taken,
                "{edge:?} {severity:?} {is_maintained} {is_told}"
            );
        }
        // In a drill nobody is told; what goes on behind it is told as if it were raised.
        let drill = Some(DrillId::new("drill").expect("an id"));
        for (edge, drill, is_told, is_taken) in [
            (Raised, drill.clone(), false, false),
            (Worsened, drill.clone(), false, false),
            (Cleared, drill.clone(), false, false),
            (Cleared, drill, true, true),
            (DrillOver, None, false, true),
        ] {
            let mut transition = transition(edge);
            (transition.severity, transition.drill) = (Major, drill);
            assert_eq!(
                selection.takes(&transition, false, || is_told),
                is_taken,
                "{edge:?}"
            );
        }
        let mut of_a_rule = selection.clone();
        of_a_rule.rules = [RuleId::new("other").expect("an id")].into();
        assert!(!of_a_rule.takes(&transition(Raised), false, || true));
    }
}

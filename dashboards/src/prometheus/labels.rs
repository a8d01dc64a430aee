//! Names of series: labels in the order of their names, without empty values.

use std::sync::Arc;

/// The label that holds what is measured.
pub(super) const NAME: &str = "__name__";

type Label = (Arc<str>, Arc<str>);

/// The labels of one series.
///
/// Invariant: ascending by name, each name once, no value empty.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Labels(Arc<[Label]>);

impl Default for Labels {
    fn default() -> Self {
        Self(Arc::from([]))
    }
}

impl Labels {
    /// From labels in any order; empty values are left out, of a name given twice the last counts.
    pub(super) fn new(labels: impl IntoIterator<Item = (Arc<str>, Arc<str>)>) -> Self {
        let mut all: Vec<Label> = labels.into_iter().collect();
        all.reverse();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all.dedup_by(|later, first| later.0 == first.0);
        all.retain(|(_, value)| !value.is_empty());
        Self(all.into())
    }
    /// The value of a label; empty when it is not there.
    pub(super) fn get(&self, name: &str) -> &str {
        self.label(name).map_or("", |(_, value)| value)
    }
    fn label(&self, name: &str) -> Option<&Label> {
        let at = self.0.binary_search_by(|(own, _)| (**own).cmp(name)).ok()?;
        self.0.get(at)
    }
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }
    fn filtered(&self, keep: impl Fn(&str) -> bool) -> Self {
        if self.0.iter().all(|(name, _)| keep(name)) {
            return self.clone();
        }
        Self(self.0.iter().filter(|(name, _)| keep(name)).cloned().collect())
    }
    /// Without the name of what is measured.
    pub(super) fn unnamed(&self) -> Self {
        self.filtered(|name| name != NAME)
    }
    /// Only those of some names.
    pub(super) fn only(&self, names: &[String]) -> Self {
        self.filtered(|name| names.iter().any(|n| n == name))
    }
    /// Without those of some names, and without the name of what is measured.
    pub(super) fn without(&self, names: &[String]) -> Self {
        self.filtered(|name| name != NAME && !names.iter().any(|n| n == name))
    }
    /// With one label set; an empty value takes it away.
    pub(super) fn with(&self, name: &str, value: &str) -> Self {
        if self.get(name) == value {
            return self.clone();
        }
        let others = self.0.iter().filter(|(own, _)| **own != *name).cloned();
        Self::new(others.chain([(Arc::from(name), Arc::from(value))]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(text: &[(&str, &str)]) -> Labels {
        Labels::new(text.iter().map(|(n, v)| (Arc::from(*n), Arc::from(*v))))
    }

    #[test]
    fn labels_are_sorted_and_never_empty() {
        let l = labels(&[("b", "2"), ("a", "1"), ("c", ""), ("b", "3"), (NAME, "pm10")]);
        let all: Vec<_> = l.iter().collect();
        assert_eq!(all, [(NAME, "pm10"), ("a", "1"), ("b", "3")]);
        assert_eq!((l.get("b"), l.get("c"), l.get("z")), ("3", "", ""));
        assert_eq!(l.unnamed(), labels(&[("a", "1"), ("b", "3")]));
        assert_eq!(l.only(&["b".into(), "z".into()]), labels(&[("b", "3")]));
        assert_eq!(l.without(&["b".into()]), labels(&[("a", "1")]));
        assert_eq!(l.with("a", ""), labels(&[("b", "3"), (NAME, "pm10")]));
        assert_eq!(l.with("d", "4").get("d"), "4");
        assert_eq!(labels(&[]), Labels::default());
    }
}

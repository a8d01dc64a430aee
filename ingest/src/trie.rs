//! Which subscriptions a topic meets (MQTT 3.1.1, 4.7).

use std::collections::HashMap;

/// Most levels a filter may have; it bounds the depth of every walk.
pub(crate) const MAX_LEVELS: usize = 32;

/// Whether a filter is well formed: not empty, no NUL, `+` and `#` alone in their level, `#` last, at
/// most [`MAX_LEVELS`] levels.
pub(crate) fn is_filter(filter: &str) -> bool {
    let levels = filter.split('/').count();
    !filter.is_empty()
        && !filter.contains('\0')
        && levels <= MAX_LEVELS
        && filter.split('/').enumerate().all(|(i, level)| match level {
            "+" => true,
            "#" => i + 1 == levels,
            _ => !level.contains(['+', '#']),
        })
}

/// Whether a text can be published to: not empty, no NUL and no wildcard.
pub(crate) fn is_topic(topic: &str) -> bool {
    !topic.is_empty() && !topic.contains(['\0', '+', '#'])
}

/// Whether a topic meets a filter. Wildcards in the first level do not meet topics that begin with `$`.
pub(crate) fn matches(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let mut levels = topic.split('/');
    for wanted in filter.split('/') {
        if wanted == "#" {
            return true;
        }
        match levels.next() {
            Some(level) if wanted == "+" || wanted == level => {}
            _ => return false,
        }
    }
    levels.next().is_none()
}

/// Whether every topic that meets `narrow` meets `wide` too.
pub(crate) fn covers(wide: &str, narrow: &str) -> bool {
    if narrow.starts_with('$') && wide.starts_with(['+', '#']) {
        return false;
    }
    let mut levels = narrow.split('/');
    for wanted in wide.split('/') {
        if wanted == "#" {
            return true;
        }
        match levels.next() {
            Some("#") => return false,
            Some(level) if wanted == "+" || wanted == level => {}
            _ => return false,
        }
    }
    levels.next().is_none()
}

/// Subscriptions by filter. `S` compares equal when it is the same subscriber's same subscription.
#[derive(Debug)]
pub(crate) struct Trie<S> {
    root: Node<S>,
}

#[derive(Debug)]
struct Node<S> {
    children: Children<S>,
    plus: Option<Box<Node<S>>>,
    /// Filters that end here with `#`.
    hash: Vec<S>,
    /// Filters that end here.
    here: Vec<S>,
}

/// Most nodes have one child (`d/{device}/rpc/request/+`): a map a node would be most of the memory.
#[derive(Debug)]
enum Children<S> {
    None,
    One(Box<(Box<str>, Node<S>)>),
    #[expect(
        clippy::box_collection,
        reason = "most nodes have one child or none; a boxed map keeps them small"
    )]
    Many(Box<HashMap<Box<str>, Node<S>>>),
}

impl<S> Children<S> {
    fn get(&self, level: &str) -> Option<&Node<S>> {
        match self {
            Self::None => None,
            Self::One(one) => (*one.0 == *level).then_some(&one.1),
            Self::Many(many) => many.get(level),
        }
    }
    fn get_mut(&mut self, level: &str) -> Option<&mut Node<S>> {
        match self {
            Self::None => None,
            Self::One(one) => (*one.0 == *level).then_some(&mut one.1),
            Self::Many(many) => many.get_mut(level),
        }
    }
    fn get_or_insert(&mut self, level: &str) -> &mut Node<S> {
        match self {
            Self::None => *self = Self::One(Box::new((level.into(), Node::new()))),
            Self::One(one) if *one.0 != *level => {
                let Self::One(one) = std::mem::replace(self, Self::None) else {
                    unreachable!("it was one just now")
                };
                let (name, node) = *one;
                *self = Self::Many(Box::new(HashMap::from([
                    (name, node),
                    (level.into(), Node::new()),
                ])));
            }
            Self::One(_) => {}
            Self::Many(many) if !many.contains_key(level) => {
                many.insert(level.into(), Node::new());
            }
            Self::Many(_) => {}
        }
        self.get_mut(level).expect("it is there, or was put there")
    }
    fn remove(&mut self, level: &str) {
        match self {
            Self::One(one) if *one.0 == *level => *self = Self::None,
            Self::Many(many) => {
                many.remove(level);
                if many.is_empty() {
                    *self = Self::None;
                }
            }
            _ => {}
        }
    }
    fn is_empty(&self) -> bool {
        matches!(self, Self::None)
    }
}

impl<S> Node<S> {
    fn new() -> Self {
        Self {
            children: Children::None,
            plus: None,
            hash: Vec::new(),
            here: Vec::new(),
        }
    }
    fn is_empty(&self) -> bool {
        self.children.is_empty() && self.plus.is_none() && self.hash.is_empty() && self.here.is_empty()
    }
}

impl<S: PartialEq> Trie<S> {
    pub(crate) fn new() -> Self {
        Self { root: Node::new() }
    }

    /// Adds a subscription, or replaces an equal one. Gives whether it is new. The filter is well formed.
    pub(crate) fn insert(&mut self, filter: &str, subscription: S) -> bool {
        let mut node = &mut self.root;
        let mut list = None;
        for level in filter.split('/') {
            match level {
                "#" => list = Some(()),
                "+" => node = node.plus.get_or_insert_with(|| Box::new(Node::new())),
                name => node = node.children.get_or_insert(name),
            }
        }
        let list = if list.is_some() {
            &mut node.hash
        } else {
            &mut node.here
        };
        match list.iter_mut().find(|other| **other == subscription) {
            Some(other) => {
                *other = subscription;
                false
            }
            None => {
                list.reserve_exact(usize::from(list.is_empty()));
                list.push(subscription);
                true
            }
        }
    }

    /// Removes the subscription that is equal to `subscription`. Gives whether there was one.
    pub(crate) fn remove(&mut self, filter: &str, subscription: &S) -> bool {
        let levels: Vec<&str> = filter.split('/').collect();
        Self::remove_below(&mut self.root, &levels, subscription)
    }

    fn remove_below(node: &mut Node<S>, levels: &[&str], subscription: &S) -> bool {
        let take = |list: &mut Vec<S>| {
            let at = list.iter().position(|other| other == subscription);
            at.map(|i| list.swap_remove(i)).is_some()
        };
        match levels {
            [] => take(&mut node.here),
            ["#"] => take(&mut node.hash),
            ["+", rest @ ..] => {
                let Some(child) = &mut node.plus else { return false };
                let removed = Self::remove_below(child, rest, subscription);
                if child.is_empty() {
                    node.plus = None;
                }
                removed
            }
            [name, rest @ ..] => {
                let Some(child) = node.children.get_mut(name) else {
                    return false;
                };
                let removed = Self::remove_below(child, rest, subscription);
                if child.is_empty() {
                    node.children.remove(name);
                }
                removed
            }
        }
    }

    /// Calls `found` for each subscription that meets the topic. Wildcards in the first level do not
    /// meet topics that begin with `$`.
    pub(crate) fn find<'t>(&'t self, topic: &str, found: &mut impl FnMut(&'t S)) {
        let is_special = topic.starts_with('$');
        Self::find_below(&self.root, Some(topic), is_special, found);
    }

    fn find_below<'t>(
        node: &'t Node<S>,
        rest: Option<&str>,
        is_special: bool,
        found: &mut impl FnMut(&'t S),
    ) {
        if !is_special {
            node.hash.iter().for_each(&mut *found);
        }
        let Some(rest) = rest else {
            node.here.iter().for_each(found);
            return;
        };
        let (level, rest) = match rest.split_once('/') {
            Some((level, rest)) => (level, Some(rest)),
            None => (rest, None),
        };
        if let Some(plus) = &node.plus
            && !is_special
        {
            Self::find_below(plus, rest, false, found);
        }
        if let Some(child) = node.children.get(level) {
            Self::find_below(child, rest, false, found);
        }
    }

    #[cfg(test)]
    fn is_empty(&self) -> bool {
        self.root.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_meet_topics_as_the_standard_says() {
        for (filter, topic, meets) in [
            ("a/b", "a/b", true),
            ("a/b", "a/b/c", false),
            ("a/b", "a", false),
            ("a/+", "a/b", true),
            ("a/+", "a/b/c", false),
            ("a/+", "a", false),
            ("a/+", "a/", true),
            ("+", "a", true),
            ("+", "/a", false),
            ("+/+", "/a", true),
            ("/+", "/a", true),
            ("a/#", "a/b/c", true),
            ("a/#", "a", true),
            ("a/#", "ab", false),
            ("#", "a/b", true),
            ("+/b/#", "a/b", true),
            ("+/b/+", "a/b", false),
            ("#", "$SYS/load", false),
            ("+/load", "$SYS/load", false),
            ("$SYS/#", "$SYS/load", true),
            ("$SYS/+", "$SYS/load", true),
            ("a//b", "a//b", true),
            ("a/+/b", "a//b", true),
        ] {
            let mut trie = Trie::new();
            assert!(is_filter(filter), "{filter}");
            assert!(trie.insert(filter, 1));
            let mut n_found = 0;
            trie.find(topic, &mut |_| n_found += 1);
            assert_eq!(n_found, usize::from(meets), "{filter} {topic}");
            assert_eq!(matches(filter, topic), meets, "{filter} {topic}");
            assert!(trie.remove(filter, &1), "{filter}");
            assert!(trie.is_empty(), "{filter} leaves nothing behind");
        }
    }

    #[test]
    fn a_subscription_is_kept_once_and_removed_exactly() {
        let mut trie = Trie::new();
        assert!(trie.insert("a/+", 1));
        assert!(!trie.insert("a/+", 1));
        assert!(trie.insert("a/#", 1));
        assert!(trie.insert("a/+", 2));
        assert!(!trie.remove("a/b", &1));
        assert!(trie.remove("a/+", &1));
        let mut found = Vec::new();
        trie.find("a/b", &mut |s| found.push(*s));
        found.sort_unstable();
        assert_eq!(found, [1, 2]);
    }

    #[test]
    fn a_filter_covers_what_meets_it_at_least() {
        for (wide, narrow, covered) in [
            ("#", "a/+/#", true),
            ("#", "$SYS/#", false),
            ("+/b", "$SYS/b", false),
            ("$SYS/#", "$SYS/broker/+", true),
            ("a/+", "a/b", true),
            ("a/+", "a/+", true),
            ("a/+", "a/#", false),
            ("a/#", "a", true),
            ("a/#", "a/b/#", true),
            ("a/b", "a/+", false),
            ("a", "a/b", false),
            ("a/b", "a", false),
            ("a/+", "#", false),
        ] {
            assert_eq!(covers(wide, narrow), covered, "{wide} {narrow}");
        }
    }

    #[test]
    fn many_children_are_found_and_leave_nothing_behind() {
        let mut trie = Trie::new();
        for i in 0..50 {
            assert!(trie.insert(&format!("d/{i}/x"), i));
        }
        for i in 0..50 {
            let mut found = Vec::new();
            trie.find(&format!("d/{i}/x"), &mut |s| found.push(*s));
            assert_eq!(found, [i]);
        }
        for i in 0..50 {
            assert!(trie.remove(&format!("d/{i}/x"), &i));
        }
        assert!(trie.is_empty());
    }

    #[test]
    fn malformed_filters_and_topics_are_known() {
        let deep = "a/".repeat(MAX_LEVELS);
        for bad in ["", "a#", "#/a", "a/b+", "a/#/b", "a\0", deep.as_str()] {
            assert!(!is_filter(bad), "{bad:?}");
        }
        for bad in ["", "a/+", "#", "a\0b"] {
            assert!(!is_topic(bad), "{bad:?}");
        }
        assert!(is_topic("/") && is_topic("中/文"));
    }
}

//! Lines in the order of the stream, some of which wait for what becomes of their message.

use std::collections::VecDeque;

use super::Line;

/// Lines that wait at most; of more, the oldest goes as it is.
const MOST: usize = 4096;

/// Lines, each with the message that it waits for.
#[derive(Debug)]
pub(super) struct Held<K> {
    lines: VecDeque<(Option<K>, Line)>,
}

impl<K> Default for Held<K> {
    fn default() -> Self {
        Self {
            lines: VecDeque::new(),
        }
    }
}

impl<K: PartialEq> Held<K> {
    /// A line; with a key it waits until [`Held::settle`].
    pub(super) fn add(&mut self, key: Option<K>, line: Line) {
        if self.lines.len() >= MOST
            && let Some((oldest, _)) = self.lines.front_mut()
        {
            *oldest = None;
        }
        self.lines.push_back((key, line));
    }

    /// The lines of a message wait no longer; the last of them is given what came of it.
    pub(super) fn settle(&mut self, key: &K, change: impl FnOnce(&mut Line)) {
        let mut last = None;
        for (held, line) in &mut self.lines {
            if held.as_ref() == Some(key) {
                *held = None;
                last = Some(line);
            }
        }
        if let Some(line) = last {
            change(line);
        }
    }

    /// What waits for nothing, up to the first that does.
    pub(super) fn ready(&mut self) -> Vec<Line> {
        let mut ready = Vec::new();
        while self.lines.front().is_some_and(|(key, _)| key.is_none())
            && let Some((_, line)) = self.lines.pop_front()
        {
            ready.push(line);
        }
        ready
    }

    /// All of them, when nothing can become of a message any more.
    pub(super) fn all(&mut self) -> Vec<Line> {
        self.lines.drain(..).map(|(_, line)| line).collect()
    }
}

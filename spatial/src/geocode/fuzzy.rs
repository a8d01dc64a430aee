//! Names that resemble what is written: candidates share pairs of characters or syllables, the edit distance decides.

use std::cell::RefCell;

use super::names::Names;
use super::pinyin::Pinyin;

/// Candidates whose distance is worked out.
const N_CLOSE: usize = 48;
/// Pairs in more names than this say little; they count only when nothing rarer is met.
const N_COMMON: usize = 4_000;
/// What a character of the same sound costs; another one costs 1.
const SOUND: f32 = 0.25;
/// What a character costs that the text has lost.
const LOST: f32 = 0.9;
/// What a character behind the name costs.
const BEHIND: f32 = 0.35;

/// A name that resembles the text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Like {
    pub(crate) spelling: u32,
    /// 1 is equal.
    pub(crate) likeness: f32,
    /// Characters of the text that it explains.
    pub(crate) n: usize,
    /// Nothing but sounds differs.
    pub(crate) sounds: bool,
}

/// The names most like the text, best first; `wanted` says which spellings may be taken.
pub(crate) fn like(names: &Names, text: &[char], wanted: impl Fn(u32) -> bool, n_most: usize) -> Vec<Like> {
    thread_local! {
        static COUNTS: RefCell<Vec<u16>> = const { RefCell::new(Vec::new()) };
    }
    let mut met: Vec<u32> = Vec::new();
    let mut close: Vec<(u32, u32)> = COUNTS.with_borrow_mut(|counts| {
        if counts.len() < names.n_spellings() {
            counts.resize(names.n_spellings(), 0);
        }
        for common in [false, true] {
            names.sharing(text, |ids| {
                if (ids.len() > N_COMMON) != common {
                    return;
                }
                let weight = match ids.len() {
                    0..200 => 4,
                    200..2_000 => 2,
                    _ => 1,
                };
                for id in ids.iter().take(N_COMMON * 4) {
                    let count = &mut counts[*id as usize];
                    if *count == 0 {
                        met.push(*id);
                    }
                    *count = count.saturating_add(weight);
                }
            });
            if !met.is_empty() {
                break;
            }
        }
        let close = met.iter().map(|id| {
            let n = names.text(*id).len() as u32;
            (u32::from(counts[*id as usize]) * 64 / (n + 4), *id)
        });
        let close = close.collect();
        for id in &met {
            counts[*id as usize] = 0;
        }
        close
    });
    if close.len() > N_CLOSE {
        close.select_nth_unstable_by(N_CLOSE - 1, |a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
        // Those that are as close as the last are looked at, too, up to as many again.
        let last = close[N_CLOSE - 1].0;
        let mut also: Vec<_> = close[N_CLOSE..]
            .iter()
            .copied()
            .filter(|(share, _)| *share == last)
            .collect();
        also.sort_unstable_by_key(|(_, id)| *id);
        also.truncate(N_CLOSE);
        close.truncate(N_CLOSE);
        close.extend(also);
    }
    let table = Pinyin::table();
    let mut found: Vec<Like> = close
        .into_iter()
        .filter(|(_, id)| wanted(*id))
        .filter_map(|(_, spelling)| compare(table, text, names.text(spelling), spelling))
        .collect();
    found.sort_by(|a, b| {
        b.likeness
            .total_cmp(&a.likeness)
            .then(a.spelling.cmp(&b.spelling))
    });
    found.truncate(n_most);
    found
}

/// The weighted edit distance between a name and the text or a beginning of it.
fn compare(table: &Pinyin, text: &[char], name: &[char], spelling: u32) -> Option<Like> {
    const WIDEST: usize = super::names::MAX_NAME + 1;
    let m = name.len();
    if !(2..WIDEST).contains(&m) {
        return None;
    }
    let text = &text[..text.len().min(2 * m + 4)];
    // Cost and whether anything but a sound differs, for each beginning of the name.
    let mut row = [(0f32, false); WIDEST];
    for (j, cell) in row.iter_mut().enumerate().take(m + 1) {
        *cell = (j as f32 * LOST, j > 0);
    }
    let mut best = (f32::INFINITY, 0, false);
    for (i, c) in text.iter().enumerate() {
        let mut corner = row[0];
        row[0] = ((i + 1) as f32, true);
        for j in 0..m {
            let (cost, other) = if *c == name[j] {
                (0.0, false)
            } else if table.alike(*c, name[j]) {
                (SOUND, false)
            } else {
                (1.0, true)
            };
            let swapped = (corner.0 + cost, corner.1 || other);
            let dropped = (row[j + 1].0 + 1.0, true);
            let lost = (row[j].0 + LOST, true);
            corner = row[j + 1];
            row[j + 1] = [swapped, dropped, lost]
                .into_iter()
                .min_by(|a, b| a.0.total_cmp(&b.0))?;
        }
        let rest = (text.len() - i - 1) as f32;
        let cost = row[m].0 + rest * BEHIND;
        if cost < best.0 && i + 1 >= m.div_ceil(2) {
            best = (cost, i + 1, !row[m].1);
        }
    }
    let (cost, n, sounds) = best;
    let likeness = 1.0 - cost / n.max(m) as f32;
    (likeness > 0.0).then_some(Like {
        spelling,
        likeness,
        n,
        sounds,
    })
}

#[cfg(test)]
mod tests {
    use super::super::names::Style;
    use super::*;

    #[test]
    fn what_sounds_alike_is_nearest() {
        let chars = |s: &str| s.chars().collect::<Vec<_>>();
        let mut names = Names::new();
        for (thing, name) in ["昆仑东路", "昆仑西路", "长江路", "青海省博物馆"]
            .into_iter()
            .enumerate()
        {
            names.add(&chars(name), thing as u32, Style::Full);
        }
        names.index();
        let ask = |text: &str| {
            let found = like(&names, &chars(text), |_| true, 2);
            found.first().map(|f| {
                (
                    names.text(f.spelling).iter().collect::<String>(),
                    (f.likeness * 100.0).round() as i32,
                    f.n,
                    f.sounds,
                )
            })
        };
        assert_eq!(ask("昆伦东路"), Some(("昆仑东路".into(), 94, 4, true)));
        assert_eq!(ask("昆东路"), Some(("昆仑东路".into(), 78, 3, false)));
        assert_eq!(ask("青海省搏物馆"), Some(("青海省博物馆".into(), 96, 6, true)));
        assert_eq!(ask("长征路"), Some(("长江路".into(), 67, 3, false)));
        assert_eq!(ask("完全没有"), None);
    }
}

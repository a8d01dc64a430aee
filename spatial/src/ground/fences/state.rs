//! What is known of one object, to be kept and taken up again.

use super::{Fences, Object, Sighting, Stay, UNSETTLED, Vertex};

/// Everything that is known of an object.
#[derive(Clone, Debug, PartialEq)]
pub struct ObjectState {
    /// The object's number.
    pub object: u32,
    /// The groups it belonged to, as bits.
    pub groups: u64,
    /// Time of the newest sighting that counts, milliseconds.
    pub newest_ms: i64,
    /// Its place.
    pub at: Vertex,
    /// A sighting that is not believed yet.
    pub doubted: Option<Sighting>,
    /// Events so far.
    pub sequence: u64,
    /// The fences that it is in.
    pub stays: Vec<KnownStay>,
}

/// A stay in a fence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownStay {
    /// The fence's number.
    pub fence: u32,
    /// Time of the entry, milliseconds.
    pub since_ms: i64,
    /// Whether the dwell was told of, or need not be.
    pub told: bool,
}

impl Fences {
    /// Time (milliseconds) and place of the newest sighting of an object that counts, and a newer one that is doubted.
    pub fn newest(&self, object: u32) -> Option<(i64, Vertex, Option<Sighting>)> {
        let known = self.objects.get(&object)?;
        Some((known.newest_ms, known.at, known.doubted))
    }

    /// What is known of an object.
    pub fn state(&self, object: u32) -> Option<ObjectState> {
        let known = self.objects.get(&object)?;
        let valid = |stay: &&Stay| self.rules[stay.slot as usize].since <= known.version;
        let mut stays: Vec<KnownStay> = known
            .stays
            .iter()
            .filter(valid)
            .map(|stay| KnownStay {
                fence: self.rules[stay.slot as usize].number,
                since_ms: stay.since_ms,
                told: stay.told,
            })
            .collect();
        stays.sort_unstable_by_key(|stay| stay.fence);
        Some(ObjectState {
            object,
            groups: known.groups,
            newest_ms: known.newest_ms,
            at: known.at,
            doubted: known.doubted,
            sequence: known.sequence,
            stays,
        })
    }

    /// Takes up what was known of an object; its fences are to be there. It goes on as if it had never been put
    /// away; a stay in a fence that is not there is forgotten.
    pub fn restore(&mut self, state: &ObjectState) {
        let mut object = Object {
            newest_ms: state.newest_ms,
            at: state.at,
            doubted: state.doubted,
            groups: state.groups,
            sequence: state.sequence,
            version: self.version,
            settled: UNSETTLED,
            next_dwell_ms: i64::MAX,
            stays: Vec::with_capacity(state.stays.len()),
        };
        for stay in &state.stays {
            let Some(slot) = self.slots.get(&stay.fence).copied() else {
                continue;
            };
            let dwell_ms = self.rules[slot as usize].dwell_ms;
            if let (false, Some(dwell_ms)) = (stay.told, dwell_ms) {
                let due = stay.since_ms.saturating_add(dwell_ms);
                object.next_dwell_ms = object.next_dwell_ms.min(due);
            }
            object.stays.push(Stay {
                slot,
                told: stay.told,
                since_ms: stay.since_ms,
            });
        }
        object.stays.sort_unstable_by_key(|stay| stay.slot);
        self.objects.insert(state.object, object);
    }
}

//! The quarantine's way back: frames read again with the profile of now, and entries someone is done with.

use anyhow::Result;
use onemap_ingest::admit::Lane;
use onemap_model::record::Readmission;
use onemap_model::{Act, Verb};
use onemap_store::ledger::{Became, Settled, Which};

use super::fold::{Fold, Turn};

/// Faults of one frame that its entry spells out.
const N_FAULTS: usize = 8;

impl Fold<'_> {
    /// Reads a frame again. What it says goes by the backfill lane; what is still refused makes no new
    /// entry and counts nowhere: the entry that is there says so.
    pub(super) fn readmit(&mut self, position: u64, again: &Readmission<'_>) -> Result<()> {
        (self.lane, self.turn) = (Lane::Backfill, Turn::Again);
        self.frame_from(position, &again.frame)?;
        let taken = std::mem::take(&mut self.taken);
        if again.frame.payload.is_empty() {
            // Of an entry without bytes nothing can come; it stays as it is.
            return Ok(());
        }
        let refused = taken.refused.into_iter().take(N_FAULTS);
        self.pending.ledger.settled.push(Settled {
            record: position,
            origin: again.origin,
            which: Which::Of {
                device: again.frame.device.to_owned(),
                topic: again.frame.topic.to_owned(),
                payload: again.frame.payload.to_vec(),
            },
            at: again.at,
            actor: again.by.to_owned(),
            note: again.note.to_owned(),
            became: Became::Read {
                readings: taken.counts.new + taken.counts.revised,
                refused: refused.map(|fault| (fault.refusal, fault.detail)).collect(),
            },
        });
        Ok(())
    }

    /// Takes an act about the quarantine; whether it was one.
    pub(super) fn quarantine_act(&mut self, position: u64, act: &Act) -> bool {
        match &act.verb {
            // The frames follow as records of their own.
            Verb::Readmit { .. } => {}
            Verb::Discard { entries, note } => {
                let settled = entries.iter().map(|(origin, ordinal)| Settled {
                    record: position,
                    origin: *origin,
                    which: Which::Ordinal(*ordinal),
                    at: act.at,
                    actor: act.by.actor.clone(),
                    note: note.clone(),
                    became: Became::Discarded,
                });
                self.pending.ledger.settled.extend(settled);
            }
            _ => return false,
        }
        true
    }
}

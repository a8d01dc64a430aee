//! Messages of SL 651 of which a restart found some packets acknowledged and others on their way.
//!
//! Each packet stands in the journal before it is acknowledged (`sl651/part`), so the packets that a former run had joined so far are
//! read back out of it, and the message goes on where it was. What had ended was told then: it is not told again.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use onemap_log::{Batch, Log, LogError};
use onemap_model::record::{KIND_FRAME, KIND_REFUSED, Record, RefusedFrame};
use onemap_model::{Frame, Source, Timestamp};
use onemap_wire::sl651;
use tracing::{info, warn};

use super::joining::{Joined, Joining};
use super::server::Shared;
use super::sl651::PART;

/// So many times as long as a packet is waited for the journal is read back: a message whose packets came slower than that
/// is joined from the later ones, and ends without the others.
const N_AGES: u32 = 3;
/// Records that are looked at for one that has a time.
const N_TIMELESS: usize = 256;

/// A message that is whole and of which the journal may not have the record.
struct Whole {
    device: String,
    topic: String,
    at: Timestamp,
    bytes: Vec<u8>,
}

/// Reads back what a former run had begun; before the first station is heard.
pub(super) async fn read_back(shared: &Arc<Shared>) {
    let of = Arc::clone(shared);
    let read = tokio::task::spawn_blocking(move || {
        let mut joining = of.joining.lock().unwrap_or_else(PoisonError::into_inner);
        read(&of.log, &mut joining, of.config.packet_timeout)
    });
    let wholes = match read.await {
        Ok(Ok(wholes)) => wholes,
        Ok(Err(error)) => {
            warn!("packets of stations before the start are not joined, the journal cannot be read: {error}");
            return;
        }
        Err(error) => {
            warn!("packets of stations before the start are not joined: {error}");
            return;
        }
    };
    let mut batch = Batch::new();
    for whole in &wholes {
        let frame = Frame {
            received_at: whole.at,
            source: Source::Sl651,
            refused: None,
            qos: 0,
            retain: false,
            device: &whole.device,
            peer: "",
            topic: &whole.topic,
            payload: &whole.bytes,
        };
        batch.push(KIND_FRAME, |out| frame.encode(out));
    }
    if !batch.is_empty()
        && let Err(error) = shared.log.append(&batch).await
    {
        warn!("messages of stations that were whole before the start are not kept: {error}");
    }
}

fn read(log: &Log, joining: &mut Joining, age: Duration) -> Result<Vec<Whole>, LogError> {
    let status = log.status();
    let (first, last) = (status.first.saturating_sub(1), status.next.saturating_sub(1));
    // From the last time that the journal has: a server may have been away for long.
    let near_end = last.saturating_sub(N_TIMELESS as u64).max(first);
    let Some(newest) = time_behind(log, near_end)? else {
        return Ok(Vec::new());
    };
    let since = Timestamp::from_ms(newest.ms() - (age * N_AGES).as_millis() as i64);
    let (mut early, mut late) = (first, near_end);
    while early < late {
        let middle = early.midpoint(late);
        match time_behind(log, middle)? {
            Some(at) if at < since => early = middle + 1,
            _ => late = middle,
        }
    }
    let mut wholes: HashMap<String, Whole> = HashMap::new();
    let mut n_parts = 0;
    let mut reader = log.reader(early)?;
    while let Some(entry) = reader.next()? {
        match entry.kind {
            KIND_FRAME => {
                let Ok(frame) = Frame::decode(entry.body) else {
                    continue;
                };
                if frame.source != Source::Sl651 {
                    continue;
                }
                // The message's own record comes with its last packet.
                wholes.remove(frame.device);
                if frame.topic != PART {
                    continue;
                }
                let Ok(packet) = sl651::Frame::decode(frame.payload) else {
                    continue;
                };
                n_parts += 1;
                let topic = format!("sl651/{:02X}", packet.function);
                let (joined, _) = joining.take(frame.received_at, packet, frame.payload);
                if let Joined::Whole(_, bytes) = joined {
                    let whole = Whole {
                        device: frame.device.to_owned(),
                        topic,
                        at: frame.received_at,
                        bytes,
                    };
                    wholes.insert(frame.device.to_owned(), whole);
                }
            }
            KIND_REFUSED => {
                let Ok(RefusedFrame { frame, .. }) = RefusedFrame::decode(entry.body) else {
                    continue;
                };
                if frame.source == Source::Sl651 {
                    wholes.remove(frame.device);
                    // What was too old then has ended.
                    joining.tick(frame.received_at);
                }
            }
            _ => {}
        }
    }
    if n_parts > 0 {
        info!(
            n_parts,
            "{n_parts} packets of stations before the start were read back"
        );
    }
    Ok(wholes.into_values().collect())
}

/// The time of the first record behind a position that has one; `None` when there is none near.
fn time_behind(log: &Log, position: u64) -> Result<Option<Timestamp>, LogError> {
    let mut reader = log.reader(position)?;
    for _ in 0..N_TIMELESS {
        let Some(entry) = reader.next()? else {
            return Ok(None);
        };
        let at = match Record::decode(entry.kind, entry.body) {
            Ok(Record::Frame(frame)) => frame.received_at,
            Ok(Record::Tick(at)) => at,
            _ => continue,
        };
        return Ok(Some(at));
    }
    Ok(None)
}

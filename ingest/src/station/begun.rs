//! Messages in packets of which a restart found some acknowledged and others on their way.
//!
//! Each packet stands in the journal before it is acknowledged, so the packets of a former run are read back out of it. A
//! message of SL 651 (`sl651/part`) is joined and goes on where it was; of a set of HJ 212, whose packets are read one by one,
//! is counted which ones came. What had ended was told then: it is not told again.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use onemap_log::{Batch, Log, LogError};
use onemap_model::record::{KIND_FRAME, KIND_REFUSED, Record, RefusedFrame};
use onemap_model::{DeviceId, Frame, Source, Timestamp};
use onemap_wire::{hj212, sl651};
use tracing::{info, warn};

use super::StationKeys;
use super::joining::{Joined, Joining};
use super::packets::{AGE, PACKETS, PacketSets, TOO_OLD};
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

/// Reads back which packets of HJ 212 a former run had taken; before the first station is heard.
pub(super) async fn read_back_sets(shared: &Arc<Shared>) {
    let of = Arc::clone(shared);
    let read = tokio::task::spawn_blocking(move || read_sets(&of.log, &of.packets, &of.keys));
    match read.await {
        Ok(Ok(0)) => {}
        Ok(Ok(n)) => info!(n, "{n} packets of stations before the start were read back"),
        Ok(Err(error)) => {
            warn!("packets of stations before the start are not known, the journal cannot be read: {error}");
        }
        Err(error) => warn!("packets of stations before the start are not known: {error}"),
    }
}

/// Notes the packets of sets that may be open or have just become whole; how many there were.
fn read_sets(log: &Log, sets: &PacketSets, keys: &StationKeys) -> Result<usize, LogError> {
    // A set is open for its age, and remembered as whole for as long.
    let Some((start, since)) = start(log, AGE * 2)? else {
        return Ok(0);
    };
    sets.known_since(since);
    let mut n_packets = 0;
    let mut reader = log.reader(start)?;
    while let Some(entry) = reader.next()? {
        match entry.kind {
            KIND_FRAME => {
                let Ok(frame) = Frame::decode(entry.body) else {
                    continue;
                };
                let is_packet = frame.source == Source::Hj212 && has_packet_number(frame.payload);
                let Some(device) = DeviceId::new(frame.device).ok().filter(|_| is_packet) else {
                    continue;
                };
                let keys = keys.of(frame.device);
                let Some(Ok(segment)) = hj212::segment_of(frame.payload, &keys) else {
                    continue;
                };
                n_packets += 1;
                // What ended by it was told then.
                let _told = sets.note(&device, frame.peer, &segment, frame.payload, frame.received_at);
            }
            KIND_REFUSED => {
                let Ok(RefusedFrame { detail, frame }) = RefusedFrame::decode(entry.body) else {
                    continue;
                };
                let is_told = detail.starts_with(TOO_OLD) && frame.topic == PACKETS;
                if is_told && frame.source == Source::Hj212 {
                    // What was too old then has ended.
                    sets.tick(frame.received_at);
                }
            }
            _ => {}
        }
    }
    Ok(n_packets)
}

/// Whether a frame's header may hold packet numbers; most frames have none and are not read any further.
fn has_packet_number(payload: &[u8]) -> bool {
    payload.windows(5).any(|window| window == b"PNUM=")
}

/// Reads back the messages of SL 651 that a former run had begun; before the first station is heard.
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
    let Some((start, _)) = start(log, age * N_AGES)? else {
        return Ok(Vec::new());
    };
    let mut wholes: HashMap<String, Whole> = HashMap::new();
    let mut n_parts = 0;
    let mut reader = log.reader(start)?;
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

/// Where the records of a journal's last time begin that is so long, and when that is. `None` when it has none with a time.
fn start(log: &Log, span: Duration) -> Result<Option<(u64, Timestamp)>, LogError> {
    let status = log.status();
    let (first, last) = (status.first.saturating_sub(1), status.next.saturating_sub(1));
    // From the last time that the journal has: a server may have been away for long.
    let near_end = last.saturating_sub(N_TIMELESS as u64).max(first);
    let Some(newest) = time_behind(log, near_end)? else {
        return Ok(None);
    };
    let since = Timestamp::from_ms(newest.ms() - span.as_millis() as i64);
    let (mut early, mut late) = (first, near_end);
    while early < late {
        let middle = early.midpoint(late);
        match time_behind(log, middle)? {
            Some(at) if at < since => early = middle + 1,
            _ => late = middle,
        }
    }
    Ok(Some((early, since)))
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use onemap_log::Config;
    use onemap_model::Refusal;

    use super::*;

    const START_MS: i64 = 1_795_392_000_000;

    fn at(s: i64) -> Timestamp {
        Timestamp::from_ms(START_MS + s * 1000)
    }

    /// One packet of an hour as its record in a journal.
    fn packet(batch: &mut Batch, s: i64, hour: u32, number: u32, of: u32) {
        let text = format!(
            "QN=20261126080000001;ST=22;CN=2061;PW=1;MN=A;Flag=7;PNUM={of};PNO={number};CP=&&DataTime=20261126{hour:02}0000;a34004-Avg={number}&&"
        );
        let segment = hj212::Segment::parse(text.as_bytes()).unwrap();
        let payload = hj212::encode(&segment).unwrap();
        let frame = of_station(s, None, "hj212/2061", &payload);
        batch.push(KIND_FRAME, |out| frame.encode(out));
    }

    fn of_station<'a>(s: i64, refused: Option<Refusal>, topic: &'a str, payload: &'a [u8]) -> Frame<'a> {
        Frame {
            received_at: at(s),
            source: Source::Hj212,
            refused,
            qos: 0,
            retain: false,
            device: "A",
            peer: "192.0.2.1:5000",
            topic,
            payload,
        }
    }

    fn read_back(batch: &Batch) -> (usize, PacketSets) {
        let folder = tempfile::tempdir().unwrap();
        let (log, _) = Log::open(Config::new(folder.path())).unwrap();
        let position = log.append_blocking(batch).unwrap();
        log.wait_durable_blocking(position).unwrap();
        let sets = PacketSets::new(at(1000));
        let n = read_sets(&log, &sets, &StationKeys::default()).unwrap();
        (n, sets)
    }

    fn details(sets: &PacketSets, s: i64) -> Vec<String> {
        let mut details: Vec<_> = sets.tick(at(s)).into_iter().map(|ended| ended.detail).collect();
        details.sort();
        details
    }

    #[test]
    fn packets_of_sets_that_a_former_run_left_open_are_counted() {
        let mut batch = Batch::new();
        // Told long ago, which the record of a later one shows as well; whole; told; and two that are open.
        packet(&mut batch, -500, 1, 1, 2);
        packet(&mut batch, 0, 2, 1, 2);
        packet(&mut batch, 0, 2, 2, 2);
        packet(&mut batch, 0, 3, 2, 3);
        let told = of_station(41, Some(Refusal::IncompletePackets), PACKETS, b"");
        let detail = "packets_too_old: of 3 packets of CN 2061 came 2";
        batch.push(KIND_REFUSED, |out| {
            RefusedFrame { detail, frame: told }.encode(out)
        });
        packet(&mut batch, 50, 4, 3, 4);
        packet(&mut batch, 51, 4, 1, 4);
        packet(&mut batch, 60, 5, 1, 2);
        let (n, sets) = read_back(&batch);
        assert_eq!(n, 7);
        assert_eq!(details(&sets, 60), [""; 0]);
        assert_eq!(
            details(&sets, 200),
            [
                "packets_too_old: of 2 packets of CN 2061 with DataTime 20261126050000 came 1; missing 2",
                "packets_too_old: of 4 packets of CN 2061 with DataTime 20261126040000 came 1, 3; missing 2, 4",
            ]
        );
    }

    #[test]
    fn an_empty_journal_leaves_nothing_open() {
        let (n, sets) = read_back(&Batch::new());
        assert_eq!((n, details(&sets, 2000)), (0, Vec::new()));
    }
}

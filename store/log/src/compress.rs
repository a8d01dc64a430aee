//! The packer thread: closed plain segments become packed ones.
//!
//! The packed file is whole and synced before it gets its name, and only then the plain one goes.
//! Readers that have the plain one open read it to its end. A segment that cannot be read stays as it
//! is and is reported; it is tried again at the next open.

use std::{
    fs::{File, OpenOptions},
    io::Write,
    path::Path,
    sync::{PoisonError, atomic::Ordering},
    time::Duration,
};

use tracing::{error, warn};

use crate::{
    LogError,
    catalog::Segment,
    feed::{Feed, Step},
    pack::Packer,
    segment::{self, Form, Header},
    shared::{Shared, lock, wait},
};

/// How long a full disk is left alone.
const FULL_DISK_RETRY: Duration = Duration::from_secs(5);
/// Bytes gathered before they are written.
const WRITE_BYTES: usize = 256 << 10;

/// Packs until the log is closed.
pub(crate) fn run(shared: &Shared) {
    let mut from = 0;
    loop {
        let mut catalog = lock(&shared.catalog);
        let segment = loop {
            if shared.stopping.load(Ordering::Relaxed) {
                return;
            }
            match catalog.oldest_plain(from) {
                Some(segment) => break segment,
                None => catalog = wait(&shared.closed_a_segment, catalog),
            }
        };
        drop(catalog);
        let error = pack(shared, &segment).err();
        let full = error.as_ref().is_some_and(LogError::may_pass);
        if let Some(error) = &error {
            let why = error.chain();
            match full {
                true => warn!(
                    "no room to compress segment {}, trying again: {why}",
                    segment.base
                ),
                false => error!("segment {} stays uncompressed: {why}", segment.base),
            }
            *lock(&shared.pack_error) = Some(why);
        }
        if full {
            let catalog = lock(&shared.catalog);
            if !shared.stopping.load(Ordering::Relaxed) {
                let waited = shared.closed_a_segment.wait_timeout(catalog, FULL_DISK_RETRY);
                drop(waited.unwrap_or_else(PoisonError::into_inner));
            }
        } else {
            from = segment.base + 1;
        }
    }
}

/// Replaces a plain segment by a packed one, unless it is released or the log closed meanwhile.
fn pack(shared: &Shared, segment: &Segment) -> Result<(), LogError> {
    let dir = shared.config.dir.as_path();
    let plain = segment::path(dir, segment.base, Form::Plain);
    let packed = segment::path(dir, segment.base, Form::Packed);
    let tmp = segment::tmp_path(&packed);
    let written = write(shared, segment, &plain, &tmp);
    let replaced = match written {
        Ok(Some(bytes)) => replace(shared, segment, bytes, &tmp, &packed),
        Ok(None) => Ok(false),
        Err(error) => Err(error),
    };
    match replaced {
        Ok(true) => segment::remove(&plain),
        Ok(false) => segment::remove(&tmp),
        Err(error) => {
            // It may not exist, and the next open removes it anyway: the first error is the news.
            let _ = segment::remove(&tmp);
            Err(error)
        }
    }
}

/// Writes the packed file and returns its size, or none when the work is no longer wanted.
fn write(shared: &Shared, segment: &Segment, plain: &Path, tmp: &Path) -> Result<Option<u64>, LogError> {
    let failed = |doing| LogError::io(doing, tmp);
    let mut feed = match Feed::open(plain.to_path_buf(), segment.bytes) {
        Err(LogError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            File::create(tmp).map_err(failed("create"))?;
            return Ok(None); // released
        }
        feed => feed?,
    };
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(tmp)
        .map_err(failed("create"))?;
    let header = Header {
        form: Form::Packed,
        ..feed.header
    };
    let mut out = header.encode().to_vec();
    let mut packer = Packer::new().map_err(failed("compress into"))?;
    let mut n_bytes = 0;
    loop {
        match feed.step(0)? {
            Step::Record(found) => {
                let pushed = packer.push(found.position, feed.whole(&found), &mut out);
                pushed.map_err(failed("compress into"))?;
            }
            Step::End if feed.is_drained() => break,
            Step::End => return Err(feed.corrupt("the file ends inside it")),
            Step::Bad(what) => return Err(feed.corrupt(what)),
        }
        if out.len() >= WRITE_BYTES {
            if shared.stopping.load(Ordering::Relaxed) {
                return Ok(None);
            }
            file.write_all(&out).map_err(failed("write"))?;
            n_bytes += out.len() as u64;
            out.clear();
        }
    }
    let last = lock(&shared.catalog).last_of(segment.base);
    if last.is_some_and(|last| feed.next != last + 1) {
        return Err(feed.corrupt("records are missing at the end of the segment"));
    }
    packer.finish(&mut out).map_err(failed("compress into"))?;
    file.write_all(&out).map_err(failed("write"))?;
    file.sync_all().map_err(failed("sync"))?;
    Ok(Some(n_bytes + out.len() as u64))
}

/// Puts the packed file in the plain one's place; false when that was released meanwhile.
fn replace(
    shared: &Shared,
    segment: &Segment,
    bytes: u64,
    tmp: &Path,
    packed: &Path,
) -> Result<bool, LogError> {
    let upkeep = lock(&shared.upkeep);
    if lock(&shared.catalog).last_of(segment.base).is_none() {
        return Ok(false);
    }
    segment::publish(&shared.config.dir, tmp, packed)?;
    let mut catalog = lock(&shared.catalog);
    let replaced = catalog.set_packed(segment.base, bytes);
    let total_bytes = catalog.total_bytes();
    drop(catalog);
    drop(upkeep);
    shared.made_room(total_bytes);
    Ok(replaced)
}

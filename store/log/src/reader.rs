//! Reading a log in order, from inside the writing process or from outside.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    LogError,
    feed::{Feed, Found, Step},
    segment::{self, Form},
    shared::{Shared, lock},
};

/// How often a folder is listed anew when a file goes while it is being opened.
const N_TRIES: usize = 100;

/// Reads records in order. Memory stays at about two chunks (512 KiB), or two of the largest record.
///
/// From [`Log::reader`](crate::Log::reader) it sees durable records only and may be asked again and
/// again for more. It keeps on reading what is there when the log is closed.
#[derive(Debug)]
pub struct Reader {
    source: Source,
    position: u64,
    feed: Option<Feed>,
    /// While `carry.log` is read: the first position a segment holds.
    carry_until: u64,
}

#[derive(Debug)]
enum Source {
    Live(Arc<Shared>),
    Folder(PathBuf),
}

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Its position, counted from 1.
    pub position: u64,
    /// Its kind.
    pub kind: u8,
    /// Its bytes.
    pub body: &'a [u8],
}

/// Where the record behind the reader's position is.
enum Place {
    /// In this file.
    File(Feed),
    /// In `carry.log` or nowhere; segments begin with `first`.
    Before { carry: Option<Feed>, first: u64 },
    /// Not there yet.
    Nowhere,
}

/// How far a file may be read now, and whether that is all there will ever be in it.
struct Extent {
    limit: u64,
    closed: bool,
    /// The last position of a closed segment, where it is known.
    last: Option<u64>,
}

impl Reader {
    pub(crate) fn live(shared: Arc<Shared>, after: u64) -> Self {
        Self::new(Source::Live(shared), after)
    }

    /// Reads the log in `dir` without its lock and without changing anything, while another process
    /// may write it. It also sees records that are written and not yet durable, and takes a torn tail
    /// for the end.
    ///
    /// # Errors
    /// [`LogError::Io`] when the folder cannot be listed.
    pub fn open_dir(dir: &Path, after: u64) -> Result<Self, LogError> {
        segment::list(dir)?;
        Ok(Self::new(Source::Folder(dir.to_path_buf()), after))
    }

    /// Position of the first record that a segment in `dir` holds; none in an empty folder. Records before it were let go,
    /// but for those that are carried.
    ///
    /// # Errors
    /// [`LogError::Io`] when the folder cannot be listed.
    pub fn first_in_dir(dir: &Path) -> Result<Option<u64>, LogError> {
        Ok(segment::list(dir)?.segments.first().map(|(base, _)| *base))
    }

    fn new(source: Source, after: u64) -> Self {
        Self {
            source,
            position: after,
            feed: None,
            carry_until: 0,
        }
    }

    /// The position behind which [`Reader::next`] goes on: that of the last record handed out, or, when
    /// those after it are gone, of the last one gone.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The next record; none when there is no more for now. After an error the reader stands where it
    /// stood.
    ///
    /// # Errors
    /// [`LogError::Corrupt`] at damage, [`LogError::Ahead`] when a folder's last record is before the
    /// position the reader began behind, [`LogError::NotBuilt`] at a compressed segment in a build
    /// without `compress`, [`LogError::Io`].
    #[allow(clippy::should_implement_trait, reason = "an entry borrows from the reader")]
    pub fn next(&mut self) -> Result<Option<Entry<'_>>, LogError> {
        let Some(found) = self.advance()? else {
            return Ok(None);
        };
        let feed = self.feed.as_ref().expect("the record was just found in it");
        Ok(Some(Entry {
            position: found.position,
            kind: found.kind,
            body: feed.body(&found),
        }))
    }

    fn advance(&mut self) -> Result<Option<Found>, LogError> {
        let mut n_bad = 0;
        loop {
            let Some(feed) = &mut self.feed else {
                match self.source.find(self.position)? {
                    Place::File(feed) => self.feed = Some(feed),
                    Place::Before { carry, first } => {
                        self.carry_until = first;
                        match carry {
                            Some(carry) => self.feed = Some(carry),
                            None => self.position = first - 1,
                        }
                    }
                    Place::Nowhere => return Ok(None),
                }
                continue;
            };
            let is_carry = feed.header.form == Form::Carry;
            let what = match feed.step(self.position)? {
                Step::Record(found) if is_carry && found.position >= self.carry_until => {
                    self.end_carry();
                    continue;
                }
                Step::Record(found) if found.position <= self.position => continue,
                Step::Record(found) => {
                    self.position = found.position;
                    return Ok(Some(found));
                }
                Step::End if is_carry && (feed.is_drained() || self.source.is_folder()) => {
                    self.end_carry();
                    continue;
                }
                Step::End => None,
                Step::Bad(what) => Some(what),
            };

            // Not a record: the end for now, the end of a closed file, or damage.
            let extent = self.source.extent(feed)?;
            let more = extent.limit > feed.limit;
            feed.limit = extent.limit;
            if more && what.is_none() {
                continue;
            }
            if self.source.is_folder() && feed.header.form == Form::Plain && !feed.is_drained() {
                // The writer may have been at these bytes while they were read: only a look taken after
                // there was proof that they are finished counts.
                feed.reread();
                n_bad += 1;
                if n_bad == 1 {
                    continue;
                }
                if !extent.closed && !feed.has_mark_behind(feed.at_byte())? {
                    return self.caught_up(); // a torn tail, or a write under way
                }
                if n_bad == 2 {
                    continue;
                }
            }
            if let Some(what) = what {
                return Err(feed.corrupt(what));
            }
            if !feed.is_drained() {
                return Err(feed.corrupt("the file ends inside it"));
            }
            if !extent.closed {
                return self.caught_up();
            }
            if extent.last.is_some_and(|last| feed.next != last + 1) {
                return Err(feed.corrupt("records are missing between this segment and the next"));
            }
            self.feed = None;
            n_bad = 0;
        }
    }

    /// Leaves `carry.log` for the segments.
    fn end_carry(&mut self) {
        self.position = self.position.max(self.carry_until - 1);
        self.feed = None;
    }

    fn caught_up(&self) -> Result<Option<Found>, LogError> {
        match &self.feed {
            Some(feed) if feed.next <= self.position && self.source.is_folder() => Err(LogError::Ahead {
                after: self.position,
                last: feed.next - 1,
            }),
            _ => Ok(None),
        }
    }
}

impl Source {
    fn is_folder(&self) -> bool {
        matches!(self, Self::Folder(_))
    }

    /// Finds and opens the file that holds the record behind `after`.
    fn find(&self, after: u64) -> Result<Place, LogError> {
        match self {
            Self::Live(shared) => find_live(shared, after),
            Self::Folder(dir) => {
                let mut tries = 0..N_TRIES;
                loop {
                    match find_in_folder(dir, after) {
                        Err(LogError::Io { source, .. })
                            if source.kind() == io::ErrorKind::NotFound && tries.next().is_some() => {}
                        found => return found,
                    }
                }
            }
        }
    }

    fn extent(&self, feed: &Feed) -> Result<Extent, LogError> {
        let base = feed.header.base;
        let (closed, last) = match self {
            Self::Live(_) if feed.header.form == Form::Carry => (true, None),
            Self::Live(shared) => {
                let catalog = lock(&shared.catalog);
                match catalog.active() {
                    Some(active) if active.base == base => {
                        return Ok(Extent {
                            limit: active.bytes,
                            closed: false,
                            last: None,
                        });
                    }
                    _ => (true, catalog.last_of(base)),
                }
            }
            Self::Folder(dir) => {
                let segments = segment::list(dir)?.segments;
                let next = segments.iter().map(|(base, _)| *base).find(|other| *other > base);
                (next.is_some(), next.map(|next| next - 1))
            }
        };
        // A closed file's length is final, also when it has lost its name.
        Ok(Extent {
            limit: feed.file_bytes()?,
            closed,
            last,
        })
    }
}

fn find_live(shared: &Shared, after: u64) -> Result<Place, LogError> {
    // Files are opened under the lock: what the catalog names is there.
    let catalog = lock(&shared.catalog);
    if after >= catalog.durable {
        return Ok(Place::Nowhere);
    }
    let (want, first) = (after + 1, catalog.first());
    if want < first {
        let carry = match catalog.carry_last > after {
            true => Some(Feed::open(
                segment::path(&shared.config.dir, 0, Form::Carry),
                catalog.carry_bytes,
            )?),
            false => None,
        };
        return Ok(Place::Before { carry, first });
    }
    let Some((segment, is_active)) = catalog.holding(want) else {
        return Ok(Place::Nowhere);
    };
    let mut feed = Feed::open(catalog.path(&segment), segment.bytes)?;
    if let Some((position, at_byte)) = catalog.place(want).filter(|_| is_active) {
        feed.seek(position, at_byte);
    }
    Ok(Place::File(feed))
}

fn find_in_folder(dir: &Path, after: u64) -> Result<Place, LogError> {
    let mut segments = segment::list(dir)?.segments;
    segments.dedup_by_key(|(base, _)| *base); // packed ones come first
    let Some((first, _)) = segments.first().copied() else {
        return Ok(Place::Nowhere);
    };
    let open = |path: PathBuf| {
        let mut feed = Feed::open(path, 0)?;
        feed.limit = feed.file_bytes()?;
        Ok(feed)
    };
    if after + 1 < first {
        let carry = match open(segment::path(dir, 0, Form::Carry)) {
            Ok(feed) => Some(feed),
            Err(LogError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        return Ok(Place::Before { carry, first });
    }
    let (base, form) = segments[segments.partition_point(|(base, _)| *base <= after + 1) - 1];
    open(segment::path(dir, base, form)).map(Place::File)
}

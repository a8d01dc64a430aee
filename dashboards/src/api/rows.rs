//! Lists that can be long, made in pieces beside the async threads and sent as they are made.
//!
//! A list of a hundred thousand rows as one tree of JSON values takes a hundred megabytes and stands in the way of
//! every connection of its thread. Here a row becomes bytes at once, a piece is made when the one before was
//! taken, and few are made at the same time.

use std::collections::HashMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use onemap_store::engine::StoreError;
use onemap_store::history::{Missing, noting};
use onemap_store::ledger::TokenHash;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;

use crate::error::Problem;
use crate::views::Views;

/// Rows that one piece looks at: the register's locks are held for so long, and no longer.
const N_ROWS: usize = 2048;
/// Room that is made for a row of a block at once: a stamp, a number and a little; those of many columns need more.
const ROW_BYTES: usize = 40;
/// Pieces that are made at the same time.
const N_TURNS: usize = 4;

/// Exports that stand at the same time, however slowly they are read: a Parquet file in the making takes some
/// megabytes.
const N_EXPORTS: usize = 48;
/// Of these, as many as one token may hold, with the sessions that it opened: the others are for others.
const N_OWN_EXPORTS: usize = 12;

/// How long a question waits for its turn before it is told that there is none.
const PATIENCE: Duration = Duration::from_secs(20);

/// The turns of those who make pieces; the others wait. Who has gone away takes none.
#[derive(Clone)]
pub(crate) struct Turns {
    /// Of questions to the history, which may take seconds.
    questions: Arc<Semaphore>,
    /// Of lists that memory has: they do not wait behind questions.
    lists: Arc<Semaphore>,
    exports: Arc<Semaphore>,
    /// How many each token holds.
    holders: Arc<Mutex<HashMap<TokenHash, usize>>>,
}

/// A place for an export, given back when dropped.
pub(crate) struct ExportPlace {
    _place: OwnedSemaphorePermit,
    holder: TokenHash,
    holders: Arc<Mutex<HashMap<TokenHash, usize>>>,
}

impl Drop for ExportPlace {
    fn drop(&mut self) {
        let mut holders = unpoisoned(&self.holders);
        if let Some(n) = holders.get_mut(&self.holder) {
            *n -= 1;
            if *n == 0 {
                holders.remove(&self.holder);
            }
        }
    }
}

/// Counts are whole after a panic, too.
fn unpoisoned<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            questions: Arc::new(Semaphore::new(N_TURNS)),
            lists: Arc::new(Semaphore::new(N_TURNS)),
            exports: Arc::new(Semaphore::new(N_EXPORTS)),
            holders: Arc::default(),
        }
    }
}

/// What a piece says about what comes after it.
pub(crate) enum More {
    /// There may be more rows.
    Yes,
    /// These were the last; the page after them begins here.
    No(Option<String>),
}

/// Rows as JSON, one after the other.
pub(crate) struct Rows {
    bytes: Vec<u8>,
    n: usize,
    limit: usize,
}

/// Several rows that stand as one item, as JSON.
pub(crate) struct Block {
    bytes: Vec<u8>,
    n_rows: usize,
}

impl Block {
    pub(crate) fn of(block: &impl Serialize, n_rows: usize) -> Self {
        let mut bytes = Vec::with_capacity(n_rows * ROW_BYTES);
        serde_json::to_writer(&mut bytes, block)
            .expect("blocks have text keys only, and memory takes every byte");
        Self { bytes, n_rows }
    }
}

impl Rows {
    /// Whether the page has as many as were asked for.
    pub(crate) fn is_full(&self) -> bool {
        self.n == self.limit
    }
    pub(crate) fn push(&mut self, row: &impl Serialize) {
        self.push_block(row, 1);
    }
    /// How many more the page takes.
    pub(crate) fn n_left(&self) -> usize {
        self.limit - self.n
    }
    /// A block that was made elsewhere.
    pub(crate) fn push_made(&mut self, block: Block) {
        if block.n_rows == 0 {
            return;
        }
        if self.n > 0 {
            self.bytes.push(b',');
        }
        self.n += block.n_rows;
        self.bytes.extend_from_slice(&block.bytes);
    }
    /// Several rows that stand as one item; nothing when there are none.
    pub(crate) fn push_block(&mut self, block: &impl Serialize, n_rows: usize) {
        if n_rows == 0 {
            return;
        }
        if self.n > 0 {
            self.bytes.push(b',');
        }
        self.n += n_rows;
        if n_rows > 1 {
            self.bytes.reserve(n_rows * ROW_BYTES);
        }
        serde_json::to_writer(&mut self.bytes, block)
            .expect("rows have text keys only, and memory takes every byte");
    }
}

/// `{"as_of":…,"items":[…],"next":…,"position":…}` of at most `limit` rows; `head` stands before the items and
/// `tail` behind `next`, as members with their commas. `piece` is called with the views and a number of rows
/// that it looks at, until it says that there are no more. A short answer is sent as one, a long one in pieces.
///
/// # Errors
/// What kept the first piece from being made. When a later one fails, the answer is cut.
pub(crate) async fn answer(
    views: Arc<Views>,
    turns: Turns,
    limit: usize,
    (head, tail): (String, String),
    mut piece: impl FnMut(&Views, usize, &mut Rows) -> Result<More, StoreError> + Send + 'static,
) -> Result<Response, Problem> {
    let mut rows = Rows {
        bytes: format!("{{{head}\"items\":[").into_bytes(),
        n: 0,
        limit,
    };
    let mut missing = Missing::default();
    let mut make = move |views: &Views| {
        let (more, left_out) = noting(|| piece(views, N_ROWS, &mut rows));
        let more = more?;
        missing.add(left_out);
        if let More::No(next) = &more {
            rows.bytes.extend_from_slice(b"],\"next\":");
            serde_json::to_writer(&mut rows.bytes, next).expect("a text is JSON");
            rows.bytes.extend_from_slice(damaged(&missing).as_bytes());
            rows.bytes.extend_from_slice(tail.as_bytes());
            rows.bytes.push(b'}');
        }
        // The next piece is likely to be as long.
        let is_more = matches!(more, More::Yes);
        let room = if is_more { rows.bytes.len() } else { 0 };
        Ok((
            std::mem::replace(&mut rows.bytes, Vec::with_capacity(room)),
            is_more,
        ))
    };
    let (first, is_more, mut make) = turns
        .once(views.clone(), move |views| {
            let (first, is_more) = make(views)?;
            Ok((first, is_more, make))
        })
        .await?;
    if !is_more {
        return Ok(json(first));
    }
    let mut first = Some(first);
    Ok(json(turns.body(
        std::future::pending(),
        move || match first.take() {
            Some(first) => Ok((first, true)),
            None => make(&views).map_err(|error: StoreError| error.into()),
        },
    )))
}

/// The member `damaged` of an answer, with a comma before it; nothing when no damaged row was left out of it.
pub(crate) fn damaged(missing: &Missing) -> String {
    let damage = missing.damage();
    damage.map_or_else(String::new, |damage| {
        let damage = serde_json::to_string(&damage).expect("numbers and times are text");
        format!(",\"damaged\":{damage}")
    })
}

/// An answer, which is a JSON object with members, that says which damaged rows it is without.
pub(crate) fn told(mut object: Vec<u8>, missing: &Missing) -> Response {
    let said = damaged(missing);
    if !said.is_empty()
        && let Some(b'}') = object.pop()
    {
        object.extend_from_slice(said.as_bytes());
        object.push(b'}');
    }
    json(object)
}

/// The bytes of a piece, and whether there are more.
pub(crate) type Piece = Result<(Vec<u8>, bool), Box<dyn std::error::Error + Send + Sync>>;

impl Turns {
    /// A place for an export, to be held as long as it stands; `holder` is the token that it is let in by.
    ///
    /// # Errors
    /// [`Problem`] (429) while this token holds as many as one may, 503 while as many as may stand do.
    pub(crate) fn export(&self, holder: TokenHash) -> Result<ExportPlace, Problem> {
        let mut holders = unpoisoned(&self.holders);
        let n_own = holders.get(&holder).copied().unwrap_or(0);
        if n_own >= N_OWN_EXPORTS {
            return Err(Problem::too_many_requests(
                "too_many_exports",
                format!(
                    "{n_own} exports are being read with this token already, {N_OWN_EXPORTS} of {N_EXPORTS} are the \
                     most that one may hold: read one to its end or end it first"
                ),
            ));
        }
        let busy = |_| {
            Problem::unavailable(format!(
                "{N_EXPORTS} exports are being read already: try again later"
            ))
        };
        let place = self.exports.clone().try_acquire_owned().map_err(busy)?;
        holders.insert(holder, n_own + 1);
        Ok(ExportPlace {
            _place: place,
            holder,
            holders: self.holders.clone(),
        })
    }

    /// The turns of who lists what memory has.
    pub(crate) fn of_lists(mut self) -> Self {
        self.questions = self.lists.clone();
        self
    }

    /// What a read of the history gives, done in a turn beside the async threads. Who goes away before it is his
    /// turn takes none.
    ///
    /// # Errors
    /// What the read says, and 503 when no turn comes within 20 s.
    pub(crate) async fn once<T: Send + 'static>(
        &self,
        views: Arc<Views>,
        read: impl FnOnce(&Views) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Problem> {
        Ok(self.once_noting(views, read).await?.0)
    }

    /// As [`Turns::once`], with the damaged rows that were left out.
    ///
    /// # Errors
    /// As [`Turns::once`].
    pub(crate) async fn once_noting<T: Send + 'static>(
        &self,
        views: Arc<Views>,
        read: impl FnOnce(&Views) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<(T, Missing), Problem> {
        let turn = tokio::time::timeout(PATIENCE, self.questions.clone().acquire_owned());
        let Ok(turn) = turn.await else {
            let why = format!(
                "others' questions took all turns for {} s: try again later",
                PATIENCE.as_secs()
            );
            return Err(Problem::unavailable(why));
        };
        let turn = turn.expect("the turns are never closed");
        // The other tasks of this thread go on elsewhere meanwhile.
        let made = tokio::task::block_in_place(|| {
            catch_unwind(AssertUnwindSafe(|| {
                let (made, missing) = noting(|| read(&views));
                drop(turn);
                made.map(|made| (made, missing))
            }))
        });
        let panicked = |_| Problem::internal(&io::Error::other("a read of the history panicked"));
        let made = made.map_err(panicked)?;
        made.map_err(|error| Problem::store(&error))
    }

    /// A body made in pieces, each in a turn of its own, while somebody takes them. It is cut when a piece fails
    /// and when `end` comes before its own.
    pub(crate) fn body(
        self,
        end: impl Future<Output = ()> + Send + 'static,
        make: impl FnMut() -> Piece + Send + 'static,
    ) -> Body {
        let (pieces, taken) = mpsc::channel(1);
        tokio::spawn(async move {
            tokio::select! {
                biased;
                () = end => {
                    let ended = io::Error::other("what opened this answer opens no more");
                    // Nobody takes it: as good.
                    let _ = pieces.send(Err(ended)).await;
                }
                () = send(&pieces, self.questions, make) => {}
            }
        });
        Body::from_stream(ReceiverStream::new(taken))
    }
}

/// An answer that is JSON already.
pub(crate) fn json(body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Makes pieces while somebody takes them.
async fn send(
    pieces: &mpsc::Sender<io::Result<Bytes>>,
    turns: Arc<Semaphore>,
    mut make: impl FnMut() -> Piece + Send + 'static,
) {
    let mut more = true;
    while more {
        // The place first: a piece is made when the one before was taken, and a slow reader holds no turn.
        let Ok(place) = pieces.reserve().await else { return };
        let turn = tokio::select! {
            biased;
            () = pieces.closed() => return,
            turn = turns.clone().acquire_owned() => turn.expect("the turns are never closed"),
        };
        let made = tokio::task::spawn_blocking(move || {
            let made = make();
            drop(turn);
            (made, make)
        });
        // A failed answer is cut, so that nobody takes it for whole.
        let error = match made.await {
            Ok((Ok((bytes, is_more)), again)) => {
                (more, make) = (is_more, again);
                // A piece without a row would be the end of the body to some.
                if !bytes.is_empty() {
                    place.send(Ok(bytes.into()));
                }
                continue;
            }
            Ok((Err(error), _)) => {
                tracing::error!(error = %error, "an answer could not be made to its end and was cut");
                io::Error::other(error)
            }
            Err(error) => io::Error::other(error),
        };
        place.send(Err(error));
        return;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn pieces(
        turns: &Arc<Semaphore>,
        make: impl FnMut() -> Piece + Send + 'static,
    ) -> mpsc::Receiver<io::Result<Bytes>> {
        let (sender, taken) = mpsc::channel(1);
        let turns = turns.clone();
        tokio::spawn(async move { send(&sender, turns, make).await });
        taken
    }

    /// Pieces `1`, `2` … `n`, and how many were made.
    fn count(turns: &Arc<Semaphore>, n: usize) -> (mpsc::Receiver<io::Result<Bytes>>, Arc<AtomicUsize>) {
        let made = Arc::new(AtomicUsize::new(0));
        let counter = made.clone();
        let pieces = pieces(turns, move || {
            let i = counter.fetch_add(1, Ordering::SeqCst) + 1;
            Ok((i.to_string().into_bytes(), i < n))
        });
        (pieces, made)
    }

    #[tokio::test]
    async fn who_has_gone_takes_no_turn_and_who_waits_gets_one() {
        let turns = Arc::new(Semaphore::new(1));
        let turn = turns.clone().acquire_owned().await.expect("it is open");
        let (gone, made_for_gone) = count(&turns, 3);
        let (mut waiting, _) = count(&turns, 3);
        tokio::time::timeout(Duration::from_millis(50), waiting.recv())
            .await
            .expect_err("the turn is another's");
        drop(gone);
        // The gone one's task ends while the turn is still another's.
        tokio::task::yield_now().await;
        drop(turn);
        for i in 1..=3 {
            let piece = waiting.recv().await.expect("there are three");
            assert_eq!(piece.expect("it was made"), i.to_string());
        }
        assert!(waiting.recv().await.is_none());
        assert_eq!(made_for_gone.load(Ordering::SeqCst), 0);
        assert_eq!(turns.available_permits(), 1);
    }

    #[tokio::test]
    async fn a_reader_that_takes_nothing_holds_one_piece_and_no_turn() {
        let turns = Arc::new(Semaphore::new(1));
        let (slow, made) = count(&turns, 1_000);
        let (mut other, _) = count(&turns, 100);
        while other.recv().await.is_some() {}
        assert_eq!(made.load(Ordering::SeqCst), 1);
        assert_eq!(turns.available_permits(), 1);
        drop(slow);
    }

    #[test]
    fn one_token_holds_its_share_of_the_exports_and_no_more() {
        let turns = Turns::default();
        let (own, other) = (TokenHash::of("own"), TokenHash::of("other"));
        let mut held: Vec<_> = (0..N_OWN_EXPORTS)
            .map(|_| turns.export(own).expect("it is its share"))
            .collect();
        let refused = turns.export(own).err().expect("that is more");
        assert_eq!(refused.status(), axum::http::StatusCode::TOO_MANY_REQUESTS);
        let others: Vec<_> = (0..N_OWN_EXPORTS)
            .map(|_| turns.export(other).expect("these are another's"))
            .collect();
        held.pop();
        held.push(turns.export(own).expect("one was given back"));
        drop((held, others));
        assert!(unpoisoned(&turns.holders).is_empty());
        assert_eq!(turns.exports.available_permits(), N_EXPORTS);
    }

    #[tokio::test]
    async fn a_piece_that_fails_cuts_the_answer() {
        let turns = Arc::new(Semaphore::new(1));
        for make in [|| panic!("on purpose"), || Err("on purpose".into())] {
            let mut pieces = pieces(&turns, make);
            assert!(pieces.recv().await.is_some_and(|piece| piece.is_err()));
            assert!(pieces.recv().await.is_none());
            assert_eq!(turns.available_permits(), 1);
        }
    }

    #[tokio::test]
    async fn an_answer_whose_time_has_come_is_cut() {
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let ended = async move {
            let _ = ended.await;
        };
        let body = Turns::default().body(ended, || Ok((b"more".to_vec(), true)));
        let mut pieces = body.into_data_stream();
        async fn next(pieces: &mut axum::body::BodyDataStream) -> Option<Result<Bytes, axum::Error>> {
            use tokio_stream::StreamExt as _;
            pieces.next().await
        }
        assert!(next(&mut pieces).await.is_some_and(|piece| piece.is_ok()));
        end.send(()).expect("the answer goes on");
        loop {
            match next(&mut pieces).await {
                Some(Ok(_)) => {}
                last => break assert!(last.is_some_and(|piece| piece.is_err())),
            }
        }
        assert!(next(&mut pieces).await.is_none());
    }
}

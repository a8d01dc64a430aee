//! The outbox of one consumer.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result};
use onemap_alerts::feeds::{Batch, Failure, Kind, Made, Next, Verdict};
use onemap_dashboards::feeding::{self, LastError, Outbox as Shown, Waiting};
use onemap_dashboards::views::Views;
use onemap_model::TransitionId;
use onemap_store::feeds::{Answered, Aside, FeedCursor, Feeds, Mark, Standing};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::gathered::{self, Gathered, gather};
use super::settled::{Sent, settle};
use crate::config::ConsumerPart;

/// Pause when a file cannot be read or written.
const FILE_PAUSE: Duration = Duration::from_secs(5);

/// One consumer with its cursor.
pub(crate) struct Outbox {
    part: ConsumerPart,
    views: Arc<Views>,
    store: Arc<Feeds>,
    shown: Arc<Shown>,
    standing: Standing,
    /// Before this nothing is sent: the consumer, or its limit, asks for it.
    not_before: Option<Instant>,
    /// When the last request was sent.
    sent_at: Option<Instant>,
    /// When it is told again what is open.
    remind_at: Option<Instant>,
}

/// What to do after a step.
enum After {
    /// The next step.
    Step,
    /// Wait until then, or for a wish to send something again.
    Until(Instant),
    /// Wait for a transition.
    News,
}

impl Outbox {
    /// Finds where the consumer stands.
    pub(super) fn open(part: ConsumerPart, views: Arc<Views>, store: Arc<Feeds>) -> Result<Self> {
        let begin = match part.is_from_beginning {
            true => FeedCursor::default(),
            false => end_of(&views)?,
        };
        let mut standing = store.standing(&part.name, begin)?;
        let shown = Shown::new(&part.name, part.kind.name(), &part.host);
        let (cursor, n_missing) = gathered::found(&views, standing.cursor)?;
        if n_missing > 0 {
            warn!(
                consumer = part.name,
                "the ledger is another than consumer `{}` was served from: {n_missing} transitions are not sent",
                part.name
            );
        }
        shown.n_missing.store(n_missing, Ordering::Relaxed);
        if cursor.seq != standing.cursor.seq {
            store.pass(&part.name, cursor)?;
            standing.trying = None;
        }
        standing.cursor = cursor;
        shown.cursor.store(cursor.seq, Ordering::Relaxed);
        shown.n_aside.store(store.n_aside(&part.name)?, Ordering::Relaxed);
        let remind_at = part.kind.is_reminded().then(Instant::now);
        Ok(Self {
            part,
            views,
            store,
            shown: Arc::new(shown),
            standing,
            not_before: None,
            sent_at: None,
            remind_at,
        })
    }

    /// How it stands, for who looks.
    pub(super) fn shown(&self) -> Arc<Shown> {
        self.shown.clone()
    }

    /// Serves the consumer until the stop. What is under way then is sent again, by the same id.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> Result<()> {
        let mut newest = self.views.last_transition.subscribe();
        loop {
            newest.borrow_and_update();
            let stepped = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                stepped = self.step() => stepped,
            };
            let after = stepped.unwrap_or_else(|error| {
                let name = &self.part.name;
                warn!(consumer = name, "consumer `{name}` is not served: {error:#}");
                After::Until(Instant::now() + FILE_PAUSE)
            });
            let until = match after {
                After::Step => continue,
                After::Until(until) => Some(until),
                After::News => self.remind_at,
            };
            let is_idle = matches!(after, After::News);
            let due = async {
                match until {
                    Some(until) => tokio::time::sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = due => {}
                () = self.shown.asked.notified() => {}
                changed = newest.changed(), if is_idle => if changed.is_err() { return Ok(()) },
            }
        }
    }

    /// One request at most.
    async fn step(&mut self) -> Result<After> {
        if let Some(at) = self.paced() {
            return Ok(After::Until(at));
        }
        let (store, name) = (self.store.clone(), self.part.name.clone());
        if let Some(aside) = blocking(move || Ok(store.next_again(&name)?)).await? {
            self.send_again(aside).await?;
            return Ok(After::Step);
        }
        if let Some(at) = self.not_before.filter(|at| *at > Instant::now()) {
            return Ok(After::Until(at));
        }
        if self.remind_at.is_some_and(|at| at <= Instant::now()) {
            return self.remind().await;
        }
        let Gathered {
            batch,
            marks,
            cursor,
            n_missing,
        } = self.gathered().await?;
        if batch.is_empty() {
            if cursor != self.standing.cursor {
                let (store, name) = (self.store.clone(), self.part.name.clone());
                blocking(move || Ok(store.pass(&name, cursor)?)).await?;
                self.moved(cursor);
            }
            return Ok(After::News);
        }
        let sent = self.send(&batch).await;
        self.settle(sent, marks, cursor, n_missing).await?;
        Ok(After::Step)
    }

    /// Until when the least pause between two requests lasts.
    fn paced(&self) -> Option<Instant> {
        let at = self.sent_at? + self.part.patience.min_pause;
        (at > Instant::now()).then_some(at)
    }

    async fn gathered(&self) -> Result<Gathered> {
        let (views, store) = (self.views.clone(), self.store.clone());
        let (part, cursor) = (self.part.clone(), self.standing.cursor);
        blocking(move || gather(&views, &store, &part, cursor, (views.clock)())).await
    }

    async fn send(&mut self, batch: &Batch) -> Sent {
        let now = (self.views.clock)();
        let made = self.part.kind.request(&self.part.target, batch, now);
        self.tell(made).await
    }

    async fn tell(&mut self, made: Made) -> Sent {
        self.sent_at = Some(Instant::now());
        let clock = &self.views.clock;
        self.part.road.tell(&self.part.kind, made, &|| clock()).await
    }

    /// Writes what an answer means, then moves on.
    async fn settle(
        &mut self,
        sent: Sent,
        marks: Vec<Mark>,
        cursor: FeedCursor,
        n_missing: u64,
    ) -> Result<()> {
        let (store, name) = (self.store.clone(), self.part.name.clone());
        let (patience, standing, n) = (self.part.patience, self.standing, marks.len() as u64);
        let settled = sent.clone();
        let write = move || settle(&store, &name, &patience, standing, (&marks, cursor), &settled);
        let (standing, next) = blocking(write).await?;
        let was_waiting = self.standing.trying.is_some();
        self.standing = standing;
        match next {
            Next::Received => {
                self.shown.n_sent.fetch_add(n, Ordering::Relaxed);
                self.past(was_waiting, n_missing);
            }
            Next::Aside(failure) => {
                self.shown.failed(error_of(failure, &sent));
                self.note(failure, &sent, "sets aside what it did not take");
                self.count_aside().await?;
                self.past(false, n_missing);
            }
            Next::Again(pause, failure) => {
                self.shown.failed(error_of(failure, &sent));
                self.not_before = Some(Instant::now() + pause);
                if !was_waiting {
                    self.note(failure, &sent, "tries again");
                }
                let waiting = standing.trying.map(|trying| Waiting {
                    since: trying.since,
                    attempts: trying.attempts,
                    next_at: sent.at + pause,
                });
                self.shown.waits(waiting);
            }
        }
        Ok(())
    }

    fn note(&self, failure: Failure, sent: &Sent, what: &str) {
        let name = &self.part.name;
        let (reason, status) = (failure.name(), sent.status);
        warn!(
            consumer = name,
            reason, status, "the outbox of consumer `{name}` {what}: {reason}"
        );
    }

    fn past(&mut self, was_waiting: bool, n_missing: u64) {
        if was_waiting {
            let name = &self.part.name;
            info!(consumer = name, "the outbox of consumer `{name}` goes on");
        }
        self.shown.n_missing.fetch_add(n_missing, Ordering::Relaxed);
        self.not_before = None;
        self.shown.waits(None);
        self.moved(self.standing.cursor);
    }

    fn moved(&mut self, cursor: FeedCursor) {
        self.standing.cursor = cursor;
        self.shown.cursor.store(cursor.seq, Ordering::Relaxed);
    }

    async fn count_aside(&self) -> Result<()> {
        let (store, name) = (self.store.clone(), self.part.name.clone());
        let n = blocking(move || Ok(store.n_aside(&name)?)).await?;
        self.shown.n_aside.store(n, Ordering::Relaxed);
        Ok(())
    }

    /// Sends what was set aside once more; what is not received stays there with the new reason.
    async fn send_again(&mut self, aside: Aside) -> Result<()> {
        let (views, part, mark) = (self.views.clone(), self.part.clone(), aside.mark.clone());
        let batch = blocking(move || again(&views, &part, &mark)).await?;
        let sent = match &batch {
            Some(batch) => self.send(batch).await,
            None => Sent {
                verdict: Verdict::Never(Failure::Unmade),
                at: (self.views.clock)(),
                status: None,
                answer: "the ledger no longer holds it".to_owned(),
            },
        };
        let answered = Answered {
            at: sent.at,
            status: sent.status,
            attempt: match sent.verdict {
                Verdict::Received => aside.answered.attempt + 1,
                _ => 1,
            },
            answer: sent.answer.clone(),
        };
        let (store, name, marks) = (self.store.clone(), self.part.name.clone(), [aside.mark]);
        match sent.verdict {
            Verdict::Received => {
                blocking(move || Ok(store.receive(&name, None, &marks, &answered)?)).await?;
                self.shown.n_sent.fetch_add(1, Ordering::Relaxed);
            }
            Verdict::Later(failure, _) | Verdict::Never(failure) => {
                self.shown.failed(error_of(failure, &sent));
                self.note(failure, &sent, "sets aside again what it did not take");
                blocking(move || Ok(store.set_aside(&name, None, &marks, failure.name(), &answered)?))
                    .await?;
            }
        }
        self.count_aside().await
    }

    /// Tells again what is open. What of it is not taken is told the next time.
    async fn remind(&mut self) -> Result<After> {
        self.remind_at = Some(Instant::now() + self.part.remind);
        let open = feeding::open(&self.views, &self.part.selection);
        for made in Kind::reminders(&self.part.target, &open) {
            let sent = self.tell(made).await;
            if let Verdict::Later(failure, _) | Verdict::Never(failure) = sent.verdict {
                self.shown.failed(error_of(failure, &sent));
                break;
            }
        }
        Ok(After::Step)
    }
}

fn error_of(failure: Failure, sent: &Sent) -> LastError {
    LastError {
        at: sent.at,
        failure,
        status: sent.status,
        answer: sent.answer.clone(),
    }
}

/// The newest transition.
fn end_of(views: &Views) -> Result<FeedCursor> {
    let seq = views.ledger.last_seq()?;
    let row = views.ledger.transitions_after(seq.saturating_sub(1), 1)?;
    Ok(FeedCursor {
        seq,
        id: row.first().map(|row| row.transition.id),
    })
}

/// One item as it was, for another attempt; `None` when the ledger no longer has it.
fn again(views: &Views, part: &ConsumerPart, mark: &Mark) -> Result<Option<Batch>> {
    let id: TransitionId = mark.id;
    let Some(seq) = views.ledger.seq_of(&id)? else {
        return Ok(None);
    };
    let row = views.ledger.transitions_after(seq.saturating_sub(1), 1)?;
    let Some(row) = row.into_iter().next() else {
        return Ok(None);
    };
    let mut batch = part.kind.batch();
    batch.push(gathered::item(views, part, row.seq, row.transition)?);
    Ok(Some(batch))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .context("work of an outbox was cut short")?
}

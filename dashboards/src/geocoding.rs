//! The geocoder of now: made again in the background when names of the register change.

use std::sync::Arc;
use std::time::{Duration, Instant};

use onemap_model::{Entity, EntityKind};
use onemap_spatial::geocode::{Geocoder, NAMED, has_names, of_entities};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::error::Problem;
use crate::views::Views;

const POISON: &str = "no holder of this lock panics";
/// How long a question waits for names that were changed before it was asked.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest rest between two makings while names change all the time.
const LONGEST_REST: Duration = Duration::from_secs(30);

/// A geocoder and the version of the names that it knows.
#[derive(Clone, Debug)]
pub struct Made {
    /// Counts the changes of names since the server was started; it begins with 1.
    pub version: u64,
    /// It.
    pub geocoder: Arc<Geocoder>,
}

/// Holds the geocoder; readers never wait for one that is being made longer than they have to.
#[derive(Debug)]
pub struct Places {
    wanted: watch::Sender<u64>,
    made: watch::Sender<Option<Made>>,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            wanted: watch::Sender::new(1),
            made: watch::Sender::new(None),
        }
    }
}

impl Places {
    /// The names that addresses say are others now, when such an entity was changed.
    pub fn changed(&self, kind: &EntityKind) {
        if has_names(kind) {
            self.wanted.send_modify(|version| *version += 1);
        }
    }

    /// The geocoder that knows all changes up to now; the one before when it is not made in time.
    pub(crate) async fn current(&self) -> Result<Made, Problem> {
        let wanted = *self.wanted.borrow();
        let mut made = self.made.subscribe();
        let fresh = made.wait_for(|made| made.as_ref().is_some_and(|made| made.version >= wanted));
        if let Ok(Ok(made)) = tokio::time::timeout(PATIENCE, fresh).await
            && let Some(made) = &*made
        {
            return Ok(made.clone());
        }
        let before = self.made.borrow().clone();
        before.ok_or_else(|| Problem::unavailable("the names of the register are being read; try again"))
    }
}

/// Makes the geocoder, and again after each change, until `stop`.
pub async fn run(views: Arc<Views>, stop: CancellationToken) {
    let mut wanted = views.places.wanted.subscribe();
    loop {
        let version = *wanted.borrow_and_update();
        let from = Instant::now();
        let reader = views.clone();
        let made = tokio::task::spawn_blocking(move || of_entities(entities(&reader))).await;
        match made {
            Ok(geocoder) => {
                let geocoder = Arc::new(geocoder);
                views.places.made.send_replace(Some(Made { version, geocoder }));
            }
            Err(error) => tracing::error!(%error, "the geocoder could not be made; the one before answers"),
        }
        // Whoever changes names all the time does not keep a processor busy with them.
        let rest = (2 * from.elapsed()).min(LONGEST_REST);
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(rest) => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            changed = wanted.changed() => if changed.is_err() { return },
        }
    }
}

/// The entities that have names. One kind after the other: whoever writes waits for one kind at most.
fn entities(views: &Views) -> Vec<Entity> {
    let mut all = Vec::new();
    for kind in &NAMED {
        all.extend(views.register.read().expect(POISON).view.entities.of_kind(kind));
    }
    all
}

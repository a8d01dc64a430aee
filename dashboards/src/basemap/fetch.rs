//! Tiles of other servers, a few at a time, kept for a while.

use std::collections::HashMap;
use std::io::Read as _;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use axum::http::HeaderValue;
use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use onemap_store::remote::{Endpoint, EndpointError, Fetched};
use tokio::sync::Semaphore;

use super::address::Address;
use crate::error::Problem;

const POISON: &str = "no holder of this lock panics";
/// Largest tile, bytes.
const MAX_TILE: usize = 4 << 20;
/// Bytes of tiles that are kept of one layer.
const N_KEPT_BYTES: usize = 32 << 20;
/// How long a tile is kept.
const KEPT: Duration = Duration::from_secs(24 * 3600);
/// Requests to one server at the same time: the others wait.
const N_AT_ONCE: usize = 8;
/// How long a request waits for its turn.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long a server may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Once it fails, how long it is left alone.
const PAUSE: Duration = Duration::from_secs(5);

type Tile = Option<(Bytes, HeaderValue)>;

/// One layer of another server.
pub struct Upstream {
    address: Address,
    endpoint: Endpoint,
    turns: Semaphore,
    kept: Mutex<Shelf>,
    failed: Mutex<Option<(Instant, String)>>,
}

#[derive(Default)]
struct Shelf {
    tiles: HashMap<[u32; 3], (Instant, Tile)>,
    n_bytes: usize,
}

impl std::fmt::Debug for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.address.fmt(f)
    }
}

impl Upstream {
    /// A layer by its address; `https` trusts the authorities in `roots`, by default those of the system.
    ///
    /// # Errors
    /// [`EndpointError`].
    pub fn new(address: Address, roots: Option<&std::path::Path>) -> Result<Self, EndpointError> {
        let endpoint = Endpoint::new(address.origin(), None, &[], roots, TIMEOUT)?;
        Ok(Self {
            address,
            endpoint,
            turns: Semaphore::new(N_AT_ONCE),
            kept: Mutex::default(),
            failed: Mutex::default(),
        })
    }

    /// A tile, kept or fetched; `None` where the server has none. What went wrong is told without the key.
    pub(super) async fn tile(&self, z: u8, x: u32, y: u32) -> Result<Tile, String> {
        let at = [u32::from(z), x, y];
        if let Some(tile) = self.known(at) {
            return Ok(tile);
        }
        let turn = tokio::time::timeout(PATIENCE, self.turns.acquire()).await;
        let _turn = match turn {
            Ok(Ok(turn)) => turn,
            _ => return Err("others' tiles took all turns".to_owned()),
        };
        // Somebody else may have fetched it meanwhile, or found that the server is away.
        if let Some(tile) = self.known(at) {
            return Ok(tile);
        }
        if let Some((when, why)) = &*self.failed.lock().expect(POISON)
            && when.elapsed() < PAUSE
        {
            return Err(why.clone());
        }
        let fetched = self.endpoint.fetch(&self.address.path(z, x, y), MAX_TILE).await;
        let tile = match fetched {
            Ok(Fetched {
                status: 200,
                kind: Some(kind),
                body,
            }) if kind.as_bytes().starts_with(b"image/") && !body.is_empty() => Some((body, kind)),
            Ok(Fetched {
                status: 204 | 404, ..
            }) => None,
            Ok(Fetched { status: 200, .. }) => {
                return Err("the other server answers with something else than a picture".to_owned());
            }
            Ok(Fetched { status, .. }) => {
                let why = format!("the other server answers {status}");
                if status >= 500 || matches!(status, 401 | 403 | 418 | 429) {
                    *self.failed.lock().expect(POISON) = Some((Instant::now(), why.clone()));
                }
                return Err(why);
            }
            Err(error) => {
                let why = error.to_string();
                *self.failed.lock().expect(POISON) = Some((Instant::now(), why.clone()));
                return Err(why);
            }
        };
        self.keep(at, tile.clone());
        Ok(tile)
    }

    fn known(&self, at: [u32; 3]) -> Option<Tile> {
        let shelf = self.kept.lock().expect(POISON);
        let (when, tile) = shelf.tiles.get(&at)?;
        (when.elapsed() < KEPT).then(|| tile.clone())
    }

    fn keep(&self, at: [u32; 3], tile: Tile) {
        let size = |tile: &Tile| 128 + tile.as_ref().map_or(0, |(bytes, _)| bytes.len());
        let mut shelf = self.kept.lock().expect(POISON);
        if shelf.n_bytes + size(&tile) > N_KEPT_BYTES {
            *shelf = Shelf::default();
        }
        shelf.n_bytes += size(&tile);
        if let Some((_, before)) = shelf.tiles.insert(at, (Instant::now(), tile)) {
            shelf.n_bytes -= size(&before);
        }
    }
}

/// A tile that was compressed by gzip, for who does not take it so.
pub(super) fn unpacked(bytes: &Bytes) -> Result<Bytes, Problem> {
    let mut out = Vec::new();
    MultiGzDecoder::new(&bytes[..])
        .take(64 << 20)
        .read_to_end(&mut out)
        .map_err(|error| Problem::internal(&error))?;
    Ok(out.into())
}

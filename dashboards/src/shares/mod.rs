//! What one caller may take of the server: requests a second, and of heavy ones how many at once.
//!
//! Who is known by an access token or a session has a share of its own; who is not, or shows a credential that only
//! the handler reads, has that of his address: an IPv4 address or an IPv6 /64.

mod buckets;

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::{Body, HttpBody};
use axum::http::Uri;
use axum::response::Response;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};

use crate::auth::Pass;
use crate::error::Problem;
use crate::limits::Gauges;
use buckets::Buckets;
pub use buckets::Rate;

/// Locks of heavy requests, so that two callers seldom meet at one.
const N_SHARDS: usize = 16;
/// Up to this zoom a tile may hold everything that there is.
const LOW_ZOOM: u8 = 8;
/// When somebody who has as many heavy requests under way as he may should come again.
const HEAVY_WAIT: Duration = Duration::from_secs(1);

const POISON: &str = "no holder of this lock panics";

/// `[http.limits]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    /// Of one access token or session.
    pub token: Rate,
    /// Of one address whose requests come without either.
    pub address: Rate,
    /// Heavy questions of one caller at once; 0 is no limit.
    pub questions: u32,
    /// Imports, digests and backups of one caller at once; 0 is no limit.
    pub transfers: u32,
}

impl Default for Shares {
    fn default() -> Self {
        let rate = Rate {
            per_second: 5000,
            burst: 50_000,
        };
        Self {
            token: rate,
            address: rate,
            questions: 32,
            transfers: 8,
        }
    }
}

/// How heavy the requests of a route are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weight {
    Light,
    Heavy(Heavy),
    /// A tile: heavy where a zoom is low.
    Tile,
}

/// What makes a request heavy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heavy {
    /// It looks at much to answer little.
    Question,
    /// It takes in whole files, or goes through whole stores.
    Transfer,
}

impl Weight {
    /// Of a method of a route as the router knows it.
    pub(crate) fn of(method: &str, route: &str) -> Self {
        match route {
            "/api/v1/aggregate"
            | "/api/v1/standards/air"
            | "/api/v1/standards/noise"
            | "/api/v1/standards/rain"
            | "/api/v1/standards/water"
            | "/api/v1/history/stat"
            | "/prometheus/api/v1/query"
            | "/prometheus/api/v1/query_range" => Self::Heavy(Heavy::Question),
            "/tiles/{layer}/{z}/{x}/{y}" => Self::Tile,
            // Exports have places of their own (`api::rows`), held as long as somebody reads.
            "/api/v1/history/verify"
            | "/api/v1/digest"
            | "/api/v1/readings/import"
            | "/api/v1/devices/import"
            | "/api/v1/hydrology/import"
            | "/api/v1/entities/import"
            | "/api/v1/entities/batch"
            | "/api/v1/entities/recode"
            | "/api/v1/alerts/{id}/evidence" => Self::Heavy(Heavy::Transfer),
            "/api/v1/geocode" | "/api/v1/backup" if method == "POST" => Self::Heavy(Heavy::Transfer),
            _ => Self::Light,
        }
    }

    /// What a request to the route is.
    pub(crate) fn heavy(self, uri: &Uri) -> Option<Heavy> {
        match self {
            Self::Light => None,
            Self::Heavy(heavy) => Some(heavy),
            Self::Tile => {
                let zoom = uri.path().split('/').nth(3)?.parse::<u8>().ok()?;
                (zoom <= LOW_ZOOM).then_some(Heavy::Question)
            }
        }
    }
}

impl Heavy {
    fn name(self) -> &'static str {
        match self {
            Self::Question => "questions",
            Self::Transfer => "transfers",
        }
    }
}

/// Why somebody was told to come again later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Over {
    Token,
    Address,
    Questions,
    Transfers,
}

impl Over {
    const ALL: [(Self, &'static str); 4] = [
        (Self::Token, "token"),
        (Self::Address, "address"),
        (Self::Questions, "questions"),
        (Self::Transfers, "transfers"),
    ];
}

/// Counts what was refused, by limit.
#[derive(Debug, Default)]
pub struct Refused([AtomicU64; 4]);

impl Refused {
    fn note(&self, over: Over) {
        self.0[over as usize].fetch_add(1, Ordering::Relaxed);
    }
    /// The name of each limit and how often somebody came to it.
    pub(crate) fn counts(&self) -> [(&'static str, u64); 4] {
        Over::ALL.map(|(over, name)| (name, self.0[over as usize].load(Ordering::Relaxed)))
    }
}

/// Heavy requests under way, by caller and kind.
type UnderWay = Mutex<HashMap<(u64, bool), u32>>;

/// What is left of every caller's share.
#[derive(Clone, Debug)]
pub(crate) struct Shared(Arc<Held>);

#[derive(Debug)]
struct Held {
    shares: Shares,
    since: Instant,
    hasher: RandomState,
    tokens: Buckets,
    addresses: Buckets,
    heavy: [UnderWay; N_SHARDS],
    gauges: Arc<Gauges>,
}

impl Shared {
    pub(crate) fn new(shares: Shares, gauges: Arc<Gauges>) -> Self {
        Self(Arc::new(Held {
            shares,
            since: Instant::now(),
            hasher: RandomState::new(),
            tokens: Buckets::new(shares.token),
            addresses: Buckets::new(shares.address),
            heavy: Default::default(),
            gauges,
        }))
    }

    /// Takes one request of who holds a token or session.
    ///
    /// # Errors
    /// 429 that says when to come again.
    pub(crate) fn of_pass(&self, pass: Pass) -> Result<(), Problem> {
        let taken = self.0.tokens.take(key_of(pass), self.0.since.elapsed());
        taken.map_err(|wait| {
            self.0.gauges.shares.note(Over::Token);
            let per_second = self.0.shares.token.per_second;
            let detail = format!("this token or session asks more often than {per_second} times a second");
            Problem::too_soon("too_many_requests", detail, wait)
        })
    }

    /// Takes one request of an address.
    ///
    /// # Errors
    /// 429 that says when to come again.
    pub(crate) fn of_address(&self, ip: IpAddr) -> Result<(), Problem> {
        let taken = self
            .0
            .addresses
            .take(self.address_key(ip), self.0.since.elapsed());
        taken.map_err(|wait| {
            self.0.gauges.shares.note(Over::Address);
            let per_second = self.0.shares.address.per_second;
            let detail =
                format!("this address asks more often than {per_second} times a second without a token");
            Problem::too_soon("too_many_requests", detail, wait)
        })
    }

    fn address_key(&self, ip: IpAddr) -> u64 {
        let network = match ip.to_canonical() {
            IpAddr::V4(v4) => u64::from(v4.to_bits()),
            IpAddr::V6(v6) => (v6.to_bits() >> 64) as u64,
        };
        self.0.hasher.hash_one((ip.to_canonical().is_ipv4(), network))
    }

    /// A place for a heavy request, to be held until it is answered to its end.
    ///
    /// # Errors
    /// 429 while the caller has as many under way as he may.
    pub(crate) fn heavy(&self, pass: Pass, heavy: Heavy) -> Result<Place, Problem> {
        let (most, over) = match heavy {
            Heavy::Question => (self.0.shares.questions, Over::Questions),
            Heavy::Transfer => (self.0.shares.transfers, Over::Transfers),
        };
        let key = (key_of(pass), heavy == Heavy::Transfer);
        let mut under_way = self.shard(key.0).lock().expect(POISON);
        let n = under_way.entry(key).or_default();
        if most > 0 && *n >= most {
            drop(under_way);
            self.0.gauges.shares.note(over);
            let name = heavy.name();
            let detail =
                format!("{most} {name} of this token or session are under way, as many as one may have");
            return Err(Problem::too_soon("too_many_at_once", detail, HEAVY_WAIT));
        }
        *n += 1;
        drop(under_way);
        Ok(Place {
            shared: self.clone(),
            key,
        })
    }

    fn shard(&self, key: u64) -> &UnderWay {
        &self.0.heavy[(key >> 32) as usize % N_SHARDS]
    }
}

/// A token's or session's hash is as good as random.
fn key_of(pass: Pass) -> u64 {
    match pass {
        Pass::Token(hash) | Pass::Session(hash) => hash.fingerprint(),
    }
}

/// A heavy request's place, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    shared: Shared,
    key: (u64, bool),
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut under_way = self.shared.shard(self.key.0).lock().expect(POISON);
        if let Some(n) = under_way.get_mut(&self.key) {
            *n -= 1;
            if *n == 0 {
                under_way.remove(&self.key);
            }
        }
    }
}

impl Place {
    /// Holds it until the answer's last byte is taken, or nobody takes it any more.
    pub(crate) fn until_taken(self, response: Response) -> Response {
        response.map(|body| Body::new(Holding { body, _place: self }))
    }
}

/// An answer with the place of its request.
struct Holding {
    body: Body,
    _place: Place,
}

impl HttpBody for Holding {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use onemap_store::ledger::TokenHash;

    use super::*;

    fn pass(name: &str) -> Pass {
        Pass::Token(TokenHash::of(name))
    }

    fn shared(shares: Shares) -> (Shared, Arc<Gauges>) {
        let gauges = Arc::<Gauges>::default();
        (Shared::new(shares, gauges.clone()), gauges)
    }

    #[test]
    fn heavy_requests_have_places_of_their_kind_and_give_them_back() {
        let (shared, gauges) = shared(Shares {
            questions: 2,
            transfers: 1,
            ..Shares::default()
        });
        let held: Vec<_> = (0..2)
            .map(|_| shared.heavy(pass("a"), Heavy::Question).unwrap())
            .collect();
        assert!(shared.heavy(pass("a"), Heavy::Question).is_err());
        let _other = shared.heavy(pass("b"), Heavy::Question).unwrap();
        let _kind = shared.heavy(pass("a"), Heavy::Transfer).unwrap();
        assert!(shared.heavy(pass("a"), Heavy::Transfer).is_err());
        drop(held);
        drop(shared.heavy(pass("a"), Heavy::Question).unwrap());
        assert_eq!(
            gauges.shares.counts(),
            [("token", 0), ("address", 0), ("questions", 1), ("transfers", 1)]
        );
        let n_kept: usize = shared
            .0
            .heavy
            .iter()
            .map(|shard| shard.lock().unwrap().len())
            .sum();
        assert_eq!(n_kept, 2, "who has none under way is not kept");
    }

    #[test]
    fn tokens_and_addresses_have_shares_of_their_own() {
        let rate = Rate {
            per_second: 1,
            burst: 3,
        };
        let (shared, gauges) = shared(Shares {
            token: rate,
            address: rate,
            ..Shares::default()
        });
        let n = (0..10).filter(|_| shared.of_pass(pass("a")).is_ok()).count();
        assert_eq!(n, 3);
        assert!(shared.of_pass(pass("b")).is_ok());
        let from = |ip: &str| shared.of_address(ip.parse().unwrap());
        let n = (0..10)
            .filter(|i| from(&format!("2001:db8::{i}")).is_ok())
            .count();
        assert_eq!(n, 3, "a /64 is one address");
        assert!(from("2001:db8:0:1::1").is_ok() && from("192.0.2.1").is_ok());
        assert!(from("::ffff:192.0.2.1").is_ok() && from("192.0.2.1").is_ok());
        assert!(from("192.0.2.1").is_err(), "an address by both of its names");
        let problem = from("192.0.2.1").unwrap_err();
        assert_eq!(problem.status().as_u16(), 429);
        assert_eq!(gauges.shares.counts()[..2], [("token", 7), ("address", 9)]);
    }

    #[test]
    fn what_is_heavy_is_told_by_route_and_zoom() {
        let of =
            |method: &str, route: &str, uri: &str| Weight::of(method, route).heavy(&uri.parse().unwrap());
        let tiles = "/tiles/{layer}/{z}/{x}/{y}";
        assert_eq!(of("GET", tiles, "/tiles/live/3/1/1.mvt"), Some(Heavy::Question));
        assert_eq!(of("GET", tiles, "/tiles/live/14/1/1.mvt"), None);
        assert_eq!(
            of("POST", "/api/v1/geocode", "/api/v1/geocode"),
            Some(Heavy::Transfer)
        );
        assert_eq!(of("GET", "/api/v1/geocode", "/api/v1/geocode?q=x"), None);
        assert_eq!(of("GET", "/api/v1/latest", "/api/v1/latest"), None);
    }
}

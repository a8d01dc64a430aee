//! History in an engine of its own: line protocol in, PromQL, InfluxQL or Flux out.
//!
//! Every accepted point goes through a spool on this machine (`spool`), from which one sender (`sender`) gives
//! it to the engine in order. A point leaves the spool only some time after the engine acknowledged it, since
//! engines acknowledge before they have written; an engine that is away, slow or was killed loses nothing.
//!
//! What each engine is asked, and how its answer is read, stands in `promql`, `influxql` and `flux`; what is
//! the same for all of them in `store`.

mod annotated_csv;
#[cfg(feature = "influxdb2")]
mod by_crate;
mod config;
mod flux;
mod http;
mod influxql;
mod json;
mod line;
mod outlet;
mod promql;
mod refused;
mod sender;
mod spool;
mod store;

pub use config::{Dialect, Naming, Paths, RemoteConfig, Secret};
pub use http::{Authorization, Endpoint, EndpointError, Fetched, Told, Unanswered, client_tls};
pub use line::{Encoder, Lines, Unsent};
pub use promql::encoded;
pub use sender::{Progress, SenderState};
pub use spool::{Spool, SpoolError, SpoolState};
pub use store::{RemoteStore, StartError};

//! The MQTT front end over real sockets, with a real log in a folder of its own.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod bad_input;
mod clauses;
mod client;
mod connect;
mod hostile;
mod neighbour;
mod peers;
mod publish;
mod server;
mod sessions;
mod stop;
mod subscribe;
mod tls;
mod websocket;

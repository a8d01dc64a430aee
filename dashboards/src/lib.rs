//! The HTTP API, live push and the embedded screen.

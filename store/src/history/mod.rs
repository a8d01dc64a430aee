//! Embedded history.

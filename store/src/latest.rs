//! Latest values.

//! Gap ledger.

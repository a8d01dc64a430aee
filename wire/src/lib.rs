//! Bytes to messages and back for every protocol, and profiles.

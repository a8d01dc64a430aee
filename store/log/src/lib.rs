//! Segment log: append, CRC, adaptive group commit, rotation, cursors.

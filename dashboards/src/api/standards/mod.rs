//! What values mean by law, worked out of the history when it is asked.
//!
//! Nothing of it is stored here (the index of stations is a series besides, made by the pipeline): an hour or a day to which something came late, or of which a value was replaced, has another
//! meaning the next time it is asked for, and is marked `late` or `revised`; `known_at` gives the meaning of then.

pub(crate) mod air;
mod asked;
mod hours;
pub(crate) mod noise;
pub(crate) mod rain;
pub(crate) mod stage;
pub(crate) mod water;

pub use hours::hours_of;

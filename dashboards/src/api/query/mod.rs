//! What questions about the history have in common: their span, basis, marks, aggregates, fill, pages and tags.

pub(crate) mod agg;
pub(crate) mod basis;
pub(crate) mod fill;
pub(crate) mod kept;
pub(crate) mod marks;
pub(crate) mod page;
pub(crate) mod shape;
pub(crate) mod span;
pub(crate) mod tag;
pub(crate) mod walk;
pub(crate) mod weights;

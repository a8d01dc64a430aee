//! The one map: entities, indexes, divisions and vector tiles.

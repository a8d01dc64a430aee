//! The pure rule engine: typed YAML rules, event-time state machines, transitions.

//! Alert life: episodes, acknowledgement, feeds.

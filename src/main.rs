//! onemap.
fn main() {}

//! The simulated city.
fn main() {}

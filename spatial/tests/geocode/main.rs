//! The geocoder against a made-up city and against real names and addresses (docs/geocoding.md).
#![allow(clippy::unwrap_used, missing_docs)]

mod city;
mod classes;
mod queries;
mod real;
mod roads;
mod spans;

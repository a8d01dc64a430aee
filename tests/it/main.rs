//! Whole-system tests: the real binaries, real peers, own folders, free ports.

#![allow(
    clippy::unwrap_used,
    missing_docs,
    unreachable_pub,
    reason = "tests stop at the first surprise"
)]

mod access;
mod accounts;
mod admission;
mod alarms;
mod attempts;
mod audit;
#[cfg(feature = "sm2")]
mod audit_sm2;
mod backtest;
mod bad_input;
mod basemaps;
mod cards;
mod care;
mod chaos;
mod cli;
mod clock;
mod commands;
mod contract;
mod corridor;
mod crash;
mod damaged;
mod dark;
mod decode;
mod demo;
mod departments;
mod devices;
mod dialects;
mod disk;
mod drills;
mod dust;
mod duty;
mod dutylog;
mod engine;
mod entities;
mod entity_export;
mod entity_files;
mod evidence;
mod explain;
mod export;
mod feeds;
mod fences;
mod forecasts;
mod foreign;
mod foreign_maps;
mod framed;
mod gateway;
mod gbt26875;
mod geocode;
mod history;
mod hj212;
mod http_limits;
mod https;
mod hydrology;
mod keeping;
mod kept;
mod map;
mod matrix;
mod movement;
mod ogc;
mod oidc;
mod persons;
mod problems;
mod prometheus;
mod proposals;
mod queries;
mod readme;
mod replay;
mod reviews;
mod roads;
mod rules;
mod schemas;
mod screen;
mod scrub;
mod security;
mod server;
mod sessions;
mod shares;
mod sl651;
mod standards;
mod standing;
mod tributary;
mod warnings;

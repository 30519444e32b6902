//! The client against a server of the test's own, on loopback, that misbehaves as it is told.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

mod describing;
mod endpoints;
mod pages;
mod recorded;
mod repeating;
mod server;
#[path = "../shapes/mod.rs"]
mod shapes;
mod streams;
mod tls;
mod tokens;
mod waiting;

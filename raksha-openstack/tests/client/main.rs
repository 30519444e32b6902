//! The client against a server of the test's own, on loopback, that misbehaves as it is told.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

#[cfg(test)]
mod describing;
#[cfg(test)]
mod endpoints;
#[cfg(test)]
mod pages;
#[cfg(test)]
mod recorded;
#[cfg(test)]
mod repeating;
#[cfg(test)]
mod server;
#[cfg(test)]
#[path = "../shapes/mod.rs"]
mod shapes;
#[cfg(test)]
mod streams;
#[cfg(test)]
mod tls;
#[cfg(test)]
mod tokens;
#[cfg(test)]
mod waiting;

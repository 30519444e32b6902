//! The client against a server of the test's own, on loopback, that misbehaves as it is told.

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

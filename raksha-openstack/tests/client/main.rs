//! The client against a server of the test's own, on loopback, that misbehaves as it is told.

mod describing;
mod endpoints;
mod pages;
mod repeating;
mod server;
mod streams;
mod tls;
mod tokens;
mod waiting;

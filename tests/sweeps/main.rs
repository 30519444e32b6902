//! What randomness finds by chance, tried from one end to the other: a piece of work on a repository, and everything that can come between two of its
//! requests, or befall one of them.

mod begun;
mod instants;
mod troubles;

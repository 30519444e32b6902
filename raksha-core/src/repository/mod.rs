//! x
mod checkpoint;
mod entry;
mod fold;
mod frame;
mod log;
#[cfg(test)]
mod model;
mod names;
mod reach;
mod sign;
mod target;

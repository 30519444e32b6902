//! Restores into the lab's real OpenStack (see `tests/lab/README.md`): as a tenant with nothing but the API, and as an operator.
//!
//! Needs the feature `lab`, the services, and root's access to the lab's disks, which are the oracle. Everything that is made is called
//! `restore-...` and is gone afterwards, also after a failure as far as that can be.

mod conformance;
mod lab;
mod original;
mod refusals;
mod story;
mod validate;

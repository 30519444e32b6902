//! Restores into the lab's real OpenStack (see `tests/lab/README.md`): as a tenant with nothing but the API, and as an operator.
//!
//! Needs the feature `lab`, the services, and root's access to the lab's disks, which are the oracle. Everything that is made is called
//! `restore-...` and is gone afterwards, also after a failure as far as that can be.

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod lab;
#[cfg(test)]
mod original;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod story;
#[cfg(test)]
mod validate;

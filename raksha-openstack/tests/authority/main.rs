//! How a service acts for tenants: on the test cloud and, with the feature `lab`, by the very same tests on the real Keystone of `tests/lab` (see its README at the top).
//!
//! `RAKSHA_LAB_CLOUDS` names another `clouds.yaml` than the lab's own. Users and projects that are made there are called `authority-...`, and removed.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // all of it is tests
#![cfg(feature = "testkit")]

mod contract;
mod losses;
mod site;

//! Tests of the whole: everything is compared with a plain vector of bytes, and with a tree made in the most simple-minded way.

#![allow(clippy::cast_possible_truncation)] // test disks are small
#![allow(clippy::single_range_in_vec_init)] // a set of one range is meant

mod cutting;
mod exporting;
mod hints;
mod ingesting;
mod oracle;
mod scale;
mod support;

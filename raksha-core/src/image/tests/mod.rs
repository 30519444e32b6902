//! Tests of the whole: everything is compared with a plain vector of bytes, and with a tree made in the most simple-minded way.

mod cutting;
mod exporting;
mod hints;
mod ingesting;
mod oracle;
mod support;

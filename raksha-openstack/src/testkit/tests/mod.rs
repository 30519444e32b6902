//! Tests of the test cloud.

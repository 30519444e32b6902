//! raksha-tests.

//! raksha-examples.

//! raksha-benches.

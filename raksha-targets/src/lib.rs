//! raksha-targets.

//! What all requests share.

use std::ops::Deref;
use std::sync::Arc;

use raksha_core::work::Worker;

use crate::acting::Acting;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::sizes::Sizes;
use crate::tokens::Tokens;

/// What all requests share. Cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Shared>);

pub struct Shared {
    pub config: Config,
    pub acting: Acting,
    pub tokens: Tokens,
    /// Does what follows on runs; it works on what is due if the configuration says so.
    pub worker: Worker,
    pub metrics: Metrics,
    pub sizes: Sizes,
    /// The OpenAPI document.
    pub document: serde_json::Value,
}

impl App {
    pub fn new(shared: Shared) -> Self {
        Self(Arc::new(shared))
    }
}

impl Deref for App {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

//! The machine and the programs that the figures hold for.

use raksha_benches::machine::Machine;
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::tools::Tool;

/// What figures depend on besides the programs' own doing.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Environment {
    #[serde(flatten)]
    pub machine: Machine,
    /// Each tool's version, as it says it.
    pub versions: Vec<String>,
}

impl Environment {
    pub fn read(tools: &[Box<dyn Tool>]) -> Result<Self> {
        let versions = tools.iter().map(|tool| tool.version());
        Ok(Self {
            machine: Machine::read()?,
            versions: versions.collect::<Result<_>>()?,
        })
    }
}

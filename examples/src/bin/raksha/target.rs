//! Targets by themselves.

use raksha_core::Result;
use raksha_targets::{OpenOptions, ValidateOptions, validate};

use crate::args::TargetVerb;
use crate::context::Context;

/// Does what is asked of a target.
pub async fn carry_out(context: &Context, verb: TargetVerb) -> Result<()> {
    let TargetVerb::Validate { url } = verb;
    let found = validate(&url, &OpenOptions::default(), &ValidateOptions::default()).await?;
    context.output.show(&found, || found.to_string())
}

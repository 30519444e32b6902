//! Operators of OpenDAL's as targets.

mod store;

use std::sync::Arc;

use object_store_opendal::OpendalStore;
use opendal::Operator;
use raksha_core::Result;
use raksha_core::env::Env;

use crate::layers::GuardOptions;
use crate::open::{OpenedTarget, TargetCapabilities};
use crate::validate::creates_atomically;
use store::Operated;

/// Rounds in which writers race before an operator is said to create atomically.
const ROUNDS: u32 = 20;

/// A target over any operator of OpenDAL's, behind the policies of `guard`; `durable` says whether what was stored survives a crash of this
/// process, which an operator does not tell.
///
/// What an operator says about conditional writes is not taken on trust: writers race for names first, and only if exactly one wins
/// each time (of those that OpenDAL lets create at all) is the target said to create atomically. That takes some hundred requests, and leaves nothing
/// behind.
///
/// # Errors
/// That what the races wrote cannot be removed again.
pub async fn from_operator(
    operator: Operator,
    durable: bool,
    guard: GuardOptions,
    env: &Env,
) -> Result<OpenedTarget> {
    let info = operator.info();
    let can = info.capability();
    let description = format!(
        "{} {}, by OpenDAL, under {}",
        info.scheme(),
        info.name(),
        info.root()
    );
    let mut capabilities = TargetCapabilities {
        atomic_create: can.write_with_if_not_exists,
        // OpenDAL promises no order, whatever the service does.
        ordered_list: false,
        durable,
        largest_put: (can.write_total_max_size).map_or(u64::MAX, |size| size as u64),
        multipart: can.write_can_multi,
    };
    let objects = Arc::new(Operated {
        copies: can.copy,
        renames: can.rename,
        inner: OpendalStore::new(operator),
    });
    let open = |capabilities| {
        let (objects, description) = (Arc::clone(&objects), description.clone());
        OpenedTarget::new(objects, capabilities, description, guard.clone(), env)
    };
    if capabilities.atomic_create {
        capabilities.atomic_create =
            creates_atomically(&open(capabilities.clone()), env, ROUNDS).await?;
    }
    Ok(open(capabilities))
}

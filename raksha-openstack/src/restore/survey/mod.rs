//! Comparing what shall be restored with what is there. Nothing changes.

mod addresses;
mod compare;
pub(super) mod flavors;
mod live;
mod needs;
mod presence;
#[cfg(test)]
mod tests;

use raksha_core::Result;
use raksha_core::cloud::{Finding, IdMap, Presence, RestoreRequest, Survey};

use super::Restorer;
use super::there::There;
use live::Live;

/// Compares all of `request` with the live cloud.
pub(super) async fn survey(restorer: &Restorer, request: &RestoreRequest) -> Result<Survey> {
    let live = Live::look(restorer, request).await?;
    let mut survey = compared(&live, request);
    needs::check_quotas(restorer, &live, request, &mut survey).await?;
    Ok(survey)
}

/// The survey, but for what has to be asked of each service again.
fn compared(live: &Live, request: &RestoreRequest) -> Survey {
    let mut survey = Survey::default();
    // What stands for what, so that later ones can be compared by what they refer to.
    let mut ids = IdMap::default();
    for resource in request.graph.resources() {
        let there = There::new(request, &ids);
        let presence = presence::of(resource, live, there, &mut survey.notes);
        let key = resource.key();
        if let Presence::Same { id } = &presence {
            ids.insert(key.clone(), id.as_str());
        }
        survey.findings.push(Finding { key, presence });
    }
    needs::check(live, request, &mut survey);
    survey
}

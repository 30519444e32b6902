//! What every target must do, as a test for those who implement one.

use raksha_core::env::Env;

use crate::open::OpenedTarget;
use crate::validate::{LogPlace, ValidateOptions, Validation, validate_target};

/// Runs every check that the target's capabilities promise, and races whatever they promise.
///
/// # Errors
/// The report, if the target does not keep what it declares: a check failed, or creation is declared as atomic and is not.
pub async fn run(target: &OpenedTarget) -> Result<Validation, String> {
    let how = ValidateOptions {
        measured_bytes: 0,
        ..ValidateOptions::default()
    };
    let report = validate_target(target, &Env::system(), &how).await;
    let report = report.map_err(|e| e.to_string())?;
    let promised = match target.capabilities.atomic_create {
        true => LogPlace::Target,
        false => LogPlace::SqlCatalog,
    };
    match report.log == promised {
        true => Ok(report),
        false => Err(report.to_string()),
    }
}

//! Every target on its real service: it keeps what it declares, and a validation tells what is true of it.

use raksha_targets::{LogPlace, ValidateOptions, Validation, validate};
use raksha_tests::{Service, Site};

/// Validates it as an operator would. The target keeps what it declares, and nothing is left behind.
async fn validated(site: &Site) -> Validation {
    let how = ValidateOptions::default();
    let found = validate(&site.address, &site.options(), &how)
        .await
        .unwrap();
    println!("{found}\n{}", found.requests);
    assert_eq!(found.failures().next(), None, "{found}");
    assert!(found.speed.is_some(), "{found}");
    assert_eq!(site.names().await, Vec::<String>::new(), "left behind");
    found
}

/// Exactly one creator wins, and the log may lie here.
async fn orders(service: Service) {
    let found = validated(&service.site("validation")).await;
    assert!(found.race.is_atomic(), "{found}");
    assert_eq!(found.log, LogPlace::Target, "{found}");
}

/// Several creators win, whatever they are answered later. That is found out, not read in a table.
async fn does_not_order(service: Service) {
    let found = validated(&service.site("validation")).await;
    assert!(found.race.several_winners > 0, "{found}");
    assert_eq!(found.log, LogPlace::SqlCatalog, "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rados() {
    orders(Service::Rados).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rgw_s3() {
    orders(Service::RgwS3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn light_s3() {
    orders(Service::S3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn swift() {
    does_not_order(Service::Swift).await;
}

/// The same Swift, by tokens of Keystone's.
#[tokio::test(flavor = "multi_thread")]
async fn swift_of_a_cloud() {
    does_not_order(Service::SwiftOfCloud).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rgw_swift() {
    does_not_order(Service::RgwSwift).await;
}

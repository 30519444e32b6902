//! Every target on its real service: it keeps what it declares, and a validation tells what is true of it.

use raksha_targets::testkit::conformance;
use raksha_targets::{LogPlace, ValidateOptions, validate};
use raksha_tests::{Service, Site};

/// Runs the suite, and a validation as an operator would; gives the verdict. Nothing is left behind by either.
async fn tried(site: &Site) -> LogPlace {
    let target = site.open().await;
    let report = conformance::run(&target).await;
    let report = report.unwrap_or_else(|report| panic!("{report}"));
    println!("{report}\n{}", report.requests);
    let how = ValidateOptions::default();
    let found = validate(&site.address, &site.options(), &how)
        .await
        .unwrap();
    println!("{found}");
    assert!(found.speed.is_some(), "{found}");
    assert_eq!(site.names().await, Vec::<String>::new(), "left behind");
    found.log
}

#[tokio::test(flavor = "multi_thread")]
async fn rados() {
    let verdict = tried(&Service::Rados.site("conformance")).await;
    assert_eq!(verdict, LogPlace::Target);
}

#[tokio::test(flavor = "multi_thread")]
async fn rgw_s3() {
    let verdict = tried(&Service::RgwS3.site("conformance")).await;
    assert_eq!(verdict, LogPlace::Target);
}

#[tokio::test(flavor = "multi_thread")]
async fn light_s3() {
    let verdict = tried(&Service::S3.site("conformance")).await;
    assert_eq!(verdict, LogPlace::Target);
}

/// Swift answers as if creation were atomic. It is not, and that is found out, not read in a table.
#[tokio::test(flavor = "multi_thread")]
async fn swift() {
    let verdict = tried(&Service::Swift.site("conformance")).await;
    assert_eq!(verdict, LogPlace::SqlCatalog);
}

#[tokio::test(flavor = "multi_thread")]
async fn rgw_swift() {
    let verdict = tried(&Service::RgwSwift.site("conformance")).await;
    assert_eq!(verdict, LogPlace::SqlCatalog);
}

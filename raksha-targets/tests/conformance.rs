//! Every target that needs no service keeps what it declares. Those that need one are named by address in
//! `RAKSHA_TARGETS`, separated by blanks, with their credentials in the environment; see `tests/lab`.

use raksha_targets::testkit::conformance;
use raksha_targets::{OpenOptions, ValidateOptions, open, validate};

#[tokio::test(flavor = "multi_thread")]
async fn memory() {
    let target = open("memory:", &OpenOptions::default()).await.unwrap();
    conformance::run(&target).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn directory() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("target");
    let options = OpenOptions::default().create(true);
    let target = open(path.to_str().unwrap(), &options).await.unwrap();
    conformance::run(&target).await.unwrap();
    let left: Vec<_> = std::fs::read_dir(&path)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(
        left,
        [".raksha-staging"],
        "a validation leaves nothing behind"
    );
}

#[tokio::test(flavor = "multi_thread")]
#[allow(clippy::print_stdout)] // the report is what an operator runs this for
async fn named_in_the_environment() {
    for address in std::env::var("RAKSHA_TARGETS")
        .unwrap_or_default()
        .split_whitespace()
    {
        let options = OpenOptions::default().create(true);
        let report = validate(address, &options, &ValidateOptions::default())
            .await
            .unwrap();
        println!("{report}\n{}", report.requests);
        let target = open(address, &options).await.unwrap();
        conformance::run(&target)
            .await
            .unwrap_or_else(|report| panic!("{report}"));
    }
}

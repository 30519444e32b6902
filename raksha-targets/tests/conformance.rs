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

/// object_store's own suite: what it expects of its own implementations, it may expect of ours.
#[tokio::test(flavor = "multi_thread")]
async fn directory_as_object_store_wants_it() {
    use object_store::integration;
    let home = tempfile::tempdir().unwrap();
    let options = OpenOptions::default();
    let target = open(home.path().to_str().unwrap(), &options).await.unwrap();
    let objects = &target.objects;
    integration::put_get_delete_list(objects).await;
    integration::stream_get(objects).await;
    integration::list_uses_directories_correctly(objects).await;
    integration::list_with_delimiter(objects).await;
    integration::list_with_offset_exclusivity(objects).await;
    integration::rename_and_copy(objects).await;
    integration::copy_if_not_exists(objects).await;
    integration::copy_rename_nonexistent_object(objects).await;
    integration::multipart_out_of_order(objects).await;
    // These leave objects behind.
    integration::get_opts(objects).await;
    integration::put_opts(objects, false).await;
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

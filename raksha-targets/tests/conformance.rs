//! Every target that needs no service keeps what it declares. Those that need one are tried in `tests/targets.rs`, at the top of the
//! project.

use std::sync::Arc;

use raksha_core::env::Env;
use raksha_targets::testkit::{Faults, Faulty, conformance};
use raksha_targets::{GuardOptions, OpenOptions, OpenedTarget, creates_atomically, open};

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

/// A target in memory that declares all and misbehaves.
#[allow(clippy::unwrap_used)] // part of a test
async fn misbehaving(faults: Faults) -> Result<(), String> {
    let memory = open("memory:", &OpenOptions::default()).await.unwrap();
    let faulty = Arc::new(Faulty::new(memory.objects, faults, 7));
    let (guard, env) = (GuardOptions::default(), Env::system());
    let target = OpenedTarget::new(faulty, memory.capabilities, "a liar".into(), guard, &env);
    let atomic = creates_atomically(&target, &env, 30).await.unwrap();
    assert_eq!(atomic, faults.racy_create == 0);
    conformance::run(&target).await.map(drop)
}

#[tokio::test]
async fn who_does_not_keep_a_promise_is_found_out() {
    misbehaving(Faults::default()).await.unwrap();
    let racy = Faults {
        racy_create: 1000,
        ..Faults::default()
    };
    let report = misbehaving(racy).await.unwrap_err();
    assert!(report.contains("must lie in a SQL catalog"), "{report}");
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

#[cfg(feature = "opendal")]
mod opendal {
    use opendal::Operator;
    use opendal::services::{Fs, Memory};
    use raksha_targets::{from_operator, testkit::conformance};

    use super::{Env, GuardOptions};

    /// What an operator says of creation is put to the test, and so is all else.
    #[tokio::test(flavor = "multi_thread")]
    async fn operators() {
        let memory = Operator::new(Memory::default()).unwrap();
        let env = Env::system();
        let target = from_operator(memory, true, GuardOptions::default(), &env);
        let report = conformance::run(&target.await.unwrap()).await;
        report.unwrap_or_else(|report| panic!("{report}"));
    }

    /// OpenDAL's directories are no object stores: they list directories, and show what is half written.
    #[tokio::test(flavor = "multi_thread")]
    async fn an_operator_that_does_not_fit_is_found_out() {
        let home = tempfile::tempdir().unwrap();
        let root = home.path().to_str().unwrap();
        let fs = Operator::new(Fs::default().root(root)).unwrap();
        let env = Env::system();
        let target = from_operator(fs, true, GuardOptions::default(), &env);
        let report = conformance::run(&target.await.unwrap()).await;
        let report = report.unwrap_err().to_string();
        assert!(report.contains("FAILED  listing by prefix"), "{report}");
        assert!(
            report.contains("FAILED  large objects in parts"),
            "{report}"
        );
    }
}

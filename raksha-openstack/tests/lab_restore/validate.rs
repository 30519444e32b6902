//! What principals of the lab are told that they can do.

use raksha_openstack::validate::{Answer, Finding, ValidateOptions, Validation};

use crate::lab::{config, connect, everything, operator, tenant};

fn answer<'a>(findings: &'a [Finding], what: &str) -> &'a Answer {
    let found = findings.iter().find(|finding| finding.what == what);
    &found
        .unwrap_or_else(|| panic!("nothing is said of {what}"))
        .answer
}

fn no(answer: &Answer) -> &str {
    match answer {
        Answer::No(why) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_has_the_image_road_and_an_operator_all_that_is_configured() {
    let cloud = connect(&config("raksha-demo"), tenant()).await;
    let found = raksha_openstack::validate(&cloud, ValidateOptions::new(true))
        .await
        .unwrap();
    eprintln!("{found}");
    assert_eq!(found.left, Vec::<String>::new());
    assert_eq!(
        everything(&cloud, "raksha-validate").await,
        Vec::<String>::new()
    );
    assert!(
        found.rights.iter().all(|right| right.answer.is_yes()),
        "{:?}",
        found.rights
    );
    assert!(answer(&found.roads, "image").is_yes());
    assert!(no(answer(&found.roads, "rbd")).contains("no access"));
    let copy: Validation = serde_json::from_str(&serde_json::to_string(&found).unwrap()).unwrap();
    assert_eq!(copy, found);

    let cloud = connect(&config("raksha-demo"), operator()).await;
    let found = raksha_openstack::validate(&cloud, ValidateOptions::default())
        .await
        .unwrap();
    let rbd = answer(&found.roads, "rbd");
    assert!(!matches!(rbd, Answer::No(_)), "{rbd:?}");
    assert!(
        found
            .rights
            .iter()
            .all(|right| matches!(right.answer, Answer::Unknown(_))),
        "nothing is tried unasked"
    );
}

//! The test cloud by itself: what it is for.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // all of it is tests
#![cfg(feature = "testkit")]

mod support;

use std::time::Duration;

use raksha_openstack::testkit::{
    Case, DevCloud, Kind, Options, Pace, RECORD_STRIDE, RECORDS, RECORDS_AT, Trouble, last_record,
};
use serde_json::{Value, json};
use support::{Somebody, none, with};

async fn start() -> (DevCloud, Somebody) {
    let cloud = DevCloud::start(Options::default()).await.unwrap();
    let demo = somebody(&cloud, "demo").await;
    (cloud, demo)
}

async fn somebody(cloud: &DevCloud, user: &str) -> Somebody {
    Somebody::new(cloud.cloud_config(user).auth_url.as_str(), user).await
}

/// The highest record on a raw disk.
fn last_on(cloud: &DevCloud, disk: &str) -> u64 {
    use std::os::unix::fs::FileExt;
    let file = std::fs::File::open(cloud.disk_path(disk)).unwrap();
    last_record(|at, length| {
        let mut bytes = vec![0; length];
        file.read_exact_at(&mut bytes, at).map(|()| bytes)
    })
    .unwrap()
}

#[tokio::test]
async fn the_founding_cases_can_be_seen() {
    let (cloud, demo) = start().await;
    for case in [
        Case::LocalDisk,
        Case::BootedFromVolume,
        Case::TwoOnOneNetwork,
    ] {
        cloud.seed("demo", case).unwrap();
    }
    let version = with("openstack-api-version", "compute 2.93");
    let servers = demo
        .ask("GET", "compute:/servers/detail", version)
        .await
        .expect(200);
    let servers = servers.body["servers"].as_array().unwrap().clone();
    let named = |name: &str| {
        servers
            .iter()
            .find(|server| server["name"] == name)
            .unwrap()
    };
    assert_eq!(servers.len(), 4);
    assert!(
        servers.iter().all(|server| server["status"] == "ACTIVE"),
        "{servers:?}"
    );
    let kinds: Vec<_> = named("case1")["addresses"]["private"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["OS-EXT-IPS:type"])
        .collect();
    assert_eq!(kinds, ["fixed", "floating"]);
    assert_ne!(named("case1")["image"], "");
    assert_eq!(named("case2")["image"], "");
    assert_eq!(
        named("case2")["os-extended-volumes:volumes_attached"]
            .as_array()
            .unwrap()
            .len(),
        3
    );
    let id = named("case2")["id"].as_str().unwrap();
    let attached = demo
        .get(&format!("compute:/servers/{id}/os-volume_attachments"))
        .await
        .expect(200);
    let names: Vec<_> = attached.body["volumeAttachments"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["device"])
        .collect();
    assert_eq!(names, ["/dev/vda", "/dev/vdb", "/dev/vdc"]);
    let other = somebody(&cloud, "other").await;
    assert_eq!(
        other.get("compute:/servers").await.body,
        json!({"servers": []})
    );
    other
        .get(&format!("compute:/servers/{id}"))
        .await
        .expect(404);
}

#[tokio::test]
async fn create_image_freezes_and_takes_all_volumes_at_one_instant() {
    let (cloud, demo) = start().await;
    let server = cloud
        .seed("demo", Case::BootedFromVolume)
        .unwrap()
        .remove(0);
    for _ in 0..7 {
        cloud.write_records(&server).unwrap();
    }
    let action = format!("compute:/servers/{server}/action");
    let version = with("openstack-api-version", "compute 2.45");
    let body = json!({"createImage": {"name": "all"}});
    let image = demo
        .ask("POST", &action, version.clone().body(body.clone()))
        .await
        .expect(202)
        .text("/image_id");
    assert_eq!(cloud.write_records(&server).unwrap(), 8);
    let image = demo
        .get(&format!("image:/images/{image}"))
        .await
        .expect(200);
    assert_eq!(image.body["size"], 0);
    let mapping: Value = serde_json::from_str(&image.text("/block_device_mapping")).unwrap();
    let snapshots: Vec<_> = mapping
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["snapshot_id"].as_str().unwrap())
        .collect();
    assert_eq!(snapshots.len(), 3);
    for snapshot in &snapshots {
        assert_eq!(last_on(&cloud, snapshot), 7);
        demo.until(
            &format!("volumev3:/snapshots/{snapshot}"),
            "/snapshot/status",
            &["available"],
        )
        .await;
    }
    let guest = cloud.guest(&server);
    assert_eq!((guest.frozen, guest.thawed), (1, 1));

    // An agent that hangs: the image wants to be quiesced, so there is none.
    cloud.set_agent_hangs(&server, true);
    let before = cloud.state();
    demo.ask("POST", &action, version.clone().body(body.clone()))
        .await
        .expect(500);
    assert_eq!(before.difference(&cloud.state()), Vec::<String>::new());

    // Where it need not be quiesced, the volumes are not of one instant.
    for disk in demo.get("volumev3:/volumes").await.body["volumes"]
        .as_array()
        .unwrap()
    {
        let path = format!("volumev3:/volumes/{}/action", disk["id"].as_str().unwrap());
        demo.post(
            &path,
            json!({"os-set_image_metadata": {"metadata": {"os_require_quiesce": "no"}}}),
        )
        .await
        .expect(200);
    }
    let image = demo
        .ask("POST", &action, version.body(body))
        .await
        .expect(202)
        .text("/image_id");
    let image = demo.get(&format!("image:/images/{image}")).await;
    let mapping: Value = serde_json::from_str(&image.text("/block_device_mapping")).unwrap();
    let last: Vec<_> = mapping
        .as_array()
        .unwrap()
        .iter()
        .map(|one| last_on(&cloud, one["snapshot_id"].as_str().unwrap()))
        .collect();
    assert_eq!(last, [8, 9, 10]);
    assert_eq!(cloud.guest(&server).frozen, 1);
}

#[tokio::test]
async fn a_volume_goes_to_an_image_and_back_with_all_its_bytes() {
    let (cloud, demo) = start().await;
    let server = cloud
        .seed("demo", Case::BootedFromVolume)
        .unwrap()
        .remove(0);
    cloud.write_records(&server).unwrap();
    let volume = cloud.id_of(Kind::Volume, "case2-a").unwrap();
    let snapshot = demo
        .post(
            "volumev3:/snapshots",
            json!({"snapshot": {"volume_id": volume, "force": true}}),
        )
        .await
        .expect(202)
        .text("/snapshot/id");
    demo.until(
        &format!("volumev3:/snapshots/{snapshot}"),
        "/snapshot/status",
        &["available"],
    )
    .await;
    let clone = demo
        .post(
            "volumev3:/volumes",
            json!({"volume": {"snapshot_id": snapshot}}),
        )
        .await
        .expect(202)
        .text("/volume/id");
    demo.until(
        &format!("volumev3:/volumes/{clone}"),
        "/volume/status",
        &["available"],
    )
    .await;
    for format in ["raw", "qcow2"] {
        let upload = json!({"os-volume_upload_image": {"image_name": "x", "disk_format": format, "container_format": "bare"}});
        let made = demo
            .post(&format!("volumev3:/volumes/{clone}/action"), upload)
            .await
            .expect(202);
        let image = made.text("/os-volume_upload_image/image_id");
        let active = demo
            .until(&format!("image:/images/{image}"), "/status", &["active"])
            .await;
        let bytes = demo
            .get(&format!("image:/images/{image}/file"))
            .await
            .expect(200)
            .bytes;
        assert_eq!(active.body["size"], bytes.len());
        demo.until(
            &format!("volumev3:/volumes/{clone}"),
            "/volume/status",
            &["available"],
        )
        .await;
        let back = demo
            .post(
                "volumev3:/volumes",
                json!({"volume": {"imageRef": image, "size": 1}}),
            )
            .await
            .expect(202)
            .text("/volume/id");
        let path = format!("volumev3:/volumes/{back}");
        demo.until(&path, "/volume/status", &["available"]).await;
        assert_eq!(last_on(&cloud, &back), 1);
    }
    // A snapshot with a clone stays, as on RBD.
    demo.ask("DELETE", &format!("volumev3:/snapshots/{snapshot}"), none())
        .await
        .expect(202);
    demo.until(
        &format!("volumev3:/snapshots/{snapshot}"),
        "/snapshot/status",
        &["available"],
    )
    .await;
    demo.ask("DELETE", &format!("volumev3:/volumes/{clone}"), none())
        .await
        .expect(202);
    demo.until_gone(&format!("volumev3:/volumes/{clone}")).await;
    demo.ask("DELETE", &format!("volumev3:/snapshots/{snapshot}"), none())
        .await
        .expect(202);
    demo.until_gone(&format!("volumev3:/snapshots/{snapshot}"))
        .await;
    assert!(!cloud.disk_path(&snapshot).exists());
}

#[tokio::test]
async fn what_exists_is_there_when_it_is_opened_again() {
    let directory = tempfile::tempdir().unwrap();
    let cloud = DevCloud::open(directory.path(), Options::default())
        .await
        .unwrap();
    let server = cloud.seed("demo", Case::LocalDisk).unwrap().remove(0);
    cloud.write_records(&server).unwrap();
    let before = cloud.state();
    drop(cloud);
    let cloud = DevCloud::open(directory.path(), Options::default())
        .await
        .unwrap();
    assert_eq!(before.difference(&cloud.state()), Vec::<String>::new());
    let demo = somebody(&cloud, "demo").await;
    demo.get(&format!("compute:/servers/{server}"))
        .await
        .expect(200);
    assert_eq!(last_on(&cloud, &server), 1);
    assert!(
        std::fs::metadata(cloud.disk_path(&server)).unwrap().len()
            > RECORDS_AT + RECORDS * RECORD_STRIDE
    );
}

#[tokio::test]
async fn trouble_comes_as_ordered() {
    let (cloud, demo) = start().await;
    let faults = cloud.faults();
    let status = |status| Trouble::Status {
        status,
        retry_after: Some(7),
    };
    faults
        .times("GET /compute/v2.1/servers", 2, status(503))
        .unwrap();
    for _ in 0..2 {
        assert_eq!(
            demo.get("compute:/servers").await.expect(503).headers["retry-after"],
            "7"
        );
    }
    demo.get("compute:/servers").await.expect(200);
    faults
        .once_after("GET /network/**", 1, Trouble::Reset)
        .unwrap();
    demo.get("network:/networks").await.expect(200);
    assert!(
        demo.try_ask("GET", "network:/networks", none())
            .await
            .is_err()
    );
    demo.get("network:/networks").await.expect(200);

    // The answer is lost, the volume is there.
    faults
        .once("POST /volume/v3/*/volumes", Trouble::LostAnswer)
        .unwrap();
    let wanted = json!({"volume": {"size": 1, "name": "lost"}});
    assert!(
        demo.try_ask("POST", "volumev3:/volumes", wanted.clone())
            .await
            .is_err()
    );
    assert!(cloud.id_of(Kind::Volume, "lost").is_some());
    faults
        .once("POST /volume/v3/*/volumes", Trouble::EndsInError)
        .unwrap();
    let failed = demo
        .post("volumev3:/volumes", wanted.clone())
        .await
        .expect(202)
        .text("/volume/id");
    faults
        .once("POST /volume/v3/*/volumes", Trouble::NeverFinishes)
        .unwrap();
    let stuck = demo
        .post("volumev3:/volumes", wanted)
        .await
        .expect(202)
        .text("/volume/id");
    cloud.settle();
    let of = async |id: &str| {
        demo.get(&format!("volumev3:/volumes/{id}"))
            .await
            .text("/volume/status")
    };
    assert_eq!(
        (of(&failed).await, of(&stuck).await),
        ("error".to_owned(), "creating".to_owned())
    );

    // Bytes that are not what was stored.
    let image = cloud.add_image("small", &[5; 100_000], &[]).unwrap();
    let file = format!("image:/images/{image}/file");
    faults
        .once("GET /image/v2/images/*/file", Trouble::Truncated(1000))
        .unwrap();
    assert!(demo.try_ask("GET", &file, none()).await.is_err());
    faults
        .once("GET /image/v2/images/*/file", Trouble::FlippedByte)
        .unwrap();
    let bytes = demo.get(&file).await.expect(200).bytes;
    assert_eq!(bytes.iter().filter(|byte| **byte != 5).count(), 1);
    faults
        .once("GET /image/v2/images/*/file", Trouble::WrongChecksum)
        .unwrap();
    assert_eq!(demo.get(&file).await.headers["content-md5"], "0".repeat(32));
    faults
        .once(
            "GET /image/v2/images/*/file",
            Trouble::Delay(Duration::from_millis(300)),
        )
        .unwrap();
    let begin = std::time::Instant::now();
    demo.get(&file).await.expect(200);
    assert!(begin.elapsed() >= Duration::from_millis(300));
    let seen = cloud.requests();
    assert!(
        seen.iter()
            .any(|request| request.status == 503 && request.path == "/compute/v2.1/servers")
    );
    assert!(
        seen.iter()
            .any(|request| request.status == 0 && request.path == "/network/v2.0/networks")
    );
    assert!(
        seen.iter()
            .all(|request| request.status == 0 || !request.request_id.is_empty())
    );
}

#[tokio::test]
async fn changes_of_state_take_their_time() {
    let mut options = Options::default();
    options.pace = Pace::all(Duration::from_millis(400));
    let cloud = DevCloud::start(options).await.unwrap();
    let demo = somebody(&cloud, "demo").await;
    let id = demo
        .post("volumev3:/volumes", json!({"volume": {"size": 1}}))
        .await
        .expect(202)
        .text("/volume/id");
    let path = format!("volumev3:/volumes/{id}");
    assert_eq!(demo.get(&path).await.text("/volume/status"), "creating");
    tokio::time::sleep(Duration::from_millis(450)).await;
    assert_eq!(demo.get(&path).await.text("/volume/status"), "available");
}

#[tokio::test]
async fn quotas_and_policies_refuse_in_the_services_words() {
    let (cloud, demo) = start().await;
    cloud.set_quota("demo", "gigabytes", 3).unwrap();
    let volume = |size: u64| json!({"volume": {"size": size}});
    demo.post("volumev3:/volumes", volume(2)).await.expect(202);
    let refused = demo.post("volumev3:/volumes", volume(2)).await.expect(413);
    assert!(
        refused
            .text("/overLimit/message")
            .contains("exceeds allowed gigabytes quota"),
        "{}",
        refused.body
    );
    cloud.set_quota("demo", "network", 0).unwrap();
    let refused = demo
        .post("network:/networks", json!({"network": {"name": "n"}}))
        .await
        .expect(409);
    assert_eq!(refused.text("/NeutronError/type"), "OverQuota");
    let server = cloud
        .seed("admin", Case::BootedFromVolume)
        .unwrap()
        .remove(0);
    cloud
        .deny(
            "member",
            "POST /compute/v2.1/servers/*/action#createImage",
            "os_compute_api:servers:create_image",
        )
        .unwrap();
    let refused = demo
        .post(
            &format!("compute:/servers/{server}/action"),
            json!({"createImage": {"name": "x"}}),
        )
        .await
        .expect(403);
    assert_eq!(
        refused.text("/forbidden/message"),
        "Policy doesn't allow os_compute_api:servers:create_image to be performed."
    );
    let admin = somebody(&cloud, "admin").await;
    admin
        .post(
            &format!("compute:/servers/{server}/action"),
            json!({"createImage": {"name": "x"}}),
        )
        .await
        .expect(202);
}

#[tokio::test]
async fn swift_says_that_several_created_an_object() {
    let (cloud, demo) = start().await;
    demo.ask("PUT", "object-store:/c", none()).await.expect(201);
    let put = |name: &str| {
        let (demo, path) = (demo.clone(), format!("object-store:/c/{name}"));
        async move {
            demo.ask("PUT", &path, with("if-none-match", "*").bytes(vec![1; 10]))
                .await
                .status
        }
    };
    assert_eq!(put("alone").await, 201);
    assert_eq!(put("alone").await, 412);
    cloud
        .faults()
        .always(
            "PUT /object-store/v1/*/c/raced",
            Trouble::Delay(Duration::from_millis(200)),
        )
        .unwrap();
    let all = futures_util::future::join_all((0..5).map(|_| put("raced"))).await;
    assert_eq!(
        all, [201; 5],
        "the condition is looked at before the body, and not again"
    );
    let listed = demo
        .get("object-store:/c?format=json&prefix=ra")
        .await
        .expect(200);
    assert_eq!(listed.body.as_array().unwrap().len(), 1);
    assert_eq!(listed.body[0]["bytes"], 10);
    demo.ask(
        "PUT",
        "object-store:/c/short",
        with("x-delete-after", "1").bytes(vec![2]),
    )
    .await
    .expect(201);
    demo.get("object-store:/c/short").await.expect(200);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    demo.get("object-store:/c/short").await.expect(404);
}

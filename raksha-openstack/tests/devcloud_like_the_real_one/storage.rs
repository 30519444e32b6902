//! Volumes, snapshots, attachments and images.

use std::time::Duration;

use serde_json::{Value, json};

use super::both;
use crate::support::{none, with};

const NEWEST: (&str, &str) = ("openstack-api-version", "volume 3.70");

#[tokio::test]
async fn volumes_snapshots_and_attachments() {
    both(async |cloud| {
        let newest = || with(NEWEST.0, NEWEST.1);
        let volumes = "volumev3:/volumes";
        for wanted in [
            json!({"name": "devcloud-x"}), json!({"size": 1, "volume_type": "nope"}), json!({"size": 1, "imageRef": "nope"}),
            json!({"size": 1, "snapshot_id": "nope"}), json!({"size": 1, "snapshot_id": "11111111-2222-4333-8444-555555555555"}),
        ] {
            cloud.post(volumes, json!({"volume": wanted})).await;
        }
        let wanted = json!({"volume": {"name": "devcloud-v", "size": 1, "metadata": {"a": "b"}, "description": "d"}});
        let id = cloud.ask("POST", volumes, newest().body(wanted)).await.text("/volume/id");
        let one = format!("{volumes}/{id}");
        cloud.demo.until(&one, "/volume/status", &["available"]).await;
        cloud.get(&one).await;
        cloud.ask("GET", &one, newest()).await;
        cloud.as_other("GET", &cloud.other.url(&one), none()).await;
        cloud.get("volumev3:/volumes/nope").await;
        cloud.get("volumev3:/snapshots/nope").await;
        cloud.get(&format!("{volumes}/detail?name=devcloud-v&limit=1")).await;
        cloud.post(&format!("{one}/metadata"), json!({"metadata": {"c": "d"}})).await;
        cloud.delete(&format!("{one}/metadata/nope")).await;
        cloud.post(&format!("{one}/action"), json!({"os-set_bootable": {"bootable": true}})).await;
        cloud.post(&format!("{one}/action"), json!({"os-set_image_metadata": {"metadata": {"hw_x": "1"}}})).await;
        cloud.post(&format!("{one}/action"), json!({"os-extend": {"new_size": 1}})).await;

        let snapshots = "volumev3:/snapshots";
        cloud.ask("POST", snapshots, newest().body(json!({"snapshot": {"volume_id": id, "force": false}}))).await;
        cloud.post(snapshots, json!({"snapshot": {"volume_id": "nope"}})).await;
        let wanted = json!({"snapshot": {"volume_id": id, "name": "devcloud-s", "metadata": {"e": "f"}}});
        let snapshot = cloud.post(snapshots, wanted).await.text("/snapshot/id");
        let shot = format!("{snapshots}/{snapshot}");
        cloud.demo.until(&shot, "/snapshot/status", &["available"]).await;
        cloud.get(&shot).await;
        cloud.ask("GET", &shot, newest()).await;
        cloud.delete(&one).await;
        let clone = cloud.post(volumes, json!({"volume": {"name": "devcloud-c", "snapshot_id": snapshot}})).await.text("/volume/id");
        let clone = format!("{volumes}/{clone}");
        cloud.demo.until(&clone, "/volume/status", &["available"]).await;
        cloud.get(&clone).await;

        // A snapshot with a clone.
        cloud.delete(&shot).await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        cloud.demo.until(&shot, "/snapshot/status", &["available"]).await;
        cloud.get(&shot).await;

        let attachments = "volumev3:/attachments";
        cloud.get(attachments).await;
        let connector = json!({"host": "devcloud", "ip": "127.0.0.1"});
        let wanted = json!({"attachment": {"volume_uuid": id, "mode": "ro", "connector": connector}});
        let made = cloud.ask("POST", attachments, newest().body(wanted.clone())).await.text("/attachment/id");
        let attachment = format!("{attachments}/{made}");
        cloud.get(&one).await;
        cloud.ask("GET", &attachment, newest()).await;
        let complete = with("openstack-api-version", "volume 3.43").body(json!({"os-complete": {}}));
        cloud.ask("POST", &format!("{attachment}/action"), complete).await;
        cloud.ask("POST", &format!("{attachment}/action"), newest().body(json!({"os-complete": {}}))).await;
        cloud.get(&one).await;
        cloud.ask("GET", &attachment, newest()).await;
        cloud.ask("POST", attachments, newest().body(wanted)).await;
        cloud.delete(&one).await;
        cloud.post(snapshots, json!({"snapshot": {"volume_id": id, "name": "devcloud-t"}})).await;
        cloud.post(&format!("{one}/action"), json!({"os-volume_upload_image": {"image_name": "devcloud-i"}})).await;
        cloud.ask("DELETE", &attachment, newest()).await;
        cloud.ask("GET", &attachment, newest()).await;
        let reserved = json!({"attachment": {"volume_uuid": id}});
        let made = cloud.ask("POST", attachments, newest().body(reserved)).await.text("/attachment/id");
        let attachment = format!("{attachments}/{made}");
        cloud.ask("PUT", &attachment, newest().body(json!({"attachment": {"connector": connector}}))).await;
        cloud.ask("DELETE", &attachment, newest()).await;

        cloud.delete(&clone).await;
        cloud.demo.until_gone(&clone).await;
        cloud.delete(&shot).await;
        cloud.demo.until_gone(&shot).await;
        cloud.delete(&one).await;
        cloud.demo.until_gone(&one).await;
        cloud.delete(&one).await;
    })
    .await;
}

#[tokio::test]
async fn images() {
    both(async |cloud| {
        let images = "image:/images";
        let wanted = json!({"name": "devcloud-i", "disk_format": "raw", "container_format": "bare", "foo": "bar", "tags": ["t"]});
        let id = cloud.post(images, wanted).await.text("/id");
        let one = format!("{images}/{id}");
        let file = format!("{one}/file");
        cloud.get(&file).await;
        cloud.ask("PUT", &file, with("content-type", "application/x").bytes(vec![1])).await;
        let bytes = |length: usize| with("content-type", "application/octet-stream").bytes(vec![7; length]);
        cloud.ask("PUT", &file, bytes(100_000)).await;
        let seen = cloud.get(&one).await;
        let file_seen = cloud.get(&file).await;
        assert_eq!((file_seen.bytes.len(), &file_seen.headers["content-md5"]), (100_000, &seen.text("/checksum")));
        for range in ["bytes=10-19", "bytes=99990-", "bytes=-5", "bytes=200000-"] {
            cloud.ask("GET", &file, with("range", range)).await;
        }
        cloud.ask("PUT", &file, bytes(1)).await;
        let patch = |body: Value| with("content-type", "application/openstack-images-v2.1-json-patch").bytes(body.to_string().into_bytes());
        for change in [
            json!([{"op": "replace", "path": "/name", "value": "devcloud-j"}, {"op": "add", "path": "/os_thing", "value": "1"},
                {"op": "remove", "path": "/foo"}]),
            json!([{"op": "replace", "path": "/visibility", "value": "public"}]),
            json!([{"op": "replace", "path": "/nope", "value": "x"}]),
            json!([{"op": "replace", "path": "/size", "value": 1}]),
            json!([{"op": "remove", "path": "/name"}]),
            json!([{"op": "replace", "path": "/protected", "value": true}]),
        ] {
            cloud.ask("PATCH", &one, patch(change)).await;
        }
        cloud.ask("PATCH", &one, json!([])).await;
        cloud.delete(&one).await;
        cloud.ask("PATCH", &one, patch(json!([{"op": "replace", "path": "/protected", "value": false}]))).await;
        cloud.get(&format!("{images}?name=devcloud-j&limit=1&sort=created_at:desc")).await;
        cloud.as_other("GET", &one, none()).await;
        let member = json!({"member": cloud.other.project});
        cloud.post(&format!("{one}/members"), member).await;
        cloud.as_other("GET", &one, none()).await;
        let mine = format!("{one}/members/{}", cloud.other.project);
        cloud.as_other("PUT", &mine, json!({"status": "accepted"})).await;
        cloud.get(&format!("{one}/members")).await;
        cloud.as_other("DELETE", &one, none()).await;
        cloud.ask("PUT", &format!("{one}/tags/u"), none()).await;
        cloud.post(images, json!({"name": "devcloud-k", "id": id})).await;
        cloud.post(images, json!({"name": "devcloud-k", "visibility": "public"})).await;
        cloud.delete(&one).await;
        cloud.get(&one).await;
        cloud.delete(&one).await;
    })
    .await;
}

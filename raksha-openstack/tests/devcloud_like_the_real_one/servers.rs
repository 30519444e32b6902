//! Servers, on local disks and booted from volumes.

use serde_json::{Value, json};

use super::{both, id_of};
use crate::support::{none, with};

#[tokio::test]
async fn servers() {
    both(async |cloud| {
        let newest = || with("openstack-api-version", "compute 2.93");
        let servers = "compute:/servers";
        let demo = cloud.demo.clone();
        let flavor = id_of(&demo, "compute:/flavors", "flavors", "raksha.tiny").await;
        let image = id_of(&demo, "image:/images?name=raksha-guest", "images", "raksha-guest").await;
        let server = |more: Value| {
            let mut body = json!({"name": "devcloud-a", "flavorRef": flavor, "networks": "none"});
            for (key, value) in more.as_object().unwrap() {
                body[key] = value.clone();
            }
            json!({"server": body})
        };
        let nothing = "11111111-2222-4333-8444-555555555555";
        for more in [
            json!({"flavorRef": "nope", "imageRef": image}), json!({"imageRef": nothing}), json!({}),
            json!({"block_device_mapping_v2": [{"uuid": nothing, "source_type": "volume", "destination_type": "volume", "boot_index": 0}]}),
            json!({"imageRef": image, "networks": [{"uuid": nothing}]}), json!({"imageRef": image, "networks": [{"port": nothing}]}),
            json!({"imageRef": image, "key_name": "nope"}),
        ] {
            cloud.ask("POST", servers, newest().body(server(more))).await;
        }
        cloud.get(&format!("{servers}/{nothing}")).await;

        // Booted from an image onto a local disk.
        let wanted = server(json!({"imageRef": image, "description": "d", "metadata": {"k": "v"}, "tags": ["t"]}));
        let local = cloud.ask("POST", servers, newest().body(wanted)).await.text("/server/id");
        let one = format!("{servers}/{local}");
        demo.until(&one, "/server/status", &["ACTIVE"]).await;
        cloud.get(&one).await;
        cloud.ask("GET", &one, newest()).await;
        cloud.as_other("GET", &one, none()).await;
        cloud.ask("GET", &format!("{servers}?tags=t&name=devcloud-a"), newest()).await;
        cloud.ask("GET", &format!("{servers}?tags=u"), newest()).await;
        cloud.get(&format!("{one}/metadata")).await;
        cloud.ask("GET", &format!("{one}/tags"), newest()).await;
        for action in [json!({"unpause": null}), json!({"os-start": null}), json!({"nonsense": null}), json!({"createImage": {}})] {
            let name = action.as_object().unwrap().keys().next().unwrap().clone();
            if name != "createImage" {
                cloud.post(&format!("{one}/action"), action).await;
            }
        }
        let volume = demo.post("volumev3:/volumes", json!({"volume": {"size": 1, "name": "devcloud-d"}})).await.text("/volume/id");
        demo.until(&format!("volumev3:/volumes/{volume}"), "/volume/status", &["available"]).await;
        let attach = json!({"volumeAttachment": {"volumeId": volume}});
        let attached = format!("{one}/os-volume_attachments");
        cloud.ask("POST", &attached, newest().body(attach.clone())).await;
        demo.until(&format!("volumev3:/volumes/{volume}"), "/volume/status", &["in-use"]).await;
        cloud.get(&attached).await;
        cloud.ask("GET", &attached, newest()).await;
        cloud.post(&attached, attach).await;
        cloud.post(&attached, json!({"volumeAttachment": {"volumeId": nothing}})).await;
        cloud.get(&format!("volumev3:/volumes/{volume}")).await;
        let snap = json!({"createImage": {"name": "devcloud-snap", "metadata": {"x": "y"}}});
        let snap = cloud.ask("POST", &format!("{one}/action"), newest().body(snap)).await.text("/image_id");
        let other = cloud.demo.post(&format!("{one}/action"), json!({"createImage": {"name": "devcloud-snap2"}})).await;
        assert_eq!(other.status, 409);
        demo.until(&format!("image:/images/{snap}"), "/status", &["active"]).await;
        let seen = demo.get(&format!("image:/images/{snap}")).await;
        let mut kept = seen.clone();
        for key in ["size", "disk_format"] {
            kept.body[key] = json!("*");
        }
        cloud.note("GET", "snapshot of a server on a local disk", &kept);
        // Nova goes on for a moment after the image is there.
        demo.until(&one, "/server/OS-EXT-STS:task_state", &[""]).await;
        cloud.delete(&format!("image:/images/{snap}")).await;
        demo.ask("DELETE", &format!("{attached}/{volume}"), none()).await.expect(202);
        demo.until(&format!("volumev3:/volumes/{volume}"), "/volume/status", &["available"]).await;
        cloud.delete(&format!("{attached}/{volume}")).await;
        cloud.delete(&one).await;
        demo.until_gone(&one).await;
        cloud.delete(&one).await;
    })
    .await;
}

#[tokio::test]
async fn a_server_that_is_booted_from_volumes() {
    both(async |cloud| {
        let newest = || with("openstack-api-version", "compute 2.93");
        let demo = cloud.demo.clone();
        let flavor = id_of(&demo, "compute:/flavors", "flavors", "raksha.tiny").await;
        let image = id_of(&demo, "image:/images?name=raksha-guest-rbd", "images", "raksha-guest-rbd").await;
        let mut volumes = Vec::new();
        for (name, source) in [("devcloud-root", Some(&image)), ("devcloud-b", None)] {
            let mut wanted = json!({"name": name, "size": 1});
            if let Some(image) = source {
                wanted["imageRef"] = json!(image);
            }
            let id = demo.post("volumev3:/volumes", json!({"volume": wanted})).await.text("/volume/id");
            demo.until(&format!("volumev3:/volumes/{id}"), "/volume/status", &["available"]).await;
            volumes.push(id);
        }
        let root = cloud.get(&format!("volumev3:/volumes/{}", volumes[0])).await;
        assert_eq!(root.text("/volume/bootable"), "true");
        let devices: Vec<_> = volumes.iter().enumerate().map(|(nth, id)| json!({"uuid": id, "source_type": "volume",
            "destination_type": "volume", "boot_index": if nth == 0 { 0 } else { -1 }})).collect();
        let wanted = json!({"server": {"name": "devcloud-b", "flavorRef": flavor, "networks": "none", "block_device_mapping_v2": devices}});
        let id = cloud.ask("POST", "compute:/servers", newest().body(wanted)).await.text("/server/id");
        let one = format!("compute:/servers/{id}");
        demo.until(&one, "/server/status", &["ACTIVE"]).await;
        cloud.ask("GET", &one, newest()).await;
        cloud.ask("GET", &format!("{one}/os-volume_attachments"), newest()).await;
        // A guest that is not up has no agent: it is stopped, so that its image needs none.
        demo.post(&format!("{one}/action"), json!({"os-stop": null})).await.expect(202);
        demo.until(&one, "/server/status", &["SHUTOFF"]).await;
        cloud.ask("GET", &one, newest()).await;
        cloud.post(&format!("{one}/action"), json!({"os-stop": null})).await;
        let snap = json!({"createImage": {"name": "devcloud-snap"}});
        let snap = cloud.ask("POST", &format!("{one}/action"), newest().body(snap)).await.text("/image_id");
        let seen = cloud.get(&format!("image:/images/{snap}")).await;
        let mapping: Value = serde_json::from_str(&seen.text("/block_device_mapping")).unwrap();
        for entry in mapping.as_array().unwrap() {
            let shot = format!("volumev3:/snapshots/{}", entry["snapshot_id"].as_str().unwrap());
            demo.until(&shot, "/snapshot/status", &["available"]).await;
            cloud.get(&shot).await;
            cloud.delete(&shot).await;
            demo.until_gone(&shot).await;
        }
        cloud.get(&format!("image:/images/{snap}/file")).await;
        cloud.delete(&format!("image:/images/{snap}")).await;
        cloud.delete(&one).await;
        demo.until_gone(&one).await;
        demo.until(&format!("volumev3:/volumes/{}", volumes[1]), "/volume/status", &["available"]).await;
        cloud.get(&format!("volumev3:/volumes/{}", volumes[1])).await;
    })
    .await;
}

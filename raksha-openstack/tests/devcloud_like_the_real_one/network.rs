//! Networks and what belongs to them.

use serde_json::{Value, json};

use super::both;
use crate::support::none;
use crate::support::recorder::Recorder;

#[tokio::test]
async fn networks() {
    both(async |cloud| {
        let make = async |cloud: &mut Recorder, of: &str, key: &str, body: Value| {
            cloud.post(&format!("network:/{of}"), json!({key: body})).await
        };
        for body in [
            json!({"shared": true}), json!({"provider:network_type": "flat"}), json!({"nonsense": 1}), json!({"router:external": true}),
            json!({"mtu": 9000}), json!({"dns_domain": "devcloud.example."}),
        ] {
            make(cloud, "networks", "network", body).await;
        }
        let network = make(cloud, "networks", "network", json!({"name": "devcloud-n"})).await.text("/network/id");
        let subnet = json!({"name": "devcloud-s", "network_id": network, "cidr": "10.98.0.0/24", "ip_version": 4});
        let subnet = make(cloud, "subnets", "subnet", subnet).await.text("/subnet/id");
        make(cloud, "subnets", "subnet", json!({"network_id": network, "cidr": "10.98.0.0/25", "ip_version": 4})).await;
        make(cloud, "subnets", "subnet", json!({"network_id": network, "cidr": "nonsense", "ip_version": 4})).await;
        let port = make(cloud, "ports", "port", json!({"name": "devcloud-p", "network_id": network})).await;
        let (port, mac, address) = (port.text("/port/id"), port.text("/port/mac_address"), port.text("/port/fixed_ips/0/ip_address"));
        make(cloud, "ports", "port", json!({"network_id": network, "mac_address": mac})).await;
        for address in [&*address, "1.2.3.4"] {
            make(cloud, "ports", "port", json!({"network_id": network, "fixed_ips": [{"ip_address": address}]})).await;
        }
        let fixed = json!({"network_id": network, "name": "devcloud-q", "mac_address": "fa:16:3e:00:98:77",
            "fixed_ips": [{"subnet_id": subnet, "ip_address": "10.98.0.77"}]});
        let second = make(cloud, "ports", "port", fixed).await.text("/port/id");
        let router = make(cloud, "routers", "router", json!({"name": "devcloud-r"})).await.text("/router/id");
        let of_router = |action: &str| format!("network:/routers/{router}/{action}");
        let there = json!({"subnet_id": subnet});
        cloud.ask("PUT", &of_router("add_router_interface"), there.clone()).await;
        cloud.ask("PUT", &of_router("add_router_interface"), there.clone()).await;
        let public = cloud.demo.get("network:/networks?name=public").await.text("/networks/0/id");
        let wanted = json!({"floating_network_id": public, "port_id": port, "description": "devcloud-f"});
        make(cloud, "floatingips", "floatingip", wanted).await;
        let gateway = json!({"router": {"external_gateway_info": {"network_id": public}}});
        cloud.ask("PUT", &format!("network:/routers/{router}"), gateway).await;
        let wanted = json!({"floating_network_id": public, "description": "devcloud-f"});
        let floating = make(cloud, "floatingips", "floatingip", wanted).await;
        let (floating, outside) = (floating.text("/floatingip/id"), floating.text("/floatingip/floating_ip_address"));
        let one = format!("network:/floatingips/{floating}");
        let pointed = cloud.demo.ask("PUT", &one, json!({"floatingip": {"port_id": port}})).await.expect(200);
        assert_eq!(pointed.text("/floatingip/fixed_ip_address"), address);
        let wanted = json!({"floating_network_id": public, "floating_ip_address": outside});
        make(cloud, "floatingips", "floatingip", wanted).await;
        cloud.ask("PUT", &of_router("remove_router_interface"), there.clone()).await;
        for path in [format!("routers/{router}"), format!("subnets/{subnet}")] {
            cloud.delete(&format!("network:/{path}")).await;
        }
        cloud.get(&format!("network:/ports/{port}")).await;
        cloud.as_other("GET", &format!("network:/ports/{port}"), none()).await;
        cloud.as_other("GET", &format!("network:/networks/{network}"), none()).await;
        cloud.as_other("DELETE", &format!("network:/networks/{network}"), none()).await;
        cloud.as_other("GET", &format!("network:/networks?id={network}"), none()).await;
        cloud.get(&format!("network:/ports?network_id={network}&device_owner=network:router_interface&fields=device_owner")).await;
        cloud.ask("PUT", &format!("network:/networks/{network}/tags"), json!({"tags": ["x", "y"]})).await;
        cloud.get("network:/networks?tags=x,y&fields=name").await;
        cloud.delete(&format!("network:/networks/{network}/tags/nope")).await;
        cloud.delete(&one).await;
        cloud.ask("PUT", &of_router("remove_router_interface"), there.clone()).await;
        cloud.ask("PUT", &of_router("remove_router_interface"), there).await;
        cloud.delete(&format!("network:/routers/{router}")).await;
        for port in [port.clone(), second, port] {
            cloud.delete(&format!("network:/ports/{port}")).await;
        }
        cloud.delete(&format!("network:/networks/{network}")).await;
        cloud.get(&format!("network:/subnets/{subnet}")).await;

        let group = make(cloud, "security-groups", "security_group", json!({"name": "devcloud-g"})).await.text("/security_group/id");
        let rule = json!({"security_group_id": group, "direction": "ingress", "protocol": "tcp", "port_range_min": 22,
            "port_range_max": 22, "remote_ip_prefix": "10.0.0.0/8"});
        make(cloud, "security-group-rules", "security_group_rule", rule.clone()).await;
        let twin = cloud.demo.post("network:/security-group-rules", json!({"security_group_rule": rule})).await;
        cloud.note("POST twin", "", &twin);
        cloud.get(&format!("network:/security-groups/{group}")).await;
        cloud.get(&format!("network:/security-group-rules?security_group_id={group}&direction=ingress")).await;
        cloud.delete(&format!("network:/security-groups/{group}")).await;
        cloud.delete(&format!("network:/security-groups/{group}")).await;
        make(cloud, "security-groups", "security_group", json!({"name": "default"})).await;
    })
    .await;
}

#!/usr/bin/python3
"""Prints as JSON what a project has, for tests that compare before and after.
Usage: inventory.py CLOUD   (OS_CLIENT_CONFIG_FILE names clouds.yaml)

  ids     kind -> sorted ids of everything in the project: what was left behind shows here
  shape   the servers with their devices, addresses and networks, without ids: what was restored must show here as it was
"""
import json
import sys

import openstack

cloud = openstack.connect(cloud=sys.argv[1])
compute, block, network = cloud.compute, cloud.block_storage, cloud.network
project = cloud.current_project_id
own = {"project_id": project}

servers = list(compute.servers())
volumes = {v.id: v for v in block.volumes()}
networks = {n.id: n for n in network.networks()}
subnets = {s.id: s for s in network.subnets()}
ports = list(network.ports(**own))
floating = list(network.ips(**own))
groups = {g.id: g for g in network.security_groups(**own)}
attachments = block.get("/attachments", headers={"OpenStack-API-Version": "volume 3.27"}).json()["attachments"]
routers = list(network.routers(**own))

ids = {
    "server": [s.id for s in servers],
    "volume": list(volumes),
    "volume snapshot": [s.id for s in block.snapshots()],
    "attachment": [a["id"] for a in attachments],
    "image": [i.id for i in cloud.image.images() if i.owner == project],
    "network": [n.id for n in networks.values() if n.project_id == project],
    "subnet": [s.id for s in subnets.values() if s.project_id == project],
    "router": [r.id for r in routers],
    "port": [p.id for p in ports],
    "floating IP": [f.id for f in floating],
    "security group": [g for g in groups],
    "key pair": [k.id for k in compute.keypairs()],
    "server group": [g.id for g in compute.server_groups()],
}


def rule(r):
    remote = groups.get(r["remote_group_id"])
    return [r["direction"], r["ether_type"] if "ether_type" in r else r["ethertype"], r["protocol"],
            r["port_range_min"], r["port_range_max"], r["remote_ip_prefix"], remote and remote.name]


def port_shape(p):
    return {
        "network": networks[p.network_id].name,
        "mac": p.mac_address,
        "addresses": sorted(f["ip_address"] for f in p.fixed_ips),
        "security_groups": sorted(groups[g].name for g in p.security_group_ids if g in groups),
        "pairs": p.allowed_address_pairs,
        "floating": sorted(f.floating_ip_address for f in floating if f.port_id == p.id),
    }


def disk_shape(a):
    v = volumes[a.volume_id]
    return {"device": a.device, "size": v.size, "name": v.name, "type": v.volume_type, "bootable": v.is_bootable,
            "metadata": v.metadata, "delete": a.delete_on_termination}


def server_shape(s):
    return {
        "status": s.status,
        "flavor": s.flavor["original_name"],
        "image": bool(s.image and s.image.id),
        "metadata": s.metadata,
        "key": s.key_name,
        "ports": sorted((port_shape(p) for p in ports if p.device_id == s.id), key=lambda p: p["mac"]),
        "disks": sorted((disk_shape(a) for a in compute.volume_attachments(s)), key=lambda d: d["device"]),
    }


def network_shape(n):
    return {
        "mtu": n.mtu,
        "subnets": sorted([s.cidr, s.gateway_ip, s.is_dhcp_enabled, s.allocation_pools, s.dns_nameservers, s.host_routes]
                          for s in subnets.values() if s.network_id == n.id),
    }


shape = {
    "servers": {s.name: server_shape(s) for s in servers},
    "networks": {n.name: network_shape(n) for n in networks.values() if n.project_id == project},
    "routers": {r.name: {
        "gateway": r.external_gateway_info and networks[r.external_gateway_info["network_id"]].name,
        "interfaces": sorted(f["ip_address"] for p in ports if p.device_id == r.id
                             and p.device_owner.startswith("network:router_interface") for f in p.fixed_ips),
    } for r in routers},
    "security groups": {g.name: sorted((rule(r) for r in g.security_group_rules), key=str) for g in groups.values()},
}
json.dump({"ids": {kind: sorted(of) for kind, of in ids.items()}, "shape": shape}, sys.stdout, indent=1, sort_keys=True)

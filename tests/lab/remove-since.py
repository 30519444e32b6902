#!/usr/bin/python3
"""Deletes what a project has and did not have: what a test restored into it.
Usage: remove-since.py CLOUD BEFORE   (BEFORE: what inventory.py printed then)
"""
import json
import sys
import time

import openstack

cloud = openstack.connect(cloud=sys.argv[1])
before = json.load(open(sys.argv[2]))["ids"]
compute, block, network = cloud.compute, cloud.block_storage, cloud.network
own = {"project_id": cloud.current_project_id}


def new(kind, things):
    return [thing for thing in things if thing.id not in before[kind]]


def gone(kind, things):
    for _ in range(120):
        if not new(kind, things()):
            return
        time.sleep(2)
    sys.exit(f"of {kind} did not go: {[thing.id for thing in new(kind, things())]}")


for server in new("server", compute.servers()):
    compute.delete_server(server)
gone("server", compute.servers)
for ip in new("floating IP", network.ips(**own)):
    network.delete_ip(ip)
for router in new("router", network.routers(**own)):
    network.update_router(router, external_gateway_info=None)
    for port in network.ports(device_id=router.id):
        network.remove_interface_from_router(router, port_id=port.id)
    network.delete_router(router)
for port in new("port", network.ports(**own)):
    if not port.device_owner.startswith("network:"):
        network.delete_port(port)
for one in new("network", network.networks(**own)):
    network.delete_network(one)
for group in new("security group", network.security_groups(**own)):
    network.delete_security_group(group)
for snapshot in new("volume snapshot", block.snapshots()):
    block.delete_snapshot(snapshot)
gone("volume snapshot", block.snapshots)
for volume in new("volume", block.volumes()):
    block.delete_volume(volume)
gone("volume", block.volumes)
for image in new("image", cloud.image.images(owner=own["project_id"])):
    cloud.image.delete_image(image)
for key in new("key pair", compute.keypairs()):
    compute.delete_keypair(key)
for group in new("server group", compute.server_groups()):
    compute.delete_server_group(group)

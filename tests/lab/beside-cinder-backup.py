#!/usr/bin/python3
"""Backs up the three volumes of the server case2 with cinder-backup and with Raksha, in turn, and prints a table: full, incremental, restore.
Usage: beside-cinder-backup.py RAKSHA [CLOUD-OPTIONS...]
  RAKSHA          the program
  CLOUD-OPTIONS   what follows openstack:raksha-demo, one road a word  (default: "" for a plain tenant, and ?ceph_user=openstack)
Needs the lab with its cases up. CPU seconds are those of the process cinder-backup and of raksha with its children, not of Cinder, Glance or Ceph.
"""
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time

import openstack

LAB = os.environ.get("RAKSHA_LAB", "/var/lib/raksha-lab")
os.environ.setdefault("OS_CLIENT_CONFIG_FILE", f"{LAB}/clouds.yaml")
cloud = openstack.connect(cloud="raksha-demo")
block = cloud.block_storage
server = cloud.compute.find_server("case2")
volumes = [a.volume_id for a in cloud.compute.volume_attachments(server)]
TICK = os.sysconf("SC_CLK_TCK")


def pids(name):
    pid = open(f"{LAB}/run/{name}.pid").read().split()[0]
    children = open(f"/proc/{pid}/task/{pid}/children").read().split()
    return [pid, *children]


def service_cpu(name):
    """User and system seconds of a service and its children, ended ones included."""
    total = 0
    for pid in pids(name):
        fields = open(f"/proc/{pid}/stat").read().rsplit(") ", 1)[1].split()
        total += sum(int(f) for f in fields[11:15])
    return total / TICK


def size(folder):
    return sum(os.lstat(os.path.join(d, f)).st_blocks * 512 for d, _, fs in os.walk(folder) for f in fs)


def wait(get, ok):
    while True:
        thing = get()
        if thing.status in ok:
            return thing
        if "error" in thing.status:
            sys.exit(f"{thing.id} went to {thing.status}: {getattr(thing, 'fail_reason', '')}")
        time.sleep(1)


def let_the_guest_write():
    time.sleep(20)


def cinder():
    folder = f"{LAB}/cinder/backup"
    made = []

    def backup(incremental):
        new = [block.create_backup(volume_id=v, name="beside", force=True, is_incremental=incremental) for v in volumes]
        made.extend(wait(lambda b=b: block.get_backup(b.id), ["available"]) for b in new)

    def restore():
        for b in made[-len(volumes):]:
            got = block.post(f"/backups/{b.id}/restore", json={"restore": {"name": "beside-restored"}}).json()["restore"]
            volume = wait(lambda: block.get_volume(got["volume_id"]), ["available"])
            wait(lambda: block.get_backup(b.id), ["available"])
            block.delete_volume(volume.id)

    for step, work in (("full", lambda: backup(False)), ("incremental", lambda: backup(True)), ("restore", restore)):
        if step == "incremental":
            let_the_guest_write()
        cpu, stored, began = service_cpu("cinder-backup"), size(folder), time.time()
        work()
        yield step, time.time() - began, service_cpu("cinder-backup") - cpu, size(folder) - stored
    for b in reversed(made):        # an incremental one before the one it builds on
        block.delete_backup(b.id)
        while block.find_backup(b.id):
            time.sleep(1)


def raksha(program, options):
    home = tempfile.mkdtemp()
    open(f"{home}/key", "wb").write(os.urandom(32))
    target = f"{home}/target"
    env = dict(os.environ, HOME=home, RAKSHA_TARGET=target, RAKSHA_KEY_FILE=f"{home}/key", RAKSHA_CLOUD=f"openstack:raksha-demo{options}")

    def call(*words):
        return subprocess.run([program, *words], env=env, check=True, stdout=subprocess.PIPE, text=True).stdout

    def children():
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    call("init")
    job = call("job", "create", "beside", "--server", "case2").strip()
    runs = []

    def backup():
        runs.append(json.loads(call("job", "run", job, "--json", "--quiet"))["run"])

    def restore():
        # As cinder-backup does: the volumes alone, beside the live ones.
        call("restore", runs[-1], "--only", "disks", "--quiet", *renamed)

    renamed = []
    names = {v.id: v.name for v in block.volumes()}
    for v in volumes:
        renamed += ["--rename", f"volume:{v}=beside-{names[v]}"]
    for step, work in (("full", backup), ("incremental", backup), ("restore", restore)):
        if step == "incremental":
            let_the_guest_write()
        cpu, stored, began = children(), size(target), time.time()
        work()
        yield step, time.time() - began, children() - cpu, size(target) - stored
    for v in block.volumes():
        if v.name.startswith("beside-"):
            block.delete_volume(v.id)
    for s in block.snapshots():
        if s.name.startswith("raksha-"):
            block.delete_snapshot(s.id)
    shutil.rmtree(home)


program, roads = sys.argv[1], sys.argv[2:] or ["", "?ceph_user=openstack"]
contenders = [("cinder-backup", cinder())] + [
    (f"raksha{f' {road}' if road else ', plain tenant'}", raksha(program, road)) for road in roads]
print(f"{'':40} {'step':12} {'seconds':>8} {'CPU s':>8} {'MiB stored':>11}")
for name, steps in contenders:
    for step, seconds, cpu, stored in steps:
        print(f"{name:40} {step:12} {seconds:8.1f} {cpu:8.1f} {stored / 2**20:11.1f}", flush=True)

#!/bin/bash
# Brings up every service that tests need, several at a time, and the buckets that they work in. Idempotent; what was up stays up. The *-down.sh scripts beside it stop single services.
#   services-up.sh [NAME...]     ceph rgw openstack swift s3 postgres (default: all)
HERE=$(dirname "$(readlink -f "$0")")
. "$HERE/lab-lib.sh"
cd /      # daemons keep the working directory
exec 8>"$LAB/services.lock"
flock 8

bucket() { # ENDPOINT ACCESS_KEY SECRET_KEY NAME
    AWS_ACCESS_KEY_ID=$2 AWS_SECRET_ACCESS_KEY=$3 "$LAB/s3-venv/bin/python" - "$1" "$4" <<'PY'
import boto3, sys
s3 = boto3.client("s3", endpoint_url=sys.argv[1], region_name="us-east-1")
if sys.argv[2] not in [b["Name"] for b in s3.list_buckets()["Buckets"]]:
    s3.create_bucket(Bucket=sys.argv[2])
PY
}

up() { # NAME : its own output goes to a log, what failed is told
    "$HERE/$1-up.sh" >"$LAB/log/$1-up.out" 2>&1 8>&- || { cat "$LAB/log/$1-up.out" >&2; die "$1 did not come up"; }
    say "$1 is up"
}

wanted=" ${*:-ceph rgw openstack swift s3 postgres} "
wants() { [[ $wanted == *" $1 "* ]]; }

# Package lists older than a day (or none, on a fresh machine) lead to packages that are gone.
if [ -z "$(find /var/lib/apt/lists -name '*Packages*' -mtime -1 -print -quit)" ]; then
    apt-get -o DPkg::Lock::Timeout=900 -q update >>"$LAB/log/apt.log" 2>&1 || die "apt-get update failed, see $LAB/log/apt.log"
fi

jobs=()
background() { "$@" & jobs+=($!); }
wants s3 && background up s3
wants postgres && background up postgres
{ wants ceph || wants rgw || wants openstack; } && up ceph
wants rgw && background up rgw
wants openstack && up openstack
# After Keystone, whose tokens it takes where there is one.
wants swift && up swift
for job in "${jobs[@]}"; do wait "$job" || failed=1; done
[ -z "${failed:-}" ] || die "not every service came up"

if wants s3; then
    . "$LAB/S3_READY"
    bucket "$S3_ENDPOINT" "$S3_ACCESS_KEY" "$S3_SECRET_KEY" raksha-tests
fi
if wants rgw; then
    [ -e "$LAB/s3-venv/ok" ] || up s3       # its python has the client
    . "$LAB/RGW_READY"
    bucket "$RGW_S3_ENDPOINT" "$RGW_S3_ACCESS_KEY" "$RGW_S3_SECRET_KEY" raksha-tests
    bucket "$RGW_S3_ENDPOINT" "$RGW_FULL_ACCESS_KEY" "$RGW_FULL_SECRET_KEY" raksha-tests-full
fi
say "services are up:$wanted"

#!/bin/bash
# Validates every target that the lab has up, and a directory, and says what it found:
# the Rust test `named_in_the_environment` of raksha-targets, once a target.
#   conformance.sh [NAME...]     directory memory s3 rgw-s3 swift rgw-swift (default: all that are up)
HERE=$(dirname "$(readlink -f "$0")")
PATH_WAS=$PATH
. "$HERE/lab-lib.sh"
cd "$HERE/../.."

validate() { # NAME ADDRESS
    say "$1"
    PATH=$PATH_WAS RAKSHA_TARGETS=$2 cargo test -q -p raksha-targets --all-features \
        --test conformance named_in_the_environment -- --nocapture || failed+=" $1"
}

# A bucket that is empty when it is new; AWS_* are set.
bucket() { # ENDPOINT NAME
    "$LAB/s3-venv/bin/python" - "$1" "$2" <<'PY'
import boto3, sys
s3 = boto3.client("s3", endpoint_url=sys.argv[1], region_name="us-east-1")
if sys.argv[2] not in [b["Name"] for b in s3.list_buckets()["Buckets"]]:
    s3.create_bucket(Bucket=sys.argv[2])
PY
}

failed=
for name in "${@:-directory memory s3 rgw-s3 swift rgw-swift}"; do for name in $name; do (
    case $name in
    directory)
        dir=$(mktemp -d) && trap 'rm -rf "$dir"' EXIT
        validate directory "$dir/target" ;;
    memory)
        validate memory memory: ;;
    s3)
        [ -e "$LAB/S3_READY" ] || exit 0
        . "$LAB/S3_READY"
        export AWS_ACCESS_KEY_ID=$S3_ACCESS_KEY AWS_SECRET_ACCESS_KEY=$S3_SECRET_KEY
        bucket "$S3_ENDPOINT" conformance
        validate s3 "s3://conformance/some/prefix?endpoint=$S3_ENDPOINT&allow_http=true&region=$S3_REGION" ;;
    rgw-s3)
        [ -e "$LAB/RGW_READY" ] || exit 0
        . "$LAB/RGW_READY"
        export AWS_ACCESS_KEY_ID=$RGW_S3_ACCESS_KEY AWS_SECRET_ACCESS_KEY=$RGW_S3_SECRET_KEY
        bucket "$RGW_S3_ENDPOINT" conformance
        validate rgw-s3 "s3://conformance/some/prefix?endpoint=$RGW_S3_ENDPOINT&allow_http=true&region=$RGW_S3_REGION" ;;
    swift)
        [ -e "$LAB/SWIFT_READY" ] || exit 0
        . "$LAB/SWIFT_READY"
        export ST_USER=$SWIFT_USER ST_KEY=$SWIFT_KEY
        validate swift "swift://conformance/some/prefix?auth=$SWIFT_AUTH&allow_http=true" ;;
    rgw-swift)
        [ -e "$LAB/RGW_READY" ] || exit 0
        . "$LAB/RGW_READY"
        export ST_USER=$RGW_SWIFT_USER ST_KEY=$RGW_SWIFT_KEY
        validate rgw-swift "swift://conformance-swift/some/prefix?auth=$RGW_SWIFT_AUTH&allow_http=true" ;;
    *) die "no target is called $name" ;;
    esac
    [ -z "$failed" ]
) || failed+=" $name"; done; done
[ -z "$failed" ] || die "not as declared:$failed"

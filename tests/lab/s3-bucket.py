#!/usr/bin/env python3
"""Makes and drops buckets of the RADOS Gateway in which not everybody may do everything.

usage: s3-bucket.py make BUCKET [--lock]     (needs boto3 and the file RGW_READY of the lab)
       s3-bucket.py attack BUCKET            the owner tries to delete every version; prints how many are gone and how many are left
       s3-bucket.py drop BUCKET              with all that is in it, locked or not

The user raksha owns it and may do everything; the user raksha-full may list, read and create there, and not delete. What raksha-full makes belongs
to raksha-full, so it is the policy that lets the owner read it.
"""
import json, os, sys
import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

lab = os.environ.get("RAKSHA_LAB", "/var/lib/raksha-lab")
ready = dict(line.strip().split("=", 1) for line in open(f"{lab}/RGW_READY"))
s3 = boto3.client(
    "s3", endpoint_url=ready["RGW_S3_ENDPOINT"], region_name=ready["RGW_S3_REGION"],
    aws_access_key_id=ready["RGW_S3_ACCESS_KEY"], aws_secret_access_key=ready["RGW_S3_SECRET_KEY"],
    config=Config(s3={"addressing_style": "path"}, request_checksum_calculation="when_required",
                  response_checksum_validation="when_required"))


def versions(bucket):
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
        yield from ((v, False) for v in page.get("Versions", []))
        yield from ((m, True) for m in page.get("DeleteMarkers", []))


def make(bucket, lock):
    s3.create_bucket(Bucket=bucket, **({"ObjectLockEnabledForBucket": True} if lock else {}))
    allow = lambda user, actions: {
        "Effect": "Allow", "Principal": {"AWS": [f"arn:aws:iam:::user/{user}"]}, "Action": actions,
        "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]}
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [
        allow("raksha", ["s3:*"]),
        allow("raksha-full", ["s3:ListBucket", "s3:GetObject", "s3:PutObject"])]}))


def attack(bucket):
    gone = left = 0
    for version, marker in list(versions(bucket)):
        if marker:
            continue
        try:
            s3.delete_object(Bucket=bucket, Key=version["Key"], VersionId=version["VersionId"])
            gone += 1
        except ClientError as e:
            assert e.response["Error"]["Code"] == "AccessDenied", e
            left += 1
    print(gone, left)


def drop(bucket):
    for version, _ in list(versions(bucket)):
        s3.delete_object(Bucket=bucket, Key=version["Key"], VersionId=version["VersionId"],
                         BypassGovernanceRetention=True)
    s3.delete_bucket(Bucket=bucket)


match sys.argv[1:]:
    case ["make", bucket, *lock]:
        make(bucket, lock == ["--lock"])
    case ["attack", bucket]:
        attack(bucket)
    case ["drop", bucket]:
        drop(bucket)
    case _:
        sys.exit(__doc__)

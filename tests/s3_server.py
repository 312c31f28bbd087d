"""An S3 server on loopback that checks signatures, with one account."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import boto3
import pytest
import requests
from moto.server import ThreadedMotoServer

POLICY = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}],
}


@dataclass(frozen=True)
class Account:
    endpoint: str
    bucket: str
    key_id: str
    secret: str


@contextmanager
def s3_server() -> Iterator[Account]:
    """Started, with a bucket; nothing of this machine's own AWS settings is seen while it runs."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    with pytest.MonkeyPatch.context() as patch:
        for name in [n for n in os.environ if n.startswith("AWS_") or n.lower().endswith("_proxy")]:
            patch.delenv(name)
        for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
            patch.setenv(name, "/nonexistent")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        server.start()
        try:
            yield open_account("http://{}:{}".format(*server.get_host_and_port()))
        finally:
            server.stop()


def open_account(endpoint: str) -> Account:
    def client(service: str):
        anyone = {"aws_access_key_id": "anyone", "aws_secret_access_key": "anything"}
        return boto3.client(service, endpoint_url=endpoint, region_name="us-east-1", **anyone)

    iam = client("iam")
    iam.create_user(UserName="tester")
    iam.put_user_policy(UserName="tester", PolicyName="all", PolicyDocument=json.dumps(POLICY))
    key = iam.create_access_key(UserName="tester")["AccessKey"]
    client("s3").create_bucket(Bucket="shared")
    # from now on requests are authenticated
    requests.post(f"{endpoint}/moto-api/reset-auth", data="0", timeout=10).raise_for_status()
    return Account(endpoint, "shared", key["AccessKeyId"], key["SecretAccessKey"])

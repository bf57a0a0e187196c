"""Object stores as processes of their own, and addresses that anybody may PUT to."""

import datetime
import hashlib
import hmac
import json
import shutil
import urllib.parse

from . import places
from .process import Process, answers, free_ports, run

AMZ_TIME = "%Y%m%dT%H%M%SZ"


class Store:
    def client_env(self):
        """For other tools."""
        return {
            "PATH": f"{places.VENV}:/usr/bin:/bin",
            "HOME": str(self.directory),
            "AWS_ACCESS_KEY_ID": places.ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": places.SECRET_KEY,
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "S3_ENDPOINT_URL": self.endpoint,
            "RCLONE_CONFIG_S3_TYPE": "s3",
            "RCLONE_CONFIG_S3_PROVIDER": "Other",
            "RCLONE_CONFIG_S3_ACCESS_KEY_ID": places.ACCESS_KEY,
            "RCLONE_CONFIG_S3_SECRET_ACCESS_KEY": places.SECRET_KEY,
            "RCLONE_CONFIG_S3_ENDPOINT": self.endpoint,
            "RCLONE_CONFIG_S3_REGION": "us-east-1",
            "RCLONE_CONFIG_S3_FORCE_PATH_STYLE": "true",
            "RCLONE_CONFIG_S3_NO_CHECK_BUCKET": "true",
        }

    def put_address(self, key):
        return presigned(self.endpoint, "PUT", f"/{places.BUCKET}/{key}")

    def stop(self):
        self.process.kill()
        shutil.rmtree(self.directory, ignore_errors=True)


class S3sFs(Store):
    """The embedded store of `catchment dev` and the tests."""

    name = "s3s-fs"

    def __init__(self, directory):
        self.directory = directory / "s3s-fs"
        shutil.rmtree(self.directory, ignore_errors=True) # of a round that failed
        self.objects = self.directory / "objects"
        command = [places.TOOL, "s3", "--dir", self.objects, "--bucket", places.BUCKET]
        command += ["--access-key", places.ACCESS_KEY, "--secret-key", places.SECRET_KEY]
        self.process = Process("s3s-fs", command, self.directory / "log", tells=True)
        self.endpoint = self.process.told["endpoint"].rstrip("/")


class SeaweedFs(Store):
    """An object store that is not ours."""

    name = "SeaweedFS"

    def __init__(self, directory):
        self.directory = directory / "seaweedfs"
        shutil.rmtree(self.directory, ignore_errors=True)
        data = self.directory / "data"
        data.mkdir(parents=True)
        config = self.directory / "s3.json"
        credentials = [{"accessKey": places.ACCESS_KEY, "secretKey": places.SECRET_KEY}]
        identity = {"name": "bench", "credentials": credentials, "actions": ["Admin", "Read", "List", "Tagging", "Write"]}
        config.write_text(json.dumps({"identities": [identity]}))
        names = [f"{part}.port{kind}" for part in ("s3", "master", "volume", "filer") for kind in ("", ".grpc")]
        ports = dict(zip(names, free_ports(8)))
        command = [places.VENV / "weed", "-logtostderr=true", "server", "-ip", "127.0.0.1", "-ip.bind", "127.0.0.1"]
        command += ["-filer", "-s3", "-volume.max=200", "-master.volumeSizeLimitMB=1024", "-master.telemetry=false"]
        command += ["-s3.port.iceberg=0", "-s3.port.lance=0", "-volume.preStopSeconds=0"]
        command += [f"-dir={data}", f"-s3.config={config}", *(f"-{name}={port}" for name, port in ports.items())]
        self.process = Process("SeaweedFS", command, self.directory / "log", cwd=self.directory)
        self.endpoint = f"http://127.0.0.1:{ports['s3.port']}"
        answers(ports["s3.port"], "/healthz", self.process, pause=0.1)
        self._make_bucket()

    def _make_bucket(self):
        address = presigned(self.endpoint, "PUT", f"/{places.BUCKET}")
        run(["curl", "-fsS", "--retry", "20", "--retry-delay", "1", "--retry-all-errors", "-X", "PUT", address])


STORES = {"s3s-fs": S3sFs, "SeaweedFS": SeaweedFs}


def presigned(endpoint, method, path):
    """Signature version 4 in the query, good for an hour."""
    now = datetime.datetime.now(datetime.timezone.utc).strftime(AMZ_TIME)
    scope = f"{now[:8]}/us-east-1/s3/aws4_request"
    query = {
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"{places.ACCESS_KEY}/{scope}",
        "X-Amz-Date": now,
        "X-Amz-Expires": "3600",
        "X-Amz-SignedHeaders": "host",
    }
    text = urllib.parse.urlencode(sorted(query.items()), quote_via=urllib.parse.quote, safe="-_.~")
    host = endpoint.removeprefix("http://")
    request = f"{method}\n{urllib.parse.quote(path)}\n{text}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD"
    to_sign = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    key = f"AWS4{places.SECRET_KEY}".encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
    return f"{endpoint}{urllib.parse.quote(path)}?{text}&X-Amz-Signature={signature}"

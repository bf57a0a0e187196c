"""The service under measurement, and the provider it talks to."""

import base64
import hashlib
import hmac
import http.client
import json
import os
import time

from . import places
from .process import Process, answers, free_ports, run

CALLBACK_KEY = bytes(range(32))
LOST = ("asset.failed", "asset.expired", "task.rejected", "task.failed", "task.timed_out")


def token(task_uuid):
    """The secret in a callback address, as the service makes it."""
    raw = bytes.fromhex(task_uuid.replace("-", ""))
    key_id = hashlib.sha256(CALLBACK_KEY).digest()[:1]
    tag = hmac.new(CALLBACK_KEY, b"cb.v1\0" + key_id + raw, hashlib.sha256).digest()[:16]
    return base64.urlsafe_b64encode(key_id + raw + tag).rstrip(b"=").decode()


class Service:
    """`catchment serve`, or the same without the database (`forgetful`)."""

    def __init__(self, directory, provider, store=None, settings=None, forgetful=False, port=None):
        self.directory = directory
        self.port = port or free_ports(1)[0]
        self.forgetful = forgetful
        self.process = None
        self.key = None
        directory.mkdir(parents=True, exist_ok=True)
        data = directory / "data"
        data.mkdir(mode=0o700, exist_ok=True)
        (data / "callback.keys").write_bytes(base64.b64encode(CALLBACK_KEY) + b"\n")
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(directory),
            "AWS_ACCESS_KEY_ID": places.ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": places.SECRET_KEY,
            "CATCHMENT_SERVER__LISTEN": f"127.0.0.1:{self.port}",
            "CATCHMENT_SERVER__PUBLIC_URL": f"http://127.0.0.1:{self.port}",
            "CATCHMENT_RUNWARE__BASE_URL": provider,
            "CATCHMENT_RUNWARE__API_KEY": "bench",
            "CATCHMENT_S3__BUCKET": places.BUCKET,
            "CATCHMENT_S3__REGION": "us-east-1",
            # Without a store nothing is copied; then its trouble must not disturb either.
            "CATCHMENT_S3__ENDPOINT": store.endpoint if store else "http://127.0.0.1:9",
            "CATCHMENT_S3__FORCE_PATH_STYLE": "true",
            "CATCHMENT_ARCHIVE__ALLOWED_HOSTS": "127.0.0.1",
            "CATCHMENT_NET__ALLOW_PRIVATE": "127.0.0.0/8",
            "CATCHMENT_LOG__LEVEL": "warn",
            **(settings or {}),
        }

    @property
    def database(self):
        return self.directory / "data" / "catchment.db"

    def command(self, *words):
        return run([places.CATCHMENT, *words], env=self.env, cwd=self.directory)

    def start(self):
        """Returns the seconds until it was ready."""
        command = [places.TOOL, "forgetful"] if self.forgetful else [places.CATCHMENT, "serve"]
        self.process = Process("catchment", command, self.directory / "log", env=self.env, cwd=self.directory)
        return answers(self.port, "/readyz", self.process, within=120, pause=0.001)

    def stop(self):
        self.process.stop()

    def make_key(self):
        self.key = json.loads(self.command("keys", "create", "bench", "--json"))["key"]

    def ask(self, method, path, body=None, within=60):
        if self.key is None:
            self.make_key()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=within)
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path} answered {answer.status}: {text[:500]!r}")
        return json.loads(text) if text else None

    def submit(self, count, size, render="3s", faults=()):
        """Tasks of the simulator's, each with one video of `size` bytes; their ids."""
        ids, switches = [], ", ".join([f"video-size={size}", f"render={render}", *faults])
        while len(ids) < count:
            tasks = [
                {
                    "taskType": "videoInference",
                    "model": "klingai:avatar@2.0-pro",
                    "inputs": {"image": "https://cdn.example.com/a.png", "audio": "https://cdn.example.com/a.mp3"},
                    "positivePrompt": f"A presenter [sim: {switches}]",
                }
                for _ in range(min(100, count - len(ids)))
            ]
            ids += [entry["taskUUID"] for entry in self.ask("POST", "/v1/tasks", tasks)["data"]]
        return ids

    def events(self, after, kinds, wait="5s"):
        types = "&".join(f"type={kind}" for kind in kinds)
        return self.ask("GET", f"/v1/events?after={after}&limit=1000&wait={wait}&{types}")

    def archived(self, count, after=0, within=600):
        """Waits for so many archived files; their `asset.discovered` and `asset.archived` events."""
        discovered, archived, until = [], [], time.monotonic() + within
        while len(archived) < count:
            page = self.events(after, ["asset.discovered", "asset.archived", *LOST])
            after = page["nextAfter"]
            for event in page["data"]:
                if event["type"] in LOST:
                    raise RuntimeError(f"a file was lost: {event}")
                (archived if event["type"] == "asset.archived" else discovered).append(event)
            if time.monotonic() > until:
                raise RuntimeError(f"{len(archived)} of {count} archived in time: {self.process.errors()}")
        return discovered, archived


class Simulator:
    """The provider's stand-in and its CDN, as a process of its own."""

    def __init__(self, directory):
        command = [places.CATCHMENT, "simulate", "--listen", "127.0.0.1:0"]
        self.process = Process("simulator", command, directory / "simulator.log", tells=True)
        self.api, self.cdn = self.process.told["api"], self.process.told["cdn"]

    def ask(self, path, body=None, within=120):
        connection = http.client.HTTPConnection(self.cdn.removeprefix("http://"), timeout=within)
        headers = {"Authorization": "Bearer bench", "Content-Type": "application/json"}
        connection.request("POST" if body is not None else "GET", path, body and json.dumps(body), headers)
        answer = connection.getresponse()
        text = json.loads(answer.read())
        connection.close()
        return text

    def render(self, count, size):
        """Files of so many bytes; their links, for tools that copy a link."""
        ids = [f"{n:08x}-{os.getpid() & 0xFFFF:04x}-4000-8000-{time.time_ns() & 0xFFFFFFFFFFFF:012x}" for n in range(count)]
        task = {
            "taskType": "videoInference",
            "model": "klingai:avatar@2.0-pro",
            "deliveryMethod": "async",
            "inputs": {"image": "https://cdn.example.com/a.png", "audio": "https://cdn.example.com/a.mp3"},
            "positivePrompt": f"A presenter [sim: video-size={size}, render=1ms]",
        }
        for start in range(0, count, 20):
            answer = self.ask("/v1", [{**task, "taskUUID": uuid} for uuid in ids[start : start + 20]])
            if answer.get("errors"):
                raise RuntimeError(f"the simulator refused: {answer['errors'][0]}")
        time.sleep(0.2)
        links = []
        for start in range(0, count, 20):
            ask = [{"taskType": "getResponse", "taskUUID": uuid} for uuid in ids[start : start + 20]]
            links += [item["videoURL"] for item in self.ask("/v1", ask)["data"]]
        return links

    def stop(self):
        self.process.kill()


class BusyProvider:
    """A provider that answers every question with "processing" after 150 ms, as a far one would: what callbacks ask
    for is asked, at the pace that a real provider allows."""

    def __init__(self, directory):
        script = places.ROOT / "benches" / "driver" / "provider.py"
        self.process = Process("provider", ["python3", script], directory / "provider.log", tells=True)
        self.api = self.process.told["api"]

    def stop(self):
        self.process.kill()

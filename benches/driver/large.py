"""Many large files at once through the real binary, on facts: every file archived once with its source's bytes, memory
bounded whatever the size, every callback taken meanwhile."""

import hashlib
import os
import threading
import time
import urllib.request
from typing import NamedTuple

from . import acks, places
from .copies import Stage, stores
from .service import token
from .stores import S3sFs, SeaweedFs, presigned

PEAK_MIB = 96
CALLBACKS = 200 # a second


class DoesNotHold(Exception):
    """A fact that was counted on."""


class Files(NamedTuple):
    """So many of so many MiB, and how many copies there may be at once."""

    store: type
    count: int
    mib: int
    at_once: int
    # The source does not say how long they are. Then they go up in parts, as many files at a time as
    # `archive.unsized_concurrency` says (two, unless set), with one part of each in memory; the others wait.
    unsized: bool = False

    def __str__(self):
        length = " without a length" if self.unsized else ""
        return f"{self.count} × {self.mib} MiB{length}, {self.at_once} at once, on {self.store.name}"


SETS = [
    Files(S3sFs, 16, 200, 16),
    Files(S3sFs, 64, 200, 64),
    Files(S3sFs, 200, 5, 16),
    Files(S3sFs, 1, 2048, 1),
    Files(S3sFs, 16, 100, 16, unsized=True),
    Files(SeaweedFs, 16, 200, 16),
    Files(SeaweedFs, 16, 100, 16, unsized=True),
]


def many_large_files(report):
    only = [int(n) for n in os.environ.get("LARGE_ONLY", "").split(",") if n]
    can = [start for _, start in stores(report, "large")]
    hold(S3sFs in can, "the embedded store starts")
    for files in [SETS[n] for n in only] or SETS:
        if files.store in can: # otherwise the report names it already
            peak = peak_of(files)
            what = f"peak memory, {files}, beside {CALLBACKS} callbacks a second"
            report.add("large", what, [peak], unit="MiB", at_most=PEAK_MIB)
            hold(peak <= PEAK_MIB, f"memory stays below {PEAK_MIB} MiB: {peak:.2f}")


def peak_of(files):
    """MiB, once every other fact has held."""
    count, size = files.count, files.mib * places.MIB
    stage = Stage(files.store, {"CATCHMENT_ARCHIVE__CONCURRENCY": str(files.at_once)})
    callbacks = Callbacks(stage.service)
    callbacks.start()
    began = time.monotonic()
    stage.service.submit(count, size, faults=["no-length"] if files.unsized else [])
    _, archived = stage.service.archived(count, within=1800)
    seconds = time.monotonic() - began
    taken = callbacks.stop()
    peak = stage.service.process.status("VmHWM") / 1024
    print(f"    {files}: {count * size / seconds / 1e6:.0f} MB/s, {taken} callbacks taken meanwhile", flush=True)
    hold(len(archived) == count, "one asset.archived for each file")
    check_bytes(stage, archived, count, size)
    stage.stop()
    return peak


def check_bytes(stage, archived, count, size):
    """I5: what lies in the bucket is what the provider made, to the byte."""
    made = {g["taskUUID"]: g for g in stage.simulator.ask("/sim/v1/generations", within=900)}
    hold(len(made) == count and all(g["accepted"] == 1 for g in made.values()), "nothing was paid twice")
    for event in archived:
        data = event["data"]
        truth, = [r for r in made[data["taskUUID"]]["results"] if r["id"] == data["resultId"]]
        stored, length = hashed(presigned(stage.store.endpoint, "GET", f"/{places.BUCKET}/{data['key']}"))
        hold(length == size == truth["size"] == data["size"], f"I5: size of {data['key']}")
        hold(stored == truth["sha256"] == data["sha256"], f"I5: SHA-256 of {data['key']}")
        hold(truth["downloads"] == 1, f"read once from its source: {data['key']}")


def hashed(address):
    digest, length = hashlib.sha256(), 0
    with urllib.request.urlopen(address, timeout=60) as body:
        while chunk := body.read(1 << 20):
            digest.update(chunk)
            length += len(chunk)
    return digest.hexdigest(), length


class Callbacks(threading.Thread):
    """A steady stream of callbacks for tasks the provider does not know: each must get its 2xx."""

    def __init__(self, service):
        super().__init__(daemon=True)
        self.service, self.taken, self.fault, self.ends = service, 0, None, threading.Event()
        self.tokens = places.SCRATCH / "tokens"

    def run(self):
        ids = [f"0c0ffee0-0000-4000-9000-{n:012x}" for n in range(64)]
        self.tokens.write_text("".join(token(uuid) + "\n" for uuid in ids))
        try:
            while not self.ends.is_set():
                seen = acks.load(self.service.port, self.tokens, connections=16, rate=CALLBACKS, seconds=2)
                self.taken += seen["ok"]
        except RuntimeError as why:
            self.fault = why

    def stop(self):
        self.ends.set()
        self.join()
        hold(self.fault is None, f"every callback is taken: {self.fault}")
        hold(self.taken > 0, "callbacks were sent")
        return self.taken


def hold(fact, what):
    if not fact:
        raise DoesNotHold(what)

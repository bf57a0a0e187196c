#!/usr/bin/env python3
"""`make large`: many large files at once through the real binary, on facts: every file archived once with its source's
bytes, memory bounded whatever the size, every callback taken meanwhile. Fails if one does not hold."""

import hashlib
import os
import sys
import threading
import time
import urllib.request

from driver import acks, places, process
from driver.copies import Stage
from driver.stores import S3sFs, presigned

PEAK_MIB = 96
# Files, MiB each, at once.
RUNS = [(16, 200, 16), (64, 200, 64), (200, 5, 16), (1, 2048, 8)]


def main():
    only = [int(n) for n in os.environ.get("LARGE_ONLY", "").split(",") if n]
    runs = [RUNS[n] for n in only] if only else RUNS
    peaks = [one(*run) for run in runs]
    print(f"peaks, MiB: {[round(p) for p in peaks]}")


def one(count, mib, at_once):
    size = mib * places.MIB
    stage = Stage(S3sFs, {"CATCHMENT_ARCHIVE__CONCURRENCY": str(at_once)})
    callbacks = Callbacks(stage.service)
    callbacks.start()
    began = time.monotonic()
    stage.service.submit(count, size)
    _, archived = stage.service.archived(count, within=1800)
    seconds = time.monotonic() - began
    taken = callbacks.stop()
    peak = stage.service.process.status("VmHWM") / 1024
    print(f"{count} × {mib} MiB, {at_once} at once: {count * size / seconds / 1e6:.0f} MB/s, peak {peak:.0f} MiB, "
          f"{taken} callbacks taken meanwhile", flush=True)
    hold(len(archived) == count, "one asset.archived for each file")
    hold(peak <= PEAK_MIB, f"memory stays below {PEAK_MIB} MiB: {peak:.0f}")
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
    """A steady 200 callbacks a second, for tasks the provider does not know: each must get its 2xx."""

    def __init__(self, service):
        super().__init__(daemon=True)
        self.service, self.taken, self.fault, self.ends = service, 0, None, threading.Event()
        self.tokens = places.SCRATCH / "tokens"

    def run(self):
        from driver.service import token

        ids = [f"0c0ffee0-0000-4000-9000-{n:012x}" for n in range(64)]
        self.tokens.write_text("".join(token(uuid) + "\n" for uuid in ids))
        try:
            while not self.ends.is_set():
                self.taken += acks.load(self.service.port, self.tokens, connections=16, rate=200, seconds=2)["ok"]
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
        sys.exit(f"does not hold: {what}")


try:
    main()
finally:
    process.end_all()

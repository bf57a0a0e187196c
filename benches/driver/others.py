"""Deliveries, and what the service costs at rest."""

import json
import time
import urllib.request

from . import databases, places
from .acks import fresh, ratios, wait_for, waiting
from .databases import Seeded
from .process import Process, run
from .service import BusyProvider, Service
from .stores import S3sFs

ENDPOINTS = 8 # the service gives one endpoint 8 tries at a time: 64 in all
EVENTS = 12_500


def f_deliveries(report):
    """Signed and recorded deliveries a second, beside the same HTTP client in a loop that does nothing else."""
    seed = Seeded("events", events=EVENTS).make()
    provider = BusyProvider(places.SCRATCH)
    seen = {"durable": [], "bare": []}
    for number in range(places.ROUNDS):
        sink = Process("sink", [places.TOOL, "sink"], places.SCRATCH / "sink.log", tells=True)
        urls = [f"http://{sink.told['address']}/{n}" for n in range(ENDPOINTS)]
        bare = [places.TOOL, "post-loop", "--concurrency", 64, "--seconds", places.SECONDS]
        seen["bare"].append(json.loads(run([*bare, *(w for url in urls for w in ("--url", url))]))["rate"])
        service = Service(seed.copy(places.SCRATCH / "service"), provider.api)
        service.key = seed.key()
        service.start()
        before = taken(sink)
        for url in urls:
            service.ask("POST", "/v1/endpoints", {"url": url, "from": 0})
        # Deliveries are made of events in commits of their own; that is not what is measured here.
        made = lambda: waiting(service) + databases.counted(service.database, "deliveries", "delivered")
        wait_for(lambda: made() >= ENDPOINTS * EVENTS, "all deliveries made")
        first, began = taken(sink), time.monotonic()
        while time.monotonic() - began < places.SECONDS and taken(sink) - before < 0.95 * ENDPOINTS * EVENTS:
            time.sleep(0.1)
        seen["durable"].append((taken(sink) - first) / (time.monotonic() - began))
        service.process.kill()
        sink.kill()
        print(f"    round {number + 1}: {seen['durable'][-1]:,.0f}/s, bare loop {seen['bare'][-1]:,.0f}/s", flush=True)
    provider.stop()
    report.add("f", "signed durable deliveries / bare loop, 64 at once", ratios(seen["durable"], seen["bare"]), at_least=0.8, raw=seen)
    report.add("f", "signed durable deliveries", seen["durable"], unit="/s")


def taken(sink):
    with urllib.request.urlopen(f"http://{sink.told['address']}/", timeout=30) as answer:
        return json.loads(answer.read())["count"]


def g_at_rest(report):
    store, provider = S3sFs(places.SCRATCH), BusyProvider(places.SCRATCH)
    memory, ready = [], {"empty": [], "large": []}
    large = databases.Large()
    for _ in range(places.ROUNDS):
        service = Service(fresh("service"), provider.api, store)
        ready["empty"].append(service.start() * 1000) # makes its database, too
        time.sleep(3)
        memory.append(service.process.status("VmRSS") / 1024)
        service.stop()
    if large.tokens.exists() or not places.ONLY or "i" in places.ONLY:
        large.make()
        for _ in range(places.ROUNDS):
            service = Service(large.directory, provider.api, store)
            ready["large"].append(service.start())
            service.stop()
    provider.stop()
    store.stop()
    report.add("g", "idle memory", memory, unit="MiB", at_most=20)
    report.add("g", "ready on an empty database, making it", ready["empty"], unit="ms", at_most=100)
    if ready["large"]:
        report.add("g", f"ready with {places.TASKS:,} tasks", ready["large"], unit="s", at_most=2)
    else:
        report.absent("g: ready on the large database", "it was not made; run section i once")

"""Deliveries, and what the service costs at rest."""

import json
import time
import urllib.request
from functools import partial

from . import databases, places
from .acks import fresh, wait_for, waiting
from .databases import Seeded
from .process import Process, run
from .rounds import Rounds
from .service import BusyProvider, Service
from .stores import S3sFs

ENDPOINTS = 8 # the service gives one endpoint 8 tries at a time: 64 in all
EVENTS = 12_500


def f_deliveries(report):
    """Signed and recorded deliveries a second, beside the same HTTP client in a loop that does nothing else."""
    seed = Seeded("events", events=EVENTS).make()
    provider = BusyProvider(places.SCRATCH)
    rounds = Rounds()
    for number in range(rounds.count):
        rounds.measure(number, {"bare loop": bare_loop, "durable": partial(delivered, seed, provider)})
    provider.stop()
    rounds.tell(report, "f")
    what = "signed durable deliveries / bare loop, 64 at once"
    rounds.compare(report, "f", what, "rate", "durable", "bare loop", at_least=0.8)
    report.add("f", "signed durable deliveries", rounds.of("durable", "rate"), unit="/s")


def bare_loop():
    sink, urls = consumer()
    command = [places.TOOL, "post-loop", "--concurrency", 64, "--seconds", places.SECONDS]
    seen = json.loads(run([*command, *(w for url in urls for w in ("--url", url))]))
    sink.kill()
    return {"rate": seen["rate"]}


def delivered(seed, provider):
    sink, urls = consumer()
    service = Service(seed.copy(places.SCRATCH / "service"), provider.api)
    service.key = seed.key()
    service.start()
    for url in urls:
        service.ask("POST", "/v1/endpoints", {"url": url, "from": 0})
    # Deliveries are made of events in commits of their own; that is not what is measured here.
    made = lambda: waiting(service) + databases.counted(service.database, "deliveries", "delivered")
    wait_for(lambda: made() >= ENDPOINTS * EVENTS, "all deliveries made")
    first, began = taken(sink), time.monotonic()
    while time.monotonic() - began < places.SECONDS and taken(sink) < 0.95 * ENDPOINTS * EVENTS:
        time.sleep(0.1)
    rate = (taken(sink) - first) / (time.monotonic() - began)
    service.process.kill()
    sink.kill()
    return {"rate": rate}


def consumer():
    sink = Process("sink", [places.TOOL, "sink"], places.SCRATCH / "sink.log", tells=True)
    return sink, [f"http://{sink.told['address']}/{n}" for n in range(ENDPOINTS)]


def taken(sink):
    with urllib.request.urlopen(f"http://{sink.told['address']}/", timeout=30) as answer:
        return json.loads(answer.read())["count"]


def g_at_rest(report):
    store, provider = S3sFs(places.SCRATCH), BusyProvider(places.SCRATCH)
    large = databases.Large()
    rounds = Rounds()
    for number in range(rounds.count):
        rounds.measure(number, {"empty": partial(at_rest, provider, store)})
    if large.tokens.exists() or not places.ONLY or "i" in places.ONLY:
        large.make()
        for number in range(rounds.count):
            rounds.measure(
                number,
                {
                    "large, cached": partial(ready, large.warm, large.directory, provider, store),
                    "large, not cached": partial(ready, large.chill, large.directory, provider, store),
                },
            )
    provider.stop()
    store.stop()
    rounds.tell(report, "g")
    report.add("g", "idle memory", rounds.of("empty", "MiB"), unit="MiB", at_most=20)
    report.add("g", "ready on an empty database, making it", rounds.of("empty", "readyMs"), unit="ms", at_most=100)
    if large.tokens.exists():
        for side, where in (("large, cached", "in"), ("large, not cached", "not in")):
            what = f"ready with {places.TASKS:,} tasks, file {where} the page cache"
            report.add("g", what, rounds.of(side, "readyS"), unit="s", at_most=2)
    else:
        report.absent("g: ready on the large database", "it was not made; run section i once")


def at_rest(provider, store):
    service = Service(fresh("service"), provider.api, store)
    seconds = service.start() # makes its database, too
    time.sleep(3)
    memory = service.process.status("VmRSS") / 1024
    service.stop()
    return {"MiB": memory, "readyMs": seconds * 1000}


def ready(prepare, directory, provider, store):
    prepare()
    service = Service(directory, provider.api, store)
    seconds = service.start()
    service.stop()
    return {"readyS": seconds}

"""Callbacks: what it costs to store them before they are answered."""

import json
import os
import shutil
import time
from functools import partial

from . import databases, places
from .databases import Seeded
from .process import Process, answers, free_ports, run
from .rounds import Rounds
from .service import CALLBACK_KEY, BusyProvider, Service, Simulator
from .stores import S3sFs

ROOM_FOR_COPIES = 8 << 30 # bytes: all that 16 copies may store
PACED = 500  # callbacks a second where latency is looked at: far below what the machine can do
CONNECTIONS = (64, 256)
PENDING_EVENTS = 12_500 # of each endpoint


def load(port, tokens, connections=64, rate=0, seconds=None, skip=0):
    command = [places.TOOL, "load", "--address", f"127.0.0.1:{port}", "--tokens", tokens, "--skip", skip]
    command += ["--connections", connections, "--rate", rate, "--seconds", seconds or places.SECONDS]
    seen = json.loads(run(command, within=120))
    if seen["errors"] or seen["refused"]:
        raise RuntimeError(f"callbacks were not all answered 2xx: {seen}")
    if not seen["ok"]:
        raise RuntimeError("not one callback was answered in time")
    return seen


def a_b_against_no_database_and_peers(report):
    """(a) and (b) in the same rounds: every kind of receiver once a round, one after the other."""
    seed = Seeded("open").make()
    provider = BusyProvider(places.SCRATCH)
    receivers = {"without database": forgetful, "durable": durable, "Express": express, "FastAPI": fastapi}
    sides = {
        at(name, connections): partial(closed_loop, start, connections, seed, provider)
        for connections in CONNECTIONS for name, start in receivers.items()
    }
    rounds = Rounds()
    for number in range(rounds.count):
        rounds.measure(number, sides)
    provider.stop()
    rounds.tell(report, "a, b", rivals=[at(name, n) for name in ("Express", "FastAPI") for n in CONNECTIONS])
    for connections, goal in zip(CONNECTIONS, (0.5, 0.7)):
        what = f"durable acks / same handler without database, {connections} connections"
        pair = at("durable", connections), at("without database", connections)
        rounds.compare(report, "a", what, "rate", *pair, at_least=goal)
    for connections in CONNECTIONS:
        report.add("a", f"durable acks, {connections} connections", rounds.of(at("durable", connections), "rate"), unit="/s")
    for name, label in (("Express", "Express + better-sqlite3"), ("FastAPI", "FastAPI + sqlite3")):
        for connections in CONNECTIONS:
            what = f"durable acks / {label}, both FULL, {connections} connections"
            pair = at("durable", connections), at(name, connections)
            rounds.compare(report, "b", what, "rate", *pair, at_least=10)


def at(name, connections):
    return f"{name}, {connections} connections"


def closed_loop(start, connections, seed, provider):
    port, stop = start(seed, provider)
    seen = load(port, seed.tokens, connections)
    stop()
    return {"rate": seen["rate"], "p99": seen["latencyMs"]["p99"]}


def forgetful(seed, provider):
    return ours(seed, provider, forgetful=True)


def durable(seed, provider):
    return ours(seed, provider)


def ours(seed, provider, **how):
    service = Service(seed.copy(places.SCRATCH / "service"), provider.api, **how)
    service.start()
    return service.port, service.stop


def express(seed, _):
    directory = fresh("express")
    shutil.copy(places.PEERS / "express" / "server.js", places.EXPRESS / "server.js")
    return peer("Express", ["node", places.EXPRESS / "server.js"], directory)


def fastapi(seed, _):
    directory = fresh("fastapi")
    port_after = ["--host", "127.0.0.1", "--no-access-log", "--log-level", "warning", "--port"]
    command = [places.VENV / "uvicorn", "app:app", "--app-dir", places.PEERS / "fastapi", *port_after]
    return peer("FastAPI", command, directory, port_last=True)


def peer(name, command, directory, port_last=False):
    port = free_ports(1)[0]
    env = {
        "PATH": os.environ["PATH"], "HOME": str(directory), "PORT": str(port), "DATABASE": str(directory / "receipts.db"),
        "CALLBACK_KEY": CALLBACK_KEY.hex(),
    }
    process = Process(name, [*command, *([port] if port_last else [])], directory / "log", env=env, cwd=directory)
    answers(port, "/livez", process)
    return port, process.stop


def fresh(name):
    directory = places.SCRATCH / name
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    return directory


def h_beside_copies(report):
    """Latency of a steady 500 callbacks a second, alone and while 16 large files are copied: with their source and store
    on the same cores and disk as everything else, and as if these were other machines."""
    seed = Seeded("open").make()
    rounds, near, far = Rounds(), "16 copies", "16 copies, source and store apart"
    sides = {"idle": partial(paced_beside, 0, seed), near: partial(paced_beside, 16, seed)}
    if shutil.disk_usage(places.MEMORY.parent).free > ROOM_FOR_COPIES:
        sides[far] = partial(paced_beside, 16, seed, apart=True)
    else:
        report.absent("h: with source and store apart", f"less than {ROOM_FOR_COPIES >> 30} GiB free in {places.MEMORY.parent}")
    for number in range(rounds.count):
        rounds.measure(number, sides)
    rounds.tell(report, "h")
    for side in sides:
        if side != "idle":
            latencies(report, "h", f"with {side} running / idle", rounds, side, "idle", at_most=2)


def paced_beside(copies, seed, apart=False):
    simulator, store = Simulator(places.SCRATCH), S3sFs(places.MEMORY if apart else places.SCRATCH)
    if apart:
        simulator.process.takes_what_is_left()
        store.process.takes_what_is_left()
    settings = {"CATCHMENT_ARCHIVE__CONCURRENCY": "16", "CATCHMENT_RUNWARE__MAX_IN_FLIGHT": "16"}
    service = Service(seed.copy(places.SCRATCH / "service"), simulator.api, store, settings)
    service.key = seed.key()
    service.start()
    os.sync() # what the side before has left for the disk to do is not this one's
    if copies:
        service.submit(copies, 400 * places.MIB, render="100ms")
        wait_for(lambda: copying(service) == copies, f"{copies} copies under way")
    seen = load(service.port, seed.tokens, rate=PACED)
    still = copying(service)
    for process in (service.process, simulator.process):
        process.kill()
    store.stop()
    if still < copies / 2:
        raise RuntimeError(f"only {still} of {copies} copies were still under way at the end")
    return {**paced(seen), "copiesAtEnd": still}


def paced(seen):
    """Latency counts from when a callback was due. How late the loader's own clock was is told beside it."""
    return {**seen["latencyMs"], "pacerLateP99": seen["pacerLateMs"]["p99"]}


def copying(service):
    page = service.ask("GET", "/v1/tasks?status=archiving&limit=100")
    return sum(asset["status"] == "archiving" for task in page["data"] for asset in task["assets"])


def wait_for(fact, what, within=120):
    until = time.monotonic() + within
    while not fact():
        if time.monotonic() > until:
            raise RuntimeError(f"never came: {what}")
        time.sleep(0.1)


def latencies(report, section, what, rounds, ours, theirs, at_most):
    for mark, goal in (("p99", at_most), ("p50", None)):
        rounds.compare(report, section, f"ack {mark} {what}", mark, ours, theirs, at_most=goal)


def i_large_database(report):
    """The same callbacks with ten million settled tasks in the database, and with none."""
    small, large = Seeded("open").make(), databases.Large()
    if not large.tokens.exists():
        print(f"    making a database of {places.TASKS:,} tasks, once", flush=True)
    large.make()
    provider = BusyProvider(places.SCRATCH)
    full, empty = f"at {places.TASKS:,}", "at 0"
    rounds = Rounds()
    for number in range(rounds.count):
        skip = number * 1000
        rounds.measure(
            number,
            {empty: partial(cost_of_acks, small, provider, skip), full: partial(cost_of_acks, large, provider, skip)},
        )
    provider.stop()
    large.clean()
    rounds.tell(report, "i")
    for figure, what in (("us", "time per ack"), ("cpuUs", "processor time per ack")):
        rounds.compare(report, "i", f"{what} {full} tasks / {empty}", figure, full, empty, at_most=1.15)


def cost_of_acks(seed, provider, skip):
    service = Service(seed.copy(places.SCRATCH / "service"), provider.api)
    service.start()
    before = service.process.cpu()
    seen = load(service.port, seed.tokens, skip=skip)
    cpu = service.process.cpu() - before
    service.stop()
    return {"us": 1e6 / seen["rate"], "cpuUs": cpu * 1e6 / (seen["rate"] * (places.SECONDS + 1))}


def j_pending_deliveries(report):
    """Latency of a steady 500 callbacks a second while 100,000 deliveries wait for consumers that take their time."""
    seed, plain = Seeded("events", events=PENDING_EVENTS).make(), Seeded("open").make()
    provider = BusyProvider(places.SCRATCH)
    rounds = Rounds()
    for number in range(rounds.count):
        rounds.measure(
            number,
            {"idle": partial(paced_pending, 0, plain, provider), "pending": partial(paced_pending, 8, seed, provider)},
        )
    provider.stop()
    rounds.tell(report, "j")
    latencies(report, "j", "while 10^5 deliveries are pending / without", rounds, "pending", "idle", at_most=None)


def paced_pending(endpoints, seed, provider):
    sink = Process("sink", [places.TOOL, "sink", "--late-ms", "200"], places.SCRATCH / "sink.log", tells=True)
    service = Service(seed.copy(places.SCRATCH / "service"), provider.api)
    service.key = seed.key()
    service.start()
    os.sync() # as in h
    for n in range(endpoints):
        service.ask("POST", "/v1/endpoints", {"url": f"http://{sink.told['address']}/{n}", "from": 0})
    if endpoints:
        wait_for(lambda: waiting(service) > 0.95 * endpoints * PENDING_EVENTS, "100,000 deliveries made")
    seen = load(service.port, seed.tokens, rate=PACED, skip=PENDING_EVENTS)
    left = waiting(service)
    service.process.kill()
    sink.kill()
    return {**paced(seen), "pendingAtEnd": left}


def waiting(service):
    return sum(databases.counted(service.database, "deliveries", status) for status in ("pending", "sending", "waiting"))

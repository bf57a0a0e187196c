"""Callbacks: what it costs to store them before they are answered."""

import json
import os
import shutil
import time

from . import databases, places
from .databases import OPEN_TASKS, Seeded
from .process import Process, answers, free_ports, run
from .service import BusyProvider, Service, Simulator
from .stores import S3sFs

PACED = 500  # callbacks a second where latency is looked at: far below what the machine can do


def load(port, tokens, connections=64, rate=0, seconds=None, skip=0):
    command = [places.TOOL, "load", "--address", f"127.0.0.1:{port}", "--tokens", tokens, "--skip", skip]
    command += ["--connections", connections, "--rate", rate, "--seconds", seconds or places.SECONDS]
    seen = json.loads(run(command, within=120))
    if seen["errors"] or seen["refused"]:
        raise RuntimeError(f"callbacks were not all answered 2xx: {seen}")
    return seen


def a_b_against_no_database_and_peers(report):
    """(a) and (b) in the same rounds: every kind of receiver once a round, one after the other."""
    seed = Seeded("open").make()
    provider = BusyProvider(places.SCRATCH)
    receivers = {"without database": forgetful, "durable": durable, "Express": express, "FastAPI": fastapi}
    rates = {}
    for number in range(places.ROUNDS):
        for name, start in receivers.items():
            for connections in (64, 256) if name in ("without database", "durable") else (64,):
                try:
                    port, stop = start(seed, provider)
                except Exception as why: # what cannot be had is named, and the others go on
                    if number == 0:
                        report.absent(f"b: {name}", why)
                    continue
                try:
                    seen = load(port, seed.tokens, connections)
                finally:
                    stop()
                rates.setdefault((name, connections), []).append(seen["rate"])
                print(f"    round {number + 1}: {name}, {connections} connections: {seen['rate']:,.0f}/s, "
                      f"p99 {seen['latencyMs']['p99']} ms", flush=True)
    provider.stop()
    for connections, goal in ((64, 0.5), (256, 0.7)):
        ours, bare = rates[("durable", connections)], rates[("without database", connections)]
        raw = {"durable": ours, "withoutDatabase": bare}
        report.add("a", f"durable acks / same handler without database, {connections} connections", ratios(ours, bare),
                   at_least=goal, raw=raw)
    report.add("a", "durable acks, 64 connections", rates[("durable", 64)], unit="/s")
    for name, label in (("Express", "Express + better-sqlite3"), ("FastAPI", "FastAPI + sqlite3")):
        if ("durable", 64) in rates and (name, 64) in rates:
            theirs = rates[(name, 64)]
            report.add("b", f"durable acks / {label}, both FULL", ratios(rates[("durable", 64)], theirs), at_least=10,
                       raw={"theirs": theirs})


def ratios(ours, theirs):
    return [a / b for a, b in zip(ours, theirs)]


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
    from .service import CALLBACK_KEY

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
    """Latency of a steady 500 callbacks a second, alone and while 16 large files are copied."""
    seed = Seeded("open").make()
    seen = {"idle": [], "copying": []}
    for number in range(places.ROUNDS):
        simulator, store = Simulator(places.SCRATCH), S3sFs(places.SCRATCH)
        settings = {"CATCHMENT_ARCHIVE__CONCURRENCY": "16", "CATCHMENT_RUNWARE__MAX_IN_FLIGHT": "16"}
        service = Service(seed.copy(places.SCRATCH / "service"), simulator.api, store, settings)
        service.key = seed.key()
        service.start()
        idle = load(service.port, seed.tokens, rate=PACED)
        service.submit(16, 400 * places.MIB, render="100ms")
        wait_for(lambda: copying(service) == 16, "16 copies under way")
        busy = load(service.port, seed.tokens, rate=PACED, skip=OPEN_TASKS // 2)
        still = copying(service)
        for process in (service.process, simulator.process):
            process.kill()
        store.stop()
        if still < 8:
            raise RuntimeError(f"only {still} of 16 copies were still under way at the end")
        seen["idle"].append(idle["latencyMs"])
        seen["copying"].append(busy["latencyMs"])
        print(f"    round {number + 1}: idle p99 {idle['latencyMs']['p99']} ms, copying {busy['latencyMs']['p99']} ms "
              f"({still} copies at the end)", flush=True)
    latencies(report, "h", "with 16 copies running / idle", seen["copying"], seen["idle"], at_most=2)


def copying(service):
    page = service.ask("GET", "/v1/tasks?status=archiving&limit=100")
    return sum(asset["status"] == "archiving" for task in page["data"] for asset in task["assets"])


def wait_for(fact, what, within=120):
    until = time.monotonic() + within
    while not fact():
        if time.monotonic() > until:
            raise RuntimeError(f"never came: {what}")
        time.sleep(0.1)


def latencies(report, section, what, ours, theirs, at_most):
    for mark, goal in (("p99", at_most), ("p50", None)):
        a, b = [l[mark] for l in ours], [l[mark] for l in theirs]
        report.add(section, f"ack {mark} {what}", ratios(a, b), at_most=goal, raw={"ms": a, "idleMs": b})


def i_large_database(report):
    """The same callbacks with ten million settled tasks in the database, and with none."""
    small, large = Seeded("open").make(), databases.Large()
    if not large.tokens.exists():
        print(f"    making a database of {places.TASKS:,} tasks, once", flush=True)
    large.make()
    provider = BusyProvider(places.SCRATCH)
    costs = {"small": [], "large": []}
    for number in range(places.ROUNDS):
        for name, seed in (("small", small), ("large", large)):
            service = Service(seed.copy(places.SCRATCH / "service"), provider.api)
            service.start()
            before = service.process.cpu()
            seen = load(service.port, seed.tokens, skip=number * 1000)
            cpu = service.process.cpu() - before
            service.stop()
            costs[name].append({"us": 1e6 / seen["rate"], "cpuUs": cpu * 1e6 / (seen["rate"] * (places.SECONDS + 1))})
        print(f"    round {number + 1}: {costs['small'][-1]} at 0, {costs['large'][-1]} at {places.TASKS:,}", flush=True)
    provider.stop()
    large.clean()
    for unit, what in (("us", "time per ack"), ("cpuUs", "processor time per ack")):
        a, b = [c[unit] for c in costs["large"]], [c[unit] for c in costs["small"]]
        report.add("i", f"{what} at {places.TASKS:,} tasks / at 0", ratios(a, b), at_most=1.15, raw={"us": a, "usAt0": b})


def j_pending_deliveries(report):
    """Latency of a steady 500 callbacks a second while 100,000 deliveries wait for consumers that take their time."""
    endpoints, events = 8, 12_500
    seed, plain = Seeded("events", events=events).make(), Seeded("open").make()
    provider = BusyProvider(places.SCRATCH)
    seen = {"pending": [], "idle": []}
    for number in range(places.ROUNDS):
        sink = Process("sink", [places.TOOL, "sink", "--late-ms", "200"], places.SCRATCH / "sink.log", tells=True)
        for name, source in (("idle", plain), ("pending", seed)):
            service = Service(source.copy(places.SCRATCH / "service"), provider.api)
            service.key = source.key()
            service.start()
            if name == "pending":
                for n in range(endpoints):
                    service.ask("POST", "/v1/endpoints", {"url": f"http://{sink.told['address']}/{n}", "from": 0})
                wait_for(lambda: waiting(service) > 0.95 * endpoints * events, "100,000 deliveries made")
            seen[name].append(load(service.port, source.tokens, rate=PACED, skip=events)["latencyMs"])
            left = waiting(service)
            service.process.kill()
        sink.kill()
        print(f"    round {number + 1}: idle p99 {seen['idle'][-1]['p99']} ms, {left:,} deliveries pending "
              f"{seen['pending'][-1]['p99']} ms", flush=True)
    provider.stop()
    latencies(report, "j", "while 10^5 deliveries are pending / without", seen["pending"], seen["idle"], at_most=None)


def waiting(service):
    return sum(databases.counted(service.database, "deliveries", status) for status in ("pending", "sending", "waiting"))

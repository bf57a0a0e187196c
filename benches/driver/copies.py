"""Copies from a link into a bucket: ours, and what people use for it otherwise."""

import resource
import time
from datetime import datetime
from functools import partial

from . import places, process
from .acks import fresh
from .process import run
from .rounds import Rounds, ratios
from .service import Service, Simulator
from .stores import STORES

ONE = 200 * places.MIB
SMALL, SMALL_COUNT, AT_ONCE = 5 * places.MIB, 200, 16
# Tools that start anew for every file, at up to a second of processor time a start, get fewer files.
FEW, STARTED_ANEW = 32, ("aws", "s5cmd")
OURS, CRC64, CURL = "ours", "ours, CRC64NVME", "curl | curl PUT"


def c_against_tools(report):
    for name, start in stores(report, "c"):
        one_file(report, name, start)
        many_files(report, name, start)
    report.note(
        f"c: our clock runs from `asset.discovered` to `asset.archived`; that of the others includes the start of their "
        f"process. Of the files of 5 MiB, aws and s5cmd, which start anew for each, got {FEW}, all others {SMALL_COUNT}."
    )


def stores(report, section):
    """Those that can be had here."""
    for name, start in STORES.items():
        try:
            start(places.SCRATCH).stop()
        except Exception as why:
            process.end_all()
            report.absent(f"{section} on {name}", why)
            continue
        yield name, start


TOOLS = {
    CURL: lambda link, key, store, size: (
        f"curl -sS '{link}' | curl -fsS -T - -H 'Content-Length: {size}' -H 'Transfer-Encoding:' '{store.put_address(key)}'"
    ),
    "rclone": lambda link, key, store, size: f"rclone copyurl '{link}' s3:{places.BUCKET}/{key}",
    "aws": lambda link, key, store, size: (
        f"curl -sS '{link}' | aws s3 cp - s3://{places.BUCKET}/{key} --endpoint-url {store.endpoint} --expected-size {size}"
    ),
    "s5cmd": lambda link, key, store, size: f"curl -sS '{link}' | s5cmd pipe s3://{places.BUCKET}/{key}",
}


class Stage:
    """Store, provider and service, fresh: nothing is left of an earlier round."""

    def __init__(self, start, settings=None):
        self.store, self.simulator = start(places.SCRATCH), Simulator(places.SCRATCH)
        self.service = self.serve("service", settings)

    def serve(self, name, settings=None):
        settings = {"CATCHMENT_RUNWARE__MAX_IN_FLIGHT": "16", **(settings or {})}
        service = Service(fresh(name), self.simulator.api, self.store, settings)
        service.make_key()
        service.start()
        return service

    def archive(self, count, size, render="3s", service=None, within=600):
        """Seconds from the first file known to the last one archived and verified, and processor seconds."""
        service = service or self.service
        before = service.process.cpu()
        after = service.ask("GET", "/v1/events?after=0&limit=1000")["nextAfter"]
        service.submit(count, size, render)
        try:
            discovered, archived = service.archived(count, after, within)
        except Exception:
            service.process.kill() # so that what it still copies does not weigh on what is measured next
            raise
        cpu = service.process.cpu() - before
        stamps = lambda events: [datetime.fromisoformat(e["timestamp"].replace("Z", "+00:00")).timestamp() for e in events]
        wrong = [e for e in archived if abs(e["data"]["size"] - size) > 0]
        if wrong:
            raise RuntimeError(f"not the size that was asked for: {wrong[0]}")
        return max(stamps(archived)) - min(stamps(discovered)), cpu

    def stop(self):
        self.service.process.kill()
        self.simulator.stop()
        self.store.stop()


def timed(command, env):
    cpu = lambda: sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
    began, before = time.monotonic(), cpu()
    run(["sh", "-c", command], env=env)
    return time.monotonic() - began, cpu() - before


def costs(size, seconds, cpu):
    return {"MBps": size / seconds / 1e6, "sPerGB": cpu / (size / 1e9)}


def in_stages(start, sides, settings=None):
    """Rounds, each on a stage of its own; `sides` are functions of it."""
    rounds = Rounds()
    for number in range(rounds.count):
        stage = rounds.attempt("store and service", number, lambda: Stage(start, settings))
        if stage:
            rounds.measure(number, {side: partial(measure, stage) for side, measure in sides.items()})
            stage.stop()
    return rounds


def one_file(report, name, start):
    sides = {CRC64: with_crc64, OURS: one_of_ours, **{tool: partial(one_by, tool) for tool in TOOLS}}
    rounds = in_stages(start, sides)
    rounds.tell(report, f"c, one file on {name}", rivals=TOOLS)
    what = f"copy of 200 MiB on {name}"
    rounds.compare(report, "c", f"{what} / raw {CURL}", "MBps", OURS, CURL, at_least=0.9)
    rivals = [tool for tool in ("rclone", "aws", "s5cmd") if tool in rounds.values]
    report.add("c", f"{what} / best of {', '.join(rivals) or 'rclone, aws, s5cmd'}",
               ratios(rounds.of(OURS, "MBps"), fastest(rounds, rivals)), at_least=1.5,
               raw={figure: rounds.raw(figure) for figure in ("MBps", "sPerGB")})
    rounds.compare(report, "c", f"{what} with CRC64NVME, then read back / raw {CURL}", "MBps", CRC64, CURL)


def one_of_ours(stage):
    return costs(ONE, *stage.archive(1, ONE, render="100ms"))


def with_crc64(stage):
    """The store checks CRC64NVME instead of SHA-256; as it then has no SHA-256, the service reads the file back."""
    service = stage.serve("service-crc64", {"CATCHMENT_S3__CHECKSUM": "crc64nvme"})
    took = stage.archive(1, ONE, render="100ms", service=service, within=60)
    service.process.kill()
    return costs(ONE, *took)


def one_by(tool, stage):
    link, = stage.simulator.render(1, ONE)
    command = TOOLS[tool](link, f"one-{tool.split()[0]}", stage.store, ONE)
    return costs(ONE, *timed(command, stage.store.client_env()))


def fastest(rounds, tools):
    """Only of rounds in which all of them came to an end: the one that failed might have been the fastest."""
    speeds = [rounds.of(tool, "MBps") for tool in tools]
    each = ([speed[n] for speed in speeds] for n in range(rounds.count))
    return [max(those) if those and None not in those else None for those in each]


def many_files(report, name, start):
    sides = {OURS: many_of_ours, **{tool: partial(many_by, tool) for tool in TOOLS}}
    rounds = in_stages(start, sides, {"CATCHMENT_ARCHIVE__CONCURRENCY": str(AT_ONCE)})
    rounds.tell(report, f"c, many files on {name}", rivals=TOOLS)
    what = f"200 × 5 MiB, 16 at once, on {name}"
    for tool in ("rclone", *(other for other in TOOLS if other != "rclone")):
        few = f" ({FEW} files)" if tool in STARTED_ANEW else ""
        goal = 1.2 if tool == "rclone" else None
        rounds.compare(report, "c", f"{what} / {tool}{few}", "MBps", OURS, tool, at_least=goal)


def many_of_ours(stage):
    return costs(SMALL_COUNT * SMALL, *stage.archive(SMALL_COUNT, SMALL))


def many_by(tool, stage):
    count = FEW if tool in STARTED_ANEW else SMALL_COUNT
    links = stage.simulator.render(count, SMALL)
    if tool == "rclone": # one process for all, as its users would
        files = places.SCRATCH / "files"
        origin = stage.simulator.cdn
        files.write_text("".join(link.removeprefix(origin + "/") + "\n" for link in links))
        command = (f"rclone copy --files-from '{files}' --no-traverse --transfers {AT_ONCE} --checkers {AT_ONCE} "
                   f"--http-url '{origin}' :http: s3:{places.BUCKET}/many")
    else:
        lines = "\n".join(
            TOOLS[tool](link, f"many-{tool.split()[0]}-{n}", stage.store, SMALL) for n, link in enumerate(links)
        )
        script = places.SCRATCH / "copies.sh"
        script.write_text(lines + "\n")
        command = f"xargs -P {AT_ONCE} -d '\\n' -n 1 sh -c < '{script}'"
    return costs(count * SMALL, *timed(command, stage.store.client_env()))


def d_memory(report):
    """Peak resident memory of the service while 64 files of 200 MiB are copied at once, and 64 of 20 MiB."""
    large, small = "64 × 200 MiB", "64 × 20 MiB"
    rounds = Rounds(min(places.ROUNDS, 3)) # each copies 14 GB
    for number in range(rounds.count):
        rounds.measure(number, {small: partial(peak_of, 20 * places.MIB), large: partial(peak_of, ONE)})
    rounds.tell(report, "d")
    report.add("d", f"peak memory, {large} at once", rounds.of(large, "peakMiB"), unit="MiB", at_most=96)
    rounds.compare(report, "d", f"the same / {small}", "peakMiB", large, small)


def peak_of(size):
    stage = Stage(STORES["s3s-fs"], {"CATCHMENT_ARCHIVE__CONCURRENCY": "64"})
    took = stage.archive(64, size)
    peak = stage.service.process.status("VmHWM") / 1024
    stage.stop()
    return {"peakMiB": peak, **costs(64 * size, *took)}


def e_processor(report):
    for name, start in stores(report, "e"):
        sides = {OURS: six_of_ours, CRC64: with_crc64, CURL: partial(one_by, CURL)}
        rounds = in_stages(start, sides, {"CATCHMENT_ARCHIVE__CONCURRENCY": "4"})
        rounds.tell(report, f"e on {name}", rivals=TOOLS)
        for what, side, goal in (
            ("copying with SHA-256", OURS, 0.8),
            ("copying one file with CRC64NVME, then reading it back", CRC64, None),
            (f"{CURL} of the same file", CURL, None),
        ):
            report.add("e", f"processor time of {what}, {name}", rounds.of(side, "sPerGB"), unit="s/GB", at_most=goal)


def six_of_ours(stage):
    return costs(6 * ONE, *stage.archive(6, ONE, render="100ms"))

"""Copies from a link into a bucket: ours, and what people use for it otherwise."""

import resource
import time
from datetime import datetime

from . import places
from .acks import ratios
from .process import run
from .service import Service, Simulator
from .stores import STORES

ONE = 200 * places.MIB
SMALL, SMALL_COUNT, AT_ONCE = 5 * places.MIB, 200, 16
# Tools that start anew for every file, at up to a second of processor time a start, get fewer files.
FEW = 32


def c_against_tools(report):
    for name, start in STORES.items():
        try:
            start(places.SCRATCH).stop()
        except Exception as why:
            report.absent(f"c on {name}", why)
            continue
        one_file(report, name, start)
        many_files(report, name, start)


TOOLS = {
    "curl | curl PUT": lambda link, key, store, size: (
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
        from .acks import fresh

        settings = {"CATCHMENT_RUNWARE__MAX_IN_FLIGHT": "16", **(settings or {})}
        self.service = Service(fresh("service"), self.simulator.api, self.store, settings)
        self.service.make_key()
        self.service.start()

    def archive(self, count, size, render="3s"):
        """Seconds from the first file known to the last one archived and verified, and processor seconds."""
        before = self.service.process.cpu()
        after = self.service.ask("GET", "/v1/events?after=0&limit=1000")["nextAfter"]
        self.service.submit(count, size, render)
        discovered, archived = self.service.archived(count, after)
        cpu = self.service.process.cpu() - before
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


def one_file(report, name, start):
    speeds, cpus = {}, {}

    def note(tool, seconds, cpu):
        speeds.setdefault(tool, []).append(ONE / seconds / 1e6)
        cpus.setdefault(tool, []).append(cpu / (ONE / 1e9))

    for number in range(places.ROUNDS):
        stage = Stage(start)
        tools = ["ours", *TOOLS]
        tools = tools[number % len(tools):] + tools[: number % len(tools)]
        for tool in tools:
            if tool == "ours":
                note(tool, *stage.archive(1, ONE, render="100ms"))
                continue
            link, = stage.simulator.render(1, ONE)
            try:
                note(tool, *timed(TOOLS[tool](link, f"one-{tool.split()[0]}", stage.store, ONE), stage.store.client_env()))
            except RuntimeError as why:
                if number == 0:
                    report.absent(f"c: {tool}, one file on {name}", why)
        stage.stop()
        print(f"    round {number + 1}: {name}, one file, MB/s:", {t: round(s[-1]) for t, s in speeds.items()}, flush=True)
    ours = speeds["ours"]
    what = f"copy of 200 MiB on {name}"
    report.add("c", f"{what} / raw curl \\| curl PUT", ratios(ours, speeds["curl | curl PUT"]), at_least=0.9,
               raw={"MBps": speeds, "cpuPerGB": cpus})
    rivals = [t for t in ("rclone", "aws", "s5cmd") if t in speeds]
    best = [max(speeds[t][n] for t in rivals) for n in range(places.ROUNDS)]
    report.add("c", f"{what} / best of {', '.join(rivals)}", ratios(ours, best), at_least=1.5)


def many_files(report, name, start):
    speeds = {}
    for number in range(places.ROUNDS):
        stage = Stage(start, {"CATCHMENT_ARCHIVE__CONCURRENCY": str(AT_ONCE)})
        for tool in ["ours", *TOOLS] if number % 2 == 0 else [*reversed(TOOLS), "ours"]:
            try:
                speeds.setdefault(tool, []).append(many(stage, tool, number))
            except RuntimeError as why:
                if number == 0 or tool == "ours":
                    report.absent(f"c: {tool}, many files on {name}", why)
        stage.stop()
        print(f"    round {number + 1}: {name}, many files, MB/s:", {t: round(s[-1]) for t, s in speeds.items()}, flush=True)
    what = f"200 × 5 MiB, 16 at once, on {name}"
    for tool, goal in (("rclone", 1.2), ("curl | curl PUT", None), ("aws", None), ("s5cmd", None)):
        if tool in speeds:
            few = f" ({FEW} files)" if tool in ("aws", "s5cmd") else ""
            report.add("c", f"{what} / {tool}{few}", ratios(speeds["ours"], speeds[tool]), at_least=goal, raw={"MBps": speeds})


def many(stage, tool, number):
    if tool == "ours":
        seconds, _ = stage.archive(SMALL_COUNT, SMALL)
        return SMALL_COUNT * SMALL / seconds / 1e6
    count = FEW if tool in ("aws", "s5cmd") else SMALL_COUNT
    links = stage.simulator.render(count, SMALL)
    env = stage.store.client_env()
    if tool == "rclone": # one process for all, as its users would
        files = places.SCRATCH / "files"
        origin = stage.simulator.cdn
        files.write_text("".join(link.removeprefix(origin + "/") + "\n" for link in links))
        command = (f"rclone copy --files-from '{files}' --no-traverse --transfers {AT_ONCE} --checkers {AT_ONCE} "
                   f"--http-url '{origin}' :http: s3:{places.BUCKET}/many-{number}")
        seconds, _ = timed(command, env)
    else:
        lines = "\n".join(
            TOOLS[tool](link, f"many-{tool.split()[0]}-{n}", stage.store, SMALL) for n, link in enumerate(links)
        )
        script = places.SCRATCH / "copies.sh"
        script.write_text(lines + "\n")
        seconds, _ = timed(f"xargs -P {AT_ONCE} -d '\\n' -n 1 sh -c < '{script}'", env)
    return count * SMALL / seconds / 1e6


def d_memory(report):
    """Peak resident memory of the service while 64 files of 200 MiB are copied at once; then of 20 MiB."""
    peaks = {}
    for size in (20 * places.MIB, ONE):
        stage = Stage(STORES["s3s-fs"], {"CATCHMENT_ARCHIVE__CONCURRENCY": "64"})
        seconds, cpu = stage.archive(64, size)
        peaks[size] = stage.service.process.status("VmHWM") / 1024
        print(f"    64 × {size // places.MIB} MiB: peak {peaks[size]:.0f} MiB, {64 * size / seconds / 1e6:.0f} MB/s, "
              f"{cpu / (64 * size / 1e9):.2f} s/GB", flush=True)
        stage.stop()
    report.add("d", "peak memory, 64 × 200 MiB at once", [peaks[ONE]], unit="MiB", at_most=96)
    report.add("d", "the same / 64 × 20 MiB", [peaks[ONE] / peaks[20 * places.MIB]], raw={"MiB": peaks})


def e_processor(report):
    for name, start in STORES.items():
        costs = []
        for _ in range(places.ROUNDS):
            try:
                stage = Stage(start, {"CATCHMENT_ARCHIVE__CONCURRENCY": "4"})
            except Exception as why:
                report.absent(f"e on {name}", why)
                break
            _, cpu = stage.archive(6, ONE, render="100ms")
            costs.append(cpu / (6 * ONE / 1e9))
            stage.stop()
        if costs:
            report.add("e", f"processor time of copying with SHA-256, {name}", costs, unit="s/GB", at_most=0.8)

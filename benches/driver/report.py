"""Figures as they come: kept in JSON after every section, printed as a table."""

import json
import os
import platform
import statistics
import subprocess
import time

from . import places

LATEST = places.BENCH / "result.json"


class Report:
    def __init__(self):
        self.began = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self.rows, self.missing, self.notes, self.seconds = [], [], [], {}
        self.failed = False # something of ours did

    def add(self, section, what, rounds, unit="ratio", at_least=None, at_most=None, raw=None):
        """One figure: the median of its rounds, held against its goal. A round without a value is `None`."""
        rounds = [value for value in rounds if value is not None]
        if not rounds:
            return self.absent(f"{section}: {what}", "no round came to an end")
        median = statistics.median(rounds)
        goal = {"atLeast": at_least} if at_least is not None else {"atMost": at_most} if at_most is not None else None
        met = None
        if goal:
            met = median >= at_least if at_least is not None else median <= at_most
        self.rows.append(
            {
                "section": section, "what": what, "unit": unit, "median": round(median, 4), "goal": goal, "met": met,
                "rounds": [round(value, 4) for value in rounds], "raw": raw or {},
            }
        )
        print(f"    {line(self.rows[-1])}", flush=True)

    def absent(self, what, why):
        """Never left out in silence."""
        self.missing.append({"what": what, "why": str(why)[:600]})
        print(f"    MISSING {what}: {why}", flush=True)

    def note(self, text):
        """A line under the table."""
        self.notes.append(text)

    def save(self):
        document = {
            "began": self.began, "ended": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "command": command(), "rounds": places.ROUNDS, "secondsOfLoad": places.SECONDS, "machine": machine(),
            "sectionSeconds": self.seconds, "figures": self.rows, "missing": self.missing,
            "notes": self.notes,
        }
        places.BENCH.mkdir(parents=True, exist_ok=True)
        text = json.dumps(document, indent=1)
        LATEST.write_text(text + "\n")
        return document


def command():
    switches = [f"{name}={value}" for name, value in sorted(os.environ.items()) if name.startswith("BENCH_")]
    return " ".join([*switches, "make bench"])


def line(row):
    goal = goal_text(row)
    verdict = {True: "met", False: "MISSED", None: ""}[row["met"]]
    few = f", {len(row['rounds'])} of {places.ROUNDS} rounds" if len(row["rounds"]) != places.ROUNDS else ""
    return f"{row['what']}: {number(row['median'])} {row['unit']}{'  (' + goal + ', ' + verdict + ')' if goal else ''}{few}"


def goal_text(row):
    if not row["goal"]:
        return ""
    (kind, value), = row["goal"].items()
    return f"{'≥' if kind == 'atLeast' else '≤'} {number(value)}"


def number(value):
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) < 100 else f"{value:.0f}"


def table(document):
    """The figures as Markdown, as `benches/README.md` shows them."""
    m = document["machine"]
    out = [
        f"{document['began']}, commit {m['commit']}, {m['cores']} × {m['cpu']}, {m['memoryGiB']} GiB, Linux {m['kernel']}, "
        f"{m['filesystem']}; `{document['command']}`, {document['rounds']} rounds, load average at start {m['loadAtStart']}.",
        "",
        "| | what | median | lowest–highest round | goal | |",
        "|---|---|---|---|---|---|",
    ]
    for row in document["figures"]:
        spread = f"{number(min(row['rounds']))}–{number(max(row['rounds']))}"
        if len(row["rounds"]) != document["rounds"]:
            spread += f" ({len(row['rounds'])} round{'s' if len(row['rounds']) > 1 else ''})"
        met = {True: "met", False: "**missed**", None: ""}[row["met"]]
        out.append(
            f"| {row['section']} | {cell(row['what'])} | {number(row['median'])} {'' if row['unit'] == 'ratio' else row['unit']} "
            f"| {spread} | {goal_text(row)} | {met} |"
        )
    for gap in document["missing"]:
        out.append(f"| | not measured: {cell(gap['what'])} | {cell(gap['why'])} | | | |")
    for note in document.get("notes", []):
        out += ["", note]
    return "\n".join(out)


def cell(text):
    return " ".join(text.split()).replace("|", "\\|")


def machine():
    def said(*command):
        try:
            return subprocess.run(command, capture_output=True, text=True, timeout=20, cwd=places.ROOT).stdout.strip()
        except (OSError, subprocess.TimeoutExpired):
            return ""

    cpuinfo = open("/proc/cpuinfo").read()
    model = next((l.split(":")[1].strip() for l in cpuinfo.splitlines() if l.startswith("model name")), platform.machine())
    versions = {
        "rustc": said("rustc", "--version"), "curl": said("curl", "--version").split("\n")[0],
        "rclone": said(places.VENV / "rclone", "version").split("\n")[0], "aws": said(places.VENV / "aws", "--version"),
        "s5cmd": said(places.VENV / "s5cmd", "version"), "weed": said(places.VENV / "weed", "version"),
        "node": said("node", "--version"),
    }
    return {
        "commit": said("git", "rev-parse", "--short", "HEAD"), "cpu": model, "cores": os.cpu_count(),
        "shaInstructions": " sha_ni " in cpuinfo, "kernel": platform.release(),
        "memoryGiB": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "filesystem": said("stat", "-f", "-c", "%T", str(places.BENCH)),
        "loadAtStart": LOAD_AT_START, "versions": versions,
    }


LOAD_AT_START = os.getloadavg()[0]

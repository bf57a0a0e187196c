#!/usr/bin/env python3
"""`make bench`: every figure of the goals, as medians of paired rounds, then many large files on facts. See README.md
beside this file.

    bench.py            all sections, or BENCH_ONLY=a,c; BENCH_ROUNDS=5
    bench.py --table    the last run's figures as Markdown
"""

import json
import shutil
import sys
import time

from driver import acks, copies, large, others, places, process, report

SECTIONS = {
    "a,b": ("callbacks, durable: without a database, and beside other receivers", acks.a_b_against_no_database_and_peers),
    "c": ("copies beside other tools", copies.c_against_tools),
    "d": ("memory of many large copies", copies.d_memory),
    "e": ("processor time of copies", copies.e_processor),
    "f": ("deliveries", others.f_deliveries),
    "h": ("callbacks while copies run", acks.h_beside_copies),
    "i": ("callbacks with ten million tasks stored", acks.i_large_database),
    "g": ("at rest", others.g_at_rest),
    "j": ("callbacks while deliveries are pending", acks.j_pending_deliveries),
    "large": ("many large files at once, on facts", large.many_large_files),
}


def main():
    if sys.argv[1:] == ["--table"]:
        return print(report.table(json.loads(report.LATEST.read_text())))
    for binary in (places.CATCHMENT, places.TOOL):
        if not binary.exists():
            sys.exit(f"{binary} is missing: run `make bench`, which builds it")
    book = report.Report()
    for gap in (places.BENCH / "missing").read_text().splitlines() if (places.BENCH / "missing").exists() else []:
        book.absent(*gap.split("\t", 1))
    for names, (what, measure) in SECTIONS.items():
        if places.ONLY and not set(names.split(",")) & set(places.ONLY):
            book.absent(f"{names}: {what}", "BENCH_ONLY leaves it out")
            continue
        print(f"[{names}] {what}", flush=True)
        began = time.monotonic()
        try:
            measure(book)
        except Exception as why: # one section that fails takes no other with it
            book.failed = True
            book.absent(f"section {names}", f"{type(why).__name__}: {why}")
        finally:
            process.end_all()
        book.seconds[names] = round(time.monotonic() - began)
        book.save()
    shutil.rmtree(places.SCRATCH, ignore_errors=True)
    print("\n" + report.table(book.save()))
    print(f"\n{report.LATEST}")
    sys.exit(1 if book.failed else 0)


try:
    main()
finally:
    process.end_all()
    shutil.rmtree(places.MEMORY, ignore_errors=True) # of a round that failed: it would be memory

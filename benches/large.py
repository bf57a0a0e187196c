#!/usr/bin/env python3
"""`make large`: the last section of `make bench` alone. Fails if a fact does not hold. LARGE_ONLY=1 for the second of its
sets (`driver/large.py`) alone."""

import sys

from driver import large, process, report

try:
    large.many_large_files(report.Report())
except large.DoesNotHold as fact:
    sys.exit(f"does not hold: {fact}")
finally:
    process.end_all()

"""Where things are, and the switches of a run."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
BINARIES = Path(os.environ.get("BENCH_BIN", TARGET / "release"))
CATCHMENT = BINARIES / "catchment"
TOOL = BINARIES / "examples" / "bench-tool"

# Kept from run to run: what was installed, and the database of ten million tasks.
BENCH = ROOT / "target" / "bench"
VENV = BENCH / "venv" / "bin"
EXPRESS = BENCH / "express"
PEERS = ROOT / "benches" / "peers"
# Of this run alone; on the disk that is measured.
SCRATCH = Path(os.environ.get("BENCH_DIR", BENCH / "scratch"))
MEMORY = Path("/dev/shm/catchment-bench") # in a file system in memory

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
ONLY = [s for s in os.environ.get("BENCH_ONLY", "").split(",") if s]
# Seconds of load in one round, and the size of the large database: smaller only to try the scripts out.
SECONDS = float(os.environ.get("BENCH_SECONDS", "4"))
TASKS = int(os.environ.get("BENCH_TASKS", "10000000"))

MIB = 1024 * 1024
BUCKET = "bench"
ACCESS_KEY = "bench"
SECRET_KEY = "a-secret-for-benches"

"""Databases with as many tasks as wanted, through the real schema."""

import os
import shutil
import sqlite3

from . import places
from .process import run
from .service import Service, token

OPEN_TASKS = 200_000


class Seeded:
    """A database directory to copy services from, and the tokens of its open tasks."""

    def __init__(self, name, settled=0, events=0):
        self.settled, self.events = settled, events
        self.directory = places.SCRATCH / "seeds" / name
        self.tokens = self.directory / "tokens"

    def make(self):
        if self.tokens.exists():
            return self
        shutil.rmtree(self.directory, ignore_errors=True)
        service = Service(self.directory, "http://127.0.0.1:9/v1")
        service.make_key() # migrates
        (self.directory / "key").write_text(service.key)
        ids = self.directory / "ids"
        command = [places.TOOL, "seed", "--database", service.database, "--ids", ids]
        command += ["--settled", self.settled, "--open", OPEN_TASKS, "--events", self.events]
        run(command, within=3600)
        with open(ids) as lines, open(f"{self.tokens}.new", "w") as tokens:
            tokens.writelines(token(line.strip()) + "\n" for line in lines)
        (self.directory / "tokens.new").rename(self.tokens)
        return self

    def key(self):
        return (self.directory / "key").read_text()

    def copy(self, directory):
        """For one round, which may change it."""
        shutil.rmtree(directory, ignore_errors=True)
        shutil.copytree(self.directory, directory)
        return directory


class Large(Seeded):
    """Ten million tasks: made once, kept, and used in place; what a run has left in it is taken out again."""

    def __init__(self):
        super().__init__("large", settled=places.TASKS)
        self.directory = places.BENCH / f"database-{places.TASKS}-schema-{schema()}"
        self.tokens = self.directory / "tokens"

    def make(self):
        """One of an older schema is brought up to date, which takes minutes: it is checked and backed up first."""
        older = sorted(places.BENCH.glob(f"database-{places.TASKS}-schema-*/tokens"), key=lambda p: p.stat().st_mtime)
        if older and not self.tokens.exists():
            directory = older[-1].parent
            Service(directory, "http://127.0.0.1:9/v1").command("migrate")
            for backup in (directory / "data").glob("catchment.db.before-*"):
                backup.unlink()
            directory.rename(self.directory)
        return super().make()

    @property
    def file(self):
        return self.directory / "data" / "catchment.db"

    def copy(self, directory):
        """In place: without what an earlier round left, and read once, as a database in use lies in the page cache."""
        self.clean()
        self.warm()
        return self.directory

    def warm(self):
        """Into the page cache."""
        with open(self.file, "rb", buffering=0) as file:
            while file.read(16 * places.MIB):
                pass

    def chill(self):
        """Out of the page cache, its log too. Only what is on the disk leaves it, so that comes first. No service may run
        on it: a page that is mapped stays."""
        for path in self.file.parent.glob("catchment.db*"):
            with open(path, "rb") as file:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    def clean(self):
        conn = sqlite3.connect(self.file, isolation_level=None)
        for table in ("receipts", "timeline", "journal_work"):
            conn.execute(f"DELETE FROM {table}")
        conn.execute("UPDATE meta SET value = '1' WHERE key = 'journal'") # as `seed` leaves it
        conn.execute(
            "UPDATE tasks SET queries = 1, version = 5, lease_until = NULL "
            "WHERE id > ?", (self.settled,)
        )
        conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        conn.close()


def schema():
    """The version of the schema under migrations/, so that a database of an older one is not taken for it."""
    files = (places.ROOT / "migrations" / "sqlite").glob("V*.sql")
    return max(int(file.name[1:5]) for file in files)


def counted(database, subject, status):
    conn = sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=10)
    try:
        row = conn.execute("SELECT n FROM counts WHERE subject = ? AND status = ?", (subject, status)).fetchone()
        return row[0] if row else 0
    finally:
        conn.close()

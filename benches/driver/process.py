"""Processes: started, waited for, looked at, and ended by their own id."""

import json
import os
import select
import signal
import socket
import subprocess
import time

RUNNING = []
TICKS = os.sysconf("SC_CLK_TCK")


class Process:
    """A server of ours or theirs. Its stderr goes to a file; `told` is the line of JSON it may print first."""

    def __init__(self, name, command, log, env=None, cwd=None, tells=False):
        self.name, self.log = name, log
        log.parent.mkdir(parents=True, exist_ok=True)
        out = subprocess.PIPE if tells else subprocess.DEVNULL
        with open(log, "ab") as errors:
            self.child = subprocess.Popen(
                [str(c) for c in command], stdin=subprocess.DEVNULL, stdout=out, stderr=errors, env=env, cwd=cwd
            )
        RUNNING.append(self)
        self.told = self._first_line() if tells else None

    def _first_line(self):
        ready, _, _ = select.select([self.child.stdout], [], [], 60)
        line = self.child.stdout.readline() if ready else b""
        if not line:
            raise RuntimeError(f"{self.name} did not start: {self.errors()}")
        return json.loads(line)

    def errors(self):
        return self.log.read_text(errors="replace")[-3000:]

    def status(self, field):
        """A line of /proc/PID/status, in KiB."""
        with open(f"/proc/{self.child.pid}/status") as status:
            for line in status:
                if line.startswith(field + ":"):
                    return int(line.split()[1])
        raise RuntimeError(f"{self.name} has no {field}")

    def cpu(self):
        """Seconds of processor, user and system together, so far."""
        with open(f"/proc/{self.child.pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def takes_what_is_left(self):
        """Of the processor: what others do not want."""
        for thread in os.listdir(f"/proc/{self.child.pid}/task"):
            os.setpriority(os.PRIO_PROCESS, int(thread), 19)

    def stop(self, within=40):
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
            try:
                self.child.wait(within)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()
        self._forget()

    def kill(self):
        if self.child.poll() is None:
            self.child.kill()
        self.child.wait()
        self._forget()

    def _forget(self):
        if self.child.stdout:
            self.child.stdout.close()
        if self in RUNNING:
            RUNNING.remove(self)


def end_all(but=()):
    for process in [one for one in reversed(RUNNING) if one not in but]:
        process.kill()


def free_ports(count):
    held = [socket.socket() for _ in range(count)]
    for one in held:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


def answers(port, path, process=None, within=60, pause=0.02):
    """Waits until `path` answers 200; returns the seconds it took."""
    began = time.monotonic()
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode()
    while time.monotonic() - began < within:
        if process and process.child.poll() is not None:
            raise RuntimeError(f"{process.name} ended: {process.errors()}")
        try:
            with socket.create_connection(("127.0.0.1", port), 5) as connection:
                connection.sendall(request)
                if connection.recv(64).split(b" ")[1:2] == [b"200"]:
                    return time.monotonic() - began
        except OSError:
            pass
        time.sleep(pause)
    raise RuntimeError(f"nothing answers at {port}{path}: {process.errors() if process else ''}")


def run(command, env=None, stdin=None, within=600, cwd=None):
    """A command to its end; its standard output. The processor seconds of what it started count as ours."""
    done = subprocess.run(
        [str(c) for c in command], env=env, input=stdin, capture_output=True, timeout=within, cwd=cwd
    )
    if done.returncode != 0:
        what = " ".join(str(c) for c in command)
        raise RuntimeError(f"{what[:300]} failed ({done.returncode}): {done.stderr.decode(errors='replace')[-2000:]}")
    return done.stdout

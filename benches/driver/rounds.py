"""Rounds: what is compared is measured side by side, and what fails in one is named and costs nothing else."""

from . import places, process
from .report import number as text


class Rounds:
    """Figures by side and round. A side is a function that gives some figures by name."""

    def __init__(self, count=None):
        self.count = count or places.ROUNDS
        self.values, self.failures = {}, {}

    def measure(self, number, sides):
        """Each side once; in every second round in the opposite order, so neighbours stay neighbours."""
        for side in list(sides) if number % 2 == 0 else reversed(sides):
            figures = self.attempt(side, number, sides[side])
            if figures is not None:
                self.values.setdefault(side, {})[number] = figures
                print(f"    round {number + 1}: {side}: {said(figures)}", flush=True)

    def attempt(self, side, number, work):
        """What `work` gives, or `None` if it fails; then nothing that it started is left to disturb the others."""
        before = list(process.RUNNING)
        try:
            return work()
        except Exception as why:
            process.end_all(but=before)
            why = f"{type(why).__name__}: {why}"
            self.failures.setdefault(side, []).append(why)
            print(f"    round {number + 1}: {side} failed: {why}", flush=True)
            return None

    def of(self, side, figure):
        """One value a round; `None` where there is none."""
        values = self.values.get(side, {})
        return [values[n][figure] if n in values else None for n in range(self.count)]

    def raw(self, figure, *sides):
        return {side: self.of(side, figure) for side in sides or self.values}

    def compare(self, report, section, what, figure, ours, theirs, **goal):
        pairs = ratios(self.of(ours, figure), self.of(theirs, figure))
        report.add(section, what, pairs, raw={figure: self.raw(figure, ours, theirs)}, **goal)

    def tell(self, report, section, rivals=()):
        """Names every side that failed in any round. One of ours fails the run."""
        for side, whys in self.failures.items():
            report.absent(f"{section}: {side}", f"failed in {len(whys)} of {self.count} rounds, the last time: {whys[-1]}")
            report.failed |= side not in rivals


def ratios(ours, theirs):
    """Of the rounds in which both sides have a value."""
    return [None if a is None or b is None else a / b for a, b in zip(ours, theirs, strict=True)]


def said(figures):
    return ", ".join(f"{name} {text(value)}" for name, value in figures.items() if value is not None)

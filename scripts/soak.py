"""Kill, interrupt, starve and rob the commands at random moments; then run them again.

    python scripts/soak.py --kills 200 --seed 0
    python scripts/soak.py --only convert --round 7 --seed 0    (one round again)

A round prepares a room, disturbs a command in it one to three times in a row, and then runs the
very same command undisturbed. It must end well, every file in the room must be byte for byte that
of a room in which nothing was disturbed, and there must be no file more: no temporary one either.
After every disturbance the exit code must be a documented one (`CODES`), a success must be a whole
one, no traceback may be seen, and the user's own files must be as they were.

Not compared: `.lock` of a calibration (empty, stays), and in a SimpleTuner run what `OTHERS` names.
What was run for the record is in docs/soak.md.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from soak_commands import COMMANDS, Command, warm
from soak_disturbed import FILLER, Disturbance, Outcome, disk, forked, fresh

MOST_IN_A_ROW = 3
FRESH, IN_BETWEEN = 0.1, 0.25  # shares of the signals: while importing, at any CPU second
IMPORTS = 2000  # of a command, about
UNFINISHED = ".lokr-weighting"
CODES = {
    "SIGKILL": (-9, -27),
    "cut write": (-25, 0, 3),
    "SIGTERM": (143, -15, 0),
    "SIGINT": (130, -2, 0),
    "full disk": (3, 0),
    "file limit": (3, 0),
    "folder deleted": (3, 0),
}
"""What a command may end with; 0 where it was done, or what it met did not matter."""


@dataclass
class Tally:
    """What was tried of one command, and what went wrong."""

    tried: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


@dataclass
class Bench:
    """One command in its room, and what an undisturbed run of it leaves there."""

    command: Command
    room: Path
    stock: Path
    seed: int
    full_disk: bool

    def prepare(self) -> dict[str, str]:
        """An empty room with what the command reads and what else the user has in it."""
        shutil.rmtree(self.room, ignore_errors=True)
        self.room.with_name(FILLER).unlink(missing_ok=True)
        self.room.mkdir()
        self.command.prepare(self.room, self.stock)
        return tree(self.room, self.command.others)

    def run(self, what: Disturbance | None = None) -> Outcome:
        """Run the command, disturbed or not; a full disk is emptied again."""
        if what is not None and what.moment == "import":
            outcome = fresh(self.command.arguments, self.room, what)
        else:
            outcome = forked(self.command.call, self.room, what, self.command.area)
        self.room.with_name(FILLER).unlink(missing_ok=True)
        return outcome

    def reference(self) -> Outcome:
        """Run it undisturbed.

        Raises:
            SystemExit: it does not even run.
        """
        if self.command.cached:
            self.prepare()
            self.run()
            shutil.rmtree(self.room / self.command.cached / "output")
            shutil.rmtree(self.stock / self.command.cached)
            shutil.copytree(self.room / self.command.cached, self.stock / self.command.cached)
        self.own = self.prepare()
        outcome = self.run()
        if outcome.code != 0:
            raise SystemExit(f"{self.command.name}: {outcome.text}")
        self.wanted = tree(self.room, self.command.others)
        self.events, self.cpu = outcome.events, outcome.cpu
        return outcome

    def round(self, number: int, tally: Tally) -> None:
        """One round; what it finds goes into the tally."""
        draw = random.Random(f"{self.seed}/{self.command.name}/{number}")
        self.prepare()
        kinds, outcome = [], None
        for _ in range(draw.randint(1, MOST_IN_A_ROW)):
            what = self.drawn(draw)
            outcome = self.run(what)
            if not (outcome.code if what.moment == "cpu" else outcome.fired):
                break  # the moment never came: this was the undisturbed run
            kinds.append(what.kind)
            tally.tried[what.kind] += 1
            tally.ends[f"{what.kind}: {outcome.code}"] += 1
            said = f"--only {self.command.name} --round {number} --seed {self.seed}: {what}"
            for fault in self.faults(what, outcome):
                tally.failed[what.kind] += 1
                tally.failures.append(f"{said}: {fault}")
            self.put_back()
            outcome = None
        if not kinds:
            return
        outcome = outcome or self.run()
        wrong = differences(self.wanted, tree(self.room, self.command.others))
        if outcome.code != 0 or wrong:
            tally.failed[kinds[-1]] += 1
            tally.failures.append(
                f"--only {self.command.name} --round {number} --seed {self.seed}: after "
                f"{', '.join(kinds)} the same command: {outcome.code}; {wrong}; "
                f"{outcome.text[-1500:]}"
            )

    def drawn(self, draw: random.Random) -> Disturbance:
        """What happens next, and when."""
        kind = draw.choice([each for each in CODES if self.full_disk or each != "full disk"])
        size = draw.choice((0, draw.randrange(1 << 12), draw.randrange(1 << 16)))
        folder = draw.choice(self.command.deleted)
        if kind.startswith("SIG"):
            chance = draw.random()
            if chance < FRESH and self.command.arguments:
                return Disturbance(kind, "import", draw.randint(1, IMPORTS))
            if chance < FRESH + IN_BETWEEN:
                return Disturbance(kind, "cpu", round(draw.uniform(0, self.cpu), 3))
        return Disturbance(kind, "event", draw.randint(1, self.events), size, folder)

    def faults(self, what: Disturbance, outcome: Outcome) -> Iterator[str]:
        """What a disturbed run did wrong."""
        if outcome.code not in (*CODES[what.kind], *self.command.codes.get(what.kind, ())):
            yield f"exit code {outcome.code}: {outcome.text[-1500:]}"
        if "Traceback" in outcome.text and not self.command.may_trace(what, outcome):
            yield f"a traceback: {outcome.text[-1500:]}"
        if outcome.code in (2, 3) and len(self.lines_of_error(outcome)) != 1:
            yield f"not one line of error: {outcome.text[-1500:]}"
        now = tree(self.room, self.command.others)
        gone = f"{what.folder}/" if what.kind == "folder deleted" else "/"
        now |= {path: own for path, own in self.own.items() if path.startswith(gone)}
        wrong = differences(self.wanted, now, left_over=True)
        if outcome.code == 0 and wrong and self.command.whole:
            yield f"done, but {wrong}"
        for path, digest in self.own.items():
            if now.get(path) != digest:
                yield f"{path} is the user's own, and was changed"

    def lines_of_error(self, outcome: Outcome) -> list[str]:
        """The lines that say what went wrong."""
        return [each for each in outcome.text.splitlines() if each.startswith(self.command.error)]

    def put_back(self) -> None:
        """Bring back what of the user's own files a deleted folder took along."""
        with tempfile.TemporaryDirectory(dir=self.room.parent) as beside:
            self.command.prepare(Path(beside), self.stock)
            for path in self.own:
                if not (self.room / path).exists():
                    (self.room / path).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(Path(beside) / path, self.room / path)


def tree(room: Path, others: Callable[[str], bool]) -> dict[str, str]:
    """Every file of a room -> its digest."""
    files = {path.relative_to(room).as_posix(): path for path in room.rglob("*") if path.is_file()}
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest()
        for name, path in sorted(files.items())
        if path.name != ".lock" and (name.endswith(UNFINISHED) or not others(name))
    }


def differences(wanted: dict[str, str], now: dict[str, str], left_over: bool = False) -> str:
    """Which files are missing, too many or others; "" if none are.

    Args:
        wanted: what there should be.
        now: what there is.
        left_over: whether temporary files may lie about.
    """
    more = {name for name in now.keys() - wanted.keys() if not (left_over and UNFINISHED in name)}
    found = {
        "missing": wanted.keys() - now.keys(),
        "too many": more,
        "other bytes": {name for name in wanted.keys() & now.keys() if wanted[name] != now[name]},
    }
    return "; ".join(f"{what}: {sorted(names)}" for what, names in found.items() if names)


def soak(
    command: Command, kills: int, seed: int, only: int | None, stock: Path, report: Path
) -> None:
    """Disturb one command so many times; the tally goes into a file as it grows."""
    command.warm()
    tally = Tally()
    with disk() as (place, mounted):
        bench = Bench(command, place / "room", stock, seed, mounted)
        bench.reference()
        print(f"{command.name}: {bench.events} events, {bench.cpu:.1f} CPU s", flush=True)
        for number in [only] if only is not None else range(10 * kills):
            if tally.tried.total() >= kills:
                break
            known = len(tally.failures)
            bench.round(number, tally)
            report.write_text(json.dumps(vars(tally)))
            for failure in tally.failures[known:]:
                print(failure, file=sys.stderr, flush=True)


def apart(call: Callable[[], None]) -> None:
    """Call it in a fork: what one command imports is none of the next one's."""
    process = os.fork()
    if process == 0:
        code = 1
        try:
            call()
            code = 0
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        os._exit(code)
    if os.waitpid(process, 0)[1]:
        raise SystemExit(1)


def table(tallies: dict[str, Tally]) -> str:
    """A command a row, a disturbance a column: resumed exactly / tried."""
    rows = [["", *CODES, "all"]]
    for name, tally in tallies.items():
        cells = [(tally.tried[kind], tally.failed[kind]) for kind in CODES]
        cells.append((tally.tried.total(), tally.failed.total()))
        rows.append([name, *(f"{max(0, n - bad)}/{n}" if n else "-" for n, bad in cells)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    )


def main() -> None:
    """Read the command line, disturb, and say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=[each.name for each in COMMANDS])
    parser.add_argument("--skip", action="append", default=[], help="a command to leave out")
    parser.add_argument("--round", type=int, help="this round of --only alone")
    given = parser.parse_args()
    chosen = [each for each in COMMANDS if given.only in (None, each.name)]
    chosen = [each for each in chosen if each.name not in given.skip]
    shares = sum(each.share for each in chosen)
    tallies: dict[str, Tally] = {}
    warm()
    with tempfile.TemporaryDirectory() as folder:
        stock, report = Path(folder) / "stock", Path(folder) / "tally.json"
        stock.mkdir()
        for each in chosen:
            kills = max(1, round(given.kills * each.share / shares))
            apart(partial(soak, each, kills, given.seed, given.round, stock, report))
            found = json.loads(report.read_text())
            counts = {name: Counter(found[name]) for name in ("tried", "failed", "ends")}
            tallies[each.name] = Tally(**counts, failures=found["failures"])
            print(f"{each.name}: {dict(tallies[each.name].ends)}", flush=True)
    print(table(tallies))
    failures = [failure for tally in tallies.values() for failure in tally.failures]
    print(*failures, sep="\n", end="\n" if failures else "")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()

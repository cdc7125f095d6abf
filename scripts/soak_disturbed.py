"""One run of a command that is disturbed at a moment of its own work.

Moments are counted in what the process does, not in seconds, so that a loaded machine changes
nothing: the k-th time that it opens, moves, makes, removes or syncs something in its room; the
k-th import; or a share of its CPU time, which also falls into the middle of a library's C code. The
run is a fork of a process that has imported all libraries already, or a fresh process of its own.
"""

import json
import mmap
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

HUNG = 1800  # seconds
AUDITED = {"open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.chmod", "os.truncate"}
"""What Python says before it does it; `os.fsync` it does not, so that is counted apart."""
DISK = 64 << 20  # bytes
FILLER = "filler"


@dataclass(frozen=True)
class Disturbance:
    """What happens, and when.

    Attributes:
        kind: SIGKILL, SIGTERM, SIGINT, "cut write" (killed by a limit on files' sizes, in the
            middle of a write), "file limit" (the same limit as an error), "full disk", "folder
            deleted".
        moment: "event", "import" or "cpu".
        at: the number of the event or import, or CPU seconds.
        size: bytes that may still be written: of a file, or on the disk.
        folder: what is deleted.
    """

    kind: str
    moment: str = "event"
    at: float = 0
    size: int = 0
    folder: str = ""


@dataclass(frozen=True)
class Outcome:
    """What became of a run.

    Attributes:
        code: its exit code; negative: the signal that ended it.
        text: what it wrote to standard output and standard error.
        events: what it did in its room.
        fired: whether the disturbance came.
        cpu: its CPU seconds.
    """

    code: int
    text: str
    events: int
    fired: bool
    cpu: float


class _Counters:
    """Events, imports and whether it fired; in memory that a fork shares with its parent."""

    def __init__(self, file: Path | None = None) -> None:
        if file is None:
            self.memory = mmap.mmap(-1, 24)
            return
        with file.open("r+b") as opened:
            self.memory = mmap.mmap(opened.fileno(), 24)

    def __getitem__(self, place: int) -> int:
        return int.from_bytes(self.memory[8 * place : 8 * place + 8], "little")

    def add(self, place: int) -> int:
        value = self[place] + 1
        self.memory[8 * place : 8 * place + 8] = value.to_bytes(8, "little")
        return value


def forked(
    call: Callable[[], int], room: Path, what: Disturbance | None, area: str = ""
) -> Outcome:
    """Call it in a fork, in its room; only what happens in that area of the room counts."""
    counters = _Counters()
    reading, writing = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    process = os.fork()
    if process == 0:
        os.dup2(writing, 1)
        os.dup2(writing, 2)
        os.close(reading)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        os.chdir(room)
        _leave(call, counters, room, what, area)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        return _outcome(process, pipe, counters)


def fresh(command: Sequence[str], room: Path, what: Disturbance | None) -> Outcome:
    """Run `lokr-weighting` with these arguments in a process that imports everything anew."""
    file = room.with_name("counters")
    file.write_bytes(bytes(24))
    spec = json.dumps([str(room), str(file), None if what is None else asdict(what)])
    process = subprocess.Popen(
        [sys.executable, __file__, spec, *command],
        cwd=room,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    with process.stdout or open(os.devnull, "rb") as pipe:  # noqa: PTH123
        outcome = _outcome(process.pid, pipe, _Counters(file))
    process.returncode = outcome.code
    return outcome


def command_line(*arguments: str) -> int:
    """Run the command line in this process; its exit code."""
    sys.argv = ["lokr-weighting", *arguments]
    try:
        from lokr_weighting.__main__ import main

        main()
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    return 0


def _leave(
    call: Callable[[], int],
    counters: _Counters,
    room: Path,
    what: Disturbance | None,
    area: str = "",
) -> NoReturn:
    code = 1
    try:
        _arm(counters, room, what, area)
        code = call()
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _outcome(process: int, pipe: Any, counters: _Counters) -> Outcome:
    watch = threading.Timer(HUNG, os.kill, (process, signal.SIGKILL))
    watch.start()
    text = pipe.read().decode(errors="replace")
    _, status, usage = os.wait4(process, 0)
    watch.cancel()
    cpu = usage.ru_utime + usage.ru_stime
    return Outcome(os.waitstatus_to_exitcode(status), text, counters[0], bool(counters[2]), cpu)


def _arm(counters: _Counters, room: Path, what: Disturbance | None, area: str) -> None:
    """Count what this process does in its room, and disturb it in time."""
    place, busy = os.fspath(room / area), False

    def happened(kind: str) -> None:
        nonlocal busy
        number = counters.add(0 if kind == "event" else 1)
        if what is not None and what.moment == kind and number == what.at:
            busy = True
            counters.add(2)
            act(what, room)
            busy = False

    def hook(event: str, arguments: Any) -> None:
        if busy:
            return
        if event == "import":
            happened("import")
        elif event in AUDITED and isinstance(path := arguments[0], str | os.PathLike):
            inside = os.path.abspath(path).startswith(place)  # noqa: PTH100
            if inside:
                happened("event")

    sync = os.fsync

    def fsync(handle: Any) -> None:
        happened("event")
        sync(handle)

    os.fsync = fsync
    sys.addaudithook(hook)
    if what is not None and what.moment == "cpu":
        counters.add(2)
        if what.kind == "SIGKILL":
            # SIGPROF ends the process as SIGKILL does, without a word
            signal.signal(signal.SIGPROF, signal.SIG_DFL)
        else:
            signal.signal(signal.SIGPROF, lambda *_: act(what, room))
        signal.setitimer(signal.ITIMER_PROF, max(what.at, 0.001))


def act(what: Disturbance, room: Path) -> None:
    """Disturb this process."""
    if what.kind.startswith("SIG"):
        os.kill(os.getpid(), getattr(signal, what.kind))
    elif what.kind == "folder deleted":
        shutil.rmtree(room / what.folder, ignore_errors=True)
    elif what.kind == "full disk":
        _fill(room.with_name(FILLER), what.size)
    else:
        killed = what.kind == "cut write"
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL if killed else signal.SIG_IGN)
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (what.size, hard))


def _fill(file: Path, left: int) -> None:
    """Fill the disk but for a few bytes."""
    with file.open("wb", buffering=0) as opened, suppress(OSError):
        while True:
            opened.write(bytes(1 << 14))
    os.truncate(file, max(0, file.stat().st_size - left))


@contextmanager
def disk() -> Iterator[tuple[Path, bool]]:
    """A small disk of its own where this may be mounted (Linux, root); else a folder, and False."""
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", folder]
        try:
            mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
        except OSError:
            mounted = False
        try:
            yield Path(folder), mounted
        finally:
            if mounted:
                subprocess.run(["umount", folder], check=False)


if __name__ == "__main__":
    room, file, given = json.loads(sys.argv[1])
    disturbance = None if given is None else Disturbance(**given)
    rest = sys.argv[2:]
    _leave(lambda: command_line(*rest), _Counters(Path(file)), Path(room), disturbance)

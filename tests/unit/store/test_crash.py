"""SIGKILL at any moment: what was acknowledged is there, and nothing is there by half."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from batchyard.kernel.effects import StartAttempt
from batchyard.store.port import Reader
from batchyard.store.sqlite import open_store
from conformance.ports import store_exercise

TESTS = Path(__file__).parents[2]
CHILD = Path(__file__).with_name("crash_child.py")
DEADLINE_S = 60.0


def start(directory: Path, failpoint: str, at_call: int) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, str(CHILD), str(directory), failpoint, str(at_call)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(TESTS)},
    )


def check(directory: Path, acknowledged: set[str]) -> set[str]:
    """The names of the jobs that survived."""

    def look(reader: Reader) -> set[str]:
        names = {job.job_id for job in reader.open_jobs()}
        # All of a command or nothing: row, spec, events, effect.
        assert set(reader.specs(names)) == names
        assert {effect for _, effect in reader.pending_effects()} == {
            StartAttempt(job_id=name, attempt=1) for name in names
        }
        assert len(reader.events_after(0, limit=1_000_000)) == 2 * len(names)
        assert reader.next_seq() == max((int(name[1:]) for name in names), default=0) + 1
        return names

    async def go() -> set[str]:
        store = open_store(directory)
        try:
            names = await store.read(look)
            edges = await store.write(lambda tx: tx.dependents("up", "", 1_000_000))
            assert {name for name, _ in edges} == names
            store_exercise.check_rows_are_the_fold_of_their_events(store)
            return names
        finally:
            await store.close()

    survivors = asyncio.run(go())
    assert acknowledged <= survivors
    return survivors


@pytest.mark.parametrize("at_call", [1, 2, 5])
@pytest.mark.parametrize("failpoint", ["store.before_commit", "store.after_commit"])
def test_killed_around_a_commit(tmp_path: Path, failpoint: str, at_call: int) -> None:
    with start(tmp_path, failpoint, at_call) as child:
        out, _ = child.communicate(timeout=DEADLINE_S)
    assert child.returncode == -signal.SIGKILL
    acknowledged = set(out.split())
    survivors = check(tmp_path, acknowledged)
    if failpoint == "store.before_commit":
        # The replies of an earlier group may have been under way, but the group itself is gone.
        assert len(survivors) == 0 if at_call == 1 else len(survivors) >= len(acknowledged)
    else:
        assert survivors > acknowledged


@pytest.mark.parametrize("after_lines", [1, 40, 333])
def test_killed_at_any_moment(tmp_path: Path, after_lines: int) -> None:
    with start(tmp_path, "never", 0) as child:
        assert child.stdout is not None
        lines = [child.stdout.readline().strip() for _ in range(after_lines)]
        child.kill()
        lines += child.stdout.read().split()
    assert len(check(tmp_path, set(lines))) >= after_lines

"""Control groups of both versions, on folders that look like theirs."""

import os
from pathlib import Path

import pytest

from batchyard.executors.process import cgroups
from batchyard.executors.process.cgroups import Layout, Limits

LIMITS = Limits(memory_bytes=64 << 20, swap_bytes=32 << 20, cpu_shares=2048, swappiness=10)


def group(folder: Path, *files: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in files:
        (folder / name).touch()
    return folder


class TestVersion1:
    def test_limits_are_written(self, tmp_path: Path) -> None:
        memory = group(
            tmp_path / "memory/yard/a.a1",
            "memory.limit_in_bytes",
            "memory.memsw.limit_in_bytes",
            "memory.swappiness",
            "tasks",
        )
        cpu = group(tmp_path / "cpu/yard/a.a1", "cpu.shares", "tasks")
        layout = Layout(1, str(memory.parent), str(cpu.parent))
        cgroups.create(layout, "a.a1", LIMITS)
        cgroups.join(layout, "a.a1")
        assert (memory / "memory.limit_in_bytes").read_text() == str(64 << 20)
        assert (memory / "memory.memsw.limit_in_bytes").read_text() == str(96 << 20)
        assert (memory / "memory.swappiness").read_text() == "10"
        assert (cpu / "cpu.shares").read_text() == "2048"
        assert (memory / "tasks").read_text() == (cpu / "tasks").read_text() == "0"

    def test_kills_are_counted(self, tmp_path: Path) -> None:
        folder = group(tmp_path / "x")
        text = "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"
        (folder / "memory.oom_control").write_text(text)
        assert cgroups.oom_kills(Layout(1, str(tmp_path), None), "x") == 3
        assert cgroups.oom_kills(Layout(1, str(tmp_path), None), "gone") == 0


class TestVersion2:
    def test_limits_are_written(self, tmp_path: Path) -> None:
        folder = group(
            tmp_path / "a.a1", "memory.max", "memory.swap.max", "cpu.weight", "cgroup.procs"
        )
        layout = Layout(2, str(tmp_path), str(tmp_path))
        cgroups.create(layout, "a.a1", LIMITS)
        cgroups.join(layout, "a.a1")
        assert (folder / "memory.max").read_text() == str(64 << 20)
        assert (folder / "memory.swap.max").read_text() == str(32 << 20)
        assert (folder / "cpu.weight").read_text() == str(cgroups.weight(2048))
        assert (folder / "cgroup.procs").read_text() == "0"

    def test_kills_are_counted(self, tmp_path: Path) -> None:
        folder = group(tmp_path / "x")
        (folder / "memory.events").write_text("low 0\nhigh 0\nmax 9\noom 2\noom_kill 1\n")
        assert cgroups.oom_kills(Layout(2, str(tmp_path), None), "x") == 1

    def test_kill_uses_the_kernel_where_it_can(self, tmp_path: Path) -> None:
        folder = group(tmp_path / "x", "cgroup.kill")
        cgroups.kill(Layout(2, str(tmp_path), None), "x")
        assert (folder / "cgroup.kill").read_text() == "1"

    @pytest.mark.parametrize(("shares", "weight"), [(2, 1), (1024, 39), (262_144, 10_000)])
    def test_weights_are_those_of_runc(self, shares: int, weight: int) -> None:
        assert cgroups.weight(shares) == weight


class TestFind:
    """A place is taken only when a real process can be moved into a group there."""

    def mounts(self, root: Path, kind: str, options: str) -> str:
        return f"30 23 0:26 / {root} rw,nosuid - {kind} cgroup {options}\n"

    def tree(self, root: Path, path: str, controllers: str) -> None:
        """A tree of version 2 in which new groups get the files that a kernel would make."""
        for folder in (root, root / path):
            group(folder, "cgroup.procs")
            (folder / "cgroup.controllers").write_text(controllers)
            (folder / "cgroup.subtree_control").write_text(controllers)

    def test_version_2_needs_the_memory_controller(self, tmp_path: Path) -> None:
        self.tree(tmp_path, "user.slice/app.slice/x.scope", "cpu pids")
        found = cgroups.find(
            "yard",
            self_cgroup="0::/user.slice/app.slice/x.scope\n",
            mountinfo=self.mounts(tmp_path, "cgroup2", "rw"),
        )
        assert found is None

    def test_a_folder_that_is_no_cgroup_is_no_place(self, tmp_path: Path) -> None:
        group(tmp_path / "memory")
        found = cgroups.find(
            "yard",
            self_cgroup="4:memory:/\n",
            mountinfo=self.mounts(tmp_path / "memory", "cgroup", "rw,memory"),
        )
        assert found is None

    def test_nothing_mounted_is_no_place(self) -> None:
        assert (
            cgroups.find("yard", self_cgroup="0::/\n", mountinfo="22 1 8:1 / / rw - ext4 x rw\n")
            is None
        )


def test_deleting_what_is_gone_is_no_error(tmp_path: Path) -> None:
    layout = Layout(1, str(tmp_path), str(tmp_path))
    cgroups.delete(layout, "never")
    (tmp_path / "empty").mkdir()
    cgroups.delete(layout, "empty")
    assert os.listdir(tmp_path) == []

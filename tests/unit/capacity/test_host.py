"""The machine as the `host` provider measures it, on file trees laid out like those of Linux."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from batchyard.capacity.host import RESERVED_MIB, gpu_ids, host_instance

GIB_KB = 1_048_576
PROCESSORS = len(os.sched_getaffinity(0))


def machine(
    root: Path, *, gib: int = 8, group: str = "0::/\n", files: Mapping[str, str] | None = None
) -> Path:
    """A root folder of a machine with so much memory; `files` are below `/sys/fs/cgroup`."""
    contents = {
        "proc/meminfo": f"MemTotal:       {gib * GIB_KB} kB\nMemFree:  1 kB\n",
        "proc/self/cgroup": group,
        "etc/machine-id": "0123456789abcdef\n",
        **{f"sys/fs/cgroup/{name}": text for name, text in (files or {}).items()},
    }
    for name, text in contents.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def memory_mib(root: Path) -> int:
    return host_instance(root=root).total.memory_mib


def vcpus(root: Path) -> float:
    return host_instance(root=root).total.vcpu_milli / 1000


class TestMemory:
    def test_all_of_it_but_what_is_kept_for_the_yard(self, tmp_path: Path) -> None:
        assert memory_mib(machine(tmp_path)) == 8192 - RESERVED_MIB

    @pytest.mark.parametrize(
        ("group", "file"),
        [
            ("0::/\n", "memory.max"),
            ("0::/system.slice/yard.service\n", "system.slice/yard.service/memory.max"),
            ("0::/system.slice/yard.service\n", "system.slice/memory.max"),
            ("3:memory:/docker/abc\n0::/\n", "memory/docker/abc/memory.limit_in_bytes"),
            # In a container of version 1 the path is the host's; the limit is on the root group.
            ("3:memory:/docker/abc\n0::/\n", "memory/memory.limit_in_bytes"),
            ("0::/../../elsewhere\n", "memory.max"),
        ],
    )
    def test_a_limit_on_any_control_group_around_is_the_machine(
        self, tmp_path: Path, group: str, file: str
    ) -> None:
        root = machine(tmp_path, group=group, files={file: f"{2 << 30}\n"})
        assert memory_mib(root) == 2048 - RESERVED_MIB

    def test_the_smallest_limit_counts(self, tmp_path: Path) -> None:
        files = {"a/b/memory.max": f"{3 << 30}\n", "a/memory.max": f"{2 << 30}\n"}
        assert memory_mib(machine(tmp_path, group="0::/a/b\n", files=files)) == 2048 - RESERVED_MIB

    @pytest.mark.parametrize("text", ["max\n", f"{64 << 30}\n", "9223372036854771712\n", ""])
    def test_no_limit_or_one_beyond_the_machine_is_none(self, tmp_path: Path, text: str) -> None:
        root = machine(tmp_path, files={"memory.max": text})
        assert memory_mib(root) == 8192 - RESERVED_MIB

    def test_a_limit_of_another_controller_is_not_ours(self, tmp_path: Path) -> None:
        root = machine(tmp_path, group="1:pids:/x\n", files={"pids/x/memory.limit_in_bytes": "1"})
        assert memory_mib(root) == 8192 - RESERVED_MIB

    def test_a_tiny_machine_still_takes_the_smallest_job(self, tmp_path: Path) -> None:
        assert memory_mib(machine(tmp_path, files={"memory.max": f"{64 << 20}\n"})) == 4


class TestProcessors:
    def test_those_this_process_may_run_on(self, tmp_path: Path) -> None:
        assert vcpus(machine(tmp_path)) == PROCESSORS

    @pytest.mark.parametrize(
        ("group", "files"),
        [
            ("0::/\n", {"cpu.max": "100000 100000\n"}),
            ("0::/a.slice/b\n", {"a.slice/cpu.max": "150000 100000\n"}),
            ("0::/\n", {"cpu.max": "20000 100000\n"}),
            (
                "4:cpu,cpuacct:/docker/x\n",
                {"cpu/cpu.cfs_quota_us": "100000\n", "cpu/cpu.cfs_period_us": "100000\n"},
            ),
        ],
    )
    def test_fewer_where_a_quota_grants_fewer(
        self, tmp_path: Path, group: str, files: dict[str, str]
    ) -> None:
        assert vcpus(machine(tmp_path, group=group, files=files)) == 1

    @pytest.mark.parametrize(
        "files",
        [
            {"cpu.max": "max 100000\n"},
            {"cpu.max": "99900000 100000\n"},
            {"cpu.max": "100000 0\n"},
            {"cpu.max": "nonsense\n"},
        ],
    )
    def test_no_quota_or_a_larger_one_changes_nothing(
        self, tmp_path: Path, files: dict[str, str]
    ) -> None:
        assert vcpus(machine(tmp_path, files=files)) == PROCESSORS

    def test_quota_of_minus_one_is_none(self, tmp_path: Path) -> None:
        files = {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}
        assert vcpus(machine(tmp_path, group="4:cpu:/\n", files=files)) == PROCESSORS


class TestDevices:
    def test_minors_in_order_and_nothing_else(self, tmp_path: Path) -> None:
        (tmp_path / "dev").mkdir()
        for name in ("nvidia10", "nvidia0", "nvidia2", "nvidiactl", "nvidia-uvm", "null"):
            (tmp_path / "dev" / name).touch()
        assert gpu_ids(tmp_path) == ("0", "2", "10")
        instance = host_instance(root=machine(tmp_path))
        assert (instance.total.gpus, instance.gpu_ids) == (3, ("0", "2", "10"))

    def test_none_without_a_driver(self, tmp_path: Path) -> None:
        assert gpu_ids(tmp_path) == ()


class TestSettings:
    def test_what_is_given_wins_over_what_is_measured(self, tmp_path: Path) -> None:
        instance = host_instance(vcpus=96, memory_mib=512, gpus=2, root=machine(tmp_path))
        total = instance.total
        assert (total.vcpu_milli, total.memory_mib, total.gpus) == (96_000, 512, 2)
        assert instance.gpu_ids == ("0", "1")

    def test_no_gpus_can_be_given_too(self, tmp_path: Path) -> None:
        (tmp_path / "dev").mkdir()
        (tmp_path / "dev" / "nvidia0").touch()
        assert host_instance(gpus=0, root=machine(tmp_path)).gpu_ids == ()


class TestIdentity:
    def test_shaped_like_one_of_ec2_and_the_same_each_time(self, tmp_path: Path) -> None:
        root = machine(tmp_path)
        first, second = host_instance(root=root), host_instance(root=root)
        assert first.instance_id == second.instance_id
        assert first.instance_id.startswith("i-")
        assert len(first.instance_id) == 19

    def test_another_machine_has_another(self, tmp_path: Path) -> None:
        one = host_instance(root=machine(tmp_path / "a"))
        root = machine(tmp_path / "b")
        (root / "etc/machine-id").write_text("fedcba9876543210\n")
        assert host_instance(root=root).instance_id != one.instance_id

    def test_an_empty_root_is_measured_all_the_same(self, tmp_path: Path) -> None:
        instance = host_instance(root=tmp_path)
        assert instance.total.memory_mib == 1024 - RESERVED_MIB
        assert instance.instance_id.startswith("i-")

    def test_this_machine(self) -> None:
        total = host_instance().total
        assert 1000 <= total.vcpu_milli <= 1000 * PROCESSORS
        assert total.memory_mib > 4

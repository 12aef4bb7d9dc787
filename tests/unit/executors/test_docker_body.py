import msgspec
import pytest

from batchyard.executors.docker.body import Draft, Host, compose, container_name
from batchyard.executors.docker.degrade import clamp, concede, forbidden
from batchyard.executors.docker.images import split_image
from batchyard.executors.docker.sockets import HardLimits
from batchyard.executors.policy import Policy
from batchyard.executors.port import AttemptSpec, Device, Mount, Tmpfs, Ulimit

SPEC = AttemptSpec(
    attempt_id="abc.a1",
    job_id="abc",
    attempt=1,
    job_name="job",
    image="image:1",
    command=("echo", "hi"),
    environment={"A": "1=2", "B": ""},
    vcpu_milli=2000,
    memory_mib=512,
)
SMALL_HOST = Host(kind="docker", limits=HardLimits(highest={"nofile": 20_000}))


def composed(host: Host = SMALL_HOST, conceded: frozenset = frozenset(), **over: object) -> Draft:
    spec = msgspec.structs.replace(SPEC, **over)
    return compose(spec, yard_id="yard", policy=Policy(), host=host, conceded=conceded)


def test_the_plain_case() -> None:
    draft = composed()
    assert draft.notes == ()
    assert draft.body["Cmd"] == ["echo", "hi"]
    assert draft.body["Env"] == ["A=1=2", "B="]
    assert draft.body["Labels"]["batchyard.attempt"] == "abc.a1"
    host = draft.body["HostConfig"]
    assert host["Memory"] == 512 << 20
    assert host["CpuShares"] == 2048
    assert host["NetworkMode"] == "host"
    assert host["Init"] is True
    assert "NanoCpus" not in host


def test_no_command_leaves_the_images_own() -> None:
    assert "Cmd" not in composed(command=()).body


def test_every_container_says_where_its_output_goes() -> None:
    assert composed().body["HostConfig"]["LogConfig"]["Type"] == "json-file"
    podman = composed(host=Host(kind="podman"))
    assert podman.body["HostConfig"]["LogConfig"]["Type"] == "k8s-file"


def test_memory_below_the_engines_least_is_raised_and_said() -> None:
    draft = composed(memory_mib=4)
    assert draft.body["HostConfig"]["Memory"] == 6 << 20
    assert draft.notes == ("memory raised from 4 to 6 MiB: the engine's least",)


def test_swap() -> None:
    none = composed(max_swap_mib=0, swappiness=10).body["HostConfig"]
    assert none["MemorySwap"] == 512 << 20
    assert none["MemorySwappiness"] == 10
    assert "MemorySwap" not in composed(swappiness=10).body["HostConfig"]
    assert "MemorySwappiness" not in composed(swappiness=10).body["HostConfig"]


def test_gpus_are_asked_for_by_id() -> None:
    host = composed(gpu_ids=("0", "GPU-7")).body["HostConfig"]
    assert host["DeviceRequests"] == [{"DeviceIDs": ["0", "GPU-7"], "Capabilities": [["gpu"]]}]


def test_mounts() -> None:
    host = composed(
        mounts=(
            Mount(target="/a", source="/data"),
            Mount(target="/b", source="/data", read_only=True),
            Mount(target="/c"),
            Mount(target="/d", source="/with:colon"),
        ),
        tmpfs=(Tmpfs(path="/t", size_mib=64, options=("noexec",)),),
        shared_memory_mib=32,
    ).body["HostConfig"]
    assert host["Binds"] == ["/data:/a:rw", "/data:/b:ro"]
    assert host["Mounts"] == [
        {"Type": "volume", "Target": "/c", "ReadOnly": False},
        {"Type": "bind", "Target": "/d", "ReadOnly": False, "Source": "/with:colon"},
    ]
    assert host["Tmpfs"] == {"/t": "size=64m,noexec"}
    assert host["ShmSize"] == 32 << 20


def test_ulimits_are_lowered_to_the_hosts_and_said() -> None:
    draft = composed(ulimits=(Ulimit(name="nofile", soft=1024, hard=65_536),))
    assert draft.body["HostConfig"]["Ulimits"] == [{"Name": "nofile", "Soft": 1024, "Hard": 20_000}]
    assert draft.notes == (
        "ulimit nofile lowered from 1024:65536 to 1024:20000: the host's hard limit",
    )


@pytest.mark.parametrize(
    ("asked", "highest", "given"),
    [(-1, 100, 100), (50, 100, 50), (500, 100, 100), (-1, -1, -1), (500, -1, 500)],
)
def test_clamping(asked: int, highest: int, given: int) -> None:
    result = clamp(
        (Ulimit(name="memlock", soft=asked, hard=asked),),
        HardLimits(highest={"memlock": highest}),
    )
    assert result.ulimits[0].hard == given
    assert bool(result.notes) == (asked != given)


def test_an_unknown_limit_is_passed_on() -> None:
    asked = (Ulimit(name="nproc", soft=9, hard=9),)
    assert clamp(asked, HardLimits()).ulimits == asked


def test_privileges() -> None:
    assert composed(privileged=True).body["HostConfig"]["Privileged"] is True
    less = composed(privileged=True, conceded=frozenset({"privileged"}))
    host = less.body["HostConfig"]
    assert "Privileged" not in host
    assert (host["CapAdd"], host["CapDrop"]) == (["ALL"], ["SYS_RESOURCE"])
    assert host["SecurityOpt"] == ["seccomp=unconfined"]
    assert less.notes
    assert "privileged degraded" in less.notes[0]


def test_what_was_conceded_to_another_job_is_not_noted_on_this_one() -> None:
    assert composed(conceded=frozenset({"privileged", "swappiness", "devices"})).notes == ()


@pytest.mark.parametrize(
    ("over", "text", "expected"),
    [
        ({"ulimits": (Ulimit(name="nproc", soft=1, hard=1),)},
         "error setting rlimit type 6", "ulimits"),
        ({"privileged": True}, "unable to apply caps: operation not permitted", "privileged"),
        ({"privileged": True}, "can't get final child's PID from pipe: EOF", "privileged"),
        ({"privileged": True}, 'exec: "x": executable file not found in $PATH', None),
        ({"devices": (Device(host_path="/dev/x", container_path="/dev/x"),)},
         'error gathering device information while adding custom device "/dev/x"', "devices"),
        ({}, 'exec: "docker-init": executable file not found in $PATH', "init"),
        ({"swappiness": 5}, "cannot set memory swappiness with cgroupv2", "swappiness"),
        ({}, "no space left on device", None),
    ],
)  # fmt: skip
def test_concessions(over: dict[str, object], text: str, expected: str | None) -> None:
    spec = msgspec.structs.replace(SPEC, **over)
    assert concede(text, spec, policy=Policy(), conceded=frozenset()) == expected
    if expected is not None:
        again = concede(text, spec, policy=Policy(), conceded=frozenset({expected}))
        assert again is None


def test_allow_concedes_nothing() -> None:
    spec = msgspec.structs.replace(SPEC, privileged=True)
    policy = Policy(privileged="allow")
    assert concede("unable to apply caps", spec, policy=policy, conceded=frozenset()) is None


@pytest.mark.parametrize(
    ("feature", "over"),
    [
        ("privileged", {"privileged": True}),
        ("ulimits", {"ulimits": (Ulimit(name="core", soft=0, hard=0),)}),
        ("devices", {"devices": (Device(host_path="/dev/kvm", container_path="/dev/kvm"),)}),
        ("volumes", {"mounts": (Mount(target="/a", source="/a"),)}),
        ("user", {"user": "nobody"}),
    ],
)
def test_deny_forbids_only_what_it_names(feature: str, over: dict[str, object]) -> None:
    policy = Policy(**{feature: "deny"})
    assert forbidden(SPEC, policy) is None
    asking = msgspec.structs.replace(SPEC, **over)
    assert forbidden(asking, policy) == f"the policy of this yard denies {feature}"
    assert forbidden(asking, Policy()) is None


def test_an_anonymous_volume_is_not_denied() -> None:
    spec = msgspec.structs.replace(SPEC, mounts=(Mount(target="/scratch"),))
    assert forbidden(spec, Policy(volumes="deny")) is None


def test_a_relative_source_path_is_refused() -> None:
    spec = msgspec.structs.replace(SPEC, mounts=(Mount(target="/a", source="data"),))
    assert "'data' is not an absolute path" in str(forbidden(spec, Policy()))


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("busybox", ("busybox", "latest")),
        ("busybox:1.36", ("busybox", "1.36")),
        ("host:5000/a/b", ("host:5000/a/b", "latest")),
        ("host:5000/a/b:2", ("host:5000/a/b", "2")),
        ("a/b@sha256:00", ("a/b@sha256:00", "")),
    ],
)
def test_image_names(image: str, expected: tuple[str, str]) -> None:
    assert split_image(image) == expected


def test_names_are_short_and_tell_the_yard() -> None:
    assert container_name("0123456789ab", "id.a1") == "batchyard-01234567-id.a1"

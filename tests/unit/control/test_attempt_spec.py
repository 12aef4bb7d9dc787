"""What a driver is given for an attempt, member by member, and the environment of the job."""

import msgspec
import pytest

from batchyard.control.attempt_spec import attempt_spec, log_group
from batchyard.control.injection import Surroundings, defaults, injected
from batchyard.executors.port import AttemptSpec, Device, Mount, Tmpfs, Ulimit
from batchyard.kernel.job import Attempt, Job, JobSpec
from batchyard.kernel.resources import Shape

JOB_ID = "00000001-0000-4000-8000-000000000000"
ROLE = "arn:aws:iam::000000000000:role/reader"
AROUND = Surroundings(
    endpoint_url="http://127.0.0.1:7460",
    region="eu-central-1",
    credentials_url="http://127.0.0.1:7460/_batchyard/credentials",
    token_for=lambda attempt, role: f"token of {attempt} as {role}",
)
ATTEMPT = Attempt(
    number=2,
    attempt_id=f"{JOB_ID}.a2",
    compute_environment="this-machine",
    instance_id="i-1",
    cluster="cluster",
    log_stream="align/default/0123",
    placed_at_ms=1,
    gpu_ids=("0", "3"),
)
JOB = Job(
    job_id=JOB_ID,
    kind="single",
    name="align",
    queue="default",
    definition="align:3",
    status="STARTING",
    seq=1,
    shape=Shape(vcpu_milli=2500, memory_mib=2048, gpus=2),
    created_at_ms=1,
    current=ATTEMPT,
)
WHOLE: dict[str, object] = {
    "image": "debian:12",
    "command": ["sh", "-c", "echo hi"],
    "environment": [{"name": "SAMPLE", "value": "NA12878"}, {"name": "EMPTY"}],
    "jobRoleArn": ROLE,
    "user": "1000:1000",
    "privileged": True,
    "readonlyRootFilesystem": True,
    "ulimits": [{"name": "nofile", "softLimit": 1024, "hardLimit": 4096}],
    "volumes": [
        {"name": "data", "host": {"sourcePath": "/srv/data"}},
        {"name": "scratch", "host": {}},
        {"name": "bare"},
    ],
    "mountPoints": [
        {"sourceVolume": "data", "containerPath": "/data", "readOnly": True},
        {"sourceVolume": "scratch", "containerPath": "/scratch"},
        {"sourceVolume": "bare", "containerPath": "/bare", "readOnly": False},
    ],
    "linuxParameters": {
        "initProcessEnabled": False,
        "sharedMemorySize": 64,
        "maxSwap": 512,
        "swappiness": 10,
        "devices": [
            {
                "hostPath": "/dev/fuse",
                "containerPath": "/dev/f",
                "permissions": ["READ", "MKNOD"],
            },
            {"hostPath": "/dev/kvm"},
        ],
        "tmpfs": [
            {"containerPath": "/tmp", "size": 32, "mountOptions": ["noexec", "nosuid"]},
            {"containerPath": "/run", "size": 1},
        ],
    },
    "logConfiguration": {"logDriver": "awslogs", "options": {"awslogs-group": "/my/group"}},
}


def translated(
    container: dict[str, object],
    *,
    job: Job = JOB,
    array_size: int | None = None,
    parameters: dict[str, str] | None = None,
) -> AttemptSpec:
    spec = JobSpec(
        definition_arn="arn",
        definition_name="align",
        container=container,
        parameters=parameters or {},
    )
    assert job.current is not None
    return attempt_spec(job, job.current, spec, array_size=array_size, around=AROUND)


def test_every_member_has_its_place() -> None:
    spec = translated(WHOLE, parameters={"run_for": "3"})
    environment = spec.environment
    assert msgspec.structs.replace(spec, environment={}) == AttemptSpec(
        attempt_id=f"{JOB_ID}.a2",
        job_id=JOB_ID,
        attempt=2,
        job_name="align",
        image="debian:12",
        command=("sh", "-c", "echo hi"),
        environment={},
        vcpu_milli=2500,
        memory_mib=2048,
        gpu_ids=("0", "3"),
        user="1000:1000",
        privileged=True,
        read_only_root=True,
        init=False,
        ulimits=(Ulimit(name="nofile", soft=1024, hard=4096),),
        mounts=(
            Mount(target="/data", source="/srv/data", read_only=True),
            Mount(target="/scratch"),
            Mount(target="/bare"),
        ),
        devices=(
            Device(host_path="/dev/fuse", container_path="/dev/f", permissions="rm"),
            Device(host_path="/dev/kvm", container_path="/dev/kvm", permissions="rwm"),
        ),
        tmpfs=(
            Tmpfs(path="/tmp", size_mib=32, options=("noexec", "nosuid")),
            Tmpfs(path="/run", size_mib=1),
        ),
        shared_memory_mib=64,
        max_swap_mib=512,
        swappiness=10,
        network_mode="host",
        log_group="/my/group",
        log_stream="align/default/0123",
        mock={"run_for": "3"},
    )
    assert environment["SAMPLE"] == "NA12878"
    assert environment["EMPTY"] == ""


def test_no_field_of_the_contract_is_left_to_its_default() -> None:
    """A member added to the port must be mapped here, too."""
    spec = translated(WHOLE, parameters={"run_for": "3"})
    untouched = {
        field.name
        for field in msgspec.structs.fields(AttemptSpec)
        if not field.required and getattr(spec, field.name) == field.default
    }
    # AWS: jobs of one node on EC2 are forced onto the host's network.
    assert untouched == {"network_mode"}


def test_a_bare_container_has_the_defaults_of_aws() -> None:
    spec = translated({"image": "busybox"})
    assert spec.command == ()
    assert (spec.user, spec.privileged, spec.read_only_root, spec.init) == ("", False, False, True)
    assert (spec.ulimits, spec.mounts, spec.devices, spec.tmpfs) == ((), (), (), ())
    assert (spec.shared_memory_mib, spec.max_swap_mib, spec.swappiness) == (None, None, None)
    assert spec.log_group == "/aws/batch/job"


def test_no_swap_is_not_the_same_as_none_said() -> None:
    assert translated({"image": "i", "linuxParameters": {"maxSwap": 0}}).max_swap_mib == 0


def test_two_mounts_may_share_a_volume_and_an_unknown_one_is_anonymous() -> None:
    container: dict[str, object] = {
        "image": "i",
        "volumes": [{"name": "v", "host": {"sourcePath": "/a"}}],
        "mountPoints": [
            {"sourceVolume": "v", "containerPath": "/x"},
            {"sourceVolume": "v", "containerPath": "/y"},
            {"containerPath": "/z"},
        ],
    }
    assert [(m.target, m.source) for m in translated(container).mounts] == [
        ("/x", "/a"),
        ("/y", "/a"),
        ("/z", None),
    ]


def test_members_of_another_shape_are_no_obstacle() -> None:
    """Unknown documents are kept as they came; a driver must not fall over them."""
    container: dict[str, object] = {
        "image": 7,
        "command": "sh",
        "environment": [3, {"name": "A", "value": 4}],
        "linuxParameters": [],
        "volumes": {},
        "mountPoints": None,
        "logConfiguration": {"options": []},
    }
    spec = translated(container)
    assert (spec.image, spec.command, spec.mounts) == ("", (), ())
    assert spec.environment["A"] == ""
    assert spec.log_group == "/aws/batch/job"


@pytest.mark.parametrize(
    ("logging", "group"),
    [
        ({}, "/aws/batch/job"),
        ({"logDriver": "awslogs"}, "/aws/batch/job"),
        ({"logDriver": "awslogs", "options": {"awslogs-group": "g"}}, "g"),
        ({"logDriver": "awslogs", "options": {"awslogs-stream-prefix": "p"}}, "/aws/batch/job"),
    ],
)
def test_logs_go_to_the_group_that_was_asked_for(logging: dict[str, object], group: str) -> None:
    spec = JobSpec(
        definition_arn="arn", definition_name="n", container={"logConfiguration": logging}
    )
    assert log_group(spec) == group


class TestEnvironment:
    def test_a_single_job_has_these_and_no_other(self) -> None:
        container: dict[str, object] = {"image": "i", "jobRoleArn": ROLE}
        assert translated(container).environment == {
            "AWS_BATCH_JOB_ID": JOB_ID,
            "AWS_BATCH_JOB_ATTEMPT": "2",
            "AWS_BATCH_JQ_NAME": "default",
            "AWS_BATCH_CE_NAME": "this-machine",
            "AWS_EXECUTION_ENV": "AWS_ECS_EC2",
            "AWS_ENDPOINT_URL": "http://127.0.0.1:7460",
            "AWS_REGION": "eu-central-1",
            "AWS_DEFAULT_REGION": "eu-central-1",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:7460/_batchyard/credentials",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": f"token of {JOB_ID}.a2 as {ROLE}",
        }

    def test_without_a_role_the_token_is_for_none(self) -> None:
        token = translated({"image": "i"}).environment["AWS_CONTAINER_AUTHORIZATION_TOKEN"]
        assert token == f"token of {JOB_ID}.a2 as None"

    @pytest.mark.parametrize("index", [0, 7])
    def test_a_child_knows_its_index_and_the_size_of_its_array(self, index: int) -> None:
        child = msgspec.structs.replace(JOB, job_id=f"{JOB_ID}:{index}", kind="child", index=index)
        environment = translated({"image": "i"}, job=child, array_size=10).environment
        assert environment["AWS_BATCH_JOB_ID"] == f"{JOB_ID}:{index}"
        assert environment["AWS_BATCH_JOB_ARRAY_INDEX"] == str(index)
        assert environment["AWS_BATCH_JOB_ARRAY_SIZE"] == "10"

    def test_a_single_job_knows_of_no_array(self) -> None:
        names = translated({"image": "i"}).environment
        assert not [name for name in names if name.startswith("AWS_BATCH_JOB_ARRAY")]

    def test_a_job_may_choose_its_endpoint_and_region_and_nothing_of_ours(self) -> None:
        own = {
            "AWS_ENDPOINT_URL": "https://s3.example.org",
            "AWS_REGION": "us-west-2",
            "AWS_EXECUTION_ENV": "mine",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": "mine",
            "AWS_ACCESS_KEY_ID": "AKIAMINE",
        }
        container: dict[str, object] = {
            "image": "i",
            "environment": [{"name": name, "value": value} for name, value in own.items()],
        }
        environment = translated(container).environment
        assert environment["AWS_ENDPOINT_URL"] == "https://s3.example.org"
        assert environment["AWS_REGION"] == "us-west-2"
        assert environment["AWS_DEFAULT_REGION"] == "eu-central-1"
        assert environment["AWS_ACCESS_KEY_ID"] == "AKIAMINE"
        assert environment["AWS_EXECUTION_ENV"] == "AWS_ECS_EC2"
        assert environment["AWS_CONTAINER_AUTHORIZATION_TOKEN"].startswith("token of")

    def test_what_wins_and_what_yields_do_not_overlap(self) -> None:
        wins = injected(JOB, ATTEMPT, role_arn=None, around=AROUND)
        assert not set(wins) & set(defaults(AROUND))

    def test_a_variable_given_twice_has_its_last_value(self) -> None:
        container: dict[str, object] = {
            "image": "i",
            "environment": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}],
        }
        assert translated(container).environment["A"] == "2"

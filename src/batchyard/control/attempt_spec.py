"""From a placed job to what a driver runs: every value final."""

from collections.abc import Iterator, Mapping

from batchyard.control.injection import Surroundings, defaults, injected
from batchyard.executors.port import AttemptSpec, Device, Mount, Tmpfs, Ulimit
from batchyard.kernel.job import Attempt, Job, JobSpec

LOG_GROUP = "/aws/batch/job"


def attempt_spec(
    job: Job, attempt: Attempt, spec: JobSpec, *, array_size: int | None, around: Surroundings
) -> AttemptSpec:
    """Translate the wire-shaped container of a spec for the executors."""
    container = spec.container
    linux = _document(container, "linuxParameters")
    role = _text(container, "jobRoleArn")
    environment = defaults(around)
    for entry in _entries(container, "environment"):
        environment[_text(entry, "name")] = _text(entry, "value")
    environment |= injected(job, attempt, role_arn=role or None, around=around)
    if array_size is not None:
        environment["AWS_BATCH_JOB_ARRAY_SIZE"] = str(array_size)
    return AttemptSpec(
        attempt_id=attempt.attempt_id,
        job_id=job.job_id,
        attempt=attempt.number,
        job_name=job.name,
        image=_text(container, "image"),
        command=tuple(_texts(container, "command")),
        environment=environment,
        vcpu_milli=job.shape.vcpu_milli,
        memory_mib=job.shape.memory_mib,
        gpu_ids=attempt.gpu_ids,
        user=_text(container, "user"),
        privileged=container.get("privileged") is True,
        read_only_root=container.get("readonlyRootFilesystem") is True,
        init=linux.get("initProcessEnabled") is not False,
        ulimits=tuple(
            Ulimit(
                name=_text(u, "name"),
                soft=_number(u, "softLimit") or 0,
                hard=_number(u, "hardLimit") or 0,
            )
            for u in _entries(container, "ulimits")
        ),
        mounts=tuple(_mounts(container)),
        devices=tuple(
            Device(
                host_path=_text(d, "hostPath"),
                container_path=_text(d, "containerPath") or _text(d, "hostPath"),
                permissions="".join(p[0].lower() for p in _permissions(d)) or "rwm",
            )
            for d in _entries(linux, "devices")
        ),
        tmpfs=tuple(
            Tmpfs(
                path=_text(t, "containerPath"),
                size_mib=_number(t, "size") or 0,
                options=tuple(_texts(t, "mountOptions")),
            )
            for t in _entries(linux, "tmpfs")
        ),
        shared_memory_mib=_number(linux, "sharedMemorySize"),
        max_swap_mib=_number(linux, "maxSwap"),
        swappiness=_number(linux, "swappiness"),
        log_group=log_group(spec),
        log_stream=attempt.log_stream,
        mock=dict(spec.parameters),
    )


def log_group(spec: JobSpec) -> str:
    """AWS: `/aws/batch/job` unless the definition's awslogs options name another."""
    options = _document(_document(spec.container, "logConfiguration"), "options")
    return _text(options, "awslogs-group") or LOG_GROUP


def _permissions(device: Mapping[str, object]) -> list[str]:
    # Docker's letters are r, w and m: READ, WRITE, MKNOD.
    return [p for p in _texts(device, "permissions") if p]


def _mounts(container: Mapping[str, object]) -> Iterator[Mount]:
    volumes = {_text(v, "name"): v for v in _entries(container, "volumes")}
    for point in _entries(container, "mountPoints"):
        volume = volumes.get(_text(point, "sourceVolume"), {})
        source = _text(_document(volume, "host"), "sourcePath")
        yield Mount(
            target=_text(point, "containerPath"),
            source=source or None,
            read_only=point.get("readOnly") is True,
        )


def _text(document: Mapping[str, object], key: str) -> str:
    value = document.get(key)
    return value if isinstance(value, str) else ""


def _number(document: Mapping[str, object], key: str) -> int | None:
    value = document.get(key)
    return value if isinstance(value, int) else None


def _document(document: Mapping[str, object], key: str) -> dict[str, object]:
    value = document.get(key)
    return value if isinstance(value, dict) else {}


def _list(document: Mapping[str, object], key: str) -> list[object]:
    value = document.get(key)
    return value if isinstance(value, list) else []


def _texts(document: Mapping[str, object], key: str) -> list[str]:
    return [item for item in _list(document, key) if isinstance(item, str)]


def _entries(document: Mapping[str, object], key: str) -> list[dict[str, object]]:
    return [item for item in _list(document, key) if isinstance(item, dict)]

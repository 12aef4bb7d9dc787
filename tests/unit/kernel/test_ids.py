"""Names and ARNs, and the attempt id that engines see."""

import re

import pytest

from batchyard.kernel import ids

JOB = "0b8a1c1e-9a52-4f0e-8a50-0c2f6a3f7d11"


def test_arns_carry_the_realm() -> None:
    realm = ids.Realm(partition="aws-cn", region="cn-north-1", account="123456789012")
    batch = "arn:aws-cn:batch:cn-north-1:123456789012:"
    assert realm.job(f"{JOB}:3") == f"{batch}job/{JOB}:3"
    assert realm.job_queue("q") == f"{batch}job-queue/q"
    assert realm.compute_environment("ce") == f"{batch}compute-environment/ce"
    assert realm.job_definition("d", 7) == f"{batch}job-definition/d:7"
    assert ids.Realm() == ids.Realm(partition="aws", region="us-east-1", account="000000000000")


def test_task_and_container_instance_arns_look_like_those_of_ecs() -> None:
    realm, attempt = ids.Realm(), ids.attempt_id(JOB, 1)
    task = realm.task("cluster", attempt)
    instance = realm.container_instance("cluster", "i-1")
    ecs = "arn:aws:ecs:us-east-1:000000000000:"
    assert task == f"{ecs}task/cluster/{ids.task_id(attempt)}"
    assert re.fullmatch(f"{ecs}task/cluster/[0-9a-f]{{32}}", task)
    assert re.fullmatch(f"{ecs}container-instance/cluster/[0-9a-f]{{32}}", instance)
    assert realm.container_instance("cluster", "i-1") == instance
    others = [realm.container_instance("cluster", "i-2"), realm.container_instance("c", "i-1")]
    assert instance.rpartition("/")[2] not in [arn.rpartition("/")[2] for arn in others]


@pytest.mark.parametrize(
    ("job_id", "root", "index"),
    [
        (JOB, JOB, None),
        (f"{JOB}:0", JOB, 0),
        (f"{JOB}:7", JOB, 7),
        (f"{JOB}:9999", JOB, 9999),
        (f"{JOB}:", f"{JOB}:", None),
        (f"{JOB}:01", f"{JOB}:01", None),
        (f"{JOB}:1:2", f"{JOB}:1:2", None),
        (f"{JOB}:00", f"{JOB}:00", None),
        (f"{JOB}:-1", f"{JOB}:-1", None),
        (f"{JOB}:x", f"{JOB}:x", None),
        (f"{JOB}:1\n", f"{JOB}:1\n", None),
        (f"{JOB}:\u0663", f"{JOB}:\u0663", None),
        (f"{JOB}#0", f"{JOB}#0", None),
    ],
)
def test_only_a_plain_number_after_the_colon_names_a_child(
    job_id: str, root: str, index: int | None
) -> None:
    assert ids.split_child(job_id) == (root, index)


def test_a_number_too_long_for_any_array_names_no_child() -> None:
    assert ids.split_child(f"{JOB}:{'9' * 5000}")[1] is None


def test_children_are_named_and_split_alike() -> None:
    assert ids.child_id(JOB, 12) == f"{JOB}:12"
    assert ids.split_child(ids.child_id(JOB, 12)) == (JOB, 12)


@pytest.mark.parametrize("job_id", [JOB, f"{JOB}:41", f"{JOB}#2", "x.a1"])
def test_an_attempt_id_is_safe_as_a_name_and_can_be_read_back(job_id: str) -> None:
    name = ids.attempt_id(job_id, 3)
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name)
    assert ids.split_attempt(name) == (job_id, 3)


def test_an_attempt_id_says_job_index_and_attempt() -> None:
    assert ids.attempt_id(f"{JOB}:41", 3) == f"{JOB}.i41.a3"
    assert ids.attempt_id(f"{JOB}#2", 1) == f"{JOB}.n2.a1"


@pytest.mark.parametrize("name", ["", JOB, f"{JOB}.a", f"{JOB}.ax", f"{JOB}.i3"])
def test_a_strange_name_is_no_attempt_id(name: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"not an attempt id: {name!r}")):
        ids.split_attempt(name)


def test_the_task_id_follows_from_the_attempt() -> None:
    assert ids.task_id("a") == ids.task_id("a")
    assert ids.task_id("a") != ids.task_id("b")
    assert re.fullmatch("[0-9a-f]{32}", ids.task_id("a"))

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchyard.cli.arguments import (
    dependency,
    duration_s,
    environment,
    memory_mib,
    mount,
    pairs,
    read_request,
    vcpus_text,
)
from batchyard.cli.faults import UsageFault


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("90s", 90),
        ("45m", 2700),
        ("2h", 7200),
        ("1h30m", 5400),
        ("1.5d", 129600),
        ("2H", 7200),
        (" 5m ", 300),
        ("1w", 604800),
        ("0.5", 0.5),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert duration_s(text, option="--timeout") == seconds


@pytest.mark.parametrize("text", ["", "h", "2x", "1h 30m", "-5m", "1h30", "five", "1e3"])
def test_what_is_no_duration_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageFault) as caught:
        duration_s(text, option="--timeout")

    assert "--timeout" in caught.value.message
    assert "1h30m" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "mib"),
    [
        ("512", 512),
        ("512MiB", 512),
        ("4GiB", 4096),
        ("4g", 4096),
        ("4Gi", 4096),
        ("1T", 1048576),
        ("1.5g", 1536),
        ("2GB", 1908),
        ("512MB", 489),
        ("1k", 1),
        ("2 GiB", 2048),
    ],
)
def test_memory_is_in_mib_rounded_up(text: str, mib: int) -> None:
    assert memory_mib(text, option="--memory") == mib


@pytest.mark.parametrize("text", ["", "g", "4 gigs", "-1", "0", "4GiBs"])
def test_what_is_no_memory_is_refused(text: str) -> None:
    with pytest.raises(UsageFault, match="--memory"):
        memory_mib(text, option="--memory")


@given(st.integers(min_value=1, max_value=10**6))
def test_a_gibibyte_is_1024_mebibytes_however_it_is_written(gib: int) -> None:
    assert memory_mib(f"{gib}GiB", option="-m") == memory_mib(str(gib * 1024), option="-m")


@pytest.mark.parametrize("text", ["0", "", "-1", "many", "1.2.3"])
def test_what_is_no_vcpu_number_is_refused(text: str) -> None:
    with pytest.raises(UsageFault):
        vcpus_text(text, option="-c")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/a:/b", ("/a", "/b", False)),
        ("/a:/b:ro", ("/a", "/b", True)),
        ("/a:/b:rw", ("/a", "/b", False)),
        ("data:/b", ("/base/data", "/b", False)),
        ("../x:/b", ("/x", "/b", False)),
    ],
)
def test_mounts(text: str, expected: tuple[str, str, bool]) -> None:
    assert mount(text, base=Path("/base")) == expected


@pytest.mark.parametrize("text", ["", "/a", "/a:b", "/a:/b:rx", ":/b", "/a:"])
def test_what_is_no_mount_is_refused(text: str) -> None:
    with pytest.raises(UsageFault, match="--mount"):
        mount(text, base=Path("/base"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("abc", {"jobId": "abc"}),
        ("abc:7", {"jobId": "abc:7"}),
        ("abc:N_TO_N", {"jobId": "abc", "type": "N_TO_N"}),
        ("abc:n-to-n", {"jobId": "abc", "type": "N_TO_N"}),
        ("abc:7:SEQUENTIAL", {"jobId": "abc:7", "type": "SEQUENTIAL"}),
        ("SEQUENTIAL", {"type": "SEQUENTIAL"}),
    ],
)
def test_dependencies(text: str, expected: dict[str, str]) -> None:
    assert dependency(text) == expected


@pytest.mark.parametrize("text", ["", ":N_TO_N", "abc:SOMETIMES", "abc:"])
def test_what_is_no_dependency_is_refused(text: str) -> None:
    with pytest.raises(UsageFault, match="--after"):
        dependency(text)


def test_pairs_keep_equal_signs_of_values_and_the_last_of_a_key() -> None:
    assert pairs(["a=1", "b=x=y", "a=2"], option="--tag") == {"a": "2", "b": "x=y"}


@pytest.mark.parametrize("text", ["a", "=1", ""])
def test_what_is_no_pair_is_refused(text: str) -> None:
    with pytest.raises(UsageFault, match="--tag"):
        pairs([text], option="--tag")


def test_environment_passes_the_callers_own_value_on() -> None:
    assert environment(["A=1", "HOST"], {"HOST": "h"}) == [
        {"name": "A", "value": "1"},
        {"name": "HOST", "value": "h"},
    ]
    with pytest.raises(UsageFault, match="NOPE"):
        environment(["NOPE"], {})


def test_requests_come_from_a_file_or_from_standard_input(tmp_path: Path) -> None:
    file = tmp_path / "job.json"
    file.write_text('{"jobName": "a"}')

    assert read_request(str(file), io.StringIO()) == {"jobName": "a"}
    assert read_request("-", io.StringIO('{"jobName": "b"}')) == {"jobName": "b"}


@pytest.mark.parametrize("text", ["", "[]", "{", '"text"', "\ufeff"])
def test_a_file_that_is_no_request_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "job.json"
    file.write_text(text)

    with pytest.raises(UsageFault, match="--json"):
        read_request(str(file), io.StringIO())
    with pytest.raises(UsageFault, match="No such file"):
        read_request(str(tmp_path / "none.json"), io.StringIO())

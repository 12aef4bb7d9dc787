"""Job ids look like UUIDs of version 4 and sort by time."""

import uuid

from batchyard.server.job_ids import job_ids


def test_ids_have_the_form_of_a_random_uuid() -> None:
    fresh = job_ids(lambda: 1_795_174_148_408)
    ids = {fresh() for _ in range(200)}
    assert len(ids) == 200
    for text in ids:
        parsed = uuid.UUID(text)
        assert str(parsed) == text
        assert parsed.version == 4
        assert parsed.variant == uuid.RFC_4122


def test_later_ids_sort_after_earlier_ones() -> None:
    now = [1_795_174_148_408]
    fresh = job_ids(lambda: now[0])
    early = fresh()
    now[0] += 1
    assert fresh() > early

"""The writer's memory: bounded, oldest use first."""

from batchyard.store.cache import Catalogue, Recent
from conformance.ports import store_values as v


def test_the_value_unused_for_longest_goes_first() -> None:
    recent: Recent[int] = Recent(2)
    for key, value in (("a", 1), ("b", 2), ("c", 3)):
        recent.put(key, value)
    assert len(recent) == 3
    assert recent.get("a") == 1
    recent.trim()
    assert [recent.get(key) for key in "abc"] == [1, None, 3]
    recent.put("d", 4)
    recent.trim()
    assert [recent.get(key) for key in "acd"] == [None, 3, 4]
    recent.drop("c")
    recent.drop("nobody")
    recent.clear()
    assert len(recent) == 0


def test_the_last_revision_dropped_takes_its_name_along() -> None:
    catalogue = Catalogue()
    for revision in (1, 2):
        catalogue.put_definition(v.definition("d", revision))
    catalogue.drop_definition("d", 2)
    assert catalogue.latest_revision("d") == 1
    catalogue.drop_definition("d", 1)
    assert catalogue.definitions == {}

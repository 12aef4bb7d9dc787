"""Generated pages say what the code says today, and speak of every operation it serves."""

from typing import cast

import pytest

from batchyard.api.handlers import batch_handlers
from batchyard.api.port import Yard
from unit.docs.generated_pages import ROOT, script


@pytest.mark.parametrize("name", ["states", "coverage"])
def test_a_generated_page_is_fresh(name: str) -> None:
    page = (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
    assert page == script(name)["render"](), f"stale: python scripts/docs/{name}.py"


@pytest.mark.parametrize("name", ["states", "coverage"])
def test_words_and_code_agree(name: str) -> None:
    assert script(name)["problems"]() == []


def test_every_served_operation_is_listed_as_served() -> None:
    page = (ROOT / "docs" / "coverage.md").read_text(encoding="utf-8")
    for _, operation in batch_handlers(cast("Yard", None)):
        assert f"| [{operation}](#{operation.lower()}) | served |" in page
        assert f"\n### {operation}\n" in page

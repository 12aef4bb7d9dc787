"""Every link inside the repository leads somewhere, and every heading it names exists."""

import re
from pathlib import Path

import pytest

from unit.docs.generated_pages import ROOT

PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("examples/**/*.md"))
)
_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)


def anchors(text: str) -> set[str]:
    """What the headings of a page are called in a link."""
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in _HEADING.findall(_FENCE.sub("", text))
    }


@pytest.mark.parametrize("page", PAGES)
def test_links_resolve(page: str) -> None:
    source = ROOT / page
    text = source.read_text(encoding="utf-8")
    broken = []
    for link in _LINK.findall(_FENCE.sub("", text)):
        if re.match(r"[a-z]+:", link):
            continue
        target, _, anchor = link.partition("#")
        file = (source.parent / target).resolve() if target else source
        if not file.exists():
            broken.append(f"{link}: no such file")
        elif anchor and anchor not in anchors(file.read_text(encoding="utf-8")):
            broken.append(f"{link}: no such heading")
        elif not file.is_relative_to(ROOT):
            broken.append(f"{link}: outside the repository")
    assert broken == []


def test_anchors_are_those_of_the_headings() -> None:
    page = "# A `b` c: d\n\n```sh\n# no heading\n```\n\n## SubmitJob\n"
    assert anchors(page) == {"a-b-c-d", "submitjob"}


def test_the_pages_are_found() -> None:
    assert {"README.md", "docs/architecture.md", "docs/adr/README.md"} <= {
        Path(page).as_posix() for page in PAGES
    }

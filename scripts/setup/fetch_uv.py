"""Fetch uv's wheel with the standard library alone, for a Python without pip and without venv.

    python3 scripts/setup/fetch_uv.py TARGET

Debian ships python3 without both, and an ordinary user cannot install them. The version and the
digests are those of locks/uv.txt, so nothing is taken on trust from the index; the index is
PIP_INDEX_URL when set. The result is TARGET/bin/uv.
"""

import hashlib
import json
import os
import platform
import re
import shutil
import sys
import tempfile
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from pathlib import Path

LOCK = Path(__file__).resolve().parents[2] / "locks" / "uv.txt"
DEFAULT_INDEX = "https://pypi.org/simple"
TIMEOUT_S = 60


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    target = Path(sys.argv[1])
    text = LOCK.read_text()
    digests = set(re.findall(r"sha256:([0-9a-f]{64})", text))
    pinned = re.search(r"^uv==(\S+)", text, re.MULTILINE)
    if pinned is None:
        sys.exit(f"fetch_uv: {LOCK} does not pin uv")
    index = os.environ.get("PIP_INDEX_URL", DEFAULT_INDEX).rstrip("/") + "/uv/"
    try:
        url = choose(index, pinned[1], digests)
        with tempfile.TemporaryDirectory() as folder:
            wheel = Path(folder) / "uv.whl"
            with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer, wheel.open("wb") as out:
                shutil.copyfileobj(answer, out)
            if hashlib.sha256(wheel.read_bytes()).hexdigest() not in digests:
                sys.exit(f"fetch_uv: the digest of {url} is not among those of {LOCK.name}")
            unpack(wheel, target)
    except (urllib.error.URLError, OSError, zipfile.BadZipFile) as trouble:
        sys.exit(
            f"fetch_uv: {index}: {trouble}\n"
            "  Is the network there? A certificate error means that the package "
            "ca-certificates is missing."
        )


def choose(index: str, version: str, digests: set[str]) -> str:
    """The address of the wheel of this version for this machine."""
    request = urllib.request.Request(
        index, headers={"Accept": "application/vnd.pypi.simple.v1+json"}
    )
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
        files = json.load(answer)["files"]
    libc = "manylinux" if platform.libc_ver()[0] == "glibc" else "musllinux"
    machine = platform.machine()
    for file in files:
        name, digest = file["filename"], file.get("hashes", {}).get("sha256")
        fits = libc in name and name.endswith(f"{machine}.whl")
        if fits and name.startswith(f"uv-{version}-") and digest in digests:
            return str(urllib.parse.urljoin(index, file["url"]))
    sys.exit(f"fetch_uv: {index} has no wheel of uv {version} for {libc} on {machine}")


def unpack(wheel: Path, target: Path) -> None:
    (target / "bin").mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(wheel) as archive:
        member = next(n for n in archive.namelist() if n.endswith(".data/scripts/uv"))
        temporary = target / "bin" / "uv.tmp"
        with archive.open(member) as source, temporary.open("wb") as out:
            shutil.copyfileobj(source, out)
    temporary.chmod(0o755)
    temporary.replace(target / "bin" / "uv")


if __name__ == "__main__":
    main()

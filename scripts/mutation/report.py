"""List the surviving mutants of a `mutmut run` that nobody has explained; fail if there are any.

    python scripts/mutation/report.py

A mutant is a small change of the kernel. One that no test noticed is either a gap in the tests or
changes nothing anybody can see. The latter are listed, each with its reason, in `equivalent.toml`
beside this file, by function and by the lines that change: numbers of mutants shift with the code.
Run it where `mutmut run` was run. See docs/mutation.md.
"""

import subprocess
import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).parent
UNDECIDED = ("survived", "suspicious", "no tests")


def mutmut(*arguments: str) -> str:
    command = [sys.executable, "-m", "mutmut", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def survivors() -> list[str]:
    """Names of the mutants that no test noticed."""
    lines = (line.strip().partition(": ") for line in mutmut("results").splitlines())
    return [name for name, _, outcome in lines if outcome in UNDECIDED]


def change(name: str) -> tuple[str, str]:
    """The lines a mutant takes away and puts in, without their indentation."""
    removed, added = [], []
    for line in mutmut("show", name).splitlines():
        if line.startswith("-") and not line.startswith("---"):
            removed.append(line[1:].strip())
        elif line.startswith("+") and not line.startswith("+++"):
            added.append(line[1:].strip())
    return " ".join(removed), " ".join(added)


def function(name: str) -> str:
    """`ending.end` of `batchyard.kernel.ending.x_end__mutmut_3`; a method as `job.Job.name`."""
    module, _, rest = name.rpartition(".")
    stem = rest.rpartition("__mutmut_")[0].removeprefix("x_").removeprefix("x")
    return f"{module.rpartition('.')[2]}.{stem.strip('ǁ').replace('ǁ', '.')}"


def main() -> int:
    entries = tomllib.loads((HERE / "equivalent.toml").read_text("utf-8"))["mutant"]
    explained = {(e["function"], e["was"], e["is"]): e["why"] for e in entries}
    used: set[tuple[str, str, str]] = set()
    unexplained = 0
    for name in survivors():
        was, now = change(name)
        key = (function(name), was, now)
        if key in explained:
            used.add(key)
            continue
        unexplained += 1
        print(f"{name}\n    - {was}\n    + {now}")
    print(f"{unexplained} survivors without an explanation, {len(used)} with one")
    for key in explained.keys() - used:
        print(f"no longer needed in equivalent.toml: {key[0]}: {key[1]} -> {key[2]}")
    return 1 if unexplained else 0


if __name__ == "__main__":
    sys.exit(main())

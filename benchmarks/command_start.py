"""How long `batchyard --version` and `batchyard ls` take as whole processes, beside bare Python.

Targets: under 100 ms and under 300 ms. `ls` asks a live yard with a few hundred jobs.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from lab import Lab, machine, register, yard


def milliseconds(command: list[str], environ: dict[str, str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, env=environ, check=True, stdout=subprocess.DEVNULL)
    return 1000 * (time.perf_counter() - began)


def fill(lab: Lab, jobs: int) -> None:
    register(lab, "noop", ["/bin/true"])
    for _ in range(jobs):
        lab.call("SubmitJob", jobName="j", jobQueue="default", jobDefinition="noop")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--jobs", type=int, default=200)
    options = parser.parse_args()
    command = str(Path(sys.executable).with_name("batchyard"))
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "batchyard --version": [command, "--version"],
        "batchyard ls": [command, "ls"],
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    with yard(executor="process") as lab:
        fill(lab, options.jobs)
        environ = os.environ | {"BATCHYARD_HOME": str(lab.home)}
        for _ in range(options.rounds):
            for name, words in commands.items():
                times[name].append(milliseconds(words, environ))
    print(f"machine: {machine()}; {options.rounds} rounds")
    bare = statistics.median(times["python -c pass"])
    for name, values in times.items():
        median = statistics.median(values)
        print(
            f"{name:20} ms: median {median:.0f} (min {min(values):.0f}, max {max(values):.0f})"
            f"   {median / bare:.1f} times bare Python"
        )
    print("targets: --version under 100, ls under 300")


if __name__ == "__main__":
    main()

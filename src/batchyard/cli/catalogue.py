"""Every command on one page: where it lives, one line of help, and examples. Imports none of them.

Examples are data and not docstrings, so that help, the reference page and the tests show the same.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True)
class Entry:
    """`path` is what is typed: one word, or a noun and a verb."""

    path: tuple[str, ...]
    target: str
    help: str
    examples: tuple[str, ...]
    alias: str | None = None


_AT: Final = "batchyard.cli.commands"

GROUPS: Final = {
    "queue": "Job queues: ls, show, create.",
    "ce": "Compute environments: ls, show, create.",
    "jobdef": "Job definitions: ls, show, register.",
}

ENTRIES: Final = (
    Entry(
        path=("up",),
        target=f"{_AT}.yard:up",
        help="Start the yard of this machine, and say how to reach it.",
        examples=(
            "batchyard up",
            "batchyard up --port 7460 --executor docker",
            "batchyard up --foreground",
        ),
    ),
    Entry(
        path=("down",),
        target=f"{_AT}.yard:down",
        help="Stop the yard's server; running jobs go on and are taken back by the next `up`.",
        examples=("batchyard down", "batchyard down --terminate-jobs --yes"),
    ),
    Entry(
        path=("status",),
        target=f"{_AT}.yard:status",
        help="Show the yard: executor, capacity, queues, jobs per state (exit 3 when it is down).",
        examples=("batchyard status", "batchyard status -o json"),
    ),
    Entry(
        path=("submit",),
        target=f"{_AT}.submit:submit",
        help="Submit a job: an image with a command, or a job definition.",
        examples=(
            "batchyard submit debian:stable --follow -- echo hello",
            "batchyard submit align:3 -q default -c 4 -m 8GiB -p sample=HG002 --retry 3",
            "batchyard submit align --array 100 --wait --timeout 2h",
            "batchyard submit merge --after $(batchyard submit align --array 24 -o ids)",
            "batchyard submit --json job.json --dry-run",
        ),
    ),
    Entry(
        path=("ls",),
        alias="ps",
        target=f"{_AT}.jobs:ls",
        help="List jobs in all states, newest first.",
        examples=(
            "batchyard ls",
            "batchyard ls --failed --queue default",
            "batchyard ls --name 'align-*' -o ids",
            "batchyard ls ARRAY_ID --state RUNNING",
            "batchyard ls --watch",
        ),
    ),
    Entry(
        path=("show",),
        target=f"{_AT}.jobs:show",
        help="Show everything about jobs: state, times, attempts, resources, reasons.",
        examples=("batchyard show ID", "batchyard show ID:7", "batchyard show ID -o json"),
    ),
    Entry(
        path=("logs",),
        target=f"{_AT}.logs:logs",
        help="Print what a job printed, now or as it comes.",
        examples=(
            "batchyard logs ID",
            "batchyard logs -f ID:3",
            "batchyard logs ID --attempt 1 --tail 50",
            "batchyard logs ID --grep 'ERROR|WARN'",
        ),
    ),
    Entry(
        path=("wait",),
        target=f"{_AT}.jobs:wait",
        help="Wait until jobs have finished; exit 5 when one FAILED, 7 after --timeout.",
        examples=(
            "batchyard wait ID",
            "batchyard wait ID1 ID2 --any --timeout 2h",
            "batchyard wait $(batchyard ls --state RUNNING -o ids)",
        ),
    ),
    Entry(
        path=("explain",),
        target=f"{_AT}.jobs:explain",
        help="Say why a job is where it is, and what to do about it.",
        examples=("batchyard explain ID", "batchyard explain ID -o json"),
    ),
    Entry(
        path=("cancel",),
        target=f"{_AT}.ending:cancel",
        help="Take back jobs that have not started; running ones go on (see terminate).",
        examples=(
            "batchyard cancel ID",
            "batchyard cancel --name 'align-*' --dry-run",
            "batchyard cancel --queue default --state RUNNABLE --yes",
        ),
    ),
    Entry(
        path=("terminate",),
        target=f"{_AT}.ending:terminate",
        help="End jobs whatever they do: take back waiting ones, stop running ones.",
        examples=(
            "batchyard terminate ID --reason 'wrong reference'",
            "batchyard terminate --queue default --yes",
            "batchyard ls --name 'test-*' -o ids | xargs batchyard terminate",
        ),
    ),
    Entry(
        path=("queue", "ls"),
        target=f"{_AT}.queues:ls",
        help="List job queues, the highest priority first.",
        examples=("batchyard queue ls", "batchyard queue ls -o ids"),
    ),
    Entry(
        path=("queue", "show"),
        target=f"{_AT}.queues:show",
        help="Show one job queue.",
        examples=("batchyard queue show default", "batchyard queue show default -o json"),
    ),
    Entry(
        path=("queue", "create"),
        target=f"{_AT}.queues:create",
        help="Create a job queue and wait until it is VALID.",
        examples=(
            "batchyard queue create urgent --priority 100",
            "batchyard queue create big --ce spot --ce on-demand --dry-run",
        ),
    ),
    Entry(
        path=("ce", "ls"),
        target=f"{_AT}.compute:ls",
        help="List compute environments.",
        examples=("batchyard ce ls", "batchyard ce ls -o json"),
    ),
    Entry(
        path=("ce", "show"),
        target=f"{_AT}.compute:show",
        help="Show one compute environment.",
        examples=("batchyard ce show default",),
    ),
    Entry(
        path=("ce", "create"),
        target=f"{_AT}.compute:create",
        help="Create a compute environment and wait until it is VALID.",
        examples=(
            "batchyard ce create desk --max-vcpus 8",
            "batchyard ce create spot --type SPOT --max-vcpus 256 --subnet subnet-1",
            "batchyard ce create --json environment.json",
        ),
    ),
    Entry(
        path=("jobdef", "ls"),
        target=f"{_AT}.definitions:ls",
        help="List job definitions.",
        examples=("batchyard jobdef ls", "batchyard jobdef ls align --all"),
    ),
    Entry(
        path=("jobdef", "show"),
        target=f"{_AT}.definitions:show",
        help="Show one job definition as JSON.",
        examples=("batchyard jobdef show align", "batchyard jobdef show align:3"),
    ),
    Entry(
        path=("jobdef", "register"),
        target=f"{_AT}.definitions:register",
        help="Register a job definition (a new revision when the name exists).",
        examples=(
            "batchyard jobdef register align --image bwa:1 -m 8GiB -- bwa mem Ref::sample",
            "batchyard jobdef register --json definition.json",
        ),
    ),
    Entry(
        path=("env-vars",),
        target=f"{_AT}.yard:env_vars",
        help="Print the variables that point AWS tools at the yard.",
        examples=('eval "$(batchyard env-vars)"', "batchyard env-vars --shell fish | source"),
    ),
    Entry(
        path=("demo",),
        target=f"{_AT}.demo:demo",
        help="Run the variant-calling example on real reads, in a yard of its own.",
        examples=("batchyard demo", "batchyard demo --output /tmp/demo --keep"),
    ),
    Entry(
        path=("completion",),
        target=f"{_AT}.completion:completion",
        help="Print a completion script for bash, zsh or fish.",
        examples=(
            "source <(batchyard completion bash)",
            "batchyard completion fish > ~/.config/fish/completions/batchyard.fish",
        ),
    ),
)

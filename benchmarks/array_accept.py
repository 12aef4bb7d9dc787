"""A 10,000-child array is accepted, against a single job, in one run.

Prints the time from sending SubmitJob to its durable reply. Target: under 100 ms; the ratio shows
that the size of an array costs nothing.
"""

import argparse
import asyncio

from lab import Lab, machine, send, spread, yard


def accept(lab: Lab, **properties: object) -> float:
    """Milliseconds to the reply."""
    request = lab.request(
        "SubmitJob",
        {"jobName": "a", "jobQueue": "default", "jobDefinition": "noop", **properties},
    )
    status, body, took = asyncio.run(send(lab, [request], connections=1))[0]
    if status != 200:
        raise SystemExit(body.decode())
    return 1000 * took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    options = parser.parse_args()
    with yard(executor="mock", settings="[host]\nvcpus = 1\n") as lab:
        lab.call(
            "RegisterJobDefinition",
            jobDefinitionName="noop",
            type="container",
            parameters={"run_for": "3600"},
            containerProperties={
                "image": "none",
                "resourceRequirements": [
                    {"type": "VCPU", "value": "1"},
                    {"type": "MEMORY", "value": "16"},
                ],
            },
        )
        accept(lab)
        single, array = [], []
        for _ in range(options.rounds):
            single.append(accept(lab))
            array.append(accept(lab, arrayProperties={"size": 10_000}))
    ratios = [a / s for a, s in zip(array, single, strict=True)]
    print(f"machine: {machine()}; {options.rounds} rounds")
    print(f"single job        ms: {spread(single)}")
    print(f"10,000 children   ms: {spread(array)}   target: under 100")
    print(f"ratio             {spread(ratios)}")


if __name__ == "__main__":
    main()

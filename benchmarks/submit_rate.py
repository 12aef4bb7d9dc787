"""SubmitJob over HTTP with durable commits, against moto's server on the same machine.

Both are asked for the same jobs by the same client in alternating rounds. moto keeps its state in
memory and is told not to start containers (its cheapest mode); the yard commits each reply to disk
and holds the jobs back in a queue whose compute environment is full. Target: at least 5x its rate.
"""

import argparse
import asyncio
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab import Lab, free_port, machine, register, send, spread, yard

from batchyard.cli.signing import Credentials


@contextmanager
def moto() -> Iterator[Lab]:
    """moto's server with a queue and a definition like ours."""
    port = free_port()
    server = subprocess.Popen(
        [str(Path(sys.executable).with_name("moto_server")), "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    lab = Lab(
        f"http://127.0.0.1:{port}",
        Credentials(access_key_id="a", secret_access_key="b"),
        Path(),
        server.pid,
    )
    try:
        _await_moto(lab)
        _furnish(lab)
        yield lab
    finally:
        server.kill()
        server.wait(30)


def _await_moto(lab: Lab) -> None:
    config = urllib.request.Request(
        f"{lab.endpoint}/moto-api/config",
        data=b'{"batch": {"use_docker": false}}',
        headers={"Content-Type": "application/json"},
        method="POST",
    )
    for _ in range(300):
        try:
            urllib.request.urlopen(config).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise SystemExit("moto's server did not start")


def _furnish(lab: Lab) -> None:
    import boto3

    def client(service: str):  # type: ignore[no-untyped-def]
        return boto3.client(
            service,
            endpoint_url=lab.endpoint,
            region_name="us-east-1",
            aws_access_key_id="a",
            aws_secret_access_key="b",
        )

    role = client("iam").create_role(RoleName="r", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    batch = client("batch")
    environment = batch.create_compute_environment(
        computeEnvironmentName="this-machine", type="UNMANAGED", state="ENABLED", serviceRole=role
    )["computeEnvironmentArn"]
    batch.create_job_queue(
        jobQueueName="default",
        state="ENABLED",
        priority=1,
        computeEnvironmentOrder=[{"order": 1, "computeEnvironment": environment}],
    )
    register(lab, "noop", ["/bin/true"])


def rate(lab: Lab, *, jobs: int, connections: int) -> float:
    """Accepted jobs per second."""
    requests = [
        lab.request(
            "SubmitJob",
            {
                "jobName": f"job-{i}",
                "jobQueue": "default",
                "jobDefinition": "noop",
                "containerOverrides": {"environment": [{"name": "SAMPLE", "value": f"S{i}"}]},
            },
        )
        for i in range(jobs)
    ]
    began = time.perf_counter()
    answers = asyncio.run(send(lab, requests, connections=connections))
    took = time.perf_counter() - began
    refused = [body for status, body, _ in answers if status != 200]
    if refused:
        raise SystemExit(f"{len(refused)} refused: {refused[0].decode()}")
    return jobs / took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=3000)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    ours, theirs = [], []
    with yard(executor="mock", settings="[host]\nvcpus = 1\n") as lab, moto() as other:
        register(lab, "noop", ["/bin/true"])
        lab.call(
            "RegisterJobDefinition",
            jobDefinitionName="block",
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
        lab.call("SubmitJob", jobName="block", jobQueue="default", jobDefinition="block")
        for _ in range(options.rounds):
            theirs.append(rate(other, jobs=options.jobs // 10, connections=options.connections))
            ours.append(rate(lab, jobs=options.jobs, connections=options.connections))
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    print(f"machine: {machine()}; {options.connections} connections")
    print(f"moto's server     jobs/s: {spread(theirs)}")
    print(f"Batchyard         jobs/s: {spread(ours)}   (each reply durable)")
    print(f"ratio             {spread(ratios)}   target: at least 5")


if __name__ == "__main__":
    main()

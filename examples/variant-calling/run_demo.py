#!/usr/bin/env python3
"""Submit the variant-calling pipeline to AWS Batch, follow it, and say where the report lies.

Nothing here knows about Batchyard: it is a plain botocore client, and the same calls work against
AWS. Two job definitions, an array job with one child for each sample, a job that depends on it.

    python run_demo.py --endpoint-url http://127.0.0.1:PORT --queue default --output results

Keys and region come from the environment, as always with AWS. Exit code 0 when the report was
written, 1 when a job failed (its last log lines are printed), 2 for a wrong call.
"""

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
TERMINAL = ("SUCCEEDED", "FAILED")
LOG_GROUP = "/aws/batch/job"
# In the container the example (scripts and data) and the results are two mounts.
IN_CONTAINER = {"pipeline": "/pipeline", "output": "/output"}
POLL_S = 0.5
PLAIN_LINE_EVERY_S = 10.0


class DemoFailed(Exception):
    """The message says what, why and what to do next."""


def main() -> int:
    options = parse_options()
    import botocore.session
    from botocore.exceptions import BotoCoreError, ClientError

    session = botocore.session.get_session()
    where = {
        "endpoint_url": options.endpoint_url,
        "region_name": session.get_config_variable("region") or "us-east-1",
    }
    try:
        batch, logs = (
            session.create_client("batch", **where),
            session.create_client("logs", **where),
        )
        return demo(batch, logs, options)
    except DemoFailed as failure:
        print(f"run_demo: {failure}", file=sys.stderr)
    except ClientError as refusal:
        print(f"run_demo: the server refused: {refusal}", file=sys.stderr)
    except BotoCoreError as trouble:
        print(
            f"run_demo: {trouble}\n  Is the yard up, and are the keys set? Start one with "
            '`batchyard up`, then `eval "$(batchyard env-vars)"`.',
            file=sys.stderr,
        )
    return 1


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").split("\n")[0],
        epilog="Example: run_demo.py --queue default --output results",
    )
    parser.add_argument(
        "--endpoint-url",
        default=os.environ.get("AWS_ENDPOINT_URL_BATCH") or os.environ.get("AWS_ENDPOINT_URL"),
        help="the yard; default: $AWS_ENDPOINT_URL, and without it the real AWS",
    )
    parser.add_argument("--queue", default="default", help="job queue (default: %(default)s)")
    parser.add_argument("--output", default="demo-output", help="results (default: %(default)s)")
    parser.add_argument(
        "--image", help="run as container jobs from this image (see scripts/images/build.sh)"
    )
    parser.add_argument(
        "--python",
        default=None,
        help="interpreter of the jobs; default: this one, with --image: python3",
    )
    parser.add_argument(
        "--timeout", type=float, default=900.0, help="give up after so many seconds (%(default)s)"
    )
    return parser.parse_args()


def demo(batch: Any, logs: Any, options: argparse.Namespace) -> int:
    started = time.monotonic()
    output = Path(options.output).resolve()
    output.mkdir(parents=True, exist_ok=True)
    report = output / "report.html"
    # A report of an earlier demo must not pass for this one's.
    report.unlink(missing_ok=True)
    samples = (HERE / "data" / "samples.tsv").read_text().splitlines()[1:]
    names = [line.split("\t")[1] for line in samples]

    call = register(batch, "variant-calling-sample", "call_sample.py", output, options)
    merge = register(batch, "variant-calling-report", "merge_report.py", output, options)
    # AWS: an array has at least two children.
    array = batch.submit_job(
        jobName="variant-calling",
        jobQueue=options.queue,
        jobDefinition=call,
        arrayProperties={"size": len(names)},
    )["jobId"]
    print(f"submitted  variant-calling          {array}  (array of {len(names)})")
    final = batch.submit_job(
        jobName="variant-calling-report",
        jobQueue=options.queue,
        jobDefinition=merge,
        dependsOn=[{"jobId": array}],
    )["jobId"]
    print(f"submitted  variant-calling-report   {final}  (after the array)", flush=True)

    children = [f"{array}:{index}" for index in range(len(names))]
    jobs = follow(batch, [*children, final], options.timeout)
    print_times(jobs, children, names, final)
    failed = [job for job in jobs.values() if job["status"] == "FAILED"]
    if failed:
        # The report failed only because of the array when it has no attempt of its own.
        for job in [one for one in failed if one.get("attempts")] or failed:
            print_failure(logs, job)
        raise DemoFailed(f"{len(failed)} of {len(jobs)} jobs failed; see above")
    if not report.is_file():
        raise DemoFailed(
            f"all jobs succeeded, but {report} does not exist. Jobs of this example write to "
            "the disk of the machine that runs them: is the yard on another machine?"
        )
    print(f"\nEverything took {time.monotonic() - started:.1f} s. The report:\n  {report}")
    return 0


def register(batch: Any, name: str, script: str, output: Path, options: argparse.Namespace) -> str:
    # numpy would start a thread for each core of the machine; the job asks for one vCPU.
    environment = {"PYTHONUNBUFFERED": "1", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    properties: dict[str, Any] = {
        "resourceRequirements": [
            {"type": "VCPU", "value": "1"},
            {"type": "MEMORY", "value": "512"},
        ]
    }
    if options.image:
        pipeline, results = IN_CONTAINER["pipeline"], IN_CONTAINER["output"]
        properties["image"] = options.image
        properties["volumes"] = [
            {"name": "pipeline", "host": {"sourcePath": str(HERE)}},
            {"name": "output", "host": {"sourcePath": str(output)}},
        ]
        properties["mountPoints"] = [
            {"sourceVolume": "pipeline", "containerPath": pipeline, "readOnly": True},
            {"sourceVolume": "output", "containerPath": results, "readOnly": False},
        ]
        environment |= {"OUTPUT_DIR": results, "PYTHONDONTWRITEBYTECODE": "1"}
        command = [options.python or "python3", f"{pipeline}/{script}"]
    else:
        # The process executor takes the machine as it is; AWS's model demands an image's name.
        properties["image"] = "variant-calling"
        environment["OUTPUT_DIR"] = str(output)
        command = [options.python or sys.executable, str(HERE / script)]
    properties["command"] = command
    properties["environment"] = [{"name": k, "value": v} for k, v in environment.items()]
    arn = batch.register_job_definition(
        jobDefinitionName=name,
        type="container",
        containerProperties=properties,
        retryStrategy={"attempts": 2},
        timeout={"attemptDurationSeconds": 600},
    )["jobDefinitionArn"]
    print(f"registered {arn.rsplit('/', 1)[-1]}")
    return str(arn)


# --- following ----------------------------------------------------------------------------------


def follow(batch: Any, ids: list[str], timeout_s: float) -> dict[str, Any]:
    """Poll until every job is terminal, with a bar on a terminal and plain lines in a log."""
    deadline = time.monotonic() + timeout_s
    last_line, last_at, on_terminal = "", 0.0, sys.stdout.isatty()
    while True:
        # AWS: DescribeJobs takes at most 100 ids and leaves out those it does not know.
        jobs: dict[str, Any] = {}
        for first in range(0, len(ids), 100):
            answer = batch.describe_jobs(jobs=ids[first : first + 100])["jobs"]
            jobs |= {job["jobId"]: job for job in answer}
        line = progress_line(jobs, len(ids))
        finished = len(jobs) == len(ids) and all(j["status"] in TERMINAL for j in jobs.values())
        now = time.monotonic()
        if on_terminal:
            print(f"\r\x1b[K{line}", end="\n" if finished else "", flush=True)
        elif line != last_line or now - last_at >= PLAIN_LINE_EVERY_S:
            print(line, flush=True)
            last_line, last_at = line, now
        if finished:
            return jobs
        if now > deadline:
            waiting = [f"{j['jobId']} {j['status']}" for j in jobs.values()]
            raise DemoFailed(
                f"not finished after {timeout_s:.0f} s: {', '.join(waiting)}.\n"
                "  `batchyard explain JOB_ID` says why a job waits; --timeout gives it longer."
            )
        time.sleep(POLL_S)


def progress_line(jobs: dict[str, Any], total: int) -> str:
    counts: dict[str, int] = {}
    for job in jobs.values():
        counts[job["status"]] = counts.get(job["status"], 0) + 1
    done = sum(counts.get(status, 0) for status in TERMINAL)
    width = 20
    bar = "#" * (width * done // total) + "." * (width - width * done // total)
    states = "  ".join(f"{status} {count}" for status, count in sorted(counts.items()))
    return f"[{bar}] {done}/{total}  {states}"


def print_times(jobs: dict[str, Any], children: list[str], names: list[str], final: str) -> None:
    print(f"\n{'job':<26} {'state':<10} {'waited':>8} {'ran':>8}  attempts")
    for job_id, name in [*zip(children, names, strict=True), (final, "report")]:
        job = jobs[job_id]
        label = f"{name} (child {job_id.rsplit(':', 1)[1]})" if ":" in job_id else name
        begun, ended = job.get("startedAt"), job.get("stoppedAt")
        waited = f"{(begun - job['createdAt']) / 1000:.2f} s" if begun else "-"
        ran = f"{(ended - begun) / 1000:.2f} s" if begun and ended else "-"
        attempts = len(job.get("attempts", []))
        print(f"{label:<26} {job['status']:<10} {waited:>8} {ran:>8}  {attempts}")


def print_failure(logs: Any, job: dict[str, Any]) -> None:
    from botocore.exceptions import ClientError

    container = job.get("container", {})
    reasons = [job.get("statusReason"), container.get("reason")]
    code = container.get("exitCode")
    exit_text = "" if code is None else f", exit code {code}"
    why = "; ".join(reason for reason in reasons if reason) or "no reason given"
    print(f"\n{job['jobName']} {job['jobId']} FAILED{exit_text}: {why}", file=sys.stderr)
    stream = container.get("logStreamName")
    if not stream:
        return
    try:
        events = logs.get_log_events(
            logGroupName=LOG_GROUP, logStreamName=stream, limit=25, startFromHead=False
        )["events"]
    except ClientError as refusal:
        print(f"  (its log cannot be read: {refusal})", file=sys.stderr)
        return
    print(f"  last lines of {LOG_GROUP} {stream}:", file=sys.stderr)
    for event in events:
        print(f"  | {event['message']}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())

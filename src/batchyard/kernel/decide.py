"""`decide(command, view, now_ms) -> Decision`: the one door into the kernel.

Pure: it reads the view, raises a fault for a request that breaks a rule, and otherwise says which
facts, rows and effects follow. It writes nothing.
"""

from typing import assert_never

from batchyard.kernel import attempts, dependency, stopping
from batchyard.kernel import commands as cmd
from batchyard.kernel.compute_environments import (
    create_compute_environment,
    delete_compute_environment,
    settle_compute_environment,
    update_compute_environment,
)
from batchyard.kernel.decision import Decision, Draft
from batchyard.kernel.queues import (
    create_job_queue,
    delete_job_queue,
    settle_job_queue,
    update_job_queue,
)
from batchyard.kernel.registration import deregister_job_definition, register_job_definition
from batchyard.kernel.submit import submit_job
from batchyard.kernel.tagging import tag_resource, untag_resource
from batchyard.kernel.view import View


def decide(command: cmd.Command, view: View, now_ms: int) -> Decision:
    """Judge one command.

    Args:
        command: Any member of the closed union `Command`.
        view: Rows as they are before it.
        now_ms: Epoch milliseconds (UTC).

    Raises:
        ClientFault: the request breaks a rule; nothing follows from it.
        InvariantBroken: the rows contradict each other.
    """
    draft = Draft(view, now_ms)
    return draft.done(_judge(draft, command))


def _judge(draft: Draft, command: cmd.Command) -> object:
    match command:
        case cmd.SubmitJob():
            return submit_job(draft, command)
        case cmd.PlaceAttempt():
            return attempts.place(draft, command)
        case cmd.ReportStarted():
            return attempts.report_started(draft, command)
        case cmd.ReportEnded():
            return attempts.report_ended(draft, command)
        case cmd.ReportStartFailed():
            return attempts.report_start_failed(draft, command)
        case cmd.ReportLost():
            return attempts.report_lost(draft, command)
        case cmd.TimeOutAttempt():
            return attempts.time_out(draft, command)
        case cmd.Explain():
            return attempts.explain(draft, command)
        case cmd.ReleaseDependents():
            dependency.release_dependents(draft, command)
        case cmd.ReleaseChildren():
            dependency.release_children(draft, command)
        case cmd.CancelJob():
            stopping.cancel_job(draft, command)
        case cmd.TerminateJob():
            stopping.terminate_job(draft, command)
        case cmd.StopChildren():
            stopping.stop_children(draft, command)
        case cmd.StopQueue():
            stopping.stop_queue(draft, command)
        case _:
            return _judge_noun(draft, command)
    return None


def _judge_noun(
    draft: Draft,
    command: cmd.RegisterJobDefinition
    | cmd.DeregisterJobDefinition
    | cmd.CreateComputeEnvironment
    | cmd.UpdateComputeEnvironment
    | cmd.DeleteComputeEnvironment
    | cmd.SettleComputeEnvironment
    | cmd.CreateJobQueue
    | cmd.UpdateJobQueue
    | cmd.DeleteJobQueue
    | cmd.SettleJobQueue
    | cmd.TagResource
    | cmd.UntagResource,
) -> object:
    match command:
        case cmd.RegisterJobDefinition():
            return register_job_definition(draft, command)
        case cmd.DeregisterJobDefinition():
            return deregister_job_definition(draft, command)
        case cmd.CreateComputeEnvironment():
            return create_compute_environment(draft, command)
        case cmd.UpdateComputeEnvironment():
            return update_compute_environment(draft, command)
        case cmd.DeleteComputeEnvironment():
            return delete_compute_environment(draft, command)
        case cmd.SettleComputeEnvironment():
            return settle_compute_environment(draft, command)
        case cmd.CreateJobQueue():
            return create_job_queue(draft, command)
        case cmd.UpdateJobQueue():
            return update_job_queue(draft, command)
        case cmd.DeleteJobQueue():
            return delete_job_queue(draft, command)
        case cmd.SettleJobQueue():
            return settle_job_queue(draft, command)
        case cmd.TagResource():
            return tag_resource(draft, command)
        case cmd.UntagResource():
            return untag_resource(draft, command)
        case _:
            assert_never(command)

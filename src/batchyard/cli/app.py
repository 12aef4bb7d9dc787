"""The command line as a whole: builds the tree lazily, runs one command, turns faults into words.

Commands are imported only when typed. Standard output carries data; everything said to a person
goes to standard error.
"""

import os
import sys
from collections.abc import Sequence
from typing import Final

import cyclopts
from cyclopts import App, Parameter

from batchyard.cli.catalogue import ENTRIES, GROUPS, Entry
from batchyard.cli.faults import ApiFault, CommandFault, UsageFault

_INTERRUPTED: Final = 130
_EPILOGUE: Final = """Exit codes: 0 ok, 1 failed, 2 usage, 3 not found, 4 not allowed, \
5 a job FAILED, 7 timeout, 130 Ctrl-C.

Help with a command: batchyard COMMAND --help. Version: batchyard --version."""
# Options people put in front of the command, as with `git` and `aws`, and whether a value follows.
_FRONT_OPTIONS: Final = {
    "--endpoint": True,
    "--region": True,
    "--home": True,
    "--output": True,
    "-o": True,
    "--debug": False,
}


def build_app() -> App:
    app = App(
        name="batchyard",
        help="AWS Batch on machines you own.",
        help_format="plaintext",
        help_epilogue=_EPILOGUE,
        version_flags=[],
        result_action="return_value",
        suppress_keyboard_interrupt=False,
        default_parameter=Parameter(negative=(), show_default=False),
    )
    groups = {name: App(name=name, help=said, help_epilogue="") for name, said in GROUPS.items()}
    for entry in ENTRIES:
        parent = app
        if len(entry.path) == 2:
            parent = groups[entry.path[0]]
        parent.command(
            entry.target,
            name=entry.path[-1],
            alias=entry.alias,
            help=entry.help,
            help_epilogue=examples_text(entry),
        )
    for name, group in groups.items():
        verbs = [entry for entry in ENTRIES if entry.path[0] == name]
        group.help_epilogue = "Examples:\n\n" + "\n".join(f"  {one.examples[0]}" for one in verbs)
        app.command(group)
    return app


def examples_text(entry: Entry) -> str:
    return "Examples:\n\n" + "\n".join(f"  {example}" for example in entry.examples)


def run_command_line(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; nothing is raised."""
    tokens = bring_behind(arguments)
    try:
        code = _run(tokens)
        sys.stdout.flush()
        return code
    except CommandFault as fault:
        _say(fault, debug="--debug" in tokens)
        return fault.exit_code
    except KeyboardInterrupt:
        sys.stderr.write(
            "\ninterrupted; submitted jobs go on (batchyard ls, batchyard terminate ID)\n"
        )
        return _INTERRUPTED
    except BrokenPipeError:
        # The reader of our pipe (`| head`) has seen enough. Without this, the interpreter would
        # complain once more when it flushes standard output at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def bring_behind(arguments: Sequence[str]) -> list[str]:
    """Move options in front of the command behind its words: `--home H queue ls` works too."""
    tokens = list(arguments)
    front: list[str] = []
    while tokens:
        name, equals, _ = tokens[0].partition("=")
        if name not in _FRONT_OPTIONS:
            break
        size = 2 if _FRONT_OPTIONS[name] and not equals else 1
        front += tokens[:size]
        del tokens[:size]
    words = 2 if tokens and tokens[0] in GROUPS else 1
    return [*tokens[:words], *front, *tokens[words:]] if tokens else front


def _run(tokens: Sequence[str]) -> int:
    try:
        build_app()(list(tokens), exit_on_error=False, print_error=False)
    except cyclopts.CycloptsError as error:
        raise _usage_fault(error, tokens) from error
    return 0


def _usage_fault(error: cyclopts.CycloptsError, tokens: Sequence[str]) -> UsageFault:
    words = [token for token in tokens[:2] if not token.startswith("-")]
    typed = tuple(words) if words and words[0] in GROUPS else tuple(words[:1])
    known = {entry.path for entry in ENTRIES} | {(name,) for name in GROUPS} | {("ps",)}
    while typed and typed not in known:
        typed = typed[:-1]
    command = " ".join(("batchyard", *typed))
    return UsageFault(" ".join(str(error).split()), hint=f"see: {command} --help")


def _say(fault: CommandFault, *, debug: bool) -> None:
    text = f"error: {fault.message}\n"
    if fault.hint:
        text += f"  try: {fault.hint}\n"
    if isinstance(fault, ApiFault) and (debug or fault.status >= 500):
        text += f"  {fault.error_code}, HTTP {fault.status}, request id {fault.request_id or '-'}\n"
    sys.stdout.flush()
    sys.stderr.write(text)

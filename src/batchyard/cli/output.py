"""How results look: aligned tables, AWS-shaped JSON, ids for pipes. Prints, never asks a server.

On a terminal a table is cut to its width and states are coloured (never only coloured: the word is
there too). In a pipe nothing is cut or coloured, so a script sees the same text everywhere.
"""

import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final, TextIO

_COLOURS: Final = {
    "SUCCEEDED": "32",
    "VALID": "32",
    "RUNNING": "36",
    "STARTING": "36",
    "RUNNABLE": "33",
    "PENDING": "33",
    "SUBMITTED": "33",
    "CREATING": "33",
    "UPDATING": "33",
    "FAILED": "31",
    "INVALID": "31",
    "DISABLED": "31",
}
_NARROWEST: Final = 12


def is_terminal(stream: TextIO) -> bool:
    return stream.isatty()


def wants_colour(stream: TextIO, environ: Mapping[str, str] = os.environ) -> bool:
    return is_terminal(stream) and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"


def print_rows(
    rows: Sequence[Mapping[str, Any]],
    *,
    output: str,
    columns: Mapping[str, Sequence[str]],
    id_key: str,
    empty: str,
) -> None:
    """Print AWS objects in the format asked for.

    Args:
        columns: Heading -> the cell of every row, in order; used for a table only.
        id_key: Member printed by `-o ids`.
        empty: What to tell a person (on standard error) when there are no rows.
    """
    if output == "json":
        print_json(list(rows))
    elif output == "jsonl":
        for row in rows:
            sys.stdout.write(json.dumps(row, separators=(",", ":"), ensure_ascii=False) + "\n")
    elif output == "ids":
        for row in rows:
            sys.stdout.write(f"{row[id_key]}\n")
    elif rows:
        width = shutil.get_terminal_size().columns if is_terminal(sys.stdout) else None
        for line in table(columns, width=width, colour=wants_colour(sys.stdout)):
            sys.stdout.write(line + "\n")
    else:
        note(empty)


def print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def note(text: str) -> None:
    """Say something to the person, away from the data on standard output."""
    sys.stderr.write(text + "\n")


def table(columns: Mapping[str, Sequence[str]], *, width: int | None, colour: bool) -> list[str]:
    """Aligned lines with a heading; the last column takes what is left of `width`."""
    headings = list(columns)
    cells = [[_one_line(cell) for cell in column] for column in columns.values()]
    widths = [
        max(len(heading), *(len(cell) for cell in column), 0)
        for heading, column in zip(headings, cells, strict=True)
    ]
    if width is not None:
        before = sum(widths[:-1]) + 2 * (len(widths) - 1)
        widths[-1] = min(widths[-1], max(_NARROWEST, width - before))
    rows = [headings, *(list(row) for row in zip(*cells, strict=True))]
    lines = []
    for number, row in enumerate(rows):
        parts = [_fit(cell, size) for cell, size in zip(row, widths, strict=True)]
        if colour:
            parts = [_painted(part, heading=number == 0) for part in parts]
        lines.append("  ".join(parts).rstrip())
    return lines


def facts(pairs: Sequence[tuple[str, str]]) -> list[str]:
    """Lines of `name  value`, aligned; empty values are left out."""
    shown = [(name, value) for name, value in pairs if value != ""]
    size = max((len(name) for name, _ in shown), default=0)
    return [f"{name.ljust(size)}  {_one_line(value)}".rstrip() for name, value in shown]


def amount_of_time(duration_ms: float) -> str:
    """`850ms`, `12s`, `3m05s`, `2h07m`, `4d03h`: at most two units."""
    if duration_ms < 1000:
        return f"{max(0, int(duration_ms))}ms"
    seconds = int(duration_ms // 1000)
    for size, unit, below, lower in (
        (86400, "d", 3600, "h"),
        (3600, "h", 60, "m"),
        (60, "m", 1, "s"),
    ):
        if seconds >= size:
            return f"{seconds // size}{unit}{seconds % size // below:02d}{lower}"
    return f"{seconds}s"


def _one_line(text: str) -> str:
    # A status reason or a name may hold control characters; a table must not let them through.
    return "".join(char if char.isprintable() else " " for char in text)


def _fit(text: str, size: int) -> str:
    return text[: size - 3] + "..." if len(text) > size else text.ljust(size)


def _painted(cell: str, *, heading: bool) -> str:
    if heading:
        return f"\x1b[1m{cell}\x1b[0m"
    code = _COLOURS.get(cell.strip())
    return f"\x1b[{code}m{cell}\x1b[0m" if code else cell

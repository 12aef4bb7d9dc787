"""The executor that runs commands straight on this machine, for yards without a container engine.

Three kinds of process take part:

    server (executor.py) ── "fork one" ──► spawner (spawner.py)
       │    ▲                                   │ fork
       │    └── reports of starts and ends ──┐  ▼
       └─────────── one attempt at a time ──► shim (shim.py) ── the command

The spawner is a small interpreter that does nothing but fork, so that a shim costs a fork and not
the start of an interpreter. Each running attempt has a shim to itself; it outlives the server and
the spawner, and leaves the exit code in the attempt's folder, by rename. While the server lives, an
idle shim is given the next attempt: a short job then costs about a millisecond in all.

What a folder `<home>/attempts/<attempt id>/` holds, in the order in which it appears:

    (the folder)  the request to start is durable; whoever starts the attempt must claim it first
    claim         a symlink whose text names the shim: `<pid>.<start time>.<boot id>`. It is made in
                  one system call that fails when it exists, so an attempt is never run twice
    output        what the command wrote to both of its streams
    work/         the command's working directory
    stop          a symlink whose text is the grace in milliseconds, when a stop was asked
    exit          how it ended, renamed into place when it is complete

Nothing is fsynced: the files must survive a killed process, not a lost machine. After a reboot no
shim lives, and an attempt without `exit` is Lost, which is true.

This module, `claim`, `cgroups`, `launch`, `shim` and `spawner` are imported by the spawner and must
stay light: the standard library only, and no asyncio.
"""

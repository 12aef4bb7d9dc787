"""The spawner: a small interpreter that forks a shim for each socket it is sent, and nothing else.

It reads packets from a socket until its end, which means that the server has gone. Each brings one
end of a channel, on which the new shim gets its orders from the server directly. The shims' reports
go on a socket that all of them share. When no process can be made the channel is closed, and the
server notices.

Standard library only; started with `python -I -S`. Arguments: the name of the yard's control group,
`cgroups` or `rlimits`, the soft limit of open files that jobs shall have, and the file descriptors
of the two sockets.
"""

import gc
import os
import resource
import signal
import socket
import sys
from typing import NoReturn

from batchyard.executors.process import cgroups, claim, shim


def main() -> None:
    yard, mode = sys.argv[1], sys.argv[2]
    files, channels_fd, reports_fd = (int(text) for text in sys.argv[3:6])
    os.set_inheritable(channels_fd, False)
    os.set_inheritable(reports_fd, False)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    layout = cgroups.find(yard) if mode == "cgroups" else None
    boot = claim.boot_id()
    channels = socket.socket(fileno=channels_fd)
    shim.say(reports_fd, {"event": "hello", "layout": layout})
    # ORDER: after the trial of the groups, which waits for a child. Nobody waits for a shim.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    # Pages that nobody touches are shared with every shim: keep the collector from touching them.
    gc.collect()
    gc.freeze()
    gc.disable()
    while True:
        packet, fds, _, _ = socket.recv_fds(channels, 16, 1)
        if not packet:
            return
        # A command that held it would hide the death of its shim from the server.
        os.set_inheritable(fds[0], False)
        try:
            pid = os.fork()
        except OSError as error:
            sys.stderr.write(f"no process for a shim: {error}\n")
            sys.stderr.flush()
            pid = -1
        if pid == 0:
            channels.close()
            _be_shim(fds[0], reports=reports_fd, boot=boot, layout=layout)
        os.close(fds[0])


def _be_shim(channel: int, *, reports: int, boot: str, layout: cgroups.Layout | None) -> NoReturn:
    status = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        shim.Shim(channel, reports=reports, boot=boot, layout=layout).serve()
        status = 0
    finally:
        if status:
            sys.excepthook(*sys.exc_info())
            sys.stderr.flush()
        os._exit(status)

"""Whether the kernel killed a container for memory, where the engine does not say.

Podman 4 reports `OOMKilled: false` even then. The kernel's own log names the container's cgroup;
where that log may not be read, nothing is claimed.
"""

import errno
import os


def killed_for_memory(container_id: str, path: str = "/dev/kmsg") -> bool:
    """Blocking, a few milliseconds."""
    wanted = container_id.encode()
    try:
        log = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        while True:
            try:
                record = os.read(log, 8192)
            except BlockingIOError:
                return False
            except OSError as error:
                if error.errno == errno.EPIPE:
                    continue  # records were overwritten while we read
                return False
            if not record:
                return False
            if b"oom-kill:" in record and wanted in record:
                return True
    finally:
        os.close(log)

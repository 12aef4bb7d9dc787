#!/bin/sh
# Make a Docker Engine answer on this machine, and say where. Idempotent.
#   scripts/engines/docker-up.sh            prints `DOCKER_HOST=unix:///...` on its last line
# Installs Debian's docker.io when dockerd is missing (needs root). Where systemd runs, systemd starts
# it; elsewhere (containers, CI) dockerd is started by hand with --live-restore, so that jobs survive
# a restart of the daemon.
set -eu
SOCKET=/var/run/docker.sock
LOG=${DOCKERD_LOG:-/var/log/dockerd.log}

say() { echo "docker-up: $*" >&2; }
answers() { python3 - "$SOCKET" <<'PY'
import http.client, socket, sys
class Unix(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(5)
        self.sock.connect(sys.argv[1])
try:
    c = Unix("engine"); c.request("GET", "/_ping"); sys.exit(c.getresponse().status != 200)
except OSError:
    sys.exit(1)
PY
}

if answers; then say "an engine already answers on $SOCKET"; echo "DOCKER_HOST=unix://$SOCKET"; exit 0; fi
if [ "$(id -u)" != 0 ]; then
  say "no engine answers on $SOCKET and only root can start one: run 'sudo $0'"; exit 1
fi
if ! command -v dockerd >/dev/null; then
  say "installing docker.io"
  apt-get update -q >&2
  DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends docker.io >&2
fi
if [ -d /run/systemd/system ]; then
  systemctl start docker >&2
else
  # Not `service docker start`: Debian's init script raises ulimit -n first and dies where it may not.
  say "starting dockerd by hand, log in $LOG"
  setsid nohup dockerd --live-restore >>"$LOG" 2>&1 </dev/null &
fi
i=0
until answers; do
  i=$((i + 1))
  if [ "$i" -gt 300 ]; then
    say "dockerd did not answer within 30 s; the end of $LOG:"; tail -n 20 "$LOG" >&2; exit 1
  fi
  sleep 0.1
done
say "ready"
echo "DOCKER_HOST=unix://$SOCKET"

#!/bin/sh
# Make Podman's Docker-compatible API answer on this machine, and say where. Idempotent.
#   scripts/engines/podman-up.sh            prints `DOCKER_HOST=unix:///...` on its last line
# Installs podman, runc and catatonit from Debian when they are missing (needs root). The settings are
# given through CONTAINERS_CONF, so nothing under /etc changes: runc and cgroupfs, because crun refuses
# cgroup v1 "hybrid"; explicit ulimits, because Podman's own defaults exceed what an unprivileged
# virtual machine may set.
set -eu
SOCKET=${PODMAN_SOCKET:-/run/podman/podman.sock}
LOG=${PODMAN_LOG:-/var/log/podman.log}
CONF=${PODMAN_CONF:-/run/batchyard-podman/containers.conf}

say() { echo "podman-up: $*" >&2; }
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
  say "no engine answers on $SOCKET; start your own with"
  say "  podman system service --time=0 unix://\$XDG_RUNTIME_DIR/podman/podman.sock"
  exit 1
fi
if ! command -v podman >/dev/null || ! command -v runc >/dev/null \
   || ! { command -v catatonit >/dev/null || [ -x /usr/libexec/podman/catatonit ]; }; then
  say "installing podman, runc and catatonit"
  apt-get update -q >&2
  DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends \
    podman runc catatonit netavark conmon >&2
fi
mkdir -p "$(dirname "$SOCKET")"
if [ -d /run/systemd/system ]; then
  systemctl start podman.socket >&2
else
  nofile=$(ulimit -Hn); [ "$nofile" = unlimited ] && nofile=1048576
  mkdir -p "$(dirname "$CONF")"
  cat >"$CONF" <<C
[containers]
default_ulimits = ["nofile=$nofile:$nofile", "nproc=30000:30000"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
C
  rm -f "$SOCKET"
  say "starting podman's API by hand, log in $LOG"
  CONTAINERS_CONF=$CONF setsid nohup podman system service --time=0 "unix://$SOCKET" \
    >>"$LOG" 2>&1 </dev/null &
fi
i=0
until answers; do
  i=$((i + 1))
  if [ "$i" -gt 300 ]; then
    say "podman did not answer within 30 s; the end of $LOG:"; tail -n 20 "$LOG" >&2; exit 1
  fi
  sleep 0.1
done
say "ready"
echo "DOCKER_HOST=unix://$SOCKET"

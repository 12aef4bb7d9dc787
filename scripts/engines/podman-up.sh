#!/usr/bin/env bash
# Make Podman's Docker-compatible API answer on this machine, and say where. Idempotent.
#   scripts/engines/podman-up.sh            prints `DOCKER_HOST=unix:///...` on its last line
# Installs podman, runc and catatonit from Debian when they are missing (needs root). The settings are
# given through CONTAINERS_CONF, so nothing under /etc changes: runc and cgroupfs, because crun refuses
# cgroup v1 "hybrid"; explicit ulimits, because Podman's own defaults exceed what an unprivileged
# virtual machine may set.
source "$(dirname "${BASH_SOURCE[0]}")/../lib/common.sh"
source scripts/lib/engine.sh
topic=podman-up
SOCKET=${PODMAN_SOCKET:-/run/podman/podman.sock}
LOG=${PODMAN_LOG:-/var/log/podman.log}
CONF=${PODMAN_CONF:-/run/batchyard-podman/containers.conf}

end_if_it_answers "$SOCKET"
if [ "$(id -u)" != 0 ]; then
  fail "no engine answers on $SOCKET; start your own with" \
    "  podman system service --time=0 unix://\$XDG_RUNTIME_DIR/podman/podman.sock"
fi
if ! command -v podman >/dev/null || ! command -v runc >/dev/null \
   || ! { command -v catatonit >/dev/null || [ -x /usr/libexec/podman/catatonit ]; }; then
  install_packages podman runc catatonit netavark conmon
fi
mkdir -p "$(dirname "$SOCKET")"
if [ -d /run/systemd/system ]; then
  systemctl start podman.socket >&2
else
  nofile=$(ulimit -Hn)
  if [ "$nofile" = unlimited ]; then nofile=1048576; fi
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
  # conmon leaves a file named `oom` where its podman was started.
  cd "$(dirname "$CONF")"
  CONTAINERS_CONF=$CONF setsid nohup podman system service --time=0 "unix://$SOCKET" \
    >>"$LOG" 2>&1 </dev/null &
fi
wait_for_answer "$SOCKET" "$LOG"

#!/usr/bin/env bash
# Runs the monitor over a simulated host: engines, GPUs and users that are not there. Options go to the monitor.
set -euo pipefail
cd "$(dirname "$0")/../.."

usage() {
  cat <<'TEXT'
Usage: scripts/development/run-demo.sh [OPTION...]

Runs the monitor over a simulated host, until Ctrl-C. Options go to the monitor; these are its own:

TEXT
  exec node "$monitor" --help
}

mock=apps/mock-exporter/dist/main.cjs
monitor=apps/monitor/dist/main.cjs
if [[ ${1:-} == --help ]]; then usage; fi
folder=$(mktemp -d)
mock_pid=
monitor_pid=

# Both end with the script, whoever ends first. Each is a process group of its own: Ctrl-C reaches the script alone,
# which tells them once.
set -m
end() {
  trap '' HUP INT TERM
  for pid in $monitor_pid $mock_pid; do kill "$pid" 2>/dev/null || true; done
  wait
  rm -rf "$folder"
}
trap end EXIT
# Not 130: Ctrl-C is how it is meant to end, and make would call that an error.
trap 'exit 0' HUP INT TERM

MOCK_EXPORTER_HOST_FOLDER="$folder" MOCK_EXPORTER_LOG_LEVEL=warn node "$mock" &
mock_pid=$!
for ((tries = 0; ; tries += 1)); do
  if [[ -S $folder/bin/nvidia-smi.sock ]]; then break; fi
  if ! kill -0 "$mock_pid" 2>/dev/null; then exit 1; fi
  if ((tries > 3000)); then
    echo 'The simulated host did not start within a minute.' >&2
    exit 1
  fi
  sleep 0.02
done
cat >&2 <<'TEXT'
A simulated host runs: four GPUs, four engines, changing traffic. Nothing of it is real.
  node apps/mock-exporter/dist/main.cjs incidents          what can go wrong
  node apps/mock-exporter/dist/main.cjs start hang chat    let it
TEXT
PATH="$folder/bin:$PATH" MONITOR_GPU_BACKEND=nvidia-smi MONITOR_SYSFS_ROOT="$folder/sys" \
  MONITOR_PROC_ROOT="$folder/proc" MONITOR_KERNEL_LOG_FILE="$folder/kmsg" node "$monitor" "$@" &
monitor_pid=$!
wait -n "$mock_pid" "$monitor_pid"

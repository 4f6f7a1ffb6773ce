#!/usr/bin/env bash
# Ends what start-dev.sh started, and nothing else.
set -euo pipefail
cd "$(dirname "$0")/../.."

usage() {
  cat <<'TEXT'
Usage: scripts/development/stop-dev.sh [OPTION]

Ends the processes that scripts/development/start-dev.sh started in this checkout, and no others. Their logs stay in
.cache/dev until the next start.

  --help  print this

STOP_DEV_WAIT_SECONDS is how long they may take before they are killed (default 15).
TEXT
}

# shellcheck source=scripts/development/development-processes.sh
source scripts/development/development-processes.sh

main() {
  local name process leaders=() left ended=0
  case ${1:-} in
    '') ;;
    -h | --help) usage && exit ;;
    *)
      printf '%s is no option of this script.\n\n' "$1" >&2
      usage >&2
      exit 2
      ;;
  esac
  # The builder first, or it would see its outputs in use; then those who read the mock, then the mock.
  for name in builder monitor gpu-exporter llm-exporter mock-exporter; do
    process=$(leader "$name")
    if [[ -z $process ]]; then continue; fi
    leaders+=("$process")
    # The leader alone is told, and tells its own. Where it is gone, those that it left behind are told.
    if is_ours "$process"; then
      kill "$process" 2>/dev/null && ended=$((ended + 1))
    else
      mapfile -t left < <(members "$process")
      if ((${#left[@]} > 0)); then kill "${left[@]}" 2>/dev/null && ended=$((ended + 1)); fi
    fi
  done
  SECONDS=0
  mapfile -t left < <(members "${leaders[@]}")
  while ((${#left[@]} > 0)); do
    if ((SECONDS >= ${STOP_DEV_WAIT_SECONDS:-15})); then
      say "Killing what did not end by itself: ${left[*]}"
      kill -KILL "${left[@]}" 2>/dev/null || true
    fi
    sleep 0.1
    mapfile -t left < <(members "${leaders[@]}")
  done
  rm -f "$folder"/*.pid
  if ((ended > 0)); then say 'All of it has ended.'; else say 'Nothing of it runs.'; fi
}

main "$@"

# shellcheck shell=bash
# The processes that start-dev.sh starts and stop-dev.sh ends; sourced by them, not run. Each is a process group of its
# own with a file NAME.pid, and has the variable LLM_MONITOR_DEVELOPMENT in its environment, so that a process id
# that another program has by now is not taken for ours.

folder=.cache/dev
# By its real path, so that a link to the checkout leads to the same processes.
checkout=$(pwd -P)
programs=(mock-exporter llm-exporter gpu-exporter monitor)

say() { printf '%s\n' "$1"; }

# fail SENTENCE COMMAND
fail() {
  printf '%s\n  %s\n' "$1" "$2" >&2
  exit 1
}

# is_ours PROCESS
is_ours() {
  { grep -qxzF "LLM_MONITOR_DEVELOPMENT=$checkout" "/proc/$1/environ"; } 2>/dev/null
}

# leader NAME: the process that NAME.pid names, whether it is there or not.
leader() {
  local process=
  if [[ -r $folder/$1.pid ]]; then read -r process <"$folder/$1.pid" || true; fi
  if [[ $process =~ ^[1-9][0-9]*$ ]]; then printf '%s' "$process"; fi
}

# members LEADER...: the living processes of their groups that are ours, also when a leader itself is gone.
members() {
  local file process rest state group
  for file in /proc/[0-9]*/stat; do
    # It may end at any time.
    { read -r rest <"$file"; } 2>/dev/null || continue
    process=${file#/proc/} process=${process%/stat}
    # Behind the name, which may have spaces, come state, parent and group.
    read -r state _ group _ <<<"${rest##*) }"
    if [[ " $* " == *" $group "* && $state != Z ]] && is_ours "$process"; then say "$process"; fi
  done
}

# running: the names of those of builder and programs that run.
running() {
  local name process
  for name in builder "${programs[@]}"; do
    process=$(leader "$name")
    if [[ -n $process ]] && is_ours "$process"; then say "$name"; fi
  done
}

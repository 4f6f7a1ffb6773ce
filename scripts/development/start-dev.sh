#!/usr/bin/env bash
# Runs all apps on the bare host over a simulated one, for work on them: each is built and started anew when its source
# changes. Needs no Docker and no GPU.
set -euo pipefail
cd "$(dirname "$0")/../.."

usage() {
  cat <<'TEXT'
Usage: scripts/development/start-dev.sh [OPTION]

Starts in the background, over a simulated host with GPUs, engines and users:
  mock-exporter  the simulated host   llm-exporter  its engines
  monitor        the page             gpu-exporter  its GPUs
and a builder, which makes their bundles anew when a source changes; an app whose bundle has changed is started anew.
When all of them answer it prints where they are. Their logs and process ids are in .cache/dev.
scripts/development/stop-dev.sh ends them.

  --help  print this

Settings of the apps are taken from the environment: MONITOR_PORT, MOCK_EXPORTER_SCENARIO and so on (docs/settings.md).
START_DEV_WAIT_SECONDS is how long all of them may take (default 300).
TEXT
}

# shellcheck source=scripts/development/development-processes.sh
source scripts/development/development-processes.sh

wait_seconds=${START_DEV_WAIT_SECONDS:-300}

# start NAME COMMAND...: in the background, in a process group of its own, with a log.
start() {
  local name=$1
  shift
  LLM_MONITOR_DEVELOPMENT=$checkout setsid "$@" </dev/null >"$folder/$name.log" 2>&1 &
  printf '%s\n' "$!" >"$folder/$name.pid"
}

# give_up NAME SENTENCE: the end of its log tells the rest.
give_up() {
  tail -n 5 "$folder/$1.log" >&2
  fail "$2, so all of it was ended; the end of its log is above." "less $folder/$1.log"
}

# What would run without the rest is ended, also after Ctrl-C.
all_run=true
end_part() {
  if ! $all_run; then scripts/development/stop-dev.sh >/dev/null; fi
}
trap end_part EXIT
trap 'exit 130' HUP INT TERM

# wait_for NAME WHAT TEST...: until the test is true. The builder and serve-app.sh outlive what they run, and say so.
wait_for() {
  local name=$1 what=$2
  shift 2
  until "$@"; do
    if ! kill -0 "$(leader "$name")" 2>/dev/null ||
      grep -qE '^[a-z-]+ ended with |build finished with errors' "$folder/$name.log"; then
      give_up "$name" "$name failed before it $what"
    elif ((SECONDS >= wait_seconds)); then
      give_up "$name" "$name took more than $wait_seconds s until it $what"
    fi
    sleep 0.1
  done
}

has_built() { (($(grep -c 'build succeeded' "$folder/builder.log") >= ${#programs[@]})); }
address() { sed -n -E 's/.*"url":"([^"]+)".*"msg":"(listening|the page is open)".*/\1/p' "$folder/$1.log" | tail -n 1; }
listens() { [[ -n $(address "$1") ]]; }

print_addresses() {
  local name
  for name in "${programs[@]}"; do printf '  %-14s %s\n' "$name" "$(address "$name")"; done
}

main() {
  local present name
  case ${1:-} in
    '') ;;
    -h | --help) usage && exit ;;
    *)
      printf '%s is no option of this script.\n\n' "$1" >&2
      usage >&2
      exit 2
      ;;
  esac
  mapfile -t present < <(running)
  if ((${#present[@]} == ${#programs[@]} + 1)); then
    say 'All of it runs already:'
    print_addresses
    exit
  elif ((${#present[@]} > 0)); then
    fail "Only a part of it runs (${present[*]})." 'scripts/development/stop-dev.sh && scripts/development/start-dev.sh'
  fi
  command -v setsid >/dev/null || fail 'setsid is not installed, without which what is started here could not be ended safely.' \
    'sudo apt-get install util-linux'
  scripts/setup/install-packages.sh
  SECONDS=0 # the packages may take what they take
  all_run=false
  rm -rf "$folder"
  mkdir -p "$folder"
  # The nvidia-smi of the simulated host is no module, as all else below this package is.
  printf '{ "type": "commonjs" }\n' >"$folder/package.json"

  say 'Building ...'
  local list
  list=$(printf ',%s' "${programs[@]}")
  start builder env NX_DAEMON=false NX_TUI=false node_modules/.bin/nx run-many -t build -p "${list#,}" --watch \
    --parallel="${#programs[@]}" --outputStyle=stream
  wait_for builder 'had built all apps' has_built

  say 'Starting ...'
  # At a higher level they would not say that they listen.
  for name in MOCK_EXPORTER LLM_EXPORTER GPU_EXPORTER MONITOR; do
    name+=_LOG_LEVEL
    if [[ ${!name:-} != @(debug|trace) ]]; then export "$name=info"; fi
  done
  export MOCK_EXPORTER_HOST_FOLDER=$PWD/$folder/host
  start mock-exporter scripts/development/serve-app.sh mock-exporter
  wait_for mock-exporter listened listens mock-exporter
  # What the others find on the simulated host.
  export PATH=$PWD/$folder/host/bin:$PATH
  export MONITOR_GPU_BACKEND=nvidia-smi GPU_EXPORTER_BACKEND=nvidia-smi
  export GPU_EXPORTER_PROC_ROOT=$PWD/$folder/host/proc GPU_EXPORTER_SYSFS_ROOT=$PWD/$folder/host/sys
  export MONITOR_PROC_ROOT=$PWD/$folder/host/proc MONITOR_SYSFS_ROOT=$PWD/$folder/host/sys
  export MONITOR_KERNEL_LOG_FILE=$PWD/$folder/host/kmsg GPU_EXPORTER_KERNEL_LOG=true GPU_EXPORTER_KERNEL_LOG_FILE=$PWD/$folder/host/kmsg
  for name in llm-exporter gpu-exporter monitor; do start "$name" scripts/development/serve-app.sh "$name"; done
  for name in llm-exporter gpu-exporter monitor; do wait_for "$name" listened listens "$name"; done

  all_run=true
  say 'All of it runs, over a simulated host:'
  print_addresses
  say "Logs: tail -f $folder/*.log; to end it: scripts/development/stop-dev.sh"
}

main "$@"

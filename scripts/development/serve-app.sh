#!/usr/bin/env bash
# Runs the bundle of an app, and runs it anew whenever it was built anew; for start-dev.sh.
set -euo pipefail
cd "$(dirname "$0")/../.."

usage() {
  cat <<'TEXT'
Usage: scripts/development/serve-app.sh APP

Runs the bundle of an app, such as monitor, until it is told to end, and runs it anew whenever it was built anew.

  --help  print this
TEXT
}

case ${1:-} in
  -h | --help) usage && exit ;;
  '' | -*) usage >&2 && exit 2 ;;
esac
app=$1
app_pid=

# What tells one build from the next: the reader of the GPUs is a file of its own.
build() { stat -c '%n %Y %s %i' apps/"$app"/dist/*.cjs 2>/dev/null || true; }

stop() {
  if [[ -n $app_pid ]]; then
    kill "$app_pid" 2>/dev/null || true
    wait "$app_pid" 2>/dev/null || true
    app_pid=
  fi
}
trap 'stop; exit 0' HUP INT TERM

while true; do
  served=$(build)
  NODE_OPTIONS="${NODE_OPTIONS:+$NODE_OPTIONS }--enable-source-maps" node "apps/$app/dist/main.cjs" &
  app_pid=$!
  ended=false
  while [[ $(build) == "$served" ]]; do
    if ! $ended && ! kill -0 "$app_pid" 2>/dev/null; then
      status=0
      wait "$app_pid" || status=$?
      echo "$app ended with $status; it is started again after the next build."
      ended=true app_pid=
    fi
    # In the background, so that a signal is heard at once.
    sleep 0.5 &
    wait $! || true
  done
  # A build writes several files: it is over when nothing changes any more.
  until served=$(build) && sleep 0.3 && [[ -n $served && $(build) == "$served" ]]; do :; done
  echo "$app was built anew."
  stop
done

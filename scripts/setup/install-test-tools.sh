#!/usr/bin/env bash
# Makes the programs that tests call available without installing anything on the system: what is not on PATH
# is unpacked from its Debian or Ubuntu package into .cache/tools. One line `missing: PROGRAM: why` for each that
# could not be had, and exit code 1 then. Needs no root.
set -euo pipefail
cd "$(dirname "$0")/../.."

if [ "${1:-}" = --help ]; then
  cat <<'TEXT'
Usage: scripts/setup/install-test-tools.sh

Makes the programs that tests call available, without installing anything on the system: what is not on PATH is unpacked
from its Debian or Ubuntu package into .cache/tools. One that cannot be had is told in a line "missing: ...", and the exit
code is 1 then.
TEXT
  exit
fi

tools=$PWD/.cache/tools
missing=0

# unpack PROGRAM PACKAGE: fetch the package and keep the program alone, without the service that comes with it.
unpack() {
  local program=$1 package=$2 folder status=0
  folder=$(mktemp -d)
  {
    download "$folder" "$package" &&
      dpkg-deb -x "$folder/$package"_*.deb "$folder/root" &&
      mkdir -p "$tools" &&
      cp "$folder/root/usr/bin/$program" "$tools/$program.new" &&
      mv "$tools/$program.new" "$tools/$program"
  } >"$folder/log" 2>&1 || status=$?
  if [ "$status" -ne 0 ]; then tail -n 3 "$folder/log" >&2; fi
  rm -rf "$folder"
  return "$status"
}

# download FOLDER PACKAGE: with the package lists of the system, else with lists of our own.
download() {
  local folder=$1 package=$2
  local apt=(apt-get -q -o Acquire::Retries=1 -o Acquire::http::Timeout=20 -o APT::Sandbox::User="$(id -un)")
  cd "$folder"
  if "${apt[@]}" download "$package"; then return 0; fi
  mkdir -p lists/partial archives/partial
  apt+=(-o Dir::State::Lists="$folder/lists" -o Dir::Cache="$folder" -o Dir::Cache::Archives="$folder/archives")
  "${apt[@]}" update && "${apt[@]}" download "$package"
}

# need PROGRAM PACKAGE WHAT_FOR
need() {
  local program=$1 package=$2 what_for=$3
  if command -v "$program" >/dev/null || [ -x "$tools/$program" ]; then return 0; fi
  if ! command -v apt-get >/dev/null || ! command -v dpkg-deb >/dev/null; then
    echo "missing: $program: $what_for; this is not Debian or Ubuntu, so put it on PATH yourself"
  elif (unpack "$program" "$package"); then
    echo "Unpacked $program from the Debian package $package into .cache/tools."
    return 0
  else
    echo "missing: $program: $what_for; the Debian package $package could not be fetched"
  fi
  missing=1
}

need promtool prometheus 'checks that Prometheus accepts every metric we render'
need shellcheck shellcheck 'finds mistakes in the shell scripts'
need shfmt shfmt 'holds the shell scripts to one format'

exit "$missing"

#!/usr/bin/env bash
# Lints the shell scripts that are named, or all: shellcheck for mistakes, shfmt for the format.
set -euo pipefail
cd "$(dirname "$0")/../.."
# What install-test-tools.sh unpacked.
PATH=$PATH:$PWD/.cache/tools

if [[ ${1:-} == --help ]]; then
  printf 'Usage: scripts/development/lint-scripts.sh [FILE...]\n\nLints the shell scripts that are named, or all.\n'
  exit
fi
files=("$@")
if ((${#files[@]} == 0)); then mapfile -t files < <(git ls-files '*.sh' .ci/run); fi

failed=false
# run PROGRAM OPTION...: its files follow.
run() {
  if ! command -v "$1" >/dev/null; then
    printf '%s is not here, so the scripts were not checked by it: scripts/setup/install-test-tools.sh\n' "$1" >&2
  elif ! "$@" "${files[@]}"; then
    failed=true
  fi
}
run shellcheck --external-sources
run shfmt -i 2 -ci -d
if $failed; then
  printf 'Mend the format: shfmt -i 2 -ci -w %s\n' "${files[*]}" >&2
  exit 1
fi

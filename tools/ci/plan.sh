#!/usr/bin/env bash
# What CI has to do for a change, as lines `NAME=VALUE`: the commit to compare with, the apps whose images are built, and
# whether the stack and the scripts are tried. The change is that from $NX_BASE to $NX_HEAD (default HEAD).
set -euo pipefail
cd "$(dirname "$0")/../.."
if [[ ${1:-} == --help ]]; then
  printf 'Usage: NX_BASE=COMMIT tools/ci/plan.sh\n\nPrints what CI does for the change from that commit to NX_HEAD (default HEAD).\n'
  exit
fi
: "${NX_BASE:?names the commit to compare with}"
export NX_HEAD=${NX_HEAD:-HEAD} NX_DAEMON=false

affected=$(node_modules/.bin/nx show projects --affected --json)
is_affected() { if [[ $affected == *"\"$1\""* ]]; then echo true; else echo false; fi; }

images=$(node_modules/.bin/nx show projects --affected --with-target docker --json)
printf '%s=%s\n' base "$NX_BASE" images "$images" stack "$(is_affected e2e)" scripts "$(is_affected scripts)"

#!/usr/bin/env bash
# Checks that Node is new enough and installs the packages of package-lock.json when they are missing or
# out of date. Says nothing when there is nothing to do; npm's own output is shown only when it fails.
set -euo pipefail
cd "$(dirname "$0")/../.."

if [ "${1:-}" = --help ]; then
  cat <<'TEXT'
Usage: scripts/setup/install-packages.sh

Checks that Node.js is new enough, and installs the packages of this project below it (npm ci) when they are missing or
out of date. Nothing is installed on the system.
TEXT
  exit
fi

for program in node npm; do
  if ! command -v "$program" >/dev/null; then
    echo "$program is not installed, and Node.js 20.19 or newer with npm is needed." >&2
    echo '  scripts/setup/install-dependencies.sh --without-docker' >&2
    exit 1
  fi
done

node -e '
  var wanted = require("./package.json").engines.node.match(/\d+/g).map(Number);
  var found = process.versions.node.split(".").map(Number);
  if (found[0] > wanted[0] || (found[0] === wanted[0] && found[1] >= wanted[1])) process.exit(0);
  console.error("Node.js " + process.versions.node + " is too old: install " + wanted.join(".") +
    " or newer (.nvmrc names the version the project is developed with), then run make again.");
  process.exit(1);
'

# npm writes this file last, so that an interrupted install is seen as missing.
if [ node_modules/.package-lock.json -nt package-lock.json ]; then exit 0; fi

echo 'Installing packages (npm ci) ...'
mkdir -p .cache
# Development packages are wanted even where NODE_ENV=production is set: they build the apps.
if ! npm ci --include=dev --no-audit --no-fund --no-progress >.cache/npm-ci.log 2>&1 </dev/null; then
  cat .cache/npm-ci.log >&2
  echo 'npm ci failed: its output is above and in .cache/npm-ci.log. Is the package registry reachable?' >&2
  exit 1
fi

# npm ci has them installed (lefthook.yml), where this is a clone.
hook=$(git rev-parse --git-path hooks/pre-commit 2>/dev/null || true)
if [ -n "$hook" ] && grep -qs lefthook "$hook"; then
  echo 'Git hooks are installed: they check what is committed and pushed; git commit --no-verify skips them once.'
fi

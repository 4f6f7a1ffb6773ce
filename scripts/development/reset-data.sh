#!/usr/bin/env bash
# Removes the data that this project has made on this host, after a question, and nothing else.
set -euo pipefail
cd "$(dirname "$0")/../.."

usage() {
  cat <<'TEXT'
Usage: scripts/development/reset-data.sh [OPTION]

Removes the data of the container stack in all of its environments (the volumes of the Compose projects llm-monitor-dev,
llm-monitor-mock and llm-monitor-prod, or as STACK_NAME says), and the folder .cache/dev of start-dev.sh. What runs of
them is stopped first. Settings, secrets, images and everything of other projects stay.

  --yes   do it without asking
  --help  print this
TEXT
}

# shellcheck source=scripts/development/development-processes.sh
source scripts/development/development-processes.sh

# The name that compose.sh gives its projects: of the environment, else of .env.
stack_name() {
  local value=${STACK_NAME:-}
  if [[ -z $value && -r .env ]]; then value=$(sed -n -E "s/^STACK_NAME=[\"']?([^\"']*)[\"']?\$/\1/p" .env | tail -n 1); fi
  printf '%s' "${value:-llm-monitor}"
}

# volumes PROJECT: by the label that Compose gives those of a project, and by their name.
volumes() {
  docker volume ls -q --filter "label=com.docker.compose.project=$1" | grep -E "^$1[_-]" || true
}

main() {
  local name project found=() projects=() present is_docker=false
  case ${1:-} in
    '' | --yes) ;;
    -h | --help) usage && exit ;;
    *)
      printf '%s is no option of this script.\n\n' "$1" >&2
      usage >&2
      exit 2
      ;;
  esac
  name=$(stack_name)
  [[ $name =~ ^[a-z0-9][a-z0-9_-]*$ ]] ||
    fail "STACK_NAME=$name cannot be the name of a stack, so nothing was removed." 'grep -n STACK_NAME .env'
  if ! command -v docker >/dev/null; then
    say 'Docker is not installed, so there is no data of the stack.'
  elif ! docker version >/dev/null 2>&1; then
    say "Docker's engine does not answer, so the data of the stack stays; once it runs: scripts/development/reset-data.sh"
  else
    is_docker=true
    for project in "$name-dev" "$name-mock" "$name-prod"; do
      mapfile -t present < <(volumes "$project")
      if ((${#present[@]} > 0)); then
        projects+=("$project")
        found+=("${present[@]}")
      fi
    done
  fi
  if ((${#found[@]} == 0)) && [[ ! -e $folder ]]; then
    say 'There is no data to remove.'
    exit
  fi
  say 'This removes for good:'
  if ((${#found[@]} > 0)); then printf '  the volume %s\n' "${found[@]}"; fi
  if [[ -e $folder ]]; then say "  the folder $folder"; fi
  if [[ ${1:-} != --yes ]]; then
    if [[ ! -t 0 ]]; then
      fail 'Nobody is here to be asked, so nothing was removed.' 'scripts/development/reset-data.sh --yes'
    fi
    read -r -p 'Remove it? [y/N] ' present
    if [[ $present != [yY]* ]]; then
      say 'Nothing was removed.'
      exit
    fi
  fi
  if $is_docker; then
    for project in "${projects[@]}"; do
      docker compose --progress quiet -p "$project" down --remove-orphans
    done
    if ((${#found[@]} > 0)); then
      docker volume rm "${found[@]}" >/dev/null ||
        fail 'Not all of it was removed: a container of another project uses it, as Docker says above.' 'docker ps -a'
    fi
  fi
  if [[ -e $folder ]]; then
    scripts/development/stop-dev.sh >/dev/null
    rm -rf "$folder"
  fi
  say 'The data is removed.'
}

main "$@"

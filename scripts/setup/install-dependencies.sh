#!/usr/bin/env bash
# Installs what the project needs on Debian and Ubuntu: make, git, Node.js with npm, Docker Engine with Compose and
# buildx. Takes what the distribution has where that is new enough, else the signed apt repository of who makes it.
set -euo pipefail
cd "$(dirname "$0")/../.."

usage() {
  cat <<'TEXT'
Usage: scripts/setup/install-dependencies.sh [OPTION...]

Installs make, git, Node.js with npm, and Docker Engine with Compose v2 and buildx on Debian 12 and newer and on
Ubuntu 24.04 and newer. What is there already is left as it is. It says first what it would do, and asks; it calls sudo
where root is needed.

  --dry-run         say what would be done, and do nothing
  --yes             do it without asking
  --without-docker  leave Docker out: make start and make demo do not need it
  --help            print this

Node.js comes from the distribution where that has one new enough for this project (20.19), else Node.js 22 comes from
NodeSource; Docker from the distribution where that has Compose v2, else from Docker. Variables name mirrors of those
two, and their keys:
  NODESOURCE_URL, NODESOURCE_KEY_FINGERPRINT, DOCKER_APT_URL, DOCKER_APT_KEY_FINGERPRINT
TEXT
}

# shellcheck source=scripts/setup/apt.sh
source scripts/setup/apt.sh

readonly node_major=22
nodesource_url=${NODESOURCE_URL:-https://deb.nodesource.com}
nodesource_key=${NODESOURCE_KEY_FINGERPRINT:-6F71F525282841EEDAF851B42F59B5F99B1BE0B4}
docker_url=${DOCKER_APT_URL:-https://download.docker.com/linux}
docker_key=${DOCKER_APT_KEY_FINGERPRINT:-9DC858229FC7DD38854AE2D88D81803C0EBFCD88}

dry_run=false
yes=false
docker_wanted=true
here=()

node_version() { node --version 2>/dev/null | sed 's/^v//'; }
node_wanted() { sed -n -E 's/^ *"node": ">=([0-9.]+)".*/\1/p' package.json; }
compose_version() { docker compose version --short 2>/dev/null | sed 's/^v//'; }

plan_tools() {
  local program
  for program in make git; do
    if has "$program"; then here+=("$program"); else plan_packages "$program"; fi
  done
}

plan_node() {
  local found offered wanted
  wanted=$(node_wanted) found=$(node_version || true)
  if [[ -n $found ]] && is_at_least "$found" "$wanted"; then
    here+=("Node.js $found")
    if has npm; then here+=("npm $(npm --version 2>/dev/null)"); else plan_packages npm; fi
    return
  fi
  need_lists
  offered=$(candidate nodejs)
  if [[ -n $offered ]] && is_at_least "$offered" "$wanted"; then
    plan_packages nodejs
    # NodeSource's package brings npm along.
    if [[ $offered != *nodesource* ]]; then plan_packages npm; fi
    return
  fi
  plan_repository nodesource "$nodesource_url/gpgkey/nodesource-repo.gpg.key" "$nodesource_key" \
    "$nodesource_url/node_$node_major.x" nodistro main \
    "for Node.js $node_major; ${found:+Node.js $found is here, and }the distribution has ${offered:-none}"
  plan_packages nodejs
}

plan_docker() {
  local found compose=docker-compose-v2 version
  if has docker; then
    found=$(docker --version 2>/dev/null || true)
    if [[ ${found,,} == *podman* ]]; then
      fail 'The docker of this host is Podman, which the stack was not tried with.' "$0 --without-docker"
    fi
    here+=("${found%%,*}")
    version=$(compose_version || true)
    if [[ $version == [2-9]* ]]; then here+=("Compose $version"); fi
    if docker buildx version >/dev/null 2>&1; then here+=(buildx); fi
    if [[ " ${here[*]} " == *' Compose '*' buildx '* ]]; then return; fi
  fi
  need_lists
  if [[ -z $(candidate "$compose") ]]; then compose=docker-compose; fi # so it is called in Debian
  if [[ -n $(candidate docker-ce) ]]; then
    plan_docker_packages docker-ce docker-ce-cli containerd.io docker-buildx-plugin docker-compose-plugin
  elif [[ -n $(candidate docker.io) ]] && is_at_least "$(candidate "$compose")" 2; then
    found=docker.io
    if [[ -n $(candidate docker-cli) ]]; then found+=' docker-cli'; fi
    # shellcheck disable=SC2086 # one or two words
    plan_docker_packages $found docker-buildx "$compose"
  else
    version=$(candidate docker-compose)
    plan_repository docker "$docker_url/$distribution/gpg" "$docker_key" "$docker_url/$distribution" "$codename" stable \
      "for Docker with Compose v2; the Compose of the distribution is ${version:-none}"
    plan_docker_packages docker-ce docker-ce-cli containerd.io docker-buildx-plugin docker-compose-plugin
  fi
}

# plan_docker_packages ENGINE... BUILDX COMPOSE: those of them that are not here; an engine that is here stays.
plan_docker_packages() {
  if ! has docker; then plan_packages "${@:1:$#-2}"; fi
  if [[ " ${here[*]} " != *' buildx '* ]]; then plan_packages "${*:$#-1:1}"; fi
  if [[ " ${here[*]} " != *' Compose '* ]]; then plan_packages "${*:$#}"; fi
}

# What was installed answers, and is what is found first.
verify() {
  local found
  found=$(node_version || true)
  if [[ -z $found ]] || ! is_at_least "$found" "$(node_wanted)"; then
    fail "Node.js was installed as /usr/bin/node, and $(command -v node || echo no node) (${found:-without a version}) is found before it." \
      "export PATH=/usr/bin:\$PATH"
  fi
  has npm || fail 'Node.js was installed, and npm is not there.' 'sudo apt-get install npm'
  say "Node.js $found, npm $(npm --version 2>/dev/null), $(make --version | head -n 1)"
  if ! $docker_wanted; then return; fi
  [[ $(compose_version || true) == [2-9]* ]] ||
    fail 'Docker was installed, and docker compose does not answer.' 'docker compose version'
  say "$(docker --version | cut -d, -f1), Compose $(compose_version)"
  if found=$(engine_version docker); then
    say "Docker's engine answers: $found"
  elif [[ $found == *'permission denied'* ]]; then
    say "You may not use Docker yet; who may is as good as root. To let $(id -un), and then log in anew:"
    say "  sudo usermod -aG docker $(id -un)"
  else
    say "Docker's engine does not run yet:"
    say '  sudo systemctl enable --now docker'
  fi
}

main() {
  local option
  for option in "$@"; do
    case $option in
      --dry-run) dry_run=true ;;
      --yes) yes=true ;;
      --without-docker) docker_wanted=false ;;
      -h | --help) usage && exit ;;
      *)
        printf '%s is no option of this script.\n\n' "$option" >&2
        usage >&2
        exit 2
        ;;
    esac
  done
  read_distribution
  plan_tools
  plan_node
  if $docker_wanted; then plan_docker; fi
  finish_plan
  if ((${#here[@]} > 0)); then say "Here already: $(printf '%s, ' "${here[@]}" | sed 's/, $//')."; fi
  if ((${#steps[@]} == 0)); then
    say 'Nothing is to be done.'
    if ! $dry_run; then verify; fi
    exit
  fi
  print_plan
  if $dry_run; then
    say 'Nothing was done (--dry-run).'
    exit
  fi
  need_root "$*"
  if ! $yes; then ask 'Do that?' "$0 ${*:+$* }--yes"; fi
  run_apt_plan
  verify
  if $docker_wanted; then say 'Next: make up ENV=mock'; else say 'Next: make demo'; fi
}

main "$@"

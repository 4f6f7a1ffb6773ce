#!/usr/bin/env bash
# The container stack behind `make up` and its siblings: chooses the files of compose/ that fit this host, says what it
# chose and why, waits until all is healthy, and tells each known fault in one sentence with one command.
set -euo pipefail
cd "$(dirname "$0")/../.."

usage() {
  cat <<'TEXT'
Usage: scripts/development/compose.sh COMMAND [OPTION...]

  up       start the stack, wait until it is healthy and print where it is; options go to docker compose up
  down     stop it and remove its containers; the data stays
  restart  the same as up, with every container made anew, so that changed settings are read
  logs     follow what it says; options and names of services go to docker compose logs
  ps       list its containers
  check    check the configuration of every combination, without starting anything
  reset    stop it and remove its data after a question; --yes asks nothing
  config   print the configuration that would be started
  urls     print where it is

Variables (also on the command line of make):
  ENV   dev, mock or prod (the default; other commands than up take the one that runs)
  GPU   auto (the default), nvidia, cdi, amd or none
Settings are read from .env; .env.example lists them.
TEXT
}

# Where files of the host are looked for; tests have a host of their own.
host=${STACK_HOST_ROOT:-}
password_file=compose/secrets/grafana/admin-password

say() { printf '%s\n' "$1"; }

# fail SENTENCE COMMAND
fail() {
  printf '%s\n  %s\n' "$1" "$2" >&2
  exit 1
}

# setting NAME DEFAULT: of the environment, else of .env, else the default.
setting() {
  local line value=${!1:-}
  if [[ -z $value && -r .env ]]; then
    while IFS= read -r line; do
      if [[ $line == "$1="* ]]; then value=${line#*=}; fi
    done <.env
    value=${value%\"} value=${value#\"} value=${value%\'} value=${value#\'}
  fi
  printf '%s' "${value:-$2}"
}

# ---- What is asked for

is_environment() { [[ $1 == dev || $1 == mock || $1 == prod ]]; }

# The environments that have containers, running or not.
present_environments() {
  local project
  docker ps -a --format '{{.Label "com.docker.compose.project"}}' | sort -u | while IFS= read -r project; do
    if [[ $project == "$name"-* ]] && is_environment "${project#"$name"-}"; then say "${project#"$name"-}"; fi
  done
}

# choose_environment COMMAND
choose_environment() {
  local present
  # A shell may have a startup file in the variable of that name.
  environment=${ENV:-}
  if [[ $environment == */* ]]; then environment=; fi
  if [[ -n $environment ]]; then
    is_environment "$environment" || fail "ENV=$environment is none of dev, mock and prod." "make $1 ENV=mock"
  elif [[ $1 == up || $1 == config ]]; then
    environment=prod
  else
    mapfile -t present < <(present_environments)
    if ((${#present[@]} > 1)); then
      fail "Several stacks are there (${present[*]}): say which." "make $1 ENV=${present[0]}"
    fi
    environment=${present[0]:-prod}
  fi
  project=$name-$environment
}

check_settings_file() {
  local found
  if [[ ! -e .env ]]; then
    if [[ $1 == up || $1 == restart ]]; then
      say 'There is no .env, so every setting has its default; to change one: cp .env.example .env'
    fi
    return
  fi
  [[ -r .env ]] || fail 'The settings in .env cannot be read by you.' "sudo chown $(id -un) .env"
  found=$(grep -n -m1 $'\r' .env | cut -d: -f1 || true)
  if [[ -n $found ]]; then
    fail "Line $found of .env ends as on Windows, and the end would become a part of the value." "sed -i 's/\\r\$//' .env"
  fi
  found=$(grep -n -m1 -E '^[[:space:]]+[A-Za-z_]|^(export )?[A-Za-z_][A-Za-z0-9_]*([[:space:]]+=|=[[:space:]]+[^[:space:]#])' .env |
    cut -d: -f1 || true)
  if [[ -n $found ]]; then
    fail "Line $found of .env has spaces around its name or its =, where none may be." \
      "sed -i -E 's/^[[:space:]]*([A-Za-z_][A-Za-z0-9_]*)[[:space:]]*=[[:space:]]*/\\1=/' .env"
  fi
  while IFS= read -r found; do
    if ! grep -q -E "^# $found=" .env.example && [[ $found != *_FILE ]]; then
      say "$found in .env is no setting of ours and changes nothing; .env.example lists those there are." >&2
    fi
  done < <(sed -n -E 's/^([A-Za-z_][A-Za-z0-9_]*)=.*/\1/p' .env)
}

choose_long_term() {
  long_term=$(setting LONG_TERM_STORAGE '')
  case $long_term in
    '' | victoriametrics | http://?* | https://?*) ;;
    *) fail "LONG_TERM_STORAGE=$long_term is neither victoriametrics nor an http address." \
      'make up LONG_TERM_STORAGE=victoriametrics' ;;
  esac
}

# ---- What this host has

need_docker() {
  local answer
  command -v docker >/dev/null ||
    fail 'Docker is not installed, and the stack runs in containers (make start does without).' \
      'scripts/setup/install-dependencies.sh'
  docker compose version >/dev/null 2>&1 ||
    fail 'This Docker has no Compose v2 (the old docker-compose will not do).' 'scripts/setup/install-dependencies.sh'
  if answer=$(docker info --format '{{.ServerVersion}}' 2>&1); then
    engine_major=${answer%%.*}
  elif [[ $answer == *'permission denied'* ]]; then
    fail 'You may not use Docker on this host (log in anew afterwards).' "sudo usermod -aG docker $(id -un)"
  else
    fail 'Docker is installed, and its engine does not answer.' 'sudo systemctl start docker'
  fi
}

has_nvidia_driver() { [[ -e $host/proc/driver/nvidia/version || -e $host/dev/nvidiactl || -e $host/dev/dxg ]]; }

has_nvidia_runtime() {
  # The engine also takes up the hook alone, without a runtime of that name.
  docker info --format '{{range $name, $_ := .Runtimes}}{{$name}} {{end}}' 2>/dev/null | grep -qw nvidia ||
    command -v nvidia-container-runtime-hook >/dev/null
}

has_cdi() {
  [[ $engine_major =~ ^[0-9]+$ ]] && ((engine_major >= 28)) &&
    grep -qs 'nvidia.com/gpu' "$host"/etc/cdi/* "$host"/var/run/cdi/*
}

has_amd() { grep -qsx 0x1002 "$host"/sys/class/drm/card*/device/vendor; }

# Sets `gpu`, and says in one line which it is and why.
choose_gpu() {
  local asked why
  asked=$(setting GPU auto)
  case $asked in
    auto | nvidia | cdi | amd | none) ;;
    *) fail "GPU=$asked is none of auto, nvidia, cdi, amd and none." "make up ENV=$environment GPU=auto" ;;
  esac
  is_gpu_chosen_here=false
  gpu=$asked
  if [[ $environment == mock ]]; then
    if [[ $asked != auto && $asked != none ]]; then
      fail "ENV=mock has simulated GPUs, and GPU=$asked wants real ones." "make up ENV=prod GPU=$asked"
    fi
    gpu=none
    say 'GPUs: simulated, those of the mock.'
    return
  fi
  case $asked in
    nvidia)
      has_nvidia_runtime || fail 'GPU=nvidia was asked for, and this Docker has no NVIDIA runtime.' \
        'scripts/setup/setup-nvidia-toolkit.sh'
      why='asked for, and Docker has the NVIDIA runtime'
      ;;
    cdi)
      has_cdi || fail 'GPU=cdi was asked for, which takes Docker Engine 28 and a CDI specification for nvidia.com/gpu.' \
        'scripts/setup/setup-nvidia-toolkit.sh --cdi'
      why='asked for, and there is a CDI specification'
      ;;
    amd)
      has_amd || fail 'GPU=amd was asked for, and no card of AMD is in /sys/class/drm.' \
        "make up ENV=$environment GPU=none"
      why='asked for, and a card of AMD is here'
      ;;
    none) why='asked for; there will be no figures of GPUs' ;;
    auto)
      is_gpu_chosen_here=true
      if has_nvidia_driver && has_nvidia_runtime; then
        gpu=nvidia why='an NVIDIA driver is here, and Docker has the NVIDIA runtime'
      elif has_nvidia_driver && has_cdi; then
        gpu=cdi why='an NVIDIA driver is here, and a CDI specification'
      elif has_amd; then
        gpu=amd why='a card of AMD is here'
      elif has_nvidia_driver; then
        gpu=none why='an NVIDIA driver is here, and Docker cannot hand its GPUs on (scripts/setup/setup-nvidia-toolkit.sh mends that)'
      else
        gpu=none why='no driver of NVIDIA and no card of AMD is here; there will be no figures of GPUs'
      fi
      ;;
  esac
  say "GPUs: $gpu ($why)."
}

# ---- Compose

# Sets `files` to those of this environment, GPU and long-term storage.
choose_files() {
  files=(-f compose/docker-compose.yml -f "compose/docker-compose.$environment.yml")
  if [[ $gpu != none ]]; then files+=(-f "compose/docker-compose.gpu-$gpu.yml"); fi
  if [[ -n $long_term ]]; then files+=(-f compose/docker-compose.long-term.yml); fi
  if [[ $long_term == victoriametrics ]]; then files+=(--profile victoriametrics); fi
}

compose() {
  local settings=()
  if [[ -e .env ]]; then settings=(--env-file .env); fi
  docker compose --project-directory compose -p "$project" "${settings[@]}" "${files[@]}" "$@"
}

# ports: a line `SERVICE VARIABLE PORT` for each port of this host that is taken.
ports() {
  local service variable default
  while read -r service variable default; do
    say "$service $variable $(setting "$variable" "$default")"
  done < <(
    say 'grafana GRAFANA_PORT 3000'
    say 'prometheus PROMETHEUS_PORT 9090'
    say 'alertmanager ALERTMANAGER_PORT 9093'
    if [[ $environment == dev ]]; then
      say 'llm-exporter DEV_LLM_EXPORTER_PORT 9502'
      say 'node-exporter DEV_NODE_EXPORTER_PORT 9100'
    fi
    if [[ $long_term == victoriametrics ]]; then say 'victoriametrics LONG_TERM_PORT 8428'; fi
  )
}

is_taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

check_ports() {
  local service variable port holder free
  while read -r service variable port; do
    if ! is_taken "$port"; then continue; fi
    holder=$(docker ps --filter "publish=$port" --format '{{.Label "com.docker.compose.project"}}' | head -n 1)
    if [[ $holder == "$project" ]]; then continue; fi
    if [[ $holder == "$name"-* ]]; then
      fail "Port $port is taken by the stack of ENV=${holder#"$name"-}." "make down ENV=${holder#"$name"-}"
    fi
    free=$((port + 1))
    while is_taken "$free"; do free=$((free + 1)); done
    fail "Port $port, for $service, is taken by another program." "make up ENV=$environment $variable=$free"
  done < <(ports)
}

check_disk() {
  local folder available
  folder=$(docker info --format '{{.DockerRootDir}}' 2>/dev/null || true)
  if [[ -z $folder || ! -d $folder ]]; then return; fi # on another machine
  available=$(df -Pk "$folder" | awk 'NR == 2 { print int($4 / 1024) }')
  if ((available < 1024)); then
    fail "Only $available MiB are free in $folder, where Prometheus keeps its data." 'docker system prune'
  fi
}

# The folder keeps other users of the host out, so that the files may be read by those whom the containers run as.
prepare_secrets() {
  local folder=compose/secrets found
  mkdir -p "$folder" 2>/dev/null || true
  [[ -r $folder && -w $folder && -x $folder ]] ||
    fail "The secrets in $folder cannot be read by you." "sudo chown -R $(id -un) $folder"
  chmod 700 "$folder"
  (
    umask 022
    mkdir -p "$folder"/{grafana,alertmanager,prometheus,llm-exporter}
    if [[ ! -s $password_file ]]; then
      head -c 18 /dev/urandom | base64 | tr '+/' '-_' >"$password_file"
      say "A password for Grafana was made: user admin, password in $password_file."
    fi
  )
  found=$(find "$folder" -mindepth 2 ! -perm -004 -print | head -n 1)
  if [[ -n $found ]]; then
    fail "The secret $found cannot be read by the container that needs it." "chmod -R a+rX $(printf '%q' "$found")"
  fi
}

# Our images are built here; the others are fetched where they are not there yet.
prepare_images() {
  local image apps=() all list
  all=$(compose config --images) || fail 'The settings do not fit the compose files (the reason is above).' "make check ENV=$environment"
  while IFS= read -r image; do
    if [[ $image == llm-monitor/* ]]; then
      image=${image#llm-monitor/}
      apps+=("${image%%:*}")
    elif ! docker image inspect "$image" >/dev/null 2>&1; then
      docker pull "$image" ||
        fail "The image $image could not be fetched: is the network there, and may this host use it?" "docker pull $image"
    fi
  done < <(sort -u <<<"$all")
  if [[ $(setting STACK_BUILD true) == false ]]; then return; fi
  say "Building ${apps[*]} ..."
  mkdir -p .cache
  scripts/setup/install-packages.sh
  list=$(printf ',%s' "${apps[@]}")
  NX_DAEMON=false NX_TUI=false node_modules/.bin/nx run-many -t docker -p "${list#,}" \
    >.cache/images.log 2>&1 || {
    tail -n 40 .cache/images.log >&2
    fail 'The images could not be built; the end of the log is above.' 'less .cache/images.log'
  }
}

readonly gpu_refusal='could not select device driver|invalid runtime|nvidia-container|CDI device injection failed'

# Says why the stack did not come up: what Compose said is in the file $1.
explain() {
  local said service state logs memory
  said=$(<"$1")
  if grep -qE "$gpu_refusal" <<<"$said"; then
    fail "Docker could not hand the GPUs on (GPU=$gpu): $(grep -oE -m1 "($gpu_refusal).*" <<<"$said" | head -n 1)" \
      "make up ENV=$environment GPU=none"
  elif grep -qE 'port is already allocated|address already in use' <<<"$said"; then
    fail "A port is taken by another program: $(grep -oE -m1 '[0-9.]+:[0-9]+' <<<"$said" | head -n 1)." \
      'sudo ss -ltnp'
  elif grep -q 'no space left on device' <<<"$said"; then
    fail 'The disk of Docker is full.' 'docker system prune'
  fi
  while read -r service state; do
    logs=$(compose logs --no-color --no-log-prefix --tail 40 "$service" 2>/dev/null || true)
    if grep -q 'no space left on device' <<<"$logs"; then
      fail "The disk is full, and $service cannot write its data." 'docker system prune'
    fi
    memory=$(compose ps -a -q "$service" | xargs -r docker inspect --format '{{.State.OOMKilled}}' | head -n 1)
    if [[ $memory == true ]]; then
      fail "$service needs more memory than its limit gives it." "make up ENV=$environment PROMETHEUS_MEMORY=4g"
    fi
    tail -n 5 <<<"$logs" >&2
    fail "$service is $state; the last it said is above." "make logs ENV=$environment ARGS=$service"
  done < <(compose ps -a --format '{{.Service}} {{.State}} {{.Health}}' | awk '
    $2 != "running" { print $1, $2 } $2 == "running" && $3 != "healthy" && $3 != "" { print $1, $3 }')
  cat "$1" >&2
  fail 'The stack did not come up; what Compose said is above.' "make ps ENV=$environment"
}

# start [OPTION...]: up, and healthy.
start() {
  local said
  mkdir -p .cache
  said=.cache/compose-up.log
  if compose --progress quiet up -d --wait --wait-timeout "$(setting STACK_WAIT_SECONDS 180)" --remove-orphans "$@" 2>"$said"; then return; fi
  if $is_gpu_chosen_here && [[ $gpu != none ]] && grep -qE "$gpu_refusal" "$said"; then
    say "GPUs: none after all, for Docker could not hand them on: $(grep -oE -m1 "($gpu_refusal).*" "$said")" >&2
    gpu=none
    choose_files
    if compose --progress quiet up -d --wait --remove-orphans "$@" 2>"$said"; then return; fi
  fi
  explain "$said"
}

# Grafana takes the password when it makes its database, and never again: where the file is younger, it is told.
follow_password() {
  local made
  made=$(docker volume inspect --format '{{.CreatedAt}}' "${project}_grafana-data" 2>/dev/null) || return 0
  if (($(stat -c %Y "$password_file") <= $(date -d "$made" +%s) + 60)); then return; fi
  if [[ -z $(compose ps -q --status running grafana 2>/dev/null) ]]; then return; fi
  compose exec -T grafana grafana cli admin reset-admin-password --password-from-stdin <"$password_file" >/dev/null 2>&1 ||
    say "Grafana did not take the password of $password_file; make reset makes its database anew." >&2
}

print_urls() {
  local running service variable port
  running=$(docker ps --filter "label=com.docker.compose.project=$project" \
    --format '{{.Label "com.docker.compose.service"}}')
  while read -r service variable port; do
    if ! grep -qx "$service" <<<"$running"; then continue; fi
    printf '  %-16s http://127.0.0.1:%s%s\n' "$service" "$port" "$(
      if [[ $service == grafana && $environment == prod ]]; then
        printf '  user admin, password in %s' "$password_file"
      elif [[ $service == grafana ]]; then
        printf '  open to look at; user admin, password in %s' "$password_file"
      fi
    )"
  done < <(ports)
}

urls() {
  if [[ -z $(docker ps -q --filter "label=com.docker.compose.project=$project") ]]; then
    fail "The stack of ENV=$environment does not run." "make up ENV=$environment"
  fi
  print_urls
}

# ---- Commands

up() {
  SECONDS=0
  choose_gpu
  choose_files
  check_ports
  check_disk
  prepare_secrets
  prepare_images
  say "Starting ENV=$environment ..."
  start "$@"
  follow_password
  say "Healthy after $SECONDS s:"
  print_urls
  if [[ $environment != mock && -z $(setting LLM_EXPORTER_TARGETS '') ]] &&
    ! compgen -G 'compose/prometheus/targets/*.yml' >/dev/null; then
    say 'No engine is named yet: set LLM_EXPORTER_TARGETS in .env (docs/stack.md says how), then make restart.'
  fi
}

down() {
  docker compose --progress quiet -p "$project" down --remove-orphans "$@"
  say "The stack of ENV=$environment is down; its data is kept, and make reset ENV=$environment removes it."
}

reset() {
  local volumes answer
  mapfile -t volumes < <(docker volume ls -q --filter "label=com.docker.compose.project=$project")
  if [[ ${1:-} != --yes ]]; then
    if [[ ! -t 0 ]]; then
      fail "This removes the data of ENV=$environment for good, and nobody is here to be asked." \
        "make reset ENV=$environment ARGS=--yes"
    fi
    say "This removes for good: ${volumes[*]:-(no data is there)}"
    read -r -p "Remove the data of ENV=$environment? [y/N] " answer
    if [[ $answer != [yY]* ]]; then
      say 'Nothing was removed.'
      return
    fi
  fi
  docker compose --progress quiet -p "$project" down --remove-orphans
  if ((${#volumes[@]} > 0)); then docker volume rm "${volumes[@]}" >/dev/null; fi
  say "Removed ${#volumes[@]} volumes of ENV=$environment."
}

# Every combination that `up` can make, then what the programs themselves say of their files.
check() {
  local count=0
  for environment in dev mock prod; do
    for gpu in none nvidia cdi amd; do
      if [[ $environment == mock && $gpu != none ]]; then continue; fi
      for long_term in '' victoriametrics http://example.org/api/v1/write; do
        project=$name-$environment
        choose_files
        compose config -q || fail "ENV=$environment GPU=$gpu LONG_TERM_STORAGE=$long_term cannot be put together." \
          "make config ENV=$environment GPU=$gpu"
        count=$((count + 1))
      done
    done
  done
  say "$count combinations are valid."
  environment=prod gpu=none long_term=
  project=$name-check
  choose_files
  prepare_secrets
  # The programs check their own files, so their images are needed, and nothing is started.
  compose --progress quiet run --rm --no-deps -T --entrypoint promtool prometheus check config /etc/prometheus/prometheus.yml ||
    fail 'Prometheus would not take its configuration; the reason is above.' "make check"
  # shellcheck disable=SC2016 # the shell of the container expands it
  compose --progress quiet run --rm --no-deps -T --entrypoint /bin/sh alertmanager -c \
    'ALERTMANAGER_PROGRAM=true /bin/sh /etc/alertmanager/start.sh && amtool check-config /run/stack/alertmanager.yml' ||
    fail 'Alertmanager would not take its configuration; the reason is above.' 'make check'
  docker compose --progress quiet -p "$project" down --volumes
  if [[ -e node_modules/.package-lock.json ]]; then
    node tools/checks/generate.mjs --check || fail 'Generated files are out of date.' 'make generate'
  fi
}

main() {
  local command=${1:-}
  case $command in
    up | down | restart | logs | ps | check | reset | config | urls) shift ;;
    -h | --help) usage && return ;;
    *) usage >&2 && exit 2 ;;
  esac
  name=$(setting STACK_NAME llm-monitor)
  need_docker
  check_settings_file "$command"
  choose_environment "$command"
  choose_long_term
  gpu=none
  case $command in
    up) up "$@" ;;
    restart) up --force-recreate "$@" ;;
    logs) if (($# == 0)); then set -- --follow; fi && docker compose -p "$project" logs --tail 200 "$@" ;;
    ps) docker compose -p "$project" ps -a "$@" ;;
    config)
      choose_gpu >&2
      choose_files
      compose config "$@"
      ;;
    *) "$command" "$@" ;;
  esac
}

main "$@"

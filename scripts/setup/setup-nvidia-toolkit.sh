#!/usr/bin/env bash
# Lets containers have the NVIDIA GPUs of this host: checks the driver, installs the NVIDIA Container Toolkit from
# NVIDIA's signed apt repository, makes it known to Docker, and looks at the GPUs from a container. Each known failure
# is told in one sentence with one command.
set -euo pipefail
cd "$(dirname "$0")/../.."

usage() {
  cat <<'TEXT'
Usage: scripts/setup/setup-nvidia-toolkit.sh [OPTION...]

Lets Docker hand the NVIDIA GPUs of this host to containers, on Debian 12 and newer and on Ubuntu 24.04 and newer. The
driver must be there; it is checked, and never installed. What is set up already is left as it is. It says first what it
would do, and asks; it calls sudo where root is needed. Where Docker must be told, its engine is restarted, and with it
the containers.

  --cdi      write a CDI specification, for GPU=cdi, in place of a runtime of Docker (needs Docker Engine 28.2)
  --dry-run  check the driver and Docker, say what would be done, and do nothing
  --yes      do it without asking
  --help     print this

Variables: NVIDIA_APT_URL and NVIDIA_APT_KEY_FINGERPRINT name a mirror of the repository and its key;
NVIDIA_CHECK_IMAGE is the image that the GPUs are looked at from (default node:22-bookworm-slim, which our own use).
TEXT
}

# shellcheck source=scripts/setup/apt.sh
source scripts/setup/apt.sh

nvidia_url=${NVIDIA_APT_URL:-https://nvidia.github.io/libnvidia-container}
nvidia_key=${NVIDIA_APT_KEY_FINGERPRINT:-C95B321B61E88C1809C4F759DDCAE044F796ECB0}
image=${NVIDIA_CHECK_IMAGE:-node:22-bookworm-slim}

dry_run=false
yes=false
cdi=false
docker=(docker)
configure=false
restart=false
specify=false

# ---- The driver

has_nvidia_card() {
  local device
  for device in "$host"/sys/bus/pci/devices/*; do
    # 0x0300 is VGA, 0x0302 a card without a screen.
    if [[ -r $device/vendor && $(<"$device/vendor") == 0x10de && $(<"$device/class") == 0x03* ]]; then return; fi
  done
  [[ -e $host/dev/dxg ]] # WSL: the card is Windows'
}

# Sets `driver_version` and `gpu_count`.
check_driver() {
  local said status=0
  if ! has nvidia-smi && [[ -x $host/usr/lib/wsl/lib/nvidia-smi ]]; then PATH=$PATH:$host/usr/lib/wsl/lib; fi
  if ! has nvidia-smi; then
    has_nvidia_card || fail 'No card of NVIDIA is in this host.' 'make up GPU=none'
    if [[ -e $host/dev/dxg ]]; then
      fail 'This is WSL, and the driver of Windows does not hand its GPU on.' 'wsl.exe --update   # after installing the driver for Windows'
    elif [[ -e $host/proc/driver/nvidia/version ]]; then
      fail "NVIDIA's driver is loaded, and its program nvidia-smi is not installed." "apt-cache search --names-only '^nvidia-(utils-|smi)'"
    elif [[ $distribution == ubuntu ]]; then
      fail "A card of NVIDIA is here without NVIDIA's driver." 'sudo ubuntu-drivers install && sudo reboot'
    fi
    fail "A card of NVIDIA is here without NVIDIA's driver (Debian has it in non-free)." 'sudo apt-get install nvidia-driver && sudo reboot'
  fi
  said=$(timeout 30 nvidia-smi --query-gpu=driver_version --format=csv,noheader 2>&1) || status=$?
  if ((status == 124)); then
    fail "NVIDIA's driver hangs: nvidia-smi gave no answer for 30 s." 'sudo dmesg | grep -iE "nvrm|xid"'
  elif ((status != 0)); then
    explain "$said"
    fail "nvidia-smi failed: $(head -n 1 <<<"$said")" 'sudo dmesg | grep -iE "nvrm|xid"'
  fi
  driver_version=$(head -n 1 <<<"$said")
  gpu_count=$(wc -l <<<"$said")
}

# ---- Docker

# Sets `engine`, `docker` with sudo where that is needed.
check_docker() {
  local said
  has docker || fail 'Docker is not installed.' 'scripts/setup/install-dependencies.sh'
  if [[ $(readlink -f "$(command -v docker)") == */snap* ]]; then
    fail "This Docker is a snap, which NVIDIA's toolkit cannot reach." 'sudo snap remove docker && scripts/setup/install-dependencies.sh'
  fi
  if ! said=$(engine_version docker); then
    [[ $said == *'permission denied'* ]] ||
      fail 'Docker is installed, and its engine does not answer.' 'sudo systemctl start docker'
    docker=(sudo docker)
    said=$(engine_version "${docker[@]}") || fail 'You may not use Docker on this host.' "su -c $0"
  fi
  engine=$said
  if ! $cdi && "${docker[@]}" info --format '{{.SecurityOptions}}' 2>/dev/null | grep -q rootless; then
    fail 'This Docker runs without root, where the runtime may not open devices, and CDI does it.' "$0 --cdi"
  fi
  if $cdi && ! is_at_least "$engine" 28.2; then
    fail "Docker hands GPUs on by CDI by itself from Docker Engine 28.2 on, and this is $engine." "$0"
  fi
}

has_runtime() {
  # shellcheck disable=SC2016 # Docker expands it
  "${docker[@]}" info --format '{{range $name, $_ := .Runtimes}}{{$name}} {{end}}' 2>/dev/null | grep -qw nvidia
}

# The specification names files of the driver by its version: one of an older driver is none.
specification() { grep -ls 'nvidia.com/gpu' "$host"/etc/cdi/* "$host"/var/run/cdi/* 2>/dev/null || true; }
is_specified() {
  local file
  while IFS= read -r file; do
    if [[ -n $file && (-e $host/dev/dxg || $(<"$file") == *".so.$driver_version"*) ]]; then return; fi
  done < <(specification)
  return 1
}

# ---- What is to be done

plan_toolkit() {
  if ! has nvidia-ctk; then
    need_lists
    if [[ -z $(candidate nvidia-container-toolkit) ]]; then
      plan_repository nvidia-container-toolkit "$nvidia_url/gpgkey" "$nvidia_key" \
        "$nvidia_url/stable/deb/$(dpkg --print-architecture)" / '' "for NVIDIA's Container Toolkit"
    fi
    plan_packages nvidia-container-toolkit
  fi
  finish_plan
  if $cdi; then
    if ! is_specified; then
      specify=true
      steps+=('write the CDI specification of the GPUs (nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml)')
    fi
  elif ! has_runtime; then
    configure=true restart=true
    steps+=('make the runtime known to Docker (nvidia-ctk runtime configure --runtime=docker)'
      'restart Docker, and with it its containers (systemctl restart docker)')
  fi
}

configure_runtime() {
  say 'Making the runtime known to Docker ...'
  as_root nvidia-ctk runtime configure --runtime=docker >"$scratch/log" 2>&1 || {
    tail -n 3 "$scratch/log" >&2
    fail "The settings of Docker could not be changed; is that file right?" 'python3 -m json.tool /etc/docker/daemon.json'
  }
}

write_specification() {
  # Newer packages of the toolkit have a service that writes one.
  if is_specified; then return; fi
  say 'Writing the CDI specification ...'
  as_root mkdir -p "$host/etc/cdi"
  as_root nvidia-ctk cdi generate "--output=$host/etc/cdi/nvidia.yaml" >"$scratch/log" 2>&1 || {
    tail -n 3 "$scratch/log" >&2
    fail 'The CDI specification could not be written.' 'sudo nvidia-ctk --debug cdi generate --output=/etc/cdi/nvidia.yaml'
  }
}

restart_docker() {
  say 'Restarting Docker ...'
  if has systemctl && [[ -d $host/run/systemd/system ]]; then
    as_root systemctl restart docker >"$scratch/log" 2>&1 ||
      fail 'Docker does not start with its new settings.' 'sudo journalctl -u docker -n 20 --no-pager'
  else
    as_root service docker restart >"$scratch/log" 2>&1 ||
      fail 'Docker could not be restarted (there is no systemd here): restart it by your own means.' "$0"
  fi
}

# ---- Whether it works

# The GPUs as a container sees them.
verify() {
  local said seen status=0 hand_on=(--gpus all)
  if $cdi; then hand_on=(--device nvidia.com/gpu=all); fi
  say "Looking at the GPUs from a container of $image ..."
  said=$("${docker[@]}" run --rm "${hand_on[@]}" -e NVIDIA_DRIVER_CAPABILITIES=utility --entrypoint nvidia-smi "$image" -L 2>&1) || status=$?
  seen=$(grep -c '^GPU ' <<<"$said" || true)
  if ((status != 0)); then
    explain "$said"
    tail -n 3 <<<"$said" >&2
    fail 'The container does not get the GPUs; what Docker said is above.' "sudo nvidia-ctk --debug cdi list; sudo dmesg | grep -i nvrm"
  elif ((seen != gpu_count)); then
    fail "The host has $gpu_count GPUs, and the container sees $seen." 'nvidia-smi -L'
  fi
  grep '^GPU ' <<<"$said" | sed -E 's/ \(UUID: .*//; s/^/  /'
  if $cdi; then say 'It works: make up GPU=cdi'; else say 'It works: make up GPU=nvidia'; fi
}

# explain TEXT: ends with the sentence and the command of the first known failure that the text is of.
explain() {
  local pattern sentence command
  while IFS='|' read -r pattern sentence command; do
    if grep -qiE "${pattern//&/|}" <<<"$1"; then fail "$sentence" "$command"; fi
  done < <(known_failures)
}

# A line for each: the words that tell it, with & for "or" | what it is | what mends it.
known_failures() {
  cat <<'TEXT'
driver/library version mismatch|The driver was upgraded while the old one is still loaded (driver/library version mismatch).|sudo reboot
couldn't communicate with the NVIDIA driver|NVIDIA's driver is installed and not loaded: it was not built for this kernel, or Secure Boot refuses it.|sudo modprobe nvidia; sudo dmesg | tail -n 20
no devices were found|The driver is loaded and sees no GPU: the card fell off the bus, or is bound to another driver.|sudo dmesg | grep -iE "nvrm|xid"
could not select device driver|Docker does not know the NVIDIA runtime: it was configured, and the engine has not been restarted since.|sudo systemctl restart docker
(unknown or invalid runtime name&unknown runtime specified)|Docker does not know the NVIDIA runtime: it was configured, and the engine has not been restarted since.|sudo systemctl restart docker
unresolvable CDI devices|The CDI specification does not name these GPUs, or there is none.|sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml
CDI device injection failed|The CDI specification does not fit the driver: it was written for an older one.|sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml
libnvidia-ml\.so\.1.*(cannot open&no such file)|The libraries of the driver are not where the linker looks: only a part of the driver is installed.|sudo ldconfig && ldconfig -p | grep libnvidia-ml
Failed to initialize NVML: Unknown Error|The container lost its GPUs, as happens after systemctl daemon-reload with the runtime; CDI does not have that fault.|scripts/setup/setup-nvidia-toolkit.sh --cdi
bpf_prog_query&existing device filters&last insn is not an exit|This toolkit is too old for the control groups of this kernel.|sudo apt-get update && sudo apt-get install --only-upgrade nvidia-container-toolkit
/dev/nvidia-uvm&/dev/nvidiactl: no such file|The device files of the driver are not there yet.|sudo nvidia-modprobe -u -c 0
unsatisfied condition: cuda|The image wants a newer driver than that of this host.|nvidia-smi --query-gpu=driver_version --format=csv
nvidia-smi.*executable file not found|The container got GPUs without nvidia-smi: the runtime was not used.|sudo nvidia-ctk runtime configure --runtime=docker && sudo systemctl restart docker
no such image&pull access denied&failed to resolve&dial tcp&manifest unknown|All is set up, and it was not verified, for the image to look from could not be fetched.|NVIDIA_CHECK_IMAGE=debian:stable-slim scripts/setup/setup-nvidia-toolkit.sh
TEXT
}

main() {
  local option
  for option in "$@"; do
    case $option in
      --dry-run) dry_run=true ;;
      --yes) yes=true ;;
      --cdi) cdi=true ;;
      -h | --help) usage && exit ;;
      *)
        printf '%s is no option of this script.\n\n' "$option" >&2
        usage >&2
        exit 2
        ;;
    esac
  done
  read_distribution
  check_driver
  say "NVIDIA's driver $driver_version answers, with GPUs: $gpu_count."
  check_docker
  plan_toolkit
  if ((${#steps[@]} == 0)); then
    say 'All is set up already.'
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
  if $configure; then configure_runtime; fi
  if $specify; then write_specification; fi
  if $restart; then restart_docker; fi
  verify
}

main "$@"

# shellcheck shell=bash
# What the scripts of this folder that install Debian packages have in common; sourced by them, not run.

# Where files of the host are looked for and written; tests have a host of their own.
host=${SETUP_HOST_ROOT:-}

# What is to be done, in sentences, and what of it apt does.
steps=()
packages=()
repositories=()

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

say() { printf '%s\n' "$1"; }

# fail SENTENCE COMMAND
fail() {
  printf '%s\n  %s\n' "$1" "$2" >&2
  exit 1
}

has() { command -v "$1" >/dev/null; }

# is_at_least VERSION WANTED
is_at_least() { [[ $(printf '%s\n' "$2" "$1" | sort -V | head -n 1) == "$2" ]]; }

# ---- The host

os_release() { sed -n -E "s/^$1=\"?([^\"]*)\"?\$/\1/p" "$host/etc/os-release"; }

# Sets `distribution`, `codename` and `host_name`, and refuses what has not been tried.
read_distribution() {
  local version oldest
  [[ -r $host/etc/os-release ]] ||
    fail 'This is no Linux distribution that says its name (there is no /etc/os-release).' 'less docs/install.md'
  distribution=$(os_release ID) version=$(os_release VERSION_ID)
  # shellcheck disable=SC2034 # for those who source this
  codename=$(os_release VERSION_CODENAME)
  host_name=$(os_release PRETTY_NAME)
  case $distribution in
    ubuntu) oldest=24.04 ;;
    debian) oldest=12 ;;
    *) fail "${host_name:-This distribution} is not known to this script, which knows Debian and Ubuntu." 'less docs/install.md' ;;
  esac
  # Debian's testing has no number.
  if [[ -n $version ]] && ! is_at_least "$version" "$oldest"; then
    fail "$host_name is too old: this script was tried with $distribution $oldest and newer." 'less docs/install.md'
  fi
  has apt-get || fail "$host_name has no apt-get." 'less docs/install.md'
}

# engine_version DOCKER...: of the engine that answers, else why none does. (`docker info --format` of Docker 26 ends
# well without an engine, too.)
engine_version() { "$@" version --format '{{.Server.Version}}' 2>&1; }

as_root() {
  if [[ $(id -u) == 0 ]]; then "$@"; else sudo "$@"; fi
}

need_root() {
  if [[ $(id -u) != 0 ]] && ! has sudo; then
    fail 'This needs root, and there is no sudo here.' "su -c '$0 $1'"
  fi
}

# ---- What apt has

apt_lists=()

# Where this host has no package lists yet, they are fetched into a folder of ours: looking changes nothing. (What is
# installed has a candidate without them.)
need_lists() {
  if ((${#apt_lists[@]} > 0)) || compgen -G "$host/var/lib/apt/lists/*Packages*" >/dev/null; then return; fi
  say 'This host has no package lists yet; looking at those of its repositories ...'
  mkdir -p "$scratch/lists/partial" "$scratch/archives/partial"
  apt_lists=(-o "Dir::State::Lists=$scratch/lists" -o "Dir::Cache=$scratch")
  apt-get -q "${apt_lists[@]}" -o "APT::Sandbox::User=$(id -un)" -o Acquire::Retries=1 update >"$scratch/log" 2>&1 || true
  [[ -n $(candidate make) ]] || explain_apt 'The package lists of this host could not be fetched.'
}

# candidate PACKAGE: the version that apt would install, without its epoch; nothing where there is none.
candidate() {
  local version
  version=$(LC_ALL=C apt-cache "${apt_lists[@]}" policy "$1" 2>/dev/null | sed -n 's/^  Candidate: //p')
  if [[ $version != '(none)' ]]; then printf '%s' "${version#*:}"; fi
}

# ---- What is to be done

# plan_repository NAME KEY_URL FINGERPRINT URI SUITE COMPONENTS WHY
plan_repository() {
  steps+=("add the apt repository $4 ($7), trusted for packages signed with the key $3 alone")
  repositories+=("$1 $2 $3 $4 $5 $6")
}

plan_packages() { packages+=("$@"); }

# Adds the steps of apt itself to those that were planned.
finish_plan() {
  if ((${#packages[@]} == 0)); then return; fi
  if ((${#repositories[@]} > 0)); then
    # What checks the key, and what speaks https.
    if ! has gpg; then packages=(gpg "${packages[@]}"); fi
    if [[ ! -e $host/etc/ssl/certs/ca-certificates.crt ]]; then packages=(ca-certificates "${packages[@]}"); fi
  fi
  steps+=('fetch the package lists (apt-get update)' "install ${packages[*]}")
}

print_plan() {
  local step number=0
  say "$host_name: this would do"
  for step in "${steps[@]}"; do
    number=$((number + 1))
    say "  $number. $step"
  done
}

# ask QUESTION COMMAND_TO_ANSWER_BEFOREHAND
ask() {
  local answer
  if [[ ! -t 0 ]]; then fail 'Nobody is here to be asked, so nothing was done.' "$2"; fi
  read -r -p "$1 [y/N] " answer
  if [[ $answer != [yY]* ]]; then
    say 'Nothing was done.'
    exit 0
  fi
}

# ---- Doing it

# Says why apt failed, by its words in $scratch/log. explain_apt SENTENCE
explain_apt() {
  local said=$scratch/log
  tail -n 8 "$said" >&2
  if grep -qE 'NO_PUBKEY|is not signed|BADSIG|EXPKEYSIG' "$said"; then
    fail "$1 A repository is not signed by the key that it should be, and nothing of it was used." 'sudo apt-get update'
  elif grep -qE 'Could not get lock|is another process using it' "$said"; then
    fail "$1 Another program installs packages at the moment." 'ps -C apt,apt-get,dpkg,unattended-upgr'
  elif grep -qE 'No space left|enough free space' "$said"; then
    fail "$1 The disk is full." 'df -h / /var'
  elif grep -qE 'dpkg was interrupted|unmet dependencies' "$said"; then
    fail "$1 An earlier installation was broken off." 'sudo dpkg --configure -a && sudo apt-get -f install'
  fi
  fail "$1 Is the network there, and a proxy set where one is needed?" 'sudo apt-get update'
}

apt_get() {
  as_root env DEBIAN_FRONTEND=noninteractive LC_ALL=C apt-get -q -y -o DPkg::Lock::Timeout=120 -o Acquire::Retries=3 "$@" \
    >"$scratch/log" 2>&1 </dev/null
}

update_lists() {
  say 'Fetching the package lists ...'
  apt_get update || explain_apt 'The package lists could not be fetched.'
  apt_lists=()
}

install_packages() {
  say "Installing $* ..."
  apt_get install --no-install-recommends "$@" || explain_apt "Not everything of $* could be installed."
}

# The key is fetched by apt's own means, and is believed only with the fingerprint that this project names.
# add_repository NAME KEY_URL FINGERPRINT URI SUITE [COMPONENTS]
add_repository() {
  local name=$1 url=$2 fingerprint=$3 uri=$4 suite=$5 components=${6:-} key=$scratch/$1.key found keyring
  say "Adding the apt repository $uri ..."
  "$host/usr/lib/apt/apt-helper" -q -o "APT::Sandbox::User=$(id -un)" download-file "$url" "$key" >"$scratch/log" 2>&1 ||
    explain_apt "The key of the repository could not be fetched from $url."
  found=$(gpg --batch --quiet --homedir "$scratch" --with-colons --show-keys "$key" 2>/dev/null |
    awk -F: '$1 == "pub" { first = 1 } $1 == "fpr" && first { print $10; first = 0 }' | paste -s -d ' ' -)
  if [[ $found != "$fingerprint" ]]; then
    fail "The key from $url is ${found:-none at all} instead of $fingerprint, so nothing was added." \
      "gpg --show-keys <(curl -fsS $url)"
  fi
  keyring=/etc/apt/keyrings/$name.asc
  if ! grep -q -e '-----BEGIN PGP' "$key"; then keyring=/etc/apt/keyrings/$name.gpg; fi
  {
    printf 'Types: deb\nURIs: %s\nSuites: %s\n' "$uri" "$suite"
    if [[ -n $components ]]; then printf 'Components: %s\n' "$components"; fi
    printf 'Architectures: %s\nSigned-By: %s\n' "$(dpkg --print-architecture)" "$keyring"
  } >"$scratch/$name.sources"
  as_root install -D -m 644 "$key" "$host$keyring"
  as_root install -D -m 644 "$scratch/$name.sources" "$host/etc/apt/sources.list.d/$name.sources"
}

# Does what was planned for apt.
run_apt_plan() {
  local repository package first=()
  if ((${#packages[@]} == 0)); then return; fi
  update_lists
  if ((${#repositories[@]} > 0)); then
    for package in "${packages[@]}"; do
      if [[ $package == gpg || $package == ca-certificates ]]; then first+=("$package"); fi
    done
    if ((${#first[@]} > 0)); then install_packages "${first[@]}"; fi
    for repository in "${repositories[@]}"; do
      # shellcheck disable=SC2086 # the words of one repository
      add_repository $repository
    done
    update_lists
  fi
  install_packages "${packages[@]}"
  hash -r
}

#!/bin/sh
# Runs Prometheus with remote_write: its configuration cannot hold a variable, so it is completed here. The key of the
# storage, where it wants one, lies in the file of a secret and is never copied.
set -eu

case "${LONG_TERM_STORAGE:-victoriametrics}" in
  victoriametrics) url=http://victoriametrics:8428/api/v1/write ;;
  http://?* | https://?*) url=$LONG_TERM_STORAGE ;;
  *)
    echo "LONG_TERM_STORAGE is neither victoriametrics nor the http address of a remote_write endpoint." >&2
    exit 2
    ;;
esac

# quoted TEXT: as a single-quoted word of YAML.
quoted() { printf "'%s'" "$(printf '%s' "$1" | sed "s/'/''/g")"; }

source=${PROMETHEUS_CONFIG:-/etc/prometheus/prometheus.yml}
config=${PROMETHEUS_RENDERED:-/run/stack/prometheus.yml}
key=${SECRETS_FOLDER:-/run/secrets/prometheus}/long-term-token
{
  cat "$source"
  printf '\nremote_write:\n  - url: %s\n' "$(quoted "$url")"
  if [ -e "$key" ]; then printf '    authorization: { credentials_file: %s }\n' "$(quoted "$key")"; fi
} >"$config"

program=${PROMETHEUS_PROGRAM:-/bin/prometheus}
shift # the configuration that the base names
# What is not sent yet is sent at the end; a storage that is away holds the end up no longer than this.
exec "$program" "--config.file=$config" --storage.remote.flush-deadline=10s "$@"

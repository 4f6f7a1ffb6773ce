#!/bin/sh
# Runs Alertmanager, which reads no variables: its configuration is written here from the ALERT_* settings. Secrets stay
# in their files, which Alertmanager reads itself. Without a receiver alerts are shown, and sent to nobody.
set -eu

secrets=${SECRETS_FOLDER:-/run/secrets/alertmanager}
config=${ALERTMANAGER_RENDERED:-/run/stack/alertmanager.yml}
program=${ALERTMANAGER_PROGRAM:-/bin/alertmanager}

fail() {
  echo "$1" >&2
  exit 2
}

# quoted TEXT: as a single-quoted word of YAML.
quoted() { printf "'%s'" "$(printf '%s' "$1" | sed "s/'/''/g")"; }

# has_secret NAME: whether its file is there; one that cannot be read is an error, not an absence.
has_secret() {
  [ -e "$secrets/$1" ] || return 1
  [ -r "$secrets/$1" ] || fail "compose/secrets/alertmanager/$1 cannot be read: chmod 644 compose/secrets/alertmanager/$1"
}

webhook=
if has_secret webhook-url; then
  webhook="url_file: $(quoted "$secrets/webhook-url")"
elif [ -n "${ALERT_WEBHOOK_URL:-}" ]; then
  webhook="url: $(quoted "$ALERT_WEBHOOK_URL")"
fi

email=
if [ -n "${ALERT_EMAIL_TO:-}" ]; then
  for name in ALERT_EMAIL_FROM ALERT_SMTP_SERVER; do
    eval "value=\${$name:-}"
    # shellcheck disable=SC2154 # eval sets it
    [ -n "$value" ] || fail "ALERT_EMAIL_TO is set and $name is not: set it in .env, then make restart"
  done
  email=true
  if [ -n "${ALERT_SMTP_USER:-}" ] && ! has_secret smtp-password; then
    fail 'ALERT_SMTP_USER is set without a password: put it into compose/secrets/alertmanager/smtp-password'
  fi
fi

slack=
if has_secret slack-url; then
  slack=true
elif [ -n "${ALERT_SLACK_CHANNEL:-}" ]; then
  fail 'ALERT_SLACK_CHANNEL is set without an address: put it into compose/secrets/alertmanager/slack-url'
fi

render() {
  cat <<'YAML'
route:
  receiver: everybody
  group_by: [alertname, instance, server]
  group_wait: 15s
  group_interval: 2m
  repeat_interval: 4h
  routes:
    - matchers: ['alertname = "Watchdog"']
      receiver: watchdog
      group_wait: 0s
      group_interval: 1m
      repeat_interval: 1m

# What follows from a fault is not told beside it.
inhibit_rules:
  - source_matchers: ['severity = "critical"']
    target_matchers: ['severity =~ "warning|info"']
    equal: [alertname, instance, server, gpu]
  - source_matchers: ['severity = "warning"']
    target_matchers: ['severity = "info"']
    equal: [alertname, instance, server, gpu]
  - source_matchers: ['alertname =~ ".*ExporterDown"']
    target_matchers: ['alertname !~ ".*ExporterDown|Watchdog"']
    equal: [instance, job]
  - source_matchers: ['alertname =~ ".*EngineDown"']
    target_matchers: ['alertname !~ ".*EngineDown|Watchdog"', 'server != ""']
    equal: [server]
  - source_matchers: ['alertname =~ ".*GpuLost"']
    target_matchers: ['alertname !~ ".*GpuLost|Watchdog"', 'uuid != ""']
    equal: [uuid]

YAML
  echo 'receivers:'
  echo '  - name: everybody'
  if [ -n "$webhook" ]; then
    printf '    webhook_configs:\n      - { %s, send_resolved: true }\n' "$webhook"
  fi
  if [ -n "$email" ]; then
    printf '    email_configs:\n      - to: %s\n        from: %s\n        smarthost: %s\n        send_resolved: true\n' \
      "$(quoted "$ALERT_EMAIL_TO")" "$(quoted "$ALERT_EMAIL_FROM")" "$(quoted "$ALERT_SMTP_SERVER")"
    if [ -n "${ALERT_SMTP_USER:-}" ]; then
      printf '        auth_username: %s\n        auth_password_file: %s\n' \
        "$(quoted "$ALERT_SMTP_USER")" "$(quoted "$secrets/smtp-password")"
    fi
  fi
  if [ -n "$slack" ]; then
    printf '    slack_configs:\n      - api_url_file: %s\n        send_resolved: true\n' "$(quoted "$secrets/slack-url")"
    if [ -n "${ALERT_SLACK_CHANNEL:-}" ]; then printf '        channel: %s\n' "$(quoted "$ALERT_SLACK_CHANNEL")"; fi
  fi
  echo '  - name: watchdog'
  if [ -n "${ALERT_WATCHDOG_URL:-}" ]; then
    printf '    webhook_configs:\n      - { url: %s, send_resolved: false }\n' "$(quoted "$ALERT_WATCHDOG_URL")"
  fi
}

render >"$config"
told=
[ -z "$webhook" ] || told="$told webhook"
[ -z "$email" ] || told="$told e-mail"
[ -z "$slack" ] || told="$told Slack"
echo "Alerts are sent to:${told:- nobody (no receiver is configured)}." >&2
exec "$program" "--config.file=$config" "$@"

import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

import type { DeclaredSettings } from '@llm-monitor/config';

interface StackVariable {
  readonly name: string;
  /** As the compose files and the script have it. */
  readonly default: string;
  readonly help: string;
  readonly example?: string;
}

/** What `make up` and the compose files read beside the settings of the apps. */
const STACK_VARIABLES: readonly StackVariable[] = [
  {
    name: 'STACK_NAME',
    default: 'llm-monitor',
    help: 'Begins the names of containers, networks and volumes; another one makes a stack beside the first.',
  },
  {
    name: 'STACK_SITE',
    default: 'local',
    help: 'Which stack a series or an alert comes from, as the label `site` in long-term storage and alerts.',
  },
  {
    name: 'STACK_WAIT_SECONDS',
    default: '180',
    help: 'Longest time that the containers may take until they are healthy.',
  },
  {
    name: 'STACK_BUILD',
    default: 'true',
    help: 'Build the images of the exporters at each start; false where they are there already.',
  },
  {
    name: 'GPU',
    default: 'auto',
    help: 'How containers get the GPUs of this host: auto, nvidia, cdi, amd or none.',
  },
  { name: 'PROMETHEUS_PORT', default: '9090', help: 'Port of Prometheus, on 127.0.0.1.' },
  { name: 'PROMETHEUS_RETENTION', default: '15d', help: 'Age at which Prometheus drops its data.' },
  {
    name: 'PROMETHEUS_RETENTION_SIZE',
    default: '10GB',
    help: 'Size above which Prometheus drops its oldest data; keep it below the free disk.',
  },
  { name: 'PROMETHEUS_MEMORY', default: '2g', help: 'Most memory that Prometheus may take.' },
  { name: 'GRAFANA_PORT', default: '3000', help: 'Port of Grafana.' },
  {
    name: 'GRAFANA_ADDRESS',
    default: '127.0.0.1',
    help: 'Address on which Grafana listens; 0.0.0.0 opens it to the network, without encryption.',
  },
  {
    name: 'GRAFANA_ROOT_URL',
    default: 'http://localhost:${GRAFANA_PORT:-3000}/',
    help: 'Address by which browsers reach Grafana.',
    example: 'https://monitor.example.org/',
  },
  { name: 'ALERTMANAGER_PORT', default: '9093', help: 'Port of Alertmanager, on 127.0.0.1.' },
  {
    name: 'ALERT_WEBHOOK_URL',
    default: '',
    help: 'Address that gets alerts as JSON. One that holds a key belongs into compose/secrets/alertmanager/webhook-url.',
    example: 'http://host.docker.internal:8060/alerts',
  },
  {
    name: 'ALERT_EMAIL_TO',
    default: '',
    help: 'Who gets alerts by e-mail; needs ALERT_EMAIL_FROM and ALERT_SMTP_SERVER.',
    example: 'ops@example.org',
  },
  {
    name: 'ALERT_EMAIL_FROM',
    default: '',
    help: 'Sender of these e-mails.',
    example: 'monitor@example.org',
  },
  {
    name: 'ALERT_SMTP_SERVER',
    default: '',
    help: 'Server that sends them, with its port.',
    example: 'smtp.example.org:587',
  },
  {
    name: 'ALERT_SMTP_USER',
    default: '',
    help: 'User of that server; the password belongs into compose/secrets/alertmanager/smtp-password.',
  },
  {
    name: 'ALERT_SLACK_CHANNEL',
    default: '',
    help: 'Channel of Slack, where the webhook may choose one; its address belongs into compose/secrets/alertmanager/slack-url, and turns Slack on.',
    example: '#gpus',
  },
  {
    name: 'ALERT_WATCHDOG_URL',
    default: '',
    help: 'Address that is called every minute for as long as alerting works: a dead man’s switch elsewhere tells when it stops.',
  },
  {
    name: 'LONG_TERM_STORAGE',
    default: '',
    help: 'Keeps all data for long: victoriametrics starts one here, an address of a remote_write endpoint sends it there.',
    example: 'http://mimir.example.org/api/v1/push',
  },
  {
    name: 'LONG_TERM_QUERY_URL',
    default: 'http://victoriametrics:8428',
    help: 'Where Grafana queries the long-term storage.',
  },
  { name: 'LONG_TERM_RETENTION', default: '1y', help: 'Age at which our VictoriaMetrics drops its data.' },
  { name: 'LONG_TERM_PORT', default: '8428', help: 'Port of our VictoriaMetrics, on 127.0.0.1.' },
  {
    name: 'MOCK_TARGETS',
    default:
      'chat=http://mock-exporter:8000,documents=http://mock-exporter:30000,editor=http://mock-exporter:8080,desk=http://mock-exporter:11434',
    help: 'Engines of the simulated host with ENV=mock, for another MOCK_EXPORTER_SCENARIO than demo.',
  },
  {
    name: 'DEV_LLM_EXPORTER_PORT',
    default: '9502',
    help: 'Port of the llm-exporter with ENV=dev, on 127.0.0.1.',
  },
  {
    name: 'DEV_NODE_EXPORTER_PORT',
    default: '9100',
    help: 'Port of the node-exporter with ENV=dev, on 127.0.0.1.',
  },
];

const SCRIPT = 'scripts/development/compose.sh';

/**
 * The part of `.env.example` that is about the container stack.
 * @throws Error where the compose files or the script use what is not listed, or the list has what they do not use
 */
export function stackSection(definitions: readonly DeclaredSettings[]): string {
  const problems = mismatches(variablesInUse(), definitions);
  if (problems.length > 0) {
    throw new Error(
      `Mend STACK_VARIABLES in tools/generate/src/stack-variables.ts, or what uses them:\n  ${problems.join('\n  ')}`,
    );
  }
  const lines = [
    `# ${'='.repeat(78)}`,
    '# The container stack: make up',
    `# ${'='.repeat(78)}`,
    ...STACK_VARIABLES.flatMap(({ name, help, example, default: value }) => [
      '',
      `# ${help}`,
      ...(example === undefined ? [] : [`# Example: ${name}=${example}`]),
      `# ${name}=${value}`,
    ]),
  ];
  return `${lines.join('\n')}\n`;
}

/** A use of a variable, with the default that stands there; undefined where a value is only passed on. */
interface Use {
  readonly file: string;
  readonly name: string;
  readonly default: string | undefined;
}

function variablesInUse(): Use[] {
  const composeFiles = readdirSync('compose')
    .filter((file) => file.endsWith('.yml'))
    .map((file) => path.join('compose', file));
  return [...composeFiles.flatMap(usesInCompose), ...usesInScript()];
}

/** `${NAME:-default}`, and `NAME:` without a value, which Compose passes on. */
function usesInCompose(file: string): Use[] {
  const text = readFileSync(file, 'utf8');
  const filled = [...text.matchAll(/\$\{([A-Z][A-Z0-9_]*)(?::-((?:\$\{[^}]*\}|[^}])*))?/g)].map(
    ([, name = '', value]) => ({ file, name, default: value ?? '' }),
  );
  const passed = [...text.matchAll(/^ +([A-Z][A-Z0-9_]*): *$/gm)].map(([, name = '']) => ({
    file,
    name,
    default: undefined,
  }));
  return [...filled, ...passed];
}

function usesInScript(): Use[] {
  const text = readFileSync(SCRIPT, 'utf8');
  return [...text.matchAll(/(?:\(setting |say '[a-z-]+ )([A-Z][A-Z_]+) ('{2}|[^ ')]*)/g)].map(
    ([, name = '', value = '']) => ({ file: SCRIPT, name, default: value === "''" ? '' : value }),
  );
}

function mismatches(uses: readonly Use[], definitions: readonly DeclaredSettings[]): string[] {
  const ofApps = new Set(
    definitions.flatMap(({ settings }) =>
      settings.flatMap(({ variable, secret }) => (secret ? [variable, `${variable}_FILE`] : [variable])),
    ),
  );
  const listed = new Map(STACK_VARIABLES.map((variable) => [variable.name, variable]));
  const wrong = uses
    .filter(({ name }) => !ofApps.has(name))
    .flatMap(({ file, name, default: used }) => {
      const variable = listed.get(name);
      if (variable === undefined) return [`${file} uses ${name}, which is not listed`];
      if (used === undefined || used === variable.default) return [];
      return [
        `${file} has ${JSON.stringify(used)} for ${name}, listed is ${JSON.stringify(variable.default)}`,
      ];
    });
  const used = new Set(uses.map(({ name }) => name));
  const idle = STACK_VARIABLES.filter(({ name }) => !used.has(name)).map(
    ({ name }) => `${name} is listed and used nowhere`,
  );
  return [...wrong, ...idle];
}

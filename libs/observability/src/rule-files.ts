import { stringify } from 'yaml';

import type { Alert, Rehearsal } from './alert.ts';
import { alertGroups } from './alerts.ts';

const GENERATED = '# Generated from libs/observability by `make generate`; changes made here are lost.\n';

/** The rule files of Prometheus and their unit tests for promtool, as paths below `compose/prometheus` and texts. */
export function ruleFiles(): Readonly<Record<string, string>> {
  return Object.fromEntries(
    Object.entries(alertGroups).flatMap(([group, alerts]) => [
      [`rules/${group}.yml`, yaml({ groups: [{ name: group, rules: alerts.map(ruleOf) }] })],
      [`rule-tests/${group}.yml`, yaml(testsOf(`../rules/${group}.yml`, alerts))],
    ]),
  );
}

function ruleOf(alert: Alert): object {
  return {
    alert: alert.name,
    expr: alert.expr,
    ...(alert.for === '0s' ? {} : { for: alert.for }),
    labels: { severity: alert.severity },
    annotations: annotationsOf(alert),
  };
}

function annotationsOf({ name, summary, description }: Alert): Record<string, string> {
  return { summary, description, runbook: `docs/runbooks/${name}.md` };
}

function testsOf(ruleFile: string, alerts: readonly Alert[]): object {
  return {
    rule_files: [ruleFile],
    evaluation_interval: '15s',
    tests: alerts.flatMap((alert) => alert.rehearsals.map((rehearsal) => testOf(alert, rehearsal))),
  };
}

function testOf(alert: Alert, { title, series, at, fires }: Rehearsal): object {
  return {
    name: `${alert.name}: ${title}`,
    interval: '15s',
    input_series: Object.entries(series).map(([selector, values]) => ({ series: selector, values })),
    alert_rule_test: [
      {
        eval_time: at,
        alertname: alert.name,
        exp_alerts: fires.map((labels) => ({
          exp_labels: { severity: alert.severity, ...labels },
          exp_annotations: filledIn(annotationsOf(alert), labels, series),
        })),
      },
    ],
  };
}

/** What Prometheus makes of `{{ $labels.name }}`, and of `{{ $value }}`, which is that of the first series. */
function filledIn(
  annotations: Readonly<Record<string, string>>,
  labels: Readonly<Record<string, string>>,
  series: Readonly<Record<string, string>>,
): Record<string, string> {
  const [value = ''] = Object.values(series)[0]?.split('x') ?? [];
  return Object.fromEntries(
    Object.entries(annotations).map(([name, text]) => [
      name,
      text
        .replace(/\{\{ \$labels\.(\w+) \}\}/g, (_whole, label: string) => labels[label] ?? '')
        .replaceAll('{{ $value }}', value),
    ]),
  );
}

function yaml(content: object): string {
  return GENERATED + stringify(content, { lineWidth: 0, aliasDuplicateObjects: false });
}

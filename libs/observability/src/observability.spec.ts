import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { promtoolPath, promtoolReason } from '@llm-monitor/testing';

import type { Alert } from './alert.ts';
import { alertGroups } from './alerts.ts';
import { dashboardFiles } from './dashboard-files.ts';
import { overview } from './dashboards/overview.ts';
import type { Panel } from './panel.ts';
import { ruleFiles } from './rule-files.ts';
import { bucketsOf, countOf, series, seriesOfAny } from './series.ts';

const workspaceRoot = path.resolve(__dirname, '../../..');
const alerts: readonly Alert[] = Object.values(alertGroups).flat();
const panels: readonly Panel[] = overview.rows.flatMap((row) => row.panels);
const promtool = promtoolPath();
const withPromtool = promtool === undefined ? it.skip : it;
const unless = promtool === undefined ? ` (${promtoolReason})` : '';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'observability-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function write(files: Readonly<Record<string, string>>): void {
  for (const [file, text] of Object.entries(files)) {
    mkdirSync(path.dirname(path.join(folder, file)), { recursive: true });
    writeFileSync(path.join(folder, file), text);
  }
}

function run(...args: string[]): { readonly status: number | null; readonly output: string } {
  const { status, stdout, stderr } = spawnSync(promtool ?? '', args, { cwd: folder, encoding: 'utf8' });
  return { status, output: stdout + stderr };
}

describe('selectors', () => {
  it.each([
    [series('gpu_up'), 'gpu_up'],
    [series('llm_up', { server: 'chat' }), 'llm_up{server="chat"}'],
    [series('llm_up', { server: 'a"b\\c' }), 'llm_up{server="a\\"b\\\\c"}'],
    [
      series('gpu_clock_event_active', { reason: { matches: 'a|b' } }),
      'gpu_clock_event_active{reason=~"a|b"}',
    ],
    [series('up', { job: { matchesNot: 'x' } }), 'up{job!~"x"}'],
    [bucketsOf('llm_time_to_first_token_seconds'), 'llm_time_to_first_token_seconds_bucket'],
    [countOf('llm_inter_token_latency_seconds'), 'llm_inter_token_latency_seconds_count'],
    [
      seriesOfAny(['llm_requests_running', 'llm_requests_waiting'], { server: 'chat' }),
      '{__name__=~"llm_requests_running|llm_requests_waiting",server="chat"}',
    ],
  ])('are PromQL: %s', (selector, expected) => {
    expect(selector).toBe(expected);
  });

  it('do not compile with a name or a label that is not declared', () => {
    // @ts-expect-error no such metric
    series('llm_request_running');
    // @ts-expect-error no such label
    series('llm_up', { model: 'llama' });
    // @ts-expect-error no histogram
    bucketsOf('llm_requests_running');
    // @ts-expect-error a histogram has no series of its own name
    series('llm_time_to_first_token_seconds');
    // @ts-expect-error llm_up has no model
    seriesOfAny(['llm_up', 'llm_requests_running'], { model: 'llama' });
    expect(series('llm_requests_running', { model: 'llama' })).toContain('model');
  });
});

describe('alerts', () => {
  it('have names of their own', () => {
    expect(new Set(alerts.map(({ name }) => name)).size).toBe(alerts.length);
  });

  it.each(alerts.map((alert) => [alert.name, alert] as const))(
    '%s has a runbook, and is rehearsed firing and quiet',
    (name, alert) => {
      expect(existsSync(path.join(workspaceRoot, `docs/runbooks/${name}.md`))).toBe(true);
      const counts = alert.rehearsals.map(({ fires }) => fires.length);
      expect(Math.max(...counts)).toBeGreaterThan(0);
      if (name !== 'Watchdog') expect(Math.min(...counts)).toBe(0);
    },
  );

  withPromtool(`fire and stay quiet as rehearsed${unless}`, () => {
    const files = ruleFiles();
    write(files);
    const tests = Object.keys(files).filter((file) => file.startsWith('rule-tests/'));
    expect(tests).toHaveLength(Object.keys(alertGroups).length);
    const { status, output } = run('test', 'rules', ...tests);
    expect(output).not.toContain('FAILED');
    expect(status).toBe(0);
  });
});

describe('the overview', () => {
  it('says of each panel what it shows, and why it may show nothing', () => {
    for (const { title, what, whyEmpty } of panels) {
      expect([title, what !== '', whyEmpty !== '']).toEqual([title, true, true]);
    }
    expect(new Set(panels.map(({ title }) => title)).size).toBe(panels.length);
  });

  it('is what Grafana is given, with every query on the chosen data source', () => {
    const dashboard = JSON.parse(dashboardFiles()['dashboards/overview.json'] ?? '') as {
      panels: {
        id: number;
        type: string;
        datasource?: { uid: string };
        targets?: { expr: string; refId: string }[];
      }[];
    };
    const drawn = dashboard.panels.filter(({ type }) => type !== 'row');
    expect(drawn.map(({ targets }) => targets?.map(({ expr }) => expr))).toEqual(
      panels.map(({ queries }) => queries.map(({ expr }) => expr)),
    );
    expect(drawn.map(({ targets }) => targets?.map(({ refId }) => refId).join(''))).toEqual(
      panels.map(({ queries }) => 'ABC'.slice(0, queries.length)),
    );
    expect(dashboard.panels.map(({ id }) => id)).toEqual(dashboard.panels.map((_panel, index) => index + 1));
    expect(drawn.map(({ datasource }) => datasource?.uid)).toEqual(drawn.map(() => '${datasource}'));
  });

  withPromtool(`has only queries that Prometheus understands${unless}`, () => {
    const rules = panels.flatMap(({ queries }, panel) =>
      queries.map(({ expr }, index) => ({
        record: `panel:${panel}:${index}`,
        expr: expr.replaceAll('$__rate_interval', '1m').replaceAll(/\$\w+/g, '.*'),
      })),
    );
    write({ 'queries.yml': JSON.stringify({ groups: [{ name: 'queries', rules }] }) });
    expect(run('check', 'rules', 'queries.yml')).toMatchObject({ status: 0 });
  });
});

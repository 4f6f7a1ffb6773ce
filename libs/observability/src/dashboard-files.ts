import type { Builder } from '@grafana/grafana-foundation-sdk/cog';
import { ReduceDataOptionsBuilder } from '@grafana/grafana-foundation-sdk/common';
import {
  DashboardBuilder,
  DashboardCursorSync,
  DatasourceVariableBuilder,
  QueryVariableBuilder,
  RowBuilder,
  ThresholdsConfigBuilder,
  ThresholdsMode,
  VariableRefresh,
  VariableSort,
  type Panel as GrafanaPanel,
} from '@grafana/grafana-foundation-sdk/dashboard';
import { DataqueryBuilder } from '@grafana/grafana-foundation-sdk/prometheus';
import { PanelBuilder as StatBuilder } from '@grafana/grafana-foundation-sdk/stat';
import { PanelBuilder as LinesBuilder } from '@grafana/grafana-foundation-sdk/timeseries';

import { overview } from './dashboards/overview.ts';
import type { Panel } from './panel.ts';

const DATA_SOURCE = { type: 'prometheus', uid: '${datasource}' };
/** Of the 24 columns that a dashboard has. */
const COLUMNS = { stat: 6, lines: 12 } as const;
const HEIGHT = { stat: 4, lines: 8 } as const;

/** The dashboards of Grafana, as paths below `compose/grafana` and JSON. */
export function dashboardFiles(): Readonly<Record<string, string>> {
  return { 'dashboards/overview.json': `${JSON.stringify(buildOverview(), null, 2)}\n` };
}

function buildOverview(): object {
  const { uid, title, description, rows } = overview;
  const dashboard = new DashboardBuilder(title)
    .uid(uid)
    .description(description)
    .tags(['llm-server-monitor'])
    .time({ from: 'now-1h', to: 'now' })
    .refresh('30s')
    .timezone('browser')
    .tooltip(DashboardCursorSync.Crosshair)
    .readonly()
    .withVariable(new DatasourceVariableBuilder('datasource').label('Data source').type('prometheus'))
    .withVariable(labelValues('instance', 'Exporter', 'label_values(llm_up, instance)'))
    .withVariable(labelValues('server', 'Server', 'label_values(llm_up{instance=~"$instance"}, server)'))
    .withVariable(labelValues('gpu', 'GPU', 'label_values(gpu_up, uuid)'));
  for (const row of rows) {
    dashboard.withRow(new RowBuilder(row.title));
    for (const panel of row.panels) dashboard.withPanel(panelOf(panel));
  }
  const built = dashboard.build();
  // The SDK gives panels no numbers; without them a link to one panel leads nowhere.
  return { ...built, panels: built.panels?.map((panel, index) => ({ ...panel, id: index + 1 })) };
}

/** All of them unless somebody chooses. Where there is none, the pattern matches whatever comes. */
function labelValues(name: string, label: string, query: string): QueryVariableBuilder {
  return new QueryVariableBuilder(name)
    .label(label)
    .datasource(DATA_SOURCE)
    .query(query)
    .refresh(VariableRefresh.OnTimeRangeChanged)
    .sort(VariableSort.AlphabeticalAsc)
    .multi(true)
    .includeAll(true)
    .allValue('.*');
}

function panelOf(panel: Panel): Builder<GrafanaPanel> {
  const builder = panel.kind === 'stat' ? statOf(panel) : new LinesBuilder().fillOpacity(8).spanNulls(false);
  builder
    .title(panel.title)
    .description(panel.what)
    .datasource(DATA_SOURCE)
    .unit(panel.unit)
    .noValue(panel.whyEmpty)
    .span(COLUMNS[panel.kind])
    .height(HEIGHT[panel.kind]);
  if (panel.min !== undefined) builder.min(panel.min);
  if (panel.max !== undefined) builder.max(panel.max);
  panel.queries.forEach(({ expr, legend }, index) => {
    builder.withTarget(new DataqueryBuilder().expr(expr).legendFormat(legend).refId(refIdOf(index)));
  });
  return builder;
}

/** A, B, C: how Grafana tells the queries of a panel apart. */
function refIdOf(index: number): string {
  return String.fromCharCode('A'.charCodeAt(0) + index);
}

function statOf({ goodFrom }: Panel): StatBuilder {
  const builder = new StatBuilder().reduceOptions(new ReduceDataOptionsBuilder().calcs(['lastNotNull']));
  if (goodFrom === undefined) return builder;
  return builder.thresholds(
    new ThresholdsConfigBuilder().mode(ThresholdsMode.Absolute).steps([
      { value: null, color: 'red' },
      { value: goodFrom, color: 'green' },
    ]),
  );
}

import type { Alert } from '../alert.ts';
import { series } from '../series.ts';

const EXPORTERS = { matches: 'llm-exporter|gpu-exporter|node-exporter' };
const UP = series('up', { job: EXPORTERS });
const COLLECTED = series('llm_monitor_collector_success');
const LAST = series('llm_monitor_collector_last_success_timestamp_seconds');
/** An engine that is down is told by its own alert, and its collector fails by the same cause. */
const OF_DOWN_ENGINES = `label_replace(${series('llm_up')} == 0, "collector", "$1", "server", "(.*)")`;

/** Whether the monitoring itself works: what is blind tells nothing else. */
export const stackAlerts: readonly Alert[] = [
  {
    name: 'Watchdog',
    expr: 'vector(1)',
    for: '0s',
    severity: 'none',
    summary: 'Alerting works: this alert always fires.',
    description: 'Send it to a heartbeat service, which calls when it stays out.',
    rehearsals: [
      { title: 'always', series: { 'up{job="prometheus"}': '1x4' }, at: '1m', fires: [{}] },
      { title: 'also without any series', series: {}, at: '1m', fires: [{}] },
    ],
  },
  {
    name: 'ExporterDown',
    expr: `${UP} == 0`,
    for: '3m',
    severity: 'critical',
    summary: 'Prometheus does not reach {{ $labels.job }} on {{ $labels.instance }}.',
    description: 'Nothing is known of what it watches, and no other alert of it can fire.',
    rehearsals: [
      {
        title: 'down for three minutes',
        series: { 'up{job="gpu-exporter",instance="host:9501"}': '1x4 0x20' },
        at: '5m',
        fires: [{ job: 'gpu-exporter', instance: 'host:9501' }],
      },
      {
        title: 'a restart of two minutes',
        series: { 'up{job="gpu-exporter",instance="host:9501"}': '1x4 0x8 1x10' },
        at: '5m',
        fires: [],
      },
    ],
  },
  {
    name: 'ExporterAbsent',
    expr: `group by (job, instance) (last_over_time(${UP}[1h])) unless group by (job, instance) (${UP}) or absent(${series('up', { job: 'llm-exporter' })})`,
    for: '5m',
    severity: 'warning',
    summary: '{{ $labels.job }} {{ $labels.instance }} is scraped no more.',
    description:
      'It vanished from the targets, so that nothing can be down: told for an hour, or for as long as no llm-exporter is scraped at all.',
    rehearsals: [
      {
        title: 'vanished from its file',
        series: {
          'up{job="llm-exporter",instance="host:9502"}': '1x400',
          'up{job="gpu-exporter",instance="host:9501"}': '1x240 stale',
        },
        at: '70m',
        fires: [{ job: 'gpu-exporter', instance: 'host:9501' }],
      },
      {
        title: 'vanished ten minutes after it came',
        series: {
          'up{job="llm-exporter",instance="host:9502"}': '1x400',
          'up{job="gpu-exporter",instance="host:9501"}': '1x40 stale',
        },
        at: '20m',
        fires: [{ job: 'gpu-exporter', instance: 'host:9501' }],
      },
      { title: 'none at all', series: {}, at: '10m', fires: [{ job: 'llm-exporter' }] },
      {
        title: 'down is not absent',
        series: { 'up{job="llm-exporter",instance="host:9502"}': '1x240 0x160' },
        at: '70m',
        fires: [],
      },
    ],
  },
  {
    name: 'CollectorFailing',
    expr: `${COLLECTED} == 0 unless on (instance, collector) ${OF_DOWN_ENGINES}`,
    for: '5m',
    severity: 'warning',
    summary: '{{ $labels.job }} cannot read {{ $labels.collector }} on {{ $labels.instance }}.',
    description:
      'The exporter works and its source does not: llm_monitor_collector_errors_total has the reason, and the check command of the exporter says how to mend it.',
    rehearsals: [
      {
        title: 'a driver that hangs',
        series: {
          'llm_monitor_collector_success{job="gpu-exporter",instance="host:9501",collector="nvml"}':
            '1x4 0x40',
        },
        at: '8m',
        fires: [{ job: 'gpu-exporter', instance: 'host:9501', collector: 'nvml' }],
      },
      {
        title: 'an engine that is down has its own alert',
        series: {
          'llm_monitor_collector_success{job="llm-exporter",instance="host:9502",collector="chat"}': '0x40',
          'llm_up{job="llm-exporter",instance="host:9502",server="chat",engine="vllm"}': '0x40',
        },
        at: '8m',
        fires: [],
      },
    ],
  },
  {
    name: 'ReadingsStale',
    expr: `time() - ${LAST} > 120 and on (instance, job, collector) ${COLLECTED} == 1`,
    for: '2m',
    severity: 'warning',
    summary: 'The figures of {{ $labels.collector }} on {{ $labels.instance }} stand still.',
    description:
      'Its collector says that all is well, and has brought nothing new for two minutes: restart the exporter.',
    rehearsals: [
      {
        title: 'well by its word, and two minutes behind',
        series: {
          'llm_monitor_collector_success{job="gpu-exporter",instance="host:9501",collector="nvml"}': '1x40',
          'llm_monitor_collector_last_success_timestamp_seconds{job="gpu-exporter",instance="host:9501",collector="nvml"}':
            '0x40',
        },
        at: '6m',
        fires: [{ job: 'gpu-exporter', instance: 'host:9501', collector: 'nvml' }],
      },
      {
        title: 'one that fails is told by another alert',
        series: {
          'llm_monitor_collector_success{job="gpu-exporter",instance="host:9501",collector="nvml"}': '0x40',
          'llm_monitor_collector_last_success_timestamp_seconds{job="gpu-exporter",instance="host:9501",collector="nvml"}':
            '0x40',
        },
        at: '6m',
        fires: [],
      },
    ],
  },
];

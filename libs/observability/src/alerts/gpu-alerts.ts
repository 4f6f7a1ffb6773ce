import { FATAL_XIDS, type ClockEventReason, type DownReason } from '@llm-monitor/gpus';

import type { Alert } from '../alert.ts';
import { series } from '../series.ts';

const GONE: readonly DownReason[] = ['lost', 'vanished', 'reset_required', 'unknown_error'];
const UNREACHABLE: readonly DownReason[] = ['driver_unreachable', 'hung', 'no_permission'];
const HOT: readonly ClockEventReason[] = ['sw_thermal', 'hw_thermal'];
const EXPECTED = series('gpu_expected_devices');
const COUNTED_HEAT = series('gpu_clock_event_seconds_total', { reason: { matches: HOT.join('|') } });
const SEEN_HEAT = series('gpu_clock_event_active', { reason: { matches: HOT.join('|') } });
const BY_GPU = 'by (instance, job, gpu, uuid)';

const GPU = 'job="gpu-exporter",instance="host:9501",gpu="0",uuid="GPU-1"';
const FIRES = { job: 'gpu-exporter', instance: 'host:9501', gpu: '0', uuid: 'GPU-1' };
const HOST = { job: 'gpu-exporter', instance: 'host:9501' };

const FATAL = { xid: { matches: FATAL_XIDS.join('|') } };

/** Whether the hardware is there and well. */
export const gpuAlerts: readonly Alert[] = [
  {
    name: 'GpuLost',
    expr: `${series('gpu_down_info', { reason: { matches: GONE.join('|') } })} == 1`,
    for: '1m',
    severity: 'critical',
    summary: 'GPU {{ $labels.gpu }} of {{ $labels.instance }} is gone: {{ $labels.reason }}.',
    description:
      'It fell off the bus or asks for a reset; what ran on it has failed. Most often only a reboot brings it back.',
    rehearsals: [
      {
        title: 'fallen off the bus',
        series: { [`gpu_down_info{${GPU},reason="lost"}`]: '1x20' },
        at: '4m',
        fires: [{ ...FIRES, reason: 'lost' }],
      },
      {
        title: 'a driver that does not answer is another alert',
        series: { [`gpu_down_info{${GPU},reason="driver_unreachable"}`]: '1x20' },
        at: '4m',
        fires: [],
      },
    ],
  },
  {
    name: 'GpuUnreachable',
    expr: `${series('gpu_down_info', { reason: { matches: UNREACHABLE.join('|') } })} == 1`,
    for: '5m',
    severity: 'warning',
    summary: 'GPU {{ $labels.gpu }} of {{ $labels.instance }} cannot be read: {{ $labels.reason }}.',
    description: 'Its driver hangs or refuses. The GPU may still work; what it does is not known.',
    rehearsals: [
      {
        title: 'the driver hangs',
        series: { [`gpu_down_info{${GPU},reason="driver_unreachable"}`]: '1x40' },
        at: '8m',
        fires: [{ ...FIRES, reason: 'driver_unreachable' }],
      },
      {
        title: 'for two minutes only',
        series: { [`gpu_down_info{${GPU},reason="driver_unreachable"}`]: '1x8 stale' },
        at: '8m',
        fires: [],
      },
    ],
  },
  {
    name: 'GpusMissing',
    expr: `${EXPECTED} > on (instance, job) (count by (instance, job) (${series('gpu_up')}) or ${EXPECTED} * 0)`,
    for: '2m',
    severity: 'critical',
    summary: '{{ $labels.instance }} has fewer GPUs than the {{ $value }} it should have.',
    description: 'One was not there at the start of the exporter, so nothing else tells of it.',
    rehearsals: [
      {
        title: 'one of two was ever seen',
        series: {
          'gpu_expected_devices{job="gpu-exporter",instance="host:9501"}': '2x20',
          [`gpu_up{${GPU}}`]: '1x20',
        },
        at: '4m',
        fires: [HOST],
      },
      {
        title: 'one that is down has its own alert',
        series: {
          'gpu_expected_devices{job="gpu-exporter",instance="host:9501"}': '1x20',
          [`gpu_up{${GPU}}`]: '0x20',
        },
        at: '4m',
        fires: [],
      },
      {
        title: 'as many as expected',
        series: {
          'gpu_expected_devices{job="gpu-exporter",instance="host:9501"}': '1x20',
          [`gpu_up{${GPU}}`]: '1x20',
        },
        at: '4m',
        fires: [],
      },
    ],
  },
  {
    name: 'GpuThermalThrottling',
    expr: `sum ${BY_GPU} (rate(${COUNTED_HEAT}[10m])) > 0.05 or avg ${BY_GPU} (avg_over_time(${SEEN_HEAT}[10m])) > 0.05 unless on (instance, uuid) ${COUNTED_HEAT}`,
    for: '5m',
    severity: 'warning',
    summary: 'Heat slows GPU {{ $labels.gpu }} of {{ $labels.instance }} down.',
    description:
      'More than a twentieth of the time its clocks are lowered by temperature, which users feel as slow tokens: look at fans, filters and the air in the room.',
    rehearsals: [
      {
        title: 'a third of the time',
        series: { [`gpu_clock_event_seconds_total{${GPU},reason="sw_thermal"}`]: '0+5x80' },
        at: '17m',
        fires: [FIRES],
      },
      {
        title: 'a driver that does not count',
        series: { [`gpu_clock_event_active{${GPU},reason="hw_thermal"}`]: '1x80' },
        at: '17m',
        fires: [FIRES],
      },
      {
        title: 'held by its power limit, as is normal under load',
        series: {
          [`gpu_clock_event_seconds_total{${GPU},reason="sw_power_cap"}`]: '0+15x80',
          [`gpu_clock_event_seconds_total{${GPU},reason="sw_thermal"}`]: '0x80',
        },
        at: '17m',
        fires: [],
      },
    ],
  },
  {
    name: 'GpuXidFatal',
    // By its time, too: one from before the first scrape has never increased a counter.
    expr: `increase(${series('gpu_xid_errors_total', FATAL)}[10m]) > 0 or time() - ${series('gpu_xid_last_timestamp_seconds', FATAL)} < 600`,
    for: '0s',
    severity: 'critical',
    summary: 'GPU {{ $labels.gpu }} of {{ $labels.instance }} reported XID {{ $labels.xid }}.',
    description:
      'A fault of the hardware or the driver after which work on the GPU is lost: docs/xids.md says what it means.',
    rehearsals: [
      {
        title: 'XID 79',
        series: { [`gpu_xid_errors_total{${GPU},xid="79"}`]: '0x8 1x20' },
        at: '4m',
        fires: [{ ...FIRES, xid: '79' }],
      },
      {
        title: 'XID 79 before the first scrape',
        series: {
          [`gpu_xid_errors_total{${GPU},xid="79"}`]: '_x8 1x20',
          [`gpu_xid_last_timestamp_seconds{${GPU},xid="79"}`]: '_x8 110x20',
        },
        at: '4m',
        fires: [{ ...FIRES, xid: '79' }],
      },
      {
        title: 'one that an application causes',
        series: { [`gpu_xid_errors_total{${GPU},xid="31"}`]: '0x8 3x20' },
        at: '4m',
        fires: [],
      },
      {
        title: 'an hour ago',
        series: {
          [`gpu_xid_errors_total{${GPU},xid="79"}`]: '1x280',
          [`gpu_xid_last_timestamp_seconds{${GPU},xid="79"}`]: '110x280',
        },
        at: '65m',
        fires: [],
      },
    ],
  },
];

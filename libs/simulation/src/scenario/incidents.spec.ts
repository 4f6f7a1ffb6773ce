import { llmFamilies } from '@llm-monitor/engines';
import { exporterMetrics, gpuMetrics } from '@llm-monitor/gpus';
import { type Incident, INCIDENT_NAMES, incidentOf, incidents } from './incidents.ts';

const NAMED = [
  'hang',
  'kv_starvation',
  'overload',
  'preemption_storm',
  'xid_79',
  'thermal_throttle',
  'power_brake',
  'fan_stop',
  'ecc',
  'driver_mismatch',
  'cpu_fallback',
  'model_thrash',
  'metric_rename',
  'engine_crash_loop',
  'exporter_freeze',
  'client_giveup',
  'slow_regression',
  'tenant_flood',
];

it('has every incident that users can name', () => {
  expect([...INCIDENT_NAMES].sort()).toEqual([...NAMED].sort());
  expect(INCIDENT_NAMES).toHaveLength(Object.keys(incidents).length);
});

describe.each(INCIDENT_NAMES.map((name) => [name, incidentOf(name)] as [string, Incident]))(
  '%s',
  (_name, incident) => {
    it('shows in metrics that exist, each told once', () => {
      const known = { ...llmFamilies, ...gpuMetrics, ...exporterMetrics };
      const metrics = incident.signs.map(({ metric }) => metric);
      expect(metrics.length).toBeGreaterThan(0);
      expect(metrics.filter((metric) => !(metric in known))).toEqual([]);
      expect(new Set(metrics).size).toBe(metrics.length);
    });

    it('says in plain words what it is', () => {
      expect(incident.title).toMatch(/^[A-Z].*[^.]$/);
      expect(incident.effect).toMatch(/^[A-Z].*\.$/);
      for (const { help } of Object.values(incident.parameters)) expect(help).toMatch(/^[A-Z].*\.$/);
      for (const { how } of incident.signs) expect(how).toMatch(/^[a-z].*[^.]$/);
    });

    it('has defaults within their ranges', () => {
      for (const parameter of Object.values(incident.parameters)) {
        if (parameter.kind === 'text') {
          expect(parameter.default).not.toBe('');
          continue;
        }
        expect(parameter.default).toBeGreaterThanOrEqual(parameter.minimum);
        expect(parameter.default).toBeLessThanOrEqual(parameter.maximum);
      }
    });

    it('needs of a target only what such a target can have', () => {
      const needs = Object.keys(incident.needs ?? {});
      const possible = {
        gpu: ['vendor', 'fan', 'ecc'],
        engine: ['engineKinds', 'models'],
        traffic: [],
        host: ['vendor'],
      };
      expect(needs.filter((need) => !possible[incident.target].some((each) => each === need))).toEqual([]);
    });

    it('shows only in engines to which it can happen', () => {
      const kinds = incident.needs?.engineKinds;
      if (kinds === undefined) return;
      for (const { engines = [] } of incident.signs)
        expect(engines.some((kind) => kinds.includes(kind)) || engines.length === 0).toBe(true);
    });
  },
);

import type { HistogramPoint, Labels, MetricFamily, ScalarPoint } from '@llm-monitor/metrics-core';

import type { TruthHistogram } from '../engine/engine.ts';
import { targetText } from './incident-desk.ts';
import type { SimulatedWorld } from './simulated-world.ts';
import {
  engineTruthHistograms,
  engineTruths,
  gpuTruths,
  trafficTruths,
  worldTruths,
  type TruthMetric,
} from './truth-metrics.ts';

/** What the world truly is at this instant, as `sim_*` metrics, for tests to compare what exporters report with it. */
export function truthFamilies(world: SimulatedWorld): MetricFamily[] {
  const engines = world.engines.map(({ now }) => {
    const state = now.state();
    return { labels: { engine: state.name, kind: state.kind }, state };
  });
  const gpus = world.gpus.map((gpu) => {
    const state = gpu.state();
    return { labels: { gpu: String(state.index), uuid: state.uuid }, state };
  });
  const traffics = world.traffics.map(({ state }) => ({
    labels: { traffic: state.name, engine: state.engine, model: state.model },
    state,
  }));
  const histograms = Object.entries(engineTruthHistograms).map(
    ([name, { help, unit, histogram }]): MetricFamily => ({
      name,
      help,
      unit,
      type: 'histogram',
      points: engines.map(({ labels, state }) => histogramPoint(labels, histogram(state))),
    }),
  );
  const families = [
    ...worldFamilies(world),
    ...tableFamilies(engineTruths, engines),
    ...histograms,
    ...tableFamilies(gpuTruths, gpus),
    ...tableFamilies(trafficTruths, traffics),
  ];
  return families.filter(({ points }) => points.length > 0);
}

function worldFamilies(world: SimulatedWorld): MetricFamily[] {
  const { sim_time_seconds: time, sim_incident_active: active } = worldTruths;
  return [
    {
      name: 'sim_time_seconds',
      type: time.type,
      unit: time.unit,
      help: time.help,
      points: [{ labels: {}, value: world.now }],
    },
    {
      name: 'sim_incident_active',
      type: active.type,
      help: active.help,
      points: world.incidents.active.map(({ incident }) => ({
        labels: { incident: incident.name, target: targetText(incident) },
        value: 1,
      })),
    },
  ];
}

function tableFamilies<Thing>(
  table: Readonly<Record<string, TruthMetric<Thing>>>,
  things: readonly { readonly labels: Labels; readonly state: Thing }[],
): MetricFamily[] {
  return Object.entries(table).map(([name, { type, help, unit, values }]) => ({
    name,
    type,
    help,
    ...(unit === undefined ? {} : { unit }),
    points: things.flatMap(({ labels, state }) =>
      values(state).flatMap((of): ScalarPoint[] =>
        of.value === undefined ? [] : [{ labels: { ...labels, ...of.labels }, value: of.value }],
      ),
    ),
  }));
}

/** The truth counts per bucket; an exposition has sums of all up to a bound. */
function histogramPoint(labels: Labels, { bounds, counts, sum, count }: TruthHistogram): HistogramPoint {
  const cumulative: number[] = [];
  for (const [index, inBucket] of counts.entries()) cumulative.push((cumulative[index - 1] ?? 0) + inBucket);
  return { labels, bounds: [...bounds, Infinity], counts: cumulative, sum, count };
}

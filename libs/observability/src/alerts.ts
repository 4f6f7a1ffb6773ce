import type { Alert } from './alert.ts';
import { engineAlerts } from './alerts/engine-alerts.ts';
import { gpuAlerts } from './alerts/gpu-alerts.ts';
import { stackAlerts } from './alerts/stack-alerts.ts';

/** Every alert, by the group in which Prometheus evaluates it. */
export const alertGroups: Readonly<Record<'stack' | 'engines' | 'gpus', readonly Alert[]>> = {
  stack: stackAlerts,
  engines: engineAlerts,
  gpus: gpuAlerts,
};

import type { Alert } from './alert.ts';
import { engineAlerts } from './alerts/engine-alerts.ts';
import { gpuAlerts } from './alerts/gpu-alerts.ts';
import { hostAlerts } from './alerts/host-alerts.ts';
import { stackAlerts } from './alerts/stack-alerts.ts';

/** Every alert, by the group in which Prometheus evaluates it. */
export const alertGroups: Readonly<Record<'stack' | 'host' | 'engines' | 'gpus', readonly Alert[]>> = {
  stack: stackAlerts,
  host: hostAlerts,
  engines: engineAlerts,
  gpus: gpuAlerts,
};

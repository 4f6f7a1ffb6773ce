import type { Environment } from './load-settings.ts';

/**
 * Variables that Kubernetes puts into every container for each Service of its namespace. A Service named
 * `llm-exporter` yields `LLM_EXPORTER_SERVICE_HOST`, `LLM_EXPORTER_PORT=tcp://10.0.0.7:9502` and more: they look
 * like settings of ours and are none. (kubernetes.io, "Accessing the Service: environment variables".)
 */
export function kubernetesServiceVariables(env: Environment): ReadonlySet<string> {
  const names = new Set<string>();
  const services = Object.keys(env)
    .filter((name) => name.endsWith('_SERVICE_HOST'))
    .map((name) => name.slice(0, -'_SERVICE_HOST'.length))
    .filter((service) => env[`${service}_SERVICE_PORT`] !== undefined);
  for (const service of services) {
    for (const [name, value] of Object.entries(env)) {
      if (!name.startsWith(`${service}_`)) continue;
      const rest = name.slice(service.length + 1);
      const isAddress = rest === 'PORT' && /^(tcp|udp|sctp):\/\//.test(value ?? '');
      const isDetail =
        /^(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$/.test(rest);
      if (isAddress || isDetail) names.add(name);
    }
  }
  return names;
}

import { type IncidentRequest, type IncidentScene, planIncident } from './plan-incident.ts';
import { INCIDENT_NAMES, incidentOf } from './incidents.ts';

const SCENE: IncidentScene = {
  gpus: [
    { board: 'h100-sxm', vendor: 'nvidia', fan: false, ecc: true },
    { board: 'rtx-4090', vendor: 'nvidia', fan: true, ecc: false },
    { board: 'mi300x', vendor: 'amd', fan: false, ecc: true },
  ],
  engines: [
    { name: 'chat', kind: 'vllm', models: 1 },
    { name: 'code', kind: 'tgi', models: 1 },
    { name: 'local', kind: 'ollama', models: 2 },
  ],
  traffic: [{ name: 'chat' }, { name: 'batch' }],
};

const said = (request: IncidentRequest, scene = SCENE) => {
  const plan = planIncident(request, scene);
  return plan.ok ? plan.incident : plan.problems.map(({ path, message }) => `${path.join('.')}: ${message}`);
};

describe('planIncident', () => {
  it.each<{ request: IncidentRequest; plan: object }>([
    { request: { incident: 'hang', target: 'chat' }, plan: { name: 'hang', target: 'chat', parameters: {} } },
    { request: { incident: 'xid_79', target: '1' }, plan: { name: 'xid_79', target: 1, parameters: {} } },
    { request: { incident: 'fan_stop' }, plan: { name: 'fan_stop', target: 1, parameters: {} } },
    {
      request: { incident: 'model_thrash' },
      plan: { name: 'model_thrash', target: 'local', parameters: { every: 8 } },
    },
    {
      request: { incident: 'driver_mismatch' },
      plan: { name: 'driver_mismatch', target: undefined, parameters: {} },
    },
    {
      request: { incident: 'driver_mismatch', target: 'host' },
      plan: { name: 'driver_mismatch', target: undefined, parameters: {} },
    },
    {
      request: { incident: 'overload', target: 'batch', parameters: { factor: 2.5 } },
      plan: { name: 'overload', target: 'batch', parameters: { factor: 2.5 } },
    },
    {
      request: { incident: 'client_giveup', target: 'chat', parameters: { patience: '500ms' } },
      plan: { name: 'client_giveup', target: 'chat', parameters: { ratio: 0.8, patience: 0.5 } },
    },
    {
      request: { incident: 'tenant_flood', target: 'chat', parameters: { tenant: 'acme', factor: '3' } },
      plan: { name: 'tenant_flood', target: 'chat', parameters: { tenant: 'acme', factor: 3 } },
    },
  ])('plans $request', ({ request, plan }) => {
    expect(said(request)).toEqual(plan);
  });

  it.each<{ why: string; request: IncidentRequest; problems: string[] }>([
    {
      why: 'a misspelled name',
      request: { incident: 'hangg', target: 'chat' },
      problems: ['incident: no incident is called "hangg"; did you mean hang?'],
    },
    {
      why: 'a misspelled target',
      request: { incident: 'hang', target: 'chta' },
      problems: ['target: there is no engine "chta"; did you mean chat?'],
    },
    {
      why: 'a target of another kind',
      request: { incident: 'hang', target: 'batch' },
      problems: ['target: hang happens to an engine, and "batch" is a traffic; there is chat, code, local'],
    },
    {
      why: 'a GPU for an engine',
      request: { incident: 'hang', target: '0' },
      problems: [
        'target: hang happens to an engine, and "0" is the number of a GPU; there is chat, code, local',
      ],
    },
    {
      why: 'an engine for a GPU',
      request: { incident: 'ecc', target: 'code' },
      problems: ['target: ecc happens to a GPU, and "code" is an engine; there is 0, 2'],
    },
    {
      why: 'a GPU that is not there',
      request: { incident: 'ecc', target: '9' },
      problems: ['target: there is no gpu "9"; there is 0, 2'],
    },
    {
      why: 'no target where there are several',
      request: { incident: 'hang' },
      problems: ['target: hang happens to an engine; say to which: there is chat, code, local'],
    },
    {
      why: 'a target for what happens to the host',
      request: { incident: 'driver_mismatch', target: 'chat' },
      problems: ['target: driver_mismatch happens to the whole host; leave target out'],
    },
    {
      why: 'fans that are not there',
      request: { incident: 'fan_stop', target: '0' },
      problems: ['target: fan_stop cannot happen to gpu 0: h100-sxm has no fans of its own; there is 1'],
    },
    {
      why: 'a GPU without ECC',
      request: { incident: 'ecc', target: '1' },
      problems: ['target: ecc cannot happen to gpu 1: rtx-4090 has no ECC; there is 0, 2'],
    },
    {
      why: 'a GPU of another vendor',
      request: { incident: 'xid_79', target: '2' },
      problems: ['target: xid_79 cannot happen to gpu 2: mi300x is not of nvidia; there is 0, 1'],
    },
    {
      why: 'an engine of another kind',
      request: { incident: 'preemption_storm', target: 'code' },
      problems: [
        'target: preemption_storm cannot happen to engine code: it is tgi, and this is of vllm, sglang; there is chat',
      ],
    },
    {
      why: 'all that is wrong at once',
      request: { incident: 'overload', target: 'chatt', parameters: { faktor: 2, factor: -1 } },
      problems: [
        'parameters.faktor: overload has no parameter "faktor"; did you mean factor?',
        'parameters.factor: expected a number from 0 to 1000',
        'target: there is no traffic "chatt"; did you mean chat?',
      ],
    },
    {
      why: 'a duration without a unit',
      request: { incident: 'client_giveup', target: 'chat', parameters: { patience: '5' } },
      problems: ['parameters.patience: expected a duration with its unit from 100ms to 1d'],
    },
    {
      why: 'a parameter where there are none',
      request: { incident: 'hang', target: 'chat', parameters: { factor: 2 } },
      problems: ['parameters.factor: hang has no parameter "factor"; it has none'],
    },
  ])('refuses $why', ({ request, problems }) => {
    expect(said(request)).toEqual(problems);
  });

  it('refuses a thrash of one model, and what needs NVIDIA on a host without', () => {
    const one = { ...SCENE, engines: [{ name: 'local', kind: 'ollama', models: 1 }] } as const;
    expect(said({ incident: 'model_thrash', target: 'local' }, one)).toEqual([
      'target: model_thrash cannot happen to engine local: it has one model, and this takes two; this scenario has none that fits',
    ]);
    const amd = { ...SCENE, gpus: SCENE.gpus.slice(2) };
    expect(said({ incident: 'exporter_freeze' }, amd)).toEqual([
      'target: exporter_freeze needs an NVIDIA GPU, and the host has none',
    ]);
  });

  it.each(INCIDENT_NAMES)('%s can happen to something, with its defaults', (name) => {
    const targets = { gpu: ['0', '1'], engine: ['chat', 'local'], traffic: ['chat'], host: [undefined] };
    const plans = targets[incidentOf(name).target].map((target) =>
      planIncident({ incident: name, target }, SCENE),
    );
    expect(plans.some(({ ok }) => ok)).toBe(true);
  });

  it.each(['constructor', '__proto__', 'toString', ''])('knows no incident %j', (incident) => {
    expect(planIncident({ incident, target: 'chat' }, SCENE).ok).toBe(false);
  });
});

import { readdirSync, readFileSync } from 'node:fs';

import {
  adapterOf,
  CORE_METRICS,
  ENGINE_NAMES,
  namesOf,
  readSaved,
  rulesOf,
  UNAVAILABLE_REASONS,
  type EngineAdapter,
  type EngineName,
  type Fingerprint,
  type Rule,
} from '@llm-monitor/engines';

import { code, codes, GENERATED, table } from './markdown.ts';

/** docs/engines.md: which engines are read, how each is recognized, and where every number comes from. */
export async function enginesPage(): Promise<string> {
  return [
    GENERATED,
    '# Engines',
    'Every engine is read with GET requests that change nothing on it, and ends at one file, its adapter. Names on the left of each table are what dashboards know; names on the right are the engine’s own. Where two names stand with “else”, the first that the engine prints is taken.',
    table(
      ['engine', 'label', 'default ports', 'what to switch on'],
      ENGINE_NAMES.map((name) => {
        const { title, ports, enable } = adapterOf(name);
        return [
          `[${title}](#${name})`,
          code(`engine="${name}"`),
          ports.join(', ') || '–',
          enable ?? 'nothing',
        ];
      }),
    ),
    '## Why a core metric can be absent',
    'Unknown is absent, never 0. For the core metrics the reason is a series, `llm_metric_unavailable_info{metric,reason}`:',
    table(
      ['reason', 'meaning'],
      Object.entries(UNAVAILABLE_REASONS).map(([reason, meaning]) => [code(reason), meaning]),
    ),
    `Core metrics: ${codes(CORE_METRICS)}.`,
    ...(await Promise.all(ENGINE_NAMES.map((name) => engineSection(name, adapterOf(name))))),
  ].join('\n\n');
}

async function engineSection(name: EngineName, adapter: EngineAdapter): Promise<string> {
  const { title, documentation, fingerprints, requests, health, families, lacks, notes = [] } = adapter;
  const asked = [
    ...requests.map((request) => (typeof request.path === 'string' ? request.path : (request.name ?? ''))),
    ...(health === undefined ? [] : [health.path]),
  ];
  const rows = Object.entries(families).flatMap(([metric, rules]) =>
    rulesOf(rules).map((rule) => [code(metric), sourceOf(rule), conditionOf(rule)]),
  );
  const beside = await besideTheTable(name, Object.keys(families));
  return [
    `## ${name}`,
    `[${title}](${documentation}). Recognized by ${fingerprints.map(fingerprintText).join('; ')}. Asked: ${codes([...new Set(asked)])}.`,
    ...(notes.length === 0 ? [] : [notes.map((note) => `- ${note}`).join('\n')]),
    ...(rows.length === 0
      ? ['No exposition is read: all comes from the JSON answers.']
      : [table(['metric', 'from', 'when'], rows)]),
    ...(beside.length === 0
      ? []
      : [`From its JSON answers, or computed from several values, where they are there: ${codes(beside)}.`]),
    lacks.length === 0 ? 'All core metrics are given.' : `Not given by the engine: ${codes(lacks)}.`,
  ].join('\n\n');
}

/** Told of every server, whatever its engine. */
const OF_EVERY_SERVER: readonly string[] = [
  'llm_up',
  'llm_ready',
  'llm_engine_state',
  'llm_engine_info',
  'llm_source_metrics_missing',
  'llm_source_parse_issues',
  'llm_metric_unavailable_info',
];

/** Metrics that the engine's fixtures give and its table does not name. */
async function besideTheTable(engine: EngineName, named: readonly string[]): Promise<string[]> {
  const folder = 'libs/engines/fixtures';
  const files = readdirSync(folder).filter(
    (file) => /^[a-z]+/.exec(file)?.[0] === engine && !file.endsWith('.golden'),
  );
  const found = new Set<string>();
  for (const file of files) {
    const { reading } = await readSaved(readFileSync(`${folder}/${file}`, 'utf8'), file);
    for (const { name } of reading.families) found.add(name);
    for (const [metric, source] of Object.entries(reading.sources)) {
      if (source === 'native' || OF_EVERY_SERVER.includes(metric)) found.delete(metric);
    }
  }
  return [...found].filter((metric) => !named.includes(metric)).sort();
}

function fingerprintText(fingerprint: Fingerprint): string {
  if ('ownedBy' in fingerprint)
    return `${code('/v1/models')} owned by ${fingerprint.ownedBy.includes('*') ? 'anyone' : codes(fingerprint.ownedBy)}`;
  if ('header' in fingerprint) return `the header ${code(fingerprint.header.join(': '))}`;
  if ('json' in fingerprint) return `the shape of ${code(fingerprint.path)}`;
  if ('text' in fingerprint) return `${code(fingerprint.path)} saying ${code(fingerprint.text)}`;
  return `${codes(fingerprint.families.map((prefix) => `${prefix}*`))} in ${code(fingerprint.path)}`;
}

function sourceOf(rule: Rule): string {
  const names = namesOf(rule).map(code).join(' else ');
  const plus = (rule.plus ?? []).map((each) => ` + ${code(each)}`).join('');
  const where = Object.entries(rule.where ?? {}).map(
    ([label, values]) => ` where ${label} is ${values.map((value) => value || 'empty').join(' or ')}`,
  );
  const part = rule.part === undefined ? '' : ` (its ${rule.part})`;
  const scale = rule.scale === undefined ? '' : ` × ${rule.scale}`;
  const set = Object.entries(rule.set ?? {}).map(([label, value]) => ` as ${label}="${value}"`);
  return `${names}${plus}${part}${scale}${where.join('')}${set.join('')}`;
}

function conditionOf(rule: Rule): string {
  const since = rule.since === undefined ? [] : [`since ${rule.since}`];
  const until = rule.until === undefined ? [] : [`before ${rule.until}`];
  const optional = rule.optional === true ? ['when the engine prints it'] : [];
  return [...since, ...until, ...optional].join(', ') || 'always';
}

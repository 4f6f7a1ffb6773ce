import { escapeHtml } from '@llm-monitor/exporter-http';

import { figureText, processText } from './figure-text.ts';
import { isWell, type BackendView, type GpusView, type GpuView } from './gpus-view.ts';
import { unexplainedFields } from './native-fields.ts';

/** The one style sheet of both pages, whose hash their policy allows. */
export const GPUS_STYLE = `
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #ffffff; --quiet: #57606a; --link: #0550ae; --line: #d0d7de; --good: #116329; --bad: #a40e26; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6edf3; --paper: #0d1117; --quiet: #9aa4af; --link: #79b8ff; --line: #30363d; --good: #56d364; --bad: #ff7b72; }
}
body { margin: 0 auto; max-width: 60rem; padding: 1.5rem 1rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0 0 1rem; }
h2 { font-size: 1.125rem; margin: 2rem 0 0.5rem; }
h3 { font-size: 1rem; margin: 0; overflow-wrap: anywhere; }
article, .addresses li { border-top: 1px solid var(--line); padding: 0.75rem 0; }
dl { display: grid; grid-template-columns: minmax(7rem, max-content) 1fr; gap: 0.125rem 1rem; margin: 0.5rem 0 0; }
dt, .addresses span, footer { color: var(--quiet); }
dd { margin: 0; overflow-wrap: anywhere; }
ul { margin: 0; padding-left: 1.25rem; }
.addresses ul { list-style: none; padding: 0; }
code { overflow-wrap: anywhere; }
.good { color: var(--good); }
.bad { color: var(--bad); }
a { color: var(--link); }
a:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
footer { margin-top: 1.5rem; font-size: 0.875rem; }
`;

const ADDRESSES = [
  ['/metrics', 'Metrics', 'for Prometheus to scrape'],
  ['/gpus', 'GPUs', 'each GPU, what uses it, and what cannot be read'],
  ['/-/healthy', 'Health', 'whether the process works'],
  ['/-/ready', 'Readiness', 'whether the GPUs were looked at'],
] as const;

/** What a person who opens the port sees: what is seen, what fails and how to mend it, and every address. */
export function overviewPage(view: GpusView, version: string): string {
  const links = ADDRESSES.map(
    ([path, label, what]) => `<li><a href="${path}">${label}</a> <span>${what}</span></li>`,
  );
  return page(
    'GPU exporter',
    `<p>${escapeHtml(view.overview)}</p>
${mendParagraphs(view.backends)}
<nav class="addresses" aria-label="Addresses">
<ul>
${links.join('\n')}
</ul>
</nav>`,
    `Version ${escapeHtml(version)}`,
  );
}

/** Backends, GPUs and their processes, for a person: no script, no outside request. */
export function gpusPage({ overview, gpus, backends, remarks }: GpusView): string {
  return page(
    'GPUs of this host',
    `<p>${escapeHtml(overview)}</p>
${mendParagraphs(backends)}
${gpus.map(gpuArticle).join('\n')}
<h2>What reads them</h2>
${backends.length === 0 ? '<p>Nothing.</p>' : backends.map(backendArticle).join('\n')}
${remarks.length === 0 ? '' : `<h2>Remarks</h2>\n${list(remarks)}`}`,
    '<a href="/">All addresses of this exporter</a>',
  );
}

function page(title: string, main: string, footer: string): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title}</title>
<style>${GPUS_STYLE}</style>
</head>
<body>
<main>
<h1>${title}</h1>
${main}
</main>
<footer><p>${footer}</p></footer>
</body>
</html>
`;
}

function gpuArticle(gpu: GpuView): string {
  const { facts, figures, windows } = gpu;
  const { busy, memory, power, temperature } = figureText(figures);
  const peak = windows['utilization']?.max;
  const rows = [
    row('UUID', gpu.uuid),
    row('Read by', gpu.backend),
    row('Address', facts.pciBusId),
    row('Driver', facts.driverVersion),
    row('Utilization', busy === '-' ? undefined : busy),
    row('Highest of a minute', peak === undefined ? undefined : `${Math.round(peak * 100)} %`),
    row('Memory', memory === '-' ? undefined : memory),
    row('Power', power === '-' ? undefined : power),
    row('Temperature', temperature === '-' ? undefined : temperature),
    row('Does not tell', gpu.without.join(', ')),
    ...gpu.missing.map(({ metrics, meaning }) => row('Without', `${metrics.join(', ')} (${meaning})`)),
    row(
      'Errors (XID)',
      Object.entries(gpu.xids)
        .map(([xid, count]) => `${xid} (${count} times)`)
        .join(', '),
    ),
    processesRow(gpu),
  ];
  return `<article>
<h3>GPU ${escapeHtml(gpu.gpu)}: ${escapeHtml(facts.name ?? facts.vendor)} <span class="${isWell(gpu.condition) ? 'good' : 'bad'}">${escapeHtml(gpu.condition)}</span></h3>
${gpu.mend === undefined ? '' : mendParagraph(gpu.mend)}
<dl>
${rows.filter((text) => text !== '').join('\n')}
</dl>
</article>`;
}

/** Of a GPU that is down or asleep nobody can tell: its condition says why. */
function processesRow({ condition, processes }: GpuView): string {
  if (processes === undefined) return condition === 'up' ? row('Processes', 'the driver does not tell') : '';
  const texts = processes.map((process) => `${process.pid}: ${processText(process)}`);
  return `<dt>Processes</dt><dd>${texts.length === 0 ? 'none' : list(texts)}</dd>`;
}

function backendArticle(backend: BackendView): string {
  const { failure, unsupported, unparsed } = backend;
  const rows = [
    row('Driver', backend.driverVersion),
    row('Library', backend.libraryVersion),
    row('Last reading', backend.ageSeconds === undefined ? undefined : `${backend.ageSeconds} s ago`),
    row('Failing since', failure?.since),
    row('Reason', failure === undefined ? undefined : `${failure.reason}: ${failure.message}`),
    row('Readers started anew', backend.restarts === 0 ? undefined : String(backend.restarts)),
    row('Readers stuck', backend.abandoned === 0 ? undefined : String(backend.abandoned)),
    // The others are told with the GPUs, as the metrics that are missing for them.
    ...unsupported.map(({ meaning, fields }) => {
      const told = unexplainedFields(fields);
      return row('Cannot read', told.length === 0 ? undefined : `${told.join(', ')} (${meaning})`);
    }),
    row(
      'Not understood',
      Object.entries(unparsed)
        .map(([field, count]) => `${field} (${count} times)`)
        .join(', '),
    ),
  ];
  return `<article>
<h3>${escapeHtml(backend.backend)} <span class="${backend.state === 'failing' ? 'bad' : 'good'}">${backend.state}</span></h3>
<dl>
${rows.filter((text) => text !== '').join('\n')}
</dl>
</article>`;
}

/** What to do about each backend that fails. */
function mendParagraphs(backends: readonly BackendView[]): string {
  return backends
    .flatMap(({ failure }) => (failure === undefined ? [] : mendParagraph(failure.mend)))
    .join('\n');
}

function mendParagraph({ sentence, command }: { sentence: string; command: string }): string {
  return `<p>${escapeHtml(sentence)} <code>${escapeHtml(command)}</code></p>`;
}

function row(term: string, value: string | undefined): string {
  return value === undefined || value === '' ? '' : `<dt>${term}</dt><dd>${escapeHtml(value)}</dd>`;
}

function list(items: readonly string[]): string {
  return `<ul>\n${items.map((item) => `<li>${escapeHtml(item)}</li>`).join('\n')}\n</ul>`;
}

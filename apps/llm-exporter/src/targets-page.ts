import { escapeHtml } from '@llm-monitor/exporter-http';

import type { TargetsView, TargetView } from './targets-report.ts';

/** The page's one style sheet, whose hash its policy allows. */
export const TARGETS_STYLE = `
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #ffffff; --quiet: #57606a; --line: #d0d7de; --good: #116329; --bad: #a40e26; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6edf3; --paper: #0d1117; --quiet: #9aa4af; --line: #30363d; --good: #56d364; --bad: #ff7b72; }
}
body { margin: 0 auto; max-width: 60rem; padding: 1.5rem 1rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0 0 1rem; }
h2 { font-size: 1.125rem; margin: 2rem 0 0.5rem; }
h3 { font-size: 1rem; margin: 0; overflow-wrap: anywhere; }
article { border-top: 1px solid var(--line); padding: 0.75rem 0; }
dl { display: grid; grid-template-columns: minmax(7rem, max-content) 1fr; gap: 0.125rem 1rem; margin: 0.5rem 0 0; }
dt { color: var(--quiet); }
dd { margin: 0; overflow-wrap: anywhere; }
ul { margin: 0; padding-left: 1.25rem; }
.up { color: var(--good); }
.down { color: var(--bad); }
a { color: inherit; }
`;

/** Targets, strangers and what is looked for, for a person: no script, no outside request. */
export function targetsPage(view: TargetsView): string {
  const { targets, strangers, passedOver, discovery } = view;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Targets of the LLM exporter</title>
<style>${TARGETS_STYLE}</style>
</head>
<body>
<main>
<h1>LLM servers</h1>
${targets.length === 0 ? '<p>There is none yet.</p>' : targets.map(targetArticle).join('\n')}
<h2>What discovery looks for</h2>
<p>${escapeHtml(discoverySentence(view))}</p>
${list(discovery.looksFor.map(({ title, programs, ports }) => `${title}: ${traits(programs, ports)}`))}
<h2>Asked once and no engine</h2>
${list(strangers.map(({ url, why }) => `${url}: ${why}`))}
<h2>Passed over</h2>
${list(passedOver.map(({ address, port, why }) => `${address} port ${port}: ${why}`))}
</main>
<footer><p><a href="/">All addresses of this exporter</a></p></footer>
</body>
</html>
`;
}

/** What discovery does and when it last did, in one sentence. */
export function discoverySentence({ discovery }: TargetsView): string {
  if (!discovery.enabled)
    return 'Discovery is off (LLM_EXPORTER_DISCOVERY): only configured targets are read.';
  const when =
    discovery.lastPass === undefined ? 'It has not looked yet.' : `It last looked at ${discovery.lastPass}.`;
  return `Listening sockets of this host whose process runs one of these programs, or that sit on one of these ports. ${when}`;
}

/** `program vllm; port 8000, 8080` */
export function traits(programs: readonly string[], ports: readonly number[]): string {
  const words = [
    ...(programs.length === 0 ? [] : [`program ${programs.join(', ')}`]),
    ...(ports.length === 0 ? [] : [`port ${ports.join(', ')}`]),
  ];
  return words.length === 0 ? 'only where it is configured' : words.join('; ');
}

function targetArticle(target: TargetView): string {
  const { up, state, lastError } = target;
  const condition = up === undefined ? 'not read yet' : up ? `up, ${state ?? ''}` : `down (${state ?? ''})`;
  const facts: readonly (readonly [string, string | undefined])[] = [
    ['Address', target.url],
    ['Engine', `${target.engine}${target.version === undefined ? '' : ` ${target.version}`}`],
    ['Why', `${target.origin}; ${target.why}`],
    ['Since', target.since],
    ['Last success', target.lastSuccess],
    [
      'Last error',
      lastError === undefined ? undefined : `${lastError.at} (${lastError.reason}): ${lastError.message}`,
    ],
    ['Models', target.models.join(', ')],
    [
      'Metrics',
      Object.entries(target.sources)
        .map(([metric, source]) => `${metric} (${source})`)
        .join(', '),
    ],
    ['Missing', target.missing.join(', ')],
    ['Unavailable', target.unavailable.map(({ metric, meaning }) => `${metric}: ${meaning}`).join('; ')],
    ['Oddities', target.issues.map(({ kind, count }) => `${kind} (${count})`).join(', ')],
  ];
  const rows = facts.flatMap(([term, value]) =>
    value === undefined || value === '' ? [] : [`<dt>${term}</dt><dd>${escapeHtml(value)}</dd>`],
  );
  return `<article>
<h3>${escapeHtml(target.server)} <span class="${up === true ? 'up' : up === false ? 'down' : ''}">${escapeHtml(condition)}</span></h3>
<dl>
${rows.join('\n')}
</dl>
</article>`;
}

function list(items: readonly string[]): string {
  if (items.length === 0) return '<p>None.</p>';
  return `<ul>\n${items.map((item) => `<li>${escapeHtml(item)}</li>`).join('\n')}\n</ul>`;
}

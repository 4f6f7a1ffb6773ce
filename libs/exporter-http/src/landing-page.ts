import { escapeHtml } from './escape-html.ts';

/** One line of the landing page. */
export interface PageLink {
  readonly path: string;
  readonly label: string;
  /** What is found there, in a few words. */
  readonly what: string;
}

export interface LandingPage {
  readonly title: string;
  readonly description: string;
  readonly version: string;
  readonly links: readonly PageLink[];
}

/** The page's one style sheet, whose hash its policy allows. */
export const LANDING_STYLE = `
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #ffffff; --quiet: #57606a; --link: #0550ae; --line: #d0d7de; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6edf3; --paper: #0d1117; --quiet: #9aa4af; --link: #79b8ff; --line: #30363d; }
}
body { margin: 0 auto; max-width: 42rem; padding: 2rem 1rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0; }
p { margin: 0.5rem 0 1.5rem; }
ul { list-style: none; margin: 0; padding: 0; }
li { border-top: 1px solid var(--line); padding: 0.75rem 0; }
a { color: var(--link); }
a:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
span, footer { color: var(--quiet); }
footer { margin-top: 1.5rem; font-size: 0.875rem; }
`;

/** What a person who opens the port sees: the name, one sentence, and every address. No script, no outside request. */
export function landingPage({ title, description, version, links }: LandingPage): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(title)}</title>
<style>${LANDING_STYLE}</style>
</head>
<body>
<main>
<h1>${escapeHtml(title)}</h1>
<p>${escapeHtml(description)}</p>
<nav aria-label="Addresses">
<ul>
${links.map(listItem).join('\n')}
</ul>
</nav>
</main>
<footer>Version ${escapeHtml(version)}</footer>
</body>
</html>
`;
}

function listItem({ path, label, what }: PageLink): string {
  return `<li><a href="${escapeHtml(path)}">${escapeHtml(label)}</a> <span>${escapeHtml(what)}</span></li>`;
}

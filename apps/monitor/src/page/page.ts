import type { PagePolicy } from '@llm-monitor/exporter-http';

import type { PageState } from '../describe-page.ts';
import script from './page.client.js';
import style from './page.css';
import html from './page.html';

/** What the page may do: its own style and script, and asking this server. */
export const pagePolicy: PagePolicy = {
  styles: [style],
  scripts: [script],
  connectToSelf: true,
  images: true,
};

/** The page with its first state in it, so that figures are there before anything more is asked. */
export function renderPage(state: PageState): string {
  // Within a script element only `<` could end it early; what comes from a server is data, not markup.
  const json = JSON.stringify(state).replaceAll('<', '\\u003c');
  const parts: Readonly<Record<string, string>> = {
    style: `<style>${style}</style>`,
    state: `<script type="application/json" id="first-state">${json}</script>`,
    script: `<script>${script}</script>`,
  };
  return html.replace(/<!-- (style|state|script) -->/g, (_whole, name: string) => parts[name] ?? '');
}

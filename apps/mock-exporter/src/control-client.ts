/** What a command of the running mock printed, and its exit code. */
export interface ClientResult {
  readonly stdout: string;
  readonly stderr: string;
  readonly exitCode: number;
}

export type ControlCommand =
  | { readonly command: 'incidents' }
  | {
      readonly command: 'start';
      readonly incident: string;
      readonly target: string | undefined;
      readonly forSeconds: number | undefined;
    }
  | { readonly command: 'stop'; readonly incident: string };

interface IncidentsView {
  readonly incidents: readonly { readonly name: string; readonly title: string; readonly target: string }[];
  readonly active: readonly { readonly id: number; readonly incident: string; readonly target: string }[];
}

/** Runs a command against the control API of the mock that listens at `url`. */
export async function runControl(url: string, command: ControlCommand): Promise<ClientResult> {
  try {
    if (command.command === 'incidents')
      return done(listed(await ask<IncidentsView>(`${url}/api/incidents`)));
    if (command.command === 'stop') {
      const path = `${url}/api/incidents/${encodeURIComponent(command.incident)}`;
      const { stopped } = await ask<{ readonly stopped: number }>(path, { method: 'DELETE' });
      return done(`stopped ${command.incident} on ${stopped} target(s)\n`);
    }
    const { incident, target, forSeconds } = command;
    const started = await ask<{ readonly target: string }>(`${url}/api/incidents`, {
      method: 'POST',
      body: JSON.stringify({ incident, target, for_seconds: forSeconds }),
    });
    return done(`${incident} goes on on ${started.target}; stop it with: mock-exporter stop ${incident}\n`);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return { stdout: '', stderr: `${why}\n`, exitCode: 1 };
  }
}

function done(stdout: string): ClientResult {
  return { stdout, stderr: '', exitCode: 0 };
}

function listed({ incidents, active }: IncidentsView): string {
  const widest = Math.max(...incidents.map(({ name }) => name.length));
  const lines = incidents.map(({ name, title, target }) => `${name.padEnd(widest)}  ${title} (${target})`);
  const going = active.map(({ incident, target }) => `${incident} on ${target}`);
  return `${lines.join('\n')}\n\ngoing on: ${going.length === 0 ? 'nothing' : going.join(', ')}\n`;
}

async function ask<Answer>(url: string, init: RequestInit = {}): Promise<Answer> {
  const answer = await fetch(url, { ...init, headers: { accept: 'application/json' } }).catch(() => {
    throw new Error(`no mock-exporter answers at ${url}; is it running, and on this port?`);
  });
  const text = await answer.text();
  if (!answer.ok) throw new Error(errorOf(text));
  return JSON.parse(text) as Answer;
}

function errorOf(text: string): string {
  try {
    const { error } = JSON.parse(text) as { readonly error?: unknown };
    return typeof error === 'string' ? error : text;
  } catch {
    return text;
  }
}

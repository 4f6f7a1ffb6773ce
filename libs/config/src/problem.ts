/** What is wrong with the settings of an app, in words that never contain the value of a secret. */
export interface SettingsProblem {
  readonly kind:
    | 'unknown-name'
    | 'bad-value'
    | 'missing'
    | 'conflict'
    | 'refused'
    | 'unreadable-file'
    | 'bad-file'
    | 'bad-command';
  /** The variable, flag, place in the settings file or command that it is about. */
  readonly where: string;
  /** What is wrong and how to mend it. */
  readonly message: string;
}

/** A problem as one line. */
export function formatProblem(problem: SettingsProblem): string {
  return `${problem.where}: ${problem.message}`;
}

/** Why a file could not be read, from the error of `fs`, in words. */
export function unreadableReason(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown error';
  if (code === 'ENOENT' || code === 'ENOTDIR') return 'there is no such file';
  if (code === 'EACCES' || code === 'EPERM') return 'this user may not read it (check its owner and mode)';
  return code === 'EISDIR' ? 'it is a folder, not a file' : `it cannot be read (${code})`;
}

/** A refused value as it may be shown: short, on one line, without credentials that a URL may hold. */
export function quoteValue(value: unknown): string {
  const json = typeof value === 'bigint' ? String(value) : (JSON.stringify(value) ?? String(value));
  const quoted = json.replace(/^("?).*@/s, '$1***@');
  return quoted.length > 80 ? `${quoted.slice(0, 76)}…` : quoted;
}

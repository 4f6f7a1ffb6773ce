/** Beside the program, so that it finds the mock that made it. */
export const SMI_SOCKET = 'nvidia-smi.sock';

/** What a program printed, and how it ended. */
export interface ProgramAnswer {
  readonly stdout: string;
  readonly stderr: string;
  readonly exitCode: number;
}

/** @throws Error where the text is no answer, as when the mock ended in the midst of it */
export function readAnswer(text: string): ProgramAnswer {
  const answer: unknown = JSON.parse(text);
  if (!isAnswer(answer)) throw new Error('what came is no answer');
  return answer;
}

/** @returns undefined where the line is no list of words */
export function readArguments(line: string): readonly string[] | undefined {
  try {
    const words: unknown = JSON.parse(line);
    const isList = Array.isArray(words) && words.every((word) => typeof word === 'string');
    return isList ? words : undefined;
  } catch {
    return undefined;
  }
}

function isAnswer(value: unknown): value is ProgramAnswer {
  if (typeof value !== 'object' || value === null) return false;
  const { stdout, stderr, exitCode } = value as Partial<Record<keyof ProgramAnswer, unknown>>;
  return typeof stdout === 'string' && typeof stderr === 'string' && typeof exitCode === 'number';
}

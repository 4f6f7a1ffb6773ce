/** One figure as the page shows it and as `/api/state` gives it. */
export interface Figure {
  /** As shown; a dash when it is not known. */
  readonly text: string;
  readonly unit?: string;
  /** Absent when it is not known. */
  readonly value?: number;
  /** The window of a rate: `over 4 s`. */
  readonly over?: string;
  /** Why it is not known, as one phrase. */
  readonly reason?: string;
}

const DASH = '–';
const wholeNumbers = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const compact = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 });
const tenths = new Intl.NumberFormat('en', { maximumFractionDigits: 1 });

/** A figure that is not known, with the reason. */
export function unknownFigure(reason: string): Figure {
  return { text: DASH, reason };
}

export function countFigure(value: number): Figure {
  return { text: wholeNumbers.format(value), value };
}

/** Tokens per second: with a tenth where it matters, and short where there are very many. */
export function rateFigure(tokensPerSecond: number): Figure {
  const format = tokensPerSecond < 9.95 ? tenths : tokensPerSecond < 99_999.5 ? wholeNumbers : compact;
  return { text: format.format(tokensPerSecond), unit: 'tok/s', value: tokensPerSecond };
}

/** Memory in decimal units, as engines and their makers write it. */
export function bytesText(bytes: number): string {
  if (bytes < 1e6) return `${wholeNumbers.format(bytes / 1e3)} kB`;
  return bytes < 1e9 ? `${wholeNumbers.format(bytes / 1e6)} MB` : `${tenths.format(bytes / 1e9)} GB`;
}

/** A share from 0 to 1, as percent. What is not quite nothing and not quite all is not rounded to it. */
export function shareFigure(ratio: number): Figure {
  const percent = ratio * 100;
  const text =
    percent > 0 && percent < 1
      ? '< 1'
      : percent > 99 && percent < 100
        ? '> 99'
        : wholeNumbers.format(percent);
  return { text, unit: '%', value: ratio };
}

/** A latency: milliseconds below a second, three figures at most. `isFloor`: it may be longer, the histogram ends there. */
export function latencyFigure(seconds: number, isFloor = false): Figure {
  const milliseconds = seconds * 1000;
  const [text, unit] =
    seconds >= 9.995
      ? [tenths.format(seconds), 's']
      : milliseconds >= 999.5
        ? [seconds.toFixed(2), 's']
        : [milliseconds < 9.95 ? milliseconds.toFixed(1) : wholeNumbers.format(milliseconds), 'ms'];
  return { text: isFloor ? `> ${text}` : text, unit, value: seconds };
}

/** A span of time in its two largest units: `12 s`, `3 min`, `5 h 10 min`, `2 d 4 h`. */
export function spanText(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 60) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 24 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** How long ago something was: `just now`, `12 s ago`. */
export function agoText(seconds: number): string {
  return seconds < 3 ? 'just now' : `${spanText(seconds)} ago`;
}

/** Memory of a GPU in binary units, as drivers and their tools write it. */
export function gibibytesText(bytes: number): string {
  return bytes < 1023.5 * 1024 ** 2
    ? `${wholeNumbers.format(bytes / 1024 ** 2)} MiB`
    : `${tenths.format(bytes / 1024 ** 3)} GiB`;
}

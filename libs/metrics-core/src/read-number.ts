const PLUS = 43;
const MINUS = 45;
const DOT = 46;
const ZERO = 48;
const LOWER_E = 101;

/** Up to 15 digits are exact in a double, and so is a power of ten up to 22: then one operation rounds correctly. */
const EXACT_DIGITS = 15;
const EXACT_POWERS = Array.from({ length: 23 }, (_, exponent) => Number(`1e${exponent}`));

/**
 * The number that `text` spells between `start` and `end`, as Prometheus reads floats: decimal with an optional
 * exponent, or an infinity. NaN when it is no number, and when it says NaN: `spellsNaN` tells the two apart.
 */
export function readNumber(text: string, start: number, end: number): number {
  let position = start;
  const sign = text.charCodeAt(position);
  if (sign === MINUS || sign === PLUS) position++;
  const integerStart = position;
  let mantissa = 0;
  for (; position < end; position++) {
    const digit = text.charCodeAt(position) - ZERO;
    if (digit < 0 || digit > 9) break;
    mantissa = mantissa * 10 + digit;
  }
  let digits = position - integerStart;
  let exponent = 0;
  if (position < end && text.charCodeAt(position) === DOT) {
    const fractionStart = ++position;
    for (; position < end; position++) {
      const digit = text.charCodeAt(position) - ZERO;
      if (digit < 0 || digit > 9) break;
      mantissa = mantissa * 10 + digit;
    }
    exponent = fractionStart - position;
    digits -= exponent;
  }
  if (position < end && digits > 0 && (text.charCodeAt(position) | 32) === LOWER_E) {
    position++;
    const exponentSign = text.charCodeAt(position);
    if (exponentSign === MINUS || exponentSign === PLUS) position++;
    let written = 0;
    const exponentStart = position;
    for (; position < end; position++) {
      const digit = text.charCodeAt(position) - ZERO;
      if (digit < 0 || digit > 9) break;
      written = written * 10 + digit;
    }
    if (position === exponentStart) return NaN;
    exponent += exponentSign === MINUS ? -written : written;
  }
  if (position !== end || digits === 0) return readWord(text, start, end);
  if (digits > EXACT_DIGITS) return Number(text.slice(start, end));
  const value = scaled(mantissa, exponent);
  if (value === undefined) return Number(text.slice(start, end));
  return sign === MINUS ? -value : value;
}

/** Whether the text says NaN, in any of the spellings seen: `NaN`, `nan`, `Nan`, and C's `-nan`. */
export function spellsNaN(text: string, start: number, end: number): boolean {
  const length = end - start;
  if (length !== 3 && length !== 4) return false;
  const word = text.slice(start, end).toLowerCase();
  return word === 'nan' || word === '-nan' || word === '+nan';
}

function scaled(mantissa: number, exponent: number): number | undefined {
  if (exponent === 0) return mantissa;
  const power = EXACT_POWERS[Math.abs(exponent)];
  if (power === undefined) return undefined;
  return exponent < 0 ? mantissa / power : mantissa * power;
}

function readWord(text: string, start: number, end: number): number {
  const length = end - start;
  if (length < 3 || length > 9) return NaN;
  switch (text.slice(start, end).toLowerCase()) {
    case 'inf':
    case '+inf':
    case 'infinity':
    case '+infinity':
      return Infinity;
    case '-inf':
    case '-infinity':
      return -Infinity;
    default:
      return NaN;
  }
}

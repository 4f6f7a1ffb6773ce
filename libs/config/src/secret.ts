/**
 * A value that must not be printed: a token, a password list, a webhook address with a key in it.
 * Whatever prints things (JSON.stringify, string templates, console, pino) sees `(secret)`;
 * only `reveal()` gives the value, so that each place that uses a secret can be found by that word.
 */
export class Secret<Value> {
  readonly #value: Value;

  constructor(value: Value) {
    this.#value = value;
  }

  /** The value itself, to be compared or sent, never to be logged. */
  reveal(): Value {
    return this.#value;
  }

  toString(): string {
    return '(secret)';
  }

  toJSON(): string {
    return '(secret)';
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return '(secret)';
  }
}

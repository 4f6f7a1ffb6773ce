import { PassThrough, type Readable } from 'node:stream';

/** Pages beyond this many are told to ask instead of listening. */
const MAX_LISTENERS = 16;
/** A page that takes in nothing while this much waits for it is let go; it will come back by itself. */
const MAX_WAITING_BYTES = 1024 * 1024;

/** Server-sent events to every page that is open. */
export class LiveEvents {
  private readonly listeners = new Set<PassThrough>();

  get count(): number {
    return this.listeners.size;
  }

  /** The body of an answer that goes on until the page leaves or all end; undefined when there are enough. */
  listen(first: string, left: AbortSignal): Readable | undefined {
    if (this.listeners.size >= MAX_LISTENERS) return undefined;
    const stream = new PassThrough();
    const leave = (): void => {
      this.listeners.delete(stream);
      stream.end();
    };
    stream.once('close', leave);
    left.addEventListener('abort', leave, { once: true });
    this.listeners.add(stream);
    // How long a page waits before it comes back after a broken connection, in milliseconds.
    stream.write(`retry: 2000\n${eventOf(first)}`);
    return stream;
  }

  /** Ends the stream of every page. */
  endAll(): void {
    for (const stream of this.listeners) stream.end();
    this.listeners.clear();
  }

  /** Tells every page. The data is one line. */
  send(data: string): void {
    for (const stream of this.listeners) {
      if (stream.writableLength + stream.readableLength > MAX_WAITING_BYTES) stream.destroy();
      else stream.write(eventOf(data));
    }
  }
}

function eventOf(data: string): string {
  return `data: ${data}\n\n`;
}

/** Why a target could not be read: a closed set, so that it can be a label. */
export type TargetErrorReason =
  | 'refused'
  | 'unreachable'
  | 'name_not_found'
  | 'tls'
  | 'timeout'
  | 'connection_lost'
  | 'not_http'
  | 'redirected'
  | 'too_large'
  | 'unauthorized'
  | 'not_found'
  | 'http_error'
  | 'not_an_exposition'
  | 'not_json'
  | 'not_recognized'
  | 'disabled';

/** One failed request to a target: which, what happened, and what to do. Holds no header and no key. */
export class TargetError extends Error {
  override readonly name = 'TargetError';
  readonly reason: TargetErrorReason;
  readonly url: string;

  constructor(reason: TargetErrorReason, url: string, what: string, cause?: unknown) {
    super(`${url} ${what}`, cause === undefined ? undefined : { cause });
    this.reason = reason;
    this.url = url;
  }
}

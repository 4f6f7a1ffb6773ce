import { didYouMean, filePath, httpUrl, settingSchema } from '@llm-monitor/config';
import { ENGINE_NAMES, isEngineName, type EngineName } from './registry.ts';

/** One configured target as the settings give it. */
export interface TargetSetting {
  /** Base address without credentials, query and trailing slash. */
  readonly url: string;
  /** Absent: detected. */
  readonly engine?: EngineName;
  /** File that holds the key this target asks for. */
  readonly tokenFile?: string;
}

const KEYS: readonly string[] = ['url', 'engine', 'tokenFile'];

/**
 * A target: `http://host:port`, or with its engine named in front as in `vllm+http://host:port`; in a YAML file also
 * a map of `url`, `engine` and `tokenFile`.
 */
export const targetSetting = settingSchema<TargetSetting>({
  expected: 'an address such as http://host:8000 or, engine first, vllm+http://host:8000',
  example: 'http://127.0.0.1:8000',
  parse: (input, refuse) => {
    if (typeof input === 'string') return fromText(input.trim(), refuse);
    if (typeof input !== 'object' || input === null || Array.isArray(input)) return refuse();
    return fromMap(new Map(Object.entries(input)), refuse);
  },
  format: ({ url, engine }) => (engine === undefined ? url : `${engine}+${url}`),
});

function fromText(text: string, refuse: (detail?: string) => never): TargetSetting {
  const [, engine, address] = /^([A-Za-z][\w.-]*)\+(https?:.*)$/is.exec(text) ?? [];
  if (engine === undefined || address === undefined) return { url: baseUrl(text, refuse) };
  return { url: baseUrl(address, refuse), engine: engineNamed(engine, refuse) };
}

function fromMap(map: ReadonlyMap<string, unknown>, refuse: (detail?: string) => never): TargetSetting {
  const stray = [...map.keys()].find((key) => !KEYS.includes(key));
  if (stray !== undefined) {
    return refuse(
      `it has no key ${JSON.stringify(stray.slice(0, 40))}${didYouMean(stray, KEYS, 'known keys are url, engine and tokenFile')}`,
    );
  }
  const [url, engine, tokenFile] = KEYS.map((key) => map.get(key) ?? undefined);
  if (typeof url !== 'string') return refuse('it has no url');
  if (engine !== undefined && typeof engine !== 'string') return refuse('its engine is not a name');
  const path = tokenFile === undefined ? undefined : filePath.safeParse(tokenFile);
  if (path?.success === false) return refuse('its tokenFile is not the path of a file');
  return {
    url: baseUrl(url.trim(), refuse),
    ...(engine === undefined ? {} : { engine: engineNamed(engine, refuse) }),
    ...(path === undefined ? {} : { tokenFile: path.data }),
  };
}

function baseUrl(text: string, refuse: (detail?: string) => never): string {
  if (/^https?:\/\/[^/]*@/i.test(text)) {
    return refuse(
      'an address holds no user, password or key, since it ends up in labels and logs: give the key as the target token, or as the tokenFile of this target in the settings file',
    );
  }
  const parsed = httpUrl.safeParse(text);
  if (!parsed.success) {
    const said = parsed.error.issues.map(({ message }) => message).join(', ');
    return refuse(said === 'expected an address that starts with http:// or https://' ? undefined : said);
  }
  if (parsed.data.includes('?')) refuse('a base address has no query (?): every path is put behind it');
  return /\/metrics$/.test(parsed.data)
    ? refuse('a base address ends before /metrics, which is put behind it like every path: leave it off')
    : parsed.data;
}

function engineNamed(name: string, refuse: (detail?: string) => never): EngineName {
  if (isEngineName(name)) return name;
  const shown = JSON.stringify(name.slice(0, 40));
  return refuse(
    `there is no engine ${shown}${didYouMean(name, ENGINE_NAMES, `known ones are ${ENGINE_NAMES.join(', ')}`)}`,
  );
}

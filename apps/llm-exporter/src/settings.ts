import {
  boolean,
  byteSize,
  defineSettings,
  durationBetween,
  headerKey,
  httpSettings,
  integerBetween,
  list,
  nameValueList,
  oneOf,
  type SettingsOf,
} from '@llm-monitor/config';
import { ENGINE_NAMES, targetSetting, type EngineName } from '@llm-monitor/engines';

import { allowPattern } from './probe-allow.ts';

const [firstEngine, ...otherEngines] = ENGINE_NAMES as [EngineName, ...EngineName[]]; // the table is never empty

/** Every setting of the llm-exporter, once. */
export const settings = defineSettings(
  'llm-exporter',
  {
    LLM_EXPORTER_TARGETS: {
      schema: nameValueList(targetSetting).default([]),
      help: 'LLM servers to read, each under the name that its series get as their server label; in a YAML file also as a map of url, engine and tokenFile.',
      example: 'chat=http://127.0.0.1:8000,big=vllm+http://gpu-1:8000',
      group: 'Targets',
    },
    LLM_EXPORTER_TARGET_TOKEN: {
      schema: headerKey.optional(),
      help: 'Key that is sent to every configured target without a tokenFile of its own.',
      secret: true,
      group: 'Targets',
    },
    LLM_EXPORTER_DISCOVERY: {
      schema: boolean.default(true),
      help: 'Look for LLM servers among the listening sockets of this host.',
      group: 'Targets',
    },
    LLM_EXPORTER_DISCOVERY_INTERVAL: {
      schema: durationBetween(1, 3600).default(10),
      help: 'Time between two looks.',
      group: 'Targets',
    },
    LLM_EXPORTER_DISCOVERED_TOKEN: {
      schema: headerKey.optional(),
      help: 'Key that is sent to whatever is discovered on this host; give it only where you trust every local user.',
      secret: true,
      group: 'Targets',
    },
    LLM_EXPORTER_FORGET_AFTER: {
      schema: durationBetween(0, 2_592_000).default(3600),
      help: 'How long a discovered server that is gone is still reported as down.',
      group: 'Targets',
    },
    LLM_EXPORTER_PROBE_ALLOW: {
      schema: list(allowPattern).default([]),
      help: 'Addresses that /probe may read beside the configured and discovered targets; no key is sent to them.',
      group: 'Targets',
    },
    LLM_EXPORTER_SCRAPE_TIMEOUT: {
      schema: durationBetween(0.1, 300).default(8),
      help: 'Longest time to read a target where the scraper does not say its own timeout; also for detecting one.',
      group: 'Limits',
    },
    LLM_EXPORTER_MAX_CONCURRENT_TARGETS: {
      schema: integerBetween(1, 1000).default(64),
      help: 'Targets that are read at the same time.',
      group: 'Limits',
    },
    LLM_EXPORTER_MAX_SERIES_PER_TARGET: {
      schema: integerBetween(1, 1_000_000).default(10_000),
      help: 'Series that one target may have; families beyond that are dropped and counted.',
      group: 'Limits',
    },
    LLM_EXPORTER_MAX_BODY: {
      schema: byteSize
        .refine((bytes) => bytes >= 1024, 'expected at least 1KiB, or no answer would fit')
        .default(16 * 1024 ** 2),
      help: 'Largest answer that is read of a target.',
      group: 'Limits',
    },
  },
  {
    description:
      'reads the LLM servers of this host, and those you name, and gives their figures in one schema',
    include: httpSettings({ port: 9502 }),
    refine: [
      ({ targets }, names) => {
        const twins = targets.filter(
          ({ value }, index) => targets.findIndex((other) => other.value.url === value.url) !== index,
        );
        if (twins.length === 0) return undefined;
        const addresses = [...new Set(twins.map(({ value }) => value.url))].join(', ');
        return `${names.targets} has one address under several names (${addresses}), which would count it twice; keep one`;
      },
      ({ scrapeTimeout, requestTimeout }, names) =>
        scrapeTimeout < requestTimeout
          ? undefined
          : `${names.scrapeTimeout} (${scrapeTimeout} s) is not below ${names.requestTimeout} (${requestTimeout} s), so a hung target would cost the whole answer; raise ${names.requestTimeout} or lower ${names.scrapeTimeout}`,
      ({ targets, discovery, probeAllow }, names) =>
        targets.length === 0 && !discovery && probeAllow.length === 0
          ? `${names.discovery} is off and ${names.targets} is empty, so there is nothing to read; name a target or switch discovery on`
          : undefined,
    ],
    commands: {
      read: {
        arguments: ['FILE'],
        help: 'Normalize a saved exposition, JSON answer or transcript (- for standard input) to standard output.',
        flags: {
          engine: {
            schema: oneOf(firstEngine, ...otherEngines).optional(),
            help: 'The engine it is from, where it is not recognized.',
            example: firstEngine,
          },
        },
      },
      check: {
        arguments: [],
        help: 'Look for LLM servers once, read each target once, and say what was found, what is missing and how to mend it.',
      },
    },
  },
);

export type Settings = SettingsOf<typeof settings>;

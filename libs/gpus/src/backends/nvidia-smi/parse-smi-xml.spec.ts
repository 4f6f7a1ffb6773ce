import * as fc from 'fast-check';

import { gpuMetrics, RANGES } from '../../gpu-metrics.ts';
import { BackendError } from '../../reading.ts';
import { normalizeSmi } from './normalize-smi.ts';
import { MAX_OUTPUT_BYTES, parseSmiXml } from './parse-smi-xml.ts';
import { fixtureText, hostMemory, readSmi } from './test-smi-lines.ts';

const small = '<nvidia_smi_log><driver_version>1</driver_version></nvidia_smi_log>';

/** What parsing of that text fails with. */
function failure(text: string): BackendError | undefined {
  try {
    parseSmiXml(text);
  } catch (error) {
    if (error instanceof BackendError) return error;
    throw error;
  }
  return undefined;
}

describe('parseSmiXml', () => {
  it.each([
    ['as it is', small],
    ['with prolog and DOCTYPE', `<?xml version="1.0" ?>\n<!DOCTYPE nvidia_smi_log SYSTEM "x.dtd">\n${small}`],
    ['after warnings', `WARNING: <odd> infoROM & more\n${small}`],
    ['before warnings', `${small}\nWARNING: infoROM is corrupted at gpu 0000:3B:00.0\n`],
    ['with a DOCTYPE that defines entities', `<!DOCTYPE x [<!ENTITY a "b">]>${small}`],
  ])('reads the XML %s', (_how, text) => {
    expect(parseSmiXml(text)).toEqual({ driver_version: '1' });
  });

  it('gives one GPU as an element and two as a list, as node-nvidia-smi does', () => {
    const one = parseSmiXml('<nvidia_smi_log><gpu id="a"><uuid>1</uuid></gpu></nvidia_smi_log>');
    expect(one['gpu']).toEqual({ $: { id: 'a' }, uuid: '1' });
    const two = parseSmiXml('<nvidia_smi_log><gpu id="a"/><gpu id="b"/></nvidia_smi_log>');
    expect(two['gpu']).toEqual([{ $: { id: 'a' } }, { $: { id: 'b' } }]);
  });

  it.each([
    ['nothing', '', 'has no <nvidia_smi_log>; it begins with ""'],
    ['a sentence', 'No devices were found\n', 'it begins with "No devices were found"'],
    ['another XML', '<html></html>', 'it begins with "<html></html>"'],
    ['an output without content', '<nvidia_smi_log></nvidia_smi_log>', 'has nothing in its'],
    [
      'an output that is cut off',
      small.slice(0, 40),
      'is cut off after 40 characters: Unclosed root tag, Line: 0',
    ],
    ['an output with a broken tag', small.replace('<driver', '<<driver'), 'is no XML: Unencoded <'],
  ])('refuses %s and says where', (_what, text, message) => {
    expect(failure(text)?.reason).toBe('unreadable_output');
    expect(failure(text)?.message).toContain(message);
  });

  it('reads an output of 1.5 MB, and refuses one over 16 MiB', () => {
    const gpu = fixtureText('r580.xml').replace(/^[\s\S]*?(?=\t<gpu )|\s*<\/nvidia_smi_log>\s*$/g, '');
    const times = Math.ceil(1.5e6 / gpu.length);
    expect(times).toBeLessThan(1000);
    const large = `<nvidia_smi_log>${gpu.repeat(times)}</nvidia_smi_log>`;
    expect(parseSmiXml(large)['gpu']).toHaveLength(times);
    expect(failure(small + ' '.repeat(MAX_OUTPUT_BYTES))?.message).toContain('is over 16777216 characters');
  });

  it('throws nothing but its own error, whatever the text', () => {
    const tags = fc.constantFrom(
      '<gpu>',
      '</gpu>',
      '<a b="c">',
      '<![CDATA[',
      '&x;',
      '<?',
      '<!--',
      '\0',
      'N/A',
      '__proto__',
    );
    const texts = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc
        .array(fc.oneof(tags, fc.string()))
        .map((parts) => `<nvidia_smi_log>${parts.join('')}</nvidia_smi_log>`),
      fc.nat(fixtureText('r580.xml').length).map((length) => fixtureText('r580.xml').slice(0, length)),
    );
    fc.assert(
      fc.property(texts, (text) => {
        try {
          normalizeSmi(parseSmiXml(text), { meminfo: () => undefined });
        } catch (error) {
          expect(error).toBeInstanceOf(BackendError);
        }
      }),
      { seed: 7, numRuns: 500 },
    );
  });
});

describe('what the leaves may say', () => {
  const tokens = fc.oneof(
    fc.constantFrom(
      'N/A',
      '[Unknown Error]',
      'ERR!',
      'GPU is lost',
      '4294967295 %',
      '655 %',
      '9223372036854775794',
      '140737488355328 W',
      '-1 C',
      '1e999 W',
      '255 C',
      'P32',
      '99999 MHz',
      '0xFFFFFFFFFFFFFFFF',
      'Infinity W',
      'NaN',
      '18446744073709551615 MiB',
    ),
    fc.string(),
    fc
      .tuple(fc.double(), fc.constantFrom('W', '%', 'MiB', 'C', 'MHz', 'us', 'KB/s', ''))
      .map((parts) => parts.join(' ')),
  );

  it('never becomes a figure that cannot be', () => {
    const escaped = (text: string): string => text.replace(/[<>&]|\p{Cc}/gu, '');
    const fixtures = ['r352', 'r470', 'r535-mig', 'r580', 'gb10'].map((name) => fixtureText(`${name}.xml`));
    fc.assert(
      fc.property(fc.constantFrom(...fixtures), fc.infiniteStream(tokens), (xml, stream) => {
        const changed = xml.replace(/>[^<>\n]+<\//g, () => {
          const token = stream.next();
          return `>${token.done === true ? '' : escaped(token.value)}</`;
        });
        for (const { points } of readSmi(changed).gpus) {
          for (const { metric, value } of points) {
            const [lowest, highest] = RANGES[gpuMetrics[metric].range];
            expect(value >= lowest && value <= highest).toBe(true);
          }
        }
      }),
      { seed: 7, numRuns: 300 },
    );
  });

  it.each([
    [
      'an error on a health field is told',
      'ecc_mode/current_ecc',
      '[Unknown Error]',
      ['ecc_mode/current_ecc'],
    ],
    [
      'an error on the retired pages is told',
      'retired_pages/pending_retirement',
      'ERR!',
      ['retired_pages/pending_retirement'],
    ],
    [
      'an error on the recovery action is told',
      'gpu_recovery_action',
      'Unknown Error',
      ['gpu_recovery_action'],
    ],
    ['a new recovery action is told', 'gpu_recovery_action', 'Phone Home', ['gpu_recovery_action']],
    ['an error elsewhere is no value', 'fan_speed', '[Unknown Error]', []],
    ['a new unit is told', 'fan_speed', '1200 RPM', ['fan_speed']],
    ['a sentinel is told', 'utilization/gpu_util', '4294967295 %', ['utilization/gpu_util']],
    ['a block that is a number is told', 'temperature', '37 C', ['temperature']],
    ['a block that is absent is not', 'remapped_rows', 'N/A', []],
  ])('%s', (_what, path, text, fields) => {
    const names = path.split('/');
    const open = names.map((name) => `<${name}>`).join('');
    const close = [...names]
      .reverse()
      .map((name) => `</${name}>`)
      .join('');
    const core = path.startsWith('utilization') ? '' : '<utilization><gpu_util>5 %</gpu_util></utilization>';
    const xml = `<nvidia_smi_log><gpu>${core}${open}${text}${close}</gpu></nvidia_smi_log>`;
    const { unparsed, gpus } = normalizeSmi(parseSmiXml(xml), { meminfo: () => hostMemory });
    expect(unparsed).toEqual(
      fields.map((field) => ({ field, value: path.startsWith('util') ? '42949672.95' : text })),
    );
    expect(gpus[0]?.points.map(({ metric }) => metric)).toEqual(core === '' ? [] : ['gpu_utilization_ratio']);
  });
});

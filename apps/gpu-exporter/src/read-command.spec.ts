import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Readable } from 'node:stream';

import {
  captureFiles,
  capturesDirectory,
  capturesReason,
  promtoolPath,
  promtoolReason,
  runPromtoolCheck,
} from '@llm-monitor/testing';

import { readFileCommand } from './read-command.ts';

const SMI_XML = `<?xml version="1.0" ?>
<!DOCTYPE nvidia_smi_log SYSTEM "nvsmi_device_v12.dtd">
<nvidia_smi_log>
  <driver_version>570.86.15</driver_version>
  <attached_gpus>1</attached_gpus>
  <gpu id="00000000:01:00.0">
    <product_name>NVIDIA GeForce RTX 4090</product_name>
    <uuid>GPU-00000000-1111-2222-3333-444444444444</uuid>
    <pci><pci_bus_id>00000000:01:00.0</pci_bus_id></pci>
    <fb_memory_usage><total>24564 MiB</total><reserved>N/A</reserved><used>1024 MiB</used><free>23540 MiB</free></fb_memory_usage>
    <utilization><gpu_util>12 %</gpu_util><memory_util>655 %</memory_util></utilization>
    <temperature><gpu_temp>41 C</gpu_temp></temperature>
  </gpu>
</nvidia_smi_log>
`;
const ROCM_JSON = `WARNING: AMD GPU device(s) is/are in a low-power state. Check power control/runtime_status
{"card0": {"Unique ID": "0x1234567890abcdef", "Temperature (Sensor edge) (C)": "31.0", "GPU use (%)": "7"}}
`;

const nothing = (): Readable => Readable.from([]);

describe('read', () => {
  let folder: string;
  beforeAll(() => (folder = mkdtempSync(path.join(tmpdir(), 'gpu-exporter-read-'))));
  afterAll(() => rmSync(folder, { recursive: true }));

  const saved = (name: string, content: string | Buffer): string => {
    const file = path.join(folder, name);
    writeFileSync(file, content);
    return file;
  };

  it('turns the XML of nvidia-smi into metrics, and tells what made no sense', async () => {
    const file = saved('smi.xml', SMI_XML);
    const { stdout, stderr, exitCode } = await readFileCommand(file, nothing());
    expect(exitCode).toBe(0);
    expect(stdout).toContain(
      'gpu_memory_used_bytes{gpu="0",uuid="GPU-00000000-1111-2222-3333-444444444444"} 1073741824\n',
    );
    expect(stdout).not.toContain('gpu_memory_utilization_ratio');
    expect(stderr).toContain(`${file} is read as nvidia-smi -q -x: 1 GPU, driver 570.86.15\n`);
    expect(stderr).toMatch(/not understood: \S*memory_util "/);
  });

  it('takes standard input for -, and passes over what stands around the XML', async () => {
    const transcript = `$ nvidia-smi\n| NVIDIA-SMI 570 |\n$ nvidia-smi -q -x\n${SMI_XML}$ exit\n`;
    const { stdout, stderr } = await readFileCommand('-', Readable.from([transcript]));
    expect(stderr).toContain('standard input is read as nvidia-smi -q -x: 1 GPU');
    expect(stdout).toContain('gpu_utilization_ratio{gpu="0"');
  });

  it('turns the JSON of rocm-smi into metrics, behind its warnings', async () => {
    const { stdout, stderr, exitCode } = await readFileCommand(saved('rocm.json', ROCM_JSON), nothing());
    expect([exitCode, stderr]).toEqual([0, expect.stringContaining('rocm-smi')]);
    expect(stdout).toMatch(/gpu_utilization_ratio\{gpu="0",uuid="[^"]+"\} 0\.07\n/);
  });

  it('turns a folder copied from sysfs into metrics', async () => {
    const device = path.join(folder, 'drm/card0/device');
    mkdirSync(device, { recursive: true });
    for (const [name, text] of [
      ['uevent', 'DRIVER=amdgpu\nPCI_SLOT_NAME=0000:03:00.0\n'],
      ['vendor', '0x1002\n'],
      ['gpu_busy_percent', '42\n'],
    ] as const) {
      writeFileSync(path.join(device, name), text);
    }
    const { stdout, stderr, exitCode } = await readFileCommand(path.join(folder, 'drm'), nothing());
    expect([exitCode, stderr]).toEqual([
      0,
      expect.stringContaining('is read as a sysfs tree of amdgpu: 1 GPU'),
    ]);
    expect(stdout).toMatch(/gpu_utilization_ratio\{gpu="0",uuid="0000:03:00.0"\} 0\.42\n/);
  });

  it.each([
    ['a web page', '<html>Welcome to nginx!</html>', 'is not recognized'],
    ['JSON of something else', '{"name": "a"}', 'is not recognized'],
    ['nothing', '', 'is empty'],
    ['binary noise', Buffer.from([0xff, 0x00, 0x80, 0x0a]), 'is not UTF-8'],
    [
      'the table of nvidia-smi',
      '| NVIDIA-SMI 570.86.15   Driver Version: 570.86.15 |\n',
      'save nvidia-smi -q -x',
    ],
    [
      'nvidia-smi -q without -x',
      '==============NVSMI LOG==============\nTimestamp : now\n',
      'save nvidia-smi -q -x',
    ],
    [
      'a transcript of queries',
      '$ nvidia-smi --query-gpu=uuid --format=csv\nGPU-1\n',
      'save nvidia-smi -q -x',
    ],
    ['the table of rocm-smi', '=== ROCm System Management Interface ===\n', 'add --json'],
  ])('says of %s what it wants instead', async (name, content, words) => {
    const { stdout, stderr, exitCode } = await readFileCommand(saved(`${name}.txt`, content), nothing());
    expect([stdout, exitCode]).toEqual(['', 1]);
    expect(stderr).toContain(words);
    expect(stderr).toContain('(not_recognized); accepted are the output of nvidia-smi -q -x');
  });

  it('says of XML that is cut off where it is', async () => {
    const { stderr, exitCode } = await readFileCommand(saved('cut.xml', SMI_XML.slice(0, 400)), nothing());
    expect(exitCode).toBe(1);
    expect(stderr).toContain('is cut off after 400 characters');
    expect(stderr).toContain('(unreadable_output)');
  });

  it('refuses what is larger than any such output', async () => {
    const megabyte = Buffer.alloc(1024 ** 2, ' ');
    const stream = Readable.from(Array.from({ length: 17 }, () => megabyte));
    expect(await readFileCommand('-', stream)).toEqual({
      stdout: '',
      stderr: expect.stringContaining('larger than 16 MiB') as string,
      exitCode: 1,
    });
  });

  it.each([
    ['a file that is not there', 'gone.xml', 'does not exist: is the path right?'],
    ['a folder without a card', 'empty', 'no card of the amdgpu driver'],
  ])('says of %s what to do', async (_title, name, words) => {
    mkdirSync(path.join(folder, 'empty'), { recursive: true });
    const { stderr, exitCode } = await readFileCommand(path.join(folder, name), nothing());
    expect(exitCode).toBe(1);
    expect(stderr).toContain(words);
  });
});

const captures = capturesDirectory() ?? '';
const withCaptures = captures === '' ? describe.skip : describe;
withCaptures(captures === '' ? `captures (${capturesReason})` : 'captures', () => {
  const nvidia = captureFiles('nvidia-smi');
  const amd = captureFiles('amd');
  const read = (...names: string[]) => readFileCommand(path.join(captures, ...names), nothing());

  const xmlFiles = nvidia.filter((file) => file.endsWith('.xml'));

  it('are all read where nvidia-smi printed XML', async () => {
    expect(xmlFiles.length).toBeGreaterThan(30);
    for (const file of xmlFiles) {
      const { stdout, stderr, exitCode } = await read('nvidia-smi', file);
      expect([file, exitCode, stderr.split('\n')[0]]).toEqual([
        file,
        0,
        expect.stringMatching(/is read as nvidia-smi -q -x: \d+ GPUs?, driver \d/),
      ]);
      expect(stdout).toContain('gpu_up{');
    }
  }, 60_000);

  (promtoolPath() === undefined ? it.skip : it)(
    `are metrics that promtool accepts${promtoolPath() === undefined ? ` (${promtoolReason})` : ''}`,
    async () => {
      for (const file of xmlFiles) {
        const { stdout } = await read('nvidia-smi', file);
        expect([file, runPromtoolCheck(stdout)]).toEqual([file, { ok: true, output: '' }]);
      }
    },
    60_000,
  );

  it('are all read where rocm-smi printed JSON', async () => {
    const files = amd.filter((file) => file.endsWith('.json'));
    expect(files.length).toBeGreaterThan(3);
    for (const file of files) {
      const { stdout, exitCode } = await read('amd', file);
      expect([file, exitCode, stdout]).toEqual([file, 0, expect.stringContaining('gpu_up{')]);
    }
  });

  it('are all read where they are a tree of sysfs', async () => {
    const trees = [...new Set(amd.flatMap((file) => /^sysfs\/[^/]+/.exec(file)?.[0] ?? []))];
    expect(trees.length).toBeGreaterThan(8);
    for (const tree of trees) {
      const { stdout, stderr, exitCode } = await read('amd', tree);
      expect([tree, exitCode, stdout]).toEqual([tree, 0, expect.stringContaining('gpu_up{')]);
      expect(stderr).toContain('is read as a sysfs tree of amdgpu: 1 GPU');
    }
  });

  it('are each read, or refused with a reason, whatever they are', async () => {
    const files = ['nvidia-smi', 'amd'].flatMap((kind) =>
      captureFiles(kind).map((file) => path.join(kind, file)),
    );
    expect(files.length).toBeGreaterThan(500);
    for (const file of files) {
      const { stdout, stderr, exitCode } = await read(file);
      const outcome = exitCode === 0 ? / is read as / : / \((?:not_recognized|unreadable_output|no_gpus)\)/;
      expect([file, stdout === '', stderr]).toEqual([
        file,
        exitCode === 1,
        expect.stringMatching(outcome) as string,
      ]);
    }
  });

  it('are refused, with what to save instead, where they are text for people', async () => {
    const files = nvidia.filter((file) => file.endsWith('.txt'));
    expect(files.length).toBeGreaterThan(3);
    for (const file of files) {
      const { stdout, stderr, exitCode } = await read('nvidia-smi', file);
      expect([file, exitCode, stdout]).toEqual([file, 1, '']);
      expect(stderr).toContain('save nvidia-smi -q -x');
    }
  });
});

import { readFileSync } from 'node:fs';
import path from 'node:path';

const read = (name: string): string => readFileSync(path.join(__dirname, '..', name), 'utf8');
const instructions = read('Dockerfile')
  .replace(/\\\n/g, ' ')
  .split('\n')
  .filter((line) => line !== '' && !line.startsWith('#'));

describe('the image', () => {
  it('is given exactly what it copies', () => {
    const copied = instructions
      .filter((line) => line.startsWith('COPY ') && !line.includes('--from='))
      .flatMap((line) => line.split(/\s+/).slice(1, -1));
    const [everything, ...allowed] = read('.dockerignore')
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'));
    expect(everything).toBe('*');
    expect(allowed.map((line) => line.replace('!', '')).sort()).toEqual([...copied].sort());
  });

  it('needs no syntax image, is no Alpine, runs as node, and starts without a shell', () => {
    expect(read('Dockerfile')).not.toMatch(/^#\s*syntax=|alpine/im);
    expect(instructions).toContain('USER node');
    expect(instructions).toContain('ENTRYPOINT ["node", "main.cjs"]');
    const user = instructions.indexOf('USER node');
    expect(instructions.slice(user).filter((line) => /^(RUN|COPY|USER (?!node))/.test(line))).toEqual([]);
  });

  it('asks the NVIDIA runtime for every GPU and no more than the library that reads them', () => {
    const environment = instructions.find((line) => line.startsWith('ENV '));
    expect(environment).toMatch(/NVIDIA_VISIBLE_DEVICES=all\b/);
    expect(environment).toMatch(/NVIDIA_DRIVER_CAPABILITIES=utility\b/);
    // It is run on the network of the host.
    expect(environment).not.toContain('MONITOR_HOST');
  });
});

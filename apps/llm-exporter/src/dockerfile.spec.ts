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
      .filter((line) => line.startsWith('COPY '))
      .flatMap((line) => line.split(/\s+/).slice(1, -1));
    const [everything, ...allowed] = read('.dockerignore')
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'));
    expect(everything).toBe('*');
    expect(allowed.map((line) => line.replace('!', '')).sort()).toEqual([...copied].sort());
  });

  it('needs no syntax image, is no Alpine, runs as node, and starts without a shell', () => {
    expect(read('Dockerfile')).not.toMatch(/^#\s*syntax=|alpine/im);
    expect(instructions).toContain('ENTRYPOINT ["node", "main.cjs"]');
    const user = instructions.indexOf('USER node');
    expect(user).toBeGreaterThan(0);
    expect(instructions.slice(user).filter((line) => /^(RUN|COPY|USER (?!node))/.test(line))).toEqual([]);
  });

  it('listens where other containers reach it', () => {
    expect(instructions.find((line) => line.startsWith('ENV '))).toMatch(/LLM_EXPORTER_HOST=0\.0\.0\.0\b/);
  });
});

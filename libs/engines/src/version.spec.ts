import { compareVersions, versionIsIn } from './version.ts';

it.each([
  ['0.9.2', '0.11.0', 'older'],
  ['0.11.0', '0.9.2', 'newer'],
  ['0.11', '0.11.0', 'equal'],
  ['v1.2', '1.2.0', 'equal'],
  ['0.11.1rc2', '0.11.1', 'equal'],
  ['0.11.1.dev31+g1a2b3c4', '0.11.1', 'equal'],
  ['b11669-Debian', '0.11', undefined],
  ['0.11', 'main', undefined],
  ['', '1', undefined],
] as const)('%s against %s is %s', (one, other, expected) => {
  const difference = compareVersions(one, other);
  const word =
    difference === undefined ? undefined : difference < 0 ? 'older' : difference > 0 ? 'newer' : 'equal';
  expect(word).toBe(expected);
});

it.each([
  ['0.9.2', { since: '0.9.2' }, true],
  ['0.9.1', { since: '0.9.2' }, false],
  ['0.11.9', { until: '0.12' }, true],
  ['0.12.0', { until: '0.12' }, false],
  ['0.10.0', { since: '0.9', until: '0.12' }, true],
  ['0.13.0', { since: '0.9', until: '0.12' }, false],
  [undefined, {}, true],
  ['b11669', {}, true],
  [undefined, { since: '0.9' }, undefined],
  ['b11669', { since: '0.9' }, undefined],
  ['b11669', { until: '0.9' }, undefined],
] as const)('%s within %j: %s', (version, range, expected) => {
  expect(versionIsIn(version, range)).toBe(expected);
});

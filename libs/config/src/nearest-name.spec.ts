import { didYouMean, nearestName } from './nearest-name.ts';

const NAMES = ['--port', '--host', '--tls-cert-file', '--log-level'];

describe('nearestName', () => {
  it.each([
    ['--prot', '--port'], // swapped
    ['--por', '--port'], // left out
    ['--hosst', '--host'], // doubled
    ['-port', '--port'], // dashes do not count
    ['--tlsCertFile', '--tls-cert-file'],
    ['--loglevel', '--log-level'],
    ['--tls-certificate-file', undefined],
    ['--x', undefined],
    ['--', undefined],
    ['', undefined],
  ])('takes %j for %j', (typed, expected) => {
    expect(nearestName(typed, NAMES)).toBe(expected);
  });

  it('asks about a near name and says what else to do about a strange one', () => {
    expect(didYouMean('prot', ['port'], 'see --help')).toBe('; did you mean port?');
    expect(didYouMean('banana', ['port'], 'see --help')).toBe('; see --help');
  });
});

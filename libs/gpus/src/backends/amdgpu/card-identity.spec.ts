import { cardUuids, normalizeUniqueId } from './card-identity.ts';
import { cardName } from './card-names.ts';

it.each([
  ['946d7e1ef9b172dd', '946d7e1ef9b172dd'],
  ['0x2f048617326b1ea', '02f048617326b1ea'],
  ['946D7E1EF9B172DD\n', '946d7e1ef9b172dd'],
  ['0000000000000000', undefined], // in a virtual machine
  ['0x0', undefined],
  ['N/A', undefined],
  ['', undefined],
  [undefined, undefined],
  ['946d7e1ef9b172dd0', undefined],
])('takes the unique_id %s for %s', (text, expected) => {
  expect(normalizeUniqueId(text)).toBe(expected);
});

it.each([
  ['one id each', ['946d7e1ef9b172dd', '946d7e1ef9b172de'], ['946d7e1ef9b172dd', '946d7e1ef9b172de']],
  [
    'one id for the parts of one GPU',
    ['946d7e1ef9b172dd', '946d7e1ef9b172dd'],
    ['946d7e1ef9b172dd-0000:01:00.0', '946d7e1ef9b172dd-0000:01:00.1'],
  ],
  ['zeros', ['0000000000000000', '0000000000000000'], ['0000:01:00.0', '0000:01:00.1']],
  ['no id', [undefined, '946d7e1ef9b172dd'], ['0000:01:00.0', '946d7e1ef9b172dd']],
])('names cards with %s', (_, uniqueIds, expected) => {
  const cards = uniqueIds.map((uniqueId, at) => ({ pciBusId: `0000:01:00.${at}`, uniqueId }));
  expect([...cardUuids(cards).values()]).toEqual(expected);
});

it.each([
  ['0x744c', '0xc8', 'AMD Radeon RX 7900 XTX'],
  ['744C', 'CC', 'AMD Radeon RX 7900 XT'],
  ['0x74a1', '0x00', 'AMD Instinct MI300X'],
  ['0x744c', '0x01', 'AMD [1002:744c]'],
  ['0x744c', undefined, 'AMD [1002:744c]'],
  [undefined, '0xc8', undefined],
])('calls the card %s, revision %s: %s', (deviceId, revision, expected) => {
  expect(cardName(deviceId, revision)).toBe(expected);
});

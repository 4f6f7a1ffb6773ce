import { tellsEvents } from './tells-events.ts';

describe('tellsEvents', () => {
  it.each([
    ['nothing is unsupported', [], true],
    ['a GPU has no clock events', ['nvmlDeviceGetCurrentClocksEventReasons'], true],
    ['there is no event set', ['nvmlEventSetCreate'], false],
    ['no GPU may be registered', ['nvmlDeviceRegisterEvents'], false],
    ['events are not supported', ['nvmlDeviceGetSupportedEventTypes'], false],
  ])('where %s', (_what, fields, expected) => {
    expect(tellsEvents(fields.map((field) => ({ field, why: 'not_supported' })))).toBe(expected);
  });
});

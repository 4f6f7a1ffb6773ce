import { hostOf, type FakeHost } from '@llm-monitor/fake-nvml';

import type { GpuTouches, PciGpu } from '../../reading.ts';
import { createNvmlBackend } from './nvml-backend.ts';
import { driverTests, read, shortH100 } from './test-nvml.ts';

/** Of another container. */
const ELSEWHERE: PciGpu = { pciBusId: '0000:01:00.0', vendor: 'nvidia', suspended: false };

const withDriver = driverTests({ describe, it, afterAll });

withDriver('GPUs that are touched', (driver) => {
  const boards = [shortH100(0), shortH100(1), shortH100(2)];
  const host: FakeHost = hostOf(boards);
  const addresses = boards.map(({ pciBusId }) => pciBusId.slice(4).toLowerCase());
  const bus = addresses.map((pciBusId): PciGpu => ({ pciBusId, vendor: 'nvidia', suspended: false }));
  const [first = '', second = '', third = ''] = addresses;

  const start = (leftOut: readonly string[] | undefined) => {
    driver.host(host);
    // The library is made to read this host by the backend of the test.
    driver.backend();
    const touched: (string | undefined)[] = [];
    const touches: GpuTouches = {
      touching: (pciBusId) => {
        if (touched.at(-1) !== pciBusId) touched.push(pciBusId);
      },
      isLeftOut: (pciBusId) => leftOut?.includes(pciBusId) === true,
      afterHang: leftOut !== undefined,
    };
    const backend = createNvmlBackend({
      libraryPath: driver.library,
      procRoot: driver.procRoot,
      touches,
      now: () => driver.clock.seconds,
    });
    driver.calls();
    return { backend, touched };
  };

  it('are told one after the other, in readings and in samples, and none afterwards', async () => {
    const { backend, touched } = start(undefined);
    await read(backend, bus);
    expect(touched).toEqual([...addresses, ...addresses, undefined]);
    driver.clock.seconds += 2;
    touched.length = 0;
    backend.sample?.();
    expect(touched).toEqual([...addresses, undefined]);
    backend.close();
  });

  it.each<[string, PciGpu[]]>([
    ['there is no bus', []],
    ['the bus has more than the driver', [ELSEWHERE, ...bus]],
  ])('are not told by their place where %s, but once they are known', async (_what, known) => {
    const { backend, touched } = start(undefined);
    await read(backend, known);
    expect(touched[0]).not.toBe(ELSEWHERE.pciBusId);
    expect(touched).toEqual(expect.arrayContaining(addresses));
    touched.length = 0;
    await read(backend, known);
    expect(touched).toEqual([...addresses, ...addresses, undefined]);
    backend.close();
  });

  it('are asked for by their address after a hang, also where the bus has more than the driver', async () => {
    const { backend, touched } = start([]);
    const { gpus } = await read(backend, [ELSEWHERE, ...bus]);
    expect(touched).toEqual([ELSEWHERE.pciBusId, ...addresses, ...addresses, undefined]);
    expect(gpus.map(({ condition }) => condition)).toEqual(['up', 'up', 'up']);
    backend.close();
  });

  it('get not one call when they are left out, and are hung', async () => {
    const { backend, touched } = start([second]);
    const { gpus } = await read(backend, bus);
    expect(gpus.map(({ gpu, condition }) => `${gpu} ${condition}`)).toEqual(['0 up', '1 hung', '2 up']);
    expect(gpus[1]).toMatchObject({ uuid: second, points: [] });
    driver.clock.seconds += 2;
    backend.sample?.();
    backend.events?.();
    expect(touched).not.toContain(second);
    expect(driver.calls().filter((call) => call.endsWith(boards[1]?.uuid ?? ''))).toEqual([]);
    backend.close();
  });

  it('are asked all the same when all of them would be left out', async () => {
    const { backend } = start([first, second, third]);
    const { gpus } = await read(backend, bus);
    expect(gpus.map(({ condition }) => condition)).toEqual(['up', 'up', 'up']);
    backend.close();
  });
});

import { xidCatalogue } from '@llm-monitor/gpus';

import { GENERATED, table } from './markdown.ts';

/** docs/xids.md: what each error of the NVIDIA driver means, and what to do. */
export function xidsPage(): string {
  return [
    GENERATED,
    '# XIDs: errors of the NVIDIA driver',
    'The driver tells of each error with a number, the XID, as an event of NVML and in the kernel log (`sudo dmesg | grep -i xid`). They are counted as `gpu_xid_errors_total{xid}`, with the time of the last one in `gpu_xid_last_timestamp_seconds{xid}`. Numbers that are not in this table are counted, too.',
    'Fatal: the GPU, or all work on it, is lost until it is reset, its host is rebooted, or the part is replaced. The counters of the fatal ones are there with 0 from the start, so that `increase()` sees the first.',
    'The meanings are in our own words, after [NVIDIA’s catalogue](https://docs.nvidia.com/deploy/xid-errors/analyzing-xid-catalog.html), which has the details by driver and GPU.',
    table(
      ['XID', 'meaning', 'fatal', 'what to do'],
      Object.entries(xidCatalogue).map(([xid, { meaning, fatal, action }]) => [
        xid,
        meaning,
        fatal ? '**yes**' : 'no',
        action,
      ]),
    ),
  ].join('\n\n');
}

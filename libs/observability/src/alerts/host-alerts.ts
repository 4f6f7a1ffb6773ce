import type { Alert } from '../alert.ts';
import { series } from '../series.ts';

/** Of no disk, or of one that is full by its making: a squashfs has no byte free. */
const DISKS = { fstype: { matchesNot: 'tmpfs|ramfs|overlay|squashfs|erofs|iso9660|autofs|nsfs|fuse.*' } };
const FREE = series('node_filesystem_avail_bytes', DISKS);
const SIZE = series('node_filesystem_size_bytes', DISKS);
const READ_ONLY = series('node_filesystem_readonly');

/** What the host lacks, of which engines and the monitoring itself come to harm. */
export const hostAlerts: readonly Alert[] = [
  {
    // A tenth of a large disk is room for years, and of a small one it is all that it needs: what counts is the pace, or that
    // next to nothing is left. A partition to boot from is small, and mostly free.
    name: 'HostDiskFillsUp',
    expr: `${FREE} / ${SIZE} < 0.1 and (${FREE} < 2 * 1024 ^ 3 or predict_linear(${FREE}[1h], 4 * 3600) < 0) and ${READ_ONLY} == 0`,
    for: '5m',
    severity: 'warning',
    summary: '{{ $labels.mountpoint }} on {{ $labels.instance }} is nearly full.',
    description:
      'It is full within four hours at this pace, or has less than 2 GiB left. Then models cannot be fetched, and Prometheus stores nothing more, of which no alert can tell.',
    rehearsals: [
      {
        title: 'a download that fills it in an hour',
        series: {
          'node_filesystem_avail_bytes{job="node-exporter",instance="host:9100",device="/dev/sda1",fstype="ext4",mountpoint="/"}':
            '200000000000-1000000000x160',
          'node_filesystem_size_bytes{job="node-exporter",instance="host:9100",device="/dev/sda1",fstype="ext4",mountpoint="/"}':
            '1000000000000x160',
          'node_filesystem_readonly{job="node-exporter",instance="host:9100",device="/dev/sda1",fstype="ext4",mountpoint="/"}':
            '0x160',
        },
        at: '35m',
        fires: [
          {
            job: 'node-exporter',
            instance: 'host:9100',
            device: '/dev/sda1',
            fstype: 'ext4',
            mountpoint: '/',
          },
        ],
      },
      {
        title: 'next to nothing left, and no pace',
        series: {
          'node_filesystem_avail_bytes{instance="host:9100",device="/dev/sdb1",fstype="xfs",mountpoint="/models"}':
            '1000000000x60',
          'node_filesystem_size_bytes{instance="host:9100",device="/dev/sdb1",fstype="xfs",mountpoint="/models"}':
            '100000000000x60',
          'node_filesystem_readonly{instance="host:9100",device="/dev/sdb1",fstype="xfs",mountpoint="/models"}':
            '0x60',
        },
        at: '10m',
        fires: [{ instance: 'host:9100', device: '/dev/sdb1', fstype: 'xfs', mountpoint: '/models' }],
      },
      {
        title: 'little of a large disk left, and for long',
        series: {
          'node_filesystem_avail_bytes{instance="host:9100",device="/dev/sdb1",fstype="xfs",mountpoint="/models"}':
            '80000000000x300',
          'node_filesystem_size_bytes{instance="host:9100",device="/dev/sdb1",fstype="xfs",mountpoint="/models"}':
            '1000000000000x300',
          'node_filesystem_readonly{instance="host:9100",device="/dev/sdb1",fstype="xfs",mountpoint="/models"}':
            '0x300',
        },
        at: '70m',
        fires: [],
      },
      {
        title: 'a small one that is mostly free',
        series: {
          'node_filesystem_avail_bytes{instance="host:9100",device="/dev/sda2",fstype="vfat",mountpoint="/boot/efi"}':
            '500000000x60',
          'node_filesystem_size_bytes{instance="host:9100",device="/dev/sda2",fstype="vfat",mountpoint="/boot/efi"}':
            '530000000x60',
          'node_filesystem_readonly{instance="host:9100",device="/dev/sda2",fstype="vfat",mountpoint="/boot/efi"}':
            '0x60',
        },
        at: '10m',
        fires: [],
      },
      {
        title: 'full, and nobody can write to it anyway',
        series: {
          'node_filesystem_avail_bytes{instance="host:9100",device="/dev/sdc",fstype="ext4",mountpoint="/weights"}':
            '0x60',
          'node_filesystem_size_bytes{instance="host:9100",device="/dev/sdc",fstype="ext4",mountpoint="/weights"}':
            '100000000000x60',
          'node_filesystem_readonly{instance="host:9100",device="/dev/sdc",fstype="ext4",mountpoint="/weights"}':
            '1x60',
        },
        at: '10m',
        fires: [],
      },
    ],
  },
];

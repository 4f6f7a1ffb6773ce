import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import { linkPrograms, pathOf, workspaceRoot } from './programs.mjs';

const INSTALL = 'scripts/setup/install-dependencies.sh';
const NVIDIA = 'scripts/setup/setup-nvidia-toolkit.sh';
const START = 'scripts/development/start-dev.sh';
const STOP = 'scripts/development/stop-dev.sh';
const RESET = 'scripts/development/reset-data.sh';
const PACKAGES = 'scripts/setup/install-packages.sh';
/** Scripts with options of their own. */
const WITH_OPTIONS = [INSTALL, NVIDIA, START, STOP, RESET];
/** Scripts that are run by others, and explain themselves all the same. */
const WITHOUT_OPTIONS = [PACKAGES, 'scripts/setup/install-test-tools.sh', 'scripts/development/serve-app.sh'];
const SCRIPTS = ['scripts', 'compose'].flatMap(shellScripts).sort();

/** @type {string} */
let programs;
/** @type {string} */
let folder;
before(() => {
  programs = linkPrograms();
});
after(() => rmSync(programs, { recursive: true, force: true }));
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'llm-monitor-scripts-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe('the shell scripts', () => {
  it('are found', () => {
    for (const script of WITH_OPTIONS) assert.ok(SCRIPTS.includes(script), script);
  });

  for (const { program, args } of [
    { program: 'shellcheck', args: ['--external-sources', ...SCRIPTS] },
    { program: 'shfmt', args: ['-i', '2', '-ci', '-d', ...SCRIPTS] },
  ]) {
    const found = pathOf(program, true);
    it(`satisfy ${program}`, { skip: found === '' ? `no ${program}: it is not installed` : false }, () => {
      const { status, stdout } = spawnSync(found, args, { cwd: workspaceRoot, encoding: 'utf8' });
      assert.equal(status, 0, stdout);
    });
  }

  it('pipe nothing from the network into a shell', () => {
    const piped = SCRIPTS.filter((script) =>
      /(curl|wget|download-file)[^\n]*\|\s*(sudo )?(ba)?sh\b/.test(
        readFileSync(join(workspaceRoot, script), 'utf8'),
      ),
    );
    assert.deepEqual(piped, []);
  });

  for (const script of [...WITH_OPTIONS, ...WITHOUT_OPTIONS]) {
    it(`explain themselves: ${script}`, () => {
      const { status, stdout } = spawnSync(join(workspaceRoot, script), ['--help'], { encoding: 'utf8' });
      assert.equal(status, 0);
      assert.ok(stdout.startsWith(`Usage: ${script}`), stdout);
    });
  }

  for (const script of WITH_OPTIONS) {
    it(`refuse what they do not know: ${script}`, () => {
      const { status, stderr } = spawnSync(join(workspaceRoot, script), ['--no-such-option'], {
        encoding: 'utf8',
      });
      assert.equal(status, 2);
      assert.match(stderr, /^--no-such-option is no option of this script\.\n\nUsage: /);
    });

    it(`name in --help each option that they take: ${script}`, () => {
      const text = readFileSync(join(workspaceRoot, script), 'utf8');
      const { stdout } = spawnSync(join(workspaceRoot, script), ['--help'], { encoding: 'utf8' });
      const taken = [...text.matchAll(/^ +(?:'' \| |-h \| )?(--[a-z-]+)\)/gm)].map(
        ([, option]) => option ?? '',
      );
      assert.ok(taken.includes('--help'));
      assert.deepEqual(
        taken.filter((option) => !stdout.includes(`\n  ${option} `)),
        [],
      );
    });
  }
});

const UBUNTU =
  'PRETTY_NAME="Ubuntu 24.04.3 LTS"\nID=ubuntu\nID_LIKE=debian\nVERSION_ID="24.04"\nVERSION_CODENAME=noble\n';
const DEBIAN_12 =
  'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\nVERSION_ID="12"\nVERSION_CODENAME=bookworm\n';
const DEBIAN_13 =
  'PRETTY_NAME="Debian GNU/Linux 13 (trixie)"\nID=debian\nVERSION_ID="13"\nVERSION_CODENAME=trixie\n';
const NODESOURCE_KEY = '6F71F525282841EEDAF851B42F59B5F99B1BE0B4';
const DOCKER_KEY = '9DC858229FC7DD38854AE2D88D81803C0EBFCD88';
const NVIDIA_KEY = 'C95B321B61E88C1809C4F759DDCAE044F796ECB0';

/** What the distributions offer. */
const APT_UBUNTU = {
  make: '4.3',
  git: '2.43',
  nodejs: '18.19.1+dfsg-6ubuntu5',
  'docker.io': '28.2.2-0ubuntu1',
  'docker-buildx': '0.21.3-0ubuntu1',
  'docker-compose': '1.29.2-6ubuntu1',
  'docker-compose-v2': '2.37.1+ds1-0ubuntu2',
};
const APT_DEBIAN_12 = {
  make: '4.3',
  nodejs: '18.20.4+dfsg-1~deb12u1',
  'docker.io': '20.10.24+dfsg1-1+deb12u1',
  'docker-compose': '1.29.2-3',
};
const APT_DEBIAN_13 = {
  make: '4.4.1',
  nodejs: '20.19.2+dfsg-1',
  npm: '9.2.0~ds1-3',
  'docker.io': '26.1.5+dfsg1-9',
  'docker-cli': '26.1.5+dfsg1-9',
  'docker-buildx': '0.13.1+ds1-3',
  'docker-compose': '2.26.1-4',
};
const ALL_HERE = { make: '4.3', git: '2.43', node: 'v22.11.0', npm: '10.9.0', docker: '28.5.2' };

/** What each host lacks, where it comes from, and what apt is asked for. */
const PLANS = [
  {
    what: 'Ubuntu 24.04: Node.js from NodeSource, Docker of its own',
    release: UBUNTU,
    apt: APT_UBUNTU,
    repositories: ['nodesource'],
    packages: 'gpg make git nodejs docker.io docker-buildx docker-compose-v2',
  },
  {
    what: 'Debian 12: both from those who make them',
    release: DEBIAN_12,
    apt: APT_DEBIAN_12,
    repositories: ['docker', 'nodesource'],
    packages:
      'gpg make git nodejs docker-ce docker-ce-cli containerd.io docker-buildx-plugin docker-compose-plugin',
  },
  {
    what: 'Debian 13: all of its own',
    release: DEBIAN_13,
    apt: APT_DEBIAN_13,
    packages: 'make git nodejs npm docker.io docker-cli docker-buildx docker-compose',
  },
  {
    what: 'no Docker where none is wanted',
    release: DEBIAN_12,
    apt: APT_DEBIAN_12,
    options: ['--without-docker'],
    repositories: ['nodesource'],
    packages: 'gpg make git nodejs',
  },
  {
    what: 'Node.js just too old',
    release: DEBIAN_13,
    apt: APT_DEBIAN_13,
    here: { ...ALL_HERE, node: 'v20.18.3' },
    packages: 'nodejs npm',
  },
  {
    what: 'Node.js just new enough',
    release: DEBIAN_13,
    apt: APT_DEBIAN_13,
    here: { ...ALL_HERE, node: 'v20.19.0' },
    packages: '',
  },
  {
    what: 'Node.js without npm',
    release: DEBIAN_13,
    apt: APT_DEBIAN_13,
    here: { make: '4.3', git: '2.43', node: 'v20.19.2', docker: '28.5.2' },
    packages: 'npm',
  },
  {
    what: 'NodeSource known to apt already',
    release: UBUNTU,
    apt: { ...APT_UBUNTU, nodejs: '22.21.0-1nodesource1', npm: '9.2.0' },
    here: { make: '4.3', git: '2.43', docker: '28.5.2' },
    packages: 'nodejs',
  },
  {
    what: 'Docker without Compose',
    release: UBUNTU,
    apt: APT_UBUNTU,
    here: { ...ALL_HERE, docker: '28.2.2 without compose' },
    packages: 'docker-compose-v2',
  },
  {
    what: "Docker's own Docker without Compose",
    release: DEBIAN_12,
    apt: { ...APT_DEBIAN_12, 'docker-ce': '28.5.2', 'docker-compose-plugin': '2.40.3' },
    here: { ...ALL_HERE, docker: '28.5.2 without compose' },
    packages: 'docker-compose-plugin',
  },
  {
    what: 'a Docker of a distribution that has no Compose v2',
    release: DEBIAN_12,
    apt: APT_DEBIAN_12,
    here: { ...ALL_HERE, docker: '20.10.24 without compose' },
    repositories: ['docker'],
    packages: 'gpg docker-compose-plugin',
  },
  { what: 'all of it there', release: DEBIAN_12, apt: APT_DEBIAN_12, here: ALL_HERE, packages: '' },
];

const INSTALL_FAULTS = [
  {
    what: 'a distribution that is not known',
    release: 'PRETTY_NAME="Fedora Linux 42"\nID=fedora\nVERSION_ID=42\n',
    says: 'Fedora Linux 42 is not known to this script, which knows Debian and Ubuntu.',
    then: 'less docs/install.md',
  },
  {
    what: 'a distribution that only resembles one',
    release: 'PRETTY_NAME="Linux Mint 22"\nID=linuxmint\nID_LIKE="ubuntu debian"\nVERSION_ID="22"\n',
    says: 'Linux Mint 22 is not known to this script',
    then: 'less docs/install.md',
  },
  {
    what: 'an Ubuntu that is too old',
    release: UBUNTU.replaceAll('24.04', '22.04'),
    says: 'Ubuntu 22.04.3 LTS is too old: this script was tried with ubuntu 24.04 and newer.',
    then: 'less docs/install.md',
  },
  {
    what: 'a Debian that is too old',
    release: DEBIAN_12.replaceAll('12', '11'),
    says: 'Debian GNU/Linux 11 (bookworm) is too old: this script was tried with debian 12 and newer.',
    then: 'less docs/install.md',
  },
  {
    what: 'no distribution at all',
    release: undefined,
    says: 'This is no Linux distribution that says its name',
    then: 'less docs/install.md',
  },
  {
    what: 'neither root nor sudo',
    fake: { id: '1000' },
    says: 'This needs root, and there is no sudo here.',
    then: "su -c 'scripts/setup/install-dependencies.sh --yes'",
  },
  {
    what: 'nobody to be asked',
    options: [],
    says: 'Nobody is here to be asked, so nothing was done.',
    then: 'scripts/setup/install-dependencies.sh --yes',
  },
  {
    what: 'no network where there are no package lists',
    apt: {},
    fake: { updateError: "Err:1 http://deb.example.org Temporary failure resolving 'deb.example.org'" },
    says: 'The package lists of this host could not be fetched. Is the network there',
    then: 'sudo apt-get update',
  },
  {
    what: 'packages that cannot be fetched',
    fake: { installError: 'E: Failed to fetch http://deb.example.org/git.deb' },
    says: 'Not everything of make git nodejs npm docker.io docker-cli docker-buildx docker-compose could be installed. Is the network there',
    then: 'sudo apt-get update',
  },
  {
    what: 'another program that installs',
    fake: { installError: 'E: Could not get lock /var/lib/dpkg/lock-frontend.' },
    says: 'Not everything of make git nodejs',
    also: /could be installed\. Another program installs packages at the moment\./,
    then: 'ps -C apt,apt-get,dpkg,unattended-upgr',
  },
  {
    what: 'a full disk',
    fake: { installError: "E: You don't have enough free space in /var/cache/apt/archives/." },
    says: 'Not everything of make git nodejs',
    also: /could be installed\. The disk is full\./,
    then: 'df -h / /var',
  },
  {
    what: 'an installation that was broken off',
    fake: { installError: "E: dpkg was interrupted, you must manually run 'dpkg --configure -a'" },
    says: 'Not everything of make git nodejs',
    also: /could be installed\. An earlier installation was broken off\./,
    then: 'sudo dpkg --configure -a && sudo apt-get -f install',
  },
  {
    what: 'a repository that another key signed',
    fake: {
      updateError: 'W: GPG error: https://deb.example.org InRelease: NO_PUBKEY 0123',
      updateStatus: '100',
    },
    says: 'The package lists could not be fetched. A repository is not signed by the key that it should be',
    then: 'sudo apt-get update',
  },
  {
    what: 'another key than the one that is known',
    release: UBUNTU,
    apt: APT_UBUNTU,
    fake: { fingerprint: '0000000000000000000000000000000000000000' },
    says: `The key from https://deb.nodesource.com/gpgkey/nodesource-repo.gpg.key is 0000000000000000000000000000000000000000 instead of ${NODESOURCE_KEY}, so nothing was added.`,
    then: 'gpg --show-keys <(curl -fsS https://deb.nodesource.com/gpgkey/nodesource-repo.gpg.key)',
  },
  {
    what: 'a second key beside the one that is known',
    release: UBUNTU,
    apt: APT_UBUNTU,
    fake: { fingerprint: `${NODESOURCE_KEY} 0000000000000000000000000000000000000000` },
    says: 'The key from https://deb.nodesource.com/gpgkey/nodesource-repo.gpg.key is 6F71',
    then: 'gpg --show-keys',
  },
  {
    what: 'a key that cannot be fetched',
    release: UBUNTU,
    apt: APT_UBUNTU,
    fake: { keyError: 'E: Failed to fetch https://deb.nodesource.com/ Could not resolve host' },
    says: 'The key of the repository could not be fetched from https://deb.nodesource.com/gpgkey/nodesource-repo.gpg.key. Is the network there',
    then: 'sudo apt-get update',
  },
  {
    what: 'Podman in place of Docker',
    here: { ...ALL_HERE, docker: 'podman version 5.4.2' },
    says: 'The docker of this host is Podman, which the stack was not tried with.',
    then: 'scripts/setup/install-dependencies.sh --without-docker',
  },
  {
    what: 'an old Node.js that hides the new one',
    here: { ...ALL_HERE, node: 'v16.20.0' },
    fake: { hidden: 'yes' },
    says: 'Node.js was installed as /usr/bin/node, and ',
    also: /bin\/node \(16\.20\.0\) is found before it\./,
    then: 'export PATH=/usr/bin:$PATH',
  },
];

describe(INSTALL, () => {
  for (const { what, repositories = [], packages, options = [], ...plan } of PLANS) {
    it(`says what it will do, does it, and finds nothing to do afterwards: ${what}`, () => {
      const { status, stdout, stderr, calls, files, again } = install({
        ...plan,
        options: [...options, '--yes'],
      });
      assert.equal(status, 0, stderr);
      const installed = calls.filter((call) => / install /.test(call)).at(-1) ?? '';
      assert.equal(installed.replace(/^.*--no-install-recommends /, ''), packages);
      assert.deepEqual(
        files.filter((file) => file.endsWith('.sources')),
        repositories.map((name) => `etc/apt/sources.list.d/${name}.sources`),
      );
      assert.equal(/^ {2}\d+\. install (.*)$/m.exec(stdout)?.[1] ?? '', packages);
      assert.equal([...stdout.matchAll(/^ {2}\d+\. add the apt repository/gm)].length, repositories.length);
      assert.match(stdout, /^Node\.js [\d.]+, npm [\d.]+, GNU Make/m);
      const second = again();
      assert.equal(second.status, 0, second.stderr);
      assert.match(second.stdout, /^Nothing is to be done\.$/m);
    });
  }

  for (const { what, here, ends } of [
    { what: 'what is lacking', here: {}, ends: /^Nothing was done \(--dry-run\)\.$/m },
    { what: 'nothing, where all is there', here: ALL_HERE, ends: /^Nothing is to be done\.$/m },
  ])
    it(`says with --dry-run ${what}, and does nothing`, () => {
      const { status, stdout, calls, files } = install({
        release: UBUNTU,
        apt: APT_UBUNTU,
        here,
        options: ['--dry-run'],
      });
      assert.equal(status, 0, stdout);
      assert.match(stdout, ends);
      assert.deepEqual(changes(calls), []);
      assert.deepEqual(files, []);
    });

  for (const { what, says, then, also = /./, ...fault } of INSTALL_FAULTS) {
    it(`tells of ${what} in one sentence with one command`, () => {
      const { status, stderr } = install({
        release: DEBIAN_13,
        apt: APT_DEBIAN_13,
        options: ['--yes'],
        ...fault,
      });
      const told = stderr.replaceAll(workspaceRoot, '').trimEnd().split('\n').slice(-2);
      assert.equal(status, 1, stderr);
      assert.ok(told[0]?.startsWith(says), stderr);
      assert.match(told[0] ?? '', also);
      assert.ok(told[1]?.startsWith(`  ${then}`), stderr);
    });
  }

  it('adds a repository with its key, for nothing but what that key signed', () => {
    const { host } = install({ release: DEBIAN_12, apt: APT_DEBIAN_12, options: ['--yes'] });
    const read = (/** @type {string} */ name) => readFileSync(join(host, 'etc/apt', name), 'utf8');
    assert.equal(
      read('sources.list.d/docker.sources'),
      'Types: deb\nURIs: https://download.docker.com/linux/debian\nSuites: bookworm\nComponents: stable\n' +
        'Architectures: amd64\nSigned-By: /etc/apt/keyrings/docker.asc\n',
    );
    assert.equal(
      read('sources.list.d/nodesource.sources'),
      'Types: deb\nURIs: https://deb.nodesource.com/node_22.x\nSuites: nodistro\nComponents: main\n' +
        'Architectures: amd64\nSigned-By: /etc/apt/keyrings/nodesource.asc\n',
    );
    assert.match(read('keyrings/docker.asc'), /^-----BEGIN PGP PUBLIC KEY BLOCK-----/);
  });

  it('adds nothing of a repository whose key is another', () => {
    const { files } = install({
      release: UBUNTU,
      apt: APT_UBUNTU,
      options: ['--yes'],
      fake: { fingerprint: DOCKER_KEY },
    });
    assert.deepEqual(files, []);
  });

  it('calls sudo for what needs root, and for nothing else', () => {
    const { status, calls } = install({
      release: DEBIAN_13,
      apt: APT_DEBIAN_13,
      options: ['--yes'],
      fake: { id: '1000', sudo: 'yes' },
    });
    assert.equal(status, 0);
    assert.deepEqual(
      calls
        .filter((call) => call.startsWith('sudo '))
        .map((call) => /apt-get .*? (update|install)/.exec(call)?.[1]),
      ['update', 'install'],
    );
  });

  for (const { what, here, packages } of [
    { what: 'none', here: {}, packages: 'make git ' },
    { what: 'none, and make', here: { make: '4.3', git: '2.43' }, packages: '' },
  ])
    it(`fetches package lists of its own where the host has ${what}, and changes nothing by that`, () => {
      const { stdout, calls, host } = install({
        release: DEBIAN_13,
        here,
        options: ['--dry-run'],
        fake: { ownLists: 'yes' },
      });
      const planned = `install ${packages}nodejs npm docker.io docker-cli docker-buildx docker-compose\n`;
      assert.ok(stdout.includes(planned), stdout);
      assert.equal(calls.filter((call) => /Dir::State::Lists=.* update$/.test(call)).length, 1);
      assert.deepEqual(filesBelow(join(host, 'var')), []);
    });
});

/** What the driver and Docker answer, and what the script says. */
const NVIDIA_FAULTS = [
  {
    what: 'no card',
    fake: { smi: 'absent' },
    says: 'No card of NVIDIA is in this host.',
    then: 'make up GPU=none',
  },
  {
    what: 'a card without a driver on Ubuntu',
    fake: { smi: 'absent' },
    files: CARD(),
    says: "A card of NVIDIA is here without NVIDIA's driver.",
    then: 'sudo ubuntu-drivers install && sudo reboot',
  },
  {
    what: 'a card without a driver on Debian',
    release: DEBIAN_12,
    fake: { smi: 'absent' },
    files: CARD(),
    says: "A card of NVIDIA is here without NVIDIA's driver (Debian has it in non-free).",
    then: 'sudo apt-get install nvidia-driver && sudo reboot',
  },
  {
    what: 'a card of NVIDIA that only makes sound',
    fake: { smi: 'absent' },
    files: CARD('0x040300'),
    says: 'No card of NVIDIA is in this host.',
    then: 'make up GPU=none',
  },
  {
    what: 'a driver without nvidia-smi',
    fake: { smi: 'absent' },
    files: { ...CARD(), 'proc/driver/nvidia/version': 'NVRM' },
    says: "NVIDIA's driver is loaded, and its program nvidia-smi is not installed.",
    then: "apt-cache search --names-only '^nvidia-(utils-|smi)'",
  },
  {
    what: 'WSL without a driver for it',
    fake: { smi: 'absent' },
    files: { 'dev/dxg': '' },
    says: 'This is WSL, and the driver of Windows does not hand its GPU on.',
    then: 'wsl.exe --update',
  },
  {
    what: 'a driver that was upgraded under its users',
    fake: { smi: 'Failed to initialize NVML: Driver/library version mismatch' },
    says: 'The driver was upgraded while the old one is still loaded (driver/library version mismatch).',
    then: 'sudo reboot',
  },
  {
    what: 'a driver that is not loaded',
    fake: { smi: "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver." },
    says: "NVIDIA's driver is installed and not loaded: it was not built for this kernel, or Secure Boot refuses it.",
    then: 'sudo modprobe nvidia; sudo dmesg | tail -n 20',
  },
  {
    what: 'a driver without GPUs',
    fake: { smi: 'No devices were found' },
    says: 'The driver is loaded and sees no GPU: the card fell off the bus, or is bound to another driver.',
    then: 'sudo dmesg | grep -iE "nvrm|xid"',
  },
  {
    what: 'a driver with a fault that is not known',
    fake: { smi: 'Unable to determine the device handle for GPU0' },
    says: 'nvidia-smi failed: Unable to determine the device handle for GPU0',
    then: 'sudo dmesg | grep -iE "nvrm|xid"',
  },
  {
    what: 'a driver that hangs',
    fake: { smiHangs: 'yes' },
    says: "NVIDIA's driver hangs: nvidia-smi gave no answer for 30 s.",
    then: 'sudo dmesg | grep -iE "nvrm|xid"',
  },
  {
    what: 'no Docker',
    here: {},
    says: 'Docker is not installed.',
    then: 'scripts/setup/install-dependencies.sh',
  },
  {
    what: 'an engine that does not answer',
    fake: { infoError: 'Cannot connect to the Docker daemon' },
    says: 'Docker is installed, and its engine does not answer.',
    then: 'sudo systemctl start docker',
  },
  {
    what: 'an engine that one may not use, where there is no sudo',
    fake: { denied: 'yes' },
    says: 'You may not use Docker on this host.',
    then: 'su -c scripts/setup/setup-nvidia-toolkit.sh',
  },
  {
    what: 'a Docker without root',
    fake: { security: '[name=seccomp,profile=builtin name=rootless]' },
    says: 'This Docker runs without root, where the runtime may not open devices, and CDI does it.',
    then: 'scripts/setup/setup-nvidia-toolkit.sh --cdi',
  },
  {
    what: 'CDI with an old engine',
    options: ['--cdi', '--yes'],
    fake: { version: '28.1.1' },
    says: 'Docker hands GPUs on by CDI by itself from Docker Engine 28.2 on, and this is 28.1.1.',
    then: 'scripts/setup/setup-nvidia-toolkit.sh',
  },
  {
    what: 'settings of Docker that are no JSON',
    fake: { ctkError: 'unable to load config: invalid character' },
    says: 'The settings of Docker could not be changed; is that file right?',
    then: 'python3 -m json.tool /etc/docker/daemon.json',
  },
  {
    what: 'a CDI specification that cannot be written',
    options: ['--cdi', '--yes'],
    fake: { ctkError: 'failed to initialize NVML' },
    says: 'The CDI specification could not be written.',
    then: 'sudo nvidia-ctk --debug cdi generate',
  },
  {
    what: 'a Docker that does not start again',
    fake: { restartError: 'Job for docker.service failed' },
    says: 'Docker does not start with its new settings.',
    then: 'sudo journalctl -u docker -n 20 --no-pager',
  },
  {
    what: 'a key of the repository that is another',
    here: { docker: '28.5.2' },
    fake: { fingerprint: DOCKER_KEY },
    says: `The key from https://nvidia.github.io/libnvidia-container/gpgkey is ${DOCKER_KEY} instead of ${NVIDIA_KEY}`,
    then: 'gpg --show-keys <(curl',
  },
  {
    what: 'fewer GPUs in the container',
    fake: { seen: 'GPU 0: NVIDIA L4 (UUID: GPU-0)' },
    says: 'The host has 2 GPUs, and the container sees 1.',
    then: 'nvidia-smi -L',
  },
  {
    what: 'a container that fails in a way that is not known',
    fake: { runError: 'docker: something new' },
    says: 'The container does not get the GPUs; what Docker said is above.',
    then: 'sudo nvidia-ctk --debug cdi list; sudo dmesg | grep -i nvrm',
  },
];

/** What Docker and the toolkit say when a container does not get its GPU, as seen in their issues. */
const RUN_ERRORS = [
  {
    said: 'could not select device driver "" with capabilities: [[gpu]].',
    says: 'Docker does not know the NVIDIA runtime: it was configured, and the engine has not been restarted since.',
  },
  {
    said: 'docker: Error response from daemon: unknown or invalid runtime name: nvidia.',
    says: 'Docker does not know the NVIDIA runtime',
  },
  {
    said: 'CDI device injection failed: unresolvable CDI devices nvidia.com/gpu=all',
    says: 'The CDI specification does not name these GPUs, or there is none.',
  },
  {
    said: 'CDI device injection failed: failed to inject devices: failed to stat CDI host device "/dev/nvidia-caps"',
    says: 'The CDI specification does not fit the driver: it was written for an older one.',
  },
  {
    said: 'nvidia-container-cli: initialization error: load library failed: libnvidia-ml.so.1: cannot open shared object file',
    says: 'The libraries of the driver are not where the linker looks: only a part of the driver is installed.',
  },
  {
    said: 'Failed to initialize NVML: Unknown Error',
    says: 'The container lost its GPUs, as happens after systemctl daemon-reload with the runtime; CDI does not have that fault.',
  },
  {
    said: 'nvidia-container-cli: mount error: failed to add device rules: bpf_prog_query(BPF_CGROUP_DEVICE) failed: operation not permitted',
    says: 'This toolkit is too old for the control groups of this kernel.',
  },
  {
    said: 'stat failed: /dev/nvidia-uvm: no such file or directory',
    says: 'The device files of the driver are not there yet.',
  },
  {
    said: 'nvidia-container-cli: requirement error: unsatisfied condition: cuda>=13.0, please update your driver',
    says: 'The image wants a newer driver than that of this host.',
  },
  {
    said: 'exec: "nvidia-smi": executable file not found in $PATH',
    says: 'The container got GPUs without nvidia-smi: the runtime was not used.',
  },
  {
    said: 'failed to resolve reference "docker.io/library/node:22-bookworm-slim"',
    says: 'All is set up, and it was not verified, for the image to look from could not be fetched.',
  },
];

const SPECIFICATION = 'kind: nvidia.com/gpu\nhostPath: /usr/lib/libnvidia-ml.so.580.95.05\n';
const TOOLKIT_HERE = { docker: '28.5.2', 'nvidia-ctk': '1.18.0' };

/** What is there, and what is done then. */
const SETUPS = [
  {
    what: 'a driver and Docker alone',
    here: { docker: '28.5.2' },
    done: ['apt-get update', 'apt-get install', 'nvidia-ctk runtime', 'systemctl restart'],
    ends: 'It works: make up GPU=nvidia',
  },
  {
    what: 'the toolkit that Docker does not know',
    here: TOOLKIT_HERE,
    done: ['nvidia-ctk runtime', 'systemctl restart'],
    ends: 'It works: make up GPU=nvidia',
  },
  {
    what: 'all of it',
    here: TOOLKIT_HERE,
    fake: { runtimes: 'nvidia runc' },
    done: [],
    ends: 'It works: make up GPU=nvidia',
  },
  {
    what: 'an engine that one may use by sudo alone',
    here: TOOLKIT_HERE,
    fake: { denied: 'yes', id: '1000', sudo: 'yes' },
    done: ['nvidia-ctk runtime', 'systemctl restart'],
    ends: 'It works: make up GPU=nvidia',
  },
  {
    what: 'a toolkit that writes the CDI specification when it is installed',
    here: { docker: '28.5.2' },
    options: ['--cdi'],
    fake: { refreshes: 'yes' },
    done: ['apt-get update', 'apt-get install'],
    ends: 'It works: make up GPU=cdi',
  },
  {
    what: 'a driver and Docker alone, with --cdi',
    here: { docker: '28.5.2' },
    options: ['--cdi'],
    done: ['apt-get update', 'apt-get install', 'nvidia-ctk cdi'],
    ends: 'It works: make up GPU=cdi',
  },
  {
    what: 'a CDI specification of an older driver',
    here: TOOLKIT_HERE,
    options: ['--cdi'],
    files: { 'etc/cdi/nvidia.yaml': SPECIFICATION.replace('580.95.05', '570.1') },
    done: ['nvidia-ctk cdi'],
    ends: 'It works: make up GPU=cdi',
  },
  {
    what: 'a CDI specification of this driver',
    here: TOOLKIT_HERE,
    options: ['--cdi'],
    files: { 'var/run/cdi/nvidia.yaml': SPECIFICATION },
    done: [],
    ends: 'It works: make up GPU=cdi',
  },
];

describe(NVIDIA, () => {
  for (const { what, done, ends, options = [], ...setup } of SETUPS) {
    it(`sets up with ${what}`, () => {
      const { status, stdout, stderr, calls, again } = install({
        script: NVIDIA,
        release: UBUNTU,
        apt: APT_UBUNTU,
        ...setup,
        options: [...options, '--yes'],
      });
      assert.equal(status, 0, stderr);
      assert.deepEqual(changes(calls), done);
      assert.ok(stdout.trimEnd().endsWith(ends), stdout);
      if ('fake' in setup) return;
      const second = again(options.length > 0 ? {} : { runtimes: 'nvidia runc' });
      assert.match(second.stdout, /^All is set up already\.$/m, second.stderr);
    });
  }

  for (const { options, planned } of [
    {
      options: [],
      planned: ['install gpg nvidia-container-toolkit', 'make the runtime known', 'restart Docker'],
    },
    { options: ['--cdi'], planned: ['install gpg nvidia-container-toolkit', 'write the CDI specification'] },
  ])
    it(`says what it would do and does nothing: --dry-run ${options.join()}`, () => {
      const { status, stdout, calls, files } = install({
        script: NVIDIA,
        release: UBUNTU,
        apt: APT_UBUNTU,
        here: { docker: '28.5.2' },
        options: [...options, '--dry-run'],
      });
      assert.equal(status, 0);
      for (const step of planned) assert.match(stdout, new RegExp(`^ {2}\\d\\. ${step}`, 'm'));
      assert.match(stdout, /^Nothing was done \(--dry-run\)\.$/m);
      assert.deepEqual(changes(calls), []);
      assert.deepEqual(files, []);
    });

  for (const { what, says, then, ...fault } of NVIDIA_FAULTS) {
    it(`tells of ${what} in one sentence with one command`, () => {
      const { status, stderr } = install({
        script: NVIDIA,
        release: UBUNTU,
        apt: APT_UBUNTU,
        here: TOOLKIT_HERE,
        options: ['--yes'],
        ...fault,
      });
      const told = stderr.replaceAll(workspaceRoot, '').trimEnd().split('\n').slice(-2);
      assert.equal(status, 1, stderr);
      assert.ok(told[0]?.startsWith(says), stderr);
      assert.ok(told[1]?.startsWith(`  ${then}`), stderr);
    });
  }

  for (const { said, says } of RUN_ERRORS) {
    it(`explains what a container says: ${said}`, () => {
      const { status, stderr } = install({
        script: NVIDIA,
        release: UBUNTU,
        apt: APT_UBUNTU,
        here: TOOLKIT_HERE,
        options: ['--yes'],
        fake: { runtimes: 'nvidia runc', runError: said },
      });
      const told = stderr.replaceAll(workspaceRoot, '').trimEnd().split('\n').slice(-2);
      assert.equal(status, 1);
      assert.ok(told[0]?.startsWith(says), stderr);
      assert.match(told[1] ?? '', /^ {2}\S/);
    });
  }

  it('adds the repository of NVIDIA with its key', () => {
    const { host } = install({
      script: NVIDIA,
      release: UBUNTU,
      apt: APT_UBUNTU,
      here: { docker: '28.5.2' },
      options: ['--yes'],
    });
    assert.equal(
      readFileSync(join(host, 'etc/apt/sources.list.d/nvidia-container-toolkit.sources'), 'utf8'),
      'Types: deb\nURIs: https://nvidia.github.io/libnvidia-container/stable/deb/amd64\nSuites: /\n' +
        'Architectures: amd64\nSigned-By: /etc/apt/keyrings/nvidia-container-toolkit.asc\n',
    );
  });
});

/** What of the calls changes something, without its arguments. @param {string[]} calls */
function changes(calls) {
  return calls
    .flatMap((call) => {
      const found = /^(apt-get) .*?(update|install)|^(nvidia-ctk|systemctl) (\w+)/.exec(call);
      return found === null ? [] : [`${found[1] ?? found[3]} ${found[2] ?? found[4]}`];
    })
    .filter((call, index, all) => all.indexOf(call) === index);
}

/** A card of NVIDIA on the PCI bus; class 0x0300 is a graphics card. */
function CARD(kind = '0x030000') {
  return {
    'sys/bus/pci/devices/0000:01:00.0/vendor': '0x10de\n',
    'sys/bus/pci/devices/0000:01:00.0/class': `${kind}\n`,
  };
}

/**
 * Runs a script of scripts/setup on a host of its own with programs that only write down what they are asked.
 * @param {{ script?: string, release?: string | undefined, apt?: Record<string, string>, here?: Record<string, string>,
 *   options?: string[], fake?: Record<string, string>, files?: Record<string, string> }} setup
 */
function install({ script = INSTALL, release, apt = {}, here = {}, options = [], fake = {}, files = {} }) {
  const host = join(folder, 'host');
  const bin = join(folder, 'bin');
  mkdirSync(join(folder, 'apt'), { recursive: true });
  mkdirSync(join(host, 'etc/ssl/certs'), { recursive: true });
  mkdirSync(join(host, 'run/systemd/system'), { recursive: true });
  mkdirSync(bin, { recursive: true });
  writeFileSync(join(host, 'etc/ssl/certs/ca-certificates.crt'), '');
  if (release !== undefined) writeFileSync(join(host, 'etc/os-release'), release);
  for (const [name, version] of Object.entries(apt)) writeFileSync(join(folder, 'apt', name), version);
  if (Object.keys(apt).length > 0) files = { ...files, 'var/lib/apt/lists/main_Packages.lz4': '' };
  for (const [file, text] of Object.entries(files)) {
    mkdirSync(dirname(join(host, file)), { recursive: true });
    writeFileSync(join(host, file), text);
  }
  /** @type {Record<string, string>} */
  const present = { 'apt-get': '', 'apt-cache': '', dpkg: '', systemctl: '', id: '', ...here };
  if (fake['sudo'] !== undefined) present['sudo'] = '';
  if (script === NVIDIA && fake['smi'] !== 'absent') present['nvidia-smi'] = '';
  mkdirSync(join(host, 'usr/lib/apt'), { recursive: true });
  writeFileSync(join(host, 'usr/lib/apt/apt-helper'), FAKE, { mode: 0o755 });
  writeFileSync(join(folder, 'fake'), FAKE, { mode: 0o755 });
  for (const [name, version] of Object.entries(present)) {
    writeFileSync(join(bin, name), FAKE, { mode: 0o755 });
    writeFileSync(join(folder, `version-${name}`), version);
  }
  const attempt = (/** @type {Record<string, string>} */ more = {}) => {
    rmSync(join(folder, 'calls'), { force: true });
    const { status, stdout, stderr } = spawnSync(join(workspaceRoot, script), options, {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        PATH: `${bin}:${programs}`,
        SETUP_HOST_ROOT: host,
        FAKE_folder: folder,
        ...Object.fromEntries(
          Object.entries({ ...fake, ...more }).map(([name, value]) => [`FAKE_${name}`, value]),
        ),
      },
    });
    const calls = existsSync(join(folder, 'calls')) ? readFileSync(join(folder, 'calls'), 'utf8').trim() : '';
    return { status, stdout, stderr, calls: calls.split('\n') };
  };
  const first = attempt();
  return { ...first, host, files: filesBelow(join(host, 'etc/apt')), again: attempt };
}

/** Every fake program in one: it does as the name under which it is called. */
const FAKE = `#!/usr/bin/env bash
name=\${0##*/}
echo "$name $*" >>"$FAKE_folder/calls"
version() { cat "$FAKE_folder/version-$name"; }
refuse() { echo "$1" >&2; exit "\${2:-1}"; }
give() { cp_fake "$1"; printf '%s' "$2" >"$FAKE_folder/version-$1"; }
cp_fake() { install -m 755 "$FAKE_folder/fake" "$FAKE_folder/bin/$1"; }
case $name in
  id) if [[ $* == -un ]]; then echo somebody; else echo "\${FAKE_id:-0}"; fi ;;
  sudo) FAKE_denied='' exec "$@" ;;
  dpkg) echo amd64 ;;
  make) echo "GNU Make $(version)" ;;
  node | npm) version; echo ;;
  systemctl) if [[ -n \${FAKE_restartError:-} ]]; then refuse "$FAKE_restartError"; fi ;;
  apt-cache)
    package=\${!#} folder=$FAKE_folder/apt
    if [[ -n \${FAKE_ownLists:-} && $* == *Dir::State::Lists* ]]; then
      case $package in
        make) echo '  Candidate: 4.4' ;;
        nodejs) echo '  Candidate: 20.19.2' ;;
        docker-ce | docker-compose-v2) ;;
        *) echo '  Candidate: 5:26.1.5' ;;
      esac
    elif [[ -e $folder/$package ]]; then echo "  Candidate: $(cat "$folder/$package")"
    # Without lists, what is installed is its own candidate.
    elif [[ -e $FAKE_folder/version-$package ]]; then echo "  Candidate: $(cat "$FAKE_folder/version-$package")"
    else echo '  Candidate: (none)'; fi ;;
  apt-helper)
    if [[ -n \${FAKE_keyError:-} ]]; then refuse "$FAKE_keyError"; fi
    printf -- '-----BEGIN PGP PUBLIC KEY BLOCK-----\\n%s\\n' "\${@: -2:1}" >"\${!#}" ;;
  gpg)
    found=\${FAKE_fingerprint:-}
    if [[ -z $found ]]; then
      case $(cat "\${!#}") in
        *nodesource*) found=${NODESOURCE_KEY} ;;
        *docker*) found=${DOCKER_KEY} ;;
        *nvidia*) found=${NVIDIA_KEY} ;;
      esac
    fi
    for key in $found; do printf 'pub:-:4096\\nfpr:::::::::%s:\\nsub:-\\nfpr:::::::::1234:\\n' "$key"; done ;;
  apt-get)
    case " $* " in
      *' update '*)
        if [[ -n \${FAKE_updateError:-} ]]; then refuse "$FAKE_updateError" "\${FAKE_updateStatus:-0}"; fi ;;
      *' install '*)
        if [[ -n \${FAKE_installError:-} ]]; then refuse "$FAKE_installError" 100; fi
        for package in "\${@:2}"; do
          case $package in
            make) give make 4.3 ;;
            git) give git 2.43 ;;
            gpg) give gpg 2.4 ;;
            npm) give npm 9.2.0 ;;
            nodejs)
              if [[ -z \${FAKE_hidden:-} ]]; then
                give node v22.11.0
                [[ " $* " == *' npm '* ]] || give npm 10.9.0
              fi ;;
            docker-compose* | docker-buildx*) echo '28.5.2' >"$FAKE_folder/version-docker" ;;
            docker.io | docker-ce) give docker '28.5.2 without compose' ;;
            nvidia-container-toolkit)
              give nvidia-ctk 1.18.0
              if [[ -n \${FAKE_refreshes:-} ]]; then
                mkdir -p "$SETUP_HOST_ROOT/var/run/cdi"
                printf 'kind: nvidia.com/gpu\\nlibnvidia-ml.so.580.95.05\\n' >"$SETUP_HOST_ROOT/var/run/cdi/nvidia.yaml"
              fi ;;
          esac
        done ;;
    esac ;;
  nvidia-smi)
    if [[ -n \${FAKE_smiHangs:-} ]]; then exit 124; fi # as timeout ends
    if [[ -n \${FAKE_smi:-} ]]; then refuse "$FAKE_smi" 9; fi
    printf '580.95.05\\n580.95.05\\n' ;;
  nvidia-ctk)
    if [[ -n \${FAKE_ctkError:-} ]]; then refuse "$FAKE_ctkError"; fi
    if [[ $* == *--output=* ]]; then
      all=$*
      printf 'kind: nvidia.com/gpu\\nlibnvidia-ml.so.580.95.05\\n' >"\${all##*--output=}"
    fi ;;
  docker)
    case "$*" in
      --version) if [[ $(version) == podman* ]]; then version; else echo "Docker version $(version | cut -d' ' -f1), build x"; fi ;;
      'compose version'*) [[ $(version) != *'without compose'* ]] && echo 2.40.3 ;;
      'buildx version') true ;;
      'info --format {{.SecurityOptions}}') echo "\${FAKE_security:-[name=seccomp]}" ;;
      'info --format {{range'*) echo "\${FAKE_runtimes:-runc}" ;;
      version*)
        if [[ -n \${FAKE_infoError:-} ]]; then refuse "$FAKE_infoError"; fi
        if [[ -n \${FAKE_denied:-} ]]; then refuse 'permission denied while trying to connect'; fi
        echo "\${FAKE_version:-28.5.2}" ;;
      run*)
        if [[ -n \${FAKE_runError:-} ]]; then refuse "$FAKE_runError" 125; fi
        echo "\${FAKE_seen:-GPU 0: NVIDIA L4 (UUID: GPU-0)
GPU 1: NVIDIA L4 (UUID: GPU-1)}" ;;
    esac ;;
esac
`;

/** @param {string} below @returns {string[]} */
function filesBelow(below) {
  if (!existsSync(below)) return [];
  return readdirSync(below, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).replace(`${join(folder, 'host')}/`, ''))
    .sort();
}

/** @param {string} below @returns {string[]} */
function shellScripts(below) {
  return /** @type {string[]} */ (readdirSync(join(workspaceRoot, below), { recursive: true }))
    .filter((name) => name.endsWith('.sh'))
    .map((name) => join(below, name));
}

/** Sample devices, releases and keys of the fake backend; every value follows from its arguments. */
import type { Device, Key, Part, Release, Slot } from '../../dto';

export const CHUNK = 4096;
/** 22 November 2026, 10:00 UTC. */
export const START = Date.UTC(2026, 10, 22, 10, 0, 0) / 1000;
const HOUR = 3600;
const DAY = 24 * HOUR;

/** 64 hexadecimal digits that depend on the text and look like a digest. */
export function digest(text: string): string {
  let out = '';
  for (let block = 0; block < 8; block += 1) {
    let hash = 0x811c9dc5 ^ (block * 0x9e3779b1);
    for (let i = 0; i < text.length; i += 1) {
      hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
      hash ^= hash >>> 13;
    }
    hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
    hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
    out += ((hash ^ (hash >>> 16)) >>> 0).toString(16).padStart(8, '0');
  }
  return out;
}

export const chunksOf = (size: number): number => Math.ceil(size / CHUNK);

export function carried(size: number, name: string): Part {
  return { kind: 'carried', size, chunks: chunksOf(size), sha256: digest(name) };
}

export const KEY: Key = {
  id: '5f1c9e02ab77d431',
  name: 'workshop',
  canSign: true,
  needsPassphrase: false,
  trusted: true,
  offline: false,
};

export const COLLEAGUE: Key = {
  id: 'c03a11d87e94f6b2',
  name: 'mira-laptop',
  canSign: false,
  needsPassphrase: false,
  trusted: true,
  offline: false,
};

/** Its private part is on a stick in a drawer. */
export const OFFLINE: Key = {
  id: '20d7c6b15e9a4f03',
  name: 'drawer-root',
  canSign: false,
  needsPassphrase: false,
  trusted: true,
  offline: true,
};

export interface ReleaseSpec {
  product: string;
  version: string;
  sequence: number;
  chip?: string;
  appSize?: number;
  filesSize?: number;
  age?: number;
  key?: Key;
}

export function makeRelease(spec: ReleaseSpec): Release {
  const { product, version, sequence, chip = 'esp32c3', appSize = 1_482_752 } = spec;
  const { filesSize = 88_064, age = DAY, key = KEY } = spec;
  const app: Part = appSize ? carried(appSize, `${product} ${version} app`) : { kind: 'any' };
  const files: Part = filesSize
    ? carried(filesSize, `${product} ${version} files`)
    : { kind: 'any' };
  return {
    id: digest(`${product} ${version} ${sequence} release`),
    product,
    version,
    sequence,
    chip,
    created: START - age,
    added: START - age + 40,
    app,
    files,
    size: appSize + filesSize,
    keyId: key.id,
    keys: null,
    runningOn: [],
  };
}

export const RELEASES: ReleaseSpec[] = [
  { product: 'demo', version: '1.1.0', sequence: 3, age: 2 * HOUR },
  {
    product: 'lamp',
    version: '0.9.2',
    sequence: 12,
    chip: 'esp32s3',
    appSize: 911_360,
    filesSize: 0,
    age: 3 * DAY,
  },
  {
    product: 'demo',
    version: '1.0.1',
    sequence: 2,
    appSize: 1_478_656,
    age: 9 * DAY,
    key: COLLEAGUE,
  },
  {
    product: 'demo',
    version: '1.0.0',
    sequence: 1,
    appSize: 1_470_464,
    filesSize: 81_920,
    age: 41 * DAY,
  },
];

/** How a fake device behaves when it is updated. */
export interface Behaviour {
  /** Chunks fetched per step of 100 ms. */
  speed: number;
  /** One fetched chunk in so many arrives damaged; 0: none. */
  refuseEvery: number;
  /** What goes wrong, if anything. */
  fault: 'none' | 'never_confirms' | 'fails_check' | 'host_unreachable' | 'flash_fault';
  /** Chunks of the app that the target slot holds already. */
  kept: number;
}

export const WELL: Behaviour = { speed: 2, refuseEvery: 0, fault: 'none', kept: 0 };

export interface DeviceSpec {
  name: string;
  host: string;
  release?: Release | undefined;
  product?: string;
  chip?: string;
  slot?: string;
  online?: boolean;
  seenAgo?: number;
  trusts?: string[];
  simulated?: boolean;
  id?: string;
  blocked?: Device['blocked'];
  freshnessRequired?: boolean;
  staleOffer?: Device['staleOffer'];
}

export function makeDevice(spec: DeviceSpec): Device {
  const { name, host, release, slot = 'ota_0', online = true, seenAgo = 1 } = spec;
  const chip = spec.chip ?? release?.chip ?? 'esp32c3';
  const slots: Slot[] = ['factory', 'ota_0', 'ota_1'].map((each) => ({
    slot: each,
    state: each === slot ? 'valid' : each === 'factory' ? 'valid' : 'empty',
    version: each === slot ? (release?.version ?? null) : each === 'factory' ? '1.0.0' : null,
    release: each === slot ? (release?.id ?? null) : null,
  }));
  const sha = (part: Part | undefined) =>
    part && part.kind !== 'any' ? part.sha256 : digest(name);
  return {
    id: spec.id ?? `c3-${digest(name).slice(0, 12)}`,
    name,
    product: spec.product ?? release?.product ?? 'demo',
    chip,
    address: `${host}:80`,
    localAddress: '10.0.0.5',
    online,
    lastSeen: START - seenAgo,
    version: release?.version ?? null,
    slot,
    state: 'valid',
    release: release?.id ?? null,
    sequence: release?.sequence ?? null,
    appSha256: release ? sha(release.app) : null,
    filesSha256: release ? sha(release.files) : null,
    slots,
    trusts: spec.trusts ?? [KEY.id, COLLEAGUE.id],
    root: spec.trusts ? (spec.trusts[0] ?? null) : KEY.id,
    releaseKeys: spec.trusts ?? [KEY.id, COLLEAGUE.id],
    epoch: 1,
    bootloaderRollback: false,
    flashSize: 4 * 1024 * 1024,
    freeMemory: 143_212,
    signalDbm: -58,
    resetReason: 'software',
    uptimeMs: 3 * DAY * 1000 + 4_360_000,
    lastUpdate: release
      ? { release: release.id, end: 'done', cause: 'none', detail: null, boots: 1 }
      : null,
    freshnessRequired: spec.freshnessRequired ?? false,
    staleOffer: spec.staleOffer ?? null,
    updater: 'idle',
    blocked: spec.blocked ?? null,
    job: null,
    simulated: spec.simulated ?? false,
  };
}

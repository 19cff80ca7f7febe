/** Worlds to start the fake backend with. */
import type { HistoryRow } from '../../dto';
import { emptyWorld, type World } from '../fake';
import { COLLEAGUE, KEY, makeDevice, makeRelease, RELEASES, START } from './data';

/** The workshop of the pictures: five boards, four releases, two keys. */
export function workshop(): World {
  const world = emptyWorld();
  const [newest, lamp, , old] = (world.releases = RELEASES.map(makeRelease));
  world.keys = [{ ...KEY }, { ...COLLEAGUE }];
  world.devices = [
    makeDevice({ name: 'kitchen', host: '10.0.0.21', release: old }),
    makeDevice({ name: 'porch', host: '10.0.0.22', release: old, slot: 'factory' }),
    makeDevice({ name: 'shed', host: '10.0.0.23', release: old }),
    makeDevice({ name: 'bench-7', host: '10.0.0.31', release: newest, slot: 'ota_1', seenAgo: 8 }),
    makeDevice({
      name: 'attic',
      host: '10.0.0.40',
      release: old,
      online: false,
      seenAgo: 3 * 86_400 + 900,
    }),
    makeDevice({ name: 'desk-lamp', host: '10.0.0.52', release: lamp }),
    makeDevice({
      name: 'loan-board',
      host: '10.0.0.61',
      release: old,
      trusts: ['9b1f00c4d2e88a17'],
    }),
    makeDevice({
      name: 'greenhouse',
      host: '10.0.0.64',
      release: old,
      blocked: {
        code: 'busy',
        message: 'greenhouse is being updated by 10.0.0.7',
        help: 'Wait for the running update to end, or cancel it there.',
      },
    }),
  ];
  world.history = pastJobs(world);
  return world;
}

function pastJobs(world: World): HistoryRow[] {
  const lines: [
    name: string,
    from: string,
    to: string,
    end: HistoryRow['end'],
    code: string | null,
    summary: string,
    took: number,
    counts: [number, number, number],
  ][] = [
    [
      'bench-7',
      '1.0.0',
      '1.0.1',
      'done',
      null,
      'Running 1.0.1 from ota_0, confirmed within 3 s of its start.',
      41,
      [0, 383, 0],
    ],
    [
      'shed',
      '1.0.0',
      '1.0.1',
      'failed',
      'host_unreachable',
      'shed cannot reach this computer, so nothing was erased',
      6,
      [0, 0, 0],
    ],
    [
      'shed',
      '1.0.0',
      '1.0.1',
      'cancelled',
      'cancelled',
      'Cancelled; what the device has is kept.',
      12,
      [0, 96, 0],
    ],
    [
      'attic',
      '1.0.0',
      '1.0.1',
      'rolled_back',
      'rolled_back',
      'Went back to 1.0.0. 1.0.1 was on trial, and it hung or did not confirm in time (reset reason: watchdog).',
      93,
      [0, 381, 2],
    ],
    [
      'bench-7',
      '1.0.1',
      '1.1.0',
      'done',
      null,
      'Running 1.1.0 from ota_1, confirmed within 3 s of its start.',
      38,
      [41, 343, 1],
    ],
  ];
  return lines.map(
    ([name, from, to, end, code, summary, took, [kept, fetched, refused]], index) => {
      const device = world.devices.find((each) => each.name === name);
      const release = world.releases.find((each) => each.product === 'demo' && each.version === to);
      const started = START - 5 * 86_400 + index * 90_000;
      return {
        job: index + 1,
        device: device?.id ?? name,
        deviceName: name,
        product: 'demo',
        fromVersion: from,
        toVersion: to,
        release: release?.id ?? '',
        started,
        ended: started + took,
        end,
        code,
        summary,
        kept,
        fetched,
        refused,
      };
    },
  );
}

/** The workshop with so many boards instead. */
export function many(count: number): World {
  const world = workshop();
  const [newest, , middle, old] = world.releases;
  world.devices = [];
  for (let n = 1; n <= count; n += 1) {
    const release = n % 7 === 0 ? newest : n % 5 === 0 ? middle : old;
    const online = n % 11 !== 0;
    const host = `10.0.${Math.floor(n / 250)}.${(n % 250) + 2}`;
    world.devices.push(
      makeDevice({ name: `node-${n}`, host, release, online, seenAgo: online ? 2 : n * 400 }),
    );
  }
  return world;
}

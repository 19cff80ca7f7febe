/**
 * Every state of the window, by name: `?fake=updating&theme=dark`. With `clock=frozen` time stands
 * still at the moment worth a picture; otherwise the scene plays on.
 */
import { mount, tick } from 'svelte';
import App from '../../App.svelte';
import type { HistoryRow } from '../../bindings/dto';
import { ManualClock, systemClock, type Clock } from '../../clock';
import { AppState } from '../../state/app.svelte';
import type { DevicesView } from '../../state/devices.svelte';
import type { ReleasesView } from '../../state/releases.svelte';
import { emptyWorld, FakeBackend, type World } from '../fake';
import {
  COLLEAGUE,
  KEY,
  makeDevice,
  makeRelease,
  RELEASES,
  START,
  WELL,
  type Behaviour,
} from './data';

interface Stage {
  world: World;
  backend: FakeBackend;
  app: AppState;
  /** Moves the fake world on, whatever the clock is. */
  pass(ms: number): Promise<void>;
  devices: DevicesView;
  releases: ReleasesView;
}

interface Scenario {
  world(): World;
  act?(stage: Stage): Promise<void> | void;
}

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
      'Running 1.0.1 from ota_0, confirmed 3 s after start.',
      41,
      [0, 383, 0],
    ],
    [
      'shed',
      '1.0.0',
      '1.0.1',
      'failed',
      'host_unreachable',
      'shed could not reach this computer on port 7410. Nothing was erased.',
      6,
      [0, 0, 0],
    ],
    [
      'shed',
      '1.0.0',
      '1.0.1',
      'cancelled',
      'cancelled',
      'Cancelled. What the device has is kept.',
      12,
      [0, 96, 0],
    ],
    [
      'attic',
      '1.0.0',
      '1.0.1',
      'rolled_back',
      'rolled_back',
      'Went back to 1.0.0: the new version did not confirm within 30 s (reset reason: watchdog).',
      93,
      [0, 381, 2],
    ],
    [
      'bench-7',
      '1.0.1',
      '1.1.0',
      'done',
      null,
      'Running 1.1.0 from ota_1, confirmed 3 s after start.',
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

function many(count: number): World {
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

const behave = (world: World, name: string, behaviour: Partial<Behaviour>): void => {
  const device = world.devices.find((each) => each.name === name);
  if (device) world.behaviours.set(device.id, { ...WELL, ...behaviour });
};

/** Updates one device and lets time pass. */
function updating(
  name: string,
  ms: number,
  behaviour: Partial<Behaviour>,
  also: string[] = [],
): Scenario {
  return {
    world: () => {
      const world = workshop();
      behave(world, name, behaviour);
      for (const [index, other] of also.entries()) behave(world, other, { speed: 3 + index });
      return world;
    },
    async act({ app, devices, pass }) {
      const ids = [name, ...also].map(
        (each) => [...app.devices.values()].find((device) => device.name === each)?.id ?? '',
      );
      const release = [...app.releases].find((each) => each.version === '1.1.0');
      devices.choose(release?.id ?? 'newest');
      await app.backend.startUpdate(ids, release?.id ?? '', false);
      devices.active = ids[0] ?? null;
      await pass(ms);
    },
  };
}

const pickDemo = ({ app, devices }: Stage): void =>
  devices.choose(app.releases.find((release) => release.version === '1.1.0')?.id ?? 'newest');

const idOf = (app: AppState, name: string): string =>
  [...app.devices.values()].find((device) => device.name === name)?.id ?? '';

export const SCENARIOS: Record<string, Scenario> = {
  'first-start': { world: emptyWorld },
  empty: {
    world: () => ({ ...workshop(), devices: [], history: [] }),
  },
  devices: {
    world: workshop,
    act(stage) {
      pickDemo(stage);
      for (const name of ['porch', 'shed']) stage.devices.checked.add(idOf(stage.app, name));
      stage.devices.active = idOf(stage.app, 'porch');
    },
  },
  updating: updating('shed', 16_600, { refuseEvery: 60, kept: 41 }, ['porch']),
  done: updating('shed', 40_000, { refuseEvery: 120, kept: 41, speed: 4 }, ['porch']),
  'rolled-back': updating('shed', 40_000, { speed: 4, fault: 'never_confirms' }),
  failed: updating('shed', 40_000, { fault: 'host_unreachable' }),
  'flash-fault': updating('shed', 40_000, { speed: 4, fault: 'flash_fault' }),
  offline: {
    world: workshop,
    act(stage) {
      pickDemo(stage);
      stage.devices.active = idOf(stage.app, 'attic');
    },
  },
  off: {
    world: workshop,
    act(stage) {
      pickDemo(stage);
      stage.devices.active = idOf(stage.app, 'loan-board');
    },
  },
  many: {
    world: () => many(1000),
    async act(stage) {
      pickDemo(stage);
      const ids = [...stage.app.devices.values()].filter(
        (device) => device.online && device.version === '1.0.0',
      );
      const first = ids.slice(0, 300).map((device) => device.id);
      await stage.app.backend.startUpdate(first, stage.devices.pick, false);
      stage.devices.active = first[0] ?? null;
      await stage.pass(9000);
    },
  },
  drop: {
    world: workshop,
    act: ({ backend }) => backend.drop({ kind: 'enter', paths: ['/home/mira/demo-1.2.0.airlift'] }),
  },
  'drop-new': {
    world: workshop,
    act: ({ backend }) =>
      backend.drop({ kind: 'enter', paths: ['/home/mira/blink.bin', '/home/mira/web/'] }),
  },
  'drop-refused': {
    world: workshop,
    act: ({ backend }) => backend.drop({ kind: 'enter', paths: ['/home/mira/holiday.jpg'] }),
  },
  sheet: {
    world: workshop,
    act: ({ backend }) =>
      backend.drop({ kind: 'drop', paths: ['/home/mira/build/demo-1.2.0.bin', '/home/mira/web/'] }),
  },
  'sheet-problem': {
    world: workshop,
    act: ({ backend }) =>
      backend.drop({ kind: 'drop', paths: ['/home/mira/build/merged-demo-1.1.0.bin'] }),
  },
  'sheet-no-key': {
    world: () => ({ ...workshop(), keys: [] }),
    act: ({ backend }) =>
      backend.drop({ kind: 'drop', paths: ['/home/mira/build/demo-1.2.0.bin'] }),
  },
  releases: {
    world: workshop,
    act({ app, releases }) {
      app.view = 'releases';
      releases.select(releases.releases[1]?.id ?? '');
    },
  },
  compare: {
    world: workshop,
    act({ app, releases }) {
      app.view = 'releases';
      releases.select(releases.releases[0]?.id ?? '');
      releases.select(releases.releases[2]?.id ?? '', true);
    },
  },
  history: {
    world: workshop,
    act({ app }) {
      app.view = 'history';
    },
  },
  settings: {
    world: workshop,
    act({ app }) {
      app.view = 'settings';
    },
  },
  notice: {
    world: workshop,
    async act({ app, backend }) {
      backend.drop({ kind: 'drop', paths: ['/home/mira/stranger-2.0.0.airlift'] });
      app.say('Exported demo 1.1.0.');
    },
  },
  'server-off': {
    world: () => ({
      ...workshop(),
      server: {
        addresses: [],
        error: {
          code: 'cannot_listen',
          message: 'port 7410 and the nine after it are taken',
          help: 'Close the program that uses the port, or choose another port in Settings.',
        },
      },
    }),
  },
};

/** Mounts the window on the scenario that the address names. */
export function openScenario(target: HTMLElement, params: URLSearchParams): AppState {
  const scenario = SCENARIOS[params.get('fake') ?? 'devices'] ?? SCENARIOS['devices'];
  if (!scenario) throw new Error('no such scenario');
  const world = scenario.world();
  world.settings.theme = params.get('theme') ?? 'system';

  // The scene is set up on a manual clock, which real time then drives, unless it is frozen.
  const clock = new ManualClock(START);
  const backend = new FakeBackend(world, clock);
  const frozen = params.get('clock') === 'frozen';
  const app = new AppState(backend, clock, (callback) =>
    frozen ? queueMicrotask(callback) : requestAnimationFrame(callback),
  );
  mount(App, {
    target,
    props: {
      app,
      onready: (devices, releases) => void play(devices, releases),
    },
  });

  async function play(devices: DevicesView, releases: ReleasesView) {
    const pass = async (ms: number) => {
      clock.advance(ms);
      await tick();
    };
    await scenario?.act?.({ world, backend, app, pass, devices, releases });
    app.now = clock.now();
    document.documentElement.dataset.scene = 'ready';
    if (!frozen) drive(systemClock, clock);
  }
  return app;
}

function drive(from: Clock, to: ManualClock): void {
  let last = from.now();
  const turn = () => {
    const now = from.now();
    to.advance((now - last) * 1000);
    last = now;
    from.after(50, turn);
  };
  turn();
}

/**
 * Every state of the window, by name: `?fake=updating&theme=dark`. With `clock=frozen` time stands
 * still at the moment worth a picture; otherwise the scene plays on.
 */
import { mount, tick } from 'svelte';
import App from '../../App.svelte';
import { ManualClock, systemClock, type Clock } from '../../clock';
import { AppState } from '../../state/app.svelte';
import type { DevicesView } from '../../state/devices.svelte';
import type { ReleasesView } from '../../state/releases.svelte';
import { emptyWorld, FakeBackend, type World } from '../fake';
import { T } from '../../testids';
import { KEY, makeRelease, OFFLINE, START, WELL, type Behaviour } from './data';
import type { UsbView } from '../../state/usb.svelte';
import { USB_SCENARIOS } from './usbscenarios';
import { many, workshop } from './worlds';

export interface Stage {
  world: World;
  backend: FakeBackend;
  app: AppState;
  /** Moves the fake world on, whatever the clock is. */
  pass(ms: number): Promise<void>;
  devices: DevicesView;
  releases: ReleasesView;
  usb: UsbView;
}

export interface Scenario {
  world(): World;
  act?(stage: Stage): Promise<void> | void;
}

const behave = (world: World, name: string, behaviour: Partial<Behaviour>): void => {
  const device = world.devices.find((each) => each.name === name);
  if (device) world.behaviours.set(device.id, { ...WELL, ...behaviour });
};

/** Serves the newest release without a signature, to boards that are at their start, on their way
 * and at the end. */
function servePlain({ backend, world }: Stage): void {
  const release = world.releases[0]?.id ?? null;
  const seen = (address: string, app: number, files: number) => ({
    address,
    release,
    parts: [
      { part: 'app', fetched: app, chunks: 374 },
      { part: 'files', fetched: files, chunks: 48 },
    ],
    lastSeen: START,
  });
  backend.setPlain({
    release,
    boards: [
      {
        ...seen('10.0.0.130', 212, 0),
        state: 'fetching',
        summary: 'Fetches demo 1.1.0: app 212 of 374 chunks, files 0 of 48 chunks.',
      },
      {
        ...seen('10.0.0.131', 374, 48),
        state: 'unknown',
        summary: 'Fetched all of demo 1.1.0; whether it runs it, it does not say.',
      },
      {
        ...seen('10.0.0.132', 0, 0),
        state: 'asked',
        summary: 'Was told of demo 1.1.0 and has fetched nothing of it.',
      },
    ],
  });
}

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

/** The workshop after its root went into a drawer. */
function drawerWorld(): World {
  const world = workshop();
  world.keys = [...world.keys, { ...OFFLINE }];
  for (const device of world.devices) {
    if (device.root !== KEY.id) continue;
    device.root = OFFLINE.id;
    device.trusts = [OFFLINE.id, ...device.releaseKeys];
    device.epoch = 2;
  }
  return world;
}

async function click(testid: string): Promise<void> {
  await tick();
  document.querySelector<HTMLElement>(`[data-testid="${testid}"]`)?.click();
  await tick();
}

async function changeKeys({ app, backend }: Stage, passphrase: string): Promise<void> {
  app.view = 'settings';
  app.changingKeys = [];
  for (let turn = 0; turn < 4; turn += 1) await tick();
  backend.dialogs.push(['/media/stick/drawer-root.pem']);
  await click(T.keyChangeSignerFile);
  const field = document.querySelector<HTMLInputElement>(
    `[data-testid="${T.keyChangePassphrase}"]`,
  );
  if (field) field.value = passphrase;
  field?.dispatchEvent(new Event('input', { bubbles: true }));
  await click(T.keyChangeReleaseKey);
  document.querySelectorAll<HTMLElement>(`[data-testid="${T.keyChangeReleaseKey}"]`)[1]?.click();
  await click(T.keyChangeSubmit);
  for (let turn = 0; turn < 8; turn += 1) await tick();
}

export const SCENARIOS: Record<string, Scenario> = {
  ...USB_SCENARIOS,
  'first-start': { world: emptyWorld },
  empty: {
    world: () => ({ ...workshop(), devices: [], history: [] }),
  },
  virtual: {
    world: emptyWorld,
    async act({ app, backend, devices, pass }) {
      await backend.startVirtualDevices(2);
      await pass(10);
      await backend.startUpdate(['vd-1'], app.releases[0]?.id ?? '', false);
      devices.active = 'vd-1';
      await pass(2600);
    },
  },
  devices: {
    world: workshop,
    act(stage) {
      pickDemo(stage);
      for (const name of ['porch', 'shed']) stage.devices.checked.add(idOf(stage.app, name));
      stage.devices.active = idOf(stage.app, 'porch');
    },
  },
  /** Boards that check no signature, in three states. */
  plain: {
    world: workshop,
    act(stage) {
      servePlain(stage);
      stage.devices.active = idOf(stage.app, 'porch');
    },
  },
  'plain-release': {
    world: workshop,
    act(stage) {
      servePlain(stage);
      stage.app.view = 'releases';
      stage.releases.select(stage.world.releases[0]?.id ?? '');
    },
  },
  updating: updating('shed', 16_600, { refuseEvery: 60, kept: 41 }, ['porch']),
  done: updating('shed', 40_000, { refuseEvery: 120, kept: 41, speed: 4 }, ['porch']),
  'rolled-back': updating('shed', 40_000, { speed: 4, fault: 'never_confirms' }),
  'fails-check': updating('shed', 40_000, { speed: 4, fault: 'fails_check' }),
  /** Somebody offers an old release to a device that wants to be told the newest. */
  stale: {
    world() {
      const world = workshop();
      const device = world.devices.find(({ name }) => name === 'porch');
      const [newest, , , old] = world.releases;
      if (!device || !newest || !old) return world;
      Object.assign(device, {
        freshnessRequired: true,
        blocked: {
          code: 'freshness_required',
          message:
            'Device porch takes a release only with a signed statement that it is the newest, and none of its keys is open on this computer',
          help: 'Open a key that the device trusts (it may need its passphrase), or send from the computer that has it.',
        },
        staleOffer: {
          release: old.id,
          offered: old.sequence,
          offeredVersion: old.version,
          newest: newest.sequence,
          newestVersion: newest.version,
          by: '10.0.0.66',
          sentence: `10.0.0.66 offered it ${old.version} (sequence ${old.sequence}) although ${newest.version} (sequence ${newest.sequence}) is the newest. It was refused.`,
        },
        lastUpdate: {
          release: newest.id,
          end: 'rolled_back',
          cause: 'health_check',
          detail: 'sensor missing',
          boots: 1,
        },
      });
      for (const key of world.keys) {
        if (key.id === device.trusts[0]) key.needsPassphrase = true;
      }
      return world;
    },
    act(stage) {
      pickDemo(stage);
      stage.devices.active = idOf(stage.app, 'porch');
    },
  },
  failed: updating('shed', 40_000, { fault: 'host_unreachable' }),
  'flash-fault': updating('shed', 40_000, { speed: 4, fault: 'flash_fault' }),
  'device-details': {
    world: workshop,
    act(stage) {
      pickDemo(stage);
      stage.devices.active = idOf(stage.app, 'porch');
    },
  },
  'device-log': {
    world: workshop,
    async act(stage) {
      pickDemo(stage);
      const porch = idOf(stage.app, 'porch');
      stage.backend.logs.set(porch, [
        '41 INFO airlift-esp32c3 1.0.0 (built 2026-11-22)',
        '79 INFO ota_0 runs after software: Confirmed',
        '96 INFO wifi: joining workshop',
        '2140 INFO wifi: joined on channel 6',
        '2611 INFO c3-7cdfa1b2c3d4 is ready',
        '61377 WARN sensor: no answer, trying again',
        '61502 INFO sensor: 21.5 \u00b0C',
      ]);
      stage.devices.active = porch;
      await tick();
      document.querySelector<HTMLElement>('[data-tab="device-log"]')?.click();
      await tick();
      await stage.pass(0);
    },
  },
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
  /** The largest map there can be: two parts of 16 MiB. */
  huge: {
    world() {
      const world = workshop();
      const part = 16 * 1024 * 1024;
      world.releases.unshift(
        makeRelease({
          product: 'demo',
          version: '2.0.0',
          sequence: 9,
          appSize: part,
          filesSize: part,
        }),
      );
      behave(world, 'shed', { speed: 40, refuseEvery: 500, kept: 900 });
      return world;
    },
    async act({ app, devices, pass }) {
      const release = app.releases[0];
      devices.choose(release?.id ?? 'newest');
      devices.active = idOf(app, 'shed');
      await app.backend.startUpdate([idOf(app, 'shed')], release?.id ?? '', false);
      await pass(14_000);
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
  'key-change': {
    world: workshop,
    act({ app }) {
      app.view = 'settings';
      app.changingKeys = [];
    },
  },
  'key-change-offline': {
    world: drawerWorld,
    act({ app }) {
      app.view = 'settings';
      app.changingKeys = [];
    },
  },
  'key-change-error': {
    world: drawerWorld,
    act: (stage) => changeKeys(stage, 'wrong horse'),
  },
  'key-change-done': {
    world: drawerWorld,
    act: (stage) => changeKeys(stage, 'correct horse'),
  },
  'key-change-none': {
    world: () => ({ ...workshop(), devices: [] }),
    act({ app }) {
      app.view = 'settings';
      app.changingKeys = [];
    },
  },
  'offline-key': {
    world: workshop,
    async act({ app }) {
      app.view = 'settings';
      await click(T.keyOffline);
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
      onready: (devices, releases, usb) => void play(devices, releases, usb),
    },
  });

  async function play(devices: DevicesView, releases: ReleasesView, usb: UsbView) {
    const pass = async (ms: number) => {
      clock.advance(ms);
      await tick();
    };
    await scenario?.act?.({ world, backend, app, pass, devices, releases, usb });
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

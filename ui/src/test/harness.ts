/** A window on the fake backend, with time in the test's hands. */
import { cleanup, render } from '@testing-library/svelte';
import userEvent from '@testing-library/user-event';
import { tick } from 'svelte';
import App from '../App.svelte';
import { emptyWorld, FakeBackend, type World } from '../backend/fake';
import { makeDevice, makeRelease, KEY, START, WELL, type Behaviour } from '../backend/fake/data';
import { ManualClock } from '../clock';
import { AppState } from '../state/app.svelte';
import type { DevicesView } from '../state/devices.svelte';
import type { ReleasesView } from '../state/releases.svelte';
import type { UsbView } from '../state/usb.svelte';

export const NEWER = makeRelease({
  product: 'demo',
  version: '1.1.0',
  sequence: 2,
  appSize: 191_088,
  filesSize: 24_576,
});
export const OLDER = makeRelease({
  product: 'demo',
  version: '1.0.0',
  sequence: 1,
  appSize: 188_416,
  filesSize: 20_480,
});

/** Two devices on 1.0.0, a release 1.1.0, a key. */
export function smallWorld(): World {
  return {
    ...emptyWorld(),
    releases: [structuredClone(NEWER), structuredClone(OLDER)],
    keys: [{ ...KEY }],
    devices: [
      makeDevice({ name: 'kitchen', id: 'kitchen', host: '10.0.0.21', release: OLDER }),
      makeDevice({ name: 'porch', id: 'porch', host: '10.0.0.22', release: OLDER }),
    ],
  };
}

export function behave(world: World, device: string, behaviour: Partial<Behaviour>): World {
  world.behaviours.set(device, { ...WELL, speed: 8, ...behaviour });
  return world;
}

export interface Stage {
  backend: FakeBackend;
  clock: ManualClock;
  app: AppState;
  /** Lets time pass and everything settle. */
  pass(ms: number): Promise<void>;
}

/** Everything that was promised has happened and been drawn. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 8; turn += 1) await Promise.resolve();
  await tick();
}

export function stage(world: World): Stage {
  const clock = new ManualClock(START);
  const backend = new FakeBackend(world, clock);
  const app = new AppState(backend, clock, (callback) => queueMicrotask(callback));
  return {
    backend,
    clock,
    app,
    async pass(ms) {
      clock.advance(ms);
      await settle();
    },
  };
}

export async function started(world: World): Promise<Stage> {
  const made = stage(world);
  await made.app.start();
  return made;
}

export interface OpenWindow extends Stage {
  user: ReturnType<typeof userEvent.setup>;
  container: HTMLElement;
  devices: DevicesView;
  releases: ReleasesView;
  usb: UsbView;
}

export async function openWindow(world: World): Promise<OpenWindow> {
  cleanup();
  const made = stage(world);
  let controllers: [DevicesView, ReleasesView, UsbView] | undefined;
  const { container } = render(App, {
    app: made.app,
    onready: (...ready: [DevicesView, ReleasesView, UsbView]) => (controllers = ready),
  });
  while (!controllers) await settle();
  await settle();
  const [devices, releases, usb] = controllers;
  return { ...made, user: userEvent.setup(), container, devices, releases, usb };
}

/** Lets time pass in tenths of a second, so that what waits for an answer asks the next question. */
export async function play(made: Stage, ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= 100) await made.pass(Math.min(100, left));
}

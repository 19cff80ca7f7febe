import { describe, expect, it } from 'vitest';
import type { UsbSpec } from '../backend/fake/usbports';
import type { UsbJob } from '../dto';
import { play, settle, smallWorld, started } from '../test/harness';
import { dropTarget, UsbView } from './usb.svelte';
import { MOST_LINES, UsbLogView } from './usblog.svelte';
import { needsAttention, news, stateOf } from './usbwords';

const PORT = '/dev/ttyACM0';

const JOB: UsbJob = {
  id: 1,
  kind: 'flash',
  phase: 'write',
  step: 0,
  steps: 1,
  bytes: 0,
  total: 4096,
  skipped: 0,
  rate: null,
  secondsLeft: null,
  backup: null,
  end: null,
  error: null,
  summary: '',
};

async function view(specs: UsbSpec[]) {
  const made = await started({ ...smallWorld(), usb: specs });
  return { ...made, view: new UsbView(made.app) };
}

async function connected(spec: Partial<UsbSpec>) {
  const made = await view([{ path: PORT, name: 'shed', ...spec }]);
  void made.view.connect(PORT);
  await play(made, 4200);
  return made;
}

const planned = (calls: readonly (readonly unknown[])[]) =>
  calls.filter(([name]) => name === 'usbPlanRepair').length;

describe('the ports', () => {
  it('are sorted as people count', async () => {
    const { view: usb } = await view(['ttyUSB10', 'ttyUSB9', 'ttyACM0'].map((path) => ({ path })));
    expect(usb.ports.map((port) => port.path)).toEqual(['ttyACM0', 'ttyUSB9', 'ttyUSB10']);
  });

  it('that go away are not worked on any more', async () => {
    const made = await view([{ path: 'a' }, { path: 'b' }, { path: 'c' }]);
    made.view.toggleAll();
    made.backend.unplug('b');
    await settle();
    made.view.follow();
    expect(made.view.together.map((port) => port.path)).toEqual(['a', 'c']);
    made.backend.unplug('a');
    await settle();
    made.view.follow();
    expect(made.view.many).toBe(false);
  });

  it('that come back under another name with their job are still the ones looked at', async () => {
    const made = await connected({});
    made.backend.plugIn({ path: '/dev/ttyACM1' });
    await settle();
    const before = made.app.usbPorts.get(PORT);
    const job: UsbJob = { ...JOB, id: 7 };
    if (!before) throw new Error('there is no port');
    made.backend.emit({ kind: 'usbPort', data: { ...before, job } });
    await settle();
    made.view.select(PORT);
    made.view.toggleAll();
    made.view.follow();
    made.backend.emit({ kind: 'usbPortGone', data: PORT });
    made.backend.emit({ kind: 'usbPort', data: { ...before, path: '/dev/ttyACM2', job } });
    await settle();
    made.view.follow();
    expect(made.view.port?.path).toBe('/dev/ttyACM2');
    expect(made.view.together.map((port) => port.path)).toEqual(['/dev/ttyACM1', '/dev/ttyACM2']);
  });

  it('are shown by the device that is looked for', async () => {
    const made = await connected({});
    made.backend.plugIn({ path: '/dev/ttyACM9' });
    await settle();
    made.view.select('/dev/ttyACM9');
    const device = made.app.usbPorts.get(PORT)?.board?.deviceId ?? '';
    made.app.showOnUsb(device);
    made.view.follow();
    expect(made.app.view).toBe('usb');
    expect(made.view.port?.path).toBe(PORT);
    expect(made.app.wantedOnUsb).toBeNull();
  });

  it('say on what a dropped file would go', async () => {
    const made = await view([{ path: 'a', label: 'B-1' }, { path: 'b' }]);
    expect(dropTarget(made.view)).toBe('B-1');
    made.view.toggleAll();
    expect(dropTarget(made.view)).toBe('2 boards');
  });
});

describe('a plan', () => {
  it('is made without being asked for, once for each look at a board that is not well', async () => {
    const made = await connected({ condition: 'otadata' });
    made.view.planWhereNeeded();
    made.view.planWhereNeeded();
    await settle();
    expect(planned(made.backend.calls)).toBe(1);
    expect(made.view.port?.plan?.bytes).toBe(8192);
  });

  it.each(['healthy', 'blank', 'foreign'] as const)(
    'is not made for a %s board',
    async (condition) => {
      const made = await connected({ condition });
      made.view.planWhereNeeded();
      await settle();
      expect(planned(made.backend.calls)).toBe(0);
    },
  );

  it('is made again after the board was connected again', async () => {
    const made = await connected({ condition: 'otadata' });
    made.view.planWhereNeeded();
    await settle();
    await made.view.start(PORT);
    void made.view.connect(PORT);
    await play(made, 4200);
    made.view.planWhereNeeded();
    await settle();
    expect(planned(made.backend.calls)).toBe(2);
  });

  it('of another board is refused, and that is said at the port', async () => {
    const made = await connected({ condition: 'otadata' });
    await made.view.planRepair(PORT, 'smallest');
    const port = made.view.port;
    await made.view.planRepair(PORT, 'everything');
    await settle();
    if (port) await made.view.carryOut(port);
    expect(made.view.port && made.view.errorOf(made.view.port)?.code).toBe('plan_stale');
  });
});

describe('starting a board', () => {
  it('that cannot be reset from here says to press RESET', async () => {
    const made = await connected({ byHand: true });
    made.backend.pressReset(PORT);
    await play(made, 4200);
    await made.view.start(PORT);
    await settle();
    expect(made.app.notices.map((notice) => notice.text)).toEqual([
      'Press RESET on the board to start it.',
    ]);
    expect(made.view.port?.activity).toBe('idle');
  });

  it('lets go of it, and keeps what was seen', async () => {
    const made = await connected({ condition: 'otadata' });
    await made.view.start(PORT);
    await settle();
    expect(made.view.port?.activity).toBe('idle');
    expect(made.view.port?.diagnosis?.code).toBe('otadata_bad');
  });
});

describe('the state of a port', () => {
  it.each([
    [{}, 'good', 'healthy', false],
    [{ condition: 'otadata' }, 'bad', 'does not start', true],
    [{ condition: 'files' }, 'warn', 'starts, but not all is right', true],
    [{ condition: 'blank' }, 'idle', 'not one of ours yet', false],
    [{ secured: true }, 'warn', 'secured: not written to', true],
    [{ byHand: true }, 'warn', 'hold BOOT, press RESET', true],
    [{ silent: true }, 'bad', 'no answer', true],
    [{ problem: 'port_busy' }, 'warn', 'busy: in use by another program', true],
  ] as [Partial<UsbSpec>, string, string, boolean][])(
    'of %j is %s: %s',
    async (spec, tone, words, attention) => {
      const made = await connected(spec);
      const port = made.view.port;
      if (!port) throw new Error('no port');
      expect(stateOf(port)).toEqual({ tone, text: words });
      expect(needsAttention(port)).toBe(attention);
    },
  );

  it('is told when it ends something, and not while it goes on', async () => {
    const made = await connected({ condition: 'otadata' });
    const before = made.view.port;
    if (!before) throw new Error('no port');
    expect(news(before, { ...before, activity: 'working' })).toBeNull();
    expect(news(undefined, before)).toBeNull();
    expect(news({ ...before, diagnosis: null }, before)).toContain('restarts for ever');
    expect(
      news(before, { ...before, error: { code: 'link_lost', message: 'noise', help: '' } }),
    ).toBe('shed: noise.');
  });
});

describe('the log of a board', () => {
  const line = (n: number) => ({ n, ms: n, text: `line ${n}`, kind: 'log', resolved: [] });

  async function opened() {
    const made = await view([{ path: PORT }]);
    const log = new UsbLogView(made.app, PORT);
    await settle();
    const say = async (from: number, count: number) => {
      const lines = Array.from({ length: count }, (_, index) => line(from + index));
      made.backend.emit({ kind: 'usbLog', data: { port: PORT, lines } });
      await settle();
    };
    return { ...made, log, say };
  }

  it('keeps the newest lines only', async () => {
    const { log, say } = await opened();
    await say(0, MOST_LINES);
    await say(MOST_LINES, 10);
    expect(log.lines).toHaveLength(MOST_LINES);
    expect(log.lines.at(-1)?.n).toBe(MOST_LINES + 9);
  });

  it('begins anew when the monitor was started again', async () => {
    const { log, say } = await opened();
    await say(0, 5);
    await say(0, 2);
    expect(log.lines.map((each) => each.n)).toEqual([0, 1]);
  });

  it('hears nothing more once it is closed', async () => {
    const { log, say } = await opened();
    log.close();
    await say(0, 3);
    expect(log.lines).toEqual([]);
  });

  it('is copied with what addresses mean', async () => {
    const { log, backend } = await opened();
    const lines = [{ ...line(0), resolved: ['main  src/main.rs:8'] }];
    backend.emit({ kind: 'usbLog', data: { port: PORT, lines } });
    await settle();
    expect(log.text()).toBe('line 0\n    main  src/main.rs:8\n');
  });
});

import { within } from '@testing-library/dom';
import axe from 'axe-core';
import { describe, expect, it } from 'vitest';
import { BENCH, type UsbSpec } from './backend/fake/usbports';
import { openWindow, play, settle, smallWorld, type OpenWindow } from './test/harness';
import { T } from './testids';

const PORT = '/dev/ttyACM0';
/** Long enough for a connection and a full look. */
const LOOK_MS = 4200;

const id = (testid: string) => `[data-testid="${testid}"]`;
const all = (testid: string) => [...document.querySelectorAll<HTMLElement>(id(testid))];
const there = (testid: string) => all(testid).length > 0;
const find = (testid: string) => {
  const [element] = all(testid);
  if (!element) throw new Error(`no ${testid} in the window`);
  return element;
};
const text = (testid: string) => find(testid).textContent?.replace(/\s+/g, ' ').trim();
const region = (name: string) => {
  const found = all(T.usbRegion).find((each) => each.dataset['region'] === name);
  if (!found) throw new Error(`no region ${name}`);
  return found;
};

async function click(win: OpenWindow, element: Element) {
  await win.user.click(element);
  await settle();
}

const one = (more: Partial<UsbSpec>): UsbSpec[] => [{ path: PORT, name: 'shed', ...more }];

/** The USB page on a bench of those ports. */
async function bench(usb: UsbSpec[]): Promise<OpenWindow> {
  const win = await openWindow({ ...smallWorld(), usb });
  await click(win, find(T.navUsb));
  return win;
}

/** The page with its first board connected and looked at. */
async function connected(more: Partial<UsbSpec>): Promise<OpenWindow> {
  const win = await bench(one(more));
  await click(win, find(T.usbConnect));
  await play(win, LOOK_MS);
  return win;
}

/** What axe finds wrong; colours are tested where they are defined. */
async function faults(): Promise<string[]> {
  const { violations } = await axe.run(document.body, {
    rules: { 'color-contrast': { enabled: false }, region: { enabled: false } },
  });
  return violations.map(
    ({ id: rule, nodes }) => `${rule}: ${nodes.map((node) => node.html).join(' | ')}`,
  );
}

describe('without a port', () => {
  it('says what to plug in and which driver it needs', async () => {
    await bench([]);
    expect(text(T.usbEmpty)).toContain('carries data');
    expect(text(T.usbEmpty)).toContain('driver');
    expect(there(T.usbAttention)).toBe(false);
  });

  it('takes one by its name, and says when there is none of that name', async () => {
    const win = await bench([]);
    await click(win, find(T.usbAddPort));
    await win.user.type(find(T.usbAddPath), '/dev/nothing');
    await click(win, find(T.usbAddSubmit));
    expect(document.body.textContent).toContain('There is no /dev/nothing.');
    await win.user.clear(find(T.usbAddPath));
    await win.user.type(find(T.usbAddPath), '/dev/pts/7');
    await click(win, find(T.usbAddSubmit));
    expect(all(T.usbPort).map((each) => each.dataset['port'])).toEqual(['/dev/pts/7']);
  });

  it('shows a port as soon as a board is plugged in', async () => {
    const win = await bench([]);
    win.backend.plugIn({ path: PORT });
    await settle();
    expect(text(T.usbPort)).toContain('ESP32-C3, C6, H2 or S3');
    win.backend.unplug(PORT);
    await settle();
    expect(there(T.usbEmpty)).toBe(true);
  });
});

describe('a port', () => {
  it('that is busy or that may not be opened says so, and is counted in the sidebar', async () => {
    await bench(BENCH);
    expect(text(T.usbAttention)).toContain('2');
    expect(all(T.usbPortState).map((each) => each.textContent)).toEqual([
      'not connected',
      'not connected',
      'busy: in use by another program',
      'you may not open it',
    ]);
  });

  it('that may not be opened comes with the rule that mends it', async () => {
    const win = await bench(BENCH);
    await click(win, all(T.usbPort)[3] ?? document.body);
    expect(text(T.usbProblem)).toContain('Install the udev rule');
    expect(text(T.usbRule)).toContain('uaccess');
    await click(win, find(T.usbRuleCopy));
    expect(text(T.usbRuleCopy)).toBe('Copied');
  });

  it('is walked to with the arrow keys', async () => {
    const win = await bench(BENCH);
    all(T.usbPort)[0]?.focus();
    await win.user.keyboard('{ArrowDown}{ArrowDown}');
    await settle();
    expect(find(T.usbBoard).dataset['port']).toBe('/dev/ttyUSB0');
    expect(document.activeElement).toBe(all(T.usbPort)[2]);
  });
});

describe('connecting', () => {
  it('tells what the board is', async () => {
    await connected({});
    const facts = text(T.usbFacts);
    for (const words of ['ESP32-C3 revision 0.4', '4 MiB', 'nothing is locked', 'workshop (root)'])
      expect(facts).toContain(words);
    expect(facts).toMatch(/7c:df:a1:/);
  });

  it('waits for BOOT and RESET where the board cannot be reset, and goes on by itself', async () => {
    const win = await connected({ byHand: true });
    expect(text(T.usbHoldBoot)).toContain('Hold BOOT, press RESET, then release BOOT.');
    expect(text(T.announcer)).toContain('hold BOOT, press RESET');
    expect(text(T.usbAttention)).toContain('1');
    win.backend.pressReset(PORT);
    await play(win, LOOK_MS);
    expect(text(T.usbSentence)).toBe('Nothing is wrong with this board.');
  });

  it('is cancelled while it waits, and that is no error', async () => {
    const win = await connected({ byHand: true });
    await click(win, find(T.usbConnectCancel));
    expect(there(T.usbHoldBoot)).toBe(false);
    expect(there(T.usbError)).toBe(false);
    expect(text(T.usbConnect)).toBe('Connect');
  });

  it('says what to do when nothing answers', async () => {
    await connected({ silent: true });
    expect(text(T.usbError)).toContain('Hold BOOT, press RESET');
    expect(text(T.usbError)).toContain('no_answer');
    expect(text(T.usbConnect)).toBe('Try again');
  });

  it('refuses a board that is locked, and says why', async () => {
    const win = await connected({ secured: true });
    expect(text(T.usbRefused)).toContain('boots signed images only');
    expect(there(T.usbPlan)).toBe(false);
    expect(find(T.usbFlash).getAttribute('aria-disabled')).toBe('true');
    await click(win, find(T.usbFlash));
    expect(there(T.flashSheet)).toBe(false);
  });
});

describe('the flash map', () => {
  it('is to scale and says of each region how it is', async () => {
    await connected({ condition: 'otadata' });
    expect(region('ota_0').style.flexGrow).toBe(String(0x180000));
    expect(region('otadata').dataset['health']).toBe('damaged');
    expect(region('otadata').getAttribute('aria-label')).toBe(
      'otadata, damaged: both entries are broken To be rewritten.',
    );
    expect(text(T.usbReadout)).toContain('0xe000–0x10000 · 8 KiB · entry 0: CRC 1f3c02aa');
  });

  it('is read with the pointer and with the arrow keys', async () => {
    const win = await connected({});
    expect(text(T.usbReadout)).toContain('ota_0 good demo 1.0.0, hash right · starts next');
    await win.user.hover(region('vfs'));
    await settle();
    expect(text(T.usbReadout)).toContain('vfs good');
    await win.user.unhover(region('vfs'));
    region('ota_0').focus();
    await win.user.keyboard('{ArrowRight}');
    await settle();
    expect(document.activeElement).toBe(region('ota_1'));
    await win.user.keyboard('{Home}');
    await settle();
    expect(text(T.usbReadout)).toContain('bootloader');
  });
});

describe('a repair', () => {
  it('goes from a diagnosis to 8 KiB with one button', async () => {
    const win = await connected({ condition: 'otadata' });
    expect(text(T.usbSentence)).toContain('both entries of otadata are broken');
    expect(text(T.usbNextBoot)).toContain('restarts for ever');
    expect(find(T.usbPlan).dataset['bytes']).toBe('8192');
    expect(all(T.usbPlanStep).map((step) => step.dataset['region'])).toEqual(['otadata']);
    expect(text(T.usbCarryOut)).toBe('Repair: rewrite 8 KiB');
    await click(win, find(T.usbCarryOut));
    await win.pass(5000);
    expect(text(T.usbJobEnd)).toContain('8,192 bytes written and read back.');
    expect(text(T.announcer)).toContain('shed: 8,192 bytes written and read back.');
    expect(text(T.usbSentence)).toBe('Nothing is wrong with this board.');
    expect(there(T.usbPlan)).toBe(false);
    const asked = win.backend.calls.map(([name]) => name);
    expect(asked).toEqual(['usbConnect', 'usbPlanRepair', 'usbCarryOut']);
  });

  it('offers other ways, with their bytes and what they lose', async () => {
    const win = await connected({ condition: 'otadata' });
    const all3 = all(T.usbPlanChoice);
    expect(all3.map((each) => each.dataset['how'])).toEqual(['smallest', 'slot', 'everything']);
    await click(win, within(all3[2] ?? document.body).getByRole('radio'));
    expect(all(T.usbPlanStep)).toHaveLength(6);
    expect(text(T.usbPlanLoss)).toContain('files of your own');
    expect(all(T.usbPlanChoice)[2]?.querySelector<HTMLInputElement>('input')?.checked).toBe(true);
  });

  it('says why there is none when nothing known fits', async () => {
    await connected({ condition: 'nothing_fits' });
    expect(text(T.usbPlanBlocked)).toContain('Add attic 3.2.0 to the library');
    expect(there(T.usbCarryOut)).toBe(false);
  });

  it('shows bytes, rate, time and phase, and is cancelled', async () => {
    const win = await connected({ condition: 'slot' });
    await click(win, find(T.usbCarryOut));
    await win.pass(8000);
    expect(find(T.usbJob).dataset['phase']).toBe('write');
    expect(text(T.usbJob)).toMatch(/Writing, \d+ KiB of 1\.4 MiB 96 KiB\/s, 0:\d\d left/);
    expect(all(T.usbJobPhase).map((each) => each.dataset['state'])).toEqual([
      'past',
      'past',
      'now',
      'next',
      'next',
    ]);
    await click(win, find(T.usbJobCancel));
    expect(find(T.usbJobEnd).dataset['end']).toBe('cancelled');
    expect(text(T.usbJobEnd)).toContain('Cancelled');
  });

  it('waits for a board that was unplugged, and goes on when it is back', async () => {
    const win = await connected({ condition: 'slot', unplugAt: 0.3 });
    await click(win, find(T.usbCarryOut));
    await win.pass(13_000);
    expect(text(T.usbUnplugged)).toContain('Plug it back in and it goes on where it was.');
    expect(text(T.usbAttention)).toContain('1');
    expect(text(T.announcer)).toContain('Plug it back in');
    win.backend.plugIn({ path: PORT });
    await win.pass(20_000);
    expect(there(T.usbUnplugged)).toBe(false);
    expect(find(T.usbJobEnd).dataset['end']).toBe('done');
  });

  it('that fails says why, and can be taken back', async () => {
    const win = await connected({ condition: 'slot', badSector: true });
    await click(win, find(T.usbCarryOut));
    await win.pass(9000);
    expect(text(T.usbJobEnd)).toContain('bad_flash');
    expect(text(T.usbPortState)).toBe('repair failed');
    await click(win, find(T.usbPutBack));
    expect(find(T.usbPlan).dataset['kind']).toBe('restore');
    expect(text(T.usbCarryOut)).toContain('Put back: rewrite');
  });

  it('is taken back from the list of backups, too', async () => {
    const win = await connected({ condition: 'otadata' });
    await click(win, find(T.usbCarryOut));
    await win.pass(5000);
    await click(win, find(T.usbBackups));
    expect(text(T.usbBackup)).toContain('Before: Rewrite otadata');
    await click(win, within(find(T.usbBackup)).getByRole('button'));
    expect(there(T.usbBackupsDialog)).toBe(false);
    await play(win, LOOK_MS);
    expect(find(T.usbPlan).dataset['kind']).toBe('restore');
  });
});

describe('flashing', () => {
  it('asks what, and shows the plan before anything is written', async () => {
    const win = await connected({ condition: 'blank' });
    await click(win, find(T.usbFlash));
    expect((find(T.flashRelease) as HTMLSelectElement).value).not.toBe('');
    await win.user.type(find(T.flashName), 'attic');
    await win.user.type(find(T.flashSsid), 'workshop');
    await win.user.type(find(T.flashPassword), 'correct horse');
    await click(win, find(T.flashSubmit));
    expect(there(T.flashSheet)).toBe(false);
    const [, path, request] = win.backend.calls.find(([name]) => name === 'usbPlanFlash') ?? [];
    expect(path).toBe(PORT);
    expect(request).toMatchObject({
      source: { kind: 'release' },
      name: 'attic',
      trusts: ['5f1c9e02ab77d431'],
      wifi: { ssid: 'workshop', password: 'correct horse' },
      keepNvs: true,
    });
    expect(find(T.usbPlan).dataset['kind']).toBe('flash');
    expect(text(T.usbPlan)).toContain('the boot guard does');
    await click(win, find(T.usbCarryOut));
    await win.pass(40_000);
    expect(find(T.usbJobEnd).dataset['end']).toBe('done');
  });

  it('says what is wrong with a field where it is', async () => {
    const win = await connected({ condition: 'blank' });
    await click(win, find(T.usbFlash));
    await win.user.type(find(T.flashSsid), 'workshop');
    await win.user.type(find(T.flashPassword), 'short');
    await settle();
    expect(text(T.flashProblem)).toContain('8 to 63 characters');
    expect(find(T.flashSubmit).getAttribute('aria-disabled')).toBe('true');
    await click(win, find(T.flashSubmit));
    expect(win.backend.calls.some(([name]) => name === 'usbPlanFlash')).toBe(false);
  });

  it('shows on the page why there is no plan', async () => {
    const win = await connected({ condition: 'blank' });
    win.usb.openFlash('/home/mira/holiday.jpg');
    await settle();
    await click(win, find(T.flashSubmit));
    expect(text(T.usbError)).toContain('holiday.jpg is nothing that a board runs');
  });

  it('is offered for a file that is dropped on the page', async () => {
    const win = await connected({});
    win.backend.drop({ kind: 'enter', paths: ['/home/mira/target/blink'] });
    await settle();
    expect(text(T.dropSentence)).toBe('Flash blink on shed');
    win.backend.drop({ kind: 'drop', paths: ['/home/mira/target/blink'] });
    await settle();
    expect(text(T.flashSheet)).toContain('blink');
    await click(win, find(T.flashSubmit));
    const [, , request] = win.backend.calls.find(([name]) => name === 'usbPlanFlash') ?? [];
    expect(request).toMatchObject({ source: { kind: 'file', path: '/home/mira/target/blink' } });
  });

  it('leaves a drop on the other pages as it was', async () => {
    const win = await connected({});
    win.app.view = 'devices';
    win.backend.drop({ kind: 'enter', paths: ['/home/mira/demo-1.2.0.airlift'] });
    await settle();
    expect(text(T.dropSentence)).toBe('Add release demo 1.2.0');
  });
});

describe('ten boards at once', () => {
  const TEN: UsbSpec[] = Array.from({ length: 10 }, (_, index) => ({
    path: `/dev/ttyACM${index}`,
    condition: 'blank',
    ...(index === 3 ? { badSector: true } : {}),
    ...(index === 6 ? { silent: true } : {}),
  }));

  it('run side by side, and one that fails does not stop the others', async () => {
    const win = await bench(TEN);
    await click(win, find(T.usbCheckAll));
    const label = all(T.usbLabel)[0];
    await win.user.type(label ?? document.body, 'B-0021');
    await win.user.tab();
    expect(win.backend.calls.at(-1)).toEqual(['usbLabel', '/dev/ttyACM0', 'B-0021']);
    await click(win, find(T.usbFlash));
    await click(win, find(T.flashSubmit));
    await play(win, LOOK_MS);
    expect(text(T.usbManyGo)).toBe('Flash 9 boards: write 14.2 MiB');
    await click(win, find(T.usbManyGo));
    await win.pass(60_000);
    expect(text(T.usbMany)).toContain('8 done, 2 failed');
    expect(all(T.usbManyState)[3]?.textContent).toContain('bad_flash');
    expect(all(T.usbManyState)[6]?.textContent).toContain('no_answer');

    await click(win, find(T.usbRecords));
    expect(all(T.usbRecord)).toHaveLength(9);
    win.backend.dialogs.push(['/home/mira/boards.csv']);
    await click(win, find(T.usbExport));
    expect(win.backend.calls.at(-1)).toEqual(['usbExportRecords', '/home/mira/boards.csv']);
  }, 20_000);

  it('are all cancelled together', async () => {
    const win = await bench(TEN.slice(0, 3));
    await click(win, find(T.usbCheckAll));
    await click(win, find(T.usbFlash));
    await click(win, find(T.flashSubmit));
    await play(win, LOOK_MS);
    await click(win, find(T.usbManyGo));
    await play(win, 3000);
    await click(win, find(T.usbManyCancel));
    expect(all(T.usbManyRow).map((row) => row.dataset['end'])).toEqual([
      'cancelled',
      'cancelled',
      'cancelled',
    ]);
  });
});

describe('the log over the cable', () => {
  async function logging(): Promise<OpenWindow> {
    const win = await connected({});
    await click(win, find(T.usbLogOpen));
    await click(win, find(T.usbLogStop));
    await play(win, 3000);
    return win;
  }

  it('shows lines by what they are, with what addresses mean', async () => {
    await logging();
    const kinds = all(T.usbLogLine).map((line) => line.dataset['kind']);
    expect(kinds).toHaveLength(15);
    expect(kinds).toContain('panic');
    const backtrace = all(T.usbLogLine).find((line) => line.dataset['kind'] === 'backtrace');
    expect(backtrace?.textContent).toContain('src/sensor.rs:41');
    expect(text(T.usbPortState)).toBe('showing its log');
  });

  it('is searched, also in resolved names, and shows trouble only', async () => {
    const win = await logging();
    await win.user.type(find(T.usbLogSearch), 'sensor.rs');
    await settle();
    expect(all(T.usbLogLine)).toHaveLength(1);
    expect(text(T.usbLogState)).toBe('1 of 15 lines');
    await win.user.clear(find(T.usbLogSearch));
    await click(win, find(T.usbLogTrouble));
    expect(new Set(all(T.usbLogLine).map((line) => line.dataset['kind']))).toEqual(
      new Set(['reset', 'error', 'panic', 'backtrace']),
    );
  });

  it('resets the board, is saved, and is stopped', async () => {
    const win = await logging();
    await click(win, find(T.usbLogReset));
    win.backend.dialogs.push(['/home/mira/shed.log']);
    await click(win, find(T.usbLogSave));
    await click(win, find(T.usbLogStop));
    expect(win.backend.calls.slice(-3)).toEqual([
      ['usbReset', PORT],
      ['usbSaveLog', PORT, '/home/mira/shed.log'],
      ['usbStopMonitor', PORT],
    ]);
    expect(text(T.usbLogState)).toContain('stopped');
  });

  it('keeps its lines when the page is left and shown again', async () => {
    const win = await logging();
    win.app.view = 'devices';
    await settle();
    win.app.view = 'usb';
    await settle();
    expect(all(T.usbLogLine)).toHaveLength(15);
  });
});

describe('Wi-Fi over the cable', () => {
  it('sends a network, shows the address, and adds the device', async () => {
    const win = await connected({});
    await click(win, find(T.usbWifi));
    await win.user.type(find(T.usbWifiSsid), 'workshop');
    await win.user.type(find(T.usbWifiPassword), 'correct horse');
    await click(win, find(T.usbWifiSend));
    await play(win, 2000);
    expect(text(T.usbWifiAddress)).toBe('10.0.0.77');
    await click(win, find(T.usbWifiAdd));
    expect(win.backend.calls.at(-1)).toEqual(['addDevice', '10.0.0.77']);
    expect(there(T.usbWifiDialog)).toBe(false);
  });

  it('says what to do when the board cannot join', async () => {
    const win = await connected({});
    await click(win, find(T.usbWifi));
    await win.user.type(find(T.usbWifiSsid), 'workshop');
    await win.user.type(find(T.usbWifiPassword), 'wrong horse');
    await click(win, find(T.usbWifiSend));
    await play(win, 2000);
    expect(text(T.usbWifiDialog)).toContain('2.4 GHz');
  });
});

describe('from the list of devices', () => {
  it('a device that was not seen again is diagnosed over USB', async () => {
    const win = await openWindow({ ...smallWorld(), usb: one({}) });
    const job = {
      id: 9,
      device: 'kitchen',
      deviceName: 'kitchen',
      product: 'demo',
      release: win.app.releases[0]?.id ?? '',
      fromVersion: '1.0.0',
      toVersion: '1.1.0',
      toSlot: 'ota_1',
      phase: 'ended',
      parts: [],
      rate: null,
      secondsLeft: null,
      started: 1,
      ended: 2,
      end: 'failed',
      error: { code: 'not_seen_again', message: 'kitchen was not seen again', help: 'Power?' },
      summary: 'kitchen was not seen again for 2 min',
      canCancel: false,
      canRetry: true,
    };
    win.backend.emit({ kind: 'job', data: job } as never);
    await settle();
    const [inRow] = all(T.diagnoseOverUsb);
    await click(win, inRow ?? document.body);
    expect(win.app.view).toBe('usb');
    expect(there(T.usbBoard)).toBe(true);
  });

  it('a device that trusts none of the keys leads to the cable', async () => {
    const world = { ...smallWorld(), usb: one({}) };
    const [first] = world.devices;
    if (first) Object.assign(first, { trusts: ['ffff'], root: 'ffff', releaseKeys: ['ffff'] });
    const win = await openWindow(world);
    win.devices.active = 'kitchen';
    await settle();
    await click(win, find(T.rekeyOverUsb));
    expect(win.app.view).toBe('usb');
  });
});

describe('everybody', () => {
  it.each([
    ['no port', [], false],
    ['the bench', BENCH, false],
    ['a dead board with its plan', one({ condition: 'otadata' }), true],
    ['a locked board', one({ secured: true }), true],
    ['a board that waits for BOOT', one({ byHand: true }), true],
  ] as [string, UsbSpec[], boolean][])('can use the page: %s', async (_, specs, connect) => {
    const win = await bench(specs);
    if (connect) {
      await click(win, find(T.usbConnect));
      await play(win, LOOK_MS);
    }
    expect(await faults()).toEqual([]);
  });

  it('can use the sheet, the log and several boards', async () => {
    const win = await connected({ condition: 'blank' });
    await win.usb.startMonitor(PORT, null);
    await play(win, 3000);
    expect(await faults()).toEqual([]);
    await click(win, find(T.usbFlash));
    expect(await faults()).toEqual([]);
    await click(win, find(T.flashClose));
    win.backend.plugIn({ path: '/dev/ttyACM9' });
    await settle();
    win.usb.toggleAll();
    await settle();
    expect(await faults()).toEqual([]);
  });
});

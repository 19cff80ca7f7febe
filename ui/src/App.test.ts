import { within } from '@testing-library/dom';
import axe from 'axe-core';
import { describe, expect, it, vi } from 'vitest';
import { emptyWorld } from './backend/fake';
import { many, workshop } from './backend/fake/worlds';
import { behave, NEWER, openWindow, settle, smallWorld, type OpenWindow } from './test/harness';
import { T } from './testids';

const id = (testid: string) => `[data-testid="${testid}"]`;
const find = (testid: string) => {
  const element = document.querySelector<HTMLElement>(id(testid));
  if (!element) throw new Error(`no ${testid} in the window`);
  return element;
};
const all = (testid: string) => [...document.querySelectorAll<HTMLElement>(id(testid))];
const there = (testid: string) => document.querySelector(id(testid)) !== null;
const row = (device: string) => {
  const element = document.querySelector<HTMLElement>(`[data-device="${device}"]`);
  if (!element) throw new Error(`no row of ${device}`);
  return element;
};
const text = (testid: string) => find(testid).textContent?.replace(/\s+/g, ' ').trim();

async function click(win: OpenWindow, element: Element) {
  await win.user.click(element);
  await settle();
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

describe('the first start', () => {
  it('says what Airlift is in three lines and offers two ways on', async () => {
    await openWindow(emptyWorld());
    const start = find(T.firstStart);
    expect(start.querySelectorAll('p')).toHaveLength(3);
    expect(within(start).getAllByRole('button')).toHaveLength(2);
  });

  it('shows two virtual devices when they are wanted', async () => {
    const win = await openWindow(emptyWorld());
    await click(win, find(T.tryVirtual));
    expect(all(T.deviceRow)).toHaveLength(2);
    expect(there(T.firstStart)).toBe(false);
    expect(find(T.releasePicker).textContent).toMatch(/virtual-\w+ 1\.1\.0/);
  });

  it('takes a file from the dialog as if it had been dropped', async () => {
    const win = await openWindow({ ...emptyWorld() });
    win.backend.dialogs.push(['/tmp/demo-1.2.0.airlift']);
    await click(win, find(T.chooseFile));
    expect(win.app.releases.map((release) => release.version)).toEqual(['1.2.0']);
  });
});

describe('an update', () => {
  it('goes from a click to both hashes and the new version', async () => {
    const win = await openWindow(smallWorld());
    await click(win, within(row('kitchen')).getByTestId(T.deviceUpdate));
    expect(within(row('kitchen')).getByTestId(T.deviceCancel)).toBeTruthy();
    await win.pass(2000);
    const map = find(T.chunkMap);
    expect(map.dataset['total']).toBe('53');
    expect(Number(map.dataset['done'])).toBeGreaterThan(0);
    expect(find(T.hashMatch).dataset['verdict']).toBe('waiting');
    expect(all(T.jobPhase).map((each) => each.dataset['state'])).toContain('now');

    await win.pass(60_000);
    expect(find(T.chunkMap).dataset['done']).toBe('53');
    expect(all(T.hashMatch).map((each) => each.dataset['verdict'])).toEqual(['match', 'match']);
    const [expected, computed] = [find(T.hashExpected), find(T.hashComputed)];
    expect(computed.dataset['hash']).toBe(expected.dataset['hash']);
    expect(text(T.jobSummary)).toBe('Running 1.1.0 from ota_1, confirmed within 3 s of its start.');
    expect(within(row('kitchen')).getByTestId(T.deviceVersion).textContent).toContain('1.1.0');
    expect(within(row('kitchen')).getByTestId(T.deviceSlot).textContent).toBe('ota_1');
    expect(text(T.announcer)).toContain('kitchen: Running 1.1.0');
  });

  it('goes to all that are checked', async () => {
    const win = await openWindow(smallWorld());
    expect(find(T.updateSelected).getAttribute('aria-disabled')).toBe('true');
    for (const device of ['kitchen', 'porch']) {
      await click(win, within(row(device)).getByTestId(T.deviceCheck));
    }
    expect(text(T.updateSelected)).toBe('Update 2');
    await click(win, find(T.updateSelected));
    await win.pass(60_000);
    expect([...win.app.devices.values()].map((device) => device.version)).toEqual([
      '1.1.0',
      '1.1.0',
    ]);
  });

  it('counts refused chunks and lists their hashes', async () => {
    const win = await openWindow(behave(smallWorld(), 'kitchen', { refuseEvery: 20 }));
    await click(win, within(row('kitchen')).getByTestId(T.deviceUpdate));
    await win.pass(60_000);
    expect(find(T.chunkMap).dataset['refused']).toBe('2');
    expect(find(T.jobCounts).dataset['refused']).toBe('2');
    await click(win, within(find(T.pane)).getByRole('tab', { name: 'Refused 2' }));
    expect(find(T.refusedList).querySelectorAll('tbody tr')).toHaveLength(2);
  });

  it('says that it went back, and why', async () => {
    const win = await openWindow(behave(smallWorld(), 'kitchen', { fault: 'never_confirms' }));
    await click(win, within(row('kitchen')).getByTestId(T.deviceUpdate));
    await win.pass(60_000);
    expect(find(T.jobSummary).dataset['end']).toBe('rolled_back');
    expect(text(T.jobSummary)).toContain('Went back to 1.0.0');
    expect(row('kitchen').textContent).toContain('went back');
    expect(
      all(T.jobPhase).find((each) => each.dataset['state'] === 'failed')?.dataset['phase'],
    ).toBe('confirm');
  });

  it('says what to do when it failed, and tries again', async () => {
    const win = await openWindow(behave(smallWorld(), 'kitchen', { fault: 'host_unreachable' }));
    await click(win, within(row('kitchen')).getByTestId(T.deviceUpdate));
    await win.pass(10_000);
    expect(find(T.pane).textContent).toContain('Allow inbound TCP connections');
    expect(find(T.pane).textContent).toContain('host_unreachable');
    await click(win, find(T.jobRetry));
    expect(win.backend.calls.at(-1)).toEqual(['retryJob', 1]);
    expect(win.app.jobOf('kitchen')?.id).toBe(2);
  });

  it('stops when it is cancelled', async () => {
    const win = await openWindow(smallWorld());
    await click(win, within(row('kitchen')).getByTestId(T.deviceUpdate));
    await win.pass(1500);
    await click(win, find(T.jobCancel));
    expect(win.app.jobOf('kitchen')?.end).toBe('cancelled');
    expect(text(T.jobSummary)).toBe('Cancelled; what the device has is kept.');
  });

  it('shows what the device said', async () => {
    const win = await openWindow(smallWorld());
    await click(win, within(row('kitchen')).getByTestId(T.deviceUpdate));
    await click(win, within(find(T.pane)).getByRole('tab', { name: 'Log' }));
    await win.pass(60_000);
    expect(text(T.jobLog)).toContain('app read back');
    expect(text(T.jobLog)).toContain('confirmed');
  });
});

describe('a window that missed events', () => {
  it('reads the job that it shows again', async () => {
    const win = await openWindow(smallWorld());
    await click(win, within(row('kitchen')).getByTestId(T.deviceUpdate));
    await win.pass(1000);
    const detail = vi.spyOn(win.backend, 'jobDetail');
    win.backend.loseOneEvent();
    await win.pass(200);
    expect(detail).toHaveBeenCalledWith(1);
    await win.pass(60_000);
    expect(find(T.chunkMap).dataset['readBack']).toBe('53');
  });
});

describe('a row', () => {
  it('says why Update is off, also to those who do not see it', async () => {
    const win = await openWindow(workshop());
    win.devices.choose(win.app.releases[0]?.id ?? '');
    await settle();
    const lamp = [...win.app.devices.values()].find((device) => device.name === 'desk-lamp');
    const off = within(row(lamp?.id ?? '')).getByTestId(T.deviceOff);
    expect(off.textContent).toContain('other product');
    expect(off.textContent).toContain('Choose a release made for this product.');
    expect(off.title).toContain('desk-lamp is lamp');
  });

  it('stays when its device is offline, with when it was last seen', async () => {
    const win = await openWindow(workshop());
    const attic = [...win.app.devices.values()].find((device) => device.name === 'attic');
    const atticRow = row(attic?.id ?? '');
    expect(atticRow.dataset['online']).toBe('false');
    expect(atticRow.textContent).toContain('3 d ago');
    expect(within(atticRow).getByTestId(T.deviceUpdate).textContent).toBe('Queue');
  });

  it('leads to slots, keys and memory', async () => {
    const win = await openWindow(smallWorld());
    await click(win, row('porch'));
    const details = find(T.deviceDetails).textContent ?? '';
    const wanted = ['ota_0', 'ota_1', 'workshop (root)', '140 KB', 'ESP32-C3', 'boot guard'];
    for (const words of [...wanted, '−58 dBm, good', 'on purpose', '3 d']) {
      expect(details).toContain(words);
    }
  });
});

describe('the log of a device', () => {
  async function opened(lines: string[] | null) {
    const win = await openWindow(smallWorld());
    win.backend.logs.set('porch', lines);
    await click(win, row('porch'));
    await click(win, within(document.body).getByRole('tab', { name: 'Device log' }));
    await settle();
    return win;
  }

  it('shows its lines as text, and new ones as they come', async () => {
    const lines = ['79 INFO ota_0 runs after software: Confirmed', '90 WARN <img src=x onerror=a>'];
    const win = await opened(lines);
    expect(all(T.deviceLogLine).map((line) => line.textContent)).toEqual(lines);
    expect(find(T.deviceLog).querySelector('img')).toBeNull();
    lines.push('120 INFO porch is ready');
    await win.pass(2000);
    await settle();
    expect(all(T.deviceLogLine)).toHaveLength(3);
    expect(text(T.deviceLogState)).toBe('3 lines');
    expect(await faults()).toEqual([]);
  });

  it('is searched, copied and cleared', async () => {
    const win = await opened(['1 INFO one', '2 WARN two']);
    const copied = vi.spyOn(navigator.clipboard, 'writeText').mockResolvedValue();
    await win.user.type(find(T.deviceLogSearch), 'WARN');
    await settle();
    expect(text(T.deviceLogState)).toBe('1 of 2 lines');
    await click(win, find(T.deviceLogCopy));
    expect(copied).toHaveBeenCalledWith('2 WARN two\n');
    await click(win, find(T.deviceLogClear));
    expect(there(T.deviceLogLine)).toBe(false);
  });

  it('says that there is none when the updater keeps none', async () => {
    await opened(null);
    expect(text(T.deviceLogState)).toBe('Its updater keeps no log.');
  });
});

describe('a device that was offered an old release', () => {
  const SAID =
    '10.0.0.66 offered it 1.0.0 (sequence 1) although 1.1.0 (sequence 2) is the newest. It was refused.';

  function offered() {
    const world = smallWorld();
    const [kitchen] = world.devices;
    if (!kitchen) throw new Error('no kitchen');
    kitchen.staleOffer = {
      release: 'ab'.repeat(32),
      offered: 1,
      offeredVersion: '1.0.0',
      newest: 2,
      newestVersion: '1.1.0',
      by: '10.0.0.66',
      sentence: SAID,
    };
    return { world, kitchen };
  }

  it('says so in its row, and who and what in its details', async () => {
    const win = await openWindow(offered().world);
    expect(all(T.deviceStale)).toHaveLength(1);
    expect(row('kitchen').textContent).toContain(SAID);
    await click(win, row('kitchen'));
    expect(text(T.staleOffer)).toContain(SAID);
    expect(text(T.staleOffer)).toContain('If 10.0.0.66 is a computer of yours');
    expect(await faults()).toEqual([]);
    await click(win, row('porch'));
    expect(there(T.staleOffer)).toBe(false);
  });

  it('waits for a key with a passphrase, which can be opened there', async () => {
    const { world, kitchen } = offered();
    kitchen.freshnessRequired = true;
    kitchen.blocked = {
      code: 'freshness_required',
      message: 'device kitchen takes a release only with a signed statement',
      help: 'Open the key.',
    };
    for (const key of world.keys) key.needsPassphrase = true;
    const win = await openWindow(world);
    expect(row('kitchen').textContent).toContain('key not open');
    await click(win, row('kitchen'));
    await click(win, find(T.openKey));
    await win.user.type(find(T.unlockPassphrase), 'wrong');
    await click(win, find(T.unlockSubmit));
    expect(text(T.errorCode)).toContain('bad_passphrase');
    await win.user.type(find(T.unlockPassphrase), 'right');
    await click(win, find(T.unlockSubmit));
    expect(there(T.unlockKey)).toBe(false);
    expect(row('kitchen').dataset['offer']).toBe('update');
    expect(JSON.stringify(win.backend.calls)).not.toContain('right');
  });
});

describe('a new version that did not stay', () => {
  it.each([
    ['health_check', 'sensor missing', 'its own check failed: “sensor missing”'],
    ['not_confirmed', 'waits for the pump', 'it did not confirm in time: “waits for the pump”'],
    ['no_network', 'no address', 'it did not reach the network: “no address”'],
    ['watchdog', null, 'it hung or did not confirm in time, and the watchdog reset it'],
    ['panic', null, 'its program panicked'],
    ['gremlins', null, 'it did not confirm, and the device did not say why'],
  ])('says why in its device: %s', async (cause, detail, words) => {
    const world = smallWorld();
    const [kitchen] = world.devices;
    if (!kitchen) throw new Error('no kitchen');
    kitchen.lastUpdate = { release: NEWER.id, end: 'rolled_back', cause, detail, boots: 1 };
    const win = await openWindow(world);
    await click(win, row('kitchen'));
    expect(text(T.deviceCause)).toContain(
      `1.1.0 was on trial, and ${words}. The device went back to 1.0.0.`,
    );
  });

  it('says why in its job', async () => {
    const win = await openWindow(behave(smallWorld(), 'kitchen', { fault: 'fails_check' }));
    await click(win, within(row('kitchen')).getByTestId(T.deviceUpdate));
    for (let n = 0; n < 60; n += 1) await win.pass(1000);
    expect(text(T.jobSummary)).toBe(
      'Went back to 1.0.0. 1.1.0 was on trial, and its own check said “sensor missing”.',
    );
  });
});

describe('the keyboard', () => {
  it('moves, checks, updates and reaches the details', async () => {
    const win = await openWindow(smallWorld());
    row('kitchen').focus();
    await win.user.keyboard('{ArrowDown}');
    await settle();
    expect(document.activeElement).toBe(row('porch'));
    await win.user.keyboard(' ');
    expect([...win.devices.checked]).toEqual(['porch']);
    await win.user.keyboard('{Control>}{Enter}{/Control}');
    await settle();
    expect(win.app.jobOf('porch')).toBeDefined();
    row('porch').focus();
    await win.user.keyboard('{Enter}');
    expect(document.activeElement?.getAttribute('role')).toBe('tab');
    await win.user.keyboard('{ArrowRight}');
    expect(document.activeElement?.textContent).toBe('Log');
  });

  it('searches with Ctrl K, also from another view', async () => {
    const win = await openWindow(smallWorld());
    await win.user.keyboard('{Control>}5{/Control}');
    expect(win.app.view).toBe('settings');
    await win.user.keyboard('{Control>}1{/Control}');
    await settle();
    await win.user.keyboard('{Control>}k{/Control}');
    expect(document.activeElement).toBe(find(T.search));
    await win.user.keyboard('por');
    await settle();
    expect(all(T.deviceRow).map((each) => each.dataset['device'])).toEqual(['porch']);
    await win.user.keyboard('{ArrowDown}');
    await settle();
    expect(document.activeElement).toBe(row('porch'));
    await win.user.keyboard('{Control>}k{/Control}{Escape}');
    await settle();
    expect(all(T.deviceRow)).toHaveLength(2);
  });

  it('tells each chunk', async () => {
    const win = await openWindow(behave(smallWorld(), 'kitchen', { refuseEvery: 3 }));
    await click(win, within(row('kitchen')).getByTestId(T.deviceUpdate));
    await win.pass(60_000);
    const map = find(T.chunkMap);
    map.focus();
    await win.user.keyboard('{ArrowRight}{ArrowRight}{ArrowRight}');
    await settle();
    expect(map.getAttribute('aria-valuetext')).toMatch(
      /^app chunk 2, offset 8,192, 4,096 bytes, read back, refused (once|\d times)$/,
    );
    expect(text(T.chunkReadout)).toMatch(/app chunk 2, .* expected [0-9a-f]{8}…, got [0-9a-f]{8}…/);
  });

  it('resizes the details', async () => {
    const win = await openWindow(smallWorld());
    const line = document.querySelector<HTMLElement>('[role="separator"]');
    const before = Number(line?.getAttribute('aria-valuenow'));
    line?.focus();
    await win.user.keyboard('{ArrowDown}');
    await settle();
    expect(Number(line?.getAttribute('aria-valuenow'))).toBe(before - 16);
  });

  it('picks a release', async () => {
    const win = await openWindow(smallWorld());
    const picker = find(T.releasePicker);
    picker.focus();
    await win.user.keyboard('{Enter}{ArrowDown}{Enter}');
    await settle();
    expect(picker.textContent).toContain('demo 1.0.0');
    expect(picker.getAttribute('aria-expanded')).toBe('false');
    await win.user.keyboard('{Enter}{Escape}');
    expect(picker.getAttribute('aria-expanded')).toBe('false');
  });
});

describe('a drop', () => {
  it('dims the window and says what it would do', async () => {
    const win = await openWindow(smallWorld());
    win.backend.drop({ kind: 'enter', paths: ['/tmp/demo-1.2.0.airlift'] });
    await settle();
    expect(find(T.dropOverlay).dataset['kind']).toBe('addRelease');
    expect(text(T.dropSentence)).toBe('Add release demo 1.2.0');
    win.backend.drop({ kind: 'drop', paths: ['/tmp/demo-1.2.0.airlift'] });
    await settle();
    expect(there(T.dropOverlay)).toBe(false);
    expect(text(T.notice)).toContain('Added demo 1.2.0.');
    expect(find(T.releasePicker).textContent).toContain('1.2.0');
  });

  it('of an image opens the sheet, and Enter signs and adds', async () => {
    const win = await openWindow(smallWorld());
    win.backend.drop({ kind: 'drop', paths: ['/tmp/demo-1.2.0.bin'] });
    await settle();
    expect(find(T.sheet).textContent).toContain('checksum and appended SHA-256 are right');
    const version = find(T.sheetVersion);
    await win.user.clear(version);
    await win.user.type(version, '1.3.0{Enter}');
    await settle();
    expect(there(T.sheet)).toBe(false);
    expect(win.app.releases[0]?.version).toBe('1.3.0');
    expect(find(T.releasePicker).textContent).toContain('1.3.0');
  });

  it('is not taken while the sheet is open', async () => {
    const win = await openWindow(smallWorld());
    win.backend.drop({ kind: 'drop', paths: ['/tmp/demo-1.2.0.bin'] });
    await settle();
    win.backend.drop({ kind: 'enter', paths: ['/tmp/demo-1.2.0.airlift'] });
    await settle();
    expect(there(T.dropOverlay)).toBe(false);
  });
});

describe('the sheet', () => {
  async function sheet(world = smallWorld()) {
    const win = await openWindow(world);
    win.backend.drop({ kind: 'drop', paths: ['/tmp/demo-1.2.0.bin'] });
    await settle();
    return win;
  }

  it('shows a problem at the field that causes it', async () => {
    const win = await sheet();
    await win.user.clear(find(T.sheetProduct));
    await win.user.type(find(T.sheetProduct), 'Demo!');
    await settle();
    const problem = find(T.sheetProblem);
    expect(problem.dataset['field']).toBe('product');
    expect(find(T.sheetProduct).getAttribute('aria-invalid')).toBe('true');
    expect(find(T.sheetProduct).getAttribute('aria-describedby')).toBe(problem.id);
  });

  it('closes without a trace', async () => {
    const win = await sheet();
    find(T.sheet).dispatchEvent(new Event('cancel', { cancelable: true }));
    await settle();
    expect(there(T.sheet)).toBe(false);
    expect(win.app.releases).toHaveLength(2);
  });

  it('makes the first key, and signs once its copy is saved', async () => {
    const win = await sheet({ ...smallWorld(), keys: [] });
    await click(win, find(T.sheetMakeKey));
    expect(there(T.sheetSaveKey)).toBe(true);
    await click(win, find(T.sheetSubmit));
    expect(there(T.sheet)).toBe(true);
    win.backend.dialogs.push(['/media/stick/demo-key.pem']);
    await click(win, find(T.sheetSaveKey));
    await click(win, find(T.sheetSubmit));
    expect(there(T.sheet)).toBe(false);
    expect(win.app.releases).toHaveLength(3);
  });
});

describe('going back', () => {
  it('signs the old release again under the next sequence', async () => {
    const win = await openWindow(smallWorld());
    win.app.view = 'releases';
    await settle();
    const [, old] = all(T.releaseRow);
    if (!old) throw new Error('no old release');
    await click(win, old);
    await click(win, find(T.releaseGoBack));
    await click(
      win,
      within(document.querySelector('dialog') as HTMLElement).getByText('Sign as sequence 3'),
    );
    expect(win.app.releases[0]).toMatchObject({ version: '1.0.0', sequence: 3 });
    expect(document.querySelector('dialog')).toBeNull();
  });
});

describe('a thousand devices', () => {
  it('cost as many rows as are in sight', async () => {
    const win = await openWindow(many(1000));
    expect(win.app.devices.size).toBe(1000);
    expect(all(T.deviceRow).length).toBeLessThan(60);
    expect(document.querySelector('[role="grid"]')?.getAttribute('aria-rowcount')).toBe('1001');
  });

  it('keep the focus on a row that is far away', async () => {
    const win = await openWindow(many(1000));
    all(T.deviceRow)[0]?.focus();
    await win.user.keyboard('{End}');
    await settle();
    expect((document.activeElement as HTMLElement).textContent).toContain('node-1000');
  });
});

describe('trouble', () => {
  it('is told instead of an empty window', async () => {
    const win = await openWindow(smallWorld());
    win.backend.setServer({
      addresses: [],
      error: { code: 'cannot_listen', message: 'port 7410 is taken', help: 'Choose another port.' },
    });
    await settle();
    expect(find(T.serverStatus).textContent).toContain('port 7410 is taken');
  });

  it('of adding a device stays with the field', async () => {
    const win = await openWindow(smallWorld());
    await click(win, find(T.addDevice));
    await win.user.type(find(T.addDeviceAddress), '10.9.0.1');
    await click(win, find(T.addDeviceSubmit));
    expect(document.querySelector('dialog')?.textContent).toContain('Nothing answers at 10.9.0.1.');
    await win.user.clear(find(T.addDeviceAddress));
    await win.user.type(find(T.addDeviceAddress), '10.0.0.77');
    await click(win, find(T.addDeviceSubmit));
    expect(document.querySelector('dialog')).toBeNull();
    expect(win.devices.active).toBe([...win.app.devices.values()].at(-1)?.id);
  });

  it('comes with a code to copy', async () => {
    const win = await openWindow(smallWorld());
    const copied = vi.spyOn(navigator.clipboard, 'writeText').mockResolvedValue();
    win.app.complain({ code: 'io', message: 'the disk is full', help: 'Make room.' });
    await settle();
    await click(win, find(T.errorCode));
    expect(copied).toHaveBeenCalledWith('io: The disk is full. Make room.');
  });
});

describe('every view', () => {
  const SCENES: [name: string, arrange: (win: OpenWindow) => void | Promise<void>][] = [
    ['devices', () => undefined],
    ['a device', (win) => click(win, row(win.app.order[0] ?? ''))],
    [
      'an update',
      async (win) => {
        await win.backend.startUpdate(
          [win.app.order[4] ?? ''],
          win.app.releases[0]?.id ?? NEWER.id,
          false,
        );
        win.devices.active = win.app.order[4] ?? '';
        await win.pass(2000);
      },
    ],
    ['the open picker', (win) => click(win, find(T.releasePicker))],
    [
      'releases',
      (win) => {
        win.app.view = 'releases';
        win.releases.select(win.app.releases[0]?.id ?? '');
      },
    ],
    ['history', (win) => void (win.app.view = 'history')],
    ['settings', (win) => void (win.app.view = 'settings')],
    ['the sheet', (win) => win.backend.drop({ kind: 'drop', paths: ['/tmp/demo-1.2.0.bin'] })],
    [
      'a question',
      (win) =>
        void win.app.ask({ title: 'Delete?', text: 'Gone.', action: 'Delete', danger: true }),
    ],
    ['a drop', (win) => win.backend.drop({ kind: 'enter', paths: ['/tmp/demo-1.2.0.airlift'] })],
    [
      'an error',
      (win) => win.app.complain({ code: 'io', message: 'the disk is full', help: 'Make room.' }),
    ],
  ];

  it.each(SCENES)('is fit for assistive technology: %s', async (_, arrange) => {
    const win = await openWindow(workshop());
    await arrange(win);
    await settle();
    expect(await faults()).toEqual([]);
  });

  it('is so at the first start, too', async () => {
    await openWindow(emptyWorld());
    expect(await faults()).toEqual([]);
  });

  it('follows the theme of the settings', async () => {
    const win = await openWindow(smallWorld());
    expect(document.documentElement.dataset['theme']).toBeUndefined();
    await win.backend.setSettings({ ...win.app.settings, theme: 'dark' });
    await settle();
    expect(document.documentElement.dataset['theme']).toBe('dark');
  });
});

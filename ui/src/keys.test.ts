/** The keys in the window: what the table says, a spare, a change of keys from end to end. */
import { within } from '@testing-library/dom';
import { describe, expect, it } from 'vitest';
import { KEY, OFFLINE } from './backend/fake/data';
import { openWindow, settle, smallWorld } from './test/harness';
import { T } from './testids';

const find = (testid: string) => document.querySelector<HTMLElement>(`[data-testid="${testid}"]`);
const must = (testid: string): HTMLElement => {
  const found = find(testid);
  if (!found) throw new Error(`no ${testid}`);
  return found;
};

async function settings(world = smallWorld()) {
  const win = await openWindow(world);
  await win.user.click(must(T.navSettings));
  return win;
}

describe('the keys', () => {
  it('say which devices trust them, and as what', async () => {
    const world = smallWorld();
    world.keys.push({ ...OFFLINE });
    const [kitchen] = world.devices;
    if (kitchen) Object.assign(kitchen, { root: OFFLINE.id });
    await settings(world);
    const row = (id: string) => {
      const found = document.querySelector<HTMLElement>(`[data-key="${id}"]`);
      return found?.textContent ?? '';
    };
    expect(row(KEY.id)).toContain('root of 1, releases for 2');
    expect(row(OFFLINE.id)).toContain('offline');
    expect(row(OFFLINE.id)).toContain('root of 1');
  });

  it('get a spare whose private part is in a file only', async () => {
    const win = await settings();
    await win.user.click(must(T.keyOffline));
    const make = must(T.offlineMake) as HTMLButtonElement;
    expect(make.disabled).toBe(true);
    win.backend.dialogs.push(['/media/stick/spare.pem']);
    await win.user.click(must(T.offlineFile));
    await win.user.type(must(T.offlinePassphrase), 'correct horse');
    await win.user.type(must(T.offlineAgain), 'correct house');
    expect(make.disabled).toBe(true);
    await win.user.clear(must(T.offlineAgain));
    await win.user.type(must(T.offlineAgain), 'correct horse');
    await win.user.click(make);
    await settle();
    expect(find(T.offlineDialog)).toBeNull();
    expect(must(T.notice).textContent).toContain('keeps no copy');
    expect(win.backend.calls).toContainEqual(['newOfflineKey', 'spare', '/media/stick/spare.pem']);
  });
});

describe('the first key', () => {
  it('is made in the sheet, which offers a spare beside the copy', async () => {
    const win = await openWindow({ ...smallWorld(), keys: [] });
    win.backend.drop({ kind: 'drop', paths: ['/build/demo-1.2.0.bin'] });
    await settle();
    await win.user.click(must(T.sheetMakeKey));
    await settle();
    await win.user.click(must(T.sheetSpare));
    win.backend.dialogs.push(['/media/stick/spare.pem']);
    await win.user.click(must(T.offlineFile));
    await win.user.type(must(T.offlinePassphrase), 'correct horse');
    await win.user.type(must(T.offlineAgain), 'correct horse');
    await win.user.click(must(T.offlineMake));
    await settle();
    expect(find(T.offlineDialog)).toBeNull();
    expect(must(T.sheet)).toBeDefined();
    expect(win.app.keys.map((key) => key.offline)).toEqual([false, true]);
    expect(win.backend.calls.some(([name]) => name === 'packRelease')).toBe(false);
  });
});

describe('changing keys', () => {
  it('ends with jobs, and with what to do with the stick', async () => {
    const win = await settings();
    await win.user.click(must(T.keyChangeOpen));
    await settle();
    const dialog = within(must(T.keyChange));
    expect(dialog.getAllByTestId(T.keyChangeDevice)).toHaveLength(2);
    win.backend.dialogs.push(['/media/stick/root.pem']);
    await win.user.click(must(T.offlineFile));
    await win.user.type(must(T.offlinePassphrase), 'correct horse');
    await win.user.type(must(T.offlineAgain), 'correct horse');
    expect(must(T.keyChangeSentence).textContent).toContain('2 devices will trust the root “root”');
    await win.user.click(must(T.keyChangeSubmit));
    await settle();
    const done = must(T.keyChangeDone).textContent ?? '';
    expect(done).toContain('root is in root.pem and nowhere else');
    expect(done).toContain('Copy that file to a second stick');
    await win.user.click(must(T.keyChangeShow));
    expect(win.app.view).toBe('devices');
    expect(win.app.runningJobs).toHaveLength(2);
    expect(find(T.keyChange)).toBeNull();
  });

  it('says when there is nothing to change', async () => {
    const win = await settings({ ...smallWorld(), devices: [] });
    await win.user.click(must(T.keyChangeOpen));
    await settle();
    expect(must(T.keyChange).textContent).toContain('No device is known yet');
    await win.user.keyboard('{Escape}');
  });
});

import { describe, expect, it } from 'vitest';
import axe from 'axe-core';
import type { PlainBoard } from './dto';
import { NEWER, OLDER, openWindow, settle, smallWorld, type OpenWindow } from './test/harness';
import { T } from './testids';

const all = (testid: string) => [
  ...document.querySelectorAll<HTMLElement>(`[data-testid="${testid}"]`),
];
const find = (testid: string) => {
  const [element] = all(testid);
  if (!element) throw new Error(`no ${testid} in the window`);
  return element;
};
const words = (element: HTMLElement) => element.textContent?.replace(/\s+/g, ' ').trim();

async function click(win: OpenWindow, element: HTMLElement) {
  await win.user.click(element);
  await settle();
}

async function choose(win: OpenWindow, release: string) {
  await click(win, find(T.navReleases));
  win.releases.select(release);
  await settle();
}

const isOn = () => (find(T.releasePlain) as HTMLInputElement).checked;

const board = (change: Partial<PlainBoard>): PlainBoard => ({
  address: '10.0.0.30',
  release: NEWER.id,
  state: 'fetching',
  summary: 'Fetches demo 1.1.0: app 100 of 374 chunks, files 0 of 48 chunks.',
  parts: [
    { part: 'app', fetched: 100, chunks: 374 },
    { part: 'files', fetched: 0, chunks: 48 },
  ],
  lastSeen: 0,
  ...change,
});

describe('serving without a signature', () => {
  it('is off, and turned on only after it was said what is lost', async () => {
    const win = await openWindow(smallWorld());
    await choose(win, NEWER.id);
    expect(isOn()).toBe(false);
    await click(win, find(T.releasePlain));
    expect(words(find(T.confirm))).toContain('Anyone on the network can');
    await click(win, find(T.confirmNo));
    expect(win.backend.calls).toEqual([]);
    expect(isOn()).toBe(false);

    await click(win, find(T.releasePlain));
    await click(win, find(T.confirmYes));
    expect(win.backend.calls).toEqual([['servePlain', NEWER.id]]);
    expect(isOn()).toBe(true);
    expect(words(find(T.releasePlainAddress))).toContain('http://10.0.0.5:7410/updatemeta');
  });

  it('moves to another release, which says so, and is turned off without a question', async () => {
    const win = await openWindow(smallWorld());
    await win.backend.servePlain(OLDER.id);
    await choose(win, NEWER.id);
    expect(isOn()).toBe(false);
    await click(win, find(T.releasePlain));
    expect(words(find(T.confirm))).toContain('demo 1.0.0 is served no longer');
    await click(win, find(T.confirmYes));
    expect(win.app.plain.release).toBe(NEWER.id);
    await click(win, find(T.releasePlain));
    expect(win.app.plain.release).toBeNull();
    expect(isOn()).toBe(false);
  });

  it('says why a release cannot be served so, and stays off', async () => {
    const world = smallWorld();
    const [newer] = world.releases;
    if (!newer) throw new Error('no release');
    Object.assign(newer, { app: { kind: 'any' }, files: { kind: 'any' } });
    const win = await openWindow(world);
    await choose(win, NEWER.id);
    await click(win, find(T.releasePlain));
    await click(win, find(T.confirmYes));
    expect(words(find(T.notice))).toContain('The release carries nothing');
    expect(isOn()).toBe(false);
  });
});

describe('boards that check no signature', () => {
  it('appear by address beside the devices, and have nothing to update', async () => {
    const win = await openWindow(smallWorld());
    expect(all(T.plainBoards)).toHaveLength(0);
    win.backend.setPlain({ release: NEWER.id, boards: [board({})] });
    await settle();
    expect(all(T.deviceRow)).toHaveLength(2);
    const row = find(T.plainBoard);
    expect(words(row)).toContain('10.0.0.30 · plain protocol');
    expect(words(row)).toContain('app 100 of 374 chunks');
    expect(row.querySelectorAll('button, input')).toHaveLength(0);
    const bar = row.querySelector('[role="progressbar"]');
    expect(bar?.getAttribute('aria-valuenow')).toBe('100');
    expect(bar?.getAttribute('aria-valuemax')).toBe('422');
    const { violations } = await axe.run(find(T.plainBoards), {
      rules: { 'color-contrast': { enabled: false }, region: { enabled: false } },
    });
    expect(violations).toEqual([]);
  });

  it('end unknown in words, and never as updated by themselves', async () => {
    const win = await openWindow(smallWorld());
    const summary = 'Fetched all of demo 1.1.0; whether it runs it, it does not say.';
    win.backend.setPlain({ release: null, boards: [board({ state: 'unknown', summary })] });
    await settle();
    const row = find(T.plainBoard);
    expect(words(row)).toContain('unknown');
    expect(words(row)).toContain('it does not say');
    expect(row.querySelector('[role="progressbar"]')).toBeNull();
  });

  it('are shown where there is no device, and turned off from there', async () => {
    const win = await openWindow({ ...smallWorld(), devices: [] });
    await win.backend.servePlain(NEWER.id);
    await settle();
    expect(words(find(T.plainBoards))).toContain('None has asked yet');
    await click(win, find(T.plainOff));
    expect(all(T.plainBoards)).toHaveLength(0);
  });
});

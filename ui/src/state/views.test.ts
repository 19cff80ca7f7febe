import { describe, expect, it } from 'vitest';
import { workshop } from '../backend/fake/worlds';
import { settle, smallWorld, started } from '../test/harness';
import { HistoryView } from './history.svelte';
import { compare, ReleasesView } from './releases.svelte';
import { SettingsView } from './settings.svelte';

const WORDS = { key: (id: string) => id, date: String };

describe('the library', () => {
  it('lists the newest of each product first', async () => {
    const { app } = await started(workshop());
    const view = new ReleasesView(app);
    expect(view.releases.map(({ product, version }) => `${product} ${version}`)).toEqual([
      'demo 1.1.0',
      'demo 1.0.1',
      'demo 1.0.0',
      'lamp 0.9.2',
    ]);
  });

  it('offers to go back to old releases only', async () => {
    const { app } = await started(workshop());
    const view = new ReleasesView(app);
    expect(view.releases.map((release) => view.isOld(release))).toEqual([false, true, true, false]);
    expect(view.nextSequence('demo')).toBe(4);
  });

  it('holds the last two that were selected', async () => {
    const { app } = await started(workshop());
    const view = new ReleasesView(app);
    const [a = '', b = '', c = ''] = view.releases.map((release) => release.id);
    view.select(a);
    view.select(b, true);
    view.select(c, true);
    expect(view.selected).toEqual([b, c]);
    view.select(c, true);
    expect(view.selected).toEqual([b]);
  });

  it('says what differs and what is the same', async () => {
    const { app } = await started(workshop());
    const [newest, , oldest] = new ReleasesView(app).releases;
    if (!newest || !oldest) throw new Error('no releases');
    const lines = compare(oldest, newest, WORDS);
    expect(lines.filter((line) => line.same).map((line) => line.what)).toEqual([
      'product',
      'chip',
      'signed by',
    ]);
  });

  it('compares parts by content, not by words', async () => {
    const { app } = await started(smallWorld());
    const [release] = new ReleasesView(app).releases;
    if (!release) throw new Error('no release');
    const resigned = { ...release, sequence: 9, created: 5 };
    const lines = compare(release, resigned, WORDS);
    expect(lines.find((line) => line.what === 'app')?.same).toBe(true);
    expect(lines.find((line) => line.what === 'sequence')?.same).toBe(false);
  });

  it('deletes only after a yes, and says who runs it', async () => {
    const { app } = await started(smallWorld());
    const view = new ReleasesView(app);
    const old = view.releases[1];
    if (!old) throw new Error('no release');
    const asked = view.remove(old);
    expect(app.question?.text).toContain('2 devices run it');
    app.answer(true);
    await asked;
    await settle();
    expect(app.releases).toHaveLength(1);
  });
});

describe('the history', () => {
  it('is filtered by words and by end', async () => {
    const { app } = await started(workshop());
    const view = new HistoryView(app);
    await view.load();
    expect(view.visible).toHaveLength(5);
    view.end = 'failed';
    expect(view.visible.map((row) => row.deviceName)).toEqual(['shed']);
    view.end = 'all';
    view.query = 'watchdog attic';
    expect(view.visible).toHaveLength(1);
  });

  it('is exported where the user says, and nowhere when the dialog is closed', async () => {
    const { app, backend } = await started(workshop());
    const view = new HistoryView(app);
    await view.export();
    expect(backend.calls).toEqual([]);
    backend.dialogs.push(['/tmp/history.csv']);
    await view.export();
    expect(backend.calls).toEqual([['exportHistory', '/tmp/history.csv']]);
  });
});

describe('the settings', () => {
  it('are sent with one change each', async () => {
    const { app, backend } = await started(smallWorld());
    const view = new SettingsView(app);
    await view.change({ theme: 'dark' });
    await settle();
    expect(app.settings).toEqual({ theme: 'dark', port: 7410, interfaces: [], notify: true });
    view.interfaces = ' eth0,  wlan0 ';
    await view.saveInterfaces();
    expect(backend.calls.at(-1)?.[1]).toMatchObject({ interfaces: ['eth0', 'wlan0'] });
  });

  it.each(['80', '65536', 'http', ''])('refuse port %j', async (port) => {
    const { app, backend } = await started(smallWorld());
    const view = new SettingsView(app);
    view.port = port;
    expect(view.portProblem).not.toBeNull();
    await view.savePort();
    expect(backend.calls).toEqual([]);
  });

  it('ask for the passphrase of a key that has one', async () => {
    const { app, backend } = await started(smallWorld());
    const view = new SettingsView(app);
    backend.dialogs.push(['/tmp/locked.pem']);
    await view.importKey();
    expect(view.locked).toEqual({ path: '/tmp/locked.pem' });
    expect(app.notices).toEqual([]);
    await view.unlock('/tmp/locked.pem', 'correct horse');
    await settle();
    expect(view.locked).toBeNull();
    expect(app.keys.map((key) => key.name)).toContain('locked');
  });
});

import { describe, expect, it } from 'vitest';
import { smallWorld, started } from '../test/harness';
import { SheetState } from './sheet.svelte';

async function sheetOf(paths: string[], world = smallWorld()) {
  const made = await started(world);
  const draft = await made.backend.draftRelease(paths);
  return { ...made, sheet: new SheetState(made.app, draft) };
}

const IMAGE = '/tmp/demo-1.2.0.bin';

describe('the new-release sheet', () => {
  it('starts with what was found in the image', async () => {
    const { sheet } = await sheetOf([IMAGE, '/tmp/web/']);
    expect([sheet.product, sheet.version, sheet.sequence]).toEqual(['demo', '1.2.0', '3']);
    expect(sheet.draft?.chip).toBe('esp32c3');
    expect(sheet.key?.name).toBe('workshop');
    expect(sheet.canSubmit).toBe(true);
  });

  it('signs and adds what was filled in', async () => {
    const { sheet, backend } = await sheetOf([IMAGE, '/tmp/web/']);
    sheet.version = ' 1.2.0-rc1 ';
    const release = await sheet.submit();
    expect(release?.version).toBe('1.2.0-rc1');
    expect(backend.calls.at(-1)).toEqual([
      'packRelease',
      {
        product: 'demo',
        version: '1.2.0-rc1',
        sequence: 3,
        app: IMAGE,
        files: '/tmp/web/',
        base: null,
        keyId: sheet.keyId,
        passphrase: null,
      },
    ]);
  });

  it.each([
    ['product', 'Demo Product'],
    ['product', 'x'.repeat(65)],
    ['version', 'ä'.repeat(33)],
    ['sequence', '0'],
    ['sequence', '4294967296'],
    ['sequence', '-1'],
    ['sequence', '1.5'],
  ] as const)('complains at %s about %s, and does not sign', async (field, value) => {
    const { sheet, backend } = await sheetOf([IMAGE]);
    sheet[field] = value;
    sheet.edited(field);
    expect(sheet.problems.get(field)?.warning).toBe(false);
    expect(await sheet.submit()).toBeNull();
    expect(backend.calls.some(([name]) => name === 'packRelease')).toBe(false);
  });

  it('does not nag about an empty field before it is sent', async () => {
    const { sheet } = await sheetOf([IMAGE]);
    sheet.version = '';
    sheet.edited('version');
    expect(sheet.problems.has('version')).toBe(false);
    await sheet.submit();
    expect(sheet.problems.has('version')).toBe(true);
  });

  it('shows a warning at its field and packs all the same', async () => {
    const { sheet } = await sheetOf(['/tmp/demo-1.1.0.bin']);
    expect(sheet.problems.get('version')?.warning).toBe(true);
    expect(sheet.canSubmit).toBe(true);
    sheet.version = '1.1.1';
    sheet.edited('version');
    expect(sheet.problems.has('version')).toBe(false);
  });

  it('refuses a merged image at the app', async () => {
    const { sheet } = await sheetOf(['/tmp/merged-demo-1.2.0.bin']);
    expect(sheet.problems.get('app')?.text).toContain('merged image');
    expect(sheet.canSubmit).toBe(false);
  });

  it('takes the digest of the missing part from the newest release, or from none', async () => {
    const { sheet, backend, app } = await sheetOf([IMAGE]);
    expect(sheet.missing).toBe('files');
    expect(sheet.base).toBe(app.releases[0]?.id);
    sheet.base = '';
    await sheet.submit();
    expect(backend.calls.at(-1)?.[1]).toMatchObject({ app: IMAGE, files: null, base: null });
  });

  it('keeps what was typed when another part is chosen', async () => {
    const { sheet, backend } = await sheetOf([IMAGE]);
    sheet.version = '2.0.0';
    sheet.edited('version');
    backend.dialogs.push(['/tmp/web/']);
    await sheet.choose('files', true);
    expect(sheet.draft?.files?.path).toBe('/tmp/web/');
    expect(sheet.draft?.app?.path).toBe(IMAGE);
    expect(sheet.version).toBe('2.0.0');
    await sheet.remove('app');
    expect(sheet.draft?.app).toBeNull();
    expect(sheet.missing).toBe('app');
  });

  it('asks for the passphrase of a key that has one, and says when it is wrong', async () => {
    const world = smallWorld();
    for (const key of world.keys) key.needsPassphrase = true;
    const { sheet } = await sheetOf([IMAGE], world);
    await sheet.submit();
    expect(sheet.problems.has('passphrase')).toBe(true);
    sheet.passphrase = 'wrong';
    sheet.edited('passphrase');
    expect(await sheet.submit()).toBeNull();
    expect(sheet.problems.get('passphrase')?.text).toContain('does not open');
    sheet.passphrase = 'correct horse';
    sheet.edited('passphrase');
    expect(await sheet.submit()).not.toBeNull();
  });

  it('makes a key where there is none, and insists on a saved copy', async () => {
    const { sheet, backend } = await sheetOf([IMAGE], { ...smallWorld(), keys: [] });
    expect(sheet.canSubmit).toBe(false);
    expect(await sheet.makeKey('demo-key', null)).toBe(true);
    await Promise.resolve();
    await Promise.resolve();
    expect(sheet.problems.get('key')?.text).toContain('Save a copy');
    expect(await sheet.submit()).toBeNull();

    await sheet.saveKey();
    expect(sheet.unsavedKey, 'the dialog was closed').not.toBeNull();
    backend.dialogs.push(['/media/stick/demo-key.pem']);
    await sheet.saveKey();
    expect(backend.calls.at(-1)).toEqual(['saveKeyCopy', sheet.keyId, '/media/stick/demo-key.pem']);
    expect(await sheet.submit()).not.toBeNull();
  });

  it('sends one release, however often Enter is hit', async () => {
    const { sheet, backend } = await sheetOf([IMAGE]);
    await Promise.all([sheet.submit(), sheet.submit()]);
    expect(backend.calls.filter(([name]) => name === 'packRelease')).toHaveLength(1);
  });
});

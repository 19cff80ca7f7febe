/** Other keys on devices: what is offered, what is sent, what stays behind. */
import { describe, expect, it } from 'vitest';
import { KEY, OFFLINE } from '../backend/fake/data';
import type { World } from '../backend/fake';
import type { Key } from '../dto';
import { settle, smallWorld, started } from '../test/harness';
import { NEW_OFFLINE, RekeyState } from './rekey.svelte';

const NEXT: Key = { ...KEY, id: '77aa01b2c3d4e5f6', name: 'next' };

function world(change: (world: World) => void = () => undefined): World {
  const made = smallWorld();
  made.keys.push({ ...OFFLINE }, { ...NEXT });
  for (const device of made.devices) {
    Object.assign(device, { trusts: [KEY.id], root: KEY.id, releaseKeys: [KEY.id] });
  }
  change(made);
  return made;
}

async function opened(made: World, wanted: string[] = []) {
  const stage = await started(made);
  const rekey = new RekeyState(stage.app, wanted);
  await settle();
  return { ...stage, rekey };
}

/** What the last change of keys was asked with. */
const sent = (calls: [name: string, ...args: unknown[]][]) =>
  calls.find(([name]) => name === 'changeKeys')?.[1];

describe('a change of keys', () => {
  it('starts with all devices of a root that is ours, and a new root that is kept offline', async () => {
    const { rekey } = await opened(world());
    expect([...rekey.devices]).toEqual(['kitchen', 'porch']);
    expect(rekey.rootId).toBe(KEY.id);
    expect(rekey.newRoot).toBe(NEW_OFFLINE);
    expect([...rekey.releaseKeys]).toEqual([KEY.id]);
    expect(rekey.missing).toBe('Give a file for the offline key.');
  });

  it('starts with the devices it was opened for', async () => {
    const { rekey } = await opened(world(), ['porch']);
    expect(rekey.root?.devices).toEqual(['porch']);
  });

  it('makes the offline key first, and sends nothing while that fails', async () => {
    const { rekey, app, backend } = await opened(world());
    backend.dialogs.push(['/media/stick/exists.pem'], ['/media/stick/root.pem']);
    await rekey.offline.choose(app);
    rekey.offline.passphrase = 'correct horse';
    expect(rekey.missing).toContain('once more');
    rekey.offline.again = 'correct horse';
    expect(rekey.missing).toBeNull();
    await rekey.submit();
    expect(rekey.error?.code).toBe('io');
    expect(sent(backend.calls)).toBeUndefined();

    await rekey.offline.choose(app);
    await rekey.submit();
    expect(rekey.stage).toBe('done');
    expect(rekey.started).toBe(2);
    const root = app.keys.find((key) => key.offline && key.name === 'root');
    expect(rekey.made?.key.id).toBe(root?.id);
    expect(sent(backend.calls)).toMatchObject({
      devices: ['kitchen', 'porch'],
      signer: KEY.id,
      signerFile: null,
      root: root?.id,
      releaseKeys: [KEY.id],
    });
  });

  it('leaves no passphrase behind', async () => {
    const { rekey, app, backend } = await opened(world());
    backend.dialogs.push(['/media/stick/root.pem']);
    await rekey.offline.choose(app);
    rekey.offline.passphrase = rekey.offline.again = 'correct horse';
    await rekey.submit();
    expect([rekey.offline.passphrase, rekey.offline.again, rekey.passphrase]).toEqual(['', '', '']);
    expect(JSON.stringify(backend.calls)).not.toContain('horse');
  });

  it('asks for the file and the passphrase of a root that is not kept here, and keeps it', async () => {
    const drawer = world((made) => {
      for (const device of made.devices) device.root = OFFLINE.id;
    });
    const { rekey, backend } = await opened(drawer);
    expect(rekey.newRoot).toBe(OFFLINE.id);
    expect(rekey.missing).toBe('Choose the file of the root.');
    backend.dialogs.push(['/media/stick/drawer-root.pem']);
    await rekey.chooseFile();
    expect(rekey.missing).toBe('They trust exactly these keys already.');
    rekey.toggleReleaseKey(NEXT.id);
    rekey.toggleReleaseKey(KEY.id);
    expect(rekey.dropped).toEqual([KEY.name]);
    rekey.passphrase = 'wrong';
    await rekey.submit();
    expect(rekey.error?.code).toBe('bad_passphrase');
    rekey.passphrase = 'correct horse';
    await rekey.submit();
    expect(rekey.stage).toBe('done');
    expect(sent(backend.calls.toReversed())).toMatchObject({
      signerFile: '/media/stick/drawer-root.pem',
      root: OFFLINE.id,
      releaseKeys: [NEXT.id],
    });
  });

  it('changes devices of one root at a time, and says who cannot take part', async () => {
    const mixed = world((made) => {
      const [kitchen, porch] = made.devices;
      if (kitchen) kitchen.root = NEXT.id;
      if (porch) porch.blocked = { code: 'busy', message: 'porch is busy', help: 'Wait.' };
    });
    const { rekey } = await opened(mixed);
    expect(rekey.plan?.roots.map((root) => root.id)).toEqual([NEXT.id]);
    expect(rekey.plan?.refused.map((each) => each.device)).toEqual(['porch']);
    expect([...rekey.devices]).toEqual(['kitchen']);
  });

  it('has at least one and at most four release keys, all of which somebody here has', async () => {
    const many = world((made) => {
      for (let n = 1; n <= 5; n += 1) made.keys.push({ ...NEXT, id: `${n}`, name: `key-${n}` });
      made.keys.push({ ...KEY, id: 'foreign', name: 'foreign', canSign: false });
    });
    const { rekey } = await opened(many);
    expect(rekey.ours.some((key) => key.name === 'foreign')).toBe(false);
    rekey.newRoot = OFFLINE.id;
    rekey.toggleReleaseKey(KEY.id);
    expect(rekey.missing).toBe('Choose a release key.');
    for (let n = 1; n <= 5; n += 1) rekey.toggleReleaseKey(`${n}`);
    expect(rekey.missing).toBe('A device holds 4 release keys.');
    rekey.toggleReleaseKey('5');
    expect(rekey.missing).toBeNull();
    rekey.toggleAll();
    expect(rekey.missing).toBe('Choose a device.');
  });
});

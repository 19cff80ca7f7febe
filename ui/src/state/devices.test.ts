import { beforeEach, describe, expect, it, vi } from 'vitest';
import { makeDevice, makeRelease } from '../backend/fake/data';
import { NEWER, OLDER, settle, smallWorld, started, type Stage } from '../test/harness';
import { DevicesView, updateLabel } from './devices.svelte';

const LAMP = makeRelease({ product: 'lamp', version: '0.9.2', sequence: 12, chip: 'esp32s3' });
const OLD_LAMP = makeRelease({
  product: 'lamp',
  version: '0.9.1',
  sequence: 11,
  chip: 'esp32s3',
  filesSize: 1000,
});

let made: Stage;
let view: DevicesView;

beforeEach(async () => {
  const world = smallWorld();
  world.releases.push(LAMP);
  world.devices.push(
    makeDevice({ name: 'lamp-10', id: 'lamp-10', host: '10.0.0.52', release: OLD_LAMP }),
    makeDevice({
      name: 'lamp-9',
      id: 'lamp-9',
      host: '10.0.0.51',
      release: OLD_LAMP,
      online: false,
    }),
    makeDevice({ name: 'bench', id: 'bench', host: '10.0.0.31', release: NEWER }),
  );
  made = await started(world);
  view = new DevicesView(made.app);
});

describe('the list of devices', () => {
  it('sorts names as people count', () => {
    expect(view.visible).toEqual(['bench', 'kitchen', 'lamp-9', 'lamp-10', 'porch']);
  });

  it('finds by every word, in name, product, chip, address and version', () => {
    view.query = 'lamp s3';
    expect(view.visible).toEqual(['lamp-9', 'lamp-10']);
    view.query = '10.0.0.2';
    expect(view.visible).toEqual(['kitchen', 'porch']);
    view.query = 'nothing of that kind';
    expect(view.visible).toEqual([]);
  });

  it('sorts by version, and back again when asked twice', () => {
    view.sortBy('version');
    expect(view.visible.at(-1)).toBe('bench');
    view.sortBy('version');
    expect(view.visible[0]).toBe('bench');
  });

  it('offers each device the newest release of its own product', () => {
    expect(view.pick).toBe('newest');
    expect(view.row('kitchen')?.target?.version).toBe('1.1.0');
    expect(view.row('lamp-10')?.target?.version).toBe('0.9.2');
  });

  it('offers one release to all once it is picked', () => {
    view.choose(NEWER.id);
    expect(view.row('lamp-10')?.offer).toMatchObject({ kind: 'off', code: 'wrong_product' });
  });

  it('goes back to the newest when the picked release is deleted', async () => {
    view.choose(OLDER.id);
    expect(view.pick).toBe(OLDER.id);
    await made.backend.deleteRelease(OLDER.id);
    await settle();
    expect(view.pick).toBe('newest');
  });

  it('checks all that can be updated, and none when all are checked', () => {
    view.toggleAll();
    expect([...view.checked]).toEqual(['kitchen', 'lamp-9', 'lamp-10', 'porch']);
    expect(updateLabel(view)).toBe('Update 4');
    expect(view.allChecked).toBe(true);
    view.toggle('porch');
    expect(view.allChecked).toBe(false);
    view.toggle('porch');
    view.toggleAll();
    expect(view.checked.size).toBe(0);
    expect(view.allChecked).toBe(false);
  });

  it('checks a range with shift', () => {
    view.toggle('kitchen');
    view.toggle('porch', true);
    expect([...view.checked].sort()).toEqual(['kitchen', 'lamp-10', 'lamp-9', 'porch']);
  });

  it('starts one update a release, and goes to the first device', async () => {
    view.toggleAll();
    await view.updateChecked();
    expect(made.backend.calls.filter(([name]) => name === 'startUpdate')).toEqual([
      ['startUpdate', ['kitchen', 'porch'], NEWER.id, false],
      ['startUpdate', ['lamp-9', 'lamp-10'], LAMP.id, false],
    ]);
    expect(view.checked.size).toBe(0);
    expect(view.active).toBe('kitchen');
  });

  it('keeps what is checked when the start fails, and says why', async () => {
    const busy = { code: 'busy', message: 'porch is busy', help: 'Wait.' };
    vi.spyOn(made.backend, 'startUpdate').mockRejectedValue(busy);
    view.toggle('porch');
    await view.updateChecked();
    expect(made.app.notices.map((notice) => notice.error?.code)).toEqual(['busy']);
    expect(view.checked.has('porch')).toBe(true);
  });

  it('says why Update is off', async () => {
    expect(view.updateOff).toBe('Check the devices to update.');
    view.toggle('bench');
    expect(view.updateOff).toBe('It is up to date.');
    view.toggle('kitchen');
    expect(view.updateOff).toBeNull();
  });

  it('tries a release again only on purpose', async () => {
    const lastUpdate = {
      release: NEWER.id,
      end: 'rolled_back',
      cause: 'watchdog',
      detail: null,
      boots: 1,
    };
    made.backend.changeDevice('porch', { lastUpdate });
    await settle();
    view.toggleAll();
    expect(view.checked.has('porch')).toBe(false);
    await view.update('porch');
    expect(made.backend.calls.at(-1)).toEqual(['startUpdate', ['porch'], NEWER.id, true]);
  });

  it('asks before it forgets a device', async () => {
    const device = made.app.devices.get('porch');
    if (!device) throw new Error('no porch');
    const kept = view.forget(device);
    made.app.answer(false);
    await kept;
    expect(made.app.devices.has('porch')).toBe(true);
    const forgotten = view.forget(device);
    made.app.answer(true);
    await forgotten;
    await settle();
    expect(made.app.devices.has('porch')).toBe(false);
  });

  it('moves within the list and stops at its ends', () => {
    expect(view.moveTo(-5)).toBe('bench');
    expect(view.moveTo(99)).toBe('porch');
    expect(view.activeIndex).toBe(4);
  });
});

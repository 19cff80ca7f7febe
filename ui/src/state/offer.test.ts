import { describe, expect, it } from 'vitest';
import type { Device, Release } from '../dto';
import { makeDevice, makeRelease } from '../backend/fake/data';
import { NEWER, OLDER } from '../test/harness';
import { offer } from './offer';

const device = (change: Partial<Device> = {}): Device => ({
  ...makeDevice({ name: 'shed', host: '10.0.0.23', release: OLDER }),
  ...change,
});
const release = (change: Partial<Release> = {}): Release => ({ ...NEWER, ...change });
const code = (d: Device, r: Release | undefined) => {
  const made = offer(d, r, undefined);
  return made.kind === 'off' ? made.code : made.kind;
};

describe('what is offered for a device', () => {
  it('is an update when the release is newer and everything fits', () => {
    expect(code(device(), release())).toBe('update');
  });

  it('waits in a queue when the device is offline', () => {
    expect(code(device({ online: false }), release())).toBe('queue');
  });

  it('is nothing while there is no release', () => {
    expect(code(device(), undefined)).toBe('none');
  });

  it('is up to date by digests, whatever the version says', () => {
    const same = release({ version: '9.9.9', app: OLDER.app, files: OLDER.files });
    expect(code(device(), same)).toBe('current');
    const renamed = release({ version: OLDER.version });
    expect(code(device(), renamed)).toBe('update');
  });

  it('takes whatever runs as up to date where the release says nothing of a part', () => {
    expect(code(device(), release({ app: OLDER.app, files: { kind: 'any' } }))).toBe('current');
  });

  it.each([
    ['wrong_product', device({ product: 'lamp' }), release()],
    ['wrong_chip', device({ chip: 'esp32s3' }), release()],
    ['unknown_key', device({ releaseKeys: ['0011223344556677'] }), release()],
    ['lower_sequence', device({ sequence: 7 }), release()],
    ['sequence_conflict', device({ sequence: 2 }), release()],
    ['wrong_base', device(), release({ files: { kind: 'running', sha256: '00'.repeat(32) } })],
  ])('is off with %s, and says what to do', (expected, d, r) => {
    const made = offer(d, r, undefined);
    expect(made).toMatchObject({ kind: 'off', code: expected });
    if (made.kind !== 'off') return;
    expect(made.short.length).toBeLessThan(24);
    expect(made.why).toMatch(/\.$/);
    expect(made.help).toMatch(/\.$/);
  });

  it('takes new keys from the root only, and offers them to a device that runs the parts', () => {
    const keys = { epoch: 2, root: 'ab', keys: ['cd'] };
    const change = release({ app: OLDER.app, files: OLDER.files, keys });
    const root = device({ root: change.keyId, epoch: 1 });
    expect(code(root, change)).toBe('update');
    expect(code({ ...root, root: 'ab' }, change)).toBe('unknown_key');
    expect(code({ ...root, epoch: 2 }, change)).toBe('current');
  });

  it('is off when the root alone signed what brings no keys', () => {
    const onlyRoot = device({ root: NEWER.keyId, releaseKeys: ['0011223344556677'] });
    expect(code(onlyRoot, release())).toBe('unknown_key');
  });

  it('is off for the reason the device itself gives', () => {
    const blocked = { code: 'trial_running', message: 'a trial is running', help: 'Wait.' };
    expect(offer(device({ blocked }), release(), undefined)).toMatchObject({
      code: 'trial_running',
      short: 'trial running',
      why: 'A trial is running.',
    });
  });

  it('is a retry on purpose after the device went back from this very release', () => {
    const lastUpdate = {
      release: NEWER.id,
      end: 'rolled_back',
      cause: 'watchdog',
      detail: null,
      boots: 1,
    };
    expect(code(device({ lastUpdate }), release())).toBe('again');
  });

  it('takes any chip when the release carries no app', () => {
    const files = makeRelease({
      product: 'demo',
      version: '1.1.1',
      sequence: 3,
      chip: 'any',
      appSize: 0,
    });
    expect(code(device({ chip: 'esp32s3' }), files)).toBe('update');
  });
});

import { describe, expect, it } from 'vitest';
import type { UsbSpec } from '../backend/fake/usbports';
import { COLLEAGUE, KEY, makeRelease, OFFLINE } from '../backend/fake/data';
import { NEWER, play, smallWorld, started } from '../test/harness';
import { FlashForm, wifiProblem } from './flash.svelte';
import { UsbView } from './usb.svelte';

const TWO: UsbSpec[] = [
  { path: '/dev/ttyACM0', name: 'shed' },
  { path: '/dev/ttyACM1', label: 'b-2' },
];

async function form(file: string | null = null, world = smallWorld()): Promise<FlashForm> {
  const { app } = await started({ ...world, usb: TWO });
  const [port] = app.usbPorts.values();
  return new FlashForm(app, port ? [port] : [], file);
}

describe('what to flash', () => {
  it('begins with the newest release and the keys of this computer', async () => {
    const sheet = await form();
    expect(sheet.release?.version).toBe('1.1.0');
    expect(sheet.request(undefined)).toEqual({
      source: { kind: 'release', id: NEWER.id },
      name: null,
      trusts: [KEY.id],
      wifi: null,
      factorySlot: false,
      bootloader: null,
      keepNvs: true,
      backup: false,
    });
    expect(sheet.canSubmit).toBe(true);
  });

  it('makes an offline key the root, and names the root first', async () => {
    const sheet = await form(null, { ...smallWorld(), keys: [{ ...KEY }, { ...OFFLINE }] });
    expect(sheet.request(undefined).trusts).toEqual([OFFLINE.id, KEY.id]);
    sheet.root = KEY.id;
    expect(sheet.request(undefined).trusts).toEqual([KEY.id, OFFLINE.id]);
    sheet.toggleKey(KEY.id);
    expect(sheet.root).toBe(OFFLINE.id);
  });

  it('needs a key, and warns when the signer of the release is not among them', async () => {
    const sheet = await form(null, { ...smallWorld(), keys: [{ ...KEY }, { ...COLLEAGUE }] });
    sheet.toggleKey(KEY.id);
    expect(sheet.problems.get('keys')).toContain('without one');
    sheet.toggleKey(COLLEAGUE.id);
    expect(sheet.problems.has('keys')).toBe(false);
    expect(sheet.keyNote).toContain('workshop signed this release');
  });

  it('offers no release of another chip, and none that carries no app', async () => {
    const world = smallWorld();
    world.releases.push(
      makeRelease({ product: 'lamp', version: '2.0', sequence: 1, chip: 'esp32s3' }),
      makeRelease({ product: 'demo', version: 'files', sequence: 9, appSize: 0 }),
    );
    const made = await started({ ...world, usb: TWO });
    const view = new UsbView(made.app);
    void view.connect('/dev/ttyACM0');
    await play(made, 4200);
    const sheet = new FlashForm(made.app, view.port ? [view.port] : [], null);
    expect(sheet.releases.map((release) => release.version)).toEqual(['1.1.0', '1.0.0']);
    expect(sheet.name).toBe('shed');
  });

  it('takes a merged image as it is, without name, keys and Wi-Fi', async () => {
    const sheet = await form('/home/mira/merged.bin');
    expect(sheet.whole).toBe(false);
    expect(sheet.request(undefined)).toMatchObject({
      source: { kind: 'file', path: '/home/mira/merged.bin' },
      name: null,
      trusts: [],
    });
    expect((await form('/home/mira/target/blink')).whole).toBe(true);
  });

  it.each([
    [[{ offset: '0x10000', path: '/a' }], null],
    [[{ offset: '65536', path: '/a' }], null],
    [[{ offset: '0x10100', path: '/a' }], 'is not an offset'],
    [[{ offset: 'here', path: '/a' }], 'is not an offset'],
    [[{ offset: '-4096', path: '/a' }], 'is not an offset'],
    [
      [
        { offset: '0x1000', path: '/a' },
        { offset: '4096', path: '/b' },
      ],
      'Two parts begin',
    ],
    [[{ offset: '', path: '' }], 'needs an offset and a file'],
    [[], 'Add a file'],
  ])('reads the parts %j', async (parts, problem) => {
    const sheet = await form();
    sheet.source = 'parts';
    sheet.parts = parts;
    sheet.touched = true;
    const found = sheet.problems.get('parts') ?? null;
    if (problem === null) expect(found).toBeNull();
    else expect(found).toContain(problem);
  });

  it('sends offsets as numbers', async () => {
    const sheet = await form();
    sheet.source = 'parts';
    sheet.parts = [{ offset: '0x8000', path: '/table.bin' }];
    expect(sheet.request(undefined).source).toEqual({
      kind: 'parts',
      parts: [{ offset: 32_768, path: '/table.bin' }],
    });
  });

  it('names each of many boards by its label', async () => {
    const { app } = await started({ ...smallWorld(), usb: TWO });
    const ports = [...app.usbPorts.values()];
    const sheet = new FlashForm(app, ports, null);
    expect(ports.map((port) => sheet.request(port).name)).toEqual([null, 'b-2']);
  });
});

describe('a Wi-Fi network', () => {
  it.each([
    ['', '', null],
    ['workshop', '', null],
    ['workshop', '12345678', null],
    ['workshop', '1234567', '8 to 63'],
    ['workshop', 'x'.repeat(64), '8 to 63'],
    ['', 'correct horse', 'Which network'],
    ['ü'.repeat(17), '', '32 bytes'],
  ])('of name %j and password %j', (ssid, password, problem) => {
    const found = wifiProblem(ssid, password);
    if (problem === null) expect(found).toBeNull();
    else expect(found).toContain(problem);
  });
});

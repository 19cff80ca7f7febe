import { mockIPC, clearMocks } from '@tauri-apps/api/mocks';
import { afterEach, describe, expect, it } from 'vitest';
import { COMMANDS, type Command } from './commands';
import { tauriBackend } from './tauri';
import type { FlashRequest } from '../dto';
import type { Backend } from './types';

afterEach(() => clearMocks());

function listen(answer: (command: string, args: unknown) => unknown = () => null) {
  const heard: [string, unknown][] = [];
  mockIPC((command, args) => {
    heard.push([command, args]);
    return answer(command, args);
  });
  return heard;
}

const settings = { theme: 'dark', port: 7410, interfaces: [], notify: true };
const form = {
  product: 'demo',
  version: '1.1.0',
  sequence: 2,
  app: '/a.bin',
  files: null,
  base: null,
  keyId: 'k',
  passphrase: null,
};

/** Each method, the command behind it, and its arguments as Rust takes them. */
const offlineKey = { name: 'root', path: '/o', passphrase: 'p' };
const keyChange = {
  devices: ['d'],
  signer: 'k',
  signerFile: null,
  passphrase: null,
  root: 'k',
  releaseKeys: ['k'],
};
const wifi = { ssid: 'workshop', password: 'p' };
const flash: FlashRequest = {
  source: { kind: 'release', id: 'r' },
  name: 'shed',
  trusts: [],
  wifi,
  factorySlot: true,
  bootloader: null,
  keepNvs: true,
};
const CALLS: [Command, (backend: Backend) => Promise<unknown>, Record<string, unknown>][] = [
  ['snapshot', (b) => b.snapshot(), {}],
  [
    'start_update',
    (b) => b.startUpdate(['a'], 'r', true),
    { devices: ['a'], release: 'r', retry: true },
  ],
  ['cancel_job', (b) => b.cancelJob(4), { id: 4 }],
  ['retry_job', (b) => b.retryJob(4), { id: 4 }],
  ['job_detail', (b) => b.jobDetail(4), { id: 4 }],
  ['add_device', (b) => b.addDevice('10.0.0.2'), { address: '10.0.0.2' }],
  ['forget_device', (b) => b.forgetDevice('a'), { id: 'a' }],
  ['device_log', (b) => b.deviceLog('a', 12), { id: 'a', from: 12 }],
  ['plan_drop', (b) => b.planDrop(['/a']), { paths: ['/a'] }],
  ['add_release', (b) => b.addRelease('/a'), { path: '/a' }],
  ['draft_release', (b) => b.draftRelease(['/a']), { paths: ['/a'] }],
  ['pack_release', (b) => b.packRelease(form), { form }],
  ['delete_release', (b) => b.deleteRelease('r'), { id: 'r' }],
  ['export_release', (b) => b.exportRelease('r', '/o'), { id: 'r', path: '/o' }],
  ['go_back', (b) => b.goBack('r', 'k', 'p'), { release: 'r', keyId: 'k', passphrase: 'p' }],
  ['trust_key', (b) => b.trustKey('/k'), { path: '/k' }],
  ['new_key', (b) => b.newKey('n', null), { name: 'n', passphrase: null }],
  ['import_key', (b) => b.importKey('/k', 'p'), { path: '/k', passphrase: 'p' }],
  ['export_public_key', (b) => b.exportPublicKey('k', '/o'), { id: 'k', path: '/o' }],
  ['unlock_key', (b) => b.unlockKey('k', 'p'), { id: 'k', passphrase: 'p' }],
  ['save_key_copy', (b) => b.saveKeyCopy('k', '/o'), { id: 'k', path: '/o' }],
  ['new_offline_key', (b) => b.newOfflineKey(offlineKey), { form: offlineKey }],
  ['plan_key_change', (b) => b.planKeyChange(['d']), { devices: ['d'] }],
  ['change_keys', (b) => b.changeKeys(keyChange), { form: keyChange }],
  ['serve_plain', (b) => b.servePlain('r'), { release: 'r' }],
  ['history', (b) => b.history(), {}],
  ['export_history', (b) => b.exportHistory('/o'), { path: '/o' }],
  ['set_settings', (b) => b.setSettings(settings), { settings }],
  ['start_virtual_devices', (b) => b.startVirtualDevices(2), { count: 2 }],
  ['stop_virtual_devices', (b) => b.stopVirtualDevices(), {}],
  ['usb_connect', (b) => b.usbConnect('/p'), { port: '/p' }],
  ['usb_disconnect', (b) => b.usbDisconnect('/p'), { port: '/p' }],
  ['usb_add_port', (b) => b.usbAddPort('/p'), { path: '/p' }],
  ['usb_label', (b) => b.usbLabel('/p', 'x'), { port: '/p', label: 'x' }],
  ['usb_diagnose', (b) => b.usbDiagnose('/p', true), { port: '/p', full: true }],
  ['usb_plan_repair', (b) => b.usbPlanRepair('/p', 'slot'), { port: '/p', how: 'slot' }],
  ['usb_plan_flash', (b) => b.usbPlanFlash('/p', flash), { port: '/p', request: flash }],
  ['usb_carry_out', (b) => b.usbCarryOut('/p', 3), { port: '/p', plan: 3 }],
  ['usb_cancel', (b) => b.usbCancel('/p'), { port: '/p' }],
  ['usb_backups', (b) => b.usbBackups(), {}],
  ['usb_restore', (b) => b.usbRestore('/p', 'b'), { port: '/p', backup: 'b' }],
  ['usb_monitor', (b) => b.usbMonitor('/p', null), { port: '/p', elf: null }],
  ['usb_stop_monitor', (b) => b.usbStopMonitor('/p'), { port: '/p' }],
  ['usb_log', (b) => b.usbLog('/p', 7), { port: '/p', from: 7 }],
  ['usb_save_log', (b) => b.usbSaveLog('/p', '/o'), { port: '/p', path: '/o' }],
  ['usb_reset', (b) => b.usbReset('/p'), { port: '/p' }],
  ['usb_wifi', (b) => b.usbWifi('/p', wifi), { port: '/p', wifi }],
  ['usb_records', (b) => b.usbRecords(), {}],
  ['usb_export_records', (b) => b.usbExportRecords('/o'), { path: '/o' }],
  ['usb_udev_rule', (b) => b.usbUdevRule(), {}],
];

describe('the shell', () => {
  it.each(CALLS)('is asked for %s with its arguments', async (command, call, args) => {
    const heard = listen();
    await call(tauriBackend());
    expect(heard).toEqual([[command, args]]);
  });

  it('is asked for every command that is listed, and for no other', () => {
    const asked = [...CALLS.map(([command]) => command), 'subscribe'].sort();
    expect(asked).toEqual([...COMMANDS].sort());
  });

  it('is given a channel for events', async () => {
    const heard = listen();
    await tauriBackend().subscribe(() => undefined);
    const [command, args] = heard[0] ?? [];
    expect(command).toBe('subscribe');
    expect(String((args as { onEvent: { toJSON(): string } }).onEvent.toJSON())).toMatch(
      /^__CHANNEL__:/,
    );
  });

  it('rejects with the error that Rust gave', async () => {
    const error = { code: 'busy', message: 'shed is busy', help: 'Wait.' };
    listen(() => {
      throw error;
    });
    await expect(tauriBackend().startUpdate(['a'], 'r', false)).rejects.toEqual(error);
  });

  it('rejects with a code also when the shell itself refuses', async () => {
    listen(() => {
      throw 'Command snapshot not allowed by ACL';
    });
    await expect(tauriBackend().snapshot()).rejects.toMatchObject({
      code: 'internal',
      message: 'Command snapshot not allowed by ACL',
    });
  });

  it('answers a closed dialog with nothing', async () => {
    listen(() => null);
    expect(await tauriBackend().openFiles({ title: 'Choose' })).toEqual([]);
    expect(await tauriBackend().saveFile({ title: 'Save', fileName: 'a' })).toBeNull();
  });

  it('answers one chosen file and many alike', async () => {
    listen((_, args) =>
      (args as { options: { multiple: boolean } }).options.multiple ? ['/a', '/b'] : '/a',
    );
    expect(await tauriBackend().openFiles({ title: 'Choose' })).toEqual(['/a']);
    expect(await tauriBackend().openFiles({ title: 'Choose', multiple: true })).toEqual([
      '/a',
      '/b',
    ]);
  });
});

/** The desktop shell behind the `Backend` interface: the only file that imports `@tauri-apps`. */
import { Channel, invoke, isTauri } from '@tauri-apps/api/core';
import { getCurrentWebview } from '@tauri-apps/api/webview';
import { open, save } from '@tauri-apps/plugin-dialog';
import type { Numbered } from '../dto';
import type { Command } from './commands';
import {
  toErrorInfo,
  type Backend,
  type DropEvent,
  type FileFilter,
  type Unsubscribe,
} from './types';

export { isTauri };

async function call<T>(command: Command, args: Record<string, unknown> = {}): Promise<T> {
  try {
    return await invoke<T>(command, args);
  } catch (thrown) {
    throw toErrorInfo(thrown);
  }
}

/** Lets a caller unsubscribe at once, even while the subscription is still being made. */
function unsubscribeLater(subscription: Promise<Unsubscribe>): Unsubscribe {
  let wanted = true;
  let end: Unsubscribe | undefined;
  subscription.then(
    (unsubscribe) => (wanted ? (end = unsubscribe) : unsubscribe()),
    () => undefined,
  );
  return () => {
    wanted = false;
    end?.();
  };
}

const withFilters = (filters?: FileFilter[]) => (filters ? { filters } : {});

export function tauriBackend(): Backend {
  return {
    async subscribe(onEvent) {
      const channel = new Channel<Numbered>();
      channel.onmessage = onEvent;
      await call<void>('subscribe', { onEvent: channel });
      return () => {
        channel.onmessage = () => undefined;
      };
    },
    snapshot: () => call('snapshot'),

    startUpdate: (devices, release, retry) => call('start_update', { devices, release, retry }),
    cancelJob: (id) => call('cancel_job', { id }),
    retryJob: (id) => call('retry_job', { id }),
    jobDetail: (id) => call('job_detail', { id }),

    addDevice: (address) => call('add_device', { address }),
    forgetDevice: (id) => call('forget_device', { id }),
    deviceLog: (id, from) => call('device_log', { id, from }),

    planDrop: (paths) => call('plan_drop', { paths }),
    addRelease: (path) => call('add_release', { path }),
    draftRelease: (paths) => call('draft_release', { paths }),
    packRelease: (form) => call('pack_release', { form }),
    deleteRelease: (id) => call('delete_release', { id }),
    exportRelease: (id, path) => call('export_release', { id, path }),
    goBack: (release, keyId, passphrase) => call('go_back', { release, keyId, passphrase }),

    trustKey: (path) => call('trust_key', { path }),
    newKey: (name, passphrase) => call('new_key', { name, passphrase }),
    importKey: (path, passphrase) => call('import_key', { path, passphrase }),
    exportPublicKey: (id, path) => call('export_public_key', { id, path }),
    saveKeyCopy: (id, path) => call('save_key_copy', { id, path }),
    unlockKey: (id, passphrase) => call('unlock_key', { id, passphrase }),
    newOfflineKey: (form) => call('new_offline_key', { form }),
    planKeyChange: (devices) => call('plan_key_change', { devices }),
    changeKeys: (form) => call('change_keys', { form }),

    history: () => call('history'),
    exportHistory: (path) => call('export_history', { path }),

    servePlain: (release) => call('serve_plain', { release }),

    setSettings: (settings) => call('set_settings', { settings }),
    startVirtualDevices: (count) => call('start_virtual_devices', { count }),
    stopVirtualDevices: () => call('stop_virtual_devices'),

    usbConnect: (port) => call('usb_connect', { port }),
    usbDisconnect: (port) => call('usb_disconnect', { port }),
    usbAddPort: (path) => call('usb_add_port', { path }),
    usbLabel: (port, label) => call('usb_label', { port, label }),
    usbDiagnose: (port, full) => call('usb_diagnose', { port, full }),
    usbPlanRepair: (port, how) => call('usb_plan_repair', { port, how }),
    usbPlanFlash: (port, request) => call('usb_plan_flash', { port, request }),
    usbCarryOut: (port, plan) => call('usb_carry_out', { port, plan }),
    usbCancel: (port) => call('usb_cancel', { port }),
    usbBackups: () => call('usb_backups'),
    usbRestore: (port, backup) => call('usb_restore', { port, backup }),
    usbMonitor: (port, elf) => call('usb_monitor', { port, elf }),
    usbStopMonitor: (port) => call('usb_stop_monitor', { port }),
    usbLog: (port, from) => call('usb_log', { port, from }),
    usbSaveLog: (port, path) => call('usb_save_log', { port, path }),
    usbReset: (port) => call('usb_reset', { port }),
    usbWifi: (port, wifi) => call('usb_wifi', { port, wifi }),
    usbRecords: () => call('usb_records'),
    usbExportRecords: (path) => call('usb_export_records', { path }),
    usbUdevRule: () => call('usb_udev_rule'),

    async openFiles({ title, filters, folder = false, multiple = false }) {
      const chosen = await open({ title, multiple, directory: folder, ...withFilters(filters) });
      if (chosen === null) return [];
      return Array.isArray(chosen) ? chosen : [chosen];
    },
    saveFile: ({ title, fileName, filters }) =>
      save({ title, defaultPath: fileName, ...withFilters(filters) }),

    onDrop(callback) {
      const listening = getCurrentWebview().onDragDropEvent(({ payload }) => {
        callback(toDropEvent(payload));
      });
      return unsubscribeLater(listening);
    },
  };
}

function toDropEvent(
  payload: { type: 'enter' | 'drop'; paths: string[] } | { type: 'over' | 'leave' },
): DropEvent {
  switch (payload.type) {
    case 'enter':
    case 'drop':
      return { kind: payload.type, paths: payload.paths };
    case 'over':
    case 'leave':
      return { kind: payload.type };
  }
}

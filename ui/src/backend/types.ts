/**
 * What the window asks of the app, and what the app tells the window.
 *
 * Everything else in `ui/` sees only this interface: the desktop shell (`tauri.ts`) and the fake
 * (`fake.ts`) are two of its implementations. Every method rejects with an `ErrorInfo`.
 */
import type {
  Device,
  DeviceLog,
  Draft,
  DropPlan,
  ErrorInfo,
  HistoryRow,
  JobDetail,
  Key,
  KeyChange,
  KeyChangePlan,
  NewOfflineKey,
  NewRelease,
  Numbered,
  Release,
  Settings,
  Snapshot,
} from '../dto';
import type { UsbBackend } from './usb';

export type * from '../dto';

export type Unsubscribe = () => void;

/** What is held over the window. `paths` come with `enter` and `drop` only. */
export type DropEvent =
  | { kind: 'enter'; paths: string[] }
  | { kind: 'over' }
  | { kind: 'leave' }
  | { kind: 'drop'; paths: string[] };

/** What a file dialog offers. */
export interface FileFilter {
  name: string;
  extensions: string[];
}

export interface OpenOptions {
  title: string;
  filters?: FileFilter[];
  folder?: boolean;
  multiple?: boolean;
}

export interface SaveOptions {
  title: string;
  fileName: string;
  filters?: FileFilter[];
}

export interface Backend extends UsbBackend {
  /** Call before `snapshot`, so that nothing falls between the two. */
  subscribe(onEvent: (event: Numbered) => void): Promise<Unsubscribe>;
  snapshot(): Promise<Snapshot>;

  startUpdate(devices: string[], release: string, retry: boolean): Promise<number[]>;
  cancelJob(id: number): Promise<void>;
  retryJob(id: number): Promise<number>;
  jobDetail(id: number): Promise<JobDetail>;

  addDevice(address: string): Promise<Device>;
  forgetDevice(id: string): Promise<void>;
  /** What the device has logged from that byte on; `next` of one answer is `from` of the next. */
  deviceLog(id: string, from: number): Promise<DeviceLog>;

  planDrop(paths: string[]): Promise<DropPlan>;
  addRelease(path: string): Promise<Release>;
  draftRelease(paths: string[]): Promise<Draft>;
  packRelease(form: NewRelease): Promise<Release>;
  deleteRelease(id: string): Promise<void>;
  exportRelease(id: string, path: string): Promise<void>;
  /** Signs an old release again under the next sequence. */
  goBack(release: string, keyId: string, passphrase: string | null): Promise<Release>;

  trustKey(path: string): Promise<Key>;
  newKey(name: string, passphrase: string | null): Promise<Key>;
  importKey(path: string, passphrase: string | null): Promise<Key>;
  exportPublicKey(id: string, path: string): Promise<void>;
  /** Copies the private key file, as it is, to a place of the user's choice. */
  saveKeyCopy(id: string, path: string): Promise<void>;
  /** Opens a key with a passphrase until the app ends, to state which release is the newest. */
  unlockKey(id: string, passphrase: string): Promise<Key>;
  /** Makes a key whose private part goes to a file and stays nowhere else. */
  newOfflineKey(form: NewOfflineKey): Promise<Key>;
  /** What it takes to change the keys of these devices. */
  planKeyChange(devices: string[]): Promise<KeyChangePlan>;
  /** Changes them; returns the jobs. */
  changeKeys(form: KeyChange): Promise<number[]>;

  history(): Promise<HistoryRow[]>;
  exportHistory(path: string): Promise<void>;

  /** Serves a release, or none, to boards that check no signature, until the app ends. */
  servePlain(release: string | null): Promise<void>;

  setSettings(settings: Settings): Promise<void>;
  startVirtualDevices(count: number): Promise<void>;
  stopVirtualDevices(): Promise<void>;

  /** File dialogs of the system; `null` or nothing when the user closed them. */
  openFiles(options: OpenOptions): Promise<string[]>;
  saveFile(options: SaveOptions): Promise<string | null>;
  onDrop(callback: (event: DropEvent) => void): Unsubscribe;
}

/** Whatever was thrown, as an `ErrorInfo`. */
export function toErrorInfo(thrown: unknown): ErrorInfo {
  if (isErrorInfo(thrown)) return thrown;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return { code: 'internal', message, help: 'Please report this with the log.' };
}

function isErrorInfo(value: unknown): value is ErrorInfo {
  return (
    typeof value === 'object' &&
    value !== null &&
    typeof (value as ErrorInfo).code === 'string' &&
    typeof (value as ErrorInfo).message === 'string' &&
    typeof (value as ErrorInfo).help === 'string'
  );
}

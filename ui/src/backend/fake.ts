/**
 * A backend that lives in the window: devices, releases and running jobs, simulated to the chunk.
 * For tests, `vite dev` and screenshots. Everything follows from the world it starts with and the
 * clock it is given.
 */
import type { Clock } from '../clock';
import type {
  Device,
  DeviceLog,
  Draft,
  DropPlan,
  ErrorInfo,
  Event,
  FieldProblem,
  HistoryRow,
  Key,
  KeyChange,
  KeyChangePlan,
  NewOfflineKey,
  NewRelease,
  Numbered,
  Part,
  Plain,
  Release,
  Server,
  Settings,
  Snapshot,
} from '../dto';
import type { Backend, DropEvent, Unsubscribe } from './types';
import {
  carried,
  digest,
  KEY,
  makeDevice,
  makeRelease,
  OFFLINE,
  WELL,
  type Behaviour,
} from './fake/data';
import { FakeJob, STEP_MS } from './fake/job';
import { FakeUsb } from './fake/usb';
import type { UsbSpec } from './fake/usbports';

export interface World {
  devices: Device[];
  releases: Release[];
  keys: Key[];
  history: HistoryRow[];
  server: Server;
  settings: Settings;
  behaviours: Map<string, Behaviour>;
  usb: UsbSpec[];
}

export function emptyWorld(): World {
  return {
    devices: [],
    releases: [],
    keys: [],
    history: [],
    server: { addresses: ['10.0.0.5:7410'], error: null },
    settings: { theme: 'system', port: 7410, interfaces: [], notify: true },
    behaviours: new Map(),
    usb: [],
  };
}

const BEAT_MS = 2000;
const copy = <T>(value: T): T => structuredClone(value);
const fail = (code: string, message: string, help: string): ErrorInfo => ({ code, message, help });
const baseName = (path: string) => path.split('/').filter(Boolean).at(-1) ?? path;

export class FakeBackend extends FakeUsb implements Backend {
  /** What the file dialogs answer, in order; empty means that they were closed. */
  readonly dialogs: string[][] = [];
  /** What a device has logged, counted in lines; `null` for one that keeps no log. */
  readonly logs = new Map<string, string[] | null>();

  readonly #world: World;
  readonly #clock: Clock;
  readonly #jobs = new Map<number, FakeJob>();
  #listeners = new Set<(event: Numbered) => void>();
  #dropListeners = new Set<(event: DropEvent) => void>();
  #seq = 0;
  #nextJob = 1;
  #virtual = false;
  #plain: Plain = { release: null, boards: [] };
  #ticking = false;

  constructor(world: World, clock: Clock) {
    super(copy(world.usb), clock);
    this.#world = world;
    this.#clock = clock;
    this.#virtual = world.devices.some((device) => device.simulated);
    this.#nextJob = world.history.reduce((max, row) => Math.max(max, row.job), 0) + 1;
    this.#countRunning();
    this.#beat();
  }

  // What tests and scenarios do to the world.

  emit(event: Event): void {
    this.#seq += 1;
    const sequenced = copy({ seq: this.#seq, event });
    for (const listener of this.#listeners) listener(sequenced);
  }

  /** Loses an event on the way, as a full queue would. */
  loseOneEvent(): void {
    this.#seq += 1;
  }

  drop(event: DropEvent): void {
    for (const listener of this.#dropListeners) listener(event);
  }

  changeDevice(id: string, change: Partial<Device>): void {
    const device = this.#device(id);
    Object.assign(device, change);
    this.emit({ kind: 'device', data: device });
    if (change.online) {
      for (const job of this.#jobs.values()) {
        if (job.job.device !== id || job.job.phase !== 'queued') continue;
        job.job.phase = 'preflight';
        this.#tickSoon();
      }
    }
  }

  setServer(server: Server): void {
    this.#world.server = server;
    this.emit({ kind: 'server', data: server });
  }

  setPlain(plain: Plain): void {
    this.#plain = plain;
    this.emit({ kind: 'plain', data: plain });
  }

  // The backend.

  async subscribe(onEvent: (event: Numbered) => void): Promise<Unsubscribe> {
    this.#listeners.add(onEvent);
    return () => this.#listeners.delete(onEvent);
  }

  async snapshot(): Promise<Snapshot> {
    const { devices, releases, keys, server, settings } = this.#world;
    const jobs = [...this.#jobs.values()].map((job) => job.job);
    return copy({
      seq: this.#seq,
      devices,
      releases,
      jobs,
      keys,
      server,
      settings,
      virtualDevices: this.#virtual,
      usbPorts: this.usbPorts,
      plain: this.#plain,
    });
  }

  async startUpdate(devices: string[], release: string, retry: boolean): Promise<number[]> {
    this.calls.push(['startUpdate', devices, release, retry]);
    const wanted = this.#release(release);
    return devices.map((id) => this.#start(this.#device(id), wanted));
  }

  async cancelJob(id: number): Promise<void> {
    this.calls.push(['cancelJob', id]);
    const job = this.#job(id);
    if (!job.job.canCancel)
      throw fail('no_such_job', 'this job can no longer be cancelled', 'Wait for its end.');
    job.cancel(this.#clock.now());
    this.#ended(job);
  }

  async retryJob(id: number): Promise<number> {
    this.calls.push(['retryJob', id]);
    const { job } = this.#job(id);
    return this.#start(this.#device(job.device), this.#release(job.release));
  }

  async jobDetail(id: number) {
    return copy({ ...this.#job(id).detail(), seq: this.#seq });
  }

  async addDevice(address: string): Promise<Device> {
    this.calls.push(['addDevice', address]);
    if (!/^[\w.-]+(:\d+)?$/.test(address)) {
      throw fail('usage', `${address} is not an address`, 'Give HOST or HOST:PORT.');
    }
    if (address.startsWith('10.9.')) {
      throw fail(
        'no_such_device',
        `nothing answers at ${address}`,
        'Check its power and network, then try again.',
      );
    }
    const device = makeDevice({
      name: address.split(':')[0] ?? address,
      host: address.replace(/:.*/, ''),
    });
    this.#world.devices.push(device);
    this.emit({ kind: 'device', data: device });
    return copy(device);
  }

  async forgetDevice(id: string): Promise<void> {
    this.calls.push(['forgetDevice', id]);
    this.#device(id);
    this.#world.devices = this.#world.devices.filter((device) => device.id !== id);
    this.emit({ kind: 'deviceForgotten', data: id });
  }

  async deviceLog(id: string, from: number): Promise<DeviceLog> {
    this.calls.push(['deviceLog', id, from]);
    const device = this.#device(id);
    if (!device.online) {
      throw fail('no_such_device', `${device.name} does not answer`, 'Look at its power.');
    }
    const log = this.logs.get(id);
    const kept = log !== null;
    const lines = log ?? (kept ? [`79 INFO ${device.slot} runs after software: Confirmed`] : []);
    return {
      lines: from > lines.length ? [...lines] : lines.slice(from),
      next: lines.length,
      skipped: 0,
      restarted: from > lines.length,
      kept,
    };
  }

  async planDrop(paths: string[]): Promise<DropPlan> {
    this.calls.push(['planDrop', paths]);
    const [first] = paths;
    if (first === undefined) return this.#refuse('nothing is held over the window');
    const names = paths.map((path) => baseName(path) + (path.endsWith('/') ? '/' : ''));
    if (paths.length === 1 && first.endsWith('.airlift')) {
      const release = this.#read(first);
      const known = this.#world.releases.some((other) => other.id === release.id);
      const sentence = known
        ? `${release.product} ${release.version} is in the library already`
        : `Add release ${release.product} ${release.version}`;
      return { kind: 'addRelease', path: first, sentence, known };
    }
    if (paths.length === 1 && first.endsWith('.pub.pem')) {
      const keyId = digest(first).slice(0, 16);
      return {
        kind: 'trustKey',
        path: first,
        sentence: `Trust the key ${baseName(first).replace('.pub.pem', '')}`,
        keyId,
      };
    }
    if (paths.every((path) => /(\.bin|\.tar|\/)$/.test(path)) && paths.length <= 2) {
      return {
        kind: 'newRelease',
        sentence: `New release from ${names.join(' and ')}`,
        draft: this.#draft(paths),
      };
    }
    return this.#refuse(`${names.join(', ')} is nothing that Airlift knows`);
  }

  async addRelease(path: string): Promise<Release> {
    this.calls.push(['addRelease', path]);
    if (path.includes('stranger')) {
      throw fail(
        'unknown_key',
        `${baseName(path)} is signed by key 77aa01b2c3d4e5f6, which is not trusted here`,
        'Trust the key if you know it: drop its .pub.pem on the window.',
      );
    }
    if (path.includes('tampered')) {
      throw fail(
        'bad_signature',
        `${baseName(path)} was changed after it was signed`,
        'Get it again from its maker.',
      );
    }
    return this.#add(this.#read(path));
  }

  async draftRelease(paths: string[]): Promise<Draft> {
    this.calls.push(['draftRelease', paths]);
    return copy(this.#draft(paths));
  }

  async packRelease(form: NewRelease): Promise<Release> {
    this.calls.push(['packRelease', form]);
    const key = this.#key(form.keyId);
    if (key.needsPassphrase && form.passphrase !== 'correct horse') {
      throw fail(
        'bad_passphrase',
        `the passphrase does not open ${key.name}`,
        'Type the passphrase again.',
      );
    }
    const { product, version, sequence } = form;
    const release = makeRelease({ product, version, sequence, age: 0, key });
    if (!form.app) release.app = { kind: 'any' };
    if (!form.files) release.files = { kind: 'any' };
    return this.#add(release);
  }

  async servePlain(id: string | null): Promise<void> {
    this.calls.push(['servePlain', id]);
    const release = id === null ? null : this.#release(id);
    if (release && release.app.kind !== 'carried' && release.files.kind !== 'carried') {
      throw fail(
        'not_for_plain',
        'the release carries nothing, and plain clients would copy and restart for ever',
        'Such boards take app, files or both, with folders at the top only and short names: pack it so.',
      );
    }
    this.setPlain({ ...this.#plain, release: id });
  }

  async deleteRelease(id: string): Promise<void> {
    this.calls.push(['deleteRelease', id]);
    this.#release(id);
    this.#world.releases = this.#world.releases.filter((release) => release.id !== id);
    this.emit({ kind: 'releases', data: this.#world.releases });
  }

  async exportRelease(id: string, path: string): Promise<void> {
    this.calls.push(['exportRelease', id, path]);
    this.#release(id);
  }

  async goBack(id: string, keyId: string, passphrase: string | null): Promise<Release> {
    this.calls.push(['goBack', id, keyId, passphrase]);
    const old = this.#release(id);
    const same = this.#world.releases.filter((release) => release.product === old.product);
    const sequence = Math.max(...same.map((release) => release.sequence)) + 1;
    const now = this.#clock.now();
    return this.#add({
      ...old,
      id: digest(`${old.id} ${sequence}`),
      sequence,
      created: now,
      added: now,
      keyId: this.#key(keyId).id,
      runningOn: [],
    });
  }

  async trustKey(path: string): Promise<Key> {
    this.calls.push(['trustKey', path]);
    const name = baseName(path).replace('.pub.pem', '');
    return this.#addKey({ ...KEY, id: digest(path).slice(0, 16), name, canSign: false });
  }

  async newKey(name: string, passphrase: string | null): Promise<Key> {
    this.calls.push(['newKey', name, passphrase]);
    const id = digest(`key ${name}`).slice(0, 16);
    return this.#addKey({
      id,
      name,
      canSign: true,
      needsPassphrase: passphrase !== null,
      trusted: true,
      offline: false,
    });
  }

  async importKey(path: string, passphrase: string | null): Promise<Key> {
    this.calls.push(['importKey', path, passphrase]);
    const name = baseName(path).replace('.pem', '');
    if (name.includes('locked') && passphrase === null) {
      throw fail('bad_passphrase', `${name} needs its passphrase`, 'Type the passphrase.');
    }
    return this.#addKey({
      ...KEY,
      id: digest(path).slice(0, 16),
      name,
      needsPassphrase: passphrase !== null,
    });
  }

  async exportPublicKey(id: string, path: string): Promise<void> {
    this.calls.push(['exportPublicKey', id, path]);
    this.#key(id);
  }

  async saveKeyCopy(id: string, path: string): Promise<void> {
    this.calls.push(['saveKeyCopy', id, path]);
    this.#key(id);
  }

  async unlockKey(id: string, passphrase: string): Promise<Key> {
    this.calls.push(['unlockKey', id]);
    const key = this.#key(id);
    if (passphrase === 'wrong') {
      throw fail('bad_passphrase', 'the passphrase does not open the key', 'Type it again.');
    }
    for (const device of this.#world.devices) {
      if (device.blocked?.code !== 'freshness_required') continue;
      if (!device.trusts.includes(id)) continue;
      device.blocked = null;
      this.emit({ kind: 'device', data: device });
    }
    return key;
  }

  async newOfflineKey({ name, path, passphrase }: NewOfflineKey): Promise<Key> {
    this.calls.push(['newOfflineKey', name, path]);
    if (passphrase.length < 8) {
      throw fail('usage', 'the passphrase of an offline key has 8 characters or more', 'See help.');
    }
    if (path.includes('exists')) {
      throw fail('io', `${path} exists already`, 'Choose another name; keys stay as they are.');
    }
    const id = digest(`offline ${name}`).slice(0, 16);
    return this.#addKey({ ...OFFLINE, id, name });
  }

  async planKeyChange(devices: string[]): Promise<KeyChangePlan> {
    this.calls.push(['planKeyChange', devices]);
    const plan: KeyChangePlan = { epoch: 1, roots: [], refused: [] };
    for (const device of devices.map((id) => this.#device(id))) {
      if (device.blocked || device.root === null) {
        const error = device.blocked ?? fail('no_trust', `${device.name} has no keys`, '');
        plan.refused.push({ device: device.id, error: copy(error) });
        continue;
      }
      plan.epoch = Math.max(plan.epoch, device.epoch + 1);
      const known = plan.roots.find((root) => root.id === device.root);
      const key = this.#world.keys.find((each) => each.id === device.root) ?? null;
      if (known) known.devices.push(device.id);
      else plan.roots.push({ id: device.root, key, devices: [device.id] });
    }
    return copy(plan);
  }

  async changeKeys(form: KeyChange): Promise<number[]> {
    this.calls.push(['changeKeys', { ...form, passphrase: form.passphrase && '…' }]);
    if (form.signerFile && form.passphrase !== 'correct horse') {
      throw fail('bad_passphrase', 'the passphrase does not open the key', 'Type it again.');
    }
    const jobs: number[] = [];
    for (const device of form.devices.map((id) => this.#device(id))) {
      const { product, chip } = device;
      const sequence = Math.max(0, ...this.#world.releases.map((each) => each.sequence)) + 1;
      const release = makeRelease({
        product,
        version: device.version ?? 'unknown',
        sequence,
        chip,
        appSize: 0,
        filesSize: 0,
        age: 0,
      });
      const running = (sha256: string | null): Part =>
        sha256 === null ? { kind: 'any' } : { kind: 'running', sha256 };
      release.app = running(device.appSha256);
      release.files = running(device.filesSha256);
      release.keyId = form.signer;
      const keys = { epoch: device.epoch + 1, root: form.root, keys: form.releaseKeys };
      release.keys = keys;
      this.#add(release);
      jobs.push(this.#start(device, release));
      Object.assign(device, {
        epoch: keys.epoch,
        root: keys.root,
        releaseKeys: keys.keys,
        trusts: [...new Set([keys.root, ...keys.keys])],
      });
    }
    return jobs;
  }

  async history(): Promise<HistoryRow[]> {
    return copy([...this.#world.history].reverse());
  }

  async exportHistory(path: string): Promise<void> {
    this.calls.push(['exportHistory', path]);
  }

  async setSettings(settings: Settings): Promise<void> {
    this.calls.push(['setSettings', settings]);
    this.#world.settings = copy(settings);
    this.emit({ kind: 'settings', data: settings });
  }

  async startVirtualDevices(count: number): Promise<void> {
    this.calls.push(['startVirtualDevices', count]);
    if (this.#world.keys.length === 0) this.#addKey(KEY);
    const spec = { product: 'virtual-c9c8ae8270e77350', appSize: 191_088, filesSize: 24_576 };
    const old = makeRelease({ ...spec, version: '1.0.0', sequence: 1, age: 60 });
    for (const release of [old, makeRelease({ ...spec, version: '1.1.0', sequence: 2, age: 30 })])
      this.#add(release);
    for (let n = 1; n <= count; n += 1) {
      const name = `virtual-${n}`;
      const device = makeDevice({
        name,
        id: `vd-${n}`,
        host: '127.0.0.1',
        release: old,
        slot: 'factory',
        simulated: true,
      });
      device.address = `127.0.0.1:${49151 + n}`;
      device.lastSeen = this.#clock.now();
      this.#world.devices.push(device);
      this.emit({ kind: 'device', data: device });
    }
    this.#setVirtual(true);
    this.#releasesChanged();
  }

  async stopVirtualDevices(): Promise<void> {
    this.calls.push(['stopVirtualDevices']);
    for (const device of this.#world.devices.filter((each) => each.simulated))
      await this.forgetDevice(device.id);
    this.#setVirtual(false);
  }

  async openFiles(): Promise<string[]> {
    return this.dialogs.shift() ?? [];
  }

  async saveFile(): Promise<string | null> {
    return this.dialogs.shift()?.[0] ?? null;
  }

  onDrop(callback: (event: DropEvent) => void): Unsubscribe {
    this.#dropListeners.add(callback);
    return () => this.#dropListeners.delete(callback);
  }

  protected releaseName(id: string): string {
    const { product, version } = this.#release(id);
    return `${product} ${version}`;
  }

  // Inside.

  /** Devices that are online answer every two seconds. */
  #beat(): void {
    this.#clock.after(BEAT_MS, () => {
      for (const device of this.#world.devices) {
        if (!device.online) continue;
        device.lastSeen = this.#clock.now();
        this.emit({ kind: 'device', data: device });
      }
      this.#beat();
    });
  }

  #start(device: Device, release: Release): number {
    if (device.job !== null) {
      throw fail(
        'busy',
        `${device.name} is being updated already`,
        'Wait for the running update to end, or cancel it.',
      );
    }
    const behaviour = this.#world.behaviours.get(device.id) ?? WELL;
    const job = new FakeJob(this.#nextJob, device, release, behaviour, this.#clock.now());
    this.#nextJob += 1;
    this.#jobs.set(job.job.id, job);
    device.job = job.job.id;
    device.updater = 'updating';
    this.emit({ kind: 'job', data: job.job });
    this.emit({ kind: 'device', data: device });
    this.#tickSoon();
    return job.job.id;
  }

  #tickSoon(): void {
    if (this.#ticking) return;
    this.#ticking = true;
    this.#clock.after(STEP_MS, () => {
      this.#ticking = false;
      this.#tick();
    });
  }

  #tick(): void {
    let running = false;
    for (const job of this.#jobs.values()) {
      if (job.job.phase === 'ended' || job.job.phase === 'queued') continue;
      const { runs, refused } = job.step(this.#clock.now());
      if (runs.length > 0 || refused.length > 0) {
        this.emit({ kind: 'chunks', data: { job: job.job.id, runs, refused } });
      }
      if ((job.job.phase as string) === 'ended') {
        this.#ended(job);
      } else {
        running = true;
        this.emit({ kind: 'job', data: job.job });
      }
    }
    if (running) this.#tickSoon();
  }

  #ended({ job, release }: FakeJob): void {
    const device = this.#device(job.device);
    const now = this.#clock.now();
    if (job.end === 'done') {
      const sha = (part: Release['app'], old: string | null) =>
        part.kind === 'any' ? old : part.sha256;
      Object.assign(device, {
        version: release.version,
        release: release.id,
        sequence: release.sequence,
        slot: job.toSlot ?? device.slot,
        appSha256: sha(release.app, device.appSha256),
        filesSha256: sha(release.files, device.filesSha256),
        uptimeMs: 3000,
      });
      for (const slot of device.slots) {
        if (slot.slot !== device.slot) continue;
        Object.assign(slot, { state: 'valid', version: release.version, release: release.id });
      }
    }
    const end = job.end ?? 'failed';
    const said = job.summary.includes('sensor missing');
    const cause = end !== 'rolled_back' ? 'none' : said ? 'health_check' : 'watchdog';
    Object.assign(device, {
      job: null,
      updater: 'idle',
      lastSeen: now,
      lastUpdate: {
        release: release.id,
        end,
        cause,
        detail: said ? 'sensor missing' : null,
        boots: 1,
      },
    });
    const sum = (pick: 'kept' | 'fetched' | 'refused') =>
      job.parts.reduce((total, part) => total + part[pick], 0);
    this.#world.history.push({
      job: job.id,
      device: job.device,
      deviceName: job.deviceName,
      product: job.product,
      fromVersion: job.fromVersion,
      toVersion: job.toVersion,
      release: job.release,
      started: job.started,
      ended: now,
      end,
      code: job.error?.code ?? null,
      summary: job.summary,
      kept: sum('kept'),
      fetched: sum('fetched'),
      refused: sum('refused'),
    });
    this.emit({ kind: 'device', data: device });
    this.emit({ kind: 'job', data: job });
    this.#releasesChanged();
  }

  #draft(paths: string[]): Draft {
    if (paths.length === 0)
      throw fail('usage', 'nothing is held over the window', 'Choose a file.');
    const app = paths.find((path) => path.endsWith('.bin'));
    const files = paths.find((path) => !path.endsWith('.bin'));
    const [, product = 'demo', version = '1.2.0'] =
      /([a-z]+)-(\d[\d.]*)\.bin$/.exec(app ?? '') ?? [];
    const bases = this.#world.releases.filter((release) => release.product === product);
    const sequence = bases.reduce((max, release) => Math.max(max, release.sequence), 0) + 1;
    const problems: FieldProblem[] = [];
    if (bases.some((release) => release.version === version)) {
      const error = fail(
        'usage',
        `${product} ${version} is in the library already`,
        'Devices compare digests, so this works; people may mix them up.',
      );
      problems.push({ field: 'version', error, warning: true });
    }
    if (app?.includes('merged')) {
      const error = fail(
        'bad_image',
        'this is a merged image, not an app image',
        'Use the .bin that your build makes for over-the-air updates.',
      );
      problems.push({ field: 'app', error, warning: false });
    }
    if (!this.#world.keys.some((key) => key.canSign)) {
      const error = fail(
        'bad_key',
        'no key that can sign is on this computer yet',
        'Make or import one.',
      );
      problems.push({ field: 'key', error, warning: false });
    }
    if (!app !== !files) {
      const missing = app ? 'files' : 'app';
      const error = fail(
        'wrong_base',
        `without a base, nothing says which ${missing} this release belongs to: whatever the board runs stays`,
        'Use a release that carries the missing part.',
      );
      problems.push({ field: missing, error, warning: true });
    }
    return {
      product,
      version,
      sequence,
      chip: app ? 'esp32c3' : null,
      app: app
        ? {
            path: app,
            size: 1_486_848,
            found: [
              `project ${product}, version ${version}`,
              'ESP32-C3, 5 segments, built 22 Nov 2026',
              'checksum and appended SHA-256 are right',
            ],
          }
        : null,
      files: files
        ? { path: files, size: 90_112, found: ['14 files in 3 folders', 'skipped .DS_Store'] }
        : null,
      keys: this.#world.keys.filter((key) => key.canSign),
      bases,
      problems,
    };
  }

  /** What a `.airlift` file of that name would hold: `PRODUCT-VERSION.airlift`. */
  #read(path: string): Release {
    const [, product = 'demo', version = '1.2.0'] =
      /([a-z-]+)-(\d[\d.]*)\.airlift$/.exec(path) ?? [];
    const same = this.#world.releases.filter((release) => release.product === product);
    const known = same.find((release) => release.version === version);
    if (known) return copy(known);
    const sequence = same.reduce((max, release) => Math.max(max, release.sequence), 0) + 1;
    const release = makeRelease({ product, version, sequence, age: 600 });
    return { ...release, app: carried(1_486_848, `${product} ${version} app`) };
  }

  #refuse(message: string): DropPlan {
    return {
      kind: 'refuse',
      error: fail(
        'usage',
        message,
        'Drop a .airlift file, an app .bin, a .tar, a folder, or a public key.',
      ),
    };
  }

  #add(release: Release): Release {
    if (!this.#world.releases.some((other) => other.id === release.id)) {
      this.#world.releases.unshift(release);
      this.#releasesChanged();
    }
    return copy(release);
  }

  #addKey(key: Key): Key {
    this.#world.keys.push(key);
    this.emit({ kind: 'keys', data: this.#world.keys });
    return copy(key);
  }

  #setVirtual(running: boolean): void {
    this.#virtual = running;
    this.emit({ kind: 'virtualDevices', data: running });
  }

  #releasesChanged(): void {
    this.#countRunning();
    this.emit({ kind: 'releases', data: this.#world.releases });
  }

  #countRunning(): void {
    for (const release of this.#world.releases) {
      release.runningOn = this.#world.devices
        .filter((device) => device.release === release.id)
        .map((device) => device.id);
    }
  }

  #device(id: string): Device {
    const device = this.#world.devices.find((each) => each.id === id);
    if (!device)
      throw fail('no_such_device', `no device has the id ${id}`, 'Look at the list of devices.');
    return device;
  }

  #release(id: string): Release {
    const release = this.#world.releases.find((each) => each.id === id);
    if (!release)
      throw fail('no_such_release', 'no release of that id', 'Look at the list of releases.');
    return release;
  }

  #key(id: string): Key {
    const key = this.#world.keys.find((each) => each.id === id);
    if (!key) throw fail('bad_key', `no key has the id ${id}`, 'Make or import a key first.');
    return key;
  }

  #job(id: number): FakeJob {
    const job = this.#jobs.get(id);
    if (!job) throw fail('no_such_job', 'no job of that id', 'Look at the list of jobs.');
    return job;
  }
}

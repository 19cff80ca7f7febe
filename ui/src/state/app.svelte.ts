/**
 * Everything the window knows, kept in step with the backend.
 *
 * Events are gathered and applied once a frame, so that a thousand devices cost one redraw. The
 * snapshot says which events it already contains; later ones are applied to it, by replacing whole
 * objects. A gap in their numbers is mended by a new snapshot.
 */
import type {
  ChunkRun,
  Device,
  ErrorInfo,
  Job,
  Key,
  Numbered,
  Phase,
  Plain,
  RefusedChunk,
  Release,
  Server,
  Settings,
  UsbLogLine,
  UsbPort,
} from '../dto';
import type { Backend, Unsubscribe } from '../backend/types';
import { toErrorInfo } from '../backend/types';
import { systemClock, type Clock } from '../clock';
import { sentence } from '../format';
import { news } from './usbwords';

export type View = 'devices' | 'releases' | 'usb' | 'history' | 'settings';
export const VIEWS: View[] = ['devices', 'releases', 'usb', 'history', 'settings'];

/** Runs the callback before the next frame is drawn. */
export type Frame = (callback: () => void) => void;

/** Told of changed chunks, with the number of the event. */
export type ChunksListener = (runs: ChunkRun[], refused: RefusedChunk[], seq: number) => void;

/** Told of new lines of a board's log. */
export type UsbLogListener = (lines: readonly UsbLogLine[]) => void;

export interface Notice {
  id: number;
  text: string;
  error: ErrorInfo | null;
}

export interface Question {
  title: string;
  text: string;
  action: string;
  /** What the other button says; without it, Keep. */
  otherwise?: string;
  danger: boolean;
}

/** A window that is not shown gets no frames, but must not gather events for ever. */
const browserFrame: Frame = (callback) => {
  if (document.hidden) setTimeout(callback, 250);
  else requestAnimationFrame(callback);
};

/** Beyond this many, events are applied at once, whatever the frames do. */
const MOST_GATHERED = 2000;
const NOTICE_MS = 6000;
const TICK_MS = 5000;

const byName = new Intl.Collator('en', { numeric: true, sensitivity: 'base' });

export class AppState {
  readonly backend: Backend;
  readonly clock: Clock;
  readonly #frame: Frame;

  view = $state<View>('devices');
  ready = $state(false);
  /** Why there is nothing to show. */
  broken = $state.raw<ErrorInfo | null>(null);

  devices = $state.raw<ReadonlyMap<string, Device>>(new Map());
  /** Device ids by name; a new array only when names or devices come and go. */
  order = $state.raw<readonly string[]>([]);
  releases = $state.raw<readonly Release[]>([]);
  jobs = $state.raw<ReadonlyMap<number, Job>>(new Map());
  /** The newest job of each device. */
  latestJob = $state.raw<ReadonlyMap<string, number>>(new Map());
  keys = $state.raw<readonly Key[]>([]);
  server = $state.raw<Server>({ addresses: [], error: null });
  settings = $state.raw<Settings>({ theme: 'system', port: 7410, interfaces: [], notify: true });
  virtualDevices = $state(false);
  /** What boards that check no signature are given, and which of them asked. */
  plain = $state.raw<Plain>({ release: null, boards: [] });
  usbPorts = $state.raw<ReadonlyMap<string, UsbPort>>(new Map());
  /** The device whose board is looked for on USB; the USB page takes it up. */
  wantedOnUsb = $state.raw<string | null>(null);

  /** How often everything was read again because events were lost. */
  rereads = $state(0);
  now = $state(0);
  notices = $state.raw<readonly Notice[]>([]);
  /** Read out by screen readers: ends of jobs, never progress. */
  announcement = $state('');
  question = $state.raw<Question | null>(null);
  /** Devices whose keys are to be changed, none meaning all; `null` while nobody asked. */
  changingKeys = $state.raw<readonly string[] | null>(null);

  readonly signingKeys = $derived(this.keys.filter((key) => key.canSign));
  readonly runningJobs = $derived([...this.jobs.values()].filter((job) => job.phase !== 'ended'));

  /** The last phase a job was seen in before it ended. */
  readonly #lastPhase = new Map<number, Phase>();
  readonly #chunkListeners = new Map<number, Set<ChunksListener>>();
  readonly #usbLogListeners = new Map<string, Set<UsbLogListener>>();
  #gathered: Numbered[] = [];
  #scheduled = false;
  #expectedSeq: number | null = null;
  #loading = false;
  #loadAgain = false;
  #nextNotice = 1;
  #answer: ((yes: boolean) => void) | null = null;
  #stop: Unsubscribe[] = [];
  #stopped = false;

  constructor(backend: Backend, clock: Clock = systemClock, frame: Frame = browserFrame) {
    this.backend = backend;
    this.clock = clock;
    this.#frame = frame;
    this.now = clock.now();
  }

  /** Subscribes and reads everything; again after it failed. */
  async start(): Promise<void> {
    this.stop();
    this.#stopped = false;
    this.#tick();
    try {
      const unsubscribe = await this.backend.subscribe((event) => this.#gather(event));
      if (this.#stopped) return unsubscribe();
      this.#stop.push(unsubscribe);
    } catch (thrown) {
      this.broken = toErrorInfo(thrown);
      return;
    }
    await this.#load();
  }

  stop(): void {
    this.#stopped = true;
    for (const stop of this.#stop.splice(0)) stop();
  }

  // Look-ups.

  key(id: string): Key | undefined {
    return this.keys.find((key) => key.id === id);
  }

  release(id: string): Release | undefined {
    return this.releases.find((release) => release.id === id);
  }

  jobOf(device: string): Job | undefined {
    const id = this.latestJob.get(device);
    return id === undefined ? undefined : this.jobs.get(id);
  }

  /** The phase a job is in, or was in when it ended. */
  phaseOf(job: Job): Phase {
    if (job.phase !== 'ended') return job.phase;
    return this.#lastPhase.get(job.id) ?? guessPhase(job);
  }

  onChunks(job: number, listener: ChunksListener): Unsubscribe {
    return listen(this.#chunkListeners, job, listener);
  }

  onUsbLog(port: string, listener: UsbLogListener): Unsubscribe {
    return listen(this.#usbLogListeners, port, listener);
  }

  /** Goes to the USB page, and there to the board of a device if it is plugged in. */
  showOnUsb(device: string | null): void {
    this.wantedOnUsb = device;
    this.view = 'usb';
  }

  // Words to the user.

  say(text: string): void {
    const id = this.#notice(text, null);
    this.clock.after(NOTICE_MS, () => this.dismiss(id));
  }

  complain(thrown: unknown): void {
    const error = toErrorInfo(thrown);
    this.#notice(error.message, error);
  }

  dismiss(id: number): void {
    this.notices = this.notices.filter((notice) => notice.id !== id);
  }

  /** Runs something and shows its error, if any. Answers whether it went well. */
  async attempt(action: () => Promise<unknown>): Promise<boolean> {
    try {
      await action();
      return true;
    } catch (thrown) {
      this.complain(thrown);
      return false;
    }
  }

  ask(question: Question): Promise<boolean> {
    this.answer(false);
    this.question = question;
    return new Promise((resolve) => {
      this.#answer = resolve;
    });
  }

  answer(yes: boolean): void {
    this.question = null;
    this.#answer?.(yes);
    this.#answer = null;
  }

  // Keeping in step.

  #notice(text: string, error: ErrorInfo | null): number {
    const id = this.#nextNotice;
    this.#nextNotice += 1;
    const others = this.notices.filter((notice) => notice.text !== text);
    this.notices = [...others.slice(-2), { id, text, error }];
    return id;
  }

  #tick(): void {
    const cancel = this.clock.after(TICK_MS, () => {
      this.#stop = this.#stop.filter((stop) => stop !== cancel);
      this.now = this.clock.now();
      this.#tick();
    });
    this.#stop.push(cancel);
  }

  #gather(event: Numbered): void {
    if (this.#expectedSeq !== null && event.seq !== this.#expectedSeq) void this.#load();
    this.#expectedSeq = event.seq + 1;
    this.#gathered.push(event);
    if (this.#loading) return;
    if (this.#gathered.length >= MOST_GATHERED) this.#flush();
    else this.#schedule();
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#frame(() => {
      this.#scheduled = false;
      if (!this.#loading) this.#flush();
    });
  }

  async #load(): Promise<void> {
    if (this.#loading) {
      this.#loadAgain = true;
      return;
    }
    this.#loading = true;
    let found: readonly ErrorInfo[] = [];
    try {
      do {
        this.#loadAgain = false;
        const snapshot = await this.backend.snapshot();
        this.devices = new Map(snapshot.devices.map((device) => [device.id, device]));
        this.#sort();
        this.releases = snapshot.releases;
        this.jobs = new Map(snapshot.jobs.map((job) => [job.id, job]));
        this.#index();
        this.keys = snapshot.keys;
        this.server = snapshot.server;
        this.settings = snapshot.settings;
        this.virtualDevices = snapshot.virtualDevices;
        this.plain = snapshot.plain;
        this.usbPorts = new Map(snapshot.usbPorts.map((port) => [port.path, port]));
        found = snapshot.notices ?? [];
        const { seq } = snapshot;
        if (seq !== undefined) this.#gathered = this.#gathered.filter((event) => event.seq > seq);
      } while (this.#loadAgain);
      this.broken = null;
      // What was found damaged at the start is said once, not at every reading.
      if (!this.ready) found.forEach((notice) => this.complain(notice));
      if (this.ready) this.rereads += 1;
      this.ready = true;
    } catch (thrown) {
      this.broken = toErrorInfo(thrown);
    } finally {
      this.#loading = false;
    }
    this.#flush();
  }

  #flush(): void {
    const events = this.#gathered.splice(0);
    if (events.length === 0) return;
    this.now = this.clock.now();
    const batch = new Batch(this.devices, this.jobs, this.usbPorts);
    for (const each of events) this.#apply(each, batch);
    if (batch.devices !== this.devices) this.devices = batch.devices;
    if (batch.resort) this.#sort();
    if (batch.jobs !== this.jobs) {
      this.jobs = batch.jobs;
      if (batch.newJobs) this.#index();
    }
    if (batch.ends.length > 0) this.announcement = announce(batch.ends);
    if (batch.ports !== this.usbPorts) this.usbPorts = batch.ports;
    if (batch.news.length > 0) this.announcement = batch.news.slice(-3).join(' ');
  }

  #apply({ seq, event }: Numbered, batch: Batch): void {
    switch (event.kind) {
      case 'device':
        batch.setDevice(event.data);
        break;
      case 'deviceForgotten':
        batch.removeDevice(event.data);
        break;
      case 'releases':
        this.releases = event.data;
        break;
      case 'job':
        if (event.data.phase !== 'ended') this.#lastPhase.set(event.data.id, event.data.phase);
        batch.setJob(event.data);
        break;
      case 'chunks':
        for (const listener of this.#chunkListeners.get(event.data.job) ?? []) {
          listener(event.data.runs, event.data.refused, seq);
        }
        break;
      case 'keys':
        this.keys = event.data;
        break;
      case 'server':
        this.server = event.data;
        break;
      case 'settings':
        this.settings = event.data;
        break;
      case 'plain':
        this.plain = event.data;
        break;
      case 'virtualDevices':
        this.virtualDevices = event.data;
        break;
      case 'usbPort':
        batch.setPort(event.data);
        break;
      case 'usbPortGone':
        batch.removePort(event.data);
        break;
      case 'usbLog':
        for (const listener of this.#usbLogListeners.get(event.data.port) ?? [])
          listener(event.data.lines);
        break;
    }
  }

  #sort(): void {
    this.order = [...this.devices.values()]
      .sort((a, b) => byName.compare(a.name, b.name) || byName.compare(a.id, b.id))
      .map((device) => device.id);
  }

  #index(): void {
    const latest = new Map<string, number>();
    for (const job of this.jobs.values()) {
      if (job.id >= (latest.get(job.device) ?? 0)) latest.set(job.device, job.id);
    }
    this.latestJob = latest;
  }
}

/** Changes of one frame; the maps are copied once, on the first change. */
class Batch {
  devices: ReadonlyMap<string, Device>;
  jobs: ReadonlyMap<number, Job>;
  resort = false;
  newJobs = false;
  readonly ends: Job[] = [];
  ports: ReadonlyMap<string, UsbPort>;
  /** What is to be said of boards on USB. */
  readonly news: string[] = [];
  #ownDevices: Map<string, Device> | null = null;
  #ownJobs: Map<number, Job> | null = null;
  #ownPorts: Map<string, UsbPort> | null = null;

  constructor(
    devices: ReadonlyMap<string, Device>,
    jobs: ReadonlyMap<number, Job>,
    ports: ReadonlyMap<string, UsbPort>,
  ) {
    this.devices = devices;
    this.jobs = jobs;
    this.ports = ports;
  }

  setDevice(device: Device): void {
    const before = this.devices.get(device.id);
    if (before?.name !== device.name) this.resort = true;
    this.devices = this.#ownDevices ??= new Map(this.devices);
    this.#ownDevices.set(device.id, device);
  }

  removeDevice(id: string): void {
    this.resort = true;
    this.devices = this.#ownDevices ??= new Map(this.devices);
    this.#ownDevices.delete(id);
  }

  setJob(job: Job): void {
    const before = this.jobs.get(job.id);
    if (!before) this.newJobs = true;
    if (job.phase === 'ended' && before && before.phase !== 'ended') this.ends.push(job);
    this.jobs = this.#ownJobs ??= new Map(this.jobs);
    this.#ownJobs.set(job.id, job);
  }

  setPort(port: UsbPort): void {
    const said = news(this.ports.get(port.path), port);
    if (said !== null) this.news.push(said);
    this.ports = this.#ownPorts ??= new Map(this.ports);
    this.#ownPorts.set(port.path, port);
  }

  removePort(path: string): void {
    this.ports = this.#ownPorts ??= new Map(this.ports);
    this.#ownPorts.delete(path);
  }
}

function listen<Name, Listener>(
  all: Map<Name, Set<Listener>>,
  name: Name,
  listener: Listener,
): Unsubscribe {
  const listeners = all.get(name) ?? new Set();
  all.set(name, listeners.add(listener));
  return () => {
    listeners.delete(listener);
    if (listeners.size === 0) all.delete(name);
  };
}

function announce(ends: Job[]): string {
  if (ends.length > 3) {
    const done = ends.filter((job) => job.end === 'done').length;
    return `${ends.length} updates ended, ${done} of them done.`;
  }
  return ends.map((job) => `${job.deviceName}: ${sentence(job.summary)}`).join(' ');
}

/** Where a job stood when it ended, from what it left; for jobs that ended before the window came. */
function guessPhase(job: Job): Phase {
  if (job.end === 'done' || job.end === 'rolled_back') return 'confirm';
  if (job.error?.code === 'not_seen_again') return 'confirm';
  const begun = job.parts.filter((part) => part.kept + part.fetched > 0);
  const last = begun.at(-1);
  if (!last) return job.toSlot ? 'app' : 'signature';
  if (job.parts.some((part) => part.computed !== null)) return 'check';
  return last.part === 'files' ? 'files' : 'app';
}

/** The USB side of the fake backend: ports, boards that are dead in known ways, jobs, logs. */
import type { Clock } from '../../clock';
import type {
  Diagnosis,
  ErrorInfo,
  Event,
  FlashPlan,
  FlashRequest,
  UsbBackup,
  UsbJob,
  UsbLogLine,
  UsbPhase,
  UsbPort,
  UsbRecord,
  WifiCredentials,
} from '../../dto';
import type { UsbBackend } from '../usb';
import { diagnosisOf, flashPlan, RATE, repairPlan, restorePlan } from './flash';
import { boardOf, LOG, makePort, RULE, type FakePort, type UsbSpec } from './usbports';

const STEP_MS = 100;
const CONNECT_MS = 700;
const LOOK_MS = 500;
const READ_MS = 2600;
const LOG_MS = 120;

const copy = <T>(value: T): T => structuredClone(value);
const fail = (code: string, message: string, help: string): ErrorInfo => ({ code, message, help });
const CANCELLED = fail('cancelled', 'cancelled', 'Start it again when you like.');
const UNPLUGGED = fail(
  'unplugged',
  'the board went away in the middle',
  'Plug it back in, and it goes on where it was.',
);
const BAD_FLASH = fail(
  'bad_flash',
  'the sector at 0x21000 does not take what is written',
  'Its flash is worn out or broken: use another board.',
);

const PHASES: UsbPhase[] = ['compare', 'backup', 'write', 'verify', 'restart', 'ended'];

export abstract class FakeUsb implements UsbBackend {
  /** Every call, for tests: name and arguments. */
  readonly calls: [name: string, ...args: unknown[]][] = [];

  readonly #time: Clock;
  readonly #ports = new Map<string, FakePort>();
  readonly #logs = new Map<string, UsbLogLine[]>();
  readonly #plans = new Map<number, { plan: FlashPlan; what: string }>();
  readonly #backups: UsbBackup[] = [];
  readonly #records: UsbRecord[] = [];
  /** Ends what waits on a port: connecting, or the next step of a job. */
  readonly #stops = new Map<string, (error: ErrorInfo) => void>();
  #nextPlan = 1;
  #nextUsbJob = 1;

  constructor(specs: UsbSpec[], clock: Clock) {
    this.#time = clock;
    for (const spec of specs) this.#ports.set(spec.path, makePort(spec));
  }

  abstract emit(event: Event): void;

  // What tests and scenarios do.

  get usbPorts(): UsbPort[] {
    return [...this.#ports.values()].map(({ port }) => port);
  }

  plugIn(spec: UsbSpec): void {
    const known = this.#ports.get(spec.path);
    if (known) {
      known.port.present = true;
      if (known.port.activity === 'unplugged') {
        known.port.activity = 'working';
        known.port.error = null;
        known.spec.unplugAt = 2;
        this.#work(known);
      }
      this.#changed(known);
      return;
    }
    const added = makePort(spec);
    this.#ports.set(spec.path, added);
    this.#changed(added);
  }

  unplug(path: string): void {
    const found = this.#port(path);
    if (found.port.activity === 'working') {
      found.port.present = false;
      found.port.activity = 'unplugged';
      found.port.error = UNPLUGGED;
      this.#stops.delete(path);
      this.#changed(found);
    } else {
      this.#ports.delete(path);
      this.emit({ kind: 'usbPortGone', data: path });
    }
  }

  /** Somebody holds BOOT and presses RESET. */
  pressReset(path: string): void {
    this.#port(path).spec.byHand = false;
  }

  // The backend.

  async usbConnect(path: string): Promise<UsbPort> {
    this.calls.push(['usbConnect', path]);
    const found = this.#port(path);
    const { port, spec } = found;
    Object.assign(port, { activity: 'connecting', error: null });
    this.#changed(found);
    try {
      if (port.problem) throw port.problem;
      await this.#wait(path, CONNECT_MS);
      if (spec.byHand) {
        port.activity = 'waiting_for_boot';
        this.#changed(found);
        while (spec.byHand) await this.#wait(path, CONNECT_MS);
      }
      if (spec.silent) {
        throw fail(
          'no_answer',
          `nothing on ${path} answers as a boot loader`,
          'Hold BOOT, press RESET, release BOOT and connect again; or try another cable.',
        );
      }
      port.board = boardOf(spec);
      port.plan = null;
      port.activity = 'diagnosing';
      this.#changed(found);
      if (!port.board.refused) {
        await this.#wait(path, LOOK_MS);
        port.diagnosis = diagnosisOf(found.condition, spec.name ?? '', false);
        this.#changed(found);
        await this.#wait(path, READ_MS);
        port.diagnosis = diagnosisOf(found.condition, spec.name ?? '', true);
      }
      port.activity = 'connected';
      this.#changed(found);
      return copy(port);
    } catch (error) {
      port.activity = 'idle';
      port.error = error as ErrorInfo;
      this.#changed(found);
      throw error;
    }
  }

  async usbDisconnect(path: string): Promise<void> {
    this.calls.push(['usbDisconnect', path]);
    const found = this.#port(path);
    this.#stop(path, CANCELLED);
    found.port.activity = 'idle';
    this.#changed(found);
  }

  async usbAddPort(path: string): Promise<UsbPort> {
    this.calls.push(['usbAddPort', path]);
    if (path.includes('nothing')) {
      throw fail('no_such_port', `there is no ${path}`, 'Look at its spelling and its cable.');
    }
    this.plugIn({ path, adapter: 'serial port', condition: 'blank' });
    return copy(this.#port(path).port);
  }

  async usbLabel(path: string, label: string | null): Promise<void> {
    this.calls.push(['usbLabel', path, label]);
    const found = this.#port(path);
    found.port.label = label;
    this.#changed(found);
  }

  async usbDiagnose(path: string, full: boolean): Promise<Diagnosis> {
    this.calls.push(['usbDiagnose', path, full]);
    const found = this.#port(path);
    found.port.activity = 'diagnosing';
    this.#changed(found);
    await this.#wait(path, full ? READ_MS : LOOK_MS);
    const diagnosis = diagnosisOf(found.condition, found.spec.name ?? '', full);
    Object.assign(found.port, { activity: 'connected', diagnosis });
    this.#changed(found);
    return copy(diagnosis);
  }

  async usbPlanRepair(path: string, how: string): Promise<FlashPlan> {
    this.calls.push(['usbPlanRepair', path, how]);
    const { condition } = this.#port(path);
    return this.#plan(path, repairPlan(this.#nextPlan, condition, how), 'repair');
  }

  async usbPlanFlash(path: string, request: FlashRequest): Promise<FlashPlan> {
    this.calls.push(['usbPlanFlash', path, copy(request)]);
    const { source, keepNvs } = request;
    const what =
      source.kind === 'release'
        ? this.releaseName(source.id)
        : source.kind === 'file'
          ? (source.path.split('/').at(-1) ?? '')
          : `${source.parts.length} files`;
    if (what.endsWith('.jpg')) {
      throw fail('bad_image', `${what} is nothing that a board runs`, 'Choose another file.');
    }
    return this.#plan(path, flashPlan(this.#nextPlan, what, keepNvs), what);
  }

  async usbCarryOut(path: string, plan: number): Promise<number> {
    this.calls.push(['usbCarryOut', path, plan]);
    const found = this.#port(path);
    const known = this.#plans.get(plan);
    if (!known || found.port.plan?.id !== plan) {
      throw fail('plan_stale', 'the board is not as it was when this was planned', 'Plan again.');
    }
    const id = this.#nextUsbJob;
    this.#nextUsbJob += 1;
    const job: UsbJob = {
      id,
      kind: known.plan.kind,
      phase: 'compare',
      step: 0,
      steps: known.plan.steps.length,
      bytes: 0,
      total: known.plan.bytes,
      skipped: 0,
      rate: null,
      secondsLeft: null,
      backup: null,
      end: null,
      error: null,
      summary: '',
    };
    Object.assign(found.port, { job, activity: 'working', error: null });
    this.#changed(found);
    this.#work(found);
    return id;
  }

  async usbCancel(path: string): Promise<void> {
    this.calls.push(['usbCancel', path]);
    const { port } = this.#port(path);
    if (port.job && port.job.phase !== 'ended') this.#ended(this.#port(path), 'cancelled', null);
    else this.#stop(path, CANCELLED);
  }

  async usbBackups(): Promise<UsbBackup[]> {
    return copy([...this.#backups].reverse());
  }

  async usbRestore(path: string, backup: string): Promise<FlashPlan> {
    this.calls.push(['usbRestore', path, backup]);
    const found = this.#backups.find((each) => each.id === backup);
    if (!found) throw fail('not_found', 'that backup is gone', 'Look at the list of backups.');
    return this.#plan(path, restorePlan(this.#nextPlan, found.bytes), 'backup');
  }

  async usbMonitor(path: string, elf: string | null): Promise<void> {
    this.calls.push(['usbMonitor', path, elf]);
    const found = this.#port(path);
    found.port.activity = 'monitoring';
    this.#logs.set(path, []);
    this.#changed(found);
    this.#chatter(found, 0);
  }

  async usbStopMonitor(path: string): Promise<void> {
    this.calls.push(['usbStopMonitor', path]);
    const found = this.#port(path);
    found.port.activity = 'idle';
    this.#changed(found);
  }

  async usbLog(path: string, from: number): Promise<UsbLogLine[]> {
    return copy((this.#logs.get(path) ?? []).slice(from));
  }

  async usbSaveLog(path: string, file: string): Promise<void> {
    this.calls.push(['usbSaveLog', path, file]);
  }

  async usbReset(path: string): Promise<void> {
    this.calls.push(['usbReset', path]);
    const found = this.#port(path);
    if (found.spec.byHand === false)
      throw fail(
        'no_reset',
        'this port has no lines to reset a board',
        'Press RESET on the board.',
      );
    if (found.port.activity === 'monitoring') return this.#chatter(found, 0);
    found.port.activity = 'idle';
    this.#changed(found);
  }

  async usbWifi(path: string, wifi: WifiCredentials): Promise<string> {
    this.calls.push(['usbWifi', path, wifi.ssid]);
    await this.#wait(path, 1500);
    if (wifi.password.startsWith('wrong')) {
      throw fail(
        'wifi_refused',
        `the board could not join ${wifi.ssid}`,
        'Look at name and password; the chip joins 2.4 GHz networks only.',
      );
    }
    return '10.0.0.77';
  }

  async usbRecords(): Promise<UsbRecord[]> {
    return copy([...this.#records].reverse());
  }

  async usbExportRecords(path: string): Promise<void> {
    this.calls.push(['usbExportRecords', path]);
  }

  async usbUdevRule(): Promise<string> {
    return RULE;
  }

  protected abstract releaseName(id: string): string;

  // Inside.

  #port(path: string): FakePort {
    const found = this.#ports.get(path);
    if (!found) throw fail('no_such_port', `there is no ${path}`, 'Look at its cable.');
    return found;
  }

  #changed({ port }: FakePort): void {
    this.emit({ kind: 'usbPort', data: port });
  }

  #plan(path: string, plan: FlashPlan, what: string): FlashPlan {
    const found = this.#port(path);
    if (found.port.activity !== 'connected')
      throw fail('not_connected', `no board is connected on ${path}`, 'Connect the board first.');
    this.#nextPlan += 1;
    this.#plans.set(plan.id, { plan, what });
    Object.assign(found.port, { plan: copy(plan), error: null });
    this.#changed(found);
    return plan;
  }

  #wait(path: string, ms: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const cancel = this.#time.after(ms, () => {
        this.#stops.delete(path);
        resolve();
      });
      this.#stops.set(path, (error) => {
        cancel();
        reject(error);
      });
    });
  }

  #stop(path: string, error: ErrorInfo): void {
    const stop = this.#stops.get(path);
    this.#stops.delete(path);
    stop?.(error);
  }

  #work(found: FakePort): void {
    this.#time.after(STEP_MS, () => {
      if (found.port.activity !== 'working') return;
      this.#step(found);
      if (found.port.activity === 'working') this.#work(found);
    });
  }

  /** A tenth of a second of a job. */
  #step(found: FakePort): void {
    const { port, spec } = found;
    const { job, plan } = port;
    if (!job || !plan) return;
    // Comparing is a question a region; writing is what takes its time.
    const speed = { compare: 20, backup: 4, write: 1, verify: 16, restart: 8, ended: 1 }[job.phase];
    const rate = RATE * speed;
    job.bytes = Math.min(job.total, job.bytes + Math.round((rate * STEP_MS) / 1000));
    job.rate = rate;
    job.secondsLeft = Math.ceil((job.total - job.bytes) / rate);
    job.step = stepAt(plan, job.bytes);
    if (job.phase === 'write' && job.bytes / job.total >= (spec.unplugAt ?? 2)) {
      this.unplug(port.path);
      return;
    }
    if (job.phase === 'write' && spec.badSector) {
      this.#ended(found, 'failed', BAD_FLASH);
      return;
    }
    if (job.bytes >= job.total) this.#nextPhase(found, job);
    this.#changed(found);
  }

  #nextPhase(found: FakePort, job: UsbJob): void {
    const { port } = found;
    if (job.phase === 'backup') {
      job.backup = `backup-${job.id}`;
      this.#backups.push({
        id: job.backup,
        time: Math.floor(this.#time.now()),
        mac: port.board?.mac ?? null,
        chip: port.board?.chip ?? '',
        bytes: job.total,
        summary: `Before: ${port.plan?.sentence ?? ''}`,
      });
    }
    const next = PHASES[PHASES.indexOf(job.phase) + 1] ?? 'ended';
    if (next === 'ended') this.#ended(found, 'done', null);
    else Object.assign(job, { phase: next, bytes: 0, rate: null, secondsLeft: null, step: 0 });
  }

  #ended(found: FakePort, end: 'done' | 'failed' | 'cancelled', error: ErrorInfo | null): void {
    const { port, spec } = found;
    const { job, plan } = port;
    if (!job || !plan) return;
    const afterwards = plan.afterwards.split('. ')[0]?.replace(/\.$/, '') ?? '';
    const summary = {
      done: `${plan.bytes.toLocaleString('en-US')} bytes written and read back. ${afterwards}.`,
      failed: error?.message ?? '',
      cancelled: 'Cancelled; what was written so far is whole, and the rest is as it was.',
    }[end];
    Object.assign(job, { phase: 'ended', end, error, summary, rate: null, secondsLeft: null });
    this.#records.push({
      time: this.#time.now(),
      port: port.path,
      serialNumber: port.serialNumber,
      chip: port.board?.chip ?? '',
      mac: port.board?.mac ?? null,
      label: port.label,
      kind: job.kind,
      what: this.#plans.get(plan.id)?.what ?? '',
      bytes: plan.bytes,
      end,
      code: error?.code ?? null,
    });
    if (end === 'done') {
      found.condition = 'healthy';
      port.diagnosis = diagnosisOf(found.condition, spec.name ?? '', true);
    }
    port.plan = null;
    port.activity = end === 'done' ? 'idle' : 'connected';
    this.#changed(found);
  }

  #chatter(found: FakePort, at: number): void {
    this.#time.after(LOG_MS, () => {
      const { path, activity } = found.port;
      const lines = this.#logs.get(path);
      const next = LOG[at];
      if (activity !== 'monitoring' || !lines || !next) return;
      const [text, kind, resolved = []] = next;
      const line: UsbLogLine = {
        n: lines.length,
        ms: lines.length * LOG_MS,
        text,
        kind,
        resolved: [...resolved],
      };
      lines.push(line);
      this.emit({ kind: 'usbLog', data: { port: path, lines: [line] } });
      this.#chatter(found, at + 1);
    });
  }
}

/** The step in which that byte of a plan lies. */
function stepAt(plan: FlashPlan, bytes: number): number {
  let end = 0;
  const at = plan.steps.findIndex((each) => (end += each.bytes) > bytes);
  return at < 0 ? Math.max(0, plan.steps.length - 1) : at;
}

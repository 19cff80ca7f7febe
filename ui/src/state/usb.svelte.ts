/** The USB page: which port is looked at, which are worked on together, and what is asked of them. */
import { SvelteMap, SvelteSet } from 'svelte/reactivity';
import type { How } from '../backend/usb';
import { toErrorInfo } from '../backend/types';
import type { Diagnosis, ErrorInfo, UsbPort } from '../dto';
import { plural } from '../format';
import type { AppState } from './app.svelte';
import { FlashForm } from './flash.svelte';
import { isRunning, portName } from './usbwords';

const byPath = new Intl.Collator('en', { numeric: true });

/** Two looks at the same flash say the same. */
const lookOf = (diagnosis: Diagnosis) => `${diagnosis.code} ${diagnosis.bytesRead}`;

export class UsbView {
  readonly app: AppState;

  #selected = $state<string | null>(null);
  /** Ports that are worked on together, once there are two. */
  readonly checked = new SvelteSet<string>();
  /** Why the last thing asked of a port did not work, until something else is asked of it. */
  readonly #errors = new SvelteMap<string, ErrorInfo>();
  /** How much was last asked to be rewritten on each port. */
  readonly #how = new SvelteMap<string, How>();
  /** Ports whose log is open. */
  readonly logs = new SvelteSet<string>();
  /** The sheet that says what to write; `null` while nobody asked. */
  flashing = $state.raw<FlashForm | null>(null);
  /** The job that ran on each port when they were last looked at. */
  readonly #jobs = new Map<string, number>();
  /** The look at each port for which a plan has been asked. */
  readonly #planned = new Map<string, string>();

  constructor(app: AppState) {
    this.app = app;
  }

  readonly ports = $derived.by(() =>
    [...this.app.usbPorts.values()].sort((a, b) => byPath.compare(a.path, b.path)),
  );

  readonly port = $derived.by(
    () => this.ports.find((port) => port.path === this.#selected) ?? this.ports[0],
  );

  readonly together = $derived.by(() => this.ports.filter((port) => this.checked.has(port.path)));
  readonly many = $derived(this.together.length > 1);
  /** Those of them that have a plan that can be carried out. */
  readonly ready = $derived.by(() =>
    this.together.filter((port) => port.plan && !port.plan.blocked && !isRunning(port.job)),
  );
  readonly running = $derived.by(() => this.together.filter((port) => isRunning(port.job)));

  /** Which of the ways to mend it the plan of a port is. */
  howOf({ path }: UsbPort): How {
    return this.#how.get(path) ?? 'smallest';
  }

  errorOf(port: UsbPort): ErrorInfo | null {
    const error = this.#errors.get(port.path) ?? port.error;
    return error?.code === 'cancelled' ? null : error;
  }

  select(path: string): void {
    this.#selected = path;
  }

  /** Selects the port at that place of the list, or the nearest. */
  moveTo(index: number): string | null {
    const path = this.ports[Math.max(0, Math.min(index, this.ports.length - 1))]?.path ?? null;
    if (path !== null) this.select(path);
    return path;
  }

  toggle(path: string): void {
    if (!this.checked.delete(path)) this.checked.add(path);
  }

  toggleAll(): void {
    const all = this.ports.every((port) => this.checked.has(port.path));
    this.checked.clear();
    if (!all) for (const port of this.ports) this.checked.add(port.path);
  }

  /**
   * Ports come and go: what is gone is not worked on, and a board that came back under another name
   * is still the one that is looked at. And a device that was looked for is shown.
   */
  follow(): void {
    this.#followJobs();
    for (const path of this.checked) if (!this.app.usbPorts.has(path)) this.checked.delete(path);
    const wanted = this.app.wantedOnUsb;
    const found = this.ports.find((port) => port.board?.deviceId === wanted);
    if (wanted === null || !found) return;
    this.select(found.path);
    this.app.wantedOnUsb = null;
  }

  #followJobs(): void {
    for (const [path, job] of this.#jobs) {
      if (this.app.usbPorts.has(path)) continue;
      const now = this.ports.find((port) => port.job?.id === job)?.path;
      // Only a job that runs moves; the port of one that has ended is just gone.
      if (now !== undefined) {
        if (this.#selected === path) this.select(now);
        if (this.checked.delete(path)) this.checked.add(now);
      }
    }
    this.#jobs.clear();
    for (const { path, job } of this.ports) if (isRunning(job)) this.#jobs.set(path, job.id);
  }

  /** A board that is not well gets its plan without being asked for it, once for each look. */
  planWhereNeeded(): void {
    for (const { path, activity, diagnosis, plan, job, board } of this.ports) {
      if (!diagnosis?.complete || plan || isRunning(job) || board?.refused) continue;
      if (activity !== 'connected') continue;
      if (diagnosis.verdict !== 'dead' && diagnosis.verdict !== 'impaired') continue;
      if (this.#planned.get(path) === lookOf(diagnosis)) continue;
      this.#planned.set(path, lookOf(diagnosis));
      void this.planRepair(path, 'smallest');
    }
  }

  // One port.

  async connect(path: string): Promise<boolean> {
    this.#planned.delete(path);
    return this.#ask(path, () => this.app.backend.usbConnect(path));
  }

  /** Lets go of a board and starts it; one that cannot be reset from here is reset by hand. */
  async start(path: string): Promise<void> {
    const { backend } = this.app;
    await this.#ask(path, async () => {
      try {
        await backend.usbReset(path);
      } catch (thrown) {
        if (toErrorInfo(thrown).code !== 'no_reset') throw thrown;
        await backend.usbDisconnect(path);
        this.app.say('Press RESET on the board to start it.');
      }
    });
  }

  async diagnose(path: string): Promise<void> {
    await this.#ask(path, () => this.app.backend.usbDiagnose(path, true));
  }

  async planRepair(path: string, how: How): Promise<void> {
    this.#how.set(path, how);
    await this.#ask(path, async () => {
      await this.#connected(path);
      await this.app.backend.usbPlanRepair(path, how);
    });
  }

  async carryOut(port: UsbPort): Promise<void> {
    const { plan } = port;
    if (!plan || plan.blocked || isRunning(port.job)) return;
    await this.#ask(port.path, () => this.app.backend.usbCarryOut(port.path, plan.id));
  }

  async cancel(path: string): Promise<void> {
    await this.#ask(path, () => this.app.backend.usbCancel(path));
  }

  async restore(path: string, backup: string): Promise<boolean> {
    return this.#ask(path, async () => {
      await this.#connected(path);
      await this.app.backend.usbRestore(path, backup);
    });
  }

  async label(path: string, text: string): Promise<void> {
    const label = text.trim() === '' ? null : text.trim();
    if ((this.app.usbPorts.get(path)?.label ?? null) === label) return;
    await this.#ask(path, () => this.app.backend.usbLabel(path, label));
  }

  async reset(path: string): Promise<void> {
    await this.#ask(path, () => this.app.backend.usbReset(path));
  }

  async startMonitor(path: string, elf: string | null): Promise<void> {
    this.logs.add(path);
    await this.#ask(path, () => this.app.backend.usbMonitor(path, elf));
  }

  async stopMonitor(path: string): Promise<void> {
    await this.#ask(path, () => this.app.backend.usbStopMonitor(path));
  }

  // Flashing, one or many.

  /** Opens the sheet for the ports that are checked, or for the one that is shown. */
  openFlash(file: string | null = null): void {
    const targets = this.many ? this.together : this.port ? [this.port] : [];
    if (targets.length > 0) this.flashing = new FlashForm(this.app, targets, file);
  }

  /** Plans what the sheet says for each of its ports; one that cannot does not stop the others. */
  async planFlash(form: FlashForm): Promise<boolean> {
    const { backend } = this.app;
    const planned = await Promise.all(
      form.paths.map((path) =>
        this.#ask(path, async () => {
          await this.#connected(path);
          await backend.usbPlanFlash(path, form.request(this.app.usbPorts.get(path)));
        }),
      ),
    );
    return planned.some(Boolean);
  }

  async carryOutReady(): Promise<void> {
    await Promise.all(this.ready.map((port) => this.carryOut(port)));
  }

  async cancelRunning(): Promise<void> {
    await Promise.all(this.running.map((port) => this.cancel(port.path)));
  }

  /** Saves what was flashed on what; says where. */
  async exportRecords(): Promise<void> {
    const path = await this.app.backend.saveFile({
      title: 'Save what was flashed on what',
      fileName: 'airlift-boards.csv',
      filters: [{ name: 'CSV', extensions: ['csv'] }],
    });
    if (path === null) return;
    const saved = await this.app.attempt(() => this.app.backend.usbExportRecords(path));
    if (saved) this.app.say('The list of boards is saved.');
  }

  /** Plans are made of what is there now, so whoever asks for one connects the board first. */
  async #connected(path: string): Promise<void> {
    const activity = this.app.usbPorts.get(path)?.activity;
    if (activity === 'monitoring') await this.app.backend.usbStopMonitor(path);
    if (activity === 'idle' || activity === 'monitoring') await this.app.backend.usbConnect(path);
  }

  async #ask(path: string, action: () => Promise<unknown>): Promise<boolean> {
    this.#errors.delete(path);
    try {
      await action();
      return true;
    } catch (thrown) {
      const error = toErrorInfo(thrown);
      if (error.code !== 'cancelled') this.#errors.set(path, error);
      return false;
    }
  }
}

/** What the button for the checked ports says. */
export function flashReadyText(view: UsbView): string {
  const boards = view.ready.length;
  return boards === 0 ? 'Flash' : `Flash ${plural(boards, 'board')}`;
}

/** What a drop on the page would be flashed on. */
export function dropTarget(view: UsbView): string | null {
  if (view.many) return plural(view.together.length, 'board');
  return view.port ? portName(view.port) : null;
}

/** What a device logs, read over the network while somebody looks. */
import { toErrorInfo } from '../backend/types';
import type { ErrorInfo } from '../dto';
import type { AppState } from './app.svelte';

/** Lines that are kept; the oldest go first. */
export const MOST_LINES = 2000;

export interface Line {
  n: number;
  text: string;
  /** Said by this window and not by the device. */
  note: boolean;
}

export class LogView {
  readonly device: string;
  readonly #app: AppState;
  #next = 0;
  #count = 0;
  #reading = false;
  #closed = false;

  lines = $state.raw<readonly Line[]>([]);
  /** Why the last look failed. What was read before stays. */
  error = $state.raw<ErrorInfo | null>(null);
  /** Whether the device keeps a log. */
  kept = $state(true);
  /** Whether it has answered. */
  loaded = $state(false);
  query = $state('');

  readonly shown: readonly Line[] = $derived.by(() => {
    const wanted = this.query.trim().toLowerCase();
    if (wanted === '') return this.lines;
    return this.lines.filter((line) => line.text.toLowerCase().includes(wanted));
  });

  constructor(app: AppState, device: string) {
    this.#app = app;
    this.device = device;
  }

  /** Reads what is new. One look at a time: a slow device is not asked twice. */
  async read(): Promise<void> {
    if (this.#reading || this.#closed) return;
    this.#reading = true;
    try {
      const log = await this.#app.backend.deviceLog(this.device, this.#next);
      if (this.#closed) return;
      this.#next = log.next;
      this.kept = log.kept;
      this.error = null;
      this.loaded = true;
      const notes: string[] = [];
      if (log.restarted) notes.push('It has restarted.');
      if (log.skipped > 0) notes.push(`${log.skipped} bytes were not kept.`);
      this.#add(notes, true);
      this.#add(log.lines, false);
    } catch (thrown) {
      if (!this.#closed) this.error = toErrorInfo(thrown);
    } finally {
      this.#reading = false;
    }
  }

  /** Takes the lines away here; the device keeps what it keeps, and only newer ones come. */
  clear(): void {
    this.lines = [];
  }

  /** The lines that are shown, as text. */
  text(): string {
    return this.shown.map((line) => `${line.text}\n`).join('');
  }

  close(): void {
    this.#closed = true;
  }

  #add(texts: readonly string[], note: boolean): void {
    if (texts.length === 0) return;
    const lines = texts.map((text) => ({ n: this.#count++, text, note }));
    this.lines = [...this.lines, ...lines].slice(-MOST_LINES);
  }
}

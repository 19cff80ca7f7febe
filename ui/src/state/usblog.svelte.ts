/** The log of a board on USB, while somebody looks at it. */
import { toErrorInfo, type Unsubscribe } from '../backend/types';
import type { ErrorInfo, UsbLogLine } from '../dto';
import type { AppState } from './app.svelte';

/** Lines that are shown; the oldest go first. The app keeps more, and saves all it kept. */
export const MOST_LINES = 3000;

export class UsbLogView {
  readonly port: string;
  readonly #app: AppState;
  readonly #stop: Unsubscribe;
  #closed = false;

  lines = $state.raw<readonly UsbLogLine[]>([]);
  error = $state.raw<ErrorInfo | null>(null);
  query = $state('');
  /** Whether only lines that tell of trouble are shown. */
  trouble = $state(false);

  readonly shown: readonly UsbLogLine[] = $derived.by(() => {
    const wanted = this.query.trim().toLowerCase();
    return this.lines.filter(
      (line) => (!this.trouble || TROUBLE.has(line.kind)) && (wanted === '' || has(line, wanted)),
    );
  });

  readonly troubles = $derived(this.lines.filter((line) => TROUBLE.has(line.kind)).length);

  constructor(app: AppState, port: string) {
    this.#app = app;
    this.port = port;
    this.#stop = app.onUsbLog(port, (lines) => this.#add(lines));
    void this.read();
  }

  /** Reads what was logged before anybody looked, or while events were lost. */
  async read(): Promise<void> {
    try {
      const lines = await this.#app.backend.usbLog(this.port, 0);
      if (!this.#closed) this.#merge(lines);
    } catch (thrown) {
      if (!this.#closed) this.error = toErrorInfo(thrown);
    }
  }

  clear(): void {
    this.lines = [];
  }

  /** The lines that are shown, as text. */
  text(): string {
    return this.shown.map((line) => [line.text, ...line.resolved].join('\n    ') + '\n').join('');
  }

  close(): void {
    this.#closed = true;
    this.#stop();
  }

  #add(lines: readonly UsbLogLine[]): void {
    const first = lines[0];
    const last = this.lines.at(-1);
    // A number that was there already is a monitor that was started again.
    const kept = first && last && first.n <= last.n ? [] : this.lines;
    this.lines = [...kept, ...lines].slice(-MOST_LINES);
  }

  #merge(lines: readonly UsbLogLine[]): void {
    const last = lines.at(-1)?.n ?? -1;
    const newer = this.lines.filter((line) => line.n > last);
    this.lines = [...lines, ...newer].slice(-MOST_LINES);
  }
}

/** Kinds of lines that tell why a board is not well. */
const TROUBLE = new Set(['error', 'panic', 'backtrace', 'reset']);

const has = (line: UsbLogLine, wanted: string): boolean =>
  line.text.toLowerCase().includes(wanted) ||
  line.resolved.some((each) => each.toLowerCase().includes(wanted));

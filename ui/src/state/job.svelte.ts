/** One job in full: its chunk map, kept up to date by runs of changed chunks. */
import type { ChunkRun, ChunkState, End, Job, RefusedChunk } from '../dto';
import { toErrorInfo, type Unsubscribe } from '../backend/types';
import type { ErrorInfo } from '../dto';
import type { AppState } from './app.svelte';

/** Bytes of a chunk; the last of a part may be shorter. */
export const CHUNK_BYTES = 4096;

/** In the order of their digits in `JobDetail.chunks`. */
export const CHUNK_STATES: readonly ChunkState[] = [
  'empty',
  'kept',
  'fetching',
  'checked',
  'written',
  'read_back',
  'refused',
];

const CODE = new Map(CHUNK_STATES.map((state, code) => [state, code]));
const MOST_REFUSED = 200;

/** A part's place in the map. */
export interface PartCells {
  part: string;
  first: number;
  count: number;
  size: number;
}

export interface ChunkInfo {
  part: string;
  n: number;
  offset: number;
  size: number;
  state: ChunkState;
  /** Every time it arrived with a wrong hash. */
  refused: RefusedChunk[];
}

/** Told which cells changed, so that only these are drawn again. */
export type CellsListener = (first: number, count: number) => void;

export class JobView {
  readonly id: number;
  readonly #app: AppState;
  readonly #stop: Unsubscribe;
  #cells = new Uint8Array();
  #tally = new Array<number>(CHUNK_STATES.length).fill(0);
  #early: { runs: ChunkRun[]; refused: RefusedChunk[]; seq: number }[] = [];
  /** Number of the last event that the detail contained. */
  #contained = 0;
  #loading = true;
  readonly #listeners = new Set<CellsListener>();
  #closed = false;

  loaded = $state(false);
  error = $state.raw<ErrorInfo | null>(null);
  parts = $state.raw<readonly PartCells[]>([]);
  total = $state(0);
  /** How many cells are in each state, by code. */
  tally = $state.raw<readonly number[]>([]);
  refused = $state.raw<readonly RefusedChunk[]>([]);
  log = $state.raw<readonly string[]>([]);

  constructor(app: AppState, id: number) {
    this.#app = app;
    this.id = id;
    // Before the detail is asked for, so that no change falls between the two.
    this.#stop = app.onChunks(id, (runs, refused, seq) => {
      if (this.#loading) this.#early.push({ runs, refused, seq });
      else if (seq > this.#contained) this.#change(runs, refused);
    });
  }

  get job(): Job | undefined {
    return this.#app.jobs.get(this.id);
  }

  /** Cells that hold what they should. */
  get done(): number {
    return this.of('kept') + this.of('written') + this.of('read_back');
  }

  of(state: ChunkState): number {
    return this.tally[CODE.get(state) ?? 0] ?? 0;
  }

  /** Reads the whole job; again when events were lost. */
  async load(): Promise<void> {
    this.#loading = true;
    try {
      const detail = await this.#app.backend.jobDetail(this.id);
      if (this.#closed) return;
      this.#place(detail.job);
      this.#cells = Uint8Array.from(detail.chunks, (digit) => codeOf(digit));
      this.total = this.#cells.length;
      this.#tally.fill(0);
      for (const code of this.#cells) this.#tally[code] = (this.#tally[code] ?? 0) + 1;
      this.tally = [...this.#tally];
      this.refused = detail.refused;
      this.log = detail.log;
      this.error = null;
      this.loaded = true;
      this.#loading = false;
      this.#contained = detail.seq ?? 0;
      for (const { runs, refused, seq } of this.#early.splice(0)) {
        if (seq > this.#contained) this.#change(runs, refused);
      }
      this.#tell(0, this.total);
    } catch (thrown) {
      if (!this.#closed) this.error = toErrorInfo(thrown);
    }
  }

  /** The log comes with the detail only; asked for while it is looked at, and at the end. */
  async reloadLog(): Promise<void> {
    try {
      const detail = await this.#app.backend.jobDetail(this.id);
      if (this.#closed) return;
      this.log = detail.log;
    } catch {
      // The log that is shown stays; the job's own events say what went wrong.
    }
  }

  close(): void {
    this.#closed = true;
    this.#stop();
    this.#listeners.clear();
  }

  onCells(listener: CellsListener): Unsubscribe {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  code(cell: number): number {
    return this.#cells[cell] ?? 0;
  }

  describe(cell: number): ChunkInfo | undefined {
    const part = this.parts.find(({ first, count }) => cell >= first && cell < first + count);
    if (!part) return undefined;
    const n = cell - part.first;
    const offset = n * CHUNK_BYTES;
    return {
      part: part.part,
      n,
      offset,
      size: Math.min(CHUNK_BYTES, part.size - offset),
      state: CHUNK_STATES[this.code(cell)] ?? 'empty',
      refused: this.refused.filter((each) => each.part === part.part && each.n === n),
    };
  }

  #place(job: Job): void {
    let first = 0;
    this.parts = job.parts.map(({ part, chunks, size }) => {
      const place = { part, first, count: chunks, size };
      first += chunks;
      return place;
    });
  }

  #change(runs: ChunkRun[], refused: RefusedChunk[]): void {
    for (const { first, count, state } of runs) {
      const code = CODE.get(state) ?? 0;
      const end = Math.min(first + count, this.#cells.length);
      for (let cell = first; cell < end; cell += 1) {
        const before = this.#cells[cell] ?? 0;
        if (before === code) continue;
        this.#tally[before] = (this.#tally[before] ?? 0) - 1;
        this.#tally[code] = (this.#tally[code] ?? 0) + 1;
        this.#cells[cell] = code;
      }
      this.#tell(first, end - first);
    }
    if (runs.length > 0) this.tally = [...this.#tally];
    if (refused.length > 0) this.refused = [...this.refused, ...refused].slice(-MOST_REFUSED);
  }

  #tell(first: number, count: number): void {
    if (count > 0) for (const listener of this.#listeners) listener(first, count);
  }
}

function codeOf(digit: string): number {
  const code = digit.charCodeAt(0) - 48;
  return code >= 0 && code < CHUNK_STATES.length ? code : 0;
}

export type HashVerdict = 'waiting' | 'match' | 'differ' | 'never' | 'unneeded';

/** What expected and computed hash say. */
export function verdict(expected: string, computed: string | null, end: End | null): HashVerdict {
  if (computed !== null) return computed === expected ? 'match' : 'differ';
  if (end === null) return 'waiting';
  return end === 'done' ? 'unneeded' : 'never';
}

export const VERDICTS: Record<HashVerdict, string> = {
  waiting: 'not read back yet',
  match: 'match',
  differ: 'differ',
  never: 'never read back',
  unneeded: 'not needed, it ran already',
};

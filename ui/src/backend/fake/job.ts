/** One simulated update: the phases, the chunks and the ends of a real one, a step of 100 ms at a time. */
import type {
  ChunkRun,
  ChunkState,
  Device,
  ErrorInfo,
  Job,
  JobDetail,
  PartProgress,
  Phase,
  RefusedChunk,
  Release,
} from '../../dto';
import { CHUNK, digest, type Behaviour } from './data';

export const STEP_MS = 100;
const STATES: ChunkState[] = [
  'empty',
  'kept',
  'fetching',
  'checked',
  'written',
  'read_back',
  'refused',
];
const WINDOW = 8;

export interface StepResult {
  runs: ChunkRun[];
  refused: RefusedChunk[];
}

export class FakeJob {
  readonly job: Job;
  readonly release: Release;
  readonly refused: RefusedChunk[] = [];
  readonly log: string[] = [];
  #cells: Uint8Array;
  #behaviour: Behaviour;
  #phaseSteps = 0;
  #arrived = 0;
  #cursor = 0;
  #changed = new Set<number>();
  #newlyRefused: RefusedChunk[] = [];

  constructor(id: number, device: Device, release: Release, behaviour: Behaviour, now: number) {
    this.release = release;
    this.#behaviour = behaviour;
    const parts: PartProgress[] = [];
    for (const [part, of] of [
      ['app', release.app],
      ['files', release.files],
    ] as const) {
      if (of.kind !== 'carried') continue;
      parts.push({
        part,
        size: of.size,
        chunks: of.chunks,
        kept: 0,
        fetched: 0,
        refused: 0,
        expected: of.sha256,
        computed: null,
      });
    }
    this.#cells = new Uint8Array(parts.reduce((sum, part) => sum + part.chunks, 0));
    this.job = {
      id,
      device: device.id,
      deviceName: device.name,
      release: release.id,
      product: release.product,
      fromVersion: device.version,
      toVersion: release.version,
      fromSlot: device.slot,
      toSlot: null,
      phase: device.online ? 'preflight' : 'queued',
      end: null,
      error: null,
      summary: device.online
        ? 'Checking whether the release fits.'
        : `Waiting for ${device.name} to be back.`,
      parts,
      rate: null,
      secondsLeft: null,
      started: now,
      ended: null,
      canCancel: true,
      canRetry: false,
    };
  }

  detail(): JobDetail {
    return {
      job: { ...this.job, parts: this.job.parts.map((part) => ({ ...part })) },
      chunks: this.#cells.join(''),
      refused: [...this.refused],
      log: [...this.log],
    };
  }

  cancel(now: number): void {
    this.#end('cancelled', null, 'Cancelled; what the device has is kept.', now);
  }

  /** Goes on by one step; what changed in the chunk map is the answer. */
  step(now: number): StepResult {
    this.#phaseSteps += 1;
    const { job } = this;
    switch (job.phase) {
      case 'queued':
      case 'ended':
        break;
      case 'preflight':
        if (this.#phaseSteps >= 2) {
          this.#enter('signature', 'The device checks the signature.');
          this.#say(`POST /v1/update ${job.release.slice(0, 12)}…`);
        }
        break;
      case 'signature':
        if (this.#phaseSteps >= 4) this.#afterSignature(now);
        break;
      case 'app':
      case 'files':
        this.#transfer(now);
        break;
      case 'check':
        this.#check(now);
        break;
      case 'switch':
        if (this.#phaseSteps >= 20)
          this.#enter('confirm', `Running ${job.toVersion} on trial from ${job.toSlot}.`);
        break;
      case 'confirm':
        this.#confirm(now);
        break;
    }
    const result = { runs: this.#runs(), refused: this.#newlyRefused };
    this.#newlyRefused = [];
    return result;
  }

  #afterSignature(now: number): void {
    const { job } = this;
    if (this.#behaviour.fault === 'host_unreachable') {
      const error: ErrorInfo = {
        code: 'host_unreachable',
        message: `${job.deviceName} cannot reach this computer, so nothing was erased`,
        help: "Allow inbound TCP connections to port 7410 on 10.0.0.5 in this computer's firewall.",
      };
      this.#say('GET http://10.0.0.5:7410/v1/releases/… no answer in 5 s');
      this.#end(
        'failed',
        error,
        `${job.deviceName} cannot reach this computer, so nothing was erased`,
        now,
      );
      return;
    }
    job.toSlot = job.fromSlot === 'ota_0' ? 'ota_1' : 'ota_0';
    this.#say(`signature good; writes to ${job.toSlot}`);
    const first = job.parts[0];
    if (!first) return this.#enter('check', 'The device reads everything again from its flash.');
    const kept = Math.min(this.#behaviour.kept, first.chunks);
    for (let cell = 0; cell < kept; cell += 1) this.#set(cell, 'kept');
    first.kept = kept;
    this.#cursor = kept;
    if (kept > 0) this.#say(`kept ${kept} chunks that were already there`);
    this.#enter(first.part as Phase, `Sending the ${first.part}.`);
  }

  #transfer(now: number): void {
    const { job } = this;
    const index = job.parts.findIndex((part) => part.part === job.phase);
    const part = job.parts[index];
    if (!part) return;
    const first = job.parts.slice(0, index).reduce((sum, other) => sum + other.chunks, 0);
    const end = first + part.chunks;
    if (this.#behaviour.fault === 'flash_fault' && this.#cursor > first + part.chunks / 3) {
      const error: ErrorInfo = {
        code: 'flash_fault',
        message: `${job.deviceName} does not keep what is written at 0x1a7000`,
        help: "The board's flash is worn or damaged; replace the board.",
      };
      this.#say('read back differs at 0x1a7000, again after one retry');
      this.#end(
        'failed',
        error,
        `Failed: flash at 0x1a7000 does not keep what is written. ${job.deviceName} still runs ${job.fromVersion}.`,
        now,
      );
      return;
    }
    for (let cell = this.#cursor; cell < Math.min(this.#cursor + WINDOW, end); cell += 1) {
      const state = STATES[this.#cells[cell] ?? 0];
      if (state === 'empty' || state === 'refused') {
        this.#set(cell, 'fetching');
      } else if (state === 'fetching' && cell < this.#cursor + this.#behaviour.speed * 2) {
        this.#arrived += 1;
        const { refuseEvery } = this.#behaviour;
        if (refuseEvery > 0 && this.#arrived % refuseEvery === 0)
          this.#refuse(part, cell, cell - first);
        else this.#set(cell, 'checked');
      }
    }
    for (let n = 0; n < this.#behaviour.speed && this.#cursor < end; n += 1) {
      if (STATES[this.#cells[this.#cursor] ?? 0] !== 'checked') break;
      this.#set(this.#cursor, 'written');
      part.fetched += 1;
      this.#cursor += 1;
    }
    job.rate = (this.#behaviour.speed * CHUNK * 1000) / STEP_MS;
    job.secondsLeft = Math.ceil(((this.#cells.length - this.#cursor) * CHUNK) / job.rate);
    if (this.#cursor < end) return;
    const next = job.parts[index + 1];
    if (next) this.#enter(next.part as Phase, `Sending the ${next.part}.`);
    else this.#enter('check', 'The device reads everything again from its flash.');
  }

  #refuse(part: PartProgress, cell: number, n: number): void {
    const attempt =
      this.refused.filter((other) => other.part === part.part && other.n === n).length + 1;
    const refused: RefusedChunk = {
      part: part.part,
      n,
      attempt,
      expected: digest(`${part.expected} ${n}`),
      computed: digest(`${part.expected} ${n} damaged ${attempt}`),
    };
    part.refused += 1;
    this.refused.push(refused);
    this.#newlyRefused.push(refused);
    this.#set(cell, 'refused');
    this.#say(`${part.part} chunk ${n} refused: its hash is not the signed one; asks again`);
  }

  #check(now: number): void {
    const { job } = this;
    job.rate = null;
    job.secondsLeft = null;
    const perStep = Math.ceil(this.#cells.length / 8);
    const from = (this.#phaseSteps - 1) * perStep;
    for (let cell = from; cell < Math.min(from + perStep, this.#cells.length); cell += 1) {
      this.#set(cell, 'read_back');
    }
    if (from + perStep < this.#cells.length) return;
    for (const part of job.parts) {
      part.computed = part.expected;
      this.#say(`${part.part} read back: sha256 ${part.expected.slice(0, 8)}… matches`);
    }
    job.canCancel = false;
    this.#enter('switch', `Restarting into ${job.toSlot}.`);
    this.#say('otadata written, state new; restarts');
    void now;
  }

  #confirm(now: number): void {
    const { job } = this;
    const { fault } = this.#behaviour;
    if (fault === 'never_confirms' || fault === 'fails_check') {
      if (this.#phaseSteps < 30) return;
      const why =
        fault === 'fails_check'
          ? 'its own check said “sensor missing”'
          : 'it hung or did not confirm in time (reset reason: watchdog)';
      const summary = `Went back to ${job.fromVersion}. ${job.toVersion} was on trial, and ${why}.`;
      const error: ErrorInfo = {
        code: 'rolled_back',
        message: summary,
        help: "Look at the device's log for why the new version did not confirm.",
      };
      this.#say('boot guard: trial died; went back');
      this.#end('rolled_back', error, summary, now);
      return;
    }
    if (this.#phaseSteps < 30) return;
    this.#say('confirmed: link, address, API and own check');
    this.#end(
      'done',
      null,
      `Running ${job.toVersion} from ${job.toSlot}, confirmed within 3 s of its start.`,
      now,
    );
  }

  #enter(phase: Phase, summary: string): void {
    this.job.phase = phase;
    this.job.summary = summary;
    this.#phaseSteps = 0;
  }

  #end(end: Job['end'], error: ErrorInfo | null, summary: string, now: number): void {
    const { job } = this;
    Object.assign(job, { phase: 'ended', end, error, summary, ended: now });
    Object.assign(job, {
      rate: null,
      secondsLeft: null,
      canCancel: false,
      canRetry: end !== 'done',
    });
  }

  #say(line: string): void {
    this.log.push(line);
  }

  #set(cell: number, state: ChunkState): void {
    this.#cells[cell] = STATES.indexOf(state);
    this.#changed.add(cell);
  }

  #runs(): ChunkRun[] {
    const runs: ChunkRun[] = [];
    for (const cell of [...this.#changed].sort((a, b) => a - b)) {
      const state = STATES[this.#cells[cell] ?? 0] ?? 'empty';
      const last = runs.at(-1);
      if (last && last.state === state && last.first + last.count === cell) last.count += 1;
      else runs.push({ first: cell, count: 1, state });
    }
    this.#changed.clear();
    return runs;
  }
}

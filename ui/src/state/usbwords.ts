/** What is said of boards on USB. */
import type {
  FlashPlan,
  RegionHealth,
  UsbActivity,
  UsbJob,
  UsbJobKind,
  UsbPhase,
  UsbPort,
} from '../dto';
import { chipName, duration, fileName, kib, sentence } from '../format';

/** What people call the board, or else its port. */
export const portName = (port: UsbPort): string =>
  port.label ?? port.diagnosis?.name ?? (port.named ? fileName(port.path) : port.adapter);

/** What is on that port: the chip once it has said so, a guess before. */
export const chipText = (port: UsbPort): string | null =>
  port.board ? chipName(port.board.chip) : port.likely;

export type Tone = 'good' | 'busy' | 'bad' | 'warn' | 'idle';

export interface PortState {
  tone: Tone;
  text: string;
}

const DOING: Record<UsbActivity, string> = {
  idle: 'not connected',
  connecting: 'connecting…',
  waiting_for_boot: 'hold BOOT, press RESET',
  connected: 'connected',
  diagnosing: 'reading its flash…',
  working: 'working',
  monitoring: 'showing its log',
  unplugged: 'unplugged: plug it back in',
};

const VERDICTS = {
  healthy: { tone: 'good', text: 'healthy' },
  impaired: { tone: 'warn', text: 'starts, but not all is right' },
  dead: { tone: 'bad', text: 'does not start' },
  foreign: { tone: 'idle', text: 'not one of ours yet' },
} as const;

const PROBLEMS: Record<string, string> = {
  port_busy: 'busy: in use by another program',
  port_denied: 'you may not open it',
};

export const PHASES: { phase: UsbPhase; word: string; doing: string }[] = [
  { phase: 'compare', word: 'compare', doing: 'Comparing with what is there' },
  { phase: 'backup', word: 'back up', doing: 'Saving what will be overwritten' },
  { phase: 'write', word: 'write', doing: 'Writing' },
  { phase: 'verify', word: 'read back', doing: 'Reading back' },
  { phase: 'restart', word: 'restart', doing: 'Starting the board' },
];

export const isRunning = (job: UsbJob | null): job is UsbJob & { end: null } =>
  job !== null && job.phase !== 'ended';

/** One state a port, in a few words. */
export function stateOf(port: UsbPort): PortState {
  const { activity, job, diagnosis, board } = port;
  if (activity === 'unplugged') return { tone: 'bad', text: DOING.unplugged };
  if (activity === 'waiting_for_boot') return { tone: 'warn', text: DOING.waiting_for_boot };
  if (isRunning(job)) return { tone: 'busy', text: progressText(job) };
  if (activity === 'connecting' || activity === 'diagnosing')
    return { tone: 'busy', text: DOING[activity] };
  if (port.problem)
    return { tone: 'warn', text: PROBLEMS[port.problem.code] ?? port.problem.message };
  if (board?.refused) return { tone: 'warn', text: 'secured: not written to' };
  if (job?.end === 'failed') return { tone: 'bad', text: `${KINDS[job.kind].noun} failed` };
  if (port.error && port.error.code !== 'cancelled')
    return { tone: 'bad', text: port.error.code.replaceAll('_', ' ') };
  if (activity === 'monitoring') return { tone: 'busy', text: DOING.monitoring };
  if (diagnosis) return VERDICTS[diagnosis.verdict];
  if (!port.present) return { tone: 'idle', text: 'not there' };
  return { tone: 'idle', text: DOING[activity] };
}

/** Whether somebody should look at it: counted in the sidebar. */
export function needsAttention(port: UsbPort): boolean {
  const { tone } = stateOf(port);
  return (port.present || port.activity === 'unplugged') && (tone === 'bad' || tone === 'warn');
}

export function progressText(job: UsbJob): string {
  const phase = PHASES.find((each) => each.phase === job.phase)?.doing ?? '';
  return job.total > 0 ? `${phase}, ${kib(job.bytes)} of ${kib(job.total)}` : phase;
}

/** How fast and how long, as far as it is known. */
export function paceText(job: UsbJob): string {
  const rate = job.rate === null ? '' : `${kib(Math.round(job.rate))}/s`;
  const left = job.secondsLeft === null ? '' : `${duration(job.secondsLeft)} left`;
  return [rate, left].filter(Boolean).join(', ');
}

export const KINDS: Record<UsbJobKind, { noun: string; verb: string }> = {
  repair: { noun: 'repair', verb: 'Repair' },
  flash: { noun: 'flash', verb: 'Flash' },
  restore: { noun: 'putting back', verb: 'Put back' },
};

/** The one button of a plan: `Repair: rewrite 8 KiB`. */
export const actionText = ({ kind, bytes }: FlashPlan): string =>
  `${KINDS[kind].verb}: ${kind === 'flash' ? 'write' : 'rewrite'} ${kib(bytes)}`;

/** The ways to mend a board. */
export const HOW: Record<string, string> = {
  smallest: 'The least that works',
  back: 'Go back to the version before',
  slot: 'Rewrite one slot',
  files: 'Make the file system anew',
  everything: 'Write everything anew',
};

/** `about 2 s`, `about 1:20 min`. */
export const about = (seconds: number): string =>
  seconds < 60 ? `about ${Math.max(1, seconds)} s` : `about ${duration(seconds)} min`;

export const HEALTH: Record<RegionHealth, { word: string; what: string }> = {
  good: { word: 'good', what: 'checked and right' },
  empty: { word: 'empty', what: 'erased' },
  damaged: { word: 'damaged', what: 'checked and wrong' },
  unknown: { word: 'not checked', what: 'not looked at, or not to be looked at' },
  foreign: { word: 'foreign', what: 'right, but not what belongs there' },
};

/** What changed that those who do not look should hear: ends and what somebody has to do. */
export function news(before: UsbPort | undefined, after: UsbPort): string | null {
  if (!before) return null;
  const name = portName(after);
  const { job, diagnosis, activity } = after;
  if (job?.phase === 'ended' && isRunning(before.job) && before.job.id === job.id) {
    const error = job.error ? `${sentence(job.error.message)} ${job.error.help}` : '';
    return `${name}: ${job.summary === job.error?.message ? error : sentence(job.summary)}`;
  }
  if (activity !== before.activity) {
    if (activity === 'waiting_for_boot')
      return `${name}: hold BOOT, press RESET, then release BOOT.`;
    if (activity === 'unplugged') return `${name} went away. Plug it back in and it goes on.`;
    if (before.activity === 'unplugged' && activity === 'working') return `${name} is back.`;
  }
  if (after.error && after.error.code !== before.error?.code && after.error.code !== 'cancelled')
    return `${name}: ${sentence(after.error.message)}`;
  if (diagnosis?.complete && before.diagnosis?.complete !== true)
    return `${name}: ${diagnosis.sentence} ${diagnosis.nextBoot}`;
  return null;
}

/** Numbers, times and names as people read them. */

const CHIPS: Record<string, string> = {
  esp32: 'ESP32',
  esp32s2: 'ESP32-S2',
  esp32s3: 'ESP32-S3',
  esp32c2: 'ESP32-C2',
  esp32c3: 'ESP32-C3',
  esp32c5: 'ESP32-C5',
  esp32c6: 'ESP32-C6',
  esp32c61: 'ESP32-C61',
  esp32h2: 'ESP32-H2',
  esp32p4: 'ESP32-P4',
  any: 'any chip',
};

export const chipName = (chip: string): string => CHIPS[chip] ?? chip;

/** `1482752` as `1.4 MB`: units of 1024, as flash is counted. */
export function bytes(count: number): string {
  if (count < 1024) return `${count} B`;
  if (count < 1024 * 1024) return `${Math.round(count / 1024)} KB`;
  return `${(count / 1024 / 1024).toFixed(1)} MB`;
}

/** Sizes of flash regions, which are counted in sectors: `8192` as `8 KiB`. */
export function kib(count: number): string {
  if (count < 1024) return `${count} B`;
  const [n, unit] = count < 1024 * 1024 ? [count / 1024, 'KiB'] : [count / 1024 / 1024, 'MiB'];
  return `${Number(n.toFixed(n < 100 ? 1 : 0))} ${unit}`;
}

/** `53248` as `0xd000`. */
export const hex = (n: number): string => `0x${n.toString(16)}`;

/** With a comma at every thousand. */
export const count = (n: number): string => n.toLocaleString('en-US');

/** `9` as `0:09`, `3723` as `1:02:03`. */
export function duration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  const two = (n: number) => String(n).padStart(2, '0');
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes}:${two(whole % 60)}`;
  return `${Math.floor(minutes / 60)}:${two(minutes % 60)}:${two(whole % 60)}`;
}

/** A length of time in its largest unit: `3 d`, `2 h`, `8 s`. */
export function span(seconds: number): string {
  if (seconds < 60) return `${Math.max(0, Math.floor(seconds))} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86_400)} d`;
}

export function ago(now: number, then: number | null): string {
  if (then === null) return 'never';
  return now - then < 10 ? 'just now' : `${span(now - then)} ago`;
}

/** When a device last answered. One that is online did within seconds; its time is that of its
 * last news. */
export function seen(now: number, device: { online: boolean; lastSeen: number | null }): string {
  return device.online ? 'just now' : ago(now, device.lastSeen);
}

const DATE = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short', year: 'numeric' });
const TIME = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit' });

export const date = (seconds: number): string => DATE.format(seconds * 1000);
export const dateTime = (seconds: number): string =>
  `${DATE.format(seconds * 1000)}, ${TIME.format(seconds * 1000)}`;

const DAY = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short' });

/** Without the year while it is this one. */
export const dayTime = (seconds: number, now: number): string =>
  new Date(seconds * 1000).getFullYear() === new Date(now * 1000).getFullYear()
    ? `${DAY.format(seconds * 1000)}, ${TIME.format(seconds * 1000)}`
    : dateTime(seconds);

/** The ends of a digest: `9f2c…a71e`. */
export const shortHash = (hash: string, ends = 4): string =>
  hash.length <= ends * 2 + 1 ? hash : `${hash.slice(0, ends)}…${hash.slice(-ends)}`;

const CAUSES: Record<string, string> = {
  watchdog: 'it hung or did not confirm in time, and the watchdog reset it',
  not_confirmed: 'it did not confirm in time',
  health_check: 'its own check failed',
  no_network: 'it did not reach the network',
  panic: 'its program panicked',
  brownout: 'the supply voltage dropped',
  image_refused: 'the bootloader refused its image',
  interrupted: 'the switch was interrupted before it ran',
  power_on: 'the power was cut during its trial',
  software: 'it restarted before it had confirmed',
};

/** Why a new version did not stay, in words; with what its own check said. */
export function cause(update: { cause: string; detail: string | null }): string {
  const words = CAUSES[update.cause] ?? 'it did not confirm, and the device did not say why';
  return update.detail ? `${words}: “${update.detail}”` : words;
}

const RESTARTS: Record<string, string> = {
  power_on: 'after power came on',
  software: 'on purpose',
  watchdog: 'by the watchdog: it hung',
  panic: 'after a panic',
  brownout: 'after the supply voltage dropped',
};

/** Why a device runs since it last started; as it says, when that is not known here. */
export const restart = (reason: string | null): string =>
  reason === null ? 'not said' : (RESTARTS[reason] ?? reason.replaceAll('_', ' '));

/** The strength of a signal, and what that means. */
export function signal(dbm: number): string {
  const words = dbm >= -60 ? 'good' : dbm >= -72 ? 'fair' : 'weak';
  return `${dbm} dBm, ${words}`.replace('-', '−');
}

/** `1 device`, `2 devices`. */
export const plural = (n: number, one: string, many = `${one}s`): string =>
  `${count(n)} ${n === 1 ? one : many}`;

const OPENERS =
  /^(a|an|the|this|that|it|its|there|no|nothing|not|another|cannot|without|being|drop|your|two|too|bytes|chip|ports?|sequence)\b/;

/** A message as a sentence. It may start with the name of a device or a file, which stays as it is. */
export function sentence(text: string): string {
  const capital = OPENERS.test(text) ? text.charAt(0).toUpperCase() + text.slice(1) : text;
  return /[.!?]$/.test(capital) ? capital : `${capital}.`;
}

export const fileName = (path: string): string =>
  path.split(/[\\/]/).filter(Boolean).at(-1) ?? path;

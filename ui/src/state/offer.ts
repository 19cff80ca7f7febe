/** What the window offers for a device and a release: an update, or the reason why not. */
import type { Device, ErrorInfo, Job, Part, Release } from '../dto';
import { chipName, sentence } from '../format';

export type Offer =
  /** Nothing to offer: no release of this product is here. */
  | { kind: 'none' }
  | { kind: 'update' }
  /** It is offline; the job waits for it. */
  | { kind: 'queue' }
  /** It went back from this very release; only on purpose again. */
  | { kind: 'again' }
  | { kind: 'current' }
  | { kind: 'running'; job: Job }
  /** `short` fits the row, `why` is the sentence, with what to do in `help`. */
  | { kind: 'off'; code: string; short: string; why: string; help: string };

const off = (code: string, short: string, why: string, help: string): Offer => ({
  kind: 'off',
  code,
  short,
  why,
  help,
});

/** The row's words for codes with which a device says that it takes no update now. */
const BLOCKED: Record<string, string> = {
  no_trust: 'has no keys',
  unknown_key: 'key not trusted',
  trial_running: 'trial running',
  busy: 'busy',
  bad_layout: 'no update slots',
  freshness_required: 'key not open',
  bad_request: 'same id twice',
};

export function offer(device: Device, release: Release | undefined, job: Job | undefined): Offer {
  if (job && job.phase !== 'ended') return { kind: 'running', job };
  if (device.blocked) return blocked(device.blocked);
  if (!release) return { kind: 'none' };
  if (release.product !== device.product) {
    return off(
      'wrong_product',
      'other product',
      `${device.name} is ${device.product}, the release is for ${release.product}.`,
      'Choose a release made for this product.',
    );
  }
  if (release.chip !== 'any' && release.chip !== device.chip) {
    return off(
      'wrong_chip',
      'other chip',
      `${device.name} has an ${chipName(device.chip)}, the release is for ${chipName(release.chip)}.`,
      'Choose a release built for this chip.',
    );
  }
  if (runs(device, release)) return { kind: 'current' };
  if (!maySign(device, release)) {
    return off(
      'unknown_key',
      'key not trusted',
      `${device.name} does not take ${release.version} from the key ${release.keyId} that signed it.`,
      'Sign the release again with a release key of the board, or change the keys of the board: in Settings with its root at hand, else over USB.',
    );
  }
  if (device.sequence !== null && release.sequence < device.sequence) {
    return off(
      'lower_sequence',
      'runs a newer one',
      `${device.name} has confirmed sequence ${device.sequence}; ${release.version} is sequence ${release.sequence}.`,
      'To go back on purpose, use “Go back to this” in Releases.',
    );
  }
  if (device.sequence === release.sequence && device.release !== release.id) {
    return off(
      'sequence_conflict',
      'same sequence',
      `${device.name} has confirmed another release with sequence ${release.sequence}.`,
      'Sign one of the two again with a higher sequence.',
    );
  }
  if (needsOther(release.app, device.appSha256) || needsOther(release.files, device.filesSha256)) {
    return off(
      'wrong_base',
      'needs another base',
      `${release.version} builds on a part that ${device.name} does not run.`,
      'Use a release that carries the missing part.',
    );
  }
  const last = device.lastUpdate;
  if (last && last.release === release.id && last.end === 'rolled_back') return { kind: 'again' };
  return device.online ? { kind: 'update' } : { kind: 'queue' };
}

/** Up to date compares digests, never version text; keys that it brings must be there, too. */
export function runs(device: Device, release: Release): boolean {
  return (
    !bringsKeys(device, release) &&
    same(release.app, device.appSha256) &&
    same(release.files, device.filesSha256)
  );
}

const bringsKeys = (device: Device, release: Release): boolean =>
  release.keys !== null && release.keys.epoch > device.epoch;

/** Release keys sign releases; the root signs changes of keys. */
const maySign = (device: Device, release: Release): boolean =>
  bringsKeys(device, release)
    ? device.root === release.keyId
    : device.releaseKeys.includes(release.keyId);

/** Whether a release brings keys and nothing else: it is for the devices it was made for. */
export const isKeysOnly = (release: Release): boolean =>
  release.keys !== null && release.app.kind !== 'carried' && release.files.kind !== 'carried';

const same = (part: Part, running: string | null): boolean =>
  part.kind === 'any' || part.sha256 === running;

const needsOther = (part: Part, running: string | null): boolean =>
  part.kind === 'running' && part.sha256 !== running;

function blocked(error: ErrorInfo): Offer {
  return off(error.code, BLOCKED[error.code] ?? error.message, sentence(error.message), error.help);
}

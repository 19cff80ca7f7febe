/** What to put on a board from nothing: the fields of the sheet, and what is wrong with them. */
import { SvelteSet } from 'svelte/reactivity';
import type { FlashPart, FlashRequest, FlashSource, Release, UsbPort } from '../dto';
import { fileName } from '../format';
import type { AppState } from './app.svelte';
import { isKeysOnly } from './offer';

export type Source = 'release' | 'file' | 'parts';

export type FlashField = 'release' | 'file' | 'parts' | 'name' | 'keys' | 'wifi';

/** An offset as it is typed, with the file that goes there. */
export interface PartField {
  offset: string;
  path: string;
}

const SECTOR = 4096;
/** What a network's name and password may have, IEEE 802.11 and WPA. */
const LONGEST_SSID = 32;
const SHORTEST_PASSWORD = 8;
const LONGEST_PASSWORD = 63;

export class FlashForm {
  readonly app: AppState;
  readonly paths: readonly string[];
  /** What the boards are, once all have said so and agree. */
  readonly chip: string | null;

  source = $state<Source>('release');
  releaseId = $state('');
  file = $state('');
  parts = $state<PartField[]>([{ offset: '0x0', path: '' }]);
  name = $state('');
  readonly trusts = new SvelteSet<string>();
  root = $state('');
  ssid = $state('');
  password = $state('');
  factorySlot = $state(false);
  bootloader = $state<string | null>(null);
  keepNvs = $state(true);
  /** What a new board holds is rarely worth the time; a repair always saves what it overwrites. */
  backup = $state(false);
  busy = $state(false);
  /** Whether it was submitted: only then empty fields complain. */
  touched = $state(false);

  constructor(app: AppState, ports: readonly UsbPort[], file: string | null) {
    this.app = app;
    this.paths = ports.map((port) => port.path);
    const chips = new Set(ports.map((port) => port.board?.chip ?? null));
    this.chip = chips.size === 1 ? ([...chips][0] ?? null) : null;
    const [only] = ports.length === 1 ? ports : [];
    this.name = only?.diagnosis?.name ?? only?.label ?? '';
    const ours = app.keys.filter((key) => key.trusted && (key.canSign || key.offline));
    for (const key of ours) this.trusts.add(key.id);
    // An offline key is worth having because it is the root.
    this.root = (ours.find((key) => key.offline) ?? ours[0])?.id ?? '';
    this.releaseId = this.releases[0]?.id ?? '';
    if (file !== null) {
      this.source = 'file';
      this.file = file;
    } else if (this.releases.length === 0) this.source = 'file';
  }

  /** Releases that make a whole board of that chip, newest first. */
  readonly releases: readonly Release[] = $derived.by(() =>
    this.app.releases
      .filter((release) => !isKeysOnly(release) && release.app.kind === 'carried')
      .filter((release) => this.chip === null || release.chip === this.chip)
      .sort((a, b) => b.added - a.added),
  );

  readonly release = $derived(this.releases.find((release) => release.id === this.releaseId));

  /** Whether the board gets a layout, keys and a name besides; merged images have their own. */
  readonly whole = $derived(
    this.source === 'release' || (this.source === 'file' && !this.file.endsWith('.bin')),
  );

  readonly problems = $derived.by(() => {
    const problems = new Map<FlashField, string>();
    if (this.source === 'release' && !this.release)
      problems.set('release', 'The library has no release for this chip. Choose a file instead.');
    if (this.source === 'file' && this.file === '' && this.touched)
      problems.set('file', 'Choose a .airlift, an ELF or a merged image.');
    if (this.source === 'parts') {
      const problem = partsProblem(this.parts, this.touched);
      if (problem) problems.set('parts', problem);
    }
    if (!this.whole) return problems;
    if (this.name !== '' && !/^[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?$/.test(this.name))
      problems.set('name', 'Up to 32 small letters, digits and dashes; it is also its host name.');
    if (this.app.keys.length === 0)
      problems.set(
        'keys',
        'Make or import a key in Settings first: the board takes updates by it.',
      );
    else if (this.trusts.size === 0)
      problems.set('keys', 'Choose a key: without one the board takes no update.');
    const wifi = wifiProblem(this.ssid, this.password);
    if (wifi) problems.set('wifi', wifi);
    return problems;
  });

  /** What is not wrong, but worth knowing. */
  readonly keyNote = $derived.by(() => {
    const signer = this.source === 'release' ? this.release?.keyId : undefined;
    if (signer === undefined || this.trusts.has(signer)) return null;
    const name = this.app.key(signer)?.name ?? signer.slice(0, 8);
    return `${name} signed this release and is not among them: the board would take no further release from it.`;
  });

  readonly canSubmit = $derived(!this.busy && this.problems.size === 0);

  toggleKey(id: string): void {
    if (!this.trusts.delete(id)) this.trusts.add(id);
    if (!this.trusts.has(this.root)) this.root = [...this.trusts][0] ?? '';
  }

  async chooseFile(): Promise<void> {
    const [path] = await this.app.backend.openFiles({
      title: 'Choose a release, an ELF or a merged image',
    });
    if (path !== undefined) this.file = path;
  }

  async choosePart(index: number): Promise<void> {
    const [path] = await this.app.backend.openFiles({ title: 'Choose a part' });
    const part = this.parts[index];
    if (path !== undefined && part) part.path = path;
  }

  addPart(): void {
    this.parts.push({ offset: '', path: '' });
  }

  removePart(index: number): void {
    this.parts.splice(index, 1);
  }

  async chooseBootloader(): Promise<void> {
    const [path] = await this.app.backend.openFiles({
      title: 'Choose a bootloader',
      filters: [{ name: 'Bootloader', extensions: ['bin'] }],
    });
    this.bootloader = path ?? null;
  }

  /** What is asked for on one of the ports; a board among many is named by its label. */
  request(port: UsbPort | undefined): FlashRequest {
    const name = this.paths.length > 1 ? (port?.label ?? '') : this.name;
    const others = [...this.trusts].filter((id) => id !== this.root);
    return {
      source: this.#source(),
      name: this.whole && name !== '' ? name : null,
      trusts: this.whole ? [this.root, ...others] : [],
      wifi: this.whole && this.ssid !== '' ? { ssid: this.ssid, password: this.password } : null,
      factorySlot: this.whole && this.factorySlot,
      bootloader: this.whole ? this.bootloader : null,
      keepNvs: this.keepNvs,
      backup: this.backup,
    };
  }

  /** A few words for what is written. */
  readonly what = $derived.by(() => {
    if (this.source === 'release')
      return this.release ? `${this.release.product} ${this.release.version}` : 'a release';
    return this.source === 'file' ? fileName(this.file) : 'parts';
  });

  #source(): FlashSource {
    switch (this.source) {
      case 'release':
        return { kind: 'release', id: this.releaseId };
      case 'file':
        return { kind: 'file', path: this.file };
      case 'parts':
        return { kind: 'parts', parts: this.parts.map(toPart) };
    }
  }
}

const toPart = ({ offset, path }: PartField): FlashPart => ({ offset: Number(offset), path });

function partsProblem(parts: readonly PartField[], touched: boolean): string | null {
  if (parts.length === 0) return 'Add a file.';
  const offsets = new Set<number>();
  for (const { offset, path } of parts) {
    const at = offset.trim() === '' ? Number.NaN : Number(offset);
    if (path === '' || offset.trim() === '') {
      if (touched) return 'Each part needs an offset and a file.';
    } else if (!Number.isInteger(at) || at < 0 || at % SECTOR !== 0 || at > 0xffff_ffff) {
      return `${offset} is not an offset: a multiple of 0x1000, such as 0x10000.`;
    } else if (offsets.has(at)) {
      return `Two parts begin at ${offset}.`;
    }
    offsets.add(at);
  }
  return null;
}

export function wifiProblem(ssid: string, password: string): string | null {
  if (ssid === '') return password === '' ? null : 'Which network has this password?';
  if (new TextEncoder().encode(ssid).length > LONGEST_SSID)
    return `The name of a network has ${LONGEST_SSID} bytes at most.`;
  const length = password.length;
  if (length > 0 && (length < SHORTEST_PASSWORD || length > LONGEST_PASSWORD))
    return `A password has ${SHORTEST_PASSWORD} to ${LONGEST_PASSWORD} characters; leave it empty for an open network.`;
  return null;
}

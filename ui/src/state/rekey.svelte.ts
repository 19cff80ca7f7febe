/** Other keys on devices: who signs, which devices, and whom they trust from then on. */
import type { ErrorInfo, Key, KeyChangePlan, RootOfDevices } from '../dto';
import { toErrorInfo } from '../backend/types';
import { fileName, plural, shortHash } from '../format';
import type { AppState } from './app.svelte';

export const MOST_RELEASE_KEYS = 4;
export const MIN_PASSPHRASE = 8;
/** The choice of a new root that is made on the spot. */
export const NEW_OFFLINE = 'new-offline';

const PEM = [{ name: 'Private key', extensions: ['pem'] }];

/** An offline key that is to be made. */
export class OfflineForm {
  name = $state('');
  path = $state('');
  passphrase = $state('');
  again = $state('');

  constructor(name: string) {
    this.name = name;
  }

  /** What is still missing, in words; `null` when it can be made. */
  readonly missing = $derived.by(() => {
    if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(this.name)) return 'a name for the offline key';
    if (this.path === '') return 'a file for the offline key';
    if (this.passphrase.length < MIN_PASSPHRASE)
      return `a passphrase of ${MIN_PASSPHRASE} characters or more for the offline key`;
    if (this.again !== this.passphrase) return 'the same passphrase once more';
    return null;
  });

  async choose(app: AppState): Promise<void> {
    const path = await app.backend.saveFile({
      title: 'Where the offline key goes',
      fileName: `${this.name || 'root'}.pem`,
      filters: PEM,
    });
    if (path !== null) this.path = path;
  }

  async make(app: AppState): Promise<Key> {
    const { name, path, passphrase } = this;
    const key = await app.backend.newOfflineKey({ name, path, passphrase });
    this.forget();
    return key;
  }

  forget(): void {
    this.passphrase = '';
    this.again = '';
  }
}

export type Stage = 'loading' | 'form' | 'busy' | 'done';

export class RekeyState {
  readonly app: AppState;
  stage = $state<Stage>('loading');
  plan = $state.raw<KeyChangePlan | null>(null);
  error = $state.raw<ErrorInfo | null>(null);
  /** What is being done, while it is. */
  doing = $state('');

  /** Id of the root whose devices change. */
  rootId = $state('');
  devices = $state.raw<ReadonlySet<string>>(new Set());
  signerFile = $state('');
  passphrase = $state('');
  /** A key id, or {@link NEW_OFFLINE}. */
  newRoot = $state(NEW_OFFLINE);
  releaseKeys = $state.raw<ReadonlySet<string>>(new Set());
  readonly offline: OfflineForm;
  /** The offline key that was made, and where. */
  made = $state.raw<{ key: Key; path: string } | null>(null);
  started = $state(0);

  /** `wanted`: devices to begin with; none means all. */
  constructor(app: AppState, wanted: readonly string[]) {
    this.app = app;
    this.offline = new OfflineForm(freeName(app, 'root'));
    void this.#load(wanted);
  }

  readonly root: RootOfDevices | undefined = $derived(
    this.plan?.roots.find((root) => root.id === this.rootId),
  );
  readonly needsFile = $derived(this.root !== undefined && !this.root.key?.canSign);
  readonly needsPassphrase = $derived(this.needsFile || this.root?.key?.needsPassphrase === true);
  /** Keys that can be devices' keys: those whose private part somebody here has. */
  readonly ours = $derived.by(() => this.app.keys.filter((key) => key.canSign || key.offline));
  readonly roots = $derived(
    this.ours.toSorted((a, b) => Number(b.id === this.rootId) - Number(a.id === this.rootId)),
  );

  /** Names of the keys that the chosen devices trust now and will not trust any more. */
  readonly dropped = $derived.by(() => {
    const before = new Set<string>();
    for (const id of this.devices)
      for (const key of this.app.devices.get(id)?.trusts ?? []) before.add(key);
    const stay = new Set([this.newRoot, ...this.releaseKeys]);
    return [...before].filter((id) => !stay.has(id)).map((id) => this.keyName(id));
  });

  /** What the button waits for; `null` when it can be pressed. */
  readonly missing = $derived.by(() => {
    if (this.devices.size === 0) return 'Choose a device.';
    if (this.needsFile && this.signerFile === '') return 'Choose the file of the root.';
    if (this.needsPassphrase && this.passphrase === '' && !this.needsFile)
      return 'Type the passphrase of the root.';
    if (this.newRoot === NEW_OFFLINE && this.offline.missing)
      return `Give ${this.offline.missing}.`;
    if (this.releaseKeys.size === 0) return 'Choose a release key.';
    if (this.releaseKeys.size > MOST_RELEASE_KEYS)
      return `A device holds ${MOST_RELEASE_KEYS} release keys.`;
    if (this.#same) return 'They trust exactly these keys already.';
    return null;
  });

  readonly #same = $derived(
    [...this.devices].every((id) => {
      const device = this.app.devices.get(id);
      return (
        device?.root === this.newRoot &&
        device.releaseKeys.length === this.releaseKeys.size &&
        device.releaseKeys.every((key) => this.releaseKeys.has(key))
      );
    }),
  );

  /** What pressing the button does, in a sentence. */
  readonly sentence = $derived.by(() => {
    const count = plural(this.devices.size, 'device');
    const root = this.newRoot === NEW_OFFLINE ? this.offline.name : this.keyName(this.newRoot);
    const keys = list([...this.releaseKeys].map((id) => `“${this.keyName(id)}”`));
    const what = this.releaseKeys.size === 1 ? 'release key' : 'release keys';
    return `${count} will trust the root “${root}” and the ${what} ${keys || '–'}, and no other key.`;
  });

  keyName(id: string): string {
    return this.app.key(id)?.name ?? shortHash(id);
  }

  deviceName(id: string): string {
    return this.app.devices.get(id)?.name ?? id;
  }

  chooseRoot(id: string): void {
    const root = this.plan?.roots.find((each) => each.id === id);
    if (!root) return;
    this.rootId = id;
    this.devices = new Set(root.devices);
    this.signerFile = '';
    this.passphrase = '';
    const { key } = root;
    // A root that is offline already is kept; one on this computer gives way to one that is not.
    this.newRoot = key?.offline ? key.id : NEW_OFFLINE;
    const held = root.devices.flatMap((each) => this.app.devices.get(each)?.releaseKeys ?? []);
    const kept = this.ours.filter((each) => held.includes(each.id));
    const [first] = this.app.signingKeys;
    const keys = kept.length > 0 ? kept : first ? [first] : [];
    this.releaseKeys = new Set(keys.map((each) => each.id));
  }

  toggleDevice(id: string): void {
    this.devices = toggled(this.devices, id);
  }

  toggleAll(): void {
    const all = this.root?.devices ?? [];
    this.devices = new Set(this.devices.size === all.length ? [] : all);
  }

  toggleReleaseKey(id: string): void {
    this.releaseKeys = toggled(this.releaseKeys, id);
  }

  async chooseFile(): Promise<void> {
    const [path] = await this.app.backend.openFiles({
      title: `The private part of ${this.keyName(this.rootId)}`,
      filters: PEM,
    });
    if (path !== undefined) this.signerFile = path;
  }

  async submit(): Promise<void> {
    if (this.stage !== 'form' || this.missing !== null) return;
    this.stage = 'busy';
    this.error = null;
    try {
      if (this.newRoot === NEW_OFFLINE) {
        const { path } = this.offline;
        this.doing = 'Writing the offline key, and reading it back…';
        const key = await this.offline.make(this.app);
        this.made = { key, path };
        // Should the rest fail, the key is there and is not made twice.
        this.newRoot = key.id;
      }
      this.doing = 'Signing…';
      const jobs = await this.app.backend.changeKeys({
        devices: [...this.devices],
        signer: this.rootId,
        signerFile: this.needsFile ? this.signerFile : null,
        passphrase: this.passphrase === '' ? null : this.passphrase,
        root: this.newRoot,
        releaseKeys: [...this.releaseKeys],
      });
      this.started = jobs.length;
      this.stage = 'done';
      this.forget();
    } catch (thrown) {
      this.error = toErrorInfo(thrown);
      this.stage = 'form';
    }
  }

  /** Nothing that was typed in secret stays behind. */
  forget(): void {
    this.passphrase = '';
    this.offline.forget();
  }

  /** Where the offline key lies that was just made. */
  get madeFile(): string {
    return this.made ? fileName(this.made.path) : '';
  }

  async #load(wanted: readonly string[]): Promise<void> {
    try {
      const all = wanted.length > 0 ? [...wanted] : [...this.app.order];
      this.plan = await this.app.backend.planKeyChange(all);
      const most = this.plan.roots.toSorted((a, b) => b.devices.length - a.devices.length);
      const ours = most.find((root) => root.key?.canSign || root.key?.offline) ?? most[0];
      if (ours) this.chooseRoot(ours.id);
    } catch (thrown) {
      this.error = toErrorInfo(thrown);
    }
    this.stage = 'form';
  }
}

function toggled(set: ReadonlySet<string>, id: string): ReadonlySet<string> {
  const next = new Set(set);
  if (!next.delete(id)) next.add(id);
  return next;
}

/** The name, or with a number after it when a key has it. */
export function freeName(app: AppState, name: string): string {
  const taken = new Set(app.keys.map((key) => key.name));
  if (!taken.has(name)) return name;
  let n = 2;
  while (taken.has(`${name}-${n}`)) n += 1;
  return `${name}-${n}`;
}

function list(names: string[]): string {
  const last = names.at(-1);
  return names.length > 1 ? `${names.slice(0, -1).join(', ')} and ${last}` : (last ?? '');
}

/** The new-release sheet: its fields, what is wrong with each, and packing. */
import type { Draft, ErrorInfo, FieldProblem, Key, NewRelease, Release } from '../dto';
import { toErrorInfo } from '../backend/types';
import { sentence } from '../format';
import type { AppState } from './app.svelte';

export type Field =
  'product' | 'version' | 'sequence' | 'chip' | 'app' | 'files' | 'base' | 'key' | 'passphrase';

export interface Problem {
  text: string;
  warning: boolean;
}

/** Where an error of packing belongs. */
const FIELD_OF: Record<string, Field> = {
  bad_passphrase: 'passphrase',
  bad_key: 'key',
  bad_image: 'app',
  wrong_chip: 'chip',
  bad_tar: 'files',
  too_big: 'app',
  sequence_conflict: 'sequence',
  lower_sequence: 'sequence',
  sequence_too_high: 'sequence',
};

const MOST_SEQUENCE = 0xffff_ffff;

export class SheetState {
  readonly app: AppState;

  draft = $state.raw<Draft>();
  product = $state('');
  version = $state('');
  sequence = $state('');
  base = $state('');
  keyId = $state('');
  passphrase = $state('');
  busy = $state(false);
  /** Fields that were edited or submitted: only these complain about being empty. */
  touched = $state(false);
  /** What packing said, with the field it belongs to. */
  failure = $state.raw<{ field: Field | null; error: ErrorInfo } | null>(null);
  /** A key made here whose copy is not saved yet. */
  unsavedKey = $state.raw<Key | null>(null);
  readonly #edited = new Set<Field>();

  constructor(app: AppState, draft: Draft) {
    this.app = app;
    this.#fill(draft);
  }

  readonly keys = $derived.by(() => this.app.signingKeys);
  readonly key = $derived(this.keys.find((key) => key.id === this.keyId));
  readonly needsPassphrase = $derived(this.key?.needsPassphrase ?? false);
  /** A part that the release does not carry. */
  readonly missing = $derived.by(() => {
    if (!this.draft) return null;
    if (this.draft.app && !this.draft.files) return 'files' as const;
    if (this.draft.files && !this.draft.app) return 'app' as const;
    return null;
  });

  readonly problems = $derived.by(() => {
    const problems = new Map<Field, Problem>();
    const set = (field: Field, text: string, warning = false) => {
      if (!problems.get(field) || !warning) problems.set(field, { text, warning });
    };
    for (const { field, error, warning } of this.draft?.problems ?? []) {
      if (this.#edited.has(field as Field) || this.#settled(field, error)) continue;
      set(field as Field, `${sentence(error.message)} ${error.help}`, warning);
    }
    if (this.product === '' ? this.touched : !/^[a-z0-9._-]{1,64}$/.test(this.product)) {
      set('product', 'Up to 64 small letters, digits, dots, dashes or underscores.');
    }
    if (this.version.trim() === '' ? this.touched : byteLength(this.version) > 64) {
      set('version', 'A version for people, up to 64 bytes, such as 1.2.0.');
    }
    if (!this.#sequenceOk) {
      set('sequence', 'A whole number; it grows with every release of a product.');
    }
    if (this.draft && !this.draft.app && !this.draft.files) {
      set('app', 'Choose an app image, files, or both.');
    }
    if (this.touched && this.needsPassphrase && this.passphrase === '') {
      set('passphrase', 'This key needs its passphrase.');
    }
    if (this.unsavedKey) {
      set(
        'key',
        'Save a copy of the new key first. Without it, losing this computer means USB for each board.',
      );
    }
    const failure = this.failure;
    if (failure?.field)
      set(failure.field, `${sentence(failure.error.message)} ${failure.error.help}`);
    return problems;
  });

  /** An error that belongs to no field. */
  readonly generalError = $derived(this.failure && !this.failure.field ? this.failure.error : null);

  readonly canSubmit = $derived(
    !this.busy &&
      this.key !== undefined &&
      this.unsavedKey === null &&
      ![...this.problems].some(([field, { warning }]) => !warning && this.failure?.field !== field),
  );

  readonly #sequenceOk = $derived(
    /^\d{1,10}$/.test(this.sequence.trim()) &&
      Number(this.sequence) <= MOST_SEQUENCE &&
      Number(this.sequence) > 0,
  );

  /** Whether the sheet has dealt with a problem of the draft since: a key was made, a base chosen. */
  #settled(field: string, { code }: ErrorInfo): boolean {
    if (field === 'key') return code === 'bad_key';
    return field === this.missing && code === 'wrong_base' && this.base !== '';
  }

  edited(field: Field): void {
    this.#edited.add(field);
    if (this.failure) this.failure = null;
  }

  /** Adds or replaces a part; what was typed stays. */
  async choose(part: 'app' | 'files', folder = false): Promise<void> {
    const chosen = await this.app.backend.openFiles(
      part === 'app'
        ? { title: 'Choose an app image', filters: [{ name: 'App image', extensions: ['bin'] }] }
        : folder
          ? { title: 'Choose a folder of files', folder: true }
          : { title: 'Choose files as a tar', filters: [{ name: 'Tar', extensions: ['tar'] }] },
    );
    const path = chosen[0];
    if (path !== undefined) await this.#redraft({ ...this.#paths(), [part]: path });
  }

  async remove(part: 'app' | 'files'): Promise<void> {
    await this.#redraft({ ...this.#paths(), [part]: null });
  }

  async makeKey(name: string, passphrase: string | null): Promise<boolean> {
    return this.#attempt('key', async () => {
      const key = await this.app.backend.newKey(name, passphrase);
      this.keyId = key.id;
      this.passphrase = passphrase ?? '';
      this.unsavedKey = key;
    });
  }

  async saveKey(): Promise<void> {
    const key = this.unsavedKey;
    if (!key) return;
    const path = await this.app.backend.saveFile({
      title: 'Save a copy of the key',
      fileName: `${key.name}.pem`,
      filters: [{ name: 'Private key', extensions: ['pem'] }],
    });
    if (path === null) return;
    await this.#attempt('key', async () => {
      await this.app.backend.saveKeyCopy(key.id, path);
      this.unsavedKey = null;
    });
  }

  /** Signs and adds. Answers the release, or nothing when a field has a problem. */
  async submit(): Promise<Release | null> {
    this.touched = true;
    this.failure = null;
    if (!this.canSubmit) return null;
    const { app, files } = this.#paths();
    const form: NewRelease = {
      product: this.product,
      version: this.version.trim(),
      sequence: Number(this.sequence),
      app,
      files,
      base: this.missing && this.base ? this.base : null,
      keyId: this.keyId,
      passphrase: this.needsPassphrase ? this.passphrase : null,
    };
    let release: Release | null = null;
    await this.#attempt(null, async () => {
      release = await this.app.backend.packRelease(form);
    });
    return release;
  }

  #fill(draft: Draft): void {
    const first = this.draft === undefined;
    this.draft = draft;
    const offered = {
      product: draft.product,
      version: draft.version,
      sequence: String(draft.sequence),
    };
    for (const field of ['product', 'version', 'sequence'] as const) {
      if (!this.#edited.has(field)) this[field] = offered[field];
    }
    this.base = draft.bases[0]?.id ?? '';
    if (first) this.keyId = draft.keys[0]?.id ?? '';
  }

  #paths(): { app: string | null; files: string | null } {
    return { app: this.draft?.app?.path ?? null, files: this.draft?.files?.path ?? null };
  }

  async #redraft({ app, files }: { app: string | null; files: string | null }): Promise<void> {
    const paths = [app, files].filter((path) => path !== null);
    if (paths.length === 0) {
      if (this.draft)
        this.draft = { ...this.draft, app: null, files: null, chip: null, problems: [] };
      return;
    }
    await this.#attempt(null, async () => {
      this.#fill(await this.app.backend.draftRelease(paths));
    });
  }

  async #attempt(field: Field | null, action: () => Promise<void>): Promise<boolean> {
    this.busy = true;
    this.failure = null;
    try {
      await action();
      return true;
    } catch (thrown) {
      const error = toErrorInfo(thrown);
      this.failure = { field: FIELD_OF[error.code] ?? field, error };
      return false;
    } finally {
      this.busy = false;
    }
  }
}

export const problemOf = (
  problems: readonly FieldProblem[],
  field: string,
): FieldProblem | undefined => problems.find((problem) => problem.field === field);

const byteLength = (text: string): number => new TextEncoder().encode(text).length;

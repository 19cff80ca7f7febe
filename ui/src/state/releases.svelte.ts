/** The library of releases: selecting, comparing two, exporting, deleting, going back. */
import type { Part, Release } from '../dto';
import { bytes, chipName, plural, shortHash } from '../format';
import type { AppState } from './app.svelte';

export interface Difference {
  what: string;
  left: string;
  right: string;
  same: boolean;
}

export class ReleasesView {
  readonly app: AppState;
  /** The last two that were selected, oldest first. */
  selected = $state.raw<readonly string[]>([]);

  constructor(app: AppState) {
    this.app = app;
  }

  readonly releases = $derived.by(() =>
    [...this.app.releases].sort(
      (a, b) => a.product.localeCompare(b.product) || b.sequence - a.sequence,
    ),
  );
  readonly chosen = $derived(
    this.selected.map((id) => this.app.release(id)).filter((release) => release !== undefined),
  );

  /** Selects one, or with `add` a second one beside it. */
  select(id: string, add = false): void {
    if (!add) this.selected = [id];
    else if (this.selected.includes(id))
      this.selected = this.selected.filter((other) => other !== id);
    else this.selected = [...this.selected.slice(-1), id];
  }

  /** Whether it is older than the newest release of its product. */
  isOld(release: Release): boolean {
    return this.app.releases.some(
      (other) => other.product === release.product && other.sequence > release.sequence,
    );
  }

  nextSequence(product: string): number {
    const same = this.app.releases.filter((release) => release.product === product);
    return same.reduce((max, release) => Math.max(max, release.sequence), 0) + 1;
  }

  async export(release: Release): Promise<void> {
    const path = await this.app.backend.saveFile({
      title: `Export ${release.product} ${release.version}`,
      fileName: `${release.product}-${release.version}.airlift`,
      filters: [{ name: 'Release', extensions: ['airlift'] }],
    });
    if (path === null) return;
    const done = await this.app.attempt(() => this.app.backend.exportRelease(release.id, path));
    if (done) this.app.say(`Exported ${release.product} ${release.version}.`);
  }

  /** Serves it to boards that check no signature, once it was said what that means. */
  async servePlain(release: Release): Promise<void> {
    const { plain } = this.app;
    const before = plain.release === null ? undefined : this.app.release(plain.release);
    const moves = before ? ` ${before.product} ${before.version} is served no longer.` : '';
    const yes = await this.app.ask({
      title: `Serve ${release.product} ${release.version} without a signature?`,
      text:
        'Boards of the plain protocol check no signature. Anyone on the network can take this ' +
        'computer’s place and put other code on them, now and whenever they ask. They take this ' +
        'release when they next ask, whatever their product, and nothing brings them back if it ' +
        `does not run.${moves} It stays on until you turn it off or close Airlift.`,
      action: 'Serve without a signature',
      otherwise: 'Cancel',
      danger: true,
    });
    if (yes) await this.app.attempt(() => this.app.backend.servePlain(release.id));
  }

  async stopPlain(): Promise<void> {
    await this.app.attempt(() => this.app.backend.servePlain(null));
  }

  async remove(release: Release): Promise<void> {
    const n = release.runningOn.length;
    const yes = await this.app.ask({
      title: `Delete ${release.product} ${release.version}?`,
      text:
        n > 0
          ? `${plural(n, 'device')} ${n === 1 ? 'runs' : 'run'} it and will go on doing so, but you can no longer go back to it from here.`
          : 'No device runs it. Its file leaves the library; exported copies stay.',
      action: 'Delete',
      danger: true,
    });
    if (!yes) return;
    const done = await this.app.attempt(() => this.app.backend.deleteRelease(release.id));
    if (done) this.selected = this.selected.filter((id) => id !== release.id);
  }
}

export const describe = (part: Part): string => {
  switch (part.kind) {
    case 'carried':
      return `${bytes(part.size)}, ${plural(part.chunks, 'chunk')}, ${shortHash(part.sha256)}`;
    case 'running':
      return `as it runs, if it is ${shortHash(part.sha256)}`;
    case 'any':
      return 'whatever runs';
  }
};

const sameContent = (a: Part, b: Part): boolean => {
  if (a.kind === 'any' || b.kind === 'any') return a.kind === b.kind;
  return a.sha256 === b.sha256;
};

/** What differs between two releases, line by line. */
export function compare(
  left: Release,
  right: Release,
  words: { key: (id: string) => string; date: (seconds: number) => string },
): Difference[] {
  const line = (what: string, of: (release: Release) => string): Difference => {
    const [a, b] = [of(left), of(right)];
    return { what, left: a, right: b, same: a === b };
  };
  return [
    line('product', (release) => release.product),
    line('version', (release) => release.version),
    line('sequence', (release) => String(release.sequence)),
    line('chip', (release) => chipName(release.chip)),
    {
      what: 'app',
      left: describe(left.app),
      right: describe(right.app),
      same: sameContent(left.app, right.app),
    },
    {
      what: 'files',
      left: describe(left.files),
      right: describe(right.files),
      same: sameContent(left.files, right.files),
    },
    line('signed by', (release) => words.key(release.keyId)),
    ...(left.keys || right.keys
      ? [
          line('new keys', ({ keys }) =>
            keys ? [keys.root, ...keys.keys].map(words.key).join(', ') : 'none',
          ),
        ]
      : []),
    line('made', (release) => words.date(release.created)),
    line('runs on', (release) => plural(release.runningOn.length, 'device')),
  ];
}

/** What is held over the window, what would become of it, and what became of it. */
import type { Draft, DropPlan } from '../dto';
import { toErrorInfo, type DropEvent } from '../backend/types';
import { fileName, sentence } from '../format';
import type { AppState } from './app.svelte';

/** What may become of a drop: what the app says, or that a board in sight is flashed with it. */
export type Plan = DropPlan | { kind: 'flash'; path: string; sentence: string };

/** The board, or boards, on which a file that is dropped now would be flashed. */
export interface FlashTarget {
  target(): string | null;
  flash(path: string): void;
}

/** A release, an ELF (with or without a name ending) or a merged image. */
const FLASHABLE = /(\.(airlift|elf|bin)|[\\/][^.\\/]+)$/;

export class DropState {
  readonly #app: AppState;
  readonly #openSheet: (draft: Draft) => void;
  readonly #flashing: FlashTarget | null;

  paths = $state.raw<readonly string[] | null>(null);
  plan = $state.raw<Plan | null>(null);
  #planning: Promise<Plan> | null = null;
  #generation = 0;

  constructor(
    app: AppState,
    openSheet: (draft: Draft) => void,
    flashing: FlashTarget | null = null,
  ) {
    this.#app = app;
    this.#openSheet = openSheet;
    this.#flashing = flashing;
  }

  readonly held = $derived(this.paths !== null);

  /** One sentence about what letting go would do. */
  readonly sentence = $derived.by(() => {
    if (this.plan?.kind === 'refuse') return sentence(this.plan.error.message);
    if (this.plan) return this.plan.sentence;
    const names = (this.paths ?? []).map(fileName);
    return names.length > 0
      ? `Looking at ${names.join(', ')} …`
      : 'Drop a release, an app image, files or a key';
  });

  handle(event: DropEvent): void {
    switch (event.kind) {
      case 'enter':
        this.#look(event.paths);
        break;
      case 'over':
        break;
      case 'leave':
        this.#clear();
        break;
      case 'drop':
        void this.drop(event.paths);
        break;
    }
  }

  /** Also the way of everything chosen in a file dialog. */
  async drop(paths: string[]): Promise<void> {
    if (this.#planning === null || !sameList(this.paths, paths)) this.#look(paths);
    const planning = this.#planning;
    const generation = this.#generation;
    try {
      const plan = await planning;
      if (plan) await this.#act(plan);
    } catch (thrown) {
      this.#app.complain(thrown);
    } finally {
      if (generation === this.#generation) this.#clear();
    }
  }

  #look(paths: string[]): void {
    this.#generation += 1;
    const generation = this.#generation;
    this.paths = paths;
    this.plan = null;
    this.#planning = this.#flashPlan(paths) ?? this.#app.backend.planDrop(paths);
    this.#planning.then(
      (plan) => {
        if (generation === this.#generation) this.plan = plan;
      },
      (thrown: unknown) => {
        if (generation === this.#generation)
          this.plan = { kind: 'refuse', error: toErrorInfo(thrown) };
      },
    );
  }

  /** On the USB page a file is for the board, whatever else could be done with it. */
  #flashPlan(paths: readonly string[]): Promise<Plan> | null {
    const [path] = paths;
    const target = this.#flashing?.target() ?? null;
    if (path === undefined || paths.length > 1 || target === null) return null;
    if (!FLASHABLE.test(path)) return null;
    return Promise.resolve({
      kind: 'flash',
      path,
      sentence: `Flash ${fileName(path)} on ${target}`,
    });
  }

  #clear(): void {
    this.#generation += 1;
    this.paths = null;
    this.plan = null;
    this.#planning = null;
  }

  async #act(plan: Plan): Promise<void> {
    this.#clear();
    switch (plan.kind) {
      case 'addRelease': {
        const release = await this.#app.backend.addRelease(plan.path);
        const name = `${release.product} ${release.version}`;
        this.#app.say(plan.known ? `${name} is in the library already.` : `Added ${name}.`);
        break;
      }
      case 'trustKey': {
        const yes = await this.#app.ask({
          title: `${plan.sentence}?`,
          text: `Releases signed by key ${plan.keyId} will be accepted on this computer. Devices decide for themselves which keys they trust.`,
          action: 'Trust this key',
          danger: false,
        });
        if (!yes) break;
        const key = await this.#app.backend.trustKey(plan.path);
        this.#app.say(`${key.name} is trusted now.`);
        break;
      }
      case 'newRelease':
        this.#openSheet(plan.draft);
        break;
      case 'flash':
        this.#flashing?.flash(plan.path);
        break;
      case 'refuse':
        this.#app.complain(plan.error);
        break;
    }
  }
}

const sameList = (a: readonly string[] | null, b: readonly string[]): boolean =>
  a !== null && a.length === b.length && a.every((path, index) => path === b[index]);

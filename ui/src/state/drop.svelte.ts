/** What is held over the window, what would become of it, and what became of it. */
import type { Draft, DropPlan } from '../dto';
import { toErrorInfo, type DropEvent } from '../backend/types';
import { fileName, sentence } from '../format';
import type { AppState } from './app.svelte';

export class DropState {
  readonly #app: AppState;
  readonly #openSheet: (draft: Draft) => void;

  paths = $state.raw<readonly string[] | null>(null);
  plan = $state.raw<DropPlan | null>(null);
  #planning: Promise<DropPlan> | null = null;
  #generation = 0;

  constructor(app: AppState, openSheet: (draft: Draft) => void) {
    this.#app = app;
    this.#openSheet = openSheet;
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
    this.#planning = this.#app.backend.planDrop(paths);
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

  #clear(): void {
    this.#generation += 1;
    this.paths = null;
    this.plan = null;
    this.#planning = null;
  }

  async #act(plan: DropPlan): Promise<void> {
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
      case 'refuse':
        this.#app.complain(plan.error);
        break;
    }
  }
}

const sameList = (a: readonly string[] | null, b: readonly string[]): boolean =>
  a !== null && a.length === b.length && a.every((path, index) => path === b[index]);

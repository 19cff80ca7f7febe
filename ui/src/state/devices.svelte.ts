/** The list of devices: what is searched, sorted, checked and offered. */
import { SvelteSet } from 'svelte/reactivity';
import type { Device, Job, Release } from '../dto';
import { chipName, plural } from '../format';
import type { AppState } from './app.svelte';
import { isKeysOnly, offer, type Offer } from './offer';

export type SortBy = 'name' | 'version' | 'address' | 'seen';

/** `newest`: for each device the newest release of its product; otherwise one release for all. */
export type Pick = 'newest' | (string & {});

export interface Row {
  device: Device;
  /** Its newest job, running or ended. */
  job: Job | undefined;
  /** What Update would install. */
  target: Release | undefined;
  offer: Offer;
}

const byText = new Intl.Collator('en', { numeric: true, sensitivity: 'base' });

export class DevicesView {
  readonly app: AppState;

  query = $state('');
  sort = $state<SortBy>('name');
  descending = $state(false);
  /** The row that the keyboard and the lower pane are at. */
  active = $state<string | null>(null);
  readonly checked = new SvelteSet<string>();
  #picked = $state<Pick | null>(null);
  #lastChecked: string | null = null;

  constructor(app: AppState) {
    this.app = app;
  }

  /** The newest release of each product that some device has, or of any product without devices. */
  readonly newest = $derived.by(() => {
    const newest = new Map<string, Release>();
    for (const release of this.app.releases) {
      if (isKeysOnly(release)) continue;
      const best = newest.get(release.product);
      if (!best || release.sequence > best.sequence) newest.set(release.product, release);
    }
    return newest;
  });

  readonly pick: Pick = $derived.by(() => {
    const picked = this.#picked;
    if (picked && picked !== 'newest' && this.app.release(picked)) return picked;
    if (picked === 'newest' || this.newest.size > 1) return 'newest';
    return [...this.newest.values()][0]?.id ?? 'newest';
  });

  /** The one release that is picked, if it is one. */
  readonly release = $derived.by(() =>
    this.pick === 'newest' ? undefined : this.app.release(this.pick),
  );

  readonly visible: readonly string[] = $derived.by(() => {
    const words = this.query.toLowerCase().split(/\s+/).filter(Boolean);
    let ids = this.app.order;
    if (words.length > 0) {
      ids = ids.filter((id) => {
        const device = this.app.devices.get(id);
        const text = device ? searchText(device) : '';
        return words.every((word) => text.includes(word));
      });
    }
    if (this.sort !== 'name') ids = this.#sorted(ids);
    return this.descending ? [...ids].reverse() : ids;
  });

  readonly updatable = $derived([...this.checked].filter((id) => this.#canStart(id)));

  readonly #startable = $derived.by(() => this.visible.filter((id) => this.#canStart(id)));
  /** Whether all that can be updated are checked. */
  readonly allChecked = $derived.by(
    () => this.#startable.length > 0 && this.#startable.every((id) => this.checked.has(id)),
  );

  /** Why `Update` is off; `null` when it is on. */
  readonly updateOff = $derived.by(() => {
    if (this.app.releases.length === 0) return 'There is no release yet. Drop one on the window.';
    if (this.checked.size === 0) return 'Check the devices to update.';
    if (this.updatable.length > 0) return null;
    const offers = [...this.checked].map((id) => this.row(id)?.offer);
    if (offers.every((each) => each?.kind === 'current')) {
      return this.checked.size === 1 ? 'It is up to date.' : 'All of them are up to date.';
    }
    if (offers.every((each) => each?.kind === 'running')) return 'They are being updated already.';
    const first = offers.find((each) => each?.kind === 'off');
    return first ? first.why : 'None of them can take this release.';
  });

  choose(pick: Pick): void {
    this.#picked = pick;
  }

  row(id: string): Row | undefined {
    const device = this.app.devices.get(id);
    if (!device) return undefined;
    const job =
      (device.job === null ? undefined : this.app.jobs.get(device.job)) ?? this.app.jobOf(id);
    const target = this.target(device);
    return { device, job, target, offer: offer(device, target, job) };
  }

  target(device: Device): Release | undefined {
    return this.pick === 'newest' ? this.newest.get(device.product) : this.release;
  }

  sortBy(column: SortBy): void {
    if (this.sort === column) this.descending = !this.descending;
    else {
      this.sort = column;
      this.descending = false;
    }
  }

  // Checking rows.

  toggle(id: string, range = false): void {
    const on = !this.checked.has(id);
    const from = this.#lastChecked === null ? -1 : this.visible.indexOf(this.#lastChecked);
    const to = this.visible.indexOf(id);
    const ids =
      range && from >= 0 ? this.visible.slice(Math.min(from, to), Math.max(from, to) + 1) : [id];
    for (const each of ids) {
      if (on) this.checked.add(each);
      else this.checked.delete(each);
    }
    this.#lastChecked = id;
  }

  /** Checks every visible device that can be updated; with all of them checked, checks none. */
  toggleAll(): void {
    const all = this.allChecked;
    this.checked.clear();
    if (!all) for (const id of this.#startable) this.checked.add(id);
  }

  uncheckAll(): void {
    this.checked.clear();
  }

  // Moving.

  moveTo(index: number): string | null {
    const id = this.visible[Math.max(0, Math.min(index, this.visible.length - 1))];
    if (id !== undefined) this.active = id;
    return id ?? null;
  }

  get activeIndex(): number {
    return this.active === null ? -1 : this.visible.indexOf(this.active);
  }

  // Doing.

  async updateChecked(): Promise<void> {
    const ids = this.updatable;
    if (await this.#start(ids, false)) this.checked.clear();
  }

  async update(id: string): Promise<void> {
    await this.#start([id], this.row(id)?.offer.kind === 'again');
  }

  async cancel(job: Job): Promise<void> {
    await this.app.attempt(() => this.app.backend.cancelJob(job.id));
  }

  async retry(job: Job): Promise<void> {
    await this.app.attempt(() => this.app.backend.retryJob(job.id));
  }

  async forget(device: Device): Promise<void> {
    const yes = await this.app.ask({
      title: `Forget ${device.name}?`,
      text: 'It leaves the list and its history stays. If it is still on the network, it comes back by itself.',
      action: 'Forget',
      danger: true,
    });
    if (!yes) return;
    this.checked.delete(device.id);
    await this.app.attempt(() => this.app.backend.forgetDevice(device.id));
  }

  /** Starts the update of each device to its own target. */
  async #start(ids: readonly string[], retry: boolean): Promise<boolean> {
    const groups = new Map<string, string[]>();
    for (const id of ids) {
      const row = this.row(id);
      if (!row?.target) continue;
      groups.set(row.target.id, [...(groups.get(row.target.id) ?? []), id]);
    }
    if (groups.size === 0) return false;
    const first = ids[0];
    const started = await this.app.attempt(async () => {
      for (const [release, devices] of groups) {
        await this.app.backend.startUpdate(devices, release, retry);
      }
    });
    if (started && first !== undefined && !ids.includes(this.active ?? '')) this.active = first;
    return started;
  }

  #canStart(id: string): boolean {
    const kind = this.row(id)?.offer.kind;
    return kind === 'update' || kind === 'queue';
  }

  #sorted(ids: readonly string[]): string[] {
    const key = (id: string): string | number => {
      const device = this.app.devices.get(id);
      if (this.sort === 'version') return device?.version ?? '';
      if (this.sort === 'address') return device?.address ?? '';
      return -(device?.lastSeen ?? 0);
    };
    const keyed = ids.map((id) => ({ id, key: key(id) }));
    keyed.sort((a, b) =>
      typeof a.key === 'number' && typeof b.key === 'number'
        ? a.key - b.key
        : byText.compare(String(a.key), String(b.key)),
    );
    return keyed.map((each) => each.id);
  }
}

function searchText(device: Device): string {
  const { name, product, chip, address, version, slot, id } = device;
  return [name, product, chipName(chip), address, version, slot, id].join(' ').toLowerCase();
}

/** What the button above the list says. */
export function updateLabel(view: DevicesView): string {
  const n = view.updatable.length;
  return n === 0 ? 'Update' : `Update ${n}`;
}

/** The same for screen readers, which do not see the list. */
export function updateName(view: DevicesView): string {
  return `Update ${plural(view.updatable.length, 'checked device')}`;
}

/** The settings: each change is sent at once; keys are made, taken in and given out here. */
import type { Key, Settings } from '../dto';
import { toErrorInfo } from '../backend/types';
import type { AppState } from './app.svelte';

const PEM = [{ name: 'Private key', extensions: ['pem'] }];

export class SettingsView {
  readonly app: AppState;
  port = $state('');
  interfaces = $state('');
  busy = $state(false);
  makingKey = $state(false);
  /** A key file that asked for its passphrase. */
  locked = $state.raw<{ path: string } | null>(null);
  /** A key made here whose copy is not saved yet. */
  unsavedKey = $state.raw<Key | null>(null);

  constructor(app: AppState) {
    this.app = app;
    this.port = String(app.settings.port);
    this.interfaces = app.settings.interfaces.join(', ');
  }

  readonly portProblem = $derived.by(() => {
    const port = Number(this.port);
    return /^\d{1,5}$/.test(this.port.trim()) && port >= 1024 && port <= 65_535
      ? null
      : 'A port from 1024 to 65535.';
  });

  async change(change: Partial<Settings>): Promise<void> {
    await this.app.attempt(() => this.app.backend.setSettings({ ...this.app.settings, ...change }));
  }

  async savePort(): Promise<void> {
    const port = Number(this.port);
    if (this.portProblem === null && port !== this.app.settings.port) await this.change({ port });
  }

  async saveInterfaces(): Promise<void> {
    const interfaces = this.interfaces.split(/[\s,]+/).filter(Boolean);
    if (interfaces.join() !== this.app.settings.interfaces.join())
      await this.change({ interfaces });
  }

  async makeKey(name: string, passphrase: string | null): Promise<void> {
    this.busy = true;
    const done = await this.app.attempt(async () => {
      this.unsavedKey = await this.app.backend.newKey(name, passphrase);
    });
    this.busy = false;
    if (done) this.makingKey = false;
  }

  async saveKey(key: Key): Promise<void> {
    const path = await this.app.backend.saveFile({
      title: `Save a copy of ${key.name}`,
      fileName: `${key.name}.pem`,
      filters: PEM,
    });
    if (path === null) return;
    const done = await this.app.attempt(() => this.app.backend.saveKeyCopy(key.id, path));
    if (done && this.unsavedKey?.id === key.id) this.unsavedKey = null;
    if (done)
      this.app.say(`A copy of ${key.name} is saved. Keep it where nobody else can read it.`);
  }

  async exportPublic(key: Key): Promise<void> {
    const path = await this.app.backend.saveFile({
      title: `Export the public key of ${key.name}`,
      fileName: `${key.name}.pub.pem`,
      filters: [{ name: 'Public key', extensions: ['pem'] }],
    });
    if (path === null) return;
    const done = await this.app.attempt(() => this.app.backend.exportPublicKey(key.id, path));
    if (done) this.app.say(`The public key of ${key.name} is exported.`);
  }

  async importKey(): Promise<void> {
    const [path] = await this.app.backend.openFiles({
      title: 'Import a private key',
      filters: PEM,
    });
    if (path !== undefined) await this.unlock(path, null);
  }

  async unlock(path: string, passphrase: string | null): Promise<void> {
    this.busy = true;
    try {
      const key = await this.app.backend.importKey(path, passphrase);
      this.locked = null;
      this.app.say(`${key.name} is imported.`);
    } catch (thrown) {
      const error = toErrorInfo(thrown);
      if (error.code === 'bad_passphrase') {
        if (passphrase !== null) this.app.complain(error);
        this.locked = { path };
      } else {
        this.app.complain(error);
      }
    } finally {
      this.busy = false;
    }
  }
}

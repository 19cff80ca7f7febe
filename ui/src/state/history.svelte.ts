/** The history: every job and its end, filtered. */
import type { End, ErrorInfo, HistoryRow } from '../dto';
import { toErrorInfo } from '../backend/types';
import type { AppState } from './app.svelte';

export type EndFilter = 'all' | End | 'running';

export class HistoryView {
  readonly app: AppState;
  rows = $state.raw<readonly HistoryRow[]>([]);
  loaded = $state(false);
  error = $state.raw<ErrorInfo | null>(null);
  query = $state('');
  end = $state<EndFilter>('all');

  constructor(app: AppState) {
    this.app = app;
  }

  readonly visible = $derived.by(() => {
    const words = this.query.toLowerCase().split(/\s+/).filter(Boolean);
    return this.rows.filter((row) => {
      if (this.end === 'running' ? row.end !== null : this.end !== 'all' && row.end !== this.end)
        return false;
      const text = [
        row.deviceName,
        row.device,
        row.product,
        row.fromVersion,
        row.toVersion,
        row.summary,
        row.code,
      ]
        .join(' ')
        .toLowerCase();
      return words.every((word) => text.includes(word));
    });
  });

  async load(): Promise<void> {
    try {
      this.rows = await this.app.backend.history();
      this.error = null;
      this.loaded = true;
    } catch (thrown) {
      this.error = toErrorInfo(thrown);
    }
  }

  async export(): Promise<void> {
    const path = await this.app.backend.saveFile({
      title: 'Export the history',
      fileName: 'airlift-history.csv',
      filters: [{ name: 'CSV', extensions: ['csv'] }],
    });
    if (path === null) return;
    if (await this.app.attempt(() => this.app.backend.exportHistory(path))) {
      this.app.say('The history is exported.');
    }
  }
}

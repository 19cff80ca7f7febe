/** Light or dark: the system decides unless the settings do. */
import type { AppState } from './app.svelte';

export class Theme {
  #systemDark = $state(false);
  readonly #app: AppState;

  constructor(app: AppState) {
    this.#app = app;
  }

  readonly choice = $derived.by(() => {
    const { theme } = this.#app.settings;
    return theme === 'light' || theme === 'dark' ? theme : 'system';
  });

  /** What is shown; changes when colours drawn by hand must be drawn again. */
  readonly shown = $derived(
    this.choice === 'system' ? (this.#systemDark ? 'dark' : 'light') : this.choice,
  );

  /** Follows the system, and marks the page. Call while a component is set up. */
  follow(): void {
    $effect(() => {
      const query = window.matchMedia('(prefers-color-scheme: dark)');
      const read = () => (this.#systemDark = query.matches);
      read();
      query.addEventListener('change', read);
      return () => query.removeEventListener('change', read);
    });
    $effect.pre(() => {
      if (this.choice === 'system') delete document.documentElement.dataset.theme;
      else document.documentElement.dataset.theme = this.choice;
    });
  }
}

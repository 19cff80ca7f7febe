import { mount } from 'svelte';
import './styles/tokens.css';
import './styles/base.css';
import App from './App.svelte';
import { isTauri, tauriBackend } from './backend/tauri';
import { AppState } from './state/app.svelte';

async function start(target: HTMLElement): Promise<void> {
  if (!isTauri() && __FAKE__) {
    const { openScenario } = await import('./backend/fake/scenarios');
    openScenario(target, new URLSearchParams(location.search));
    return;
  }
  // The web view's own menu has nothing to offer; drops of files onto the page must not navigate.
  for (const kind of ['dragover', 'drop'] as const) {
    window.addEventListener(kind, (event) => event.preventDefault());
  }
  mount(App, { target, props: { app: new AppState(tauriBackend()) } });
}

const target = document.getElementById('app');
if (target) void start(target);

import { afterEach } from 'vitest';

afterEach(() => {
  localStorage.clear();
  delete document.documentElement.dataset.theme;
});

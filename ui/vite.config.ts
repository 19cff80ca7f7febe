import { svelte } from '@sveltejs/vite-plugin-svelte';
import { svelteTesting } from '@testing-library/svelte/vite';
import { defineConfig } from 'vitest/config';

// The fake backend belongs to development, tests and screenshots (`--mode fake`), never to the app.
export default defineConfig(({ command, mode }) => ({
  plugins: [svelte(), svelteTesting()],
  define: {
    __FAKE__: JSON.stringify(command === 'serve' || mode === 'fake' || mode === 'test'),
  },
  clearScreen: false,
  server: { port: 5173, strictPort: true, host: '127.0.0.1' },
  build: {
    target: ['safari16.4', 'chrome111'],
    // Inlined assets would need `data:` in the content security policy.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
  test: {
    environment: 'happy-dom',
    include: ['src/**/*.test.ts'],
    restoreMocks: true,
    setupFiles: ['src/test/setup.ts'],
  },
}));

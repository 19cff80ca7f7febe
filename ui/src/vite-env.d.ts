/// <reference types="svelte" />
/// <reference types="vite/client" />

/** Whether this build carries the fake backend; see vite.config.ts. */
declare const __FAKE__: boolean;

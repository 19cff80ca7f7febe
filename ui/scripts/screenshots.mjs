// Pictures of every state of the window, from the fake backend, under the app's own content
// security policy. Usage: node scripts/screenshots.mjs [FOLDER] [NAME...]
import { mkdir, mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import { build } from 'vite';

const root = fileURLToPath(new URL('..', import.meta.url));
const dist = join(root, 'dist-fake');
const [folder = join(root, '..', 'screenshots', 'tmp'), ...only] = process.argv.slice(2);

/** The shell's own policy; only the page's own origin stands in for Tauri's. */
const { security } = JSON.parse(
  await readFile(join(root, '..', 'src-tauri', 'tauri.conf.json'), 'utf8'),
).app;
const CSP = security.csp.replace(/connect-src [^;]*/, "connect-src 'self'");
const TYPES = {
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.svg': 'image/svg+xml',
};

const STATES = [
  'first-start',
  'empty',
  'virtual',
  'devices',
  'updating',
  'done',
  'rolled-back',
  'fails-check',
  'stale',
  'failed',
  'flash-fault',
  'device-details',
  'device-log',
  'offline',
  'off',
  'many',
  'huge',
  'drop',
  'drop-new',
  'drop-refused',
  'sheet',
  'sheet-problem',
  'sheet-no-key',
  'releases',
  'compare',
  'plain',
  'plain-release',
  'history',
  'settings',
  'key-change',
  'key-change-offline',
  'key-change-error',
  'key-change-done',
  'key-change-none',
  'offline-key',
  'notice',
  'server-off',
  'usb-empty',
  'usb-add-port',
  'usb-ports',
  'usb-denied',
  'usb-hold-boot',
  'usb-no-answer',
  'usb-secured',
  'usb-healthy',
  'usb-dead',
  'usb-slot',
  'usb-blocked',
  'usb-blank',
  'usb-writing',
  'usb-unplugged',
  'usb-done',
  'usb-failed',
  'usb-flash',
  'usb-flash-parts',
  'usb-flash-plan',
  'usb-many',
  'usb-many-running',
  'usb-log',
  'usb-wifi',
  'usb-backups',
  'usb-records',
  'usb-drop',
];
const SIZES = [
  { width: 1440, height: 900 },
  { width: 800, height: 600 },
];

await build({ root, mode: 'fake', logLevel: 'warn', build: { outDir: dist, emptyOutDir: true } });
const server = createServer(async (request, response) => {
  const path = normalize(new URL(request.url, 'http://x').pathname);
  const file = path === '/' ? 'index.html' : path.slice(1);
  if (file === 'favicon.ico') return response.writeHead(204).end();
  try {
    const body = await readFile(join(dist, file));
    response.writeHead(200, {
      'content-type': TYPES[extname(file)] ?? 'application/octet-stream',
      'content-security-policy': CSP,
    });
    response.end(body);
  } catch {
    response.writeHead(404).end();
  }
});
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
const origin = `http://127.0.0.1:${server.address().port}`;

// The font of a current desktop where it is installed; what the browser finds otherwise.
const fonts = join(await mkdtemp(join(tmpdir(), 'airlift-fonts-')), 'fonts.conf');
await writeFile(
  fonts,
  `<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "urn:fontconfig:fonts.dtd"><fontconfig>
  <include ignore_missing="yes">/etc/fonts/fonts.conf</include>
  ${['system-ui', 'sans-serif']
    .map(
      (family) => `<match target="pattern"><test name="family"><string>${family}</string></test>
  <edit name="family" mode="prepend" binding="strong"><string>Inter</string><string>Noto Sans</string></edit></match>`,
    )
    .join('')}
  </fontconfig>`,
);

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  env: { ...process.env, FONTCONFIG_FILE: fonts },
  args: [
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
  ],
});
await mkdir(folder, { recursive: true });
const complaints = [];

for (const size of SIZES) {
  for (const theme of ['light', 'dark']) {
    const context = await browser.newContext({
      viewport: size,
      colorScheme: 'light',
      deviceScaleFactor: 1,
    });
    if (security.freezePrototype) await context.addInitScript('Object.freeze(Object.prototype)');
    const page = await context.newPage();
    page.on('console', (message) => {
      if (message.type() === 'error') complaints.push(`${page.url()}: ${message.text()}`);
    });
    page.on('pageerror', (error) => complaints.push(`${page.url()}: ${error.message}`));
    for (const state of STATES.filter((each) => only.length === 0 || only.includes(each))) {
      await page.goto(`${origin}/?fake=${state}&theme=${theme}&clock=frozen`);
      await page.waitForSelector('html[data-scene="ready"]');
      // Two frames: one for the last state, one for the canvas.
      await page.evaluate(
        () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))),
      );
      await page.waitForTimeout(60);
      await page.screenshot({ path: join(folder, `${state}-${theme}-${size.width}.png`) });
    }
    await context.close();
  }
}
await browser.close();
server.close();
if (complaints.length > 0) {
  console.error(complaints.join('\n'));
  process.exitCode = 1;
}

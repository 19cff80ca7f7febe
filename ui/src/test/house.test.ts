// Rules of the house that no compiler knows.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { T } from '../testids';

const ROOT = process.cwd();
const read = (path: string) => readFileSync(join(ROOT, path), 'utf8');
const sources = readdirSync(join(ROOT, 'src'), { recursive: true, encoding: 'utf8' }).filter(
  (path) => /\.(ts|svelte)$/.test(path),
);

describe('the front end', () => {
  it('talks to Tauri through one door', () => {
    const doors = sources.filter((path) => /from '@tauri-apps\//.test(read(join('src', path))));
    expect(doors.sort()).toEqual(['backend/tauri.test.ts', 'backend/tauri.ts']);
  });

  it('brings no markup in as text, and no style that the policy would block', () => {
    for (const path of sources.filter((each) => each.endsWith('.svelte'))) {
      const text = read(join('src', path));
      expect(text, path).not.toContain('{@html');
      expect(text, path).not.toMatch(/<[a-z]+[^>]*\sstyle="/);
      expect(text, path).not.toMatch(/transition:|in:fade|animate:/);
    }
  });

  it('knows every type that Rust generates', () => {
    const generated = readdirSync(join(ROOT, 'src/bindings')).map((file) =>
      file.replace('.ts', ''),
    );
    const known = [...read('src/dto.ts').matchAll(/export type \{ (\w+) \}/g)].map(
      ([, name]) => name,
    );
    expect(known.sort()).toEqual(generated.sort());
  });

  it('has a name of its own for every test id', () => {
    const ids = Object.values(T);
    expect(new Set(ids).size).toBe(ids.length);
    const used = sources
      .filter((path) => path.endsWith('.svelte'))
      .map((path) => read(join('src', path)));
    const unused = Object.keys(T).filter(
      (key) => !used.some((text) => new RegExp(`T\\.${key}\\b`).test(text)),
    );
    expect(unused).toEqual([]);
  });

  it('pins exact versions, and its lock file names no registry', () => {
    const { dependencies, devDependencies } = JSON.parse(read('package.json')) as Record<
      string,
      Record<string, string>
    >;
    for (const [name, version] of Object.entries({ ...dependencies, ...devDependencies })) {
      expect(version, name).toMatch(/^\d+\.\d+\.\d+$/);
    }
    expect(read('package-lock.json')).not.toContain('"resolved"');
  });
});

describe('the colours', () => {
  const tokens = new Map(
    [
      ...read('src/styles/tokens.css').matchAll(/--([\w-]+): light-dark\((#\w{6}), (#\w{6})\)/g),
    ].map(([, name = '', light = '', dark = '']) => [name, { light, dark }]),
  );
  const luminance = (hex: string) => {
    const [r = 0, g = 0, b = 0] = [1, 3, 5].map((at) => {
      const part = parseInt(hex.slice(at, at + 2), 16) / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (a: string, b: string) => {
    const [x, y] = [luminance(a), luminance(b)];
    return (Math.max(x, y) + 0.05) / (Math.min(x, y) + 0.05);
  };
  const of = (name: string, theme: 'light' | 'dark') => tokens.get(name)?.[theme] ?? 'missing';

  const TEXT: [ink: string, grounds: string[]][] = [
    ['text', ['window', 'side', 'raised', 'field', 'hover', 'pressed', 'accent-wash']],
    ['muted', ['window', 'side', 'raised', 'field', 'hover', 'pressed', 'accent-wash']],
    ['accent', ['window', 'hover', 'accent-wash']],
    ['danger', ['window', 'side', 'raised', 'hover', 'accent-wash']],
    ['warn', ['window', 'raised', 'hover', 'accent-wash']],
    ['on-accent', ['accent', 'accent-hover']],
    ['window', ['danger']],
  ];
  const SHAPES: [ink: string, grounds: string[]][] = [
    ['control-line', ['window', 'raised', 'field']],
    ['map-kept', ['window']],
    ['map-fetching', ['window']],
    ['map-read-back', ['window', 'map-kept']],
    ['map-refused', ['window']],
  ];

  it.each(['light', 'dark'] as const)('of text stand out 4.5 to 1 when it is %s', (theme) => {
    for (const [ink, grounds] of TEXT) {
      for (const ground of grounds) {
        const ratio = contrast(of(ink, theme), of(ground, theme));
        expect(ratio, `${ink} on ${ground}`).toBeGreaterThanOrEqual(4.5);
      }
    }
  });

  it.each(['light', 'dark'] as const)('of controls and cells stand out when it is %s', (theme) => {
    for (const [ink, grounds] of SHAPES) {
      for (const ground of grounds) {
        const least = ground.startsWith('map-') ? 1.5 : 3;
        const ratio = contrast(of(ink, theme), of(ground, theme));
        expect(ratio, `${ink} on ${ground}`).toBeGreaterThanOrEqual(least);
      }
    }
  });
});

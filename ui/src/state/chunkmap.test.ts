import { describe, expect, it } from 'vitest';
import { boxOf, cellAt, layoutMap, MOST_CELLS, step } from './chunkmap';

const SIZES: [number[], number, number][] = [
  [[47, 6], 1200, 64],
  [[362, 22], 568, 48],
  [[1], 300, 40],
  [[4096, 4096], 1200, 90],
  [[MOST_CELLS], 568, 60],
  [[MOST_CELLS - 1, 1], 1600, 200],
];

describe('the place of cells', () => {
  it.each(SIZES)('of %j chunks in %d by %d is inside, and its own', (counts, width, height) => {
    const layout = layoutMap(counts, width, height, 16, 6);
    const total = counts.reduce((sum, count) => sum + count, 0);
    const wrong: number[] = [];
    for (let cell = 0; cell < total; cell += 1) {
      const box = boxOf(layout, cell);
      const good =
        box !== undefined &&
        box.side >= 1 &&
        box.x + box.side <= width &&
        box.y + box.side <= height &&
        cellAt(layout, box.x, box.y) === cell &&
        cellAt(layout, box.x + box.side - 1, box.y + box.side - 1) === cell;
      if (!good) wrong.push(cell);
    }
    expect(wrong).toEqual([]);
    expect(boxOf(layout, total)).toBeUndefined();
  });

  it('is as large as the room allows', () => {
    expect(layoutMap([10], 1200, 64, 16, 6).pitch).toBe(16);
    const tight = layoutMap([362, 22], 568, 48, 16, 6);
    const larger = layoutMap([362, 22], 568, 48, tight.pitch + 1, 6);
    expect(larger.pitch).toBe(tight.pitch);
  });

  it('leaves room between the parts', () => {
    const layout = layoutMap([3, 3], 100, 100, 16, 6);
    expect(boxOf(layout, 3)?.y).toBe(16 + 6);
    expect(cellAt(layout, 1, 18)).toBeUndefined();
  });

  it('is nowhere beside the cells', () => {
    const layout = layoutMap([3], 100, 100, 16, 6);
    expect(cellAt(layout, 60, 2)).toBeUndefined();
    expect(cellAt(layout, -1, 2)).toBeUndefined();
    expect(cellAt(layout, 2, 40)).toBeUndefined();
  });

  it('does not loop where there is no room at all', () => {
    expect(layoutMap([100], 0, 0, 16, 6).columns).toBe(1);
  });
});

describe('arrow keys', () => {
  const layout = layoutMap([40], 160, 100, 16, 6);

  it('go by one and by a row, and stop at the ends', () => {
    expect(layout.columns).toBe(10);
    expect(step(layout, 5, 'ArrowRight', 40)).toBe(6);
    expect(step(layout, 5, 'ArrowDown', 40)).toBe(15);
    expect(step(layout, 5, 'ArrowUp', 40)).toBe(0);
    expect(step(layout, 35, 'ArrowDown', 40)).toBe(39);
    expect(step(layout, 5, 'End', 40)).toBe(39);
    expect(step(layout, 5, 'Home', 40)).toBe(0);
    expect(step(layout, 5, 'x', 40)).toBeUndefined();
  });
});

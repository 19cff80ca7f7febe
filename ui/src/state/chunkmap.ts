/** Where the cells of a chunk map are. In device pixels, so that every edge is sharp. */

export interface MapPart {
  /** First cell. */
  first: number;
  /** How many cells. */
  count: number;
  /** First row. */
  row: number;
  /** Distance from the top. */
  top: number;
}

export interface MapLayout {
  /** Distance from cell to cell. */
  pitch: number;
  /** Side of what is drawn of a cell. */
  side: number;
  columns: number;
  parts: readonly MapPart[];
  width: number;
  height: number;
}

export const MOST_CELLS = 10_000;
const SMALLEST = 1;

/**
 * Places the parts below each other, each from the start of a row, with cells as large as fit.
 * `largest` is the pitch beyond which cells do not grow, `gap` the space between parts.
 */
export function layoutMap(
  counts: readonly number[],
  width: number,
  height: number,
  largest: number,
  gap: number,
): MapLayout {
  for (let pitch = Math.floor(largest); ; pitch -= 1) {
    const columns = Math.max(1, Math.floor(width / pitch));
    const rows = counts.map((count) => Math.ceil(count / columns));
    const gaps = gap * Math.max(0, counts.length - 1);
    const needed = rows.reduce((sum, each) => sum + each, 0) * pitch + gaps;
    if (needed > height && pitch > SMALLEST) continue;
    let first = 0;
    let row = 0;
    const parts = counts.map((count, index) => {
      const part = { first, count, row, top: row * pitch + index * gap };
      first += count;
      row += rows[index] ?? 0;
      return part;
    });
    return { pitch, side: sideOf(pitch), columns, parts, width, height };
  }
}

/** Below 3 pixels there is no room for a gap between cells. */
const sideOf = (pitch: number): number =>
  pitch < 3 ? pitch : pitch - Math.max(1, Math.round(pitch / 9));

export interface Box {
  x: number;
  y: number;
  side: number;
}

export function boxOf(layout: MapLayout, cell: number): Box | undefined {
  const part = layout.parts.find(({ first, count }) => cell >= first && cell < first + count);
  if (!part) return undefined;
  const n = cell - part.first;
  return {
    x: (n % layout.columns) * layout.pitch,
    y: part.top + Math.floor(n / layout.columns) * layout.pitch,
    side: layout.side,
  };
}

export function cellAt(layout: MapLayout, x: number, y: number): number | undefined {
  const column = Math.floor(x / layout.pitch);
  if (x < 0 || column >= layout.columns) return undefined;
  for (const part of layout.parts) {
    const row = Math.floor((y - part.top) / layout.pitch);
    if (row < 0) continue;
    const n = row * layout.columns + column;
    if (n < part.count && row < Math.ceil(part.count / layout.columns)) return part.first + n;
  }
  return undefined;
}

/** The cell that an arrow key leads to: left and right by one, up and down by a row. */
export function step(
  layout: MapLayout,
  cell: number,
  key: string,
  total: number,
): number | undefined {
  const by: Record<string, number> = {
    ArrowLeft: -1,
    ArrowRight: 1,
    ArrowUp: -layout.columns,
    ArrowDown: layout.columns,
    PageUp: -layout.columns * 4,
    PageDown: layout.columns * 4,
  };
  const last = total - 1;
  if (key === 'Home') return 0;
  if (key === 'End') return last;
  const move = by[key];
  if (move === undefined) return undefined;
  return Math.max(0, Math.min(last, cell + move));
}

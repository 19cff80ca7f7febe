/**
 * How the cells of a chunk map look. States differ by shade and by shape, so that they can be told
 * apart without colour:
 *
 * empty: an outline · kept: full, one corner cut · fetching: an outline with a dot ·
 * checked: the lower half full · written: full · read back: full and darkest · refused: a cross
 */
import type { ChunkState } from '../../dto';
import { CHUNK_STATES } from '../../state/job.svelte';
import type { Box } from '../../state/chunkmap';

export interface MapColours {
  empty: string;
  kept: string;
  fetching: string;
  written: string;
  readBack: string;
  refused: string;
}

/** Below this side, in device pixels, shapes are mud: shade alone remains. */
const SHAPES_FROM = 6;

/** The colours as they are now, light or dark. */
export function coloursOf(element: Element): MapColours {
  const probe = document.createElement('span');
  element.append(probe);
  const read = (name: string) => {
    probe.style.setProperty('color', `var(--map-${name})`);
    return getComputedStyle(probe).color;
  };
  const colours = {
    empty: read('empty'),
    kept: read('kept'),
    fetching: read('fetching'),
    written: read('written'),
    readBack: read('read-back'),
    refused: read('refused'),
  };
  probe.remove();
  return colours;
}

type Context = CanvasRenderingContext2D;

export function paintCell(context: Context, box: Box, code: number, colours: MapColours): void {
  const { x, y, side } = box;
  context.clearRect(x, y, side, side);
  const state = CHUNK_STATES[code] ?? 'empty';
  if (side < SHAPES_FROM) paintSmall(context, box, state, colours);
  else paintShape(context, box, state, colours);
}

function paintSmall(
  context: Context,
  { x, y, side }: Box,
  state: ChunkState,
  colours: MapColours,
): void {
  const shade: Record<ChunkState, string> = {
    empty: colours.empty,
    kept: colours.kept,
    fetching: colours.empty,
    checked: colours.written,
    written: colours.written,
    read_back: colours.readBack,
    refused: colours.refused,
  };
  context.globalAlpha = state === 'empty' ? 0.45 : 1;
  context.fillStyle = shade[state];
  context.fillRect(x, y, side, side);
  context.globalAlpha = 1;
}

function paintShape(context: Context, box: Box, state: ChunkState, colours: MapColours): void {
  const { x, y, side } = box;
  const line = Math.max(1, Math.round(side / 10));
  switch (state) {
    case 'empty':
      outline(context, box, line, colours.empty);
      break;
    case 'kept': {
      const cut = Math.round(side * 0.45);
      context.fillStyle = colours.kept;
      context.beginPath();
      context.moveTo(x, y);
      context.lineTo(x + side - cut, y);
      context.lineTo(x + side, y + cut);
      context.lineTo(x + side, y + side);
      context.lineTo(x, y + side);
      context.fill();
      break;
    }
    case 'fetching': {
      outline(context, box, line, colours.fetching);
      const dot = Math.max(2, Math.round(side / 3));
      const inset = Math.floor((side - dot) / 2);
      context.fillStyle = colours.fetching;
      context.fillRect(x + inset, y + inset, dot, dot);
      break;
    }
    case 'checked': {
      outline(context, box, line, colours.fetching);
      const half = Math.floor(side / 2);
      context.fillStyle = colours.written;
      context.fillRect(x, y + side - half, side, half);
      break;
    }
    case 'written':
      context.fillStyle = colours.written;
      context.fillRect(x, y, side, side);
      break;
    case 'read_back':
      context.fillStyle = colours.readBack;
      context.fillRect(x, y, side, side);
      break;
    case 'refused': {
      outline(context, box, line, colours.refused);
      const inset = line + Math.max(1, Math.round(side / 8));
      context.strokeStyle = colours.refused;
      context.lineWidth = Math.max(1.5, side / 7);
      context.beginPath();
      context.moveTo(x + inset, y + inset);
      context.lineTo(x + side - inset, y + side - inset);
      context.moveTo(x + side - inset, y + inset);
      context.lineTo(x + inset, y + side - inset);
      context.stroke();
      break;
    }
  }
}

function outline(context: Context, { x, y, side }: Box, line: number, colour: string): void {
  context.strokeStyle = colour;
  context.lineWidth = line;
  context.strokeRect(x + line / 2, y + line / 2, side - line, side - line);
}

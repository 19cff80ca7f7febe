/** Chunks in words. */
import type { ChunkState } from '../../dto';
import { count } from '../../format';
import type { ChunkInfo } from '../../state/job.svelte';

export const STATE_WORDS: Record<ChunkState, string> = {
  empty: 'empty',
  kept: 'kept',
  fetching: 'in flight',
  checked: 'checked',
  written: 'written',
  read_back: 'read back',
  refused: 'refused',
};

export function chunkText({ part, n, offset, size, state, refused }: ChunkInfo): string {
  const again =
    refused.length === 0
      ? ''
      : `, refused ${refused.length === 1 ? 'once' : `${refused.length} times`}`;
  return `${part} chunk ${count(n)}, offset ${count(offset)}, ${count(size)} bytes, ${STATE_WORDS[state]}${again}`;
}

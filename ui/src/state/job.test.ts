import { describe, expect, it, vi } from 'vitest';
import { behave, NEWER, settle, smallWorld, started } from '../test/harness';
import { JobView, verdict } from './job.svelte';

async function watching(refuseEvery = 0) {
  const made = await started(behave(smallWorld(), 'kitchen', { refuseEvery, speed: 2 }));
  const [id = 0] = await made.backend.startUpdate(['kitchen'], NEWER.id, false);
  await settle();
  const view = new JobView(made.app, id);
  return { ...made, id, view };
}

describe('the chunks of a job', () => {
  it('follow the app and then the files', async () => {
    const { view } = await watching();
    await view.load();
    expect(view.parts).toEqual([
      { part: 'app', first: 0, count: 47, size: 191_088 },
      { part: 'files', first: 47, count: 6, size: 24_576 },
    ]);
    expect(view.total).toBe(53);
    expect(view.of('empty')).toBe(53);
  });

  it('change by runs, and end as the device read them back', async () => {
    const { view, pass, backend, id } = await watching();
    await view.load();
    await pass(2000);
    expect(view.done).toBeGreaterThan(0);
    expect(view.done).toBeLessThan(53);
    await pass(60_000);
    expect(view.of('read_back')).toBe(53);
    expect(view.done).toBe(53);
    expect((await backend.jobDetail(id)).chunks).toBe('5'.repeat(53));
  });

  it('agree with the backend at every moment', async () => {
    const { view, pass, backend, id } = await watching(7);
    await view.load();
    for (let turn = 0; turn < 60; turn += 1) {
      await pass(100);
      const { chunks } = await backend.jobDetail(id);
      const here = Array.from({ length: view.total }, (_, cell) => view.code(cell)).join('');
      expect(here).toBe(chunks);
    }
  });

  it('tell which cells changed, and no others', async () => {
    const { view, pass } = await watching();
    await view.load();
    const told: number[] = [];
    view.onCells((first, count) => {
      for (let cell = first; cell < first + count; cell += 1) told.push(cell);
    });
    const before = Array.from({ length: 53 }, (_, cell) => view.code(cell));
    await pass(800);
    const changed = before.flatMap((code, cell) => (code === view.code(cell) ? [] : [cell]));
    expect(changed.length).toBeGreaterThan(0);
    expect(new Set(told)).toEqual(new Set(changed));
  });

  it('lose nothing that happened while the detail was on its way', async () => {
    const { view, pass, backend, id } = await watching(5);
    const late = await backend.jobDetail(id);
    vi.spyOn(backend, 'jobDetail').mockResolvedValueOnce(late);
    await pass(3000);
    await view.load();
    const now = await backend.jobDetail(id);
    expect(view.refused).toEqual(now.refused);
    expect(view.of('written')).toBe([...now.chunks].filter((digit) => digit === '4').length);
  });

  it('keep what changes while they are read again', async () => {
    const { view, pass, backend, id } = await watching(5);
    await view.load();
    await pass(500);
    const then = await backend.jobDetail(id);
    vi.spyOn(backend, 'jobDetail').mockImplementationOnce(async () => {
      await pass(500);
      return then;
    });
    await view.load();
    const { chunks } = await backend.jobDetail(id);
    expect(chunks).not.toBe(then.chunks);
    expect(Array.from({ length: view.total }, (_, cell) => view.code(cell)).join('')).toBe(chunks);
  });

  it('list a refusal once, whether the detail or an event brought it', async () => {
    const { view, pass } = await watching(5);
    await pass(3000);
    await view.load();
    const keys = view.refused.map(({ part, n, attempt }) => `${part} ${n} ${attempt}`);
    expect(keys.length).toBeGreaterThan(0);
    expect(new Set(keys).size).toBe(keys.length);
  });

  it('say what is known of one', async () => {
    const { view, pass } = await watching(5);
    await view.load();
    await pass(2000);
    expect(view.describe(46)).toMatchObject({ part: 'app', n: 46, offset: 188_416, size: 2672 });
    expect(view.describe(47)).toMatchObject({ part: 'files', n: 0, offset: 0, size: 4096 });
    expect(view.describe(53)).toBeUndefined();
    const first = view.refused[0];
    expect(view.describe(first?.n ?? -1)?.refused[0]?.computed).toBe(first?.computed);
  });

  it('say so when there is no such job', async () => {
    const { app } = await started(smallWorld());
    const view = new JobView(app, 99);
    await view.load();
    expect(view.error?.code).toBe('no_such_job');
  });

  it('stop listening when closed', async () => {
    const { view, pass } = await watching();
    await view.load();
    view.close();
    await pass(2000);
    expect(view.done).toBe(0);
  });
});

describe('the two hashes', () => {
  it('are stated in words at every stage', () => {
    expect(verdict('aa', null, null)).toBe('waiting');
    expect(verdict('aa', null, 'failed')).toBe('never');
    expect(verdict('aa', null, 'done')).toBe('unneeded');
    expect(verdict('aa', 'aa', 'rolled_back')).toBe('match');
    expect(verdict('aa', 'ab', 'failed')).toBe('differ');
  });
});

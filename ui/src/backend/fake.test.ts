import { describe, expect, it } from 'vitest';
import type { Numbered } from '../dto';
import { behave, NEWER, settle, smallWorld, stage, type Stage } from '../test/harness';
import { ManualClock } from '../clock';
import { SCENARIOS } from './fake/scenarios';

async function record(world = smallWorld()): Promise<{ made: Stage; events: Numbered[] }> {
  const made = stage(world);
  const events: Numbered[] = [];
  await made.backend.subscribe((event) => events.push(event));
  await made.backend.startUpdate(['kitchen'], NEWER.id, false);
  made.clock.advance(120_000);
  await settle();
  return { made, events };
}

describe('the fake backend', () => {
  it('does the same every time', async () => {
    const [one, two] = [await record(), await record()];
    expect(one.events).toEqual(two.events);
    expect(one.events.length).toBeGreaterThan(50);
  });

  it('numbers its events without a gap', async () => {
    const { events } = await record();
    expect(events.map((event) => event.seq)).toEqual(events.map((_, index) => index + 1));
  });

  it.each([
    ['none', 'done', null, '1.1.0', 'ota_1'],
    ['never_confirms', 'rolled_back', 'rolled_back', '1.0.0', 'ota_0'],
    ['host_unreachable', 'failed', 'host_unreachable', '1.0.0', 'ota_0'],
    ['flash_fault', 'failed', 'flash_fault', '1.0.0', 'ota_0'],
  ] as const)('with fault %s ends once, %s', async (fault, end, code, version, slot) => {
    const { made, events } = await record(behave(smallWorld(), 'kitchen', { fault }));
    const ends = events.filter(({ event }) => event.kind === 'job' && event.data.end !== null);
    expect(ends).toHaveLength(1);
    const [last] = ends;
    expect(last?.event).toMatchObject({ data: { end, phase: 'ended' } });
    expect(last?.event.kind === 'job' ? (last.event.data.error?.code ?? null) : '').toBe(code);
    const { devices } = await made.backend.snapshot();
    expect(devices[0]).toMatchObject({ version, slot, job: null });
    expect(await made.backend.history()).toMatchObject([{ end, code }]);
  });

  it('fetches every refused chunk again', async () => {
    const { made } = await record(behave(smallWorld(), 'kitchen', { refuseEvery: 10 }));
    const { job, refused } = await made.backend.jobDetail(1);
    expect(job.end).toBe('done');
    expect(refused.length).toBe(job.parts.reduce((sum, part) => sum + part.refused, 0));
    expect(refused.length).toBeGreaterThan(3);
    expect(refused.every((each) => each.expected !== each.computed)).toBe(true);
  });

  it('starts a queued job when its device is back', async () => {
    const made = stage(smallWorld());
    made.backend.changeDevice('kitchen', { online: false });
    await made.backend.startUpdate(['kitchen'], NEWER.id, false);
    made.clock.advance(60_000);
    expect((await made.backend.jobDetail(1)).job.phase).toBe('queued');
    made.backend.changeDevice('kitchen', { online: true });
    made.clock.advance(60_000);
    expect((await made.backend.jobDetail(1)).job.end).toBe('done');
  });

  it('has a scene for every picture', () => {
    expect(Object.keys(SCENARIOS)).toEqual(
      expect.arrayContaining([
        'first-start',
        'devices',
        'updating',
        'done',
        'rolled-back',
        'failed',
        'offline',
        'many',
        'drop',
        'sheet',
      ]),
    );
  });
});

describe('the manual clock', () => {
  it('calls back in order of time, also what is asked for on the way', () => {
    const clock = new ManualClock(0);
    const called: string[] = [];
    clock.after(20, () => called.push('b'));
    clock.after(10, () => {
      called.push('a');
      clock.after(5, () => called.push('a2'));
    });
    const cancel = clock.after(12, () => called.push('never'));
    cancel();
    clock.advance(19);
    expect(called).toEqual(['a', 'a2']);
    clock.advance(1);
    expect(called).toEqual(['a', 'a2', 'b']);
    expect(clock.now()).toBe(0.02);
  });
});

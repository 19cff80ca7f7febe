import { describe, expect, it, vi } from 'vitest';
import { FakeBackend } from '../backend/fake';
import { START } from '../backend/fake/data';
import { ManualClock } from '../clock';
import { NEWER, settle, smallWorld, stage, started } from '../test/harness';
import { AppState } from './app.svelte';

const runningJob = async () => {
  const made = await started(smallWorld());
  const [id = 0] = await made.backend.startUpdate(['kitchen'], NEWER.id, false);
  await settle();
  return { ...made, id };
};

describe('keeping in step with the app', () => {
  it('shows what the snapshot holds', async () => {
    const { app } = await started(smallWorld());
    expect(app.ready).toBe(true);
    expect(app.order.map((id) => app.devices.get(id)?.name)).toEqual(['kitchen', 'porch']);
    expect(app.releases).toHaveLength(2);
  });

  it('applies events that came while the snapshot was on its way', async () => {
    const { app, backend } = stage(smallWorld());
    const snapshot = await backend.snapshot();
    let answer = () => {};
    vi.spyOn(backend, 'snapshot').mockImplementation(
      () => new Promise((resolve) => (answer = () => resolve(snapshot))),
    );
    const starting = app.start();
    await settle();
    backend.changeDevice('porch', { name: 'terrace' });
    answer();
    await starting;
    expect(app.devices.get('porch')?.name).toBe('terrace');
  });

  it('draws a burst of events once', async () => {
    const clock = new ManualClock(START);
    const backend = new FakeBackend(smallWorld(), clock);
    const frames: (() => void)[] = [];
    const app = new AppState(backend, clock, (callback) => frames.push(callback));
    await app.start();
    const before = app.devices;
    for (let n = 0; n < 500; n += 1) backend.changeDevice('porch', { freeMemory: n });
    expect(frames).toHaveLength(1);
    expect(app.devices).toBe(before);
    frames[0]?.();
    expect(app.devices.get('porch')?.freeMemory).toBe(499);
  });

  it('does not gather for ever when no frame comes', async () => {
    const clock = new ManualClock(START);
    const backend = new FakeBackend(smallWorld(), clock);
    const app = new AppState(backend, clock, () => undefined);
    await app.start();
    for (let n = 0; n < 2000; n += 1) backend.changeDevice('porch', { freeMemory: n });
    expect(app.devices.get('porch')?.freeMemory).toBe(1999);
  });

  it('says once what was found damaged at the start', async () => {
    const backend = new FakeBackend(smallWorld(), new ManualClock(START));
    const damaged = { code: 'database', message: 'The database was damaged.', help: 'It is kept.' };
    const snapshot = await backend.snapshot();
    vi.spyOn(backend, 'snapshot').mockResolvedValue({ ...snapshot, notices: [damaged] });
    const app = new AppState(backend, new ManualClock(START), (callback) => callback());
    await app.start();
    expect(app.notices.map((notice) => notice.error)).toEqual([damaged]);
    app.notices.forEach((notice) => app.dismiss(notice.id));
    // A loss is seen between two events.
    backend.changeDevice('porch', { freeMemory: 1 });
    backend.loseOneEvent();
    backend.changeDevice('kitchen', { freeMemory: 2 });
    await settle();
    expect(app.rereads).toBe(1);
    expect(app.notices).toEqual([]);
  });

  it('reads everything again when an event was lost', async () => {
    const { app, backend } = await started(smallWorld());
    const snapshot = vi.spyOn(backend, 'snapshot');
    backend.changeDevice('porch', { freeMemory: 1 });
    backend.loseOneEvent();
    await settle();
    expect(snapshot).not.toHaveBeenCalled();
    backend.changeDevice('kitchen', { freeMemory: 2 });
    await settle();
    expect(snapshot).toHaveBeenCalledOnce();
    expect(app.devices.get('kitchen')?.freeMemory).toBe(2);
  });

  it('keeps the order of the list while only values change', async () => {
    const { app, backend } = await started(smallWorld());
    const { order } = app;
    backend.changeDevice('porch', { freeMemory: 5 });
    await settle();
    expect(app.order).toBe(order);
    backend.changeDevice('porch', { name: 'attic' });
    await settle();
    expect(app.order).toEqual(['porch', 'kitchen']);
  });

  it('forgets a device that the app forgot', async () => {
    const { app, backend } = await started(smallWorld());
    await backend.forgetDevice('porch');
    await settle();
    expect(app.order).toEqual(['kitchen']);
  });

  it('announces the end of a job and never its progress', async () => {
    const { app, pass } = await runningJob();
    await pass(3000);
    expect(app.jobOf('kitchen')?.phase).toBe('app');
    expect(app.announcement).toBe('');
    await pass(60_000);
    expect(app.announcement).toBe(
      'kitchen: Running 1.1.0 from ota_1, confirmed within 3 s of its start.',
    );
  });

  it('remembers in which phase a job ended', async () => {
    const { app, backend, pass, id } = await runningJob();
    await pass(1500);
    const phase = app.jobOf('kitchen')?.phase;
    await backend.cancelJob(id);
    await settle();
    const job = app.jobOf('kitchen');
    expect(job?.end).toBe('cancelled');
    expect(job && app.phaseOf(job)).toBe(phase);
  });

  it('says in words and with a code why it cannot show anything', async () => {
    const { app, backend } = stage(smallWorld());
    vi.spyOn(backend, 'snapshot').mockRejectedValue({
      code: 'database',
      message: 'the database is locked',
      help: 'Close other copies of Airlift.',
    });
    await app.start();
    expect(app.ready).toBe(false);
    expect(app.broken?.code).toBe('database');

    vi.mocked(backend.snapshot).mockRestore();
    await app.start();
    expect(app.broken).toBeNull();
    expect(app.ready).toBe(true);
  });

  it('takes a message back after a while, and an error only when told', async () => {
    const { app, pass } = await started(smallWorld());
    app.say('Added demo 1.1.0.');
    app.complain({ code: 'io', message: 'the disk is full', help: 'Make room.' });
    await pass(10_000);
    expect(app.notices.map((notice) => notice.text)).toEqual(['the disk is full']);
    app.dismiss(app.notices[0]?.id ?? -1);
    expect(app.notices).toEqual([]);
  });

  it('answers an earlier question with no when another one comes', async () => {
    const { app } = await started(smallWorld());
    const question = { title: 'Delete?', text: '', action: 'Delete', danger: true };
    const first = app.ask(question);
    const second = app.ask(question);
    app.answer(true);
    expect(await first).toBe(false);
    expect(await second).toBe(true);
  });
});

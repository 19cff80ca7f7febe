import { describe, expect, it } from 'vitest';
import { smallWorld, started } from '../test/harness';
import { LogView, MOST_LINES } from './log.svelte';

async function porch() {
  const made = await started(smallWorld());
  const lines: string[] = ['1 INFO one', '2 WARN two'];
  made.backend.logs.set('porch', lines);
  return { ...made, lines, log: new LogView(made.app, 'porch') };
}

const texts = (log: LogView) => log.shown.map((line) => line.text);

describe('the log of a device', () => {
  it('reads what is new, and each line once', async () => {
    const { log, lines } = await porch();
    await log.read();
    lines.push('3 INFO three');
    await log.read();
    await log.read();
    expect(texts(log)).toEqual(['1 INFO one', '2 WARN two', '3 INFO three']);
  });

  it('says when the device has restarted, and starts with its first line', async () => {
    const { log, lines } = await porch();
    await log.read();
    lines.splice(0, 2, '1 INFO again');
    await log.read();
    expect(log.lines.map((line) => line.note)).toEqual([false, false, true, false]);
    expect(texts(log).slice(2)).toEqual(['It has restarted.', '1 INFO again']);
  });

  it('keeps a bounded number of lines, the newest', async () => {
    const { log, lines } = await porch();
    for (let n = 0; n < MOST_LINES + 10; n += 1) lines.push(`${n}`);
    await log.read();
    expect(log.lines).toHaveLength(MOST_LINES);
    expect(texts(log).at(-1)).toBe(`${MOST_LINES + 9}`);
  });

  it('is searched, copied as it is shown, and cleared', async () => {
    const { log, lines } = await porch();
    await log.read();
    log.query = 'warn';
    expect(texts(log)).toEqual(['2 WARN two']);
    expect(log.text()).toBe('2 WARN two\n');
    log.query = '';
    log.clear();
    expect(log.lines).toEqual([]);
    lines.push('3 INFO three');
    await log.read();
    expect(texts(log)).toEqual(['3 INFO three']);
  });

  it('keeps what it has when the device does not answer', async () => {
    const { log, backend } = await porch();
    await log.read();
    backend.changeDevice('porch', { online: false });
    await log.read();
    expect(log.error?.code).toBe('no_such_device');
    expect(log.lines).toHaveLength(2);
    backend.changeDevice('porch', { online: true });
    await log.read();
    expect(log.error).toBeNull();
  });

  it('knows a device that keeps none', async () => {
    const { log, backend } = await porch();
    backend.logs.set('porch', null);
    await log.read();
    expect(log.kept).toBe(false);
  });

  it('asks once at a time, and no more once it is closed', async () => {
    const { log, backend } = await porch();
    await Promise.all([log.read(), log.read()]);
    log.close();
    await log.read();
    expect(backend.calls.filter(([name]) => name === 'deviceLog')).toHaveLength(1);
  });
});

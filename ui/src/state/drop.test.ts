import { beforeEach, describe, expect, it, vi } from 'vitest';
import type { Draft, DropPlan } from '../dto';
import { settle, smallWorld, started, type Stage } from '../test/harness';
import { DropState } from './drop.svelte';

let made: Stage;
let drop: DropState;
let sheets: Draft[];

beforeEach(async () => {
  made = await started(smallWorld());
  sheets = [];
  drop = new DropState(made.app, (draft) => sheets.push(draft));
});

describe('something held over the window', () => {
  it('is looked at in words, and then named', async () => {
    drop.handle({ kind: 'enter', paths: ['/tmp/demo-1.2.0.airlift'] });
    expect(drop.held).toBe(true);
    expect(drop.sentence).toBe('Looking at demo-1.2.0.airlift …');
    await settle();
    expect(drop.sentence).toBe('Add release demo 1.2.0');
    drop.handle({ kind: 'leave' });
    expect(drop.held).toBe(false);
    expect(made.app.releases).toHaveLength(2);
  });

  it('is added when it is a release and let go', async () => {
    drop.handle({ kind: 'enter', paths: ['/tmp/demo-1.2.0.airlift'] });
    drop.handle({ kind: 'over' });
    drop.handle({ kind: 'drop', paths: ['/tmp/demo-1.2.0.airlift'] });
    await settle();
    expect(drop.held).toBe(false);
    expect(made.app.releases.map((release) => release.version)).toContain('1.2.0');
    expect(made.app.notices[0]?.text).toBe('Added demo 1.2.0.');
  });

  it('is understood also when the system tells of the drop alone', async () => {
    drop.handle({ kind: 'drop', paths: ['/tmp/demo-1.2.0.airlift'] });
    await settle();
    expect(made.app.releases).toHaveLength(3);
  });

  it('opens the sheet when it is an image or files', async () => {
    drop.handle({ kind: 'drop', paths: ['/tmp/demo-1.2.0.bin', '/tmp/web/'] });
    await settle();
    expect(sheets).toHaveLength(1);
    expect(sheets[0]).toMatchObject({ product: 'demo', version: '1.2.0', sequence: 3 });
    expect(drop.held).toBe(false);
  });

  it('is trusted only after a question when it is a key', async () => {
    drop.handle({ kind: 'drop', paths: ['/tmp/mira.pub.pem'] });
    await settle();
    expect(made.app.question?.action).toBe('Trust this key');
    expect(made.app.keys).toHaveLength(1);
    made.app.answer(true);
    await settle();
    expect(made.app.keys.map((key) => key.name)).toContain('mira');
  });

  it('is refused with a reason when it is nothing known', async () => {
    drop.handle({ kind: 'enter', paths: ['/tmp/holiday.jpg'] });
    await settle();
    expect(drop.plan?.kind).toBe('refuse');
    expect(drop.sentence).toContain('holiday.jpg');
    drop.handle({ kind: 'drop', paths: ['/tmp/holiday.jpg'] });
    await settle();
    expect(made.app.notices[0]?.error?.help).toContain('.airlift');
    expect(drop.held).toBe(false);
  });

  it('says why when the release is signed by a stranger', async () => {
    drop.handle({ kind: 'drop', paths: ['/tmp/stranger-1.0.0.airlift'] });
    await settle();
    expect(made.app.notices[0]?.error?.code).toBe('unknown_key');
  });

  it('is forgotten when something else is held over before the answer came', async () => {
    const answers: ((plan: DropPlan) => void)[] = [];
    vi.spyOn(made.backend, 'planDrop').mockImplementation(
      () => new Promise((resolve) => answers.push(resolve)),
    );
    const plan = (sentence: string): DropPlan => ({
      kind: 'addRelease',
      path: '',
      sentence,
      known: false,
    });
    drop.handle({ kind: 'enter', paths: ['/tmp/first.airlift'] });
    drop.handle({ kind: 'leave' });
    drop.handle({ kind: 'enter', paths: ['/tmp/second.airlift'] });
    answers[0]?.(plan('Add release first'));
    await settle();
    expect(drop.sentence).toBe('Looking at second.airlift …');
    answers[1]?.(plan('Add release second'));
    await settle();
    expect(drop.sentence).toBe('Add release second');
  });
});

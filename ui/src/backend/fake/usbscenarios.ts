/** The states of the USB page. */
import { tick } from 'svelte';
import { T } from '../../testids';
import type { Scenario, Stage } from './scenarios';
import { BENCH, type UsbSpec } from './usbports';
import { workshop } from './worlds';

const PORT = '/dev/ttyACM0';

async function settle(): Promise<void> {
  for (let turn = 0; turn < 12; turn += 1) await Promise.resolve();
  await tick();
}

/** Lets time pass in steps, so that what waits for an answer can ask the next question. */
async function pass(stage: Stage, ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= 100) {
    await stage.pass(Math.min(100, left));
    await settle();
  }
}

async function click(testid: string, at = 0): Promise<void> {
  await settle();
  document.querySelectorAll<HTMLElement>(`[data-testid="${testid}"]`)[at]?.click();
  await settle();
}

/** A bench with those ports, the page in sight, and the first of them connected if wanted. */
function bench(
  specs: UsbSpec[],
  connected: boolean,
  act: (stage: Stage) => Promise<void> | void = () => undefined,
): Scenario {
  return {
    world: () => ({ ...workshop(), usb: specs }),
    async act(stage) {
      stage.app.view = 'usb';
      stage.usb.select(specs[0]?.path ?? PORT);
      if (connected) {
        void stage.usb.connect(specs[0]?.path ?? PORT);
        await pass(stage, 4200);
      }
      await act(stage);
      await settle();
    },
  };
}

const one = (more: Partial<UsbSpec>): UsbSpec[] => [{ path: PORT, name: 'shed', ...more }];

const TEN: UsbSpec[] = Array.from({ length: 10 }, (_, index) => ({
  path: `/dev/ttyACM${index}`,
  condition: 'blank',
  label: `B-00${21 + index}`,
  ...(index === 3 ? { badSector: true } : {}),
  ...(index === 6 ? { silent: true } : {}),
}));

/** All ten are planned, and run for so long. */
async function together(stage: Stage, ms: number): Promise<void> {
  stage.usb.toggleAll();
  stage.usb.openFlash();
  const form = stage.usb.flashing;
  if (!form) return;
  stage.usb.flashing = null;
  void stage.usb.planFlash(form);
  await pass(stage, 4200);
  if (ms > 0) {
    void stage.usb.carryOutReady();
    await pass(stage, ms);
  }
}

export const USB_SCENARIOS: Record<string, Scenario> = {
  'usb-empty': bench([], false),
  'usb-add-port': bench([], false, () => click(T.usbAddPort)),
  'usb-ports': bench(BENCH, false),
  'usb-denied': bench([BENCH[3] ?? { path: PORT }, ...BENCH.slice(0, 3)], false),
  'usb-hold-boot': bench(one({ byHand: true, adapter: 'CP210x' }), true),
  'usb-no-answer': bench(one({ silent: true }), true),
  'usb-secured': bench(one({ secured: true }), true),
  'usb-healthy': bench(one({}), true),
  'usb-dead': bench(BENCH, true),
  'usb-slot': bench(one({ condition: 'slot' }), true),
  'usb-blocked': bench(one({ condition: 'nothing_fits' }), true),
  'usb-blank': bench(one({ condition: 'blank' }), true),
  'usb-writing': bench(one({ condition: 'slot' }), true, async (stage) => {
    await click(T.usbCarryOut);
    await pass(stage, 11_500);
  }),
  'usb-unplugged': bench(one({ condition: 'slot', unplugAt: 0.4 }), true, async (stage) => {
    await click(T.usbCarryOut);
    await pass(stage, 14_000);
  }),
  'usb-done': bench(one({ condition: 'otadata' }), true, async (stage) => {
    await click(T.usbCarryOut);
    await pass(stage, 4000);
  }),
  'usb-failed': bench(one({ condition: 'slot', badSector: true }), true, async (stage) => {
    await click(T.usbCarryOut);
    await pass(stage, 8000);
  }),
  'usb-flash': bench(one({ condition: 'blank' }), true, () => click(T.usbFlash)),
  'usb-flash-parts': bench(one({ condition: 'blank' }), true, async (stage) => {
    stage.usb.openFlash();
    const form = stage.usb.flashing;
    if (!form) return;
    form.source = 'parts';
    form.parts = [
      { offset: '0x0', path: '/home/mira/build/bootloader.bin' },
      { offset: '0x8000', path: '/home/mira/build/partition-table.bin' },
      { offset: '0x10100', path: '/home/mira/build/blink.bin' },
    ];
  }),
  'usb-flash-plan': bench(one({ condition: 'blank' }), true, async () => {
    await click(T.usbFlash);
    await click(T.flashSubmit);
  }),
  'usb-many': bench(TEN, false, (stage) => together(stage, 0)),
  'usb-many-running': bench(TEN, false, (stage) => together(stage, 14_000)),
  'usb-log': bench(one({}), true, async (stage) => {
    await stage.usb.startMonitor(PORT, '/home/mira/build/demo.elf');
    await pass(stage, 3000);
  }),
  'usb-wifi': bench(one({}), true, () => click(T.usbWifi)),
  'usb-backups': bench(one({ condition: 'otadata' }), true, async (stage) => {
    await click(T.usbCarryOut);
    await pass(stage, 4000);
    await click(T.usbBackups);
  }),
  'usb-records': bench(TEN, false, async (stage) => {
    await together(stage, 40_000);
    await click(T.usbRecords);
  }),
  'usb-drop': bench(one({}), true, ({ backend }) =>
    backend.drop({ kind: 'enter', paths: ['/home/mira/target/blink'] }),
  ),
};

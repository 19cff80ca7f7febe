/** Flash of the fake boards: a map, what is wrong with it, and the plans that mend it. */
import type {
  Diagnosis,
  ErrorInfo,
  Finding,
  FlashPlan,
  FlashRegion,
  FlashStep,
  PlanChoice,
  RegionHealth,
  UsbJobKind,
} from '../../dto';
import { COLLEAGUE, KEY } from './data';

/** What may be the matter with a board. */
export type Condition =
  'healthy' | 'otadata' | 'slot' | 'files' | 'nothing_fits' | 'blank' | 'foreign';

const KIB = 1024;
export const FLASH_SIZE = 4096 * KIB;
/** Bytes of flash a second over the wire. */
export const RATE = 96 * KIB;

const LAYOUT: [name: string, kind: string, offset: number, size: number][] = [
  ['bootloader', 'bootloader', 0x0, 0x8000],
  ['partition table', 'table', 0x8000, 0x1000],
  ['nvs', 'nvs', 0x9000, 0x5000],
  ['otadata', 'otadata', 0xe000, 0x2000],
  ['phy_init', 'phy', 0x10000, 0x1000],
  ['airlift', 'airlift', 0x11000, 0x8000],
  ['free', 'free', 0x19000, 0x7000],
  ['ota_0', 'app', 0x20000, 0x180000],
  ['ota_1', 'app', 0x1a0000, 0x180000],
  ['vfs', 'files', 0x320000, 0xe0000],
];

type Look = [health: RegionHealth, summary: string, used?: number | undefined, details?: string[]];

const WHOLE: Record<string, Look> = {
  bootloader: ['good', 'ESP32-C3, cannot go back by itself', 0x5390, ['espflash, ESP-IDF 5.5']],
  'partition table': ['good', '7 partitions, MD5 right', 0xe0],
  nvs: ['good', 'Wi-Fi of workshop, 14 of 630 entries', 0x1000],
  otadata: ['good', 'ota_0, confirmed', 0x2000, ['entry 0: sequence 1, valid', 'entry 1: empty']],
  phy_init: ['unknown', 'not looked at'],
  airlift: ['good', 'sequence 1, trusts 2 keys', 0x2000, ['copy A: right', 'copy B: right']],
  free: ['empty', 'erased'],
  ota_0: ['good', 'demo 1.0.0, hash right', 1_470_464, ['5 segments, checksum right']],
  ota_1: ['empty', 'erased'],
  vfs: ['good', '14 files in ota_0/, VERSION 1.0.0', 81_920],
};

const ERASED: Record<string, Look> = Object.fromEntries(
  LAYOUT.map(([name]) => [name, ['empty', 'erased'] satisfies Look]),
);

interface Case {
  looks: Record<string, Look>;
  code: string;
  verdict: Diagnosis['verdict'];
  sentence: string;
  nextBoot: string;
  boots: string | null;
  findings: Finding[];
}

const finding = (code: string, sentence: string, region: string, harmless = false): Finding => ({
  code,
  sentence,
  region,
  harmless,
});

const CASES: Record<Condition, Case> = {
  healthy: {
    looks: WHOLE,
    code: 'healthy',
    verdict: 'healthy',
    sentence: 'Nothing is wrong with this board.',
    nextBoot: 'It starts demo 1.0.0 from ota_0.',
    boots: 'ota_0',
    findings: [],
  },
  otadata: {
    looks: {
      ...WHOLE,
      otadata: [
        'damaged',
        'both entries are broken',
        0x2000,
        ['entry 0: CRC 1f3c02aa, computed 90b1d4e7', 'entry 1: CRC 00000000, computed 4a1e93c0'],
      ],
    },
    code: 'otadata_bad',
    verdict: 'dead',
    sentence: 'The board no longer knows which slot to start: both entries of otadata are broken.',
    nextBoot: 'The bootloader finds no slot that it may start, and restarts for ever.',
    boots: null,
    findings: [
      finding('otadata_bad', 'Both entries of otadata have a wrong checksum.', 'otadata'),
      finding('slot_empty', 'ota_1 is empty.', 'ota_1', true),
    ],
  },
  slot: {
    looks: {
      ...WHOLE,
      ota_0: [
        'damaged',
        'demo 1.0.0, hash wrong',
        1_470_464,
        ['SHA-256 is 77ab…01fe, must be 9f2c…a71e', 'one bit differs in sector 0x84000'],
      ],
    },
    code: 'slot_damaged',
    verdict: 'dead',
    sentence: 'The app in ota_0 is damaged: its SHA-256 is not what it must be.',
    nextBoot: 'The bootloader refuses ota_0, and there is nothing else to start.',
    boots: null,
    findings: [
      finding('slot_damaged', 'The image in ota_0 has a wrong SHA-256.', 'ota_0'),
      finding('slot_empty', 'ota_1 is empty.', 'ota_1', true),
    ],
  },
  files: {
    looks: { ...WHOLE, vfs: ['damaged', 'cannot be mounted', undefined, ['superblock is broken']] },
    code: 'files_damaged',
    verdict: 'impaired',
    sentence: 'The file system cannot be mounted, so the app starts without its files.',
    nextBoot: 'It starts demo 1.0.0 from ota_0, which finds no files.',
    boots: 'ota_0',
    findings: [finding('files_damaged', 'Both superblocks of vfs are broken.', 'vfs')],
  },
  nothing_fits: {
    looks: {
      ...WHOLE,
      ota_0: [
        'damaged',
        'attic 3.2.0, cut off',
        1_048_576,
        ['the image ends in its third segment'],
      ],
    },
    code: 'slot_truncated',
    verdict: 'dead',
    sentence: 'The app in ota_0 is cut off: its third segment ends early.',
    nextBoot: 'The bootloader refuses ota_0, and there is nothing else to start.',
    boots: null,
    findings: [finding('slot_truncated', 'The image in ota_0 is cut off.', 'ota_0')],
  },
  blank: {
    looks: ERASED,
    code: 'blank_flash',
    verdict: 'foreign',
    sentence: 'The flash is blank.',
    nextBoot: 'The chip finds no bootloader and waits for one over USB.',
    boots: null,
    findings: [finding('blank_flash', 'Every byte that was read is erased.', 'bootloader')],
  },
  foreign: {
    looks: {
      ...ERASED,
      bootloader: ['good', 'ESP32-C3, ESP-IDF 5.1', 0x5100],
      'partition table': ['foreign', '3 partitions, no otadata', 0xc0],
      nvs: ['good', '3 of 630 entries', 0x1000],
      ota_0: ['foreign', 'hello_world 1, hash right', 190_000],
    },
    code: 'other_firmware',
    verdict: 'foreign',
    sentence: 'Other firmware is on this board: hello_world 1, without Airlift’s updater.',
    nextBoot: 'It starts hello_world 1.',
    boots: 'ota_0',
    findings: [finding('no_slots', 'There is no otadata and no second slot.', 'partition table')],
  },
};

export function diagnosisOf(condition: Condition, name: string, complete: boolean): Diagnosis {
  const { looks, ...words } = CASES[condition];
  const ours = words.verdict !== 'foreign';
  const regions = LAYOUT.map(([region, kind, offset, size]): FlashRegion => {
    const [health, summary, used, details] = looks[region] ?? ['unknown', 'not looked at'];
    const unread = !complete && kind === 'app' && health === 'good';
    return {
      name: region,
      kind,
      offset,
      size,
      used: used ?? null,
      health: unread ? 'unknown' : health,
      summary: unread ? 'being read…' : summary,
      details: details ?? [],
      boots: words.boots === region,
    };
  });
  return {
    ...words,
    regions,
    product: ours ? 'demo' : null,
    name: ours ? name : null,
    sequence: ours ? 1 : null,
    trusts: ours ? [KEY.id, COLLEAGUE.id] : [],
    complete,
    bytesRead: complete ? 1_627_000 : 131_072,
    tookMs: complete ? 14_200 : 1_240,
  };
}

function step(title: string, why: string, region: string, size?: number): FlashStep {
  const found = LAYOUT.find(([name]) => name === region);
  const bytes = size ?? found?.[3] ?? 0;
  return {
    title,
    why,
    region,
    offset: found?.[2] ?? 0,
    bytes,
    seconds: Math.max(1, Math.ceil(bytes / RATE)),
  };
}

const POINT = step('Point otadata at ota_0', 'ota_0 is whole and was confirmed.', 'otadata');
const REWRITE = step(
  'Rewrite ota_0 from demo 1.0.0',
  'The library has the release that belongs there.',
  'ota_0',
  1_470_464,
);
const REBUILD = step(
  'Rebuild vfs from demo 1.0.0',
  'What can still be read of your own files is kept.',
  'vfs',
);
const EVERYTHING = [
  step('Write the bootloader', 'It comes with Airlift.', 'bootloader', 0x6000),
  step('Write the partition table', 'Two slots, otadata, airlift and vfs.', 'partition table'),
  step('Write otadata', 'Both entries empty: ota_0 starts.', 'otadata'),
  step('Write keys and state', 'The board trusts workshop.', 'airlift'),
  step('Write demo 1.1.0 to ota_0', 'The newest release of the library.', 'ota_0', 1_482_752),
  step('Write the file system', '14 files of demo 1.1.0.', 'vfs', 0x1a000),
];

const PLANS: Record<string, { steps: FlashStep[]; sentence: string; losses: string[] }> = {
  otadata: {
    steps: [POINT],
    sentence: 'Rewrite otadata so that the board starts demo 1.0.0 from ota_0 again.',
    losses: [],
  },
  slot: {
    steps: [REWRITE],
    sentence: 'Rewrite ota_0 with demo 1.0.0 from the library.',
    losses: [],
  },
  files: {
    steps: [REBUILD],
    sentence: 'Rebuild the file system with the files of demo 1.0.0.',
    losses: ['Files of your own that cannot be read any more are gone: 2 of 5.'],
  },
  everything: {
    steps: EVERYTHING,
    sentence: 'Write all of it from demo 1.1.0; only nvs stays.',
    losses: ['Whatever else the flash holds: other slots, and files of your own.'],
  },
};

const sum = (steps: FlashStep[], of: 'bytes' | 'seconds') =>
  steps.reduce((total, each) => total + each[of], 0);

const CHOICES: Record<string, string> = {
  smallest: 'The least that works',
  slot: 'Rewrite ota_0 from demo 1.0.0',
  files: 'Rebuild the file system',
  everything: 'Write everything anew',
};

const NO_REPAIR: ErrorInfo = {
  code: 'no_repair',
  message: 'no release of the library is the one that belongs in ota_0',
  help: 'Add attic 3.2.0 to the library, or flash the board anew.',
};

export function repairPlan(id: number, condition: Condition, how: string): FlashPlan {
  const least = condition === 'nothing_fits' ? 'slot' : condition;
  const smallest = least in PLANS ? least : 'everything';
  const which = how === 'smallest' ? smallest : how;
  const plan = PLANS[which] ?? PLANS['everything'];
  if (!plan) throw new Error('no such plan');
  const lost = condition === 'nothing_fits' && which !== 'everything';
  const ways = ['smallest', ...(smallest === 'otadata' ? ['slot'] : []), 'everything'];
  const others = ways
    .filter((each) => each !== how)
    .map((each): PlanChoice => ({
      how: each,
      title: CHOICES[each] ?? each,
      bytes: sum((PLANS[each === 'smallest' ? smallest : each] ?? plan).steps, 'bytes'),
    }));
  return makePlan(id, 'repair', plan.sentence, lost ? [] : plan.steps, {
    losses: lost ? [] : plan.losses,
    blocked: lost ? NO_REPAIR : null,
    others,
    afterwards: lost
      ? 'It stays as it is.'
      : `It starts demo ${which === 'everything' ? '1.1.0' : '1.0.0'} from ota_0.`,
  });
}

export function flashPlan(id: number, what: string, keepNvs: boolean): FlashPlan {
  const [last] = EVERYTHING.slice(-1);
  const erase = step('Erase nvs', 'You asked for it.', 'nvs');
  const steps = keepNvs || !last ? EVERYTHING : [...EVERYTHING, erase];
  return makePlan(id, 'flash', `Write ${what} on this board.`, steps, {
    losses: keepNvs ? [] : ['Wi-Fi credentials and whatever else nvs holds.'],
    afterwards: `It starts ${what} from ota_0. Its bootloader cannot go back by itself; the boot guard does.`,
  });
}

export function restorePlan(id: number, bytes: number): FlashPlan {
  return makePlan(id, 'restore', 'Put back what was there before the repair.', [
    { ...POINT, title: 'Put otadata back', why: 'It was saved before it was overwritten.', bytes },
  ]);
}

function makePlan(
  id: number,
  kind: UsbJobKind,
  sentence: string,
  steps: FlashStep[],
  more: Partial<FlashPlan> = {},
): FlashPlan {
  return structuredClone({
    id,
    kind,
    sentence,
    steps,
    bytes: sum(steps, 'bytes'),
    seconds: sum(steps, 'seconds'),
    afterwards: 'It is as it was before.',
    losses: [],
    blocked: null,
    others: [],
    ...more,
  });
}

/** Ports of the fake world, and how each behaves. */
import type { ErrorInfo, UsbBoard, UsbPort } from '../../dto';
import { digest } from './data';
import { FLASH_SIZE, type Condition } from './flash';

export interface UsbSpec {
  path: string;
  condition?: Condition;
  name?: string;
  adapter?: string;
  problem?: 'port_busy' | 'port_denied';
  /** Has no line to reset it by: somebody must hold BOOT and press RESET. */
  byHand?: boolean;
  /** Nothing behind the port answers. */
  silent?: boolean;
  /** Secure boot and flash encryption are on. */
  secured?: boolean;
  /** Unplugged when so much of the writing is done, from 0 to 1. */
  unplugAt?: number;
  /** A sector that does not take what is written. */
  badSector?: boolean;
  label?: string;
}

export interface FakePort {
  spec: UsbSpec;
  condition: Condition;
  port: UsbPort;
}

const PROBLEMS: Record<string, (path: string) => ErrorInfo> = {
  port_busy: (path) => ({
    code: 'port_busy',
    message: `another program has ${path} open`,
    help: 'Close its monitor or IDE; ModemManager lets go by itself within half a minute.',
  }),
  port_denied: (path) => ({
    code: 'port_denied',
    message: `this user may not open ${path}`,
    help: 'Install the udev rule below and plug the board in again; or join the group dialout and log in again.',
  }),
};

const ADAPTERS: Record<string, [vendor: number, product: number, likely: string | null]> = {
  'USB-Serial-JTAG': [0x303a, 0x1001, 'ESP32-C3, C6, H2 or S3'],
  CP210x: [0x10c4, 0xea60, 'ESP32'],
  CH340: [0x1a86, 0x7523, null],
};

const mac = (path: string): string =>
  `7c:df:a1:${(digest(path).slice(0, 6).match(/../g) ?? []).join(':')}`;

export function boardOf({ path, secured = false }: UsbSpec): UsbBoard {
  return {
    chip: 'esp32c3',
    revision: '0.4',
    mac: mac(path),
    deviceId: `c3-${mac(path).replaceAll(':', '')}`,
    flashSize: FLASH_SIZE,
    features: ['Wi-Fi', 'Bluetooth LE', 'Embedded flash 4 MB'],
    secureBoot: secured,
    flashEncryption: secured,
    secureDownload: false,
    refused: secured
      ? {
          code: 'secured',
          message: 'this board boots signed images only, and its flash is encrypted',
          help: 'What Airlift would write could never start, and could not be undone. Use the tool and the keys that it was made with.',
        }
      : null,
  };
}

export function makePort(spec: UsbSpec): FakePort {
  const adapter = spec.adapter ?? 'USB-Serial-JTAG';
  const [vendorId, productId, likely] = ADAPTERS[adapter] ?? [null, null, null];
  const port: UsbPort = {
    path: spec.path,
    vendorId,
    productId,
    adapter,
    serialNumber: vendorId === 0x303a ? mac(spec.path).toUpperCase() : null,
    likely,
    present: true,
    named: vendorId === null,
    problem: spec.problem ? (PROBLEMS[spec.problem]?.(spec.path) ?? null) : null,
    activity: 'idle',
    board: null,
    diagnosis: null,
    plan: null,
    job: null,
    error: null,
    label: spec.label ?? null,
  };
  return { spec, condition: spec.condition ?? 'healthy', port };
}

/** The bench of the pictures. */
export const BENCH: UsbSpec[] = [
  { path: '/dev/ttyACM0', condition: 'otadata', name: 'shed' },
  { path: '/dev/ttyACM1', condition: 'healthy', name: 'porch', label: 'B-0017' },
  { path: '/dev/ttyUSB0', adapter: 'CP210x', problem: 'port_busy' },
  { path: '/dev/ttyUSB1', adapter: 'CH340', problem: 'port_denied' },
];

export const RULE = `# Boards with an ESP chip: whoever sits at this computer may open their ports.
SUBSYSTEM=="tty", ATTRS{idVendor}=="303a", TAG+="uaccess"
SUBSYSTEM=="tty", ATTRS{idVendor}=="10c4", ATTRS{idProduct}=="ea60", TAG+="uaccess"
SUBSYSTEM=="tty", ATTRS{idVendor}=="1a86", TAG+="uaccess"
`;

/** What a board says when it starts; `demo` panics now and then. */
export const LOG: [text: string, kind: string, resolved?: string[]][] = [
  ['ESP-ROM:esp32c3-api1-20210207', 'boot'],
  ['rst:0x1 (POWERON),boot:0xc (SPI_FAST_FLASH_BOOT)', 'reset'],
  ['I (24) boot: ESP-IDF 5.5 2nd stage bootloader', 'boot'],
  ['I (62) boot: Loaded app from partition at offset 0x20000', 'boot'],
  ['I (271) airlift: demo 1.0.0, ota_0 runs after power_on: Confirmed', 'log'],
  ['I (302) wifi: joining workshop', 'log'],
  ['W (1840) wifi: weak signal, -81 dBm', 'warning'],
  ['I (2110) wifi: joined, 10.0.0.23', 'log'],
  ['E (4012) sensor: no answer on i2c 0x44', 'error'],
  ["Guru Meditation Error: Core 0 panic'ed (Load access fault)", 'panic'],
  ['MEPC    : 0x4200a1c2  RA      : 0x4200a1b0', 'panic'],
  [
    'Backtrace: 0x4200a1c2:0x3fc91e20 0x420083f4:0x3fc91e50',
    'backtrace',
    ['0x4200a1c2  sensor::read  src/sensor.rs:41', '0x420083f4  main  src/main.rs:88'],
  ],
  ['Rebooting...', 'log'],
  ['rst:0x3 (RTC_SW_SYS_RST),boot:0xc (SPI_FAST_FLASH_BOOT)', 'reset'],
  ['I (271) airlift: demo 1.0.0, ota_0 runs after panic: Confirmed', 'log'],
];

import { describe, expect, it } from 'vitest';
import {
  ago,
  bytes,
  chipName,
  count,
  duration,
  hex,
  kib,
  plural,
  sentence,
  shortHash,
} from './format';

describe('words and numbers', () => {
  it.each([
    [512, '512 B'],
    [8192, '8 KiB'],
    [5130, '5 KiB'],
    [54_374, '53.1 KiB'],
    [389_120, '380 KiB'],
    [4_194_304, '4 MiB'],
    [1_482_752, '1.4 MiB'],
  ])('counts %d bytes of flash as %s', (n, text) => expect(kib(n)).toBe(text));

  it('writes offsets as everybody does', () => expect(hex(0xd000)).toBe('0xd000'));

  it('counts bytes in units of 1024', () => {
    expect([bytes(0), bytes(1023), bytes(86_016), bytes(1_482_752)]).toEqual([
      '0 B',
      '1023 B',
      '84 KB',
      '1.4 MB',
    ]);
  });

  it('writes the time left as people read a clock', () => {
    expect([duration(9), duration(75.4), duration(3723), duration(-2)]).toEqual([
      '0:09',
      '1:15',
      '1:02:03',
      '0:00',
    ]);
  });

  it('says how long ago in the largest unit', () => {
    const now = 1_000_000;
    expect(ago(now, null)).toBe('never');
    expect(ago(now, now - 3)).toBe('just now');
    expect(ago(now, now - 59)).toBe('59 s ago');
    expect(ago(now, now - 7300)).toBe('2 h ago');
    expect(ago(now, now - 3 * 86_400 - 5)).toBe('3 d ago');
  });

  it('shortens a digest to its ends, and leaves short ones alone', () => {
    expect(shortHash(`9f2c${'0'.repeat(56)}a71e`)).toBe('9f2c…a71e');
    expect(shortHash('9f2ca71e')).toBe('9f2ca71e');
  });

  it('makes a sentence of a message without renaming files', () => {
    expect(sentence('the flash is worn')).toBe('The flash is worn.');
    expect(sentence('blink.bin is no image')).toBe('blink.bin is no image.');
    expect(sentence('shed cannot reach this computer')).toBe('shed cannot reach this computer.');
    expect(sentence('Why?')).toBe('Why?');
  });

  it('names chips as their maker does, and unknown ones as they are', () => {
    expect([chipName('esp32c3'), chipName('esp99')]).toEqual(['ESP32-C3', 'esp99']);
  });

  it('says one device and two devices', () => {
    expect([plural(1, 'device'), plural(2, 'device'), count(9999)]).toEqual([
      '1 device',
      '2 devices',
      '9,999',
    ]);
  });
});

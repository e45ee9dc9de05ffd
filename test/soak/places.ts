// SPDX-License-Identifier: MIT
/** What the soak's guest and its harness agree upon: devices, where their BARs go, and words in guest memory. */

import { join } from "node:path";

export const VCPUS = 2;

/** Where the guest finds them. Their pins are on GSIs of their own. */
export const AT = {
  counter: "00:10.0",
  edu: "00:11.0",
  probe: "00:12.0",
  serial: "00:13.0",
  ring: "00:14.0",
  /** One for each vCPU. */
  movers: ["00:15.0", "00:16.0"],
  /** Comes and goes. */
  hot: "00:17.0",
} as const;

export interface Bar {
  readonly space: "mmio" | "pio";
  readonly at: number;
  readonly size: number;
}
const memory = (at: number, size: number): Bar => ({ space: "mmio", at, size });
const ports = (at: number, size: number): Bar => ({ space: "pio", at, size });

/** BARs of the devices that stay where they are, in order. */
export const BARS = {
  counter: [memory(0xf000_0000, 4096), ports(0xc000, 16)],
  edu: [memory(0xf010_0000, 1 << 20)],
  probe: [memory(0xf020_0000, 4096), memory(0xf021_0000, 0x1_0000), memory(0xf022_0000, 4096)],
  serial: [ports(0xc100, 8)],
  // Stores to the second go through the buffered ring: Xen puts those to where a VGA card has its memory there.
  ring: [memory(0xf030_0000, 4096), memory(0xa_0000, 4096)],
} as const;
export const HOT_BAR = memory(0xf080_0000, 1 << 20);

/** Places that a vCPU's mover goes to. Some are neighbours, which Xen and the device model merge. */
export const MOVES = 16;
export const moverBars = (vcpu: number, memoryPlace: number, portPlace: number): readonly [Bar, Bar] => [
  memory(0xf100_0000 + vcpu * 0x100_0000 + memoryPlace * 0x1000, 4096),
  ports(0xd000 + vcpu * 0x800 + portPlace * 0x20, 16),
];

/** Byte addresses in guest memory. */
export const RAM = {
  /** 32 bits: not 0 when the guest is to come to its end. */
  stop: 0x1000,
  /** 32 bits: how many processes were started so far. */
  launches: 0x1004,
  /** 32 bits for each vCPU: accesses that were answered. */
  answers: 0x1010,
  /** 64 KiB for each vCPU, for what it moves. */
  buffers: 0x10_0000,
  bufferBytes: 0x1_0000,
  /** One bit for each number that the counter has given. */
  given: 0x100_0000,
  givenBytes: 0x200_0000,
} as const;

/** Registers of ring-witness.ts, in either BAR; each vCPU has a bank. */
export const RING_BANK = 0x10;
export const RING = { put: 0x00, count: 0x04, wrong: 0x08 } as const;

/** The hot device: a teaching device whose computations never end. */
export const HOT_SPEC = `edu,addr=17.0,id=hot,delay=10000`;

/** Of `ioreqd run`. Deaths are not the devices' fault here. */
export const deviceArguments = (serialFile: string): string[] => [
  ...["--quarantine", "0"],
  ...[
    "counter,addr=10.0",
    "edu,addr=11.0,delay=1",
    "msix-probe,addr=12.0",
    `pci-serial,addr=13.0,chardev=file:${serialFile}`,
    `${join(__dirname, "ring-witness.js")},addr=14.0`,
    "counter,addr=15.0",
    "counter,addr=16.0",
  ].flatMap((spec) => ["--device", spec]),
];

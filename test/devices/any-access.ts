// SPDX-License-Identifier: MIT
/** Any access a guest can make, mostly where something is. */

import fc from "fast-check";
import { DATA_IS_PTR, DIR_READ, DIRECTION_FLAG, TYPE } from "../../src/spec/xen-ioreq.js";
import { MEMORY, PORTS, type Request } from "../support/machine.js";

/** Addresses around what the device decodes, and a few anywhere. */
const near = (base: number, size: number): fc.Arbitrary<bigint> =>
  fc.integer({ min: -8, max: size + 8 }).map((offset) => BigInt(base + offset));
const anyFlags = fc.constantFrom(
  0,
  DIR_READ,
  DIRECTION_FLAG,
  DIR_READ | DIRECTION_FLAG,
  DATA_IS_PTR,
  DATA_IS_PTR | DIR_READ,
  DATA_IS_PTR | DIR_READ | DIRECTION_FLAG,
);
const anyWidth = fc.oneof({ weight: 9, arbitrary: fc.constantFrom(1, 2, 4, 8) }, { weight: 1, arbitrary: fc.nat(17) });
const anyCount = fc.oneof(
  { weight: 8, arbitrary: fc.constant(1) },
  { weight: 2, arbitrary: fc.constantFrom(0, 2, 3, 16, 5000, 0xffff_ffff) },
);

/** Ends of BARs, MSI-X tables and pending bits: of msix-probe, and of the device with every capability. */
const tables: ReadonlyArray<readonly [base: number, size: number]> = [
  [MEMORY + 0x0100_0000, 8 * 16],
  [MEMORY + 0x0100_8000, 8],
  [MEMORY + 0x0101_0000, 0],
  [MEMORY + 0x0200_0000, 8],
  [MEMORY + 0x4000, 32],
  [MEMORY + 0x7ff0, 16],
  [MEMORY + 0x0500_0080, 128],
];

export const memoryAccess: fc.Arbitrary<Request> = fc.record({
  type: fc.constant(TYPE.copy),
  addr: fc.oneof(
    near(MEMORY, 0xa0),
    near(MEMORY, 0x1000),
    near(MEMORY + 0x0100_0000, 64),
    ...tables.map(([base, size]) => near(base, size)),
    fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  ),
  data: fc.oneof(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), fc.bigInt({ min: 0n, max: 0x2000n })),
  flags: anyFlags,
  width: anyWidth,
  count: anyCount,
});
const portAccess: fc.Arbitrary<Request> = fc.record({
  type: fc.constant(TYPE.pio),
  addr: fc.oneof(near(PORTS, 16), near(PORTS + 0x100, 256)),
  data: fc.bigInt({ min: 0n, max: 2n ** 32n - 1n }),
  flags: anyFlags,
  width: anyWidth,
  count: anyCount,
});
export const configAccess: fc.Arbitrary<Request> = fc.record({
  type: fc.constant(TYPE.pciConfig),
  addr: fc.oneof(fc.nat(0x160), fc.nat(0x1008), near(0x1000, 0)).map((offset) => (0x80n << 32n) | BigInt(offset)),
  data: fc.bigInt({ min: 0n, max: 2n ** 32n - 1n }),
  flags: fc.constantFrom(0, DIR_READ),
  width: anyWidth,
  count: anyCount,
});
export const anyAccess: fc.Arbitrary<Request> = fc.oneof(memoryAccess, portAccess, configAccess);
export const requests = (most: number): fc.Arbitrary<Request[]> => fc.array(anyAccess, { maxLength: most });

// SPDX-License-Identifier: MIT
/**
 * The port CF8 as Xen has it: it looks at what is written there, and otherwise the port is like any other. A domain
 * without a device model that claims the port, as a PVH guest has none, reads ones.
 * Source: Xen arch/x86/hvm/ioreq.c, hvm_access_cf8().
 */

import { sbdf } from "../../src/base/ids.js";
import { TYPE } from "../../src/spec/xen-ioreq.js";
import { accesses, Emulator } from "./emulator.js";
import { describeOnXen, simTest } from "./fixture.js";

const ANSWER = 0x4433_2211;
const WHERE = sbdf(0, 1, 2, 3);
const SELECT = "0x80011344"; // register 0x44 of it
const config = (offset: number): bigint => (BigInt(WHERE) << 32n) | BigInt(offset);

describeOnXen("The port CF8", (now) => {
  const server = (): Emulator => {
    const made = new Emulator(now(), BigInt(ANSWER));
    now().xen.mapPciDevice(now().domid, made.id, WHERE);
    return made;
  };

  simTest("without a claimant it reads all-ones, and what was written counts all the same", async () => {
    const emulator = server();
    expect(await accesses(now().sim, `O4:0xcf8=${SELECT}`, "I4:0xcf8", "I1:0xcfb", "I4:0xcfc")).toEqual([
      null,
      0xffff_ffff,
      0xff,
      ANSWER,
    ]);
    expect(emulator.take()).toEqual([{ type: TYPE.pciConfig, addr: config(0x44), width: 4, count: 1, written: null }]);
  });

  simTest("its claimant gets the writes that Xen looked at, and answers the reads", async () => {
    const emulator = server();
    now().xen.mapIoRange(now().domid, emulator.id, "pio", 0xcf8, 0xcfb);
    expect(await accesses(now().sim, `O4:0xcf8=${SELECT}`, "I4:0xcf8", "I2:0xcfe")).toEqual([null, ANSWER, 0x2211]);
    expect(emulator.take().map(({ type, addr, written }) => [type, addr, written])).toEqual([
      [TYPE.pio, 0xcf8n, BigInt(SELECT)],
      [TYPE.pio, 0xcf8n, null],
      [TYPE.pciConfig, config(0x46), null],
    ]);
  });

  simTest("a write of less than 4 bytes selects nothing, and nor does one beside it", async () => {
    const emulator = server();
    await accesses(now().sim, `O4:0xcf8=${SELECT}`, "O2:0xcf8=0", "O1:0xcfb=0", "O4:0xcf9=0", "I1:0xcfc");
    expect(emulator.take().map(({ addr }) => addr)).toEqual([config(0x44)]);
  });

  simTest("bits 27:24 are the register's 11:8 where the domain's processor has that, as AMD's", async () => {
    const emulator = server();
    await accesses(now().sim, "O4:0xcf8=0x8f011344", "I4:0xcfc");
    now().sim.setCf8Extension(true);
    await accesses(now().sim, "I4:0xcfc");
    expect(emulator.take().map(({ addr }) => addr)).toEqual([config(0x44), config(0xf44)]);
  });
});

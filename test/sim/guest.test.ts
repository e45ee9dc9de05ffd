// SPDX-License-Identifier: MIT
/** What a guest program can do, each on a device model in a process of its own. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { GuestVcpu } from "../../src/sim/guest.js";
import { runSim, type SimOptions, type SimResult } from "../../src/sim/index.js";

const SERVER = [process.execPath, join(__dirname, "register-server.js")];
const ARM_SERVER = [...SERVER, "arm"];
const MMIO = 0xf000_0000;
let directory = "";

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "sim-test-"));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

/**
 * Run a program on every vCPU and return what vCPUs reported with `step`. The program is its own
 * source text: it sees its two parameters, and nothing of this file.
 */
async function onGuest(
  program: (vcpu: GuestVcpu, mmio: number) => void,
  options: SimOptions = {},
): Promise<{ said: Record<string, unknown>[]; result: SimResult }> {
  const file = join(directory, "guest.js");
  writeFileSync(file, `module.exports = (vcpu) => (${program.toString()})(vcpu, ${MMIO});`);
  const said: Record<string, unknown>[] = [];
  const result = await runSim({
    command: SERVER,
    memoryMib: 4,
    handleSignals: false,
    guest: file,
    onProgress: (event) => {
      if (event.type === "step") said.push({ ...event.detail });
    },
    ...options,
  });
  return { said, result };
}

test("accesses of every width reach the device, and its answers come back unsigned", async () => {
  const { said, result } = await onGuest((vcpu, mmio) => {
    vcpu.out(0x500, 4, 0xfedcba98);
    vcpu.write(mmio, 8, 0xfedcba9876543210n);
    vcpu.step("read", {
      ports: [vcpu.in8(0x503), vcpu.in16(0x502), vcpu.in32(0x500)],
      memory: [vcpu.read(mmio + 7, 1), vcpu.read(mmio + 6, 2), vcpu.read(mmio + 4, 4), vcpu.read(mmio, 8)],
    });
  });
  expect(result.problems).toEqual([]);
  expect(said).toEqual([
    { ports: [0xfe, 0xfedc, 0xfedcba98], memory: [0xfe, 0xfedc, 0xfedcba98, 0xfedcba9876543210n] },
  ]);
});

test("an access that nobody claims reads as all ones, and is told apart", async () => {
  const { said } = await onGuest((vcpu, mmio) => {
    const values = [vcpu.in8(0x60), vcpu.in32(0x60), vcpu.read(mmio - 8, 4)];
    const unanswered = vcpu.answered;
    vcpu.in8(0x500);
    vcpu.step("read", { values, answered: [unanswered, vcpu.answered] });
  });
  expect(said).toEqual([{ values: [0xff, 0xffffffff, 0xffffffff], answered: [false, true] }]);
});

test("an int32 is as good as a uint32 to write", async () => {
  const { said } = await onGuest((vcpu) => {
    vcpu.out32(0x500, -2);
    vcpu.step("read", { value: vcpu.in32(0x500) });
  });
  expect(said).toEqual([{ value: 0xfffffffe }]);
});

test("loads and stores to RAM are RAM, and are not counted as round trips", async () => {
  const { said, result } = await onGuest((vcpu) => {
    vcpu.write(0x1000, 4, 0x01020304);
    vcpu.ram[0x1004] = 0xaa;
    const bytes = [...vcpu.ram.subarray(0x1000, 0x1004)];
    vcpu.step("read", { bytes, word: vcpu.ramView.getUint32(0x1000, true), loaded: vcpu.read(0x1004, 1) });
  });
  expect(said).toEqual([{ bytes: [4, 3, 2, 1], word: 0x01020304, loaded: 0xaa }]);
  expect(result.roundTrips).toEqual({});
});

test("config space is reached through CF8 and CFC, by name or number, at any offset", async () => {
  const { said, result } = await onGuest((vcpu) => {
    vcpu.configWrite("00:10.0", 0x44, 4, 0x44332211);
    const at = 0x10 << 3;
    vcpu.step("read", {
      values: [vcpu.configRead(at, 0x44, 4), vcpu.configRead(at, 0x46, 2), vcpu.configRead("10.0", 0x45, 1)],
    });
    vcpu.step("absent", { value: vcpu.configRead("00:11.0", 0, 4) });
  });
  expect(said).toEqual([{ values: [0x44332211, 0x4433, 0x22] }, { value: 0xffffffff }]);
  expect(result.counters.pciConfig).toBe(4);
  expect(result.roundTrips.configRead?.count).toBe(3);
});

test("vCPUs that use config space at the same time do not disturb each other", async () => {
  const { result } = await onGuest(
    (vcpu) => {
      const offset = 0x40 + 4 * vcpu.id;
      vcpu.barrier();
      for (let i = 0; i < 200; i += 1) {
        vcpu.configWrite("00:10.0", offset, 4, i * 4 + vcpu.id);
        if (vcpu.configRead("00:10.0", offset, 4) !== i * 4 + vcpu.id) throw new Error(`round ${i}`);
      }
    },
    { vcpus: 4 },
  );
  expect(result.problems).toEqual([]);
});

test("rep moves go both ways, forwards and backwards, and say how many were done", async () => {
  const { said } = await onGuest((vcpu, mmio) => {
    vcpu.ram.set([1, 2, 3, 4, 5, 6, 7, 8], 0x2000);
    const done = [
      vcpu.repMovs(mmio, 0x2000, 4, 2),
      vcpu.repMovs(0x3000, mmio, 2, 4),
      vcpu.repMovs(0x3013, mmio + 3, 1, 4, { backwards: true }),
      vcpu.repOuts(0x500, 0x2000, 1, 3),
      vcpu.repIns(0x500, 0x3020, 1, 3),
    ];
    vcpu.repStos(mmio + 0x100, 4, 0xa5a5a5a5, 3);
    vcpu.step("moved", {
      done,
      ram: [...vcpu.ram.subarray(0x3000, 0x3008)],
      backwards: [...vcpu.ram.subarray(0x3010, 0x3014)],
      ports: [...vcpu.ram.subarray(0x3020, 0x3023)],
      filled: [vcpu.read(mmio + 0x100, 4), vcpu.read(mmio + 0x108, 4), vcpu.read(mmio + 0x10c, 4)],
    });
  });
  expect(said).toEqual([
    {
      done: [2, 4, 4, 3, 3],
      ram: [1, 2, 3, 4, 5, 6, 7, 8],
      backwards: [1, 2, 3, 4],
      ports: [3, 3, 3],
      filled: [0xa5a5a5a5, 0xa5a5a5a5, 0],
    },
  ]);
});

test("a wide store is cut as Xen cuts it, and read back whole", async () => {
  const { said, result } = await onGuest((vcpu, mmio) => {
    vcpu.writeBytes(
      mmio + 0x10,
      Uint8Array.from({ length: 11 }, (_, i) => i + 1),
    );
    vcpu.step("read", { bytes: [...vcpu.readBytes(mmio + 0x10, 11)] });
  });
  expect(said).toEqual([{ bytes: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11] }]);
  expect(result.counters.copy).toBe(6); // 8 + 2 + 1 bytes, twice
});

test("a raw request comes back as the server left it", async () => {
  const { said } = await onGuest((vcpu) => {
    vcpu.out8(0x500, 0x77);
    const ioreq = new Uint8Array(32);
    ioreq.set([0x00, 0x05], 0); // port 0x500
    ioreq[16] = 1; // count
    ioreq[20] = 1; // size
    ioreq[30] = 0x20; // read
    vcpu.raw(ioreq);
    vcpu.step("answer", { data: ioreq[8], state: (ioreq[30] as number) & 15 });
  });
  expect(said).toEqual([{ data: 0x77, state: 3 }]);
});

test("a line that the device raises is seen on its GSI, and wakes the vCPU", async () => {
  const { said } = await onGuest((vcpu) => {
    const gsi = vcpu.gsiOf(0x10, 0);
    const before = vcpu.gsiLevel(gsi);
    vcpu.out8(0x5f0, 1);
    const raised = vcpu.waitGsi(gsi, true, 5000);
    vcpu.out8(0x5f0, 0);
    vcpu.step("seen", { gsi, before, raised, lowered: vcpu.waitGsi(gsi, false, 5000), edges: vcpu.gsiEdges(gsi) });
  });
  expect(said).toEqual([{ gsi: 18, before: false, raised: true, lowered: true, edges: 1 }]);
});

test("messages are taken once, oldest first", async () => {
  const { said } = await onGuest((vcpu) => {
    vcpu.out32(0x5f4, 0x31);
    vcpu.out32(0x5f4, 0x32);
    vcpu.step("taken", { messages: [vcpu.waitMsi(), vcpu.waitMsi(), vcpu.takeMsi()] });
  });
  const addr = 0xfee00000n;
  expect(said).toEqual([{ messages: [{ addr, data: 0x31 }, { addr, data: 0x32 }, null] }]);
});

test("a wait for an interrupt that does not come ends after its time", async () => {
  const { said } = await onGuest((vcpu) => {
    vcpu.step("waited", { gsi: vcpu.waitGsi(20, true, 20), msi: vcpu.waitMsi(20) });
  });
  expect(said).toEqual([{ gsi: false, msi: null }]);
});

test("a page that was ballooned out is a hole until it comes back, zeroed", async () => {
  const { said, result } = await onGuest((vcpu) => {
    vcpu.write(0x8000, 4, 0x11111111);
    vcpu.balloonOut(8);
    const hole = vcpu.read(0x8000, 4);
    vcpu.balloonIn(8);
    vcpu.step("read", { hole, back: vcpu.read(0x8000, 4) });
    vcpu.balloonIn(8);
  });
  expect(said).toEqual([{ hole: 0xffffffff, back: 0 }]);
  expect(result.counters.invalidate).toBe(1);
  expect(result.problems[0]?.code).toBe("BALLOON_FAILED");
});

test("vCPUs meet at barriers and share memory of their own", async () => {
  const { said, result } = await onGuest(
    (vcpu) => {
      const sums = new Int32Array(vcpu.shared);
      for (let round = 0; round < 100; round += 1) {
        Atomics.add(sums, round, vcpu.id + 1);
        vcpu.barrier();
        if (Atomics.load(sums, round) !== 10) throw new Error(`round ${round}`);
      }
      if (vcpu.id === 0) vcpu.step("met", { vcpus: vcpu.vcpus });
    },
    { vcpus: 4 },
  );
  expect(result.problems).toEqual([]);
  expect(said).toEqual([{ vcpus: 4 }]);
});

test("round trips can be reset after a warm-up, and have percentiles in order", async () => {
  const { said } = await onGuest((vcpu) => {
    for (let i = 0; i < 50; i += 1) vcpu.in8(0x500);
    vcpu.resetRoundTrips();
    for (let i = 0; i < 100; i += 1) vcpu.in8(0x500);
    const { pioRead } = vcpu.roundTrips();
    if (pioRead === undefined) throw new Error("nothing recorded");
    const { count, p50, p99, max } = pioRead;
    vcpu.step("measured", { count, ordered: p50 > 0 && p50 <= p99 && p99 <= max && vcpu.lastNs > 0 });
  });
  expect(said).toEqual([{ count: 100, ordered: true }]);
});

test("a mistake of the program is an error, not an access", async () => {
  const { said, result } = await onGuest((vcpu) => {
    const code = (act: () => unknown): unknown => {
      try {
        return act();
      } catch (error) {
        return (error as { code?: string }).code;
      }
    };
    vcpu.step("codes", {
      codes: [
        code(() => vcpu.in(-1, 1)),
        code(() => vcpu.in(0x500, 3 as 4)),
        code(() => vcpu.configRead("00:40.0", 0, 4)),
        code(() => vcpu.raw(new Uint8Array(31))),
      ],
    });
  });
  expect(said).toEqual([{ codes: ["BAD_VALUE", "BAD_VALUE", "BAD_VALUE", "BAD_VALUE"] }]);
  expect(result.counters.pio).toBe(0);
});

test("on Arm config space is a window, and an access that nobody claims is a data abort", async () => {
  const { said, result } = await onGuest(
    (vcpu, mmio) => {
      vcpu.write(mmio, 4, 5);
      let code: unknown;
      try {
        vcpu.configRead("00:01.0", 0, 4);
      } catch (error) {
        code = (error as { code?: string }).code;
      }
      vcpu.step("read", { value: vcpu.read(mmio, 4), code, arch: vcpu.arch });
    },
    { arch: "arm", command: ARM_SERVER },
  );
  expect(result.problems).toEqual([]);
  expect(said).toEqual([{ value: 5, code: "DATA_ABORT", arch: "arm" }]);
});

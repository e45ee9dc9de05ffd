// SPDX-License-Identifier: MIT
/**
 * A small device model for the tests of the simulated host: a program of its own, over the plain
 * client libraries. It remembers what is written, byte by byte, in ports 0x500-0x5ff, in memory
 * 0xf0000000-0xf000ffff and in the config space of 00:10.0, and reads give it back. Some ports do things.
 *
 * Arguments: "arm" for a server without ports and a ring.
 */

type Koffi = typeof import("koffi", { with: { "resolution-mode": "import" }});

/** Ports that do things when written. */
export const PORTS = { intx: 0x5f0, msi: 0x5f4, weird: 0x5f8, exit: 0x5fc, poweroff: 0x5e0 } as const;
export const MMIO = 0xf000_0000;
export const BDF = "00:10.0";

const STATE = { ready: 1, inProcess: 2, respReady: 3 };
const RAM_PAGES = 256;

function serve(arm: boolean): void {
  const koffi = require("koffi") as Koffi;
  const dm = koffi.load("libxendevicemodel.so.1");
  const fm = koffi.load("libxenforeignmemory.so.1");
  const ev = koffi.load("libxenevtchn.so.1");
  const domid = Number(process.env.IOREQD_DOMID);

  const check = (what: string, rc: number): number => {
    if (rc < 0) throw new Error(`${what}: ${koffi.errno()}`);
    return rc;
  };
  const handle = dm.func("void *xendevicemodel_open(void *, uint32_t)")(null, 0);
  const memory = fm.func("void *xenforeignmemory_open(void *, uint32_t)")(null, 0);
  const events = ev.func("void *xenevtchn_open(void *, uint32_t)")(null, 0);

  const id = new Uint16Array(1);
  check(
    "create",
    dm.func("int xendevicemodel_create_ioreq_server(void *, uint16_t, int, void *)")(handle, domid, arm ? 0 : 2, id),
  );
  const address = [null] as unknown[];
  fm.func(
    "void *xenforeignmemory_map_resource(void *, uint16_t, uint32_t, uint32_t, uint64_t, uint64_t, _Out_ void **, int, int)",
  )(memory, domid, 0, id[0], 1, 1, address, 3, 0);
  const slots = new DataView(koffi.view(address[0], 4096));
  const frames = BigUint64Array.from({ length: RAM_PAGES }, (_, i) => BigInt(i));
  const mapped = fm.func("void *xenforeignmemory_map(void *, uint32_t, int, size_t, void *, void *)")(
    memory,
    domid,
    3,
    RAM_PAGES,
    frames,
    null,
  );
  const ram = new Uint8Array(koffi.view(mapped, RAM_PAGES * 4096));

  const mapRange = dm.func(
    "int xendevicemodel_map_io_range_to_ioreq_server(void *, uint16_t, uint16_t, int, uint64_t, uint64_t)",
  );
  check("map memory", mapRange(handle, domid, id[0], 1, MMIO, MMIO + 0xffff));
  if (!arm) {
    check("map ports", mapRange(handle, domid, id[0], 0, 0x500, 0x5ff));
    check(
      "map device",
      dm.func(
        "int xendevicemodel_map_pcidev_to_ioreq_server(void *, uint16_t, uint16_t, uint16_t, uint8_t, uint8_t, uint8_t)",
      )(handle, domid, id[0], 0, 0, 16, 0),
    );
  }
  const intx = dm.func(
    "int xendevicemodel_set_pci_intx_level(void *, uint16_t, uint16_t, uint8_t, uint8_t, uint8_t, uint32_t)",
  );
  const msi = dm.func("int xendevicemodel_inject_msi(void *, uint16_t, uint64_t, uint32_t)");
  const shutdown = dm.func("int xendevicemodel_shutdown(void *, uint16_t, uint32_t)");
  const bytes = new Map<string, number>();

  function act(port: number, value: number): void {
    if (port === PORTS.intx) check("intx", intx(handle, domid, 0, 0, 16, 0, value & 1));
    if (port === PORTS.msi) check("msi", msi(handle, domid, 0xfee0_0000, value));
    if (port === PORTS.poweroff) check("shutdown", shutdown(handle, domid, 0));
    if (port === PORTS.exit) process.exit(value);
  }

  /** Returns the state to leave in the slot. */
  function answer(slot: number): number {
    const at = slots.getBigUint64(slot, true);
    const data = slots.getBigUint64(slot + 8, true);
    const [count, width] = [slots.getUint32(slot + 16, true), slots.getUint32(slot + 20, true)];
    const [flags, type] = [slots.getUint8(slot + 30), slots.getUint8(slot + 31)];
    const backwards = (flags & 0x40) !== 0 ? -1 : 1;
    for (let i = 0; i < count; i += 1) {
      const step = BigInt(backwards * i * width);
      const element = type === 1 ? at + step : at;
      let value = 0n;
      for (let b = 0; b < width; b += 1) {
        const key = `${type}:${element + BigInt(b)}`;
        const shift = BigInt(8 * b);
        const isPointer = (flags & 0x10) !== 0;
        const inRam = Number(data + step) + b;
        if ((flags & 0x20) === 0) bytes.set(key, isPointer ? (ram[inRam] as number) : Number((data >> shift) & 0xffn));
        else if (isPointer) ram[inRam] = bytes.get(key) ?? 0;
        else value |= BigInt(bytes.get(key) ?? 0) << shift;
      }
      if ((flags & 0x30) === 0x20) slots.setBigUint64(slot + 8, value, true);
    }
    if (type !== 0 || (flags & 0x20) !== 0) return STATE.respReady;
    act(Number(at), Number(data));
    return Number(at) === PORTS.weird ? 7 : STATE.respReady;
  }

  check(
    "enable",
    dm.func("int xendevicemodel_set_ioreq_server_state(void *, uint16_t, uint16_t, int)")(handle, domid, id[0], 1),
  );
  const bind = ev.func("int xenevtchn_bind_interdomain(void *, uint32_t, uint32_t)");
  const vcpuOf = new Map<number, number>();
  for (let vcpu = 0; vcpu < 128; vcpu += 1) {
    const remote = slots.getUint32(vcpu * 32 + 24, true);
    if (remote !== 0) vcpuOf.set(check("bind", bind(events, domid, remote)), vcpu);
  }
  const pending = ev.func("int xenevtchn_pending(void *)");
  const unmask = ev.func("int xenevtchn_unmask(void *, uint32_t)");
  const notify = ev.func("int xenevtchn_notify(void *, uint32_t)");
  for (;;) {
    const port = check("pending", pending(events));
    check("unmask", unmask(events, port));
    const slot = (vcpuOf.get(port) ?? -1) * 32;
    const flags = slots.getUint8(slot + 30);
    if ((flags & 15) !== STATE.ready) continue;
    slots.setUint8(slot + 30, (flags & 0xf0) | STATE.inProcess);
    slots.setUint8(slot + 30, (flags & 0xf0) | answer(slot));
    check("notify", notify(events, port));
  }
}

if (require.main === module) serve(process.argv[2] === "arm");

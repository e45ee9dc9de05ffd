// SPDX-License-Identifier: MIT
/** src/spec/xen-ioreq.ts against what a C compiler makes of Xen's own headers. */

import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  BUFIOREQ,
  DATA_IS_PTR,
  DIR_READ,
  DIRECTION_FLAG,
  IOREQ,
  MAX_VCPUS,
  PAGE_SIZE,
  RING,
  STATE,
  STATE_MASK,
  TYPE,
  WORD,
} from "../../src/spec/xen-ioreq.js";

const here = existsSync("/usr/include/xen/hvm/ioreq.h");

/** `bit(field)`: the one-byte image of a slot's byte 30 with only that bit field set. */
const PROGRAM = `
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <xen/xen.h>
#include <xen/hvm/ioreq.h>
#include <xen/hvm/dm_op.h>
#include <xen/hvm/hvm_op.h>
#include <xen/hvm/hvm_info_table.h>
#define say(name, value) printf("\\"%s\\": %lu,\\n", name, (unsigned long)(value))
#define at(field) say(#field, offsetof(struct ioreq, field))
#define bit(field) do { union { struct ioreq r; uint8_t b[32]; } u; memset(&u, 0, sizeof u); u.r.field = ~0; \\
    for (int i = 0; i < 32; i++) if (u.b[i]) { say(#field " byte", i); say(#field " mask", u.b[i]); } } while (0)
int main(void) {
  printf("{");
  at(addr); at(data); at(count); at(size); at(vp_eport);
  bit(state); bit(data_is_ptr); bit(dir); bit(df); bit(type);
  say("ioreq", sizeof(struct ioreq));
  say("slots in a page", 4096 / sizeof(((struct shared_iopage *)0)->vcpu_ioreq[0]));
  say("ring", sizeof(struct buffered_iopage));
  say("ring slot", sizeof(struct buf_ioreq));
  say("ring slots", IOREQ_BUFFER_SLOT_NUM);
  say("ring at", offsetof(struct buffered_iopage, buf_ioreq));
  say("read_pointer", offsetof(struct buffered_iopage, read_pointer));
  say("write_pointer", offsetof(struct buffered_iopage, write_pointer));
  say("NONE", STATE_IOREQ_NONE); say("READY", STATE_IOREQ_READY);
  say("INPROCESS", STATE_IOREQ_INPROCESS); say("RESP", STATE_IORESP_READY);
  say("READ", IOREQ_READ);
  say("PIO", IOREQ_TYPE_PIO); say("COPY", IOREQ_TYPE_COPY); say("PCI", IOREQ_TYPE_PCI_CONFIG);
  say("TIMEOFFSET", IOREQ_TYPE_TIMEOFFSET); say("INVALIDATE", IOREQ_TYPE_INVALIDATE);
  say("OFF", HVM_IOREQSRV_BUFIOREQ_OFF); say("LEGACY", HVM_IOREQSRV_BUFIOREQ_LEGACY); say("ATOMIC", HVM_IOREQSRV_BUFIOREQ_ATOMIC);
  say("vcpus", HVM_MAX_VCPUS);
  printf("\\"end\\": 0}\\n");
  return 0;
}`;

(here ? test : test.skip)(
  `offsets and numbers equal those of Xen's headers${here ? "" : ": no libxen-dev here"}`,
  () => {
    const dir = mkdtempSync(join(tmpdir(), "ioreqd-layout-"));
    try {
      writeFileSync(join(dir, "layout.c"), PROGRAM);
      // The dm_op structures are for tools only.
      execFileSync("cc", ["-D__XEN_TOOLS__", "-o", join(dir, "layout"), join(dir, "layout.c")], { stdio: "inherit" });
      const c = JSON.parse(execFileSync(join(dir, "layout"), { encoding: "utf8" })) as Record<string, number>;
      expect(c).toEqual({
        addr: IOREQ.addr,
        data: IOREQ.data,
        count: IOREQ.count,
        size: IOREQ.width,
        vp_eport: IOREQ.evtchn,
        "state byte": IOREQ.flags,
        "state mask": STATE_MASK,
        "data_is_ptr byte": IOREQ.flags,
        "data_is_ptr mask": DATA_IS_PTR,
        "dir byte": IOREQ.flags,
        "dir mask": DIR_READ,
        "df byte": IOREQ.flags,
        "df mask": DIRECTION_FLAG,
        "type byte": IOREQ.type,
        "type mask": 0xff,
        ioreq: IOREQ.size,
        "slots in a page": MAX_VCPUS,
        ring: PAGE_SIZE,
        "ring slot": RING.slotSize,
        "ring slots": RING.slotCount,
        "ring at": RING.slots,
        read_pointer: RING.readPointer,
        write_pointer: RING.writePointer,
        NONE: STATE.none,
        READY: STATE.ready,
        INPROCESS: STATE.inProcess,
        RESP: STATE.respReady,
        READ: 1,
        PIO: TYPE.pio,
        COPY: TYPE.copy,
        PCI: TYPE.pciConfig,
        TIMEOFFSET: TYPE.timeoffset,
        INVALIDATE: TYPE.invalidate,
        OFF: BUFIOREQ.off,
        LEGACY: BUFIOREQ.legacy,
        ATOMIC: BUFIOREQ.atomic,
        vcpus: MAX_VCPUS,
        end: 0,
      });
    } finally {
      rmSync(dir, { recursive: true });
    }
  },
);

test("the words of a slot are the same fields by 32 bits", () => {
  expect(WORD).toEqual({
    perSlot: IOREQ.size / 4,
    addrLo: IOREQ.addr / 4,
    addrHi: IOREQ.addr / 4 + 1,
    dataLo: IOREQ.data / 4,
    dataHi: IOREQ.data / 4 + 1,
    count: IOREQ.count / 4,
    width: IOREQ.width / 4,
    evtchn: IOREQ.evtchn / 4,
  });
});

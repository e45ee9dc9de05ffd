// SPDX-License-Identifier: MIT
/**
 * pci-serial: one 16550A behind PCI, with its FIFOs, interrupts and loopback.
 * What is sent goes to the chardev at once, so the transmitter is empty unless a slow reader keeps the line busy.
 *
 * Source: National PC16550D data sheet; ids from QEMU docs/specs/pci-serial.rst.
 */

import { definePciDevice } from "../pci/define.js";

const FIFO_SIZE = 16;
/** Received bytes that raise an interrupt, by FCR bits 7:6. */
const TRIGGERS = [1, 4, 8, 14] as const;
/**
 * Milliseconds without a byte after which the rest of the FIFO is worth an interrupt: four characters, and the clock's grain.
 * At most twice as many, as the timer is looked at only when it expires.
 */
const TIMEOUT_MS = 1;

const IER = { received: 0x01, transmitted: 0x02, line: 0x04, modem: 0x08 } as const;
const IIR = {
  none: 0x01,
  modem: 0x00,
  transmitted: 0x02,
  received: 0x04,
  line: 0x06,
  timeout: 0x0c,
  fifos: 0xc0,
} as const;
const FCR = { enable: 0x01, clearReceiver: 0x02 } as const;
const LCR_DLAB = 0x80;
const MCR = { dtr: 0x01, rts: 0x02, out1: 0x04, out2: 0x08, loop: 0x10 } as const;
const LSR = { ready: 0x01, overrun: 0x02, errors: 0x1e, empty: 0x60 } as const;
const MSR = { cts: 0x10, dsr: 0x20, ri: 0x40, dcd: 0x80, trailingRi: 0x04, deltas: 0x0f } as const;
/** Somebody is there: clear to send, data set ready, carrier. */
const CONNECTED = MSR.cts | MSR.dsr | MSR.dcd;

export const pciSerial = definePciDevice({
  name: "pci-serial",
  summary: "a 16550A serial port",
  ident: {
    vendor: 0x1b36,
    device: 0x0002,
    classCode: 0x070002,
    revision: 0x01,
    subsystemVendor: 0x1af4,
    subsystem: 0x1100,
  },
  intx: "A",
  bars: {
    0: {
      space: "io",
      size: 8,
      regs: {
        DATA: { at: 0, width: 1, doc: "RBR (read), THR (write); with LCR bit 7 the divisor's low byte" },
        IER: { at: 1, width: 1, doc: "interrupts enabled; with LCR bit 7 the divisor's high byte" },
        IIR: { at: 2, width: 1, doc: "IIR (read): the interrupt's cause; FCR (write): the FIFOs" },
        LCR: { at: 3, width: 1, rw: 0xff, doc: "the line's format" },
        MCR: { at: 4, width: 1, rw: 0x1f, doc: "modem lines; bit 4 loopback" },
        LSR: { at: 5, width: 1, reset: LSR.empty, doc: "the line's state; reading clears errors" },
        MSR: { at: 6, width: 1, reset: CONNECTED, doc: "modem lines; reading clears the changes" },
        SCR: { at: 7, width: 1, rw: 0xff, doc: "keeps what is written" },
      },
    },
  },
  options: {
    chardev: { kind: "chardev", default: "null", doc: "where the bytes go: null, stdio, pty, file:PATH, unix:PATH" },
  },
  state: {
    divisor: "int32",
    enabled: "int32",
    fcr: "int32",
    fifo: { bytes: FIFO_SIZE },
    first: "int32",
    count: "int32",
    transmitted: "int32",
    busy: "int32",
    timedOut: "int32",
    stirred: "int32",
  },
  timers: ["timeout"],
  attach({ bars: { 0: reg }, state, timers, intx, chardev }) {
    const line = chardev("chardev");
    const divisorOpen = (): boolean => (reg.LCR.value & LCR_DLAB) !== 0;
    const looped = (): boolean => (reg.MCR.value & MCR.loop) !== 0;
    const capacity = (): number => ((state.fcr & FCR.enable) !== 0 ? FIFO_SIZE : 1);
    const trigger = (): number => ((state.fcr & FCR.enable) !== 0 ? (TRIGGERS[(state.fcr >>> 6) & 3] as number) : 1);

    line.onReceive(
      () => (looped() ? 0 : capacity() - state.count),
      (byte) => receive(byte),
    );
    line.onReady(() => {
      if (state.busy !== 0) transmitterEmpty();
    });

    // -- interrupts: the cause of highest priority, and the line -----------------------------
    // OUT2 does not gate the line: that is how the PC wires its own ports, and PCI cards don't.

    function cause(): number {
      const enabled = state.enabled;
      if ((enabled & IER.line) !== 0 && (reg.LSR.value & LSR.errors) !== 0) return IIR.line;
      if ((enabled & IER.received) !== 0 && state.count >= trigger()) return IIR.received;
      if ((enabled & IER.received) !== 0 && state.timedOut !== 0) return IIR.timeout;
      if ((enabled & IER.transmitted) !== 0 && state.transmitted !== 0) return IIR.transmitted;
      if ((enabled & IER.modem) !== 0 && (reg.MSR.value & MSR.deltas) !== 0) return IIR.modem;
      return IIR.none;
    }
    function update(): void {
      if (cause() === IIR.none) intx.lower();
      else intx.raise();
    }

    // -- data --------------------------------------------------------------------------------

    reg.DATA.onRead(() => {
      if (divisorOpen()) return state.divisor & 0xff;
      return takeReceived();
    });
    reg.DATA.onWrite((raw) => {
      if (divisorOpen()) state.divisor = (state.divisor & 0xff00) | raw;
      else send(raw);
    });
    function send(byte: number): void {
      if (looped()) receive(byte);
      else line.write(byte);
      if (looped() || line.ready) {
        transmitterEmpty();
        return;
      }
      // The line takes a FIFO's worth and more all the same: for that much the guest has not looked again.
      state.busy = 1;
      state.transmitted = 0;
      reg.LSR.value &= ~LSR.empty;
      update();
    }
    function transmitterEmpty(): void {
      state.busy = 0;
      reg.LSR.value |= LSR.empty;
      state.transmitted = 1; // sent, and empty again
      update();
    }
    function receive(byte: number): void {
      if (state.count >= capacity()) {
        reg.LSR.value |= LSR.overrun;
        // With FIFOs the new byte is lost, without them the old one.
        if ((state.fcr & FCR.enable) === 0) state.fifo.set(state.first, byte);
      } else {
        state.fifo.set((state.first + state.count) % FIFO_SIZE, byte);
        state.count += 1;
      }
      reg.LSR.value |= LSR.ready;
      // A new byte puts a timeout off; one that was told already stays until a byte is read.
      // Data sheet, "FIFO interrupt mode operation".
      if (state.timedOut === 0) putTimeoutOff();
      update();
    }
    function takeReceived(): number {
      // The buffer keeps what was taken last.
      if (state.count === 0) return state.fifo.get((state.first + FIFO_SIZE - 1) % FIFO_SIZE);
      const byte = state.fifo.get(state.first);
      state.first = (state.first + 1) % FIFO_SIZE;
      state.count -= 1;
      if (state.count === 0) reg.LSR.value &= ~LSR.ready;
      // Not for each byte: a driver takes all there are, and to look for more costs a turn of the event loop.
      if (state.count <= capacity() / 2) line.poll();
      state.timedOut = 0;
      putTimeoutOff();
      update();
      return byte;
    }
    /** A byte came or went. The timer is not started anew each time, which would read the clock each time. */
    function putTimeoutOff(): void {
      if (timers.timeout.running) state.stirred = 1;
      else if (state.count > 0 && (state.fcr & FCR.enable) !== 0) startTimeout();
    }
    function startTimeout(): void {
      state.stirred = 0;
      timers.timeout.start(TIMEOUT_MS);
    }
    timers.timeout.onExpire(() => {
      if (state.count === 0) return;
      if (state.stirred !== 0) {
        startTimeout();
        return;
      }
      state.timedOut = 1;
      update();
    });

    // -- control -----------------------------------------------------------------------------

    reg.IER.onRead(() => (divisorOpen() ? (state.divisor >>> 8) & 0xff : state.enabled));
    reg.IER.onWrite((raw) => {
      if (divisorOpen()) {
        state.divisor = (state.divisor & 0x00ff) | (raw << 8);
        return;
      }
      // Enabling the transmitter's interrupt while it is empty raises it.
      if ((raw & ~state.enabled & IER.transmitted) !== 0 && state.busy === 0) state.transmitted = 1;
      state.enabled = raw & 0x0f;
      update();
    });
    reg.IIR.onRead(() => {
      const found = cause();
      if (found === IIR.transmitted) state.transmitted = 0;
      update();
      return found | ((state.fcr & FCR.enable) !== 0 ? IIR.fifos : 0);
    });
    reg.IIR.onWrite((raw) => {
      const toggled = ((raw ^ state.fcr) & FCR.enable) !== 0;
      // Without the enable bit the others are not taken.
      state.fcr = (raw & FCR.enable) !== 0 ? raw & 0xc9 : 0;
      if (toggled || (raw & FCR.clearReceiver) !== 0) {
        state.count = 0;
        state.timedOut = 0;
        timers.timeout.stop();
        reg.LSR.value &= ~LSR.ready;
        line.poll();
      }
      update();
    });
    reg.LSR.onRead((stored) => {
      reg.LSR.value = stored & ~LSR.errors;
      update();
      return stored;
    });

    // -- modem lines: those of the loopback, or of a peer that is always there ---------------

    reg.MCR.onWrite(() => {
      const before = reg.MSR.value;
      const now = modemLines(reg.MCR.value);
      const changed = (before ^ now) & 0xf0;
      // RI counts when it goes away, the others when they change. Data sheet, "Modem status register".
      const trailing = (before & ~now & MSR.ri) !== 0 ? MSR.trailingRi : 0;
      reg.MSR.value = now | (before & MSR.deltas) | ((changed & ~MSR.ri) >>> 4) | trailing;
      line.poll();
      update();
    });
    reg.MSR.onRead((stored) => {
      reg.MSR.value = stored & ~MSR.deltas;
      update();
      return stored;
    });
  },
});

function modemLines(mcr: number): number {
  if ((mcr & MCR.loop) === 0) return CONNECTED;
  return (
    ((mcr & MCR.rts) !== 0 ? MSR.cts : 0) |
    ((mcr & MCR.dtr) !== 0 ? MSR.dsr : 0) |
    ((mcr & MCR.out1) !== 0 ? MSR.ri : 0) |
    ((mcr & MCR.out2) !== 0 ? MSR.dcd : 0)
  );
}
